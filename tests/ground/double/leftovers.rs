//! What people hang on a user by hand, and what then stops DeleteUser.

use std::sync::Arc;

use jiff::Timestamp;

use super::error::{ApiError, Code};
use super::iam::Iam;
use super::ids::Prefix;
use super::limits;
use super::model::{ServiceCredential, SigningCertificate, SshKey, Status, VirtualMfaDevice};
use super::names::fold;
use super::response::{Response, Window};
use super::state::State;

/// Services that have credentials of their own (API reference, CreateServiceSpecificCredential).
const SERVICES: [&str; 3] = ["codecommit.amazonaws.com", "cassandra.amazonaws.com", "bedrock.amazonaws.com"];

fn no_such(what: &str, id: &str) -> ApiError {
    Code::NoSuchEntity.error(format!("The {what} with id {id} cannot be found."))
}

fn no_login_profile(name: &str) -> ApiError {
    Code::NoSuchEntity.error(format!("Login Profile for User {name} cannot be found."))
}

fn check_service(service: &str) -> Result<(), ApiError> {
    if SERVICES.contains(&service) {
        return Ok(());
    }
    Err(Code::NoSuchEntity.error(format!("No such service {service} is supported for Service Specific Credentials")))
}

fn over_quota(what: &str, limit: usize) -> ApiError {
    Code::LimitExceeded.error(format!("Cannot exceed quota for {what}: {limit}"))
}

impl State {
    pub(super) fn get_login_profile(&self, name: &str) -> Result<Response, ApiError> {
        let user = self.user(name)?;
        let created = user.login_profile.ok_or_else(|| no_login_profile(name))?;
        Ok(Response::LoginProfile { user_name: user.name.clone(), created })
    }

    pub(super) fn list_mfa_devices(&self, name: &str, window: &Window) -> Result<Response, ApiError> {
        let user = self.user(name)?;
        let devices =
            window.take(user.mfa_devices.iter().map(|(serial, enabled)| (serial, (serial.clone(), *enabled))));
        Ok(Response::MfaDevices { user_name: user.name.clone(), devices })
    }

    pub(super) fn list_signing_certificates(&self, name: &str, window: &Window) -> Result<Response, ApiError> {
        let user = self.user(name)?;
        let certificates = window.take(by_id(&user.signing_certificates, |certificate| &certificate.id));
        Ok(Response::SigningCertificates { user_name: user.name.clone(), certificates })
    }

    pub(super) fn list_ssh_keys(&self, name: &str, window: &Window) -> Result<Response, ApiError> {
        let user = self.user(name)?;
        let keys = window.take(by_id(&user.ssh_keys, |key| &key.id));
        Ok(Response::SshKeys { user_name: user.name.clone(), keys })
    }

    pub(super) fn list_service_credentials(&self, name: &str, service: Option<&str>) -> Result<Response, ApiError> {
        let user = self.user(name)?;
        service.map_or(Ok(()), check_service)?;
        let credentials = user
            .service_credentials
            .iter()
            .filter(|credential| service.is_none_or(|service| credential.service == service))
            .cloned()
            .collect();
        Ok(Response::ServiceCredentials { user_name: user.name.clone(), credentials })
    }

    /// Notes which user a virtual device serves.
    pub(super) fn assign_device(&mut self, serial: &str, user: Option<String>) {
        let device = VirtualMfaDevice { serial: serial.to_owned(), user };
        self.devices.insert_mut(serial.to_owned(), Arc::new(device));
    }
}

/// Items with their identifiers, in the order of the latter.
fn by_id<T: Clone>(items: &[T], id: impl Fn(&T) -> &String) -> Vec<(&String, T)> {
    let mut sorted: Vec<(&String, T)> = items.iter().map(|item| (id(item), item.clone())).collect();
    sorted.sort_by_key(|(id, _)| *id);
    sorted
}

impl Iam {
    pub(super) fn create_login_profile(&mut self, now: Timestamp, name: &str) -> Result<Response, ApiError> {
        let user = self.state.user(name)?;
        if user.login_profile.is_some() {
            return Err(Code::EntityAlreadyExists.error(format!("Login Profile for user {name} already exists.")));
        }
        let user_name = user.name.clone();
        self.state.edit_user(name, |user| user.login_profile = Some(now))?;
        Ok(Response::LoginProfile { user_name, created: now })
    }

    pub(super) fn delete_login_profile(&mut self, name: &str) -> Result<Response, ApiError> {
        let removed = self.state.edit_user(name, |user| user.login_profile.take())?;
        removed.map(|_| Response::Done).ok_or_else(|| no_login_profile(name))
    }

    pub(super) fn create_virtual_device(&mut self, name: &str, path: Option<&str>) -> Result<Response, ApiError> {
        let path = path.unwrap_or("/");
        let serial = self.state.account.arn(&format!("mfa{path}{name}"));
        if self.state.devices.contains_key(&serial) {
            return Err(Code::EntityAlreadyExists.error("MFA device already exists."));
        }
        self.state.assign_device(&serial, None);
        Ok(Response::VirtualMfaDevice { serial, seed: self.ids.base32(64) })
    }

    pub(super) fn delete_virtual_device(&mut self, serial: &str) -> Result<Response, ApiError> {
        let device = self.state.devices.get(serial).ok_or_else(|| no_device(serial))?;
        if device.user.is_some() {
            return Err(Code::DeleteConflict.error("Cannot delete entity, must deactivate MFA device first."));
        }
        self.state.devices.remove_mut(serial);
        Ok(Response::Done)
    }

