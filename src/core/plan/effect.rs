//! How each action changes what is observed, by its documented effect: the model of the world that makes the plan a fixed
//! point. Plan, act, record, plan again, until nothing is left to do. No read is needed in between, and the same function
//! drives the `plan` command and the model checks.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Action, SecretRecord};
use crate::core::desired::Owner;
use crate::core::iam::{AccessKey, AccessKeyId};
use crate::core::observed::{
    HeldKey, ManagedPolicy, Minted, Observed, OurSecret, PolicyState, Probes, SecretState, User, UserState,
    WorkloadState,
};
use crate::core::sessions::HeldSession;

/// What an action led to.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// It was done.
    Done,
    /// CreateUser's answer: the ARN.
    UserCreated(String),
    /// CreateAccessKey's answer, less the secret.
    KeyCreated(Minted),
    /// Whether AWS accepted the key.
    Probed(bool),
    /// When the key was last used.
    LastUsed(Option<Timestamp>),
    /// The Secret's new UID and resource version.
    SecretWritten {
        /// Its UID.
        uid: String,
        /// Its resource version.
        resource_version: String,
    },
    /// STS has answered, and the workload's Secret is written.
    Renewed {
        /// The Secret's UID.
        uid: String,
        /// Its resource version.
        resource_version: String,
        /// What it holds.
        session: HeldSession,
    },
    /// The session could not be renewed; the rest goes on.
    NotRenewed,
    /// The workload, as the attempt to mark it has left it.
    Workload(WorkloadState),
    /// DeleteUser said DeleteConflict.
    DeleteConflict,
    /// DeleteUser said NoSuchEntity, as a replica does that has not heard of the user yet.
    NoSuchUser,
}

impl Observed {
    /// Brings the picture up to date after an action, as IAM and Kubernetes do by their documented effects.
    pub fn record(&mut self, owner: &Owner, action: &Action, effect: &Effect, now: Timestamp) {
        match (action, effect) {
            (Action::AddFinalizer, _) => self.finalizer = true,
            (Action::RemoveFinalizer, _) => self.finalizer = false,
            (Action::Announce(_), _) => self.announced_settled = false,
            (Action::CreateUser { tags, boundary }, Effect::UserCreated(arn)) => {
                self.user = UserState::Present(Box::new(User {
                    arn: arn.clone(),
                    path: owner.path.clone(),
                    tags: tags.clone(),
                    boundary: boundary.clone(),
                    keys: Vec::new(),
                    attached: BTreeSet::new(),
                    inline: BTreeMap::new(),
                    beside: BTreeSet::new(),
                }));
            }
            (Action::DeleteUser, Effect::DeleteConflict) => self.leftovers = true,
            (Action::DeleteUser, Effect::NoSuchUser) => self.user = UserState::Missing,
            (Action::DeleteUser, _) => self.user = UserState::Deleted,
            (Action::ClearLeftovers, _) => (self.leftovers, self.cleared) = (false, true),
            (Action::WriteSecret { key_id, record }, Effect::SecretWritten { uid, resource_version }) => {
                let account_id = Some(owner.account.id.clone());
                let key = HeldKey { id: AccessKeyId::of_iam(key_id), created_at: record.created_at, account_id };
                self.record_secret(key, record, uid, resource_version);
            }
            (Action::MarkWorkload { workload, .. }, Effect::Workload(state)) => {
                self.workloads.insert(workload.clone(), state.clone());
            }
            (Action::RenewSession { .. }, Effect::Renewed { uid, resource_version, session }) => {
                let written = written(None, &SecretRecord::default(), uid, resource_version);
                self.session =
                    Some(SecretState::Ours(OurSecret { session: Some(Box::new(session.clone())), ..written }));
            }
            (Action::RenewSession { .. }, _) => self.unrenewed = true,
            (Action::DeleteSecret { place, .. }, _) => {
                self.renamed.remove(place);
            }
            (Action::ProbeKey { id }, Effect::Probed(usable)) => {
                let probes = self.probes.entry(id.clone()).or_insert(Probes { successes: 0, since: now, last: now });
                probes.successes = if *usable { probes.successes + 1 } else { 0 };
                probes.last = now;
            }
            (Action::ReadLastUsed { id }, Effect::LastUsed(time)) => self.last_used = Some((id.clone(), *time)),
            (Action::CreateAccessKey, Effect::KeyCreated(minted)) => {
                let key = AccessKey { id: minted.id.clone(), active: true, created_at: minted.created_at };
                // Not tried yet, and to be tried whatever the clocks say of its age.
                self.probes.insert(minted.id.clone(), Probes { successes: 0, since: now, last: Timestamp::MIN });
                self.minted = Some(minted.clone());
                self.with_user(|user| user.keys.push(key));
            }
            _ => {
                record_on_policies(&mut self.policies, owner, action);
                self.with_user(|user| record_on_user(user, action));
            }
        }
        if let Action::DeleteKey { id, .. } = action {
            self.probes.remove(id);
            self.minted.take_if(|minted| minted.id == *id);
        }
    }

