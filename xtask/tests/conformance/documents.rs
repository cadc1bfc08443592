//! Documents: grammar, size, and what comes back.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cases::cases;
use crate::target::{ALL_OF_S3, Target, refused};

cases![
    documents_are_checked,
    statements_need_effect_action_and_resource,
    actions_need_a_vendor,
    resources_are_arns,
    principals_do_not_belong_in_it,
    arns_are_of_the_own_partition,
    condition_operators_are_checked,
    a_policy_has_6144_characters_at_most,
    white_space_is_not_counted,
    a_document_comes_back_with_its_meaning,
];

/// Tries a document that is to be refused. It is an inline policy, since every server has those.
async fn malformed(target: &Target, document: &str) -> Result<()> {
    let user = target.user().await?;
    let put = target.iam.put_user_policy().user_name(user).policy_name("malformed").policy_document(document);
    refused(put.send().await, "MalformedPolicyDocument", 400).with_context(|| document.to_owned())
}

async fn malformed_statement(target: &Target, statement: &str) -> Result<()> {
    malformed(target, &format!(r#"{{"Version":"2012-10-17","Statement":[{{{statement}}}]}}"#)).await
}

async fn documents_are_checked(target: &Target) -> Result<()> {
    malformed(target, "text").await?;
    malformed(target, "{}").await?;
    malformed(target, r#"{"Version":"2012-10-17","Statement":[]}"#).await?;
    malformed(target, &ALL_OF_S3.replace("2012-10-17", "2021-10-17")).await?;
    malformed(target, &ALL_OF_S3.replace("Version", "Surplus")).await
}

async fn statements_need_effect_action_and_resource(target: &Target) -> Result<()> {
    malformed_statement(target, r#""Action":"s3:*","Resource":"*""#).await?;
    malformed_statement(target, r#""Effect":"allow","Action":"s3:*","Resource":"*""#).await?;
    malformed_statement(target, r#""Effect":"Allow","Resource":"*""#).await?;
    malformed_statement(target, r#""Effect":"Allow","Action":"s3:*""#).await?;
    malformed_statement(target, r#""Effect":"Allow","Action":"s3:*","NotAction":"s3:*","Resource":"*""#).await
}

async fn actions_need_a_vendor(target: &Target) -> Result<()> {
    malformed_statement(target, r#""Effect":"Allow","Action":"GetObject","Resource":"*""#).await
}

async fn resources_are_arns(target: &Target) -> Result<()> {
    malformed_statement(target, r#""Effect":"Allow","Action":"s3:*","Resource":"bucket/*""#).await
}

async fn principals_do_not_belong_in_it(target: &Target) -> Result<()> {
    malformed_statement(target, r#""Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*""#).await
}

async fn arns_are_of_the_own_partition(target: &Target) -> Result<()> {
    malformed_statement(target, r#""Effect":"Allow","Action":"s3:*","Resource":"arn:aws-cn:s3:::bucket""#).await
}

async fn condition_operators_are_checked(target: &Target) -> Result<()> {
    let statement = r#""Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringIs":{"s3:prefix":"x"}}"#;
    malformed_statement(target, statement).await
}

/// A policy of so many characters that count.
pub fn sized(characters: usize) -> String {
    let empty = ALL_OF_S3.replace(r#""*"}"#, r#""arn:aws:s3:::"}"#);
    let bucket = "x".repeat(characters - empty.len());
    empty.replace(":::", &format!(":::{bucket}"))
}

async fn a_policy_has_6144_characters_at_most(target: &Target) -> Result<()> {
    target.policy(&sized(6_144)).await?;
    let create = target.iam.create_policy().policy_name(target.name("large")).policy_document(sized(6_145));
    refused(create.send().await, "LimitExceeded", 409)
}

async fn white_space_is_not_counted(target: &Target) -> Result<()> {
    let spaced = sized(6_144).replace(',', " ,\n\t    ");
    target.policy(&spaced).await?;
    Ok(())
}

/// A policy document of an answer: URL-encoded JSON.
pub fn decoded(document: &str) -> Result<Value> {
    ensure!(document.starts_with("%7B"), "the document is not URL-encoded: {document}");
    Ok(serde_json::from_str(&percent_encoding::percent_decode_str(document).decode_utf8()?)?)
}

async fn a_document_comes_back_with_its_meaning(target: &Target) -> Result<()> {
    let arn = target.policy(ALL_OF_S3).await?;
    let get = target.iam.get_policy_version().policy_arn(arn).version_id("v1");
    let version = get.send().await?.policy_version.context("a version")?;
    let document = decoded(version.document().context("a document")?)?;
    let statement = document["Statement"].get(0).unwrap_or(&document["Statement"]);
    ensure!(statement["Effect"] == "Allow" && document["Version"] == "2012-10-17", "{document}");
    ensure!(version.is_default_version() && version.version_id() == Some("v1"));
    Ok(())
}
