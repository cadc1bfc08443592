//! What is: everything there is to know before a decision.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::adoption::Adoption;
use super::iam::{AccessKey, AccessKeyId};
use super::policy::Document;
use super::sessions::HeldSession;
use crate::api::{Workload, tags};

/// An IAM user with all that hangs on it.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// Its ARN.
    pub arn: String,
    /// Its path.
    pub path: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The ARN of its permissions boundary.
    pub boundary: Option<String>,
    /// Its access keys; the inactive ones too.
    pub keys: Vec<AccessKey>,
    /// The ARNs of its attached managed policies.
    pub attached: BTreeSet<String>,
    /// Those of its inline policies that were asked for.
    pub inline: BTreeMap<String, Document>,
    /// Of a user that was adopted by force: its groups and other inline policies, in words.
    pub beside: BTreeSet<String>,
}

/// The IAM user of that name.
#[derive(Clone, Debug, PartialEq)]
pub enum UserState {
    /// Not read: the CR has no finalizer, so nothing was ever made for it.
    Unread,
    /// IAM says NoSuchEntity.
    Missing,
    /// It is there.
    Present(Box<User>),
    /// This pass has deleted it: unlike Missing, that needs no second read.
    Deleted,
}

/// A version of a managed policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyVersion {
    /// `v1`, `v2`, ...
    pub id: String,
    /// The one in force.
    pub is_default: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A customer managed policy.
#[derive(Clone, Debug, PartialEq)]
pub struct ManagedPolicy {
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The default version's document.
    pub document: Document,
    /// Its versions; read only where the document has to change.
    pub versions: Vec<PolicyVersion>,
}

/// A managed policy at an ARN.
#[derive(Clone, Debug, PartialEq)]
pub enum PolicyState {
    /// IAM says NoSuchEntity.
    Missing,
    /// It is there.
    Present(ManagedPolicy),
    /// This pass has deleted it: unlike Missing, that needs no second read.
    Deleted,
}

/// Where a Secret of an S3AccessUser is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the operator's namespace, under a name made of the UID: the key whose sessions the workload has.
    Keys,
    /// In the S3AccessUser's namespace, under that name.
    Workload(String),
}

/// The key that a Secret of ours holds, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldKey {
    /// Its id.
    pub id: AccessKeyId,
    /// IAM's CreateDate, as recorded on the Secret.
    pub created_at: Option<Timestamp>,
    /// The account, as recorded on the Secret.
    pub account_id: Option<String>,
}

/// A Secret of our S3AccessUser: one that it controls, or its own in the operator's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OurSecret {
    /// Its UID, the precondition of its deletion.
    pub uid: String,
    /// The precondition of its update.
    pub resource_version: String,
    /// The key it holds; `None` where the data is emptied or altered so that no working key is in it.
    pub key: Option<HeldKey>,
    /// The session that it holds instead, unaltered.
    pub session: Option<Box<HeldSession>>,
    /// The operator's annotations are there.
    pub annotated: bool,
    /// The key that it held before.
    pub previous: Option<AccessKeyId>,
    /// When the key was swapped.
    pub rotated_at: Option<Timestamp>,
    /// The rotate annotation that the key answers to.
    pub rotate_handled: Option<String>,
    /// The orphan key that is about to be deleted: noted first, so that another leader's write of that key conflicts.
    pub orphan_to_delete: Option<AccessKeyId>,
    /// Data, labels and annotations are what the spec and the key make of them.
    pub up_to_date: bool,
    /// Kubernetes lets nobody write it any more.
    pub immutable: bool,
}

/// A live read of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretState {
    /// Kubernetes says NotFound.
    Missing,
    /// It is not ours to write.
    Foreign {
        /// The other S3AccessUser that controls it.
        other_user: Option<String>,
    },
    /// It is ours.
    Ours(OurSecret),
}

impl SecretState {
    /// The Secret, where it is ours.
    pub fn ours(&self) -> Option<&OurSecret> {
        match self {
            Self::Ours(secret) => Some(secret),
            Self::Missing | Self::Foreign { .. } => None,
        }
    }
}

