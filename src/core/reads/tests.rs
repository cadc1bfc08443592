#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::json;

use super::*;
use crate::core::iam::AccessKeyId;
use crate::core::observed::{HeldKey, OurSecret};
use crate::core::plan::{Part, Parts, Progress, SecretRecord, WhyDelete};
use crate::core::reads::known::{Left, Settled};

mod deletion;
mod started;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn at(seconds: i64) -> Timestamp {
    later(NOW, SignedDuration::from_secs(seconds))
}

/// Every combination of the facts.
fn all() -> impl Iterator<Item = Facts> {
    let times = [at(-1), at(0), at(1)];
    let dones = [Done::No].into_iter().chain(times.map(Done::ByStatus)).chain(times.map(Done::Settled));
    let resyncs = [at(0), at(2)];
    let dones = dones.flat_map(move |done| resyncs.map(|resync_at| (done, resync_at)));
    let awaited = [None, Some(at(0)), Some(at(1))];
    let secrets = [SecretFact::Unread, SecretFact::Same, SecretFact::Changed];
    let bits = 0_u16..1 << 11;
    dones.flat_map(move |(done, resync_at)| {
        let bits = bits.clone();
        secrets.into_iter().flat_map(move |secret| {
            let bits = bits.clone();
            awaited.into_iter().flat_map(move |awaited_until| {
                bits.clone().map(move |bits| {
                    let bit = |number: u16| bits & (1 << number) != 0;
                    Facts {
                        deleting: bit(0),
                        made: bit(1),
                        secret,
                        intact: bit(2),
                        done,
                        resync_at,
                        announced: bit(3),
                        details_known: bit(4),
                        minted: bit(5),
                        failing: bit(6),
                        drift_suspected: bit(7),
                        swept: bit(8),
                        keys_left: bit(9),
                        named: bit(10),
                        awaited_until,
                    }
                })
            })
        })
    })
}

fn least(facts: &Facts) -> Reads {
    needed(facts, NOW, None)
}

/// The Secret was read, as it is within a reconcile.
fn within() -> impl Iterator<Item = Facts> {
    all().filter(|facts| facts.secret != SecretFact::Unread)
}

#[test]
fn losing_freshness_never_lessens_the_reads() {
    let mut tried = 0;
    for facts in within() {
        let lost = [
            Facts { done: Done::No, ..facts },
            Facts { secret: SecretFact::Changed, ..facts },
            Facts { intact: false, ..facts },
            Facts { announced: false, ..facts },
            Facts { details_known: false, ..facts },
            Facts { minted: true, ..facts },
            Facts { failing: true, ..facts },
            Facts { drift_suspected: true, ..facts },
            Facts { swept: false, ..facts },
            Facts { keys_left: false, ..facts },
            Facts { named: false, ..facts },
            Facts { resync_at: NOW, ..facts },
            Facts { awaited_until: None, ..facts },
        ];
        for less in lost {
            assert!(least(&less).rank() >= least(&facts).rank(), "{less:?} for {facts:?}");
            tried += 1;
        }
    }
    assert!(tried > 200_000, "{tried}");
}

/// Everything speaks for reading nothing.
fn fresh() -> Facts {
    Facts {
        deleting: false,
        made: true,
        secret: SecretFact::Same,
        intact: true,
        done: Done::Settled(at(1)),
        resync_at: at(2),
        announced: true,
        details_known: true,
        keys_left: true,
        named: true,
        minted: false,
        failing: false,
        drift_suspected: false,
        swept: true,
        awaited_until: Some(at(1)),
    }
}

#[test]
fn each_level_needs_each_of_its_facts() {
    let resync = Facts { resync_at: at(0), ..fresh() };
    let due = Facts { done: Done::Settled(at(0)), ..fresh() };
    let settled = Facts { awaited_until: None, ..resync };
    let rotation = Facts { awaited_until: None, ..due };
    let known = Facts { done: Done::No, keys_left: false, ..settled };
    let levels = [fresh(), due, settled, rotation, known].map(|facts| least(&facts));
    assert_eq!(levels, [Reads::Nothing { until: at(1) }, Reads::Probe, Reads::Keys, Reads::User, Reads::UserAndKeys]);

    assert_ne!(least(&Facts { awaited_until: Some(at(0)), ..due }), Reads::Probe, "it is as old as it may be");
    for without in [
        Facts { announced: false, ..settled },
        Facts { minted: true, ..settled },
        Facts { secret: SecretFact::Changed, ..settled },
    ] {
        assert_eq!(least(&without).rank(), Reads::Keys.rank() + if without.minted { 2 } else { 1 }, "{without:?}");
    }
    assert_eq!(least(&Facts { keys_left: false, ..rotation }), Reads::UserAndKeys);
    for without in [
        Facts { swept: false, ..known },
        Facts { details_known: false, ..known },
        Facts { failing: true, ..known },
        Facts { drift_suspected: true, ..known },
    ] {
        assert_eq!(least(&without), Reads::Everything, "{without:?}");
    }
}

