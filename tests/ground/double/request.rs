//! The calls with their parameters.

use super::model::{Status, Tag};
use super::operation::Operation;

/// Which part of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Where the page before ended: its `Marker`.
    pub marker: Option<String>,
    /// `MaxItems`, 1 to 1,000; 100 when not given.
    pub max_items: Option<u32>,
}

/// Whose policies ListPolicies lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PolicyScope {
    /// AWS's and the account's.
    #[default]
    All,
    /// AWS's.
    Aws,
    /// The account's.
    Local,
}

/// What GetAccountAuthorizationDetails is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DetailsFilter {
    /// Users.
    User,
    /// Roles.
    Role,
    /// Groups.
    Group,
    /// The account's managed policies.
    LocalManagedPolicy,
    /// AWS's managed policies that are in use.
    AwsManagedPolicy,
}

impl DetailsFilter {
    /// Every filter, in the order in which the entities are listed.
    pub const ALL: [Self; 5] = [Self::User, Self::Group, Self::Role, Self::LocalManagedPolicy, Self::AwsManagedPolicy];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Role => "Role",
            Self::Group => "Group",
            Self::LocalManagedPolicy => "LocalManagedPolicy",
            Self::AwsManagedPolicy => "AWSManagedPolicy",
        }
    }
}

/// Defines [`Request`] and the operation of each of its variants.
macro_rules! requests {
    ($($name:ident { $($field:ident: $type:ty),* $(,)? })*) => {
        /// A call of IAM or STS with its parameters, by the names of the AWS API reference.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the AWS API reference documents each call and parameter under this very name")]
        pub enum Request { $($name { $($field: $type),* },)* }

        impl Request {
            /// Which call this is.
            pub fn operation(&self) -> Operation {
                match self { $(Self::$name { .. } => Operation::$name,)* }
            }
        }
    };
}

requests! {
    GetUser { user_name: String }
    ListUsers { path_prefix: Option<String>, page: Page }
    ListUserTags { user_name: String, page: Page }
    CreateUser {
        user_name: String,
        path: Option<String>,
        permissions_boundary: Option<String>,
        tags: Vec<Tag>,
    }
    UpdateUser { user_name: String, new_user_name: Option<String>, new_path: Option<String> }
    DeleteUser { user_name: String }
    TagUser { user_name: String, tags: Vec<Tag> }
    UntagUser { user_name: String, tag_keys: Vec<String> }
    PutUserPermissionsBoundary { user_name: String, permissions_boundary: String }
    DeleteUserPermissionsBoundary { user_name: String }

    ListAccessKeys { user_name: String, page: Page }
    GetAccessKeyLastUsed { access_key_id: String }
    CreateAccessKey { user_name: String }
    UpdateAccessKey { user_name: String, access_key_id: String, status: Status }
    DeleteAccessKey { user_name: String, access_key_id: String }

    GetPolicy { policy_arn: String }
    GetPolicyVersion { policy_arn: String, version_id: String }
    ListPolicyVersions { policy_arn: String, page: Page }
    ListPolicies { scope: PolicyScope, only_attached: bool, path_prefix: Option<String>, page: Page }
    ListEntitiesForPolicy { policy_arn: String, page: Page }
    ListAttachedUserPolicies { user_name: String, path_prefix: Option<String>, page: Page }
    CreatePolicy {
        policy_name: String,
        path: Option<String>,
        policy_document: String,
        description: Option<String>,
        tags: Vec<Tag>,
    }
    CreatePolicyVersion { policy_arn: String, policy_document: String, set_as_default: bool }
    DeletePolicyVersion { policy_arn: String, version_id: String }
    SetDefaultPolicyVersion { policy_arn: String, version_id: String }
    DeletePolicy { policy_arn: String }
    TagPolicy { policy_arn: String, tags: Vec<Tag> }
    UntagPolicy { policy_arn: String, tag_keys: Vec<String> }
    AttachUserPolicy { user_name: String, policy_arn: String }
    DetachUserPolicy { user_name: String, policy_arn: String }

    GetUserPolicy { user_name: String, policy_name: String }
    ListUserPolicies { user_name: String, page: Page }
    PutUserPolicy { user_name: String, policy_name: String, policy_document: String }
    DeleteUserPolicy { user_name: String, policy_name: String }

    GetLoginProfile { user_name: String }
    CreateLoginProfile { user_name: String, password: String }
    DeleteLoginProfile { user_name: String }
    ListMFADevices { user_name: String, page: Page }
    CreateVirtualMFADevice { virtual_mfa_device_name: String, path: Option<String> }
    DeleteVirtualMFADevice { serial_number: String }
    EnableMFADevice {
        user_name: String,
        serial_number: String,
        authentication_code1: String,
        authentication_code2: String,
    }
    DeactivateMFADevice { user_name: String, serial_number: String }
    ListSigningCertificates { user_name: String, page: Page }
    UploadSigningCertificate { user_name: String, certificate_body: String }
    DeleteSigningCertificate { user_name: String, certificate_id: String }
    ListSSHPublicKeys { user_name: String, page: Page }
    UploadSSHPublicKey { user_name: String, ssh_public_key_body: String }
    DeleteSSHPublicKey { user_name: String, ssh_public_key_id: String }
    ListServiceSpecificCredentials { user_name: String, service_name: Option<String> }
    CreateServiceSpecificCredential { user_name: String, service_name: String }
    DeleteServiceSpecificCredential { user_name: String, service_specific_credential_id: String }
    ListGroupsForUser { user_name: String, page: Page }
    CreateGroup { group_name: String, path: Option<String> }
    DeleteGroup { group_name: String }
    AddUserToGroup { user_name: String, group_name: String }
    RemoveUserFromGroup { user_name: String, group_name: String }

    GetAccountAuthorizationDetails { filter: Vec<DetailsFilter>, page: Page }
    GetAccountSummary {}
    GenerateCredentialReport {}
    GetCredentialReport {}
    GetRole { role_name: String }
    SimulatePrincipalPolicy {
        policy_source_arn: String,
        action_names: Vec<String>,
        resource_arns: Vec<String>,
        context_entries: Vec<(String, Vec<String>)>,
    }

    GetCallerIdentity {}
    AssumeRole {
        role_arn: String,
        role_session_name: String,
        external_id: Option<String>,
        duration_seconds: Option<u32>,
    }
    GetSessionToken { duration_seconds: Option<u32> }
}

