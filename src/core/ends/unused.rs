//! A key that nobody uses: AWS tells of no use of it for longer than the class's `suspendUnusedAfter`.
//!
//! A credential report says whose keys to ask IAM about. Whether a key is suspended is decided on GetAccessKeyLastUsed, live, and on what is
//! recorded on the IAM user ([`tags::UNUSED`]), where no tenant writes: otherwise a key that is replaced in time would never be
//! old enough. The key is kept: the annotation [`annotations::RESUME`] has it work again.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::inactive::Inactive;
use crate::api::{AccessKeyMode, LastUse, Reason, S3AccessUser, annotations, tags};
use crate::core::adoption::Adoption;
use crate::core::class::Class;
use crate::core::credential_report::Use;
use crate::core::iam::AccessKey;
use crate::core::names;
use crate::core::rotation::later;

/// When the condition says so, where no class asks for a suspension (AWS Security Hub, control IAM.22 has 45 days, IAM.8 has 90).
pub const LONG: SignedDuration = SignedDuration::from_hours(90 * 24);
/// Hex digits of the digest of an annotation's value.
const DIGEST: usize = 16;
/// Between the parts of a record.
const SEPARATOR: char = '+';
/// What a record begins with, of a user that is suspended and of one that is not.
const OFF: &str = "off";
const ON: &str = "on";

/// When AWS says that each key of a user was last used, by id.
pub type Uses = BTreeMap<String, Option<Timestamp>>;

/// What is asked of the keys of one S3AccessUser.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// How long they may go unused.
    limit: Option<SignedDuration>,
    /// Workloads use them, and not the operator alone, for sessions.
    by_workloads: bool,
    /// The digest of the annotation's value.
    resume: Option<String>,
}

/// The record on the IAM user.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    suspended: bool,
    /// Since when it is; of one that is not, the last use that is known of its keys, or the time from which on it counts.
    at: Timestamp,
    /// The annotation's value then.
    resume: Option<String>,
}

impl Record {
    fn of(found: &BTreeMap<String, String>) -> Option<Self> {
        Self::read(found.get(tags::UNUSED)?)
    }

    fn read(value: &str) -> Option<Self> {
        let mut parts = value.split(SEPARATOR);
        let (state, at, resume) = (parts.next()?, parts.next()?, parts.next()?);
        let suspended = [ON, OFF].iter().position(|word| *word == state)? == 1;
        let at = Timestamp::from_second(at.parse().ok()?).ok()?;
        let whole = parts.next().is_none();
        whole.then(|| Self { suspended, at, resume: (!resume.is_empty()).then(|| resume.to_owned()) })
    }

    fn tag(&self) -> (String, String) {
        let state = if self.suspended { OFF } else { ON };
        let resume = self.resume.as_deref().unwrap_or_default();
        let value = format!("{state}{SEPARATOR}{}{SEPARATOR}{resume}", self.at.as_second());
        (tags::UNUSED.to_owned(), value)
    }
}

/// What orders the records of one user; of two from one second, the suspension counts.
pub(super) fn order(record: &str) -> Option<(Timestamp, bool)> {
    Record::read(record).map(|record| (record.at, record.suspended))
}

/// What the judgement of a user's keys has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The tag to write: it is suspended, or since when it may be unused.
    pub record: Option<(String, String)>,
    /// When they are to be judged again.
    pub again_at: Timestamp,
}

impl Terms {
    /// Of an S3AccessUser in its class. Another mode is no way back for one that is suspended.
    pub fn of(user: &S3AccessUser, class: &Class) -> Self {
        let by_workloads = user.spec.access_key.mode == AccessKeyMode::Static;
        let resume = user.annotations().get(annotations::RESUME).map(|value| names::digest(&[value], DIGEST));
        Self { limit: class.suspend_unused_after(), by_workloads, resume }
    }

