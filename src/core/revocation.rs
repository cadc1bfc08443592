//! A revocation: keys that are not to be used any more, whatever that does to whoever uses them.
//!
//! It is asked for by the annotation [`annotations::REVOKE`]. What it has ended is recorded on the IAM user
//! ([`tags::REVOKED`]), where no tenant writes: a revoked key is never activated again, and another one takes its place in the
//! Secret. Until that record is there, every key of ours is ended anew, so that a crash in between leaves none at work.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::adoption::Adoption;
use super::iam::AccessKey;
use super::names;
use super::plan::Action;
use super::rotation::later;
use crate::api::{S3AccessUser, annotations, tags};

/// How long a revoked key is kept, inactive, for whoever looks into what was done with it; less where its slot is needed for
/// another key.
pub const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// What a value begins with that asks for a working key until the new one is in the Secret.
pub const KEEP_WORKING: &str = "keep-working";
/// Hex digits of a request's digest.
const DIGEST: usize = 16;
/// Between the parts of a record: allowed in a tag's value and in an IAM path.
const SEPARATOR: char = '+';

/// What the annotation asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Tells one value of the annotation from another.
    pub digest: String,
    /// The Secret's key goes on until its successor is in the Secret.
    pub keep_working: bool,
}

impl Request {
    /// Of a CR; any value is a request, and each new value another one.
    pub fn of(user: &S3AccessUser) -> Option<Self> {
        let value = user.annotations().get(annotations::REVOKE)?;
        Some(Self::by(value))
    }

    /// Of that value.
    pub fn by(value: &str) -> Self {
        Self { digest: names::digest(&[value], DIGEST), keep_working: value.starts_with(KEEP_WORKING) }
    }

    /// The same, unless it is answered by that record.
    pub fn unless_answered(self, record: Option<&str>) -> Option<Self> {
        let answered = record.and_then(Revocation::read).is_some_and(|revocation| revocation.request == self.digest);
        (!answered).then_some(self)
    }
}

/// What was revoked last, as the user's tag has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The digest of the request that it answers.
    pub request: String,
    /// When it was, to the second.
    pub at: Timestamp,
    keep_working: bool,
    /// Digests of the keys' ids.
    keys: String,
}

impl Revocation {
    /// Of a user with those tags. What cannot be read is none: then a request is answered anew.
    pub fn of(tags: &BTreeMap<String, String>) -> Option<Self> {
        Self::read(tags.get(tags::REVOKED)?)
    }

    /// Of a tag's value.
    pub fn read(value: &str) -> Option<Self> {
        let mut parts = value.split(SEPARATOR);
        let (request, at, mode, keys) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let at = Timestamp::from_second(at.parse().ok()?).ok()?;
        let keep_working = match mode {
            "now" => false,
            "swap" => true,
            _ => return None,
        };
        let whole = parts.next().is_none();
        whole.then(|| Self { request: request.to_owned(), at, keep_working, keys: keys.to_owned() })
    }

    /// The tag's value.
    pub fn value(&self) -> String {
        let mode = if self.keep_working { "swap" } else { "now" };
        [self.request.as_str(), &self.at.as_second().to_string(), mode, &self.keys].join(&SEPARATOR.to_string())
    }

    /// Of those keys, at that request.
    fn answering<'a>(request: &Request, keys: impl Iterator<Item = &'a AccessKey>, now: Timestamp) -> Self {
        let keys = names::record(keys.map(|key| key.id.as_str()));
        Self { request: request.digest.clone(), at: now, keep_working: request.keep_working, keys }
    }

    /// Whether the key is not to be used any more, or, where it is to go on until its successor is there, not much longer.
    pub fn covers(&self, id: &str) -> bool {
        names::recorded(Some(&self.keys), id)
    }

    /// Whether the key has to be inactive; `current`: it is the Secret's.
    pub fn ends(&self, id: &str, current: bool) -> bool {
        self.covers(id) && !(self.keep_working && current)
    }

    /// When a revoked key is deleted.
    pub fn delete_at(&self) -> Timestamp {
        later(self.at, KEPT)
    }
}

/// The record of a user whose keys are those.
fn record<'a>(request: &Request, keys: impl Iterator<Item = &'a AccessKey>, now: Timestamp) -> (String, String) {
    (tags::REVOKED.to_owned(), Revocation::answering(request, keys, now).value())
}

/// The record that a user is made with, where one is asked for: there is nothing to revoke.
pub fn of_new_user(request: Option<&Request>, now: Timestamp) -> Option<(String, String)> {
    request.map(|request| record(request, std::iter::empty(), now))
}

/// Of two records of one user the later: a replica of IAM may show an earlier one, or none.
pub fn newest<'a>(one: Option<&'a str>, other: Option<&'a str>) -> Option<&'a str> {
    let at = |record: &Option<&str>| record.and_then(Revocation::read).map(|revocation| revocation.at);
    [one, other].into_iter().max_by_key(at).flatten()
}

/// Has the tags tell of the later of what they tell and that record.
pub fn carry(found: &mut BTreeMap<String, String>, record: Option<&str>) {
    let newest = newest(found.get(tags::REVOKED).map(String::as_str), record).map(ToOwned::to_owned);
    found.extend(newest.map(|record| (tags::REVOKED.to_owned(), record)));
}

