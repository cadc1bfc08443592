//! What is measured: the operator, or the yardstick that it is held against.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::moto::Account as Credentials;
use crate::operator::{Operator, get};
use crate::processes::{Process, Spec};
use crate::stand::{OPERATOR_NAMESPACE, Stand};

const STOP: Duration = Duration::from_secs(30);
const YARDSTICK_ACCOUNT: &str = "yardstick";

/// How to start what is measured.
#[derive(Clone, Debug)]
pub enum Kind {
    /// This project's operator, as its shipped service account and with its shipped IAM policy.
    Operator,
    /// The yardstick: its binary, and who it is for AWS. It knows one account, and no classes.
    Yardstick(PathBuf, Credentials),
}

impl Kind {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Operator => "s3-access-operator",
            Self::Yardstick(..) => "yardstick",
        }
    }

    /// The name by which the API server knows it.
    #[must_use]
    pub fn user(&self) -> String {
        let account = match self {
            Self::Operator => crate::stand::OPERATOR_ACCOUNT,
            Self::Yardstick(..) => YARDSTICK_ACCOUNT,
        };
        format!("system:serviceaccount:{OPERATOR_NAMESPACE}:{account}")
    }

    /// The IAM users that stand for it and for nobody's S3AccessUser, in both accounts together.
    #[must_use]
    pub fn identities(&self) -> usize {
        match self {
            Self::Operator => 2,
            Self::Yardstick(..) => 3,
        }
    }

    /// Makes what it needs in the cluster.
    ///
    /// # Errors
    /// Where kubectl fails.
    pub async fn install(&self, stand: &Stand) -> Result<()> {
        if let Self::Yardstick(..) = self {
            let kubectl = &stand.kubernetes;
            kubectl.kubectl(&["create", "serviceaccount", "-n", OPERATOR_NAMESPACE, YARDSTICK_ACCOUNT]).await?;
            let account = format!("--serviceaccount={OPERATOR_NAMESPACE}:{YARDSTICK_ACCOUNT}");
            let role = "--clusterrole=cluster-admin";
            kubectl.kubectl(&["create", "clusterrolebinding", YARDSTICK_ACCOUNT, role, &account]).await?;
        }
        Ok(())
    }

    /// Starts it with these settings, which are the operator's; the yardstick knows the resync interval alone.
    ///
    /// # Errors
    /// Where it does not come up.
    pub async fn start(&self, stand: &Stand, name: &str, settings: &[(&str, &str)]) -> Result<Subject> {
        match self {
            Self::Operator => Ok(Subject::Operator(stand.start_operator(name, settings).await?)),
            Self::Yardstick(binary, credentials) => {
                let kubernetes = &stand.kubernetes;
                let kubeconfig = kubernetes.service_account_kubeconfig(OPERATOR_NAMESPACE, YARDSTICK_ACCOUNT).await?;
                let resync = settings.iter().filter(|(name, _)| *name == "S3ACCESS_RESYNC_INTERVAL");
                let process = Spec::new("the yardstick", binary, stand.folder.join(format!("yardstick-{name}.log")))
                    .envs(credentials.env())
                    .envs(resync.copied())
                    .env("KUBECONFIG", kubeconfig.display().to_string())
                    .spawn()?;
                Ok(Subject::Yardstick(process))
            }
        }
    }
}

/// A running one.
#[derive(Debug)]
pub enum Subject {
    /// This project's.
    Operator(Operator),
    /// The yardstick.
    Yardstick(Process),
}

impl Subject {
    /// Its process id.
    pub fn id(&mut self) -> u32 {
        self.process().id()
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        match self {
            Self::Operator(operator) => operator.process(),
            Self::Yardstick(process) => process,
        }
    }

    /// The port of its metrics, where it has any.
    #[must_use]
    pub fn metrics(&self) -> Option<u16> {
        match self {
            Self::Operator(operator) => Some(operator.port()),
            Self::Yardstick(_) => None,
        }
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// Where it does not end by itself.
    pub async fn terminate(self) -> Result<()> {
        match self {
            Self::Operator(operator) => operator.terminate().await,
            Self::Yardstick(mut process) => process.terminate(STOP).await.map(drop),
        }
    }

    /// The log so far.
    pub fn log(&mut self) -> PathBuf {
        Path::new(self.process().log_path()).to_path_buf()
    }
}

/// Looks at users so far, by how they ended.
///
/// # Errors
/// Where the metrics cannot be read.
pub async fn reconciles(port: u16) -> Result<BTreeMap<String, u64>> {
    let exposition = get(port, "/metrics").await?;
    let counts = exposition.lines().filter_map(|line| {
        let rest = line.strip_prefix("s3access_reconcile_total{result=\"")?;
        let (result, count) = rest.split_once("\"} ")?;
        Some((result.to_owned(), count.parse().ok()?))
    });
    Ok(counts.collect())
}
