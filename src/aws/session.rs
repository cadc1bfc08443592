//! A session: the SDK's clients for one account, with its rate, its retries and its identity.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use jiff::Timestamp;
use tokio::sync::OnceCell;

use super::call::ThrottledIsForTheLane;
use super::compatible::{Answers, CompatibleSts, S3Endpoint, Servers};
use super::identity::{Identity, SameAccount};
use super::lanes::{LaneId, Lanes, Way};
use super::metrics::CountAttempts;
use super::permission::OnlyTheLeaderWrites;
use super::sdk::SdkIam;
use super::sts::SdkSts;
use super::transport::{TransportError, Trust};
use super::{Iam, Sts};
use crate::api::{MANAGER, S3AccessClassSpec};
use crate::core::iam::{AccessKey, Account};
use crate::core::provider::Provider;
use crate::leadership::Leadership;
use crate::metrics::Metrics;

/// IAM answers within a second; ten mean that nobody will.
pub(super) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPTS: u32 = 3;
/// In the ARNs of S3-compatible systems.
const PARTITION: &str = "aws";

/// How to reach an account.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// The lanes that all sessions of a process share.
    pub lanes: Arc<Lanes>,
    /// At most so many requests a second.
    pub requests_per_second: NonZeroU32,
    /// What serves IAM.
    pub provider: Provider,
    /// The account, where an S3-compatible system has no STS to ask.
    pub account_id: Option<String>,
    /// The operator's own credentials, where they do not come from the SDK's own environment.
    pub own_credentials: Option<SharedCredentialsProvider>,
    /// Whether the addresses in that environment are of another system: AWS's are used in their place.
    pub ignores_addresses: bool,
}

impl SessionOptions {
    /// For the account of a class, where these are the operator's own.
    #[must_use]
    pub fn of_class(&self, class: &S3AccessClassSpec) -> Self {
        let provider = Provider::of(class);
        let limit = class.requests_per_second.and_then(NonZeroU32::new);
        Self {
            requests_per_second: limit.unwrap_or(self.requests_per_second),
            provider,
            account_id: class.account_id.clone(),
            ignores_addresses: provider.has_all_of_iam() != self.provider.has_all_of_iam(),
            ..self.clone()
        }
    }
}

/// Settings that do not go together.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SettingsError {
    /// A new key is proven by a request to S3, and it is not known where that is.
    #[error("S3ACCESS_PROVIDER=s3-compatible needs AWS_ENDPOINT_URL_S3, the address of the S3 server")]
    NoS3Endpoint,
    /// AWS is asked for the account.
    #[error("S3ACCESS_ACCOUNT_ID is for S3ACCESS_PROVIDER=s3-compatible: AWS is asked for the account, so remove it")]
    AccountOfAws,
    /// Nobody could be served.
    #[error("S3ACCESS_REQUIRE_CLASS needs S3ACCESS_CLASSES: without classes there is none that could be required")]
    ClassesRequired,
    /// Only AWS says who the operator is and what keys it has.
    #[error("S3ACCESS_ROTATE_OWN_KEY needs S3ACCESS_PROVIDER=aws: rotate the key of an S3-compatible system by hand")]
    OwnKeyElsewhere,
    /// Two keys at a time are all that IAM allows.
    #[error(
        "S3ACCESS_OWN_KEY_INTERVAL is shorter than S3ACCESS_MIN_ROTATION_INTERVAL: rotate the operator's own key less often"
    )]
    OwnKeyTooOften,
    /// The Secret is read through Kubernetes.
    #[error("S3ACCESS_ROTATE_OWN_KEY names a Secret, and there is no API server to read it from")]
    OwnKeyUnread,
    /// Nobody would lead for long.
    #[error(
        "S3ACCESS_LEASE_RENEW_BEFORE must be at least two seconds less than S3ACCESS_LEASE_DURATION: the Lease has to be renewed in time"
    )]
    LeaseRenewedLate,
    /// The certificates cannot be used.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// Where the services are, and how to speak to them.
#[derive(Default)]
struct Endpoints {
    trust: Trust,
    servers: Servers,
    iam: Option<String>,
    sts: Option<String>,
    s3: Option<String>,
    path_style: Option<bool>,
}

