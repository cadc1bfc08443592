//! The `S3AccessClass` custom resource, v1alpha1: the platform team's side.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema, ResourceExt};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{AccessConditions, Capabilities, DeletionPolicy, Duration};

/// Marks the class of the S3AccessUsers that name none.
pub const DEFAULT_CLASS_ANNOTATION: &str = "s3access.dev/is-default-class";
/// Holds a class while there are S3AccessUsers in it: without the class, nobody could remove them from their account.
pub const CLASS_FINALIZER: &str = "s3access.dev/in-use";

/// In which account S3AccessUsers are made, and what they may ask for at most.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[allow(clippy::duplicated_attributes, reason = "each column has a type and a path")]
#[kube(
    group = "s3access.dev",
    version = "v1alpha1",
    kind = "S3AccessClass",
    plural = "s3accessclasses",
    singular = "s3accessclass",
    shortname = "s3class",
    category = "s3access",
    derive = "PartialEq",
    status = "S3AccessClassStatus",
    doc = "In which account S3AccessUsers are made, and what they may ask for at most.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Default", type_ = "boolean", json_path = ".status.isDefault"),
    printcolumn(name = "Account", type_ = "string", json_path = ".status.accountId"),
    printcolumn(name = "Partition", type_ = "string", json_path = ".status.partition"),
    printcolumn(name = "Users", type_ = "integer", json_path = ".status.users"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = super::described_by_fields)]
#[x_kube(
    validation = Rule::new("(has(self.allowedBuckets) && size(self.allowedBuckets) > 0) || has(self.allowedBucketsFrom)").message("no bucket is allowed: set allowedBuckets or allowedBucketsFrom"),
    validation = Rule::new("!has(self.externalId) || has(self.roleArn)").message("externalId belongs to a roleArn"),
    validation = Rule::new("self.ownership == 'Tags' || (self.provider == 's3-compatible' && !has(self.tags))").message("ownership Path is for S3-compatible systems without tags"),
    validation = Rule::new("self.ownership == oldSelf.ownership").message("ownership is immutable: the operator would not know its users again"),
    validation = Rule::new("self.provider != 's3-compatible' || (has(self.endpoints) && has(self.endpoints.iam) && has(self.endpoints.s3))").message("provider s3-compatible needs endpoints.iam and endpoints.s3"),
    validation = Rule::new("self.provider == 's3-compatible' || !has(self.accountId) || !self.accountId.startsWith('RGW')").message("accountId: AWS's accounts have 12 digits"),
    validation = Rule::new("self.provider != 's3-compatible' || !has(self.requireSession) || !self.requireSession").message("requireSession: an S3-compatible system has no sts:GetSessionToken"),
    validation = Rule::new("self.provider != 's3-compatible' || !has(self.suspendUnusedAfter)").message("suspendUnusedAfter: an S3-compatible system does not tell when a key was last used"),
    // AWS tells of uses hours late, and no more often than every four hours.
    validation = Rule::new("!has(self.suspendUnusedAfter) || !self.suspendUnusedAfter.matches('^[0-9.hms]+$') || duration(self.suspendUnusedAfter) >= duration('24h')").message("suspendUnusedAfter: AWS tells of uses some hours late, so write at least 24h"),
    validation = Rule::new("self.provider != 's3-compatible' || (!has(self.permissionsBoundaryArn) && !has(self.allowedManagedPolicyArns) && !has(self.roleArn))").message("an S3-compatible IAM has no permissions boundaries, no managed policies and no roles")
)]
pub struct S3AccessClassSpec {
    /// What serves IAM: AWS, or an S3-compatible system with users, inline policies and access keys.
    #[serde(default)]
    #[schemars(default)]
    pub provider: ClassProvider,

    /// Where the proof that a user is the operator's is kept: in its tags, or, for S3-compatible systems without
    /// tags, in its path. Immutable, since the operator would not know its users again.
    #[serde(default)]
    #[schemars(default)]
    pub ownership: Ownership,

    /// The region: it picks the partition's endpoints and stands in the Secrets. Omitted: the operator's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-z0-9-]+$"))]
    pub region: Option<String>,

    /// The account that the credentials must belong to; where they do not, nothing is done. An S3-compatible system
    /// without STS is not asked: its ARNs bear this. Those of Ceph RGW are `RGW` and 17 digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([0-9]{12}|RGW[0-9]{17})$"))]
    pub account_id: Option<String>,

    /// The Secret in the operator's namespace with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and
    /// AWS_SESSION_TOKEN). Omitted: the operator's own credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<CredentialsSecretRef>,