    fn record_secret(&mut self, key: HeldKey, record: &SecretRecord, uid: &str, resource_version: &str) {
        self.minted.take_if(|minted| key.id == minted.id);
        self.secret = SecretState::Ours(written(Some(key), record, uid, resource_version));
    }

    fn with_user(&mut self, change: impl FnOnce(&mut User)) {
        if let UserState::Present(user) = &mut self.user {
            change(user);
        }
    }
}

/// A Secret as it is written.
fn written(key: Option<HeldKey>, record: &SecretRecord, uid: &str, resource_version: &str) -> OurSecret {
    OurSecret {
        uid: uid.to_owned(),
        resource_version: resource_version.to_owned(),
        key,
        session: None,
        annotated: true,
        previous: record.previous.clone(),
        rotated_at: record.rotated_at,
        rotate_handled: record.rotate_handled.clone(),
        orphan_to_delete: record.orphan_to_delete.clone(),
        up_to_date: true,
        immutable: false,
    }
}

fn record_on_policies(policies: &mut BTreeMap<String, PolicyState>, owner: &Owner, action: &Action) {
    let mut change = |arn: &str, change: &dyn Fn(&mut ManagedPolicy)| {
        if let Some(PolicyState::Present(policy)) = policies.get_mut(arn) {
            change(policy);
        }
    };
    match action {
        Action::TagPolicy { arn, tags } => change(arn, &|policy| policy.tags.extend(tags.clone())),
        Action::DeletePolicyVersion { arn, version } => {
            change(arn, &|policy| policy.versions.retain(|found| found.id != *version));
        }
        Action::CreatePolicyVersion { arn, document } => change(arn, &|policy| policy.document = document.clone()),
        Action::CreatePolicy { arn, document } => {
            let policy =
                ManagedPolicy { tags: owner.identity.tags(), document: document.clone(), versions: Vec::new() };
            policies.insert(arn.clone(), PolicyState::Present(policy));
        }
        Action::DeletePolicy { arn } => {
            policies.insert(arn.clone(), PolicyState::Deleted);
        }
        _ => {}
    }
}

fn record_on_user(user: &mut User, action: &Action) {
    match action {
        Action::MoveUser { path } => {
            user.arn = user.arn.replacen(&format!(":user{}", user.path), &format!(":user{path}"), 1);
            user.path.clone_from(path);
        }
        Action::TagUser(tags) => user.tags.extend(tags.clone()),
        Action::UntagUser(keys) => user.tags.retain(|key, _| !keys.contains(key)),
        Action::PutBoundary(arn) => user.boundary = Some(arn.clone()),
        Action::DeleteBoundary => user.boundary = None,
        Action::AttachPolicy(arn) => {
            user.attached.insert(arn.clone());
        }
        Action::DetachPolicy(arn) => {
            user.attached.remove(arn);
        }
        Action::PutInlinePolicy { name, document } => {
            user.inline.insert(name.clone(), document.clone());
        }
        Action::DeleteInlinePolicy { name } => {
            user.inline.remove(name);
        }
        Action::SetKeyStatus { id, active } => {
            if let Some(key) = user.keys.iter_mut().find(|key| key.id == *id) {
                key.active = *active;
            }
        }
        Action::DeleteKey { id, .. } => user.keys.retain(|key| key.id != *id),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
