//! Operator processes over the world outside: run, crashed, restarted, interleaved, on a clock that nobody waits for.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use fastrand::Rng;
use ground::double::Settings;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use s3_access_operator::api::S3AccessUser;
use s3_access_operator::aws::Session;
use s3_access_operator::controller::{Context, Outcome, State, reconcile_now};
use s3_access_operator::core::drift::Coverage;
use s3_access_operator::core::names::Cluster as ClusterName;
use s3_access_operator::core::plan::Waits;
use s3_access_operator::core::reads::known::Reported;
use s3_access_operator::leadership::Leadership;
use s3_access_operator::metrics::Metrics;

use crate::boundary::{Boundary, Fault, Plan};
use crate::classes::OneClass;
use crate::cloud::Cloud;
use crate::cluster::InProcess;
use crate::outside::{CLUSTER_ID, Outside};

/// How often a settled user is reconciled again.
pub const RESYNC: SignedDuration = SignedDuration::from_hours(10);
/// A leader that is frozen no longer than this in all still has its Lease.
const HICCUP: SignedDuration = SignedDuration::from_secs(10);
/// A process that reconciles more often than this in one run is in a hot loop.
const RECONCILES: usize = 3_000;

/// What every process is made of.
pub fn context(
    outside: &Outside,
    boundary: &Boundary,
    kubernetes: Arc<dyn s3_access_operator::kubernetes::Kubernetes>,
) -> Context {
    let cloud = Arc::new(Cloud { outside: outside.clone(), boundary: boundary.clone() });
    let clock = outside.clone();
    Context {
        cluster: ClusterName { id: CLUSTER_ID.to_owned(), name: "prod".to_owned() },
        own_namespace: crate::cluster::OPERATORS_NAMESPACE.to_owned(),
        kubernetes,
        classes: Arc::new(OneClass::new(
            Session::new(cloud.clone(), cloud, "us-east-1".to_owned(), None),
            outside.clone(),
        )),
        coverage: Arc::new(Coverage::default()),
        state: Arc::new(State::default()),
        metrics: Arc::new(Metrics::default()),
        waits: Waits::default(),
        resync_interval: RESYNC,
        clock: Arc::new(move || clock.with(|state| state.now + state.skew)),
        leadership: Leadership::unopposed(),
    }
}

type Reconcile = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// One operator process.
struct Process {
    boundary: Boundary,
    context: Arc<Context>,
    /// When each CR is reconciled next, and what it was like when that was decided.
    queue: BTreeMap<String, (Timestamp, u64)>,
    /// The reconcile under way.
    running: Option<(String, u64, Reconcile)>,
    /// The watch's copies of the CRs.
    cache: BTreeMap<String, S3AccessUser>,
    /// The last credential report has said that every key is as it was left.
    flattered: bool,
}

impl Process {
    fn start(outside: &Outside, boundary: Boundary) -> Self {
        boundary.restart();
        let kubernetes = Arc::new(InProcess { outside: outside.clone(), boundary: boundary.clone() });
        let context = Arc::new(context(outside, &boundary, kubernetes));
        Self { boundary, context, queue: BTreeMap::new(), running: None, cache: BTreeMap::new(), flattered: false }
    }

    /// Queues what the streams would: CRs whose spec, annotations or deletion changed, or one of whose Secrets did.
    fn watch(&mut self, outside: &Outside) {
        outside.with(|state| {
            self.queue.retain(|name, _| state.cluster.users.contains_key(name));
            for (name, user) in &state.cluster.users {
                let mut hasher = DefaultHasher::new();
                let meta = &user.metadata;
                (&meta.uid, meta.generation, &meta.annotations, meta.deletion_timestamp.is_some()).hash(&mut hasher);
                state.cluster.class.as_ref().map(|class| class.revision).hash(&mut hasher);
                for secret in state.cluster.secrets.values() {
                    (secret.name_any(), secret.resource_version()).hash(&mut hasher);
                }
                let seen = hasher.finish();
                if self.queue.get(name).is_none_or(|(_, earlier)| *earlier != seen) {
                    self.queue.insert(name.clone(), (state.now, seen));
                }
            }
        });
    }