    /// The IAM role to assume with those credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = r"^arn:[a-z-]+:iam::[0-9]{12}:role/.+$"))]
    pub role_arn: Option<String>,

    /// The external id that the role's trust policy asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 1224), regex(pattern = r"^[A-Za-z0-9+=,.@:/_-]+$"))]
    pub external_id: Option<String>,

    /// Where the services are, if not where the region says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<ClassEndpoints>,

    /// Whether consumers put the bucket into the path of a URL. Omitted: where endpoints.s3 is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,

    /// Certificates in PEM that are trusted beside the system's, for the endpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536), regex(pattern = r"^\s*-----BEGIN CERTIFICATE-----"))]
    pub ca_bundle: Option<String>,

    /// At most so many requests a second to this account (to its IAM, and as many to AWS's STS); of several classes of one account, the lowest holds. Default: the
    /// operator's setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub requests_per_second: Option<u32>,

    /// The IAM path of users and policies. Default: the operator's, `/s3access/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100), regex(pattern = r"^/([A-Za-z0-9+=,.@_-]+/)*$"))]
    pub path: Option<String>,

    /// The permissions boundary of every user; an S3AccessUser may name no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = r"^arn:[a-z-]+:iam::(aws|[0-9]{12}):policy/.+$"))]
    pub permissions_boundary_arn: Option<String>,

    /// How old access keys may become.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<ClassRotation>,

    /// From where and how every access key of the class may be used; an S3AccessUser may narrow that further. Managed
    /// policies cannot be bound by it, and are not allowed where it is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required_conditions: Option<AccessConditions>,

    /// How long after its creation an S3AccessUser may have access. IAM sees to it by itself. Managed policies cannot be
    /// bound by it, and are not allowed where it is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::duration_schema")]
    pub max_lifetime: Option<Duration>,

    /// What becomes of an access key that AWS has found in public. `Report`: it is told, by the condition `Compromised`, an
    /// Event and a metric. `Revoke`: the keys are revoked, once for each time that AWS attaches a policy, and another one is
    /// made. `Suspend`: no key of the user works for as long as that policy is attached.
    #[serde(default)]
    pub on_compromise: OnCompromise,

    /// How long a user's access key may go without a use that AWS tells of; then the key is deactivated and kept, until
    /// somebody annotates the S3AccessUser with `s3access.dev/resume`. At least a day. Default: for ever. Keys of sessions,
    /// which the operator uses itself, are left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::duration_schema")]
    pub suspend_unused_after: Option<Duration>,

    /// Whether every user has to be of accessKey.mode Session, so that no workload holds a key that works for long. Who is
    /// Static loses its access until its mode is changed.
    #[serde(default)]
    #[schemars(default)]
    pub require_session: bool,

    /// Tags of every IAM user; they win over those of an S3AccessUser.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "class_tags_schema")]
    pub tags: BTreeMap<String, String>,

    /// For S3AccessUsers that have none: what their deletion does to IAM user and policy. `Delete`: they are deleted. `Retain`:
    /// they stay, without an access key. Default: `Delete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,

    /// The namespaces whose S3AccessUsers may use the class. Omitted: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<AllowedNamespaces>,

