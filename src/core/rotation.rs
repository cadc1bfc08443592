//! When a key is replaced, and when the replaced one goes.
//!
//! Everything is computed from IAM's CreateDate and from the record on the Secret, so that a failover or an edited
//! interval needs no memory.

use jiff::{SignedDuration, Timestamp};

use window::{SWAP, Turn};

pub mod own_key;
pub mod window;

/// How long a replaced key goes on working where the spec does not say.
pub const DEFAULT_OVERLAP: SignedDuration = SignedDuration::from_hours(24);
/// How long a deactivated key is kept, so that a consumer that was overlooked can be helped by reactivating it.
pub const INACTIVE_GRACE: SignedDuration = SignedDuration::from_hours(1);
/// How often a new key must be seen to work before it replaces an old one: IAM's replicas answer in turn, and one
/// that knows the key says nothing of the next.
pub const PROBES: u32 = 3;
/// A new key that AWS refuses for this many consistency windows is given up.
pub const UNUSABLE_AFTER: i32 = 10;
/// A new key goes into the Secret within this time, or within an overlap where that is longer: so a record of the swap that
/// somebody edits keeps no replaced key alive for ever.
pub const LONGEST_SWAP: SignedDuration = SignedDuration::from_hours(1);

/// The rotation that the spec asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The age at which a key is replaced.
    pub interval: Option<SignedDuration>,
    /// Within which hours, so that it is replaced before that age.
    pub window: Option<Turn>,
    /// How long the replaced key goes on working.
    pub overlap: SignedDuration,
    /// How long a key may work that nothing could replace; then it is inactive, until another has replaced it.
    pub longest_life: Option<Life>,
    /// The value of the CR's rotate annotation.
    pub requested: Option<String>,
}

impl Rotation {
    /// How old a new key may be when it goes into the Secret: a swap that is recorded for later is taken to have been then, and
    /// one that would be later is not made, since the replaced key would have no overlap of it.
    pub fn longest_swap(&self) -> SignedDuration {
        self.overlap.max(LONGEST_SWAP)
    }

    /// When a key of that age is due, by schedule. With a window, its successor is in the Secret before the key is older than
    /// the interval: where no window lies in time (the rules of a time zone may change), the interval counts alone.
    pub fn due_at(&self, created_at: Timestamp) -> Option<Timestamp> {
        let deadline = later(created_at, self.interval?);
        let Some(turn) = &self.window else { return Some(deadline) };
        let in_window = turn.between(later(created_at, window::earliest(self.overlap)), deadline);
        Some(in_window.unwrap_or_else(|| later(deadline, -SWAP).max(created_at)))
    }
}

/// How long a key may work, whatever keeps it from being replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// The age at which a key is replaced at the latest.
    longest: SignedDuration,
    /// The longest that an ordinary rotation takes, until the replaced key is inactive.
    rotation: SignedDuration,
}

impl Life {
    /// With that longest interval; a rotation ends two overlaps after the swap at the latest.
    pub fn new(longest: SignedDuration, overlap: SignedDuration) -> Self {
        Self { longest, rotation: overlap.saturating_mul(2).saturating_add(LONGEST_SWAP) }
    }

    /// When a key has to be inactive that is made at that time.
    pub fn of_key_made_at(self, created_at: Timestamp) -> Timestamp {
        later(created_at, self.longest.saturating_add(self.rotation))
    }

    /// When a key has to be inactive, which works or does not; `made`: when the user's keys were. One that works and was too old
    /// before another was made, since its class has not always bounded it or nobody was there to replace it, is replaced like any other: without
    /// a gap, and through its overlap.
    pub fn of_key(self, created_at: Timestamp, active: bool, made: impl Iterator<Item = Timestamp>) -> Timestamp {
        let ends_at = self.of_key_made_at(created_at);
        match made.filter(|at| *at > created_at).min() {
            Some(replaced_at) if active && replaced_at >= ends_at => later(replaced_at, self.rotation),
            _ => ends_at,
        }
    }
}

