//! The workers: each S3AccessUser that is due is admitted to its account's lane if there is anything to do, and reconciled
//! when it has a slot there.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use jiff::Timestamp;
use kube::ResourceExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::context::{Context, Scope};
use super::outcome::Outcome;
use super::panics::{AFTER_PANIC, contained};
use super::queue::{Key, WorkQueue};
use super::reconcile::{Run, reconcile};
use super::watch::cached::Opened;
use crate::api::S3AccessUser;
use crate::aws::{LaneId, at_priority};
use crate::core::priority::{Priority, Situation};
use crate::core::queue::Started;
use crate::core::reads::known::Fingerprint;
use crate::core::reads::{Current, Facts, Reads, SecretFact, needed};
use crate::core::sessions::is_due_by_status;

/// What the workers have at hand.
pub struct Workers {
    /// What is to be done.
    pub queue: Arc<WorkQueue>,
    /// The S3AccessUsers.
    pub scopes: Vec<Scope>,
}

impl Workers {
    /// Works until told to stop; what is under way is finished, and who waits is not waited for.
    pub async fn run(self, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let workers = Arc::new(self);
        let wake = |key| {
            let mut admission = Box::pin(workers.clone().wake(key));
            // Mostly there is nothing to wait for.
            if (&mut admission).now_or_never().is_none() {
                let stop = stop.clone();
                tasks.spawn(async move { stop.run_until_cancelled_owned(admission).await });
            }
        };
        let start = |started| drop(tasks.spawn(workers.clone().reconcile(started)));
        workers.queue.run(&stop, wake, start).await;
        tasks.close();
        tasks.wait().await;
    }

    fn scope(&self, key: &Key) -> Option<&Scope> {
        self.scopes.iter().find(|scope| scope.watches(key.namespace()))
    }

    /// Admits the key, or defers it.
    async fn wake(self: Arc<Self>, key: Key) {
        let Some(scope) = self.scope(&key) else { return self.queue.defer(&key, None) };
        if contained(&scope.ctx.metrics, self.find_work(scope, &key)).await.is_none() {
            self.queue.defer(&key, Some(AFTER_PANIC));
        }
    }

    /// Whether there is anything to do, how urgent it is, and in which lane.
    async fn find_work(&self, scope: &Scope, key: &Key) {
        let ctx = &scope.ctx;
        let Some(cached) = scope.newest(key) else {
            ctx.state.forget(key.uid());
            return self.queue.defer(key, None);
        };
        // Thousands may wait for a session here, so that none of them is held open.
        let work = Work::of(ctx, &cached.open().user);
        let priority = match work {
            Work::NoneUntil(until) => return self.queue.defer(key, Some(pause_until(until, ctx.now()))),
            Work::Of(priority) => priority,
        };
        let session = at_priority(priority, ctx.classes.session(cached.membership())).await;
        // Without an account there is nothing to ask of one, and still somebody to tell.
        let lane = session.map_or(LaneId::NONE, |session| session.lane());
        self.queue.admit(key.clone(), lane, priority);
    }

    async fn reconcile(self: Arc<Self>, started: Started<Key>) {
        let Started { key, priority, .. } = &started;
        let Some(scope) = self.scope(key) else { return self.queue.finish(key, None) };
        let ctx = &scope.ctx;
        let run = Run { key, priority: *priority, waited: self.queue.waited(&started) };
        // The reconcile contains a panic of its own, to tell of it on the object. What is around it, unpacking the object and that
        // very telling, is contained here: the slot comes free whatever happens.
        let work = async {
            match scope.newest(key) {
                Some(cached) => reconcile(ctx, cached.open(), run).await,
                None => {
                    ctx.state.forget(key.uid());
                    Outcome::Deleted
                }
            }
        };
        let outcome = contained(&ctx.metrics, work).await;
        let again = match outcome {
            Some(outcome) => outcome.due_at().map(|due_at| pause_until(due_at, ctx.now())),
            None => Some(AFTER_PANIC),
        };
        ctx.metrics.reconcile_ended(*priority, outcome.map_or("failed", Outcome::label), self.queue.waited(&started));
        self.queue.finish(key, again);
    }
}

/// Reconciles a user that is in no queue, as it is given.
pub async fn reconcile_now(ctx: &Context, user: Box<S3AccessUser>) -> Outcome {
    let run = Run { key: &Key::of(&user.metadata), priority: priority_of(ctx, &user), waited: Duration::ZERO };
    reconcile(ctx, Opened { user, invalid: None }, run).await
}

/// What is to be done for a user, from what is at hand without a read.
enum Work {
    /// Nothing before that time.
    NoneUntil(Timestamp),
    /// A reconcile, as urgent as that.
    Of(Priority),
}

impl Work {
    fn of(ctx: &Context, user: &S3AccessUser) -> Self {
        undisturbed_until(ctx, user).map_or_else(|| Self::Of(priority_of(ctx, user)), Self::NoneUntil)
    }
}

fn pause_until(until: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO)
}

/// How urgent a reconcile of the user is, from what is at hand without a read.
fn priority_of(ctx: &Context, user: &S3AccessUser) -> Priority {
    let uid = user.uid().unwrap_or_default();
    let known = ctx.state.known(&uid);
    let settled = known.settled.as_ref();
    let asks_anew = settled
        .zip(known.enforced_revision)
        .is_some_and(|(settled, revision)| settled.fingerprint != Fingerprint::of(user, revision).all);
    let has_changed = |version: &str| ctx.kubernetes.secret_has_changed(&user.metadata, &user.secret_name(), version);
    let secret_changed = settled.is_some_and(|settled| has_changed(&settled.secret_version));
    Situation {
        generation: user.metadata.generation,
        revokes: known.revokes_urgently(user),
        deleting: user.metadata.deletion_timestamp.is_some(),
        finalized: user.is_finalized(),
        status: user.status.as_ref(),
        session_due: is_due_by_status(user, ctx.now()),
        begun: known.minted.is_some(),
        failures: known.failures,
        asks_anew,
        secret_changed,
    }
    .priority()
}

/// Where the watches show nothing but what the last reconcile has left, and that ended with everything done, the time of
/// the next one: each Secret that is written comes back as an event, and calls for nothing.
fn undisturbed_until(ctx: &Context, user: &S3AccessUser) -> Option<Timestamp> {
    let uid = user.uid()?;
    let known = ctx.state.known(&uid);
    if known.untold.is_some() || known.unused_suspected {
        return None;
    }
    let (name, version) = (user.secret_name(), &known.settled.as_ref()?.secret_version);
    let alone = ctx.kubernetes.secret_names_of(&user.metadata) == [name.as_str()];
    let current = Current {
        user,
        fingerprint: Fingerprint::of(user, ctx.classes.revision(user)?),
        secret: None,
        session: None,
        alone,
        by_status: None,
        resync: (ctx.resync_interval, ctx.now()),
        retain: false,
        swept: false,
    };
    let facts = Facts::of(&known, &current);
    let changed = !alone || ctx.kubernetes.secret_has_changed(&user.metadata, &name, version);
    let secret = if changed { SecretFact::Changed } else { facts.secret };
    match needed(&Facts { secret, ..facts }, ctx.now(), None) {
        Reads::Nothing { until } => Some(until),
        _ => None,
    }
}
