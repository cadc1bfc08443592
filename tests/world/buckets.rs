//! The buckets of each namespace: named by its annotation or label, and kept apart from those of namespaces whose names
//! begin alike.

use anyhow::ensure;
use ground::double::Settings;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::classes::grants;
use crate::scene::{Scene, user_name};

const BUCKETS: &str = "example.com/buckets";

impl Scene {
    fn all_namespaces(&self) -> Api<Namespace> {
        Api::all(self.client.clone())
    }

    /// What the platform team says of the scene's namespace.
    async fn mark(&self, metadata: Value) {
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        self.all_namespaces().patch(&self.namespace, &PatchParams::default(), &patch).await.unwrap();
    }

    async fn annotate(&self, value: Value) {
        self.mark(json!({ "annotations": { BUCKETS: value } })).await;
    }

    /// Another namespace, whose name begins with the scene's.
    async fn sibling(&self, rest: &str) -> String {
        let name = format!("{}{rest}", self.namespace);
        let object = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
        self.all_namespaces().create(&PostParams::default(), &object).await.unwrap();
        name
    }

    async fn remove_namespace(&self, name: &str) {
        self.all_namespaces().delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// IAM grants these buckets, and not those.
    async fn grants_only(&self, user: &str, there: &[&str], gone: &[&str]) {
        self.see(&format!("IAM to grant {there:?} and not {gone:?}"), async || {
            let (text, _) = self.access(user).await;
            ensure!(gone.iter().all(|bucket| !text.contains(bucket)), "still there: {text}");
            ensure!(there.iter().all(|bucket| text.contains(bucket)), "gone: {text}");
            Ok(())
        })
        .await;
    }

    /// The S3AccessUser is told what its class does not allow, in these words among others.
    async fn is_told(&self, name: &str, parts: &[&str]) {
        self.see(&format!("{name} to be told {parts:?}"), async || {
            let (_, message) = self.refused(name, "NotPermittedByClass").await;
            ensure!(parts.iter().all(|part| message.contains(part)), "{message}");
            Ok(())
        })
        .await;
    }

    /// Creates the S3AccessUser, once admission knows the Namespace's new state.
    async fn create_once_admitted(&self, name: &str, spec: &Value) {
        self.see(&format!("admission to take {name}"), async || Ok(self.try_create(name, spec.clone()).await?)).await;
    }
}

#[tokio::test]
async fn invariant_7_an_annotation_of_the_namespace_gives_buckets_and_takes_them_back_at_once() {
    let scene = Scene::on_double("named-by-annotation", Settings::default()).await;
    scene.annotate(json!("payroll-*, ledger")).await;
    let class = scene.class("c", json!({ "allowedBucketsFrom": { "namespaceAnnotation": BUCKETS } })).await;
    scene
        .create_once_admitted("reports", &json!({ "className": class, "access": grants(&["payroll-2026", "ledger"]) }))
        .await;
    let user = user_name(&scene.ready("reports").await);
    let key = scene.only_key(&user, "reports-s3").await;
    scene.class_is(&class, "Synced").await;

    scene.annotate(json!("payroll-*")).await;
    scene.taken_back("reports", &user, &["ledger"], &["payroll-2026"], true).await;
    scene.is_told("reports", &["spec.access[1].bucket \"ledger\"", BUCKETS, &scene.namespace]).await;
    scene
        .see("admission to refuse what is named no more", async || {
            let error = scene.try_create("more", json!({ "className": class, "access": grants(&["ledger"]) })).await;
            ensure!(error.as_ref().is_err_and(|error| error.to_string().contains(BUCKETS)), "{error:?}");
            Ok(())
        })
        .await;

    // A list of which one part is wrong may be meant otherwise: nothing of it is anybody's word.
    scene.annotate(json!("payroll-*, Ledger")).await;
    scene.grants_only(&user, &[], &["payroll", "ledger"]).await;
    scene.is_told("reports", &["Ledger\"", "allows nothing", BUCKETS]).await;
    scene.annotate(Value::Null).await;
    scene.refused("reports", "NotPermittedByClass").await;

    scene.annotate(json!("payroll-* ledger")).await;
    scene.ready("reports").await;
    scene.grants_only(&user, &["payroll-2026", "ledger"], &[]).await;
    assert_eq!(scene.only_key(&user, "reports-s3").await, key, "what is given back is the same key");
}

#[tokio::test]
async fn invariant_7_a_label_of_the_namespace_stands_in_the_class_pattern() {
    let scene = Scene::on_double("named-by-label", Settings::default()).await;
    scene.mark(json!({ "labels": { "example.com/team": "payroll" } })).await;
    let from = json!({ "namespaceLabel": "example.com/team", "pattern": "{label}-*" });
    let class = scene.class("c", json!({ "allowedBuckets": ["shared"], "allowedBucketsFrom": from })).await;
    scene
        .create_once_admitted("reports", &json!({ "className": class, "access": grants(&["payroll-2026", "shared"]) }))
        .await;
    let user = user_name(&scene.ready("reports").await);
    scene.mark(json!({ "labels": { "example.com/team": "ledger" } })).await;
    scene.taken_back("reports", &user, &["payroll-2026"], &["shared"], true).await;
}

#[tokio::test]
async fn invariant_7_what_a_namespace_lost_while_the_operator_was_down_is_taken_back() {
    let mut scene = Scene::on_double("asleep", Settings::default()).await;
    scene.annotate(json!("payroll, ledger")).await;
    let class = scene.class("c", json!({ "allowedBucketsFrom": { "namespaceAnnotation": BUCKETS } })).await;
    scene
        .create_once_admitted("reports", &json!({ "className": class, "access": grants(&["payroll", "ledger"]) }))
        .await;
    let user = user_name(&scene.ready("reports").await);
    // Its status tells that everybody has been held against it, and against what.
    let seen = scene.class_is(&class, "Synced").await.status.unwrap().namespaces_digest;
    assert!(seen.is_some());
    scene.kill9().await;
    scene.annotate(json!("payroll")).await;
    scene.start(&[]).await;
    scene.taken_back("reports", &user, &["ledger"], &["payroll"], true).await;
    scene
        .see("the class to tell of the other state", async || {
            let status = scene.classes().get(&class).await?.status.unwrap_or_default();
            ensure!(status.namespaces_digest != seen, "{status:?}");
            Ok(())
        })
        .await;
}

#[tokio::test]
async fn invariant_7_a_bucket_is_the_namespaces_with_the_longer_name() {
    let scene = Scene::on_double("over", Settings::default()).await;
    let sibling = scene.sibling("-b").await;
    let class = scene.class("c", json!({ "allowedBuckets": ["{namespace}-*"], "allowStatements": true })).await;
    let (ours, theirs) = (format!("{}-data", scene.namespace), format!("{sibling}-data"));
    scene.create("reports", json!({ "className": class, "access": grants(&[&ours]) })).await;
    let user = user_name(&scene.ready("reports").await);
    scene.patch("reports", json!({ "spec": { "access": grants(&[&ours, &theirs]) } })).await;
    let told = [format!("spec.access[1].bucket {theirs:?}"), format!("namespace {sibling:?}")];
    scene.is_told("reports", &told.each_ref().map(String::as_str)).await;
    scene.grants_only(&user, &[&ours], &[&theirs]).await;

    // Nor by wildcards.
    let statement = json!({ "Effect": "Allow", "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{}-*", scene.namespace) });
    let spec = json!({ "className": class, "policy": { "statements": [statement] } });
    scene.create("wild", spec).await;
    let (_, message) = scene.refused("wild", "NotPermittedByClass").await;
    assert!(message.contains(&format!("namespace {sibling:?}")), "{message}");
    scene.remove_namespace(&sibling).await;
}

