//! Managed policies: names, versions, attachments.

use anyhow::{Context, Result, ensure};
use aws_sdk_iam::types::{PolicyScopeType, Tag};

use crate::cases::cases;
use crate::target::{ALL_OF_S3, Target, refused};

cases![
    a_policy_is_created_and_shown,
    policy_names_are_unique,
    policy_names_are_unique_without_regard_to_case,
    policy_names_are_unique_over_paths,
    a_missing_policy_is_no_such_entity,
    a_policy_has_five_versions_at_most,
    version_numbers_are_not_given_again,
    a_version_is_made_the_default,
    the_default_version_cannot_be_deleted,
    a_missing_version_is_no_such_entity,
    an_attached_policy_cannot_be_deleted,
    a_policy_with_versions_cannot_be_deleted,
    a_boundary_cannot_be_deleted,
    attaching_twice_is_no_error,
    what_is_attached_is_listed,
    policies_of_aws_can_be_attached,
    a_missing_policy_cannot_be_attached,
    a_policy_that_is_not_attached_cannot_be_detached,
    ten_policies_are_attached_at_most,
    policies_are_listed_by_scope,
    the_entities_of_a_policy_are_listed,
    policies_are_tagged,
    the_identifier_of_a_policy_tells_its_type,
    a_missing_user_has_no_attached_policies,
];

async fn absent(target: &Target) -> Result<String> {
    Ok(format!("arn:aws:iam::{}:policy/{}", target.account().await?, target.name("absent")))
}

async fn a_policy_is_created_and_shown(target: &Target) -> Result<()> {
    let name = target.name("Policy");
    let tag = Tag::builder().key("k").value("v").build()?;
    let create = target.iam.create_policy().policy_name(&name).path("/k8s/").description("Made-by-a-test").tags(tag);
    let created = create.policy_document(ALL_OF_S3).send().await?.policy.context("a policy")?;
    let arn = created.arn().context("an ARN")?;
    ensure!(arn == format!("arn:aws:iam::{}:policy/k8s/{name}", target.account().await?), "{arn}");
    let policy = target.iam.get_policy().policy_arn(arn).send().await?.policy.context("a policy")?;
    ensure!(policy.default_version_id() == Some("v1") && policy.attachment_count() == Some(0));
    ensure!(policy.description() == Some("Made-by-a-test") && policy.tags()[0].key() == "k");
    Ok(())
}

fn create(target: &Target, name: &str) -> aws_sdk_iam::operation::create_policy::builders::CreatePolicyFluentBuilder {
    target.iam.create_policy().policy_name(name).policy_document(ALL_OF_S3)
}

async fn policy_names_are_unique(target: &Target) -> Result<()> {
    let name = target.name("policy");
    create(target, &name).send().await?;
    refused(create(target, &name).send().await, "EntityAlreadyExists", 409)
}

async fn policy_names_are_unique_without_regard_to_case(target: &Target) -> Result<()> {
    let name = target.name("policy");
    create(target, &name).send().await?;
    refused(create(target, &name.to_uppercase()).send().await, "EntityAlreadyExists", 409)
}

async fn policy_names_are_unique_over_paths(target: &Target) -> Result<()> {
    let name = target.name("policy");
    create(target, &name).send().await?;
    refused(create(target, &name).path("/other/").send().await, "EntityAlreadyExists", 409)
}

async fn a_missing_policy_is_no_such_entity(target: &Target) -> Result<()> {
    let arn = absent(target).await?;
    refused(target.iam.get_policy().policy_arn(&arn).send().await, "NoSuchEntity", 404)?;
    refused(target.iam.delete_policy().policy_arn(&arn).send().await, "NoSuchEntity", 404)?;
    refused(target.iam.list_policy_versions().policy_arn(&arn).send().await, "NoSuchEntity", 404)
}

async fn add_version(target: &Target, arn: &str, is_default: bool) -> Result<String> {
    let create = target.iam.create_policy_version().policy_arn(arn).policy_document(ALL_OF_S3);
    let version = create.set_as_default(is_default).send().await?.policy_version.context("a version")?;
    version.version_id.context("an id")
}

async fn a_policy_has_five_versions_at_most(target: &Target) -> Result<()> {
    let arn = target.policy(ALL_OF_S3).await?;
    for _ in 0..4 {
        add_version(target, &arn, false).await?;
    }
    let create = target.iam.create_policy_version().policy_arn(&arn).policy_document(ALL_OF_S3);
    refused(create.send().await, "LimitExceeded", 409)
}

