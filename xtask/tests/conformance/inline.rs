//! Inline policies.

use anyhow::{Context, Result, ensure};

use crate::cases::cases;
use crate::documents::{decoded, sized};
use crate::target::{ALL_OF_S3, Target, refused};

cases![
    an_inline_policy_is_put_and_shown,
    an_inline_policy_is_replaced,
    inline_policies_have_2048_characters_together_at_most,
    inline_documents_are_checked,
    a_missing_inline_policy_is_no_such_entity,
    inline_policies_are_listed,
    white_space_in_a_document_is_no_matter,
];

fn put(
    target: &Target,
    user: &str,
    name: &str,
    document: &str,
) -> aws_sdk_iam::operation::put_user_policy::builders::PutUserPolicyFluentBuilder {
    target.iam.put_user_policy().user_name(user).policy_name(name).policy_document(document)
}

async fn an_inline_policy_is_put_and_shown(target: &Target) -> Result<()> {
    let user = target.user().await?;
    put(target, &user, "p", ALL_OF_S3).send().await?;
    let shown = target.iam.get_user_policy().user_name(&user).policy_name("p").send().await?;
    ensure!(shown.user_name() == user && shown.policy_name() == "p");
    let document = decoded(shown.policy_document())?;
    let statement = document["Statement"].get(0).unwrap_or(&document["Statement"]);
    ensure!(statement["Effect"] == "Allow", "{document}");
    Ok(())
}

async fn an_inline_policy_is_replaced(target: &Target) -> Result<()> {
    let user = target.user().await?;
    put(target, &user, "p", ALL_OF_S3).send().await?;
    put(target, &user, "p", &ALL_OF_S3.replace("Allow", "Deny")).send().await?;
    let shown = target.iam.get_user_policy().user_name(&user).policy_name("p").send().await?;
    let document = decoded(shown.policy_document())?;
    let statement = document["Statement"].get(0).unwrap_or(&document["Statement"]);
    ensure!(statement["Effect"] == "Deny", "{document}");
    Ok(())
}

async fn inline_policies_have_2048_characters_together_at_most(target: &Target) -> Result<()> {
    let user = target.user().await?;
    put(target, &user, "a", &sized(1_024)).send().await?;
    put(target, &user, "b", &sized(1_024)).send().await?;
    put(target, &user, "b", &sized(1_000)).send().await?;
    refused(put(target, &user, "c", &sized(100)).send().await, "LimitExceeded", 409)
}

async fn inline_documents_are_checked(target: &Target) -> Result<()> {
    let user = target.user().await?;
    for document in ["text", "{}", &ALL_OF_S3.replace("s3:*", "GetObject")] {
        refused(put(target, &user, "p", document).send().await, "MalformedPolicyDocument", 400)
            .context("PutUserPolicy")?;
    }
    Ok(())
}

async fn a_missing_inline_policy_is_no_such_entity(target: &Target) -> Result<()> {
    let user = target.user().await?;
    let iam = &target.iam;
    refused(iam.get_user_policy().user_name(&user).policy_name("p").send().await, "NoSuchEntity", 404)?;
    refused(iam.delete_user_policy().user_name(&user).policy_name("p").send().await, "NoSuchEntity", 404)
}

async fn inline_policies_are_listed(target: &Target) -> Result<()> {
    let user = target.user().await?;
    for name in ["a", "b", "c"] {
        put(target, &user, name, ALL_OF_S3).send().await?;
    }
    target.iam.delete_user_policy().user_name(&user).policy_name("b").send().await?;
    let listed = target.iam.list_user_policies().user_name(&user).send().await?;
    ensure!(listed.policy_names() == ["a", "c"], "{:?}", listed.policy_names());
    Ok(())
}

async fn white_space_in_a_document_is_no_matter(target: &Target) -> Result<()> {
    let user = target.user().await?;
    put(target, &user, "p", &ALL_OF_S3.replace(',', ",\n    ")).send().await?;
    Ok(())
}
