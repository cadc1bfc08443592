//! Where it runs: the AWS account that the environment names, or a server of ours.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_iam::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
use clap::ValueEnum;
use ground::cache;
use ground::double::{Config, DoubleServer, Operation, Rate, Settings, Throttle};
use ground::moto::{Account, Moto, Partition};
use ground::recorder::Service;
use ground::versitygw::VersityGw;

/// How long a real account may take until it shows what was just made.
const SPREAD: Duration = Duration::from_secs(15);
/// What the double of ours lets through of one call, so that throttling is seen.
const BUCKET: Rate = Rate { burst: 30.0, per_second: 4.0 };

/// What plays AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Against {
    /// Whatever the environment of the AWS SDK names: credentials, region, `AWS_ENDPOINT_URL`.
    Aws,
    /// moto, started for this run.
    Moto,
    /// versitygw, started for this run.
    Versitygw,
    /// The strict double, started for this run.
    Double,
}

/// The account, and what it can do.
pub(crate) struct Site {
    pub(crate) against: Against,
    pub(crate) partition: Partition,
    pub(crate) account: String,
    /// Who runs this, by ARN.
    pub(crate) caller: String,
    pub(crate) admin: Credentials,
    pub(crate) iam: Service,
    pub(crate) sts: Service,
    /// The region of buckets and Secrets.
    pub(crate) region: String,
    /// Of S3, where it is not AWS's own.
    pub(crate) s3: Option<String>,
    _running: Running,
}

enum Running {
    Elsewhere,
    Moto { _server: Moto },
    VersityGw { _server: VersityGw },
    Double { _server: DoubleServer },
}

impl Site {
    /// Finds or starts it, and asks who we are there.
    pub(crate) async fn start(against: Against, python: &Path, folder: &Path) -> Result<Self> {
        match against {
            Against::Aws => Self::of_environment().await,
            Against::Moto => {
                let server = Moto::start(python, folder, Partition::Aws).await?;
                let (account, s3) = (server.account().clone(), server.account().endpoint.clone());
                Self::of_server(against, &account, s3, Running::Moto { _server: server }).await
            }
            Against::Versitygw => {
                let server = VersityGw::start(&cache::versitygw().await?, folder).await?;
                let (account, s3) = (server.account().clone(), server.s3().to_owned());
                Self::of_server(against, &account, s3, Running::VersityGw { _server: server }).await
            }
            Against::Double => {
                let throttle =
                    Throttle { operations: [(Operation::ListAccessKeys, BUCKET)].into(), ..Throttle::default() };
                let settings = Settings { throttle, seed: 7, ..Settings::default() };
                let server = DoubleServer::start(Config { settings, ..Config::default() }).await?;
                let (admin, endpoint) = (server.admin(), server.endpoint());
                let account = Account {
                    endpoint: endpoint.clone(),
                    partition: Partition::Aws,
                    access_key_id: admin.access_key_id,
                    secret_access_key: admin.secret_access_key,
                };
                Self::of_server(against, &account, endpoint, Running::Double { _server: server }).await
            }
        }
    }

    async fn of_server(against: Against, account: &Account, s3: String, running: Running) -> Result<Self> {
        let admin = Credentials::from_keys(&account.access_key_id, &account.secret_access_key, None);
        let region = account.partition.region().to_owned();
        let service = Service { url: account.endpoint.clone(), region: region.clone() };
        let mut site = Self {
            against,
            partition: account.partition,
            account: String::new(),
            caller: String::new(),
            admin,
            iam: service.clone(),
            sts: service,
            region,
            s3: Some(s3),
            _running: running,
        };
        site.identify().await?;
        Ok(site)
    }

