#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;
use crate::api::{S3AccessClass, S3AccessUser};
use crate::core::class::Class;
use crate::core::desired::DesiredPolicy;
use crate::core::drift::as_wanted;
use crate::core::ends::revocation::{self, Request};
use crate::core::iam::{AccessKeyId, Account};
use crate::core::names::Cluster;
use crate::core::observed::{Minted, Place, UserState};
use crate::core::plan::{Effect, Plan, Waits, WhyDelete, plan, teardown};
use crate::core::policy::with_cut;
use crate::core::rotation::later;

const CURRENT: &str = "AKIACURRENT";
const STATIC: &str = "AKIASTATIC";

fn made_at() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn hours(hours: i64) -> Timestamp {
    later(made_at(), SignedDuration::from_hours(hours))
}

/// Of a class that requires sessions, or not.
fn desired(access_key: &Value, required: bool) -> Desired {
    let spec = json!({ "access": [{ "bucket": "reports", "level": "ReadOnly" }], "accessKey": access_key });
    let mut user = S3AccessUser::new("reports", serde_json::from_value(spec).unwrap());
    (user.metadata.namespace, user.metadata.uid) = (Some("team-a".to_owned()), Some("uid".to_owned()));
    let account = Account { id: "123456789012".to_owned(), partition: "aws".to_owned() };
    let cluster = Cluster { id: "id".to_owned(), name: "prod".to_owned() };
    let class = json!({ "allowedBuckets": ["*"], "requireSession": required });
    let class = S3AccessClass::new("class", serde_json::from_value(class).unwrap());
    Desired::of(&user, &account, &cluster, &Class::of(&class, "team-a", &Default::default())).unwrap()
}

fn key(id: &str) -> AccessKey {
    AccessKey { id: id.to_owned(), active: true, created_at: made_at() }
}

fn holding(id: &str) -> SecretState {
    let key = HeldKey { id: AccessKeyId::of_iam(id), created_at: Some(made_at()), account_id: None };
    SecretState::Ours(OurSecret::intact("1".to_owned(), Some(key)))
}

fn session_of(id: &str) -> OurSecret {
    let session = HeldSession { key: AccessKeyId::of_iam(id), issued_at: hours(1), expires_at: hours(13) };
    OurSecret { session: Some(Box::new(session)), ..OurSecret::intact("1".to_owned(), None) }
}

/// What may stand in the workload's Secret, and whether a session may, and has to, be written over it in the sixth hour.
fn workload_secrets() -> Vec<(SecretState, bool)> {
    let well = || session_of(CURRENT);
    let due = HeldSession { issued_at: made_at(), expires_at: hours(12), ..*well().session.unwrap() };
    vec![
        (SecretState::Missing, true),
        (SecretState::Foreign { other_user: None }, false),
        (SecretState::Foreign { other_user: Some("other".to_owned()) }, false),
        (SecretState::Ours(OurSecret::intact("1".to_owned(), None)), true),
        (SecretState::Ours(OurSecret { immutable: true, ..OurSecret::intact("1".to_owned(), None) }), false),
        (SecretState::Ours(well()), false),
        (SecretState::Ours(OurSecret { up_to_date: false, ..well() }), true),
        (SecretState::Ours(OurSecret { session: Some(Box::new(due.clone())), ..well() }), true),
        (SecretState::Ours(OurSecret { session: Some(Box::new(due)), immutable: true, ..well() }), false),
        (SecretState::Ours(session_of("AKIAGONE")), true),
        (holding("AKIAGONE"), true),
        (holding(STATIC), true),
        // The very key of its sessions: it is replaced first.
        (holding(CURRENT), false),
    ]
}

