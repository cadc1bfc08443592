//! What reads a mounted session beside boto3: the AWS CLI, the SDK for Rust and rclone, as processes on this machine and as
//! deploy/docs/sessions.md has them configured. Each talks through a proxy of its own, which sees what a request was signed with
//! and how it was answered, whatever the reader makes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::ensure;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use ground::folders::Folder;
use ground::proxy::Proxy;
use ground::wait::eventually;
use tokio::process::Command;
use tokio::task::JoinHandle;

use crate::consumer::Mount;
use crate::scene::{SOON, Scene};

/// Between two requests or runs of a reader: the machine has others to serve.
const PAUSE: Duration = Duration::from_millis(700);

const ENV_AUTH: &str = "rclone with env_auth";

/// What went wrong, in the reader's own words.
type Complaints = Arc<Mutex<Vec<String>>>;

/// A reader at work.
struct Reader {
    name: &'static str,
    proxy: Proxy,
    complaints: Complaints,
    task: JoinHandle<()>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reader {
    async fn start<Work>(scene: &Scene, name: &'static str, work: impl FnOnce(String, Complaints) -> Work) -> Self
    where
        Work: Future<Output = ()> + Send + 'static,
    {
        let proxy = Proxy::start(&scene.stand.aws.endpoint).await.unwrap();
        let complaints = Complaints::default();
        let task = tokio::spawn(work(proxy.endpoint().to_owned(), complaints.clone()));
        Self { name, proxy, complaints, task }
    }

    /// A program that is run again and again, with nothing of our own environment.
    async fn runs(
        scene: &Scene,
        name: &'static str,
        program: PathBuf,
        args: &[&str],
        env: &[(&'static str, String)],
    ) -> Self {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let env = env.to_vec();
        Self::start(scene, name, |endpoint, complaints| async move {
            loop {
                let output = Command::new(&program)
                    .args(args.iter().map(|arg| arg.replace("ENDPOINT", &endpoint)))
                    .env_clear()
                    .envs(env.iter().map(|(key, value)| (key, value)))
                    .env("PATH", "/usr/bin:/bin")
                    .kill_on_drop(true)
                    .output()
                    .await
                    .unwrap();
                if !output.status.success() {
                    complaints.lock().unwrap().push(String::from_utf8_lossy(&output.stderr).into_owned());
                }
                tokio::time::sleep(PAUSE).await;
            }
        })
        .await
    }

    /// The sessions that signed requests, and the answers that were no success.
    fn sessions(&self) -> (BTreeSet<String>, Vec<String>) {
        let calls = self.proxy.calls();
        let failed = calls.iter().filter(|call| call.status.is_none_or(|status| !(200..300).contains(&status)));
        let failed = failed.map(|call| format!("{call:?}")).chain(self.complaints.lock().unwrap().clone()).collect();
        (calls.into_iter().map(|call| call.key).collect(), failed)
    }
}

/// One client for as long as it works, as a service in Rust has it. S3 has an SDK of its own for each language; the credentials
/// behind it are the same as those of STS, whose calls a session that has ended is refused as well.
async fn rust(config: PathBuf, region: &'static str, endpoint: String, complaints: Complaints) {
    let files = EnvConfigFiles::builder().with_file(EnvConfigFileKind::Config, config).build();
    let sdk = aws_config::defaults(BehaviorVersion::latest())
        .credentials_provider(ProfileFileCredentialsProvider::builder().profile_files(files).build())
        .region(Region::new(region))
        .endpoint_url(endpoint)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        // A retry would hide what the test is about.
        .retry_config(RetryConfig::disabled())
        .load()
        .await;
    let sts = aws_sdk_sts::Client::new(&sdk);
    loop {
        if let Err(error) = sts.get_caller_identity().send().await {
            complaints.lock().unwrap().push(format!("{error:?}"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// All of them, side by side.
pub struct Readers {
    readers: Vec<Reader>,
    _mounts: [Mount; 2],
    _folder: Folder,
}

impl Readers {
    /// Mounts a Secret of the default format and one of the format for rclone, and starts everybody on a bucket.
    pub async fn start(scene: &Scene, bucket: &str, [secret, of_rclone]: [&str; 2]) -> Self {
        let folder = Folder::create("readers").unwrap();
        let mount = Mount::start(scene.secrets(), secret, folder.path().join("mount")).await;
        let of_rclone = Mount::start(scene.secrets(), of_rclone, folder.path().join("rclone")).await;
        let config = folder.path().join("config");
        let process = mount.folder.join("credential-process.json");
        fs::write(&config, format!("[default]\ncredential_process = cat {}\n", process.display())).unwrap();
        let region = scene.stand.aws.partition.region();
        let conf = of_rclone.folder.join("rclone.conf").display().to_string();
        let remote = [format!(":s3:{bucket}"), format!("s3:{bucket}")];
        let env = environment(folder.path(), &config, region);
        let (aws, rclone) = (variable("CONSUMERS_PYTHON").join("aws"), variable("CONSUMERS"));
        let get = ["s3api", "list-objects-v2", "--bucket", bucket, "--max-items", "1", "--endpoint-url", "ENDPOINT"];
        // A page for each object: behind slow answers a run outlasts a session, and has to come by the next.
        let by_page = ["rclone", "lsf", "-R", &remote[0], "--s3-endpoint", "ENDPOINT", "--s3-list-chunk", "1"];
        // The double has an endpoint, as only S3-compatible systems do, and is AWS all the same.
        let as_aws = ["--s3-provider", "AWS", "--s3-endpoint", "ENDPOINT", "--retries", "1"];
        let each_time = [["rclone", "--config", &conf, "lsf", &remote[1]].as_slice(), &as_aws].concat();
        let readers = vec![
            Reader::runs(scene, "the AWS CLI", aws, &get, &env).await,
            Reader::runs(scene, ENV_AUTH, rclone.clone(), &by_page, &env).await,
            Reader::runs(scene, "rclone with its file", rclone, &each_time, &env[..1]).await,
            Reader::start(scene, "the SDK for Rust", |endpoint, complaints| rust(config, region, endpoint, complaints))
                .await,
        ];
        readers[1].proxy.set_slow(Duration::from_secs(2));
        Self { readers, _mounts: [mount, of_rclone], _folder: folder }
    }

    /// Ends in order, once each has been through ten renewals; gives how many sessions each has used, and for how many requests.
    pub async fn stop(self) -> BTreeMap<&'static str, (usize, usize)> {
        let mut used = BTreeMap::new();
        for reader in &self.readers {
            // The SDK for Go holds a session to its end, and so has every second one.
            let sessions = if reader.name == ENV_AUTH { 6 } else { 11 };
            eventually(&format!("{} to use {sessions} sessions", reader.name), SOON, async || {
                let (seen, failed) = reader.sessions();
                ensure!(seen.len() >= sessions, "{seen:?}; failed: {failed:?}");
                Ok(())
            })
            .await
            .unwrap();
        }
        for reader in &self.readers {
            let (seen, failed) = reader.sessions();
            assert!(failed.is_empty(), "{}: {failed:#?}", reader.name);
            assert!(seen.iter().all(|key| key.starts_with("ASIA")), "{}: {seen:?}", reader.name);
            used.insert(reader.name, (seen.len(), reader.proxy.calls().len()));
        }
        used
    }
}

/// What a pod is given beside the mounted Secret. Nothing is tried twice.
fn environment(home: &Path, config: &Path, region: &str) -> Vec<(&'static str, String)> {
    let text = |path: &Path| path.display().to_string();
    vec![
        ("HOME", text(home)),
        ("AWS_CONFIG_FILE", text(config)),
        ("AWS_REGION", region.to_owned()),
        ("AWS_MAX_ATTEMPTS", "1".to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("RCLONE_S3_PROVIDER", "AWS".to_owned()),
        ("RCLONE_S3_ENV_AUTH", "true".to_owned()),
        ("RCLONE_RETRIES", "1".to_owned()),
        ("RCLONE_LOW_LEVEL_RETRIES", "1".to_owned()),
    ]
}

fn variable(name: &str) -> PathBuf {
    std::env::var_os(name).unwrap_or_else(|| panic!("{name} is not set: run `cargo xtask test`")).into()
}
