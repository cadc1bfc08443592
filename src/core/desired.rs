//! What should be: the spec, resolved against the account and checked.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::names::{self, Cluster, Identity};
use super::policy::{self, Document};
use super::rotation::{DEFAULT_OVERLAP, Rotation};
use crate::api::{AccessKeyStatus, Adoption, DeletionPolicy, PolicyType, Reason, S3AccessUser, annotations, tags};

/// The AWS account that the operator's credentials belong to, by sts:GetCallerIdentity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Twelve digits.
    pub id: String,
    /// `aws`, `aws-cn`, ...; read from the caller's ARN, never from a setting.
    pub partition: String,
}

/// Who owns what, and under which names: all that deletion needs. It can always be told, also of a refused spec.
#[derive(Clone, Debug, PartialEq)]
pub struct Owner {
    /// The S3AccessUser.
    pub identity: Identity,
    /// Where its IAM user lives.
    pub account: Account,
    /// The IAM user's name.
    pub user_name: String,
    /// The IAM path of user and policy.
    pub path: String,
    /// The policy's name, whether or not the spec asks for one.
    pub policy_name: String,
    /// What to do with a user that is there already.
    pub adoption: Adoption,
    /// Keep the IAM user and policy when the CR is deleted.
    pub retain: bool,
    /// When the CR's deletion was asked for.
    pub deleted_at: Option<Timestamp>,
    /// The name of the Secret.
    pub secret_name: String,
}

impl Owner {
    /// The names under which this S3AccessUser's things live.
    pub fn of(user: &S3AccessUser, account: &Account, cluster: &Cluster) -> Self {
        let (namespace, name) = (user.namespace().unwrap_or_default(), user.name_any());
        let spec = &user.spec;
        let user_name = spec.user_name.clone().unwrap_or_else(|| names::user_name(cluster, &namespace, &name));
        Self {
            policy_name: spec
                .policy
                .as_ref()
                .and_then(|policy| policy.name.clone())
                .unwrap_or_else(|| user_name.clone()),
            secret_name: spec.secret.name.clone().unwrap_or_else(|| format!("{name}-s3")),
            identity: Identity { cluster_id: cluster.id.clone(), uid: user.uid().unwrap_or_default(), namespace, name },
            account: account.clone(),
            user_name,
            path: spec.path.clone().unwrap_or_else(|| "/".to_owned()),
            adoption: spec.adoption,
            retain: spec.deletion_policy.unwrap_or_default() == DeletionPolicy::Retain,
            deleted_at: user.metadata.deletion_timestamp.as_ref().map(|time| time.0),
        }
    }

    /// The ARN that the IAM user has, or would have.
    pub fn user_arn(&self) -> String {
        format!("arn:{}:iam::{}:user{}{}", self.account.partition, self.account.id, self.path, self.user_name)
    }

    /// The ARN that the operator's own managed policy has, or would have.
    pub fn policy_arn(&self) -> String {
        names::policy_arn(&self.account.partition, &self.account.id, &self.path, &self.policy_name)
    }

    /// The ARN that a record of the form `managed:<path><name>` stands for.
    pub fn recorded_policy_arn(&self, record: &str) -> Option<String> {
        let Account { id, partition } = &self.account;
        record.strip_prefix("managed:").map(|path_and_name| format!("arn:{partition}:iam::{id}:policy{path_and_name}"))
    }
}

/// The policy that the operator makes for the user.
#[derive(Clone, Debug, PartialEq)]
pub enum DesiredPolicy {
    /// A customer managed policy, attached.
    Managed {
        /// Its ARN.
        arn: String,
        /// What it says.
        document: Document,
    },
    /// A policy inside the user.
    Inline {
        /// Its name.
        name: String,
        /// What it says.
        document: Document,
    },
}

impl DesiredPolicy {
    /// The value of [`tags::POLICY`] while this is the policy.
    pub fn record(&self) -> String {
        match self {
            Self::Managed { arn, .. } => {
                format!(
                    "managed:{}",
                    arn.split_once(":policy").map_or(arn.as_str(), |(_, path_and_name)| path_and_name)
                )
            }
            Self::Inline { name, .. } => format!("inline:{name}"),
        }
    }
}

