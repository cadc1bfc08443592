//! Ceph's RGW: a real S3 server with IAM users in accounts, over a monitor and one store in memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::moto::{Account, Partition};
use crate::ports::Port;
use crate::processes::{Process, Spec};
use crate::wait::eventually;

/// The environment variable that names the file with the [`Access`] of a running RGW; unset where there is none.
pub const STATE: &str = "RGW";

const START: Duration = Duration::from_secs(60);

/// A running cluster with its gateway; dropping it ends all of it.
#[derive(Debug)]
pub struct Rgw {
    access: Access,
    root: Root,
    _gateway: Process,
    _store: Process,
    _monitor: Process,
    _ports: [Port; 2],
}

/// Where all of it is, for any process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Access {
    installed: PathBuf,
    folder: PathBuf,
    endpoint: String,
}

/// An account of RGW, with its root user.
#[derive(Clone, Debug)]
pub struct Root {
    /// `RGW` and 17 digits.
    pub id: String,
    /// The root user, at the gateway's IAM.
    pub account: Account,
}

/// How the gateway reads keys (`rgw_s3_auth_use_sts`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sts {
    /// Long-lived keys alone: what is unknown or inactive is told so.
    Off,
    /// Sessions as well: what is unknown or inactive is told no more than what lacks a permission.
    On,
}

impl Rgw {
    /// Starts all of it and makes an account, with stores and logs in `folder`; `installed` is from [`crate::cache::ceph`].
    ///
    /// # Errors
    /// Where something does not come up; with the end of its log.
    pub async fn start(installed: &Path, folder: &Path, sts: Sts) -> Result<Self> {
        let (monitor_port, port) = (Port::free()?, Port::free()?);
        let access = Access { installed: installed.to_owned(), folder: folder.to_owned(), endpoint: port.http() };
        for name in ["monitor", "store"] {
            fs::create_dir_all(folder.join(name)).with_context(|| format!("creating a folder for the {name}"))?;
        }
        let id = uuid(folder);
        fs::write(access.file("ceph.conf"), access.settings(&id, &monitor_port, &port, sts))?;
        let (monitors, stores) = (access.file("monitors"), access.file("stores"));
        let address = format!("[v2:127.0.0.1:{}]", monitor_port.number());
        access.call("monmaptool", &["--create", "--fsid", &id, "--addv", "a", &address, &monitors]).await?;
        access.call("osdmaptool", &["--createsimple", "1", &stores]).await?;
        access.call("ceph-mon", &["--mkfs", "-i", "a", "--monmap", &monitors, "--osdmap", &stores]).await?;
        let mut monitor = access.spawn("ceph-mon", &["-f", "-i", "a"])?;
        access.call("ceph-osd", &["--mkfs", "-i", "0", "--osd-uuid", &id]).await?;
        let mut store = access.spawn("ceph-osd", &["-f", "-i", "0"])?;
        let mut gateway = access.spawn("radosgw", &["-f"])?;
        eventually("RGW", START, async || {
            monitor.ensure_running()?;
            store.ensure_running()?;
            gateway.ensure_running()?;
            tokio::net::TcpStream::connect(("127.0.0.1", port.number())).await?;
            Ok(())
        })
        .await
        .with_context(|| format!("the gateway's log ends:\n{}", gateway.log_tail()))?;
        let root = access.account("first").await?;
        fs::write(access.file("rgw.json"), serde_json::to_vec(&access)?)?;
        Ok(Self { access, root, _gateway: gateway, _store: store, _monitor: monitor, _ports: [monitor_port, port] })
    }

    /// The root user of its first account, at IAM.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.root.account
    }

    /// The address of S3, which is that of IAM.
    #[must_use]
    pub fn s3(&self) -> &str {
        &self.access.endpoint
    }

    /// Where all of it is.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The file that says so.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.access.folder.join("rgw.json")
    }
}

