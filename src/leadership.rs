//! Who may write: a process that was stopped for a while must not go on as if nothing had happened.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Until when this process is the leader, by the Lease's own times; shared by whoever reads the Lease and whoever writes.
#[derive(Clone, Debug)]
pub struct Leadership(Arc<AtomicI64>);

/// How long a Lease is good for, and when it is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTimings {
    /// How long it is good for without being renewed; whole seconds.
    pub duration: SignedDuration,
    /// How long before its end it is renewed; whole seconds.
    pub renew_before: SignedDuration,
}

impl LeaseTimings {
    /// What lies between two renewals at least, and between the last one and the Lease's end.
    pub const LEAST_PAUSE: SignedDuration = SignedDuration::from_secs(2);

    /// Whether it is renewed in time, and not without a pause.
    pub fn leaves_time(self) -> bool {
        self.renew_before >= Self::LEAST_PAUSE && self.duration - self.renew_before >= Self::LEAST_PAUSE
    }

    /// Until when a Lease is good that was renewed then.
    pub fn end(self, renewed: Timestamp) -> Timestamp {
        renewed.checked_add(self.duration).unwrap_or(Timestamp::MAX)
    }

    /// How often the holder reads it: often enough to see in time that it is lost.
    pub fn read_interval(self) -> Duration {
        self.duration.unsigned_abs() / 5
    }
}

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

    use super::*;

    #[test]
    fn a_lease_is_renewed_in_time_and_not_without_a_pause() {
        for (duration, renew_before, holds) in
            [(15, 5, true), (5, 2, true), (5, 3, true), (5, 4, false), (15, 1, false), (15, 15, false), (15, 20, false)]
        {
            let (duration, renew_before) =
                (SignedDuration::from_secs(duration), SignedDuration::from_secs(renew_before));
            assert_eq!(LeaseTimings { duration, renew_before }.leaves_time(), holds, "{duration:?} {renew_before:?}");
        }
    }

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
