//! Sessions in the place of the key, as AWS, the workload and its tenant see them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ground::double::{Access, Context as Conditions, Credentials, Operation, Settings};
use ground::stand::OPERATOR_NAMESPACE;
use ground::wait::throughout;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use s3_access_operator::api::S3AccessUser;
use serde_json::{Value, json};

use crate::consumer::{Consumer, create_bucket};
use crate::scene::{Scene, data, user_name};

/// A workload with sessions, and what else its accessKey says.
fn sessions(bucket: &str, access_key: Value) -> Value {
    let mut spec = json!({
        "access": [{ "bucket": bucket, "level": "ReadWrite" }],
        "accessKey": { "mode": "Session", "duration": "15m" },
    });
    for (field, value) in access_key.as_object().unwrap() {
        spec["accessKey"][field] = value.clone();
    }
    spec
}

fn mode(mode: &str) -> Value {
    let duration = if mode == "Session" { json!("15m") } else { Value::Null };
    json!({ "spec": { "accessKey": { "mode": mode, "duration": duration } } })
}

/// An account whose sessions last so many seconds, and an operator in it.
async fn scene(name: &str, seconds: i64) -> Scene {
    let session_life = Some(SignedDuration::from_secs(seconds));
    Scene::on_double(name, Settings { session_life, ..Settings::default() }).await
}

impl Scene {
    /// The Secret in the operator's namespace with the key of the user's sessions.
    async fn kept_key(&self, user: &S3AccessUser) -> Option<Secret> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), OPERATOR_NAMESPACE);
        secrets.get_opt(&format!("session-key-{}", user.uid().unwrap())).await.unwrap()
    }

    /// What S3 says to whoever has what the Secret holds.
    fn may_read(&self, held: &BTreeMap<String, String>, bucket: &str) -> Access {
        self.may_read_at(self.double.as_ref().unwrap().now(), held, bucket)
    }

    /// What S3 says so at that time, with all else as it is now.
    pub fn may_read_at(&self, at: Timestamp, held: &BTreeMap<String, String>, bucket: &str) -> Access {
        let credentials = Credentials {
            access_key_id: held["AWS_ACCESS_KEY_ID"].clone(),
            secret_access_key: held["AWS_SECRET_ACCESS_KEY"].clone(),
            session_token: held.get("AWS_SESSION_TOKEN").cloned(),
        };
        let object = format!("arn:aws:s3:::{bucket}/x");
        // A copy is asked: nobody has used the key at that time.
        let double = self.double.as_ref().unwrap();
        double.with(|world| world.clone().authorize(at, &credentials, "s3:GetObject", &object, &Conditions::new()))
    }

    fn calls(&self, operation: Operation) -> u64 {
        self.double.as_ref().unwrap().with(|world| world.history().count(operation))
    }

    /// The Secret's session, once it is another one.
    async fn next_session(&self, secret: &str, old: &str) -> BTreeMap<String, String> {
        self.see("another session", async || {
            let held = data(&self.secrets().get(secret).await?);
            let id = &held["AWS_ACCESS_KEY_ID"];
            ensure!(id.starts_with("ASIA") && id != old && held.contains_key("AWS_SESSION_TOKEN"), "{id}");
            Ok(held)
        })
        .await
    }

    async fn bucket(&self, name: &str) -> String {
        let (stand, endpoint) = (&self.stand, self.stand.aws.endpoint.clone());
        create_bucket(stand, &stand.aws, &endpoint, name).await;
        endpoint
    }
}

