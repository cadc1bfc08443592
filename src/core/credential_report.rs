//! IAM's credential report: of every user of an account, its two access keys with their ages and their last uses, by one answer
//! (IAM user guide, "Getting credential reports").
//!
//! It names no ids. A key is told by the time at which it was made, which is also when it was last changed; and by being the
//! only one that works. It may be old, cut short or wrong: nothing is decided on it but what to say, and whose keys to ask IAM about;
//! whoever it says is well is asked about all the same, only later.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize;

use crate::api::LastUse;
use crate::core::rotation::later;

/// Bytes of a report that are read. An account has 5,000 users, of some 300 bytes each; a quota can be raised.
const LARGEST: usize = 32 << 20;
/// Characters of a region or a service.
const LONGEST_NAME: usize = 64;
/// For so long after a key was made, the operator tries it by sts:GetCallerIdentity: uses for that say nothing of others.
pub const TRIED_FOR: SignedDuration = SignedDuration::from_hours(1);

/// A report that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is larger than that of any account.
    #[error("it has {0} bytes, and no more than {LARGEST} are read")]
    TooLarge(usize),
    /// It is not what AWS documents.
    #[error("it is cut short, or not of the form that AWS documents: {0}")]
    Malformed(#[from] csv::Error),
}

/// A use of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// When; a quarter of an hour is as exactly as AWS tells it.
    pub at: Timestamp,
    /// In which region.
    pub region: Option<Box<str>>,
    /// Of which service, by its short name.
    pub service: Option<Box<str>>,
}

impl Use {
    /// Whether the operator may have made it itself, to try the key.
    pub fn may_be_a_trial(at: Timestamp, created_at: Timestamp) -> bool {
        at <= later(created_at, TRIED_FOR)
    }
}

/// What a report says of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    /// When it was made or last changed.
    changed_at: Timestamp,
    used: Option<Use>,
}

/// What a report says of the key that a Secret holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// Its id.
    pub id: Box<str>,
    /// Its last use, beside the operator's own; `None`: AWS tells of none.
    pub used: Option<Use>,
    /// When AWS made the report.
    pub reported_at: Timestamp,
}

impl KeyUse {
    /// As a status tells it.
    pub fn told(&self) -> LastUse {
        // Kubernetes keeps whole seconds.
        let time = |at: Timestamp| Time(Timestamp::from_second(at.as_second()).unwrap_or(at));
        let text = |text: &Option<Box<str>>| text.as_deref().map(ToOwned::to_owned);
        let used = self.used.as_ref();
        LastUse {
            at: used.map(|used| time(used.at)),
            region: used.and_then(|used| text(&used.region)),
            service: used.and_then(|used| text(&used.service)),
            reported_at: time(self.reported_at),
        }
    }
}

/// What a report says of the active keys of an account's users.
#[derive(Clone, Debug)]
pub struct CredentialReport {
    /// When AWS made it.
    pub made_at: Timestamp,
    users: HashMap<Box<str>, Vec<Row>>,
}

/// The columns that are read, by their names.
#[derive(Deserialize)]
struct Line<'a> {
    user: &'a str,
    access_key_1_active: &'a str,
    access_key_1_last_rotated: &'a str,
    access_key_1_last_used_date: &'a str,
    access_key_1_last_used_region: &'a str,
    access_key_1_last_used_service: &'a str,
    access_key_2_active: &'a str,
    access_key_2_last_rotated: &'a str,
    access_key_2_last_used_date: &'a str,
    access_key_2_last_used_region: &'a str,
    access_key_2_last_used_service: &'a str,
}

impl CredentialReport {
    /// Reads a report.
    ///
    /// # Errors
    /// [`Unreadable`]: nothing of it is believed.
    pub fn read(made_at: Timestamp, text: &[u8]) -> Result<Self, Unreadable> {
        if text.len() > LARGEST {
            return Err(Unreadable::TooLarge(text.len()));
        }
        let mut reader = csv::Reader::from_reader(text);
        let headers = reader.headers()?.clone();
        let (mut users, mut record) = (HashMap::new(), csv::StringRecord::new());
        while reader.read_record(&mut record)? {
            let line: Line<'_> = record.deserialize(Some(&headers))?;
            let rows: Vec<Row> = line.rows().into_iter().flatten().collect();
            if !rows.is_empty() {
                users.insert(line.user.to_ascii_lowercase().into(), rows);
            }
        }
        Ok(Self { made_at, users })
    }

    /// When the only key of a user that works was made or last changed; `None`: none works, or several do.
    pub fn only_key(&self, user_name: &str) -> Option<Timestamp> {
        match self.users.get(&*user_name.to_ascii_lowercase())?.as_slice() {
            [only] => Some(only.changed_at),
            _ => None,
        }
    }

    /// What it says of a user's key that was made at that time; `None`: nothing that is surely of that key.
    pub fn key_use(&self, user_name: &str, id: &str, created_at: Timestamp) -> Option<KeyUse> {
        if created_at >= self.made_at {
            return None;
        }
        let rows = self.users.get(&*user_name.to_ascii_lowercase())?;
        let row = match rows.as_slice() {
            // It is the only one that works, and was made then, or changed since.
            [only] if only.changed_at.as_second() >= created_at.as_second() => only,
            several => {
                let mut same = several.iter().filter(|row| row.changed_at.as_second() == created_at.as_second());
                same.next().filter(|_| same.next().is_none())?
            }
        };
        let used = row.used.clone().filter(|used| !Use::may_be_a_trial(used.at, created_at));
        Some(KeyUse { id: id.into(), used, reported_at: self.made_at })
    }
}

