//! S3AccessClass: what it sets, what it takes back, and what happens to one account while another is dark.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use aws_sdk_iam::types::StatusType;
use ground::double::{Account, Request, Settings};
use ground::folders::Folder;
use ground::moto::{Moto, Partition};
use ground::proxy::Proxy;
use ground::stand::Stand;
use ground::versitygw::VersityGw;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};

use crate::fairness::is_ready;
use crate::scene::{Scene, user_name, with};

pub fn grants(buckets: &[&str]) -> Value {
    buckets.iter().map(|bucket| json!({ "bucket": bucket, "level": "ReadWrite" })).collect()
}

impl Scene {
    /// The policy of a user, as AWS has it, and whether its key works.
    pub async fn access(&self, user: &str) -> (String, bool) {
        let attached = self.iam.list_attached_user_policies().user_name(user).send().await.unwrap();
        let mut text = String::new();
        for policy in attached.attached_policies() {
            let arn = policy.policy_arn().unwrap();
            let found = self.iam.get_policy().policy_arn(arn).send().await.unwrap();
            let version = found.policy().unwrap().default_version_id().unwrap().to_owned();
            let version = self.iam.get_policy_version().policy_arn(arn).version_id(version).send().await.unwrap();
            text.push_str(version.policy_version().unwrap().document().unwrap());
        }
        let active = self.keys(user).await.iter().any(|key| key.status == Some(StatusType::Active));
        (text, active)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a sentence: of whom, as whom, what is gone, what is left, does it work"
    )]
    pub async fn taken_back(&self, name: &str, user: &str, gone: &[&str], left: &[&str], active: bool) {
        let (_, message) = self.refused(name, "NotPermittedByClass").await;
        assert!(message.contains("S3AccessClass"), "{message}");
        self.see("access to be taken back", async || {
            let (text, works) = self.access(user).await;
            ensure!(gone.iter().all(|bucket| !text.contains(bucket)), "still there: {text}");
            ensure!(left.iter().all(|bucket| text.contains(bucket)), "gone: {text}");
            ensure!(works == active, "the key's status");
            Ok(())
        })
        .await;
    }
}

#[tokio::test]
async fn invariant_7_a_class_that_shrinks_takes_back_what_no_longer_fits_and_only_that() {
    let scene = Scene::on_double("shrink", Settings::default()).await;
    let class = scene.class("c", json!({ "allowedBuckets": ["first-*", "second-*"] })).await;
    let spec = json!({ "className": class, "access": grants(&["first-a", "second-a"]) });
    scene.create("reports", spec).await;
    let user = user_name(&scene.ready("reports").await);
    let key = scene.only_key(&user, "reports-s3").await;

    scene.patch_class(&class, json!({ "spec": { "allowedBuckets": ["first-*"] } })).await;
    scene.taken_back("reports", &user, &["second-a"], &["first-a"], true).await;
    let (_, message) = scene.refused("reports", "NotPermittedByClass").await;
    assert!(message.contains("spec.access[1].bucket \"second-a\""), "{message}");
    scene.class_is(&class, "Synced").await;

    scene.patch_class(&class, json!({ "spec": { "allowedNamespaces": { "names": ["another"] } } })).await;
    scene.taken_back("reports", &user, &["first-a"], &[], false).await;
    scene.class_is(&class, "Synced").await;

    let all = json!({ "spec": { "allowedBuckets": ["first-*", "second-*"], "allowedNamespaces": null } });
    scene.patch_class(&class, all).await;
    scene.ready("reports").await;
    assert_eq!(scene.only_key(&user, "reports-s3").await, key, "what is given back is the same key");
    assert!(scene.access(&user).await.0.contains("second-a"));
}

