//! The SDK's IAM client, and how its answers are read.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_iam::primitives::DateTime;
use aws_sdk_iam::types::Tag;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;

use super::lanes::Way;
use super::{AwsError, ErrorKind, Result};
use crate::core::policy::Document;
use crate::core::provider::Provider;

/// The SDK's IAM client, in the account's lane.
pub(super) struct SdkIam {
    pub(super) client: aws_sdk_iam::Client,
    pub(super) lane: Arc<Way>,
    pub(super) provider: Provider,
}

/// Only a positive NoSuchEntity is "missing"; every other error stays one.
pub(super) fn found<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What was to be deleted and is not there is deleted.
pub(super) fn gone<T>(answer: Result<T>) -> Result<()> {
    found(answer).map(drop)
}

pub(super) fn timestamp(time: &DateTime) -> Option<Timestamp> {
    Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}

pub(super) fn tags_from(tags: &[Tag]) -> BTreeMap<String, String> {
    tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect()
}

pub(super) fn tags_to(operation: &'static str, object: &str, tags: &BTreeMap<String, String>) -> Result<Vec<Tag>> {
    tags.iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build().map_err(|_| unreadable(operation, object)))
        .collect()
}

/// IAM returns documents URL-encoded (RFC 3986).
pub(super) fn document(operation: &'static str, object: &str, encoded: &str) -> Result<Document> {
    let decoded = percent_decode_str(encoded).decode_utf8_lossy();
    Document::parse(&decoded).map_err(|_| unreadable(operation, object))
}

pub(super) fn unreadable(operation: &'static str, object: &str) -> AwsError {
    AwsError {
        operation,
        object: object.to_owned(),
        kind: ErrorKind::Other,
        code: "UnreadableAnswer".to_owned(),
        message: "the request or its answer lacks a required field".to_owned(),
    }
}
