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
use super::s3::S3Endpoint;
use super::sts::{CompatibleSts, SdkSts};
use super::{Iam, Sts};
use crate::core::desired::Account;
use crate::core::provider::Provider;
use crate::metrics::Metrics;

/// IAM answers within a second; ten mean that nobody will.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPTS: u32 = 3;
/// In the ARNs of S3-compatible systems.
const PARTITION: &str = "aws";

/// How to reach the account.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// At most so many requests a second.
    pub requests_per_second: NonZeroU32,
    /// What serves IAM.
    pub provider: Provider,
    /// The account, where an S3-compatible system has no STS to ask.
    pub account_id: Option<String>,
}

/// Settings that do not go together.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum SettingsError {
    /// A new key is proven by a request to S3, and it is not known where that is.
    #[error("S3ACCESS_PROVIDER=s3-compatible needs AWS_ENDPOINT_URL_S3, the address of the S3 server")]
    NoS3Endpoint,
    /// AWS is asked for the account.
    #[error("S3ACCESS_ACCOUNT_ID is for S3ACCESS_PROVIDER=s3-compatible: AWS is asked for the account, so remove it")]
    AccountOfAws,
}

/// One account.
pub struct Session {
    /// Its IAM.
    pub iam: Arc<dyn Iam>,
    /// Its STS.
    pub sts: Arc<dyn Sts>,
    /// What serves them.
    pub provider: Provider,
    /// Its region, for the Secret.
    pub region: String,
    /// The S3 endpoint that consumers are to use, where it is not AWS's own.
    pub s3_endpoint: Option<String>,
    account: OnceCell<Account>,
}

impl Session {
    /// Takes credentials, region and endpoints from the SDK's own environment.
    ///
    /// # Errors
    /// [`SettingsError`], before any request.
    pub async fn from_environment(options: &SessionOptions, metrics: Arc<Metrics>) -> Result<Self, SettingsError> {
        if options.provider == Provider::Aws && options.account_id.is_some() {
            return Err(SettingsError::AccountOfAws);
        }
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
        let provider = options.provider;
        let region = config.region().map(ToString::to_string).unwrap_or_default();
        let s3_endpoint =
            std::env::var("AWS_ENDPOINT_URL_S3").ok().or_else(|| config.endpoint_url().map(ToOwned::to_owned));
        let iam = Arc::new(SdkIam { client: aws_sdk_iam::Client::from_conf(iam), lane: lane.clone(), provider });
        let sts = SdkSts { client: aws_sdk_sts::Client::from_conf(sts), lane };
        let sts: Arc<dyn Sts> = match provider {
            Provider::Aws => Arc::new(sts),
            Provider::S3Compatible => {
                let url = s3_endpoint.as_ref().ok_or(SettingsError::NoS3Endpoint)?;
                let s3 = S3Endpoint::new(url, &region, CONNECT_TIMEOUT, ATTEMPT_TIMEOUT);
                let account = options.account_id.clone().map(|id| Account { id, partition: PARTITION.to_owned() });
                Arc::new(CompatibleSts { sts, account, s3 })
            }
        };
        Ok(Self { provider, ..Self::new(iam, sts, region, s3_endpoint) })
    }

    /// A session over any implementation of AWS.
    pub fn new(iam: Arc<dyn Iam>, sts: Arc<dyn Sts>, region: String, s3_endpoint: Option<String>) -> Self {
        Self { iam, sts, provider: Provider::Aws, region, s3_endpoint, account: OnceCell::new() }
    }

    /// The account, asked once; a failure is not remembered.
    ///
    /// # Errors
    /// That of sts:GetCallerIdentity.
    pub async fn account(&self) -> super::Result<&Account> {
        self.account.get_or_try_init(|| self.sts.caller()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rival_19_the_account_of_aws_is_asked_for_and_not_set() {
        let account_id = Some("123456789012".to_owned());
        let options = SessionOptions { requests_per_second: NonZeroU32::MIN, provider: Provider::Aws, account_id };
        let refused = Session::from_environment(&options, Arc::new(Metrics::default())).await;
        assert!(matches!(refused, Err(SettingsError::AccountOfAws)));
    }
}
