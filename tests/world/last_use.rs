//! When keys were used last, by the account's credential report; and what becomes of those that nobody uses.

use anyhow::{Context, ensure};
use aws_sdk_iam::types::StatusType;
use ground::double::{Distortion, Iam, LastUsed, Operation, Settings};
use jiff::{SignedDuration, Timestamp};
use s3_access_operator::api::S3AccessUser;
use serde_json::{Value, json};

use crate::commands::command;
use crate::scene::{Scene, user_name, with};

const EACH_SECOND: &[(&str, &str)] = &[("S3ACCESS_REPORT_INTERVAL", "1s")];

fn ago(days: i64) -> Timestamp {
    let now = Timestamp::now() - SignedDuration::from_hours(24 * days);
    Timestamp::from_second(now.as_second()).unwrap()
}

impl Scene {
    /// With a Ready user whose key was made so long ago, as far as IAM and the status know.
    async fn with_old_key(name: &str, class: Value, days: i64) -> (Self, String, String) {
        let mut scene = Self::on_double_without_operator(name, Settings::default()).await;
        scene.iam(|iam| iam.settings_mut().credential_report.takes = SignedDuration::ZERO);
        let mut class = class;
        class["allowedTagKeys"] = json!(["*"]);
        let class = scene.class("used", class).await;
        scene.start(&[("S3ACCESS_REPORT_INTERVAL", "0s")]).await;
        scene.create("reports", with(json!({ "className": class }))).await;
        let user = user_name(&scene.ready("reports").await);
        let key = scene.only_key(&user, "reports-s3").await;
        scene.kill9().await;
        let made_at = ago(days);
        scene.iam(|iam| iam.set_created(&key, made_at));
        scene.start(&[("S3ACCESS_REPORT_INTERVAL", "0s")]).await;
        scene.patch("reports", json!({ "spec": { "tags": { "kind": "old" } } })).await;
        scene
            .see("the status to tell the key's age", async || {
                let status = scene.users().get("reports").await?.status.context("no status")?;
                ensure!(status.access_key_created_at.is_some_and(|time| time.0 == made_at), "another time");
                Ok(())
            })
            .await;
        scene.kill9().await;
        (scene, user, key)
    }

    /// The account on the double.
    pub fn iam<T>(&self, look: impl FnOnce(&mut Iam) -> T) -> T {
        let double = self.double.as_ref().unwrap();
        let account = double.account().id.clone();
        double.with(|world| look(world.account_mut(&account).unwrap()))
    }

    fn used(&self, key: &str, at: Option<Timestamp>) {
        let used = at.map(|at| LastUsed { at, service: "s3".to_owned(), region: "eu-central-1".to_owned() });
        self.iam(|iam| {
            iam.set_last_used(key, used);
            iam.forget_report();
        });
    }

    async fn tells_of(&self, at: Option<Timestamp>, unused: bool) -> S3AccessUser {
        self.see("the status to tell of that use", async || {
            let user = self.users().get("reports").await?;
            let status = user.status.clone().context("no status")?;
            let told = status.last_used.context("nothing is told")?;
            ensure!(told.at.as_ref().map(|at| at.0) == at, "{told:?}");
            ensure!(status.conditions.iter().any(|found| found.type_ == "Unused") == unused, "{:?}", status.conditions);
            Ok(user)
        })
        .await
    }
}

#[tokio::test]
async fn the_status_tells_when_the_key_was_used_last_and_a_key_that_nobody_uses_is_named() {
    let (mut scene, user, key) = Scene::with_old_key("last-use", json!({ "allowedBuckets": ["*"] }), 200).await;
    let idle = ago(100);
    scene.used(&key, Some(idle));
    let before = scene.iam_writes();
    scene.start(EACH_SECOND).await;
    let told = scene.tells_of(Some(idle), true).await;
    let last_used = told.status.unwrap().last_used.unwrap();
    assert_eq!(
        (last_used.region.as_deref(), last_used.service.as_deref()),
        (None, Some("s3")),
        "AWS tells no region for S3"
    );
    scene.condition("reports", "Ready", "True", "Synced").await;
    scene.event_says("reports", &["AWS tells of no use", &key]).await;
    let namespace = told.metadata.namespace.unwrap();
    let args = |limit| ["status", "-n", namespace.as_str(), "--unused", limit];
    let listed = command(&scene, &args("90d")).await.unwrap();
    assert!(listed.contains(&key) && listed.contains("100d ago for s3"), "{listed}");
    let listed = command(&scene, &args("150d")).await.unwrap();
    assert!(!listed.contains(&key), "{listed}");
    let one = command(&scene, &["status", "-n", &namespace, "reports"]).await.unwrap();
    assert!(one.contains("key last used at") && one.contains("for s3"), "{one}");
    let metric = "s3access_access_key_last_used_seconds_count";
    scene
        .see("the metric", async || {
            ensure!(scene.metric(metric, "").await? >= 1.0, "not observed");
            Ok(())
        })
        .await;

    let recent = ago(1);
    scene.used(&key, Some(recent));
    scene.tells_of(Some(recent), false).await;
    assert_eq!(scene.iam_writes(), before, "nothing was written to IAM");
    assert_eq!(scene.only_key(&user, "reports-s3").await, key);
}