/// One account.
pub struct Session {
    /// Its IAM.
    pub iam: Arc<dyn Iam>,
    /// Its STS.
    pub sts: Arc<dyn Sts>,
    /// Who calls there; none at an S3-compatible system, which has no simulator.
    pub identity: Option<Identity>,
    /// What serves them.
    pub provider: Provider,
    /// Its S3; none at AWS, whose S3 the operator does not ask.
    pub s3: Option<Arc<S3Endpoint>>,
    /// Its region, for the Secret.
    pub region: String,
    /// The S3 endpoint that consumers are to use, where it is not AWS's own.
    pub s3_endpoint: Option<String>,
    /// Whether consumers put the bucket into the path of a URL.
    pub path_style: bool,
    account: Arc<OnceCell<Account>>,
    lanes: Arc<Lanes>,
    way: Arc<Way>,
    endpoint: Option<String>,
    servers: Servers,
    /// When keys without a date were seen first, by user.
    seen: Mutex<HashMap<String, BTreeMap<String, Timestamp>>>,
}

impl Session {
    /// Takes credentials, region and endpoints from the SDK's own environment.
    ///
    /// # Errors
    /// [`SettingsError`], before any request.
    pub async fn from_environment(
        options: &SessionOptions,
        leadership: Leadership,
        metrics: Arc<Metrics>,
    ) -> Result<Self, SettingsError> {
        if options.provider == Provider::Aws && options.account_id.is_some() {
            return Err(SettingsError::AccountOfAws);
        }
        let endpoints = Endpoints { s3: s3_of_environment(), ..Endpoints::default() };
        let config = loader(&endpoints.trust, &endpoints.servers, options).load().await;
        Self::over(&config, endpoints, options, leadership, metrics)
    }

    /// Takes from the class what it says, and all else from the SDK's own environment. The role is not assumed yet.
    ///
    /// # Errors
    /// [`SettingsError`], before any request.
    pub async fn of_class(
        class: &S3AccessClassSpec,
        credentials: Option<Credentials>,
        options: &SessionOptions,
        leadership: Leadership,
        metrics: Arc<Metrics>,
    ) -> Result<Self, SettingsError> {
        let trust = Trust::of(class.ca_bundle.as_deref())?;
        let servers = Servers::default();
        let mut loader = loader(&trust, &servers, options);
        if let Some(region) = class.region.clone() {
            loader = loader.region(Region::new(region));
        }
        if let Some(credentials) = credentials {
            loader = loader.credentials_provider(credentials);
        }
        let mut config = loader.load().await;
        if options.ignores_addresses {
            let mut without = config.to_builder();
            without.set_endpoint_url(None).set_service_config(None::<NoAddresses>);
            config = without.build();
        }
        let set = class.endpoints.clone().unwrap_or_default();
        let sts = set.sts.or_else(|| set.iam.clone());
        if let Some(role) = &class.role_arn {
            let mut base = config.to_builder();
            base.set_endpoint_url(sts.clone().or_else(|| config.endpoint_url().map(ToOwned::to_owned)));
            let mut provider = AssumeRoleProvider::builder(role).session_name(MANAGER).configure(&base.build());
            if let Some(external_id) = &class.external_id {
                provider = provider.external_id(external_id);
            }
            let assumed = SharedCredentialsProvider::new(provider.build().await);
            config = config.to_builder().credentials_provider(assumed).build();
        }
        let s3 = set.s3.or_else(|| s3_of_environment().filter(|_| !options.ignores_addresses));
        let endpoints = Endpoints { trust, servers, iam: set.iam, sts, s3, path_style: class.path_style };
        Self::over(&config, endpoints, options, leadership, metrics)
    }

