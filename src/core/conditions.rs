//! The report: conditions and status fields, from how the parts stand.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::desired::{Desired, DesiredPolicy, Owner};
use super::observed::{Observed, WorkloadState};
use super::plan::{Part, Parts, Plan, Progress};
use crate::api::{BindingReference, ConditionType, Reason, RetiringKey, S3AccessUserStatus};

/// The limit of Kubernetes on a condition's message.
const MESSAGE_LIMIT: usize = 32_768;

/// What went wrong while acting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The part that it happened to.
    pub part: Part,
    /// The reason of the conditions.
    pub reason: Reason,
    /// What failed, on which object, why, and what to do; free of request ids, which would make each retry news.
    pub message: String,
    /// The operator tries again by itself, and that may help.
    pub transient: bool,
}

impl Failure {
    /// IAM has no policy of an ARN that the spec or the class names in that field. For a consistency window after the part
    /// came to be not synced it may be on its way; then nobody makes it, and only somebody's action helps.
    pub fn of_missing_policy(
        (field, arn): (&str, &str),
        part: Part,
        conditions: &Conditions<'_>,
        window: SignedDuration,
    ) -> Option<Self> {
        let kind = part.condition();
        let since = conditions.earlier.iter().find(|found| found.type_ == kind.as_str() && found.status == "False")?;
        let waited = conditions.now.duration_since(since.last_transition_time.0);
        let message = format!(
            "IAM has no policy {arn}, or it cannot be attached ({field}): correct the ARN, or create the policy; it is tried again"
        );
        (waited >= window).then_some(Self { part, reason: Reason::InvalidPolicy, message, transient: false })
    }

    /// Marks the part.
    pub fn mark(self, parts: &mut Parts) {
        let progress = if self.transient {
            Progress::Waiting(self.reason, self.message)
        } else {
            Progress::Blocked(self.reason, self.message)
        };
        parts.set(self.part, progress);
    }
}

/// What conditions are set on: an object that had these before, at that generation, at that time. A condition keeps its
/// transition time unless its status flips.
#[derive(Clone, Copy, Debug)]
pub struct Conditions<'a> {
    /// The conditions that the object had before.
    pub earlier: &'a [Condition],
    /// The generation that is told of.
    pub generation: Option<i64>,
    /// When it is told.
    pub now: Timestamp,
}

impl Conditions<'_> {
    /// The condition of that kind. Its message is cut to what Kubernetes takes.
    pub fn of(&self, kind: ConditionType, holds: bool, reason: Reason, mut message: String) -> Condition {
        let status = if holds { "True" } else { "False" };
        let kept = self.earlier.iter().find(|found| found.type_ == kind.as_str() && found.status == status);
        if let Some((end, _)) = message.char_indices().nth(MESSAGE_LIMIT / 4) {
            message.truncate(end);
        }
        Condition {
            type_: kind.as_str().into(),
            status: status.into(),
            reason: reason.as_str().into(),
            message,
            observed_generation: self.generation,
            last_transition_time: kept.map_or_else(|| time(self.now), |found| found.last_transition_time.clone()),
        }
    }

    /// The conditions for these parts.
    pub fn of_parts(&self, parts: &Parts) -> Vec<Condition> {
        let mut verdicts: Vec<(ConditionType, bool, Reason, String)> = Vec::new();
        let blocked = Part::ALL.into_iter().find_map(|part| match parts.of(part) {
            Progress::Blocked(reason, message) => Some((*reason, message.clone())),
            _ => None,
        });
        // What is waited for says more than what waits behind it, and a key that is being replaced stands in nobody's way.
        let mut waits: Vec<(u8, Reason, String)> = Part::ALL
            .into_iter()
            .filter_map(|part| match parts.of(part) {
                Progress::Waiting(Reason::Rotating, message) => Some((2, Reason::Rotating, message.clone())),
                Progress::Waiting(reason, message) => Some((0, *reason, message.clone())),
                Progress::Pending => Some((1, Reason::Creating, "an earlier step is not done yet".to_owned())),
                _ => None,
            })
            .collect();
        waits.sort_by_key(|(rank, ..)| *rank);
        let waiting = waits.into_iter().next().map(|(_, reason, message)| (reason, message));
        let synced = (Reason::Synced, "IAM user, policy, access key and Secret are as the spec says".to_owned());
        let usable = blocked.is_none() && waiting.as_ref().is_none_or(|(reason, _)| *reason == Reason::Rotating);
        let (reason, message) = blocked.clone().or_else(|| waiting.clone()).unwrap_or_else(|| synced.clone());
        verdicts.push((ConditionType::Ready, usable, reason, message));
        let (reason, message) = waiting.clone().filter(|_| blocked.is_none()).unwrap_or_else(|| synced.clone());
        verdicts.push((ConditionType::Reconciling, waiting.is_some() && blocked.is_none(), reason, message));
        let (reason, message) = blocked.clone().unwrap_or(synced);
        verdicts.push((ConditionType::Stalled, blocked.is_some(), reason, message));
        for part in Part::ALL {
            let (status, reason, message) = match parts.of(part) {
                Progress::Synced => (true, Reason::Synced, String::new()),
                // While a key is being replaced, the one in the Secret works.
                Progress::Waiting(Reason::Rotating, message) => (true, Reason::Rotating, message.clone()),
                Progress::Waiting(reason, message) | Progress::Blocked(reason, message) => {
                    (false, *reason, message.clone())
                }
                Progress::Pending => (false, Reason::Creating, "an earlier step is not done yet".to_owned()),
            };
            verdicts.push((part.condition(), status, reason, message));
        }
        verdicts.into_iter().map(|(kind, status, reason, message)| self.of(kind, status, reason, message)).collect()
    }
}

