//! Whose a user is: what an earlier cluster, an earlier object or somebody else has left behind.

use anyhow::ensure;
use aws_sdk_iam::types::StatusType;
use ground::double::{Request, Response, Settings, Tag};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::scene::{Scene, spec, user_name, with};

const OLD_CLUSTER: &str = "the-old-cluster";
const NEW_CLUSTER: &str = "the-new-cluster";

impl Scene {
    /// The CR goes, and all that Kubernetes holds of it; IAM is left as it is, as when a cluster is lost.
    async fn lose_cluster(&mut self, name: &str) -> Secret {
        self.kill9().await;
        let secret = self.secrets().get(&format!("{name}-s3")).await.unwrap();
        self.patch(name, json!({ "metadata": { "finalizers": null } })).await;
        self.users().delete(name, &DeleteParams::default()).await.unwrap();
        self.gone(name).await;
        self.see("the Secret to be collected", async || {
            let left = self.secrets().list(&Default::default()).await?.items;
            ensure!(left.is_empty(), "{} Secrets are left", left.len());
            Ok(())
        })
        .await;
        secret
    }
}

#[tokio::test]
async fn a_cluster_restored_from_a_backup_takes_its_users_over_by_its_cluster_id() {
    let mut scene = Scene::on_double_without_operator("restore", Settings::default()).await;
    let as_cluster = |id: &'static str| [("S3ACCESS_CLUSTER_ID", id), ("S3ACCESS_CLUSTER_NAME", "prod")];
    let named = with(json!({ "userName": "restored" }));
    scene.start(&as_cluster(OLD_CLUSTER)).await;
    scene.create("reports", named.clone()).await;
    let user = user_name(&scene.ready("reports").await);
    let key = scene.only_key(&user, "reports-s3").await;
    let backup = scene.lose_cluster("reports").await;

    // The restore: the same objects with other UIDs, and the Secret with the reference to its dead owner.
    scene.create("reports", named).await;
    let mut restored = Secret { data: backup.data.clone(), ..Secret::default() };
    restored.metadata.name = backup.metadata.name.clone();
    restored.metadata.annotations = backup.metadata.annotations.clone();
    restored.metadata.labels = backup.metadata.labels.clone();
    restored.metadata.owner_references = backup.metadata.owner_references.clone();
    scene.secrets().create(&PostParams::default(), &restored).await.unwrap();

    scene.start(&as_cluster(NEW_CLUSTER)).await;
    let (_, message) = scene.refused("reports", "ForeignUser").await;
    assert!(message.contains("of cluster the-old-cluster"), "{message}");
    assert_eq!(scene.keys(&user).await.len(), 1, "nothing was touched");
    scene.terminate().await;

    scene.start(&as_cluster(OLD_CLUSTER)).await;
    scene.ready("reports").await;
    let new = scene.only_key(&user, "reports-s3").await;
    assert_ne!(new, key, "the old key's Secret was the dead owner's");
    scene.delete("reports").await;
    assert_eq!(scene.left(), Vec::<String>::new());
}

#[tokio::test]
async fn rival_9_what_was_just_created_is_never_taken_for_somebody_elses() {
    // Replicas that are up to three seconds behind answer every read: less than two consistency windows and the second that an
    // API server's times leave out.
    let settings = Settings { reads: ground::double::Lag::up_to_seconds(3), ..Settings::default() };
    let scene = Scene::on_double("lagging", settings).await;
    scene.create("reports", spec()).await;
    let name = user_name(&scene.ready("reports").await);
    scene.patch("reports", json!({ "spec": { "tags": { "team": "a" } } })).await;
    scene.ready("reports").await;
    scene.delete("reports").await;
    scene
        .see("nothing to be left", async || {
            ensure!(scene.left().is_empty(), "{:?} of {name}", scene.left());
            Ok(())
        })
        .await;
}

#[tokio::test]
async fn adoption_never_refuses_even_a_predecessor_and_if_owned_by_tag_takes_it_over() {
    let mut scene = Scene::on_double("adoption", Settings::default()).await;
    scene.create("reports", with(json!({ "userName": "adopted" }))).await;
    let user = user_name(&scene.ready("reports").await);
    scene.lose_cluster("reports").await;
    scene.create("reports", with(json!({ "userName": "adopted", "adoption": "Never" }))).await;
    scene.start(&[]).await;
    let (_, message) = scene.refused("reports", "ForeignUser").await;
    assert!(message.contains("set spec.adoption to IfOwnedByTag"), "{message}");
    scene.patch("reports", json!({ "spec": { "adoption": "IfOwnedByTag" } })).await;
    scene.ready("reports").await;
    scene.only_key(&user, "reports-s3").await;
}

