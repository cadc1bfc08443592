//! The policy document: compiled from the spec, checked against IAM's rules, compared by meaning.

mod document;
mod grants;
mod statement;

pub use document::Document;

use crate::api::{PolicyPreset, Reason, S3AccessUserSpec};
use serde_json::{Value, json};

/// IAM's limit on a managed policy: characters, whitespace not counted (IAM user guide, "IAM and AWS STS quotas").
pub const MANAGED_LIMIT: usize = 6_144;
/// IAM's limit on all inline policies of a user together, counted in the same way.
pub const INLINE_LIMIT: usize = 2_048;

/// Why the spec cannot become a policy, in words that say what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PolicyError {
    /// InvalidPolicy, PartitionMismatch, NotPermittedByClass or PolicyTooLarge.
    pub reason: Reason,
    /// What is wrong and what to do.
    pub message: String,
}

impl PolicyError {
    fn invalid(message: impl Into<String>) -> Self {
        Self {
            reason: Reason::InvalidPolicy,
            message: message.into(),
        }
    }
}

/// The policy of `spec.access` and `spec.policy`; `None` where neither grants anything.
///
/// # Errors
/// [`PolicyError`] where IAM would refuse the policy, or where it reaches beyond S3.
pub fn compile(spec: &S3AccessUserSpec, partition: &str, account: &str) -> Result<Option<Document>, PolicyError> {
    let mut statements = grants::statements(&spec.access, partition)?;
    if let Some(policy) = &spec.policy {
        match policy.preset {
            Some(PolicyPreset::ReadWriteNoDelete) => statements.push(read_write_no_delete(partition)),
            None => {}
        }
        for (index, raw) in policy.statements.iter().enumerate() {
            let at = format!("spec.policy.statements[{index}]");
            statements.push(statement::check(raw, &at, partition, account)?);
        }
    }
    if statements.is_empty() {
        return Ok(None);
    }
    Ok(Some(Document::new(statements)))
}

/// The console walk-through's statement, to the letter.
fn read_write_no_delete(partition: &str) -> Value {
    json!({
        "Sid": "Statement1",
        "Effect": "Allow",
        "Action": ["s3:PutObject", "s3:GetObject", "s3:CreateBucket", "s3:ListAllMyBuckets", "s3:ListBucket"],
        "Resource": format!("arn:{partition}:s3:::*"),
    })
}

/// Checks the document against the limit of its type.
///
/// # Errors
/// PolicyTooLarge with both numbers.
pub fn check_size(document: &Document, limit: usize) -> Result<(), PolicyError> {
    let size = document.size();
    if size <= limit {
        return Ok(());
    }
    let hint = if limit == INLINE_LIMIT {
        "use spec.policy.type Managed (6144 characters), or fewer grants"
    } else {
        "use fewer grants or wildcards, or split them over several S3AccessUsers"
    };
    Err(PolicyError {
        reason: Reason::PolicyTooLarge,
        message: format!("the policy has {size} characters without whitespace and IAM takes {limit}: {hint}"),
    })
}
