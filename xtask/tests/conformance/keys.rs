//! Access keys, and whom they let in.

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_iam::error::ProvideErrorMetadata;
use aws_sdk_iam::types::{StatusType, Tag};

use crate::cases::cases;
use crate::target::{ALL_OF_S3, EVERYTHING, Target, refused};

cases![
    a_key_has_the_form_of_aws,
    a_third_key_is_refused,
    inactive_keys_count,
    an_unknown_key_cannot_be_changed,
    an_unknown_key_cannot_be_deleted,
    keys_are_listed_without_secrets,
    a_new_key_was_never_used,
    a_new_key_works,
    the_id_of_a_caller_is_that_of_the_user,
    a_user_is_the_default_of_calls_about_users,
    an_inactive_key_is_refused,
    a_reactivated_key_works,
    a_deleted_key_is_refused,
    an_unknown_key_is_refused,
    another_secret_is_refused,
    who_may_nothing_is_denied,
    a_denial_can_be_read_by_the_sdk,
    a_denial_wins,
    resources_limit_an_allowance,
    not_action_allows_the_rest,
    attached_policies_count_as_inline_ones_do,
    a_detached_policy_allows_nothing,
    conditions_on_tags_of_the_request_hold,
    conditions_on_tags_of_the_resource_hold,
    a_boundary_limits_what_policies_allow,
];

async fn a_key_has_the_form_of_aws(target: &Target) -> Result<()> {
    let name = target.user().await?;
    let key = target.key(&name).await?;
    ensure!(key.access_key_id().starts_with("AKIA") && key.access_key_id().len() == 20, "{}", key.access_key_id());
    ensure!(key.secret_access_key().len() == 40);
    ensure!(*key.status() == StatusType::Active && key.user_name() == name && key.create_date().is_some());
    Ok(())
}

async fn a_third_key_is_refused(target: &Target) -> Result<()> {
    let name = target.user().await?;
    target.key(&name).await?;
    target.key(&name).await?;
    refused(target.iam.create_access_key().user_name(&name).send().await, "LimitExceeded", 409)
}

async fn set_status(target: &Target, user: &str, id: &str, status: StatusType) -> Result<()> {
    target.iam.update_access_key().user_name(user).access_key_id(id).status(status).send().await?;
    Ok(())
}

async fn inactive_keys_count(target: &Target) -> Result<()> {
    let name = target.user().await?;
    for _ in 0..2 {
        let key = target.key(&name).await?;
        set_status(target, &name, key.access_key_id(), StatusType::Inactive).await?;
    }
    refused(target.iam.create_access_key().user_name(&name).send().await, "LimitExceeded", 409)
}

async fn an_unknown_key_cannot_be_changed(target: &Target) -> Result<()> {
    let name = target.user().await?;
    let update = target.iam.update_access_key().user_name(&name).access_key_id("AKIAAAAAAAAAAAAAAAAA");
    refused(update.status(StatusType::Inactive).send().await, "NoSuchEntity", 404)
}

async fn an_unknown_key_cannot_be_deleted(target: &Target) -> Result<()> {
    let name = target.user().await?;
    let delete = target.iam.delete_access_key().user_name(&name).access_key_id("AKIAAAAAAAAAAAAAAAAA");
    refused(delete.send().await, "NoSuchEntity", 404)
}

async fn keys_are_listed_without_secrets(target: &Target) -> Result<()> {
    let name = target.user().await?;
    let (first, second) = (target.key(&name).await?, target.key(&name).await?);
    set_status(target, &name, first.access_key_id(), StatusType::Inactive).await?;
    let listed = target.iam.list_access_keys().user_name(&name).send().await?;
    let find = |id: &str| listed.access_key_metadata().iter().find(|key| key.access_key_id() == Some(id));
    let status = |id: &str| find(id).and_then(|key| key.status().cloned());
    ensure!(status(first.access_key_id()) == Some(StatusType::Inactive));
    ensure!(status(second.access_key_id()) == Some(StatusType::Active));
    Ok(())
}

async fn a_new_key_was_never_used(target: &Target) -> Result<()> {
    let name = target.user().await?;
    let key = target.key(&name).await?;
    let answer = target.iam.get_access_key_last_used().access_key_id(key.access_key_id()).send().await?;
    ensure!(answer.user_name() == Some(name.as_str()));
    let used = answer.access_key_last_used.context("the last use")?;
    ensure!(used.last_used_date().is_none() && used.service_name() == "N/A" && used.region() == "N/A", "{used:?}");
    Ok(())
}

