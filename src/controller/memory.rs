//! What one process remembers between two looks at an S3AccessUser. All of it may be lost at any time: a minted key
//! that is forgotten is found in IAM, in no Secret, and deleted.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use secrecy::SecretString;

use super::vigil::Vigil;
use crate::api::S3AccessUserStatus;
use crate::core::observed::{Minted, Probes};

/// What is remembered of one S3AccessUser.
#[derive(Clone, Debug, Default)]
pub struct Remembered {
    /// A key that is in no Secret yet, with its secret half.
    pub minted: Option<Box<(Minted, SecretString)>>,
    /// What was seen of new keys at work, by id: one or two, for which a map would be large.
    pub probes: Box<[(String, Probes)]>,
    /// What was read when nothing but the key was left to wait for.
    pub vigil: Option<Box<Vigil>>,
    /// How often in a row a look ended short of done.
    pub failures: u32,
    /// The bulk sweep has seen a difference, and no look has read IAM since.
    pub suspect: bool,
    /// What was asked for, but for rotations, where user and policies are known to have been so: from the last look, or from
    /// the status after a restart.
    pub details: Option<u64>,
    /// The last look that ended with everything done.
    pub settled: Option<Settled>,
    /// The resource version of the CR that came of our last write to it, and its status then: until the watch has it, too.
    pub reported: Option<Box<(u64, S3AccessUserStatus)>>,
    /// The state of the class that the CR was last held against, to the end.
    pub held_against: Option<u64>,
    /// When the oldest of its keys has outlived what the class allows, as IAM showed them last.
    pub outlived_at: Option<Timestamp>,
}

impl Remembered {
    /// No look of this process has come to its end, and nothing is known but that it failed to.
    pub fn is_new(&self) -> bool {
        self.held_against.is_none() && self.minted.is_none() && !self.suspect
    }
}

/// A look that ended with everything done: until something changes or falls due, nobody need look again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The CR's generation and annotations and its class, as they were.
    pub asked: u64,
    /// The Secret's resource version.
    pub secret_version: String,
    /// When to look again.
    pub due_at: Timestamp,
}

/// By UID. A table of boxes, since a third of a table is empty on average.
type ByUid = HashMap<Box<str>, Box<Remembered>>;

/// The memory of all.
#[derive(Debug, Default)]
pub struct Memory {
    users: Mutex<ByUid>,
    /// Those whom only somebody's action helps.
    blocked: Mutex<HashSet<Box<str>>>,
    /// Those that are being looked at, each with the newest resource version that the watch has shown meanwhile.
    under_way: Mutex<HashMap<String, u64>>,
}

impl Memory {
    /// A look begins: it has a copy of the CR, and goes by what is reported since.
    pub fn begin(&self, uid: &str) {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), 0);
    }

    /// A look ends.
    pub fn end(&self, uid: &str) {
        let seen = self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
        self.drop_reported(uid, seen.unwrap_or_default());
    }

    /// The watch has shown that resource version of the CR. Our own word of it need not be kept any longer, unless by the
    /// look under way, which still has an older copy.
    pub fn watched(&self, uid: &str, version: u64) {
        if let Some(seen) = self.under_way.lock().unwrap_or_else(PoisonError::into_inner).get_mut(uid) {
            *seen = version.max(*seen);
            return;
        }
        self.drop_reported(uid, version);
    }

    fn drop_reported(&self, uid: &str, seen: u64) {
        if let Some(remembered) = self.users().get_mut(uid) {
            remembered.reported.take_if(|reported| reported.0 <= seen);
        }
    }

    fn users(&self) -> MutexGuard<'_, ByUid> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is remembered of the user; `None` at first sight.
    pub fn recall(&self, uid: &str) -> Option<Remembered> {
        self.users().get(uid).map(|remembered| Remembered::clone(remembered))
    }

    /// The state of the class that the user was last held against, to the end.
    pub fn held_against(&self, uid: &str) -> Option<u64> {
        self.users().get(uid)?.held_against
    }

    /// The bulk sweep has seen a difference: the next look reads everything. Answers whether none would be taken before
    /// the user's turn.
    pub fn suspect(&self, uid: &str) -> bool {
        let mut memory = self.users();
        let known = memory.contains_key(uid);
        let remembered = memory.entry(uid.into()).or_default();
        remembered.suspect = true;
        remembered.settled.is_some() || !known
    }

    /// Changes what is remembered of the user.
    pub fn update<T>(&self, uid: &str, change: impl FnOnce(&mut Remembered) -> T) -> T {
        let mut memory = self.users();
        change(memory.entry(uid.into()).or_default())
    }

    /// Whether only somebody's action helps the user. Answers how many there are of those.
    pub fn set_blocked(&self, uid: &str, is_blocked: bool) -> usize {
        let mut blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        if is_blocked {
            blocked.insert(uid.into());
        } else {
            blocked.remove(uid);
        }
        blocked.len()
    }

    /// Forgets the user.
    pub fn forget(&self, uid: &str) {
        self.set_blocked(uid, false);
        self.users().remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::iam::AccessKeyId;
    use crate::core::secret_data::Credentials;

    #[test]
    fn what_was_reported_is_kept_until_the_watch_and_the_look_under_way_have_it() {
        let memory = Memory::default();
        let report = |version| {
            let reported = Some(Box::new((version, S3AccessUserStatus::default())));
            memory.update("uid", |remembered| remembered.reported = reported);
        };
        let kept = || memory.recall("uid").is_some_and(|remembered| remembered.reported.is_some());
        memory.begin("uid");
        report(6);
        memory.watched("uid", 6);
        assert!(kept(), "the look has a copy from before");
        report(7);
        memory.end("uid");
        assert!(kept(), "the watch is behind");
        memory.watched("uid", 6);
        assert!(kept());
        memory.watched("uid", 7);
        assert!(!kept());
        memory.begin("uid");
        report(8);
        memory.watched("uid", 9);
        memory.end("uid");
        assert!(!kept());
    }

    #[test]
    fn invariant_1_nothing_that_holds_a_secret_key_shows_it_in_debug() {
        const SENTINEL: &str = "sentinel/secret+key";
        let memory = Memory::default();
        let minted = Minted { id: "AKIA".to_owned(), created_at: Timestamp::UNIX_EPOCH };
        memory.update("uid", |remembered| {
            remembered.minted = Some(Box::new((minted.clone(), SecretString::from(SENTINEL))))
        });
        let secret_access_key = SecretString::from(SENTINEL);
        let credentials = Credentials {
            access_key_id: AccessKeyId::of_iam(&minted.id),
            secret_access_key: secret_access_key.clone(),
        };
        let created = crate::aws::CreatedKey { minted, secret: secret_access_key };
        let shown = format!("{memory:?} {:?} {credentials:?} {created:?}", memory.recall("uid"));
        assert!(shown.contains("AKIA") && !shown.contains(SENTINEL), "{shown}");
    }
}
