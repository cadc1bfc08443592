//! Ceph's RGW as a class: IAM users of an account, which the root user of that account makes. Where this machine runs no
//! RGW, `cargo xtask test` says why, and these tests look at nothing.

use anyhow::ensure;
use aws_sdk_iam::types::StatusType;
use ground::folders::Folder;
use ground::proxy::Fault;
use ground::rgw::{Access, Rgw, Root, Sts};
use ground::stand::probe_s3;
use serde_json::{Value, json};

use crate::compatible::Gateway;
use crate::consumer::create_bucket;
use crate::scene::{SOON, user_name};

const FREQUENT: (&str, &str) = ("S3ACCESS_RESYNC_INTERVAL", "500ms");

impl Gateway {
    /// On the RGW of this run, in an account of its own; nothing where there is none.
    async fn on_rgw(name: &str) -> Option<Self> {
        let access = Access::attach().unwrap()?;
        let root = access.account(&format!("{name}-{:05x}", std::process::id())).await.unwrap();
        Some(Self::of(name, &root, access.endpoint()).await)
    }

    /// As that account's root user.
    async fn of(name: &str, root: &Root, s3: &str) -> Self {
        let class = json!({ "ownership": "Path", "accountId": root.id });
        Self::at(name, root.account.clone(), s3, class).await
    }

    /// What a standard client may do with the Secret's key, by operation.
    async fn tries(&self, operations: &[(&str, &str)]) -> Vec<(bool, String)> {
        let operations: Vec<Value> =
            operations.iter().map(|(operation, bucket)| json!({ "operation": operation, "bucket": bucket })).collect();
        let secret = self.scene.secret("reports-s3").await;
        let task = json!({ "endpoint": self.s3, "secret": secret, "operations": operations });
        let answers = probe_s3(&self.scene.stand.python, &self.scene.stand.folder, &task).await.unwrap();
        let answer =
            |answer: &Value| (answer["allowed"].as_bool().unwrap(), answer["code"].as_str().unwrap().to_owned());
        answers.iter().map(answer).collect()
    }

    async fn allowed(&self, operations: &[(&str, &str)]) -> Vec<bool> {
        self.tries(operations).await.into_iter().map(|(allowed, _)| allowed).collect()
    }

    async fn make_bucket(&self, name: &str) {
        create_bucket(&self.scene.stand, &self.admin, &self.s3, name).await;
    }

    /// Users that IAM knows.
    async fn users(&self) -> Vec<String> {
        let listed = self.scene.iam.list_users().send().await.unwrap();
        listed.users().iter().map(|user| user.user_name().to_owned()).collect()
    }
}

/// The tests run where there is an RGW, and elsewhere not at all.
macro_rules! gateway {
    ($name:literal) => {
        match Gateway::on_rgw($name).await {
            Some(gateway) => gateway,
            None => return,
        }
    };
}

#[tokio::test]
async fn invariant_4_a_user_lives_on_rgw() {
    gateway!("rgw").lives().await;
}

#[tokio::test]
async fn a_prefix_is_enforced_drift_healed_and_a_narrowed_policy_in_force() {
    let mut gateway = gateway!("rgwpolicy");
    let (bucket, other) = (gateway.bucket(), format!("{}.other", gateway.scene.namespace));
    gateway.make_bucket(&bucket).await;
    gateway.make_bucket(&other).await;
    gateway.scene.kill9().await;
    gateway.scene.start(&[FREQUENT]).await;
    let access = |level: &str, prefix: &str| json!([{ "bucket": bucket, "level": level, "prefixes": [prefix] }]);
    gateway.scene.create("reports", gateway.spec(json!({ "access": access("ReadWrite", "2026/") }))).await;
    let user = user_name(&gateway.scene.ready("reports").await);
    let all = [("PutObject", bucket.as_str()), ("GetObject", &bucket), ("ListBucket", &bucket), ("PutObject", &other)];
    assert_eq!(gateway.allowed(&all).await, [true, true, false, false], "under 2026/ of one bucket, and no more");

    let anything = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;
    for name in [user.as_str(), "beside"] {
        let put = gateway.scene.iam.put_user_policy().user_name(&user).policy_name(name).policy_document(anything);
        put.send().await.unwrap();
        gateway
            .scene
            .see("what was widened by hand to be narrow again", async || {
                let told = gateway.scene.iam.list_access_keys().user_name(&user).send().await?;
                ensure!(told.access_key_metadata().len() == 1, "{told:?}");
                let allowed = gateway.allowed(&all).await;
                ensure!(allowed == [true, true, false, false], "{allowed:?}");
                Ok(())
            })
            .await;
    }

    gateway.scene.patch("reports", json!({ "spec": { "access": access("ReadOnly", "2026/") } })).await;
    gateway.scene.ready("reports").await;
    assert_eq!(gateway.allowed(&all).await, [false, true, false, false], "read only");
    gateway.scene.patch("reports", json!({ "spec": { "access": access("ReadOnly", "2025/") } })).await;
    gateway.scene.ready("reports").await;
    assert_eq!(gateway.allowed(&all).await, [false; 4], "of another year");
    gateway.scene.delete("reports").await;
    assert_eq!(gateway.users().await, [""; 0]);
}

