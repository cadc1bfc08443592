//! Who may write: a process that was stopped for a while must not go on as if nothing had happened.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// Until when this process is the leader, by the Lease's own times; shared by whoever reads the Lease and whoever writes.
#[derive(Clone, Debug)]
pub struct Leadership(Arc<AtomicI64>);

/// A write was not made.
#[derive(Clone, Debug, thiserror::Error)]
#[error("this process may not lead any more, so it writes nothing")]
pub struct NotLeading;

impl Leadership {
    /// Without an election there is no other who could write.
    pub fn unopposed() -> Self {
        Self(Arc::new(AtomicI64::new(i64::MAX)))
    }

    /// Not this process, unless it is told otherwise.
    pub fn nobody() -> Self {
        Self(Arc::new(AtomicI64::new(i64::MIN)))
    }

    /// The Lease was taken or renewed, and is good until then.
    pub fn extend(&self, end: Timestamp) {
        self.0.store(end.as_millisecond(), Ordering::Relaxed);
    }

    /// Lets who may write go on.
    ///
    /// # Errors
    /// [`NotLeading`]: another process may have taken over meanwhile.
    pub fn check(&self, now: Timestamp) -> Result<(), NotLeading> {
        if self.holds_at(now) { Ok(()) } else { Err(NotLeading) }
    }

    /// Whether this process may write.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        now.as_millisecond() < self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn invariant_5_a_leader_that_was_stopped_for_longer_than_its_lease_may_not_write() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let lease = SignedDuration::from_secs(15);
        let leadership = Leadership::nobody();
        assert!(!leadership.holds_at(Timestamp::MIN));
        leadership.extend(now + lease);
        assert!(leadership.holds_at(now + lease - SignedDuration::from_millis(1)));
        assert!(!leadership.holds_at(now + lease));
        leadership.clone().extend(now + lease * 2);
        assert!(leadership.holds_at(now + lease));
        assert!(Leadership::unopposed().holds_at(Timestamp::MAX));
    }
}
