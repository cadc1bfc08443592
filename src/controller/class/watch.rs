//! The streams around the classes: the classes themselves, the metadata of Namespaces, and the Secrets with credentials.
//! There are few of them, and no account to share, so that kube's own `Controller` queues them.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use futures::future::ready;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::core::PartialObjectMeta;
use kube::runtime::controller::Action;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{Controller, Predicate, PredicateConfig, WatchStreamExt, controller, predicates, watcher};
use kube::{Api, Client, ResourceExt};
use tokio_util::sync::CancellationToken;

use super::namespaces::{Changes, Namespaces, goes_by_metadata, trim};
use super::reconcile::{ClassContext, panicked, reconcile};
use super::registry::{Classes, KnownClass, Stores};
use crate::controller::context::{Options, Scope};
use crate::controller::panics::{AFTER_PANIC, contained};
use crate::core::class::Overlap;
use crate::leadership::Leadership;

/// Changes of Namespaces that are taken together: the first list has them all at once.
const CHUNK: usize = 1_024;

type Watch<K> = BoxStream<'static, Result<K, watcher::Error>>;

/// The classes, and what is still to be streamed into their stores.
pub struct Watched {
    /// The classes.
    pub classes: Arc<Classes>,
    store: Store<KnownClass>,
    changes: Watch<KnownClass>,
    namespaces: Watch<PartialObjectMeta<Namespace>>,
    credentials: Watch<PartialObjectMeta<Secret>>,
}

impl Watched {
    /// Prepares the watches; none is begun yet.
    pub fn new(client: &Client, options: &Options) -> Self {
        let listed: [CancellationToken; 3] = std::array::from_fn(|_| CancellationToken::new());
        let (store, writer) = reflector::store();
        let selected = watcher::Config { label_selector: options.class_selector.clone(), ..watcher::Config::default() };
        let changes = watcher(Api::<KnownClass>::all(client.clone()), selected)
            .default_backoff()
            .reflect(writer)
            .inspect_ok(tells(&listed[0]))
            .touched_objects()
            // A status is our own word.
            .predicate_filter(
                predicates::generation.combine(predicates::annotations).combine(predicates::finalizers),
                PredicateConfig::default(),
            );
        let (namespace_store, namespace_writer) = reflector::store();
        let counted = Changes::default();
        let [before, after] = [counted.clone(), counted.clone()];
        let namespaces = watcher(Api::all(client.clone()), watcher::Config::default())
            .default_backoff()
            .modify(trim)
            .inspect_ok(move |_| before.count())
            .reflect(namespace_writer)
            .inspect_ok(move |_| after.count())
            .inspect_ok(tells(&listed[1]))
            .touched_objects()
            // Also a deletion, with which another namespace's buckets may come free.
            .predicate_filter(predicates::resource_version, PredicateConfig::default());
        let (credential_store, credential_writer) = reflector::store();
        let own = &options.own_namespace;
        let credentials = watcher(Api::namespaced(client.clone(), own), watcher::Config::default())
            .default_backoff()
            .modify(|secret: &mut PartialObjectMeta<Secret>| {
                secret.managed_fields_mut().clear();
                secret.annotations_mut().clear();
            })
            .reflect(credential_writer)
            .inspect_ok(tells(&listed[2]))
            .touched_objects()
            .predicate_filter(predicates::resource_version, PredicateConfig::default());
        let classes = Arc::new(Classes {
            stores: Stores {
                classes: store.clone(),
                namespaces: Namespaces::of(namespace_store, counted),
                credentials: credential_store,
                listed,
            },
            secrets: Api::namespaced(client.clone(), own),
            own: options.own_account(),
            require_class: options.require_class,
            sharded: options.class_selector.is_some(),
            session_options: options.session_options.clone(),
            defaults: options.session_options.provider.in_classes(options.defaults.clone()),
            leadership: options.leadership.clone(),
            metrics: options.metrics.clone(),
            sessions: Mutex::default(),
        });
        Self {
            classes,
            store,
            changes: changes.boxed(),
            namespaces: namespaces.boxed(),
            credentials: credentials.boxed(),
        }
    }

