//! AWS, as far as the operator needs it: the calls used, what their errors mean, and one session per account.

mod call;
mod compatible;
mod details;
mod error;
mod iam;
mod identity;
mod lanes;
mod leftovers;
mod metrics;
mod permission;
mod rate_limiter;
mod raw;
#[cfg(test)]
mod scripted;
mod sdk;
mod session;
mod sts;
mod transport;

pub use call::{Pages, at_priority};
pub use compatible::{S3Endpoint, S3Request, Verdict};
pub use details::{DetailsPage, DetailsQuery};
pub use error::{AwsError, ErrorKind};
pub use identity::{Identity, Question};
pub use lanes::{LaneId, Lanes};
pub use session::{Session, SessionOptions, SettingsError};
pub use transport::TransportError;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use secrecy::SecretString;

use crate::core::credential_report::CredentialReport;
use crate::core::iam::{Account, KeyRecord};
use crate::core::observed::{Minted, PolicyVersion};
use crate::core::policy::Document;
use crate::core::secret_data::Credentials;

/// What AWS calls answer.
pub type Result<T> = std::result::Result<T, AwsError>;

/// A user as GetUser shows it.
#[derive(Clone, Debug)]
pub struct UserRecord {
    /// Its ARN.
    pub arn: String,
    /// Its path.
    pub path: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The ARN of its permissions boundary.
    pub boundary: Option<String>,
}

/// A managed policy as GetPolicy shows it.
#[derive(Clone, Debug)]
pub struct PolicyRecord {
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The version in force.
    pub default_version: String,
}

/// A key just made: the one moment at which AWS shows the secret half.
#[derive(Clone, Debug)]
pub struct CreatedKey {
    /// Its id and date.
    pub minted: Minted,
    /// The secret half.
    pub secret: SecretString,
}

/// How an inline policy is named in [`Iam::list_what_else_grants`].
pub fn inline_policy(name: &str) -> String {
    format!("inline policy {name}")
}

/// The IAM calls that the operator uses, and no others; each answers `None` only to a positive NoSuchEntity.
///
/// # Errors
/// Every call fails with [`AwsError`], which names the operation and the object.
#[async_trait]
pub trait Iam: Send + Sync {
    /// GetUser.
    async fn get_user(&self, user: &str) -> Result<Option<UserRecord>>;
    /// CreateUser, whole; answers the ARN.
    async fn create_user(
        &self,
        user: &str,
        path: &str,
        tags: &BTreeMap<String, String>,
        boundary: Option<&str>,
    ) -> Result<String>;
    /// UpdateUser, of the path.
    async fn update_user_path(&self, user: &str, path: &str) -> Result<()>;
    /// DeleteUser; whether it was there, as the replica of IAM that answered knows it.
    async fn delete_user(&self, user: &str) -> Result<bool>;
    /// TagUser.
    async fn tag_user(&self, user: &str, tags: &BTreeMap<String, String>) -> Result<()>;
    /// UntagUser.
    async fn untag_user(&self, user: &str, keys: &[String]) -> Result<()>;
    /// PutUserPermissionsBoundary.
    async fn put_user_permissions_boundary(&self, user: &str, arn: &str) -> Result<()>;
    /// DeleteUserPermissionsBoundary.
    async fn delete_user_permissions_boundary(&self, user: &str) -> Result<()>;
    /// Removes whatever DeleteUser may find left: see [`leftovers`].
    async fn clear_leftovers(&self, user: &str) -> Result<()>;

    /// ListAccessKeys.
    async fn list_access_keys(&self, user: &str) -> Result<Vec<KeyRecord>>;
    /// CreateAccessKey, sent once: a retry after a lost answer would make a second key that nobody knows.
    async fn create_access_key(&self, user: &str) -> Result<CreatedKey>;
    /// UpdateAccessKey.
    async fn update_access_key(&self, user: &str, id: &str, active: bool) -> Result<()>;
    /// DeleteAccessKey; a key that is gone already is no error.
    async fn delete_access_key(&self, user: &str, id: &str) -> Result<()>;
    /// GetAccessKeyLastUsed; `None` means that IAM has no use on record, not that there was none.
    async fn get_access_key_last_used(&self, id: &str) -> Result<Option<jiff::Timestamp>>;

