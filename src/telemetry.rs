//! Logs: JSON for machines, text for people.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::LogFormat;

/// Starts logging to standard error.
///
/// # Errors
/// The filter is malformed, or logging was started before.
pub fn start(format: LogFormat, level: &str) -> Result<(), Error> {
    let registry = tracing_subscriber::registry().with(EnvFilter::try_new(level)?);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init()?,
        LogFormat::Text => registry.with(layer).try_init()?,
    }
    Ok(())
}

/// Why logging did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter is malformed.
    #[error("--log-level: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Logging was started before.
    #[error(transparent)]
    Started(#[from] TryInitError),
}
