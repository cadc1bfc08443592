//! The streams: S3AccessUsers and the metadata of their Secrets, one controller for each watched scope.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, ready};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{Controller, WatchStreamExt, controller, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;

use super::class::Scope;
use super::class_watch::Watched;
use super::classes::Classes;
use super::context::Context;
use super::coverage::Coverage;
use super::kept::Kept;
use super::memory::Memory;
use super::news::News;
use super::outcome::Outcome;
use super::panics::{contained, contained_now};
use super::place::{OnePlace, Places};
use super::quiet::undisturbed_until;
use super::reconcile::reconcile_in_turn;
use super::sweep::Sweeper;
use super::urgency::promote;
use super::waiting::{Caller, WaitingRoom};
use crate::api::{MANAGED_BY_LABEL, MANAGER};
use crate::aws::{Session, SessionOptions};
use crate::core::class::Defaults;
use crate::core::names::Cluster;
use crate::core::plan::Waits;
use crate::kubernetes::{KubeClient, SecretNames};
use crate::leadership::Leadership;
use crate::metrics::{Metrics, UserMetrics};

/// How often the gauges of users are counted anew.
const COUNT_INTERVAL: Duration = Duration::from_secs(15);
/// Objects a page of the initial lists. An object has at most one and a half megabytes in etcd, so that a page takes no more
/// than a few times 12 MB of memory, whatever stands in it.
const PAGE: u32 = 8;
/// The pages of metadata alone, of which an object has a quarter of a megabyte at most.
const METADATA_PAGE: u32 = 100;
/// Before an object is looked at again at which the operator failed by a defect of its own.
const AFTER_PANIC: Duration = Duration::from_secs(60);

/// What the controllers are made of.
pub struct Options {
    /// Only these namespaces; empty: all.
    pub namespaces: Vec<String>,
    /// The operator's own namespace.
    pub own_namespace: String,
    /// Whether there are S3AccessClasses.
    pub classes: bool,
    /// Only classes with these labels.
    pub class_selector: Option<String>,
    /// Whether the operator's own account is closed to S3AccessUsers.
    pub require_class: bool,
    /// The cluster.
    pub cluster: Cluster,
    /// The operator's own account.
    pub session: Arc<Session>,
    /// For what a class does not say of its account.
    pub session_options: SessionOptions,
    /// For what a class does not say of its users.
    pub defaults: Defaults,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Whether each user has a metric of its own.
    pub user_metrics: UserMetrics,
    /// Waits within a reconciliation.
    pub waits: Waits,
    /// How often a settled user is looked at again.
    pub resync_interval: SignedDuration,
    /// Whether to write.
    pub leadership: Leadership,
}