    /// The codes are not computed: any two different ones of six digits do.
    pub(super) fn enable_device(
        &mut self,
        now: Timestamp,
        name: &str,
        serial: &str,
        codes: [&str; 2],
    ) -> Result<Response, ApiError> {
        let user = self.state.user(name)?;
        let device = self.state.devices.get(serial).ok_or_else(|| no_device(serial))?;
        let six_digits = |code: &str| code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit());
        if !codes.iter().all(|code| six_digits(code)) || codes[0] == codes[1] {
            return Err(Code::InvalidAuthenticationCode.error("Authentication code for device is not valid."));
        }
        if device.user.is_some() {
            return Err(Code::EntityAlreadyExists.error("MFA Device is already in use."));
        }
        if user.mfa_devices.len() >= limits::MFA_DEVICES_PER_USER {
            return Err(over_quota("MFADevicesPerUser", limits::MFA_DEVICES_PER_USER));
        }
        self.state.assign_device(serial, Some(fold(name)));
        self.state.edit_user(name, |user| user.mfa_devices.insert(serial.to_owned(), now))?;
        Ok(Response::Done)
    }

    pub(super) fn deactivate_device(&mut self, name: &str, serial: &str) -> Result<Response, ApiError> {
        let removed = self.state.edit_user(name, |user| user.mfa_devices.remove(serial))?;
        if removed.is_none() {
            return Err(no_device(serial));
        }
        self.state.assign_device(serial, None);
        Ok(Response::Done)
    }

    pub(super) fn upload_signing_certificate(
        &mut self,
        now: Timestamp,
        name: &str,
        body: &str,
    ) -> Result<Response, ApiError> {
        let user = self.state.user(name)?;
        if !body.trim_start().starts_with("-----BEGIN CERTIFICATE-----") {
            return Err(Code::MalformedCertificate.error(format!("Certificate {body} is malformed.")));
        }
        if user.signing_certificates.len() >= limits::SIGNING_CERTIFICATES_PER_USER {
            return Err(over_quota("CertificatesPerUser", limits::SIGNING_CERTIFICATES_PER_USER));
        }
        let user_name = user.name.clone();
        let certificate = SigningCertificate {
            id: self.ids.base32(32),
            body: body.to_owned(),
            status: Status::Active,
            uploaded: now,
        };
        self.state.edit_user(name, |user| user.signing_certificates.push(certificate.clone()))?;
        Ok(Response::SigningCertificate { user_name, certificate })
    }

    pub(super) fn delete_signing_certificate(&mut self, name: &str, id: &str) -> Result<Response, ApiError> {
        let removed =
            self.state.edit_user(name, |user| remove(&mut user.signing_certificates, |item| item.id == id))?;
        if removed { Ok(Response::Done) } else { Err(no_such("Certificate", id)) }
    }

    pub(super) fn upload_ssh_key(&mut self, now: Timestamp, name: &str, body: &str) -> Result<Response, ApiError> {
        let user = self.state.user(name)?;
        if !(body.starts_with("ssh-rsa ") || body.starts_with("-----BEGIN PUBLIC KEY-----")) {
            return Err(Code::UnrecognizedPublicKeyEncoding.error("The public key encoding is not recognized."));
        }
        if user.ssh_keys.len() >= limits::SSH_KEYS_PER_USER {
            return Err(over_quota("SSHPublicKeysPerUser", limits::SSH_KEYS_PER_USER));
        }
        let user_name = user.name.clone();
        let key =
            SshKey { id: self.ids.id(Prefix::SshKey), body: body.to_owned(), status: Status::Active, uploaded: now };
        self.state.edit_user(name, |user| user.ssh_keys.push(key.clone()))?;
        Ok(Response::SshKey { user_name, key })
    }

    pub(super) fn delete_ssh_key(&mut self, name: &str, id: &str) -> Result<Response, ApiError> {
        let removed = self.state.edit_user(name, |user| remove(&mut user.ssh_keys, |item| item.id == id))?;
        if removed { Ok(Response::Done) } else { Err(no_such("Public Key", id)) }
    }

    pub(super) fn create_service_credential(
        &mut self,
        now: Timestamp,
        name: &str,
        service: &str,
    ) -> Result<Response, ApiError> {
        let user = self.state.user(name)?;
        check_service(service)?;
        let held = user.service_credentials.iter().filter(|credential| credential.service == service).count();
        if held >= limits::SERVICE_CREDENTIALS_PER_SERVICE {
            return Err(over_quota("ServiceSpecificCredentialsPerUser", limits::SERVICE_CREDENTIALS_PER_SERVICE));
        }
        let user_name = user.name.clone();
        let credential = ServiceCredential {
            id: self.ids.id(Prefix::ServiceCredential),
            service: service.to_owned(),
            service_user_name: format!("{user_name}-at-{}", self.state.account.id),
            status: Status::Active,
            created: now,
        };
        self.state.edit_user(name, |user| user.service_credentials.push(credential.clone()))?;
        Ok(Response::ServiceCredential { user_name, credential, password: self.ids.secret() })
    }

    pub(super) fn delete_service_credential(&mut self, name: &str, id: &str) -> Result<Response, ApiError> {
        let removed = self.state.edit_user(name, |user| remove(&mut user.service_credentials, |item| item.id == id))?;
        if removed {
            Ok(Response::Done)
        } else {
            Err(Code::NoSuchEntity.error(format!("No such credential {id} exists")))
        }
    }
}

fn no_device(serial: &str) -> ApiError {
    Code::NoSuchEntity.error(format!("MFA Device with serial number {serial} does not exist."))
}

/// Removes what fits; whether there was any.
fn remove<T>(items: &mut Vec<T>, fits: impl Fn(&T) -> bool) -> bool {
    let before = items.len();
    items.retain(|item| !fits(item));
    items.len() < before
}
