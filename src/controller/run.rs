//! The wiring: S3AccessUsers and the metadata of their Secrets are watched in each scope, and queued and reconciled together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{join, join_all};
use jiff::Timestamp;
use kube::runtime::reflector::{self, Store};
use kube::{Api, Client, Resource, ResourceExt};
use tokio_util::sync::CancellationToken;

use super::account::{Beat, Sweeper};
use super::class::{ClassResolver, Classes, OneAccount, Watched};
use super::context::{Context, Options, Scope};
use super::own_key::Rotator;
use super::queue::WorkQueue;
use super::state::State;
use super::watch::{self, cached::CachedUser};
use super::worker::Workers;
use crate::core::drift::Coverage;
use crate::kubernetes::{KubeClient, SecretNames};
use crate::metrics::{Metrics, UserMetrics};

/// How often the gauges of users are counted anew.
const COUNT_INTERVAL: Duration = Duration::from_secs(15);

/// Reconciles until told to stop; what is under way is finished.
pub async fn run(client: Client, options: Options, stop: CancellationToken) {
    let namespaces: Vec<Option<String>> =
        if options.namespaces.is_empty() { vec![None] } else { options.namespaces.iter().cloned().map(Some).collect() };
    let watched = options.classes.then(|| Watched::new(&client, &options));
    let classes: Arc<dyn ClassResolver> = match &watched {
        Some(watched) => watched.classes.clone(),
        None => Arc::new(OneAccount::new(options.own_account())),
    };
    let shared = Shared {
        classes: classes.clone(),
        coverage: Arc::default(),
        queue: Arc::new(WorkQueue::new(options.slots, options.metrics.clone())),
    };
    let (scopes, watches): (Vec<_>, Vec<_>) =
        namespaces.into_iter().map(|namespace| scoped(&client, namespace, &options, &shared)).unzip();
    let sweeper = Sweeper {
        cluster: options.cluster.clone(),
        classes,
        scopes: scopes.clone(),
        metrics: options.metrics.clone(),
        details: Beat { coverage: shared.coverage, interval: options.resync_interval },
        alarm: Beat::each(options.alarm_interval),
        last_uses: Beat::each(options.report_interval),
        heard: Mutex::default(),
        leadership: options.leadership.clone(),
        sees_all: options.namespaces.is_empty() && options.class_selector.is_none(),
    };
    let rotating = rotate_own_key(&options);
    let workers = Workers { queue: shared.queue, scopes: scopes.clone() };
    let known = watched.as_ref().map(|watched| watched.classes.clone());
    let working = async {
        // Before the classes are known, each of the users would wait for them with a task of its own.
        if let Some(classes) = &known {
            stop.run_until_cancelled(classes.ready()).await;
        }
        workers.run(stop.clone()).await;
    };
    let stores = scopes.iter().map(|scope| scope.users.clone()).collect();
    let counting = count_users(stores, known.clone(), options.metrics.clone(), options.user_metrics);
    let classes = match watched {
        Some(watched) => {
            let stop = stop.clone();
            // It ends when told to; what is under way elsewhere is still to be finished.
            watched.run(&client, scopes, options.leadership.clone(), stop).then(|()| std::future::pending()).boxed()
        }
        None => std::future::pending().boxed(),
    };
    tokio::select! {
        () = working => {}
        _ = join_all(watches) => {}
        () = counting => {}
        () = sweeper.run() => {}
        () = rotating => {}
        () = classes => {}
    }
}

/// Looks after the operator's own key, where it is asked to.
async fn rotate_own_key(options: &Options) {
    match &options.own_key {
        Some(secret) => {
            let rotator = Rotator {
                session: options.session.clone(),
                secret: secret.clone(),
                waits: options.waits,
                leadership: options.leadership.clone(),
                metrics: options.metrics.clone(),
                clock: Arc::new(Timestamp::now),
                memory: Default::default(),
            };
            rotator.run().await;
        }
        None => std::future::pending().await,
    }
}

/// What all scopes share.
struct Shared {
    classes: Arc<dyn ClassResolver>,
    coverage: Arc<Coverage>,
    queue: Arc<WorkQueue>,
}

/// A scope, and the watches that keep it.
fn scoped(
    client: &Client,
    namespace: Option<String>,
    options: &Options,
    shared: &Shared,
) -> (Scope, impl Future + use<>) {
    let names = Arc::new(SecretNames::default());
    let (users, cache) = reflector::store();
    let ctx = Arc::new(Context {
        cluster: options.cluster.clone(),
        own_namespace: options.own_namespace.clone(),
        kubernetes: Arc::new(KubeClient::new(client.clone(), names.clone())),
        classes: shared.classes.clone(),
        coverage: shared.coverage.clone(),
        state: Arc::new(State::default()),
        metrics: options.metrics.clone(),
        waits: options.waits,
        resync_interval: options.resync_interval,
        clock: Arc::new(Timestamp::now),
        leadership: options.leadership.clone(),
    });
    let (of_users, of_secrets) = (scoped_api(client, namespace.as_deref()), scoped_api(client, namespace.as_deref()));
    let queue = shared.queue.clone();
    let scope = Scope { namespace, users, listed: CancellationToken::new(), ctx, queue };
    let secrets = watch::secrets(of_secrets, names, scope.clone());
    (scope.clone(), join(watch::users(of_users, cache, scope), secrets))
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
        let (now, mut least) = (Timestamp::now(), 1.0_f64);
        for user in stores.iter().flat_map(Store::state) {
            let of = |classes: &Arc<Classes>| classes.class_of(user.membership()).ok().flatten();
            let class = classes.as_ref().and_then(of).map(|class| class.name_any());
            let (ready, not_ready) = counts.entry(class.unwrap_or_default()).or_default();
            let is_ready = user.is_ready();
            least = least.min(user.session().map_or(1.0, |session| session.life_left(now)));
            *(if is_ready { ready } else { not_ready }) += 1;
            if each {
                let name = (user.key().namespace().to_owned(), user.key().name().to_owned());
                metrics.set_user(&name.0, &name.1, is_ready);
                gone.remove(&name);
                told.insert(name);
            }
        }
        gone.iter().for_each(|(namespace, name)| metrics.forget_user(namespace, name));
        metrics.set_session_life_left(least);
        for (class, (ready, not_ready)) in &counts {
            metrics.set_users(class, *ready, *not_ready);
        }
    }
}
