//! The answers to the calls.

use std::sync::Arc;

use jiff::Timestamp;

use super::authorize::Decision;
use super::error::{ApiError, Code};
use super::limits;
use super::model::{
    AccessKey, Group, LastUsed, Policy, Role, ServiceCredential, SigningCertificate, SshKey, Status, Tag, User,
};
use super::request::Page;

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the page ends, if the list goes on: opaque, to be given back as `Marker`.
    pub marker: Option<String>,
}

impl<T> Listing<T> {
    /// The same page of other items.
    pub(super) fn map<U>(self, convert: impl FnMut(T) -> U) -> Listing<U> {
        Listing { items: self.items.into_iter().map(convert).collect(), marker: self.marker }
    }
}

/// How many items a page may hold, and after which key it begins.
#[derive(Debug, Clone)]
pub(super) struct Window {
    after: Option<String>,
    pub(super) limit: usize,
}

impl Window {
    /// What a request's page asks for; `shorten` turns the number of items into that of a shorter page.
    pub(super) fn of(page: &Page, shorten: impl FnOnce(u32) -> u32) -> Result<Self, ApiError> {
        let asked = page.max_items.unwrap_or(limits::DEFAULT_PAGE_ITEMS);
        if !(1..=limits::PAGE_ITEMS).contains(&asked) {
            return Err(super::names::invalid(
                "maxItems",
                &format!("Member must have value between 1 and {}", limits::PAGE_ITEMS),
            ));
        }
        let after = match &page.marker {
            None => None,
            Some(marker) => Some(
                hex::decode(marker)
                    .ok()
                    .and_then(|bytes| String::from_utf8(bytes).ok())
                    .ok_or_else(|| Code::ValidationError.error("Invalid Marker."))?,
            ),
        };
        Ok(Self { after, limit: usize::try_from(shorten(asked)).unwrap_or(usize::MAX) })
    }

    /// The key that the page begins after.
    pub(super) fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// The page out of items in the order of their keys; those up to [`Self::after`] are skipped.
    pub(super) fn take<K: AsRef<str>, T>(&self, items: impl IntoIterator<Item = (K, T)>) -> Listing<T> {
        let mut rest =
            items.into_iter().skip_while(|(key, _)| self.after().is_some_and(|after| key.as_ref() <= after)).peekable();
        let mut page = Listing { items: Vec::new(), marker: None };
        while let Some((key, item)) = rest.next() {
            page.items.push(item);
            if page.items.len() == self.limit && rest.peek().is_some() {
                page.marker = Some(hex::encode(key.as_ref()));
                break;
            }
        }
        page
    }
}

/// A new access key. `Debug` leaves the secret out.
#[derive(Clone, PartialEq, Eq)]
pub struct NewAccessKey {
    /// The user, in the case of the user's name.
    pub user_name: String,
    /// The key with its secret.
    pub key: AccessKey,
}

impl std::fmt::Debug for NewAccessKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("NewAccessKey").field("user_name", &self.user_name).field("key", &self.key).finish()
    }
}

/// What ListAccessKeys tells of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the AWS API reference documents each field under this very name")]
pub struct AccessKeyMetadata {
    pub user_name: String,
    pub id: String,
    pub status: Status,
    pub created: Timestamp,
}

/// A version of a managed policy.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the AWS API reference documents each field under this very name")]
pub struct VersionView {
    pub version_id: String,
    pub is_default: bool,
    pub created: Timestamp,
    /// The text, not yet URL-encoded; ListPolicyVersions and CreatePolicyVersion leave it out.
    pub document: Option<String>,
}

/// A managed policy as ListAttachedUserPolicies names it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the AWS API reference documents each field under this very name")]
pub struct AttachedPolicy {
    pub name: String,
    pub arn: String,
}

/// A user as GetAccountAuthorizationDetails shows it; the access keys are not shown there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserDetail {
    /// The user.
    pub user: Arc<User>,
    /// The attached policies with their names.
    pub attached: Vec<AttachedPolicy>,
    /// Inline policies: names and texts, not yet URL-encoded.
    pub inline: Vec<(String, String)>,
}

/// A managed policy as GetAccountAuthorizationDetails shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyDetail {
    /// The policy.
    pub policy: Arc<Policy>,
    /// All its versions, with documents.
    pub versions: Vec<VersionView>,
}

