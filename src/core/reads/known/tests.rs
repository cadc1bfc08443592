use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::core::iam::AccessKeyId;
use crate::core::names;
use crate::core::observed::{HeldKey, OurSecret, User, UserState};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const ASKED: Fingerprint = Fingerprint { all: 1, but_rotation: 2 };

fn minted(id: &str) -> (Minted, SecretString) {
    (Minted { id: id.to_owned(), created_at: NOW }, SecretString::from("half"))
}

/// A user with a key, and its Secret.
fn observed() -> Observed {
    let held = HeldKey { id: AccessKeyId::of_iam("AKIA1"), created_at: None, account_id: None };
    let keys = vec![AccessKey { id: "AKIA1".to_owned(), active: true, created_at: NOW }];
    let (arn, path) = (String::new(), "/".to_owned());
    let (tags, inline) = Default::default();
    let (attached, beside) = Default::default();
    let user = User { arn, path, tags, boundary: None, keys, attached, inline, beside };
    let secret = SecretState::Ours(OurSecret::intact("1".to_owned(), Some(held)));
    Observed { user: UserState::Present(Box::new(user)), secret, ..Observed::nothing() }
}

fn settled() -> Option<Settled> {
    Settled::of(ASKED, &observed(), NOW, NOW)
}

fn left(awaits: bool) -> Option<Box<Left>> {
    Left::of(ASKED, &observed(), NOW, awaits)
}

#[test]
fn what_is_kept_of_a_user_is_small() {
    assert!(size_of::<Known>() <= 208, "{} bytes", size_of::<Known>());
}

#[test]
fn failures_are_counted_and_unsettle_and_a_success_forgives_them() {
    let mut known = Known { settled: settled(), ..Known::default() };
    known.ended(false);
    assert!((known.failures, known.settled.is_some()) == (0, true));
    known.ended(true);
    known.ended(true);
    assert!((known.failures, known.settled.is_none()) == (2, true));
    known.ended(false);
    assert_eq!(known.failures, 0);
}

#[test]
fn what_was_written_is_kept_until_the_watch_has_it() {
    let mut known = Known::default();
    let status = S3AccessUserStatus { observed_generation: Some(7), ..S3AccessUserStatus::default() };
    known.written(Some(5), &status);
    known.watched(4);
    assert_eq!(known.last_written.as_deref(), Some(&(5, status.clone())));
    known.watched(5);
    assert!(known.last_written.is_none());
    known.written(Some(5), &status);
    known.written(None, &status);
    assert!(known.last_written.is_none(), "of a write without a version nothing is known");
}

#[test]
fn a_new_key_is_kept_until_that_very_key_is_delivered() {
    let mut known = Known::default();
    let (key, half) = minted("AKIA2");
    known.minted(&key, &half);
    known.unminted("AKIA1");
    known.observed(&Observed { minted: Some(key.clone()), ..observed() });
    assert!(known.minted.as_deref().is_some_and(|(kept, _)| *kept == key));
    known.unminted("AKIA2");
    assert!(known.minted.is_none());
    known.minted(&key, &half);
    known.observed(&observed());
    assert!(known.minted.is_none(), "what was read shows it in its Secret");
}

#[test]
fn only_reading_everything_clears_a_suspicion_and_any_reading_starts_afresh() {
    for (reads, suspected) in [(Reads::Keys, true), (Reads::UserAndKeys, true), (Reads::Everything, false)] {
        let mut known = Known { settled: settled(), ..Known::default() };
        known.carried_out(Kept { left: left(true), details: Some(ASKED) });
        assert!(known.left.is_some() && known.details == Some(2));
        assert!(known.suspect_drift(), "nothing else would come before the next resync");
        known.reading(reads);
        assert_eq!((known.drift_suspected, known.left, known.details), (suspected, None, None), "{reads:?}");
    }
    let mut unsuspected = Known::default();
    unsuspected.reading(Reads::Keys);
    assert!(!unsuspected.drift_suspected);
    assert!(!unsuspected.suspect_drift(), "it is reconciled anyway");
    assert!(unsuspected.drift_suspected);
}