#[test]
fn after_a_start_the_secret_must_be_read_and_intact_for_nothing_to_be_read() {
    let started = Facts { done: Done::ByStatus(at(1)), secret: SecretFact::Changed, ..fresh() };
    assert_eq!(least(&started), Reads::Nothing { until: at(1) });
    assert_ne!(least(&Facts { intact: false, ..started }), Reads::Nothing { until: at(1) });
    assert_ne!(least(&Facts { secret: SecretFact::Unread, ..started }), Reads::Nothing { until: at(1) });
    let altered = Facts { intact: false, ..fresh() };
    assert_ne!(
        least(&altered),
        Reads::Nothing { until: at(1) },
        "it is the same one, and was edited while we were away"
    );
}

#[test]
fn a_plan_of_its_own_rests_on_the_secret_or_on_the_user() {
    for (reads, anew) in [
        (Reads::Nothing { until: NOW }, false),
        (Reads::Secret, true),
        (Reads::Probe, false),
        (Reads::Keys, false),
        (Reads::User, true),
        (Reads::UserAndKeys, true),
        (Reads::Recorded, true),
        (Reads::Everything, true),
    ] {
        assert_eq!(reads.begins_anew(), anew, "{reads:?}");
    }
}

#[test]
fn after_a_list_of_the_keys_nothing_rests_upon_what_was_left_of_them() {
    for facts in within() {
        assert_ne!(needed(&facts, NOW, Some(Reads::Keys)), Reads::User, "{facts:?}");
    }
}

#[test]
fn a_secret_that_could_not_be_written_is_read_again_before_anything_else() {
    let retries = |action| Reads::Probe.retries(&action);
    assert!(retries(Action::ProbeKey { id: "AKIA".to_owned() }));
    assert!(!retries(Action::WriteSecret { key_id: "AKIA".to_owned(), record: SecretRecord::default() }));
    assert!(!Reads::Everything.retries(&Action::ProbeKey { id: "AKIA".to_owned() }));
}

#[test]
fn a_suspected_drift_has_everything_read() {
    for facts in within().filter(|facts| facts.drift_suspected && facts.made) {
        assert_eq!(least(&facts), Reads::Everything, "{facts:?}");
    }
}

#[test]
fn for_a_cr_that_was_never_acted_upon_iam_is_not_read() {
    for facts in within().filter(|facts| !facts.made && !facts.deleting && facts.awaited_until.is_none()) {
        assert_eq!(least(&facts), Reads::Secret, "{facts:?}");
        assert_eq!(needed(&facts, NOW, Some(Reads::UserAndKeys)), Reads::Everything, "its first write found something");
    }
}

#[test]
fn what_has_not_sufficed_is_followed_by_more_until_everything_is_read() {
    for facts in within() {
        let mut reads = least(&facts);
        let mut steps = 0;
        while reads != Reads::Everything {
            let more = needed(&facts, NOW, Some(reads));
            assert!(more.rank() > reads.rank(), "{reads:?} then {more:?}: {facts:?}");
            (reads, steps) = (more, steps + 1);
        }
        assert!(steps <= 6, "{facts:?}");
    }
}

#[test]
fn invariant_6_after_a_start_a_settled_user_needs_no_more_than_its_secret() {
    let settled = |facts: &Facts| facts.resync_at > NOW && matches!(facts.done, Done::ByStatus(until) if until > NOW);
    for facts in within().filter(settled) {
        let undisturbed = facts.intact && facts.made && !facts.deleting && !facts.drift_suspected;
        assert_eq!(matches!(least(&facts), Reads::Nothing { .. }), undisturbed, "{facts:?}");
    }
}

#[test]
fn nothing_is_left_out_once_it_is_due() {
    for facts in all() {
        if let Reads::Nothing { until } = least(&facts) {
            assert!(until > NOW, "{facts:?}");
            let (Done::Settled(due_at) | Done::ByStatus(due_at)) = facts.done else { panic!("{facts:?}") };
            assert_eq!(until, due_at.min(facts.resync_at), "{facts:?}");
        }
    }
}

#[test]
fn an_event_is_let_pass_only_where_this_process_has_seen_all_done() {
    for facts in all().filter(|facts| facts.secret == SecretFact::Unread) {
        let passes = matches!(facts.done, Done::Settled(until) if until > NOW && facts.resync_at > NOW)
            && facts.made
            && !facts.deleting
            && !facts.drift_suspected;
        assert_eq!(matches!(least(&facts), Reads::Nothing { .. }), passes, "{facts:?}");
    }
}

