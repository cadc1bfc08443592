//! What DeleteUser demands to be removed first, beyond keys and attached policies (IAM user guide, "Deleting an IAM
//! user").
//!
//! Listed only after a DeleteConflict: for nearly every user there is none of it.

use super::sdk::{SdkIam, gone};
use super::{ErrorKind, Result};

pub(super) async fn clear(iam: &SdkIam, user: &str) -> Result<()> {
    let SdkIam { client, lane, provider } = iam;
    let listed = lane.call("ListUserPolicies", user, || client.list_user_policies().user_name(user).send()).await?;
    for name in listed.policy_names() {
        let request = client.delete_user_policy().user_name(user).policy_name(name);
        gone(lane.call("DeleteUserPolicy", name, || request.clone().send()).await)?;
    }
    if !provider.has_all_of_iam() {
        return Ok(());
    }
    gone(lane.call("DeleteLoginProfile", user, || client.delete_login_profile().user_name(user).send()).await)?;
    let listed = lane.call("ListGroupsForUser", user, || client.list_groups_for_user().user_name(user).send()).await?;
    for group in listed.groups() {
        let request = client.remove_user_from_group().user_name(user).group_name(&group.group_name);
        gone(lane.call("RemoveUserFromGroup", &group.group_name, || request.clone().send()).await)?;
    }
    clear_devices(iam, user).await?;
    clear_credentials(iam, user).await
}

async fn clear_devices(SdkIam { client, lane, .. }: &SdkIam, user: &str) -> Result<()> {
    let listed = lane.call("ListMFADevices", user, || client.list_mfa_devices().user_name(user).send()).await?;
    for device in listed.mfa_devices() {
        let serial = &device.serial_number;
        let request = client.deactivate_mfa_device().user_name(user).serial_number(serial);
        gone(lane.call("DeactivateMFADevice", serial, || request.clone().send()).await)?;
        // Only a virtual device is an entity of its own: a hardware token has a serial number, a FIDO key `:u2f/`.
        if serial.contains(":mfa/") {
            let request = client.delete_virtual_mfa_device().serial_number(serial);
            gone(lane.call("DeleteVirtualMFADevice", serial, || request.clone().send()).await)?;
        }
    }
    Ok(())
}

async fn clear_credentials(SdkIam { client, lane, .. }: &SdkIam, user: &str) -> Result<()> {
    let listed = tolerate(
        lane.call("ListSigningCertificates", user, || client.list_signing_certificates().user_name(user).send()).await,
    )?;
    for certificate in listed.iter().flat_map(|listed| listed.certificates()) {
        let id = &certificate.certificate_id;
        let request = client.delete_signing_certificate().user_name(user).certificate_id(id);
        gone(lane.call("DeleteSigningCertificate", id, || request.clone().send()).await)?;
    }
    let listed =
        tolerate(lane.call("ListSSHPublicKeys", user, || client.list_ssh_public_keys().user_name(user).send()).await)?;
    for key in listed.iter().flat_map(|listed| listed.ssh_public_keys()) {
        let id = &key.ssh_public_key_id;
        let request = client.delete_ssh_public_key().user_name(user).ssh_public_key_id(id);
        gone(lane.call("DeleteSSHPublicKey", id, || request.clone().send()).await)?;
    }
    let request = client.list_service_specific_credentials().user_name(user);
    let listed = tolerate(lane.call("ListServiceSpecificCredentials", user, || request.clone().send()).await)?;
    for credential in listed.iter().flat_map(|listed| listed.service_specific_credentials()) {
        let id = &credential.service_specific_credential_id;
        let request = client.delete_service_specific_credential().user_name(user).service_specific_credential_id(id);
        gone(lane.call("DeleteServiceSpecificCredential", id, || request.clone().send()).await)?;
    }
    Ok(())
}

/// Partitions and compatible systems lack some of these calls: what cannot be listed there cannot be left there.
fn tolerate<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error)
            if matches!(
                error.kind,
                ErrorKind::Unsupported | ErrorKind::Invalid | ErrorKind::Other | ErrorKind::TryLater
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