/// What takes the keys out of use that are revoked, asked for now or recorded before: first they are deactivated, then that is
/// recorded. Only keys of ours, and only of a user whose tags prove that it is.
pub fn revoke(
    request: Option<&Request>,
    found: &BTreeMap<String, String>,
    keys: &[AccessKey],
    now: Timestamp,
) -> Vec<Action> {
    let adoption = Adoption::of(found);
    let ours = || keys.iter().filter(|key| adoption.owns(key));
    let recorded = found.get(tags::REVOKED).map(String::as_str);
    let asked = request.cloned().and_then(|request| request.unless_answered(recorded));
    let recorded = recorded.and_then(Revocation::read);
    let ends = |key: &AccessKey| match &asked {
        Some(request) if !request.keep_working => true,
        // Which key is the Secret's is not known here.
        _ => recorded.as_ref().is_some_and(|revocation| revocation.ends(&key.id, true)),
    };
    let off = ours().filter(|key| key.active && ends(key));
    let mut actions: Vec<_> = off.map(|key| Action::SetKeyStatus { id: key.id.clone(), active: false }).collect();
    actions.extend(asked.map(|request| Action::TagUser(BTreeMap::from([record(&request, ours(), now)]))));
    actions
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn key(id: &str, active: bool) -> AccessKey {
        AccessKey { id: id.to_owned(), active, created_at: NOW }
    }

    /// What is done, with the tags as they are then.
    fn done(value: Option<&str>, found: &mut BTreeMap<String, String>, keys: &[AccessKey]) -> Vec<String> {
        let request = value.map(Request::by);
        let actions = revoke(request.as_ref(), found, keys, NOW);
        let off = actions.iter().filter_map(|action| match action {
            Action::SetKeyStatus { id, active: false } => Some(id.clone()),
            Action::TagUser(more) => {
                found.extend(more.clone());
                None
            }
            other => panic!("{other:?}"),
        });
        off.collect()
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        for value in ["1", "keep-working-1", ""] {
            let request = Request::by(value);
            let keys = [key("AKIA1", true), key("AKIA2", false)];
            let revocation =
                Revocation::answering(&request, keys.iter(), Timestamp::from_second(1_800_000_000).unwrap());
            assert_eq!(Revocation::read(&revocation.value()), Some(revocation.clone()), "{value}");
            assert!(revocation.covers("AKIA1") && revocation.covers("AKIA2") && !revocation.covers("AKIA3"));
            assert_eq!(request.clone().unless_answered(Some(&revocation.value())), None);
            assert_eq!(request.clone().unless_answered(None), Some(request));
        }
        for broken in ["", "x", "a+b+now+", "a+1+later+", "a+1+now", "a+1+now++", "a+99999999999999+now+"] {
            assert_eq!(Revocation::read(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_record_fits_a_tag_with_more_keys_than_iam_allows() {
        let keys: Vec<_> = (0..8).map(|number| key(&format!("{number:0128}"), true)).collect();
        let value = Revocation::answering(&Request::by("x"), keys.iter(), Timestamp::MAX).value();
        assert!(value.len() <= 256 && value.chars().all(|c| c.is_ascii_alphanumeric() || c == SEPARATOR), "{value}");
    }

    #[test]
    fn every_key_is_ended_at_once_and_what_comes_later_is_not() {
        let mut found = BTreeMap::new();
        let before = [key("AKIA1", true), key("AKIA2", true)];
        assert_eq!(done(Some("1"), &mut found, &before), ["AKIA1", "AKIA2"]);
        let after = [key("AKIA2", false), key("AKIA3", true)];
        assert_eq!(done(Some("1"), &mut found, &after), [""; 0]);
        assert_eq!(done(None, &mut found, &[key("AKIA2", true)]), ["AKIA2"], "whoever activates it again");
        assert_eq!(done(Some("2"), &mut found, &after), ["AKIA3"], "another value is another request");
    }

    #[test]
    fn before_the_record_is_written_everything_is_ended_again() {
        let mut found = BTreeMap::new();
        let request = Request::by("1");
        let actions = revoke(Some(&request), &found, &[key("AKIA1", true)], NOW);
        assert!(matches!(actions.as_slice(), [Action::SetKeyStatus { .. }, Action::TagUser(_)]), "{actions:?}");
        assert_eq!(done(Some("1"), &mut found, &[key("AKIA1", false), key("AKIA2", true)]), ["AKIA2"]);
        found.insert(tags::REVOKED.to_owned(), "by hand".to_owned());
        assert_eq!(
            done(Some("1"), &mut found, &[key("AKIA2", true)]),
            ["AKIA2"],
            "what cannot be read answers nothing"
        );
    }

    #[test]
    fn a_key_that_is_to_go_on_is_only_recorded() {
        let mut found = BTreeMap::new();
        assert_eq!(done(Some("keep-working"), &mut found, &[key("AKIA1", true)]), [""; 0]);
        let revocation = Revocation::of(&found).unwrap();
        assert!(!revocation.ends("AKIA1", true) && revocation.ends("AKIA1", false));
    }

    #[test]
    fn invariant_4_keys_of_others_are_left_alone() {
        let line = Adoption::At(later(NOW, SignedDuration::from_secs(1))).value().unwrap();
        let mut found = BTreeMap::from([(tags::ADOPTED_AT.to_owned(), line)]);
        assert_eq!(done(Some("1"), &mut found, &[key("AKIA1", true)]), [""; 0]);
        assert!(!Revocation::of(&found).unwrap().covers("AKIA1"));
    }

    #[test]
    fn the_later_record_is_believed_whichever_shows_it() {
        let record = |second| {
            let at = Timestamp::from_second(second).unwrap();
            Revocation::answering(&Request::by("x"), std::iter::empty(), at).value()
        };
        let (old, new) = (record(1), record(2));
        assert_eq!(newest(Some(&old), Some(&new)), Some(new.as_str()));
        assert_eq!(newest(Some(&new), Some(&old)), Some(new.as_str()));
        assert_eq!(newest(Some(&old), None), Some(old.as_str()));
        assert_eq!(newest(None, Some(&old)), Some(old.as_str()));
        assert_eq!(newest(None, None), None);
    }
}
