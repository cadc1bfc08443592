//! One account's IAM: from a call to its answer, without a clock and without I/O.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::caller::{Caller, Credentials};
use super::document::Document;
use super::error::{ApiError, Code};
use super::ids::{Ids, Prefix};
use super::keys::Usage;
use super::model::{Account, Role};
use super::operation::{Kind, Operation};
use super::replica::Replicas;
use super::report::Report;
use super::request::Request;
use super::response::{Response, Window};
use super::settings::{Lag, Settings};
use super::state::State;
use super::throttle::Buckets;

/// An account's IAM. A copy is cheap, and goes its own way from then on.
#[derive(Debug, Clone)]
pub struct Iam {
    pub(super) state: State,
    pub(super) settings: Settings,
    pub(super) ids: Ids,
    pub(super) usage: BTreeMap<String, Usage>,
    pub(super) roles: Vec<Role>,
    pub(super) report: Option<Report>,
    root: Credentials,
    replicas: Replicas,
    buckets: Buckets,
}

impl Iam {
    /// An empty account.
    pub fn new(account: Account, settings: Settings) -> Self {
        let mut ids = Ids::new(settings.seed);
        let root = Credentials {
            access_key_id: ids.id(Prefix::AccessKey),
            secret_access_key: ids.secret(),
            session_token: None,
        };
        Self {
            state: State::new(account),
            settings,
            ids,
            usage: BTreeMap::new(),
            roles: Vec::new(),
            report: None,
            root,
            replicas: Replicas::default(),
            buckets: Buckets::default(),
        }
    }

    /// The latest state, which no replica hides.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// How the account behaves.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How the account behaves, to be changed at any time.
    pub fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// The key of the account's root, which may do everything.
    pub fn root_credentials(&self) -> &Credentials {
        &self.root
    }

    /// Adds a role that callers can assume, in place of one of the same name, and gives its ARN. `trusts` holds ARNs of
    /// callers or of accounts' roots, or `*`; `policies` are documents of what the role may do.
    ///
    /// # Errors
    /// `MalformedPolicyDocument` for a document that IAM would not accept.
    pub fn put_role(
        &mut self,
        name: &str,
        trusts: &[&str],
        external_id: Option<&str>,
        policies: &[&str],
    ) -> Result<String, ApiError> {
        let account = &self.state.account;
        let arn = account.arn(&format!("role/{name}"));
        let policies = policies
            .iter()
            .map(|text| Document::parse(text, &account.partition).map(Arc::new))
            .collect::<Result<_, _>>()?;
        let role = Role {
            name: name.to_owned(),
            arn: arn.clone(),
            id: self.ids.id(Prefix::Role),
            trusts: trusts.iter().map(|trusted| (*trusted).to_owned()).collect(),
            external_id: external_id.map(str::to_owned),
            policies,
        };
        self.roles.retain(|other| other.name != name);
        self.roles.push(role);
        self.roles.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(arn)
    }

    /// Answers a call of IAM: throttling, then the form of the parameters, then permission, then the call itself. A call that fails changes nothing.
    ///
    /// # Errors
    /// What AWS answers; `InvalidAction` for a call of STS, which [`super::World`] answers.
    pub fn call(&mut self, now: Timestamp, caller: &Caller, request: &Request) -> Result<Response, ApiError> {
        let operation = request.operation();
        self.throttle(now, operation)?;
        // Before it is known whether there is such an entity (recorded).
        request.check()?;
        self.check_permission(now, caller, request)?;
        match operation.kind() {
            Kind::Read => self.read(now, caller, request),
            Kind::Write => {
                let before = self.state.clone();
                let answer = self.write(now, request).inspect_err(|_| self.state = before.clone())?;
                let longest = self.settings.reads.longest.max(self.settings.credentials.longest);
                self.replicas.record(now, longest, before, self.state.clone());
                Ok(answer)
            }
            Kind::Sts => Err(Code::InvalidAction.error(format!("Could not find operation {operation}"))),
        }
    }

    /// Takes a token from the bucket of an operation.
    pub(super) fn throttle(&mut self, now: Timestamp, operation: Operation) -> Result<(), ApiError> {
        self.buckets.take(now, operation, &self.settings.throttle)
    }

    /// The state that one read sees.
    pub(super) fn view(&mut self, now: Timestamp, lag: Lag) -> State {
        self.replicas.choose(now, lag, &mut self.ids, &self.state)
    }

