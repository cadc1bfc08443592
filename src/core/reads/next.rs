//! What a reconcile ends with, and what it leaves for the next one to go by: from the plan, once that is carried out as far as
//! it goes.

use jiff::Timestamp;

use super::known::{Fingerprint, Kept, Left};
use crate::api::Reason;
use crate::core::desired::Desired;
use crate::core::drift::as_wanted;
use crate::core::observed::Observed;
use crate::core::plan::{Part, Plan, Progress, Waits, plan};

/// How it stands once a plan is carried out as far as it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Only another spec or class brings news.
    Refused,
    /// Only somebody's action helps, and it is not announced where it is taken.
    Blocked,
    /// Something comes by itself.
    Waiting,
    /// All is as it should be.
    Settled,
}

impl End {
    /// Of the plan that is left.
    pub fn of(desired: Option<&Desired>, observed: &Observed, plan: &Plan, now: Timestamp) -> Self {
        let parts = Part::ALL.map(|part| plan.parts.of(part));
        // What the class does not allow waits for another spec or class, and so does all that would come after it.
        let refused = parts.iter().any(|part| matches!(part, Progress::Blocked(Reason::NotPermittedByClass, _)));
        let waits = parts.iter().any(|part| matches!(part, Progress::Waiting(..)));
        if refused && !waits && plan.wake_at.is_none() && parts.contains(&&Progress::Pending) {
            // What was found in IAM may be put right there, and nobody would tell.
            return if observed.user().is_none() { Self::Refused } else { Self::Blocked };
        }
        if parts.iter().any(|part| matches!(part, Progress::Blocked(..)) && !part.rests()) {
            return Self::Blocked;
        }
        let comes = parts.iter().any(|part| matches!(part, Progress::Waiting(..) | Progress::Pending));
        if comes && desired.is_none_or(|desired| desired.inactive_with(observed.user(), now).is_none()) {
            Self::Waiting
        } else {
            Self::Settled
        }
    }
}

/// When something is due by itself where all is settled.
pub fn due_at(plan: &Plan, now: Timestamp) -> Timestamp {
    plan.wake_at.map_or(Timestamp::MAX, |wake_at| wake_at.max(now))
}

/// What a plan was made of, beside what was observed.
#[derive(Clone, Copy)]
pub struct Basis<'a> {
    /// What should be.
    pub desired: &'a Desired,
    /// What is asked for.
    pub fingerprint: Fingerprint,
    /// When the reading began.
    pub read_at: Timestamp,
    /// The time.
    pub now: Timestamp,
    /// The waits.
    pub waits: &'a Waits,
}

impl Basis<'_> {
    /// What the next reconcile may go by.
    pub fn kept(&self, observed: &Observed, left: &Plan) -> Kept {
        let synced = [Part::User, Part::Policy].iter().all(|part| *left.parts.of(*part) == Progress::Synced);
        let awaits = matches!(left.parts.key, Progress::Waiting(..)) && self.is_but_awaited(observed, left);
        // Nothing is left to do about a replaced key but to delete it.
        let ends = synced && left.retiring.as_ref().is_some_and(|key| is_inactive(observed, &key.id));
        let kept = (awaits || ends).then(|| Left::of(self.fingerprint, observed, self.read_at, awaits));
        Kept { left: kept.flatten(), details: synced.then_some(self.fingerprint) }
    }

    /// The same plan follows where user and policies are taken to be as the spec wants them.
    fn is_but_awaited(&self, observed: &Observed, left: &Plan) -> bool {
        observed.user().is_some_and(|user| {
            let assumed = as_wanted(self.desired, observed.clone(), user.keys.clone());
            let again = plan(self.desired, &assumed, self.now, self.waits);
            again.actions == left.actions && again.parts == left.parts
        })
    }
}

fn is_inactive(observed: &Observed, id: &str) -> bool {
    observed.user().is_some_and(|user| user.keys.iter().any(|key| key.id == id && !key.active))
}