async fn a_new_key_works(target: &Target) -> Result<()> {
    let name = target.user().await?;
    let key = target.key(&name).await?;
    let identity = target.sts_of(&key).get_caller_identity().send().await?;
    let account = target.account().await?;
    ensure!(identity.arn() == Some(format!("arn:aws:iam::{account}:user/{name}").as_str()), "{:?}", identity.arn());
    ensure!(identity.account() == Some(&account), "{:?}", identity.account());
    Ok(())
}

async fn the_id_of_a_caller_is_that_of_the_user(target: &Target) -> Result<()> {
    let name = target.user().await?;
    let key = target.key(&name).await?;
    let user = target.iam.get_user().user_name(&name).send().await?.user.context("a user")?;
    let identity = target.sts_of(&key).get_caller_identity().send().await?;
    ensure!(identity.user_id() == Some(user.user_id()), "{:?}, not {}", identity.user_id(), user.user_id());
    Ok(())
}

async fn a_user_is_the_default_of_calls_about_users(target: &Target) -> Result<()> {
    let (name, key) = target.user_who_may(EVERYTHING).await?;
    let iam = target.iam_of(&key);
    let user = iam.get_user().send().await?.user.context("a user")?;
    ensure!(user.user_name() == name);
    let keys = iam.list_access_keys().send().await?;
    ensure!(keys.access_key_metadata()[0].access_key_id() == Some(key.access_key_id()));
    Ok(())
}

async fn an_inactive_key_is_refused(target: &Target) -> Result<()> {
    let name = target.user().await?;
    let key = target.key(&name).await?;
    set_status(target, &name, key.access_key_id(), StatusType::Inactive).await?;
    refused(target.sts_of(&key).get_caller_identity().send().await, "InvalidClientTokenId", 403)
}

async fn a_reactivated_key_works(target: &Target) -> Result<()> {
    let name = target.user().await?;
    let key = target.key(&name).await?;
    set_status(target, &name, key.access_key_id(), StatusType::Inactive).await?;
    set_status(target, &name, key.access_key_id(), StatusType::Active).await?;
    target.sts_of(&key).get_caller_identity().send().await?;
    Ok(())
}

async fn a_deleted_key_is_refused(target: &Target) -> Result<()> {
    let name = target.user().await?;
    let key = target.key(&name).await?;
    target.iam.delete_access_key().user_name(&name).access_key_id(key.access_key_id()).send().await?;
    refused(target.sts_of(&key).get_caller_identity().send().await, "InvalidClientTokenId", 403)
}

async fn an_unknown_key_is_refused(target: &Target) -> Result<()> {
    let sts = target.sts_with("AKIAAAAAAAAAAAAAAAAA", "secret");
    refused(sts.get_caller_identity().send().await, "InvalidClientTokenId", 403)
}

async fn another_secret_is_refused(target: &Target) -> Result<()> {
    let name = target.user().await?;
    let key = target.key(&name).await?;
    let sts = target.sts_with(key.access_key_id(), "another secret");
    refused(sts.get_caller_identity().send().await, "SignatureDoesNotMatch", 403)
}

async fn who_may_nothing_is_denied(target: &Target) -> Result<()> {
    let name = target.user().await?;
    let key = target.key(&name).await?;
    refused(target.iam_of(&key).get_user().user_name(&name).send().await, "AccessDenied", 403)
}

async fn a_denial_can_be_read_by_the_sdk(target: &Target) -> Result<()> {
    let name = target.user().await?;
    let key = target.key(&name).await?;
    let Err(error) = target.iam_of(&key).get_user().user_name(&name).send().await else {
        bail!("was let through");
    };
    ensure!(error.code() == Some("AccessDenied"), "{:?}", error.code());
    ensure!(error.message().is_some_and(|message| message.contains("is not authorized to perform: iam:GetUser")));
    Ok(())
}

async fn a_denial_wins(target: &Target) -> Result<()> {
    let (_, key) = target
        .user_who_may(
            r#"{"Version":"2012-10-17","Statement":[
                {"Effect":"Allow","Action":"iam:*","Resource":"*"},
                {"Effect":"Deny","Action":"iam:CreateUser","Resource":"*"}]}"#,
        )
        .await?;
    let iam = target.iam_of(&key);
    iam.list_users().send().await?;
    refused(iam.create_user().user_name(target.name("denied")).send().await, "AccessDenied", 403)
}

