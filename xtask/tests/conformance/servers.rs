//! Other servers that stand in for AWS: moto, and versitygw's IAM.

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ground::moto::{Account, enforce};
use ground::versitygw::VersityGw;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::target::{EVERYTHING, Target};

/// A running server; it ends with this.
pub struct Server {
    /// The server, with the key of an administrator.
    pub target: Target,
    _process: Child,
    _folder: TempDir,
}

const REGION: &str = "us-east-1";

/// A moto server that checks signatures and permissions, if `MOTO_SERVER` names its program.
pub async fn moto() -> Result<Option<Server>> {
    let Some(program) = std::env::var_os("MOTO_SERVER") else {
        return Ok(None);
    };
    let (address, folder) = (free_address()?, tempfile::tempdir()?);
    let (host, port) = address.split_once(':').context("a port")?;
    let process = start(program, &["-H", host, "-p", port], &address).await?;
    // Until checks are switched on, any key will do to make an administrator.
    let endpoint = format!("http://{address}");
    let bootstrap = Target::new(endpoint.clone(), REGION, "AKIABOOTSTRAP", "bootstrap");
    let (_, admin) = bootstrap.user_who_may(EVERYTHING).await?;
    enforce(&address).await.context("reset-auth")?;
    let target = Target::new(endpoint, REGION, admin.access_key_id(), admin.secret_access_key());
    Ok(Some(Server { target, _process: process, _folder: folder }))
}

/// versitygw and its IAM, if `VERSITYGW` names its program.
pub async fn versitygw() -> Result<Option<Gateway>> {
    let Some(program) = std::env::var_os("VERSITYGW") else {
        return Ok(None);
    };
    let folder = tempfile::tempdir()?;
    let gateway = VersityGw::start(Path::new(&program), folder.path()).await?;
    let Account { endpoint, access_key_id, secret_access_key, .. } = gateway.account().clone();
    let target = Target::new(endpoint, REGION, &access_key_id, &secret_access_key);
    Ok(Some(Gateway { target, _gateway: gateway, _folder: folder }))
}

/// A running versitygw; it ends with this.
pub struct Gateway {
    /// Its IAM, with the key of the root.
    pub target: Target,
    _gateway: VersityGw,
    _folder: TempDir,
}

fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// Starts a program with an empty environment, and waits until it listens.
async fn start(program: OsString, arguments: &[&str], address: &str) -> Result<Child> {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().kill_on_drop(true);
    let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut patience = 300;
    while TcpStream::connect(address).await.is_err() {
        patience -= 1;
        ensure!(patience > 0, "the server does not listen");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(process)
}
