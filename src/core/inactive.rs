//! Why an access key is not to work.

use jiff::Timestamp;

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

/// When an S3AccessUser's access ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// From then on nothing is allowed; a whole second, as IAM's policies have it.
    pub at: Timestamp,
    /// What says so.
    pub by: EndedBy,
}

/// What sets the end of an S3AccessUser's access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// `spec.expiresAt`.
    Spec,
    /// The class's `maxLifetime`.
    Class,
}

impl Expiry {
    /// At that time, less the fraction of a second.
    pub fn at(at: Timestamp, by: EndedBy) -> Self {
        Self { at: Timestamp::from_second(at.as_second()).unwrap_or(at), by }
    }

    /// The earlier of two.
    pub fn earlier(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        one.into_iter().chain(other).min_by_key(|expiry| expiry.at)
    }

    /// Why the key does not work, where it is over.
    pub fn inactive(self, now: Timestamp) -> Option<Inactive> {
        let what = match self.by {
            EndedBy::Spec => "spec.expiresAt: write a later date there, or delete the S3AccessUser",
            EndedBy::Class => {
                "the class's maxLifetime: delete the S3AccessUser and create another, or have the class allow more"
            }
        };
        let message = format!("its time was over at {}, by {what}", self.at);
        (self.at <= now).then_some(Inactive { reason: Reason::Expired, message })
    }
}