#[tokio::test]
async fn a_class_has_a_key_suspended_that_nobody_uses_and_the_same_key_comes_back_for_the_asking() {
    let class = json!({ "allowedBuckets": ["*"], "suspendUnusedAfter": "720h" });
    let (mut scene, user, key) = Scene::with_old_key("unused-suspended", class, 40).await;
    let within = ago(29);
    scene.used(&key, Some(within));
    scene.start(EACH_SECOND).await;
    scene.tells_of(Some(within), false).await;
    assert_eq!(scene.statuses(&user).await, [StatusType::Active], "it was used within the limit");

    scene.used(&key, None);
    let (_, message) = scene.refused("reports", "Unused").await;
    for words in [key.as_str(), "suspendUnusedAfter", "s3access.dev/resume"] {
        assert!(message.contains(words), "{words:?} in {message}");
    }
    assert_eq!(scene.statuses(&user).await, [StatusType::Inactive]);

    // Another process knows it, too; and nothing that a tenant does brings a key that works, but to ask for it.
    scene.kill9().await;
    scene.start(EACH_SECOND).await;
    scene.patch("reports", json!({ "metadata": { "annotations": { "s3access.dev/rotate": "1" } } })).await;
    scene.patch("reports", json!({ "spec": { "tags": { "kind": "other" } } })).await;
    scene
        .see("the spec to be carried out", async || {
            let status = scene.users().get("reports").await?.status.context("no status")?;
            ensure!(status.observed_generation == Some(3), "{:?}", status.observed_generation);
            Ok(())
        })
        .await;
    scene.refused("reports", "Unused").await;
    assert_eq!(scene.statuses(&user).await, [StatusType::Inactive]);
    assert_eq!(scene.secret("reports-s3").await["AWS_ACCESS_KEY_ID"], key, "it is kept");

    scene
        .patch(
            "reports",
            json!({ "metadata": { "annotations": { "s3access.dev/rotate": null, "s3access.dev/resume": "1" } } }),
        )
        .await;
    scene.ready("reports").await;
    assert_eq!(scene.statuses(&user).await, [StatusType::Active]);
    assert_eq!(scene.only_key(&user, "reports-s3").await, key, "consumers need no new Secret");
    scene.iam(Iam::forget_report);
    scene.sees("another report to be read", || scene.reports_read() >= 3).await;
    assert_eq!(scene.statuses(&user).await, [StatusType::Active], "it counts from then");
}

#[tokio::test]
async fn a_report_that_lies_or_is_cut_short_suspends_nobody() {
    let class = json!({ "allowedBuckets": ["*"], "suspendUnusedAfter": "720h" });
    let (mut scene, user, key) = Scene::with_old_key("report-lies", class, 40).await;
    let recent = ago(1);
    scene.used(&key, Some(recent));
    let distort = |scene: &Scene, distortion| {
        scene.iam(|iam| iam.settings_mut().credential_report.distortion = distortion);
        scene.iam(Iam::forget_report);
    };
    let never = format!("{recent},N/A,s3");
    distort(&scene, Distortion::new(move |text| text.replace(&never, "N/A,N/A,N/A").into_bytes()));
    scene.start(EACH_SECOND).await;
    scene.sees("IAM itself to be asked", || scene.calls_of(Operation::GetAccessKeyLastUsed) > 0).await;
    scene.tells_of(None, true).await;
    assert_eq!(scene.statuses(&user).await, [StatusType::Active], "the report is not believed");

    distort(&scene, Distortion::new(|text| text.as_bytes()[..text.len() - 30].to_vec()));
    let read = scene.reports_read();
    scene.sees("the next report to be read", || scene.reports_read() > read).await;
    scene.condition("reports", "Ready", "True", "Synced").await;
    assert_eq!(scene.statuses(&user).await, [StatusType::Active]);
}

impl Scene {
    pub async fn sees(&self, what: &str, holds: impl Fn() -> bool) {
        let probe = async || {
            ensure!(holds(), "not yet");
            Ok(())
        };
        self.see(what, probe).await;
    }

    pub fn calls_of(&self, operation: Operation) -> u64 {
        let double = self.double.as_ref().unwrap();
        double.with(|world| world.history().count(operation))
    }

    fn iam_writes(&self) -> u64 {
        self.double.as_ref().unwrap().with(|world| world.history().writes())
    }

    pub fn reports_read(&self) -> u64 {
        self.calls_of(Operation::GetCredentialReport)
    }
}
