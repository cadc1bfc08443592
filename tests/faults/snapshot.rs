//! How a world ended, without what may differ between two good ends: ids, times, versions.

use std::collections::BTreeSet;
use std::fmt::Write;

use ground::double::{AccessKey, Status, Tag, User};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use s3_access_operator::api::{S3AccessUser, secret_annotations as annotations, tags};
use serde_json::json;

use crate::judge::{holds, is_evidence};
use crate::outside::{ACCOUNT, Outside, State};

/// Annotations of a Secret that differ from run to run.
const VOLATILE: [&str; 10] = [
    annotations::SESSION_OF,
    annotations::SESSION_ISSUED_AT,
    annotations::SESSION_EXPIRES_AT,
    annotations::REVOKED_ACCESS_KEY_ID,
    annotations::ACCESS_KEY_ID,
    annotations::ACCESS_KEY_CREATED_AT,
    annotations::ACCESS_KEY_DIGEST,
    annotations::PREVIOUS_ACCESS_KEY_ID,
    annotations::ROTATED_AT,
    annotations::USER_UID,
];

/// A policy document in one order: IAM may reorder what it stores, and the operator leaves that as it is.
fn meaning(text: &str) -> String {
    fn sorted(value: serde_json::Value) -> serde_json::Value {
        match value {
            serde_json::Value::Array(members) => {
                let mut members: Vec<_> = members.into_iter().map(sorted).collect();
                members.sort_by_key(ToString::to_string);
                members.into()
            }
            serde_json::Value::Object(members) => {
                let one = |name: &str, value: serde_json::Value| match value {
                    // The time of a revocation, which a fault puts off.
                    _ if name == "aws:TokenIssueTime" => json!("a time"),
                    // One text and a list of one are the same to IAM.
                    text @ serde_json::Value::String(_) if ["Action", "Resource"].contains(&name) => json!([text]),
                    other => sorted(other),
                };
                members
                    .into_iter()
                    .map(|(name, value)| (name.clone(), one(&name, value)))
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            }
            scalar => scalar,
        }
    }
    serde_json::from_str(text).map_or_else(|_| text.to_owned(), |value| sorted(value).to_string())
}

/// An end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// What is compared, as text.
    pub text: String,
    /// Secrets that hold no key that works, though they should.
    pub lost: usize,
    /// Keys that no Secret holds.
    pub stranded: usize,
}

impl Snapshot {
    /// Looks at the cluster in this process.
    pub fn of(outside: &Outside) -> Self {
        outside.with(|state| {
            let users: Vec<S3AccessUser> = state.cluster.users.values().cloned().collect();
            let secrets: Vec<Secret> = state.cluster.secrets.values().cloned().collect();
            Self::taken(state, &users, &secrets)
        })
    }

    /// Looks at these objects and AWS.
    pub fn taken(state: &mut State, users: &[S3AccessUser], secrets: &[Secret]) -> Self {
        let mut end = Self { text: String::new(), lost: 0, stranded: 0 };
        let iam_users: Vec<_> = state.users().cloned().collect();
        for user in &iam_users {
            end.iam_user(state, user, secrets);
        }
        let policies = state.aws.account(ACCOUNT).into_iter().flat_map(|iam| iam.state().local_policies());
        for policy in policies {
            let document = policy.document().map(|document| meaning(document.text())).unwrap_or_default();
            let attached: Vec<_> = policy.attached_to.iter().collect();
            end.line(format_args!("policy {} {document} attached to {attached:?}", policy.arn));
        }
        for secret in secrets {
            end.secret(state, secret, &iam_users);
        }
        for user in users {
            end.custom_resource(user);
        }
        let held =
            |id: &String| secrets.iter().any(|secret| secret.annotations().get(annotations::ACCESS_KEY_ID) == Some(id));
        let workloads = state.cluster.workloads.clone();
        for (workload, running) in &workloads {
            let current =
                [&running.annotations, &running.template].map(|marks| marks.values().map(held).collect::<Vec<_>>());
            // Two leaders may replace a key more than once; none of the keys is worth two restarts.
            let distinct: BTreeSet<_> = running.rollouts.iter().collect();
            let (restarted, again) = (!distinct.is_empty(), distinct.len() < running.rollouts.len());
            end.line(format_args!(
                "{workload} restarted={restarted} twice for a key={again} marked with the Secret's key {current:?}"
            ));
        }
        end
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").unwrap();
    }

