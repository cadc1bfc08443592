//! What admission keeps from tenants, and from whoever holds the operator's own token.

use std::time::Duration;

use anyhow::ensure;
use ground::stand::{OPERATOR_ACCOUNT, OPERATOR_NAMESPACE};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, RoleBinding};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, PropagationPolicy};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, ResourceExt};
use s3_access_operator::api::{S3AccessClass, S3AccessUser};
use serde_json::{Value, json};

use crate::scene::{Scene, spec};

const FINALIZER: &str = "s3access.dev/iam";

impl Scene {
    async fn client_of(&self, namespace: &str, account: &str) -> Client {
        let path = self.stand.kubernetes.service_account_kubeconfig(namespace, account).await.unwrap();
        let kubeconfig = Kubeconfig::read_from(path).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        Client::try_from(config).unwrap()
    }

    /// Somebody with a shipped role in the scene's namespace.
    async fn somebody(&self, name: &str, role: &str) -> Api<S3AccessUser> {
        let made = PostParams::default();
        let account = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.namespace);
        accounts.create(&made, &account).await.unwrap();
        let bindings: Api<RoleBinding> = Api::namespaced(self.client.clone(), &self.namespace);
        for role in [role, "s3access-viewer"] {
            let binding = serde_json::from_value(json!({
                "metadata": { "name": format!("{name}-{role}") },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
                "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": self.namespace }],
            }));
            bindings.create(&made, &binding.unwrap()).await.unwrap();
        }
        let users = Api::namespaced(self.client_of(&self.namespace, name).await, &self.namespace);
        self.see("the role to be in force", async || Ok(users.list(&Default::default()).await.map(drop)?)).await;
        users
    }

    async fn operators_users(&self) -> Api<S3AccessUser> {
        Api::namespaced(self.client_of(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT).await, &self.namespace)
    }

    /// Waits until the policy is checked: it has no expression that the API server doubts.
    pub async fn policy_is_sound(&self, name: &str) {
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(self.client.clone());
        self.see("the policy to be checked", async || {
            let status = policies.get(name).await?.status.unwrap_or_default();
            ensure!(status.observed_generation.is_some(), "not yet");
            let warnings = status.type_checking.and_then(|found| found.expression_warnings).unwrap_or_default();
            assert!(warnings.is_empty(), "{warnings:?}");
            Ok(())
        })
        .await;
    }
}

fn user(name: &str, metadata: Value) -> S3AccessUser {
    let mut metadata = metadata;
    metadata["name"] = json!(name);
    serde_json::from_value(json!({
        "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser", "metadata": metadata, "spec": spec(),
    }))
    .unwrap()
}

async fn create(users: &Api<S3AccessUser>, name: &str, metadata: Value) -> kube::Result<S3AccessUser> {
    users.create(&PostParams::default(), &user(name, metadata)).await
}

async fn change(users: &Api<S3AccessUser>, name: &str, metadata: Value) -> kube::Result<S3AccessUser> {
    let patch = Patch::Merge(json!({ "metadata": metadata }));
    users.patch(name, &PatchParams::default(), &patch).await
}

/// Refused for want of that right, and for nothing else.
fn wants<T: std::fmt::Debug>(right: &str, said: kube::Result<T>) {
    let message = said.expect_err(right).to_string();
    assert!(message.contains(&format!("needs the verb update on s3accessusers/{right}, which")), "{message}");
}

fn annotations(name: &str, value: Value) -> Value {
    json!({ "annotations": { name: value } })
}

