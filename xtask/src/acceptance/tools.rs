//! Clients with nothing but a Secret: boto3, and the consumers' own code.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_credential_types::Credentials;
use ground::processes::{Process, Spec};
use ground::repository;
use ground::stand::probe_s3;
use ground::wait::eventually;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::task::JoinHandle;

use super::objects::{Data, Objects};

/// How often a mounted Secret follows. The kubelet takes up to a minute.
const SYNC: Duration = Duration::from_millis(250);
const SOON: Duration = Duration::from_secs(90);

/// What it takes to run them.
pub(crate) struct Tools {
    pub(crate) python: PathBuf,
    /// The consumers that are Go modules, in one program.
    pub(crate) consumers: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) admin: Credentials,
    pub(crate) region: String,
    /// S3's address, where it is not AWS's own.
    pub(crate) s3: Option<String>,
    /// The same for clients that have to be told one.
    pub(crate) s3_url: String,
}

impl Tools {
    /// The administrator's key, in the form of a Secret.
    pub(crate) fn admin(&self) -> Data {
        let mut data = Data::from([
            ("AWS_ACCESS_KEY_ID".to_owned(), self.admin.access_key_id().to_owned()),
            ("AWS_SECRET_ACCESS_KEY".to_owned(), self.admin.secret_access_key().to_owned()),
            ("AWS_REGION".to_owned(), self.region.clone()),
        ]);
        data.extend(self.admin.session_token().map(|token| ("AWS_SESSION_TOKEN".to_owned(), token.to_owned())));
        data
    }

    /// Tries operations with boto3, which gets the Secret's data and nothing else.
    pub(crate) async fn probe(&self, data: &Data, operations: &Value) -> Result<Vec<Value>> {
        let input = json!({ "secret": data, "endpoint": self.s3, "operations": operations });
        probe_s3(&self.python, &self.folder, &input).await
    }

    /// Waits until each operation is allowed or denied as claimed: AWS takes a while to tell all of S3.
    pub(crate) async fn claims(&self, data: &Data, bucket: &str, claims: &[(&str, bool)]) -> Result<()> {
        let operations: Vec<Value> =
            claims.iter().map(|(operation, _)| json!({ "operation": operation, "bucket": bucket })).collect();
        let operations = Value::Array(operations);
        eventually("the Secret's key to be allowed what its policy says, and no more", SOON, async || {
            for ((operation, allowed), answer) in claims.iter().zip(self.probe(data, &operations).await?) {
                let code = answer["code"].as_str().unwrap_or_default();
                // A denial must be one of authorization: a missing bucket denies nothing.
                let as_claimed = if *allowed { answer["allowed"] == true } else { code == "AccessDenied" };
                ensure!(as_claimed, "{operation}: {answer}");
            }
            Ok(())
        })
        .await
    }

    /// Has the consumer of a format put and get an object, with the Secret mounted as files.
    pub(crate) async fn consume(&self, format: &str, data: &Data, bucket: &str) -> Result<()> {
        let folder = self.folder.join("mounts").join(format);
        fs::create_dir_all(&folder)?;
        for (key, value) in data {
            fs::write(folder.join(key), value)?;
        }
        let output = Command::new(&self.consumers)
            .arg(format)
            .arg(&folder)
            .args([bucket, &self.s3_url])
            .env_clear()
            .env("HOME", &self.folder)
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the consumer of {format}: {}", told.trim());
        Ok(())
    }
}

/// What a workload has met so far.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Report {
    pub(crate) requests: usize,
    /// By error code.
    pub(crate) failures: BTreeMap<String, usize>,
    /// The requests that succeeded, by access key id.
    pub(crate) keys: BTreeMap<String, usize>,
}

/// A workload that puts and gets objects in a loop; dropping it ends it.
pub(crate) struct Workload {
    process: Process,
    folder: PathBuf,
    mounting: JoinHandle<()>,
}

impl Drop for Workload {
    fn drop(&mut self) {
        self.mounting.abort();
    }
}

impl Workload {
    /// Mounts the Secret, and starts.
    pub(crate) async fn start(tools: &Tools, objects: &Objects, secret: &str, bucket: &str) -> Result<Self> {
        let folder = tools.folder.join("workload");
        fs::create_dir_all(&folder)?;
        let mount = folder.join("mount");
        let mounting = mount_secret(objects.clone(), secret.to_owned(), mount.clone()).await?;
        let path = |name: &str| folder.join(name).display().to_string();
        let task = json!({
            "credentials": mount.join("credentials"), "endpoint": tools.s3, "bucket": bucket,
            "region": tools.region, "report": path("report.json"), "stop": path("stop"),
        });
        let process = Spec::new("the workload", tools.python.join("python"), path("log"))
            .args([repository().join("tests/aws/s3_consumer.py").display().to_string(), task.to_string()])
            .env("HOME", path(""))
            .spawn()?;
        Ok(Self { process, folder, mounting })
    }

    /// Waits for so many more requests that succeed with that key.
    pub(crate) async fn uses(&mut self, key: &str, requests: usize) -> Result<()> {
        let mut wanted = None;
        eventually(&format!("{requests} requests with a key"), SOON, async || {
            self.process.ensure_running()?;
            let report = self.report()?;
            let now = report.keys.get(key).copied().unwrap_or_default();
            let wanted = *wanted.get_or_insert(now + requests);
            ensure!(now >= wanted, "{report:?}");
            Ok(())
        })
        .await
    }

    /// Ends it in order.
    pub(crate) async fn stop(mut self) -> Result<Report> {
        fs::write(self.folder.join("stop"), "")?;
        let status = self.process.wait(SOON).await?;
        ensure!(status.success(), "{}", self.process.log_tail());
        self.report()
    }

    fn report(&self) -> Result<Report> {
        let text = fs::read(self.folder.join("report.json")).context("no request was made yet")?;
        Ok(serde_json::from_slice(&text)?)
    }
}

/// Keeps a folder as the kubelet does: `..data` links to one version of the Secret, and is replaced as a whole.
async fn mount_secret(objects: Objects, secret: String, folder: PathBuf) -> Result<JoinHandle<()>> {
    let (mut seen, data) = objects.secret_version(&secret).await?;
    put(&folder, &seen, &data)?;
    for key in data.keys() {
        symlink(Path::new("..data").join(key), folder.join(key))?;
    }
    Ok(tokio::spawn(async move {
        let mut ticks = tokio::time::interval(SYNC);
        loop {
            ticks.tick().await;
            // A Secret that cannot be read stays mounted as it was.
            let Ok((version, data)) = objects.secret_version(&secret).await else { continue };
            if version != seen && put(&folder, &version, &data).is_ok() {
                seen = version;
            }
        }
    }))
}

fn put(folder: &Path, version: &str, data: &Data) -> Result<()> {
    let version = format!("..{version}");
    fs::create_dir_all(folder.join(&version))?;
    for (key, value) in data {
        fs::write(folder.join(&version).join(key), value)?;
    }
    symlink(&version, folder.join("..data_tmp"))?;
    Ok(fs::rename(folder.join("..data_tmp"), folder.join("..data"))?)
}
