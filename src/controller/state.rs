//! The one state that a process keeps of its S3AccessUsers between two reconciles: behind a lock, by UID. How it changes is
//! said in [`crate::core::reads::known`].

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use secrecy::SecretString;
use sha2::{Digest, Sha256};

use crate::api::S3AccessUserStatus;
use crate::core::credential_report::KeyUse;
use crate::core::observed::{Minted, Observed};
use crate::core::reads::Reads;
use crate::core::reads::known::{Fingerprint, Kept, Known, Reported, Settled};

/// By UID, of which a digest is as good, and smaller. A table of boxes, since a third of a table is empty on average.
type ByUid = HashMap<UidDigest, Box<Known>>;

/// Half of a SHA-256, which nobody makes twice: what is known of one user is never another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct UidDigest([u8; 16]);

impl UidDigest {
    fn of(uid: &str) -> Self {
        let digest = Sha256::digest(uid);
        Self(std::array::from_fn(|index| digest[index]))
    }
}

/// What is known of all.
#[derive(Debug, Default)]
pub struct State {
    users: Mutex<ByUid>,
    /// Those whom only somebody's action helps.
    blocked: Mutex<HashSet<Box<str>>>,
    /// Those that are being reconciled, each with the newest resource version that the watch has shown meanwhile.
    running: Mutex<HashMap<String, u64>>,
}

