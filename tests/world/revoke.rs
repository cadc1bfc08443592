//! A key has leaked: it is refused at once, whatever else is going on, and workloads get another one.

use std::collections::BTreeMap;

use anyhow::ensure;
use aws_sdk_iam::types::StatusType;
use ground::double::{Operation, Settings};
use s3_access_operator::api::S3AccessUser;
use serde_json::{Value, json};

use crate::commands::run;
use crate::consumer::{Consumer, create_bucket};
use crate::rotation::Compatible;
use crate::scene::{Scene, spec, user_name, with};

const OPERATOR: &str = "user/s3-access-operator";

fn annotated(pairs: &[(&str, &str)]) -> Value {
    let annotations: BTreeMap<String, &str> =
        pairs.iter().map(|(name, value)| (format!("s3access.dev/{name}"), *value)).collect();
    json!({ "metadata": { "annotations": annotations } })
}

impl Scene {
    /// The keys of the user with their statuses.
    async fn is_active(&self, user: &str, key: &str) -> Option<bool> {
        let keys = self.keys(user).await;
        let found = keys.into_iter().find(|found| found.access_key_id() == Some(key))?;
        Some(found.status == Some(StatusType::Active))
    }

    async fn is_dead(&self, user: &str, key: &str) {
        self.see("the revoked key to be inactive", async || {
            ensure!(self.is_active(user, key).await == Some(false), "it is not");
            Ok(())
        })
        .await;
    }

    /// A user with a key, and both of their names.
    async fn with_a_key(&self, spec: Value) -> (String, String) {
        self.create("reports", spec).await;
        let user = user_name(&self.ready("reports").await);
        let key = self.only_key(&user, "reports-s3").await;
        (user, key)
    }

    /// What the operator called, in order, since the history was cleared.
    fn called(&self) -> Vec<Operation> {
        self.double.as_ref().unwrap().with(|world| {
            let calls = world.history().calls().filter(|call| call.caller.ends_with(OPERATOR));
            calls.map(|call| call.operation).collect()
        })
    }

    async fn revoke_command(&self, args: &[&str]) -> Result<String, (String, String)> {
        let args = [&["revoke"], args].concat();
        run(self, &args, &self.stand.kubernetes.kubeconfig, BTreeMap::new()).await
    }
}

fn revoked_ids(user: &S3AccessUser) -> Vec<String> {
    user.status.clone().and_then(|status| status.revocation).map(|told| told.access_key_ids).unwrap_or_default()
}

#[tokio::test]
async fn a_revoked_key_is_refused_after_two_reads_and_its_successor_is_in_the_secret() {
    let scene = Scene::on_double("revoke", Settings::default()).await;
    let (user, old) = scene.with_a_key(spec()).await;
    let half = scene.secret("reports-s3").await["AWS_SECRET_ACCESS_KEY"].clone();
    scene.double.as_ref().unwrap().with(|world| world.history_mut().clear());

    scene.patch("reports", annotated(&[("revoke", "1")])).await;
    let new = scene.secret_holds_another_key("reports-s3", &old).await;
    let called = scene.called();
    let reads = [Operation::GetUser, Operation::ListAccessKeys];
    assert_eq!(called[..3], [reads[0], reads[1], Operation::UpdateAccessKey], "{called:?}");
    let made = called.iter().position(|call| *call == Operation::CreateAccessKey).unwrap();
    let noted = called.iter().position(|call| *call == Operation::TagUser).unwrap();
    assert!(noted < made, "no key is made before it is recorded which were revoked: {called:?}");

    let told = scene.ready("reports").await;
    assert_eq!(scene.is_active(&user, &old).await, Some(false), "it is kept for whoever looks into it");
    assert_eq!(scene.is_active(&user, &new).await, Some(true));
    assert_eq!(revoked_ids(&told), std::slice::from_ref(&old));
    scene.event_says("reports", &["revoked, as the annotation", "another one is being made"]).await;
    let half_of = scene.secret("reports-s3").await["AWS_SECRET_ACCESS_KEY"].clone();
    assert_ne!(half_of, half);

    // Somebody puts it to use again, and asks for nothing.
    let active = StatusType::Active;
    scene.iam.update_access_key().user_name(&user).access_key_id(&old).status(active).send().await.unwrap();
    scene.patch("reports", json!({ "spec": { "tags": { "looked": "at" } } })).await;
    scene.is_dead(&user, &old).await;

    // A rotation needs its slot.
    scene.patch("reports", annotated(&[("rotate", "1")])).await;
    let third = scene.secret_holds_another_key("reports-s3", &new).await;
    assert_eq!(scene.is_active(&user, &old).await, None, "it has made room");
    assert_eq!(scene.is_active(&user, &third).await, Some(true));
}

