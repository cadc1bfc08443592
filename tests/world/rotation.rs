//! Rotation as a workload sees it: no request fails, whatever the operator lives through.

use std::path::Path;

use anyhow::{Context, ensure};
use aws_sdk_iam::types::StatusType;
use ground::double::{Lag, Settings};
use ground::folders::Folder;
use ground::stand::Stand;
use ground::versitygw::VersityGw;
use serde_json::{Value, json};

use crate::consumer::{Consumer, create_bucket};
use crate::scene::{Scene, user_name};

/// Annotates the CR so that its key is replaced, each value once.
fn rotate(value: &str) -> Value {
    json!({ "metadata": { "annotations": { "s3access.dev/rotate": value } } })
}

/// A workload's spec, with an overlap that a test can sit out.
fn workload(bucket: &str, policy: &str) -> Value {
    json!({
        "access": [{ "bucket": bucket, "level": "ReadWrite" }],
        "policy": { "type": policy },
        "accessKey": { "rotation": { "interval": "2160h", "overlap": "4s" } },
    })
}

/// versitygw, with an operator on it.
struct Compatible {
    scene: Scene,
    server: VersityGw,
    _folder: Folder,
}

impl Compatible {
    async fn new(name: &str) -> Self {
        let folder = Folder::create("gw").unwrap();
        let program = std::env::var_os("VERSITYGW").context("run `cargo xtask test`").unwrap();
        let server = VersityGw::start(Path::new(&program), folder.path()).await.unwrap();
        let stand = Stand::attach().unwrap().on_versitygw(&server).await.unwrap();
        let mut scene = Scene::on(stand, name).await;
        scene.start(&[("S3ACCESS_PROVIDER", "s3-compatible"), ("AWS_ENDPOINT_URL_S3", server.s3())]).await;
        Self { scene, server, _folder: folder }
    }
}

impl Scene {
    /// The key in the Secret, once it is another one.
    async fn replaced(&self, old: &str) -> String {
        self.see("another key in the Secret", async || {
            let held = self.secret("reports-s3").await["AWS_ACCESS_KEY_ID"].clone();
            ensure!(held != old, "still {old}");
            Ok(held)
        })
        .await
    }

    async fn status_of(&self, user: &str, key: &str) -> Option<StatusType> {
        let keys = self.keys(user).await;
        keys.into_iter().find(|found| found.access_key_id() == Some(key)).and_then(|found| found.status)
    }

    /// Two rotations, each through the whole life of the old key, under a workload's load.
    async fn rotations_fail_no_request(&self, endpoint: &str, policy: &str) {
        create_bucket(&self.stand, &self.stand.aws, endpoint, "team-a-reports").await;
        self.create("reports", workload("team-a-reports", policy)).await;
        let user = user_name(&self.ready("reports").await);
        let mut key = self.only_key(&user, "reports-s3").await;
        self.see("the first key to be old enough for every replica", async || {
            let keys = self.keys(&user).await;
            let age =
                std::time::SystemTime::now().duration_since(keys[0].create_date().unwrap().clone().try_into()?)?;
            ensure!(age.as_secs() > 5, "{age:?}");
            Ok(())
        })
        .await;
        let mut consumer = Consumer::start(self, "reports-s3", endpoint, "team-a-reports").await;
        consumer.uses(&key, 50).await;
        let mut all = vec![key.clone()];
        for value in ["1", "2"] {
            self.patch("reports", rotate(value)).await;
            let new = self.replaced(&key).await;
            let old = std::mem::replace(&mut key, new);
            assert_eq!(self.status_of(&user, &old).await, Some(StatusType::Active), "the overlap has begun");
            consumer.uses(&key, 50).await;
            all.push(key.clone());
            self.see("the old key to be inactive, and kept", async || {
                let status = self.status_of(&user, &old).await;
                ensure!(status == Some(StatusType::Inactive), "{status:?}");
                Ok(())
            })
            .await;
            assert_eq!(self.only_key(&user, "reports-s3").await, key, "the old key is gone");
            consumer.uses(&key, 50).await;
        }
        let report = consumer.see("300 requests", |report| report.requests >= 300).await;
        assert_eq!(report.keys.keys().cloned().collect::<Vec<_>>(), sorted(all), "all three keys were in use");
        let report = consumer.stop().await;
        println!("{}: {} requests, failures: {:?}", self.namespace, report.requests, report.failures);
        assert!(report.failures.is_empty(), "{report:?}");
    }
}

fn sorted(mut keys: Vec<String>) -> Vec<String> {
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn rival_5_rival_17_rotations_on_an_s3_server_fail_no_request() {
    let Compatible { scene, server, _folder } = Compatible::new("rotate-gw").await;
    scene.rotations_fail_no_request(server.s3(), "Inline").await;
    scene.delete("reports").await;
    let users = scene.iam.list_users().send().await.unwrap();
    let users: Vec<_> = users.users().iter().map(|user| user.user_name()).collect();
    assert_eq!(users, ["s3-access-operator"], "nothing is left of it");
}

#[tokio::test]
async fn rival_5_rival_17_rotations_on_moto_fail_no_request() {
    let scene = Scene::new("rotate-moto").await;
    let endpoint = scene.stand.aws.endpoint.clone();
    scene.rotations_fail_no_request(&endpoint, "Managed").await;
}

#[tokio::test]
async fn rival_5_rival_17_rotations_fail_no_request_while_replicas_lag() {
    let settings = Settings { credentials: Lag::up_to_seconds(4), ..Settings::default() };
    let mut scene = Scene::on_double_without_operator("rotate-lag", settings).await;
    // As the default of 60 s stands to IAM's lag of up to 30 s.
    scene.start(&[("S3ACCESS_CONSISTENCY_WINDOW", "8s")]).await;
    let endpoint = scene.double.as_ref().unwrap().endpoint();
    scene.rotations_fail_no_request(&endpoint, "Managed").await;
}

/// The counterpart, which shows that the loop can count failures: the overlap is what the tests above rest on.
#[tokio::test]
async fn invariant_3_without_its_overlap_a_rotation_does_fail_requests() {
    let Compatible { scene, server, _folder } = Compatible::new("no-overlap").await;
    create_bucket(&scene.stand, &scene.stand.aws, server.s3(), "team-a-reports").await;
    scene.create("reports", workload("team-a-reports", "Inline")).await;
    let user = user_name(&scene.ready("reports").await);
    let old = scene.only_key(&user, "reports-s3").await;
    let mut consumer = Consumer::start(&scene, "reports-s3", server.s3(), "team-a-reports").await;
    consumer.uses(&old, 20).await;
    // The kubelet has not got to it yet.
    consumer.follow(false);
    scene.patch("reports", rotate("1")).await;
    let new = scene.replaced(&old).await;
    assert!(consumer.uses(&old, 20).await.failures.is_empty(), "the old key works through the overlap");
    scene.iam.delete_access_key().user_name(&user).access_key_id(&old).send().await.unwrap();
    consumer.see("failures", |report| report.failures.contains_key("InvalidAccessKeyId")).await;
    consumer.follow(true);
    consumer.uses(&new, 20).await;
}
