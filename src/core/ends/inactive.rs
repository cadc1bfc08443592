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

    /// AWS has found a key of the user in public, and the class has it suspended.
    pub fn compromised(policies: &[&str]) -> Self {
        let message = format!(
            "AWS has found one of this user in public and attached {}, and the class's onCompromise is Suspend: see the condition Compromised",
            policies.join(" and ")
        );
        Self { reason: Reason::Compromised, message }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use jiff::SignedDuration;
    use serde_json::json;

    use super::*;
    use crate::core::desired::Desired;
    use crate::core::drift::as_wanted;
    use crate::core::iam::{AccessKey, AccessKeyId};
    use crate::core::observed::{HeldKey, Observed, OurSecret, SecretState};
    use crate::core::plan::{Action, Part, Plan, Progress, Waits, plan};
    use crate::core::reads::next::End;
    use crate::core::rotation::later;

    const END: &str = "2027-01-31T00:00:00Z";

    fn end() -> Timestamp {
        END.parse().unwrap()
    }

    fn until(time: &str) -> Desired {
        Desired::by_spec(&json!({ "access": [{ "bucket": "reports", "level": "ReadOnly" }], "expiresAt": time }))
    }

    /// All is as it should be, with a key that is in its Secret.
    fn observed(desired: &Desired, active: bool) -> Observed {
        let created_at = later(end(), SignedDuration::from_hours(-1_000));
        let id = AccessKeyId::of_iam("AKIA1");
        let held = HeldKey { id, created_at: Some(created_at), account_id: None };
        let secret = SecretState::Ours(OurSecret::intact("1".to_owned(), Some(held)));
        let key = AccessKey { id: "AKIA1".to_owned(), active, created_at };
        as_wanted(desired, Observed { secret, ..Observed::nothing() }, vec![key])
    }

    fn planned(desired: &Desired, active: bool, after: i64) -> Plan {
        let now = later(end(), SignedDuration::from_secs(after));
        plan(desired, &observed(desired, active), now, &Waits::default())
    }

    fn set(active: bool) -> [Action; 1] {
        [Action::SetKeyStatus { id: "AKIA1".to_owned(), active }]
    }

    #[test]
    fn a_key_works_until_its_time_is_over_and_again_once_that_is_extended() {
        let desired = until(END);
        let before = planned(&desired, true, -1);
        assert_eq!((before.actions.as_slice(), before.wake_at), ([].as_slice(), Some(end())), "it wakes at the end");
        assert_eq!(planned(&desired, true, 0).actions, set(false));
        let over = planned(&desired, false, 0);
        let Progress::Blocked(Reason::Expired, why) = &over.parts.key else { panic!("{over:?}") };
        assert!(why.contains("AKIA1") && why.contains(END) && why.contains("spec.expiresAt"), "{why}");
        assert!(over.rests() && over.wake_at.is_none() && over.parts.of(Part::Secret) == &Progress::Synced);
        assert_eq!(End::of(Some(&desired), &observed(&desired, false), &over, end()), End::Settled);
        assert_eq!(planned(&until("2028-01-31T00:00:00Z"), false, 0).actions, set(true), "the very key");
    }

    #[test]
    fn whose_time_is_over_at_the_start_is_made_no_key() {
        let desired = until(END);
        let fresh = Observed { secret: SecretState::Missing, ..as_wanted(&desired, Observed::nothing(), Vec::new()) };
        let planned = plan(&desired, &fresh, end(), &Waits::default());
        assert_eq!(planned.actions, []);
        assert!(matches!(planned.parts.key, Progress::Blocked(Reason::Expired, _)), "{planned:?}");
    }

    #[test]
    fn suspension_is_told_before_expiry_and_the_earlier_of_two_ends_counts() {
        let suspended = Desired { inactive: Some(Inactive::suspended()), ..until(END) };
        assert_eq!(suspended.inactive_at(end()), Some(Inactive::suspended()));
        let [spec, class] = [EndedBy::Spec, EndedBy::Class].map(|by| Expiry::at(end(), by));
        let later = Expiry::at(later(end(), SignedDuration::from_hours(1)), EndedBy::Spec);
        assert_eq!(Expiry::earlier(Some(later), Some(class)), Some(class));
        assert_eq!((Expiry::earlier(None, Some(spec)), Expiry::earlier(None, None)), (Some(spec), None));
        assert!(class.inactive(end()).unwrap().message.contains("maxLifetime"));
    }
}