#[test]
fn what_was_settled_stays_so_until_it_is_settled_anew() {
    let mut known = Known { left: left(true), ..Known::default() };
    known.settled(settled());
    assert!(known.left.is_none() && known.settled == settled());
    known.settled(None);
    assert_eq!(known.settled, settled());
    let mut known = Known::default();
    assert!(known.is_new());
    known.resumed(settled().unwrap_or_else(|| unreachable!()), ASKED);
    assert!(known.settled == settled() && known.details == Some(2) && known.is_new());
    known.enforced(3);
    assert!(known.enforced_revision == Some(3) && !known.is_new());
}

#[test]
fn who_waits_is_not_settled_any_more() {
    let mut known = Known { settled: settled(), ..Known::default() };
    known.waits();
    assert_eq!(known.settled, None);
    let mut known = Known { settled: settled(), details: Some(2), left: left(true), ..Known::default() };
    known.refused();
    assert_eq!((known.settled, known.details, known.left), (None, None, None), "the class may have taken away of it");
}

#[test]
fn a_revocation_is_remembered_against_a_replica_that_lags_and_changes_the_policy() {
    let tag = |record: &str| BTreeMap::from([(tags::REVOKED.to_owned(), record.to_owned())]);
    let (old, new) = ("a+-+1+now+", "b+-+2+now+");
    let mut known = Known { details: Some(2), ..Known::default() };
    known.tagged(&BTreeMap::new());
    assert_eq!((known.revoked(), known.details), (None, Some(2)));
    known.tagged(&tag(new));
    assert_eq!((known.revoked(), known.details), (Some(new), None), "sessions are cut by the policy");
    known.details = Some(2);
    for found in [tag(old), tag(new), BTreeMap::new()] {
        known.tagged(&found);
        assert_eq!((known.revoked(), known.details), (Some(new), Some(2)), "{found:?}");
    }
}

#[test]
fn a_revocation_is_asked_for_until_it_is_answered_and_after_a_start_the_status_says() {
    let mut user = S3AccessUser::new("reports", crate::api::S3AccessUserSpec::default());
    assert_eq!(Known::default().revokes(&user), None);
    user.annotations_mut().insert(annotations::REVOKE.to_owned(), "1".to_owned());
    let request = Request::by("1");
    assert_eq!(Known::default().revokes(&user), Some(request.clone()));
    let revoked_at = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(NOW);
    let report = crate::api::RevocationReport {
        request: request.digest.clone(),
        revoked_at,
        access_key_ids: Vec::new(),
        delete_at: None,
    };
    user.status = Some(S3AccessUserStatus { revocation: Some(report), ..S3AccessUserStatus::default() });
    assert_eq!(Known::default().revokes(&user), None, "a restart revokes nothing again");
    let mut known = Known::default();
    known.enforced(1);
    assert_eq!(known.revokes(&user), Some(request.clone()), "what this process knows counts for more than the status");
    known.change_rare(|rare| rare.revoked = Some(format!("{}+-+1+now+", request.digest).into()));
    assert_eq!(known.revokes(&user), None);
}

#[test]
fn a_revocation_is_urgent_while_a_key_may_work() {
    let mut user = S3AccessUser::new("reports", crate::api::S3AccessUserSpec::default());
    user.annotations_mut().insert(annotations::REVOKE.to_owned(), "2".to_owned());
    user.status = Some(S3AccessUserStatus { access_key_id: Some("AKIA1".to_owned()), ..S3AccessUserStatus::default() });
    let mut known = Known::default();
    assert!(known.revokes_urgently(&user), "nothing was revoked yet");
    let record = |mode: &str, key: &str| format!("{}+-+1+{mode}+{}", Request::by("1").digest, names::record([key]));
    let mut with = |mode: &str, key: &str| {
        known.change_rare(|rare| rare.revoked = Some(record(mode, key).into()));
        assert!(known.revokes(&user).is_some(), "it is answered all the same");
        known.revokes_urgently(&user)
    };
    assert!(!with("now", "AKIA1"));
    assert!(with("now", "AKIA0"), "another key has come since");
    assert!(with("swap", "AKIA1"), "it works until its successor is there");
    known.change_rare(|rare| rare.revoked = Some(record("now", "AKIA1").into()));
    let retiring = json!({ "id": "AKIA0", "retireAt": "2026-06-01T00:00:00Z" });
    user.status.as_mut().unwrap().retiring_key = Some(serde_json::from_value(retiring).unwrap());
    assert!(known.revokes_urgently(&user), "the replaced one may work");
    user.status.as_mut().unwrap().retiring_key = None;
    known.minted(&Minted { id: "AKIA2".to_owned(), created_at: NOW }, &"x".into());
    assert!(known.revokes_urgently(&user), "a key is on its way");
}

