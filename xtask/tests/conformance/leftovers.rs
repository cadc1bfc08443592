//! What keeps a user from being deleted, and how each of it is found and removed.

use anyhow::{Context, Result, ensure};

use crate::cases::cases;
use crate::target::{ALL_OF_S3, Target, refused};

cases![
    a_user_with_a_key_cannot_be_deleted,
    a_user_with_a_login_profile_cannot_be_deleted,
    a_user_with_an_mfa_device_cannot_be_deleted,
    a_user_with_a_signing_certificate_cannot_be_deleted,
    a_user_with_an_ssh_key_cannot_be_deleted,
    a_user_with_a_service_credential_cannot_be_deleted,
    a_user_in_a_group_cannot_be_deleted,
    a_user_with_an_inline_policy_cannot_be_deleted,
    a_user_with_an_attached_policy_cannot_be_deleted,
    a_user_with_a_boundary_is_deleted,
    a_second_login_profile_is_refused,
    login_profiles_come_and_go,
    mfa_devices_come_and_go,
    signing_certificates_come_and_go,
    ssh_keys_come_and_go,
    service_credentials_come_and_go,
    groups_come_and_go,
    a_group_with_members_cannot_be_deleted,
];

/// A certificate that was made for this test, and whose key was thrown away.
const CERTIFICATE: &str = include_str!("certificate.pem");

/// An RSA key that was made for this test, and whose private part was thrown away.
const SSH_KEY: &str = include_str!("ssh-key.pub");

async fn cannot_be_deleted(target: &Target, user: &str) -> Result<()> {
    refused(target.iam.delete_user().user_name(user).send().await, "DeleteConflict", 409)?;
    target.iam.get_user().user_name(user).send().await?;
    Ok(())
}

async fn can_be_deleted(target: &Target, user: &str) -> Result<()> {
    target.iam.delete_user().user_name(user).send().await?;
    refused(target.iam.get_user().user_name(user).send().await, "NoSuchEntity", 404)
}

async fn a_user_with_a_key_cannot_be_deleted(target: &Target) -> Result<()> {
    let user = target.user().await?;
    target.key(&user).await?;
    cannot_be_deleted(target, &user).await
}

async fn with_login_profile(target: &Target) -> Result<String> {
    let user = target.user().await?;
    target.iam.create_login_profile().user_name(&user).password("Correct-horse-1").send().await?;
    Ok(user)
}

async fn a_user_with_a_login_profile_cannot_be_deleted(target: &Target) -> Result<()> {
    let user = with_login_profile(target).await?;
    cannot_be_deleted(target, &user).await
}

async fn a_second_login_profile_is_refused(target: &Target) -> Result<()> {
    let user = with_login_profile(target).await?;
    let again = target.iam.create_login_profile().user_name(&user).password("Correct-horse-2");
    refused(again.send().await, "EntityAlreadyExists", 409)
}

async fn login_profiles_come_and_go(target: &Target) -> Result<()> {
    let user = with_login_profile(target).await?;
    let profile = target.iam.get_login_profile().user_name(&user).send().await?.login_profile.context("a profile")?;
    ensure!(profile.user_name() == user);
    target.iam.delete_login_profile().user_name(&user).send().await?;
    refused(target.iam.get_login_profile().user_name(&user).send().await, "NoSuchEntity", 404)?;
    refused(target.iam.delete_login_profile().user_name(&user).send().await, "NoSuchEntity", 404)?;
    can_be_deleted(target, &user).await
}

async fn with_device(target: &Target) -> Result<(String, String)> {
    let user = target.user().await?;
    let create = target.iam.create_virtual_mfa_device().virtual_mfa_device_name(target.name("phone"));
    let device = create.send().await?.virtual_mfa_device.context("a device")?;
    let serial = device.serial_number().to_owned();
    let enable = target.iam.enable_mfa_device().user_name(&user).serial_number(&serial);
    enable.authentication_code1("123456").authentication_code2("654321").send().await?;
    Ok((user, serial))
}

async fn a_user_with_an_mfa_device_cannot_be_deleted(target: &Target) -> Result<()> {
    let (user, _) = with_device(target).await?;
    cannot_be_deleted(target, &user).await
}

async fn mfa_devices_come_and_go(target: &Target) -> Result<()> {
    let (user, serial) = with_device(target).await?;
    let listed = target.iam.list_mfa_devices().user_name(&user).send().await?;
    ensure!(listed.mfa_devices().len() == 1 && listed.mfa_devices()[0].serial_number() == serial);
    target.iam.deactivate_mfa_device().user_name(&user).serial_number(&serial).send().await?;
    target.iam.delete_virtual_mfa_device().serial_number(&serial).send().await?;
    ensure!(target.iam.list_mfa_devices().user_name(&user).send().await?.mfa_devices().is_empty());
    can_be_deleted(target, &user).await
}

async fn with_certificate(target: &Target) -> Result<(String, String)> {
    let user = target.user().await?;
    let upload = target.iam.upload_signing_certificate().user_name(&user).certificate_body(CERTIFICATE);
    let certificate = upload.send().await?.certificate.context("a certificate")?;
    Ok((user, certificate.certificate_id))
}

