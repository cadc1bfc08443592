//! A moto server that checks signatures and permissions.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::target::{EVERYTHING, Target};

/// A running server; it ends with this.
pub struct Moto {
    /// The server, with the key of an administrator.
    pub target: Target,
    _process: Child,
}

const REGION: &str = "us-east-1";

impl Moto {
    /// Starts the program that `MOTO_SERVER` names, if it names one.
    pub async fn start() -> Result<Option<Self>> {
        let Some(program) = std::env::var_os("MOTO_SERVER") else {
            return Ok(None);
        };
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).env_clear();
        let process = command
            .kill_on_drop(true)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let address = format!("127.0.0.1:{port}");
        let mut patience = 300;
        while TcpStream::connect(&address).await.is_err() {
            patience -= 1;
            anyhow::ensure!(patience > 0, "moto does not listen");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // Until checks are switched on, any key will do to make an administrator.
        let endpoint = format!("http://{address}");
        let bootstrap = Target::new(endpoint.clone(), REGION, "AKIABOOTSTRAP", "bootstrap");
        let (_, admin) = bootstrap.user_who_may(EVERYTHING).await?;
        check_signatures_and_permissions(&address).await.context("reset-auth")?;
        let target = Target::new(endpoint, REGION, admin.access_key_id(), admin.secret_access_key());
        Ok(Some(Self {
            target,
            _process: process,
        }))
    }
}

/// Tells moto to check every request from now on.
async fn check_signatures_and_permissions(address: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "POST /moto-api/reset-auth HTTP/1.1\r\nHost: {address}\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\
         Connection: close\r\n\r\n0"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    anyhow::ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(())
}
