//! A session: the SDK's clients for one account, with its rate, its retries and its identity.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use tokio::sync::OnceCell;

use super::call::Lane;
use super::iam::SdkIam;
use super::metrics::CountAttempts;
use super::sts::SdkSts;
use super::{Iam, Result, Sts};
use crate::core::desired::Account;
use crate::metrics::Metrics;

/// IAM answers within a second; ten mean that nobody will.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPTS: u32 = 3;

/// How to reach the account.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// At most so many requests a second.
    pub requests_per_second: NonZeroU32,
}

/// One account.
pub struct Session {
    /// Its IAM.
    pub iam: Arc<dyn Iam>,
    /// Its STS.
    pub sts: Arc<dyn Sts>,
    /// Its region, for the Secret.
    pub region: String,
    /// The S3 endpoint that consumers are to use, where it is not AWS's own.
    pub s3_endpoint: Option<String>,
    account: OnceCell<Account>,
}

impl Session {
    /// Takes credentials, region and endpoints from the SDK's own environment.
    pub async fn from_environment(options: &SessionOptions, metrics: Arc<Metrics>) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(OPERATION_TIMEOUT)
            .build();
        let config = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(timeouts)
            .load()
            .await;
        let lane = Arc::new(Lane::new(options.requests_per_second, metrics.clone()));
        let iam = aws_sdk_iam::config::Builder::from(&config).interceptor(CountAttempts(metrics.clone())).build();
        let sts = aws_sdk_sts::config::Builder::from(&config).interceptor(CountAttempts(metrics)).build();
        Self::new(
            Arc::new(SdkIam { client: aws_sdk_iam::Client::from_conf(iam), lane: lane.clone() }),
            Arc::new(SdkSts { client: aws_sdk_sts::Client::from_conf(sts), lane }),
            config.region().map(ToString::to_string).unwrap_or_default(),
            std::env::var("AWS_ENDPOINT_URL_S3").ok().or_else(|| config.endpoint_url().map(ToOwned::to_owned)),
        )
    }

    /// A session over any implementation.
    pub fn new(iam: Arc<dyn Iam>, sts: Arc<dyn Sts>, region: String, s3_endpoint: Option<String>) -> Self {
        Self { iam, sts, region, s3_endpoint, account: OnceCell::new() }
    }

    /// The account, asked once; a failure is not remembered.
    ///
    /// # Errors
    /// That of sts:GetCallerIdentity.
    pub async fn account(&self) -> Result<&Account> {
        self.account.get_or_try_init(|| self.sts.caller()).await
    }
}
