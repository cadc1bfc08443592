//! The account as a whole.

use anyhow::{Context, Result, ensure};
use aws_sdk_iam::types::{EntityType, SummaryKeyType, Tag};

use crate::cases::cases;
use crate::documents::decoded;
use crate::target::{ALL_OF_S3, Target};

cases![
    details_show_what_belongs_to_a_user,
    details_show_the_boundary_of_a_user,
    details_are_given_by_page,
    details_are_filtered,
    the_summary_counts_users,
    answers_have_request_ids_of_their_own,
];

async fn details_show_what_belongs_to_a_user(target: &Target) -> Result<()> {
    let name = target.name("detailed");
    let tag = Tag::builder().key("k").value("v").build()?;
    target.iam.create_user().user_name(&name).tags(tag.clone()).send().await?;
    let arn = target.policy(ALL_OF_S3).await?;
    target.iam.attach_user_policy().user_name(&name).policy_arn(&arn).send().await?;
    target.iam.put_user_policy().user_name(&name).policy_name("inline").policy_document(ALL_OF_S3).send().await?;
    let group = target.name("group");
    target.iam.create_group().group_name(&group).send().await?;
    target.iam.add_user_to_group().user_name(&name).group_name(&group).send().await?;

    let mut pages = target.iam.get_account_authorization_details().into_paginator().send();
    let (mut user, mut policy) = (None, None);
    while let Some(page) = pages.next().await {
        let page = page?;
        user = user.or(page.user_detail_list().iter().find(|user| user.user_name() == Some(&name)).cloned());
        policy = policy.or(page.policies().iter().find(|policy| policy.arn() == Some(&arn)).cloned());
    }
    let user = user.context("the user")?;
    ensure!(user.tags() == [tag] && user.group_list() == [group], "{user:?}");
    ensure!(user.attached_managed_policies()[0].policy_arn() == Some(arn.as_str()));
    ensure!(user.user_policy_list()[0].policy_name() == Some("inline"));
    decoded(user.user_policy_list()[0].policy_document().context("a document")?)?;
    let policy = policy.context("the policy")?;
    ensure!(policy.attachment_count() == Some(1) && policy.default_version_id() == Some("v1"));
    decoded(policy.policy_version_list()[0].document().context("a document")?)?;
    Ok(())
}

async fn details_show_the_boundary_of_a_user(target: &Target) -> Result<()> {
    let name = target.user().await?;
    let arn = target.policy(ALL_OF_S3).await?;
    target.iam.put_user_permissions_boundary().user_name(&name).permissions_boundary(&arn).send().await?;
    let mut pages = target.iam.get_account_authorization_details().filter(EntityType::User).into_paginator().send();
    while let Some(page) = pages.next().await {
        if let Some(user) = page?.user_detail_list().iter().find(|user| user.user_name() == Some(&name)) {
            let shown = user.permissions_boundary().and_then(|boundary| boundary.permissions_boundary_arn());
            ensure!(shown == Some(arn.as_str()), "{shown:?}");
            return Ok(());
        }
    }
    anyhow::bail!("the user is not among the details")
}

async fn details_are_given_by_page(target: &Target) -> Result<()> {
    for _ in 0..3 {
        target.user().await?;
    }
    let details = || target.iam.get_account_authorization_details().filter(EntityType::User).max_items(2);
    let first = details().send().await?;
    ensure!(first.user_detail_list().len() <= 2, "{} users on a page of 2", first.user_detail_list().len());
    ensure!(first.is_truncated() && first.marker().is_some());
    let second = details().set_marker(first.marker.clone()).send().await?;
    let names = |page: &[aws_sdk_iam::types::UserDetail]| {
        page.iter().filter_map(|user| user.user_name.clone()).collect::<Vec<_>>()
    };
    let (first, second) = (names(first.user_detail_list()), names(second.user_detail_list()));
    ensure!(!second.is_empty() && second.iter().all(|name| !first.contains(name)), "{first:?} {second:?}");
    Ok(())
}

async fn details_are_filtered(target: &Target) -> Result<()> {
    target.user().await?;
    target.policy(ALL_OF_S3).await?;
    let details = |filter| target.iam.get_account_authorization_details().filter(filter).send();
    let users = details(EntityType::User).await?;
    ensure!(!users.user_detail_list().is_empty() && users.policies().is_empty());
    let policies = details(EntityType::LocalManagedPolicy).await?;
    ensure!(policies.user_detail_list().is_empty() && !policies.policies().is_empty());
    Ok(())
}

async fn the_summary_counts_users(target: &Target) -> Result<()> {
    let users = || async {
        let summary = target.iam.get_account_summary().send().await?.summary_map.context("a summary")?;
        summary.get(&SummaryKeyType::Users).copied().context("the number of users")
    };
    let before = users().await?;
    target.user().await?;
    ensure!(users().await? == before + 1);
    Ok(())
}

async fn answers_have_request_ids_of_their_own(target: &Target) -> Result<()> {
    use aws_sdk_iam::operation::RequestId;

    let first = target.iam.list_users().max_items(1).send().await?;
    let second = target.iam.list_users().max_items(1).send().await?;
    ensure!(first.request_id().is_some() && first.request_id() != second.request_id());
    Ok(())
}
