//! Taking access away waits for nothing: not for a finalizer, a Secret that can be read, a policy that IAM takes, or the
//! tenant's leave.

use anyhow::{Context, bail, ensure};
use ground::double::{Account, Config, DoubleServer, Request, Settings, Tag};
use ground::moto::Partition;
use ground::stand::Stand;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use s3_access_operator::api::FINALIZER;
use serde_json::{Value, json};

use crate::classes::grants;
use crate::commands::run;
use crate::loose::Loose;
use crate::scene::{Scene, user_name, with};

/// A class of two kinds of buckets, where statements may be written.
fn wide() -> Value {
    json!({ "allowedBuckets": ["first-*", "second-*"], "allowStatements": true, "allowedNames": ["*"] })
}

/// What it shrinks to.
fn narrow() -> Value {
    json!({ "spec": { "allowedBuckets": ["first-*"] } })
}

fn shut_out() -> Value {
    json!({ "spec": { "allowedNamespaces": { "names": ["another"] } } })
}

fn no_finalizer() -> Value {
    json!({ "metadata": { "finalizers": null } })
}

impl Scene {
    /// A class, and a Ready user with a bucket of each kind: the class, and the IAM user's name.
    async fn settled(&self, name: &str) -> (String, String) {
        let class = self.class("c", wide()).await;
        self.create(name, json!({ "className": class, "access": grants(&["first-a", "second-a"]) })).await;
        let user = user_name(&self.ready(name).await);
        (class, user)
    }

    /// IAM no longer grants the bucket that was taken back.
    async fn lost_the_second(&self, user: &str) {
        self.see("the second bucket to be taken back", async || {
            let (text, _) = self.access(user).await;
            ensure!(!text.contains("second-a"), "still there: {text}");
            Ok(())
        })
        .await;
    }

    /// No key of the user works.
    async fn keys_are_dead(&self, user: &str) {
        self.see("no key to work", async || {
            let Ok(keys) = self.iam.list_access_keys().user_name(user).send().await else { return Ok(()) };
            let active =
                keys.access_key_metadata().iter().filter(|key| key.status().is_some_and(|s| s.as_str() == "Active"));
            ensure!(active.count() == 0, "{keys:?}");
            Ok(())
        })
        .await;
    }

