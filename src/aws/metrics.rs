//! Counts every attempt that the SDK makes, where it makes it.

use std::sync::Arc;
use std::time::Instant;

use aws_sdk_iam::config::ConfigBag;
use aws_sdk_iam::config::interceptors::{BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef};
use aws_sdk_iam::config::{Intercept, RuntimeComponents};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_types::config_bag::{Layer, Storable, StoreReplace};

use super::error::label_of;
use super::raw::StatusOf;
use crate::metrics::Metrics;

/// An SDK interceptor that feeds the metrics.
#[derive(Debug)]
pub(super) struct CountAttempts(pub(super) Arc<Metrics>);

#[derive(Debug)]
struct StartedAt(Instant);

impl Storable for StartedAt {
    type Storer = StoreReplace<Self>;
}

impl Intercept for CountAttempts {
    fn name(&self) -> &'static str {
        "CountAttempts"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let mut layer = Layer::new("CountAttempts");
        layer.store_put(StartedAt(Instant::now()));
        bag.push_layer(layer);
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // An interceptor kept it from being sent.
        if matches!(context.output_or_error(), Some(Err(error)) if error.is_interceptor_error()) {
            return Ok(());
        }
        let operation = bag.load::<Metadata>().map_or("Unknown", |metadata| metadata.name()).to_owned();
        let elapsed = bag.load::<StartedAt>().map(|started| started.0.elapsed());
        let response = context.response();
        let status = response.map_or(0, |response| response.status().as_u16());
        let code = response.and_then(StatusOf::code_in_body).unwrap_or_default();
        self.0.aws_request(operation, label_of(code, status), elapsed);
        Ok(())
    }
}