#[test]
fn a_session_is_written_where_it_is_due_and_may_be_whatever_else_is_so() {
    let mut tried = 0;
    for (secret, due) in workload_secrets() {
        for bits in 0_u8..1 << 6 {
            let bit = |number: u8| bits & (1 << number) != 0;
            let (suspended, required, unrenewed, unrenderable, inactive, unproven) =
                (bit(0), bit(1), bit(2), bit(3), bit(4), bit(5));
            let status = if suspended { "Inactive" } else { "Active" };
            let desired = desired(&json!({ "mode": "Session", "status": status }), required);
            let current = AccessKey { active: !inactive, ..key(CURRENT) };
            let mut observed = Observed {
                secret: holding(CURRENT),
                session: Some(secret.clone()),
                unrenewed,
                unrenderable: unrenderable.then(|| "template".to_owned()),
                ..Observed::nothing()
            };
            if unproven {
                let probes = crate::core::observed::Probes { successes: 0, since: hours(6), last: hours(6) };
                observed.probes.insert(CURRENT.to_owned(), probes);
            }
            let observed = as_wanted(&desired, observed, vec![current, key(STATIC)]);
            let found = plan(&desired, &observed, hours(6), &Waits::default());
            let case = format!("{secret:?}: {bits:#b}: {:?}", found.actions);
            let renewals: Vec<_> =
                found.actions.iter().filter(|action| matches!(action, Action::RenewSession { .. })).collect();
            let stops: BTreeSet<&str> = found.actions.iter().filter_map(stopped_key).collect();
            let cut_first = required && !stops.is_empty();
            let renews = due && !suspended && !unrenewed && !unrenderable && !inactive && !unproven && !cut_first;
            assert_eq!(renewals.len(), usize::from(renews), "{case}");
            if renews {
                assert_eq!(found.actions[0], Action::RenewSession { key_id: CURRENT.to_owned() }, "first: {case}");
            }
            if suspended {
                let expected = if inactive { vec![STATIC] } else { vec![CURRENT, STATIC] };
                assert_eq!(stops.into_iter().collect::<Vec<_>>(), expected, "{case}");
            } else if required {
                let exposed = observed.is_exposed(CURRENT) && !inactive;
                assert_eq!((stops.contains(STATIC), stops.contains(CURRENT)), (true, exposed), "{case}");
            } else {
                assert!(!stops.contains(CURRENT), "{case}");
            }
            tried += 1;
        }
    }
    assert_eq!(tried, 13 * 64);
}

fn stopped_key(action: &Action) -> Option<&str> {
    match action {
        Action::SetKeyStatus { id, active: false } => Some(id),
        _ => None,
    }
}

#[test]
fn what_keeps_a_session_from_the_secret_is_told_and_what_it_waits_for_too() {
    let told = |secret: SecretState, at: Timestamp| {
        let desired = desired(&json!({ "mode": "Session" }), false);
        let observed =
            Observed { secret: holding(CURRENT), session: Some(secret), unrenewed: true, ..Observed::nothing() };
        let observed = as_wanted(&desired, observed, vec![key(CURRENT)]);
        let found = plan(&desired, &observed, at, &Waits::default());
        (found.parts.secret, found.wake_at)
    };
    let (progress, wake_at) = told(SecretState::Ours(session_of(CURRENT)), hours(2));
    assert_eq!(progress, Progress::Synced);
    assert!(wake_at.is_some_and(|at| at > hours(6) && at <= hours(7)), "it is renewed at half its life: {wake_at:?}");
    let reason = |secret| match told(secret, hours(8)).0 {
        Progress::Blocked(reason, _) | Progress::Waiting(reason, _) => Some(reason),
        Progress::Synced | Progress::Pending => None,
    };
    assert_eq!(reason(SecretState::Missing), Some(Reason::Creating));
    assert_eq!(reason(SecretState::Foreign { other_user: None }), Some(Reason::ForeignSecret));
    let immutable = OurSecret { immutable: true, ..session_of(CURRENT) };
    assert_eq!(reason(SecretState::Ours(immutable)), Some(Reason::SecretImmutable));
    assert_eq!(reason(SecretState::Ours(session_of(CURRENT))), None, "it works for hours still");
}

/// Carries out what is planned, as AWS and Kubernetes would, until nothing is left to do at that time; what was done.
fn carried_out(desired: &Desired, observed: &mut Observed, now: Timestamp) -> (Vec<Action>, Plan) {
    let mut done = Vec::new();
    for round in 0..100 {
        let found = plan(desired, observed, now, &Waits::default());
        if found.actions.is_empty() {
            return (done, found);
        }
        for action in found.actions {
            let version = (round + 10).to_string();
            let effect = match &action {
                Action::CreateAccessKey => {
                    Effect::KeyCreated(Minted { id: format!("AKIA{}", now.as_second()), created_at: now })
                }
                Action::ProbeKey { .. } => Effect::Probed(true),
                Action::ReadLastUsed { .. } => Effect::LastUsed(None),
                Action::WriteSecret { .. } => {
                    Effect::SecretWritten { uid: "uid".to_owned(), resource_version: version }
                }
                Action::RenewSession { key_id } => {
                    let key = AccessKeyId::of_iam(key_id);
                    let expires_at = later(now, desired.sessions.unwrap().duration);
                    let session = HeldSession { key, issued_at: now, expires_at };
                    Effect::Renewed { uid: "uid".to_owned(), resource_version: version, session }
                }
                _ => Effect::Done,
            };
            observed.record(&desired.owner, &action, &effect, now);
            done.push(action);
        }
    }
    panic!("no end: {done:?}");
}