    async fn alter_secret(&self, name: &str, patch: Value) {
        self.secrets().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    async fn is_finalized(&self, name: &str) {
        self.see("the finalizer to be there", async || {
            let user = self.users().get(name).await?;
            ensure!(user.metadata.finalizers.iter().flatten().any(|found| found == FINALIZER), "{:?}", user.metadata);
            Ok(())
        })
        .await;
    }
}

#[tokio::test]
async fn invariant_7_a_finalizer_that_a_tenant_removes_is_put_back_at_once() {
    let scene = Scene::on_double("put-back", Settings::default()).await;
    let (_, user) = scene.settled("reports").await;
    scene.patch("reports", no_finalizer()).await;
    scene.is_finalized("reports").await;
    scene.delete("reports").await;
    assert!(scene.iam.get_user().user_name(user).send().await.is_err(), "nothing of it is left");
}

#[tokio::test]
async fn invariant_7_without_a_finalizer_access_is_taken_back_all_the_same() {
    let mut scene = Scene::on_double("unheld", Settings::default()).await;
    let (class, user) = scene.settled("reports").await;
    scene.kill9().await;
    scene.patch("reports", no_finalizer()).await;
    scene.patch_class(&class, narrow()).await;
    scene.start(&[]).await;
    scene.lost_the_second(&user).await;
    scene.is_finalized("reports").await;
    scene.kill9().await;
    scene.patch("reports", no_finalizer()).await;
    scene.patch_class(&class, shut_out()).await;
    scene.start(&[]).await;
    scene.keys_are_dead(&user).await;
    scene.is_finalized("reports").await;
    scene.delete("reports").await;
    assert!(scene.iam.get_user().user_name(user).send().await.is_err(), "nothing of it is left");
}

#[tokio::test]
async fn invariant_7_a_secret_of_another_account_keeps_nothing_that_the_class_takes_back() {
    let scene = Scene::on_double("elsewhere", Settings::default()).await;
    let (class, user) = scene.settled("reports").await;
    let other = json!({ "metadata": { "annotations": { "s3access.dev/account-id": "999999999999" } } });
    scene.alter_secret("reports-s3", other).await;
    scene.patch_class(&class, narrow()).await;
    scene.lost_the_second(&user).await;
    scene.patch_class(&class, shut_out()).await;
    scene.keys_are_dead(&user).await;
}

#[tokio::test]
async fn invariant_7_a_secret_that_cannot_be_used_holds_up_neither_shrinking_nor_shutting_out_nor_deletion() {
    let scene = Scene::on_double("bulky", Settings::default()).await;
    let (class, user) = scene.settled("reports").await;
    let bulky = || {
        json!({ "metadata": { "annotations": { "s3access.dev/access-key-digest": null } },
            "stringData": { "AWS_ACCESS_KEY_ID": "A".repeat(120_000) } })
    };
    scene.alter_secret("reports-s3", bulky()).await;
    scene.patch_class(&class, narrow()).await;
    scene.lost_the_second(&user).await;
    scene.alter_secret("reports-s3", bulky()).await;
    scene.patch_class(&class, shut_out()).await;
    scene.keys_are_dead(&user).await;
    scene.alter_secret("reports-s3", bulky()).await;
    scene.delete("reports").await;
    assert!(scene.iam.get_user().user_name(user).send().await.is_err(), "nothing of it is left");
}

#[tokio::test]
async fn invariant_7_a_statement_that_iam_refuses_keeps_nothing_that_the_class_takes_back() {
    let scene = Scene::on_double("malformed", Settings::default()).await;
    let (class, user) = scene.settled("reports").await;
    let statement = json!({ "Effect": "Deny", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::first-a/x",
        "Condition": { "StringResembles": { "aws:username": "x" } } });
    let document = json!({ "Version": "2012-10-17", "Statement": [statement] });
    let refused = scene.iam.create_policy().policy_name("probe").policy_document(document.to_string()).send().await;
    assert!(refused.is_err(), "the double takes no operator that there is not, as IAM does");
    scene.patch("reports", json!({ "spec": { "policy": { "statements": [statement] } } })).await;
    scene
        .see("the statement to be refused", async || {
            let user = scene.users().get("reports").await?;
            let conditions = user.status.map(|status| status.conditions).unwrap_or_default();
            let ready = conditions.iter().find(|found| found.type_ == "Ready").context("no condition")?;
            ensure!(ready.status == "False" && ready.observed_generation == user.metadata.generation, "{ready:?}");
            Ok(())
        })
        .await;
    scene.patch_class(&class, narrow()).await;
    scene.lost_the_second(&user).await;
}

#[tokio::test]
async fn invariant_7_a_boundary_that_does_not_exist_keeps_nothing_that_the_class_takes_back() {
    let scene = Scene::on_double("nowhere", Settings::default()).await;
    let (class, user) = scene.settled("reports").await;
    let boundary = format!("arn:aws:iam::{}:policy/nowhere", scene.double.as_ref().unwrap().account().id);
    let refused =
        scene.iam.put_user_permissions_boundary().user_name(&user).permissions_boundary(&boundary).send().await;
    assert!(refused.is_err(), "the double takes no boundary that there is not, as IAM does");
    scene.patch("reports", json!({ "spec": { "permissionsBoundaryArn": boundary } })).await;
    scene.patch_class(&class, narrow()).await;
    scene.lost_the_second(&user).await;
    scene.patch_class(&class, shut_out()).await;
    scene.keys_are_dead(&user).await;
}

#[tokio::test]
async fn invariant_7_who_pauses_and_deletes_has_no_working_key() {
    let scene = Scene::on_double("pause", Settings::default()).await;
    let (_, user) = scene.settled("reports").await;
    scene.patch("reports", json!({ "metadata": { "annotations": { "s3access.dev/paused": "true" } } })).await;
    scene.refused("reports", "Paused").await;
    scene.users().delete("reports", &DeleteParams::default()).await.unwrap();
    scene.keys_are_dead(&user).await;
    scene.gone("reports").await;
    assert!(scene.iam.get_user().user_name(user).send().await.is_err(), "nothing of it is left");
}

#[tokio::test]
async fn invariant_4_a_default_class_of_another_account_forgets_nothing_in_the_first() {
    const OTHER: &str = "210987654321";
    let mut scene = Scene::on_double_without_operator("moved", Settings::default()).await;
    let everything = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["iam:*"],"Resource":"*"}}"#;
    let role = scene.double.as_ref().unwrap().with(|world| {
        world.add_account(
            Account { id: OTHER.to_owned(), partition: "aws".to_owned() },
            Settings { seed: 7, ..Settings::default() },
        );
        let other = world.account_mut(OTHER).unwrap();
        other.put_role("operator", &["arn:aws:iam::123456789012:root"], None, &[everything]).unwrap()
    });
    let assume = json!({ "Version": "2012-10-17", "Statement": { "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role } });
    scene.by_hand(&Request::PutUserPolicy {
        user_name: "s3-access-operator".to_owned(),
        policy_name: "assume".to_owned(),
        policy_document: assume.to_string(),
    });
    // The admission policy holds what other tests make to a default class, so this one allows everything.
    let all = json!({
        "allowedBuckets": ["*"], "allowStatements": true, "allowedManagedPolicyArns": ["*"], "allowedNames": ["*"],
        "allowedTagKeys": ["*"], "allowForceAdoption": true, "allowRetain": true, "allowedPaths": ["/*"],
        "allowedSecretLabels": ["*"], "allowedSecretAnnotations": ["*"],
    });
    let first = scene.class("first", all.clone()).await;
    let mut elsewhere = all;
    for (field, value) in [
        ("roleArn", json!(role)),
        ("region", json!("us-east-1")),
        ("accountId", json!(OTHER)),
        ("endpoints", json!({ "iam": scene.proxy.endpoint() })),
    ] {
        elsewhere[field] = value;
    }
    let second = scene.class("second", elsewhere).await;
    scene.start(&[]).await;
    scene.class_is(&second, "Synced").await;
    let default =
        |is: bool| json!({ "metadata": { "annotations": { "s3access.dev/is-default-class": is.then_some("true") } } });
    scene.patch_class(&first, default(true)).await;
    scene.class_is(&first, "Synced").await;
    scene.create("reports", json!({ "access": grants(&["first-a"]) })).await;
    let user = user_name(&scene.ready("reports").await);
    scene.patch_class(&first, default(false)).await;
    scene.patch_class(&second, default(true)).await;
    scene.class_is(&second, "Synced").await;
    scene.users().delete("reports", &DeleteParams::default()).await.unwrap();
    let is_there = async || scene.iam.get_user().user_name(&user).send().await.is_ok();
    scene
        .see("the deletion to be carried out, or to be held up with a reason", async || {
            match scene.users().get_opt("reports").await? {
                None => ensure!(!is_there().await, "the S3AccessUser is gone, and its IAM user is not"),
                Some(left) => {
                    let conditions = left.status.map(|status| status.conditions).unwrap_or_default();
                    let ready = conditions.iter().find(|found| found.type_ == "Ready").context("no condition")?;
                    ensure!(!["Synced", "Deleting"].contains(&ready.reason.as_str()), "{ready:?}");
                }
            }
            Ok(())
        })
        .await;
    scene.patch_class(&second, default(false)).await;
    scene.patch_class(&first, default(true)).await;
    scene.gone("reports").await;
    assert!(!is_there().await, "nothing is left in the first account");
    scene.patch_class(&first, default(false)).await;
}

#[tokio::test]
async fn invariant_7_a_finalizer_of_the_tenants_own_leads_into_no_class_that_is_going() {
    let scene = Scene::on_double("going", Settings::default()).await;
    let (class, _) = scene.settled("holds").await;
    scene.class_is(&class, "Synced").await;
    scene.classes().delete(&class, &DeleteParams::default()).await.unwrap();
    // Who comes in the same second is let in.
    let deleted_at = scene.classes().get(&class).await.unwrap().metadata.deletion_timestamp.unwrap().0;
    scene.second_passes(deleted_at).await;
    let user = json!({ "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser",
        "metadata": { "name": "late", "namespace": scene.namespace, "finalizers": [FINALIZER] },
        "spec": { "className": class, "access": grants(&["first-a"]) } });
    scene.users().create(&PostParams::default(), &serde_json::from_value(user).unwrap()).await.unwrap();
    scene.refused("late", "ClassNotFound").await;
    assert_eq!(scene.named(&format!("{}-late", scene.namespace)).await, Vec::<String>::new(), "nothing was made");
    scene.delete("late").await;
}

#[tokio::test]
async fn invariant_7_who_is_adopted_keeps_no_policy_that_the_class_does_not_allow() {
    let scene = Scene::on_double("adopted", Settings::default()).await;
    let mut class = wide();
    class["allowForceAdoption"] = true.into();
    let class = scene.class("c", class).await;
    let (name, full) = ("legacy".to_owned(), "arn:aws:iam::aws:policy/AmazonS3FullAccess".to_owned());
    let tags = vec![Tag::new("team", "theirs")];
    scene.by_hand(&Request::CreateUser {
        user_name: name.clone(),
        path: Some("/s3access/".to_owned()),
        permissions_boundary: None,
        tags,
    });
    scene.by_hand(&Request::AttachUserPolicy { user_name: name.clone(), policy_arn: full.clone() });
    let spec = json!({ "className": class, "userName": name, "adoption": "Force", "access": grants(&["first-a"]) });
    scene.create("reports", spec).await;
    let attached = async || {
        let attached = scene.iam.list_attached_user_policies().user_name(&name).send().await.unwrap();
        attached.attached_policies().iter().any(|policy| policy.policy_arn() == Some(&full))
    };
    // Whether the operator detaches it or waits for somebody who does: it is not Ready before.
    scene
        .see("it to be judged", async || {
            let user = scene.users().get("reports").await?;
            let conditions = user.status.map(|status| status.conditions).unwrap_or_default();
            let ready = conditions.iter().find(|found| found.type_ == "Ready").context("no condition yet")?;
            match ready.status.as_str() {
                "True" if attached().await => bail!("it is Ready with all of S3"),
                "True" => Ok(()),
                _ => {
                    ensure!(ready.reason != "Creating" && ready.message.contains("AmazonS3FullAccess"), "{ready:?}");
                    Ok(())
                }
            }
        })
        .await;
    if attached().await {
        scene.by_hand(&Request::DetachUserPolicy { user_name: name.clone(), policy_arn: full.clone() });
        scene.patch("reports", json!({ "metadata": { "annotations": { "note": "look again" } } })).await;
    }
    scene.ready("reports").await;
    assert!(!attached().await);
}

#[tokio::test]
async fn an_iam_user_whose_s3accessuser_is_gone_is_told_and_left_until_somebody_collects_it() {
    // Only who sees the whole cluster can know that a user belongs to nobody.
    let stand = Stand::attach().unwrap();
    let double = DoubleServer::start(Config::default()).await.unwrap();
    let stand = stand.on_double(&double, Partition::Aws).await.unwrap();
    let mut own = Loose::without_operator("stray", stand).await;
    let scene = &mut own.scene;
    scene.double = Some(double);
    let all = [("S3ACCESS_WATCH_NAMESPACES", ""), ("S3ACCESS_CLASS_SELECTOR", ""), ("S3ACCESS_RESYNC_INTERVAL", "6s")];
    scene.start(&all).await;
    let class = scene.class("c", json!({ "allowedBuckets": ["*"] })).await;
    for name in ["stray", "kept"] {
        scene.create(name, with(json!({ "className": class }))).await;
    }
    let stray = user_name(&scene.ready("stray").await);
    scene.ready("kept").await;
    let account = scene.double.as_ref().unwrap().account().id.clone();
    let label = format!("account=\"{account}\"");
    let told = async |scene: &Scene, wanted: f64| {
        scene
            .see(&format!("{wanted} users without an S3AccessUser to be told"), async || {
                let found = scene.metric("s3access_orphan_users", &label).await?;
                ensure!((found - wanted).abs() < 0.5, "{found}");
                Ok(())
            })
            .await;
    };
    told(scene, 0.0).await;

    // While nobody looks, the finalizer goes, and the S3AccessUser with it.
    scene.terminate().await;
    scene.patch("stray", json!({ "metadata": { "finalizers": null } })).await;
    scene.delete("stray").await;
    scene.start(&all).await;
    told(scene, 1.0).await;
    scene.event_says(&class, &[&stray, "operate.md"]).await;
    let doctor = async |scene: &Scene| {
        let mut env = scene.stand.operator_identity.env();
        // The other scenes' classes are theirs.
        env.insert("S3ACCESS_CLASSES".to_owned(), "false".to_owned());
        match run(scene, &["doctor"], &scene.stand.kubernetes.kubeconfig, env).await {
            Ok(found) | Err((found, _)) => found,
        }
    };
    let found = doctor(scene).await;
    assert!(found.contains("FAIL  users without an S3AccessUser: 1 ") && found.contains(&stray), "{found}");
    assert_eq!(scene.keys(&stray).await.len(), 1, "nothing is done to it: a restored cluster knows less than it made");

    // As operate.md says: its S3AccessUser is made again, takes it over, and removes it.
    scene.create("stray", with(json!({ "className": class }))).await;
    assert_eq!(user_name(&scene.ready("stray").await), stray);
    scene.delete("stray").await;
    assert_eq!(scene.named(&stray).await, Vec::<String>::new());
    told(scene, 0.0).await;
    let found = doctor(scene).await;
    assert!(found.contains("ok    users without an S3AccessUser: none"), "{found}");
}