async fn version_numbers_are_not_given_again(target: &Target) -> Result<()> {
    let arn = target.policy(ALL_OF_S3).await?;
    let second = add_version(target, &arn, false).await?;
    target.iam.delete_policy_version().policy_arn(&arn).version_id(&second).send().await?;
    let third = add_version(target, &arn, false).await?;
    ensure!((second.as_str(), third.as_str()) == ("v2", "v3"), "{second} {third}");
    Ok(())
}

async fn a_version_is_made_the_default(target: &Target) -> Result<()> {
    let arn = target.policy(ALL_OF_S3).await?;
    add_version(target, &arn, true).await?;
    let policy = target.iam.get_policy().policy_arn(&arn).send().await?.policy.context("a policy")?;
    ensure!(policy.default_version_id() == Some("v2"));
    target.iam.set_default_policy_version().policy_arn(&arn).version_id("v1").send().await?;
    let versions = target.iam.list_policy_versions().policy_arn(&arn).send().await?;
    let default: Vec<_> = versions.versions().iter().filter(|version| version.is_default_version()).collect();
    ensure!(default.len() == 1 && default[0].version_id() == Some("v1"), "{default:?}");
    Ok(())
}

async fn the_default_version_cannot_be_deleted(target: &Target) -> Result<()> {
    let arn = target.policy(ALL_OF_S3).await?;
    refused(target.iam.delete_policy_version().policy_arn(&arn).version_id("v1").send().await, "DeleteConflict", 409)
}

async fn a_missing_version_is_no_such_entity(target: &Target) -> Result<()> {
    let arn = target.policy(ALL_OF_S3).await?;
    refused(target.iam.get_policy_version().policy_arn(&arn).version_id("v7").send().await, "NoSuchEntity", 404)?;
    refused(target.iam.delete_policy_version().policy_arn(&arn).version_id("v7").send().await, "NoSuchEntity", 404)?;
    let set = target.iam.set_default_policy_version().policy_arn(&arn).version_id("v7");
    refused(set.send().await, "NoSuchEntity", 404)
}

async fn an_attached_policy_cannot_be_deleted(target: &Target) -> Result<()> {
    let (arn, user) = (target.policy(ALL_OF_S3).await?, target.user().await?);
    target.iam.attach_user_policy().user_name(&user).policy_arn(&arn).send().await?;
    refused(target.iam.delete_policy().policy_arn(&arn).send().await, "DeleteConflict", 409)
}

async fn a_policy_with_versions_cannot_be_deleted(target: &Target) -> Result<()> {
    let arn = target.policy(ALL_OF_S3).await?;
    add_version(target, &arn, false).await?;
    refused(target.iam.delete_policy().policy_arn(&arn).send().await, "DeleteConflict", 409)?;
    target.iam.delete_policy_version().policy_arn(&arn).version_id("v2").send().await?;
    target.iam.delete_policy().policy_arn(&arn).send().await?;
    refused(target.iam.get_policy().policy_arn(&arn).send().await, "NoSuchEntity", 404)
}

async fn a_boundary_cannot_be_deleted(target: &Target) -> Result<()> {
    let (arn, user) = (target.policy(ALL_OF_S3).await?, target.user().await?);
    target.iam.put_user_permissions_boundary().user_name(&user).permissions_boundary(&arn).send().await?;
    refused(target.iam.delete_policy().policy_arn(&arn).send().await, "DeleteConflict", 409)
}

async fn attaching_twice_is_no_error(target: &Target) -> Result<()> {
    let (arn, user) = (target.policy(ALL_OF_S3).await?, target.user().await?);
    for _ in 0..2 {
        target.iam.attach_user_policy().user_name(&user).policy_arn(&arn).send().await?;
    }
    let policy = target.iam.get_policy().policy_arn(&arn).send().await?.policy.context("a policy")?;
    ensure!(policy.attachment_count() == Some(1), "{:?}", policy.attachment_count());
    Ok(())
}