    /// The bulk sweep, where there is one: once an interval it sees a difference everywhere, so that everybody is reconciled
    /// whole.
    fn sweep(&mut self, outside: &Outside) {
        let (now, swept) = outside.with(|state| (state.now, state.swept));
        if !swept {
            return;
        }
        let sessions = self.context.classes.sessions();
        let accounts: Vec<_> = sessions.iter().filter_map(|session| session.known_account().cloned()).collect();
        for account in self.context.coverage.take_due(&accounts, now, RESYNC) {
            outside.with(|state| {
                for (name, user) in &state.cluster.users {
                    let uid = user.uid().unwrap_or_default();
                    // A report may be wrong: here each says that nobody uses any key, and by turns that every key is as it was
                    // left, and that none works.
                    self.flattered = !self.flattered;
                    let status = user.status.as_ref();
                    let created_at = status.and_then(|status| Some(status.access_key_created_at.as_ref()?.0));
                    let only_key = created_at.filter(|_| self.flattered);
                    let created_at = created_at.unwrap_or(now);
                    let reported = Reported { made_at: now, created_at, only_key, rest_is_compared: true };
                    self.context.state.compared(&uid, &reported);
                    self.context.state.suspect_drift(&uid);
                    self.context.state.reported(&uid, None, Some(now));
                    self.queue.entry(name.clone()).and_modify(|(at, _)| *at = now);
                }
            });
            self.context.coverage.done(&account, now);
        }
    }

    /// What the reconcile of the class does: says in its status that everybody has been held against it.
    fn report_class(&self, outside: &Outside) {
        outside.with(|state| {
            let Some(class) = &mut state.cluster.class else { return };
            let uids = state.cluster.users.values().filter_map(ResourceExt::uid);
            let revision = |uid: String| self.context.state.with(&uid, |known| known.enforced_revision);
            class.enforced |= uids.into_iter().all(|uid| revision(uid) == Some(class.revision));
        });
    }

    /// Begins the reconcile that is due longest, if there is one.
    fn begin(&mut self, outside: &Outside, stale: bool) -> bool {
        let now = outside.now();
        let due = self.queue.iter().filter(|(_, (at, _))| *at <= now).min_by_key(|(_, (at, _))| *at);
        let Some((name, seen)) = due.map(|(name, (_, seen))| (name.clone(), *seen)) else { return false };
        let live = outside.with(|state| state.cluster.users.get(&name).cloned());
        let behind = self.cache.get(&name).filter(|_| stale).cloned();
        let Some(user) = behind.or(live.clone()) else { return false };
        self.cache.extend(live.map(|live| (name.clone(), live)));
        let context = self.context.clone();
        self.running = Some((name, seen, Box::pin(async move { reconcile_now(&context, Box::new(user)).await })));
        true
    }

    /// Goes on with the reconcile: to its end, or to the next effect where effects are stepped through.
    fn poll(&mut self, outside: &Outside) {
        let Some((name, seen, mut reconcile)) = self.running.take() else { return };
        match reconcile.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => {
                self.report_class(outside);
                if let Some(due_at) = outcome.due_at() {
                    // By the operator's clock, which may go wrong.
                    let due_at = due_at.checked_sub(outside.with(|state| state.skew)).unwrap_or(due_at);
                    self.queue.insert(name, (due_at.max(outside.now()), seen));
                } else {
                    // A deleted CR is reconciled again only if it is there again.
                    self.queue.insert(name, (Timestamp::MAX, seen));
                }
            }
            Poll::Pending if self.boundary.has_crashed() => *self = Self::start(outside, self.boundary.clone()),
            Poll::Pending => self.running = Some((name, seen, reconcile)),
        }
    }
}

/// The world outside and the operator's processes in it.
pub struct Simulation {
    pub outside: Outside,
    pub boundary: Boundary,
    processes: Vec<Process>,
    /// Chooses who goes on next, where there is a choice.
    random: Option<Rng>,
    /// For how long processes are frozen, in all.
    frozen: SignedDuration,
    /// How long they may be.
    patience: SignedDuration,
    pub reconciles: usize,
}