    /// The buckets that may be granted: patterns with `*`, `?` and `{namespace}`. A namespace has no period, so that
    /// `{namespace}.*` keeps namespaces apart by itself. With `{namespace}-*`, what team-a and team-a-b would both reach
    /// is team-a-b's alone, so that whoever makes Namespaces decides, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 128), regex(pattern = r"^([a-z0-9.*?-]|[{]namespace[}])+$"))
    )]
    pub allowed_buckets: Vec<String>,

    /// Where each Namespace names more buckets: a change there holds at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_buckets_from: Option<BucketsFrom>,

    /// The KMS keys that may be granted: patterns of their ARNs. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "arn_patterns_schema")]
    pub allowed_kms_key_arns: Vec<String>,

    /// Whether spec.policy.statements may be used. They are held against allowedBuckets like any other grant.
    #[serde(default)]
    #[schemars(default)]
    pub allow_statements: bool,

    /// Actions that statements may allow beside those of S3 (and of KMS, for `allowedKmsKeyArns`): patterns such as
    /// `sns:Publish`. What they may be allowed on is not limited.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 128), regex(pattern = r"^([*]|[a-z0-9-]+:[A-Za-z0-9*?]+)$"))
    )]
    pub allowed_actions: Vec<String>,

    /// The managed policies that spec.managedPolicyArns may name: patterns. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "arn_patterns_schema")]
    pub allowed_managed_policy_arns: Vec<String>,

    /// The names that spec.userName and spec.policy.name may take: patterns with `*`, `?` and `{namespace}`. Default: none,
    /// so that names are derived.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 128), regex(pattern = r"^([A-Za-z0-9+=,.@_*?-]|[{]namespace[}])+$"))
    )]
    pub allowed_names: Vec<String>,

    /// The keys that spec.tags may use: patterns. Default: none, since policies of others may grant access by tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9 +=.:/@_*?-]+$")))]
    pub allowed_tag_keys: Vec<String>,

    /// The paths that spec.path may name: patterns with `*`, `?` and `{namespace}`. Default: none but the class's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 128), regex(pattern = r"^/([A-Za-z0-9+=,.@_*?/-]|[{]namespace[}])*$"))
    )]
    pub allowed_paths: Vec<String>,

    /// Whether spec.deletionPolicy may be Retain. The class's own deletionPolicy always may.
    #[serde(default)]
    #[schemars(default)]
    pub allow_retain: bool,

    /// The names that spec.secret.name may take: patterns with `*`, `?` and `{namespace}`. Default: all. Those of Helm's
    /// releases (`sh.helm.release.v1.*`) are never allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 253), regex(pattern = r"^([a-z0-9.*?-]|[{]namespace[}])+$"))
    )]
    pub allowed_secret_names: Vec<String>,

    /// The labels that spec.secret.labels may set: patterns of their keys. Default: none, since controllers of others act
    /// on Secrets by their labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "metadata_key_patterns_schema")]
    pub allowed_secret_labels: Vec<String>,

    /// The annotations that spec.secret.annotations may set: patterns of their keys. Default: none, since some have Secrets
    /// copied to other namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "metadata_key_patterns_schema")]
    pub allowed_secret_annotations: Vec<String>,

    /// With accountId: accounts beside it whose buckets may be reached. What S3AccessUsers are granted is bound to these by
    /// `aws:ResourceAccount`, so that a bucket of the same name elsewhere is not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 12, max = 12), regex(pattern = r"^[0-9]{12}$")))]
    pub allowed_resource_accounts: Vec<String>,

    /// Whether `adoption: Force` may be used.
    #[serde(default)]
    #[schemars(default)]
    pub allow_force_adoption: bool,
}

impl S3AccessClass {
    /// Whether the class is for the S3AccessUsers that name none.
    pub fn is_default(&self) -> bool {
        self.annotations().get(DEFAULT_CLASS_ANNOTATION).is_some_and(|value| value == "true")
    }

    /// What its system was found to do, where the class is now. Only the operator writes this status.
    pub fn capabilities(&self) -> Option<&Capabilities> {
        let found = self.status.as_ref()?.capabilities.as_ref()?;
        (Some(&found.endpoints) == self.spec.endpoints.as_ref()).then_some(found)
    }

    /// Whether every S3AccessUser has been held against the class as it is now. Only the operator writes this status.
    pub fn is_enforced(&self) -> bool {
        self.status.as_ref().is_some_and(|status| {
            status.observed_generation == self.metadata.generation && status.is_default == Some(self.is_default())
        })
    }
}

/// What to do about a user whose access key AWS has found in public, and to which it has attached its policy
/// AWSCompromisedKeyQuarantine.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, Hash)]
pub enum OnCompromise {
    /// It is told, by the condition `Compromised`, an Event and a metric.
    #[default]
    Report,
    /// The keys are revoked, once for each time that AWS attaches a policy, and another one is made.
    Revoke,
    /// No key of the user works for as long as the policy is attached.
    Suspend,
}

/// What serves IAM.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum ClassProvider {
    /// AWS.
    #[default]
    Aws,
    /// A system that speaks a part of IAM's API beside S3's.
    S3Compatible,
}

/// Where the proof that a user is the operator's is kept.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, Hash)]
pub enum Ownership {
    /// In its tags.
    #[default]
    Tags,
    /// In its path: `/s3access/<cluster>/<uid>/<namespace>/<name>/`.
    Path,
}

/// A Secret in the operator's namespace.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct CredentialsSecretRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Addresses of the services.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, Hash)]
pub struct ClassEndpoints {
    /// IAM's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = r"^https?://[^/]+"))]
    pub iam: Option<String>,
    /// STS's. Default: IAM's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = r"^https?://[^/]+"))]
    pub sts: Option<String>,
    /// S3's, for consumers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = r"^https?://[^/]+"))]
    pub s3: Option<String>,
}

