//! What the operator must never do, looked at right before each of its writes; and how a world ended.

use std::collections::BTreeMap;

use ground::double::{AccessKey, Operation, Request, Status, User};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use s3_access_operator::api::{AccessKeyStatus, Adoption, Duration, S3AccessUser, secret_annotations, tags};
use s3_access_operator::core::class::Class;
use s3_access_operator::core::ends::revocation::Revocation;
use s3_access_operator::core::names::{key_secret, workload_annotation};

use crate::cluster::{ClassState, NAMESPACE, OPERATORS_NAMESPACE};
use crate::outside::{CLUSTER_ID, State};

/// The key that a Secret names and its secret half, wherever in the data it stands.
pub fn held(secret: &Secret) -> Option<(String, Vec<String>)> {
    let id = secret.annotations().get(secret_annotations::ACCESS_KEY_ID)?.clone();
    let data = secret.data.iter().flatten();
    Some((id, data.map(|(_, value)| String::from_utf8_lossy(&value.0).into_owned()).collect()))
}

/// The Secret really holds a key: its id and its very secret half.
pub fn holds(secret: &Secret, key: &AccessKey) -> bool {
    let data = secret.data.iter().flatten();
    let texts: Vec<String> = data.map(|(_, value)| String::from_utf8_lossy(&value.0).into_owned()).collect();
    [&key.id, &key.secret].into_iter().all(|half| texts.iter().any(|text| text.contains(half.as_str())))
}

/// A Secret with the key of somebody's sessions.
pub fn is_in_operators_namespace(secret: &Secret) -> bool {
    secret.namespace().as_deref() == Some(OPERATORS_NAMESPACE)
}

fn tag<'a>(user: &'a User, key: &str) -> Option<&'a str> {
    user.tags.values().find(|tag| tag.key == key).map(|tag| tag.value.as_str())
}

fn wants_a_working_key(user: &S3AccessUser) -> bool {
    let spec = &user.spec;
    user.metadata.deletion_timestamp.is_none() && !spec.suspend && spec.access_key.status == AccessKeyStatus::Active
}

/// Whether the time is over that the spec or the class has set.
fn is_over(class: Option<&ClassState>, user: &S3AccessUser, now: Timestamp) -> bool {
    let created_at = user.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let longest = class.and_then(|state| state.class.as_ref()?.spec.max_lifetime).map(Duration::signed);
    let by_class = created_at.zip(longest).map(|(created_at, longest)| created_at + longest);
    let by_spec = user.spec.expires_at.as_ref().map(|time| time.0);
    by_class.into_iter().chain(by_spec).any(|at| at <= now)
}

/// Whether the class takes back all that the user has.
fn is_expelled(class: Option<&ClassState>, user: &S3AccessUser) -> bool {
    let class = class.and_then(|state| state.class.as_ref());
    class.is_some_and(|class| !Class::of(class, NAMESPACE, &BTreeMap::new()).expulsions(&user.spec).is_empty())
}

impl State {
    fn violate(&mut self, invariant: u8, what: impl std::fmt::Display) {
        self.violations.push(format!("invariant {invariant}: {what}"));
    }

    /// The CR that an IAM user belongs to, by the proof that the operator has to hold it to.
    fn owner_of(&self, user: &User) -> Option<&S3AccessUser> {
        if tag(user, tags::CLUSTER) != Some(CLUSTER_ID) {
            return None;
        }
        let uid = tag(user, tags::UID)?;
        self.cluster.users.values().find(|found| found.uid().as_deref() == Some(uid))
    }

    /// An S3AccessUser asks for an IAM user of that name, whoever made it, and its class lets it.
    fn forces_adoption(&self, name: &str) -> bool {
        let class = self.cluster.class.as_ref().and_then(|state| state.class.as_ref());
        let asks =
            |user: &S3AccessUser| user.spec.user_name.as_deref() == Some(name) && user.spec.adoption == Adoption::Force;
        class.is_some_and(|class| class.spec.allow_force_adoption) && self.cluster.users.values().any(asks)
    }

    /// Looks at the id of a key that AWS is called with: a tenant may have written it.
    pub fn judge_id(&mut self, id: &str) {
        let plausible =
            (1..=128).contains(&id.len()) && id.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
        if !plausible {
            self.violate(
                9,
                format_args!("AWS was called with {:?} for a key", id.chars().take(80).collect::<String>()),
            );
        }
    }

