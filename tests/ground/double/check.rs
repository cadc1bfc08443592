//! The form of a call's parameters, which IAM checks before anything else (IAM API reference; recorded answers).

use super::error::{ApiError, Code};
use super::limits;
use super::names::{Tagged, check_length, check_name, check_path, check_tag_keys, invalid};
use super::request::{Request, Subject};

/// Descriptions may have 1,000 characters (API reference, CreatePolicy).
const DESCRIPTION_CHARACTERS: usize = 1_000;
/// The names of users that a call is about may be longer than those of new ones (API reference).
const EXISTING_NAME_CHARACTERS: usize = 128;

impl Request {
    /// Refuses a parameter that breaks the constraints of the API's model.
    pub(super) fn check(&self) -> Result<(), ApiError> {
        self.check_subject()?;
        match self {
            Self::CreateUser { path, permissions_boundary, tags, .. } => {
                path.as_deref().map_or(Ok(()), check_path)?;
                permissions_boundary.as_deref().map_or(Ok(()), check_boundary)?;
                Tagged::User.check(tags)
            }
            Self::UpdateUser { new_user_name, new_path, .. } => {
                new_user_name.as_deref().map_or(Ok(()), check_new_user)?;
                new_path.as_deref().map_or(Ok(()), check_path)
            }
            Self::TagUser { tags, .. } => Tagged::User.check(tags),
            Self::CreatePolicy { path, description, tags, .. } => {
                path.as_deref().map_or(Ok(()), check_path)?;
                check_length("description", description.as_deref().unwrap_or_default(), 0, DESCRIPTION_CHARACTERS)?;
                Tagged::Policy.check(tags)
            }
            Self::TagPolicy { tags, .. } => Tagged::Policy.check(tags),
            Self::UntagUser { tag_keys, .. } | Self::UntagPolicy { tag_keys, .. } => check_tag_keys(tag_keys),
            Self::PutUserPermissionsBoundary { permissions_boundary, .. } => check_boundary(permissions_boundary),
            Self::GetPolicyVersion { version_id, .. }
            | Self::DeletePolicyVersion { version_id, .. }
            | Self::SetDefaultPolicyVersion { version_id, .. } => check_version(version_id),
            Self::AttachUserPolicy { policy_arn, .. } | Self::DetachUserPolicy { policy_arn, .. } => {
                check_policy_arn(policy_arn)
            }
            Self::PutUserPolicy { policy_name, .. } => check_name("policyName", policy_name, limits::NAME_CHARACTERS),
            Self::CreateLoginProfile { password, .. } => check_length("password", password, 1, 128),
            Self::CreateVirtualMFADevice { path, .. } | Self::CreateGroup { path, .. } => {
                path.as_deref().map_or(Ok(()), check_path)
            }
            Self::DeleteServiceSpecificCredential { service_specific_credential_id: id, .. } => check_credential(id),
            _ => Ok(()),
        }
    }

    /// The name or the ARN that the call is about.
    fn check_subject(&self) -> Result<(), ApiError> {
        match self.subject() {
            Subject::User(name) => check_name("userName", name, EXISTING_NAME_CHARACTERS),
            Subject::NewUser(name, _) => check_new_user(name),
            Subject::Policy(arn) => check_policy_arn(arn),
            Subject::NewPolicy(name, _) => check_name("policyName", name, limits::NAME_CHARACTERS),
            Subject::Group(name) => check_name("groupName", name, limits::NAME_CHARACTERS),
            Subject::Device(name) if !name.starts_with("arn:") => check_name("virtualMFADeviceName", name, 226),
            Subject::Device(_) | Subject::Key(_) | Subject::Principal(_) | Subject::Account => Ok(()),
        }
    }
}

fn check_new_user(name: &str) -> Result<(), ApiError> {
    check_name("userName", name, limits::USER_NAME_CHARACTERS)
}

fn is_arn(text: &str) -> bool {
    text.starts_with("arn:") && text.splitn(6, ':').count() == 6
}

fn check_policy_arn(arn: &str) -> Result<(), ApiError> {
    check_length("policyArn", arn, 20, 2_048)?;
    if is_arn(arn) { Ok(()) } else { Err(Code::ValidationError.error(format!("ARN {arn} is not valid."))) }
}

/// Only a policy can be one; the code is another than where a policy is attached (recorded).
fn check_boundary(arn: &str) -> Result<(), ApiError> {
    check_length("permissionsBoundary", arn, 20, 2_048)?;
    if is_arn(arn) && arn.contains(":policy/") {
        Ok(())
    } else {
        Err(Code::InvalidInput.error(format!("ARN {arn} is not valid.")))
    }
}

fn check_version(id: &str) -> Result<(), ApiError> {
    let (number, rest) = id.strip_prefix('v').map_or(("", ""), |id| id.split_once('.').unwrap_or((id, "")));
    let numbered = !number.is_empty() && !number.starts_with('0') && number.bytes().all(|byte| byte.is_ascii_digit());
    if numbered && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Ok(());
    }
    let pattern = r"Member must satisfy regular expression pattern: v[1-9][0-9]*(\.[A-Za-z0-9-]*)?";
    Err(invalid("versionId", pattern))
}

fn check_credential(id: &str) -> Result<(), ApiError> {
    let parameter = "serviceSpecificCredentialId";
    check_length(parameter, id, 20, 128)?;
    if id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Ok(());
    }
    Err(invalid(parameter, r"Member must satisfy regular expression pattern: [\w]+"))
}
