//! Who goes first. What is to be revoked comes before what nobody can use yet, that before what somebody has changed, and all
//! of them before what can wait: the sweep, rotations by the hundred, and what has just failed.

use crate::api::{ConditionType, S3AccessUserStatus};

/// How urgent a reconcile of a user is, and each call that it makes; the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Its keys are to be revoked: taking access away waits for nothing.
    Revoked,
    /// A session is due: it ends by itself, and whoever is late takes access away.
    Expiring,
    /// A workload waits for a key that works: the user is new, or its Secret was lost or altered.
    New,
    /// The spec was edited, or the user is to be deleted.
    Edited,
    /// A new key is on its way into the Secret: what was begun is ended before more is begun.
    Begun,
    /// An annotation was changed, such as the one that asks for a rotation: whoever does that to all users at once
    /// keeps no new one waiting.
    Requested,
    /// The sweep, scheduled rotations, a changed class, and another try of what has failed.
    Background,
}

impl Priority {
    /// Every priority, the most urgent first.
    pub const ALL: [Self; 7] =
        [Self::Revoked, Self::Expiring, Self::New, Self::Edited, Self::Begun, Self::Requested, Self::Background];

    /// The label of the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Expiring => "expiring",
            Self::New => "new",
            Self::Edited => "edited",
            Self::Begun => "begun",
            Self::Requested => "requested",
            Self::Background => "background",
        }
    }

    /// The share of what may be used at once that is kept for the more urgent.
    pub fn kept_for_others(self) -> f64 {
        match self {
            Self::Revoked | Self::Expiring | Self::New => 0.0,
            Self::Edited => 0.1,
            Self::Begun | Self::Requested | Self::Background => 0.75,
        }
    }
}

/// What is known of a user before it is reconciled, without any read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Situation<'a> {
    /// The spec's generation.
    pub generation: Option<i64>,
    /// Keys of it that may work are to be revoked.
    pub revokes: bool,
    /// The deletion was asked for.
    pub deleting: bool,
    /// Something may have been made for it already.
    pub finalized: bool,
    /// The status as last written.
    pub status: Option<&'a S3AccessUserStatus>,
    /// A key was made that is in no Secret yet.
    pub begun: bool,
    /// A session is due.
    pub session_due: bool,
    /// How often in a row a reconcile ended short of done.
    pub failures: u32,
    /// Generation or annotations are others than when all was done.
    pub asks_anew: bool,
    /// The Secret is gone or another than when all was done.
    pub secret_changed: bool,
}