async fn resources_limit_an_allowance(target: &Target) -> Result<()> {
    let account = target.account().await?;
    let document = format!(
        r#"{{"Version":"2012-10-17","Statement":{{
            "Effect":"Allow","Action":"iam:CreateUser","Resource":"arn:aws:iam::{account}:user/k8s/*"}}}}"#
    );
    let (_, key) = target.user_who_may(&document).await?;
    let iam = target.iam_of(&key);
    iam.create_user().user_name(target.name("u")).path("/k8s/").send().await?;
    refused(iam.create_user().user_name(target.name("u")).path("/other/").send().await, "AccessDenied", 403)
}

async fn not_action_allows_the_rest(target: &Target) -> Result<()> {
    let document = r#"{"Version":"2012-10-17","Statement":{
        "Effect":"Allow","NotAction":"iam:List*","Resource":"*"}}"#;
    let (name, key) = target.user_who_may(document).await?;
    let iam = target.iam_of(&key);
    iam.get_user().user_name(&name).send().await?;
    refused(iam.list_users().send().await, "AccessDenied", 403)
}

async fn attached_policies_count_as_inline_ones_do(target: &Target) -> Result<()> {
    let arn = target.policy(EVERYTHING).await?;
    let name = target.user().await?;
    target.iam.attach_user_policy().user_name(&name).policy_arn(arn).send().await?;
    let key = target.key(&name).await?;
    target.iam_of(&key).list_users().send().await?;
    Ok(())
}

async fn a_detached_policy_allows_nothing(target: &Target) -> Result<()> {
    let arn = target.policy(EVERYTHING).await?;
    let name = target.user().await?;
    target.iam.attach_user_policy().user_name(&name).policy_arn(&arn).send().await?;
    target.iam.detach_user_policy().user_name(&name).policy_arn(&arn).send().await?;
    let key = target.key(&name).await?;
    refused(target.iam_of(&key).list_users().send().await, "AccessDenied", 403)
}

async fn conditions_on_tags_of_the_request_hold(target: &Target) -> Result<()> {
    let document = r#"{"Version":"2012-10-17","Statement":{
        "Effect":"Allow","Action":["iam:CreateUser","iam:TagUser"],"Resource":"*",
        "Condition":{"StringEquals":{"aws:RequestTag/owner":"cluster-1"}}}}"#;
    let (_, key) = target.user_who_may(document).await?;
    let iam = target.iam_of(&key);
    let tag = |value: &str| Tag::builder().key("owner").value(value).build();
    iam.create_user().user_name(target.name("u")).tags(tag("cluster-1")?).send().await?;
    let other = iam.create_user().user_name(target.name("u")).tags(tag("cluster-2")?);
    refused(other.send().await, "AccessDenied", 403)?;
    refused(iam.create_user().user_name(target.name("u")).send().await, "AccessDenied", 403)
}

async fn conditions_on_tags_of_the_resource_hold(target: &Target) -> Result<()> {
    let document = r#"{"Version":"2012-10-17","Statement":{
        "Effect":"Allow","Action":"iam:GetUser","Resource":"*",
        "Condition":{"StringLike":{"iam:ResourceTag/owner":"cluster-*"}}}}"#;
    let (_, key) = target.user_who_may(document).await?;
    let (mine, other) = (target.user().await?, target.user().await?);
    let tag = Tag::builder().key("owner").value("cluster-1").build()?;
    target.iam.tag_user().user_name(&mine).tags(tag).send().await?;
    let iam = target.iam_of(&key);
    iam.get_user().user_name(&mine).send().await?;
    refused(iam.get_user().user_name(&other).send().await, "AccessDenied", 403)
}

async fn a_boundary_limits_what_policies_allow(target: &Target) -> Result<()> {
    let boundary = target.policy(ALL_OF_S3).await?;
    let (name, key) = target.user_who_may(EVERYTHING).await?;
    let iam = target.iam_of(&key);
    iam.get_user().user_name(&name).send().await?;
    let put = target.iam.put_user_permissions_boundary().user_name(&name).permissions_boundary(boundary);
    put.send().await?;
    refused(iam.get_user().user_name(&name).send().await, "AccessDenied", 403)
}
