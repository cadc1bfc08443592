//! A revocation: keys that are not to be used any more, whatever that does to whoever uses them.
//!
//! It is asked for by the annotation [`annotations::REVOKE`], or by a class where AWS has found a key in public
//! ([`super::quarantine`]). What it has ended is recorded on the IAM user
//! ([`tags::REVOKED`]), where no tenant writes: a revoked key is never activated again, and another one takes its place in the
//! Secret. Until that record is there, every key of ours is ended anew, so that a crash in between leaves none at work.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use crate::api::{S3AccessUser, annotations, tags};
use crate::core::adoption::Adoption;
use crate::core::iam::AccessKey;
use crate::core::names;
use crate::core::rotation::later;

/// How long a revoked key is kept, inactive, for whoever finds out what was done with it; less where its slot is needed for
/// another key.
pub const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// What a value begins with that asks for a working key until the new one is in the Secret.
pub const KEEP_WORKING: &str = "keep-working";
/// Hex digits of a request's digest.
const DIGEST: usize = 16;
/// What stands for no digest.
const NONE: &str = "-";
/// Between the parts of a record: allowed in a tag's value and in an IAM path.
const SEPARATOR: char = '+';

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Somebody, by the annotation.
    Annotation,
    /// AWS, by its quarantine, and the class.
    Quarantine,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who asks.
    pub by: By,
    /// Tells one request from another.
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

    /// Of that value of the annotation.
    pub fn by(value: &str) -> Self {
        let keep_working = value.starts_with(KEEP_WORKING);
        Self { by: By::Annotation, digest: names::digest(&[value], DIGEST), keep_working }
    }

    /// Of AWS's quarantine, by those policies.
    pub fn of_quarantine(policies: &[&str]) -> Self {
        Self { by: By::Quarantine, digest: names::digest(policies, DIGEST), keep_working: false }
    }

    /// The same, unless it is answered by that record.
    pub fn unless_answered(self, record: Option<&str>) -> Option<Self> {
        let answered = record.and_then(Revocation::read).is_some_and(|revocation| revocation.answers(&self));
        (!answered).then_some(self)
    }
}

/// What was revoked last, as the user's tag has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The digest of the annotation's value that it answers.
    pub asked: Option<String>,
    /// The digest of the quarantine that it answers, while that lasts.
    quarantined: Option<String>,
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
        let mut digest = || Some(parts.next()?).map(|digest| (digest != NONE).then(|| digest.to_owned()));
        let (asked, quarantined) = (digest()?, digest()?);
        let (at, mode, keys) = (parts.next()?, parts.next()?, parts.next()?);
        let at = Timestamp::from_second(at.parse().ok()?).ok()?;
        let keep_working = match mode {
            "now" => false,
            "swap" => true,
            _ => return None,
        };
        let whole = parts.next().is_none();
        whole.then(|| Self { asked, quarantined, at, keep_working, keys: keys.to_owned() })
    }

    /// The tag's value.
    pub fn value(&self) -> String {
        let mode = if self.keep_working { "swap" } else { "now" };
        let [asked, quarantined] = [&self.asked, &self.quarantined].map(|digest| digest.as_deref().unwrap_or(NONE));
        [asked, quarantined, &self.at.as_second().to_string(), mode, &self.keys].join(&SEPARATOR.to_string())
    }

    /// Of those keys, now; what was answered before stays so.
    fn of_keys<'a>(before: Option<&Self>, keys: impl Iterator<Item = &'a AccessKey>, now: Timestamp) -> Self {
        let (asked, quarantined) =
            before.map(|before| (before.asked.clone(), before.quarantined.clone())).unwrap_or_default();
        Self { asked, quarantined, at: now, keep_working: true, keys: names::record(keys.map(|key| key.id.as_str())) }
    }

    fn answering(mut self, request: &Request) -> Self {
        let digest = Some(request.digest.clone());
        match request.by {
            By::Annotation => self.asked = digest,
            By::Quarantine => self.quarantined = digest,
        }
        // Of two requests, the one that waits for nothing counts.
        self.keep_working &= request.keep_working;
        self
    }

    fn answers(&self, request: &Request) -> bool {
        let answered = match request.by {
            By::Annotation => &self.asked,
            By::Quarantine => &self.quarantined,
        };
        answered.as_ref() == Some(&request.digest)
    }

    fn tag(&self) -> (String, String) {
        (tags::REVOKED.to_owned(), self.value())
    }

    /// Whether the key is not to be used any more, or, where it is to go on until its successor is there, not much longer.
    pub fn covers(&self, id: &str) -> bool {
        names::recorded(Some(&self.keys), id)
    }

    /// Whether the key has to be inactive; `current`: it is the Secret's.
    pub fn ends(&self, id: &str, current: bool) -> bool {
        self.covers(id) && !(self.keep_working && current)
    }

    /// Sessions that were issued before that time are cut.
    pub fn cut_at(&self) -> Timestamp {
        cut_at(self.at)
    }

    /// When a revoked key is deleted.
    pub fn delete_at(&self) -> Timestamp {
        later(self.at, KEPT)
    }
}

/// The end of the second of a revocation: STS tells when a session was issued by whole seconds, and one that was issued in that
/// second before may have leaked, too.
pub fn cut_at(revoked_at: Timestamp) -> Timestamp {
    later(revoked_at, SignedDuration::from_secs(1))
}

/// The record that a user is made with, where one is asked for: there is nothing to revoke.
pub fn of_new_user(request: Option<&Request>, now: Timestamp) -> Option<(String, String)> {
    request.map(|request| Revocation::of_keys(None, std::iter::empty(), now).answering(request).tag())
}