    /// The part of a list that a request asks for.
    fn window(&mut self, request: &Request) -> Result<Window, ApiError> {
        let page = request.page().cloned().unwrap_or_default();
        let (short, ids) = (self.settings.short_pages, &mut self.ids);
        Window::of(&page, |asked| {
            let fewer = if short { ids.up_to(u64::from(asked) / 2) } else { 0 };
            asked - u32::try_from(fewer).unwrap_or_default()
        })
    }

    fn read(&mut self, now: Timestamp, caller: &Caller, request: &Request) -> Result<Response, ApiError> {
        let view = self.view(now, self.settings.reads);
        let window = self.window(request)?;
        let reorder = self.settings.reorder_documents;
        match request {
            Request::GetUser { user_name } => Ok(Response::User(view.user(user_name)?.clone())),
            Request::ListUsers { path_prefix, .. } => Ok(view.list_users(path_prefix.as_deref(), &window)),
            Request::ListUserTags { user_name, .. } => view.list_user_tags(user_name, &window),
            Request::ListAccessKeys { user_name, .. } => view.list_access_keys(user_name, &window),
            Request::GetAccessKeyLastUsed { access_key_id } => {
                let used = self.access_key_last_used(now, &view, access_key_id);
                // To whoever may ask, AWS answers so for a key that is not the account's (recorded).
                used.ok_or_else(|| {
                    let who = self.arn_of(caller);
                    Code::AccessDenied.error(format!(
                        "User: {who} is not authorized to perform iam:GetAccessKeyLastUsed on resource: access key {access_key_id}"
                    ))
                })
            }
            Request::GetPolicy { policy_arn } => Ok(Response::Policy(view.policy(policy_arn)?.clone())),
            Request::GetPolicyVersion { policy_arn, version_id } => {
                view.get_policy_version(policy_arn, version_id, reorder)
            }
            Request::ListPolicyVersions { policy_arn, .. } => view.list_policy_versions(policy_arn, &window),
            Request::ListPolicies { scope, only_attached, path_prefix, .. } => {
                Ok(view.list_policies(*scope, *only_attached, path_prefix.as_deref(), &window))
            }
            Request::ListEntitiesForPolicy { policy_arn, .. } => view.list_entities(policy_arn, &window),
            Request::ListAttachedUserPolicies { user_name, path_prefix, .. } => {
                view.list_attached(user_name, path_prefix.as_deref(), &window)
            }
            Request::GetUserPolicy { user_name, policy_name } => view.get_user_policy(user_name, policy_name, reorder),
            Request::ListUserPolicies { user_name, .. } => view.list_user_policies(user_name, &window),
            Request::GetLoginProfile { user_name } => view.get_login_profile(user_name),
            Request::ListMFADevices { user_name, .. } => view.list_mfa_devices(user_name, &window),
            Request::ListSigningCertificates { user_name, .. } => view.list_signing_certificates(user_name, &window),
            Request::ListSSHPublicKeys { user_name, .. } => view.list_ssh_keys(user_name, &window),
            Request::ListServiceSpecificCredentials { user_name, service_name } => {
                view.list_service_credentials(user_name, service_name.as_deref())
            }
            Request::ListGroupsForUser { user_name, .. } => view.list_groups_for_user(user_name, &window),
            Request::GetAccountAuthorizationDetails { filter, .. } => {
                Ok(view.account_details(&self.roles, filter, &window, reorder))
            }
            Request::GetRole { role_name } => self.role_named(role_name).cloned().map(Response::Role),
            Request::SimulatePrincipalPolicy { policy_source_arn, action_names, resource_arns, context_entries } => {
                self.simulate(&view, policy_source_arn, [action_names, resource_arns], context_entries)
            }
            Request::GetAccountSummary {} => Ok(view.account_summary(&self.settings)),
            Request::GenerateCredentialReport {} => Ok(self.generate_credential_report(now, &view)),
            Request::GetCredentialReport {} => self.get_credential_report(now),
            other => Err(unanswered(other)),
        }
    }

