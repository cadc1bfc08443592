//! What an S3-compatible system was found to do, by trying it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ClassEndpoints;

/// What an S3-compatible system was found to do.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// Where it was tried. It is tried again elsewhere.
    #[serde(default)]
    pub endpoints: ClassEndpoints,
    /// What it calls itself, in the header `Server` of its answers. It is tried again when that changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// When it was tried last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried_at: Option<Time>,
    /// The condition keys of policies that it looks at: `aws:SourceIp`, `aws:SecureTransport`, `aws:CurrentTime`. What binds
    /// keys by others is refused.
    #[serde(default)]
    pub condition_keys: Vec<String>,
    /// What else was tried, each with what came of it.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub trials: Vec<Trial>,
}

/// One thing that a system was tried for.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    /// What it was tried for.
    pub name: Capability,
    /// Whether it does it.
    pub works: bool,
    /// What it does instead, and what to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// What a system may do or not.
#[derive(JsonSchema, Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// It keeps the tags or the path that prove whose a user is, also where they are changed.
    Ownership,
    /// It keeps a policy as it was written, and shows it.
    PolicyKept,
    /// A user may do what its policy allows, and nothing without one.
    PolicyEnforced,
    /// It refuses a key that it does not know, and one with a wrong secret, otherwise than one that it knows.
    UnknownKeyRefused,
    /// It refuses an inactive key, and takes it again once it is active.
    InactiveKeyRefused,
    /// A user may have two access keys at a time, so that one can follow the other.
    TwoKeys,
    /// Policies that allow a prefix of a bucket keep a user to it.
    Prefixes,
    /// It shows when a key was made.
    KeyDates,
    /// It does not delete a user that has access keys.
    DeletionGuarded,
}

impl Capability {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Self; 9] = [
        Self::Ownership,
        Self::PolicyKept,
        Self::KeyDates,
        Self::TwoKeys,
        Self::UnknownKeyRefused,
        Self::PolicyEnforced,
        Self::Prefixes,
        Self::InactiveKeyRefused,
        Self::DeletionGuarded,
    ];
}
