//! Two operators at once, and one that was not there: the end is as with one that was always there.

use anyhow::{Result, ensure};
use ground::cache;
use ground::double::Settings;
use ground::folders::Folder;
use ground::kubernetes::Kubernetes;
use ground::proxy::Fault;
use ground::stand::{OPERATOR_ACCOUNT, OPERATOR_NAMESPACE};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use crate::scene::{SOON, Scene, spec, user_name, with};

#[tokio::test]
async fn invariant_5_two_operators_at_once_end_as_one_would() {
    let scene = Scene::on_double("twoleaders", Settings::default()).await;
    let other = scene.launch("other", &[]).await;
    let names: Vec<String> = (0..10).map(|number| format!("user-{number}")).collect();
    for name in &names {
        scene.create(name, spec()).await;
    }
    let rotated = json!({ "metadata": { "annotations": { "s3access.dev/rotate": "now" } } });
    let mut first = Vec::new();
    for name in &names {
        let user = user_name(&scene.ready(name).await);
        first.push((scene.only_key(&user, &format!("{name}-s3")).await, user));
        scene.patch(name, rotated.clone()).await;
    }
    for (name, (key, user)) in names.iter().zip(&first) {
        let secret = format!("{name}-s3");
        scene
            .see(&format!("{name} to be rotated, with no key but the two"), async || {
                let held = scene.secret(&secret).await["AWS_ACCESS_KEY_ID"].clone();
                ensure!(held != *key, "still the first key");
                let keys = scene.keys(user).await;
                let ids: Vec<_> = keys.iter().filter_map(|key| key.access_key_id()).collect();
                ensure!(ids.len() == 2 && ids.contains(&held.as_str()) && ids.contains(&key.as_str()), "{ids:?}");
                Ok(())
            })
            .await;
    }
    for name in &names {
        scene.users().delete(name, &DeleteParams::default()).await.unwrap();
    }
    for name in &names {
        scene.gone(name).await;
    }
    assert_eq!(scene.left(), Vec::<String>::new());
    drop(other);
}

#[tokio::test]
async fn rival_6_rival_9_what_happened_while_nobody_watched_is_caught_up_with() {
    let mut scene = Scene::on_double("missed", Settings::default()).await;
    for name in ["replaced", "deleted", "bereft"] {
        scene.create(name, spec()).await;
    }
    let mut keys = Vec::new();
    for name in ["replaced", "deleted", "bereft"] {
        let user = user_name(&scene.ready(name).await);
        keys.push(scene.only_key(&user, &format!("{name}-s3")).await);
    }
    scene.kill9().await;
    // Another object of the same name: nobody saw the first one go.
    scene.patch("replaced", json!({ "metadata": { "finalizers": null } })).await;
    scene.users().delete("replaced", &DeleteParams::default()).await.unwrap();
    scene.gone("replaced").await;
    scene.create("replaced", spec()).await;
    scene.users().delete("deleted", &DeleteParams::default()).await.unwrap();
    scene.secrets().delete("bereft-s3", &DeleteParams::default()).await.unwrap();
    scene.start(&[]).await;
    scene.gone("deleted").await;
    for (name, old) in [("replaced", &keys[0]), ("bereft", &keys[2])] {
        let user = user_name(&scene.ready(name).await);
        let secret = format!("{name}-s3");
        scene
            .see(&format!("{name} to have one key, a new one"), async || {
                let found = scene.keys(&user).await;
                let ids: Vec<_> = found.iter().filter_map(|key| key.access_key_id()).collect();
                let held = crate::scene::data(&scene.secrets().get(&secret).await?)["AWS_ACCESS_KEY_ID"].clone();
                ensure!(ids == [held.as_str()] && held != *old, "keys {ids:?}, the Secret holds {held}");
                Ok(())
            })
            .await;
    }
}

#[tokio::test]
async fn a_watch_that_the_api_server_has_forgotten_is_begun_again() -> Result<()> {
    // A control plane of its own, since it is restarted.
    let folder = Folder::create("relist")?;
    let mut kubernetes = Kubernetes::start(&cache::kubernetes().await?, folder.path()).await?;
    let mut scene = Scene::on_double_without_operator("relist", Settings::default()).await;
    scene.stand.kubernetes = kubernetes.access().clone();
    scene.stand.kubernetes.install().await?;
    scene.stand.kubernetes.service_account_kubeconfig(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT).await?;
    scene.client = scene.stand.kubernetes.client().await?;
    let namespace: Namespace = serde_json::from_value(json!({ "metadata": { "name": scene.namespace } }))?;
    Api::<Namespace>::all(scene.client.clone()).create(&Default::default(), &namespace).await?;
    scene.start(&[]).await;
    scene.create("reports", spec()).await;
    let user = user_name(&scene.ready("reports").await);
    kubernetes.stop_apiserver().await?;
    kubernetes.start_apiserver().await?;
    kubernetes.access().takes_users().await?;
    // The server's memory of changes begins anew: the resource versions that the operator knows are too old for it.
    scene.patch("reports", json!({ "metadata": { "annotations": { "s3access.dev/rotate": "now" } } })).await;
    scene.create("second", with(json!({ "userName": "second-of-relist" }))).await;
    scene.ready("second").await;
    scene
        .see("the rotation", async || {
            ensure!(scene.keys(&user).await.len() == 2, "one key");
            Ok(())
        })
        .await;
    Ok(())
}

