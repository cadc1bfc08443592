//! One way for every call: within the account's rate, and with errors that name operation and object.

use std::error::Error;
use std::future::Future;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_iam::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::{AwsError, ErrorKind, Result};
use crate::metrics::Metrics;

/// The account's lane.
pub(super) struct Lane {
    limiter: DefaultDirectRateLimiter,
    metrics: Arc<Metrics>,
}

impl Lane {
    /// At most so many requests a second; IAM throttles by account, and others live there too.
    pub(super) fn new(requests_per_second: NonZeroU32, metrics: Arc<Metrics>) -> Self {
        Self { limiter: RateLimiter::direct(Quota::per_second(requests_per_second)), metrics }
    }

    /// Waits for a turn.
    pub(super) async fn turn(&self) {
        self.limiter.until_ready().await;
    }

    /// Counts a request that no client of the SDK has sent.
    pub(super) fn count(&self, operation: &str, status: u16, took: Duration) {
        self.metrics.aws_request(operation.to_owned(), status, Some(took));
    }

    /// Waits for a turn, then sends.
    pub(super) async fn call<O, E>(
        &self,
        operation: &'static str,
        object: &str,
        request: impl Future<Output = std::result::Result<O, SdkError<E, HttpResponse>>>,
    ) -> Result<O>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        self.turn().await;
        request.await.map_err(|error| {
            let error = AwsError::of(operation, object, &error);
            if error.kind == ErrorKind::Throttled {
                self.metrics.throttled();
            }
            error
        })
    }
}
