//! The one layer through which every call to AWS and every request to Kubernetes passes: here they are counted, and here
//! faults strike.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use s3_access_operator::aws::{AwsError, ErrorKind};
use s3_access_operator::kubernetes::KubernetesError;
use tokio::sync::Notify;

/// What goes wrong at one effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The process dies before the request leaves it.
    CrashBefore,
    /// The process dies after the effect, before it has the answer.
    CrashAfter,
    /// The effect takes place, and nobody knows.
    ResponseLost,
    /// There is no effect, and an error says so.
    ErrorReturned,
    /// The effect takes place, and an error says that something failed: IAM's ServiceFailure, the API server's time-out.
    ErrorAfter,
}

impl Fault {
    pub const ALL: [Self; 5] =
        [Self::CrashBefore, Self::CrashAfter, Self::ResponseLost, Self::ErrorReturned, Self::ErrorAfter];

    pub fn name(self) -> &'static str {
        match self {
            Self::CrashBefore => "crash-before",
            Self::CrashAfter => "crash-after",
            Self::ResponseLost => "response-lost",
            Self::ErrorReturned => "error-returned",
            Self::ErrorAfter => "error-after",
        }
    }

    fn has_effect(self) -> bool {
        matches!(self, Self::CrashAfter | Self::ResponseLost | Self::ErrorAfter)
    }
}

/// The faults of one run, by the number of the effect. Its text is what replays it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan(pub BTreeMap<usize, Fault>);

impl Plan {
    pub fn of(faults: impl IntoIterator<Item = (usize, Fault)>) -> Self {
        Self(faults.into_iter().collect())
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<String> = self.0.iter().map(|(at, fault)| format!("{at}:{}", fault.name())).collect();
        f.write_str(&faults.join(","))
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = |part: &str| {
            let (at, name) = part.split_once(':')?;
            Some((at.parse().ok()?, Fault::ALL.into_iter().find(|fault| fault.name() == name)?))
        };
        let parts = text.split(',').filter(|part| !part.is_empty());
        parts
            .map(|part| fault(part).ok_or_else(|| format!("{part:?} is not <effect>:<fault>")))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// An error that a fault can pretend to be.
pub trait Pretended {
    /// No answer came.
    fn lost(call: &'static str, object: &str) -> Self;
    /// The other side says no; `number` chooses among its ways to say so.
    fn refused(call: &'static str, object: &str, number: usize) -> Self;
    /// The other side says that it failed, after it did what was asked.
    fn failed_after(call: &'static str, object: &str) -> Self;
}

impl Pretended for AwsError {
    fn lost(call: &'static str, object: &str) -> Self {
        aws_error(call, object, "Timeout", ErrorKind::Unreachable)
    }

    fn refused(call: &'static str, object: &str, number: usize) -> Self {
        let codes = ["Throttling", "ServiceFailure", "AccessDenied", "EntityTemporarilyUnmodifiable"];
        let code = codes[number % codes.len()];
        aws_error(call, object, code, ErrorKind::of_code(code, None))
    }

    fn failed_after(call: &'static str, object: &str) -> Self {
        aws_error(call, object, "ServiceFailure", ErrorKind::TryLater)
    }
}

pub fn aws_error(operation: &'static str, object: &str, code: &str, kind: ErrorKind) -> AwsError {
    AwsError { operation, object: object.to_owned(), kind, code: code.to_owned(), message: String::new() }
}

impl Pretended for KubernetesError {
    fn lost(call: &'static str, object: &str) -> Self {
        kubernetes_error(call, object, None)
    }

    fn refused(call: &'static str, object: &str, number: usize) -> Self {
        let codes = [500, 409, 403, 429, 503];
        kubernetes_error(call, object, Some(codes[number % codes.len()]))
    }

    fn failed_after(call: &'static str, object: &str) -> Self {
        kubernetes_error(call, object, Some(504))
    }
}

pub fn kubernetes_error(operation: &'static str, object: &str, code: Option<u16>) -> KubernetesError {
    KubernetesError { operation, object: object.to_owned(), code, message: "pretended".to_owned() }
}

type Event = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    counting: bool,
    next: usize,
    plan: Plan,
    trace: Vec<String>,
    events: BTreeMap<usize, Event>,
    crashed: Vec<usize>,
    stepping: bool,
}

/// The layer, shared by all processes of a run.
#[derive(Clone, Default)]
pub struct Boundary {
    state: Arc<Mutex<State>>,
    crash: Arc<Notify>,
    /// Whose calls pass here.
    pub process: usize,
}

impl Boundary {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same layer, for another process.
    pub fn of_process(&self, process: usize) -> Self {
        Self { process, ..self.clone() }
    }

    /// From now on effects are counted from 0, and these faults strike.
    pub fn arm(&self, plan: Plan) {
        let mut state = self.state();
        (state.counting, state.next, state.plan) = (true, 0, plan);
        state.trace.clear();
    }

    /// From now on nothing is counted and nothing strikes; what was counted, by name.
    pub fn disarm(&self) -> Vec<String> {
        let mut state = self.state();
        state.counting = false;
        state.events.clear();
        std::mem::take(&mut state.trace)
    }

    /// Right before the effect of this number, the event takes place.
    pub fn at(&self, number: usize, event: impl FnOnce() + Send + 'static) {
        self.state().events.insert(number, Box::new(event));
    }

    /// From now on each effect waits for another poll, so that processes can be interleaved.
    pub fn set_stepping(&self, stepping: bool) {
        self.state().stepping = stepping;
    }

    /// Whether this process has died.
    pub fn has_crashed(&self) -> bool {
        self.state().crashed.contains(&self.process)
    }

    /// The process is started again.
    pub fn restart(&self) {
        let process = self.process;
        self.state().crashed.retain(|crashed| *crashed != process);
    }

    /// Waits until a process has died.
    pub async fn crashed(&self) {
        self.crash.notified().await;
    }

    /// Passes one effect through.
    pub async fn through<T, E: Pretended>(
        &self,
        call: &'static str,
        object: &str,
        effect: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        if self.state().stepping {
            let mut waited = false;
            poll_fn(|_| if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }).await;
        }
        let Some((number, fault)) = self.count(call, object) else {
            return effect.await;
        };
        if fault.has_effect() {
            // A refusal is known to the other side only.
            drop(effect.await);
        }
        match fault {
            Fault::CrashBefore | Fault::CrashAfter => self.die().await,
            Fault::ResponseLost => Err(E::lost(call, object)),
            Fault::ErrorReturned => Err(E::refused(call, object, number)),
            Fault::ErrorAfter => Err(E::failed_after(call, object)),
        }
    }

    /// Counts an effect; its number and the fault that strikes it, if one does.
    fn count(&self, call: &str, object: &str) -> Option<(usize, Fault)> {
        let mut state = self.state();
        if !state.counting {
            return None;
        }
        let number = state.next;
        state.next += 1;
        state.trace.push(format!("{call} {object}"));
        let fault = state.plan.0.get(&number).copied();
        let event = state.events.remove(&number);
        drop(state);
        if let Some(event) = event {
            event();
        }
        fault.map(|fault| (number, fault))
    }

    async fn die<T>(&self) -> T {
        self.state().crashed.push(self.process);
        self.crash.notify_one();
        pending().await
    }
}

#[test]
fn a_plan_is_its_text() {
    let plan = Plan::of([(3, Fault::CrashAfter), (41, Fault::ErrorReturned)]);
    assert_eq!(plan.to_string(), "3:crash-after,41:error-returned");
    assert_eq!(plan.to_string().parse(), Ok(plan));
    assert!("3:gone".parse::<Plan>().is_err());
}
