//! The whole ground: started once by `cargo xtask`, shared by every test through a file that says where all is.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::double::DoubleServer;
use crate::folders::Folder;
use crate::kubernetes::{Access, Kubernetes};
use crate::moto::{Account, Moto, Partition};
use crate::operator::Operator;
use crate::versitygw::VersityGw;
use crate::{cache, repository};

/// The environment variable that names the file with the [`Stand`] of a running ground.
pub const STATE: &str = "GROUND_STATE";
/// The operator's own namespace.
pub const OPERATOR_NAMESPACE: &str = "s3-access-system";
/// Its service account.
pub const OPERATOR_ACCOUNT: &str = "s3-access-operator";
/// The name by which the API server knows it.
pub const OPERATOR_USER: &str = "system:serviceaccount:s3-access-system:s3-access-operator";

/// Where all is, for any process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stand {
    /// The control plane.
    pub kubernetes: Access,
    /// The AWS account.
    pub aws: Account,
    /// What the operator runs as there: a user with no more than the shipped policies.
    pub operator_identity: Account,
    /// The `bin` of the virtual environment with boto3.
    pub python: PathBuf,
    /// The operator's binary.
    pub operator: PathBuf,
    /// For logs.
    pub folder: PathBuf,
}

/// A running ground; dropping it ends everything and removes its files.
#[derive(Debug)]
pub struct Ground {
    stand: Stand,
    _moto: Moto,
    _kubernetes: Kubernetes,
    _folder: Folder,
}

impl Ground {
    /// Starts Kubernetes and moto side by side, and installs CRDs, RBAC and the operator's IAM identity.
    ///
    /// # Errors
    /// Where something cannot be built or does not come up.
    pub async fn start(partition: Partition, operator: &Path) -> Result<Self> {
        let (programs, python) = (cache::kubernetes().await?, cache::python().await?);
        let folder = Folder::create("ground")?;
        let (kubernetes, moto) = tokio::try_join!(
            Kubernetes::start(&programs, folder.path()),
            Moto::start(&python, folder.path(), partition),
        )?;
        let access = kubernetes.access().clone();
        access.install().await?;
        let aws = moto.account().clone();
        let policy = for_any_resource(partition)?;
        let operator_identity = aws.create_identity("s3-access-operator", &policy).await?;
        let stand = Stand {
            kubernetes: access,
            aws,
            operator_identity,
            python,
            operator: operator.to_path_buf(),
            folder: folder.path().to_path_buf(),
        };
        fs::write(folder.path().join("stand.json"), serde_json::to_vec(&stand)?)?;
        Ok(Self { stand, _moto: moto, _kubernetes: kubernetes, _folder: folder })
    }

    /// Where all is.
    #[must_use]
    pub fn stand(&self) -> &Stand {
        &self.stand
    }

    /// The file that says so.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.stand.folder.join("stand.json")
    }
}

