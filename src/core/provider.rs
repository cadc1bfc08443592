//! What serves IAM: AWS, or a server that speaks a part of it.

use super::desired::{Desired, DesiredPolicy, Refusal};
use crate::api::Reason;

/// What serves IAM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Provider {
    /// AWS, with all of its calls.
    #[default]
    Aws,
    /// An S3-compatible system: users, tags, inline policies and access keys.
    S3Compatible,
}

impl Provider {
    /// Whether there is more to a user than tags, inline policies and access keys. Where there is not, nothing of it is
    /// asked for: a server that does not know a call may just as well say that it is not allowed.
    pub fn has_all_of_iam(self) -> bool {
        self == Self::Aws
    }

    /// Refuses what the server could not keep, before anything is made. Some servers ignore a boundary without a word.
    ///
    /// # Errors
    /// [`Refusal`], which says what to write instead.
    pub fn check(self, desired: Desired) -> Result<Desired, Refusal> {
        let lacks = match self {
            Self::Aws => None,
            Self::S3Compatible if matches!(desired.policy, Some(DesiredPolicy::Managed { .. })) => {
                Some("spec.policy.type: an S3-compatible IAM has no managed policies: use policy.type: Inline")
            }
            Self::S3Compatible if !desired.attached.is_empty() => Some(
                "spec.managedPolicyArns: an S3-compatible IAM has no managed policies: write the policy in spec.access or spec.policy, and use policy.type: Inline",
            ),
            Self::S3Compatible if desired.boundary.is_some() => {
                Some("spec.permissionsBoundaryArn: an S3-compatible IAM has no permissions boundaries: remove it")
            }
            Self::S3Compatible => None,
        };
        match lacks {
            None => Ok(desired),
            Some(message) => Err(Refusal { reason: Reason::InvalidPolicy, message: message.to_owned() }),
        }
    }
}
