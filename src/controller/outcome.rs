//! What a reconcile of an S3AccessUser ends with.

use jiff::Timestamp;

/// What a look ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is as it should be; look again at that time.
    Settled(Timestamp),
    /// Nothing had changed since; look again at that time.
    Deferred(Timestamp),
    /// Something comes by itself; look again at that time.
    Waiting(Timestamp),
    /// Something went wrong or stands in the way; look again at that time.
    Failed(Timestamp),
    /// Only a change of the CR brings news.
    Refused(Timestamp),
    /// The CR is let go.
    Deleted,
}

impl Outcome {
    /// One word, for the metric's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Settled(_) => "settled",
            Self::Deferred(_) => "deferred",
            Self::Waiting(_) => "waiting",
            Self::Failed(_) => "failed",
            Self::Refused(_) => "refused",
            Self::Deleted => "deleted",
        }
    }

    /// When to look again.
    pub fn due_at(self) -> Option<Timestamp> {
        match self {
            Self::Settled(at) | Self::Deferred(at) | Self::Waiting(at) | Self::Failed(at) | Self::Refused(at) => {
                Some(at)
            }
            Self::Deleted => None,
        }
    }
}
