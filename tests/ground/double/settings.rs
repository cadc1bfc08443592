//! How the double behaves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::SignedDuration;

use super::limits;
use super::operation::Operation;

/// How far replicas may be behind the latest state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// How far behind the slowest replica is: 3–15 s as a rule in IAM, 60 s at worst.
    pub longest: SignedDuration,
    /// How many reads of a hundred get a replica that is behind; the others see the latest state.
    pub stale_percent: u8,
}

impl Lag {
    /// Every read sees the latest state.
    pub const NONE: Self = Self { longest: SignedDuration::ZERO, stale_percent: 0 };

    /// Every read is answered by a replica that is 0 to `seconds` seconds behind.
    pub fn up_to_seconds(seconds: i64) -> Self {
        Self { longest: SignedDuration::from_secs(seconds), stale_percent: 100 }
    }
}

/// A token bucket's size and refill, for each operation of an account.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Calls that are let through at once.
    pub burst: f64,
    /// Calls that are let through each second after that.
    pub per_second: f64,
}

/// Throttling; AWS publishes none of its numbers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Throttle {
    /// One bucket for all calls of IAM, whichever they are; STS has a quota of its own. `None` lets all through.
    pub account: Option<Rate>,
    /// The bucket of operations that have none of their own; `None` lets all through.
    pub default: Option<Rate>,
    /// Buckets of single operations.
    pub operations: BTreeMap<Operation, Rate>,
}

/// A report is made again, and given, for this long (IAM user guide, "Generate credential reports for your AWS account").
pub(super) const REPORT_LIFE: SignedDuration = SignedDuration::from_hours(4);

/// How an account makes its credential report.
#[derive(Debug, Clone, PartialEq)]
pub struct CredentialReport {
    /// How long it takes.
    pub takes: SignedDuration,
    /// For how long the report that was made last stands for a new one.
    pub again: SignedDuration,
    /// Whether Inactive keys are shown with the time of their creation, as reports of today do and AWS's user guide
    /// says they do not.
    pub inactive_keys_dated: bool,
    /// Whether the report that is there stays the last, and is given for ever.
    pub frozen: bool,
    /// What becomes of the text before it is given.
    pub distortion: Distortion,
}

/// In what a server that speaks IAM's API is not AWS, and says nothing of it; each was seen somewhere, or is one step from
/// what was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quirk {
    /// Tags of users are taken, and dropped (Ceph RGW 20.2, SeaweedFS 4.44).
    TagsDropped,
    /// Paths of users are taken, and dropped (SeaweedFS 4.44).
    PathsDropped,
    /// Access keys have no dates (SeaweedFS 4.44).
    DatesMissing,
    /// In some answers, ResponseMetadata comes before the result (Ceph RGW 20.2).
    MetadataFirst,
    /// S3 takes every key, whatever its id and secret.
    EveryKeyAccepted,
    /// S3 says AccessDenied to keys that it does not know (Ceph RGW 20.2 with `rgw_s3_auth_use_sts`).
    UnknownKeysDenied,
    /// S3 takes Inactive keys.
    InactiveKeysAccepted,
    /// Policies come back without their conditions.
    PoliciesAltered,
    /// Policies with multipart actions of S3 are refused (SeaweedFS 4.44).
    MultipartRefused,
    /// A user is deleted with its keys (SeaweedFS 4.44).
    KeysDeletedWithUser,
}

impl Quirk {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::TagsDropped,
        Self::PathsDropped,
        Self::DatesMissing,
        Self::MetadataFirst,
        Self::EveryKeyAccepted,
        Self::UnknownKeysDenied,
        Self::InactiveKeysAccepted,
        Self::PoliciesAltered,
        Self::MultipartRefused,
        Self::KeysDeletedWithUser,
    ];
}

impl fmt::Display for Quirk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

impl FromStr for Quirk {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|quirk| quirk.to_string() == text);
        known.ok_or_else(|| format!("one of {}", Self::ALL.map(|quirk| quirk.to_string()).join(", ")))
    }
}

type Distort = dyn Fn(&str) -> Vec<u8> + Send + Sync;

/// What becomes of a text on its way: nothing, or a test has it cut short or lie.
#[derive(Clone, Default)]
pub struct Distortion(Option<Arc<Distort>>);

impl Distortion {
    /// One that makes bytes of the text.
    pub fn new(distort: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(distort)))
    }

    pub(super) fn apply(&self, text: &str) -> Vec<u8> {
        self.0.as_ref().map_or_else(|| text.as_bytes().to_vec(), |distort| distort(text))
    }
}

impl fmt::Debug for Distortion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "distorted" } else { "as it is" })
    }
}

impl PartialEq for Distortion {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(one), Some(another)) => Arc::ptr_eq(one, another),
            _ => false,
        }
    }
}

/// How an account behaves. The default is strict, consistent and never throttled.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The seed of identifiers, secrets and choices of replicas.
    pub seed: u64,
    /// The quota of users; benchmarks with more than AWS's 5,000 raise it.
    pub users_per_account: usize,
    /// The quota of customer managed policies.
    pub policies_per_account: usize,
    /// Makes the quota of access keys racy: keys younger than this are not counted.
    pub key_quota_race: Option<SignedDuration>,
    /// How far behind `Get` and `List` calls may be.
    pub reads: Lag,
    /// How long keys and policies take until they count for callers: new keys are unknown, revoked ones still work.
    pub credentials: Lag,
    /// How long the sessions of GetSessionToken last, whatever was asked: shorter than AWS would make them, so that a test sees
    /// several of them end.
    pub session_life: Option<SignedDuration>,
    /// Throttling of each operation.
    pub throttle: Throttle,
    /// Whether pages may be shorter than asked for, as GetAccountAuthorizationDetails warns of.
    pub short_pages: bool,
    /// Whether policy documents come back as another text of the same meaning.
    pub reorder_documents: bool,
    /// Whether conditions count for nothing, as on some S3-compatible systems.
    pub conditions_ignored: bool,
    /// In what else it is not AWS.
    pub quirks: BTreeSet<Quirk>,
    /// What it answers to an operation with nothing but that status of HTTP.
    pub codeless: BTreeMap<Operation, u16>,
    /// The credential report.
    pub credential_report: CredentialReport,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 0,
            users_per_account: limits::USERS_PER_ACCOUNT,
            policies_per_account: limits::POLICIES_PER_ACCOUNT,
            key_quota_race: None,
            reads: Lag::NONE,
            credentials: Lag::NONE,
            session_life: None,
            throttle: Throttle::default(),
            short_pages: false,
            conditions_ignored: false,
            quirks: BTreeSet::new(),
            codeless: BTreeMap::new(),
            reorder_documents: true,
            credential_report: CredentialReport {
                takes: SignedDuration::from_secs(2),
                again: REPORT_LIFE,
                inactive_keys_dated: false,
                frozen: false,
                distortion: Distortion::default(),
            },
        }
    }
}

impl Settings {
    /// An account in which everything that AWS warns of happens: replicas up to a minute behind, racing quotas, short
    /// pages.
    pub fn hostile(seed: u64) -> Self {
        Self {
            seed,
            key_quota_race: Some(SignedDuration::from_secs(2)),
            reads: Lag { longest: SignedDuration::from_secs(60), stale_percent: 50 },
            credentials: Lag { longest: SignedDuration::from_secs(30), stale_percent: 70 },
            short_pages: true,
            ..Self::default()
        }
    }
}