    fn write(&mut self, now: Timestamp, request: &Request) -> Result<Response, ApiError> {
        match request {
            Request::CreateUser { user_name, path, permissions_boundary, tags } => {
                self.create_user(now, user_name, path.as_deref(), permissions_boundary.clone(), tags)
            }
            Request::UpdateUser { user_name, new_user_name, new_path } => {
                self.update_user(user_name, new_user_name.as_deref(), new_path.as_deref())
            }
            Request::DeleteUser { user_name } => self.delete_user(user_name),
            Request::TagUser { user_name, tags } => self.tag_user(user_name, tags),
            Request::UntagUser { user_name, tag_keys } => self.untag_user(user_name, tag_keys),
            Request::PutUserPermissionsBoundary { user_name, permissions_boundary } => {
                self.set_boundary(user_name, Some(permissions_boundary.clone()))
            }
            Request::DeleteUserPermissionsBoundary { user_name } => self.set_boundary(user_name, None),
            Request::CreateAccessKey { user_name } => self.create_access_key(now, user_name),
            Request::UpdateAccessKey { user_name, access_key_id, status } => {
                self.update_access_key(user_name, access_key_id, *status)
            }
            Request::DeleteAccessKey { user_name, access_key_id } => self.delete_access_key(user_name, access_key_id),
            Request::CreatePolicy { policy_name, path, policy_document, description, tags } => {
                self.create_policy(now, policy_name, path.as_deref(), policy_document, description.clone(), tags)
            }
            Request::CreatePolicyVersion { policy_arn, policy_document, set_as_default } => {
                self.create_policy_version(now, policy_arn, policy_document, *set_as_default)
            }
            Request::DeletePolicyVersion { policy_arn, version_id } => {
                self.delete_policy_version(now, policy_arn, version_id)
            }
            Request::SetDefaultPolicyVersion { policy_arn, version_id } => {
                self.set_default_policy_version(now, policy_arn, version_id)
            }
            Request::DeletePolicy { policy_arn } => self.delete_policy(policy_arn),
            Request::TagPolicy { policy_arn, tags } => self.tag_policy(policy_arn, tags),
            Request::UntagPolicy { policy_arn, tag_keys } => self.untag_policy(policy_arn, tag_keys),
            Request::AttachUserPolicy { user_name, policy_arn } => self.attach_user_policy(user_name, policy_arn),
            Request::DetachUserPolicy { user_name, policy_arn } => self.detach_user_policy(user_name, policy_arn),
            Request::PutUserPolicy { user_name, policy_name, policy_document } => {
                self.put_user_policy(user_name, policy_name, policy_document)
            }
            Request::DeleteUserPolicy { user_name, policy_name } => self.delete_user_policy(user_name, policy_name),
            other => self.write_leftover(now, other),
        }
    }

    /// The calls about what an operator does not make, and has to clean up.
    fn write_leftover(&mut self, now: Timestamp, request: &Request) -> Result<Response, ApiError> {
        match request {
            Request::CreateLoginProfile { user_name, .. } => self.create_login_profile(now, user_name),
            Request::DeleteLoginProfile { user_name } => self.delete_login_profile(user_name),
            Request::CreateVirtualMFADevice { virtual_mfa_device_name, path } => {
                self.create_virtual_device(virtual_mfa_device_name, path.as_deref())
            }
            Request::DeleteVirtualMFADevice { serial_number } => self.delete_virtual_device(serial_number),
            Request::EnableMFADevice { user_name, serial_number, authentication_code1, authentication_code2 } => {
                self.enable_device(now, user_name, serial_number, [authentication_code1, authentication_code2])
            }
            Request::DeactivateMFADevice { user_name, serial_number } => {
                self.deactivate_device(user_name, serial_number)
            }
            Request::UploadSigningCertificate { user_name, certificate_body } => {
                self.upload_signing_certificate(now, user_name, certificate_body)
            }
            Request::DeleteSigningCertificate { user_name, certificate_id } => {
                self.delete_signing_certificate(user_name, certificate_id)
            }
            Request::UploadSSHPublicKey { user_name, ssh_public_key_body } => {
                self.upload_ssh_key(now, user_name, ssh_public_key_body)
            }
            Request::DeleteSSHPublicKey { user_name, ssh_public_key_id } => {
                self.delete_ssh_key(user_name, ssh_public_key_id)
            }
            Request::CreateServiceSpecificCredential { user_name, service_name } => {
                self.create_service_credential(now, user_name, service_name)
            }
            Request::DeleteServiceSpecificCredential { user_name, service_specific_credential_id } => {
                self.delete_service_credential(user_name, service_specific_credential_id)
            }
            Request::CreateGroup { group_name, path } => self.create_group(now, group_name, path.as_deref()),
            Request::DeleteGroup { group_name } => self.delete_group(group_name),
            Request::AddUserToGroup { user_name, group_name } => self.add_user_to_group(user_name, group_name),
            Request::RemoveUserFromGroup { user_name, group_name } => {
                self.remove_user_from_group(user_name, group_name)
            }
            other => Err(unanswered(other)),
        }
    }
}

/// A call that the double lists and does not answer; the test over [`super::Operation::ALL`] sees that there is none.
fn unanswered(request: &Request) -> ApiError {
    Code::InvalidAction.error(format!("Could not find operation {}", request.operation()))
}