/// Reconciles until told to stop; what is under way is finished.
pub async fn run(client: Client, options: Options, stop: CancellationToken) {
    let scopes: Vec<Option<String>> =
        if options.namespaces.is_empty() { vec![None] } else { options.namespaces.iter().cloned().map(Some).collect() };
    let watched = options.classes.then(|| Watched::new(&client, &options));
    let places: Arc<dyn Places> = match &watched {
        Some(watched) => watched.classes.clone(),
        None => Arc::new(OnePlace::new(options.session.clone(), options.defaults.clone())),
    };
    let coverage = Arc::new(Coverage::default());
    let shared = Shared { places: places.clone(), coverage: coverage.clone(), stop: stop.clone() };
    let (scopes, controllers): (Vec<_>, Vec<_>) =
        scopes.iter().map(|scope| scoped(&client, scope.as_deref(), &options, &shared)).unzip();
    let sweeper = Sweeper {
        cluster: options.cluster.clone(),
        places,
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
    places: Arc<dyn Places>,
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
    let followed = secret_names.clone();
    let owned = watcher::Config::default().labels(&format!("{MANAGED_BY_LABEL}={MANAGER}")).page_size(METADATA_PAGE);
    let secrets = watcher(scoped_api::<PartialObjectMeta<Secret>>(client, namespace), owned)
        .default_backoff()
        .inspect_ok(move |event| followed.follow(event))
        .try_filter_map({
            let mut news = News::new(true, resource_version);
            move |event| ready(Ok(news.of(event)))
        });

    let memory = Arc::new(Memory::default());
    let remembers = memory.clone();
    let listed = CancellationToken::new();
    let tells = listed.clone();
    let (user_store, user_writer) = reflector::store();
    let users = watcher(scoped_api::<Kept>(client, namespace), watcher::Config::default().page_size(PAGE))
        .default_backoff()
        .reflect(user_writer)
        .inspect_ok(move |event| {
            if matches!(event, watcher::Event::InitDone) {
                tells.cancel();
            }
            if let watcher::Event::Apply(user) | watcher::Event::InitApply(user) = event {
                let version = user.resource_version().and_then(|version| version.parse().ok());
                remembers.watched(user.meta().uid.as_deref().unwrap_or_default(), version.unwrap_or_default());
            }
        })
        .try_filter_map({
            let mut news = News::new(false, Kept::asked);
            move |event| ready(Ok(news.of(event)))
        });

    let ctx = Arc::new(Context {
        cluster: options.cluster.clone(),
        kubernetes: Arc::new(KubeClient::new(client.clone(), secret_names)),
        places: shared.places.clone(),
        coverage: shared.coverage.clone(),
        users: Some(user_store.clone()),
        memory: memory.clone(),
        metrics: options.metrics.clone(),
        waits: options.waits,
        resync_interval: options.resync_interval,
        clock: Arc::new(Timestamp::now),
        leadership: options.leadership.clone(),
    });
    let (look_again, mut called) = unbounded_channel();
    let room = Arc::new(WaitingRoom::new(look_again.clone()));
    // Each account has turns of its own, so that one that is dead keeps nobody else waiting.
    let config = controller::Config::default().concurrency(0);
    let (edited, touched, of_secrets) = (ctx.clone(), ctx.clone(), user_store.clone());
    let (vanished, left) = (ctx.clone(), room.clone());
    let users = users.inspect_ok(move |user| {
        let _ = contained_now(&edited.metrics, || promote(&edited, user));
    });
    let secrets = secrets.inspect_ok(move |secret| {
        let owner = secret.owner_references().iter().find(|owner| owner.controller == Some(true));
        let user = owner.and_then(|owner| {
            of_secrets.get(&ObjectRef::new(&owner.name).within(&secret.namespace().unwrap_or_default()))
        });
        if let Some(user) = user {
            contained_now(&touched.metrics, || promote(&touched, &user));
        }
    });
    let controller = Controller::for_stream(users, user_store.clone())
        .with_config(config)
        .owns_stream(secrets)
        .reconcile_on(stream::poll_fn(move |cx| called.poll_recv(cx)))
        .graceful_shutdown_on(shared.stop.clone().cancelled_owned())
        .run(look, never_fails, Arc::new((ctx, room)))
        .for_each(move |result| {
            match result {
                Err(controller::Error::ObjectNotFound(reference)) => {
                    if let Some(called) = left.leave(&reference) {
                        called.gone(&vanished);
                    }
                }
                Err(error) => tracing::debug!(%error, "a stream had an error"),
                Ok(_) => {}
            }
            ready(())
        });
    (Scope { users: user_store, listed, memory, look: look_again }, controller)
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

fn resource_version<K: Resource>(object: &K) -> u64 {
    let mut hasher = DefaultHasher::new();
    object.meta().resource_version.hash(&mut hasher);
    hasher.finish()
}

/// What a look has at hand.
type Desk = (Arc<Context>, Arc<WaitingRoom>);

/// Looks at whoever has a turn, and has everybody else wait for one.
async fn look(user: Arc<Kept>, desk: Arc<Desk>) -> Result<controller::Action, Infallible> {
    // kube ends a stream for a panic, and with it the process.
    let looked = contained(&desk.0.metrics, look_in_turn(&user, &desk)).await;
    Ok(looked.unwrap_or_else(|| controller::Action::requeue(AFTER_PANIC)))
}

async fn look_in_turn(user: &Kept, desk: &Desk) -> controller::Action {
    let (ctx, room) = desk;
    let reference = ObjectRef::new(&user.name_any()).within(&user.namespace().unwrap_or_default());
    let mut called = room.leave(&reference);
    if let Some(called) = called.take_if(|called| Some(&called.uid) == user.meta().uid.as_ref()) {
        return action(reconcile_in_turn(ctx, &reference, called, None).await, ctx.now());
    }
    if let Some(predecessor) = called {
        predecessor.gone(ctx);
    }
    let user = user.open().user;
    if let Some(due_at) = undisturbed_until(ctx, &user) {
        return action(Outcome::Deferred(due_at), ctx.now());
    }
    room.enter(&reference, || Caller::new(ctx, &user).turn(ctx.clone()));
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

fn never_fails(_: Arc<Kept>, error: &Infallible, _: Arc<Desk>) -> controller::Action {
    match *error {}
}

async fn count_users(
    stores: Vec<Store<Kept>>,
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