    /// How long a key may go unused before that is told.
    pub fn told_after(&self) -> SignedDuration {
        self.limit.unwrap_or(LONG)
    }

    /// How long its keys may go unused, where their uses say anything.
    fn judged_after(&self) -> Option<SignedDuration> {
        self.limit.filter(|_| self.by_workloads)
    }

    /// Whether the user may have to be suspended, by what a report tells and when the S3AccessUser was made.
    pub fn suspects(&self, used: &crate::core::credential_report::KeyUse, made_at: Timestamp) -> bool {
        let last = used.used.as_ref().map_or(made_at, |used| used.at);
        self.judged_after().is_some_and(|limit| later(last, limit) <= used.reported_at)
    }

    /// Why the keys of a user with those tags are not to work.
    pub fn inactive(&self, found: &BTreeMap<String, String>) -> Option<Inactive> {
        let record = Record::of(found).filter(|record| record.suspended && !self.resumes(record))?;
        Some(Inactive::unused(self.limit?, record.at))
    }

    fn resumes(&self, record: &Record) -> bool {
        self.resume.is_some() && self.resume != record.resume
    }

    /// The tag of one that is not to be suspended any more: it is resumed, or nothing asks for it.
    pub fn resumed(&self, found: &BTreeMap<String, String>, now: Timestamp) -> Option<(String, String)> {
        let record = Record::of(found).filter(|record| record.suspended)?;
        let ends = self.resumes(&record) || self.limit.is_none();
        ends.then(|| Record { suspended: false, at: now, resume: self.resume.clone() }.tag())
    }

    /// Judges a user by when its keys were used, as IAM says it now. `None`: nothing is asked, it has no key, or of one of them
    /// nothing is known.
    pub fn judge(
        &self,
        found: &BTreeMap<String, String>,
        keys: &[AccessKey],
        uses: &Uses,
        now: Timestamp,
    ) -> Option<Finding> {
        let (limit, adoption) = (self.judged_after()?, Adoption::of(found));
        let mut times = Vec::new();
        for key in keys.iter().filter(|key| adoption.owns(key)) {
            times.push((key.created_at, of_others(key.created_at, *uses.get(&key.id)?)));
        }
        let oldest = times.iter().map(|(created_at, _)| *created_at).min()?;
        let record = Record::of(found);
        if record.as_ref().is_some_and(|record| record.suspended) {
            return None;
        }
        let since = record.as_ref().map_or(oldest, |record| record.at);
        let since = times.iter().filter_map(|(_, used)| *used).chain([since]).max()?;
        let due_at = later(since, limit);
        let resume = self.resume.clone();
        let written = if due_at <= now {
            Some(Record { suspended: true, at: now, resume })
        } else {
            record.is_none().then_some(Record { suspended: false, at: since, resume })
        };
        Some(Finding { record: written.map(|record| record.tag()), again_at: due_at.max(now) })
    }

    /// The tag that keeps, beyond the end of a key, when it was used last; `None`: it is kept, or nobody asks.
    pub fn kept(
        &self,
        found: &BTreeMap<String, String>,
        key: &AccessKey,
        used: Option<Timestamp>,
    ) -> Option<(String, String)> {
        self.judged_after()?;
        let record = Record::of(found);
        let used = of_others(key.created_at, used);
        let (at, resume) = match &record {
            Some(record) => (used.filter(|used| !record.suspended && *used > record.at)?, record.resume.clone()),
            None => (used.unwrap_or(key.created_at), self.resume.clone()),
        };
        Some(Record { suspended: false, at, resume }.tag())
    }

    /// Whether uses are asked for, before a key is gone.
    pub fn are_asked(&self) -> bool {
        self.judged_after().is_some()
    }
}

/// A use that is not the operator's own trial of the key.
fn of_others(created_at: Timestamp, used: Option<Timestamp>) -> Option<Timestamp> {
    used.filter(|used| !Use::may_be_a_trial(*used, created_at))
}