#[tokio::test]
async fn a_tenant_pauses_and_abandons_nothing() {
    let scene = Scene::without_operator("guard").await;
    scene.policy_is_sound("s3access-guard").await;
    let tenant = scene.somebody("tenant", "s3access-editor").await;
    let team = scene.somebody("team", "s3access-admin").await;
    for (verb, annotation) in [("pause", "s3access.dev/paused"), ("abandon", "s3access.dev/abandon")] {
        let name = verb;
        wants(verb, create(&tenant, name, annotations(annotation, json!("true"))).await);
        create(&tenant, name, json!({})).await.unwrap();
        for value in ["true", "false", "TRUE", "no"] {
            wants(verb, change(&tenant, name, annotations(annotation, json!(value))).await);
        }
        change(&team, name, annotations(annotation, json!("true"))).await.unwrap();
        wants(verb, change(&tenant, name, annotations(annotation, json!("false"))).await);
        wants(verb, change(&tenant, name, annotations(annotation, Value::Null)).await);
        wants(verb, change(&tenant, name, json!({ "annotations": null })).await);
        let whole = S3AccessUser { spec: tenant.get(name).await.unwrap().spec, ..user(name, json!({})) };
        let mut whole = whole;
        whole.metadata.resource_version = tenant.get(name).await.unwrap().resource_version();
        wants(verb, tenant.replace(name, &PostParams::default(), &whole).await);
        // What is theirs, they change all the same.
        change(&tenant, name, annotations("s3access.dev/rotate", json!("now"))).await.unwrap();
        let suspended = Patch::Merge(json!({ "spec": { "suspend": true } }));
        tenant.patch(name, &PatchParams::default(), &suspended).await.unwrap();
        let kept = tenant.get(name).await.unwrap();
        assert_eq!(kept.annotations()[annotation], "true");
        change(&team, name, annotations(annotation, Value::Null)).await.unwrap();
    }
}

/// OLM gives whoever has the role admin in a namespace all verbs on the kind.
#[tokio::test]
async fn all_verbs_on_s3accessusers_neither_pause_nor_abandon_nor_take_the_finalizer_off() {
    let scene = Scene::without_operator("guard-verbs").await;
    let everything = format!("{}-everything", scene.namespace);
    let role = serde_json::from_value(json!({
        "metadata": { "name": everything },
        "rules": [{ "apiGroups": ["s3access.dev"], "resources": ["s3accessusers"], "verbs": ["*"] }],
    }));
    let roles: Api<ClusterRole> = Api::all(scene.client.clone());
    roles.create(&PostParams::default(), &role.unwrap()).await.unwrap();
    let tenant = scene.somebody("tenant", &everything).await;
    create(&tenant, "reports", json!({})).await.unwrap();
    wants("pause", change(&tenant, "reports", annotations("s3access.dev/paused", json!("true"))).await);
    wants("abandon", change(&tenant, "reports", annotations("s3access.dev/abandon", json!("true"))).await);
    wants("finalizers", change(&tenant, "reports", json!({ "finalizers": [FINALIZER] })).await);
    roles.delete(&everything, &DeleteParams::default()).await.unwrap();
}

#[tokio::test]
async fn a_tenant_asks_for_a_revocation_and_takes_none_back() {
    const REVOKE: &str = "s3access.dev/revoke";
    let scene = Scene::without_operator("guard-revoke").await;
    let tenant = scene.somebody("tenant", "s3access-editor").await;
    let team = scene.somebody("team", "s3access-admin").await;
    create(&tenant, "reports", json!({})).await.unwrap();
    change(&tenant, "reports", annotations(REVOKE, json!("1"))).await.unwrap();
    change(&tenant, "reports", annotations(REVOKE, json!("2"))).await.unwrap();
    for softer in [Value::Null, json!(""), json!("keep-working"), json!("keep-working-2")] {
        wants("pause", change(&tenant, "reports", annotations(REVOKE, softer)).await);
    }
    wants("pause", change(&tenant, "reports", json!({ "annotations": null })).await);
    change(&team, "reports", annotations(REVOKE, Value::Null)).await.unwrap();
    change(&tenant, "reports", annotations(REVOKE, json!("keep-working"))).await.unwrap();
}

