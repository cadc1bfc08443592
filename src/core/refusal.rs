//! Why a spec is refused: what every check of the core answers.

use crate::api::Reason;

/// Why the spec cannot be carried out, in words that say what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The reason of the Ready condition.
    pub reason: Reason,
    /// What is wrong and what to do.
    pub message: String,
}

impl Refusal {
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// With the reason InvalidSpec.
    pub(super) fn invalid_spec(message: impl Into<String>) -> Self {
        Self::new(Reason::InvalidSpec, message)
    }

    /// With the reason InvalidPolicy.
    pub(super) fn invalid_policy(message: impl Into<String>) -> Self {
        Self::new(Reason::InvalidPolicy, message)
    }
}
