#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_credential_types::Credentials;
use aws_sdk_iam::config::{BehaviorVersion, Region};

use super::*;
use crate::aws::call::PAGES;
use crate::aws::lanes::Way;
use crate::aws::scripted::answering;
use crate::core::provider::Provider;

/// What a server answers to its calls, by their number.
type Answer = fn(usize) -> String;

/// IAM as that server speaks it, and how many calls it has had.
fn iam(answer: Answer) -> (SdkIam, Arc<AtomicUsize>) {
    let calls = Arc::<AtomicUsize>::default();
    let counted = calls.clone();
    let config = aws_sdk_iam::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("eu-central-1"))
        .credentials_provider(Credentials::from_keys("AKIAIOSFODNN7EXAMPLE", "secret", None))
        .http_client(answering(move |_| (200, answer(counted.fetch_add(1, Ordering::Relaxed)))))
        .build();
    let lane = Arc::new(Way::new(NonZeroU32::MAX, Arc::default(), true));
    (SdkIam { client: aws_sdk_iam::Client::from_conf(config), lane, provider: Provider::Aws }, calls)
}

fn result(operation: &str, result: &str) -> String {
    format!("<{operation}Response><{operation}Result>{result}</{operation}Result></{operation}Response>")
}

fn keys(members: &str, next: Option<&str>) -> String {
    let next = next.map(|marker| format!("<IsTruncated>true</IsTruncated><Marker>{marker}</Marker>"));
    result("ListAccessKeys", &format!("<AccessKeyMetadata>{members}</AccessKeyMetadata>{}", next.unwrap_or_default()))
}

fn key(id: &str, status: &str) -> String {
    format!("<member><AccessKeyId>{id}</AccessKeyId>{status}<CreateDate>2026-01-01T00:00:00Z</CreateDate></member>")
}

#[tokio::test]
async fn an_answer_without_its_user_is_no_stranger() {
    for (lacking, _) in [
        iam(|_| result("GetUser", "")),
        iam(|_| result("GetUser", "<User></User>")),
        iam(|_| result("GetUser", "<User><UserName>u</UserName></User>")),
    ] {
        assert_eq!(lacking.get_user("u").await.unwrap_err().code, "UnreadableAnswer");
    }
}

#[tokio::test]
async fn half_a_key_is_none() {
    const ID: &str = "<AccessKeyId>AKIAIOSFODNN7EXAMPLE</AccessKeyId>";
    let whole = iam(|_| {
        let key = format!("{ID}<SecretAccessKey>secret</SecretAccessKey>");
        result("CreateAccessKey", &format!("<AccessKey>{key}</AccessKey>"))
    });
    assert_eq!(whole.0.create_access_key("u").await.unwrap().minted.id, "AKIAIOSFODNN7EXAMPLE");
    for half in [
        iam(|_| result("CreateAccessKey", &format!("<AccessKey>{ID}</AccessKey>"))),
        iam(|_| result("CreateAccessKey", "<AccessKey><SecretAccessKey>secret</SecretAccessKey></AccessKey>")),
        iam(|_| result("CreateAccessKey", "")),
    ] {
        assert_eq!(half.0.create_access_key("u").await.unwrap_err().code, "UnreadableAnswer");
    }
}

#[tokio::test]
async fn a_key_is_inactive_where_the_answer_says_so() {
    for (answer, active) in [
        (iam(|_| keys(&key("AKIA1", "<Status>Active</Status>"), None)), true),
        (iam(|_| keys(&key("AKIA1", "<Status>Inactive</Status>"), None)), false),
        (iam(|_| keys(&key("AKIA1", "<Status>Dormant</Status>"), None)), true),
        (iam(|_| keys(&key("AKIA1", ""), None)), true),
    ] {
        let listed = answer.0.list_access_keys("u").await.unwrap();
        assert_eq!(listed.iter().map(|key| key.active).collect::<Vec<_>>(), [active]);
    }
}

#[tokio::test]
async fn a_list_is_read_to_its_end_and_comes_to_one() {
    let ids = async |iam: &SdkIam| iam.list_access_keys("u").await.map(|keys| keys.len()).map_err(|error| error.code);
    let (three, calls) = iam(|call| match call {
        0 | 1 => keys(&key(&format!("AKIA{call}"), ""), Some(&call.to_string())),
        _ => keys(&key("AKIA2", ""), None),
    });
    assert_eq!((ids(&three).await, calls.load(Ordering::Relaxed)), (Ok(3), 3));
    let (deaf, _) = iam(|call| keys(&key("AKIA0", ""), (call < 2).then_some(["a", "b"][call.min(1)])));
    assert_eq!(ids(&deaf).await, Ok(1), "it shows the same page again");
    let (same, calls) = iam(|_| keys("", Some("again")));
    assert_eq!((ids(&same).await, calls.load(Ordering::Relaxed)), (Err("EndlessList".to_owned()), 2));
    let (new, calls) = iam(|call| keys("", Some(&call.to_string())));
    assert_eq!((ids(&new).await, calls.load(Ordering::Relaxed)), (Err("EndlessList".to_owned()), PAGES));
    let (full, calls) = iam(|call| keys(&"<member/>".repeat(5_001), Some(&call.to_string())));
    assert_eq!((ids(&full).await, calls.load(Ordering::Relaxed)), (Err("EndlessList".to_owned()), 2));
}