#[test]
fn user_and_policies_are_left_out_only_where_the_bulk_read_compares_them() {
    for facts in within().filter(|facts| !facts.swept) {
        let reads = least(&facts);
        assert!(!matches!(reads, Reads::Keys | Reads::User | Reads::UserAndKeys), "{reads:?}: {facts:?}");
    }
}

#[test]
fn a_write_needs_the_user_and_its_keys_read_live_unless_nothing_was_ever_made() {
    let write = Action::DeleteKey { id: "AKIA".to_owned(), why: WhyDelete::Orphan };
    let probe = Action::ProbeKey { id: "AKIA".to_owned() };
    let permits = |action: &Action| {
        [
            Reads::Nothing { until: NOW },
            Reads::Secret,
            Reads::Probe,
            Reads::Keys,
            Reads::User,
            Reads::UserAndKeys,
            Reads::Recorded,
            Reads::Everything,
        ]
        .map(|reads| reads.permits(action))
    };
    assert_eq!(permits(&write), [false, true, false, false, true, true, true, true]);
    assert_eq!(permits(&probe), [false, true, true, false, true, true, true, true]);
    let into_secret = Action::WriteSecret { key_id: "AKIA".to_owned(), record: SecretRecord::default() };
    assert_eq!(permits(&into_secret), [false, true, true, false, true, true, true, true]);
    for facts in within().filter(|facts| least(facts) == Reads::Secret) {
        assert!(!facts.made, "{facts:?}");
    }
}

#[test]
fn a_user_is_taken_by_making_it_or_by_the_tag_of_the_uid() {
    let tag = |name: &str| Action::TagUser([(name.to_owned(), "uid".to_owned())].into());
    assert!(takes_the_user(&tag(tags::UID)));
    assert!(takes_the_user(&Action::CreateUser { tags: [].into(), boundary: None }));
    assert!(!takes_the_user(&tag(tags::POLICY)));
    assert!(!takes_the_user(&Action::DeleteUser));
}

#[test]
fn with_the_keys_alone_there_must_be_nothing_to_do_and_nothing_to_wait_for() {
    let plan = |actions: Vec<Action>, key: Progress| {
        let mut parts = Parts::pending();
        Part::ALL.into_iter().for_each(|part| parts.set(part, Progress::Synced));
        parts.set(Part::AccessKey, key);
        Plan { actions, parts, wake_at: None, retiring: None, next_rotation_at: None }
    };
    let waits = || Progress::Waiting(crate::api::Reason::WaitingForKey, String::new());
    let probe = || vec![Action::ProbeKey { id: "AKIA".to_owned() }];
    assert!(Reads::Keys.suffices(&plan(Vec::new(), Progress::Synced)));
    assert!(!Reads::Keys.suffices(&plan(Vec::new(), waits())));
    assert!(!Reads::Keys.suffices(&plan(probe(), Progress::Synced)));
    assert!(Reads::Probe.suffices(&plan(probe(), waits())));
    assert!(!Reads::Probe.suffices(&plan(vec![Action::CreateAccessKey], waits())));
}

fn user(extra: serde_json::Value) -> S3AccessUser {
    let mut object = json!({ "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser",
        "metadata": { "name": "reports", "namespace": "team-a", "uid": "uid", "generation": 1, "finalizers": ["s3access.dev/iam"] },
        "spec": { "access": [{ "bucket": "reports", "level": "ReadOnly" }] } });
    for (field, value) in extra.as_object().unwrap() {
        object[field] = value.clone();
    }
    serde_json::from_value(object).unwrap()
}

fn annotated(name: &str) -> S3AccessUser {
    let mut user = user(json!({}));
    user.metadata.annotations = Some([(name.to_owned(), "now".to_owned())].into());
    user
}

fn secret(version: &str) -> SecretState {
    let key = HeldKey { id: crate::core::iam::AccessKeyId::of_iam("AKIA"), created_at: Some(NOW), account_id: None };
    SecretState::Ours(OurSecret {
        resource_version: version.to_owned(),
        ..OurSecret::intact("1".to_owned(), Some(key))
    })
}

/// All was done for this user, with Secret `1`, and a key is awaited beside.
fn known() -> Known {
    let fingerprint = Fingerprint::of(&user(json!({})), 7);
    let settled = Settled {
        fingerprint: fingerprint.all,
        secret_version: "1".into(),
        due_at: at(100),
        read_at: NOW,
        compared_at: None,
        alone: true,
    };
    let left = Left {
        fingerprint: fingerprint.all,
        secret_version: Some("1".to_owned()),
        read_at: NOW,
        keys: Vec::new(),
        awaits: true,
    };
    Known {
        settled: Some(settled),
        left: Some(Box::new(left)),
        details: Some(fingerprint.but_rotation),
        enforced_revision: Some(7),
        ..Known::default()
    }
}

