//! The one state that a process keeps of its S3AccessUsers between two reconciles: behind a lock, by UID. How it changes is
//! said in [`crate::core::reads::known`].

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::api::S3AccessUserStatus;
use crate::core::credential_report::KeyUse;
use crate::core::reads::known::{Known, Reported};

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
            self.all_blocked().remove(uid);
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

    /// A report tells of its key's use, or that it may have to be suspended. Answers whether there is anything to do.
    pub fn reported(&self, uid: &str, news: Option<KeyUse>, suspected_at: Option<Timestamp>) -> bool {
        let mut users = self.users();
        let uid = UidDigest::of(uid);
        if news.is_none() && suspected_at.is_none() && !users.contains_key(&uid) {
            return false;
        }
        users.entry(uid).or_default().reported(news, suspected_at)
    }

    /// What a report says of its keys. Answers whether they are to be read.
    pub fn compared(&self, uid: &str, reported: &Reported) -> bool {
        self.users().get_mut(&UidDigest::of(uid)).is_some_and(|known| known.compared(reported))
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

    /// Only somebody's action helps the user.
    pub fn block(&self, uid: &str) {
        self.all_blocked().insert(uid.into());
    }

    /// How many there are whom only somebody's action helps.
    pub fn blocked_count(&self) -> usize {
        self.all_blocked().len()
    }

    /// The CR is gone.
    pub fn forget(&self, uid: &str) {
        self.all_blocked().remove(uid);
        self.users().remove(&UidDigest::of(uid));
    }

    /// A copy of all that is known of the user; nothing at first sight.
    pub fn known(&self, uid: &str) -> Known {
        self.with(uid, Known::clone)
    }

    /// Reads something of what is known of the user. The state is locked meanwhile, so that `read` must not ask it again.
    pub fn with<T>(&self, uid: &str, read: impl FnOnce(&Known) -> T) -> T {
        match self.users().get(&UidDigest::of(uid)) {
            Some(known) => read(known),
            None => read(&Known::default()),
        }
    }

    /// Changes what is known of the user, by one of the names that [`Known`] has for that. The state is locked meanwhile, so
    /// that `change` must not ask it again.
    pub fn change(&self, uid: &str, change: impl FnOnce(&mut Known)) {
        change(self.users().entry(UidDigest::of(uid)).or_default());
    }

    fn drop_written(&self, uid: &str, watched: u64) {
        if let Some(known) = self.users().get_mut(&UidDigest::of(uid)) {
            known.watched(watched);
        }
    }

    fn all_blocked(&self) -> MutexGuard<'_, HashSet<Box<str>>> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn users(&self) -> MutexGuard<'_, ByUid> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::core::iam::AccessKeyId;
    use crate::core::observed::Minted;
    use crate::core::reads::Reads;
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
            state.change("uid", |known| known.reading(reads));
            assert!(state.known("uid").drift_suspected, "{reads:?}");
        }
        state.change("uid", |known| known.reading(Reads::Everything));
        assert!(!state.known("uid").drift_suspected);
    }

    #[test]
    fn invariant_1_nothing_that_holds_a_secret_key_shows_it_in_debug() {
        const SENTINEL: &str = "sentinel/secret+key";
        let state = State::default();
        let minted = Minted { id: "AKIA".to_owned(), created_at: Timestamp::UNIX_EPOCH };
        let secret_access_key = SecretString::from(SENTINEL);
        state.change("uid", |known| known.minted(&minted, &secret_access_key));
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
