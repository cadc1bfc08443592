//! The ground of a run of its own: a control plane whose audit log holds the subject's reads too, and the accounts.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::account::Account;
use super::run::{Run, Setup};
use crate::folders::Folder;
use crate::kubernetes::{Kubernetes, Options};
use crate::stand::{OPERATOR_NAMESPACE, Stand};
use crate::{cache, repository};

/// Room for a thousand Secrets of a megabyte, and for ten thousand users' past.
const ETCD_BYTES: u64 = 8 << 30;
/// The garbage collector takes ten thousand Secrets away; at its default pace, that takes ten minutes.
const MANAGER_REQUESTS: u32 = 500;

/// A run, on a ground that ends with it.
pub struct BenchGround {
    /// The run.
    pub run: Run,
    /// The control plane.
    pub kubernetes: Kubernetes,
    _folder: Folder,
}

impl BenchGround {
    /// Starts the control plane and a double for each account, in a process of its own: `program` becomes one when it is
    /// given `double <number> <users>`. `setup` is told the first account.
    ///
    /// # Errors
    /// Where something does not come up.
    pub async fn start(
        program: &Path,
        operator: PathBuf,
        users: usize,
        accounts: u8,
        setup: impl AsyncFnOnce(&Account) -> Result<Setup>,
    ) -> Result<Self> {
        let programs = cache::kubernetes().await?;
        let folder = Folder::create("bench")?;
        let options = Options {
            audited_reads: Some(format!("system:serviceaccounts:{OPERATOR_NAMESPACE}")),
            etcd_bytes: ETCD_BYTES,
            manager_requests_per_second: MANAGER_REQUESTS,
            // As it is measured everywhere.
            gogc: 100,
            ..Options::default()
        };
        let kubernetes = Kubernetes::start_with(&programs, folder.path(), &options).await?;
        let access = kubernetes.access().clone();
        access.kubectl(&["apply", "-k", &repository().join("deploy").display().to_string()]).await?;
        let wait = ["wait", "--for=condition=Established", "--timeout=60s", "crd/s3accessusers.s3access.dev"];
        access.kubectl(&[&wait[..], &["crd/s3accessclasses.s3access.dev"]].concat()).await?;
        let mut all = Vec::new();
        for number in 1..=accounts {
            all.push(Account::process(program, folder.path(), number, users).await?);
        }
        let first = all.first().context("there is no account")?;
        let setup = setup(first).await?;
        let stand = Stand {
            kubernetes: access,
            aws: first.admin.clone(),
            operator_identity: first.admin.clone(),
            python: PathBuf::new(),
            operator,
            folder: folder.path().to_path_buf(),
        };
        let run = Run::prepare(setup, stand, all).await?;
        Ok(Self { run, kubernetes, _folder: folder })
    }
}