#[tokio::test]
async fn invariant_7_what_shrank_while_the_operator_was_down_is_taken_back() {
    let mut scene = Scene::on_double("shrunk", Settings::default()).await;
    let class = scene.class("c", json!({ "allowedBuckets": ["first-*", "second-*"], "allowStatements": true })).await;
    let actions = json!({ "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::second-*" });
    let spec = json!({ "className": class, "access": grants(&["first-a"]), "policy": { "statements": [actions] } });
    scene.create("reports", spec).await;
    let user = user_name(&scene.ready("reports").await);
    scene.class_is(&class, "Synced").await;
    scene.kill9().await;
    let boundary = "arn:aws:iam::aws:policy/AmazonS3FullAccess";
    let shrunk = json!({ "spec": { "allowedBuckets": ["first-*"], "permissionsBoundaryArn": boundary } });
    scene.patch_class(&class, shrunk).await;
    scene.start(&[]).await;
    scene.taken_back("reports", &user, &["second-"], &["first-a"], true).await;
    let found = scene.iam.get_user().user_name(&user).send().await.unwrap();
    let found = found.user().unwrap().permissions_boundary().and_then(|found| found.permissions_boundary_arn());
    assert_eq!(found, Some(boundary));
}

#[tokio::test]
async fn invariant_7_neither_pause_nor_a_broken_spec_keeps_what_the_class_takes_back() {
    let scene = Scene::on_double("dodge", Settings::default()).await;
    let class = scene.class("c", json!({ "allowedBuckets": ["first-*", "second-*"], "allowStatements": true })).await;
    for name in ["paused", "broken", "leaving"] {
        scene.create(name, json!({ "className": class, "access": grants(&["second-a"]) })).await;
    }
    let mut users = Vec::new();
    for name in ["paused", "broken"] {
        users.push(user_name(&scene.ready(name).await));
    }
    let leaving = user_name(&scene.ready("leaving").await);
    let pause = json!({ "metadata": { "annotations": { "s3access.dev/paused": "true" } } });
    scene.patch("paused", pause.clone()).await;
    scene.refused("paused", "Paused").await;
    scene.patch("leaving", pause).await;
    scene.refused("leaving", "Paused").await;
    scene.users().delete("leaving", &DeleteParams::default()).await.unwrap();
    scene.gone("leaving").await;
    assert!(scene.iam.get_user().user_name(&leaving).send().await.is_err(), "a pause holds no deletion up");
    let statement = json!({ "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws-cn:s3:::first-a/*" });
    scene.patch("broken", json!({ "spec": { "policy": { "statements": [statement] } } })).await;
    scene.refused("broken", "PartitionMismatch").await;
    for user in &users {
        let (text, works) = scene.access(user).await;
        assert!(works && text.contains("second-a"), "what fits stays as it is: {text}");
    }
    scene.patch_class(&class, json!({ "spec": { "allowedBuckets": ["first-*"] } })).await;
    for (name, user) in ["paused", "broken"].iter().zip(&users) {
        scene.taken_back(name, user, &["second-a"], &[], false).await;
    }
}

#[tokio::test]
async fn invariant_7_a_deletion_that_succeeds_cannot_be_abandoned_with_a_working_key() {
    let scene = Scene::on_double("hoard", Settings::default()).await;
    let class = scene.class("c", json!({ "allowedBuckets": ["*"] })).await;
    let spec = json!({ "className": class, "access": grants(&["first-a"]) });
    scene.create("reports", spec).await;
    let user = user_name(&scene.ready("reports").await);
    scene.patch("reports", json!({ "metadata": { "annotations": { "s3access.dev/abandon": "true" } } })).await;
    scene.delete("reports").await;
    assert!(scene.iam.get_user().user_name(user).send().await.is_err(), "the user is gone in spite of the annotation");
}

#[tokio::test]
async fn a_class_sets_path_tags_boundary_and_rotation() {
    let scene = Scene::on_double("defaults", Settings::default()).await;
    let boundary = "arn:aws:iam::aws:policy/AmazonS3FullAccess";
    let spec = json!({
        "allowedBuckets": ["{namespace}.*"], "path": "/s3access/tenants/", "tags": { "team": "a" }, "permissionsBoundaryArn": boundary,
        "rotation": { "defaultInterval": "240h", "maxInterval": "480h" }, "deletionPolicy": "Retain",
    });
    let class = scene.class("c", spec).await;
    let bucket = format!("{}.data", scene.namespace);
    scene.create("reports", json!({ "className": class, "access": grants(&[&bucket]) })).await;
    let made = scene.ready("reports").await;
    let user = user_name(&made);
    let status = made.status.unwrap();
    let (due, created) = (status.next_rotation_at.unwrap().0, status.access_key_created_at.unwrap().0);
    assert_eq!(due.duration_since(created).as_hours(), 240);
    let found = scene.iam.get_user().user_name(&user).send().await.unwrap();
    let found = found.user().unwrap();
    assert_eq!(found.path(), "/s3access/tenants/");
    assert_eq!(found.permissions_boundary().and_then(|found| found.permissions_boundary_arn()), Some(boundary));
    assert!(found.tags().iter().any(|tag| tag.key() == "team" && tag.value() == "a"));
    scene.delete("reports").await;
    assert!(scene.iam.get_user().user_name(&user).send().await.is_ok(), "it is retained");
}

