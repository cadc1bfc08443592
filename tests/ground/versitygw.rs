//! versitygw: a real S3 server, with an IAM of its own that has inline policies and no managed ones.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::moto::{Account, Partition};
use crate::ports::Port;
use crate::processes::{Process, Spec};
use crate::wait::eventually;

const START: Duration = Duration::from_secs(60);
const ROOT: (&str, &str) = ("AKIAROOTROOTROOTROOT", "secret-of-the-root-of-a-test");

/// A running IAM server and, in front of the same users, an S3 gateway; dropping it ends both.
#[derive(Debug)]
pub struct VersityGw {
    account: Account,
    s3: String,
    _gateway: Process,
    _iam: Process,
    _ports: [Port; 2],
}

impl VersityGw {
    /// Starts both, with their stores and logs in `folder`.
    ///
    /// # Errors
    /// Where one does not come up; with the end of its log.
    pub async fn start(program: &Path, folder: &Path) -> Result<Self> {
        let (iam_port, s3_port) = (Port::free()?, Port::free()?);
        let dir = |name: &str| -> Result<String> {
            let path = folder.join(name);
            std::fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
            Ok(path.display().to_string())
        };
        let (users, buckets) = (dir("users")?, dir("buckets")?);
        let (attributes, versions) = (dir("attributes")?, dir("versions")?);
        let socket = folder.join("iam.sock").display().to_string();
        // sun_path of a Unix socket's address has 108 bytes, with the final zero.
        ensure!(socket.len() < 108, "{socket} is too long for a socket's address");
        let spawn = |name: &str, port: &Port, more: &[&str]| {
            let address = format!("127.0.0.1:{}", port.number());
            let root = ["--access", ROOT.0, "--secret", ROOT.1, "--port", &address, "--quiet"];
            let args = [root.as_slice(), more].concat();
            Spec::new(name, program, folder.join(format!("{name}.log")))
                .args(args)
                .env("HOME", folder.display().to_string())
                .spawn()
        };
        let mut iam = spawn("versitygw-iam", &iam_port, &["iam", "--dir", &users, "--private-ports", &socket])?;
        let account = Account {
            endpoint: iam_port.http(),
            partition: Partition::Aws,
            access_key_id: ROOT.0.to_owned(),
            secret_access_key: ROOT.1.to_owned(),
        };
        eventually("versitygw's IAM", START, async || {
            iam.ensure_running()?;
            account.iam().list_users().send().await?;
            Ok(())
        })
        .await?;
        // A sidecar, since not every file system has the extended attributes that it keeps metadata in otherwise.
        let files = ["posix", "--sidecar", &attributes, "--versioning-dir", &versions, &buckets];
        let store = [&["--iam-standalone-endpoint", &socket], files.as_slice()].concat();
        let mut gateway = spawn("versitygw-s3", &s3_port, &store)?;
        eventually("versitygw's S3", START, async || {
            gateway.ensure_running()?;
            tokio::net::TcpStream::connect(("127.0.0.1", s3_port.number())).await?;
            Ok(())
        })
        .await?;
        Ok(Self { account, s3: s3_port.http(), _gateway: gateway, _iam: iam, _ports: [iam_port, s3_port] })
    }

    /// The root user, at the IAM server.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The address of the S3 gateway.
    #[must_use]
    pub fn s3(&self) -> &str {
        &self.s3
    }
}
