//! The way to another version of the resources, as deploy/docs/versions.md plans it, on a real API server and with the
//! operator at work.

use std::collections::BTreeMap;

use anyhow::ensure;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::own::Own;
use crate::scene::{data, spec, user_name, with};

const PLURALS: [&str; 2] = ["s3accessusers", "s3accessclasses"];
const OLD: &str = "v1alpha1";
const NEW: &str = "v1beta1";

impl Own {
    async fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.kubectl(&[args, &["-o", "json"]].concat()).await).unwrap()
    }

    /// Changes both CRDs by a JSON patch.
    async fn patch_crds(&self, patch: impl Fn(&Value) -> Value) {
        for plural in PLURALS {
            let crd = format!("{plural}.s3access.dev");
            let patch = patch(&self.json(&["get", "crd", &crd]).await).to_string();
            self.kubectl(&["patch", "crd", &crd, "--type=json", "-p", &patch]).await;
        }
    }

    /// Waits until the API server serves that version of both, or no longer does.
    async fn is_served(&self, version: &str, wanted: bool) {
        for plural in PLURALS {
            let resource = format!("{plural}.{version}.s3access.dev");
            self.scene
                .see(&format!("{resource} to be served: {wanted}"), async || {
                    let answer = self.scene.stand.kubernetes.kubectl(&["get", &resource, "-A"]).await;
                    ensure!(answer.is_ok() == wanted, "{answer:?}");
                    Ok(())
                })
                .await;
        }
    }

    async fn stored_versions(&self) -> Vec<Value> {
        let mut found = Vec::new();
        for plural in PLURALS {
            let crd = self.json(&["get", "crd", &format!("{plural}.s3access.dev")]).await;
            found.push(crd["status"]["storedVersions"].clone());
        }
        found
    }

    /// The resource version of each object by its UID.
    async fn written(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for plural in PLURALS {
            let list = self.json(&["get", &format!("{plural}.{NEW}.s3access.dev"), "-A"]).await;
            for object in list["items"].as_array().unwrap() {
                let text = |field: &str| object["metadata"][field].as_str().unwrap().to_owned();
                found.insert(text("uid"), text("resourceVersion"));
            }
        }
        found
    }

    /// Writes every object as it is, which stores it in the version that is stored now.
    async fn migrate(&self) {
        for plural in PLURALS {
            let list = self.json(&["get", &format!("{plural}.{NEW}.s3access.dev"), "-A"]).await;
            let path = self.folder.path().join("all.json");
            std::fs::write(&path, list.to_string()).unwrap();
            self.scene
                .see("all of them to be written", async || {
                    self.scene.stand.kubernetes.kubectl(&["replace", "-f", path.to_str().unwrap()]).await
                })
                .await;
        }
    }
}

/// What must not change on the way.
#[derive(Debug, PartialEq)]
struct Kept {
    keys: Vec<String>,
    secret: (Option<String>, BTreeMap<String, String>),
}