#[tokio::test]
async fn a_workload_has_sessions_and_their_key_stays_with_the_operator() {
    let scene = scene("session-life", 12).await;
    scene.create("app", sessions("session-life", json!({}))).await;
    let user = scene.ready("app").await;
    let held = scene.secret("app-s3").await;
    assert_eq!(scene.may_read(&held, "session-life"), Access::Allowed);
    assert!(held["credentials"].contains(&format!("aws_session_token = {}", held["AWS_SESSION_TOKEN"])));
    let printed: Value = serde_json::from_str(&held["credential-process.json"]).unwrap();
    assert_eq!((&printed["Version"], printed["AccessKeyId"].as_str()), (&json!(1), Some(&*held["AWS_ACCESS_KEY_ID"])));

    let kept = scene.kept_key(&user).await.unwrap();
    let key = data(&kept)["AWS_ACCESS_KEY_ID"].clone();
    let status = user.status.clone().unwrap();
    assert_eq!(status.access_key_id.as_deref(), Some(&*key));
    assert!(status.session_expires_at.as_ref().is_some_and(|at| at.0 > Timestamp::now()));
    assert!(kept.owner_references().is_empty());
    let half = &data(&kept)["AWS_SECRET_ACCESS_KEY"];
    let seen = serde_json::to_string(&scene.secrets().get("app-s3").await.unwrap()).unwrap();
    assert!(!held.values().any(|value| value.contains(half.as_str()) || value.contains(&key)), "{:?}", held.keys());
    assert!(seen.contains(&key), "whose session it is, an annotation says");

    let keys = scene.keys(&user_name(&user)).await.len();
    let next = scene.next_session("app-s3", &held["AWS_ACCESS_KEY_ID"]).await;
    assert_eq!((scene.may_read(&next, "session-life"), keys), (Access::Allowed, 1));
    let after = scene.users().get("app").await.unwrap();
    assert!(after.status.unwrap().session_expires_at >= status.session_expires_at);
    scene.delete("app").await;
    assert!(scene.kept_key(&user).await.is_none());
    assert_eq!(scene.named("session-life").await, Vec::<String>::new());
    assert_eq!(scene.may_read(&next, "session-life"), Access::InvalidAccessKeyId, "its user is no more");
}

#[tokio::test]
async fn no_request_fails_over_ten_renewals_and_while_the_operator_is_away_for_a_quarter_of_a_session() {
    let mut scene = scene("session-load", 20).await;
    let endpoint = scene.bucket("session-load").await;
    scene.create("app", sessions("session-load", json!({}))).await;
    scene.ready("app").await;
    let started = scene.calls(Operation::GetSessionToken);
    let mut by_process = Consumer::start_with_process(&scene, "app-s3", &endpoint, "session-load").await;
    let by_file = Consumer::start(&scene, "app-s3", &endpoint, "session-load").await;
    by_process.see("five sessions", |report| report.keys.len() >= 5).await;
    scene.kill9().await;
    // For a quarter of its life: the session works for half of it when it is due.
    let pause = Duration::from_secs(5);
    throughout("the operator to be away", pause, async || Ok(())).await.unwrap();
    scene.start(&[]).await;
    let before = scene.calls(Operation::GetSessionToken);
    by_process.see("eleven sessions", |report| report.keys.len() >= 11).await;
    let renewals = scene.calls(Operation::GetSessionToken);
    for consumer in [by_process, by_file] {
        let report = consumer.stop().await;
        assert!(report.failures.is_empty() && report.requests > 100, "{report:?}");
        assert!(report.keys.keys().all(|key| key.starts_with("ASIA")), "{report:?}");
    }
    assert!(before - started <= 7 && renewals - before <= 8, "one call a half-life: {started} {before} {renewals}");
    let listed = scene.metric("s3access_session_renewals_total", "result=\"done\"").await.unwrap();
    assert!(listed >= 5.0, "{listed}");
}

#[tokio::test]
async fn the_mode_is_changed_either_way_without_a_failed_request() {
    let scene = scene("session-switch", 20).await;
    let endpoint = scene.bucket("session-switch").await;
    let mut spec = sessions("session-switch", json!({}));
    spec["accessKey"] = json!({ "rotation": { "interval": "2160h", "overlap": "3s" } });
    scene.create("app", spec).await;
    let user = user_name(&scene.ready("app").await);
    let static_key = scene.only_key(&user, "app-s3").await;
    let mut consumer = Consumer::start(&scene, "app-s3", &endpoint, "session-switch").await;
    consumer.uses(&static_key, 20).await;

    scene.patch("app", mode("Session")).await;
    let session = scene.next_session("app-s3", &static_key).await;
    consumer.uses(&session["AWS_ACCESS_KEY_ID"], 10).await;
    let with_sessions = scene.ready("app").await;
    let kept = data(&scene.kept_key(&with_sessions).await.unwrap())["AWS_ACCESS_KEY_ID"].clone();
    assert_ne!(kept, static_key, "the workload has had the other one");

    scene.patch("app", mode("Static")).await;
    let again = scene.only_key_held(&user, "app-s3", &kept).await;
    consumer.uses(&again, 20).await;
    scene
        .see("the key's Secret to be gone", async || {
            ensure!(scene.kept_key(&with_sessions).await.is_none());
            Ok(())
        })
        .await;
    let report = consumer.stop().await;
    assert!(report.failures.is_empty(), "{report:?}");
}

