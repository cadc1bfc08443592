//! The adoption of an IAM user that nobody's tags claim (`adoption: Force`): which of its access keys are ours?
//!
//! Those that were there before belong to somebody else. The line is drawn by IAM's own dates, since the operator's clock
//! may be another; and it is drawn two consistency windows after the user was tagged, when a replica of IAM that lags
//! cannot hide a key any more. Until then no key is ours.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::iam::AccessKey;
use super::rotation::later;
use crate::api::tags;

/// What stands before the time in the tag of a user whose keys are still being waited for.
const SETTLING: &str = "settling since ";

/// What the tag [`tags::ADOPTED_AT`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// There is no tag: the operator created the user.
    None,
    /// Tagged at that time, by the operator's clock: no key is ours yet.
    Settling(Timestamp),
    /// Keys that were made then or later, by IAM's clock, are ours.
    At(Timestamp),
    /// Somebody has written something else: no key is ours.
    Unreadable,
}

impl Adoption {
    /// Reads the tags of a user.
    pub fn of(tags: &BTreeMap<String, String>) -> Self {
        let Some(text) = tags.get(tags::ADOPTED_AT) else { return Self::None };
        let (make, time): (fn(Timestamp) -> Self, _) = match text.strip_prefix(SETTLING) {
            Some(time) => (Self::Settling, time),
            None => (Self::At, text.as_str()),
        };
        time.parse().map_or(Self::Unreadable, make)
    }

    /// The tag's value; `None` where there is to be no tag.
    pub fn value(self) -> Option<String> {
        match self {
            Self::None | Self::Unreadable => None,
            Self::Settling(since) => Some(format!("{SETTLING}{since}")),
            Self::At(time) => Some(time.to_string()),
        }
    }

    /// Whether the operator made the key.
    pub fn owns(self, key: &AccessKey) -> bool {
        match self {
            Self::None => true,
            Self::At(time) => key.created_at >= time,
            Self::Settling(_) | Self::Unreadable => false,
        }
    }

    /// The line between the keys that are there and those to come. IAM's dates are whole seconds.
    pub fn after(keys: &[AccessKey]) -> Self {
        let newest = keys.iter().map(|key| key.created_at).max();
        Self::At(newest.map_or(Timestamp::UNIX_EPOCH, |newest| later(newest, SignedDuration::from_secs(1))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(second: i64) -> AccessKey {
        AccessKey {
            id: format!("AKIA{second}"),
            active: true,
            created_at: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second),
        }
    }

    fn read(value: &str) -> Adoption {
        Adoption::of(&BTreeMap::from([(tags::ADOPTED_AT.to_owned(), value.to_owned())]))
    }

    #[test]
    fn invariant_4_keys_from_before_the_adoption_are_never_ours() {
        let before = [key(100), key(200)];
        let adoption = Adoption::after(&before);
        assert!(before.iter().all(|key| !adoption.owns(key)));
        assert!(adoption.owns(&key(201)));
        assert!(Adoption::after(&[]).owns(&key(1)));
        assert!(Adoption::None.owns(&key(1)));
        let settling = Adoption::Settling(Timestamp::UNIX_EPOCH);
        assert!(!settling.owns(&key(i64::from(i32::MAX))), "no key is ours yet");
    }

    #[test]
    fn invariant_4_a_tag_that_cannot_be_read_makes_no_key_ours() {
        for value in ["", "yesterday", "settling since yesterday", "settling"] {
            assert_eq!(read(value), Adoption::Unreadable, "{value}");
            assert!(!read(value).owns(&key(100)), "{value}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Adoption::of(&BTreeMap::new()), Adoption::None);
        for adoption in [Adoption::Settling(key(5).created_at), Adoption::At(key(7).created_at)] {
            assert_eq!(read(&adoption.value().unwrap_or_default()), adoption);
        }
    }
}
