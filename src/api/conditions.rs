//! The closed sets of condition types and reasons: an alert or a script may match on any of them.

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
    /// Nothing in `access` and `policy` is surely a mistake. Ready does not depend on it, and it is there only where they
    /// grant anything and AWS is what serves IAM.
    PolicyEffective,
    /// AWS has found an access key of the user in public, and has attached a policy that says so. Ready does not depend on it,
    /// and it is there only while it is true.
    Compromised,
    /// As far as AWS tells, the access key has not been used for long. Ready does not depend on it, and it is there only while it
    /// is true.
    Unused,
}

impl ConditionType {
    /// Every type.
    pub const ALL: [Self; 11] = [
        Self::Ready,
        Self::Reconciling,
        Self::Stalled,
        Self::UserSynced,
        Self::PolicySynced,
        Self::AccessKeySynced,
        Self::SecretSynced,
        Self::WorkloadsRestarted,
        Self::PolicyEffective,
        Self::Compromised,
        Self::Unused,
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
            Self::PolicyEffective => "PolicyEffective",
            Self::Compromised => "Compromised",
            Self::Unused => "Unused",
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

impl Reason {
    /// Whether what serves IAM is the obstacle, and not what is asked of it.
    pub fn is_of_the_system(self) -> bool {
        matches!(self, Self::OwnershipNotKept | Self::SystemUnfit)
    }
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
    /// The system drops what proves that an IAM user is the operator's: no key is made there.
    OwnershipNotKept,
    /// The S3-compatible system lacks what keys need to be safe.
    SystemUnfit,
    /// The IAM user (or policy) of that name belongs to somebody else.
    ForeignUser,
    /// The Secret of that name belongs to somebody else.
    ForeignSecret,
    /// The Secret of that name belongs to another S3AccessUser.
    SecretNameTaken,
    /// The Secret is immutable, and would have to be written.
    SecretImmutable,
    /// Both access key slots of the user hold keys that are not ours.
    ForeignAccessKeys,
    /// The object does not fit the schema of this version.
    InvalidSpec,
    /// The policy is not valid.
    InvalidPolicy,
    /// The policy holds what has no effect, or another than was meant.
    PolicyMistake,
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
    /// AWS has found an access key of the user in public.
    Compromised,
    /// The access key was revoked, and the next one is not in the Secret yet.
    Revoked,
    /// The time that the spec or the class has set is over.
    Expired,
    /// As far as AWS tells, the access key has not been used for long.
    Unused,
    /// The CR carries the paused annotation.
    Paused,
    /// An error that has no name of its own.
    Failed,
    /// The operator has met a defect of its own on this object.
    ReconcilePanicked,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_camel_case_words_that_kubernetes_accepts() {
        for reason in Reason::ALL {
            let name = reason.as_str();
            assert!(name.starts_with(|c: char| c.is_ascii_uppercase()), "{name}");
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "{name}");
        }
    }
}
