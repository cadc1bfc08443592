//! AWS has found a key in public, and says so by a policy that it attaches to the user: it is heard within an interval.

use anyhow::{Context, ensure};
use ground::double::{Operation, Request, Settings};
use s3_access_operator::api::S3AccessUser;
use serde_json::json;

use crate::scene::{Scene, user_name, with};

const POLICY: &str = "arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantineV2";
const METRIC: &str = "s3access_compromised_users";

impl Scene {
    async fn listening(name: &str, response: &str) -> (Self, S3AccessUser, String) {
        let mut scene = Self::on_double_without_operator(name, Settings::default()).await;
        let class = scene.class("alarmed", json!({ "allowedBuckets": ["*"], "onCompromise": response })).await;
        scene.start(&[("S3ACCESS_ALARM_INTERVAL", "1s")]).await;
        scene.create("reports", with(json!({ "className": class }))).await;
        let user = scene.ready("reports").await;
        let key = scene.only_key(&user_name(&user), "reports-s3").await;
        (scene, user, key)
    }

    fn alarm(&self, user: &str) {
        let (user_name, policy_arn) = (user.to_owned(), POLICY.to_owned());
        self.by_hand(&Request::AttachUserPolicy { user_name, policy_arn });
    }

    fn all_clear(&self, user: &str) {
        let (user_name, policy_arn) = (user.to_owned(), POLICY.to_owned());
        self.by_hand(&Request::DetachUserPolicy { user_name, policy_arn });
    }

    async fn is_told_no_more(&self) {
        self.see("the condition Compromised to go", async || {
            let status = self.users().get("reports").await?.status.context("no status")?;
            ensure!(status.conditions.iter().all(|found| found.type_ != "Compromised"), "it is there");
            Ok(())
        })
        .await;
    }
}

#[tokio::test]
async fn an_alarm_is_told_and_the_key_goes_on_unless_the_class_says_more() {
    let (mut scene, user, key) = Scene::listening("alarm-report", "Report").await;
    let name = user_name(&user);
    scene.alarm(&name);
    let told = scene.condition("reports", "Compromised", "True", "Compromised").await;
    let conditions = told.status.unwrap().conditions;
    let message = &conditions.iter().find(|found| found.type_ == "Compromised").unwrap().message;
    for words in [name.as_str(), "AWSCompromisedKeyQuarantineV2", "in public", "revoke it", "incident.md"] {
        assert!(message.contains(words), "{words:?} in {message}");
    }
    scene.condition("reports", "Ready", "True", "Synced").await;
    scene.event_says("reports", &["AWS has found", "AWSCompromisedKeyQuarantineV2"]).await;
    assert_eq!(scene.metric_reaches(METRIC, "", 1.0).await, 1.0);
    assert_eq!(scene.only_key(&name, "reports-s3").await, key);

    // The next process hears of it, too, and nothing is made of it twice.
    scene.kill9().await;
    scene.start(&[("S3ACCESS_ALARM_INTERVAL", "1s")]).await;
    assert_eq!(scene.metric_reaches(METRIC, "", 1.0).await, 1.0);
    scene.condition("reports", "Compromised", "True", "Compromised").await;
    scene.all_clear(&name);
    scene.is_told_no_more().await;
    assert_eq!(scene.only_key(&name, "reports-s3").await, key);
}

#[tokio::test]
async fn a_class_has_found_keys_revoked_once_for_each_alarm() {
    let (scene, user, first) = Scene::listening("alarm-revoke", "Revoke").await;
    let name = user_name(&user);
    scene.alarm(&name);
    let second = scene.secret_holds_another_key("reports-s3", &first).await;
    scene.condition("reports", "Compromised", "True", "Compromised").await;
    scene.ready("reports").await;
    scene
        .patch("reports", json!({ "spec": { "access": [{ "bucket": "team-a-reports", "level": "ReadWrite" }] } }))
        .await;
    scene.ready("reports").await;
    assert_eq!(scene.secret("reports-s3").await["AWS_ACCESS_KEY_ID"], second, "one alarm, one revocation");
    let attached = scene.iam.list_attached_user_policies().user_name(&name).send().await.unwrap();
    let attached = attached.attached_policies().iter().filter_map(|policy| policy.policy_arn());
    assert!(attached.into_iter().any(|arn| arn == POLICY), "it is not the operator's to detach");

    scene.all_clear(&name);
    scene.is_told_no_more().await;
    scene.alarm(&name);
    scene.secret_holds_another_key("reports-s3", &second).await;
}

#[tokio::test]
async fn a_class_has_users_suspended_until_a_person_has_looked() {
    let (scene, user, key) = Scene::listening("alarm-suspend", "Suspend").await;
    let name = user_name(&user);
    scene.alarm(&name);
    let (_, message) = scene.refused("reports", "Compromised").await;
    assert!(message.contains(&key) && message.contains("onCompromise is Suspend"), "{message}");
    scene.patch("reports", json!({ "metadata": { "annotations": { "s3access.dev/rotate": "1" } } })).await;
    scene
        .patch("reports", json!({ "spec": { "access": [{ "bucket": "team-a-reports", "level": "ReadWrite" }] } }))
        .await;
    scene.refused("reports", "Compromised").await;
    let keys = scene.keys(&name).await;
    assert!(keys.iter().all(|found| found.status().is_some_and(|status| status.as_str() == "Inactive")), "{keys:?}");
    scene.all_clear(&name);
    scene.ready("reports").await;
    let calls = || {
        let double = scene.double.as_ref().unwrap();
        double.with(|world| world.history().count(Operation::ListEntitiesForPolicy))
    };
    let (began, before) = (std::time::Instant::now(), calls());
    scene
        .see("some more intervals", async || {
            ensure!(calls() >= before + 9, "not yet");
            Ok(())
        })
        .await;
    // Three calls for the whole account in a second, whatever is in it.
    let (made, seconds) = ((calls() - before) as f64, began.elapsed().as_secs_f64());
    assert!(made <= 3.0 * (seconds + 2.0), "{made} calls in {seconds} s");
}
