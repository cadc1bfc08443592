//! Under which conditions what an S3AccessUser is allowed may be used: the same shape in a spec and in a class.

use kube::KubeSchema;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// From where and how the access key may be used. The kinds of places are alternatives: one of the addresses, or one of the
/// VPCs, or one of the endpoints.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AccessConditions {
    /// The addresses that requests come from, as AWS sees them (`aws:SourceIp`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "source_ips_schema")]
    pub source_ips: Vec<String>,
    /// The VPCs from which requests come through a VPC endpoint (`aws:SourceVpc`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "source_vpcs_schema")]
    pub source_vpcs: Vec<String>,
    /// The VPC endpoints that requests come through (`aws:SourceVpce`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "source_vpc_endpoints_schema")]
    pub source_vpc_endpoints: Vec<String>,
    /// Only requests over TLS (`aws:SecureTransport`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(default)]
    pub secure_transport: bool,
}

/// What has the form of a CIDR; which numbers one may have is asked by [`crate::core::policy`].
const CIDR: &str = "^([0-9]{1,3}([.][0-9]{1,3}){3}|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)/[0-9]{1,3}$";

/// A list of texts of that form. A rule instead of a pattern, whose refusal would quote nothing but itself.
fn places_schema(description: &str, most: usize, longest: usize, form: &str, message: &str) -> Schema {
    json_schema!({
        "description": description,
        "type": "array",
        "maxItems": most,
        "x-kubernetes-list-type": "set",
        "items": {
            "type": "string",
            "maxLength": longest,
            "x-kubernetes-validations": [{ "rule": format!("self.matches('{form}')"), "message": message }],
        },
    })
}

fn source_ips_schema(_: &mut SchemaGenerator) -> Schema {
    places_schema(
        "The addresses that requests come from, as AWS sees them (`aws:SourceIp`): public ones, in CIDR notation. A request through a VPC endpoint has none of them.",
        super::limits::SOURCE_IPS,
        super::limits::SOURCE_IP,
        CIDR,
        "not a CIDR: write 203.0.113.0/24, or 203.0.113.7/32 for one address",
    )
}

fn source_vpcs_schema(_: &mut SchemaGenerator) -> Schema {
    places_schema(
        "The VPCs from which requests come through a VPC endpoint (`aws:SourceVpc`).",
        super::limits::SOURCE_VPCS,
        super::limits::SOURCE_VPC,
        "^vpc-[0-9a-f]{8,17}$",
        "not the id of a VPC, such as vpc-0a1b2c3d4e5f67890",
    )
}

fn source_vpc_endpoints_schema(_: &mut SchemaGenerator) -> Schema {
    places_schema(
        "The VPC endpoints that requests come through (`aws:SourceVpce`).",
        super::limits::SOURCE_VPCS,
        super::limits::SOURCE_VPC,
        "^vpce-[0-9a-f]{8,17}$",
        "not the id of a VPC endpoint, such as vpce-0a1b2c3d4e5f67890",
    )
}
