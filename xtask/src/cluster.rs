//! `cluster up` and `cluster down`: a ground that stays.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use ground::folders;
use ground::moto::Partition;
use ground::stand::{Ground, Stand};
use ground::wait::eventually;
use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest, Sha256};

use crate::build_operator;

/// Long enough to build Kubernetes.
const START: Duration = Duration::from_secs(45 * 60);
const STOP: Duration = Duration::from_secs(30);

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Start one, and return when it is ready.
    Up {
        /// The AWS partition.
        #[arg(long, default_value = "aws")]
        partition: Partition,
    },
    /// Stop all that `up` has started from this checkout.
    Down,
    /// What `up` leaves running.
    #[command(hide = true)]
    Keep {
        #[arg(long)]
        partition: Partition,
        #[arg(long)]
        ready: PathBuf,
    },
}

pub(crate) async fn run(verb: Verb) -> Result<()> {
    match verb {
        Verb::Up { partition } => up(partition).await,
        Verb::Down => down().await,
        Verb::Keep { partition, ready } => keep(partition, ready).await,
    }
}

async fn up(partition: Partition) -> Result<()> {
    let keeper = format!("{}{}", keepers(), std::process::id());
    let root = folders::root()?;
    let (ready, log) = (root.join(format!("{keeper}.json")), root.join(format!("{keeper}.log")));
    let output = File::create(&log)?;
    let partition_name = partition.name();
    // In a process group of its own, so that Ctrl-C in this terminal does not end it.
    let mut keeper = std::process::Command::new(std::env::current_exe()?)
        .args(["cluster", "keep", "--partition", partition_name, "--ready"])
        .arg(&ready)
        .stdin(std::process::Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .process_group(0)
        .spawn()?;
    let stand: Stand = eventually("the cluster", START, async || {
        if let Some(status) = keeper.try_wait()? {
            eprintln!("{}", fs::read_to_string(&log).unwrap_or_default());
            // Nothing will change any more.
            std::process::exit(status.code().unwrap_or(1).max(1));
        }
        Ok(serde_json::from_slice(&fs::read(&ready).context("not ready yet")?)?)
    })
    .await?;
    println!("KUBECONFIG={}", stand.kubernetes.kubeconfig.display());
    for (name, value) in stand.aws.env() {
        println!("{name}={value}");
    }
    Ok(())
}

async fn keep(partition: Partition, ready: PathBuf) -> Result<()> {
    let ground = Ground::start(partition, &build_operator().await?).await?;
    let pid = ready.with_extension("pid");
    fs::write(&pid, std::process::id().to_string())?;
    let part = ready.with_extension("part");
    fs::write(&part, serde_json::to_vec(ground.stand())?)?;
    fs::rename(part, &ready)?;
    let _files = Remove(vec![pid, ready.with_extension("log"), ready]);
    // Until SIGTERM drops this.
    std::future::pending().await
}

struct Remove(Vec<PathBuf>);

impl Drop for Remove {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// How the names of this checkout's keepers begin: each checkout stops its own.
fn keepers() -> String {
    let checkout = Sha256::digest(ground::repository().as_os_str().as_encoded_bytes());
    format!("keeper-{}-", hex::encode(&checkout[..6]))
}

async fn down() -> Result<()> {
    for entry in fs::read_dir(folders::root()?)? {
        let path = entry?.path();
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if !name.starts_with(&keepers()) || !name.ends_with(".pid") {
            continue;
        }
        let pid: i32 = fs::read_to_string(&path)?.trim().parse().context("reading a pid file")?;
        let pid = Pid::from_raw(pid).context("reading a pid file")?;
        // The number may be another process's by now.
        let command = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
        if !String::from_utf8_lossy(&command).contains("keep") {
            fs::remove_file(&path)?;
            continue;
        }
        kill_process(pid, Signal::TERM)?;
        eventually("the cluster to end", STOP, async || if path.exists() { bail!("it runs") } else { Ok(()) }).await?;
    }
    Ok(())
}