/// The same, each minute until that time.
fn until(desired: &Desired, observed: &mut Observed, from: Timestamp, end: Timestamp) -> Vec<Action> {
    let (mut now, mut done) = (from, Vec::new());
    while now < end {
        done.extend(carried_out(desired, observed, now).0);
        now = later(now, SignedDuration::from_mins(1));
    }
    done
}

fn names(actions: &[Action]) -> Vec<&'static str> {
    actions.iter().filter(|action| action.writes()).map(Action::name).collect()
}

fn ids(observed: &Observed) -> Vec<&str> {
    observed.user().unwrap().keys.iter().map(|key| key.id.as_str()).collect()
}

#[test]
fn to_sessions_by_a_fresh_key_while_the_old_one_works_through_its_overlap() {
    let desired = desired(&json!({ "mode": "Session" }), false);
    let mut observed =
        as_wanted(&desired, Observed { session: Some(holding(STATIC)), ..Observed::nothing() }, vec![key(STATIC)]);
    let start = hours(100);
    let done = until(&desired, &mut observed, start, later(start, SignedDuration::from_mins(5)));
    assert_eq!(names(&done), ["CreateAccessKey", "WriteSecret", "GetSessionToken"]);
    let fresh = observed.our_secret().unwrap().key.clone().unwrap().id;
    assert!(observed.user().unwrap().keys.iter().all(|key| key.active) && *fresh != *STATIC);
    assert!(!observed.is_exposed(&fresh), "no workload has it");
    until(
        &desired,
        &mut observed,
        later(start, SignedDuration::from_hours(1)),
        later(start, SignedDuration::from_hours(27)),
    );
    assert_eq!(ids(&observed), [&*fresh], "after a day");
}

#[test]
fn to_the_key_itself_by_the_very_key_of_the_sessions_and_back_by_another() {
    let (static_, sessions) = (desired(&json!({}), false), desired(&json!({ "mode": "Session" }), false));
    let SecretState::Ours(kept) = holding(CURRENT) else { panic!("it is ours") };
    let of_session = SecretState::Ours(session_of(CURRENT));
    let renamed = [(Place::Keys, kept)].into();
    let mut observed =
        as_wanted(&static_, Observed { secret: of_session, renamed, ..Observed::nothing() }, vec![key(CURRENT)]);
    let (done, _) = carried_out(&static_, &mut observed, hours(2));
    assert_eq!(names(&done), ["WriteSecret", "DeleteSecret"]);
    assert_eq!(ids(&observed), [CURRENT]);

    // The Secret in the operator's namespace could not be deleted; the workload has had its key.
    let both = Observed { session: Some(observed.secret.clone()), secret: holding(CURRENT), ..observed };
    let mut observed = both;
    let done = until(&sessions, &mut observed, hours(3), later(hours(3), SignedDuration::from_mins(5)));
    assert_eq!(names(&done), ["CreateAccessKey", "WriteSecret", "GetSessionToken"]);
    assert!(!observed.is_exposed(&observed.our_secret().unwrap().key.as_ref().unwrap().id));
}

#[test]
fn where_sessions_are_required_no_key_that_a_workload_has_works_for_a_moment() {
    let desired = desired(&json!({ "mode": "Session", "rotation": { "interval": "8000h", "overlap": "7000h" } }), true);
    let mut observed =
        as_wanted(&desired, Observed { session: Some(holding(STATIC)), ..Observed::nothing() }, vec![key(STATIC)]);
    let (done, _) = carried_out(&desired, &mut observed, hours(100));
    assert_eq!(done[0], Action::SetKeyStatus { id: STATIC.to_owned(), active: false });
    let rest = until(&desired, &mut observed, hours(100), hours(101));
    let done: Vec<_> = done.into_iter().chain(rest).collect();
    assert!(done.contains(&Action::DeleteKey { id: STATIC.to_owned(), why: WhyDelete::Orphan }), "{done:?}");
    assert!(!done.iter().any(|action| matches!(action, Action::SetKeyStatus { active: true, .. })));
    assert!(observed.session.as_ref().unwrap().ours().unwrap().session.is_some());
    assert_eq!(ids(&observed).len(), 1);
}