async fn a_user_with_a_signing_certificate_cannot_be_deleted(target: &Target) -> Result<()> {
    let (user, _) = with_certificate(target).await?;
    cannot_be_deleted(target, &user).await
}

async fn signing_certificates_come_and_go(target: &Target) -> Result<()> {
    let (user, id) = with_certificate(target).await?;
    let listed = target.iam.list_signing_certificates().user_name(&user).send().await?;
    ensure!(listed.certificates().len() == 1 && listed.certificates()[0].certificate_id() == id);
    target.iam.delete_signing_certificate().user_name(&user).certificate_id(&id).send().await?;
    can_be_deleted(target, &user).await
}

async fn with_ssh_key(target: &Target) -> Result<(String, String)> {
    let user = target.user().await?;
    let upload = target.iam.upload_ssh_public_key().user_name(&user).ssh_public_key_body(SSH_KEY);
    let key = upload.send().await?.ssh_public_key.context("a key")?;
    Ok((user, key.ssh_public_key_id))
}

async fn a_user_with_an_ssh_key_cannot_be_deleted(target: &Target) -> Result<()> {
    let (user, _) = with_ssh_key(target).await?;
    cannot_be_deleted(target, &user).await
}

async fn ssh_keys_come_and_go(target: &Target) -> Result<()> {
    let (user, id) = with_ssh_key(target).await?;
    let listed = target.iam.list_ssh_public_keys().user_name(&user).send().await?;
    ensure!(listed.ssh_public_keys().len() == 1 && listed.ssh_public_keys()[0].ssh_public_key_id() == id);
    target.iam.delete_ssh_public_key().user_name(&user).ssh_public_key_id(&id).send().await?;
    can_be_deleted(target, &user).await
}

async fn with_service_credential(target: &Target) -> Result<(String, String)> {
    let user = target.user().await?;
    let create = target.iam.create_service_specific_credential().user_name(&user);
    let created = create.service_name("codecommit.amazonaws.com").send().await?;
    let credential = created.service_specific_credential.context("a credential")?;
    Ok((user, credential.service_specific_credential_id))
}

async fn a_user_with_a_service_credential_cannot_be_deleted(target: &Target) -> Result<()> {
    let (user, _) = with_service_credential(target).await?;
    cannot_be_deleted(target, &user).await
}

async fn service_credentials_come_and_go(target: &Target) -> Result<()> {
    let (user, id) = with_service_credential(target).await?;
    let listed = target.iam.list_service_specific_credentials().user_name(&user).send().await?;
    let listed = listed.service_specific_credentials();
    ensure!(listed.len() == 1 && listed[0].service_specific_credential_id() == id);
    let delete = target.iam.delete_service_specific_credential().user_name(&user);
    delete.service_specific_credential_id(&id).send().await?;
    can_be_deleted(target, &user).await
}

async fn with_group(target: &Target) -> Result<(String, String)> {
    let (user, group) = (target.user().await?, target.name("group"));
    target.iam.create_group().group_name(&group).send().await?;
    target.iam.add_user_to_group().user_name(&user).group_name(&group).send().await?;
    Ok((user, group))
}

async fn a_user_in_a_group_cannot_be_deleted(target: &Target) -> Result<()> {
    let (user, _) = with_group(target).await?;
    cannot_be_deleted(target, &user).await
}

async fn groups_come_and_go(target: &Target) -> Result<()> {
    let (user, group) = with_group(target).await?;
    let listed = target.iam.list_groups_for_user().user_name(&user).send().await?;
    ensure!(listed.groups().len() == 1 && listed.groups()[0].group_name() == group);
    target.iam.remove_user_from_group().user_name(&user).group_name(&group).send().await?;
    target.iam.delete_group().group_name(&group).send().await?;
    can_be_deleted(target, &user).await
}

async fn a_group_with_members_cannot_be_deleted(target: &Target) -> Result<()> {
    let (_, group) = with_group(target).await?;
    refused(target.iam.delete_group().group_name(&group).send().await, "DeleteConflict", 409)
}

async fn a_user_with_an_inline_policy_cannot_be_deleted(target: &Target) -> Result<()> {
    let user = target.user().await?;
    target.iam.put_user_policy().user_name(&user).policy_name("p").policy_document(ALL_OF_S3).send().await?;
    cannot_be_deleted(target, &user).await
}

async fn a_user_with_an_attached_policy_cannot_be_deleted(target: &Target) -> Result<()> {
    let (user, arn) = (target.user().await?, target.policy(ALL_OF_S3).await?);
    target.iam.attach_user_policy().user_name(&user).policy_arn(&arn).send().await?;
    cannot_be_deleted(target, &user).await
}

async fn a_user_with_a_boundary_is_deleted(target: &Target) -> Result<()> {
    let (user, arn) = (target.user().await?, target.policy(ALL_OF_S3).await?);
    target.iam.put_user_permissions_boundary().user_name(&user).permissions_boundary(&arn).send().await?;
    can_be_deleted(target, &user).await?;
    target.iam.delete_policy().policy_arn(&arn).send().await?;
    Ok(())
}