/// What there is to do about keys that are revoked: in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// The keys to deactivate.
    pub deactivate: Vec<String>,
    /// The tag to write, once those are dead.
    pub record: Option<(String, String)>,
}

/// What takes the keys out of use that are revoked, asked for now or recorded before: first they are deactivated, then that is
/// recorded. Only keys of ours, and only of a user whose tags prove that it is.
pub fn revoke<'a>(
    requests: impl IntoIterator<Item = &'a Request>,
    found: &BTreeMap<String, String>,
    keys: &[AccessKey],
    now: Timestamp,
) -> Measures {
    let adoption = Adoption::of(found);
    let ours = || keys.iter().filter(|key| adoption.owns(key));
    let recorded = found.get(tags::REVOKED).map(String::as_str);
    let requests = requests.into_iter().cloned();
    let asked: Vec<_> = requests.filter_map(|request| request.unless_answered(recorded)).collect();
    let recorded = recorded.and_then(Revocation::read);
    let at_once = asked.iter().any(|request| !request.keep_working);
    // Which key is the Secret's is not known here.
    let ends = |key: &AccessKey| at_once || recorded.as_ref().is_some_and(|revocation| revocation.ends(&key.id, true));
    let off = ours().filter(|key| key.active && ends(key));
    let record = Revocation::of_keys(recorded.as_ref(), ours(), now);
    let record = (!asked.is_empty()).then(|| asked.iter().fold(record, Revocation::answering).tag());
    Measures { deactivate: off.map(|key| key.id.clone()).collect(), record }
}

/// Once AWS's quarantine is over, the next one is another.
pub fn after_quarantine(found: &BTreeMap<String, String>) -> Measures {
    let over = Revocation::of(found).filter(|record| record.quarantined.is_some());
    let over = over.map(|record| Revocation { quarantined: None, ..record });
    Measures { record: over.map(|record| record.tag()), ..Measures::default() }
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
        let Measures { deactivate, record } = revoke(&request, found, keys, NOW);
        found.extend(record);
        deactivate
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        for value in ["1", "keep-working-1", ""] {
            let request = Request::by(value);
            let keys = [key("AKIA1", true), key("AKIA2", false)];
            let at = Timestamp::from_second(1_800_000_000).unwrap();
            let revocation = Revocation::of_keys(None, keys.iter(), at).answering(&request);
            assert_eq!(Revocation::read(&revocation.value()), Some(revocation.clone()), "{value}");
            assert!(revocation.covers("AKIA1") && revocation.covers("AKIA2") && !revocation.covers("AKIA3"));
            assert_eq!(request.clone().unless_answered(Some(&revocation.value())), None);
            assert_eq!(request.clone().unless_answered(None), Some(request));
        }
        for broken in
            ["", "x", "a+-+b+now+", "a+-+1+later+", "a+-+1+now", "a+-+1+now++", "a+-+99999999999999+now+", "a+1+now+"]
        {
            assert_eq!(Revocation::read(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_record_fits_a_tag_with_more_keys_than_iam_allows() {
        let keys: Vec<_> = (0..8).map(|number| key(&format!("{number:0128}"), true)).collect();
        let quarantine = Request::of_quarantine(&["AWSCompromisedKeyQuarantineV3"]);
        let record = Revocation::of_keys(None, keys.iter(), Timestamp::MAX);
        let value = record.answering(&Request::by("x")).answering(&quarantine).value();
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
        let measures = revoke([&request], &found, &[key("AKIA1", true)], NOW);
        assert!(measures.deactivate == ["AKIA1"] && measures.record.is_some(), "{measures:?}");
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
    fn a_quarantine_and_an_annotation_are_answered_apart() {
        let (mut found, quarantine) = (BTreeMap::new(), Request::of_quarantine(&["AWSCompromisedKeyQuarantineV3"]));
        let asked = Request::by("1");
        let mut answered = |keys: &[AccessKey], requests: &[&Request]| {
            let Measures { deactivate, record } = revoke(requests.iter().copied(), &found, keys, NOW);
            let count = deactivate.len() + usize::from(record.is_some());
            found.extend(record);
            count
        };
        assert_eq!(answered(&[key("AKIA1", true)], &[&asked]), 2);
        assert_eq!(answered(&[key("AKIA2", true)], &[&asked, &quarantine]), 2, "the new key is of before the alarm");
        assert_eq!(answered(&[key("AKIA3", true)], &[&asked, &quarantine]), 0);
        found.extend(after_quarantine(&found).record);
        assert_eq!(after_quarantine(&found), Measures::default());
        let nothing = revoke([&asked], &found, &[key("AKIA3", true)], NOW);
        assert_eq!(nothing, Measures::default(), "the annotation stays answered");
        assert_eq!(
            revoke([&asked, &quarantine], &found, &[key("AKIA3", true)], NOW).deactivate,
            ["AKIA3"],
            "AWS has found another"
        );
    }

    #[test]
    fn invariant_4_keys_of_others_are_left_alone() {
        let line = Adoption::At(later(NOW, SignedDuration::from_secs(1))).value().unwrap();
        let mut found = BTreeMap::from([(tags::ADOPTED_AT.to_owned(), line)]);
        assert_eq!(done(Some("1"), &mut found, &[key("AKIA1", true)]), [""; 0]);
        assert!(!Revocation::of(&found).unwrap().covers("AKIA1"));
    }
}
