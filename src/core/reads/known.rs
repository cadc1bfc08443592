//! What one process knows of an S3AccessUser between two reconciles, with a name for each way in which it changes. All of it
//! may be lost at any time: a minted key that is forgotten is found in IAM, in no Secret, and deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use secrecy::SecretString;

use super::Reads;
use crate::api::{S3AccessUser, S3AccessUserStatus, annotations, tags};
use crate::core::credential_report::KeyUse;
use crate::core::ends::newest;
use crate::core::ends::quarantine;
use crate::core::ends::revocation::{Request, Revocation};
use crate::core::iam::AccessKey;
use crate::core::observed::{Minted, Observed, OurSecret, Probes, SecretState};
use crate::core::rotation::later;
use crate::core::schedule::next_resync;

/// Every so many resync intervals the access keys are read, whatever a report says: it shows no inactive key, and not which one
/// of the same second it is.
pub const UNREPORTED: i32 = 30;

/// What is known of one S3AccessUser.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// A key that is in no Secret yet, with its secret half.
    pub minted: Option<Box<(Minted, SecretString)>>,
    /// What was seen of new keys at work, by id: one or two, for which a map would be large.
    pub probes: Box<[(String, Probes)]>,
    /// The access keys as they were left, where one is still to come into its place, or to be deleted.
    pub left: Option<Box<Left>>,
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
    /// What few users have, in a place of its own: there are tens of thousands of these.
    pub rare: Option<Box<Rare>>,
    /// By a report, its key may be unused for too long, and nobody has asked since.
    pub unused_suspected: bool,
    /// What a report says of its key's last use, until the status tells it.
    pub untold: Option<Box<KeyUse>>,
    /// When the first of its keys has to be inactive, as IAM showed them last: by its age, or since all access ends.
    pub ends_at: Option<Timestamp>,
}

/// What [`Known`] is asked for by name, and few users have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rare {
    quarantine: Box<[Box<str>]>,
    revoked: Option<Box<str>>,
    unused: Option<Box<str>>,
    judge_at: Option<Timestamp>,
    deletion_seen: Option<Timestamp>,
}

impl Known {
    /// The policies by which AWS says that it has found a key of the user in public, as they were read last: ARNs.
    pub fn quarantine(&self) -> &[Box<str>] {
        self.rare.as_ref().map_or(&[], |rare| &rare.quarantine)
    }

    /// The record of the last revocation, as it was written or read last.
    pub fn revoked(&self) -> Option<&str> {
        self.rare.as_ref()?.revoked.as_deref()
    }

    /// The record of the user's being unused, as it was written or read last.
    pub fn unused(&self) -> Option<&str> {
        self.rare.as_ref()?.unused.as_deref()
    }

    /// When its keys are to be asked for their uses again, as they were used when they were asked last.
    fn judge_at(&self) -> Option<Timestamp> {
        self.rare.as_ref()?.judge_at
    }

    /// When the CR was first seen to be deleted.
    pub fn deletion_seen(&self) -> Option<Timestamp> {
        self.rare.as_ref()?.deletion_seen
    }

    fn change_rare(&mut self, change: impl FnOnce(&mut Rare)) {
        let mut rare = self.rare.take().map_or_else(Rare::default, |rare| *rare);
        change(&mut rare);
        self.rare = (rare != Rare::default()).then(|| Box::new(rare));
    }

    /// No reconcile of this process has come to its end, and nothing is known but that it failed to.
    pub fn is_new(&self) -> bool {
        self.enforced_revision.is_none() && self.minted.is_none() && !self.drift_suspected
    }