/// What a call is about: for the history, and for the resource that a policy has to allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject<'a> {
    User(&'a str),
    /// A user that is to be created under a path.
    NewUser(&'a str, &'a str),
    Policy(&'a str),
    /// A policy that is to be created under a path.
    NewPolicy(&'a str, &'a str),
    Group(&'a str),
    Key(&'a str),
    Device(&'a str),
    /// A role by its name, or whoever is named by an ARN.
    Principal(&'a str),
    Account,
}

impl Request {
    /// What the call is about.
    pub(super) fn subject(&self) -> Subject<'_> {
        match self {
            Self::CreateUser { user_name, path, .. } => Subject::NewUser(user_name, path.as_deref().unwrap_or("/")),
            Self::GetUser { user_name }
            | Self::ListUserTags { user_name, .. }
            | Self::UpdateUser { user_name, .. }
            | Self::DeleteUser { user_name }
            | Self::TagUser { user_name, .. }
            | Self::UntagUser { user_name, .. }
            | Self::PutUserPermissionsBoundary { user_name, .. }
            | Self::DeleteUserPermissionsBoundary { user_name }
            | Self::ListAccessKeys { user_name, .. }
            | Self::CreateAccessKey { user_name }
            | Self::UpdateAccessKey { user_name, .. }
            | Self::DeleteAccessKey { user_name, .. }
            | Self::ListAttachedUserPolicies { user_name, .. }
            | Self::AttachUserPolicy { user_name, .. }
            | Self::DetachUserPolicy { user_name, .. }
            | Self::GetUserPolicy { user_name, .. }
            | Self::ListUserPolicies { user_name, .. }
            | Self::PutUserPolicy { user_name, .. }
            | Self::DeleteUserPolicy { user_name, .. }
            | Self::GetLoginProfile { user_name }
            | Self::CreateLoginProfile { user_name, .. }
            | Self::DeleteLoginProfile { user_name }
            | Self::ListMFADevices { user_name, .. }
            | Self::EnableMFADevice { user_name, .. }
            | Self::DeactivateMFADevice { user_name, .. }
            | Self::ListSigningCertificates { user_name, .. }
            | Self::UploadSigningCertificate { user_name, .. }
            | Self::DeleteSigningCertificate { user_name, .. }
            | Self::ListSSHPublicKeys { user_name, .. }
            | Self::UploadSSHPublicKey { user_name, .. }
            | Self::DeleteSSHPublicKey { user_name, .. }
            | Self::ListServiceSpecificCredentials { user_name, .. }
            | Self::CreateServiceSpecificCredential { user_name, .. }
            | Self::DeleteServiceSpecificCredential { user_name, .. }
            | Self::ListGroupsForUser { user_name, .. } => Subject::User(user_name),
            Self::CreatePolicy { policy_name, path, .. } => {
                Subject::NewPolicy(policy_name, path.as_deref().unwrap_or("/"))
            }
            Self::GetPolicy { policy_arn }
            | Self::GetPolicyVersion { policy_arn, .. }
            | Self::ListPolicyVersions { policy_arn, .. }
            | Self::ListEntitiesForPolicy { policy_arn, .. }
            | Self::CreatePolicyVersion { policy_arn, .. }
            | Self::DeletePolicyVersion { policy_arn, .. }
            | Self::SetDefaultPolicyVersion { policy_arn, .. }
            | Self::DeletePolicy { policy_arn }
            | Self::TagPolicy { policy_arn, .. }
            | Self::UntagPolicy { policy_arn, .. } => Subject::Policy(policy_arn),
            Self::CreateGroup { group_name, .. }
            | Self::DeleteGroup { group_name }
            | Self::AddUserToGroup { group_name, .. }
            | Self::RemoveUserFromGroup { group_name, .. } => Subject::Group(group_name),
            Self::GetAccessKeyLastUsed { access_key_id } => Subject::Key(access_key_id),
            Self::CreateVirtualMFADevice { virtual_mfa_device_name, .. } => Subject::Device(virtual_mfa_device_name),
            Self::DeleteVirtualMFADevice { serial_number } => Subject::Device(serial_number),
            Self::AssumeRole { role_arn: name, .. }
            | Self::GetRole { role_name: name }
            | Self::SimulatePrincipalPolicy { policy_source_arn: name, .. } => Subject::Principal(name),
            Self::ListUsers { .. }
            | Self::ListPolicies { .. }
            | Self::GetAccountAuthorizationDetails { .. }
            | Self::GetAccountSummary {}
            | Self::GenerateCredentialReport {}
            | Self::GetCredentialReport {}
            | Self::GetCallerIdentity {}
            | Self::GetSessionToken { .. } => Subject::Account,
        }
    }

    /// The name or ARN that the call is about, empty for a call about the whole account.
    pub fn target(&self) -> &str {
        match self.subject() {
            Subject::User(name)
            | Subject::NewUser(name, _)
            | Subject::Policy(name)
            | Subject::NewPolicy(name, _)
            | Subject::Group(name)
            | Subject::Key(name)
            | Subject::Device(name)
            | Subject::Principal(name) => name,
            Subject::Account => "",
        }
    }

    /// The page that a list is asked for.
    pub(super) fn page(&self) -> Option<&Page> {
        match self {
            Self::ListUsers { page, .. }
            | Self::ListUserTags { page, .. }
            | Self::ListAccessKeys { page, .. }
            | Self::ListPolicyVersions { page, .. }
            | Self::ListPolicies { page, .. }
            | Self::ListEntitiesForPolicy { page, .. }
            | Self::ListAttachedUserPolicies { page, .. }
            | Self::ListUserPolicies { page, .. }
            | Self::ListMFADevices { page, .. }
            | Self::ListSigningCertificates { page, .. }
            | Self::ListSSHPublicKeys { page, .. }
            | Self::ListGroupsForUser { page, .. }
            | Self::GetAccountAuthorizationDetails { page, .. } => Some(page),
            _ => None,
        }
    }
}
