//! Workloads that are restarted for a new key, on a real API server.

use anyhow::ensure;
use ground::repository;
use ground::stand::{OPERATOR_ACCOUNT, OPERATOR_NAMESPACE};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::scene::{Scene, user_name, with};

const RECONCILES: &str = "s3access_reconcile_total";
const MARK: &str = "access-key-id.s3access.dev/reports";

fn workload(kind: &str) -> Value {
    let labels = json!({ "app": "reports" });
    let container = json!({ "name": "app", "image": "app", "envFrom": [{ "secretRef": { "name": "reports-s3" } }] });
    json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": { "name": "reports" },
        "spec": {
            "replicas": 0, "serviceName": "reports", "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": [container] } },
        },
    })
}

fn restarting() -> Value {
    with(json!({
        "accessKey": { "rotation": { "interval": "2160h", "overlap": "5s" } },
        "secret": { "rolloutRestart": [
            { "kind": "Deployment", "name": "reports" }, { "kind": "StatefulSet", "name": "reports" },
        ] },
    }))
}

/// The key of which a Deployment says that it was started with, and the one on its pod template.
type Mark = (Option<String>, Option<String>);

impl Scene {
    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn run_workloads(&self) {
        let mut deployment = workload("Deployment");
        deployment["spec"].as_object_mut().unwrap().remove("serviceName");
        let deployment = serde_json::from_value(deployment).unwrap();
        self.deployments().create(&PostParams::default(), &deployment).await.unwrap();
        let sets: Api<StatefulSet> = Api::namespaced(self.client.clone(), &self.namespace);
        let set = serde_json::from_value(workload("StatefulSet")).unwrap();
        sets.create(&PostParams::default(), &set).await.unwrap();
    }

    /// As deploy/optional/rollout-restart.yaml gives it, in this namespace only.
    async fn allow_restarts(&self) {
        let rules = std::fs::read_to_string(repository().join("deploy/optional/rollout-restart.yaml")).unwrap();
        let objects: Vec<Value> = serde_saphyr::from_multiple(&rules).unwrap();
        // Its ClusterRoleBinding would give the right to the operators of other tests, too, and be it for a moment.
        let role = objects.iter().find(|object| object["kind"] == "ClusterRole").unwrap();
        let name = role["metadata"]["name"].as_str().unwrap();
        let roles: Api<ClusterRole> = Api::all(self.client.clone());
        roles.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(role)).await.unwrap();
        let account = format!("--serviceaccount={OPERATOR_NAMESPACE}:{OPERATOR_ACCOUNT}");
        let role = format!("--clusterrole={name}");
        self.stand
            .kubernetes
            .kubectl(&["create", "rolebinding", "restarts", "-n", &self.namespace, &role, &account])
            .await
            .unwrap();
    }

    async fn marks(&self) -> Mark {
        let found = self.deployments().get("reports").await.unwrap();
        let template = found.spec.as_ref().and_then(|spec| spec.template.metadata.clone()).unwrap_or_default();
        let of_template = template.annotations.and_then(|annotations| annotations.get(MARK).cloned());
        (found.annotations().get(MARK).cloned(), of_template)
    }

    async fn set_generation(&self) -> Option<i64> {
        let sets: Api<StatefulSet> = Api::namespaced(self.client.clone(), &self.namespace);
        sets.get("reports").await.unwrap().metadata.generation
    }

    async fn marked(&self, wanted: &Mark) {
        self.see(&format!("the Deployment to be {wanted:?}"), async || {
            let found = self.marks().await;
            ensure!(found == *wanted, "{found:?}");
            Ok(())
        })
        .await;
    }

    async fn rotated_for(&self, value: &str, user: &str, old: &str) -> String {
        self.patch("reports", json!({ "metadata": { "annotations": { "s3access.dev/rotate": value } } })).await;
        let key = self
            .see("another key, alone", async || {
                let held = self.secret("reports-s3").await["AWS_ACCESS_KEY_ID"].clone();
                ensure!(held != old, "still {old}");
                let keys = self.keys(user).await;
                ensure!(
                    keys.iter().all(|key| key.access_key_id() != Some(old)
                        || key.status().is_some_and(|status| status.as_str() == "Inactive")),
                    "{keys:?}"
                );
                Ok(held)
            })
            .await;
        self.ready("reports").await;
        key
    }
}

