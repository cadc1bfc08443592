//! Why an access key is not to work.

use crate::api::Reason;

/// Why the access key is not to work, though the S3AccessUser is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inactive {
    /// The reason of the conditions.
    pub reason: Reason,
    /// Why, and what to do, from "because" on.
    pub message: String,
}

impl Inactive {
    /// The spec says so.
    pub fn suspended() -> Self {
        let message = "spec.suspend or spec.accessKey.status says so".to_owned();
        Self { reason: Reason::Suspended, message }
    }

    /// The class allows the S3AccessUser nothing at all.
    pub fn expelled() -> Self {
        let message = "the class allows this S3AccessUser nothing".to_owned();
        Self { reason: Reason::NotPermittedByClass, message }
    }
}