impl Line<'_> {
    /// Its active keys.
    fn rows(&self) -> [Option<Row>; 2] {
        let row = |active: &str, changed: &str, at: &str, region: &str, service: &str| {
            let used = at.parse().ok().map(|at| Use { at, region: name(region), service: name(service) });
            (active == "true").then(|| Some(Row { changed_at: changed.parse().ok()?, used }))?
        };
        [
            row(
                self.access_key_1_active,
                self.access_key_1_last_rotated,
                self.access_key_1_last_used_date,
                self.access_key_1_last_used_region,
                self.access_key_1_last_used_service,
            ),
            row(
                self.access_key_2_active,
                self.access_key_2_last_rotated,
                self.access_key_2_last_used_date,
                self.access_key_2_last_used_region,
                self.access_key_2_last_used_service,
            ),
        ]
    }
}

/// The name of a region or a service; `None` for `N/A` and for what is no name.
fn name(text: &str) -> Option<Box<str>> {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    (plain && (1..=LONGEST_NAME).contains(&text.len())).then(|| text.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    const HEADER: &str = "user,arn,user_creation_time,password_enabled,password_last_used,password_last_changed,\
        password_next_rotation,mfa_active,access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,\
        access_key_1_last_used_region,access_key_1_last_used_service,access_key_2_active,access_key_2_last_rotated,\
        access_key_2_last_used_date,access_key_2_last_used_region,access_key_2_last_used_service,cert_1_active,\
        cert_1_last_rotated,cert_2_active,cert_2_last_rotated";
    const NONE: &str = "false,N/A,N/A,N/A,N/A";

    fn at(hours: i64) -> Timestamp {
        later(Timestamp::from_second(1_800_000_000).unwrap(), SignedDuration::from_hours(hours))
    }

    /// As AWS writes it.
    fn date(at: Timestamp) -> String {
        at.to_string().replace('Z', "+00:00")
    }

    fn key(created: i64, used: Option<i64>) -> String {
        let used = used.map_or("N/A,N/A,N/A".to_owned(), |used| format!("{},eu-central-1,s3", date(at(used))));
        format!("true,{},{used}", date(at(created)))
    }

    fn report(users: &[(&str, String, String)]) -> String {
        let rows = users.iter().map(|(user, one, two)| {
            format!(
                "{user},arn:aws:iam::1:user/{user},{},false,N/A,N/A,N/A,false,{one},{two},false,N/A,false,N/A\n",
                date(at(0))
            )
        });
        format!("{HEADER}\n{}", rows.collect::<String>())
    }

    fn read(text: &str) -> CredentialReport {
        CredentialReport::read(at(1_000), text.as_bytes()).unwrap()
    }

    fn used(report: &CredentialReport, created: i64) -> Option<Option<Timestamp>> {
        report.key_use("App", "AKIA1", at(created)).map(|found| found.used.map(|used| used.at))
    }

    #[test]
    fn a_key_is_told_by_its_date_or_by_being_the_only_one() {
        let app =
            |one: String, two: String| read(&report(&[("app", one, two), ("other", key(7, Some(9)), NONE.into())]));
        let one = app(key(1, Some(500)), NONE.into());
        assert_eq!((used(&one, 1), used(&one, 0)), (Some(Some(at(500))), Some(Some(at(500)))), "changed since");
        assert_eq!(used(&one, 2), None, "another one, which was made later");
        let two = app(key(1, Some(500)), key(300, None));
        assert_eq!((used(&two, 1), used(&two, 300), used(&two, 0)), (Some(Some(at(500))), Some(None), None));
        let same = app(key(1, Some(500)), key(1, None));
        assert_eq!(used(&same, 1), None, "of two of one second, nobody knows which");
        assert_eq!(used(&app(NONE.into(), NONE.into()), 1), None);
        assert_eq!(used(&one, 1_000), None, "it is younger than the report");
        assert_eq!(one.key_use("nobody", "AKIA1", at(1)), None);
        let found = one.key_use("APP", "AKIA1", at(1)).unwrap().told();
        assert_eq!((found.region.as_deref(), found.service.as_deref()), (Some("eu-central-1"), Some("s3")));
        assert_eq!((found.at, found.reported_at), (Some(Time(at(500))), Time(at(1_000))));
    }

    #[test]
    fn the_operators_own_trial_of_a_key_is_no_use() {
        let tried = read(&report(&[("app", key(10, Some(11)), NONE.into())]));
        assert_eq!(used(&tried, 10), Some(None));
        let later = read(&report(&[("app", key(10, Some(12)), NONE.into())]));
        assert_eq!(used(&later, 10), Some(Some(at(12))));
    }

    #[test]
    fn a_report_that_is_cut_short_or_of_another_form_is_not_believed_at_all() {
        let whole = report(&[("app", key(1, None), NONE.into())]);
        for text in [&whole[..whole.len() - 40], "user,arn\napp,x\n", "user\n\u{0}\n", "<html>\n<p>\n"] {
            assert!(matches!(CredentialReport::read(at(1), text.as_bytes()), Err(Unreadable::Malformed(_))), "{text}");
        }
        let odd = report(&[("app", "true,N/A,yesterday,<b>,N/A".into(), "maybe,1,2,3,4".into())]);
        assert_eq!(used(&read(&odd), 1), None);
        assert!(CredentialReport::read(at(1), &vec![b'a'; LARGEST + 1]).is_err());
        assert!(CredentialReport::read(at(1), b"\xff\xfe\n\xff\n").is_err());
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in "[a-z,\"\n0-9:T+-]{0,400}") {
            let read = |text: &str| CredentialReport::read(at(1), text.as_bytes()).map(drop);
            let (_, _) = (read(&text), read(&format!("{HEADER}\n{text}")));
        }
    }
}
