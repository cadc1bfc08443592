//! The AWS query protocol: from form parameters to a request.

use std::collections::BTreeMap;

use super::super::error::{ApiError, Code};
use super::super::model::{Status, Tag};
use super::super::names::invalid;
use super::super::operation::Operation;
use super::super::request::{DetailsFilter, Page, PolicyScope, Request};

/// The parameters of a call.
#[derive(Debug)]
pub(super) struct Form(BTreeMap<String, String>);

impl Form {
    pub(super) fn parse(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    /// Which call it is.
    pub(super) fn operation(&self) -> Result<Operation, ApiError> {
        let name = self.0.get("Action").map_or("", String::as_str);
        Operation::parse(name).ok_or_else(|| {
            let version = self.0.get("Version").map_or("", String::as_str);
            Code::InvalidAction.error(format!("Could not find operation {name} for version {version}"))
        })
    }

    fn optional(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    fn required(&self, name: &str) -> Result<String, ApiError> {
        self.optional(name).ok_or_else(|| {
            let mut letters = name.chars();
            let camel: String = letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect();
            Code::ValidationError.error(format!(
                "1 validation error detected: Value null at '{camel}' failed to satisfy constraint: Member must not \
                 be null"
            ))
        })
    }

    fn number(&self, name: &str) -> Result<Option<u32>, ApiError> {
        let parse = |text: &String| text.parse().map_err(|_| invalid(name, "Member must be a number"));
        self.0.get(name).map(parse).transpose()
    }

    fn flag(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|text| text == "true")
    }

    /// `Name.member.1`, `Name.member.2`, …
    fn list(&self, name: &str) -> Vec<String> {
        (1..).map_while(|number| self.optional(&format!("{name}.member.{number}"))).collect()
    }

    fn tags(&self) -> Vec<Tag> {
        (1..)
            .map_while(|number| {
                let key = self.optional(&format!("Tags.member.{number}.Key"))?;
                let value = self.optional(&format!("Tags.member.{number}.Value")).unwrap_or_default();
                Some(Tag { key, value })
            })
            .collect()
    }

    fn context_entries(&self) -> Vec<(String, Vec<String>)> {
        let entry = |number| format!("ContextEntries.member.{number}");
        (1..)
            .map_while(|number| {
                let key = self.optional(&format!("{}.ContextKeyName", entry(number)))?;
                Some((key, self.list(&format!("{}.ContextKeyValues", entry(number)))))
            })
            .collect()
    }

    fn page(&self) -> Result<Page, ApiError> {
        Ok(Page { marker: self.optional("Marker"), max_items: self.number("MaxItems")? })
    }

    /// A word out of a set, or the error for another one.
    fn word<T>(&self, name: &str, words: impl IntoIterator<Item = (&'static str, T)>) -> Result<T, ApiError> {
        let given = self.required(name)?;
        words
            .into_iter()
            .find_map(|(word, value)| (word == given).then_some(value))
            .ok_or_else(|| invalid(name, "Member must satisfy enum value set"))
    }

    /// Reads the parameters of a call. `caller` is the name of the calling user, which is meant where none is given.
    pub(super) fn request(&self, operation: Operation, caller: Option<&str>) -> Result<Request, ApiError> {
        let user = || {
            self.optional("UserName").or_else(|| caller.map(str::to_owned)).ok_or_else(|| {
                Code::ValidationError.error("Must specify userName when calling with non-User credentials")
            })
        };
        let named_user = || self.required("UserName");
        let policy_arn = || self.required("PolicyArn");
        Ok(match operation {
            Operation::GetUser => Request::GetUser { user_name: user()? },
            Operation::ListUsers => Request::ListUsers { path_prefix: self.optional("PathPrefix"), page: self.page()? },
            Operation::ListUserTags => Request::ListUserTags { user_name: named_user()?, page: self.page()? },
            Operation::CreateUser => Request::CreateUser {
                user_name: named_user()?,
                path: self.optional("Path"),
                permissions_boundary: self.optional("PermissionsBoundary"),
                tags: self.tags(),
            },
            Operation::UpdateUser => Request::UpdateUser {
                user_name: named_user()?,
                new_user_name: self.optional("NewUserName"),
                new_path: self.optional("NewPath"),
            },
            Operation::DeleteUser => Request::DeleteUser { user_name: named_user()? },
            Operation::TagUser => Request::TagUser { user_name: named_user()?, tags: self.tags() },
            Operation::UntagUser => Request::UntagUser { user_name: named_user()?, tag_keys: self.list("TagKeys") },
            Operation::PutUserPermissionsBoundary => Request::PutUserPermissionsBoundary {
                user_name: named_user()?,
                permissions_boundary: self.required("PermissionsBoundary")?,
            },
            Operation::DeleteUserPermissionsBoundary => {
                Request::DeleteUserPermissionsBoundary { user_name: named_user()? }
            }
            Operation::ListAccessKeys => Request::ListAccessKeys { user_name: user()?, page: self.page()? },
            Operation::GetAccessKeyLastUsed => {
                Request::GetAccessKeyLastUsed { access_key_id: self.required("AccessKeyId")? }
            }
            Operation::CreateAccessKey => Request::CreateAccessKey { user_name: user()? },
            Operation::UpdateAccessKey => Request::UpdateAccessKey {
                user_name: user()?,
                access_key_id: self.required("AccessKeyId")?,
                status: self.word("Status", [("Active", Status::Active), ("Inactive", Status::Inactive)])?,
            },
            Operation::DeleteAccessKey => {
                Request::DeleteAccessKey { user_name: user()?, access_key_id: self.required("AccessKeyId")? }
            }
            Operation::GetPolicy => Request::GetPolicy { policy_arn: policy_arn()? },
            Operation::GetPolicyVersion => {
                Request::GetPolicyVersion { policy_arn: policy_arn()?, version_id: self.required("VersionId")? }
            }
            Operation::ListPolicyVersions => {
                Request::ListPolicyVersions { policy_arn: policy_arn()?, page: self.page()? }
            }
            Operation::ListPolicies => Request::ListPolicies {
                scope: match self.optional("Scope") {
                    None => PolicyScope::All,
                    Some(_) => self.word(
                        "Scope",
                        [("All", PolicyScope::All), ("AWS", PolicyScope::Aws), ("Local", PolicyScope::Local)],
                    )?,
                },
                only_attached: self.flag("OnlyAttached"),
                path_prefix: self.optional("PathPrefix"),
                page: self.page()?,
            },
            Operation::ListEntitiesForPolicy => {
                Request::ListEntitiesForPolicy { policy_arn: policy_arn()?, page: self.page()? }
            }
            Operation::ListAttachedUserPolicies => Request::ListAttachedUserPolicies {
                user_name: named_user()?,
                path_prefix: self.optional("PathPrefix"),
                page: self.page()?,
            },
            Operation::CreatePolicy => Request::CreatePolicy {
                policy_name: self.required("PolicyName")?,
                path: self.optional("Path"),
                policy_document: self.required("PolicyDocument")?,
                description: self.optional("Description"),
                tags: self.tags(),
            },
            Operation::CreatePolicyVersion => Request::CreatePolicyVersion {
                policy_arn: policy_arn()?,
                policy_document: self.required("PolicyDocument")?,
                set_as_default: self.flag("SetAsDefault"),
            },
            Operation::DeletePolicyVersion => {
                Request::DeletePolicyVersion { policy_arn: policy_arn()?, version_id: self.required("VersionId")? }
            }
            Operation::SetDefaultPolicyVersion => {
                Request::SetDefaultPolicyVersion { policy_arn: policy_arn()?, version_id: self.required("VersionId")? }
            }
            Operation::DeletePolicy => Request::DeletePolicy { policy_arn: policy_arn()? },
            Operation::TagPolicy => Request::TagPolicy { policy_arn: policy_arn()?, tags: self.tags() },
            Operation::UntagPolicy => {
                Request::UntagPolicy { policy_arn: policy_arn()?, tag_keys: self.list("TagKeys") }
            }
            Operation::AttachUserPolicy => {
                Request::AttachUserPolicy { user_name: named_user()?, policy_arn: policy_arn()? }
            }
            Operation::DetachUserPolicy => {
                Request::DetachUserPolicy { user_name: named_user()?, policy_arn: policy_arn()? }
            }
            Operation::GetUserPolicy => {
                Request::GetUserPolicy { user_name: named_user()?, policy_name: self.required("PolicyName")? }
            }
            Operation::ListUserPolicies => Request::ListUserPolicies { user_name: named_user()?, page: self.page()? },
            Operation::PutUserPolicy => Request::PutUserPolicy {
                user_name: named_user()?,
                policy_name: self.required("PolicyName")?,
                policy_document: self.required("PolicyDocument")?,
            },
            Operation::DeleteUserPolicy => {
                Request::DeleteUserPolicy { user_name: named_user()?, policy_name: self.required("PolicyName")? }
            }
            Operation::GetAccountAuthorizationDetails => {
                let words = DetailsFilter::ALL.map(|filter| (filter.as_str(), filter));
                let filter = self.list("Filter").into_iter().map(|given| {
                    let found = words.iter().find(|(word, _)| *word == given).map(|(_, filter)| *filter);
                    found.ok_or_else(|| invalid("filter", "Member must satisfy enum value set"))
                });
                Request::GetAccountAuthorizationDetails {
                    filter: filter.collect::<Result<_, _>>()?,
                    page: self.page()?,
                }
            }
            Operation::GetRole => Request::GetRole { role_name: self.required("RoleName")? },
            Operation::SimulatePrincipalPolicy => Request::SimulatePrincipalPolicy {
                policy_source_arn: self.required("PolicySourceArn")?,
                action_names: self.list("ActionNames"),
                resource_arns: self.list("ResourceArns"),
                context_entries: self.context_entries(),
            },
            Operation::GetAccountSummary => Request::GetAccountSummary {},
            Operation::GenerateCredentialReport => Request::GenerateCredentialReport {},
            Operation::GetCredentialReport => Request::GetCredentialReport {},
            Operation::GetCallerIdentity => Request::GetCallerIdentity {},
            Operation::AssumeRole => Request::AssumeRole {
                role_arn: self.required("RoleArn")?,
                role_session_name: self.required("RoleSessionName")?,
                external_id: self.optional("ExternalId"),
                duration_seconds: self.number("DurationSeconds")?,
            },
            Operation::GetSessionToken => {
                Request::GetSessionToken { duration_seconds: self.number("DurationSeconds")? }
            }
            leftover => return self.leftover(leftover, user),
        })
    }

    /// The parameters of the calls about what an operator does not make, and has to clean up.
    fn leftover(&self, operation: Operation, user: impl Fn() -> Result<String, ApiError>) -> Result<Request, ApiError> {
        Ok(match operation {
            Operation::GetLoginProfile => Request::GetLoginProfile { user_name: user()? },
            Operation::CreateLoginProfile => {
                Request::CreateLoginProfile { user_name: user()?, password: self.required("Password")? }
            }
            Operation::DeleteLoginProfile => Request::DeleteLoginProfile { user_name: user()? },
            Operation::ListMFADevices => Request::ListMFADevices { user_name: user()?, page: self.page()? },
            Operation::CreateVirtualMFADevice => Request::CreateVirtualMFADevice {
                virtual_mfa_device_name: self.required("VirtualMFADeviceName")?,
                path: self.optional("Path"),
            },
            Operation::DeleteVirtualMFADevice => {
                Request::DeleteVirtualMFADevice { serial_number: self.required("SerialNumber")? }
            }
            Operation::EnableMFADevice => Request::EnableMFADevice {
                user_name: user()?,
                serial_number: self.required("SerialNumber")?,
                authentication_code1: self.required("AuthenticationCode1")?,
                authentication_code2: self.required("AuthenticationCode2")?,
            },
            Operation::DeactivateMFADevice => {
                Request::DeactivateMFADevice { user_name: user()?, serial_number: self.required("SerialNumber")? }
            }
            Operation::ListSigningCertificates => {
                Request::ListSigningCertificates { user_name: user()?, page: self.page()? }
            }
            Operation::UploadSigningCertificate => Request::UploadSigningCertificate {
                user_name: user()?,
                certificate_body: self.required("CertificateBody")?,
            },
            Operation::DeleteSigningCertificate => Request::DeleteSigningCertificate {
                user_name: user()?,
                certificate_id: self.required("CertificateId")?,
            },
            Operation::ListSSHPublicKeys => Request::ListSSHPublicKeys { user_name: user()?, page: self.page()? },
            Operation::UploadSSHPublicKey => Request::UploadSSHPublicKey {
                user_name: user()?,
                ssh_public_key_body: self.required("SSHPublicKeyBody")?,
            },
            Operation::DeleteSSHPublicKey => {
                Request::DeleteSSHPublicKey { user_name: user()?, ssh_public_key_id: self.required("SSHPublicKeyId")? }
            }
            Operation::ListServiceSpecificCredentials => Request::ListServiceSpecificCredentials {
                user_name: user()?,
                service_name: self.optional("ServiceName"),
            },
            Operation::CreateServiceSpecificCredential => Request::CreateServiceSpecificCredential {
                user_name: user()?,
                service_name: self.required("ServiceName")?,
            },
            Operation::DeleteServiceSpecificCredential => Request::DeleteServiceSpecificCredential {
                user_name: user()?,
                service_specific_credential_id: self.required("ServiceSpecificCredentialId")?,
            },
            Operation::ListGroupsForUser => Request::ListGroupsForUser { user_name: user()?, page: self.page()? },
            Operation::CreateGroup => {
                Request::CreateGroup { group_name: self.required("GroupName")?, path: self.optional("Path") }
            }
            Operation::DeleteGroup => Request::DeleteGroup { group_name: self.required("GroupName")? },
            Operation::AddUserToGroup => {
                Request::AddUserToGroup { user_name: user()?, group_name: self.required("GroupName")? }
            }
            Operation::RemoveUserFromGroup => {
                Request::RemoveUserFromGroup { user_name: user()?, group_name: self.required("GroupName")? }
            }
            other => return Err(Code::InvalidAction.error(format!("Could not find operation {other}"))),
        })
    }
}
