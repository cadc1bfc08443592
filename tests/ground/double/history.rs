//! What was called, by whom, and how it went.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rpds::VectorSync;

use super::error::Code;
use super::operation::Operation;

/// How a call went, as its caller saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Done,
    /// It was answered with an error, and had no effect.
    Refused(Code),
    /// It was answered with an error by a fault, after its effect.
    FailedAfterEffect(Code),
    /// The request was lost before its effect.
    LostBeforeEffect,
    /// The response was lost after the call was carried out, with or without success.
    LostAfterEffect,
}

/// A call that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its number, from 0.
    pub seq: u64,
    /// When it was made.
    pub time: Timestamp,
    /// Which call it was.
    pub operation: Operation,
    /// The caller's ARN, or the access key of one that could not prove who it is.
    pub caller: String,
    /// The name or ARN that it was about.
    pub target: String,
    /// How it went.
    pub outcome: Outcome,
}

/// The calls since the beginning, or since the history was cleared.
#[derive(Debug, Clone)]
pub struct History {
    /// Persistent, so that a copy of a world with a long past costs nothing.
    calls: VectorSync<Call>,
    counts: BTreeMap<Operation, u64>,
    throttled: u64,
    next: u64,
}

impl Default for History {
    fn default() -> Self {
        Self { calls: VectorSync::new_sync(), counts: BTreeMap::new(), throttled: 0, next: 0 }
    }
}

impl History {
    /// The calls, oldest first.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter()
    }

    /// How many calls there were of each operation.
    pub fn counts(&self) -> &BTreeMap<Operation, u64> {
        &self.counts
    }

    /// How many calls there were of one operation.
    pub fn count(&self, operation: Operation) -> u64 {
        self.counts.get(&operation).copied().unwrap_or_default()
    }

    /// How many calls were refused as throttled.
    pub fn throttled(&self) -> u64 {
        self.throttled
    }

    /// How many calls could have changed something: none at rest.
    pub fn writes(&self) -> u64 {
        self.counts.iter().filter(|(operation, _)| operation.is_write()).map(|(_, count)| count).sum()
    }

    /// Forgets the calls; numbers go on.
    pub fn clear(&mut self) {
        self.calls = VectorSync::new_sync();
        self.counts.clear();
        self.throttled = 0;
    }

    /// Forgets the calls and keeps their counts: for long runs, whose memory they would fill.
    pub fn forget_calls(&mut self) {
        self.calls = VectorSync::new_sync();
    }

    pub(super) fn record(
        &mut self,
        time: Timestamp,
        operation: Operation,
        caller: String,
        target: String,
        outcome: Outcome,
    ) {
        self.throttled += u64::from(outcome == Outcome::Refused(Code::Throttling));
        self.calls.push_back_mut(Call { seq: self.next, time, operation, caller, target, outcome });
        self.next += 1;
        *self.counts.entry(operation).or_default() += 1;
    }
}
