//! Consumers that read the Secret only when they start: each is restarted once for each key that replaced another.
//!
//! Which key a workload was started with is noted on the workload itself, outside its pod template, so that the first
//! read of one restarts nothing, and a crash between two effects neither forgets a restart nor asks for it twice. What
//! cannot be restarted never holds up a key: only the retirement of the replaced one waits, and only while another
//! attempt may help.

use jiff::SignedDuration;

use super::{Action, Plan, View};
use crate::core::iam::AccessKey;
use crate::core::observed::{OurSecret, WorkloadState};
use crate::core::rotation::{Retirement, later};

/// Before a failed attempt is made again.
const FAILED_PAUSE: SignedDuration = SignedDuration::from_mins(1);
/// Before a right is tried again that the operator did not have, unless a replaced key ends earlier.
const DENIED_PAUSE: SignedDuration = SignedDuration::from_hours(1);

/// Asks for the restarts that the Secret's key calls for; whether the replaced key, where there is one, may go.
pub(super) fn restart(
    view: &View<'_>,
    secret: &OurSecret,
    current: &AccessKey,
    retiring: Option<&AccessKey>,
    plan: &mut Plan,
) -> bool {
    let View { desired, observed, now, .. } = *view;
    let mut done = true;
    for workload in &desired.workloads {
        match observed.workloads.get(workload) {
            Some(WorkloadState::Present { key: Some(key), .. }) if *key == current.id => {}
            Some(WorkloadState::Present { key, created_at, .. }) => {
                // One that was never read before may hold the replaced key if it was there before the swap.
                let older = secret.rotated_at.is_some_and(|rotated_at| *created_at < rotated_at);
                let restart = key.is_some() || (retiring.is_some() && older);
                done = false;
                // The Secret comes first, whatever else is to be written.
                if plan.actions.iter().all(|action| matches!(action, Action::MarkWorkload { .. })) {
                    let (workload, key_id) = (workload.clone(), current.id.clone());
                    plan.actions.push(Action::MarkWorkload { workload, key_id, restart });
                }
            }
            Some(WorkloadState::Failed(_)) => {
                done = false;
                plan.wake(later(now, FAILED_PAUSE));
            }
            Some(WorkloadState::Denied(_)) => {
                let ends_at = retiring
                    .and(secret.rotated_at)
                    .map(|rotated_at| Retirement::of(rotated_at, desired.rotation.overlap, None).deactivate_at);
                // The nearer the end, the more often: the right may come in time.
                let half = ends_at.map(|ends_at| ends_at.duration_since(now) / 2).filter(|half| *half > FAILED_PAUSE);
                plan.wake(later(now, half.unwrap_or(DENIED_PAUSE).min(DENIED_PAUSE)));
            }
            Some(WorkloadState::Missing) | None => {}
        }
    }
    done
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::api::{S3AccessUser, Workload};
    use crate::core::class::Class;
    use crate::core::desired::Desired;
    use crate::core::drift::as_wanted;
    use crate::core::iam::Account;
    use crate::core::names::Cluster;
    use crate::core::observed::Observed;
    use crate::core::plan::Waits;

    fn desired() -> Desired {
        let spec = json!({
            "access": [{ "bucket": "team-a-reports", "level": "ReadOnly" }],
            "accessKey": { "rotation": { "interval": "720h", "overlap": "1h" } },
            "secret": { "rolloutRestart": [{ "kind": "Deployment", "name": "reports" }] },
        });
        let user = S3AccessUser::new("reports", serde_json::from_value(spec).unwrap());
        let account = Account { id: "123456789012".to_owned(), partition: "aws".to_owned() };
        let cluster = Cluster { id: "id".to_owned(), name: "prod".to_owned() };
        Desired::of(&user, &account, &cluster, &Class::none()).unwrap()
    }

    fn at(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    fn present(created_at: Timestamp, key: Option<&str>) -> WorkloadState {
        WorkloadState::Present { resource_version: "1".to_owned(), created_at, key: key.map(ToOwned::to_owned) }
    }

    /// With key `new` since minute 10, in place of `old`: what is planned at that minute, and whether `old` may go.
    fn planned(state: Option<WorkloadState>, minute: i64, overlapping: bool) -> (Vec<bool>, Option<Timestamp>, bool) {
        let desired = desired();
        let key = |id: &str| AccessKey { id: id.to_owned(), active: true, created_at: at(0) };
        let workload: &Workload = desired.workloads.first().unwrap();
        let workloads: BTreeMap<_, _> = state.into_iter().map(|state| (workload.clone(), state)).collect();
        let observed = as_wanted(&desired, Observed { workloads, ..Observed::nothing() }, Vec::new());
        let secret = OurSecret { rotated_at: Some(at(10)), ..OurSecret::intact("1".to_owned(), None) };
        let mut plan = Plan::new();
        let old = key("old");
        let retiring = overlapping.then_some(&old);
        let (user, waits) = (observed.user().unwrap(), Waits::default());
        let view =
            View { desired: &desired, observed: &observed, user, inactive: None, now: at(minute), waits: &waits };
        let may_go = restart(&view, &secret, &key("new"), retiring, &mut plan);
        let restarts = plan.actions.iter().map(|action| match action {
            Action::MarkWorkload { key_id, restart, .. } if key_id == "new" => *restart,
            other => panic!("{other:?}"),
        });
        (restarts.collect(), plan.wake_at, may_go)
    }

    #[test]
    fn rival_17_a_workload_is_restarted_for_another_key_and_not_for_the_one_it_has() {
        assert_eq!(planned(Some(present(at(0), Some("old"))), 11, true), (vec![true], None, false));
        assert_eq!(planned(Some(present(at(0), Some("new"))), 11, true), (vec![], None, true));
        assert_eq!(planned(Some(present(at(0), Some("older"))), 11, false), (vec![true], None, false));
    }

    #[test]
    fn a_workload_at_first_sight_is_restarted_only_if_it_may_have_the_replaced_key() {
        assert_eq!(planned(Some(present(at(0), None)), 11, false).0, [false], "there is no replaced key");
        assert_eq!(planned(Some(present(at(11), None)), 12, true).0, [false], "it is younger than the swap");
        assert_eq!(planned(Some(present(at(10), None)), 12, true).0, [false], "as old as the swap");
        assert_eq!(planned(Some(present(at(9), None)), 12, true).0, [true]);
    }

    #[test]
    fn what_cannot_be_restarted_holds_up_a_replaced_key_only_while_another_attempt_may_help() {
        assert_eq!(planned(None, 11, true), (vec![], None, true));
        assert_eq!(planned(Some(WorkloadState::Missing), 11, true), (vec![], None, true));
        let failed = || Some(WorkloadState::Failed("503".to_owned()));
        assert_eq!(planned(failed(), 11, true), (vec![], Some(at(12)), false));
        let denied = || Some(WorkloadState::Denied("403".to_owned()));
        assert_eq!(planned(denied(), 10, true), (vec![], Some(at(40)), true), "half of what is left of the overlap");
        assert_eq!(planned(denied(), 69, true).1, Some(at(129)), "too late for this one");
        assert_eq!(planned(denied(), 11, false).1, Some(at(71)));
    }
}
