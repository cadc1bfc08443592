//! The bulk sweep: what it finds, what it costs, and what happens where it is not allowed.

use anyhow::ensure;
use ground::double::{Distortion, Operation, Request, Settings, Status};
use jiff::SignedDuration;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::scene::{Scene, user_name, with};

const SWEEPS: &str = "s3access_sweeps_total";
const RECONCILES: &str = "s3access_reconcile_total";
const BULK: &str = "GetAccountAuthorizationDetails";
/// Long enough for every user's turn on a busy machine.
const INTERVAL: (&str, &str) = ("S3ACCESS_RESYNC_INTERVAL", "6s");

impl Scene {
    async fn swept(&self, result: &str) -> f64 {
        self.metric(SWEEPS, result).await.unwrap()
    }

    async fn see_sweeps(&self, result: &str, more: f64) {
        let before = self.swept(result).await;
        self.metric_reaches(SWEEPS, result, before + more).await;
    }

    /// What somebody does in the account by hand, and what it looks like when it has been put right.
    async fn is_put_right(&self, what: &str, request: Request, user: &str) {
        let before = self.picture(user).await;
        self.by_hand(&request);
        assert_ne!(self.picture(user).await, before, "{what} makes a difference");
        self.see(&format!("{what} to be put right"), async || {
            let now = self.picture(user).await;
            ensure!(now == before, "{now}\ninstead of\n{before}");
            Ok(())
        })
        .await;
    }

    /// A user with all that hangs on it, of the kinds that the operator keeps.
    async fn picture(&self, user: &str) -> String {
        let Ok(found) = self.iam.get_user().user_name(user).send().await else { return "no user".to_owned() };
        let found = found.user().unwrap();
        let mut tags: Vec<_> = found.tags().iter().map(|tag| format!("{}={}", tag.key(), tag.value())).collect();
        tags.sort();
        let keys = self.iam.list_access_keys().user_name(user).send().await.unwrap();
        let keys: Vec<_> = keys.access_key_metadata().iter().map(|key| (&key.access_key_id, &key.status)).collect();
        let attached = self.iam.list_attached_user_policies().user_name(user).send().await.unwrap();
        let mut texts = Vec::new();
        for policy in attached.attached_policies() {
            let arn = policy.policy_arn().unwrap();
            let found = self.iam.get_policy().policy_arn(arn).send().await.unwrap();
            let version = found.policy().unwrap().default_version_id().unwrap().to_owned();
            let version = self.iam.get_policy_version().policy_arn(arn).version_id(version).send().await.unwrap();
            texts.push(format!("{arn} {}", version.policy_version().unwrap().document().unwrap()));
        }
        let inline = self.iam.list_user_policies().user_name(user).send().await.unwrap();
        for name in inline.policy_names() {
            let found = self.iam.get_user_policy().user_name(user).policy_name(name).send().await.unwrap();
            texts.push(format!("{name} {}", found.policy_document()));
        }
        let boundary = found.permissions_boundary().and_then(|found| found.permissions_boundary_arn());
        format!("{} {tags:?} {keys:?} {boundary:?} {texts:?}", found.path())
    }
}

fn inline() -> serde_json::Value {
    with(json!({ "policy": { "type": "Inline" } }))
}

/// The order of elements in the texts is told apart above, so they come back as they were written.
fn settings() -> Settings {
    Settings { reorder_documents: false, ..Settings::default() }
}