impl Scene {
    /// The Secret holds that very key, which is one of the user's.
    async fn only_key_held(&self, user: &str, secret: &str, key: &str) -> String {
        self.see(&format!("{secret} to hold {key}"), async || {
            let held = data(&self.secrets().get(secret).await?);
            ensure!(held["AWS_ACCESS_KEY_ID"] == key && !held.contains_key("AWS_SESSION_TOKEN"), "{:?}", held.keys());
            let keys = self.keys(user).await;
            ensure!(keys.iter().any(|found| found.access_key_id() == Some(key)), "{keys:?}");
            Ok(key.to_owned())
        })
        .await
    }

    async fn is_cut(&self, held: &BTreeMap<String, String>, bucket: &str) {
        self.see("the session to be cut", async || match self.may_read(held, bucket) {
            Access::Denied | Access::InvalidAccessKeyId => Ok(()),
            other => bail!("{other:?}"),
        })
        .await;
    }
}

#[tokio::test]
async fn a_suspended_users_session_is_cut_though_it_would_work_for_hours() {
    let scene = scene("session-suspend", 3_600).await;
    scene.create("app", sessions("session-suspend", json!({}))).await;
    scene.ready("app").await;
    let held = scene.secret("app-s3").await;
    assert_eq!(scene.may_read(&held, "session-suspend"), Access::Allowed);
    scene.patch("app", json!({ "spec": { "suspend": true } })).await;
    scene.is_cut(&held, "session-suspend").await;
    scene.refused("app", "Suspended").await;
    scene.patch("app", json!({ "spec": { "suspend": false } })).await;
    scene.ready("app").await;
    let again = scene.secret("app-s3").await;
    assert_eq!(scene.may_read(&again, "session-suspend"), Access::Allowed);

    // A change of the mode is no way out.
    scene
        .patch("app", json!({ "spec": { "suspend": true, "accessKey": { "mode": "Static", "duration": null } } }))
        .await;
    scene.is_cut(&again, "session-suspend").await;
}

#[tokio::test]
async fn a_class_that_requires_sessions_takes_the_keys_that_workloads_have() {
    let scene = scene("session-class", 3_600).await;
    let class = scene.class("c", json!({ "allowedBuckets": ["*"] })).await;
    let mut spec = sessions("session-class", json!({}));
    spec["accessKey"] = json!({ "rotation": { "interval": "2160h", "overlap": "2000h" } });
    spec["className"] = json!(class);
    scene.create("app", spec).await;
    scene.ready("app").await;
    let held = scene.secret("app-s3").await;
    scene.patch_class(&class, json!({ "spec": { "requireSession": true } })).await;
    scene.is_cut(&held, "session-class").await;
    let (_, message) = scene.refused("app", "NotPermittedByClass").await;
    assert!(message.contains("write Session"), "{message}");

    let rotation = json!({ "interval": "2160h", "overlap": "2000h" });
    scene.patch("app", json!({ "spec": { "accessKey": { "mode": "Session", "rotation": rotation } } })).await;
    let session = scene.next_session("app-s3", &held["AWS_ACCESS_KEY_ID"]).await;
    scene.ready("app").await;
    assert_eq!(scene.may_read(&session, "session-class"), Access::Allowed);
    assert_eq!(scene.may_read(&held, "session-class"), Access::InvalidAccessKeyId, "it never works again");
}