#[test]
fn what_aws_has_attached_is_kept_until_it_is_detached() {
    let mut known = Known::default();
    let alarm = "arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantineV3".to_owned();
    known.attached(&[alarm.clone(), "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess".to_owned()].into());
    assert_eq!(known.quarantine().iter().map(|arn| &**arn).collect::<Vec<_>>(), [alarm]);
    known.attached(&BTreeSet::new());
    assert!(known.quarantine().is_empty());
}

#[test]
fn probes_are_kept_as_they_were_seen() {
    let mut known = Known::default();
    let probes = BTreeMap::from([("AKIA1".to_owned(), Probes { successes: 2, since: NOW, last: NOW })]);
    known.probed(&Observed { probes: probes.clone(), ..observed() });
    assert_eq!(known.probes.iter().cloned().collect::<BTreeMap<_, _>>(), probes);
}

#[test]
fn what_is_settled_or_left_names_what_it_rests_upon() {
    let version = "1".to_owned();
    let by_status = Settled {
        fingerprint: 1,
        secret_version: version.as_str().into(),
        due_at: NOW,
        read_at: NOW,
        compared_at: None,
        alone: false,
    };
    assert_eq!(settled(), Some(by_status.clone()), "the Secret does not say when its key was made");
    assert_eq!(Settled::by_status(ASKED, &observed().secret, (NOW, NOW), false), Some(by_status));
    assert_eq!(Settled::by_status(ASKED, &SecretState::Missing, (NOW, NOW), true), None);
    let gone = Observed { user: UserState::Missing, ..observed() };
    assert!(Settled::of(ASKED, &gone, NOW, NOW).is_none() && Left::of(ASKED, &gone, NOW, true).is_none());
    let without = Observed { secret: SecretState::Missing, ..observed() };
    assert_eq!(Settled::of(ASKED, &without, NOW, NOW), None);
    let left = [observed(), without].map(|observed| Left::of(ASKED, &observed, NOW, true));
    let versions = left.map(|left| left.map(|left| (left.secret_version, left.keys.len())));
    assert_eq!(versions, [Some((Some(version), 1)), Some((None, 1))]);
}

/// A Secret whose key is of the age that is recorded there, beside as many keys of its user.
fn with_keys(keys: &[(&str, bool)]) -> Observed {
    let mut observed = observed();
    let SecretState::Ours(secret) = &mut observed.secret else { unreachable!("it is ours") };
    secret.key.iter_mut().for_each(|key| key.created_at = Some(NOW));
    let UserState::Present(user) = &mut observed.user else { unreachable!("it is there") };
    let key = |(id, active): &(&str, bool)| AccessKey { id: (*id).to_owned(), active: *active, created_at: NOW };
    user.keys = keys.iter().map(key).collect();
    observed
}

