//! What is measured: the operator, or a peer that it is held against.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::fleet::Watched;
use super::floor::Phase;
use crate::moto::Account as Credentials;
use crate::operator::{Operator, get};
use crate::ports::Port;
use crate::processes::{Process, Spec};
use crate::stand::{OPERATOR_NAMESPACE, Stand};
use crate::wait::eventually;

const STOP: Duration = Duration::from_secs(30);
const START: Duration = Duration::from_secs(60);
/// The peers' service account.
const PEER_ACCOUNT: &str = "peer";
/// How many objects ACK reconciles at once; by its own default one, and the yardstick sixteen.
const ACK_CONCURRENCY: usize = 16;

/// How to start what is measured.
#[derive(Clone, Debug)]
pub enum Kind {
    /// This project's operator, as its shipped service account and with its shipped IAM policy.
    Operator,
    /// The yardstick: its binary, and who it is for AWS. It knows one account, and no classes.
    Yardstick(PathBuf, Credentials),
    /// AWS's own controller of IAM users, ACK's iam-controller, as somebody has built it. It knows one account, and makes no keys.
    Ack {
        /// Its binary.
        binary: PathBuf,
        /// The folder with the CustomResourceDefinitions of its release.
        crds: PathBuf,
        /// Who it is for AWS.
        credentials: Credentials,
    },
}

impl Kind {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Operator => "s3-access-operator",
            Self::Yardstick(..) => "yardstick",
            Self::Ack { .. } => "ACK iam-controller",
        }
    }

    /// The name by which the API server knows it.
    #[must_use]
    pub fn user(&self) -> String {
        let account = match self {
            Self::Operator => crate::stand::OPERATOR_ACCOUNT,
            Self::Yardstick(..) | Self::Ack { .. } => PEER_ACCOUNT,
        };
        format!("system:serviceaccount:{OPERATOR_NAMESPACE}:{account}")
    }

    /// The IAM users that stand for it and for nobody's object, in so many accounts together.
    #[must_use]
    pub fn identities(&self, accounts: usize) -> usize {
        match self {
            Self::Operator => accounts,
            Self::Yardstick(..) | Self::Ack { .. } => accounts + 1,
        }
    }

    /// Whether its users get access keys, and Secrets that hold them.
    #[must_use]
    pub fn makes_keys(&self) -> bool {
        !matches!(self, Self::Ack { .. })
    }

    /// Whether it can go through a phase.
    #[must_use]
    pub fn goes_through(&self, phase: Phase) -> bool {
        match phase {
            Phase::Dark => matches!(self, Self::Operator),
            Phase::Rotate => self.makes_keys(),
            _ => true,
        }
    }

    /// The objects that it looks after.
    #[must_use]
    pub fn watched(&self) -> Watched {
        if let Self::Ack { .. } = self { Watched::ACK_USERS } else { Watched::S3_ACCESS_USERS }
    }

    /// Makes what it needs in the cluster.
    ///
    /// # Errors
    /// Where kubectl fails.
    pub async fn install(&self, stand: &Stand) -> Result<()> {
        if let Self::Operator = self {
            return Ok(());
        }
        let kubectl = &stand.kubernetes;
        kubectl.kubectl(&["create", "serviceaccount", "-n", OPERATOR_NAMESPACE, PEER_ACCOUNT]).await?;
        let account = format!("--serviceaccount={OPERATOR_NAMESPACE}:{PEER_ACCOUNT}");
        let role = "--clusterrole=cluster-admin";
        kubectl.kubectl(&["create", "clusterrolebinding", PEER_ACCOUNT, role, &account]).await?;
        if let Self::Ack { crds, .. } = self {
            kubectl.kubectl(&["apply", "--server-side", "-f", &crds.display().to_string()]).await?;
            let Watched { group, plural, .. } = self.watched();
            let crd = format!("crd/{plural}.{group}");
            kubectl.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", &crd]).await?;
        }
        Ok(())
    }

    /// Starts it with these settings, which are the operator's; a peer knows the resync interval alone.
    ///
    /// # Errors
    /// Where it does not come up.
    pub async fn start(&self, stand: &Stand, name: &str, settings: &[(&str, &str)]) -> Result<Subject> {
        let (binary, credentials) = match self {
            Self::Operator => return Ok(Subject::Operator(stand.start_operator(name, settings).await?)),
            Self::Yardstick(binary, credentials) | Self::Ack { binary, credentials, .. } => (binary, credentials),
        };
        let kubeconfig = stand.kubernetes.service_account_kubeconfig(OPERATOR_NAMESPACE, PEER_ACCOUNT).await?;
        let resync = settings.iter().find(|(name, _)| *name == "S3ACCESS_RESYNC_INTERVAL");
        let spec = Spec::new(self.name(), binary, stand.folder.join(format!("peer-{name}.log")))
            .envs(credentials.env())
            .env("KUBECONFIG", kubeconfig.display().to_string());
        if let Self::Yardstick(..) = self {
            return Ok(Subject::Peer(spec.envs(resync.copied()).spawn()?, None));
        }
        let port = Port::free()?;
        let resync = resync.map(|(_, interval)| interval.trim_end_matches('s'));
        let mut process = spec.args(ack_flags(credentials, port.number(), resync)).spawn()?;
        eventually("ACK to be ready", START, async || {
            process.ensure_running()?;
            get(port.number(), "/readyz").await.map(drop)
        })
        .await?;
        Ok(Subject::Peer(process, Some(port)))
    }
}

