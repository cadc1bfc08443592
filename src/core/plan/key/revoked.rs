//! Revocations over every state that a user's keys can be in: what is revoked stays dead, and a working key follows.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::api::tags;
use crate::core::desired::Desired;
use crate::core::drift::as_wanted;
use crate::core::ends::revocation::{KEPT, Request, Revocation, revoke};
use crate::core::iam::{AccessKey, AccessKeyId};
use crate::core::observed::{HeldKey, Minted, Observed, OurSecret, SecretState, UserState};
use crate::core::plan::{Action, Effect, Waits, plan};
use crate::core::rotation::later;

const CURRENT: &str = "AKIACURRENT";
const OTHER: &str = "AKIAOTHER";

/// What there is, and what is asked for.
#[derive(Clone, Copy, Debug)]
struct Case {
    /// Whether the Secret's key works; `None`: there is no Secret.
    current: Option<bool>,
    /// Whether there is another key, and works: the replaced one in its overlap.
    other: Option<bool>,
    /// The other one was just made, and is in no Secret yet.
    minted: bool,
    /// Which keys were revoked before, by that value.
    before: Option<(&'static str, bool)>,
    /// What is asked for now.
    asked: Option<&'static str>,
    suspended: bool,
}

fn cases() -> impl Iterator<Item = Case> {
    let states = [None, Some(false), Some(true)];
    let befores = [None, Some(("1", false)), Some(("1", true)), Some(("keep-working-1", true))];
    let asked = [None, Some("1"), Some("2"), Some("keep-working-1"), Some("keep-working-2")];
    states.into_iter().flat_map(move |current| {
        states.into_iter().flat_map(move |other| {
            befores.into_iter().flat_map(move |before| {
                asked.into_iter().flat_map(move |asked| {
                    [(false, false), (true, false), (false, true)].map(|(minted, suspended)| Case {
                        current,
                        other,
                        minted: minted && other == Some(true),
                        before,
                        asked,
                        suspended,
                    })
                })
            })
        })
    })
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn key(id: &str, active: bool, hours: i64) -> AccessKey {
    AccessKey { id: id.to_owned(), active, created_at: later(now(), -SignedDuration::from_hours(hours)) }
}

impl Case {
    fn desired(self) -> Desired {
        let spec = json!({ "access": [{ "bucket": "reports", "level": "ReadOnly" }], "suspend": self.suspended });
        Desired { revocation: self.asked.map(Request::by), ..Desired::by_spec(&spec) }
    }

    fn observed(self, desired: &Desired) -> Observed {
        let current = self.current.map(|active| key(CURRENT, active, 100));
        let other = self.other.map(|active| key(OTHER, active, if self.minted { 0 } else { 200 }));
        let secret = match self.current {
            None => SecretState::Missing,
            Some(_) => {
                let created_at = Some(later(now(), -SignedDuration::from_hours(100)));
                let held = HeldKey { id: AccessKeyId::of_iam(CURRENT), created_at, account_id: None };
                let previous = self.other.filter(|_| !self.minted).map(|_| AccessKeyId::of_iam(OTHER));
                let rotated_at = previous.as_ref().map(|_| later(now(), -SignedDuration::from_hours(1)));
                SecretState::Ours(OurSecret { previous, rotated_at, ..OurSecret::intact("1".to_owned(), Some(held)) })
            }
        };
        let minted = other.clone().filter(|_| self.minted).map(|key| Minted { id: key.id, created_at: key.created_at });
        let keys: Vec<_> = current.into_iter().chain(other).collect();
        let mut observed = as_wanted(desired, Observed { secret, minted, ..Observed::nothing() }, keys.clone());
        if let (Some((value, all)), UserState::Present(user)) = (self.before, &mut observed.user) {
            let covered = &keys[..if all { keys.len() } else { keys.len().min(1) }];
            let request = Request::by(value);
            let measures = revoke([&request], &BTreeMap::new(), covered, later(now(), -SignedDuration::from_secs(60)));
            user.tags.extend(measures.record);
        }
        observed
    }
}

/// What AWS and Kubernetes answer.
fn effect(action: &Action, number: usize, now: Timestamp) -> Effect {
    match action {
        Action::CreateAccessKey => Effect::KeyCreated(Minted { id: format!("AKIANEW{number}"), created_at: now }),
        Action::ProbeKey { .. } => Effect::Probed(true),
        Action::ReadLastUsed { .. } => Effect::LastUsed(None),
        Action::WriteSecret { .. } => {
            Effect::SecretWritten { uid: "secret".to_owned(), resource_version: number.to_string() }
        }
        _ => Effect::Done,
    }
}

/// Lives through ten days; every action with the picture that it was planned on.
fn lived(case: Case) -> (Observed, Vec<(Action, Observed)>) {
    let (desired, waits) = (case.desired(), Waits::default());
    let (mut observed, mut time, mut done) = (case.observed(&desired), now(), Vec::new());
    for _ in 0..200 {
        let next = plan(&desired, &observed, time, &waits);
        for action in &next.actions {
            done.push((action.clone(), observed.clone()));
            let effect = effect(action, done.len(), time);
            observed.record(&desired.owner, action, &effect, time);
        }
        if next.actions.is_empty() {
            match next.wake_at.filter(|at| *at <= later(now(), KEPT * 2)) {
                Some(at) => time = at.max(later(time, SignedDuration::from_secs(1))),
                None => return (observed, done),
            }
        }
    }
    panic!("{case:?} comes to no rest: {:?}", done.iter().rev().take(5).map(|(action, _)| action).collect::<Vec<_>>());
}

#[test]
fn invariant_12_a_revoked_key_stays_dead_and_a_working_one_follows() {
    let mut tried = 0;
    for case in cases() {
        let (end, done) = lived(case);
        for (action, seen) in &done {
            let user = seen.user().unwrap();
            let revocation = Revocation::of(&user.tags);
            let covers = |id: &str| revocation.as_ref().is_some_and(|revocation| revocation.covers(id));
            match action {
                Action::SetKeyStatus { id, active: true } => assert!(!covers(id), "{case:?}: {action}"),
                Action::WriteSecret { key_id, .. } if seen.held().is_none_or(|(_, held)| held.id != *key_id) => {
                    assert!(!covers(key_id), "{case:?}: {action}");
                }
                _ => {}
            }
        }
        let user = end.user().unwrap();
        let revocation = Revocation::of(&user.tags);
        let held = end.held().map(|(_, held)| held.id.to_string());
        let dead = |key: &AccessKey| revocation.as_ref().is_some_and(|revocation| revocation.covers(&key.id));
        assert!(user.keys.iter().all(|key| !(dead(key) && key.active)), "{case:?}: {:?}", user.keys);
        if !case.suspended {
            let working: Vec<_> = user.keys.iter().filter(|key| key.active).map(|key| key.id.clone()).collect();
            assert_eq!(working, held.into_iter().collect::<Vec<_>>(), "{case:?}");
            assert_eq!((user.keys.len(), working.len()), (1, 1), "{case:?}: what was revoked is deleted in the end");
        }
        let asked = case.asked.map(|value| Request::by(value).digest);
        assert!(asked.is_none() || revocation.map(|revocation| revocation.asked) == Some(asked), "{case:?}");
        assert_eq!(user.tags.contains_key(tags::REVOKED), case.asked.or(case.before.map(|(value, _)| value)).is_some());
        tried += 1;
    }
    assert!(tried >= 500, "{tried}");
}

#[test]
fn invariant_12_the_first_thing_that_a_revocation_does_is_to_end_every_key() {
    for case in cases().filter(|case| matches!(case.asked, Some("2"))) {
        let (_, done) = lived(case);
        let working = [case.current.map(|active| (CURRENT, active)), case.other.map(|active| (OTHER, active))];
        let working = working.into_iter().flatten().filter(|(_, active)| *active).count();
        let first: Vec<_> = done.iter().take(working + 1).map(|(action, _)| action).collect();
        let (record, ends) = first.split_last().unwrap();
        assert!(
            ends.iter().all(|action| matches!(action, Action::SetKeyStatus { active: false, .. })),
            "{case:?}: {first:?}"
        );
        assert!(matches!(record, Action::TagUser(more) if more.contains_key(tags::REVOKED)), "{case:?}: {first:?}");
    }
}

#[test]
fn a_key_that_is_to_keep_working_works_until_its_successor_is_in_the_secret() {
    let case = Case {
        current: Some(true),
        other: None,
        minted: false,
        before: None,
        asked: Some("keep-working-2"),
        suspended: false,
    };
    let (_, done) = lived(case);
    let swap = done.iter().position(|(action, _)| matches!(action, Action::WriteSecret { .. })).unwrap();
    let works = |seen: &Observed| seen.user().unwrap().keys.iter().any(|key| key.id == CURRENT && key.active);
    assert!(done[..=swap].iter().all(|(_, seen)| works(seen)));
    let off = Action::SetKeyStatus { id: CURRENT.to_owned(), active: false };
    assert_eq!(done[swap + 1].0, off, "there is no overlap");
}
