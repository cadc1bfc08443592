//! The secret key is in the Secret, and nowhere else. The operator may do what it needs, and no more.

use kube::Api;
use serde_json::json;

use crate::scene::{Scene, spec};

#[tokio::test]
async fn invariant_1_the_secret_key_is_in_no_log_event_or_status() {
    let mut scene = Scene::without_operator("secrecy").await;
    scene.start(&[("S3ACCESS_LOG_LEVEL", "trace")]).await;
    scene.create("reports", spec()).await;
    let first = scene.ready("reports").await;
    let secret = scene.secret("reports-s3").await["AWS_SECRET_ACCESS_KEY"].clone();
    scene.patch("reports", json!({ "spec": { "secret": { "format": "velero" } } })).await;
    let second = scene.ready("reports").await;
    let log = scene.operator().log().unwrap();
    assert!(log.contains("TRACE"), "the log is at trace level");
    assert!(!log.contains(&secret), "the log has the secret key");
    let events: Api<k8s_openapi::api::events::v1::Event> = Api::namespaced(scene.client.clone(), &scene.namespace);
    let events = events.list(&Default::default()).await.unwrap();
    assert!(!events.items.is_empty());
    assert!(!serde_json::to_string(&events.items).unwrap().contains(&secret));
    for user in [first, second] {
        assert!(!serde_json::to_string(&user).unwrap().contains(&secret));
    }
    let metrics = scene.operator().get("/metrics").await.unwrap();
    assert!(!metrics.contains(&secret));
    let annotations = scene.secrets().get("reports-s3").await.unwrap().metadata.annotations.unwrap();
    assert!(!format!("{annotations:?}").contains(&secret));
}

#[tokio::test]
async fn the_operator_may_do_no_more_than_it_needs() {
    let scene = Scene::without_operator("rbac").await;
    let account = ground::stand::OPERATOR_USER;
    for (verb, resource, allowed) in [
        ("create", "secrets", true),
        ("update", "secrets", true),
        ("patch", "s3accessusers.s3access.dev/status", true),
        ("patch", "secrets", false),
        ("deletecollection", "secrets", false),
        ("create", "s3accessusers.s3access.dev", false),
        ("delete", "s3accessusers.s3access.dev", false),
        ("list", "pods", false),
        ("get", "configmaps", false),
        ("create", "serviceaccounts/token", false),
        ("impersonate", "users", false),
        ("escalate", "clusterroles", false),
        ("list", "namespaces", true),
        ("get", "namespaces", false),
        ("patch", "s3accessclasses.s3access.dev/status", true),
        ("create", "s3accessclasses.s3access.dev", false),
        ("delete", "s3accessclasses.s3access.dev", false),
    ] {
        let namespace = format!("--namespace={}", scene.namespace);
        let user = format!("--as={account}");
        // kubectl's exit status says the same as its answer.
        let answer = scene.stand.kubernetes.kubectl(&["auth", "can-i", verb, resource, &user, &namespace]).await;
        assert_eq!(answer.is_ok_and(|answer| answer.trim() == "yes"), allowed, "{verb} {resource}");
    }
}
