//! moto as AWS: IAM, STS and S3, with policies enforced from the start.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_credential_types::Credentials;
use aws_sdk_iam::config::{BehaviorVersion, Region};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::ports::Port;
use crate::processes::{Process, Spec};
use crate::repository;
use crate::wait::eventually;

const START: Duration = Duration::from_secs(60);
const ANYTHING: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;

/// An AWS partition that moto serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Partition {
    /// The regions outside China and GovCloud.
    Aws,
    /// China's regions.
    AwsCn,
}

impl Partition {
    /// The name in ARNs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::AwsCn => "aws-cn",
        }
    }

    /// A region of it.
    #[must_use]
    pub fn region(self) -> &'static str {
        match self {
            Self::Aws => "us-east-1",
            Self::AwsCn => "cn-north-1",
        }
    }
}

/// What it takes to be the administrator of the test account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    /// The server's address.
    pub endpoint: String,
    /// The partition.
    pub partition: Partition,
    /// The administrator's key.
    pub access_key_id: String,
    /// Its secret half.
    pub secret_access_key: String,
}

impl Account {
    /// The AWS SDK's environment.
    #[must_use]
    pub fn env(&self) -> BTreeMap<String, String> {
        [
            ("AWS_ENDPOINT_URL", self.endpoint.as_str()),
            ("AWS_REGION", self.partition.region()),
            ("AWS_ACCESS_KEY_ID", &self.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", &self.secret_access_key),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
    }

    /// The administrator's IAM client.
    #[must_use]
    pub fn iam(&self) -> aws_sdk_iam::Client {
        let config = aws_sdk_iam::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.partition.region()))
            .endpoint_url(&self.endpoint)
            .credentials_provider(Credentials::from_keys(&self.access_key_id, &self.secret_access_key, None))
            .build();
        aws_sdk_iam::Client::from_conf(config)
    }

    /// An IAM user with exactly this policy, and its key: what the operator runs as.
    ///
    /// # Errors
    /// Where IAM refuses.
    pub async fn create_identity(&self, name: &str, policy: &str) -> Result<Self> {
        let iam = self.iam();
        iam.create_user().user_name(name).send().await?;
        let created = iam.create_policy().policy_name(name).policy_document(policy).send().await?;
        let arn = created.policy.and_then(|policy| policy.arn).context("no ARN in the answer")?;
        iam.attach_user_policy().user_name(name).policy_arn(arn).send().await?;
        self.key_of(name).await
    }

    /// The same where there are no managed policies.
    ///
    /// # Errors
    /// Where IAM refuses.
    pub async fn create_identity_inline(&self, name: &str, policy: &str) -> Result<Self> {
        let iam = self.iam();
        iam.create_user().user_name(name).send().await?;
        iam.put_user_policy().user_name(name).policy_name(name).policy_document(policy).send().await?;
        self.key_of(name).await
    }

    async fn key_of(&self, user: &str) -> Result<Self> {
        let made = self.iam().create_access_key().user_name(user).send().await?;
        let key = made.access_key.context("no key in the answer")?;
        Ok(Self { access_key_id: key.access_key_id, secret_access_key: key.secret_access_key, ..self.clone() })
    }
}

/// A running server; dropping it ends it.
#[derive(Debug)]
pub struct Moto {
    account: Account,
    _process: Process,
    _port: Port,
}

impl Moto {
    /// Starts a server with an administrator, then has it enforce policies.
    ///
    /// # Errors
    /// Where it does not come up; with the end of its log.
    pub async fn start(python: &Path, folder: &Path, partition: Partition) -> Result<Self> {
        let port = Port::free()?;
        let log = folder.join(format!("moto-{}.log", partition.name()));
        let server = repository().join("tests/aws/moto_server.py").display().to_string();
        let mut process = Spec::new("moto", python.join("python"), log)
            .args([server, "-H".to_owned(), "127.0.0.1".to_owned(), "-p".to_owned(), port.number().to_string()])
            // AWS's own managed policies are there, as in any account.
            .envs([("HOME", folder.display().to_string()), ("MOTO_IAM_LOAD_MANAGED_POLICIES", "true".to_owned())])
            .spawn()?;
        let anybody = Account {
            endpoint: port.http(),
            partition,
            access_key_id: "anybody".to_owned(),
            secret_access_key: "anything".to_owned(),
        };
        eventually("moto", START, async || {
            process.ensure_running()?;
            anybody.iam().list_users().send().await?;
            Ok(())
        })
        .await?;
        let account = anybody.create_identity("administrator", ANYTHING).await?;
        enforce(&format!("127.0.0.1:{}", port.number())).await?;
        let strangers = anybody.iam().list_users().send().await;
        ensure!(strangers.is_err(), "moto does not enforce policies");
        Ok(Self { account, _process: process, _port: port })
    }

    /// How to be its administrator.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }
}

/// Has the moto at this `host:port` check signatures and permissions: it lets everybody do everything until it is told
/// how many more requests to let pass, which are none.
///
/// # Errors
/// Where it does not answer with 200.
pub async fn enforce(address: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let request = "POST /moto-api/reset-auth HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\n\
                   Content-Length: 1\r\nConnection: close\r\n\r\n0";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "moto answered: {answer}");
    Ok(())
}