/// A running one.
#[derive(Debug)]
pub enum Subject {
    /// This project's.
    Operator(Operator),
    /// A peer, with the port of its probes, where it has any.
    Peer(Process, Option<Port>),
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
            Self::Peer(process, _) => process,
        }
    }

    /// The port of its metrics, where it has any.
    #[must_use]
    pub fn metrics(&self) -> Option<u16> {
        match self {
            Self::Operator(operator) => Some(operator.port()),
            Self::Peer(..) => None,
        }
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// Where it does not end by itself.
    pub async fn terminate(self) -> Result<()> {
        match self {
            Self::Operator(operator) => operator.terminate().await,
            Self::Peer(mut process, _) => process.terminate(STOP).await.map(drop),
        }
    }

    /// The log so far.
    pub fn log(&mut self) -> PathBuf {
        Path::new(self.process().log_path()).to_path_buf()
    }
}

/// How ACK is told of the double; where it is told no resync interval, it has ten hours, as the operator.
fn ack_flags(credentials: &Credentials, probes: u16, resync: Option<&str>) -> Vec<String> {
    let mut flags = vec![
        format!("--aws-region={}", credentials.partition.region()),
        format!("--aws-endpoint-url={}", credentials.endpoint),
        format!("--aws-identity-endpoint-url={}", credentials.endpoint),
        "--allow-unsafe-aws-endpoint-urls=true".to_owned(),
        format!("--reconcile-default-max-concurrent-syncs={ACK_CONCURRENCY}"),
        format!("--healthz-addr=127.0.0.1:{probes}"),
        "--metrics-addr=127.0.0.1:0".to_owned(),
    ];
    flags.extend(resync.map(|seconds| format!("--reconcile-default-resync-seconds={seconds}")));
    flags
}

/// The spec of ACK's user of that number: as much as the operator makes of an S3AccessUser, but for the key.
pub(super) fn ack_spec(namespace: &str, number: usize) -> Value {
    let bucket = format!("arn:aws:s3:::team-{}-reports", number % 100);
    let actions = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket", "s3:GetBucketLocation"];
    let statement = json!({ "Effect": "Allow", "Action": actions, "Resource": [bucket, format!("{bucket}/*")] });
    let document = json!({ "Version": "2012-10-17", "Statement": [statement] });
    json!({
        "name": format!("{namespace}-{number:05}"), "path": "/s3access/",
        "inlinePolicies": { "s3-access": document.to_string() },
        "tags": [{ "key": "namespace", "value": namespace }],
    })
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