/// A workload that is restarted for a new key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkloadState {
    /// Kubernetes says NotFound.
    Missing,
    /// Kubernetes does not let the operator see or change it; in words.
    Denied(String),
    /// A request failed, and another one may not; in words.
    Failed(String),
    /// It is there.
    Present {
        /// The precondition of its change.
        resource_version: String,
        /// When it was made.
        created_at: Timestamp,
        /// The key that its pods were started with, as far as the operator has noted it.
        key: Option<String>,
    },
}

/// A key that this process made and that is in no Secret yet. The secret half stays in the shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minted {
    /// Its id.
    pub id: String,
    /// IAM's CreateDate.
    pub created_at: Timestamp,
}

/// What this process has seen of a key at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probes {
    /// How often in a row AWS accepted it.
    pub successes: u32,
    /// When the key was made or first tried, by this process's clock: IAM's may be another.
    pub since: Timestamp,
    /// The last attempt.
    pub last: Timestamp,
}

/// Everything there is to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The CR carries our finalizer.
    pub finalizer: bool,
    /// The CR's status says that all is done: what has to be taken back before a new key is made.
    pub announced_settled: bool,
    /// The hint of `status.retiringKey`.
    pub retiring_hint: Option<String>,
    /// The account in which something was made, by the status and the Secret, where that is another one than the owner's:
    /// a hint that only holds up what would be begun or let go in the wrong account.
    pub account_elsewhere: Option<String>,
    /// The record of the last revocation, as this process has written or seen it: a replica of IAM may show an earlier one.
    pub revoked: Option<String>,
    /// The record of [`tags::UNUSED`], as this process knows it.
    pub unused: Option<String>,
    /// The policies by which AWS says that it has found a key of the user in public, as they were read last: ARNs.
    pub quarantine: Vec<String>,
    /// The IAM user.
    pub user: UserState,
    /// When this process has first seen that the CR is being deleted.
    pub deletion_seen: Option<Timestamp>,
    /// The managed policies that were asked for, by ARN: the wanted one and the recorded ones.
    pub policies: BTreeMap<String, PolicyState>,
    /// The Secret that the key belongs into: the workload's, or, where that has sessions, the operator's own.
    pub secret: SecretState,
    /// The workload's Secret, where that has sessions.
    pub session: Option<SecretState>,
    /// An attempt to renew the session has failed in this pass.
    pub unrenewed: bool,
    /// Why the workload's Secret cannot be rendered as the spec asks, where it is to be written.
    pub unrenderable: Option<String>,
    /// Secrets of ours in other places: `spec.secret.name` or `spec.accessKey.mode` was changed.
    pub renamed: BTreeMap<Place, OurSecret>,
    /// The workloads that the spec names.
    pub workloads: BTreeMap<Workload, WorkloadState>,
    /// A key of this process that is in no Secret yet.
    pub minted: Option<Minted>,
    /// What was seen of new keys at work, by id.
    pub probes: BTreeMap<String, Probes>,
    /// IAM's GetAccessKeyLastUsed of the retiring key, where it was asked: `(id, last use)`.
    pub last_used: Option<(String, Option<Timestamp>)>,
    /// DeleteUser said DeleteConflict.
    pub leftovers: bool,
    /// What DeleteUser may have found in its way was removed in this pass.
    pub cleared: bool,
}

impl OurSecret {
    /// One that is as it should be, with that key, which was never replaced.
    pub fn intact(resource_version: String, key: Option<HeldKey>) -> Self {
        Self {
            uid: String::new(),
            resource_version,
            key,
            session: None,
            annotated: true,
            previous: None,
            rotated_at: None,
            rotate_handled: None,
            orphan_to_delete: None,
            up_to_date: true,
            immutable: false,
        }
    }
}

