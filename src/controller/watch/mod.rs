//! The watches on S3AccessUsers and on the metadata of their Secrets: how users are cached, and which events are changes.

pub mod cached;
mod changes;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::pin;
use std::sync::Arc;

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Resource, ResourceExt};
use tracing::warn;

pub use changes::ChangeFilter;

use self::cached::{Arrived, CachedUser};
use super::context::Scope;
use super::queue::Key;
use crate::api::{MANAGED_BY_LABEL, MANAGER};
use crate::core::schedule::fnv;
use crate::kubernetes::SecretNames;
use crate::kubernetes::secret::user_of;

/// Objects a page of the initial lists. An object has at most one and a half megabytes in etcd, and all of it may be labels and
/// owner references, so that a page takes no more than a few times 12 MB of memory, whatever stands in it.
const PAGE: u32 = 8;

/// Streams the S3AccessUsers into the cache, and queues those that have changed.
pub async fn users(api: Api<Arrived>, mut cache: Writer<CachedUser>, scope: Scope) {
    let events = watch(api, watcher::Config::default().page_size(PAGE)).default_backoff();
    let events = events.map_ok(|arrived| {
        let version = match &arrived {
            Event::Apply(user) | Event::InitApply(user) => user.resource_version(),
            _ => None,
        };
        let event = kept(arrived);
        cache.apply_watcher_event(&event);
        if matches!(event, Event::InitDone) {
            scope.listed.cancel();
        }
        if let Event::Apply(user) | Event::InitApply(user) = &event {
            let version = version.and_then(|version| version.parse().ok());
            scope.ctx.state.watched(user.key().uid(), version.unwrap_or_default());
        }
        event
    });
    let uid = |user: &CachedUser| fnv(user.key().uid());
    let changes = ChangeFilter::new(uid, CachedUser::change_digest, |user| Some(user.key().clone()));
    queue_changes("S3AccessUsers", events, changes, |key| scope.queue.add(key)).await;
}

fn kept(event: Event<Arrived>) -> Event<CachedUser> {
    match event {
        Event::Apply(user) => Event::Apply(user.kept),
        Event::InitApply(user) => Event::InitApply(user.kept),
        Event::Delete(user) => Event::Delete(user.kept),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
    }
}

/// Follows the metadata of the Secrets that users control, and queues the user of each that has changed or is gone. Whoever
/// writes a Secret can name any owner in it: one that the cache does not have is not queued, or what is known of another
/// object of that UID would be forgotten.
pub async fn secrets(api: Api<PartialObjectMeta<Secret>>, names: Arc<SecretNames>, scope: Scope) {
    let owned = watcher::Config::default().labels(&format!("{MANAGED_BY_LABEL}={MANAGER}")).page_size(PAGE);
    let events = watch(api, owned).default_backoff().inspect_ok(move |event| names.follow(event));
    let wake = |key| {
        if scope.newest(&key).is_some() {
            scope.queue.add(key);
        }
    };
    let owners = scope.clone();
    // One key for both, where the cache has the user.
    let owner = move |secret: &PartialObjectMeta<Secret>| {
        let owner = owner_of(secret)?;
        Some(owners.newest(&owner).map_or(owner, |user| user.key().clone()))
    };
    queue_changes("Secrets", events, ChangeFilter::new(uid, resource_version, owner), wake).await;
}

async fn queue_changes<K>(
    kind: &str,
    events: impl Stream<Item = Result<Event<K>, watcher::Error>>,
    mut changes: ChangeFilter<K>,
    wake: impl Fn(Key),
) {
    let mut events = pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => changes.of(&event).into_iter().for_each(&wake),
            // The watch begins again after an error.
            Err(error) => {
                warn!(%error, "{kind} cannot be watched for now, and changes of them go unnoticed; trying again");
            }
        }
    }
}

/// The S3AccessUser that controls a Secret.
fn owner_of(secret: &PartialObjectMeta<Secret>) -> Option<Key> {
    let owner = user_of(&secret.metadata)?;
    Some(Key::new(&secret.namespace().unwrap_or_default(), &owner.name, &owner.uid))
}

fn uid<K: Resource>(object: &K) -> u64 {
    fnv(object.meta().uid.as_deref().unwrap_or_default())
}

fn resource_version<K: Resource>(object: &K) -> u64 {
    let mut hasher = DefaultHasher::new();
    object.meta().resource_version.hash(&mut hasher);
    hasher.finish()
}