/// What becomes of a replaced key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retirement {
    /// Until then it works.
    pub deactivate_at: Timestamp,
    /// From then on it may be deleted.
    pub delete_at: Timestamp,
    /// Its use during the overlap has put that off.
    pub extended: bool,
}

impl Retirement {
    /// A key that was replaced at `rotated_at` works for `overlap`. If IAM reports a use of it after the swap, it works
    /// for one overlap more after that use, but never longer than two overlaps in all: an idle report proves nothing
    /// (IAM's lags by hours), and a consumer that never reloads must not keep a key alive for ever.
    pub fn of(rotated_at: Timestamp, overlap: SignedDuration, last_used: Option<Timestamp>) -> Self {
        let regular = later(rotated_at, overlap);
        let bound = later(regular, overlap);
        let deactivate_at = last_used.map_or(regular, |used| later(used, overlap).clamp(regular, bound));
        Self {
            deactivate_at,
            delete_at: later(deactivate_at, overlap.min(INACTIVE_GRACE)),
            extended: deactivate_at > regular,
        }
    }
}

/// `time + duration`, the end of time where that overflows.
pub fn later(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rival_13_an_interval_edit_takes_effect_at_once() {
        let created: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let due = |hours| {
            let interval = Some(SignedDuration::from_hours(hours));
            Rotation { interval, window: None, overlap: DEFAULT_OVERLAP, longest_life: None, requested: None }
                .due_at(created)
        };
        assert_eq!(due(48), Some("2026-01-03T00:00:00Z".parse().unwrap()));
        assert_eq!(due(i64::MAX / 3600), Some(Timestamp::MAX));
    }

    #[test]
    fn only_use_after_the_swap_extends_an_overlap() {
        let (rotated, hour) = (Timestamp::from_second(1_000_000_000).unwrap(), SignedDuration::from_hours(1));
        for (used, extended) in
            [(None, false), (Some(-hour), false), (Some(SignedDuration::ZERO), false), (Some(hour), true)]
        {
            let retirement = Retirement::of(rotated, hour * 24, used.map(|used| later(rotated, used)));
            assert_eq!(retirement.extended, extended, "{used:?}");
        }
    }

    #[test]
    fn invariant_12_a_key_that_was_too_old_before_its_successor_was_made_is_replaced_without_a_gap() {
        let hours = |hours| later(Timestamp::UNIX_EPOCH, SignedDuration::from_hours(hours));
        // It ends after 100 hours, two overlaps of 24, and one.
        let life = Life::new(SignedDuration::from_hours(100), DEFAULT_OVERLAP);
        for (active, others, end) in [
            (true, &[][..], 149),
            (true, &[148], 149),
            (true, &[149], 149 + 49),
            (true, &[1_000], 1_000 + 49),
            (true, &[2_000, 1_000], 1_000 + 49),
            (true, &[1_000, 148], 149),
            (true, &[0, -1_000], 149),
            (false, &[1_000], 149),
        ] {
            let made = others.iter().chain([&0]).copied().map(hours);
            assert_eq!(life.of_key(hours(0), active, made), hours(end), "{active} {others:?}");
        }
    }

    proptest! {
        #[test]
        fn a_retirement_is_bounded(overlap in 0_i64..100_000, used in proptest::option::of(-100_000_i64..400_000)) {
            let rotated = Timestamp::from_second(1_000_000_000).unwrap();
            let overlap = SignedDuration::from_secs(overlap);
            let used = used.map(|seconds| later(rotated, SignedDuration::from_secs(seconds)));
            let retirement = Retirement::of(rotated, overlap, used);
            prop_assert!(retirement.deactivate_at >= later(rotated, overlap));
            prop_assert!(retirement.deactivate_at <= later(rotated, overlap * 2));
            prop_assert!(retirement.delete_at >= retirement.deactivate_at);
            prop_assert!(retirement.delete_at <= later(rotated, overlap * 3));
        }
    }
}
