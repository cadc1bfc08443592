//! Installing and upgrading, as the README says it is done.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

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
    // The operator goes on with who was there before.
    scene.stand.kubernetes.takes_users().await.unwrap();
    scene.patch("reports", json!({ "spec": { "tags": { "since": "the-upgrade" } } })).await;
    scene.ready("reports").await;
    let tags = scene.iam.list_user_tags().user_name(&user).send().await.unwrap();
    assert!(tags.tags().iter().any(|tag| (tag.key(), tag.value()) == ("since", "the-upgrade")), "{tags:?}");
    assert_eq!(scene.only_key(&user, "reports-s3").await, key);
}

impl Scene {
    /// A namespace that several tests need, and none removes.
    async fn namespace_is_there(&self, name: &str) {
        let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        let params = PatchParams::apply("test").force();
        Api::<Namespace>::all(self.client.clone()).patch(name, &params, &Patch::Apply(&object)).await.unwrap();
    }
}

/// What the documentation has people apply, the API server takes.
#[tokio::test]
async fn every_sample_can_be_applied() {
    let scene = Scene::without_operator("samples").await;
    let kubernetes = &scene.stand.kubernetes;
    for name in ["team-a", "team-b"] {
        scene.namespace_is_there(name).await;
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

/// Every format has a sample to copy, and the API server takes it, and what of the consumer's part is Kubernetes' own.
#[tokio::test]
async fn every_format_has_a_sample_that_can_be_applied() {
    let scene = Scene::without_operator("formats").await;
    let kubernetes = &scene.stand.kubernetes;
    let text = std::fs::read_to_string(ground::repository().join("deploy/docs/secret-formats.md")).unwrap();
    let blocks = text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let known = ["s3access.dev/v1alpha1", "v1", "storage.k8s.io/v1"];
    let (mut formats, mut others) = (BTreeSet::new(), 0);
    for block in blocks {
        let object: Value = serde_saphyr::from_str(block).unwrap_or_else(|error| panic!("{error}: {block}"));
        if !object["apiVersion"].as_str().is_some_and(|version| known.contains(&version)) {
            continue;
        }
        if let Some(namespace) = object["metadata"]["namespace"].as_str() {
            scene.namespace_is_there(namespace).await;
        }
        let path = scene.stand.folder.join("format.yaml").display().to_string();
        std::fs::write(&path, block).unwrap();
        let answer = kubernetes.kubectl(&["apply", "--dry-run=server", "--validate=strict", "-f", &path]).await;
        answer.unwrap_or_else(|error| panic!("{block}: {error:#}"));
        match object["spec"]["secret"]["format"].as_str() {
            Some(format) => drop(formats.insert(format.to_owned())),
            None => others += 1,
        }
    }
    let schema = kubernetes.kubectl(&["get", "crd", CRD, "-o", "json"]).await.unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let spec = &schema["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    let all = spec["secret"]["properties"]["format"]["enum"].as_array().unwrap();
    let all: BTreeSet<String> = all.iter().map(|format| format.as_str().unwrap().to_owned()).collect();
    assert_eq!(formats, all);
    assert!(others >= 3, "{others}");
}
