//! What one process knows of an S3AccessUser between two reconciles, with a name for each way in which it changes. All of it
//! may be lost at any time: a minted key that is forgotten is found in IAM, in no Secret, and deleted.

use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use kube::ResourceExt;
use secrecy::SecretString;

use super::Reads;
use crate::api::{S3AccessUser, S3AccessUserStatus, annotations};
use crate::core::iam::AccessKey;
use crate::core::observed::{Minted, Observed, Probes, SecretState};

/// What is known of one S3AccessUser.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// A key that is in no Secret yet, with its secret half.
    pub minted: Option<Box<(Minted, SecretString)>>,
    /// What was seen of new keys at work, by id: one or two, for which a map would be large.
    pub probes: Box<[(String, Probes)]>,
    /// What was read when nothing but AWS's acceptance of the new key was left to wait for.
    pub awaited: Option<Box<Awaited>>,
    /// How many reconciles in a row ended short of done.
    pub failures: u32,
    /// The bulk read has shown a difference, and no reconcile has read everything since.
    pub drift_suspected: bool,
    /// What was asked for, but for rotations, when user and policies were last found or left as the spec wants them.
    pub details: Option<u64>,
    /// The last reconcile that ended with everything done.
    pub settled: Option<Settled>,
    /// The resource version of the CR that came of our last write to it, and its status then: until the watch has it, too.
    pub last_written: Option<Box<(u64, S3AccessUserStatus)>>,
    /// The revision of the class that the CR was last held against, to the end.
    pub enforced_revision: Option<u64>,
    /// When the oldest of its keys has outlived what the class allows, as IAM showed them last.
    pub outlived_at: Option<Timestamp>,
}

impl Known {
    /// No reconcile of this process has come to its end, and nothing is known but that it failed to.
    pub fn is_new(&self) -> bool {
        self.enforced_revision.is_none() && self.minted.is_none() && !self.drift_suspected
    }

    /// A reconcile ends, well or not.
    pub fn ended(&mut self, failed: bool) {
        if failed {
            self.failures = self.failures.saturating_add(1);
            // What was settled before is reconciled again, or its status would tell of the failure until the next resync.
            self.settled = None;
        } else {
            self.failures = 0;
        }
    }

    /// A write of ours has made that version and status of the CR.
    pub fn written(&mut self, version: Option<u64>, status: &S3AccessUserStatus) {
        self.last_written = version.map(|version| Box::new((version, status.clone())));
    }

    /// The watch has that version of the CR, and so has whoever goes by it: our own word of it need not be kept.
    pub fn watched(&mut self, version: u64) {
        self.last_written.take_if(|written| written.0 <= version);
    }

    /// IAM has made a key, which is in no Secret yet.
    pub fn minted(&mut self, minted: &Minted, half: &SecretString) {
        self.minted = Some(Box::new((minted.clone(), half.clone())));
    }

    /// The key is in the Secret, or deleted.
    pub fn unminted(&mut self, id: &str) {
        self.minted.take_if(|minted| minted.0.id == id);
    }

    /// IAM and the Secret are about to be read, at that level.
    pub fn reading(&mut self, reads: Reads) {
        // A suspicion is cleared up only by reading everything.
        self.drift_suspected &= reads != Reads::Everything;
        (self.awaited, self.details) = (None, None);
    }

    /// What was read shows whether the new key is delivered.
    pub fn observed(&mut self, observed: &Observed) {
        if observed.minted.is_none() {
            self.minted = None;
        }
    }

    /// What new keys have shown so far is not asked again.
    pub fn probed(&mut self, observed: &Observed) {
        self.probes = observed.probes.clone().into_iter().collect();
    }

    /// The plan is carried out as far as it goes.
    pub fn carried_out(&mut self, kept: Kept) {
        self.awaited = kept.awaited;
        self.details = kept.details.map(|fingerprint| fingerprint.but_rotation);
    }

    /// All is done.
    pub fn settled(&mut self, settled: Option<Settled>) {
        self.awaited = None;
        if settled.is_some() {
            self.settled = settled;
        }
    }

