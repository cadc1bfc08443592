//! Faults on demand: which call fails, and how.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::Code;
use super::operation::Operation;

/// Which calls a fault strikes. Calls are counted from 0, those that faults strike among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The call of this number among all calls.
    Call(u64),
    /// The call of this number among those of one operation.
    Nth(Operation, u64),
    /// Every call of one operation.
    Every(Operation),
    /// Every call.
    Always,
}

/// What a fault does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The request is lost: it has no effect, and the connection is closed.
    LostBeforeEffect,
    /// The response is lost: the call has its effect, and the connection is closed.
    LostAfterEffect,
    /// The call has no effect and is answered with an error.
    Error(Code),
    /// The call has no effect and is answered with an error in these words, such as AWS was recorded to use.
    Answer(Code, &'static str),
    /// The call has its effect and is answered with an error, as a `ServiceFailure` may be.
    ErrorAfterEffect(Code),
    /// The answer takes longer.
    Delay(Duration),
}

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Which calls it strikes.
    pub when: When,
    /// What it does to them.
    pub kind: FaultKind,
}

impl Fault {
    /// A fault of some calls.
    pub fn new(when: When, kind: FaultKind) -> Self {
        Self { when, kind }
    }
}

/// The faults to come.
#[derive(Debug, Clone, Default)]
pub struct FaultPlan {
    faults: Vec<Fault>,
    calls: u64,
    operations: BTreeMap<Operation, u64>,
}

impl FaultPlan {
    /// Replaces the plan, and counts calls from 0 again.
    pub fn set(&mut self, faults: impl IntoIterator<Item = Fault>) {
        *self = Self { faults: faults.into_iter().collect(), ..Self::default() };
    }

    /// Ends all faults.
    pub fn clear(&mut self) {
        self.set([]);
    }

    /// How many calls were counted since the plan was set.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// Counts a call, and finds the fault that strikes it: the first that fits.
    pub(super) fn strike(&mut self, operation: Operation) -> Option<FaultKind> {
        let of_operation = self.operations.entry(operation).or_default();
        let (overall, nth) = (self.calls, *of_operation);
        self.calls += 1;
        *of_operation += 1;
        let strikes = |fault: &&Fault| match fault.when {
            When::Call(number) => number == overall,
            When::Nth(which, number) => which == operation && number == nth,
            When::Every(which) => which == operation,
            When::Always => true,
        };
        self.faults.iter().find(strikes).map(|fault| fault.kind)
    }
}