#[tokio::test]
async fn the_finalizer_is_the_operators() {
    let scene = Scene::without_operator("finalizer").await;
    let tenant = scene.somebody("tenant", "s3access-editor").await;
    let (operator, held) = (scene.operators_users().await, json!({ "finalizers": [FINALIZER] }));
    wants("finalizers", create(&tenant, "preset", held.clone()).await);
    create(&tenant, "reports", json!({})).await.unwrap();
    wants("finalizers", change(&tenant, "reports", held.clone()).await);
    change(&operator, "reports", held).await.unwrap();
    wants("finalizers", change(&tenant, "reports", json!({ "finalizers": null })).await);
    wants("finalizers", change(&tenant, "reports", json!({ "finalizers": ["example.com/other"] })).await);
    let both = json!({ "finalizers": [FINALIZER, "example.com/other"] });
    change(&tenant, "reports", both).await.unwrap();
    // Nor does the operator's token pause or abandon.
    wants("pause", change(&operator, "reports", annotations("s3access.dev/paused", json!("true"))).await);
    wants("abandon", change(&operator, "reports", annotations("s3access.dev/abandon", json!("true"))).await);
    let wider = Patch::Merge(json!({ "spec": { "access": [{ "bucket": "payroll", "level": "Admin" }] } }));
    let refused = operator.patch("reports", &PatchParams::default(), &wider).await.expect_err("a spec").to_string();
    assert!(refused.contains("changes no spec"), "{refused}");
    // The status is written beside all that.
    let status = Patch::Merge(json!({ "status": { "userName": "x", "conditions": [] } }));
    operator.patch_status("reports", &PatchParams::default(), &status).await.unwrap();

    tenant.delete("reports", &DeleteParams::default()).await.unwrap();
    wants("finalizers", change(&tenant, "reports", json!({ "finalizers": null })).await);
    let other = json!({ "finalizers": ["example.com/other"] });
    change(&operator, "reports", other).await.unwrap();
    change(&tenant, "reports", json!({ "finalizers": null })).await.unwrap();
    scene.gone("reports").await;
}

/// Its right to patch classes is for their finalizer alone.
#[tokio::test]
async fn the_operators_token_widens_no_class() {
    let scene = Scene::without_operator("widened").await;
    let name = scene.class("limits", json!({ "allowedBuckets": ["first-*"] })).await;
    let client = scene.client_of(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT).await;
    let (classes, params): (Api<S3AccessClass>, _) = (Api::all(client), PatchParams::default());
    for (change, said) in [
        (json!({ "spec": { "allowedBuckets": ["*"] } }), "changes no spec"),
        (
            json!({ "metadata": annotations("s3access.dev/is-default-class", json!("true")) }),
            "no label and no annotation",
        ),
        (json!({ "metadata": { "labels": { "scene": "another" } } }), "no label and no annotation"),
    ] {
        let refused = classes.patch(&name, &params, &Patch::Merge(&change)).await.expect_err(said).to_string();
        assert!(refused.contains(said), "{refused}");
    }
    let held = json!({ "metadata": { "finalizers": ["s3access.dev/in-use"] } });
    classes.patch(&name, &params, &Patch::Merge(&held)).await.unwrap();
    let free = json!({ "metadata": { "finalizers": null } });
    classes.patch(&name, &params, &Patch::Merge(&free)).await.unwrap();
    scene.patch_class(&name, json!({ "spec": { "allowedBuckets": ["second-*"] } })).await;
    scene.classes().delete(&name, &DeleteParams::default()).await.unwrap();
}

/// The garbage collector has a finalizer of its own, which it takes off without a verb of ours.
#[tokio::test]
async fn the_garbage_collector_goes_on_under_the_guard() {
    let scene = Scene::without_operator("collect").await;
    let operator = scene.operators_users().await;
    create(&scene.users(), "reports", json!({})).await.unwrap();
    change(&operator, "reports", json!({ "finalizers": [FINALIZER] })).await.unwrap();
    let foreground = DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..Default::default() };
    scene.users().delete("reports", &foreground).await.unwrap();
    scene
        .see("the garbage collector to take its finalizer off", async || {
            let finalizers = scene.users().get("reports").await?.metadata.finalizers.unwrap_or_default();
            ensure!(finalizers == [FINALIZER], "{finalizers:?}");
            Ok(())
        })
        .await;
    change(&operator, "reports", json!({ "finalizers": null })).await.unwrap();
    scene.gone("reports").await;
}

/// A Secret of the operator's as it should be, with changes.
fn secret(name: &str, owner: &S3AccessUser, changes: Value) -> Secret {
    let mut object = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {
            "name": name,
            "labels": { "app.kubernetes.io/managed-by": "s3-access-operator" },
            "ownerReferences": [{
                "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser", "name": owner.name_any(),
                "uid": owner.uid().unwrap(), "controller": true, "blockOwnerDeletion": true,
            }],
        },
    });
    for (pointer, value) in changes.as_object().unwrap() {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[field] = value.clone();
    }
    serde_json::from_value(object).unwrap()
}