#[tokio::test]
async fn neither_a_pause_nor_a_wrong_spec_nor_a_restart_keeps_a_key_from_being_revoked() {
    let mut scene = Scene::on_double("revoke-all-the-same", Settings::default()).await;
    let (user, old) = scene.with_a_key(spec()).await;
    scene.patch("reports", annotated(&[("paused", "true")])).await;
    scene.condition("reports", "Ready", "False", "Paused").await;
    scene.patch("reports", annotated(&[("revoke", "1")])).await;
    scene.is_dead(&user, &old).await;
    scene
        .see("the status to tell of it", async || {
            let found = scene.users().get("reports").await?;
            ensure!(found.status.is_some_and(|status| status.revocation.is_some()), "not yet");
            Ok(())
        })
        .await;
    assert_eq!(scene.secret("reports-s3").await["AWS_ACCESS_KEY_ID"], old, "while paused, nothing is made");
    scene.patch("reports", annotated(&[("paused", "false")])).await;
    let second = scene.secret_holds_another_key("reports-s3", &old).await;

    let wrong = json!({ "spec": { "policy": { "statements": [{ "Effect": "Perhaps" }] } } });
    scene.patch("reports", wrong).await;
    scene.refused("reports", "InvalidPolicy").await;
    scene.patch("reports", annotated(&[("revoke", "2")])).await;
    scene.is_dead(&user, &second).await;
    scene.patch("reports", json!({ "spec": { "policy": null } })).await;
    let third = scene.secret_holds_another_key("reports-s3", &second).await;
    scene.ready("reports").await;

    // The annotation is still there.
    scene.kill9().await;
    scene.double.as_ref().unwrap().with(|world| world.history_mut().clear());
    scene.start(&[]).await;
    scene.metric_reaches("s3access_reconcile_total", "deferred", 1.0).await;
    let writes = scene.double.as_ref().unwrap().with(|world| world.history().writes());
    assert_eq!(writes, 0, "what was revoked before is not revoked again");
    assert_eq!(scene.is_active(&user, &third).await, Some(true));

    // Asked for while nobody listens.
    scene.kill9().await;
    scene.patch("reports", annotated(&[("revoke", "3")])).await;
    scene.start(&[]).await;
    scene.secret_holds_another_key("reports-s3", &third).await;
    scene.ready("reports").await;
    assert_ne!(scene.is_active(&user, &third).await, Some(true));
}

#[tokio::test]
async fn an_s3_compatible_system_keeps_in_mind_what_was_revoked() {
    let Compatible { mut scene, server, _folder } = Compatible::new("revoke-gw").await;
    create_bucket(&scene.stand, &scene.stand.aws, server.s3(), "team-a-reports").await;
    let access = json!([{ "bucket": "team-a-reports", "level": "ReadWrite" }]);
    let spec = with(json!({ "access": access, "policy": { "type": "Inline" } }));
    let (user, old) = scene.with_a_key(spec).await;
    let mut consumer = Consumer::start(&scene, "reports-s3", server.s3(), "team-a-reports").await;
    consumer.uses(&old, 20).await;
    consumer.follow(false);
    scene.patch("reports", annotated(&[("revoke", "1")])).await;
    consumer.see("the revoked key to be refused", |report| !report.failures.is_empty()).await;
    let new = scene.secret_holds_another_key("reports-s3", &old).await;
    consumer.follow(true);
    consumer.uses(&new, 20).await;

    scene.kill9().await;
    let more = [("S3ACCESS_PROVIDER", "s3-compatible"), ("AWS_ENDPOINT_URL_S3", server.s3())];
    scene.start(&more).await;
    scene.patch("reports", annotated(&[("rotate", "1")])).await;
    let third = scene.secret_holds_another_key("reports-s3", &new).await;
    assert_eq!(scene.is_active(&user, &new).await, Some(true), "a rotation has an overlap: nothing was revoked again");
    consumer.uses(&third, 20).await;
}

