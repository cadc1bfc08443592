//! A workload with a Secret mounted as files: what the kubelet does, and a boto3 that counts what fails.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ground::folders::Folder;
use ground::moto::Account;
use ground::processes::{Process, Spec};
use ground::repository;
use ground::stand::{Stand, probe_s3};
use ground::wait::eventually;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::task::JoinHandle;

use crate::scene::{SOON, Scene, data};

/// How often the mounted files follow the Secret. The kubelet takes up to a minute.
const SYNC: Duration = Duration::from_millis(250);

/// What the workload has met so far.
#[derive(Clone, Debug, Deserialize)]
pub struct Report {
    pub requests: usize,
    /// By error code.
    pub failures: BTreeMap<String, usize>,
    /// The requests that succeeded, by access key id.
    pub keys: BTreeMap<String, usize>,
}

/// A running workload; dropping it ends it.
pub struct Consumer {
    process: Process,
    mount: Mount,
    folder: Folder,
}

impl Consumer {
    /// Mounts the Secret and starts to put and get objects in the bucket.
    pub async fn start(scene: &Scene, secret: &str, endpoint: &str, bucket: &str) -> Self {
        Self::reading(scene, secret, (endpoint, bucket), "credentials").await
    }

    /// The same, with the SDK's own credential process in front of the mounted session.
    pub async fn start_with_process(scene: &Scene, secret: &str, endpoint: &str, bucket: &str) -> Self {
        Self::reading(scene, secret, (endpoint, bucket), "process").await
    }

    async fn reading(scene: &Scene, secret: &str, (endpoint, bucket): (&str, &str), how: &str) -> Self {
        let folder = Folder::create("consumer").unwrap();
        let mount = Mount::start(scene.secrets(), secret, folder.path().join("mount")).await;
        let path = |name: &str| folder.path().join(name).display().to_string();
        let file = if how == "process" { "credential-process.json" } else { "credentials" };
        let file = mount.folder.join(file);
        fs::write(path("config"), format!("[default]\ncredential_process = cat {}\n", file.display())).unwrap();
        let task = json!({
            how: file, "endpoint": endpoint, "bucket": bucket,
            "region": scene.stand.aws.partition.region(), "report": path("report.json"), "stop": path("stop"),
        });
        let process = Spec::new("the consumer", scene.stand.python.join("python"), path("consumer.log"))
            .args([repository().join("tests/aws/s3_consumer.py").display().to_string(), task.to_string()])
            .env("HOME", path(""))
            .env("AWS_CONFIG_FILE", path("config"))
            .env("PATH", "/usr/bin:/bin")
            .spawn()
            .unwrap();
        Self { process, mount, folder }
    }

    pub fn report(&self) -> Result<Report> {
        let text = fs::read(self.folder.path().join("report.json")).context("no request was made yet")?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// The report, once it is as wanted.
    pub async fn see(&mut self, what: &str, wanted: impl Fn(&Report) -> bool) -> Report {
        eventually(what, SOON, async || {
            self.process.ensure_running()?;
            let report = self.report()?;
            ensure!(wanted(&report), "{report:?}");
            Ok(report)
        })
        .await
        .unwrap()
    }

    /// The report, after so many more requests that succeeded with that key.
    pub async fn uses(&mut self, key: &str, requests: usize) -> Report {
        let count = |report: &Report| report.keys.get(key).copied().unwrap_or_default();
        let before = self.report().map_or(0, |report| count(&report));
        self.see(&format!("{requests} requests with {key}"), |report| count(report) >= before + requests).await
    }

    /// Lets the mounted files follow the Secret, or lag behind.
    pub fn follow(&self, follow: bool) {
        self.mount.follows.store(follow, Ordering::SeqCst);
    }

    /// Ends in order.
    pub async fn stop(mut self) -> Report {
        fs::write(self.folder.path().join("stop"), "").unwrap();
        let status = self.process.wait(SOON).await.unwrap();
        assert!(status.success(), "{}", self.process.log_tail());
        self.report().unwrap()
    }
}

/// A folder with a Secret's data, as the kubelet mounts it: `..data` links to a folder of one version of the Secret and
/// is replaced as a whole, so that a reader sees all of one version.
pub struct Mount {
    pub folder: PathBuf,
    follows: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Mount {
    pub async fn start(secrets: Api<Secret>, name: &str, folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).unwrap();
        let first = secrets.get(name).await.unwrap();
        put(&folder, &first).unwrap();
        for key in data(&first).keys() {
            symlink(Path::new("..data").join(key), folder.join(key)).unwrap();
        }
        let follows = Arc::new(AtomicBool::new(true));
        let (follow, name, path) = (follows.clone(), name.to_owned(), folder.clone());
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(SYNC);
            let mut seen = first.metadata.resource_version;
            loop {
                ticks.tick().await;
                // A Secret that cannot be read stays mounted as it was.
                let Ok(secret) = secrets.get(&name).await else { continue };
                if secret.metadata.resource_version != seen && follow.load(Ordering::SeqCst) {
                    put(&path, &secret).unwrap();
                    seen = secret.metadata.resource_version;
                }
            }
        });
        Self { folder, follows, task }
    }
}

fn put(folder: &Path, secret: &Secret) -> Result<()> {
    let version = format!("..{}", secret.metadata.resource_version.as_deref().unwrap_or_default());
    fs::create_dir_all(folder.join(&version))?;
    for (key, value) in data(secret) {
        fs::write(folder.join(&version).join(key), value)?;
    }
    symlink(&version, folder.join("..data_tmp"))?;
    Ok(fs::rename(folder.join("..data_tmp"), folder.join("..data"))?)
}

/// The administrator makes a bucket.
pub async fn create_bucket(stand: &Stand, admin: &Account, endpoint: &str, bucket: &str) {
    let task = json!({
        "endpoint": endpoint,
        "secret": {
            "AWS_REGION": admin.partition.region(),
            "AWS_ACCESS_KEY_ID": admin.access_key_id,
            "AWS_SECRET_ACCESS_KEY": admin.secret_access_key,
        },
        "operations": [{ "operation": "CreateBucket", "bucket": bucket }],
    });
    let answers = probe_s3(&stand.python, &stand.folder, &task).await.unwrap();
    assert_eq!(answers[0]["allowed"], true, "{bucket}: {answers:?}");
}

/// Runs a script of `tests/aws` that reads its task and prints its answer.
pub async fn python(stand: &Stand, script: &str, task: &Value) -> String {
    let mut child = Command::new(stand.python.join("python"))
        .arg(repository().join("tests/aws").join(script))
        .env_clear()
        .env("HOME", &stand.folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(task.to_string().as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{script} ended with {}: {answer}", output.status);
    answer
}