/// What the spec asks for, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// Names and ownership.
    pub owner: Owner,
    /// The ARN of the permissions boundary.
    pub boundary: Option<String>,
    /// The spec's own tags.
    pub tags: BTreeMap<String, String>,
    /// The policy made from `access` and `policy`.
    pub policy: Option<DesiredPolicy>,
    /// Existing managed policies to attach.
    pub attached: BTreeSet<String>,
    /// Whether the access key may be used.
    pub active: bool,
    /// When the key is replaced, and how long the old one is kept.
    pub rotation: Rotation,
}

/// Why the spec cannot be carried out, in words that say what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The reason of the Ready condition.
    pub reason: Reason,
    /// What is wrong and what to do.
    pub message: String,
}

impl Desired {
    /// Resolves and checks the spec.
    ///
    /// # Errors
    /// [`Refusal`]: nothing is written for such a spec, and what was made for an earlier one stays as it is.
    pub fn of(user: &S3AccessUser, account: &Account, cluster: &Cluster) -> Result<Self, Refusal> {
        let spec = &user.spec;
        if let Some(class) = &spec.class_name {
            return Err(Refusal {
                reason: Reason::ClassNotFound,
                message: format!(
                    "there is no S3AccessClass {class:?}: create it, or remove spec.className to use the operator's own account"
                ),
            });
        }
        if spec.adoption == Adoption::Force {
            return Err(Refusal {
                reason: Reason::NotPermittedByClass,
                message: "spec.adoption Force takes over users of others, so an S3AccessClass must allow it: use IfOwnedByTag or Never".to_owned(),
            });
        }
        let owner = Owner::of(user, account, cluster);
        let document = policy::compile(spec, &account.partition, &account.id).map_err(Refusal::from)?;
        let inline = spec.policy.as_ref().is_some_and(|policy| policy.policy_type == PolicyType::Inline);
        let policy = match document {
            None => None,
            Some(document) if inline => {
                policy::check_size(&document, policy::INLINE_LIMIT)?;
                Some(DesiredPolicy::Inline { name: owner.policy_name.clone(), document })
            }
            Some(document) => {
                policy::check_size(&document, policy::MANAGED_LIMIT)?;
                Some(DesiredPolicy::Managed { arn: owner.policy_arn(), document })
            }
        };
        for (index, arn) in spec.managed_policy_arns.iter().enumerate() {
            check_policy_arn(arn, &format!("spec.managedPolicyArns[{index}]"), account)?;
        }
        let attached: BTreeSet<String> = spec.managed_policy_arns.iter().cloned().collect();
        let boundary = spec.permissions_boundary_arn.clone().filter(|arn| !arn.is_empty());
        if let Some(arn) = &boundary {
            check_policy_arn(arn, "spec.permissionsBoundaryArn", account)?;
        }
        if policy.is_none() && attached.is_empty() {
            return Err(Refusal {
                reason: Reason::InvalidPolicy,
                message: "nothing is granted: set spec.access, spec.policy or spec.managedPolicyArns".to_owned(),
            });
        }
        if let Some(key) = spec.tags.keys().find(|key| key.starts_with(tags::PREFIX) || key.starts_with("aws:")) {
            return Err(Refusal {
                reason: Reason::InvalidSpec,
                message: format!(
                    "spec.tags: {key:?} has a reserved prefix (s3access.dev/ or aws:): choose another key"
                ),
            });
        }
        Ok(Self {
            boundary,
            tags: spec.tags.clone(),
            policy,
            attached,
            active: !spec.suspend && spec.access_key.status == AccessKeyStatus::Active,
            rotation: rotation_of(user)?,
            owner,
        })
    }

    /// The policy, where the user's tags say that it is there already.
    ///
    /// IAM tells policies apart by name, whatever their paths and case, and cannot move one: a policy of ours keeps the
    /// ARN that it was made with while its name stays.
    pub fn policy_of(&self, found: Option<&BTreeMap<String, String>>) -> Option<DesiredPolicy> {
        let wanted = self.policy.clone()?;
        let DesiredPolicy::Managed { arn, document } = &wanted else {
            return Some(wanted);
        };
        let name = |arn: &str| arn.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        let recorded = found.and_then(|tags| self.owner.recorded_policy_arn(tags.get(tags::POLICY)?));
        match recorded.filter(|recorded| name(recorded) == name(arn)) {
            Some(arn) => Some(DesiredPolicy::Managed { arn, document: document.clone() }),
            None => Some(wanted),
        }
    }