fn facts(user: &S3AccessUser, revision: u64, secret: &SecretState) -> Facts {
    let current = Current {
        user,
        fingerprint: Fingerprint::of(user, revision),
        secret: Some(secret),
        session: None,
        alone: true,
        by_status: None,
        resync: (SignedDuration::from_hours(10), NOW),
        retain: false,
        swept: true,
    };
    Facts::of(&known(), &current)
}

#[test]
fn what_is_known_holds_for_what_was_asked_for_and_the_secret_as_they_were() {
    let same = facts(&user(json!({})), 7, &secret("1"));
    assert_eq!((same.done, same.secret, same.intact), (Done::Settled(at(100)), SecretFact::Same, true));
    assert_eq!((same.details_known, same.awaited_until), (true, Some(at(3_600))), "until it is given up");

    let rotated = facts(&annotated(crate::api::annotations::ROTATE), 7, &secret("1"));
    assert_eq!((rotated.done, rotated.awaited_until, rotated.details_known), (Done::No, None, true));
    for edited in [facts(&annotated("note"), 7, &secret("1")), facts(&user(json!({})), 8, &secret("1"))] {
        assert_eq!((edited.done, edited.awaited_until, edited.details_known), (Done::No, None, false));
    }
    for other in [secret("2"), SecretState::Missing, SecretState::Foreign { other_user: None }] {
        let changed = facts(&user(json!({})), 7, &other);
        assert_eq!((changed.secret, changed.awaited_until), (SecretFact::Changed, None), "{other:?}");
    }
}

#[test]
fn a_secret_is_intact_alone_and_a_failure_counts() {
    let of = |alone, up_to_date, failures| {
        let SecretState::Ours(ours) = secret("1") else { unreachable!("it is ours") };
        let (user, secret) = (user(json!({})), SecretState::Ours(OurSecret { up_to_date, ..ours }));
        let current = Current {
            user: &user,
            fingerprint: Fingerprint::of(&user, 7),
            secret: Some(&secret),
            session: None,
            alone,
            by_status: None,
            resync: (SignedDuration::from_hours(10), NOW),
            retain: false,
            swept: true,
        };
        let facts = Facts::of(&Known { failures, ..known() }, &current);
        (facts.intact, facts.failing)
    };
    assert_eq!(of(true, true, 0), (true, false));
    assert_eq!(of(false, true, 1), (false, true));
    assert_eq!(of(true, false, 2), (false, true));
}

#[test]
fn what_a_process_has_seen_itself_counts_more_than_the_status() {
    let (user, there) = (user(json!({})), secret("1"));
    let of = |known: &Known, secret_state: &SecretState| {
        let current = Current {
            user: &user,
            fingerprint: Fingerprint::of(&user, 7),
            secret: Some(secret_state),
            session: None,
            alone: true,
            by_status: Some(at(5)),
            resync: (SignedDuration::from_hours(10), NOW),
            retain: false,
            swept: true,
        };
        Facts::of(known, &current).done
    };
    assert_eq!(of(&known(), &there), Done::Settled(at(100)));
    assert_eq!(of(&Known { settled: None, ..known() }, &there), Done::No);
    for begun in
        [Known { drift_suspected: true, ..Known::default() }, Known { enforced_revision: Some(7), ..Known::default() }]
    {
        assert_eq!(of(&begun, &there), Done::No, "{begun:?}");
    }
    assert_eq!(of(&Known::default(), &there), Done::ByStatus(at(5)));
}

#[test]
fn where_a_workload_has_sessions_it_is_its_secret_that_is_watched_and_both_that_are_to_be_intact() {
    let user = user(json!({}));
    let of = |key: &SecretState, session: &SecretState| {
        let current = Current {
            user: &user,
            fingerprint: Fingerprint::of(&user, 7),
            secret: Some(key),
            session: Some(session),
            alone: true,
            by_status: None,
            resync: (SignedDuration::from_hours(10), NOW),
            retain: false,
            swept: true,
        };
        let facts = Facts::of(&known(), &current);
        (facts.secret, facts.intact)
    };
    let outdated = |state: SecretState| match state {
        SecretState::Ours(ours) => SecretState::Ours(OurSecret { up_to_date: false, ..ours }),
        other => other,
    };
    assert_eq!(of(&secret("9"), &secret("1")), (SecretFact::Same, true));
    assert_eq!(of(&secret("1"), &secret("9")), (SecretFact::Changed, true));
    assert_eq!(of(&secret("1"), &SecretState::Missing), (SecretFact::Changed, false));
    assert_eq!(of(&SecretState::Missing, &secret("1")), (SecretFact::Same, false));
    assert_eq!(of(&outdated(secret("1")), &secret("1")), (SecretFact::Same, false));
    assert_eq!(of(&secret("1"), &outdated(secret("1"))), (SecretFact::Same, false));
}