async fn kept(own: &Own, user: &str) -> Kept {
    let keys = own.scene.keys(user).await.into_iter().filter_map(|key| key.access_key_id).collect();
    let secret = own.scene.secrets().get("reports-s3").await.unwrap();
    Kept { keys, secret: (secret.uid(), data(&secret)) }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one way, step by step")]
async fn the_resources_move_to_another_version_and_back_and_no_key_changes() {
    let mut own = Own::new("conversion").await;
    let mark = json!({ "s3access.dev/is-default-class": "true" });
    let class = json!({ "apiVersion": format!("s3access.dev/{OLD}"), "kind": "S3AccessClass",
        "metadata": { "name": "default", "annotations": mark }, "spec": { "allowedBuckets": ["team-a-*"], "allowedTagKeys": ["*"] } });
    own.apply(&class, &[]).await.unwrap();
    own.scene.create("reports", spec()).await;
    let user = user_name(&own.scene.ready("reports").await);
    own.scene.only_key(&user, "reports-s3").await;
    let before = kept(&own, &user).await;

    // 1. The new version is served, with the same schema; the old one is stored, and the operator reads it.
    own.patch_crds(|crd| {
        let mut version = crd["spec"]["versions"][0].clone();
        (version["name"], version["storage"]) = (json!(NEW), json!(false));
        json!([{ "op": "add", "path": "/spec/versions/-", "value": version }])
    })
    .await;
    own.is_served(NEW, true).await;
    let edited = json!({ "apiVersion": format!("s3access.dev/{NEW}"), "kind": "S3AccessUser",
        "metadata": { "name": "reports", "namespace": own.scene.namespace },
        "spec": with(json!({ "tags": { "written-as": NEW } })) });
    own.apply(&edited, &["--server-side", "--force-conflicts"]).await.unwrap();
    own.scene.ready("reports").await;
    let tags = own.scene.iam.list_user_tags().user_name(&user).send().await.unwrap();
    assert!(tags.tags().iter().any(|tag| tag.key() == "written-as"), "what was written as {NEW} was not carried out");
    // What a class does not allow is refused in either version.
    let mut beyond = edited.clone();
    beyond["spec"]["access"][0]["bucket"] = json!("team-b-reports");
    let refused = own.apply(&beyond, &["--server-side", "--force-conflicts"]).await.unwrap_err();
    assert!(format!("{refused:#}").contains("does not allow"), "{refused:#}");

    // 2. The new version is stored from now on, and whoever writes the old one is warned. The operator of that version writes the
    // owner references anew: the garbage collector takes an owner for gone whose version is not served, and the Secret with it.
    let reference = json!([{ "op": "replace", "path": "/metadata/ownerReferences/0/apiVersion", "value": format!("s3access.dev/{NEW}") }]);
    let patch = ["--type=json", "-p", &reference.to_string()];
    let namespace = own.scene.namespace.clone();
    own.kubectl(&[&["-n", &namespace, "patch", "secret", "reports-s3"], patch.as_slice()].concat()).await;
    own.patch_crds(|_| {
        json!([
            { "op": "replace", "path": "/spec/versions/0/storage", "value": false },
            { "op": "replace", "path": "/spec/versions/1/storage", "value": true },
            { "op": "add", "path": "/spec/versions/0/deprecated", "value": true },
        ])
    })
    .await;
    let both = json!([OLD, NEW]);
    own.scene
        .see("both versions to be named as stored", async || {
            let found = own.stored_versions().await;
            ensure!(found.iter().all(|versions| *versions == both), "{found:?}");
            Ok(())
        })
        .await;

    // 3. Every object is written once.
    let earlier = own.written().await;
    own.migrate().await;
    let later = own.written().await;
    assert_eq!(earlier.len(), 2);
    assert!(earlier.iter().all(|(uid, version)| later[uid] != *version), "not all were written: {earlier:?} {later:?}");

    // 4. Nothing is stored in the old version any more, and the API server is told so.
    for plural in PLURALS {
        let told = json!({ "status": { "storedVersions": [NEW] } }).to_string();
        let crd = format!("{plural}.s3access.dev");
        own.kubectl(&["patch", "crd", &crd, "--subresource=status", "--type=merge", "-p", &told]).await;
    }
    own.scene.ready("reports").await;

    // 5. The old version is not served any more. An operator that still reads it waits, and takes nothing away.
    own.patch_crds(|_| json!([{ "op": "replace", "path": "/spec/versions/0/served", "value": false }])).await;
    own.is_served(OLD, false).await;
    own.kubectl(&["get", "s3accessusers", "-A"]).await;
    let log = own.scene.log().unwrap().len();
    own.scene
        .see("the operator to have missed it", async || {
            let since = own.scene.log()?[log..].to_owned();
            ensure!(since.contains("404"), "{since}");
            Ok(())
        })
        .await;
    own.scene.operator().process().ensure_running().unwrap();
    let after = kept(&own, &user).await;
    assert_eq!(after, before, "a key, or the Secret, has changed");

    // Back to the CRDs of step 1: it goes on as if nothing had been.
    own.patch_crds(|_| {
        json!([
            { "op": "replace", "path": "/spec/versions/0/served", "value": true },
            { "op": "replace", "path": "/spec/versions/0/storage", "value": true },
            { "op": "replace", "path": "/spec/versions/1/storage", "value": false },
            { "op": "remove", "path": "/spec/versions/0/deprecated" },
        ])
    })
    .await;
    own.is_served(OLD, true).await;
    let held = before.keys[0].clone();
    own.scene.patch("reports", json!({ "metadata": { "annotations": { "s3access.dev/rotate": "1" } } })).await;
    own.scene.secret_holds_another_key("reports-s3", &held).await;
    own.scene.delete("reports").await;
    assert!(own.scene.named(&user).await.is_empty(), "it left something in IAM");
    own.scene
        .see("the Secret to go with it", async || {
            ensure!(own.scene.secrets().get_opt("reports-s3").await?.is_none(), "it is there");
            Ok(())
        })
        .await;
}
