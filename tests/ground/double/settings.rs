//! How the double behaves.

use std::collections::BTreeMap;
use std::fmt;
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
    /// The bucket of operations that have none of their own; `None` lets all through.
    pub default: Option<Rate>,
    /// Buckets of single operations.
    pub operations: BTreeMap<Operation, Rate>,
}

/// How an account makes its credential report.
#[derive(Debug, Clone, PartialEq)]
pub struct CredentialReport {
    /// How long it takes.
    pub takes: SignedDuration,
    /// Whether Inactive keys are shown with the time of their creation, as reports of today do and AWS's user guide
    /// says they do not.
    pub inactive_keys_dated: bool,
    /// Whether the report that is there stays the last, and is given for ever.
    pub frozen: bool,
    /// What becomes of the text before it is given.
    pub distortion: Distortion,
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
            reorder_documents: true,
            credential_report: CredentialReport {
                takes: SignedDuration::from_secs(2),
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
