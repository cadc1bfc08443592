//! Logs: JSON for machines, text for people. Traces, where the environment asks for them.

use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::LogFormat;
use crate::traces;

/// What is still to be sent when the process ends.
#[must_use = "the last traces are lost unless it is stopped"]
pub struct Telemetry(Option<SdkTracerProvider>);

/// Starts logging to standard error, and tracing where the environment asks for it.
///
/// # Errors
/// The filter is malformed, the environment's settings of traces are, or logging was started before.
pub fn start(format: LogFormat, level: &str) -> Result<Telemetry, Error> {
    let provider = traces::provider()?;
    // The spans of traces stand in no log. Kube's own would be one for each of the thousands who wait for a turn, entered
    // whenever one of them gets on.
    let logged = EnvFilter::try_new(format!("kube_runtime::controller=warn,{level},{}=off", traces::TARGET))?;
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = match format {
        LogFormat::Json => layer.json().flatten_event(true).with_filter(logged).boxed(),
        LogFormat::Text => layer.with_filter(logged).boxed(),
    };
    // A layer that is not there would still have every span made.
    let layers: Vec<_> = [layer].into_iter().chain(traces::layer(provider.as_ref()).map(Layer::boxed)).collect();
    tracing_subscriber::registry().with(layers).try_init()?;
    Ok(Telemetry(provider))
}

impl Telemetry {
    /// Sends what is still to be sent.
    pub async fn stop(self) {
        if let Self(Some(provider)) = self {
            let stopping = move || provider.shutdown_with_timeout(traces::FAREWELL);
            if let Ok(Err(error)) = tokio::task::spawn_blocking(stopping).await {
                tracing::warn!(%error, "the last traces were not sent");
            }
        }
    }
}

/// Why logging did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter is malformed.
    #[error("--log-level: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Traces cannot be sent.
    #[error(transparent)]
    Traces(#[from] traces::Error),
    /// Logging was started before.
    #[error(transparent)]
    Started(#[from] TryInitError),
}