    /// A reconcile ends, well or not.
    pub fn ended(&mut self, failed: bool) {
        if failed {
            self.failures = self.failures.saturating_add(1);
            // Or its status would tell of the failure until the next resync.
            self.waits();
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

    /// The key is deleted: nothing is known of it any more.
    pub fn deleted(&mut self, id: &str) {
        self.unminted(id);
        self.probes = self.probes.iter().filter(|(probed, _)| probed != id).cloned().collect();
    }

    /// IAM and the Secret are about to be read, at that level.
    pub fn reading(&mut self, reads: Reads) {
        // A suspicion is cleared up only by reading everything.
        self.drift_suspected &= reads != Reads::Everything;
        (self.left, self.details) = (None, None);
    }

    /// What was read shows whether the new key is delivered.
    pub fn observed(&mut self, observed: &Observed) {
        if observed.minted.is_none() {
            self.minted = None;
        }
    }

    /// The user's tags, as they were read or written, tell what was revoked, and whether it is unused; a replica of IAM that lags
    /// takes nothing back.
    pub fn tagged(&mut self, found: &BTreeMap<String, String>) {
        let later = |tag: &str, known: Option<&str>| -> Option<Box<str>> {
            newest(tag, known, found.get(tag).map(String::as_str)).map(Into::into)
        };
        let (unused, revoked) = (later(tags::UNUSED, self.unused()), later(tags::REVOKED, self.revoked()));
        if revoked.as_deref() != self.revoked() {
            // The policy ends the sessions that were before.
            self.details = None;
        }
        self.change_rare(|rare| (rare.unused, rare.revoked) = (unused, revoked));
    }

    /// A report of that time tells when its key was used, which is `news`, or that it may have to be suspended. Answers whether
    /// there is anything to do.
    pub fn reported(&mut self, news: Option<KeyUse>, suspected_at: Option<Timestamp>) -> bool {
        self.untold = news.map(Box::new);
        self.unused_suspected |= suspected_at.is_some_and(|at| self.judge_at().is_none_or(|judge_at| judge_at <= at));
        self.untold.is_some() || self.unused_suspected
    }

    /// The status tells what a report has said.
    pub fn told(&mut self) {
        self.untold = None;
    }

    /// Whether its keys are used was decided, on what IAM says of each.
    pub fn judged(&mut self, again_at: Option<Timestamp>) {
        self.unused_suspected = false;
        self.change_rare(|rare| rare.judge_at = again_at.or(rare.judge_at));
    }

    /// What the CR asks to have revoked and that was not yet, as far as this process knows; after a start, the status says.
    pub fn revokes(&self, user: &S3AccessUser) -> Option<Request> {
        let request = Request::of(user)?.unless_answered(self.revoked())?;
        let told = user.status.as_ref().and_then(|status| status.revocation.as_ref());
        let told = self.is_new() && told.is_some_and(|revocation| revocation.request == request.digest);
        (!told).then_some(request)
    }

    /// Whether that takes a key out of use, as far as this process and the status know. Where every key was revoked before, only
    /// the record is left to be written: whoever asks again and again keeps nobody waiting.
    pub fn revokes_urgently(&self, user: &S3AccessUser) -> bool {
        let status = user.status.as_ref();
        let keys = status.map(|status| (status.access_key_id.as_deref(), status.retiring_key.as_ref()));
        let recorded = self.revoked().and_then(Revocation::read);
        let over = match (keys, recorded) {
            (Some((Some(id), None)), Some(recorded)) => self.minted.is_none() && recorded.ends(id, true),
            _ => false,
        };
        !over && self.revokes(user).is_some()
    }

    /// The CR is seen to be deleted, now or before.
    pub fn deleting(&mut self, now: Timestamp) {
        if self.deletion_seen().is_none() {
            self.change_rare(|rare| rare.deletion_seen = Some(now));
        }
    }

    /// Everything that is attached to the user was read.
    pub fn attached(&mut self, attached: &BTreeSet<String>) {
        let alarms = attached.iter().filter(|arn| !quarantine::policies([*arn]).is_empty());
        let alarms = alarms.map(|arn| arn.as_str().into()).collect();
        self.change_rare(|rare| rare.quarantine = alarms);
    }

    /// What new keys have shown so far is not asked again.
    pub fn probed(&mut self, observed: &Observed) {
        self.probes = observed.probes.clone().into_iter().collect();
    }

    /// The plan is carried out as far as it goes.
    pub fn carried_out(&mut self, kept: Kept) {
        self.left = kept.left;
        self.details = kept.details.map(|fingerprint| fingerprint.but_rotation);
    }

    /// All is done.
    pub fn settled(&mut self, settled: Option<Settled>) {
        self.left.take_if(|left| left.awaits);
        if settled.is_some() {
            self.settled = settled;
        }
    }

    /// A reconcile has ended with something left to come, or with a status that says so: what was settled before is so no more,
    /// though the same be asked for again.
    pub fn waits(&mut self) {
        self.settled = None;
    }

    /// The spec is not carried out, and what the class takes away goes all the same: the next plan reads what there is.
    pub fn refused(&mut self) {
        (self.left, self.details) = (None, None);
        self.waits();
    }

    /// After a start, status and Secret say that all is done.
    pub fn resumed(&mut self, settled: Settled, details: Fingerprint) {
        (self.settled, self.details) = (Some(settled), Some(details.but_rotation));
    }

    /// What a report says of its keys, where all was done. Answers whether they are to be read.
    pub fn compared(&mut self, reported: &Reported) -> bool {
        let Some(settled) = &mut self.settled else { return false };
        // What was changed after it was made is not in it.
        if reported.created_at.max(settled.read_at) >= reported.made_at {
            return false;
        }
        let same = |changed_at: Timestamp| {
            changed_at.as_second() == reported.created_at.as_second()
                || (reported.created_at..=settled.read_at).contains(&changed_at)
        };
        if !reported.only_key.is_some_and(same) {
            (settled.read_at, settled.compared_at) = (Timestamp::MIN, None);
            return true;
        }
        if reported.rest_is_compared {
            settled.compared_at = settled.compared_at.max(Some(reported.made_at));
        }
        false
    }

    /// What was left of the access keys, where what was asked for and the Secret are as they were.
    pub fn left(&self, fingerprint: Fingerprint, secret: &SecretState) -> Option<&Left> {
        self.left.as_deref().filter(|left| left.fingerprint == fingerprint.all && left.has_same_secret(secret))
    }

    /// The access keys as the last reconcile has left them, where all was done then and nothing but a rotation was asked for
    /// since: the Secret's alone, or beside one that is inactive already; and when they were read.
    pub fn keys_left(
        &self,
        fingerprint: Fingerprint,
        (secret, session): (&SecretState, Option<&SecretState>),
    ) -> Option<(Vec<AccessKey>, Timestamp)> {
        if let Some(left) = &self.left {
            let left = self.left(fingerprint, secret).filter(|_| !left.awaits)?;
            return Some((left.keys.clone(), left.read_at));
        }
        let settled = self.settled.as_ref().filter(|settled| settled.alone && session.is_none())?;
        let same = |found: &&OurSecret| *found.resource_version == *settled.secret_version;
        let key = secret.ours().filter(same)?.key.as_ref()?;
        let only = AccessKey { id: key.id.to_string(), active: true, created_at: key.created_at? };
        (self.details == Some(fingerprint.but_rotation)).then(|| (vec![only], settled.read_at))
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

/// What an account's credential report says of the keys of a user that has one, by its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reported {
    /// When it was made.
    pub made_at: Timestamp,
    /// When the key was made that the status tells of.
    pub created_at: Timestamp,
    /// When the only key that works was made or last changed.
    pub only_key: Option<Timestamp>,
    /// User and policies are compared by another bulk read.
    pub rest_is_compared: bool,
}

/// A reconcile that ended with everything done: until something changes or falls due, none is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// [`Fingerprint::all`] then.
    pub fingerprint: u64,
    /// The resource version of the workload's Secret.
    pub secret_version: Box<str>,
    /// When something is due by itself, such as a rotation.
    pub due_at: Timestamp,
    /// When its access keys were read.
    pub read_at: Timestamp,
    /// When the last report was made that shows them as they were left.
    pub compared_at: Option<Timestamp>,
    /// The key that the Secret holds is the only one, and of the age that is recorded there.
    pub alone: bool,
}

/// The access keys as they were left, and what that rests upon. Thousands may wait for their keys at once, so that nothing is
/// kept of the user and its policies but that they were as the spec wants them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// [`Fingerprint::all`] then.
    pub fingerprint: u64,
    /// The resource version of the Secret that the key belongs into; `None` where there was none.
    pub secret_version: Option<String>,
    /// When they were read.
    pub read_at: Timestamp,
    /// The user's access keys.
    pub keys: Vec<AccessKey>,
    /// AWS's acceptance of a new key is waited for, and nothing else; otherwise the end of one that is inactive.
    pub awaits: bool,
}

impl Settled {
    /// The same, of a reconcile that has left that, with keys that were read at that time; `None` where there is no user or no
    /// Secret to go by.
    pub fn of(fingerprint: Fingerprint, observed: &Observed, due_at: Timestamp, read_at: Timestamp) -> Option<Self> {
        let secret = observed.delivered().ours()?;
        let alone = match (observed.user()?.keys.as_slice(), &secret.key) {
            ([only], Some(held)) => only.active && held.id == only.id && held.created_at == Some(only.created_at),
            _ => false,
        };
        let secret_version = secret.resource_version.as_str().into();
        Some(Self { fingerprint: fingerprint.all, secret_version, due_at, read_at, compared_at: None, alone })
    }