#[tokio::test]
async fn a_class_in_use_waits_for_its_users_and_tells_who_is_in_it() {
    let scene = Scene::on_double("inuse", Settings::default()).await;
    let class = scene
        .class("c", json!({ "allowedBuckets": ["*"], "accountId": scene.double.as_ref().unwrap().account().id }))
        .await;
    let spec = json!({ "className": class, "access": grants(&["first-a"]) });
    scene.create("reports", spec.clone()).await;
    scene.ready("reports").await;
    // Its finalizer is there by then.
    scene.class_is(&class, "Synced").await;
    scene.classes().delete(&class, &DeleteParams::default()).await.unwrap();
    scene
        .see("the class to tell of its user", async || {
            let status = scene.classes().get(&class).await?.status.context("no status")?;
            ensure!(status.users == Some(1), "{status:?}");
            Ok(())
        })
        .await;
    scene.create("late", spec).await;
    let (_, message) = scene.refused("late", "ClassNotFound").await;
    assert!(message.contains("is being deleted"), "{message}");
    scene.delete("late").await;
    scene.delete("reports").await;
    scene
        .see("the class to be gone", async || {
            ensure!(scene.classes().get_opt(&class).await?.is_none(), "it is there");
            Ok(())
        })
        .await;
}

#[tokio::test]
async fn which_class_a_user_is_in() {
    let mut scene = Scene::on_double_without_operator("which", Settings::default()).await;
    // What other scenes make without a class must pass meanwhile.
    let everything = json!({
        "allowedBuckets": ["*"], "allowStatements": true, "allowedManagedPolicyArns": ["*"], "allowedNames": ["*"],
        "allowedTagKeys": ["*"], "allowForceAdoption": true,
    });
    scene.create("unnamed", with(json!({}))).await;
    scene.start(&[("S3ACCESS_REQUIRE_CLASS", "true"), ("S3ACCESS_CLASS_SELECTOR", "")]).await;
    let (_, message) = scene.refused("unnamed", "ClassNotFound").await;
    assert!(message.contains("marked default"), "{message}");
    scene.create("misnamed", with(json!({ "className": "there-is-none" }))).await;
    let (_, message) = scene.refused("misnamed", "ClassNotFound").await;
    assert!(message.contains("\"there-is-none\""), "{message}");
    scene.terminate().await;
    scene.start(&[]).await;
    scene.ready("unnamed").await;

    let class = scene.class("c", everything.clone()).await;
    let (_, message) = {
        // Nobody else's operator sees this class, so that it is the scene's own default.
        let mark = |value: Value| json!({ "metadata": { "annotations": { "s3access.dev/is-default-class": value } } });
        scene.patch_class(&class, mark(json!("true"))).await;
        scene.class_is(&class, "Synced").await;
        let other = scene.class("d", everything).await;
        scene.patch_class(&other, mark(json!("true"))).await;
        scene.refused("unnamed", "ClassNotFound").await
    };
    assert!(message.contains("several"), "{message}");
    let classes =
        scene.classes().list(&ListParams::default().labels(&format!("scene={}", scene.namespace))).await.unwrap();
    for class in classes {
        scene.patch_class(&class.name_any(), json!({ "metadata": { "annotations": null } })).await;
    }
}