/// What a person has made in the console, a workload goes on using until it has moved to the Secret.
#[tokio::test]
async fn adoption_by_force_takes_a_hand_made_user_over_and_leaves_its_key_alone() {
    let scene = Scene::on_double("force", Settings::default()).await;
    let name = "hand-made".to_owned();
    // What deploy/docs/migration.md asks for: the right to tag this user, and what the tag then allows.
    scene.grant("operator-policy.migration");
    let this = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:TagUser",
        "Resource":"arn:aws:iam::*:user/hand-made"}]}"#;
    scene.by_hand(&Request::PutUserPolicy {
        user_name: "s3-access-operator".to_owned(),
        policy_name: "take-over".to_owned(),
        policy_document: this.to_owned(),
    });
    let tags = vec![Tag::new("team", "a")];
    scene.by_hand(&Request::CreateUser { user_name: name.clone(), path: None, permissions_boundary: None, tags });
    let Response::NewAccessKey(by_hand) = scene.by_hand(&Request::CreateAccessKey { user_name: name.clone() }) else {
        panic!("no key was made")
    };
    let by_hand = by_hand.key.id;
    let mut allowed = json!({ "allowedBuckets": ["*"], "allowedNames": ["*"] });
    let class = scene.class("force", allowed.clone()).await;
    scene.class_is(&class, "Synced").await;
    let mut forced = with(json!({ "userName": name, "className": class, "adoption": "Force" }));
    assert!(scene.try_create("reports", forced.clone()).await.is_err(), "the class does not allow it");
    forced["adoption"] = json!("IfOwnedByTag");
    scene.create("reports", forced).await;
    scene.refused("reports", "ForeignUser").await;
    allowed["allowForceAdoption"] = json!(true);
    scene.patch_class(&class, json!({ "spec": allowed })).await;
    scene
        .see("the class to allow it", async || {
            let adoption = Patch::Merge(json!({ "spec": { "adoption": "Force" } }));
            Ok(scene.users().patch("reports", &PatchParams::default(), &adoption).await.map(drop)?)
        })
        .await;
    scene.ready("reports").await;
    let keys = scene.keys(&name).await;
    let new = scene.secret("reports-s3").await["AWS_ACCESS_KEY_ID"].clone();
    let mut ids: Vec<&str> = keys.iter().filter_map(|key| key.access_key_id()).collect();
    ids.sort_by_key(|id| *id == new);
    assert_eq!(ids, [by_hand.as_str(), new.as_str()]);
    assert!(keys.iter().all(|key| key.status() == Some(&StatusType::Active)), "{keys:?}");
    // IAM would let nobody delete the user, and the operator does not delete what it has not made.
    scene.users().delete("reports", &DeleteParams::default()).await.unwrap();
    let (_, message) = scene.refused("reports", "DeleteBlocked").await;
    assert!(message.contains(&by_hand), "{message}");
    scene.by_hand(&Request::DeleteAccessKey { user_name: name, access_key_id: by_hand });
    scene.patch("reports", json!({ "metadata": { "annotations": { "look": "again" } } })).await;
    scene.gone("reports").await;
    assert_eq!(scene.left(), Vec::<String>::new());
}

#[tokio::test]
async fn rival_8_forged_tags_of_another_cluster_are_no_proof() {
    let scene = Scene::on_double("forged", Settings::default()).await;
    let tags = vec![
        Tag::new("s3access.dev/cluster", "another-cluster"),
        Tag::new("s3access.dev/owner", format!("{}/reports", scene.namespace)),
        Tag::new("s3access.dev/uid", "00000000-0000-0000-0000-000000000000"),
    ];
    let user_name = "forged".to_owned();
    let create = Request::CreateUser { user_name: user_name.clone(), path: None, permissions_boundary: None, tags };
    scene.by_hand(&create);
    scene.by_hand(&Request::CreateAccessKey { user_name: user_name.clone() });
    let before = scene.by_hand(&Request::GetUser { user_name: user_name.clone() });
    scene.create("reports", with(json!({ "userName": "forged" }))).await;
    scene.refused("reports", "ForeignUser").await;
    scene.delete("reports").await;
    assert_eq!(scene.by_hand(&Request::GetUser { user_name }), before, "it is as it was");
    assert_eq!(scene.keys("forged").await.len(), 1);
}

#[tokio::test]
async fn a_predecessors_secret_is_waited_for_and_not_called_somebody_elses() {
    let mut scene = Scene::on_double("heldback", Settings::default()).await;
    scene.create("reports", spec()).await;
    let user = user_name(&scene.ready("reports").await);
    let old = scene.only_key(&user, "reports-s3").await;
    scene.kill9().await;
    // The garbage collector cannot remove it while somebody's finalizer is on it.
    let hold = |finalizers: Value| Patch::Merge(json!({ "metadata": { "finalizers": finalizers } }));
    let (secrets, params) = (scene.secrets(), PatchParams::default());
    secrets.patch("reports-s3", &params, &hold(json!(["example.com/backup"]))).await.unwrap();
    scene.patch("reports", json!({ "metadata": { "finalizers": null } })).await;
    scene.users().delete("reports", &DeleteParams::default()).await.unwrap();
    scene.gone("reports").await;
    scene.create("reports", spec()).await;
    scene.start(&[]).await;
    scene
        .see("the wait for the garbage collector to be told", async || {
            let (_, message) = scene.refused("reports", "Creating").await;
            ensure!(message.contains("an earlier S3AccessUser of this name"), "{message}");
            Ok(())
        })
        .await;
    assert_eq!(scene.secret("reports-s3").await["AWS_ACCESS_KEY_ID"], old, "it is not ours to write");
    secrets.patch("reports-s3", &params, &hold(Value::Null)).await.unwrap();
    scene.ready("reports").await;
    assert_ne!(scene.only_key(&user, "reports-s3").await, old);
}

#[tokio::test]
async fn what_retain_left_on_a_strict_account_is_taken_over_by_the_next_of_that_name() {
    let scene = Scene::on_double("retained", Settings::default()).await;
    scene.create("reports", with(json!({ "deletionPolicy": "Retain" }))).await;
    let user = user_name(&scene.ready("reports").await);
    scene.delete("reports").await;
    assert_eq!(scene.left().len(), 2, "user and policy stay");
    assert!(scene.keys(&user).await.is_empty(), "a key whose Secret goes is of use to nobody");
    scene.create("reports", spec()).await;
    scene.ready("reports").await;
    scene.only_key(&user, "reports-s3").await;
    scene.delete("reports").await;
    assert_eq!(scene.left(), Vec::<String>::new());
}