    /// Looks at a call to IAM before it takes effect.
    pub fn judge_call(&mut self, process: usize, request: &Request) {
        let operation = request.operation();
        let whose = (process, request.target().to_owned());
        if let Request::DeleteAccessKey { access_key_id, .. }
        | Request::UpdateAccessKey { access_key_id, .. }
        | Request::GetAccessKeyLastUsed { access_key_id } = request
        {
            self.judge_id(access_key_id);
        }
        match operation {
            // A new user has none; and who deletes a key by its id has had the answer to its creation.
            Operation::ListAccessKeys | Operation::CreateUser | Operation::DeleteAccessKey => {
                self.blind.remove(&whose);
            }
            // CreateAccessKey has no token: after one whose answer was lost, another one makes a second key.
            Operation::CreateAccessKey if !self.blind.insert(whose) => {
                self.violate(2, format_args!("a second key for {} without a read of the first", request.target()));
            }
            _ => {}
        }
        if !operation.is_write() || operation == Operation::CreateUser {
            return;
        }
        let name = match request {
            Request::AttachUserPolicy { user_name, .. } | Request::DetachUserPolicy { user_name, .. } => user_name,
            _ => request.target(),
        };
        let Some(user) = self.user(name).cloned() else {
            self.judge_policy(request);
            return;
        };
        let owner = self.owner_of(&user).cloned();
        let adopts = operation == Operation::TagUser
            && (tag(&user, tags::CLUSTER) == Some(CLUSTER_ID)
                || tag(&user, tags::CLUSTER).is_none() && self.forces_adoption(name));
        // Retained by one leader while another was about to: nobody's by now, and still of this cluster.
        let retained = tag(&user, tags::UID).is_none() && tag(&user, tags::CLUSTER) == Some(CLUSTER_ID);
        if owner.is_none() && !adopts && !retained {
            self.violate(4, format_args!("{operation} on user {name}, which no S3AccessUser owns"));
        }
        let takes_down =
            [Operation::DetachUserPolicy, Operation::DeleteUserPolicy, Operation::UntagUser, Operation::DeleteUser];
        let deleting = owner.as_ref().is_some_and(|owner| owner.metadata.deletion_timestamp.is_some());
        if deleting && takes_down.contains(&operation) && !user.keys.is_empty() && !retains_strangers(&user) {
            self.violate(10, format_args!("{operation} before the keys of {name} are gone"));
        }
        match request {
            Request::DeleteAccessKey { access_key_id, .. } | Request::UpdateAccessKey { access_key_id, .. }
                if self.strangers.contains(access_key_id) =>
            {
                self.violate(4, format_args!("{operation} of a stranger's key"));
            }
            Request::DeleteAccessKey { access_key_id, .. }
            | Request::UpdateAccessKey { access_key_id, status: Status::Inactive, .. } => {
                self.judge_revocation(&user, access_key_id, owner.as_ref());
            }
            _ => {}
        }
    }

    fn judge_policy(&mut self, request: &Request) {
        let arn = match request {
            Request::DeletePolicy { policy_arn }
            | Request::TagPolicy { policy_arn, .. }
            | Request::CreatePolicyVersion { policy_arn, .. }
            | Request::DeletePolicyVersion { policy_arn, .. } => policy_arn,
            _ => return,
        };
        let iam = self.aws.account(crate::outside::ACCOUNT);
        let Some(policy) = iam.and_then(|iam| iam.state().policy(arn).ok()).cloned() else { return };
        let value = |key: &str| policy.tags.values().find(|tag| tag.key == key).map(|tag| tag.value.clone());
        let uids: Vec<Option<String>> = self.cluster.users.values().map(ResourceExt::uid).collect();
        let ours = value(tags::CLUSTER).as_deref() == Some(CLUSTER_ID)
            && (uids.contains(&value(tags::UID)) || matches!(request, Request::TagPolicy { .. }));
        if !ours {
            self.violate(4, format_args!("{} on policy {arn}, which no S3AccessUser owns", request.operation()));
        }
    }

    /// A key that a Secret holds works until its successor is there, or it has become older than its class lets it, or was
    /// revoked.
    fn judge_revocation(&mut self, user: &User, id: &str, owner: Option<&S3AccessUser>) {
        let Some(key) = user.keys.iter().find(|key| key.id == id) else { return };
        let class = self.cluster.class.as_ref();
        let longest = class.and_then(|class| class.class.as_ref()?.spec.rotation.as_ref()?.max_interval);
        let outlived = longest.is_some_and(|longest| self.now.duration_since(key.created) > longest.signed());
        let revoked = self.revoked_at.is_some_and(|revoked_at| key.created <= revoked_at);
        let wanted = owner.is_some_and(|owner| {
            wants_a_working_key(owner) && !is_expelled(class, owner) && !is_over(class, owner, self.now + self.skew)
        });
        let unused = tag(user, tags::UNUSED).is_some_and(|record| record.starts_with("off"));
        let wanted = wanted && !outlived && !revoked && !unused;
        let requires = class.and_then(|class| class.class.as_ref()).is_some_and(|class| class.spec.require_session);
        let keeps = |secret: &&Secret| (!requires || is_in_operators_namespace(secret)) && holds(secret, key);
        if wanted && self.cluster.secrets.values().any(|secret| keeps(&secret)) {
            self.violate(3, format_args!("key {id} was revoked while a Secret holds it"));
        }
        let previous = |secret: &Secret| {
            secret.annotations().get(secret_annotations::PREVIOUS_ACCESS_KEY_ID).is_some_and(|previous| previous == id)
        };
        let successor = self.cluster.secrets.values().find(|secret| previous(secret)).and_then(held);
        // A key that no Secret holds any more is lost, and goes as soon as it is seen.
        let in_use = owner.filter(|_| wanted && successor.is_some()).is_some_and(|owner| self.not_restarted(owner, id));
        if in_use {
            self.violate(3, format_args!("key {id} was revoked before a workload that has it was asked to restart"));
        }
        if let Some((successor, _)) = successor.filter(|_| wanted)
            && !self.accepted.contains(&successor)
        {
            self.violate(3, format_args!("key {id} was revoked before its successor {successor} was seen to work"));
        }
    }