#[tokio::test]
async fn a_class_is_told_when_its_credentials_are_wrong_and_when_they_are_put_right() {
    let scene = Scene::on_double("creds", Settings::default()).await;
    let aws = scene.stand.operator_identity.clone();
    let name = scene.credentials("aws", &aws.access_key_id, "wrong").await;
    let spec = json!({ "allowedBuckets": ["*"], "credentialsSecretRef": { "name": name }, "endpoints": { "iam": scene.proxy.endpoint() } });
    let class = scene.class("c", spec).await;
    scene.create("reports", json!({ "className": class, "access": grants(&["first-a"]) })).await;
    scene.refused("reports", "InvalidCredentials").await;
    let told = scene.class_is(&class, "InvalidCredentials").await;
    assert!(!format!("{told:?}").contains("wrong"), "no secret in it: {told:?}");
    scene.credentials("aws", &aws.access_key_id, &aws.secret_access_key).await;
    scene.ready("reports").await;
    scene.class_is(&class, "Synced").await;
    scene.patch_class(&class, json!({ "spec": { "accountId": "999999999999" } })).await;
    let told = scene.class_is(&class, "AccountMismatch").await;
    let message = &told.status.unwrap().conditions[0].message;
    assert!(message.contains("999999999999") && message.contains("correct one of them"), "{message}");
    scene.refused("reports", "AccountMismatch").await;
    scene
        .patch_class(&class, json!({ "spec": { "accountId": null, "credentialsSecretRef": { "name": "absent" } } }))
        .await;
    let told = scene.class_is(&class, "InvalidCredentials").await;
    assert!(told.status.unwrap().conditions[0].message.contains("does not exist: create it"));
}

