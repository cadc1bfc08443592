//! The operator under the bounded variant of its IAM policy, held to every word of it by the strict double.

use ground::double::{Request, Response, Settings};
use ground::stand::shipped;
use serde_json::json;

use crate::scene::{Scene, spec, user_name, with};

impl Scene {
    /// The boundary policy, at the name that the operator's policy knows it by.
    pub fn boundary(&self) -> String {
        let policy = Request::CreatePolicy {
            policy_name: "s3access-boundary".to_owned(),
            path: None,
            policy_document: shipped("bounded/users-boundary.aws").unwrap(),
            description: None,
            tags: Vec::new(),
        };
        let Response::NewPolicy { policy, .. } = self.by_hand(&policy) else { panic!("no policy") };
        policy.arn.clone()
    }
}

#[tokio::test]
async fn the_operator_does_all_its_work_under_the_bounded_policy() {
    let mut scene = Scene::on_double_without_operator("bounds", Settings::default()).await;
    let boundary = scene.boundary();
    scene.by_hand(&Request::CreatePolicyVersion {
        policy_arn: "arn:aws:iam::123456789012:policy/s3-access-operator".to_owned(),
        policy_document: shipped("bounded/operator-policy.aws").unwrap(),
        set_as_default: true,
    });
    let class = json!({
        "path": "/s3access/", "permissionsBoundaryArn": boundary, "allowedBuckets": ["*"], "allowStatements": true,
        "allowedManagedPolicyArns": ["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"],
    });
    let class = scene.class("bounded", class).await;
    scene.start(&[]).await;
    let wide = json!({
        "className": class, "managedPolicyArns": ["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"],
        "tags": {}, "policy": { "type": "Inline" },
    });
    scene.create("reports", with(wide)).await;
    let name = user_name(&scene.ready("reports").await);
    let first = scene.only_key(&name, "reports-s3").await;
    scene.create("plain", with(json!({ "className": class }))).await;
    scene.ready("plain").await;
    scene.patch("plain", json!({ "spec": { "access": [{ "bucket": "team-a-reports", "level": "ReadWrite" }] } })).await;
    scene.ready("plain").await;
    scene.patch("reports", json!({ "metadata": { "annotations": { "s3access.dev/rotate": "now" } } })).await;
    scene.secret_holds_another_key("reports-s3", &first).await;
    for name in ["reports", "plain"] {
        scene.delete(name).await;
    }
    assert_eq!(scene.left(), ["s3access-boundary"]);
}

/// A class that forgets the boundary gets no user made: AWS says why.
#[tokio::test]
async fn without_the_boundary_no_user_is_made_under_the_bounded_policy() {
    let mut scene = Scene::on_double_without_operator("unbounded", Settings::default()).await;
    scene.boundary();
    scene.by_hand(&Request::CreatePolicyVersion {
        policy_arn: "arn:aws:iam::123456789012:policy/s3-access-operator".to_owned(),
        policy_document: shipped("bounded/operator-policy.aws").unwrap(),
        set_as_default: true,
    });
    let class = scene.class("forgets", json!({ "path": "/s3access/", "allowedBuckets": ["*"] })).await;
    scene.start(&[]).await;
    let mut unbounded = spec();
    unbounded["className"] = json!(class);
    scene.create("reports", unbounded).await;
    let (_, message) = scene.refused("reports", "AccessDenied").await;
    assert!(message.contains("iam:CreateUser"), "{message}");
    assert_eq!(scene.left(), ["s3access-boundary"]);
}