impl Simulation {
    /// A world with one operator that has just started.
    pub fn new(outside: Outside) -> Self {
        let boundary = Boundary::default();
        let processes = vec![Process::start(&outside, boundary.clone())];
        Self {
            outside,
            boundary,
            processes,
            random: None,
            frozen: SignedDuration::ZERO,
            patience: HICCUP,
            reconciles: 0,
        }
    }

    /// A world with two operators, both of which take themselves for the leader, interleaved effect by effect.
    ///
    /// By odd seeds one of them may be frozen for longer than its Lease is good for.
    pub fn with_two_leaders(outside: Outside, seed: u64) -> Self {
        let mut simulation = Self::new(outside);
        let second = simulation.boundary.of_process(1);
        simulation.processes.push(Process::start(&simulation.outside, second));
        simulation.random = Some(Rng::with_seed(seed));
        if seed % 2 == 1 {
            simulation.patience = SignedDuration::from_hours(2);
        }
        simulation.boundary.set_stepping(true);
        simulation
    }

    /// Whether two operators take themselves for the leader.
    pub fn is_race(&self) -> bool {
        self.random.is_some()
    }

    /// Whether somebody was frozen for longer than a leader can be.
    pub fn lease_was_lost(&self) -> bool {
        self.frozen > HICCUP
    }

    /// From now on one operator works, the other one is gone with all it knew.
    pub fn end_race(&mut self) {
        self.random = None;
        self.boundary.set_stepping(false);
        self.processes.truncate(1);
        // A call under way is lost with its process.
        self.restart();
    }

    /// The operator is killed and started again.
    pub fn restart(&mut self) {
        let fresh = |process: &Process| Process::start(&self.outside, process.boundary.clone());
        self.processes = self.processes.iter().map(fresh).collect();
    }

    /// The operator is down while something happens.
    pub fn while_down(&mut self, happens: impl FnOnce(&Outside)) {
        happens(&self.outside);
        self.restart();
    }

    /// Lets the operator work for a while.
    pub fn run(&mut self, time: SignedDuration) {
        let end = self.outside.now() + time;
        let enough = self.reconciles + RECONCILES * self.processes.len() * if self.random.is_some() { 40 } else { 1 };
        loop {
            for process in &mut self.processes {
                process.watch(&self.outside);
                process.sweep(&self.outside);
            }
            if !self.step() {
                let next = self.processes.iter().flat_map(|process| process.queue.values().map(|(at, _)| *at)).min();
                match next.filter(|next| *next <= end) {
                    Some(next) => self.outside.set_now(next),
                    None => break,
                }
            }
            self.reconciles += 1;
            assert!(self.reconciles < enough, "a hot loop: {} reconciles by {}", self.reconciles, self.outside.now());
        }
        self.outside.set_now(end);
    }

    /// One process goes on; false where none has anything to do now.
    fn step(&mut self) -> bool {
        let outside = self.outside.clone();
        let Some(random) = &mut self.random else {
            let process = &mut self.processes[0];
            let goes_on = process.running.is_some() || process.begin(&outside, false);
            process.poll(&outside);
            return goes_on;
        };
        if random.u8(..) < 2 && self.frozen < self.patience {
            let freeze = SignedDuration::from_secs(random.i64(1..=(self.patience - self.frozen).as_secs().min(1_200)));
            self.frozen += freeze;
            outside.pass(freeze);
        }
        let first = random.usize(..self.processes.len());
        let stale = random.u8(..) < 64;
        let order = [first, 1 - first];
        for index in order {
            let process = &mut self.processes[index];
            if process.running.is_some() || process.begin(&outside, stale) {
                process.poll(&outside);
                return true;
            }
        }
        false
    }
}

#[test]
fn invariant_6_a_restart_asks_iam_nothing_also_where_the_first_reconcile_fails() {
    let mut simulation = Simulation::new(Outside::new(Settings::default(), "2026-01-01T00:00:00Z".parse().unwrap()));
    simulation.created();
    simulation.restart();
    simulation.boundary.arm(Plan::of([(0, Fault::ErrorReturned)]));
    simulation.run(SignedDuration::from_mins(10));
    let effects = simulation.boundary.disarm();
    assert_eq!(effects, ["GetCallerIdentity operator", "GetCallerIdentity operator"]);
}