#[tokio::test]
async fn people_revoke_a_key_and_see_how_far_it_is() {
    let scene = Scene::on_double("revoke-command", Settings::default()).await;
    let (user, old) = scene.with_a_key(spec()).await;
    let told = scene.revoke_command(&["-n", &scene.namespace, "reports"]).await.unwrap();
    let new = scene.secret("reports-s3").await["AWS_ACCESS_KEY_ID"].clone();
    assert_eq!((scene.is_active(&user, &old).await, new != old), (Some(false), true));
    for words in ["whoever uses them is refused", "1 of 1 ended", &old, &new, "reports-s3", "inactive, until"] {
        assert!(told.contains(words), "{words:?} in {told}");
    }
    let half = scene.secret("reports-s3").await["AWS_SECRET_ACCESS_KEY"].clone();
    assert!(!told.contains(&half));

    let kept =
        scene.revoke_command(&["-n", &scene.namespace, "reports", "--keep-working", "--value", "2"]).await.unwrap();
    let third = scene.secret("reports-s3").await["AWS_ACCESS_KEY_ID"].clone();
    assert!(third != new && kept.contains(&third), "{kept}");
    assert_ne!(scene.is_active(&user, &new).await, Some(true), "there is no overlap");
    let again = scene.revoke_command(&["-n", &scene.namespace, "reports", "--value", "keep-working-2"]).await.unwrap();
    assert!(again.contains(&third), "the same value goes on with the same revocation: {again}");
    assert_eq!(scene.secret("reports-s3").await["AWS_ACCESS_KEY_ID"], third);

    scene.patch("reports", json!({ "spec": { "suspend": true } })).await;
    let suspended = scene.revoke_command(&["-n", &scene.namespace, "reports"]).await.unwrap();
    assert!(suspended.contains("no new key") && suspended.contains("Suspended"), "{suspended}");
    let (_, absent) = scene.revoke_command(&["-n", &scene.namespace, "absent"]).await.unwrap_err();
    assert!(absent.contains("absent") && absent.contains("not found"), "{absent}");
    for wrong in [&["--class", "x"][..], &["--all"], &[], &["reports", "--class", "x", "--all"]] {
        let (_, usage) = scene.revoke_command(wrong).await.unwrap_err();
        assert!(usage.contains("Usage"), "{usage}");
    }
}

#[tokio::test]
async fn a_whole_class_is_revoked_before_anybody_gets_a_new_key() {
    const USERS: usize = 40;
    let mut scene = Scene::on_double("revoke-class", Settings::default()).await;
    let class = scene.class("leaked", json!({ "allowedBuckets": ["*"], "requestsPerSecond": 1000 })).await;
    let other = scene.class("other", json!({ "allowedBuckets": ["*"], "requestsPerSecond": 1000 })).await;
    let of = |class: &str| with(json!({ "className": class }));
    scene.create("spared", of(&other)).await;
    scene.ready("spared").await;
    let spared = scene.secret("spared-s3").await["AWS_ACCESS_KEY_ID"].clone();
    let names: Vec<String> = (0..USERS).map(|number| format!("reports-{number}")).collect();
    for name in &names {
        scene.create(name, of(&class)).await;
    }
    let mut old = BTreeMap::new();
    for name in &names {
        let user = user_name(&scene.ready(name).await);
        old.insert(user.clone(), scene.only_key(&user, &format!("{name}-s3")).await);
    }
    // Slow enough to tell one after the other.
    scene.patch_class(&class, json!({ "spec": { "requestsPerSecond": 20 } })).await;
    scene.class_is(&class, "Synced").await;
    scene.terminate().await;
    // All are asked for before the first is looked at.
    let all = ["--class", &class, "--all", "--value", "leak-1"];
    let told = scene.revoke_command(&[&all[..], &["--no-wait"]].concat()).await.unwrap();
    assert!(told.contains(&format!("{USERS} S3AccessUsers")) && told.contains("at 20 a second"), "{told}");
    scene.double.as_ref().unwrap().with(|world| world.history_mut().clear());
    scene.start(&[]).await;
    let told = scene.revoke_command(&all).await.unwrap();
    assert!(told.contains(&format!("{USERS} of {USERS} ended, {USERS} have a new key")), "{told}");
    for (user, key) in &old {
        assert_eq!(scene.is_active(user, key).await, Some(false), "{user}");
    }
    assert_eq!(scene.secret("spared-s3").await["AWS_ACCESS_KEY_ID"], spared);
    let called = scene.called();
    let first = called.iter().position(|call| *call == Operation::CreateAccessKey).unwrap();
    let ended = called[..first].iter().filter(|call| **call == Operation::UpdateAccessKey).count();
    // What runs side by side does not wait for each other.
    assert!(ended * 4 >= USERS * 3, "{ended} of {USERS} were ended before the first new key");

    let (_, unknown) = scene.revoke_command(&["--class", "nowhere", "--all"]).await.unwrap_err();
    assert!(unknown.contains("there is no S3AccessClass nowhere"), "{unknown}");
}