    /// ListUserPolicies and ListGroupsForUser: all that grants the user something beside what is attached, in words.
    async fn list_what_else_grants(&self, user: &str) -> Result<BTreeSet<String>>;
    /// ListAttachedUserPolicies: ARNs.
    async fn list_attached_user_policies(&self, user: &str) -> Result<BTreeSet<String>>;
    /// AttachUserPolicy.
    async fn attach_user_policy(&self, user: &str, arn: &str) -> Result<()>;
    /// DetachUserPolicy; a policy that is not attached is no error.
    async fn detach_user_policy(&self, user: &str, arn: &str) -> Result<()>;
    /// GetUserPolicy.
    async fn get_user_policy(&self, user: &str, name: &str) -> Result<Option<Document>>;
    /// PutUserPolicy.
    async fn put_user_policy(&self, user: &str, name: &str, document: &Document) -> Result<()>;
    /// DeleteUserPolicy; a policy that is gone already is no error.
    async fn delete_user_policy(&self, user: &str, name: &str) -> Result<()>;

    /// GetPolicy.
    async fn get_policy(&self, arn: &str) -> Result<Option<PolicyRecord>>;
    /// GetPolicyVersion: the document.
    async fn get_policy_version(&self, arn: &str, version: &str) -> Result<Document>;
    /// ListPolicyVersions.
    async fn list_policy_versions(&self, arn: &str) -> Result<Vec<PolicyVersion>>;
    /// CreatePolicy at that ARN, with tags.
    async fn create_policy(&self, arn: &str, document: &Document, tags: &BTreeMap<String, String>) -> Result<()>;
    /// CreatePolicyVersion, as the default one.
    async fn create_policy_version(&self, arn: &str, document: &Document) -> Result<()>;
    /// DeletePolicyVersion; a version that is gone already is no error.
    async fn delete_policy_version(&self, arn: &str, version: &str) -> Result<()>;
    /// DeletePolicy; a policy that is gone already is no error.
    async fn delete_policy(&self, arn: &str) -> Result<()>;
    /// TagPolicy.
    async fn tag_policy(&self, arn: &str, tags: &BTreeMap<String, String>) -> Result<()>;
    /// GetAccountAuthorizationDetails, one page.
    async fn account_details(&self, query: DetailsQuery<'_>) -> Result<DetailsPage>;
    /// GenerateCredentialReport: whether one is there already that is at most four hours old; else one is being made.
    async fn generate_credential_report(&self) -> Result<bool>;
    /// GetCredentialReport; `None`: there is none yet, or none that is young enough.
    async fn credential_report(&self) -> Result<Option<CredentialReport>>;
    /// ListEntitiesForPolicy, all pages: the names of the users that a policy is attached to.
    async fn list_users_of_policy(&self, arn: &str) -> Result<Vec<String>>;
    /// ListEntitiesForPolicy: what a policy is still attached to, in words.
    async fn list_entities_for_policy(&self, arn: &str) -> Result<Vec<String>>;
}

/// The STS calls that the operator uses.
///
/// # Errors
/// As for [`Iam`].
#[async_trait]
pub trait Sts: Send + Sync {
    /// GetCallerIdentity with the operator's own credentials: the account, and from its ARN the partition.
    async fn caller(&self) -> Result<Account>;
    /// GetCallerIdentity: the name of the IAM user that the operator is; `None`: it is a role or the root, or this is not AWS.
    async fn user(&self) -> Result<Option<String>> {
        Ok(None)
    }
    /// GetCallerIdentity with a user's key: whether AWS accepts it. At an S3-compatible system, ListBuckets.
    async fn accepts(&self, id: &str, secret: &SecretString) -> Result<bool>;
    /// GetSessionToken with a user's key: a session of so many seconds. It needs no permission, neither the user's nor the
    /// operator's.
    async fn session_token(&self, id: &str, secret: &SecretString, seconds: i32) -> Result<Credentials>;
}