#[test]
fn whoever_keeps_the_key_itself_where_sessions_are_required_loses_all() {
    let desired = desired(&json!({}), true);
    assert!(desired.inactive.is_some() && desired.policy.is_none());
    assert!(desired.violation.as_ref().unwrap().contains("write Session"), "{:?}", desired.violation);
}

#[test]
fn a_replaced_key_is_kept_while_a_session_of_it_may_be_in_use() {
    let rotation = json!({ "interval": "720h", "overlap": "1h" });
    let desired = desired(&json!({ "mode": "Session", "duration": "36h", "rotation": rotation }), false);
    let mut observed = as_wanted(
        &desired,
        Observed {
            secret: holding(CURRENT),
            session: Some(SecretState::Ours(session_of(CURRENT))),
            ..Observed::nothing()
        },
        vec![key(CURRENT)],
    );
    until(&desired, &mut observed, hours(719), hours(721));
    assert_eq!(ids(&observed).len(), 2);
    assert_eq!(observed.session.as_ref().unwrap().ours().unwrap().session.as_ref().unwrap().key, CURRENT.to_owned());
    until(&desired, &mut observed, hours(721), hours(755));
    assert!(ids(&observed).contains(&CURRENT), "{:?}", ids(&observed));
    until(&desired, &mut observed, hours(755), hours(762));
    assert!(!ids(&observed).contains(&CURRENT), "{:?}", ids(&observed));
}

#[test]
fn at_rest_a_session_costs_one_call_in_half_its_life() {
    let desired = desired(&json!({ "mode": "Session", "duration": "1h" }), false);
    let mut observed = as_wanted(
        &desired,
        Observed { secret: holding(CURRENT), session: Some(SecretState::Missing), ..Observed::nothing() },
        vec![key(CURRENT)],
    );
    let done = until(&desired, &mut observed, hours(10), hours(110));
    assert!(done.iter().all(|action| matches!(action, Action::RenewSession { .. })), "{done:?}");
    assert!((200..=230).contains(&done.len()), "{} in a hundred hours", done.len());
}

#[test]
fn a_suspended_user_has_a_policy_that_ends_its_sessions_and_gets_its_own_back() {
    let suspended = desired(&json!({ "mode": "Session", "status": "Inactive" }), false);
    let document = suspended.policy.as_ref().unwrap().document();
    assert!(document.means_the_same(&crate::core::policy::cut_off()));
    let again = desired(&json!({ "mode": "Session" }), false);
    assert!(again.policy.as_ref().is_some_and(|policy| Some(policy) != suspended.policy.as_ref()));
}

#[test]
fn invariant_12_sessions_from_before_a_revocation_are_cut_once_it_is_recorded_before_any_status_tells_of_it() {
    let mut sessions = desired(&json!({ "mode": "Session" }), false);
    let document = sessions.policy.as_ref().unwrap().document().clone();
    let (tag, record) = revocation::of_new_user(Some(&Request::by("keep-working")), hours(2)).unwrap();
    let second = SignedDuration::from_secs(1);
    let inline = DesiredPolicy::Inline { name: sessions.owner.policy_name.clone(), document: document.clone() };
    for policy in [sessions.policy.clone().unwrap(), inline] {
        sessions.policy = Some(policy);
        let session = Some(SecretState::Ours(session_of(CURRENT)));
        let before = Observed { secret: holding(CURRENT), session, ..Observed::nothing() };
        let mut observed = as_wanted(&sessions, before.clone(), vec![key(CURRENT)]);
        let UserState::Present(user) = &mut observed.user else { panic!("no user") };
        user.tags.insert(tag.clone(), record.clone());
        let (done, _) = carried_out(&sessions, &mut observed, hours(3));
        let written: Vec<_> = done
            .iter()
            .filter_map(|action| match action {
                Action::CreatePolicyVersion { document, .. } | Action::PutInlinePolicy { document, .. } => {
                    Some(document)
                }
                _ => None,
            })
            .collect();
        assert_eq!(written, [&with_cut(&document, later(hours(2), second))], "{done:?}");
        let revoked = Some(record.clone());
        let assumed = as_wanted(&sessions, Observed { revoked, ..before }, vec![key(CURRENT)]);
        assert_eq!(assumed.policies, observed.policies, "so it is taken to be where it is not read");
        assert_eq!(assumed.user().unwrap().inline, observed.user().unwrap().inline);
    }
    // A replica of IAM may show an earlier record than the status tells of.
    sessions.cut_at = Some(hours(5));
    let found = [(tag, record)].into();
    assert_eq!(sessions.policy_of(Some(&found)).unwrap().document(), &with_cut(&document, hours(5)));
}