/// Since when the key is unused, where that is for so long, as far as that report knows.
pub fn unused_since(told: &LastUse, created_at: Timestamp, limit: SignedDuration) -> Option<Timestamp> {
    let since = told.at.as_ref().map_or(created_at, |at| at.0);
    (later(since, limit) <= told.reported_at.0).then_some(since)
}

impl Inactive {
    /// Nobody has used it for so long, and the class has it suspended.
    fn unused(limit: SignedDuration, at: Timestamp) -> Self {
        let message = format!(
            "AWS told of no use of it for longer than the class's suspendUnusedAfter ({limit:#}) when it was suspended at {at}: annotate the S3AccessUser with {}=<any new value> to have the same key work again, or delete the S3AccessUser",
            annotations::RESUME
        );
        Self { reason: Reason::Unused, message }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    const LIMIT: SignedDuration = SignedDuration::from_hours(100);

    fn at(hours: i64) -> Timestamp {
        later(Timestamp::from_second(1_800_000_000).unwrap(), SignedDuration::from_hours(hours))
    }

    fn terms(resume: Option<&str>) -> Terms {
        Terms { limit: Some(LIMIT), by_workloads: true, resume: resume.map(ToOwned::to_owned) }
    }

    fn key(id: &str, created: i64) -> AccessKey {
        AccessKey { id: id.to_owned(), active: true, created_at: at(created) }
    }

    fn uses(of: &[(&str, Option<i64>)]) -> Uses {
        of.iter().map(|(id, hours)| ((*id).to_owned(), hours.map(at))).collect()
    }

    /// A user whose tags are written as the findings say.
    #[derive(Default)]
    struct Tagged(BTreeMap<String, String>);

    impl Tagged {
        fn judge(&mut self, terms: &Terms, keys: &[AccessKey], used: &[(&str, Option<i64>)], hours: i64) -> bool {
            let found = terms.judge(&self.0, keys, &uses(used), at(hours));
            self.0.extend(found.and_then(|found| found.record));
            terms.inactive(&self.0).is_some()
        }
    }

    #[test]
    fn a_key_is_suspended_once_nobody_has_used_it_for_so_long_and_works_again_for_the_asking() {
        let (mut user, keys) = (Tagged::default(), [key("A", 0)]);
        assert!(!user.judge(&terms(None), &keys, &[("A", None)], 99));
        assert!(!user.judge(&terms(None), &keys, &[("A", Some(50))], 149));
        assert!(user.judge(&terms(None), &keys, &[("A", Some(50))], 150));
        assert!(user.judge(&terms(None), &keys, &[("A", Some(149))], 151), "a use that is told late changes nothing");
        let why = terms(None).inactive(&user.0).unwrap();
        assert!(why.reason == Reason::Unused && why.message.contains("s3access.dev/resume"), "{why:?}");
        assert_eq!(terms(None).resumed(&user.0, at(152)), None);
        let of_sessions = Terms { by_workloads: false, ..terms(None) };
        assert_eq!((of_sessions.resumed(&user.0, at(152)), of_sessions.inactive(&user.0).is_some()), (None, true));
        let asked = terms(Some("1"));
        assert_eq!(asked.inactive(&user.0), None);
        user.0.extend(asked.resumed(&user.0, at(152)));
        assert!(!user.judge(&asked, &keys, &[("A", Some(50))], 251), "it counts from then");
        assert!(user.judge(&asked, &keys, &[("A", Some(50))], 252), "the same value asks for nothing more");
        let lifted = Terms { limit: None, ..asked };
        assert_eq!(lifted.inactive(&user.0), None);
        user.0.extend(lifted.resumed(&user.0, at(300)));
        assert!(!user.judge(&terms(Some("1")), &keys, &[("A", None)], 399), "the class asks again");
    }

    #[test]
    fn another_key_is_no_use_and_a_use_of_one_that_is_gone_is_remembered() {
        let mut user = Tagged::default();
        user.judge(&terms(None), &[key("A", 0)], &[("A", None)], 50);
        assert!(
            user.judge(&terms(None), &[key("B", 90)], &[("B", Some(90))], 100),
            "B was made and tried, and not used"
        );
        let mut user = Tagged::default();
        user.0.extend(terms(None).kept(&user.0, &key("A", 0), Some(at(80))));
        assert!(!user.judge(&terms(None), &[key("B", 90)], &[("B", None)], 179));
        assert_eq!(terms(None).kept(&user.0, &key("B", 90), Some(at(79))), None, "a later one is known");
        assert_eq!(Terms::default().kept(&user.0, &key("B", 90), Some(at(200))), None, "nobody asks");
        assert!(user.judge(&terms(None), &[key("B", 90)], &[("B", None)], 180));
        assert_eq!(terms(None).kept(&user.0, &key("B", 90), Some(at(200))), None, "it stays suspended");
    }

    #[test]
    fn nothing_is_judged_without_a_key_a_limit_or_what_iam_says_of_each() {
        let tags = BTreeMap::new();
        assert_eq!(terms(None).judge(&tags, &[], &uses(&[]), at(500)), None);
        assert_eq!(terms(None).judge(&tags, &[key("A", 0), key("B", 0)], &uses(&[("A", None)]), at(500)), None);
        assert_eq!(Terms::default().judge(&tags, &[key("A", 0)], &uses(&[("A", None)]), at(500)), None);
        let adopted = BTreeMap::from([(tags::ADOPTED_AT.to_owned(), at(10).to_string())]);
        assert_eq!(terms(None).judge(&adopted, &[key("A", 0)], &uses(&[("A", None)]), at(500)), None, "a stranger's");
    }

    #[test]
    fn nothing_else_is_read_as_a_record() {
        for value in ["", "off", "off+x+", "on+1+a+b", "perhaps+1+"] {
            assert_eq!(Record::read(value), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(suspended: bool, second in 0_i64..4_000_000_000, resume in proptest::option::of("[0-9a-f]{16}")) {
            let record = Record { suspended, at: Timestamp::from_second(second).unwrap(), resume };
            prop_assert_eq!(Record::read(&record.tag().1), Some(record));
        }

        /// Whatever is rotated, revoked and deleted in between: who uses its keys is not suspended, and who does not is.
        #[test]
        fn nobody_who_uses_a_key_loses_it_and_nobody_keeps_one_by_changing_it(
            rotations in proptest::collection::btree_set(1_i64..400, 0..20), used_every in proptest::option::of(3_i64..60),
        ) {
            let (mut user, asked) = (Tagged::default(), terms(None));
            let (mut current, mut last, mut suspended_at) = (key("K0", 0), None, None);
            for hour in 1..=400 {
                if suspended_at.is_none() && used_every.is_some_and(|every| hour % every == 0) && hour > current.created_at.duration_since(at(0)).as_hours() + 1 {
                    last = Some(at(hour));
                }
                if rotations.contains(&hour) {
                    user.0.extend(asked.kept(&user.0, &current, last));
                    (current, last) = (key(&format!("K{hour}"), hour), None);
                }
                if hour % 6 == 0 && suspended_at.is_none() {
                    let uses = BTreeMap::from([(current.id.clone(), last)]);
                    let found = asked.judge(&user.0, std::slice::from_ref(&current), &uses, at(hour));
                    user.0.extend(found.and_then(|found| found.record));
                    suspended_at = asked.inactive(&user.0).map(|_| hour);
                }
            }
            match (used_every, rotations.is_empty()) {
                (None, _) => prop_assert!(suspended_at.is_some_and(|hour| hour <= 106), "{suspended_at:?}"),
                (Some(_), true) => prop_assert_eq!(suspended_at, None),
                // Who replaces keys faster than it uses them uses none.
                (Some(_), false) => {}
            }
        }
    }
}
