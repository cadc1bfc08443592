//! The wiring: S3AccessUsers and the metadata of their Secrets are watched, queued and reconciled, by one controller for
//! each watched scope.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, ready};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{Controller, controller};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;

use super::class::{ClassResolver, Classes, OneAccount, Watched};
use super::context::Context;
use super::drift::Sweeper;
use super::options::Options;
use super::outcome::Outcome;
use super::panics::{contained, contained_now};
use super::queue::{Item, WorkQueue, promote, undisturbed_until};
use super::reconcile::reconcile_in_slot;
use super::state::State;
use super::watch::{self, CachedUser, Scope};
use crate::core::drift::Coverage;
use crate::kubernetes::{KubeClient, SecretNames};
use crate::metrics::{Metrics, UserMetrics};

/// How often the gauges of users are counted anew.
const COUNT_INTERVAL: Duration = Duration::from_secs(15);
/// Before an object is reconciled again at which the operator failed by a defect of its own.
const AFTER_PANIC: Duration = Duration::from_secs(60);

/// Reconciles until told to stop; what is under way is finished.
pub async fn run(client: Client, options: Options, stop: CancellationToken) {
    let scopes: Vec<Option<String>> =
        if options.namespaces.is_empty() { vec![None] } else { options.namespaces.iter().cloned().map(Some).collect() };
    let watched = options.classes.then(|| Watched::new(&client, &options));
    let classes: Arc<dyn ClassResolver> = match &watched {
        Some(watched) => watched.classes.clone(),
        None => Arc::new(OneAccount::new(options.session.clone(), options.defaults.clone())),
    };
    let coverage = Arc::new(Coverage::default());
    let shared = Shared { classes: classes.clone(), coverage: coverage.clone(), stop: stop.clone() };
    let (scopes, controllers): (Vec<_>, Vec<_>) =
        scopes.iter().map(|scope| scoped(&client, scope.as_deref(), &options, &shared)).unzip();
    let sweeper = Sweeper {
        cluster: options.cluster.clone(),
        classes,
        scopes: scopes.clone(),
        coverage,
        metrics: options.metrics.clone(),
        interval: options.resync_interval,
        leadership: options.leadership.clone(),
        sees_all: options.namespaces.is_empty() && options.class_selector.is_none(),
    };
    let stores = scopes.iter().map(|scope| scope.users.clone()).collect();
    let classes = watched.as_ref().map(|watched| watched.classes.clone());
    let counting = count_users(stores, classes, options.metrics.clone(), options.user_metrics);
    let classes = match watched {
        Some(watched) => {
            // It ends when told to; what is under way elsewhere is still to be finished.
            watched.run(&client, scopes, options.leadership.clone(), stop).then(|()| std::future::pending()).boxed()
        }
        None => std::future::pending().boxed(),
    };
    tokio::select! {
        _ = join_all(controllers) => {}
        () = counting => {}
        () = sweeper.run() => {}
        () = classes => {}
    }
}

/// What all scopes share.
struct Shared {
    classes: Arc<dyn ClassResolver>,
    coverage: Arc<Coverage>,
    stop: CancellationToken,
}

fn scoped(
    client: &Client,
    namespace: Option<&str>,
    options: &Options,
    shared: &Shared,
) -> (Scope, impl Future<Output = ()> + use<>) {
    let secret_names = Arc::new(SecretNames::default());
    let (state, listed) = (Arc::new(State::default()), CancellationToken::new());
    let (user_store, user_writer) = reflector::store();
    let secrets = watch::secrets(scoped_api(client, namespace), secret_names.clone());
    let users = watch::users(scoped_api(client, namespace), user_writer, state.clone(), listed.clone());
    let ctx = Arc::new(Context {
        cluster: options.cluster.clone(),
        kubernetes: Arc::new(KubeClient::new(client.clone(), secret_names)),
        classes: shared.classes.clone(),
        coverage: shared.coverage.clone(),
        users: Some(user_store.clone()),
        state: state.clone(),
        metrics: options.metrics.clone(),
        waits: options.waits,
        resync_interval: options.resync_interval,
        clock: Arc::new(Timestamp::now),
        leadership: options.leadership.clone(),
    });
    let (again, mut due) = unbounded_channel();
    let queue = Arc::new(WorkQueue::new(again.clone()));
    // Each account has slots of its own, so that one that is dead keeps nobody else waiting.
    let config = controller::Config::default().concurrency(0);
    let (edited, touched, of_secrets) = (ctx.clone(), ctx.clone(), user_store.clone());
    let (vanished, left) = (ctx.clone(), queue.clone());
    let users = users.inspect_ok(move |user| {
        let _ = contained_now(&edited.metrics, || promote(&edited, user));
    });
    let secrets = secrets.inspect_ok(move |secret| {
        if let Some(user) = watch::owner_of(secret).and_then(|owner| of_secrets.get(&owner)) {
            contained_now(&touched.metrics, || promote(&touched, &user));
        }
    });
    let controller = Controller::for_stream(users, user_store.clone())
        .with_config(config)
        .owns_stream(secrets)
        .reconcile_on(stream::poll_fn(move |cx| due.poll_recv(cx)))
        .graceful_shutdown_on(shared.stop.clone().cancelled_owned())
        .run(reconcile, never_fails, Arc::new((ctx, queue)))
        .for_each(move |result| {
            match result {
                Err(controller::Error::ObjectNotFound(reference)) => {
                    if let Some(slot) = left.take(&reference) {
                        slot.gone(&vanished);
                    }
                }
                Err(error) => tracing::debug!(%error, "a stream had an error"),
                Ok(_) => {}
            }
            ready(())
        });
    (Scope { users: user_store, listed, state, again }, controller)
}

