//! What one process knows of an S3AccessUser between two reconciles, with a name for each way in which it changes. All of it
//! may be lost at any time: a minted key that is forgotten is found in IAM, in no Secret, and deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use kube::ResourceExt;
use secrecy::SecretString;

use super::Reads;
use crate::api::{S3AccessUser, S3AccessUserStatus, annotations, tags};
use crate::core::credential_report::KeyUse;
use crate::core::ends::newest;
use crate::core::ends::quarantine;
use crate::core::ends::revocation::Request;
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
    /// The policies by which AWS says that it has found a key of the user in public, as they were read last: ARNs.
    pub quarantine: Box<[Box<str>]>,
    /// The record of the last revocation, as it was written or read last.
    pub revoked: Option<Box<str>>,
    /// The record of the user's being unused, as it was written or read last.
    pub unused: Option<Box<str>>,
    /// When its keys are to be asked for their uses again, as they were used when they were asked last.
    pub judge_at: Option<Timestamp>,
    /// By a report, its key may be unused for too long, and nobody has asked since.
    pub unused_suspected: bool,
    /// What a report says of its key's last use, until the status tells it.
    pub untold: Option<Box<KeyUse>>,
    /// When the first of its keys has to be inactive, as IAM showed them last: by its age, or since all access ends.
    pub ends_at: Option<Timestamp>,
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

    /// The key is deleted: nothing is known of it any more.
    pub fn deleted(&mut self, id: &str) {
        self.unminted(id);
        self.probes = self.probes.iter().filter(|(probed, _)| probed != id).cloned().collect();
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

    /// The user's tags, as they were read or written, tell what was revoked, and whether it is unused; a replica of IAM that lags
    /// takes nothing back.
    pub fn tagged(&mut self, found: &BTreeMap<String, String>) {
        let later = |tag: &str, known: Option<Box<str>>| -> Option<Box<str>> {
            newest(tag, known.as_deref(), found.get(tag).map(String::as_str)).map(Into::into)
        };
        self.unused = later(tags::UNUSED, self.unused.take());
        let record = later(tags::REVOKED, self.revoked.clone());
        if record != self.revoked {
            // The policy ends the sessions that were before.
            (self.revoked, self.details) = (record, None);
        }
    }

    /// A report of that time tells when its key was used, which is `news`, or that it may have to be suspended. Answers whether
    /// there is anything to do.
    pub fn reported(&mut self, news: Option<KeyUse>, suspected_at: Option<Timestamp>) -> bool {
        self.untold = news.map(Box::new);
        self.unused_suspected |= suspected_at.is_some_and(|at| self.judge_at.is_none_or(|judge_at| judge_at <= at));
        self.untold.is_some() || self.unused_suspected
    }

    /// The status tells what a report has said.
    pub fn told(&mut self) {
        self.untold = None;
    }

    /// Whether its keys are used was decided, on what IAM says of each.
    pub fn judged(&mut self, again_at: Option<Timestamp>) {
        (self.judge_at, self.unused_suspected) = (again_at.or(self.judge_at), false);
    }

    /// What the CR asks to have revoked and that was not yet, as far as this process knows; after a start, the status says.
    pub fn revokes(&self, user: &S3AccessUser) -> Option<Request> {
        let request = Request::of(user)?.unless_answered(self.revoked.as_deref())?;
        let told = user.status.as_ref().and_then(|status| status.revocation.as_ref());
        let told = self.is_new() && told.is_some_and(|revocation| revocation.request == request.digest);
        (!told).then_some(request)
    }

    /// Everything that is attached to the user was read.
    pub fn attached(&mut self, attached: &BTreeSet<String>) {
        let alarms = attached.iter().filter(|arn| !quarantine::policies([*arn]).is_empty());
        self.quarantine = alarms.map(|arn| arn.as_str().into()).collect();
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

    /// Something is left to come: what was done before is not all that there is to do.
    pub fn waits(&mut self) {
        self.settled = None;
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
    /// The resource version of the workload's Secret.
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
    /// The resource version of the Secret that the key belongs into; `None` where there was none.
    pub secret_version: Option<String>,
    /// When it was read.
    pub read_at: Timestamp,
    /// The user's access keys.
    pub keys: Vec<AccessKey>,
}

impl Settled {
    /// The same, of a reconcile that has left that; `None` where there is no user or no Secret to go by.
    pub fn of(fingerprint: Fingerprint, observed: &Observed, due_at: Timestamp) -> Option<Self> {
        let secret = observed.delivered().ours().filter(|_| observed.user().is_some())?;
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
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::core::iam::AccessKeyId;
    use crate::core::observed::{HeldKey, OurSecret, User, UserState};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const ASKED: Fingerprint = Fingerprint { all: 1, but_rotation: 2 };

    fn minted(id: &str) -> (Minted, SecretString) {
        (Minted { id: id.to_owned(), created_at: NOW }, SecretString::from("half"))
    }

    /// A user with a key, and its Secret.
    fn observed() -> Observed {
        let held = HeldKey { id: AccessKeyId::of_iam("AKIA1"), created_at: None, account_id: None };
        let keys = vec![AccessKey { id: "AKIA1".to_owned(), active: true, created_at: NOW }];
        let (arn, path) = (String::new(), "/".to_owned());
        let (tags, inline) = Default::default();
        let (attached, beside) = Default::default();
        let user = User { arn, path, tags, boundary: None, keys, attached, inline, beside };
        let secret = SecretState::Ours(OurSecret::intact(Some(held)));
        Observed { user: UserState::Present(Box::new(user)), secret, ..Observed::nothing() }
    }

    fn settled() -> Option<Settled> {
        Settled::of(ASKED, &observed(), NOW)
    }

    #[test]
    fn failures_are_counted_and_unsettle_and_a_success_forgives_them() {
        let mut known = Known { settled: settled(), ..Known::default() };
        known.ended(false);
        assert!((known.failures, known.settled.is_some()) == (0, true));
        known.ended(true);
        known.ended(true);
        assert!((known.failures, known.settled.is_none()) == (2, true));
        known.ended(false);
        assert_eq!(known.failures, 0);
    }

    #[test]
    fn what_was_written_is_kept_until_the_watch_has_it() {
        let mut known = Known::default();
        let status = S3AccessUserStatus { observed_generation: Some(7), ..S3AccessUserStatus::default() };
        known.written(Some(5), &status);
        known.watched(4);
        assert_eq!(known.last_written.as_deref(), Some(&(5, status.clone())));
        known.watched(5);
        assert!(known.last_written.is_none());
        known.written(Some(5), &status);
        known.written(None, &status);
        assert!(known.last_written.is_none(), "of a write without a version nothing is known");
    }

    #[test]
    fn a_new_key_is_kept_until_that_very_key_is_delivered() {
        let mut known = Known::default();
        let (key, half) = minted("AKIA2");
        known.minted(&key, &half);
        known.unminted("AKIA1");
        known.observed(&Observed { minted: Some(key.clone()), ..observed() });
        assert!(known.minted.as_deref().is_some_and(|(kept, _)| *kept == key));
        known.unminted("AKIA2");
        assert!(known.minted.is_none());
        known.minted(&key, &half);
        known.observed(&observed());
        assert!(known.minted.is_none(), "what was read shows it in its Secret");
    }

    #[test]
    fn only_reading_everything_clears_a_suspicion_and_any_reading_starts_afresh() {
        for (reads, suspected) in [(Reads::Keys, true), (Reads::UserAndKeys, true), (Reads::Everything, false)] {
            let mut known = Known { settled: settled(), ..Known::default() };
            known.carried_out(Kept { awaited: Awaited::of(ASKED, &observed(), NOW), details: Some(ASKED) });
            assert!(known.awaited.is_some() && known.details == Some(2));
            assert!(known.suspect_drift(), "nothing else would come before the next resync");
            known.reading(reads);
            assert_eq!((known.drift_suspected, known.awaited, known.details), (suspected, None, None), "{reads:?}");
        }
        let mut unsuspected = Known::default();
        unsuspected.reading(Reads::Keys);
        assert!(!unsuspected.drift_suspected);
        assert!(!unsuspected.suspect_drift(), "it is reconciled anyway");
        assert!(unsuspected.drift_suspected);
    }

    #[test]
    fn what_was_settled_stays_so_until_it_is_settled_anew() {
        let mut known = Known { awaited: Awaited::of(ASKED, &observed(), NOW), ..Known::default() };
        known.settled(settled());
        assert!(known.awaited.is_none() && known.settled == settled());
        known.settled(None);
        assert_eq!(known.settled, settled());
        let mut known = Known::default();
        assert!(known.is_new());
        known.resumed(settled().unwrap_or_else(|| unreachable!()), ASKED);
        assert!(known.settled == settled() && known.details == Some(2) && known.is_new());
        known.enforced(3);
        assert!(known.enforced_revision == Some(3) && !known.is_new());
    }

    #[test]
    fn who_waits_is_not_settled_any_more() {
        let mut known = Known { settled: settled(), ..Known::default() };
        known.waits();
        assert_eq!(known.settled, None);
    }

    #[test]
    fn a_revocation_is_remembered_against_a_replica_that_lags_and_changes_the_policy() {
        let tag = |record: &str| BTreeMap::from([(tags::REVOKED.to_owned(), record.to_owned())]);
        let (old, new) = ("a+-+1+now+", "b+-+2+now+");
        let mut known = Known { details: Some(2), ..Known::default() };
        known.tagged(&BTreeMap::new());
        assert_eq!((known.revoked.as_deref(), known.details), (None, Some(2)));
        known.tagged(&tag(new));
        assert_eq!((known.revoked.as_deref(), known.details), (Some(new), None), "sessions are cut by the policy");
        known.details = Some(2);
        for found in [tag(old), tag(new), BTreeMap::new()] {
            known.tagged(&found);
            assert_eq!((known.revoked.as_deref(), known.details), (Some(new), Some(2)), "{found:?}");
        }
    }

    #[test]
    fn a_revocation_is_asked_for_until_it_is_answered_and_after_a_start_the_status_says() {
        let mut user = S3AccessUser::new("reports", crate::api::S3AccessUserSpec::default());
        assert_eq!(Known::default().revokes(&user), None);
        user.annotations_mut().insert(annotations::REVOKE.to_owned(), "1".to_owned());
        let request = Request::by("1");
        assert_eq!(Known::default().revokes(&user), Some(request.clone()));
        let revoked_at = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(NOW);
        let report = crate::api::RevocationReport {
            request: request.digest.clone(),
            revoked_at,
            access_key_ids: Vec::new(),
            delete_at: None,
        };
        user.status = Some(S3AccessUserStatus { revocation: Some(report), ..S3AccessUserStatus::default() });
        assert_eq!(Known::default().revokes(&user), None, "a restart revokes nothing again");
        let mut known = Known::default();
        known.enforced(1);
        assert_eq!(
            known.revokes(&user),
            Some(request.clone()),
            "what this process knows counts for more than the status"
        );
        known.revoked = Some(format!("{}+-+1+now+", request.digest).into());
        assert_eq!(known.revokes(&user), None);
    }

    #[test]
    fn what_aws_has_attached_is_kept_until_it_is_detached() {
        let mut known = Known::default();
        let alarm = "arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantineV3".to_owned();
        known.attached(&[alarm.clone(), "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess".to_owned()].into());
        assert_eq!(known.quarantine.iter().map(|arn| &**arn).collect::<Vec<_>>(), [alarm]);
        known.attached(&BTreeSet::new());
        assert!(known.quarantine.is_empty());
    }

    #[test]
    fn probes_are_kept_as_they_were_seen() {
        let mut known = Known::default();
        let probes = BTreeMap::from([("AKIA1".to_owned(), Probes { successes: 2, since: NOW, last: NOW })]);
        known.probed(&Observed { probes: probes.clone(), ..observed() });
        assert_eq!(known.probes.iter().cloned().collect::<BTreeMap<_, _>>(), probes);
    }

    #[test]
    fn what_is_settled_or_awaited_names_what_it_rests_upon() {
        let version = "1".to_owned();
        assert_eq!(settled(), Some(Settled { fingerprint: 1, secret_version: version.clone(), due_at: NOW }));
        assert_eq!(Settled::by_status(ASKED, &observed().secret, NOW), settled());
        assert_eq!(Settled::by_status(ASKED, &SecretState::Missing, NOW), None);
        let gone = Observed { user: UserState::Missing, ..observed() };
        assert!(Settled::of(ASKED, &gone, NOW).is_none() && Awaited::of(ASKED, &gone, NOW).is_none());
        let without = Observed { secret: SecretState::Missing, ..observed() };
        assert_eq!(Settled::of(ASKED, &without, NOW), None);
        let awaited = [observed(), without].map(|observed| Awaited::of(ASKED, &observed, NOW));
        let versions = awaited.map(|awaited| awaited.map(|awaited| (awaited.secret_version, awaited.keys.len())));
        assert_eq!(versions, [Some((Some(version), 1)), Some((None, 1))]);
    }
}
