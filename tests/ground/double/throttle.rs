//! Token buckets: one of an account, and one for each of its operations.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::error::{ApiError, Code};
use super::operation::{Kind, Operation};
use super::settings::{Rate, Throttle};

/// How full each bucket is, and since when.
#[derive(Debug, Clone, Default)]
pub(super) struct Buckets {
    account: Option<Bucket>,
    operations: BTreeMap<Operation, Bucket>,
}

/// How many tokens there were, and when.
#[derive(Debug, Clone, Copy)]
struct Bucket(f64, Timestamp);

impl Bucket {
    /// Whether there is a token.
    fn fill(&mut self, now: Timestamp, rate: Rate) -> bool {
        let seconds = now.duration_since(self.1).as_secs_f64().max(0.0);
        *self = Self((self.0 + seconds * rate.per_second).min(rate.burst), now);
        self.0 >= 1.0
    }
}

impl Buckets {
    /// Takes a token of each bucket, or answers as AWS does when there is none; then none is taken.
    pub(super) fn take(&mut self, now: Timestamp, operation: Operation, throttle: &Throttle) -> Result<(), ApiError> {
        let of_operation = throttle.operations.get(&operation).copied().or(throttle.default);
        let of_account = throttle.account.filter(|_| operation.kind() != Kind::Sts);
        let mut buckets = Vec::new();
        if let Some(rate) = of_operation {
            buckets.push((self.operations.entry(operation).or_insert(Bucket(rate.burst, now)), rate));
        }
        if let Some(rate) = of_account {
            buckets.push((self.account.get_or_insert(Bucket(rate.burst, now)), rate));
        }
        if !buckets.iter_mut().all(|(bucket, rate)| bucket.fill(now, *rate)) {
            return Err(Code::Throttling.error("Rate exceeded"));
        }
        buckets.into_iter().for_each(|(bucket, _)| bucket.0 -= 1.0);
        Ok(())
    }
}
