//! Traces over OTLP, where the environment names a collector: a span for each reconcile of a user, and in it one for each
//! call to AWS.
//!
//! The settings are OpenTelemetry's own: `OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_ENDPOINT`) turns them on;
//! `OTEL_SDK_DISABLED` turns them off again; headers, timeout, sampler, service name and resource attributes have their
//! usual variables. The protocol is `http/protobuf`. They are sent with the HTTP and TLS stack that speaks to AWS.

use std::time::Duration;

use async_trait::async_trait;
use aws_smithy_http_client::default_connector;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorSettings, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use crate::api::MANAGER;

/// The target of the spans: they are for traces, and stand in no log.
pub const TARGET: &str = "s3access::trace";
/// How long the last traces may take when the process ends.
pub const FAREWELL: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(10);

/// Traces cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings are wrong.
    #[error("OTEL_EXPORTER_OTLP_…: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// What collects the spans, where the environment says so.
///
/// # Errors
/// The environment's settings are wrong.
pub fn provider() -> Result<Option<SdkTracerProvider>, Error> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let named = set("OTEL_EXPORTER_OTLP_ENDPOINT").or_else(|| set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"));
    let disabled = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if named.is_none() || disabled {
        return Ok(None);
    }
    let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(TIMEOUT).build();
    let connector = default_connector(&settings, aws_smithy_async::rt::sleep::default_async_sleep());
    let client = Client { connector, runtime: Handle::current() };
    let exporter = SpanExporter::builder().with_http().with_http_client(client).build()?;
    let mut resource = Resource::builder();
    if set("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name(MANAGER);
    }
    let resource = resource.build();
    Ok(Some(SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build()))
}

/// The layer that hands the spans over.
pub fn layer<S>(provider: Option<&SdkTracerProvider>) -> Option<impl Layer<S> + use<S>>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let tracer = provider?.tracer(MANAGER);
    Some(
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(Targets::new().with_target(TARGET, LevelFilter::INFO)),
    )
}

/// Sends through the connector of the AWS clients. The exporter waits on a thread of its own, outside the runtime.
#[derive(Debug)]
struct Client {
    connector: Option<SharedHttpConnector>,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let connector = self.connector.clone().ok_or("no HTTP client")?;
        self.runtime.spawn(send(connector, request)).await?
    }
}

async fn send(connector: SharedHttpConnector, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let (parts, body) = request.into_parts();
    let mut sent = HttpRequest::new(SdkBody::from(body.to_vec()));
    sent.set_method(parts.method.as_str())?;
    sent.set_uri(parts.uri.to_string())?;
    for (name, value) in &parts.headers {
        sent.headers_mut().try_append(name.as_str().to_owned(), value.to_str()?.to_owned())?;
    }
    let mut answer = connector.call(sent).await?;
    let status = answer.status().as_u16();
    let body = ByteStream::new(answer.take_body()).collect().await?;
    Ok(Response::builder().status(status).body(body.into_bytes())?)
}
