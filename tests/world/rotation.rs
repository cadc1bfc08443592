//! Rotation under load: a client that reads its mounted credentials again sees no failed request.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, ensure};
use ground::cache;
use ground::double::{Lag, Request, Settings};
use ground::folders::Folder;
use ground::moto::Account;
use ground::stand::Stand;
use ground::versitygw::VersityGw;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde::Deserialize;
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::scene::{Scene, data, user_name, with};

const BUCKET: &str = "team-a-reports";
const SECRET: &str = "reports-s3";
/// How often the kubelet's stand-in brings the mounted files up to date.
const SYNC: Duration = Duration::from_millis(250);

/// What a consumer saw.
#[derive(Debug, Deserialize)]
struct Seen {
    requests: usize,
    failures: BTreeMap<String, usize>,
    keys: Vec<String>,
}

/// A workload with the Secret mounted, at work; dropping it ends it.
struct Consumer {
    folder: Folder,
    child: Child,
    kubelet: JoinHandle<Result<()>>,
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.kubelet.abort();
    }
}

impl Consumer {
    async fn start(scene: &Scene) -> Self {
        let folder = Folder::create("consumer").unwrap();
        mount(folder.path(), &scene.secrets().get(SECRET).await.unwrap(), 0).unwrap();
        let kubelet = tokio::spawn(sync(scene.secrets(), folder.path().to_path_buf()));
        let script = ground::repository().join("tests/aws/s3_consumer.py");
        let child = Command::new(scene.stand.python.join("python"))
            .args([&script, folder.path()])
            .args([BUCKET, &scene.namespace])
            .arg(folder.path().join("stop"))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { folder, child, kubelet }
    }

