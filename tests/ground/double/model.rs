//! What an AWS account holds, as far as an operator of IAM users can see or leave it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use rpds::RedBlackTreeSetSync;

use super::document::Document;

/// An AWS account's fixed properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Twelve digits.
    pub id: String,
    /// `aws`, `aws-cn`, `aws-us-gov`, …
    pub partition: String,
}

impl Account {
    /// The ARN of an IAM resource of this account, such as `user/k8s/reports`.
    pub fn arn(&self, resource: &str) -> String {
        format!("arn:{}:iam::{}:{resource}", self.partition, self.id)
    }
}

/// A tag; IAM keeps the case of a key, and does not tell keys apart by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

impl Tag {
    /// A tag of a key and a value.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into() }
    }
}

/// Tags by their lower-cased keys.
pub type Tags = BTreeMap<String, Tag>;

/// An IAM user with all that hangs on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name, in the case that it was created with.
    pub name: String,
    /// The path, `/` or longer.
    pub path: String,
    /// The identifier (`AIDA…`), never given again.
    pub id: String,
    /// The ARN, of path and name.
    pub arn: String,
    /// When the user was created.
    pub created: Timestamp,
    /// The tags.
    pub tags: Tags,
    /// The ARN of the managed policy that bounds the user.
    pub boundary: Option<String>,
    /// The ARNs of attached managed policies.
    pub attached: BTreeSet<String>,
    /// Inline policies by name.
    pub inline: BTreeMap<String, Arc<Document>>,
    /// Access keys, oldest first.
    pub keys: Vec<AccessKey>,
    /// Names of groups.
    pub groups: BTreeSet<String>,
    /// When a console password was set.
    pub login_profile: Option<Timestamp>,
    /// Serial numbers of MFA devices, and when each was enabled.
    pub mfa_devices: BTreeMap<String, Timestamp>,
    /// X.509 signing certificates.
    pub signing_certificates: Vec<SigningCertificate>,
    /// SSH public keys.
    pub ssh_keys: Vec<SshKey>,
    /// Credentials for services such as CodeCommit.
    pub service_credentials: Vec<ServiceCredential>,
}

/// Whether a credential works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It works.
    Active,
    /// It is refused, and still counts toward the quota.
    Inactive,
}

impl Status {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::Inactive => "Inactive",
        }
    }
}

/// An access key as IAM keeps it. `Debug` leaves the secret out.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// The identifier (`AKIA…`).
    pub id: String,
    /// The secret, which only CreateAccessKey's answer shows.
    pub secret: String,
    /// Whether it works.
    pub status: Status,
    /// When it was created.
    pub created: Timestamp,
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("AccessKey")
            .field("id", &self.id)
            .field("status", &self.status)
            .field("created", &self.created)
            .finish_non_exhaustive()
    }
}

/// An X.509 signing certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the AWS API reference documents each field under this very name")]
pub struct SigningCertificate {
    pub id: String,
    pub body: String,
    pub status: Status,
    pub uploaded: Timestamp,
}

/// An SSH public key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the AWS API reference documents each field under this very name")]
pub struct SshKey {
    pub id: String,
    pub body: String,
    pub status: Status,
    pub uploaded: Timestamp,
}

/// A user name and password for one AWS service.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the AWS API reference documents each field under this very name")]
pub struct ServiceCredential {
    pub id: String,
    pub service: String,
    pub service_user_name: String,
    pub status: Status,
    pub created: Timestamp,
}

/// A managed policy, the account's own or AWS's.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the AWS API reference documents each field under this very name")]
pub struct Policy {
    pub name: String,
    pub path: String,
    pub id: String,
    pub arn: String,
    pub description: String,
    pub created: Timestamp,
    pub updated: Timestamp,
    pub tags: Tags,
    /// Versions by number, at most five.
    pub versions: BTreeMap<u32, PolicyVersion>,
    /// The number of the version in force.
    pub default_version: u32,
    /// The number that the next version gets; numbers are never given again.
    pub next_version: u32,
    /// Lower-cased names of the users that it is attached to.
    pub attached_to: RedBlackTreeSetSync<String>,
    /// Lower-cased names of the users that it bounds.
    pub bounds: RedBlackTreeSetSync<String>,
    /// Whether AWS owns it: such a policy cannot be changed.
    pub aws_managed: bool,
}

impl Policy {
    /// The document in force.
    pub fn document(&self) -> Option<&Arc<Document>> {
        self.versions.get(&self.default_version).map(|version| &version.document)
    }
}

/// A version of a managed policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyVersion {
    /// The document.
    pub document: Arc<Document>,
    /// When it was created.
    pub created: Timestamp,
}

/// A group of users.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the AWS API reference documents each field under this very name")]
pub struct Group {
    pub name: String,
    pub path: String,
    pub id: String,
    pub arn: String,
    pub created: Timestamp,
    /// Lower-cased names of the users in it.
    pub members: RedBlackTreeSetSync<String>,
}

/// A virtual MFA device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualMfaDevice {
    /// The ARN, which is its serial number.
    pub serial: String,
    /// The lower-cased name of the user that it is enabled for.
    pub user: Option<String>,
}

/// A role that callers of this or another account can assume. Tests set it up; no call here creates one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// The name.
    pub name: String,
    /// The ARN.
    pub arn: String,
    /// The identifier (`AROA…`).
    pub id: String,
    /// ARNs of callers, or `*`, that the role's trust policy names.
    pub trusts: Vec<String>,
    /// What the caller must give as the external id, where the trust policy asks for one.
    pub external_id: Option<String>,
    /// What the role may do.
    pub policies: Vec<Arc<Document>>,
}

/// When and for what an access key was last used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastUsed {
    /// When.
    pub at: Timestamp,
    /// The service's short name, such as `s3`.
    pub service: String,
    /// The region.
    pub region: String,
}