#[tokio::test]
async fn a_session_that_somebody_alters_or_deletes_is_replaced_at_once() {
    let scene = scene("session-edit", 3_600).await;
    scene.create("app", sessions("session-edit", json!({}))).await;
    scene.ready("app").await;
    let mut held = scene.secret("app-s3").await;
    let year = Timestamp::now() + SignedDuration::from_hours(8_760);
    for edit in [
        json!({ "data": { "AWS_SESSION_TOKEN": "YWx0ZXJlZA==" } }),
        json!({ "data": { "credentials": null } }),
        json!({ "metadata": { "annotations": { "s3access.dev/session-expires-at": year.to_string() } } }),
        json!({ "metadata": { "annotations": { "s3access.dev/session-of": "AKIAOFSOMEBODY" } } }),
    ] {
        scene.secrets().patch("app-s3", &PatchParams::default(), &Patch::Merge(&edit)).await.unwrap();
        held = scene.next_session("app-s3", &held["AWS_ACCESS_KEY_ID"]).await;
        assert!(held.contains_key("credentials"), "{edit}");
    }
    scene.secrets().delete("app-s3", &DeleteParams::default()).await.unwrap();
    held = scene
        .see("the Secret to be back", async || {
            let found = data(&scene.secrets().get_opt("app-s3").await?.context("there is none")?);
            ensure!(found["AWS_ACCESS_KEY_ID"] != held["AWS_ACCESS_KEY_ID"]);
            Ok(found)
        })
        .await;
    assert_eq!(scene.may_read(&held, "session-edit"), Access::Allowed);
    let user = scene.ready("app").await;
    assert_eq!(scene.keys(&user_name(&user)).await.len(), 1, "it cost no key");
}

#[tokio::test]
async fn the_key_of_sessions_is_replaced_without_a_failed_request_and_found_again_when_it_is_lost() {
    let scene = scene("session-rotate", 20).await;
    let endpoint = scene.bucket("session-rotate").await;
    scene.create("app", sessions("session-rotate", json!({}))).await;
    let user = scene.ready("app").await;
    let consumer = Consumer::start(&scene, "app-s3", &endpoint, "session-rotate").await;
    let key = async || -> Result<String> {
        let kept = scene.kept_key(&user).await.context("there is none")?;
        Ok(data(&kept)["AWS_ACCESS_KEY_ID"].clone())
    };
    let another = async |old: &str| {
        scene
            .see("another key in the operator's namespace", async || {
                let found = key().await?;
                ensure!(found != old);
                Ok(found)
            })
            .await
    };
    let first = key().await.unwrap();
    scene.patch("app", json!({ "metadata": { "annotations": { "s3access.dev/rotate": "1" } } })).await;
    let second = another(&first).await;
    scene.ready("app").await;
    assert_eq!(scene.keys(&user_name(&user)).await.len(), 2, "a session of the first may be in use");

    let kept: Api<Secret> = Api::namespaced(scene.client.clone(), OPERATOR_NAMESPACE);
    let name = scene.kept_key(&user).await.unwrap().name_any();
    kept.delete(&name, &DeleteParams::default()).await.unwrap();
    scene.patch("app", json!({ "metadata": { "annotations": { "note": "look" } } })).await;
    another(&second).await;
    scene.ready("app").await;
    let report = consumer.stop().await;
    assert!(report.failures.is_empty(), "{report:?}");
}

#[tokio::test]
async fn a_revoked_users_session_is_cut_and_the_next_one_is_of_another_key() {
    let scene = scene("session-revoke", 3_600).await;
    scene.create("app", sessions("session-revoke", json!({}))).await;
    let user = user_name(&scene.ready("app").await);
    let held = scene.secret("app-s3").await;
    let old: Vec<_> = scene.keys(&user).await.into_iter().filter_map(|key| key.access_key_id).collect();
    scene.patch("app", json!({ "metadata": { "annotations": { "s3access.dev/revoke": "1" } } })).await;
    scene.is_cut(&held, "session-revoke").await;
    let next = scene.next_session("app-s3", &held["AWS_ACCESS_KEY_ID"]).await;
    scene.ready("app").await;
    scene
        .see("the next session to work", async || {
            ensure!(scene.may_read(&next, "session-revoke") == Access::Allowed, "not yet");
            Ok(())
        })
        .await;
    assert_ne!(scene.may_read(&held, "session-revoke"), Access::Allowed, "the session that leaked stays cut");
    let keys = scene.keys(&user).await;
    let active = keys.iter().filter(|key| key.status().is_some_and(|status| status.as_str() == "Active"));
    assert!(active.clone().all(|key| !old.iter().any(|old| Some(old.as_str()) == key.access_key_id())), "{keys:?}");
    assert_eq!(active.count(), 1);
}