/// The whole status of a CR whose spec could be carried out.
pub fn status(desired: &Desired, observed: &Observed, plan: &Plan, conditions: &Conditions<'_>) -> S3AccessUserStatus {
    let user = observed.user();
    let key = observed.our_secret().and_then(|secret| secret.key.as_ref());
    let listed = key.and_then(|key| user?.keys.iter().find(|found| key.id == found.id));
    let policy_arn = match desired.policy_of(user.map(|user| &user.tags)) {
        Some(DesiredPolicy::Managed { arn, .. }) if observed.policies.contains_key(&arn) => Some(arn),
        _ => None,
    };
    let restarted = workloads(desired, observed)
        .map(|(is_done, reason, message)| conditions.of(ConditionType::WorkloadsRestarted, is_done, reason, message));
    S3AccessUserStatus {
        conditions: conditions.of_parts(&plan.parts).into_iter().chain(restarted).collect(),
        user_arn: user.map(|user| user.arn.clone()),
        policy_arn,
        access_key_id: key.map(|key| key.id.to_string()),
        access_key_created_at: listed.map(|key| key.created_at).or_else(|| key?.created_at).map(time),
        next_rotation_at: plan.next_rotation_at.map(time),
        last_used_at: plan.retiring.as_ref().and_then(|retiring| retiring.last_used).map(time),
        retiring_key: plan.retiring.as_ref().map(|retiring| RetiringKey {
            id: retiring.id.clone(),
            retire_at: time(retiring.retire_at),
            message: retiring.extended.then(|| {
                "it was used after the Secret got its successor, so it works for one overlap more: restart what still uses it"
                    .to_owned()
            }),
        }),
        binding: key.map(|_| BindingReference { name: desired.owner.secret_name.clone() }),
        ..whose(&desired.owner, conditions.generation)
    }
}

/// How it stands with the workloads; `None` where the spec names none.
fn workloads(desired: &Desired, observed: &Observed) -> Option<(bool, Reason, String)> {
    if desired.workloads.is_empty() {
        return None;
    }
    let mut verdict = (true, Reason::Synced);
    let mut messages = Vec::new();
    for workload in &desired.workloads {
        match observed.workloads.get(workload) {
            Some(WorkloadState::Denied(why)) => {
                verdict = (false, Reason::AccessDenied);
                messages.push(format!(
                    "{workload} is not restarted when its key is replaced: {why}: apply deploy/optional/rollout-restart.yaml, or restart it yourself"
                ));
            }
            Some(WorkloadState::Failed(why)) => {
                verdict = if verdict.0 { (false, Reason::Failed) } else { verdict };
                messages.push(format!("{workload} is still to be looked at or restarted: {why}"));
            }
            Some(WorkloadState::Missing) => {
                messages.push(format!("{workload} is not there: it is restarted for the keys that come after it"));
            }
            Some(WorkloadState::Present { .. }) | None => {}
        }
    }
    Some((verdict.0, verdict.1, messages.join("; ")))
}