    /// After a start, status and Secret say that all is done.
    pub fn resumed(&mut self, settled: Settled, details: Fingerprint) {
        (self.settled, self.details) = (Some(settled), Some(details.but_rotation));
    }

    /// The CR was held against that revision of its class, to the end.
    pub fn enforced(&mut self, revision: u64) {
        self.enforced_revision = Some(revision);
    }

    /// The bulk read shows a difference: the next reconcile reads everything. Answers whether none would come before the
    /// next resync.
    pub fn suspect_drift(&mut self) -> bool {
        self.drift_suspected = true;
        self.settled.is_some()
    }
}

/// A reconcile that ended with everything done: until something changes or falls due, none is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// [`Fingerprint::all`] then.
    pub fingerprint: u64,
    /// The Secret's resource version.
    pub secret_version: String,
    /// When to reconcile again.
    pub due_at: Timestamp,
}

/// What was read while a new key was awaited, and what it rests upon. Thousands may wait for their keys at once, so that
/// nothing is kept of the user and its policies but that they were as the spec wants them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// [`Fingerprint::all`] then.
    pub fingerprint: u64,
    /// The Secret's resource version; `None` where there was none.
    pub secret_version: Option<String>,
    /// When it was read.
    pub read_at: Timestamp,
    /// The user's access keys.
    pub keys: Vec<AccessKey>,
}

impl Settled {
    /// The same, of a reconcile that has left that; `None` where there is no user or no Secret to go by.
    pub fn of(fingerprint: Fingerprint, observed: &Observed, due_at: Timestamp) -> Option<Self> {
        let secret = observed.our_secret().filter(|_| observed.user().is_some())?;
        Some(Self { fingerprint: fingerprint.all, secret_version: secret.resource_version.clone(), due_at })
    }

    /// The same, of a reconcile that went by status and Secret.
    pub fn by_status(fingerprint: Fingerprint, secret: &SecretState, due_at: Timestamp) -> Option<Self> {
        let SecretState::Ours(secret) = secret else { return None };
        Some(Self { fingerprint: fingerprint.all, secret_version: secret.resource_version.clone(), due_at })
    }
}

impl Awaited {
    /// The same, of a reconcile that read everything at that time.
    pub fn of(fingerprint: Fingerprint, observed: &Observed, read_at: Timestamp) -> Option<Box<Self>> {
        let keys = observed.user()?.keys.clone();
        let secret_version = observed.our_secret().map(|secret| secret.resource_version.clone());
        Some(Box::new(Self { fingerprint: fingerprint.all, secret_version, read_at, keys }))
    }

    /// Whether the Secret is still the one that it was, or still missing.
    pub fn has_same_secret(&self, secret: &SecretState) -> bool {
        match secret {
            SecretState::Ours(secret) => self.secret_version.as_ref() == Some(&secret.resource_version),
            SecretState::Missing => self.secret_version.is_none(),
            SecretState::Foreign { .. } => false,
        }
    }
}

/// What the next reconcile may go by, where this one did not end with everything done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// What was read, where nothing but AWS's acceptance of the new key is left to wait for.
    pub awaited: Option<Box<Awaited>>,
    /// What was asked for, where user and policies are as the spec wants them.
    pub details: Option<Fingerprint>,
}

/// What is asked for, in short: the CR's spec and annotations, and the revision of its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// All of it.
    pub all: u64,
    /// Less a request to rotate, which concerns nothing but the key.
    pub but_rotation: u64,
}

impl Fingerprint {
    /// Of a CR, within that revision of its class.
    pub fn of(user: &S3AccessUser, class_revision: u64) -> Self {
        let digest = |annotation: fn(&str) -> bool| {
            let mut hasher = DefaultHasher::new();
            user.metadata.generation.hash(&mut hasher);
            let annotations = user.annotations().iter().filter(|(name, _)| annotation(name));
            annotations.for_each(|pair| pair.hash(&mut hasher));
            class_revision.hash(&mut hasher);
            hasher.finish()
        };
        Self { all: digest(|_| true), but_rotation: digest(|name| name != annotations::ROTATE) }
    }
}