    /// The tags that the user should have, given what it has: ownership, the records of what was set, the spec's own.
    ///
    /// A record keeps what it names until that is gone from the user, so that a crash between the two loses nothing.
    pub fn user_tags(&self, found: Option<&super::observed::User>) -> BTreeMap<String, String> {
        let mut wanted = self.tags.clone();
        wanted.extend(self.owner.identity.tags());
        let old = |tag: &str| found.and_then(|user| user.tags.get(tag));
        let attached = found
            .into_iter()
            .flat_map(|user| &user.attached)
            .filter(|arn| names::recorded(old(tags::ATTACHED), arn))
            .chain(&self.attached)
            .map(String::as_str);
        let keys = found
            .into_iter()
            .flat_map(|user| user.tags.keys())
            .filter(|key| names::recorded(old(tags::TAG_KEYS), key))
            .chain(self.tags.keys())
            .map(String::as_str);
        for (tag, record) in [(tags::ATTACHED, names::record(attached)), (tags::TAG_KEYS, names::record(keys))] {
            if !record.is_empty() {
                wanted.insert(tag.to_owned(), record);
            }
        }
        if let Some(boundary) = &self.boundary {
            wanted.insert(tags::BOUNDARY.to_owned(), names::record([boundary.as_str()]));
        }
        if let Some(policy) = &self.policy {
            wanted.insert(tags::POLICY.to_owned(), policy.record());
        }
        wanted
    }
}

impl From<policy::PolicyError> for Refusal {
    fn from(error: policy::PolicyError) -> Self {
        Self { reason: error.reason, message: error.message }
    }
}

/// Whether an annotation of the CR says `"true"`.
pub fn is_true(user: &S3AccessUser, annotation: &str) -> bool {
    user.annotations().get(annotation).is_some_and(|value| value == "true")
}

fn rotation_of(user: &S3AccessUser) -> Result<Rotation, Refusal> {
    let spec = user.spec.access_key.rotation.as_ref();
    let signed = |duration: &kube::core::Duration| {
        SignedDuration::try_from(std::time::Duration::from(*duration)).unwrap_or(SignedDuration::MAX)
    };
    let interval = spec.map(|rotation| signed(&rotation.interval));
    let overlap = spec.and_then(|rotation| rotation.overlap.as_ref()).map_or(DEFAULT_OVERLAP, signed);
    if interval.is_some_and(|interval| overlap >= interval || interval <= SignedDuration::ZERO) {
        return Err(Refusal {
            reason: Reason::InvalidSpec,
            message: "spec.accessKey.rotation: interval must be longer than overlap (24h unless set)".to_owned(),
        });
    }
    Ok(Rotation { interval, overlap, requested: user.annotations().get(annotations::ROTATE).cloned() })
}

fn check_policy_arn(arn: &str, at: &str, account: &Account) -> Result<(), Refusal> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let &["arn", partition, "iam", "", owner, resource] = parts.as_slice() else {
        return Err(Refusal {
            reason: Reason::InvalidPolicy,
            message: format!(
                "{at}: {arn:?} is not the ARN of a policy, such as arn:{}:iam::aws:policy/AmazonS3ReadOnlyAccess",
                account.partition
            ),
        });
    };
    if partition != account.partition {
        return Err(Refusal {
            reason: Reason::PartitionMismatch,
            message: format!(
                "{at}: {arn:?} is of partition {partition:?}, and account {} is of {}: write {:?}",
                account.id,
                account.partition,
                format!("arn:{}:iam::{owner}:{resource}", account.partition),
            ),
        });
    }
    if owner != "aws" && owner != account.id {
        return Err(Refusal {
            reason: Reason::AccountMismatch,
            message: format!(
                "{at}: {arn:?} belongs to account {owner}, and the user to {}: IAM attaches only policies of its own account and of AWS",
                account.id
            ),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