/// Kubernetes keeps whole seconds: with more, a status would never equal what was read back, and be written for ever.
fn time(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

/// The status of a CR whose reconcile did not come to its end: what was known stays, the conditions say why.
pub fn interrupted(
    owner: Option<&Owner>,
    parts: &Parts,
    earlier: &S3AccessUserStatus,
    generation: Option<i64>,
    now: Timestamp,
) -> S3AccessUserStatus {
    let names = owner.map_or_else(S3AccessUserStatus::default, |owner| whose(owner, generation));
    let made = earlier.user_arn.is_some() || owner.is_none();
    let restarted = |found: &&Condition| found.type_ == ConditionType::WorkloadsRestarted.as_str();
    let mut conditions = Conditions { earlier: &earlier.conditions, generation, now }.of_parts(parts);
    conditions.extend(earlier.conditions.iter().find(restarted).cloned());
    S3AccessUserStatus {
        observed_generation: generation,
        conditions,
        user_name: names.user_name.or_else(|| earlier.user_name.clone()),
        // What was made is where it was made, whatever account the credentials are of now.
        account_id: made.then(|| earlier.account_id.clone()).flatten().or(names.account_id),
        partition: made.then(|| earlier.partition.clone()).flatten().or(names.partition),
        ..earlier.clone()
    }
}

/// Whether the status, which is only a report, says that nothing is left to do for this generation.
pub fn says_settled(status: &S3AccessUserStatus, generation: Option<i64>) -> bool {
    let is = |kind: ConditionType, wanted: &str| {
        status.conditions.iter().any(|found| found.type_ == kind.as_str() && found.status == wanted)
    };
    status.observed_generation == generation
        && is(ConditionType::Ready, "True")
        && is(ConditionType::Reconciling, "False")
}

fn whose(owner: &Owner, generation: Option<i64>) -> S3AccessUserStatus {
    S3AccessUserStatus {
        observed_generation: generation,
        user_name: Some(owner.user_name.clone()),
        account_id: Some(owner.account.id.clone()),
        partition: Some(owner.account.partition.clone()),
        ..S3AccessUserStatus::default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use serde_json::json;

    use super::*;
    use crate::api::{Workload, WorkloadKind};
    use crate::core::drift::as_wanted;
    use crate::core::iam::{AccessKey, AccessKeyId};
    use crate::core::observed::{HeldKey, OurSecret, SecretState};
    use crate::core::plan::Retiring;

    const NOW: &str = "2026-01-01T00:00:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn desired() -> Desired {
        Desired::by_spec(&json!({
            "access": [{ "bucket": "reports", "level": "ReadOnly" }],
            "secret": { "rolloutRestart": [{ "kind": "Deployment", "name": "a" }, { "kind": "Deployment", "name": "b" }] },
        }))
    }

    /// All is as it should be; the key is younger than the Secret says, and the one that it replaced is listed, too.
    fn observed() -> Observed {
        let key = |id: &str, created_at| AccessKey { id: id.to_owned(), active: true, created_at: at(created_at) };
        let held = HeldKey {
            id: AccessKeyId::of_iam("AKIANEW"),
            created_at: Some(at("2025-11-30T00:00:00Z")),
            account_id: None,
        };
        let secret = SecretState::Ours(OurSecret::intact(Some(held)));
        let keys = vec![key("AKIAOLD", "2025-06-01T00:00:00Z"), key("AKIANEW", "2025-12-01T00:00:00.5Z")];
        as_wanted(&desired(), Observed { secret, ..Observed::nothing() }, keys)
    }

    fn plan() -> Plan {
        let retiring = Retiring {
            id: "AKIAOLD".to_owned(),
            retire_at: at("2026-01-03T00:00:00Z"),
            last_used: Some(at("2025-12-31T00:00:00Z")),
            extended: true,
        };
        let next_rotation_at = Some(at("2026-03-01T00:00:00Z"));
        Plan { actions: Vec::new(), parts: synced(), wake_at: None, retiring: Some(retiring), next_rotation_at }
    }

    fn told(observed: &Observed, plan: &Plan) -> S3AccessUserStatus {
        status(&desired(), observed, plan, &Conditions { earlier: &[], generation: Some(7), now: at(NOW) })
    }

    #[test]
    fn a_status_tells_of_all_that_was_made() {
        let (found, owner) = (told(&observed(), &plan()), desired().owner);
        let retiring = found.retiring_key.clone().unwrap();
        assert!(retiring.message.unwrap().contains("restart what still uses it"));
        assert_eq!((retiring.id.as_str(), retiring.retire_at.0), ("AKIAOLD", at("2026-01-03T00:00:00Z")));
        let kinds: Vec<_> = found.conditions.iter().map(|condition| condition.type_.as_str()).collect();
        assert_eq!((kinds[0], kinds[7], kinds.len()), ("Ready", "WorkloadsRestarted", 8));
        let expected = S3AccessUserStatus {
            observed_generation: Some(7),
            conditions: found.conditions.clone(),
            user_arn: Some(owner.user_arn()),
            user_name: Some(owner.user_name.clone()),
            account_id: Some(owner.account.id.clone()),
            partition: Some(owner.account.partition.clone()),
            policy_arn: Some(owner.policy_arn()),
            access_key_id: Some("AKIANEW".to_owned()),
            access_key_created_at: Some(Time(at("2025-12-01T00:00:00Z"))),
            next_rotation_at: Some(Time(at("2026-03-01T00:00:00Z"))),
            last_used_at: Some(Time(at("2025-12-31T00:00:00Z"))),
            retiring_key: found.retiring_key.clone(),
            binding: Some(BindingReference { name: owner.secret_name }),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_status_tells_of_nothing_that_is_not_there() {
        let found = told(&Observed::nothing(), &Plan { retiring: None, next_rotation_at: None, ..plan() });
        let conditions = found.conditions.clone();
        assert_eq!(found, S3AccessUserStatus { conditions, ..whose(&desired().owner, Some(7)) });
        let bare = Observed { policies: [].into(), ..observed() };
        assert_eq!(told(&bare, &plan()).policy_arn, None, "its user is there, the policy is not");
    }

    #[test]
    fn how_it_stands_with_the_workloads_is_told_where_the_spec_names_some() {
        let workload = |name: &str| Workload { kind: WorkloadKind::Deployment, name: name.to_owned() };
        let (denied, failed) = (|| WorkloadState::Denied("no".to_owned()), || WorkloadState::Failed("late".to_owned()));
        for (a, b, verdict, messages) in [
            (None, None, (true, Reason::Synced), 0),
            (Some(WorkloadState::Missing), None, (true, Reason::Synced), 1),
            (Some(failed()), None, (false, Reason::Failed), 1),
            (Some(denied()), Some(failed()), (false, Reason::AccessDenied), 2),
            (Some(failed()), Some(denied()), (false, Reason::AccessDenied), 2),
        ] {
            let states = [(workload("a"), a), (workload("b"), b)];
            let workloads = states.into_iter().filter_map(|(workload, state)| Some((workload, state?))).collect();
            let observed = Observed { workloads, ..Observed::nothing() };
            let (holds, reason, message) = super::workloads(&desired(), &observed).unwrap();
            assert_eq!((holds, reason), verdict, "{message}");
            assert_eq!(message.split("; ").filter(|part| !part.is_empty()).count(), messages, "{message}");
        }
        let none = Desired::by_spec(&json!({ "access": [{ "bucket": "reports", "level": "ReadOnly" }] }));
        assert_eq!(workloads(&none, &Observed::nothing()), None);
    }

    #[test]
    fn what_was_known_stays_in_the_status_of_a_reconcile_that_was_cut_short() {
        let interrupted = |owner, earlier: &S3AccessUserStatus| {
            let parts = Parts::pending();
            super::interrupted(owner, &parts, earlier, Some(8), at(NOW))
        };
        let owner = desired().owner;
        let told = told(&observed(), &plan());
        let found = interrupted(Some(&owner), &told);
        let mut conditions = conditions(&Parts::pending(), &told.conditions, Some(8), at(NOW));
        conditions.push(told.conditions[7].clone());
        assert_eq!(found, S3AccessUserStatus { observed_generation: Some(8), conditions, ..told.clone() });

        let elsewhere = |user_arn| S3AccessUserStatus {
            user_arn,
            user_name: Some("earlier".to_owned()),
            account_id: Some("999999999999".to_owned()),
            partition: Some("aws-cn".to_owned()),
            ..S3AccessUserStatus::default()
        };
        let names = |owner, made: bool| {
            let found = interrupted(owner, &elsewhere(made.then(|| "arn".to_owned())));
            [found.user_name, found.account_id, found.partition].map(Option::unwrap_or_default)
        };
        assert_eq!(names(Some(&owner), true), [owner.user_name.as_str(), "999999999999", "aws-cn"]);
        assert_eq!(names(Some(&owner), false), [owner.user_name.as_str(), "123456789012", "aws"], "nothing was made");
        assert_eq!(names(None, false), ["earlier", "999999999999", "aws-cn"], "whose it is cannot be told");
        let first = interrupted(Some(&owner), &S3AccessUserStatus::default());
        assert_eq!(first, S3AccessUserStatus { conditions: first.conditions.clone(), ..whose(&owner, Some(8)) });
    }

    fn synced() -> Parts {
        let synced = || Progress::Synced;
        Parts { user: synced(), policy: synced(), key: synced(), secret: synced() }
    }

    fn conditions(parts: &Parts, earlier: &[Condition], generation: Option<i64>, now: Timestamp) -> Vec<Condition> {
        Conditions { earlier, generation, now }.of_parts(parts)
    }

    fn verdicts(parts: &Parts) -> Vec<String> {
        let made = conditions(parts, &[], Some(1), NOW.parse().unwrap());
        made.iter().map(|found| format!("{}={} {}", found.type_, found.status, found.reason)).collect()
    }

    fn with(part: Part, progress: Progress) -> Vec<String> {
        let mut parts = synced();
        parts.set(part, progress);
        verdicts(&parts)
    }

    #[test]
    fn a_policy_that_is_missing_is_on_its_way_for_a_window_and_then_it_is_not_there() {
        let (now, window) = (NOW.parse::<Timestamp>().unwrap(), SignedDuration::from_secs(60));
        let mut parts = synced();
        parts.set(Part::Policy, Progress::Waiting(Reason::Creating, "not found".to_owned()));
        let missing = |earlier: &[Condition], seconds| {
            let now = now + SignedDuration::from_secs(seconds);
            let conditions = Conditions { earlier, generation: Some(1), now };
            Failure::of_missing_policy(("spec.field", "arn:none"), Part::Policy, &conditions, window)
        };
        assert_eq!(missing(&conditions(&synced(), &[], Some(1), now), 3_600), None, "it is missed for the first time");
        let waiting = conditions(&parts, &[], Some(1), now);
        assert_eq!(missing(&waiting, 59), None);
        let failure = missing(&waiting, 60).unwrap();
        assert_eq!((failure.part, failure.reason, failure.transient), (Part::Policy, Reason::InvalidPolicy, false));
        assert!(failure.message.contains("spec.field") && failure.message.contains("arn:none"), "{}", failure.message);
    }

    #[test]
    fn all_synced_is_ready() {
        let all = verdicts(&synced());
        assert_eq!(all[..3], ["Ready=True Synced", "Reconciling=False Synced", "Stalled=False Synced"]);
        assert!(all[3..].iter().all(|verdict| verdict.ends_with("Synced=True Synced")), "{all:?}");
    }

    #[test]
    fn a_blocked_part_is_stalled_and_not_reconciling() {
        let all = with(Part::Policy, Progress::Blocked(Reason::InvalidPolicy, "why".to_owned()));
        assert_eq!(all[..3], ["Ready=False InvalidPolicy", "Reconciling=False Synced", "Stalled=True InvalidPolicy"]);
        assert_eq!(
            all[3..],
            [
                "UserSynced=True Synced",
                "PolicySynced=False InvalidPolicy",
                "AccessKeySynced=True Synced",
                "SecretSynced=True Synced"
            ]
        );
        let mut both = synced();
        both.set(Part::User, Progress::Waiting(Reason::Throttled, "later".to_owned()));
        both.set(Part::Policy, Progress::Blocked(Reason::InvalidPolicy, "why".to_owned()));
        assert_eq!(verdicts(&both)[..3], all[..3], "what blocks says more than what waits");
    }

    #[test]
    fn a_waiting_part_is_reconciling_and_not_stalled() {
        let all = with(Part::User, Progress::Waiting(Reason::Throttled, "later".to_owned()));
        assert_eq!(all[..3], ["Ready=False Throttled", "Reconciling=True Throttled", "Stalled=False Synced"]);
        assert_eq!(all[3], "UserSynced=False Throttled");
        let all = with(Part::Secret, Progress::Pending);
        assert_eq!(all[..3], ["Ready=False Creating", "Reconciling=True Creating", "Stalled=False Synced"]);
        assert_eq!(all[6], "SecretSynced=False Creating");
        let mut both = synced();
        both.set(Part::AccessKey, Progress::Pending);
        both.set(Part::Secret, Progress::Waiting(Reason::Throttled, "later".to_owned()));
        assert_eq!(
            verdicts(&both)[0],
            "Ready=False Throttled",
            "what is waited for says more than what waits behind it"
        );
        both.set(Part::Secret, Progress::Waiting(Reason::Rotating, "soon".to_owned()));
        assert_eq!(verdicts(&both)[0], "Ready=False Creating", "a rotation hides no missing step");
    }

    #[test]
    fn a_key_that_is_being_replaced_is_ready_all_the_while() {
        let all = with(Part::AccessKey, Progress::Waiting(Reason::Rotating, "soon".to_owned()));
        assert_eq!(all[..3], ["Ready=True Rotating", "Reconciling=True Rotating", "Stalled=False Synced"]);
        assert_eq!(all[5], "AccessKeySynced=True Rotating");
    }

    #[test]
    fn a_failure_waits_or_blocks() {
        let failure =
            |transient| Failure { part: Part::Secret, reason: Reason::Failed, message: String::new(), transient };
        let mut parts = synced();
        failure(true).mark(&mut parts);
        assert!(matches!(parts.secret, Progress::Waiting(Reason::Failed, _)));
        failure(false).mark(&mut parts);
        assert!(matches!(parts.secret, Progress::Blocked(Reason::Failed, _)));
        assert_eq!(parts.user, Progress::Synced);
    }

    #[test]
    fn a_condition_keeps_its_time_until_its_status_flips() {
        let (earlier, later): (Timestamp, Timestamp) = (NOW.parse().unwrap(), "2026-01-02T00:00:00Z".parse().unwrap());
        let first = conditions(&synced(), &[], Some(1), earlier);
        let second = conditions(&synced(), &first, Some(2), later);
        assert!(second.iter().all(|found| found.last_transition_time.0 == earlier));
        assert!(second.iter().all(|found| found.observed_generation == Some(2)));
        let third = conditions(&Parts::pending(), &second, Some(2), later);
        let moved: Vec<_> = third.iter().filter(|found| found.last_transition_time.0 == later).collect();
        assert_eq!(moved.len(), 6, "all but Stalled: {moved:?}");
    }

    #[test]
    fn a_message_fits_kubernetes() {
        let long = Progress::Blocked(Reason::Failed, "é".repeat(MESSAGE_LIMIT));
        let mut parts = synced();
        parts.set(Part::User, long);
        let made = conditions(&parts, &[], None, NOW.parse().unwrap());
        assert!(made.iter().all(|found| found.message.len() <= MESSAGE_LIMIT));
        assert_eq!(made[0].message.chars().count(), MESSAGE_LIMIT / 4);
    }

    #[test]
    fn only_a_status_for_this_generation_says_settled() {
        let status = |parts: &Parts, generation| S3AccessUserStatus {
            observed_generation: generation,
            conditions: conditions(parts, &[], generation, NOW.parse().unwrap()),
            ..S3AccessUserStatus::default()
        };
        assert!(says_settled(&status(&synced(), Some(2)), Some(2)));
        assert!(!says_settled(&status(&synced(), Some(1)), Some(2)));
        assert!(!says_settled(&status(&Parts::pending(), Some(2)), Some(2)));
        let mut rotating = synced();
        rotating.set(Part::AccessKey, Progress::Waiting(Reason::Rotating, String::new()));
        assert!(!says_settled(&status(&rotating, Some(2)), Some(2)), "Ready, and yet not done");
        assert!(!says_settled(&S3AccessUserStatus::default(), None));
    }
}