#[tokio::test]
async fn invariant_7_a_namespace_that_comes_later_takes_its_buckets() {
    let scene = Scene::on_double("later", Settings::default()).await;
    let class = scene.class("c", json!({ "allowedBuckets": ["{namespace}-*"] })).await;
    let (ours, theirs) = (format!("{}-data", scene.namespace), format!("{}-b-data", scene.namespace));
    scene.create("reports", json!({ "className": class, "access": grants(&[&ours, &theirs]) })).await;
    let user = user_name(&scene.ready("reports").await);
    scene.grants_only(&user, &[&ours, &theirs], &[]).await;
    scene.class_is(&class, "Synced").await;

    let sibling = scene.sibling("-b").await;
    scene.taken_back("reports", &user, &[&theirs], &[&ours], true).await;
    scene.is_told("reports", &[&format!("namespace {sibling:?}")]).await;

    // Another class may serve it, or none for now: its buckets stay its own.
    let only = json!({ "spec": { "allowedNamespaces": { "names": [scene.namespace] } } });
    scene.patch_class(&class, only).await;
    scene.class_is(&class, "Synced").await;
    scene.taken_back("reports", &user, &[&theirs], &[&ours], true).await;

    scene.remove_namespace(&sibling).await;
    scene.ready("reports").await;
    scene.grants_only(&user, &[&ours, &theirs], &[]).await;
}

#[tokio::test]
async fn invariant_7_a_namespace_that_came_while_the_operator_was_down_takes_its_buckets() {
    let mut scene = Scene::on_double("latent", Settings::default()).await;
    let class = scene.class("c", json!({ "allowedBuckets": ["{namespace}-*"] })).await;
    let (ours, theirs) = (format!("{}-data", scene.namespace), format!("{}-b-data", scene.namespace));
    scene.create("reports", json!({ "className": class, "access": grants(&[&ours, &theirs]) })).await;
    let user = user_name(&scene.ready("reports").await);
    scene.class_is(&class, "Synced").await;
    scene.kill9().await;
    let sibling = scene.sibling("-b").await;
    scene.start(&[]).await;
    scene.taken_back("reports", &user, &[&theirs], &[&ours], true).await;
    scene.remove_namespace(&sibling).await;
}