#[tokio::test]
async fn rival_17_workloads_restart_once_for_each_key_that_replaces_another() {
    let mut scene = Scene::without_operator("rollout").await;
    scene.allow_restarts().await;
    scene.run_workloads().await;
    scene.create("reports", restarting()).await;
    scene.start(&[]).await;
    let user = user_name(&scene.ready("reports").await);
    let first = scene.only_key(&user, "reports-s3").await;
    scene.marked(&(Some(first.clone()), None)).await;
    assert_eq!(scene.set_generation().await, Some(1), "nothing of its spec");

    let second = scene.rotated_for("1", &user, &first).await;
    scene.marked(&(Some(second.clone()), Some(second.clone()))).await;
    assert_eq!(scene.set_generation().await, Some(2), "once");

    // A restart of the operator, and what `kubectl rollout undo` does to the template, restart nothing.
    scene.kill9().await;
    let undo = json!({ "spec": { "template": { "metadata": { "annotations": { MARK: null } } } } });
    scene.deployments().patch("reports", &PatchParams::default(), &Patch::Merge(&undo)).await.unwrap();
    scene.start(&[]).await;
    scene.patch("reports", json!({ "spec": { "tags": { "looked": "at" } } })).await;
    scene.ready("reports").await;
    scene.marked(&(Some(second.clone()), None)).await;

    // A lost key counts as much as one that was replaced.
    scene.secrets().delete("reports-s3", &kube::api::DeleteParams::default()).await.unwrap();
    let third = scene.secret_holds_another_key("reports-s3", &second).await;
    scene.marked(&(Some(third.clone()), Some(third))).await;
    scene.ready("reports").await;
    assert_eq!(scene.set_generation().await, Some(3));
    let (writes, settled) = (scene.writes().len(), scene.metric(RECONCILES, "settled").await.unwrap());
    // Somebody's annotation has it reconciled once more.
    scene.patch("reports", json!({ "metadata": { "annotations": { "note": "again" } } })).await;
    scene.metric_reaches(RECONCILES, "settled", settled + 1.0).await;
    assert_eq!(scene.writes().len(), writes, "invariant 6: {:?}", scene.writes());
}

#[tokio::test]
async fn what_may_not_be_restarted_is_told_and_holds_up_no_key() {
    let scene = Scene::new("norestart").await;
    scene.run_workloads().await;
    scene.create("reports", restarting()).await;
    let user = user_name(&scene.ready("reports").await);
    let told = scene.condition("reports", "WorkloadsRestarted", "False", "AccessDenied").await;
    let conditions = told.status.unwrap().conditions;
    let message = &conditions.iter().find(|found| found.type_ == "WorkloadsRestarted").unwrap().message;
    assert!(message.contains("deploy/optional/rollout-restart.yaml"), "{message}");
    let first = scene.only_key(&user, "reports-s3").await;
    let second = scene.rotated_for("1", &user, &first).await;
    assert_ne!(first, second);
    assert_eq!(scene.marks().await, (None, None));
    scene.event_says("reports", &["deploy/optional/rollout-restart.yaml"]).await;

    // Once the right is there, any edit has it looked for.
    scene.allow_restarts().await;
    scene.patch("reports", json!({ "spec": { "tags": { "looked": "at" } } })).await;
    scene.condition("reports", "WorkloadsRestarted", "True", "Synced").await;
    // The replaced key is still listed, and whoever was there before the swap may have it.
    scene.marked(&(Some(second.clone()), Some(second))).await;
}
