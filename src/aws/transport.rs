//! HTTP to the services: with the system's certificates, and those that a class adds.

use std::time::Duration;

use aws_smithy_async::rt::sleep::{SharedAsyncSleep, default_async_sleep};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpClient, SharedHttpConnector};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

/// Certificates that cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("spec.caBundle: {0}: it must be certificates in PEM")]
pub struct TransportError(String);

/// Whom to trust beside the system's authorities.
#[derive(Clone, Default)]
pub(super) struct Trust(Option<TlsContext>);

impl Trust {
    /// Trusts these certificates too.
    pub(super) fn of(pem: Option<&str>) -> Result<Self, TransportError> {
        let Some(pem) = pem else { return Ok(Self::default()) };
        let store = TrustStore::default().with_native_roots(true).with_pem_certificate(pem.as_bytes());
        let context = TlsContext::builder().with_trust_store(store).build();
        context.map(Some).map(Self).map_err(|error| TransportError(error.to_string()))
    }

    /// A client for the SDK; `None` where its own does.
    pub(super) fn added(&self) -> Option<SharedHttpClient> {
        self.0.is_some().then(|| self.client())
    }

    /// A client for the SDK.
    pub(super) fn client(&self) -> SharedHttpClient {
        let trust = self.clone();
        // The SDK makes its own by the same function: by the others, none goes through a proxy.
        Builder::new().build_with_connector_fn(move |settings, components| {
            trust.built(settings.cloned(), components.and_then(RuntimeComponents::sleep_impl))
        })
    }

    /// A connector for a request that no client of the SDK sends.
    pub(super) fn connector(&self, connect_timeout: Duration, timeout: Duration) -> SharedHttpConnector {
        let settings = HttpConnectorSettings::builder().connect_timeout(connect_timeout).read_timeout(timeout).build();
        SharedHttpConnector::new(self.built(Some(settings), default_async_sleep()))
    }

    /// With the proxy of the environment, as the SDK's own.
    fn built(&self, settings: Option<HttpConnectorSettings>, sleep: Option<SharedAsyncSleep>) -> Connector {
        let mut builder = Connector::builder().proxy_config(ProxyConfig::from_env());
        builder.set_connector_settings(settings);
        builder.set_sleep_impl(sleep);
        let builder = builder.tls_provider(Provider::Rustls(CryptoMode::AwsLc));
        match self.0.clone() {
            Some(context) => builder.tls_context(context).build(),
            None => builder.build(),
        }
    }
}