impl Stand {
    /// The ground that `cargo xtask test` has started.
    ///
    /// # Errors
    /// Where there is none.
    pub fn attach() -> Result<Self> {
        let state = std::env::var_os(STATE).context("this test needs the test ground: run `cargo xtask test`")?;
        let text = fs::read(&state).with_context(|| format!("reading {}", Path::new(&state).display()))?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// A control plane that somebody else runs, with an AWS account of ours. The operator runs there as whoever the
    /// kubeconfig names.
    ///
    /// # Errors
    /// Where the operator's IAM identity cannot be made.
    pub async fn given(
        kubernetes: Access,
        aws: Account,
        python: PathBuf,
        operator: PathBuf,
        folder: PathBuf,
    ) -> Result<Self> {
        let policy = for_any_resource(aws.partition)?;
        let operator_identity = aws.create_identity("s3-access-operator", &policy).await?;
        Ok(Self { kubernetes, aws, operator_identity, python, operator, folder })
    }

    /// The same, with AWS played by the strict double, which holds the operator to every word of its shipped policy.
    ///
    /// # Errors
    /// Where the operator's IAM identity cannot be made.
    pub async fn on_double(self, double: &DoubleServer, partition: Partition) -> Result<Self> {
        let admin = double.admin();
        let aws = Account {
            endpoint: double.endpoint(),
            partition,
            access_key_id: admin.access_key_id,
            secret_access_key: admin.secret_access_key,
        };
        let operator_identity = aws.create_identity("s3-access-operator", &shipped_policy(partition)?).await?;
        Ok(Self { aws, operator_identity, ..self })
    }

    /// The same, with IAM and S3 served by versitygw, under the policy that is shipped for S3-compatible systems.
    ///
    /// # Errors
    /// Where the operator's IAM identity cannot be made.
    pub async fn on_versitygw(self, server: &VersityGw) -> Result<Self> {
        let aws = server.account().clone();
        let policy: serde_json::Value = serde_json::from_str(&shipped("operator-policy.s3-compatible")?)?;
        // White space counts there.
        let operator_identity = aws.create_identity_inline("s3-access-operator", &policy.to_string()).await?;
        Ok(Self { aws, operator_identity, ..self })
    }

    /// Starts an operator as its shipped service account and with its shipped IAM policy, with these settings beside.
    ///
    /// # Errors
    /// Where it does not become ready.
    pub async fn start_operator(&self, name: &str, settings: &[(&str, &str)]) -> Result<Operator> {
        let kubeconfig = self.kubernetes.service_account_kubeconfig(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT).await?;
        let mut env: BTreeMap<String, String> = self.operator_identity.env();
        env.insert("KUBECONFIG".to_owned(), kubeconfig.display().to_string());
        env.insert("S3ACCESS_LOG_FORMAT".to_owned(), "text".to_owned());
        // An empty value takes a variable away.
        for (name, value) in settings {
            env.insert((*name).to_owned(), (*value).to_owned());
        }
        env.retain(|_, value| !value.is_empty());
        Operator::start(&self.operator, env, self.folder.join(format!("operator-{name}.log"))).await
    }
}

/// Tries operations of S3 with boto3, which is told of the task and has nothing else. The answers, in their order.
///
/// # Errors
/// Where it does not answer.
pub async fn probe_s3(python: &Path, home: &Path, task: &serde_json::Value) -> Result<Vec<serde_json::Value>> {
    let (python, home, task) = (python.join("python"), home.to_path_buf(), task.to_string());
    let ask = move || {
        let mut probe = Probe::idle(&python).map_or_else(|| Probe::start(python, &home), Ok)?;
        let answers = probe.answers(&task)?;
        PROBES.lock().unwrap_or_else(PoisonError::into_inner).push(probe);
        Ok(answers)
    };
    let (tell, told) = oneshot::channel();
    // No thread of the runtime's: whoever gives up on a server that does not answer would wait for it at the runtime's end.
    std::thread::spawn(move || tell.send(ask()));
    told.await?
}

/// Those that have answered, and wait: to load boto3 costs a second of CPU time. They end with this process.
static PROBES: Mutex<Vec<Probe>> = Mutex::new(Vec::new());

/// A process that answers task after task.
struct Probe {
    python: PathBuf,
    tasks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Probe {
    fn idle(python: &Path) -> Option<Self> {
        let mut idle = PROBES.lock().unwrap_or_else(PoisonError::into_inner);
        let place = idle.iter().position(|probe| probe.python == python)?;
        Some(idle.swap_remove(place))
    }

    fn start(python: PathBuf, home: &Path) -> Result<Self> {
        let mut child = Command::new(&python)
            .arg(repository().join("tests/aws/s3_probe.py"))
            .env_clear()
            .env("HOME", home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (tasks, answers) = (child.stdin.take().context("no pipe")?, child.stdout.take().context("no pipe")?);
        Ok(Self { python, tasks, answers: BufReader::new(answers) })
    }

    fn answers(&mut self, task: &str) -> Result<Vec<serde_json::Value>> {
        writeln!(self.tasks, "{task}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line).context("s3_probe.py ended without an answer")
    }
}

/// The operator's own IAM policy, as shipped.
///
/// # Errors
/// Where it cannot be read.
pub fn shipped_policy(partition: Partition) -> Result<String> {
    shipped(&format!("operator-policy.{}", partition.name()))
}

/// A policy of `deploy/iam`, by its name without `.json`.
///
/// # Errors
/// Where it cannot be read.
pub fn shipped(name: &str) -> Result<String> {
    let path = repository().join(format!("deploy/iam/{name}.json"));
    fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

/// The default policy with the optional ones, for moto: it looks at the actions of IAM calls, and takes the resource of
/// all of them for `*`; the resources and conditions are for AWS and the double.
///
/// # Errors
/// Where a policy cannot be read.
pub fn for_any_resource(partition: Partition) -> Result<String> {
    let mut statements = Vec::new();
    for name in ["operator-policy", "operator-policy.leftovers", "operator-policy.migration"] {
        let mut policy: serde_json::Value = serde_json::from_str(&shipped(&format!("{name}.{}", partition.name()))?)?;
        statements.extend(policy["Statement"].as_array_mut().into_iter().flatten().map(serde_json::Value::take));
    }
    for statement in &mut statements {
        statement["Resource"] = "*".into();
    }
    Ok(serde_json::json!({ "Version": "2012-10-17", "Statement": statements }).to_string())
}