fn scoped_api<K: Resource<Scope = kube::core::NamespaceResourceScope>>(
    client: &Client,
    namespace: Option<&str>,
) -> Api<K>
where
    K::DynamicType: Default,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// What a reconcile has at hand.
type Desk = (Arc<Context>, Arc<WorkQueue>);

/// Reconciles whoever has a slot, and queues everybody else.
async fn reconcile(user: Arc<CachedUser>, desk: Arc<Desk>) -> Result<controller::Action, Infallible> {
    // kube ends a stream for a panic, and with it the process.
    let done = contained(&desk.0.metrics, reconcile_or_queue(&user, &desk)).await;
    Ok(done.unwrap_or_else(|| controller::Action::requeue(AFTER_PANIC)))
}

async fn reconcile_or_queue(user: &CachedUser, desk: &Desk) -> controller::Action {
    let (ctx, queue) = desk;
    let reference = ObjectRef::new(&user.name_any()).within(&user.namespace().unwrap_or_default());
    let mut slot = queue.take(&reference);
    if let Some(slot) = slot.take_if(|slot| Some(&slot.uid) == user.meta().uid.as_ref()) {
        return action(reconcile_in_slot(ctx, &reference, slot, None).await, ctx.now());
    }
    if let Some(predecessor) = slot {
        predecessor.gone(ctx);
    }
    let user = user.open().user;
    if let Some(until) = undisturbed_until(ctx, &user) {
        return action(Outcome::Deferred(until), ctx.now());
    }
    queue.add(&reference, || Item::new(ctx, &user).slot(ctx.clone()));
    controller::Action::await_change()
}

fn action(outcome: Outcome, now: Timestamp) -> controller::Action {
    match outcome.due_at() {
        Some(due_at) => {
            controller::Action::requeue(Duration::try_from(due_at.duration_since(now)).unwrap_or(Duration::ZERO))
        }
        None => controller::Action::await_change(),
    }
}

fn never_fails(_: Arc<CachedUser>, error: &Infallible, _: Arc<Desk>) -> controller::Action {
    match *error {}
}

async fn count_users(
    stores: Vec<Store<CachedUser>>,
    classes: Option<Arc<Classes>>,
    metrics: Arc<Metrics>,
    each: UserMetrics,
) {
    let mut ticks = tokio::time::interval(COUNT_INTERVAL);
    let mut counts: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    let mut told: BTreeSet<(String, String)> = BTreeSet::new();
    loop {
        ticks.tick().await;
        // A class without users any more is told to have none.
        counts.values_mut().for_each(|count| *count = (0, 0));
        let each = each.is_on_for(stores.iter().map(|store| store.len()).sum());
        let mut gone = std::mem::take(&mut told);
        for user in stores.iter().flat_map(Store::state) {
            let of = |classes: &Arc<Classes>| classes.class_of(user.membership()).ok().flatten();
            let class = classes.as_ref().and_then(of).map(|class| class.name_any());
            let (ready, not_ready) = counts.entry(class.unwrap_or_default()).or_default();
            let is_ready = user.is_ready();
            *(if is_ready { ready } else { not_ready }) += 1;
            if each {
                let name = (user.namespace().unwrap_or_default(), user.name_any());
                metrics.set_user(&name.0, &name.1, is_ready);
                gone.remove(&name);
                told.insert(name);
            }
        }
        gone.iter().for_each(|(namespace, name)| metrics.forget_user(namespace, name));
        for (class, (ready, not_ready)) in &counts {
            metrics.set_users(class, *ready, *not_ready);
        }
    }
}
