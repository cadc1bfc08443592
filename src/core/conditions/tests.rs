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
    let held =
        HeldKey { id: AccessKeyId::of_iam("AKIANEW"), created_at: Some(at("2025-11-30T00:00:00Z")), account_id: None };
    let secret = SecretState::Ours(OurSecret::intact("1".to_owned(), Some(held)));
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
    assert_eq!((kinds[0], &kinds[7..]), ("Ready", &["WorkloadsRestarted", "PolicyEffective"][..]));
    let expected = S3AccessUserStatus {
        class_name: None,
        observed_generation: Some(7),
        conditions: found.conditions.clone(),
        user_arn: Some(owner.user_arn()),
        user_name: Some(owner.user_name.clone()),
        account_id: Some(owner.account.id.clone()),
        partition: Some(owner.account.partition.clone()),
        policy_arn: Some(owner.policy_arn()),
        access_key_id: Some("AKIANEW".to_owned()),
        access_key_created_at: Some(Time(at("2025-12-01T00:00:00Z"))),
        secret_version: None,
        session_expires_at: None,
        next_rotation_at: Some(Time(at("2026-03-01T00:00:00Z"))),
        expires_at: None,
        last_used: None,
        last_used_at: Some(Time(at("2025-12-31T00:00:00Z"))),
        retiring_key: found.retiring_key.clone(),
        revocation: None,
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
fn a_mistake_in_the_policy_is_told_beside_ready_and_changes_nothing_else() {
    let of = |spec: serde_json::Value| {
        status(
            &Desired::by_spec(&spec),
            &observed(),
            &plan(),
            &Conditions { earlier: &[], generation: Some(7), now: at(NOW) },
        )
        .conditions
    };
    let grant =
        |prefix: &str| json!({ "access": [{ "bucket": "reports", "level": "ReadOnly", "prefixes": [prefix] }] });
    let (good, bad) = (of(grant("2026/")), of(grant("/2026/")));
    assert_eq!(good[..7], bad[..7], "Ready and the parts");
    let verdict = |condition: &Condition| (condition.type_.clone(), condition.status.clone(), condition.reason.clone());
    let kind = "PolicyEffective".to_owned();
    assert_eq!(verdict(&good[7]), (kind.clone(), "True".to_owned(), "Synced".to_owned()));
    assert_eq!(verdict(&bad[7]), (kind, "False".to_owned(), "PolicyMistake".to_owned()));
    assert!(bad[7].message.starts_with("spec.access[0].prefixes \"/2026/\"") && good[7].message.is_empty());
    let attached = of(json!({ "managedPolicyArns": ["arn:aws:iam::123456789012:policy/own"] }));
    assert_eq!(attached.len(), 7, "there is nothing to look at");
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
    conditions.extend_from_slice(&told.conditions[7..]);
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

/// A condition that is False tells of no success, unless all is well.
#[test]
fn no_condition_tells_of_success_where_there_is_none() {
    let blocked = Progress::Blocked(Reason::InvalidPolicy, "why".to_owned());
    let waiting = Progress::Waiting(Reason::Throttled, "later".to_owned());
    for (progress, told) in [(Progress::Synced, 3), (blocked, 0), (waiting, 0), (Progress::Pending, 0)] {
        let mut parts = synced();
        parts.set(Part::Policy, progress);
        let found = Conditions { earlier: &[], generation: None, now: at(NOW) }.of_parts(&parts);
        let success = found[..3].iter().filter(|condition| condition.message.contains("as the spec says"));
        assert_eq!(success.count(), told, "{found:?}");
        assert!(found[..3].iter().all(|condition| !condition.message.is_empty()), "{found:?}");
    }
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
    assert_eq!(verdicts(&both)[0], "Ready=False Throttled", "what is waited for says more than what waits behind it");
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
    let failure = |transient| Failure { part: Part::Secret, reason: Reason::Failed, message: String::new(), transient };
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