    async fn stop(mut self) -> Seen {
        std::fs::write(self.folder.path().join("stop"), "").unwrap();
        let stdout = self.child.stdout.take().unwrap();
        let read = tokio::io::AsyncReadExt::read_to_string;
        let (mut text, mut stdout) = (String::new(), stdout);
        read(&mut stdout, &mut text).await.unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

/// Brings the files up to date as the kubelet does: behind the API server, and all of them at once.
async fn sync(secrets: Api<Secret>, folder: PathBuf) -> Result<()> {
    let mut ticks = tokio::time::interval(SYNC);
    for round in 1_u64.. {
        ticks.tick().await;
        mount(&folder, &secrets.get(SECRET).await?, round)?;
    }
    Ok(())
}

fn mount(folder: &Path, secret: &Secret, round: u64) -> Result<()> {
    let version = folder.join(format!("..{round}"));
    std::fs::create_dir(&version)?;
    for (name, value) in data(secret) {
        std::fs::write(version.join(name), value)?;
    }
    symlink(&version, folder.join("..new"))?;
    std::fs::rename(folder.join("..new"), folder.join("..data"))?;
    Ok(())
}

async fn make_bucket(stand: &Stand, endpoint: &str, admin: &Account) {
    let script = format!(
        "import boto3; boto3.client('s3', endpoint_url='{endpoint}', region_name='us-east-1', \
         aws_access_key_id='{}', aws_secret_access_key='{}').create_bucket(Bucket='{BUCKET}')",
        admin.access_key_id, admin.secret_access_key
    );
    let made = Command::new(stand.python.join("python")).args(["-c", &script]).env_clear().status().await.unwrap();
    assert!(made.success());
}

fn spec(policy: &str) -> serde_json::Value {
    with(json!({
        "access": [{ "bucket": BUCKET, "level": "ReadWrite" }],
        "policy": { "type": policy },
        "accessKey": { "rotation": { "interval": "720h", "overlap": "6s" } },
    }))
}

impl Scene {
    async fn held(&self) -> Result<String> {
        Ok(data(&self.secrets().get(SECRET).await?)["AWS_ACCESS_KEY_ID"].clone())
    }

    /// Rotates twice under load, each time until the old key is gone; what the consumer saw.
    async fn rotated_under_load(&self, policy: &str) -> Seen {
        self.create("reports", spec(policy)).await;
        let ready = self.ready("reports").await;
        let created = ready.status.as_ref().unwrap().access_key_created_at.clone().unwrap().0;
        let user = user_name(&ready);
        // The first key's own first seconds are not what this is about.
        self.see("the first key to have spread", async || {
            ensure!(jiff::Timestamp::now().duration_since(created) > jiff::SignedDuration::from_secs(4), "not yet");
            Ok(())
        })
        .await;
        let consumer = Consumer::start(self).await;
        for round in ["first", "second"] {
            let old = self.held().await.unwrap();
            let patch = json!({ "metadata": { "annotations": { "s3access.dev/rotate": round } } });
            self.patch("reports", patch).await;
            self.see(&format!("the {round} rotation, and the old key's end"), async || {
                let (held, keys) = (self.held().await?, self.keys(&user).await);
                ensure!(held != old, "still the old key");
                let ids: Vec<_> = keys.iter().filter_map(|key| key.access_key_id()).collect();
                ensure!(ids == [held.as_str()], "{ids:?}");
                Ok(())
            })
            .await;
        }
        consumer.stop().await
    }
}

fn assert_unharmed(server: &str, seen: &Seen) {
    println!("{server}: {} requests over two rotations, failures: {:?}", seen.requests, seen.failures);
    assert!(seen.failures.is_empty(), "{seen:?}");
    assert!(seen.requests >= 300, "{seen:?}");
    assert_eq!(seen.keys.len(), 3, "the consumer used each key: {seen:?}");
}

#[tokio::test]
async fn rival_5_rival_17_a_rotation_costs_no_request_where_new_keys_take_seconds_to_spread() {
    let settings = Settings { credentials: Lag::up_to_seconds(3), ..Settings::default() };
    let mut scene = Scene::on_double_without_operator("rotlag", settings).await;
    make_bucket(&scene.stand, &scene.stand.aws.endpoint, &scene.stand.aws).await;
    let endpoint = scene.stand.aws.endpoint.clone();
    // As shipped: three tries in a row, two seconds apart.
    scene.start(&[("S3ACCESS_PROBE_INTERVAL", "2s"), ("AWS_ENDPOINT_URL_S3", &endpoint)]).await;
    let seen = scene.rotated_under_load("Managed").await;
    assert_unharmed("the double, 3 s behind", &seen);
}

#[tokio::test]
async fn rival_5_rival_17_a_rotation_costs_no_request_on_moto() {
    let mut scene = Scene::without_operator("rotmoto").await;
    make_bucket(&scene.stand, &scene.stand.aws.endpoint, &scene.stand.aws).await;
    let endpoint = scene.stand.aws.endpoint.clone();
    scene.start(&[("AWS_ENDPOINT_URL_S3", &endpoint)]).await;
    let seen = scene.rotated_under_load("Managed").await;
    assert_unharmed("moto", &seen);
}

#[tokio::test]
async fn rival_5_rival_17_a_rotation_costs_no_request_on_versitygw() {
    let folder = Folder::create("gateway").unwrap();
    let gateway = VersityGw::start(&cache::versitygw().await.unwrap(), folder.path()).await.unwrap();
    let aws = gateway.account().clone();
    let stand = Stand { operator_identity: aws.clone(), aws: aws.clone(), ..Stand::attach().unwrap() };
    let mut scene = Scene::on(stand, "rotgateway").await;
    make_bucket(&scene.stand, gateway.s3(), &aws).await;
    scene.start(&[("AWS_ENDPOINT_URL_S3", gateway.s3())]).await;
    let seen = scene.rotated_under_load("Inline").await;
    assert_unharmed("versitygw", &seen);
    scene.delete("reports").await;
    let left = scene.iam.list_users().send().await.unwrap();
    assert!(left.users().is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_key_that_is_deleted_at_once_costs_requests() {
    let scene = Scene::on_double("rotbad", Settings::default()).await;
    make_bucket(&scene.stand, &scene.stand.aws.endpoint, &scene.stand.aws).await;
    scene.create("reports", spec("Managed")).await;
    let user_name = user_name(&scene.ready("reports").await);
    let consumer = Consumer::start(&scene).await;
    let access_key_id = scene.held().await.unwrap();
    let appears = async |name: &str| {
        scene
            .see(&format!("the consumer's file {name}"), async || {
                ensure!(consumer.folder.path().join(name).exists(), "not yet");
                Ok(())
            })
            .await;
    };
    appears("at-work").await;
    scene.by_hand(&Request::DeleteAccessKey { user_name, access_key_id });
    appears("failed").await;
    let seen = consumer.stop().await;
    assert!(seen.failures.contains_key("InvalidAccessKeyId"), "{seen:?}");
}