    fn over(
        config: &SdkConfig,
        endpoints: Endpoints,
        options: &SessionOptions,
        leadership: Leadership,
        metrics: Arc<Metrics>,
    ) -> Result<Self, SettingsError> {
        let way = Arc::new(Way::new(options.requests_per_second, metrics.clone(), options.provider == Provider::Aws));
        let account = Arc::default();
        let config = &of_one_account(config, sts_of(config, &endpoints, &metrics), options.provider, &account);
        let endpoint = endpoints.iam.clone().or_else(|| config.endpoint_url().map(ToOwned::to_owned));
        let sts = sts_of(config, &endpoints, &metrics);
        let mut iam = aws_sdk_iam::config::Builder::from(config)
            .interceptor(CountAttempts(metrics.clone()))
            .interceptor(OnlyTheLeaderWrites(leadership))
            .retry_classifier(ThrottledIsForTheLane);
        if endpoints.iam.is_some() {
            iam.set_endpoint_url(endpoints.iam);
        }
        let provider = options.provider;
        let region = config.region().map(ToString::to_string).unwrap_or_default();
        let s3_endpoint = endpoints.s3.or_else(|| config.endpoint_url().map(ToOwned::to_owned));
        let path_style = endpoints.path_style.unwrap_or(s3_endpoint.is_some());
        let iam = SdkIam { client: aws_sdk_iam::Client::from_conf(iam.build()), lane: way.clone(), provider };
        let sts = SdkSts { client: aws_sdk_sts::Client::from_conf(sts.build()), lane: way.clone() };
        let identity = (provider == Provider::Aws).then(|| Identity {
            iam: iam.client.clone(),
            sts: sts.client.clone(),
            lane: way.clone(),
            credentials: config.credentials_provider(),
        });
        let (sts, s3): (Arc<dyn Sts>, _) = match provider {
            Provider::Aws => (Arc::new(sts), None),
            Provider::S3Compatible { .. } => {
                let url = s3_endpoint.as_ref().ok_or(SettingsError::NoS3Endpoint)?;
                let connector = endpoints.trust.connector(CONNECT_TIMEOUT, ATTEMPT_TIMEOUT);
                let s3 = S3Endpoint::new(url, &region, connector, config.credentials_provider(), way.clone());
                let s3 = Arc::new(s3);
                let account = options.account_id.clone().map(|id| Account { id, partition: PARTITION.to_owned() });
                (Arc::new(CompatibleSts { sts, account, s3: s3.clone() }), Some(s3))
            }
        };
        let lanes = options.lanes.clone();
        let session = Self::new(Arc::new(iam), sts, region, s3_endpoint);
        Ok(Self {
            identity,
            provider,
            s3,
            path_style,
            account,
            lanes,
            way,
            endpoint,
            servers: endpoints.servers,
            ..session
        })
    }

    /// A session over any implementation of AWS.
    pub fn new(iam: Arc<dyn Iam>, sts: Arc<dyn Sts>, region: String, s3_endpoint: Option<String>) -> Self {
        Self {
            iam,
            sts,
            identity: None,
            provider: Provider::Aws,
            s3: None,
            region,
            path_style: s3_endpoint.is_some(),
            s3_endpoint,
            account: Arc::default(),
            lanes: Arc::default(),
            way: Arc::new(Way::new(NonZeroU32::MAX, Arc::default(), true)),
            endpoint: None,
            servers: Servers::default(),
            seen: Mutex::default(),
        }
    }

    /// The access keys of a user; where the system shows no dates, with those of what is `recorded` of some of them.
    ///
    /// # Errors
    /// That of ListAccessKeys.
    pub async fn keys_of(&self, user: &str, recorded: &[(&str, Timestamp)]) -> super::Result<Vec<AccessKey>> {
        let listed = self.iam.list_access_keys(user).await?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = seen.remove(user).unwrap_or_default();
        // No more than of the keys that are there.
        let mut undated = BTreeMap::new();
        let mut first_seen = |id: &str| {
            let at = before.get(id).copied().unwrap_or_else(Timestamp::now);
            *undated.entry(id.to_owned()).or_insert(at)
        };
        let of = |id: &str| recorded.iter().find(|(recorded, _)| *recorded == id).map(|(_, at)| *at);
        let keys = listed.into_iter().map(|key| (of(&key.id), key)).map(|(at, key)| key.dated(at, &mut first_seen));
        let keys = keys.collect();
        if !undated.is_empty() {
            seen.insert(user.to_owned(), undated);
        }
        Ok(keys)
    }

