//! The clock, held against that of a server.

use jiff::{SignedDuration, Timestamp};

use super::Check;

/// AWS refuses a signature that is off by more than 15 minutes (IAM user guide, "Signing AWS API requests"), and some of
/// its services one of five; where clocks part by this much, something is wrong with them already.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

pub(super) fn judge(what: impl Into<String>, whose: &str, ours: Timestamp, theirs: Timestamp) -> Check {
    let apart = ours.duration_since(theirs).abs();
    if apart > TOLERANCE {
        let problem = format!("{} s from {whose}", apart.as_secs());
        return Check::failure(what, problem, "set up NTP on the nodes; AWS refuses requests of another time");
    }
    Check::ok(what, format!("{whose} is the same within a minute"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Level;

    #[test]
    fn a_clock_may_be_a_minute_off_either_way() {
        let now = Timestamp::UNIX_EPOCH;
        for (seconds, well) in [(0, true), (60, true), (-60, true), (61, false), (-61, false)] {
            let found = judge("clock", "AWS's", now, now + SignedDuration::from_secs(seconds));
            assert_eq!(found.level == Level::Ok, well, "{seconds}");
        }
    }
}