    async fn of_environment() -> Result<Self> {
        let config = aws_config::defaults(BehaviorVersion::latest()).load().await;
        let region = config.region().map_or_else(|| "us-east-1".to_owned(), ToString::to_string);
        let provider = config.credentials_provider().context("the environment names no AWS credentials")?;
        let admin = provider.provide_credentials().await.context("the environment names no AWS credentials")?;
        let endpoint = |name: &str| {
            let own = std::env::var(format!("AWS_ENDPOINT_URL_{name}")).ok();
            own.or_else(|| config.endpoint_url().map(ToOwned::to_owned)).filter(|url| !url.is_empty())
        };
        let given = |name: &str| endpoint(name).map(|url| Service { url, region: region.clone() });
        let iam = match given("IAM") {
            Some(service) => service,
            None => iam_of_aws(&region).await?,
        };
        let (dot, end) = if region.starts_with("cn-") { (".", "com.cn") } else { (".", "com") };
        let sts_of_aws =
            || Service { url: format!("https://sts.{region}{dot}amazonaws.{end}"), region: region.clone() };
        let mut site = Self {
            against: Against::Aws,
            partition: Partition::Aws,
            account: String::new(),
            caller: String::new(),
            admin,
            iam,
            sts: given("STS").unwrap_or_else(sts_of_aws),
            s3: endpoint("S3"),
            region: region.clone(),
            _running: Running::Elsewhere,
        };
        site.identify().await?;
        Ok(site)
    }

    /// Asks STS whose credentials these are.
    async fn identify(&mut self) -> Result<()> {
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&self.sts.url)
            .region(aws_config::Region::new(self.sts.region.clone()))
            .credentials_provider(aws_credential_types::provider::SharedCredentialsProvider::new(self.admin.clone()))
            .build();
        let told = aws_sdk_sts::Client::new(&config).get_caller_identity().send().await;
        let told = told.context("asking STS whose credentials these are")?;
        self.account = told.account().context("STS tells no account")?.to_owned();
        self.caller = told.arn().unwrap_or_default().to_owned();
        ensure!(self.account.len() == 12, "the account {} has not 12 digits", self.account);
        self.partition = match self.caller.split(':').nth(1) {
            Some("aws-cn") => Partition::AwsCn,
            Some("aws") | None => Partition::Aws,
            Some(other) => bail!("no policy is shipped for the partition {other}: try it in aws or aws-cn"),
        };
        Ok(())
    }

    /// Whether there are managed policies.
    pub(crate) fn has_managed(&self) -> bool {
        self.against != Against::Versitygw
    }

    /// Whether there are permissions boundaries.
    pub(crate) fn has_boundaries(&self) -> bool {
        matches!(self.against, Against::Aws | Against::Double)
    }

    /// The Secret formats that a tool at hand uses, each by the consumer's own code; the last one is the default, which
    /// the other steps read.
    pub(crate) fn formats(&self) -> Vec<&'static str> {
        // The S3 of the double and of moto, and of what only stands in for AWS, knows no signatures of single chunks,
        // which minio-go makes, and no uploads in parts.
        let whole = self.against == Against::Versitygw || self.iam.url.starts_with("https://");
        let mut formats = vec!["velero", "longhorn"];
        if whole {
            formats.extend(["thanos", "harbor", "csi-s3", "loki-operator", "tempo-operator", "cosi"]);
        }
        // Their Secrets have no region, and the client that reads them here takes this one.
        if whole && self.region == "us-east-1" {
            formats.extend(["mountpoint-csi", "argo-workflows", "kubeflow"]);
        }
        formats.push("aws-env");
        formats
    }

    /// How long a list may be behind.
    pub(crate) fn spread(&self) -> Duration {
        if self.iam.url.starts_with("https://") { SPREAD } else { Duration::ZERO }
    }

    /// S3's address for clients that have to be told one.
    pub(crate) fn s3_url(&self) -> String {
        let end = if self.partition == Partition::AwsCn { "com.cn" } else { "com" };
        self.s3.clone().unwrap_or_else(|| format!("https://s3.{}.amazonaws.{end}", self.region))
    }

    /// Its name, for people.
    pub(crate) fn name(&self) -> String {
        match self.against {
            Against::Aws => self.iam.url.clone(),
            Against::Moto => "moto".to_owned(),
            Against::Versitygw => "versitygw".to_owned(),
            Against::Double => "the double".to_owned(),
        }
    }
}

/// IAM's address in the partition of a region, and the region that its signatures name: one for the whole partition.
async fn iam_of_aws(region: &str) -> Result<Service> {
    let params = Params::builder().region(region).build()?;
    let endpoint = DefaultResolver::new().resolve_endpoint(&params).await.map_err(anyhow::Error::from_boxed)?;
    let schemes = endpoint.properties().get("authSchemes").and_then(|schemes| schemes.as_array()?.first());
    let signing = schemes.and_then(|scheme| scheme.as_object()?.get("signingRegion")?.as_string());
    Ok(Service { url: endpoint.url().to_owned(), region: signing.unwrap_or(region).to_owned() })
}
