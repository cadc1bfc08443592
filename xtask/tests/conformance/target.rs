//! A server under test, and what cases need to talk to it.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail, ensure};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_iam::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_iam::types::AccessKey;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::retry::RetryConfig;

/// A policy that allows everything in S3.
pub const ALL_OF_S3: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;

/// A policy that allows everything.
pub const EVERYTHING: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;

/// An IAM and STS server, with an administrator's key.
pub struct Target {
    /// The administrator's client of IAM.
    pub iam: aws_sdk_iam::Client,
    /// The administrator's client of STS.
    pub sts: aws_sdk_sts::Client,
    endpoint: String,
    region: &'static str,
    names: AtomicU32,
}

impl Target {
    /// A server at an endpoint. Nothing comes from the environment, and nothing is tried twice.
    pub fn new(endpoint: String, region: &'static str, access_key_id: &str, secret: &str) -> Self {
        let config = config(&endpoint, region, access_key_id, secret);
        Self {
            iam: aws_sdk_iam::Client::new(&config),
            sts: aws_sdk_sts::Client::new(&config),
            endpoint,
            region,
            names: AtomicU32::new(0),
        }
    }

    /// A name that no other case uses.
    pub fn name(&self, stem: &str) -> String {
        format!("{stem}-{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// A configuration with a user's key.
    pub fn config_of(&self, key: &AccessKey) -> SdkConfig {
        config(&self.endpoint, self.region, key.access_key_id(), key.secret_access_key())
    }

    /// A user's client of IAM.
    pub fn iam_of(&self, key: &AccessKey) -> aws_sdk_iam::Client {
        aws_sdk_iam::Client::new(&self.config_of(key))
    }

    /// A user's client of STS.
    pub fn sts_of(&self, key: &AccessKey) -> aws_sdk_sts::Client {
        aws_sdk_sts::Client::new(&self.config_of(key))
    }

    /// Clients of STS with any key and secret.
    pub fn sts_with(&self, access_key_id: &str, secret: &str) -> aws_sdk_sts::Client {
        aws_sdk_sts::Client::new(&config(&self.endpoint, self.region, access_key_id, secret))
    }

    /// Makes a user, and gives its name.
    pub async fn user(&self) -> Result<String> {
        let name = self.name("user");
        self.iam.create_user().user_name(&name).send().await.context("CreateUser")?;
        Ok(name)
    }

    /// Makes an access key.
    pub async fn key(&self, user: &str) -> Result<AccessKey> {
        let created = self.iam.create_access_key().user_name(user).send().await.context("CreateAccessKey")?;
        created.access_key.context("an access key")
    }

    /// Makes a managed policy, and gives its ARN.
    pub async fn policy(&self, document: &str) -> Result<String> {
        let created = self.iam.create_policy().policy_name(self.name("policy")).policy_document(document).send().await;
        created.context("CreatePolicy")?.policy.and_then(|policy| policy.arn).context("an ARN")
    }

    /// Makes a user that may do what a document says, and a key for it.
    pub async fn user_who_may(&self, document: &str) -> Result<(String, AccessKey)> {
        let user = self.user().await?;
        // A case of its own tries white space, so that the others do not depend on it.
        let document: String = document.split_whitespace().collect();
        let put = self.iam.put_user_policy().user_name(&user).policy_name("may").policy_document(document);
        put.send().await.context("PutUserPolicy")?;
        let key = self.key(&user).await?;
        Ok((user, key))
    }

    /// The account's number.
    pub async fn account(&self) -> Result<String> {
        self.sts.get_caller_identity().send().await?.account.context("an account")
    }
}

fn config(endpoint: &str, region: &'static str, access_key_id: &str, secret: &str) -> SdkConfig {
    let credentials = Credentials::new(access_key_id, secret, None, None, "conformance");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new(region))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(RetryConfig::disabled())
        .build()
}

/// The code of an error. Where the SDK cannot read the answer, its text is looked at: one case of its own asks for
/// answers that the SDK can read, and the others need not fail with it.
fn code_of<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<String> {
    let of_text = || {
        let body = std::str::from_utf8(error.raw_response()?.body().bytes()?).ok()?;
        Some(body.split_once("<Code>")?.1.split_once("</Code>")?.0.to_owned())
    };
    error.code().map(str::to_owned).or_else(of_text)
}

/// Insists on an error with a code and an HTTP status.
pub fn refused<T, E>(result: Result<T, SdkError<E, HttpResponse>>, code: &str, status: u16) -> Result<()>
where
    E: ProvideErrorMetadata,
{
    let Err(error) = result else {
        bail!("was let through, and not refused with {code}");
    };
    let got = (code_of(&error), error.raw_response().map(|response| response.status().as_u16()));
    let wanted = (Some(code.to_owned()), Some(status));
    ensure!(got == wanted, "refused with {got:?} ({}), not {wanted:?}", error.message().unwrap_or_default());
    Ok(())
}