    /// Looks at a write to a Secret before it takes effect.
    pub fn judge_secret(&mut self, name: &str, replacement: Option<&Secret>) {
        let Some(live) = self.cluster.secrets.get(name).cloned() else { return };
        let uids: Vec<Option<String>> = self.cluster.users.values().map(ResourceExt::uid).collect();
        let owners = live.owner_references();
        let noted = live.annotations().get(secret_annotations::USER_UID).cloned();
        let is_key = is_in_operators_namespace(&live) && noted.as_ref().is_some_and(|uid| name == key_secret(uid));
        let controlled =
            owners.iter().any(|owner| owner.controller == Some(true) && uids.contains(&Some(owner.uid.clone())));
        if !(controlled || (is_key && uids.contains(&noted))) {
            self.violate(4, format_args!("a write to Secret {name}, which no S3AccessUser controls"));
        }
        let keys: Vec<_> = self.users().flat_map(|user| user.keys.clone()).collect();
        let Some(old) = keys.iter().find(|key| key.status == Status::Active && holds(&live, key)) else { return };
        let Some(replacement) = replacement else {
            let elsewhere = |secret: &&Secret| secret.name_any() != name && holds(secret, old);
            if !self.cluster.secrets.values().any(|secret| elsewhere(&secret)) {
                self.violate(3, format_args!("Secret {name} was deleted with the only copy of key {}", old.id));
            }
            return;
        };
        if holds(replacement, old) {
            return;
        }
        match held(replacement) {
            Some((new, _)) if self.accepted.contains(&new) => {}
            Some((new, _)) => {
                self.violate(3, format_args!("key {new} replaced {} before it was seen to work", old.id));
            }
            None => self.violate(3, format_args!("Secret {name} lost key {}", old.id)),
        }
    }

    /// Looks at a session before it is delivered: its key is the operator's alone.
    pub fn judge_session(&mut self, id: &str) {
        let keys: Vec<_> = self.users().flat_map(|user| user.keys.clone()).collect();
        let Some(key) = keys.iter().find(|key| key.id == id) else { return };
        let of_workload = |secret: &&Secret| !is_in_operators_namespace(secret) && holds(secret, key);
        if let Some(exposed) = self.cluster.secrets.values().find(of_workload).map(ResourceExt::name_any) {
            self.violate(1, format_args!("a session of key {id}, which Secret {exposed} holds itself"));
        }
    }

    /// Looks at a mark of a workload: by it, consumers are sent for the key that the Secret holds now.
    pub fn judge_mark(&mut self, key_id: &str) {
        if !self.cluster.secrets.values().any(|secret| held(secret).is_some_and(|(id, _)| id == key_id)) {
            self.violate(5, format_args!("a workload was marked with key {key_id}, which no Secret holds"));
        }
    }

    /// The workloads that a CR names and that still run with an earlier key, as far as they have been marked at all.
    fn not_restarted(&self, owner: &S3AccessUser, id: &str) -> bool {
        let annotation = workload_annotation(&owner.name_any());
        let named = owner.spec.secret.rollout_restart.iter().filter_map(|named| self.cluster.workloads.get(named));
        named.into_iter().any(|running| running.annotations.get(&annotation).is_some_and(|key| key == id))
    }

    /// Looks at what is written where anybody may read it.
    pub fn judge_words(&mut self, words: &str) {
        let secrets: Vec<String> = self.users().flat_map(|user| &user.keys).map(|key| key.secret.clone()).collect();
        if secrets.iter().any(|secret| words.contains(secret)) {
            self.violate(1, "a secret key in a status or an Event");
        }
    }
}

/// Whether the key is kept, inactive, only for whoever looks into what was done with it: the user's tags say that it was revoked.
pub fn is_evidence(user: &User, key: &AccessKey) -> bool {
    let tags = user.tags.values().map(|tag| (tag.key.clone(), tag.value.clone())).collect();
    key.status == Status::Inactive && Revocation::of(&tags).is_some_and(|revocation| revocation.covers(&key.id))
}

/// An adopted user may keep the keys that it had before.
fn retains_strangers(user: &User) -> bool {
    tag(user, tags::ADOPTED_AT).is_some()
}