impl Access {
    /// The RGW that `cargo xtask test` has started; nothing where this machine runs none, of which that has told.
    ///
    /// # Errors
    /// Where its file cannot be read.
    pub fn attach() -> Result<Option<Self>> {
        let Some(state) = std::env::var_os(STATE) else { return Ok(None) };
        let text = fs::read(&state).with_context(|| format!("reading {}", Path::new(&state).display()))?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// The address of S3 and IAM.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Makes an account of that name with a root user.
    ///
    /// # Errors
    /// Where there is one.
    pub async fn account(&self, name: &str) -> Result<Root> {
        let made = self.admin(&["account", "create", "--account-name", name]).await?;
        let id = made["id"].as_str().context("an account has an id")?.to_owned();
        let user = ["user", "create", "--uid", name, "--display-name", name, "--gen-access-key"];
        let account = self.user(&[user.as_slice(), &["--account-id", &id, "--account-root"]].concat()).await?;
        Ok(Root { id, account })
    }

    /// Makes a user of no account, as Rook's `CephObjectStoreUser` does.
    ///
    /// # Errors
    /// Where there is one.
    pub async fn classic_user(&self, name: &str) -> Result<Account> {
        self.user(&["user", "create", "--uid", name, "--display-name", name, "--gen-access-key"]).await
    }

    async fn user(&self, args: &[&str]) -> Result<Account> {
        let made = self.admin(args).await?;
        let key = |field: &str| made["keys"][0][field].as_str().map(ToOwned::to_owned).context("a user has a key");
        Ok(Account {
            endpoint: self.endpoint.clone(),
            partition: Partition::Aws,
            access_key_id: key("access_key")?,
            secret_access_key: key("secret_key")?,
        })
    }

    async fn admin(&self, args: &[&str]) -> Result<serde_json::Value> {
        let told = self.call("radosgw-admin", args).await?;
        serde_json::from_slice(&told).with_context(|| format!("radosgw-admin {} told no JSON", args.join(" ")))
    }

    /// Runs a program to its end; what it printed.
    async fn call(&self, program: &str, args: &[&str]) -> Result<Vec<u8>> {
        let (loader, more) = self.loaded(program);
        let output = Command::new(loader)
            .args(more.iter().map(String::as_str).chain(args.iter().copied()))
            .env_clear()
            .env("OPENSSL_CONF", "/dev/null")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("starting {program}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{program} {} ended with {}: {said}", args.join(" "), output.status);
        Ok(output.stdout)
    }

    fn spawn(&self, program: &str, args: &[&str]) -> Result<Process> {
        let (loader, more) = self.loaded(program);
        Spec::new(program, loader, self.folder.join(format!("{program}.log")))
            .args(more)
            .args(args.iter().copied())
            // The machine's own settings are for another version.
            .env("OPENSSL_CONF", "/dev/null")
            .spawn()
    }

    /// The loader that came with the program's libraries, so that neither root nor a change of the machine is needed, and the
    /// arguments before the program's own.
    fn loaded(&self, program: &str) -> (PathBuf, Vec<String>) {
        let lib = self.installed.join("lib");
        let path = format!("{0}:{0}/ceph", lib.display());
        let program = self.installed.join("bin").join(program).display().to_string();
        let args = ["--library-path".to_owned(), path, program, "-c".to_owned(), self.file("ceph.conf")];
        (lib.join("ld-linux-x86-64.so.2"), args.to_vec())
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn settings(&self, id: &str, monitor: &Port, gateway: &Port, sts: Sts) -> String {
        let (folder, lib) = (self.folder.display(), self.installed.join("lib"));
        let (lib, monitor, gateway) = (lib.display(), monitor.number(), gateway.number());
        let sts = sts == Sts::On;
        format!(
            "[global]
             fsid = {id}
             mon host = [v2:127.0.0.1:{monitor}]
             mon initial members = a
             public addr = 127.0.0.1
             cluster addr = 127.0.0.1
             run dir = {folder}
             crash dir = {folder}
             mon data = {folder}/monitor
             osd data = {folder}/store
             osd class dir = {lib}/rados-classes
             erasure code dir = {lib}/ceph/erasure-code
             rgw frontends = beast endpoint=127.0.0.1:{gateway}
             rgw s3 auth use sts = {sts}
             {SETTINGS}"
        )
        .lines()
        .fold(String::new(), |text, line| text + line.trim() + "\n")
    }
}

/// What is the same for all: one of each, in memory, with few pools, threads and words, and no pauses.
const SETTINGS: &str = "\
admin socket =
client mount timeout = 60
log to file = false
log to stderr = true
err to stderr = true
mon cluster log to file = false
debug mon = 0
debug paxos = 0
debug rocksdb = 0
debug osd = 0
keyring = /dev/null
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
ms bind msgr1 = false
ms async op threads = 1
paxos propose interval = 0.05
paxos min wait = 0.01
mon data avail warn = 1
mon data avail crit = 1
mon allow pool size one = true
mon max pg per osd = 2000
osd objectstore = memstore
osd erasure code plugins =
osd crush chooseleaf type = 0
osd op num shards = 1
osd op num threads per shard = 1
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
rgw enable apis = s3, sts, iam, admin
rgw run sync thread = false
rgw enable gc threads = false
rgw enable lc threads = false
rgw rados pool pg num min = 1
rgw override bucket index max shards = 1
rgw thread pool size = 32
rgw sts key = abcdefghijklmnop
";

/// An id for a cluster, by its folder, which is its alone.
fn uuid(folder: &Path) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(folder.as_os_str().as_encoded_bytes());
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}
