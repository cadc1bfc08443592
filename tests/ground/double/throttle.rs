//! Token buckets, one for each operation of an account.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::error::{ApiError, Code};
use super::operation::Operation;
use super::settings::Throttle;

/// How full each bucket is, and since when.
#[derive(Debug, Clone, Default)]
pub(super) struct Buckets(BTreeMap<Operation, (f64, Timestamp)>);

impl Buckets {
    /// Takes a token, or answers as AWS does when there is none.
    pub(super) fn take(&mut self, now: Timestamp, operation: Operation, throttle: &Throttle) -> Result<(), ApiError> {
        let Some(rate) = throttle.operations.get(&operation).copied().or(throttle.default) else {
            return Ok(());
        };
        let (tokens, since) = self.0.entry(operation).or_insert((rate.burst, now));
        let seconds = now.duration_since(*since).as_secs_f64().max(0.0);
        *tokens = (*tokens + seconds * rate.per_second).min(rate.burst);
        *since = now;
        if *tokens < 1.0 {
            return Err(Code::Throttling.error("Rate exceeded"));
        }
        *tokens -= 1.0;
        Ok(())
    }
}
