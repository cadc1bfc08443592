//! S3 with real keys: what policies and their conditions let through.

use ground::double::{Config, Credentials, DoubleServer};

use super::raw::{self, Answer, Request};
use super::{admin, user_who_may};

/// A consumer of a key.
struct Consumer<'a> {
    double: &'a DoubleServer,
    key: Credentials,
}

impl Consumer<'_> {
    async fn send(&self, method: &'static str, target: &str, body: &[u8]) -> Answer {
        let mut request = Request::new(method, target, body);
        request.sign(&self.double.endpoint(), &self.key, "s3", self.double.region());
        raw::send(&self.double.endpoint(), request).await
    }

    async fn status(&self, method: &'static str, target: &str) -> u16 {
        self.send(method, target, b"content").await.status
    }
}

async fn with_bucket() -> DoubleServer {
    let double = DoubleServer::start(Config::default()).await.unwrap();
    let root = Consumer { double: &double, key: double.admin() };
    assert_eq!(root.status("PUT", "/team-a-reports").await, 200);
    assert_eq!(root.status("PUT", "/team-a-reports").await, 409);
    double
}

/// Reads under one prefix, as the operator's own grants do.
const READS_2026: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::team-a-reports",
     "Condition":{"StringLike":{"s3:prefix":["2026/","2026/*"]}}},
    {"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::team-a-reports/2026/*"}]}"#;

#[tokio::test]
async fn a_consumer_does_what_its_policy_allows_and_no_more() {
    let double = with_bucket().await;
    let key = user_who_may(&double, "reports", READS_2026).await;
    let consumer = Consumer { double: &double, key };
    assert_eq!(consumer.send("PUT", "/team-a-reports/2026/a%20b%2Bc.txt", b"hello").await.status, 200);
    let got = consumer.send("GET", "/team-a-reports/2026/a%20b%2Bc.txt", b"").await;
    assert_eq!((got.status, got.text().as_str()), (200, "hello"));
    let listed = consumer.send("GET", "/team-a-reports?list-type=2&prefix=2026%2F", b"").await;
    assert!(listed.text().contains("<Key>2026/a b+c.txt</Key>"), "{}", listed.text());
    for (method, target) in [
        ("GET", "/team-a-reports?list-type=2"),
        ("GET", "/team-a-reports?list-type=2&prefix=2025%2F"),
        ("PUT", "/team-a-reports/2025/x"),
        ("DELETE", "/team-a-reports/2026/a%20b%2Bc.txt"),
        // Who may not list everything is not told that an object is absent.
        ("GET", "/team-a-reports/2026/absent"),
        ("PUT", "/another-bucket"),
        ("DELETE", "/team-a-reports"),
        ("GET", "/"),
    ] {
        let answer = consumer.send(method, target, b"").await;
        assert_eq!(answer.status, 403, "{method} {target}");
        assert!(answer.text().contains("<Code>AccessDenied</Code>"), "{}", answer.text());
    }
}

#[tokio::test]
async fn inactive_deleted_and_wrong_keys_are_refused() {
    let double = with_bucket().await;
    let key = user_who_may(&double, "reports", super::EVERYTHING).await;
    let consumer = Consumer { double: &double, key: key.clone() };
    let target = "/team-a-reports?list-type=2";
    assert_eq!(consumer.status("GET", target).await, 200);
    let code = async |consumer: &Consumer<'_>| {
        let answer = consumer.send("GET", target, b"").await;
        assert_eq!(answer.status, 403);
        answer.text().split_once("<Code>").unwrap().1.split_once('<').unwrap().0.to_owned()
    };
    let wrong = Consumer { double: &double, key: Credentials { secret_access_key: "another".into(), ..key.clone() } };
    assert_eq!(code(&wrong).await, "SignatureDoesNotMatch");
    let update = admin(&double).update_access_key().user_name("reports").access_key_id(&key.access_key_id);
    update.status(aws_sdk_iam::types::StatusType::Inactive).send().await.unwrap();
    assert_eq!(code(&consumer).await, "InvalidAccessKeyId");
    let delete = admin(&double).delete_access_key().user_name("reports").access_key_id(&key.access_key_id);
    delete.send().await.unwrap();
    assert_eq!(code(&consumer).await, "InvalidAccessKeyId");
}

#[tokio::test]
async fn root_sees_errors_that_tell_more() {
    let double = with_bucket().await;
    let root = Consumer { double: &double, key: double.admin() };
    for (method, target, status, code) in [
        ("GET", "/absent-bucket?list-type=2", 404, "NoSuchBucket"),
        ("GET", "/team-a-reports/absent", 404, "NoSuchKey"),
        ("PUT", "/Bad_Name", 400, "InvalidBucketName"),
        ("POST", "/team-a-reports?delete", 501, "NotImplemented"),
    ] {
        let answer = root.send(method, target, b"").await;
        assert_eq!(answer.status, status, "{method} {target}: {}", answer.text());
        assert!(answer.text().contains(&format!("<Code>{code}</Code>")), "{}", answer.text());
    }
    assert_eq!(root.status("PUT", "/team-a-reports/x").await, 200);
    assert!(root.send("DELETE", "/team-a-reports", b"").await.text().contains("BucketNotEmpty"));
    assert_eq!(root.status("DELETE", "/team-a-reports/x").await, 204);
    assert_eq!(root.status("DELETE", "/team-a-reports").await, 204);
    let unsigned = raw::send(&double.endpoint(), Request::new("GET", "/team-a-reports?list-type=2", b"")).await;
    assert_eq!(unsigned.status, 403);
}

#[tokio::test]
async fn long_lists_are_given_by_page() {
    let double = with_bucket().await;
    let root = Consumer { double: &double, key: double.admin() };
    for number in 0..5 {
        assert_eq!(root.status("PUT", &format!("/team-a-reports/k{number}")).await, 200);
    }
    let first = root.send("GET", "/team-a-reports?list-type=2&max-keys=3", b"").await.text();
    let token = first.split_once("<NextContinuationToken>").unwrap().1.split_once('<').unwrap().0;
    let target = format!("/team-a-reports?continuation-token={token}&list-type=2&max-keys=3");
    let second = root.send("GET", &target, b"").await.text();
    assert!(first.contains("<Key>k2</Key>") && !first.contains("<Key>k3</Key>"), "{first}");
    assert!(second.contains("<Key>k3</Key>") && second.contains("<IsTruncated>false"), "{second}");
}