/// A page of GetAccountAuthorizationDetails.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the AWS API reference documents each field under this very name")]
pub struct AccountDetails {
    pub users: Vec<UserDetail>,
    pub groups: Vec<Arc<Group>>,
    pub roles: Vec<Role>,
    pub policies: Vec<PolicyDetail>,
    pub marker: Option<String>,
}

/// Who a caller is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the AWS API reference documents each field under this very name")]
pub struct CallerIdentity {
    pub user_id: String,
    pub account: String,
    pub arn: String,
}

/// What GetSessionToken gives. `Debug` leaves the secrets out.
#[derive(Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the AWS API reference documents each field under this very name")]
pub struct SessionCredentials {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: String,
    pub expiration: Timestamp,
}

impl std::fmt::Debug for SessionCredentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("SessionCredentials")
            .field("access_key_id", &self.access_key_id)
            .field("expiration", &self.expiration)
            .finish_non_exhaustive()
    }
}

/// What AssumeRole gives. `Debug` leaves the secrets out.
#[derive(Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the AWS API reference documents each field under this very name")]
pub struct AssumedRole {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: String,
    pub expiration: Timestamp,
    pub assumed_role_id: String,
    pub arn: String,
}

impl std::fmt::Debug for AssumedRole {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("AssumedRole")
            .field("access_key_id", &self.access_key_id)
            .field("expiration", &self.expiration)
            .field("arn", &self.arn)
            .finish_non_exhaustive()
    }
}

/// What SimulatePrincipalPolicy says of an action on a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the AWS API reference documents each field under this very name")]
pub struct Evaluation {
    pub action: String,
    pub resource: String,
    pub decision: Decision,
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is named for what the AWS API reference calls the answer's content")]
pub enum Response {
    /// The call has no result but that it worked.
    Done,
    User(Arc<User>),
    Users(Listing<Arc<User>>),
    Tags(Listing<Tag>),
    NewAccessKey(NewAccessKey),
    AccessKeys(Listing<AccessKeyMetadata>),
    AccessKeyLastUsed {
        user_name: String,
        last_used: Option<LastUsed>,
    },
    Policy(Arc<Policy>),
    /// A policy that was made, with its tags as they were sent.
    NewPolicy {
        policy: Arc<Policy>,
        tags: Vec<Tag>,
    },
    Policies(Listing<Arc<Policy>>),
    PolicyVersion(VersionView),
    PolicyVersions(Listing<VersionView>),
    /// Users that a policy is attached to: names and identifiers.
    PolicyUsers(Listing<(String, String)>),
    AttachedPolicies(Listing<AttachedPolicy>),
    InlinePolicy {
        user_name: String,
        policy_name: String,
        document: String,
    },
    PolicyNames(Listing<String>),
    LoginProfile {
        user_name: String,
        created: Timestamp,
    },
    MfaDevices {
        user_name: String,
        devices: Listing<(String, Timestamp)>,
    },
    VirtualMfaDevice {
        serial: String,
        seed: String,
    },
    SigningCertificate {
        user_name: String,
        certificate: SigningCertificate,
    },
    SigningCertificates {
        user_name: String,
        certificates: Listing<SigningCertificate>,
    },
    SshKey {
        user_name: String,
        key: SshKey,
    },
    SshKeys {
        user_name: String,
        keys: Listing<SshKey>,
    },
    ServiceCredential {
        user_name: String,
        credential: ServiceCredential,
        password: String,
    },
    ServiceCredentials {
        user_name: String,
        credentials: Vec<ServiceCredential>,
    },
    Group(Arc<Group>),
    Groups(Listing<Arc<Group>>),
    AccountDetails(AccountDetails),
    /// Names and numbers of GetAccountSummary.
    AccountSummary(Vec<(&'static str, usize)>),
    CredentialReportState {
        state: &'static str,
        description: Option<&'static str>,
    },
    /// A report, not yet base64.
    CredentialReport {
        content: Vec<u8>,
        generated: Timestamp,
    },
    CallerIdentity(CallerIdentity),
    AssumedRole(AssumedRole),
    SessionToken(SessionCredentials),
    Role(Role),
    Evaluations(Vec<Evaluation>),
}