impl Situation<'_> {
    /// How urgent a reconcile is.
    pub fn priority(&self) -> Priority {
        if self.revokes && self.finalized {
            return Priority::Revoked;
        }
        // One that cannot be renewed, whatever the reason, is tried again ahead of what only is to be kept true.
        if self.session_due && !self.deleting {
            return if self.failures == 0 { Priority::Expiring } else { Priority::Begun };
        }
        let seen = self.status.is_some_and(|status| status.observed_generation == self.generation);
        if self.secret_changed && !self.deleting {
            return Priority::New;
        }
        if !seen {
            return if self.finalized { Priority::Edited } else { Priority::New };
        }
        if self.begun && !self.is_being_made() {
            return Priority::Begun;
        }
        // What has just failed may fail again, and must not do so at the expense of others.
        if self.failures > 0 {
            return Priority::Background;
        }
        if self.deleting {
            return Priority::Edited;
        }
        if self.is_being_made() {
            return Priority::New;
        }
        if self.asks_anew { Priority::Requested } else { Priority::Background }
    }

    /// Not usable yet, and only the operator is waited for.
    fn is_being_made(&self) -> bool {
        let is = |kind: ConditionType, word: &str| {
            let mut conditions = self.status.iter().flat_map(|status| &status.conditions);
            conditions.any(|condition| condition.type_ == kind.as_str() && condition.status == word)
        };
        is(ConditionType::Ready, "False") && is(ConditionType::Reconciling, "True")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Reason;
    use crate::core::conditions::Conditions;
    use crate::core::plan::{Part, Parts, Progress};

    fn status(generation: i64, key: Progress) -> S3AccessUserStatus {
        let synced = || Progress::Synced;
        let mut parts = Parts { user: synced(), policy: synced(), key: synced(), secret: synced() };
        parts.set(Part::AccessKey, key);
        let generation = Some(generation);
        let made = Conditions { earlier: &[], generation, now: jiff::Timestamp::UNIX_EPOCH };
        let conditions = made.of_parts(&parts);
        S3AccessUserStatus { observed_generation: generation, conditions, ..S3AccessUserStatus::default() }
    }

    #[test]
    fn the_less_urgent_leave_more_to_others() {
        let kept = Priority::ALL.map(Priority::kept_for_others);
        assert!(kept.is_sorted() && kept[2] < kept[3] && kept[3] < kept[4], "{kept:?}");
        assert!(kept.iter().all(|kept| (0.0..1.0).contains(kept)), "{kept:?}");
    }

    fn settled(status: &S3AccessUserStatus) -> Situation<'_> {
        Situation { generation: Some(1), finalized: true, status: Some(status), ..Situation::default() }
    }

    #[test]
    fn a_user_is_new_until_its_key_works() {
        let fresh = Situation { generation: Some(1), ..Situation::default() };
        assert_eq!(fresh.priority(), Priority::New);
        let waits = status(1, Progress::Waiting(Reason::WaitingForKey, String::new()));
        assert_eq!(settled(&waits).priority(), Priority::New);
        assert_eq!(settled(&status(1, Progress::Synced)).priority(), Priority::Background, "the sweep");
    }

    #[test]
    fn what_somebody_does_to_one_user_overtakes_what_happens_to_all() {
        let well = status(1, Progress::Synced);
        let edited = Situation { generation: Some(2), ..settled(&well) };
        assert_eq!(edited.priority(), Priority::Edited);
        let revoked = Situation { revokes: true, secret_changed: true, failures: 3, ..settled(&well) };
        assert_eq!(revoked.priority(), Priority::Revoked, "whatever else it is");
        assert_eq!(Situation { finalized: false, ..revoked }.priority(), Priority::New, "it has no key yet");
        assert_eq!(Situation { deleting: true, ..settled(&well) }.priority(), Priority::Edited);
        assert_eq!(Situation { secret_changed: true, ..settled(&well) }.priority(), Priority::New);
        assert_eq!(Situation { asks_anew: true, ..settled(&well) }.priority(), Priority::Requested);
        let rotating = status(1, Progress::Waiting(Reason::Rotating, String::new()));
        assert_eq!(settled(&rotating).priority(), Priority::Background, "its old key works meanwhile");
    }

    #[test]
    fn a_rotation_that_was_begun_is_ended_before_more_are_begun() {
        let rotating = status(1, Progress::Waiting(Reason::Rotating, String::new()));
        let begun = Situation { begun: true, asks_anew: true, ..settled(&rotating) };
        assert_eq!(begun.priority(), Priority::Begun);
        assert_eq!(Situation { failures: 3, ..begun }.priority(), Priority::Begun, "its key is nowhere yet");
        assert_eq!(Situation { generation: Some(2), ..begun }.priority(), Priority::Edited);
    }

    #[test]
    fn a_failure_is_tried_again_behind_the_others_until_somebody_changes_something() {
        let failing = status(1, Progress::Waiting(Reason::Throttled, String::new()));
        let again = Situation { failures: 1, ..settled(&failing) };
        assert_eq!(again.priority(), Priority::Background);
        assert_eq!(
            Situation { deleting: true, ..again }.priority(),
            Priority::Background,
            "a deletion that is blocked"
        );
        assert_eq!(Situation { generation: Some(2), ..again }.priority(), Priority::Edited);
        let refused = status(1, Progress::Blocked(Reason::InvalidPolicy, String::new()));
        assert_eq!(settled(&refused).priority(), Priority::Background, "nobody waits for the operator");
    }

    #[test]
    fn a_session_that_is_due_goes_ahead_of_all_and_one_that_failed_of_what_can_wait() {
        let well = status(1, Progress::Synced);
        let due = Situation { session_due: true, ..settled(&well) };
        assert_eq!(due.priority(), Priority::Expiring);
        assert_eq!(Situation { asks_anew: true, secret_changed: true, ..due }.priority(), Priority::Expiring);
        assert_eq!(Situation { failures: 1, ..due }.priority(), Priority::Begun);
        assert_eq!(Situation { deleting: true, ..due }.priority(), Priority::Edited, "it is to end");
    }

    #[test]
    fn each_priority_has_a_name_of_its_own() {
        assert_eq!(
            Priority::ALL.map(Priority::as_str),
            ["revoked", "expiring", "new", "edited", "begun", "requested", "background"]
        );
    }

    #[test]
    fn the_more_urgent_the_less_is_kept_from_it() {
        let kept = Priority::ALL.map(Priority::kept_for_others);
        assert!(kept.is_sorted() && kept[0] == 0.0 && kept[5] < 1.0, "{kept:?}");
    }
}