    /// Reconciles classes until told to stop.
    pub async fn run(self, client: &Client, scopes: Vec<Scope>, leadership: Leadership, stop: CancellationToken) {
        let ctx = Arc::new(ClassContext {
            classes: self.classes,
            scopes,
            api: Api::all(client.clone()),
            leadership,
            enqueued: Mutex::new(HashMap::new()),
            tried: Mutex::default(),
        });
        let store = self.store.clone();
        let using = move |secret: PartialObjectMeta<Secret>| {
            let name = secret.name_any();
            let uses = move |class: &Arc<KnownClass>| {
                class.spec.credentials_secret_ref.as_ref().is_some_and(|reference| reference.name == name)
            };
            store.state().into_iter().filter(uses).map(|class| ObjectRef::from_obj(&*class)).collect::<Vec<_>>()
        };
        let controller = Controller::for_stream(self.changes, self.store)
            .watches_stream(self.credentials, using)
            .graceful_shutdown_on(stop.cancelled_owned())
            .run(reconcile_contained, never_fails, ctx.clone())
            .for_each(|result| {
                if let Err(controller::Error::QueueError(error)) = result {
                    tracing::warn!(%error, "S3AccessClasses cannot be watched, and until they can nothing is reconciled: are the CRDs and the RBAC of this version applied?");
                }
                ready(())
            });
        // The watch begins again after an error.
        let namespaces = self.namespaces.ready_chunks(CHUNK).for_each(|namespaces| {
            let changed = namespaces.into_iter().filter_map(|namespace| namespace.ok().map(|found| found.name_any()));
            call_namespaces(&ctx, &changed.collect());
            ready(())
        });
        tokio::select! {
            () = controller => {}
            () = namespaces => {}
        }
    }
}

/// Tells that the first list is in.
fn tells<K>(listed: &CancellationToken) -> impl FnMut(&watcher::Event<K>) + use<K> {
    let listed = listed.clone();
    move |event| {
        if matches!(event, watcher::Event::InitDone) {
            listed.cancel();
        }
    }
}

/// The metadata of a Namespace may decide which classes its users may use, and which buckets; its being there may decide
/// which buckets those of others may.
fn call_namespaces(ctx: &ClassContext, changed: &BTreeSet<String>) {
    let classes = ctx.classes.stores.classes.state();
    let own = classes.iter().any(|class| goes_by_metadata(&class.spec));
    let overlap = classes.iter().map(|class| Overlap::of(&class.spec)).max().unwrap_or(Overlap::None);
    if !own && overlap == Overlap::None {
        return;
    }
    let concerned = |namespace: &str| match overlap {
        Overlap::None => false,
        Overlap::Beginning => {
            changed.range(namespace.to_owned()..).next().is_some_and(|name| name.starts_with(namespace))
        }
        Overlap::Within => changed.iter().any(|name| name.contains(namespace)),
    };
    for scope in &ctx.scopes {
        for user in scope.users.state() {
            let namespace = user.key().namespace();
            if (own && changed.contains(namespace)) || concerned(namespace) {
                scope.add(&user);
            }
        }
    }
}

async fn reconcile_contained(class: Arc<KnownClass>, ctx: Arc<ClassContext>) -> Result<Action, Infallible> {
    if let Some(action) = contained(&ctx.classes.metrics, reconcile(&ctx, &class)).await {
        return Ok(action);
    }
    // kube ends a stream for a panic, and with it the process.
    let told = contained(&ctx.classes.metrics, panicked(&ctx, &class)).await;
    Ok(told.unwrap_or_else(|| Action::requeue(AFTER_PANIC)))
}

fn never_fails(_: Arc<KnownClass>, error: &Infallible, _: Arc<ClassContext>) -> Action {
    match *error {}
}