impl Observed {
    /// A CR that was never acted upon.
    pub fn nothing() -> Self {
        Self {
            finalizer: false,
            announced_settled: false,
            retiring_hint: None,
            unused: None,
            account_elsewhere: None,
            revoked: None,
            quarantine: Vec::new(),
            user: UserState::Unread,
            deletion_seen: None,
            policies: BTreeMap::new(),
            secret: SecretState::Missing,
            session: None,
            unrenewed: false,
            unrenderable: None,
            renamed: BTreeMap::new(),
            workloads: BTreeMap::new(),
            minted: None,
            probes: BTreeMap::new(),
            last_used: None,
            leftovers: false,
            cleared: false,
        }
    }

    /// The IAM user, where it is there.
    pub fn user(&self) -> Option<&User> {
        match &self.user {
            UserState::Present(user) => Some(user),
            UserState::Unread | UserState::Missing | UserState::Deleted => None,
        }
    }

    /// The Secret that the key belongs into, where it is ours.
    pub fn our_secret(&self) -> Option<&OurSecret> {
        self.secret.ours()
    }

    /// The workload's Secret.
    pub fn delivered(&self) -> &SecretState {
        self.session.as_ref().unwrap_or(&self.secret)
    }

    /// The key that a Secret of ours holds: where it belongs, else where it was before.
    pub fn held(&self) -> Option<(&OurSecret, &HeldKey)> {
        self.all_held().next()
    }

    /// The keys that Secrets of ours hold: first where it belongs, then where it was before.
    pub fn all_held(&self) -> impl Iterator<Item = (&OurSecret, &HeldKey)> {
        let before = self.session.iter().filter_map(SecretState::ours).chain(self.renamed.values());
        self.our_secret().into_iter().chain(before).filter_map(|secret| Some((secret, secret.key.as_ref()?)))
    }

    /// Whether a workload may have that key itself, though it is to have sessions only.
    pub fn is_exposed(&self, id: &str) -> bool {
        let Some(session) = &self.session else { return false };
        let workloads = session.ours().into_iter().chain(self.renamed.values());
        workloads.filter_map(|secret| secret.key.as_ref()).any(|key| *key.id == *id)
    }

    /// A key that a Secret holds has been delivered, also where the answer to that write was lost: it is no longer a new
    /// one on its way, to be swapped in or given up.
    pub fn forget_delivered(&mut self) {
        let held = self.held().map(|(_, key)| key.id.clone());
        self.minted.take_if(|minted| held.as_ref().is_some_and(|held| *held == minted.id));
    }
}

/// The policies that the operator made, by the tags of their user: `managed:…` or `inline:…`.
pub fn policy_records(tags: &BTreeMap<String, String>) -> impl Iterator<Item = &str> {
    [tags::POLICY, tags::PREVIOUS_POLICY].into_iter().filter_map(|tag| tags.get(tag)).map(String::as_str)
}

impl User {
    /// The records of the policies that the operator made.
    pub fn policy_records(&self) -> impl Iterator<Item = &str> {
        policy_records(&self.tags)
    }

    /// Whether the key was made by us: those that are older than the user's adoption were made by somebody else, for
    /// somebody else.
    pub fn is_ours(&self, key: &AccessKey) -> bool {
        Adoption::of(&self.tags).owns(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policies_that_were_made_are_told_by_the_tags() {
        let tags = [(tags::POLICY, "managed:/a"), (tags::PREVIOUS_POLICY, "inline:b"), ("team", "c")];
        let tags: BTreeMap<_, _> = tags.map(|(tag, value)| (tag.to_owned(), value.to_owned())).into();
        assert_eq!(policy_records(&tags).collect::<Vec<_>>(), ["managed:/a", "inline:b"]);
        let user = User {
            arn: String::new(),
            path: "/".to_owned(),
            tags,
            boundary: None,
            keys: Vec::new(),
            attached: BTreeSet::new(),
            inline: BTreeMap::new(),
            beside: BTreeSet::new(),
        };
        assert_eq!(user.policy_records().collect::<Vec<_>>(), ["managed:/a", "inline:b"]);
    }
}
