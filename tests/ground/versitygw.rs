//! versitygw: a real S3 server with an IAM of its own, without managed policies.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::net::TcpStream;

use crate::moto::{Account, Partition};
use crate::ports::Port;
use crate::processes::{Process, Spec};
use crate::wait::eventually;

const START: Duration = Duration::from_secs(60);

/// A running IAM server and the S3 gateway in front of it; dropping this ends both.
#[derive(Debug)]
pub struct VersityGw {
    account: Account,
    s3: String,
    _processes: Vec<Process>,
    _ports: [Port; 2],
}

impl VersityGw {
    /// Starts both, with their files in `folder`.
    ///
    /// # Errors
    /// Where one of them does not come up; with the end of its log.
    pub async fn start(binary: &Path, folder: &Path) -> Result<Self> {
        let ports = [Port::free()?, Port::free()?];
        let path = |name: &str| folder.join(name).display().to_string();
        let (users, objects, socket) = (path("gateway-users"), path("gateway-objects"), path("gateway-socket"));
        std::fs::create_dir(&users)?;
        std::fs::create_dir(&objects)?;
        let account = Account {
            endpoint: ports[0].http(),
            partition: Partition::Aws,
            access_key_id: "AKIAROOTROOTROOTROOT".to_owned(),
            secret_access_key: "secret-of-the-root-of-a-test".to_owned(),
        };
        let iam = vec!["iam", "--dir", &users, "--private-ports", &socket];
        let gateway = vec!["--iam-standalone-endpoint", &socket, "posix", &objects];
        let mut processes = Vec::new();
        for (name, port, args) in [("versitygw-iam", &ports[0], iam), ("versitygw-s3", &ports[1], gateway)] {
            let address = format!("127.0.0.1:{}", port.number());
            let root = ["--access", &account.access_key_id, "--secret", &account.secret_access_key, "--port", &address];
            let spec = Spec::new(name, binary, folder.join(format!("{name}.log")));
            let mut process = spec.args(root).args(args).spawn()?;
            eventually(name, START, async || {
                process.ensure_running()?;
                ensure!(TcpStream::connect(&address).await.is_ok(), "it does not listen");
                Ok(())
            })
            .await?;
            processes.push(process);
        }
        Ok(Self { account, s3: ports[1].http(), _processes: processes, _ports: ports })
    }

    /// How to be its administrator; the endpoint is IAM's and STS's.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The S3 endpoint.
    #[must_use]
    pub fn s3(&self) -> &str {
        &self.s3
    }
}