    /// The same, of a reconcile that went by status and Secret at that time. `alone`: the status tells of no other key.
    pub fn by_status(
        fingerprint: Fingerprint,
        secret: &SecretState,
        (due_at, now): (Timestamp, Timestamp),
        alone: bool,
    ) -> Option<Self> {
        let secret_version = secret.ours()?.resource_version.as_str().into();
        let (read_at, compared_at) = (now, None);
        Some(Self { fingerprint: fingerprint.all, secret_version, due_at, read_at, compared_at, alone })
    }

    /// When it is to be compared with IAM again: at the next resync after its keys were read. Where a report shows them as they
    /// were left, one interval after the report; but what no report shows is read every [`UNREPORTED`] intervals.
    pub fn resync_at(&self, uid: &str, interval: SignedDuration) -> Timestamp {
        let read = next_resync(uid, self.read_at, interval);
        let reported = self.compared_at.map(|at| later(next_resync(uid, at, interval), interval));
        let latest = next_resync(uid, self.read_at, interval.saturating_mul(UNREPORTED));
        reported.map_or(read, |reported| reported.min(latest).max(read))
    }
}

impl Left {
    /// The same, of a reconcile that read them at that time.
    pub fn of(fingerprint: Fingerprint, observed: &Observed, read_at: Timestamp, awaits: bool) -> Option<Box<Self>> {
        let keys = observed.user()?.keys.clone();
        let secret_version = observed.our_secret().map(|secret| secret.resource_version.clone());
        Some(Box::new(Self { fingerprint: fingerprint.all, secret_version, read_at, keys, awaits }))
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
    /// The access keys, where one is still to come into its place, or to be deleted.
    pub left: Option<Box<Left>>,
    /// What was asked for, where user and policies are as the spec wants them.
    pub details: Option<Fingerprint>,
}

/// What is asked for, in short: the CR's spec and annotations, and the revision of its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// All of it.
    pub all: u64,
    /// Less a request to rotate or to revoke, which concerns nothing but the key.
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
        Self {
            all: digest(|_| true),
            but_rotation: digest(|name| ![annotations::ROTATE, annotations::REVOKE].contains(&name)),
        }
    }
}

#[cfg(test)]
mod tests;
