//! At rest, nothing is written.

use crate::scene::{Scene, spec, user_name};

/// As many as thirty minutes have at one every ten seconds; here, they come without the pauses.
const RESYNCS: f64 = 180.0;
const RECONCILES: &str = "s3access_reconcile_total";

#[tokio::test]
async fn invariant_6_180_resyncs_write_nothing() {
    let mut scene = Scene::without_operator("rest").await;
    scene.start(&[("S3ACCESS_RESYNC_INTERVAL", "20ms"), ("S3ACCESS_CONSISTENCY_WINDOW", "1s")]).await;
    scene.create("reports", spec()).await;
    scene.ready("reports").await;
    let (writes, before) = (scene.writes(), scene.metric(RECONCILES, "settled").await.unwrap());
    scene.proxy.forget();
    scene.metric_reaches(RECONCILES, "settled", before + RESYNCS).await;
    assert_eq!(scene.writes(), writes, "no write to Kubernetes");
    let calls = scene.proxy.counts();
    assert!(calls.values().sum::<usize>() > 180, "IAM was really asked: {calls:?}");
    for action in calls.keys() {
        assert!(action.starts_with("Get") || action.starts_with("List"), "{action} is a write: {calls:?}");
    }
}

#[tokio::test]
async fn invariant_6_a_restart_asks_iam_nothing() {
    let mut scene = Scene::new("restart").await;
    scene.create("reports", spec()).await;
    let name = user_name(&scene.ready("reports").await);
    let key = scene.only_key(&name, "reports-s3").await;
    scene.terminate().await;
    let writes = scene.writes();
    scene.proxy.forget();
    scene.start(&[]).await;
    scene.metric_reaches(RECONCILES, "deferred", 1.0).await;
    let mut calls = scene.proxy.counts();
    calls.remove("GetCallerIdentity");
    assert!(calls.is_empty(), "{calls:?}");
    assert_eq!(scene.writes(), writes);
    assert_eq!(scene.only_key(&name, "reports-s3").await, key);
}