#[test]
fn deletion_takes_the_key_from_the_operators_namespace_last() {
    let owner = desired(&json!({ "mode": "Session" }), false).owner;
    let renamed = || [(Place::Keys, OurSecret::intact("1".to_owned(), None))].into();
    let gone = Observed { finalizer: true, user: UserState::Deleted, renamed: renamed(), ..Observed::nothing() };
    let found = teardown(&owner, &gone, made_at(), &Waits::default());
    assert_eq!(names(&found.actions), ["DeleteSecret", "RemoveFinalizer"]);
    let mut retained = owner.clone();
    retained.retain = true;
    let desired = desired(&json!({ "mode": "Session" }), false);
    let there = as_wanted(&desired, Observed { renamed: renamed(), ..Observed::nothing() }, vec![key(CURRENT)]);
    let found = teardown(&retained, &there, made_at(), &Waits::default());
    assert_eq!(names(&found.actions), ["DeleteAccessKey", "UntagUser", "DeleteSecret", "RemoveFinalizer"]);
}

#[test]
fn a_key_that_another_leader_is_about_to_deliver_is_stopped_only_once_it_is_too_old_for_that_or_exposed() {
    let required = desired(&json!({ "mode": "Session" }), true);
    let (now, takeover) = (hours(6), Waits::default().takeover);
    for (age, exposed, stops) in [
        (SignedDuration::ZERO, false, false),
        (takeover - SignedDuration::from_secs(1), false, false),
        (takeover, false, true),
        (SignedDuration::ZERO, true, true),
    ] {
        let session = Some(if exposed { holding("AKIANEW") } else { SecretState::Missing });
        let observed = Observed { secret: holding(CURRENT), session, ..Observed::nothing() };
        let new = AccessKey { created_at: later(now, -age), ..key("AKIANEW") };
        let observed = as_wanted(&required, observed, vec![key(CURRENT), new]);
        let found = plan(&required, &observed, now, &Waits::default());
        let stopped: Vec<_> = found.actions.iter().filter_map(stopped_key).collect();
        assert_eq!(stopped == ["AKIANEW"], stops, "{age:?}, {exposed}: {:?}", found.actions);
    }
}

#[test]
fn a_key_that_works_in_the_workloads_secret_goes_before_a_dead_one_in_the_place_of_sessions() {
    let desired = desired(&json!({ "mode": "Session" }), false);
    let observed = Observed { secret: holding("AKIADEAD"), session: Some(holding(STATIC)), ..Observed::nothing() };
    let mut observed = as_wanted(&desired, observed, vec![key(STATIC)]);
    let found = plan(&desired, &observed, hours(6), &Waits::default());
    assert_eq!(found.actions.last(), Some(&Action::CreateAccessKey), "{:?}", found.actions);
    let minted = Minted { id: "AKIANEW".to_owned(), created_at: hours(6) };
    observed.minted = Some(minted.clone());
    let probes = crate::core::observed::Probes { successes: 3, since: hours(6), last: hours(7) };
    observed.probes.insert(minted.id.clone(), probes);
    let UserState::Present(user) = &mut observed.user else { panic!("no user") };
    user.keys.push(AccessKey { created_at: minted.created_at, ..key(&minted.id) });
    let found = plan(&desired, &observed, hours(7), &Waits::default());
    let [Action::WriteSecret { record, .. }] = &found.actions[..] else { panic!("{:?}", found.actions) };
    assert_eq!(record.previous, Some(AccessKeyId::of_iam(STATIC)), "it has its overlap");
}
