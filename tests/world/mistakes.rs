//! Mistakes in a policy that IAM takes: told at `kubectl apply`, in the status and by `plan`, and nothing is held up.

use kube::api::PostParams;
use kube::client::Body;
use kube::core::Request;
use s3_access_operator::core::iam::Account;
use s3_access_operator::core::lint::findings;
use serde_json::{Value, json};

use crate::scene::Scene;

const POLICY: &str = "s3access-policy-warnings";

impl Scene {
    /// The warnings of the API server about a spec, which it does not keep.
    async fn warnings(&self, spec: &Value) -> Vec<String> {
        let user = json!({
            "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser", "metadata": { "name": "asked" }, "spec": spec,
        });
        let url = format!("/apis/s3access.dev/v1alpha1/namespaces/{}/s3accessusers", self.namespace);
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        let request = Request::new(url).create(&dry, user.to_string().into_bytes()).unwrap();
        let answer = self.client.send(request.map(Body::from)).await.unwrap();
        assert!(answer.status().is_success(), "{spec} is refused: {}", answer.status());
        let warnings = answer.headers().get_all("warning").iter().map(|value| value.to_str().unwrap().to_owned());
        warnings.filter(|warning| warning.contains(POLICY)).collect()
    }
}

fn of(action: Value, resource: Value) -> Value {
    json!({ "policy": { "statements": [{ "Effect": "Allow", "Action": action, "Resource": resource }] } })
}

fn under(prefix: &str) -> Value {
    json!({ "access": [{ "bucket": "reports", "level": "ReadOnly", "prefixes": ["2026/", prefix] }] })
}

/// A spec, and how many warnings there are of it.
fn specs() -> Vec<(Value, usize)> {
    let (bucket, objects) = ("arn:aws:s3:::reports", "arn:aws:s3:::reports/*");
    vec![
        (of(json!("s3:HeadBucket"), json!(bucket)), 1),
        (of(json!(["s3:GetObject", "S3:DELETEOBJECTS"]), json!(objects)), 1),
        (of(json!("kms:ReEncrypt"), json!("*")), 1),
        (of(json!("s3:GetObject"), json!(bucket)), 1),
        (of(json!(["s3:ListBucket", "s3:PutObject"]), json!([bucket, "arn:aws:s3:::archive"])), 1),
        (of(json!("s3:ListBucket"), json!([objects])), 1),
        (of(json!(["s3:HeadObject", "s3:ListBucket"]), json!(objects)), 2),
        (of(json!("s3:GetObject"), json!("arn:aws:s3:::s3://reports/*")), 1),
        (under("/2026/"), 1),
        (under("s3://reports/"), 1),
        (under("reports/"), 1),
        (of(json!(["s3:ListBucket", "s3:GetObject"]), json!([bucket, objects])), 0),
        (of(json!(["s3:ListBucket", "s3:GetObject"]), json!("arn:aws:s3:::reports*")), 0),
        (of(json!(["s3:GetObject"]), json!("arn:aws:s3:::${aws:PrincipalTag/bucket}")), 0),
        (of(json!("s3:ListBucket"), json!("arn:aws:s3:::${aws:PrincipalTag/bucket}")), 0),
        (of(json!("*"), json!("*")), 0),
        (
            json!({ "policy": { "statements": [{ "Effect": "Allow", "NotAction": "s3:HeadBucket", "Resource": "*" }] } }),
            0,
        ),
        (json!({ "policy": { "statements": [{ "Action": 1, "Resource": {} }, {}] } }), 0),
        (json!({ "policy": { "preset": "ReadWriteNoDelete" } }), 0),
        (under("2026"), 0),
    ]
}

#[tokio::test]
async fn the_api_server_warns_of_what_it_can_see_and_takes_it() {
    let scene = Scene::without_operator("warned").await;
    scene.policy_is_sound(POLICY).await;
    let account = Account { id: "123456789012".to_owned(), partition: "aws".to_owned() };
    for (spec, expected) in specs() {
        let warnings = scene.warnings(&spec).await;
        assert_eq!(warnings.len(), expected, "{spec}: {warnings:?}");
        let found = findings(&serde_json::from_value(spec.clone()).unwrap(), &account);
        assert!(expected == 0 || found.len() >= expected, "{spec}: the operator finds {found:?}");
    }
    // As many statements as there may be, of as many words as fit.
    let actions: Vec<String> = (0..60).map(|n| format!("s3:GetObject{n}")).collect();
    let resources: Vec<String> = (0..20).map(|n| format!("arn:aws:s3:::{}{n}", "a".repeat(50))).collect();
    let statement = json!({ "Effect": "Allow", "Action": actions, "Resource": resources });
    let large = json!({ "policy": { "statements": vec![statement; 64] } });
    assert_eq!(scene.warnings(&large).await, Vec::<String>::new(), "what is too much to look at is let in");
}

#[tokio::test]
async fn a_mistake_is_told_in_the_status_and_ready_does_not_depend_on_it() {
    let scene = Scene::new("mistake").await;
    scene.create("reports", of(json!(["s3:HeadBucket", "s3:GetObject"]), json!("arn:aws:s3:::reports"))).await;
    let user = scene.condition("reports", "PolicyEffective", "False", "PolicyMistake").await;
    let conditions = user.status.unwrap().conditions;
    let message = &conditions.iter().find(|condition| condition.type_ == "PolicyEffective").unwrap().message;
    for part in ["spec.policy.statements[0].Action \"s3:HeadBucket\"", "s3:ListBucket", "arn:aws:s3:::reports/*"] {
        assert!(message.contains(part), "{message}");
    }
    scene.ready("reports").await;
    let version = async || scene.users().get("reports").await.unwrap().metadata.resource_version;
    let before = version().await;
    scene.patch("reports", json!({ "metadata": { "labels": { "touched": "yes" } } })).await;
    let touched = version().await;
    assert_ne!(before, touched);
    scene.ready("reports").await;
    assert_eq!(version().await, touched, "nothing is written that says nothing new");
    scene.patch("reports", json!({ "spec": of(json!(["s3:GetObject"]), json!("arn:aws:s3:::reports/*")) })).await;
    scene.condition("reports", "PolicyEffective", "True", "Synced").await;
    scene.ready("reports").await;
}
