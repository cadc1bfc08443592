//! HTTP to the services: with the system's certificates, and those that a class adds.

use std::time::Duration;

use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector, default_connector};
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpClient, SharedHttpConnector};

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
        let builder = Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
        match self.0.clone() {
            Some(context) => builder.tls_context(context).build_https(),
            None => builder.build_https(),
        }
    }

    /// A connector for a request that no client of the SDK sends.
    pub(super) fn connector(&self, connect_timeout: Duration, timeout: Duration) -> Option<SharedHttpConnector> {
        let settings = HttpConnectorSettings::builder().connect_timeout(connect_timeout).read_timeout(timeout).build();
        let sleep = aws_smithy_async::rt::sleep::default_async_sleep();
        let Some(context) = self.0.clone() else { return default_connector(&settings, sleep) };
        let mut connector = Connector::builder().connector_settings(settings);
        connector.set_sleep_impl(sleep);
        Some(SharedHttpConnector::new(
            connector.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(context).build(),
        ))
    }
}
