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

    /// Looks again by then.
    #[must_use]
    pub fn by(self, latest: Option<Timestamp>) -> Self {
        let earlier = |at: Timestamp| latest.map_or(at, |latest| latest.min(at));
        match self {
            Self::Settled(at) => Self::Settled(earlier(at)),
            Self::Deferred(at) => Self::Deferred(earlier(at)),
            Self::Waiting(at) => Self::Waiting(earlier(at)),
            Self::Failed(at) => Self::Failed(earlier(at)),
            Self::Refused(at) => Self::Refused(earlier(at)),
            Self::Deleted => Self::Deleted,
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
