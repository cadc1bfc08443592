//! The state of an account's IAM: cheap to copy, so that replicas and crash tests can keep as many as they like.

use std::ops::Bound;
use std::sync::Arc;

use jiff::Timestamp;
use rpds::RedBlackTreeMapSync;

use super::document::Document;
use super::error::{ApiError, Code};
use super::ids::{Ids, Prefix};
use super::model::{Account, Group, Policy, User, VirtualMfaDevice};
use super::names::fold;

/// Everything that IAM replicates. A copy shares its parts with the original.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Which account it is.
    pub(super) account: Arc<Account>,
    /// Users by lower-cased name.
    pub(super) users: RedBlackTreeMapSync<String, Arc<User>>,
    /// Lower-cased names of users by the identifiers of their access keys.
    pub(super) keys: RedBlackTreeMapSync<String, String>,
    /// Managed policies by ARN, AWS's own among them.
    pub(super) policies: RedBlackTreeMapSync<String, Arc<Policy>>,
    /// ARNs of the account's managed policies by lower-cased name.
    pub(super) policy_names: RedBlackTreeMapSync<String, String>,
    /// Groups by lower-cased name.
    pub(super) groups: RedBlackTreeMapSync<String, Arc<Group>>,
    /// Virtual MFA devices by serial number.
    pub(super) devices: RedBlackTreeMapSync<String, Arc<VirtualMfaDevice>>,
}

