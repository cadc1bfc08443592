//! The closed sets of condition types and reasons: an alert or a script may match on any of them.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition as KubernetesCondition, Time};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize};

/// A condition as Kubernetes has it, in half the memory, since its words are from closed sets. Of each S3AccessUser there
/// are seven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// When the status last changed.
    pub last_transition_time: Time,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// The generation of the spec that it answers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// A [`Reason`].
    #[serde(default, deserialize_with = "word")]
    pub reason: Cow<'static, str>,
    /// `True`, `False` or `Unknown`.
    #[serde(default, deserialize_with = "word")]
    pub status: Cow<'static, str>,
    /// A [`ConditionType`].
    #[serde(rename = "type", default, deserialize_with = "word")]
    pub type_: Cow<'static, str>,
}

impl JsonSchema for Condition {
    fn schema_name() -> Cow<'static, str> {
        KubernetesCondition::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        KubernetesCondition::json_schema(generator)
    }
}

/// A word of ours takes no memory of its own; others may stand there, too.
fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'static, str>, D::Error> {
    let found = String::deserialize(deserializer)?;
    let types = ConditionType::ALL.iter().map(|kind| kind.as_str());
    let reasons = Reason::ALL.iter().map(|reason| reason.as_str());
    let known = ["True", "False", "Unknown"].into_iter().chain(types).chain(reasons).find(|word| *word == found);
    Ok(known.map_or(Cow::Owned(found), Cow::Borrowed))
}

/// The types of the conditions in `status.conditions`.
///
/// `Ready`, `Reconciling` and `Stalled` have kstatus's meaning; the others say how far each part has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// Everything the spec asks for is true in IAM and in the Secret.
    Ready,
    /// The operator is at work or will try again by itself.
    Reconciling,
    /// Only somebody's action can help.
    Stalled,
    /// The IAM user exists, is ours and is as the spec says.
    UserSynced,
    /// The policies are in place.
    PolicySynced,
    /// The access key exists, has the wanted status and has been seen to work.
    AccessKeySynced,
    /// The Secret holds that key.
    SecretSynced,
    /// The workloads that the spec names have been asked to restart since the key was replaced. Ready does not depend on
    /// it, and it is there only where the spec names any.
    WorkloadsRestarted,
}

impl ConditionType {
    /// Every type.
    pub const ALL: [Self; 8] = [
        Self::Ready,
        Self::Reconciling,
        Self::Stalled,
        Self::UserSynced,
        Self::PolicySynced,
        Self::AccessKeySynced,
        Self::SecretSynced,
        Self::WorkloadsRestarted,
    ];

    /// The name as it stands in `status.conditions[].type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::UserSynced => "UserSynced",
            Self::PolicySynced => "PolicySynced",
            Self::AccessKeySynced => "AccessKeySynced",
            Self::SecretSynced => "SecretSynced",
            Self::WorkloadsRestarted => "WorkloadsRestarted",
        }
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Why a condition is as it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Reason {
            /// Every reason, for the documentation and its test.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The name as it stands in `status.conditions[].reason`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }
        }
    };
}

reasons! {
    /// All is as the spec says.
    Synced,
    /// The IAM user, the policy or the key is being made.
    Creating,
    /// A new key is on its way, or the old one is in its overlap.
    Rotating,
    /// A key exists but AWS does not accept it everywhere yet.
    WaitingForKey,
    /// Everything of ours is being removed.
    Deleting,
    /// The IAM user (or policy) of that name belongs to somebody else.
    ForeignUser,
    /// The Secret of that name belongs to somebody else.
    ForeignSecret,
    /// The Secret of that name belongs to another S3AccessUser.
    SecretNameTaken,
    /// Both access key slots of the user hold keys that are not ours.
    ForeignAccessKeys,
    /// The object does not fit the schema of this version.
    InvalidSpec,
    /// The policy is not valid.
    InvalidPolicy,
    /// The policy is over an IAM limit.
    PolicyTooLarge,
    /// An ARN names another partition than the account's.
    PartitionMismatch,
    /// The spec asks for something that its class does not allow.
    NotPermittedByClass,
    /// There is no S3AccessClass of that name.
    ClassNotFound,
    /// The operator lacks a permission.
    AccessDenied,
    /// The operator has no AWS credentials.
    NoCredentials,
    /// AWS refuses the operator's credentials.
    InvalidCredentials,
    /// AWS cannot be reached.
    Unreachable,
    /// AWS asks for fewer requests, or to come again later.
    Throttled,
    /// An IAM quota is used up.
    QuotaExceeded,
    /// The credentials now belong to another account than the user.
    AccountMismatch,
    /// Something that is not ours keeps the user or policy from being deleted.
    DeleteBlocked,
    /// The access key is inactive because the spec says so.
    Suspended,
    /// The CR carries the paused annotation.
    Paused,
    /// An error that has no name of its own.
    Failed,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_condition_reads_and_writes_as_kubernetes_has_it() {
        for (reason, ours) in [("Synced", true), ("SomebodyElses", false)] {
            let value = json!({
                "lastTransitionTime": "2026-01-01T00:00:00Z", "message": "", "observedGeneration": 3, "reason": reason,
                "status": "True", "type": "Ready",
            });
            let condition: Condition = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(serde_json::to_value(&condition).unwrap(), value);
            let theirs: KubernetesCondition = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(serde_json::to_value(theirs).unwrap(), value);
            assert_eq!(matches!(condition.reason, Cow::Borrowed(_)), ours);
            assert!(matches!((&condition.status, &condition.type_), (Cow::Borrowed(_), Cow::Borrowed(_))));
        }
    }

    #[test]
    fn reasons_are_camel_case_words_that_kubernetes_accepts() {
        for reason in Reason::ALL {
            let name = reason.as_str();
            assert!(name.starts_with(|c: char| c.is_ascii_uppercase()), "{name}");
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "{name}");
        }
    }
}
