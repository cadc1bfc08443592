//! What reads a mounted session, as deploy/docs/sessions.md has it configured: the SDKs for Go, Python and Rust, the AWS CLI and
//! rclone, side by side in one pod, whose files the kubelet replaces.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use aws_config::BehaviorVersion;
use ground::node::WORKLOAD;
use ground::proxy::Proxy;
use ground::{cache, repository};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::workload::{Report, report};
use crate::world::{LAG, World};

/// The argument with which this very program is the reader with the SDK for Rust.
pub const RUST: &str = "read-with-rust";
/// Between two runs of a program, or two requests of the SDK for Rust, in seconds. Each session lasts for a few of them; more would
/// only take the time of each other and of the machine, of which pods that request none get what is left.
const PAUSE: f64 = 2.0;
const NAMESPACE: &str = "sessions";
const BUCKET: &str = "sessions-data";
/// Of the SDK for Go alone: it reads what it has written itself.
const OF_GO: &str = "sessions-go";
/// Where the Secret of the default format is mounted, and that of the format for rclone.
const MOUNT: &str = "/var/run/s3";
const OF_RCLONE: &str = "/var/run/rclone";

/// Sessions as short as a mounted file can follow: each is renewed at half its life, and the pod has the new file.
pub async fn ten_renewals_of_a_session_fail_no_request_of_any_reader(world: &World) {
    let life = |life: Option<SignedDuration>| world.iam(|iam| iam.settings_mut().session_life = life);
    life(Some(SignedDuration::from_secs(30)));
    // Not `restricted`: the pod mounts what is installed on this machine.
    world.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } })).await;
    for bucket in [BUCKET, OF_GO] {
        world.object(&format!("s3://{bucket}/first"), "first").await;
    }
    for (name, format) in [("app", "aws-env"), ("sync", "rclone")] {
        let access = [BUCKET, OF_GO].map(|bucket| json!({ "bucket": bucket, "level": "ReadWrite" }));
        let session = json!({ "mode": "Session", "duration": "15m" });
        let spec = json!({ "access": access, "accessKey": session, "secret": { "format": format } });
        world.user(NAMESPACE, name, spec).await;
    }
    tokio::time::sleep(Duration::from_secs(LAG.unsigned_abs())).await;
    let started = Instant::now();
    let readers = readers(world).await;
    start(world, &readers).await;
    // By thirds, since all of them take longer than anything else is waited for.
    for third in 1..=3 {
        for reader in &readers {
            let sessions = reader.sessions * third / 3;
            world
                .see(&format!("{} to use {sessions} sessions", reader.name), async || {
                    let report = reader.report(world).await?;
                    ensure!(report.keys.len() >= sessions, "{report:?}");
                    Ok(())
                })
                .await;
        }
    }
    println!("ten renewals in {:.0?}", started.elapsed());
    for reader in &readers {
        let report = reader.report(world).await.unwrap();
        let requests: usize = report.keys.values().sum();
        println!(
            "{}: {requests} requests with {} sessions, failed: {:?}",
            reader.name,
            report.keys.len(),
            report.failures
        );
        assert!(report.failures.is_empty(), "{}: {report:?}", reader.name);
        assert!(report.keys.keys().all(|key| key.starts_with("ASIA")), "{}: {report:?}", reader.name);
    }
    let restarts = ["get", "pod", "-n", NAMESPACE, "app", "-o", "jsonpath={.status.containerStatuses[*].restartCount}"];
    let restarts = world.kubectl(&restarts).await.unwrap();
    assert!(restarts.split(' ').all(|count| count == "0"), "started again: {restarts}");
    world.kubectl(&["delete", "-n", NAMESPACE, "pod", "app"]).await.unwrap();
    world.kubectl(&["delete", "-n", NAMESPACE, "s3accessuser", "app", "sync"]).await.unwrap();
    life(None);
}