#[test]
fn the_keys_are_as_they_were_left_where_there_was_one_or_one_beside_that_is_inactive() {
    let one = with_keys(&[("AKIA1", true)]);
    let settled = |observed: &Observed| Settled::of(ASKED, observed, NOW, NOW).unwrap();
    assert!(settled(&one).alone);
    for other in [&[("AKIA1", false)][..], &[("AKIA2", true)], &[("AKIA1", true), ("AKIA2", false)], &[]] {
        assert!(!settled(&with_keys(other)).alone, "{other:?}");
    }
    let known = Known { settled: Some(settled(&one)), details: Some(2), ..Known::default() };
    let secret = &one.secret;
    let keys = |known: &Known, asked, secret| known.keys_left(asked, (secret, None)).map(|(keys, _)| keys.len());
    assert_eq!(keys(&known, ASKED, secret), Some(1));
    assert_eq!(keys(&known, Fingerprint { all: 9, ..ASKED }, secret), Some(1), "a rotation is asked for");
    assert_eq!(keys(&known, Fingerprint { but_rotation: 9, ..ASKED }, secret), None);
    assert_eq!(keys(&known, ASKED, &SecretState::Missing), None);
    assert_eq!(known.keys_left(ASKED, (secret, Some(secret))), None, "sessions have a Secret of their own");

    let two = with_keys(&[("AKIA1", true), ("AKIA0", false)]);
    let ends = Known { left: Left::of(ASKED, &two, NOW, false), ..known.clone() };
    assert_eq!(keys(&ends, ASKED, secret), Some(2));
    assert_eq!(keys(&ends, Fingerprint { all: 9, ..ASKED }, secret), None);
    let awaits = Known { left: Left::of(ASKED, &two, NOW, true), ..known };
    assert_eq!(keys(&awaits, ASKED, secret), None, "nothing but the new key is known");
}

const INTERVAL: SignedDuration = SignedDuration::from_hours(10);

fn after(hours: i64) -> Timestamp {
    later(NOW, SignedDuration::from_hours(hours))
}

fn reported(only_key: Option<Timestamp>) -> Reported {
    Reported { made_at: after(6), created_at: NOW, only_key, rest_is_compared: true }
}

fn read_at(hours: i64) -> Known {
    let settled = settled().map(|settled| Settled { read_at: after(hours), ..settled });
    Known { settled, ..Known::default() }
}

#[test]
fn a_report_that_shows_the_key_puts_the_next_read_off_and_one_that_does_not_brings_it_on() {
    let resync = |known: &Known| known.settled.as_ref().unwrap().resync_at("uid", INTERVAL);
    let turn = next_resync("uid", after(1), INTERVAL);
    assert_eq!(resync(&read_at(1)), turn);
    let same = |known: &mut Known, reported: Reported| known.compared(&reported);

    let mut known = read_at(1);
    assert!(!same(&mut known, reported(Some(NOW))));
    assert!(resync(&known) > turn && resync(&known) <= later(after(6), INTERVAL * 2));
    let mut changed = read_at(1);
    assert!(!same(&mut changed, reported(Some(later(NOW, INTERVAL / 20)))), "it was read since");
    assert!(resync(&changed) > turn);
    let mut uncompared = read_at(1);
    assert!(!same(&mut uncompared, Reported { rest_is_compared: false, ..reported(Some(NOW)) }));
    assert_eq!(resync(&uncompared), turn, "nobody compares the policies");

    for only_key in [None, Some(after(2)), Some(after(-1))] {
        let mut differs = read_at(1);
        assert!(same(&mut differs, reported(only_key)), "{only_key:?}");
        assert!(resync(&differs) < NOW);
    }
    for mut younger in [read_at(6), read_at(7)] {
        assert!(!same(&mut younger, reported(None)), "the report is older than what was read");
        assert_eq!(resync(&younger), next_resync("uid", younger.settled.clone().unwrap().read_at, INTERVAL));
    }
    let mut young_key = read_at(1);
    assert!(!same(&mut young_key, Reported { created_at: after(6), ..reported(None) }));
    assert!(!same(&mut Known::default(), reported(None)), "it is reconciled anyway");
}

#[test]
fn whatever_reports_say_the_keys_are_read_every_so_many_intervals() {
    let mut known = read_at(0);
    let latest = next_resync("uid", NOW, INTERVAL * UNREPORTED);
    let mut now = NOW;
    loop {
        let resync_at = known.settled.as_ref().unwrap().resync_at("uid", INTERVAL);
        if resync_at <= now {
            break;
        }
        now = later(now, SignedDuration::from_hours(1));
        known.compared(&Reported { made_at: now, ..reported(Some(NOW)) });
        assert!(now <= later(latest, SignedDuration::from_hours(1)), "it is never read");
    }
    assert!(now >= latest);
}

#[test]
fn a_deletion_is_first_seen_once() {
    let mut known = Known::default();
    known.deleting(NOW);
    known.deleting(later(NOW, SignedDuration::from_secs(1)));
    assert_eq!(known.deletion_seen(), Some(NOW));
}
