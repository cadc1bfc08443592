//! IAM's own words, read once at the edge: what does not fit is no key id and no account, and never reaches a request.

use std::fmt;
use std::ops::Deref;

use jiff::{SignedDuration, Timestamp};

use super::rotation::later;

/// By so much may the clocks of the operator and of IAM differ before a recorded time is not believed.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(15);

/// The id of an access key: 1 to 128 letters, digits and `_`, `-` or `.`. IAM's have 16 to 128 word characters (API
/// reference, AccessKey); S3-compatible systems give shorter ones.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccessKeyId(Box<str>);

impl AccessKeyId {
    /// The id as IAM gave it to this process.
    pub fn of_iam(id: &str) -> Self {
        Self(id.into())
    }

    /// The id in a text that may be anybody's; `None` where it can be none.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        ((1..=128).contains(&text.len()) && text.bytes().all(allowed)).then(|| Self(text.into()))
    }
}

impl Deref for AccessKeyId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccessKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl PartialEq<String> for AccessKeyId {
    fn eq(&self, other: &String) -> bool {
        *self.0 == **other
    }
}

/// The AWS account that the operator's credentials belong to, by sts:GetCallerIdentity.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub struct Account {
    /// Twelve digits.
    pub id: String,
    /// `aws`, `aws-cn`, ...; read from the caller's ARN, never from a setting.
    pub partition: String,
}

/// An access key as ListAccessKeys shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// Its id.
    pub id: String,
    /// Active in IAM's sense.
    pub active: bool,
    /// IAM's CreateDate; `None` where a system that is not AWS shows none.
    pub created_at: Option<Timestamp>,
}

impl KeyRecord {
    /// The key with the time of its making. Where the system shows none, it is what the operator has recorded of that key, or
    /// when this process has seen it first, whichever is earlier: a record may be anybody's who may write it, so that it can
    /// make a key no younger.
    pub fn dated(self, recorded: Option<Timestamp>, seen: impl FnOnce(&str) -> Timestamp) -> AccessKey {
        let Self { id, active, created_at } = self;
        let created_at = created_at.unwrap_or_else(|| {
            let seen = seen(&id);
            recorded.map_or(seen, |recorded| recorded.min(seen))
        });
        AccessKey { id, active, created_at }
    }
}

/// An access key of an IAM user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKey {
    /// Its id.
    pub id: String,
    /// Active in IAM's sense.
    pub active: bool,
    /// IAM's CreateDate.
    pub created_at: Timestamp,
}

/// The id of an account in a text that may be anybody's: AWS's twelve digits, or what a compatible system has in its ARNs,
/// such as `RGW` and 17 digits.
pub fn account_id(text: &str) -> Option<&str> {
    ((1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(text)
}

/// The secret half of a key in a text that may be anybody's: printable ASCII, as every signer takes it.
pub fn secret_half(text: &str) -> Option<&str> {
    ((1..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())).then_some(text)
}

/// A session token in a text that may be anybody's. AWS names no length, and says that it may grow; they have some hundred
/// characters.
pub fn session_token(text: &str) -> Option<&str> {
    ((1..=8_192).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())).then_some(text)
}

/// The name of the user in the ARN of one; `None` for roles, the root, and whatever else.
pub fn user_of(arn: &str) -> Option<&str> {
    let path = arn.splitn(6, ':').nth(5)?.strip_prefix("user/")?;
    path.rsplit('/').next().filter(|name| !name.is_empty())
}

/// A recorded time that is not in the future, as far as two clocks can tell.
pub fn past(time: Timestamp, now: Timestamp) -> Option<Timestamp> {
    (time <= later(now, CLOCK_TOLERANCE)).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_no_key_id_is_none() {
        for text in ["AKIAIOSFODNN7EXAMPLE", "GK31c2f218a2e44f485b94239e", "minio-user_1.a"] {
            assert_eq!(AccessKeyId::parse(text).as_deref(), Some(text));
        }
        for text in ["", "AKIA\nX", "AKIA X", "AKIA\u{0}", "ＡＫＩＡ", "a/b", &"A".repeat(129), &"A".repeat(120_000)]
        {
            assert_eq!(AccessKeyId::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn accounts_and_secret_halves_are_told_from_other_texts() {
        assert!(account_id("123456789012").is_some() && account_id("RGW84327998180974519").is_some());
        assert!(account_id("").is_none() && account_id("12 34").is_none() && account_id(&"1".repeat(65)).is_none());
        assert!(secret_half("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY").is_some());
        assert!(secret_half("").is_none() && secret_half("a\nb").is_none() && secret_half(&"a".repeat(257)).is_none());
    }

    #[test]
    fn a_user_is_told_from_others_by_the_arn() {
        assert_eq!(user_of("arn:aws:iam::123456789012:user/s3-access-operator"), Some("s3-access-operator"));
        assert_eq!(user_of("arn:aws-cn:iam::123456789012:user/a/b/op"), Some("op"));
        for other in
            ["arn:aws:sts::1:assumed-role/op/pod", "arn:aws:iam::1:root", "arn:aws:iam::1:user/", "user/op", ""]
        {
            assert_eq!(user_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_time_in_the_future_is_not_believed() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(past(now, now), Some(now));
        assert_eq!(past(later(now, SignedDuration::from_mins(15)), now), Some(later(now, CLOCK_TOLERANCE)));
        assert_eq!(past(later(now, SignedDuration::from_mins(16)), now), None);
        assert_eq!(past(Timestamp::MAX, now), None);
    }
}