/// With the operator's token somebody could make a token of any service account: cluster-admin, in most clusters.
#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one scene, from its start to its end")]
async fn the_operators_token_writes_secrets_of_its_users_only() {
    let scene = Scene::without_operator("token").await;
    scene.policy_is_sound("s3access-operator").await;
    let owner = scene.create("reports", spec()).await;
    let ours: Api<Secret> =
        Api::namespaced(scene.client_of(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT).await, &scene.namespace);
    let made = PostParams::default();
    let account = annotations("kubernetes.io/service-account.name", json!("default"));
    for (what, changes, said) in [
        (
            "a token",
            json!({ "/type": "kubernetes.io/service-account-token", "/metadata/annotations": account["annotations"] }),
            "type Opaque",
        ),
        ("a token's annotation", json!({ "/metadata/annotations": account["annotations"] }), "no service account"),
        ("another type", json!({ "/type": "example.com/x" }), "type Opaque"),
        ("no label", json!({ "/metadata/labels": null }), "managed-by"),
        ("another label", json!({ "/metadata/labels": { "app.kubernetes.io/managed-by": "Helm" } }), "managed-by"),
        ("no owner", json!({ "/metadata/ownerReferences": null }), "S3AccessUser"),
        ("an owner that is no controller", json!({ "/metadata/ownerReferences/0/controller": false }), "S3AccessUser"),
        ("an owner of another kind", json!({ "/metadata/ownerReferences/0/kind": "Pod" }), "S3AccessUser"),
        (
            "an owner of another group",
            json!({ "/metadata/ownerReferences/0/apiVersion": "s3access.dev.example.com/v1" }),
            "S3AccessUser",
        ),
    ] {
        let refused = ours.create(&made, &secret("tried", &owner, changes)).await.expect_err(what).to_string();
        assert!(refused.contains("the operator's account") && refused.contains(said), "{what}: {refused}");
    }

    // In its own namespace, too, where classes' credentials lie.
    let own: Api<Secret> =
        Api::namespaced(scene.client_of(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT).await, OPERATOR_NAMESPACE);
    let token =
        json!({ "/type": "kubernetes.io/service-account-token", "/metadata/annotations": account["annotations"] });
    assert!(own.create(&made, &secret("tried", &owner, token)).await.is_err());

    let mut kept = ours.create(&made, &secret("reports-s3", &owner, json!({}))).await.unwrap();
    kept.string_data = Some([("k".to_owned(), "v".to_owned())].into());
    let mut kept = ours.replace("reports-s3", &made, &kept).await.unwrap();
    kept.metadata.labels = None;
    let refused = ours.replace("reports-s3", &made, &kept).await.expect_err("the label").to_string();
    assert!(refused.contains("managed-by"), "{refused}");
    ours.delete("reports-s3", &DeleteParams::default()).await.unwrap();

    // Somebody else's, which nobody else is kept from.
    let theirs = scene.secrets();
    theirs.create(&made, &secret("theirs", &owner, json!({ "/metadata/ownerReferences": null }))).await.unwrap();
    let mut taken = secret("theirs", &owner, json!({}));
    taken.metadata.resource_version = theirs.get("theirs").await.unwrap().resource_version();
    let refused = ours.replace("theirs", &made, &taken).await.expect_err("taken over").to_string();
    assert!(refused.contains("changes and deletes only"), "{refused}");
    let refused = ours.delete("theirs", &DeleteParams::default()).await.expect_err("deleted").to_string();
    assert!(refused.contains("changes and deletes only"), "{refused}");
    let token = json!({
        "/type": "kubernetes.io/service-account-token", "/metadata/annotations": account["annotations"],
        "/metadata/ownerReferences": null,
    });
    theirs.create(&made, &secret("a-token", &owner, token)).await.unwrap();

    // What others put on ours is not in the way of a rotation.
    ours.create(&made, &secret("reports-s3", &owner, json!({}))).await.unwrap();
    let patch = Patch::Merge(json!({ "metadata": account }));
    let mut kept = theirs.patch("reports-s3", &PatchParams::default(), &patch).await.unwrap();
    kept.string_data = Some([("k".to_owned(), "next".to_owned())].into());
    ours.replace("reports-s3", &made, &kept).await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), ours.delete("reports-s3", &DeleteParams::default()))
        .await
        .unwrap()
        .unwrap();
}