#[tokio::test]
async fn rival_17_rotations_on_rgw_fail_no_request() {
    let gateway = gateway!("rgwrotate");
    let workload = gateway.spec(json!({}));
    gateway.scene.rotations_fail_no_request(&gateway.admin, &gateway.s3, workload).await;
    gateway.scene.delete("reports").await;
    assert_eq!(gateway.users().await, [""; 0]);
}

#[tokio::test]
async fn a_lost_secret_is_made_anew_with_another_key_on_rgw() {
    let gateway = gateway!("rgwlost");
    let bucket = gateway.bucket();
    gateway.make_bucket(&bucket).await;
    gateway.scene.create("reports", gateway.spec(json!({}))).await;
    let user = user_name(&gateway.scene.ready("reports").await);
    let lost = gateway.scene.secret("reports-s3").await;
    gateway.scene.secrets().delete("reports-s3", &kube::api::DeleteParams::default()).await.unwrap();
    let new = gateway
        .scene
        .see("a Secret with another key", async || {
            let held = gateway.scene.secrets().get_opt("reports-s3").await?;
            let held = crate::scene::data(&anyhow::Context::context(held, "no Secret")?);
            ensure!(held["AWS_ACCESS_KEY_ID"] != lost["AWS_ACCESS_KEY_ID"], "it holds the lost one");
            Ok(held["AWS_ACCESS_KEY_ID"].clone())
        })
        .await;
    gateway.scene.ready("reports").await;
    assert_eq!(gateway.scene.only_key(&user, "reports-s3").await, new, "and the lost one is revoked");
    assert_eq!(gateway.allowed(&[("PutObject", &bucket)]).await, [true]);
    let task = json!({ "endpoint": gateway.s3, "secret": lost, "operations": [{ "operation": "GetObject", "bucket": bucket }] });
    let answer = probe_s3(&gateway.scene.stand.python, &gateway.scene.stand.folder, &task).await.unwrap();
    assert_eq!(answer[0]["code"], "InvalidAccessKeyId");
    gateway.scene.delete("reports").await;
    assert_eq!(gateway.users().await, [""; 0]);
}

#[tokio::test]
async fn invariant_2_killed_between_mint_and_secret_exactly_one_key_is_left_on_rgw() {
    let mut gateway = gateway!("rgwkilled");
    gateway.proxy.inject("CreateAccessKey", Fault::HeldAnswer);
    gateway.scene.create("reports", gateway.spec(json!({}))).await;
    gateway.proxy.called("CreateAccessKey", SOON).await.unwrap();
    gateway.scene.kill9().await;
    let users = gateway.users().await;
    let [user] = users.as_slice() else { panic!("{users:?}") };
    let orphans = gateway.scene.keys(user).await;
    assert_eq!(orphans.len(), 1, "a key that nobody knows");
    assert!(gateway.scene.secrets().get_opt("reports-s3").await.unwrap().is_none());

    gateway.scene.start(&[]).await;
    gateway.scene.ready("reports").await;
    assert_ne!(Some(gateway.scene.only_key(user, "reports-s3").await.as_str()), orphans[0].access_key_id());
    assert_eq!(gateway.scene.statuses(user).await, [StatusType::Active]);
}

#[tokio::test]
async fn what_another_account_or_no_account_owns_is_out_of_reach_on_rgw() {
    let gateway = gateway!("rgwothers");
    let access = Access::attach().unwrap().unwrap();
    let name = |of: &str| format!("{}.{of}", gateway.scene.namespace);
    let account = access.account(&name("account")).await.unwrap().account;
    let classic = access.classic_user(&name("classic")).await.unwrap();
    create_bucket(&gateway.scene.stand, &account, &gateway.s3, &name("accounts")).await;
    create_bucket(&gateway.scene.stand, &classic, &gateway.s3, &name("classics")).await;
    gateway.make_bucket(&name("own")).await;
    let grants = ["own", "accounts", "classics"].map(|of| json!({ "bucket": name(of), "level": "ReadWrite" }));
    gateway.scene.create("reports", gateway.spec(json!({ "access": grants }))).await;
    gateway.scene.ready("reports").await;
    let (own, accounts, classics) = (name("own"), name("accounts"), name("classics"));
    let tried = [("PutObject", own.as_str()), ("PutObject", &accounts), ("PutObject", &classics)];
    assert_eq!(gateway.allowed(&tried).await, [true, false, false]);
}

/// With sessions, RGW tells nobody which of its keys it knows.
#[tokio::test]
async fn a_user_lives_on_an_rgw_that_takes_sessions() {
    if Access::attach().unwrap().is_none() {
        return;
    }
    let folder = Folder::create("rgw-sts").unwrap();
    let installed = ground::cache::ceph().await.unwrap();
    let rgw = Rgw::start(&installed, folder.path(), Sts::On).await.unwrap();
    let root = rgw.access().account("sts").await.unwrap();
    Gateway::of("rgwsts", &root, rgw.s3()).await.lives().await;
}