/// AWS's managed policies that the double knows, their effect and on what.
const AWS_MANAGED: [(&str, &str, &str); 8] = [
    ("AdministratorAccess", "Allow", r#""Action":"*""#),
    ("AmazonS3FullAccess", "Allow", r#""Action":["s3:*","s3-object-lambda:*"]"#),
    ("AmazonS3ReadOnlyAccess", "Allow", r#""Action":["s3:Get*","s3:List*","s3:Describe*"]"#),
    ("IAMFullAccess", "Allow", r#""Action":"iam:*""#),
    ("IAMReadOnlyAccess", "Allow", r#""Action":["iam:Get*","iam:List*"]"#),
    ("AWSCompromisedKeyQuarantine", "Deny", QUARANTINE),
    ("AWSCompromisedKeyQuarantineV2", "Deny", QUARANTINE),
    ("AWSCompromisedKeyQuarantineV3", "Deny", QUARANTINE),
];
/// A part of what AWS denies a user whose key it found in public (AWS managed policy reference).
const QUARANTINE: &str = r#""Action":["iam:AttachUserPolicy","iam:CreateAccessKey","iam:CreateUser","s3:DeleteBucket","s3:PutBucketPolicy"]"#;

impl State {
    /// An account with nothing in it but AWS's managed policies.
    pub(super) fn new(account: Account) -> Self {
        let mut state = Self {
            account: Arc::new(account),
            users: RedBlackTreeMapSync::new_sync(),
            keys: RedBlackTreeMapSync::new_sync(),
            policies: RedBlackTreeMapSync::new_sync(),
            policy_names: RedBlackTreeMapSync::new_sync(),
            groups: RedBlackTreeMapSync::new_sync(),
            devices: RedBlackTreeMapSync::new_sync(),
        };
        // Their identifiers are the same in every account, whatever its seed.
        let mut ids = Ids::new(0);
        for (name, effect, actions) in AWS_MANAGED {
            let text =
                format!(r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"{effect}",{actions},"Resource":"*"}}]}}"#);
            let Ok(document) = Document::parse(&text, &state.account.partition) else {
                continue;
            };
            let arn = format!("arn:{}:iam::aws:policy/{name}", state.account.partition);
            let mut policy =
                Policy::new(name, "/", arn, ids.id(Prefix::Policy), Arc::new(document), Timestamp::UNIX_EPOCH);
            policy.aws_managed = true;
            state.put_policy(policy);
        }
        state
    }

    /// The account.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// All users, by name.
    pub fn users(&self) -> impl Iterator<Item = &Arc<User>> {
        self.users.values()
    }

    /// The account's own managed policies, by ARN.
    pub fn local_policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies.values().filter(|policy| !policy.aws_managed)
    }

    /// All groups, by name.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.groups.values()
    }

    /// All virtual MFA devices, by serial number.
    pub fn devices(&self) -> impl Iterator<Item = &Arc<VirtualMfaDevice>> {
        self.devices.values()
    }

    /// A user, by a name in any case.
    pub fn user(&self, name: &str) -> Result<&Arc<User>, ApiError> {
        self.users
            .get(&fold(name))
            .ok_or_else(|| Code::NoSuchEntity.error(format!("The user with name {name} cannot be found.")))
    }

    /// A managed policy, by ARN.
    pub fn policy(&self, arn: &str) -> Result<&Arc<Policy>, ApiError> {
        self.policies.get(arn).ok_or_else(|| Code::NoSuchEntity.error(format!("Policy {arn} was not found.")))
    }

    /// Refuses to change what is AWS's; `what` is not done to policies outside the account.
    pub(super) fn own(policy: &Policy, what: &str) -> Result<(), ApiError> {
        if policy.aws_managed {
            return Err(Code::AccessDenied.error(format!("Cannot {what} outside your own account.")));
        }
        Ok(())
    }

    /// A managed policy that may be changed.
    pub(super) fn own_policy(&self, arn: &str) -> Result<&Arc<Policy>, ApiError> {
        let policy = self.policy(arn)?;
        Self::own(policy, "update policies")?;
        Ok(policy)
    }

    /// A policy to attach or to bound with; IAM words its absence in another way there.
    pub(super) fn attachable(&self, arn: &str) -> Result<&Arc<Policy>, ApiError> {
        self.policies
            .get(arn)
            .ok_or_else(|| Code::NoSuchEntity.error(format!("Policy {arn} does not exist or is not attachable.")))
    }

    /// A group, by a name in any case.
    pub(super) fn group(&self, name: &str) -> Result<&Arc<Group>, ApiError> {
        self.groups
            .get(&fold(name))
            .ok_or_else(|| Code::NoSuchEntity.error(format!("The group with name {name} cannot be found.")))
    }

    /// Changes a user: the only way to, so that every other map can be kept in step by the caller.
    pub(super) fn edit_user<T>(&mut self, name: &str, edit: impl FnOnce(&mut User) -> T) -> Result<T, ApiError> {
        let mut user = Arc::clone(self.user(name)?);
        let result = edit(Arc::make_mut(&mut user));
        self.users.insert_mut(fold(&user.name), user);
        Ok(result)
    }

    pub(super) fn edit_policy<T>(&mut self, arn: &str, edit: impl FnOnce(&mut Policy) -> T) -> Result<T, ApiError> {
        let mut policy = Arc::clone(self.policy(arn)?);
        let result = edit(Arc::make_mut(&mut policy));
        self.policies.insert_mut(arn.to_owned(), policy);
        Ok(result)
    }

    pub(super) fn edit_group<T>(&mut self, name: &str, edit: impl FnOnce(&mut Group) -> T) -> Result<T, ApiError> {
        let mut group = Arc::clone(self.group(name)?);
        let result = edit(Arc::make_mut(&mut group));
        self.groups.insert_mut(fold(&group.name), group);
        Ok(result)
    }

    pub(super) fn put_policy(&mut self, policy: Policy) {
        if !policy.aws_managed {
            self.policy_names.insert_mut(fold(&policy.name), policy.arn.clone());
        }
        self.policies.insert_mut(policy.arn.clone(), Arc::new(policy));
    }

    /// Users after a name, without a walk over those before it.
    pub(super) fn users_after(&self, after: Option<&str>) -> impl Iterator<Item = (&String, &Arc<User>)> {
        self.users.range::<str, _>((start(after), Bound::Unbounded))
    }

    /// Policies after an ARN, without a walk over those before it.
    pub(super) fn policies_after(&self, after: Option<&str>) -> impl Iterator<Item = (&String, &Arc<Policy>)> {
        self.policies.range::<str, _>((start(after), Bound::Unbounded))
    }
}

fn start(after: Option<&str>) -> Bound<&str> {
    after.map_or(Bound::Unbounded, Bound::Excluded)
}