#[tokio::test]
async fn drift_of_every_kind_is_found_within_a_sweep_and_put_right() {
    let mut scene = Scene::on_double_without_operator("found", settings()).await;
    scene.grant("operator-policy.migration");
    scene.start(&[INTERVAL]).await;
    let boundary = "arn:aws:iam::aws:policy/AmazonS3FullAccess";
    scene.create("managed", with(json!({ "tags": { "team": "a" }, "permissionsBoundaryArn": boundary }))).await;
    scene.create("inline", inline()).await;
    let managed = scene.ready("managed").await;
    let arn = managed.status.as_ref().unwrap().policy_arn.clone().unwrap();
    let managed = user_name(&managed);
    let inline = user_name(&scene.ready("inline").await);
    scene.see_sweeps("done", 1.0).await;
    let wide = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#.to_owned();
    let user = || managed.clone();
    for (what, request) in [
        ("a tag removed", Request::UntagUser { user_name: user(), tag_keys: vec!["team".to_owned()] }),
        (
            "a user moved",
            Request::UpdateUser { user_name: user(), new_user_name: None, new_path: Some("/elsewhere/".to_owned()) },
        ),
        ("a boundary removed", Request::DeleteUserPermissionsBoundary { user_name: user() }),
        ("a policy detached", Request::DetachUserPolicy { user_name: user(), policy_arn: arn.clone() }),
        (
            "a policy widened",
            Request::CreatePolicyVersion {
                policy_arn: arn.clone(),
                policy_document: wide.clone(),
                set_as_default: true,
            },
        ),
    ] {
        scene.is_put_right(what, request, &managed).await;
    }
    let policy_name = inline.clone();
    let put =
        Request::PutUserPolicy { user_name: inline.clone(), policy_name: policy_name.clone(), policy_document: wide };
    scene.is_put_right("an inline policy widened", put, &inline).await;
    let remove = Request::DeleteUserPolicy { user_name: inline.clone(), policy_name };
    scene.is_put_right("an inline policy removed", remove, &inline).await;

    let key = scene.only_key(&inline, "inline-s3").await;
    let status = ground::double::Status::Inactive;
    let deactivate = Request::UpdateAccessKey { user_name: inline.clone(), access_key_id: key.clone(), status };
    scene.is_put_right("a key deactivated", deactivate, &inline).await;
    scene.by_hand(&Request::DeleteAccessKey { user_name: inline.clone(), access_key_id: key.clone() });
    scene
        .see("another key", async || {
            let keys = scene.keys(&inline).await;
            ensure!(keys.len() == 1 && keys[0].access_key_id.as_ref() != Some(&key), "{keys:?}");
            Ok(())
        })
        .await;
    let corrected = scene.metric("s3access_drift_corrected_total", "").await.unwrap();
    assert!(corrected >= 8.0, "{corrected} differences counted");
}

#[tokio::test]
async fn a_sweep_costs_one_call_a_thousand_users_and_one_list_of_keys_a_user_whatever_else_is_in_the_account() {
    const OURS: usize = 12;
    let mut scene = Scene::on_double_without_operator("cost", Settings::default()).await;
    let double = scene.double.as_ref().unwrap();
    let (root, now) = (ground::double::Caller::root(&double.account().id), double.now());
    double.with(|world| {
        for number in 0..1_500 {
            let request = Request::CreateUser {
                user_name: format!("stranger-{number}"),
                path: None,
                permissions_boundary: None,
                tags: Vec::new(),
            };
            world.call(now, &root, &request).result.unwrap();
        }
    });
    // However long the test takes, nobody asks for AWS's alarm meanwhile.
    scene.start(&[INTERVAL, ("S3ACCESS_ALARM_INTERVAL", "0s")]).await;
    for number in 0..OURS {
        scene.create(&format!("user-{number}"), inline()).await;
    }
    for number in 0..OURS {
        scene.ready(&format!("user-{number}")).await;
    }
    scene.see_sweeps("done", 2.0).await;
    let writes = scene.writes();
    scene.proxy.forget();
    let (sweeps, reconciles) = (scene.swept("done").await, scene.metric(RECONCILES, "settled").await.unwrap());
    scene.see_sweeps("done", 3.0).await;
    let calls = scene.proxy.counts();
    let (sweeps, reconciles) =
        (scene.swept("done").await - sweeps, scene.metric(RECONCILES, "settled").await.unwrap() - reconciles);
    let only: Vec<&str> = calls.keys().map(String::as_str).collect();
    assert_eq!(only, [BULK, "ListAccessKeys"], "{calls:?}");
    // Both are counted while they go on: one sweep may be under way, and so may reconciles.
    let pages = calls[BULK] as f64;
    assert!((2.0 * (sweeps - 1.0)..=2.0 * (sweeps + 1.0)).contains(&pages), "{pages} pages in {sweeps} sweeps");
    let listed = calls["ListAccessKeys"] as f64;
    assert!((listed - reconciles).abs() <= OURS as f64, "{listed} lists of keys in {reconciles} reconciles");
    let ours = OURS as f64;
    assert!(
        (ours * (sweeps - 1.0)..=ours * (sweeps + 1.0)).contains(&listed),
        "{listed} lists of keys of {OURS} users in {sweeps} sweeps"
    );
    assert_eq!(scene.writes(), writes, "no write to Kubernetes");
    println!("{sweeps} sweeps of {OURS} users beside 1500 strangers: {calls:?}");
}