/// A container of the pod.
struct Reader {
    name: &'static str,
    command: Vec<String>,
    /// Sees what each request was signed with and how it was answered, whatever the reader makes of it; those that have none tell
    /// it themselves.
    proxy: Option<Proxy>,
    /// How many it uses over ten renewals.
    sessions: usize,
}

impl Reader {
    /// What it has met so far.
    async fn report(&self, world: &World) -> Result<Report> {
        let Some(proxy) = &self.proxy else { return report(world, NAMESPACE, self.name).await };
        let mut report = Report::default();
        for call in proxy.calls() {
            let well = call.status.is_some_and(|status| (200..300).contains(&status));
            let (counts, what) =
                if well { (&mut report.keys, call.key) } else { (&mut report.failures, format!("{call:?}")) };
            *counts.entry(what).or_default() += 1;
        }
        let complaints = world.kubectl(&["logs", "-n", NAMESPACE, "app", "-c", self.name]).await?;
        report.failures.extend(complaints.lines().map(|complaint| (complaint.to_owned(), 1)));
        Ok(report)
    }
}

/// All of them, each with a proxy of its own where it needs one. Nothing is tried twice.
async fn readers(world: &World) -> Vec<Reader> {
    let text = |path: PathBuf| path.display().to_string();
    let boto3 = json!({
        "process": true, "endpoint": world.admin.endpoint, "bucket": BUCKET, "region": "us-east-1", "pause": PAUSE / 4.0,
    });
    let boto3 = [
        text(cache::python().await.unwrap().join("python")),
        text(repository().join("tests/aws/s3_consumer.py")),
        boto3.to_string(),
    ];
    let go = ["/usr/bin/env", &format!("AWS_SHARED_CREDENTIALS_FILE={MOUNT}/credentials"), "/workload", "load", OF_GO];
    let own = |name, command: &[String]| Reader { name, command: command.to_vec(), proxy: None, sessions: 11 };
    let mut readers = vec![own("go", &go.map(ToOwned::to_owned)), own("boto3", &boto3)];

    let aws = text(cache::consumers_python().await.unwrap().join("aws"));
    let rclone = text(cache::consumers().await.unwrap());
    let once = r#"--s3-provider AWS --s3-endpoint "$AWS_ENDPOINT_URL" --retries 1 --low-level-retries 1"#;
    for (name, run, slow) in [
        ("aws-cli", format!("{aws} s3api list-objects-v2 --bucket {BUCKET} --max-items 1"), false),
        // From a copy: rclone asks its file value by value, and loads it anew in between once it has changed.
        (
            "rclone",
            format!(
                "cp {OF_RCLONE}/rclone.conf /tmp/ && {rclone} rclone --config /tmp/rclone.conf lsf s3:{BUCKET} {once}"
            ),
            false,
        ),
        // A page for each object: behind slow answers a run outlasts a session, and has to come by the next. The SDK for Go holds
        // a session to its end, and so has every second one.
        (
            "rclone-env-auth",
            format!("{rclone} rclone lsf -R :s3:{BUCKET} --s3-env-auth --s3-list-chunk 1 {once}"),
            true,
        ),
    ] {
        let complains =
            format!(r#"while :; do said=$({run} 2>&1 >/dev/null) || echo "failed: $said"; sleep {PAUSE}; done"#);
        let proxy = Proxy::start(&world.admin.endpoint).await.unwrap();
        if slow {
            proxy.set_slow(Duration::from_secs(2));
        }
        let command = ["/bin/sh", "-c", &complains].map(ToOwned::to_owned).into();
        readers.push(Reader { name, command, proxy: Some(proxy), sessions: if slow { 6 } else { 11 } });
    }
    let rust = vec![text(std::env::current_exe().unwrap()), RUST.to_owned()];
    let proxy = Proxy::start(&world.admin.endpoint).await.unwrap();
    readers.push(Reader { name: "rust", command: rust, proxy: Some(proxy), sessions: 11 });
    readers
}

/// One client for as long as it works, as a service in Rust has it. S3 has an SDK of its own for each language; the credentials
/// behind it are the same as those of STS, whose calls a session that has ended is refused as well.
pub async fn rust() {
    let client = aws_smithy_http_client::Builder::new().build_http();
    let sdk = aws_config::defaults(BehaviorVersion::latest()).http_client(client).load().await;
    let sts = aws_sdk_sts::Client::new(&sdk);
    loop {
        if let Err(error) = sts.get_caller_identity().send().await {
            println!("failed: {error:?}");
        }
        tokio::time::sleep(Duration::from_secs_f64(PAUSE)).await;
    }
}

/// Starts the pod: its containers have the programs from where they are on this machine, and beside the mounted Secrets no more
/// than a configuration.
async fn start(world: &World, readers: &[Reader]) {
    let config = format!("[default]\ncredential_process = cat {MOUNT}/credential-process.json\n");
    world
        .apply(&json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "aws", "namespace": NAMESPACE },
            "data": { "config": config },
        }))
        .await;
    let mut volumes = vec![
        (json!({ "secret": { "secretName": "app-s3" } }), MOUNT.to_owned()),
        (json!({ "secret": { "secretName": "sync-s3" } }), OF_RCLONE.to_owned()),
        (json!({ "configMap": { "name": "aws" } }), "/etc/aws".to_owned()),
        (json!({ "emptyDir": { "medium": "Memory" } }), "/tmp".to_owned()),
    ];
    let of_machine = installed().await.into_iter().map(|path| path.display().to_string());
    volumes.extend(of_machine.map(|path| (json!({ "hostPath": { "path": path } }), path)));
    let named = |number: usize| format!("volume-{number}");
    let mounts: Vec<Value> = volumes
        .iter()
        .enumerate()
        .map(|(number, (_, path))| json!({ "name": named(number), "mountPath": path, "readOnly": path != "/tmp" }))
        .collect();
    let container = |reader: &Reader| {
        let endpoint = reader.proxy.as_ref().map_or(world.admin.endpoint.as_str(), Proxy::endpoint);
        let env = [
            ("HOME", "/tmp"),
            ("PATH", "/usr/bin:/bin"),
            ("AWS_CONFIG_FILE", "/etc/aws/config"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_MAX_ATTEMPTS", "1"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ];
        json!({
            "name": reader.name, "image": WORKLOAD, "command": reader.command, "volumeMounts": mounts,
            "env": env.map(|(name, value)| json!({ "name": name, "value": value })),
        })
    };
    let volume = |(number, (source, _)): (usize, &(Value, String))| {
        let mut volume = source.clone();
        volume["name"] = json!(named(number));
        volume
    };
    world
        .apply(&json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "app", "namespace": NAMESPACE },
            "spec": {
                "automountServiceAccountToken": false, "enableServiceLinks": false, "terminationGracePeriodSeconds": 1,
                "containers": readers.iter().map(container).collect::<Vec<_>>(),
                "volumes": volumes.iter().enumerate().map(volume).collect::<Vec<_>>(),
            },
        }))
        .await;
}

/// The files and folders of this machine that the readers are made of: an image of them would be a copy of half a gigabyte.
async fn installed() -> Vec<PathBuf> {
    let venvs = [cache::python().await.unwrap(), cache::consumers_python().await.unwrap()];
    let ask = ["-c", "import sys; print(sys.base_prefix, end='')"];
    let python = Command::new(venvs[0].join("python")).args(ask).output().await.unwrap();
    let python = PathBuf::from(String::from_utf8(python.stdout).unwrap());
    let system = ["/usr", "/bin", "/lib", "/lib64"].map(PathBuf::from).into_iter().filter(|path| path.exists());
    let beside =
        [python, cache::consumers().await.unwrap(), std::env::current_exe().unwrap(), repository().join("tests/aws")];
    let venvs = venvs.iter().filter_map(|bin| bin.parent().map(Path::to_path_buf));
    system.chain(beside.into_iter().chain(venvs).filter(|path| !path.starts_with("/usr"))).collect()
}