    /// What an S3-compatible system calls itself, as far as it has said so.
    pub fn server(&self) -> Option<String> {
        self.servers.name()
    }

    /// The account, asked once; a failure is not remembered.
    ///
    /// # Errors
    /// That of sts:GetCallerIdentity.
    pub async fn account(&self) -> super::Result<&Account> {
        let account = self.account.get_or_try_init(|| self.sts.caller()).await?;
        self.way.join(&self.lanes, account, self.endpoint.as_deref());
        Ok(account)
    }

    /// The account, if it has been asked for.
    pub fn known_account(&self) -> Option<&Account> {
        self.account.get()
    }

    /// The account's lane, as far as the account is known: its users wait there. Those of another account, which may be slow
    /// or dead, wait elsewhere.
    pub fn lane(&self) -> LaneId {
        self.way.id()
    }
}

/// In the place of the environment's addresses of single services: there are none.
#[derive(Debug)]
enum NoAddresses {}

impl LoadServiceConfig for NoAddresses {
    fn load_config(&self, _: ServiceConfigKey<'_>) -> Option<String> {
        match *self {}
    }
}

fn s3_of_environment() -> Option<String> {
    std::env::var("AWS_ENDPOINT_URL_S3").ok()
}

/// With credentials that stay within the account, where there is an STS to ask.
fn of_one_account(
    config: &SdkConfig,
    sts: aws_sdk_sts::config::Builder,
    provider: Provider,
    account: &Arc<OnceCell<Account>>,
) -> SdkConfig {
    let Some(credentials) = config.credentials_provider().filter(|_| provider == Provider::Aws) else {
        return config.clone();
    };
    let same = SameAccount::new(credentials, aws_sdk_sts::Client::from_conf(sts.build()), account);
    config.to_builder().credentials_provider(SharedCredentialsProvider::new(same)).build()
}

fn sts_of(config: &SdkConfig, endpoints: &Endpoints, metrics: &Arc<Metrics>) -> aws_sdk_sts::config::Builder {
    let mut sts = aws_sdk_sts::config::Builder::from(config)
        .interceptor(CountAttempts(metrics.clone()))
        .retry_classifier(ThrottledIsForTheLane);
    if endpoints.sts.is_some() {
        sts.set_endpoint_url(endpoints.sts.clone());
    }
    sts
}

fn loader(trust: &Trust, servers: &Servers, options: &SessionOptions) -> aws_config::ConfigLoader {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .timeout_config(timeouts);
    match options.provider {
        Provider::Aws => loader = trust.added().into_iter().fold(loader, |loader, client| loader.http_client(client)),
        Provider::S3Compatible { .. } => {
            loader = loader.http_client(Answers::of(trust.client(), servers.clone()));
        }
    }
    if let Some(credentials) = &options.own_credentials {
        loader = loader.credentials_provider(credentials.clone());
    }
    loader
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_class_of_aws_takes_no_address_of_another_system_that_is_the_operators_own() {
        let own = SessionOptions {
            lanes: Arc::default(),
            requests_per_second: NonZeroU32::MIN,
            provider: Provider::S3Compatible { tags: true },
            account_id: Some("123456789012".to_owned()),
            own_credentials: None,
            ignores_addresses: false,
        };
        for (provider, ignores) in [("aws", true), ("s3-compatible", false)] {
            let class = serde_json::json!({ "provider": provider, "allowedBuckets": ["*"] });
            let options = own.of_class(&serde_json::from_value(class).unwrap());
            assert_eq!((options.ignores_addresses, options.account_id), (ignores, None), "{provider}");
        }
    }

    #[tokio::test]
    async fn rival_19_the_account_of_aws_is_asked_for_and_not_set() {
        let account_id = Some("123456789012".to_owned());
        let options = SessionOptions {
            lanes: Arc::default(),
            requests_per_second: NonZeroU32::MIN,
            provider: Provider::Aws,
            account_id,
            own_credentials: None,
            ignores_addresses: false,
        };
        let refused = Session::from_environment(&options, Leadership::unopposed(), Arc::new(Metrics::default())).await;
        assert!(matches!(refused, Err(SettingsError::AccountOfAws)));
    }
}