#[tokio::test]
async fn where_the_account_may_not_be_read_in_bulk_each_user_is_read_in_its_turn() {
    let mut scene = Scene::on_double_without_operator("denied", settings()).await;
    let deny = json!({
        "Version": "2012-10-17", "Statement": [{ "Effect": "Deny", "Action": "iam:GetAccountAuthorizationDetails", "Resource": "*" }],
    });
    let operator = || "s3-access-operator".to_owned();
    scene.by_hand(&Request::PutUserPolicy {
        user_name: operator(),
        policy_name: "deny".to_owned(),
        policy_document: deny.to_string(),
    });
    scene.start(&[INTERVAL]).await;
    scene.create("reports", inline()).await;
    let user = user_name(&scene.ready("reports").await);
    scene.see_sweeps("denied", 2.0).await;
    let remove = Request::DeleteUserPolicy { user_name: user.clone(), policy_name: user.clone() };
    scene.is_put_right("an inline policy removed", remove.clone(), &user).await;
    scene.see_sweeps("denied", 1.0).await;
    let log = scene.operator().log().unwrap();
    assert_eq!(log.matches("cannot be read in bulk").count(), 1, "it is said once: {log}");
    scene.by_hand(&Request::DeleteUserPolicy { user_name: operator(), policy_name: "deny".to_owned() });
    scene.see_sweeps("done", 1.0).await;
    scene.is_put_right("an inline policy removed", remove, &user).await;
}

#[tokio::test]
async fn invariant_6_neither_a_restart_nor_a_change_of_a_class_brings_a_sweep_before_its_turn() {
    let mut scene = Scene::on_double("calm", Settings::default()).await;
    let class = scene.class("c", json!({ "allowedBuckets": ["*"] })).await;
    let user = with(json!({ "className": class }));
    scene.create("first", user.clone()).await;
    scene.create("second", user).await;
    for name in ["first", "second"] {
        assert_eq!(scene.ready(name).await.name_any(), name);
    }
    scene.class_is(&class, "Synced").await;
    scene.terminate().await;
    scene.proxy.forget();
    scene.start(&[]).await;
    scene.metric_reaches(RECONCILES, "deferred", 2.0).await;
    scene.patch_class(&class, json!({ "spec": { "requestsPerSecond": 900 } })).await;
    scene.class_is(&class, "Synced").await;
    assert_eq!(scene.proxy.counts().get(BULK), None, "{:?}", scene.proxy.counts());
    let all = ["done", "denied", "failed"];
    for result in all {
        assert!(scene.swept(result).await < 1.0, "{result}");
    }
}

/// A Ready user on the double, with reports as often as that, each of them new.
async fn reported(name: &str, resync: &str) -> (Scene, String, String) {
    let mut scene = Scene::on_double_without_operator(name, settings()).await;
    scene.iam(|iam| {
        let report = &mut iam.settings_mut().credential_report;
        (report.takes, report.again) = (SignedDuration::ZERO, SignedDuration::ZERO);
    });
    scene.start(&[("S3ACCESS_REPORT_INTERVAL", "1s"), ("S3ACCESS_RESYNC_INTERVAL", resync)]).await;
    scene.create("reports", inline()).await;
    let user = user_name(&scene.ready("reports").await);
    let key = scene.only_key(&user, "reports-s3").await;
    (scene, user, key)
}

#[tokio::test]
async fn a_key_that_is_changed_by_hand_is_found_by_the_next_report() {
    let (scene, user, key) = reported("reported", "10h").await;
    let (user_name, id) = (user.clone(), key.clone());
    let off = Request::UpdateAccessKey { user_name: user_name.clone(), access_key_id: id, status: Status::Inactive };
    scene.is_put_right("an inactive key", off, &user).await;
    scene.is_put_right("another key", Request::CreateAccessKey { user_name: user_name.clone() }, &user).await;
    scene.by_hand(&Request::DeleteAccessKey { user_name, access_key_id: key.clone() });
    scene
        .see("another key in its place", async || {
            let held = scene.secret("reports-s3").await["AWS_ACCESS_KEY_ID"].clone();
            ensure!(held != key, "the Secret holds a key that is gone");
            Ok(())
        })
        .await;
    scene.ready("reports").await;
    scene.only_key(&user, "reports-s3").await;
}

