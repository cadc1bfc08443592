//! What one process remembers between two looks at an S3AccessUser. All of it may be lost at any time: a minted key
//! that is forgotten is found in IAM, in no Secret, and deleted.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use secrecy::SecretString;

use crate::api::S3AccessUserStatus;
use crate::core::observed::{Minted, Probes};

/// What is remembered of one S3AccessUser.
#[derive(Clone, Debug, Default)]
pub struct Remembered {
    /// A key that is in no Secret yet, with its secret half.
    pub minted: Option<(Minted, SecretString)>,
    /// What was seen of new keys at work, by id.
    pub probes: BTreeMap<String, Probes>,
    /// How often in a row a look ended short of done.
    pub failures: u32,
    /// The last look that ended with everything done.
    pub settled: Option<Settled>,
    /// The resource version of the CR that came of our last write to it, and its status then: the watch may be behind.
    pub reported: Option<(u64, S3AccessUserStatus)>,
    /// The state of the class that the CR was last held against, to the end.
    pub held_against: Option<u64>,
    /// For a CR that does not fit the schema: the error that its status tells.
    pub invalid: Option<String>,
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

/// The memory of all, by UID.
#[derive(Debug, Default)]
pub struct Memory(Mutex<HashMap<String, Remembered>>);

impl Memory {
    /// What is remembered of the user; `None` at first sight.
    pub fn recall(&self, uid: &str) -> Option<Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned()
    }

    /// The state of the class that the user was last held against, to the end.
    pub fn held_against(&self, uid: &str) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(uid)?.held_against
    }

    /// Changes what is remembered of the user.
    pub fn update<T>(&self, uid: &str, change: impl FnOnce(&mut Remembered) -> T) -> T {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(memory.entry(uid.to_owned()).or_default())
    }

    /// Forgets the user.
    pub fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::secret_data::Credentials;

    #[test]
    fn invariant_1_nothing_that_holds_a_secret_key_shows_it_in_debug() {
        const SENTINEL: &str = "sentinel/secret+key";
        let memory = Memory::default();
        let minted = Minted { id: "AKIA".to_owned(), created_at: Timestamp::UNIX_EPOCH };
        memory.update("uid", |remembered| remembered.minted = Some((minted.clone(), SecretString::from(SENTINEL))));
        let secret_access_key = SecretString::from(SENTINEL);
        let credentials =
            Credentials { access_key_id: minted.id.clone(), secret_access_key: secret_access_key.clone() };
        let created = crate::aws::CreatedKey { minted, secret: secret_access_key };
        let shown = format!("{memory:?} {:?} {credentials:?} {created:?}", memory.recall("uid"));
        assert!(shown.contains("AKIA") && !shown.contains(SENTINEL), "{shown}");
    }
}