#[tokio::test]
async fn a_class_assumes_a_role_of_another_account_with_its_external_id() {
    const OTHER: &str = "210987654321";
    let mut scene = Scene::on_double_without_operator("role", Settings::default()).await;
    let everything = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["iam:*"],"Resource":"*"}}"#;
    let role = scene.double.as_ref().unwrap().with(|world| {
        let account = Account { id: OTHER.to_owned(), partition: "aws".to_owned() };
        world.add_account(account, Settings { seed: 7, ..Settings::default() });
        let other = world.account_mut(OTHER).unwrap();
        other.put_role("operator", &["arn:aws:iam::123456789012:root"], Some("right"), &[everything]).unwrap()
    });
    let assume = json!({ "Version": "2012-10-17", "Statement": { "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role } });
    scene.by_hand(&Request::PutUserPolicy {
        user_name: "s3-access-operator".to_owned(),
        policy_name: "assume".to_owned(),
        policy_document: assume.to_string(),
    });
    let spec = json!({
        "allowedBuckets": ["*"], "region": "us-east-1", "accountId": OTHER, "roleArn": role, "externalId": "wrong",
        "endpoints": { "iam": scene.proxy.endpoint() },
    });
    let class = scene.class("c", spec).await;
    scene.create("reports", json!({ "className": class, "access": grants(&["first-a"]) })).await;
    scene.start(&[]).await;
    scene.class_is(&class, "NoCredentials").await;
    scene.refused("reports", "NoCredentials").await;
    scene.patch_class(&class, json!({ "spec": { "externalId": "right" } })).await;
    scene.class_is(&class, "Synced").await;
    let status = scene.ready("reports").await.status.unwrap();
    assert_eq!(status.account_id.as_deref(), Some(OTHER));
    assert!(status.user_arn.unwrap().starts_with("arn:aws:iam::210987654321:user/"));
    scene.delete("reports").await;
    scene.double.as_ref().unwrap().with(|world| {
        assert_eq!(world.account(OTHER).unwrap().state().users().count(), 0, "nothing is left there");
    });
}

/// Two partitions of AWS and an S3-compatible system, side by side.
struct Accounts {
    scene: Scene,
    china: Proxy,
    classes: [String; 3],
    _servers: (Moto, VersityGw, Folder),
}

impl Accounts {
    async fn new(name: &str) -> Self {
        let folder = Folder::create("accounts").unwrap();
        let stand = Stand::attach().unwrap();
        let moto = Moto::start(&stand.python, folder.path(), Partition::AwsCn).await.unwrap();
        let gateway = std::env::var_os("VERSITYGW").context("run `cargo xtask test`").unwrap();
        let gateway = VersityGw::start(gateway.as_ref(), folder.path()).await.unwrap();
        let mut scene = Scene::on(stand, name).await;
        let china = Proxy::start(&moto.account().endpoint).await.unwrap();
        let (cn, gw) = (moto.account(), gateway.account());
        let cn_secret = scene.credentials("cn", &cn.access_key_id, &cn.secret_access_key).await;
        let gw_secret = scene.credentials("gw", &gw.access_key_id, &gw.secret_access_key).await;
        let aws = scene.class("aws", json!({ "allowedBuckets": ["*"], "region": "us-east-1" })).await;
        let cn = json!({
            "allowedBuckets": ["*"], "region": "cn-north-1", "credentialsSecretRef": { "name": cn_secret },
            "endpoints": { "iam": china.endpoint(), "s3": cn.endpoint },
        });
        let cn = scene.class("cn", cn).await;
        let gw = json!({
            "allowedBuckets": ["*"], "provider": "s3-compatible", "region": "us-east-1",
            "credentialsSecretRef": { "name": gw_secret }, "endpoints": { "iam": gw.endpoint, "s3": gateway.s3() },
        });
        let gw = scene.class("gw", gw).await;
        scene.start(&[]).await;
        Self { scene, china, classes: [aws, cn, gw], _servers: (moto, gateway, folder) }
    }

    /// Creates so many users in a class; how long it took until all of them were Ready.
    async fn create(&self, class: usize, prefix: &str, count: usize) -> Duration {
        let policy = if class == 2 { "Inline" } else { "Managed" };
        let started = std::time::Instant::now();
        for number in 0..count {
            let spec = json!({
                "className": self.classes[class], "access": grants(&["first-a"]), "policy": { "type": policy },
            });
            self.scene.create(&format!("{prefix}-{number}"), spec).await;
        }
        for number in 0..count {
            self.scene.ready(&format!("{prefix}-{number}")).await;
        }
        started.elapsed()
    }
}

/// The calls that were answered well: what moto answers with an error of its own, the SDK sends again.
fn answered(proxy: &Proxy) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for call in proxy.calls().into_iter().filter(|call| call.status == Some(200)) {
        *counts.entry(call.action).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn invariant_9_one_account_goes_dark_and_the_others_do_not_notice() {
    const USERS: usize = 12;
    let accounts = Accounts::new("accounts").await;
    let scene = &accounts.scene;
    for class in &accounts.classes {
        scene.class_is(class, "Synced").await;
    }
    accounts.create(0, "warm", 2).await;
    accounts.create(1, "china", 2).await;
    let arn = scene.ready("china-0").await.status.unwrap().user_arn.unwrap();
    assert!(arn.starts_with("arn:aws-cn:iam::"), "{arn}");
    let secret = scene.secret("china-0-s3").await;
    assert_eq!(secret["AWS_REGION"], "cn-north-1");
    scene.proxy.forget();
    let light = (accounts.create(0, "aws-light", USERS).await, accounts.create(2, "gw-light", USERS).await);
    let light_calls = answered(&scene.proxy);

    accounts.china.set_dark(true);
    // More than there are turns for one account, all of them stuck.
    for number in 0..40 {
        let spec = json!({ "className": accounts.classes[1], "access": grants(&["first-a"]) });
        scene.create(&format!("stuck-{number}"), spec).await;
    }
    scene.refused("stuck-0", "Unreachable").await;
    scene.class_is(&accounts.classes[1], "Unreachable").await;
    scene.proxy.forget();
    let dark = (accounts.create(0, "aws-dark", USERS).await, accounts.create(2, "gw-dark", USERS).await);
    let dark_calls = answered(&scene.proxy);
    println!(
        "dark: {USERS} users Ready: aws {:?} then {:?}, s3-compatible {:?} then {:?}",
        light.0, dark.0, light.1, dark.1
    );
    println!("dark: IAM calls of aws: {light_calls:?} then {dark_calls:?}");
    for call in ["CreateUser", "CreatePolicy", "AttachUserPolicy", "CreateAccessKey"] {
        assert_eq!((light_calls[call], dark_calls[call]), (USERS, USERS), "{call}");
    }
    // All of that without an answer from the dark account: whoever is there waits still.
    let all = scene.users().list(&ListParams::default()).await.unwrap();
    let stuck: Vec<_> = all.iter().filter(|user| user.name_any().starts_with("stuck-")).collect();
    assert_eq!((stuck.len(), stuck.iter().filter(|user| is_ready(user)).count()), (40, 0));
    accounts.china.set_dark(false);
    scene.ready("stuck-0").await;
}