    fn iam_user(&mut self, state: &mut State, user: &User, secrets: &[Secret]) {
        let User { name, path, boundary, attached, inline, groups, login_profile, mfa_devices, .. } = user;
        let uid = user.tags.values().filter(|tag| tag.key != tags::UID && tag.key != tags::ADOPTED_AT);
        // Since when it may be unused is told as soon as somebody asks.
        let uid = uid.filter(|tag| tag.key != tags::UNUSED || !tag.value.starts_with("on+"));
        // Of a revocation and a suspension, only the request is the same in each run.
        let value = |tag: &Tag| match tag.value.split_once('+') {
            Some((request, _)) if [tags::REVOKED, tags::UNUSED].contains(&tag.key.as_str()) => request.to_owned(),
            _ => tag.value.clone(),
        };
        let tags: Vec<_> = uid.map(|tag| format!("{}={}", tag.key, value(tag))).collect();
        let inline: Vec<_> =
            inline.iter().map(|(name, document)| format!("{name}: {}", meaning(document.text()))).collect();
        self.line(format_args!(
            "user {path}{name} {tags:?} boundary {boundary:?} attached {attached:?} inline {inline:?} groups {groups:?} \
             login {} devices {}",
            login_profile.is_some(),
            mfa_devices.len()
        ));
        // One that was revoked goes earlier where its slot is needed.
        let used = user.keys.iter().filter(|key| !is_evidence(user, key));
        let mut keys: Vec<String> = used.map(|key| self.key(state, key, secrets)).collect();
        keys.sort();
        self.line(format_args!("  keys {keys:?}"));
    }

    fn key(&mut self, state: &mut State, key: &AccessKey, secrets: &[Secret]) -> String {
        let holder = secrets.iter().find(|secret| holds(secret, key)).map(ResourceExt::name_any);
        let works = state.accepts(&key.id, &key.secret);
        let theirs = state.strangers.contains(&key.id);
        if holder.is_none() && !theirs {
            self.stranded += 1;
        }
        let active = key.status == Status::Active;
        format!("active={active} works={works} strangers={theirs} in {holder:?}")
    }

    fn secret(&mut self, state: &mut State, secret: &Secret, users: &[std::sync::Arc<User>]) {
        let session_of = secret.annotations().get(annotations::SESSION_OF);
        let is_of = |key: &&AccessKey| holds(secret, key) || session_of == Some(&key.id);
        let key = users.iter().flat_map(|user| &user.keys).find(is_of);
        let works = match session_of {
            None => key.is_some_and(|key| state.accepts(&key.id, &key.secret)),
            Some(_) => state.accepts_session(secret),
        };
        let suspended = key.is_some_and(|key| key.status == Status::Inactive);
        if secret.annotations().contains_key(annotations::ACCESS_KEY_ID) && !works && !suspended {
            self.lost += 1;
        }
        let stable = secret.annotations().iter().filter(|(name, _)| !VOLATILE.contains(&name.as_str()));
        let stable: Vec<_> = stable.collect();
        let keys: Vec<_> = secret.data.iter().flatten().map(|(name, _)| name.clone()).collect();
        let owners: Vec<_> = secret.owner_references().iter().map(|owner| owner.name.clone()).collect();
        let labels = secret.labels();
        let name = secret.name_any();
        self.line(format_args!("Secret {name} {labels:?} {stable:?} data {keys:?} owners {owners:?} works={works}"));
    }

    fn custom_resource(&mut self, user: &S3AccessUser) {
        let status = user.status.clone().unwrap_or_default();
        let conditions: Vec<String> = status
            .conditions
            .iter()
            .map(|found| format!("{}={} {} g{:?}", found.type_, found.status, found.reason, found.observed_generation))
            .collect();
        let deleting = user.metadata.deletion_timestamp.is_some();
        let (name, finalizers) = (user.name_any(), user.finalizers());
        self.line(format_args!(
            "S3AccessUser {name} deleting={deleting} {finalizers:?} {conditions:?} user {:?} policy {:?} binding {:?} \
             retiring={} session={} name {:?} account {:?} {:?} generation {:?}",
            status.user_arn,
            status.policy_arn,
            status.binding,
            status.retiring_key.is_some(),
            status.session_expires_at.is_some(),
            status.user_name,
            status.account_id,
            status.partition,
            status.observed_generation
        ));
    }
}