impl Scene {
    /// Rotates, and holds the new key back from the Secret by refusing its probes until `edit` is done; the first key.
    async fn edited_in_a_rotation(&self, edit: serde_json::Value) -> (String, String) {
        self.create("reports", with(json!({ "accessKey": { "rotation": { "interval": "2160h", "overlap": "4s" } } })))
            .await;
        let user = user_name(&self.ready("reports").await);
        let first = self.only_key(&user, "reports-s3").await;
        self.proxy.forget();
        for _ in 0..20 {
            self.proxy.inject("GetCallerIdentity", Fault::Error { status: 403, code: "InvalidClientTokenId" });
        }
        self.patch("reports", json!({ "metadata": { "annotations": { "s3access.dev/rotate": "now" } } })).await;
        self.proxy.called("CreateAccessKey", SOON).await.unwrap();
        self.proxy.called("GetCallerIdentity", SOON).await.unwrap();
        let before = self.secret("reports-s3").await;
        assert_eq!(before["AWS_ACCESS_KEY_ID"], first, "the new key waits");
        self.secrets().patch("reports-s3", &PatchParams::default(), &Patch::Merge(edit)).await.unwrap();
        (user, first)
    }
}

#[tokio::test]
async fn invariant_5_a_label_put_on_the_secret_during_a_rotation_stays_and_costs_no_key() {
    let scene = Scene::on_double("labelled", Settings::default()).await;
    let label = json!({ "metadata": { "labels": { "theirs": "yes" } } });
    let (user, first) = scene.edited_in_a_rotation(label).await;
    scene.rotated(&user, &first).await;
    let secret = scene.secrets().get("reports-s3").await.unwrap();
    assert_eq!(secret.metadata.labels.unwrap()["theirs"], "yes");
    assert_eq!(scene.proxy.counts()["CreateAccessKey"], 1);
}

#[tokio::test]
async fn invariant_5_a_secret_emptied_during_a_rotation_ends_with_one_key() {
    let scene = Scene::on_double("emptied", Settings::default()).await;
    let (user, first) = scene.edited_in_a_rotation(json!({ "data": null })).await;
    scene.rotated(&user, &first).await;
}

#[tokio::test]
async fn rival_12_a_namespace_deleted_in_a_create_ends_and_leaves_nothing() {
    let scene = Scene::on_double("nsdel", Settings::default()).await;
    scene.proxy.inject("CreatePolicy", Fault::Error { status: 500, code: "ServiceFailure" });
    scene.create("reports", spec()).await;
    scene.proxy.called("CreateUser", SOON).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(scene.client.clone());
    namespaces.delete(&scene.namespace, &DeleteParams::default()).await.unwrap();
    scene
        .see("the namespace to be gone", async || {
            ensure!(namespaces.get_opt(&scene.namespace).await?.is_none(), "it is there");
            Ok(())
        })
        .await;
    assert_eq!(scene.left(), Vec::<String>::new());
}

#[tokio::test]
async fn rival_12_a_namespace_deleted_in_an_outage_ends_after_it_and_leaves_nothing() {
    let scene = Scene::on_double("nsdark", Settings::default()).await;
    scene.create("reports", spec()).await;
    scene.ready("reports").await;
    scene.proxy.set_down(true);
    let namespaces: Api<Namespace> = Api::all(scene.client.clone());
    namespaces.delete(&scene.namespace, &DeleteParams::default()).await.unwrap();
    scene
        .see("the Secret to be gone before its user", async || {
            ensure!(scene.secrets().get_opt("reports-s3").await?.is_none(), "it is there");
            Ok(())
        })
        .await;
    scene.refused("reports", "Unreachable").await;
    assert_eq!(scene.left().len(), 2, "user and policy wait");
    scene.proxy.set_down(false);
    scene
        .see("the namespace to be gone", async || {
            ensure!(namespaces.get_opt(&scene.namespace).await?.is_none(), "it is there");
            Ok(())
        })
        .await;
    assert_eq!(scene.left(), Vec::<String>::new());
}
