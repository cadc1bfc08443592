//! Installing and upgrading, as the README says it is done.

use anyhow::ensure;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use crate::scene::{Scene, spec, user_name};

const CRD: &str = "s3accessusers.s3access.dev";

#[tokio::test]
async fn rival_18_applying_the_base_again_upgrades_the_crd_and_harms_no_user() {
    let scene = Scene::new("upgrade").await;
    scene.create("reports", spec()).await;
    let user = user_name(&scene.ready("reports").await);
    let key = scene.only_key(&user, "reports-s3").await;
    let kubectl = async |args: &[&str]| scene.stand.kubernetes.kubectl(args).await.unwrap();
    let columns = "jsonpath={.spec.versions[0].additionalPrinterColumns[*].name}";
    // An older version of the CRD, which lacks the last column.
    let last = kubectl(&["get", "crd", CRD, "-o", columns]).await.split(' ').count() - 1;
    let older = format!(r#"[{{"op":"remove","path":"/spec/versions/0/additionalPrinterColumns/{last}"}}]"#);
    kubectl(&["patch", "crd", CRD, "--type=json", "-p", &older]).await;
    assert_eq!(kubectl(&["get", "crd", CRD, "-o", columns]).await.split(' ').count(), last);
    let deploy = ground::repository().join("deploy").display().to_string();
    kubectl(&["apply", "-k", &deploy]).await;
    assert_eq!(kubectl(&["get", "crd", CRD, "-o", columns]).await.split(' ').count(), last + 1);
    assert_eq!(scene.only_key(&user, "reports-s3").await, key);
    scene
        .see("the user to be looked at as before", async || {
            let found = scene.users().get("reports").await?;
            ensure!(found.metadata.deletion_timestamp.is_none(), "it is being deleted");
            Ok(())
        })
        .await;
}

/// What the documentation has people apply, the API server takes.
#[tokio::test]
async fn every_sample_can_be_applied() {
    let scene = Scene::without_operator("samples").await;
    let kubernetes = &scene.stand.kubernetes;
    for name in ["team-a", "team-b"] {
        let object = json!({ "metadata": { "name": name } });
        let created = Api::<Namespace>::all(scene.client.clone())
            .create(&PostParams::default(), &serde_json::from_value(object).unwrap())
            .await;
        created.unwrap();
    }
    let mut applied = 0;
    for entry in std::fs::read_dir(ground::repository().join("deploy/samples")).unwrap() {
        let path = entry.unwrap().path().display().to_string();
        let answer = kubernetes.kubectl(&["apply", "--dry-run=server", "--validate=strict", "-f", &path]).await;
        let answer = answer.unwrap_or_else(|error| panic!("{path}: {error:#}"));
        applied += answer.lines().filter(|line| line.contains("(server dry run)")).count();
    }
    assert!(applied >= 14, "{applied} objects");
}