async fn what_is_attached_is_listed(target: &Target) -> Result<()> {
    let user = target.user().await?;
    let mut arns = Vec::new();
    for _ in 0..3 {
        arns.push(target.policy(ALL_OF_S3).await?);
    }
    for arn in &arns {
        target.iam.attach_user_policy().user_name(&user).policy_arn(arn).send().await?;
    }
    let (mut listed, mut marker) = (Vec::new(), None);
    loop {
        let list = target.iam.list_attached_user_policies().user_name(&user).max_items(2).set_marker(marker);
        let page = list.send().await?;
        listed.extend(page.attached_policies().iter().filter_map(|policy| policy.policy_arn.clone()));
        marker = page.marker;
        if marker.is_none() {
            break;
        }
    }
    arns.sort();
    listed.sort();
    ensure!(listed == arns, "{listed:?}");
    Ok(())
}

async fn policies_of_aws_can_be_attached(target: &Target) -> Result<()> {
    let (user, arn) = (target.user().await?, "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess");
    target.iam.attach_user_policy().user_name(&user).policy_arn(arn).send().await?;
    let listed = target.iam.list_attached_user_policies().user_name(&user).send().await?;
    ensure!(listed.attached_policies()[0].policy_name() == Some("AmazonS3ReadOnlyAccess"));
    Ok(())
}

async fn a_missing_policy_cannot_be_attached(target: &Target) -> Result<()> {
    let (arn, user) = (absent(target).await?, target.user().await?);
    refused(target.iam.attach_user_policy().user_name(&user).policy_arn(&arn).send().await, "NoSuchEntity", 404)
}

async fn a_policy_that_is_not_attached_cannot_be_detached(target: &Target) -> Result<()> {
    let (arn, user) = (target.policy(ALL_OF_S3).await?, target.user().await?);
    refused(target.iam.detach_user_policy().user_name(&user).policy_arn(&arn).send().await, "NoSuchEntity", 404)
}

async fn ten_policies_are_attached_at_most(target: &Target) -> Result<()> {
    let user = target.user().await?;
    for _ in 0..10 {
        let arn = target.policy(ALL_OF_S3).await?;
        target.iam.attach_user_policy().user_name(&user).policy_arn(arn).send().await?;
    }
    let arn = target.policy(ALL_OF_S3).await?;
    refused(target.iam.attach_user_policy().user_name(&user).policy_arn(arn).send().await, "LimitExceeded", 409)
}

async fn policies_are_listed_by_scope(target: &Target) -> Result<()> {
    let name = target.name("listed");
    let path = format!("/{name}/");
    create(target, &name).path(&path).send().await?;
    let list = || target.iam.list_policies().path_prefix(&path);
    ensure!(list().scope(PolicyScopeType::Local).send().await?.policies().len() == 1);
    ensure!(list().scope(PolicyScopeType::Aws).send().await?.policies().is_empty());
    ensure!(list().only_attached(true).send().await?.policies().is_empty());
    Ok(())
}

async fn the_entities_of_a_policy_are_listed(target: &Target) -> Result<()> {
    let (arn, user) = (target.policy(ALL_OF_S3).await?, target.user().await?);
    target.iam.attach_user_policy().user_name(&user).policy_arn(&arn).send().await?;
    let entities = target.iam.list_entities_for_policy().policy_arn(&arn).send().await?;
    ensure!(entities.policy_users().len() == 1 && entities.policy_users()[0].user_name() == Some(user.as_str()));
    ensure!(entities.policy_groups().is_empty() && entities.policy_roles().is_empty());
    Ok(())
}

async fn policies_are_tagged(target: &Target) -> Result<()> {
    let arn = target.policy(ALL_OF_S3).await?;
    let tag = |key: &str| Tag::builder().key(key).value("v").build();
    target.iam.tag_policy().policy_arn(&arn).tags(tag("a")?).tags(tag("b")?).send().await?;
    target.iam.untag_policy().policy_arn(&arn).tag_keys("a").send().await?;
    let policy = target.iam.get_policy().policy_arn(&arn).send().await?.policy.context("a policy")?;
    ensure!(policy.tags() == [tag("b")?], "{:?}", policy.tags());
    Ok(())
}

async fn the_identifier_of_a_policy_tells_its_type(target: &Target) -> Result<()> {
    let arn = target.policy(ALL_OF_S3).await?;
    let got = target.iam.get_policy().policy_arn(&arn).send().await?;
    let id = got.policy.and_then(|policy| policy.policy_id).context("an id")?;
    ensure!(id.starts_with("ANPA") && id.len() == 21, "{id}");
    Ok(())
}

async fn a_missing_user_has_no_attached_policies(target: &Target) -> Result<()> {
    let list = target.iam.list_attached_user_policies().user_name(target.name("missing"));
    refused(list.send().await, "NoSuchEntity", 404)
}