#[tokio::test]
async fn nobodys_keys_are_listed_where_reports_show_them_and_those_of_a_report_that_lies_once_each() {
    let (scene, user, key) = reported("well-reported", "4s").await;
    let sweeps = scene.swept("done").await;
    scene.metric_reaches(SWEEPS, "done", sweeps + 2.0).await;
    let listed = scene.calls_of(Operation::ListAccessKeys);
    let sweeps = scene.swept("done").await;
    scene.metric_reaches(SWEEPS, "done", sweeps + 2.0).await;
    let asked = scene.calls_of(Operation::ListAccessKeys) - listed;
    let swept = scene.swept("done").await - sweeps;
    assert!(
        asked as f64 <= 1.0 + swept / 30.0,
        "reports say that it is well, and its keys were listed {asked} times in {swept} turns: once is every thirtieth time"
    );

    let before = scene.picture(&user).await;
    // What else there was meanwhile is counted for no shorter a time than its lists.
    let counted = async || scene.reports_read() as f64 + scene.swept("done").await;
    let counts = counted().await;
    let listed = scene.calls_of(Operation::ListAccessKeys);
    let lie = |text: &str| text.replace(",true,", ",false,").into_bytes();
    scene.iam(|iam| iam.settings_mut().credential_report.distortion = Distortion::new(lie));
    let read = scene.reports_read();
    scene.sees("reports that say that no key works", || scene.reports_read() >= read + 4).await;
    let asked = scene.calls_of(Operation::ListAccessKeys) - listed;
    let counts = counted().await - counts;
    assert!(
        asked >= 1 && asked as f64 <= counts + 2.0,
        "its keys are listed {asked} times in {counts} reports and turns"
    );
    scene.iam(|iam| {
        let cut = |text: &str| text.as_bytes()[..text.len() - 30].to_vec();
        iam.settings_mut().credential_report.distortion = Distortion::new(cut);
    });
    let read = scene.reports_read();
    scene.sees("reports that are cut short", || scene.reports_read() >= read + 2).await;
    assert_eq!(scene.picture(&user).await, before);
    assert_eq!(scene.only_key(&user, "reports-s3").await, key);
}

#[tokio::test]
async fn a_deletion_goes_by_what_is_recorded_and_leaves_nothing_whatever_the_status_says() {
    let (scene, user, key) = reported("recorded-deletion", "10h").await;
    // A report of the second in which the key was made may not have it, and has its user read in full.
    scene
        .see("two reports in a row that find nothing", async || {
            let (listed, read) = (scene.calls_of(Operation::ListAccessKeys), scene.reports_read());
            scene.sees("two reports", || scene.reports_read() >= read + 2).await;
            let listed = scene.calls_of(Operation::ListAccessKeys) - listed;
            ensure!(listed == 0, "its keys were listed {listed} times");
            Ok(())
        })
        .await;
    let before = |operation| scene.calls_of(operation);
    let reads = [Operation::ListAccessKeys, Operation::ListAttachedUserPolicies, Operation::GetUserPolicy];
    let counted = reads.map(before);
    scene.delete("reports").await;
    assert_eq!(reads.map(before), counted, "nothing is read but the user: {}", scene.log().unwrap_or_default());
    assert_eq!(scene.picture(&user).await, "no user");

    scene.create("reports", inline()).await;
    scene.ready("reports").await;
    // Somebody names another key in the status, makes one more, and writes a policy beside.
    scene.by_hand(&Request::CreateAccessKey { user_name: user.clone() });
    let policy_document =
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}"#
            .to_owned();
    let (user_name, policy_name) = (user.clone(), "beside".to_owned());
    scene.by_hand(&Request::PutUserPolicy { user_name, policy_name, policy_document });
    let lie = Patch::Merge(json!({ "status": { "accessKeyId": key } }));
    scene.users().patch_status("reports", &PatchParams::default(), &lie).await.unwrap();
    scene.delete("reports").await;
    assert_eq!(scene.picture(&user).await, "no user");
}