impl State {
    /// A reconcile begins: it has a copy of the CR, and goes by what is written since.
    pub fn begun(&self, uid: &str) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), 0);
    }

    /// A reconcile ends, well or not.
    pub fn ended(&self, uid: &str, failed: bool) {
        self.change(uid, |known| known.ended(failed));
        if !failed {
            self.blocked(uid, false);
        }
        let watched = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
        self.drop_written(uid, watched.unwrap_or_default());
    }

    /// The watch has shown that resource version of the CR. Our own word of it need not be kept any longer, unless by the
    /// reconcile under way, which still has an older copy.
    pub fn watched(&self, uid: &str, version: u64) {
        if let Some(watched) = self.running.lock().unwrap_or_else(PoisonError::into_inner).get_mut(uid) {
            *watched = version.max(*watched);
            return;
        }
        self.drop_written(uid, version);
    }

    /// A write of ours has made that version and status of the CR.
    pub fn written(&self, uid: &str, version: Option<String>, status: &S3AccessUserStatus) {
        let version = version.and_then(|version| version.parse().ok());
        self.change(uid, |known| known.written(version, status));
    }

    /// IAM has made a key, which is in no Secret yet.
    pub fn minted(&self, uid: &str, minted: &Minted, half: &SecretString) {
        self.change(uid, |known| known.minted(minted, half));
    }

    /// The key is in the Secret, or deleted.
    pub fn unminted(&self, uid: &str, id: &str) {
        self.change(uid, |known| known.unminted(id));
    }

    /// The key is deleted.
    pub fn deleted(&self, uid: &str, id: &str) {
        self.change(uid, |known| known.deleted(id));
    }

    /// IAM and the Secret are about to be read, at that level.
    pub fn reading(&self, uid: &str, reads: Reads) {
        self.change(uid, |known| known.reading(reads));
    }

    /// What was read shows whether the new key is delivered.
    pub fn observed(&self, uid: &str, observed: &Observed) {
        self.change(uid, |known| known.observed(observed));
    }

    /// Everything that is attached to the user was read.
    pub fn attached(&self, uid: &str, attached: &BTreeSet<String>) {
        self.change(uid, |known| known.attached(attached));
    }

    /// The user's tags were read or written.
    pub fn tagged(&self, uid: &str, tags: &BTreeMap<String, String>) {
        self.change(uid, |known| known.tagged(tags));
    }

    /// A report tells of its key's use, or that it may have to be suspended. Answers whether there is anything to do.
    pub fn reported(&self, uid: &str, news: Option<KeyUse>, suspected_at: Option<Timestamp>) -> bool {
        let mut users = self.users();
        let uid = UidDigest::of(uid);
        if news.is_none() && suspected_at.is_none() && !users.contains_key(&uid) {
            return false;
        }
        users.entry(uid).or_default().reported(news, suspected_at)
    }

    /// The status tells what a report has said.
    pub fn told(&self, uid: &str) {
        self.change(uid, Known::told);
    }

    /// Whether its keys are used was decided, on what IAM says of each.
    pub fn judged(&self, uid: &str, again_at: Option<Timestamp>) {
        self.change(uid, |known| known.judged(again_at));
    }

    /// The first of the keys has to be inactive at that time; `None` where it is not known.
    pub fn ends(&self, uid: &str, at: Option<Timestamp>) {
        self.change(uid, |known| known.ends_at = at);
    }

    /// What new keys have shown so far is not asked again.
    pub fn probed(&self, uid: &str, observed: &Observed) {
        self.change(uid, |known| known.probed(observed));
    }

    /// The plan is carried out as far as it goes.
    pub fn carried_out(&self, uid: &str, kept: Kept) {
        self.change(uid, |known| known.carried_out(kept));
    }

    /// All is done.
    pub fn settled(&self, uid: &str, settled: Option<Settled>) {
        self.change(uid, |known| known.settled(settled));
    }

    /// Something is left to come.
    pub fn waits(&self, uid: &str) {
        self.change(uid, Known::waits);
    }

    /// After a start, status and Secret say that all is done.
    pub fn resumed(&self, uid: &str, settled: Settled, details: Fingerprint) {
        self.change(uid, |known| known.resumed(settled, details));
    }

    /// What a report says of its keys. Answers whether they are to be read.
    pub fn compared(&self, uid: &str, reported: &Reported) -> bool {
        self.users().get_mut(&UidDigest::of(uid)).is_some_and(|known| known.compared(reported))
    }

    /// The CR was held against that revision of its class, to the end.
    pub fn enforced(&self, uid: &str, revision: u64) {
        self.change(uid, |known| known.enforced(revision));
    }

    /// The revision of the class that the CR was last held against, to the end.
    pub fn enforced_revision(&self, uid: &str) -> Option<u64> {
        self.users().get(&UidDigest::of(uid))?.enforced_revision
    }

    /// The bulk read shows a difference: the next reconcile reads everything. Answers whether none would come before the
    /// next resync.
    pub fn suspect_drift(&self, uid: &str) -> bool {
        let mut users = self.users();
        let uid = UidDigest::of(uid);
        let is_known = users.contains_key(&uid);
        let known = users.entry(uid).or_default();
        known.suspect_drift() || !is_known
    }

    /// Whether only somebody's action helps the user. Answers how many there are of those.
    pub fn blocked(&self, uid: &str, is_blocked: bool) -> usize {
        let mut blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        if is_blocked {
            blocked.insert(uid.into());
        } else {
            blocked.remove(uid);
        }
        blocked.len()
    }

    /// The CR is gone.
    pub fn forget(&self, uid: &str) {
        self.blocked(uid, false);
        self.users().remove(&UidDigest::of(uid));
    }

    /// What is known of the user; nothing at first sight.
    pub fn known(&self, uid: &str) -> Known {
        self.users().get(&UidDigest::of(uid)).map(|known| Known::clone(known)).unwrap_or_default()
    }

    fn change(&self, uid: &str, change: impl FnOnce(&mut Known)) {
        change(self.users().entry(UidDigest::of(uid)).or_default());
    }

    fn drop_written(&self, uid: &str, watched: u64) {
        if let Some(known) = self.users().get_mut(&UidDigest::of(uid)) {
            known.watched(watched);
        }
    }

    fn users(&self) -> MutexGuard<'_, ByUid> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::iam::AccessKeyId;
    use crate::core::secret_data::Credentials;

    #[test]
    fn what_was_written_is_kept_until_the_watch_and_the_reconcile_under_way_have_it() {
        let state = State::default();
        let write = |version: u64| state.written("uid", Some(version.to_string()), &S3AccessUserStatus::default());
        let is_kept = || state.known("uid").last_written.is_some();
        state.begun("uid");
        write(6);
        state.watched("uid", 6);
        assert!(is_kept(), "the reconcile has a copy from before");
        write(7);
        state.ended("uid", false);
        assert!(is_kept(), "the watch is behind");
        state.watched("uid", 6);
        assert!(is_kept());
        state.watched("uid", 7);
        assert!(!is_kept());
        state.begun("uid");
        write(8);
        state.watched("uid", 9);
        state.ended("uid", false);
        assert!(!is_kept());
    }

    #[test]
    fn a_suspicion_is_cleared_by_reading_everything_and_by_nothing_less() {
        let state = State::default();
        assert!(state.suspect_drift("uid"), "nobody would reconcile it before its resync");
        for reads in [Reads::Secret, Reads::Probe, Reads::Keys, Reads::UserAndKeys] {
            state.reading("uid", reads);
            assert!(state.known("uid").drift_suspected, "{reads:?}");
        }
        state.reading("uid", Reads::Everything);
        assert!(!state.known("uid").drift_suspected);
    }

    #[test]
    fn invariant_1_nothing_that_holds_a_secret_key_shows_it_in_debug() {
        const SENTINEL: &str = "sentinel/secret+key";
        let state = State::default();
        let minted = Minted { id: "AKIA".to_owned(), created_at: Timestamp::UNIX_EPOCH };
        let secret_access_key = SecretString::from(SENTINEL);
        state.minted("uid", &minted, &secret_access_key);
        let credentials = Credentials {
            access_key_id: AccessKeyId::of_iam(&minted.id),
            secret_access_key: secret_access_key.clone(),
            token: None,
        };
        let created = crate::aws::CreatedKey { minted, secret: secret_access_key };
        let shown = format!("{state:?} {:?} {credentials:?} {created:?}", state.known("uid"));
        assert!(shown.contains("AKIA") && !shown.contains(SENTINEL), "{shown}");
    }
}