/// How old access keys may become. Durations are Go's, such as `2160h`.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.defaultInterval) || !has(self.maxInterval) || !self.defaultInterval.matches('^[0-9.hms]+$') || !self.maxInterval.matches('^[0-9.hms]+$') || duration(self.defaultInterval) <= duration(self.maxInterval)").message("rotation: defaultInterval must not be longer than maxInterval"),
    validation = Rule::new("!has(self.minInterval) || !has(self.maxInterval) || !self.maxInterval.matches('^[0-9.hms]+$') || !self.minInterval.matches('^[0-9.hms]+$') || duration(self.minInterval) <= duration(self.maxInterval)").message("rotation: minInterval must not be longer than maxInterval")
)]
pub struct ClassRotation {
    /// For the S3AccessUsers that do not say. Default: maxInterval, else no scheduled rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::duration_schema")]
    pub default_interval: Option<Duration>,
    /// No S3AccessUser may ask for a longer one, nor for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::duration_schema")]
    pub max_interval: Option<Duration>,
    /// No S3AccessUser may ask for a shorter one. Default: the operator's, an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::duration_schema")]
    pub min_interval: Option<Duration>,
}

/// Namespaces: those of the list, and those that the selector matches.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
pub struct AllowedNamespaces {
    /// By name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63)))]
    pub names: Vec<String>,
    /// By label. Whoever may label namespaces may then choose the class for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// Where Namespaces name buckets, beside those of allowedBuckets. Whoever may change Namespaces decides what their users may
/// have: tenants must not.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.namespaceAnnotation) != has(self.namespaceLabel)").message("allowedBucketsFrom: set namespaceAnnotation or namespaceLabel, and not both"),
    validation = Rule::new("!has(self.pattern) || (has(self.namespaceLabel) && self.pattern.contains('{label}'))").message("allowedBucketsFrom: pattern belongs to a namespaceLabel, and holds {label}")
)]
pub struct BucketsFrom {
    /// The key of an annotation: its value is patterns as in allowedBuckets, separated by commas or spaces, at most 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 317),
        regex(pattern = r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$")
    )]
    pub namespace_annotation: Option<String>,
    /// The key of a label: its value is the name of a bucket, or what stands for `{label}` in `pattern`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 317),
        regex(pattern = r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$")
    )]
    pub namespace_label: Option<String>,
    /// With namespaceLabel: a pattern with `{label}`, such as `{label}-*`. Default: `{label}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^([a-z0-9.*?-]|[{](namespace|label)[}])+$"))]
    pub pattern: Option<String>,
}

/// What was last seen of the class.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
// Before the first reconcile, kstatus would take an object without a status for one that is done.
#[schemars(extend("default" = { "observedGeneration": -1 }))]
#[serde(rename_all = "camelCase")]
pub struct S3AccessClassStatus {
    /// The generation that every S3AccessUser of the class has been held against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: the account answers, and is the right one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// Its partition: `aws`, `aws-cn`, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// Whether S3AccessUsers that name no class are held against this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_default: Option<bool>,
    /// Tells one state of what the class goes by in Namespaces from another, for every S3AccessUser has been held against it.
    /// Absent: it goes by nothing there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces_digest: Option<String>,
    /// What an S3-compatible system was found to do, by trying it. Until then, nobody is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// How many S3AccessUsers there are in the class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<i64>,
}

fn arn_patterns_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "Patterns of ARNs, with * and ?.",
        "type": "array",
        "maxItems": 64,
        "items": { "type": "string", "minLength": 1, "maxLength": 512, "pattern": "^[A-Za-z0-9+=,.@:/_*?-]+$" },
    })
}

fn metadata_key_patterns_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "Patterns of the keys of labels or annotations, with * and ?. Default: none.",
        "type": "array",
        "maxItems": 64,
        "items": { "type": "string", "minLength": 1, "maxLength": 317, "pattern": "^[A-Za-z0-9_./*?-]+$" },
    })
}

fn class_tags_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "Tags of every IAM user; they win over those of an S3AccessUser.",
        "type": "object",
        "maxProperties": 10,
        "additionalProperties": { "type": "string", "maxLength": 256 },
        "x-kubernetes-validations": [{
            "rule": "self.all(k, !k.lowerAscii().startsWith('s3access.dev/') && !k.lowerAscii().startsWith('aws:'))",
            "message": "tags: the prefixes s3access.dev/ and aws: are reserved",
        }],
    })
}
