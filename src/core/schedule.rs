//! When to reconcile again: resyncs, each in a phase of its own, and the backoff after failures.

use jiff::{SignedDuration, Timestamp};

use super::rotation::later;

/// The first pause after something went wrong.
const FIRST_BACKOFF: SignedDuration = SignedDuration::from_secs(1);
/// The longest: what an administrator has put right takes effect within it.
const LAST_BACKOFF: SignedDuration = SignedDuration::from_mins(5);
/// For each user that only somebody's action helps: a hundred are reconciled as often as one.
const PER_BLOCKED: SignedDuration = SignedDuration::from_secs(3);

/// The next resync of this user: each has a phase of its own, so that neither a restart nor the passing of
/// an interval reconciles all of them at once.
pub fn next_resync(uid: &str, now: Timestamp, interval: SignedDuration) -> Timestamp {
    let interval_ms = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1);
    let phase = i64::try_from(fnv(uid) % u64::try_from(interval_ms).unwrap_or(1)).unwrap_or(0);
    let wait = (phase - now.as_millisecond()).rem_euclid(interval_ms);
    later(now, SignedDuration::from_millis(if wait == 0 { interval_ms } else { wait }))
}

/// The pause after so many failures in a row; each user's differs a little.
pub fn backoff(uid: &str, failures: u32) -> SignedDuration {
    backoff_within(uid, failures, LAST_BACKOFF)
}

/// The longest pause of those whom only somebody's action helps, while there are so many of them: all together, they are
/// reconciled no more often than once in [`PER_BLOCKED`], so that a thousand do not use up the account's requests.
pub fn longest_pause(blocked: usize) -> SignedDuration {
    LAST_BACKOFF.max(PER_BLOCKED.saturating_mul(i32::try_from(blocked).unwrap_or(i32::MAX)))
}

/// As [`backoff`], up to another bound.
pub fn backoff_within(uid: &str, failures: u32, longest: SignedDuration) -> SignedDuration {
    let doubled = FIRST_BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest);
    let spread = i64::try_from(fnv(uid) % 256).unwrap_or(0);
    doubled + SignedDuration::from_millis(i64::try_from(doubled.as_millis()).unwrap_or(0) * spread / 1024)
}

/// FNV-1a: the same in every process, unlike the standard library's hasher.
pub fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn invariant_6_a_restart_spreads_the_looks_over_the_interval() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let interval = SignedDuration::from_hours(10);
        let tenth = SignedDuration::from_hours(1);
        let soon = (0..1_000).filter(|n| next_resync(&format!("uid-{n}"), now, interval) < later(now, tenth)).count();
        assert!((50..200).contains(&soon), "{soon} of 1000 within a tenth of the interval");
    }

    #[test]
    fn those_that_fail_together_are_not_tried_again_together() {
        let pauses: Vec<_> = (0..1_000).map(|n| backoff(&format!("uid-{n}"), 30)).collect();
        let apart = *pauses.iter().max().unwrap() - *pauses.iter().min().unwrap();
        assert!(apart > LAST_BACKOFF / 5, "{apart:?}");
    }

    #[test]
    fn many_that_are_blocked_are_looked_at_less_often_and_few_as_ever() {
        assert_eq!((longest_pause(0), longest_pause(100)), (LAST_BACKOFF, LAST_BACKOFF));
        assert_eq!(longest_pause(1_000), SignedDuration::from_mins(50));
        let looks_an_hour: f64 = (0..1_000)
            .map(|n| 3_600.0 / backoff_within(&format!("uid-{n}"), 30, longest_pause(1_000)).as_secs_f64())
            .sum();
        assert!(looks_an_hour <= 1_200.0, "{looks_an_hour}");
    }

    proptest! {
        #[test]
        fn turns_come_once_an_interval(uid in "[0-9a-f-]{36}", seconds in 1_000_000_000_i64..2_000_000_000, interval in 1_i64..100_000) {
            let now = Timestamp::from_second(seconds).unwrap();
            let interval = SignedDuration::from_secs(interval);
            let first = next_resync(&uid, now, interval);
            prop_assert!(first > now && first <= later(now, interval));
            prop_assert_eq!(next_resync(&uid, first, interval), later(first, interval));
        }

        #[test]
        fn the_backoff_grows_to_a_bound(uid in "[0-9a-f-]{36}", failures in 1_u32..100) {
            let pause = backoff(&uid, failures);
            prop_assert!(pause >= FIRST_BACKOFF && pause < LAST_BACKOFF * 5 / 4 + SignedDuration::from_secs(1));
            prop_assert!(backoff(&uid, failures + 1) >= pause);
        }
    }
}
