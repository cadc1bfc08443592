//! The watches on S3AccessUsers and on the metadata of their Secrets: how users are cached, and which events are changes.

mod cached;
mod changes;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use futures::future::ready;
use futures::{Stream, TryStreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Resource, ResourceExt};
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

pub use cached::{CachedUser, Membership, Opened};
pub use changes::ChangeFilter;

use super::state::State;
use crate::api::{MANAGED_BY_LABEL, MANAGER};
use crate::kubernetes::SecretNames;

/// Objects a page of the initial lists. An object has at most one and a half megabytes in etcd, so that a page takes no more
/// than a few times 12 MB of memory, whatever stands in it.
const PAGE: u32 = 8;
/// The pages of metadata alone, of which an object has a quarter of a megabyte at most.
const METADATA_PAGE: u32 = 100;

/// The S3AccessUsers of one watched scope.
#[derive(Clone)]
pub struct Scope {
    /// As the watch has them.
    pub users: Store<CachedUser>,
    /// Cancelled once the initial list is complete; until then an empty store means nothing.
    pub listed: CancellationToken,
    /// What is known of them.
    pub state: Arc<State>,
    /// Enqueues one.
    pub again: UnboundedSender<ObjectRef<CachedUser>>,
}

/// The S3AccessUsers that have changed, as they are cached on the way.
pub fn users(
    api: Api<CachedUser>,
    cache: Writer<CachedUser>,
    state: Arc<State>,
    listed: CancellationToken,
) -> impl Stream<Item = Result<CachedUser, watcher::Error>> + use<> {
    let mut changes = ChangeFilter::new(false, CachedUser::change_digest);
    watch(api, watcher::Config::default().page_size(PAGE))
        .default_backoff()
        .reflect(cache)
        .inspect_ok(move |event| {
            if matches!(event, Event::InitDone) {
                listed.cancel();
            }
            if let Event::Apply(user) | Event::InitApply(user) = event {
                let version = user.resource_version().and_then(|version| version.parse().ok());
                state.watched(user.meta().uid.as_deref().unwrap_or_default(), version.unwrap_or_default());
            }
        })
        .try_filter_map(move |event| ready(Ok(changes.of(event))))
}

/// The Secrets that have changed or are gone; their names are followed on the way.
pub fn secrets(
    api: Api<PartialObjectMeta<Secret>>,
    names: Arc<SecretNames>,
) -> impl Stream<Item = Result<PartialObjectMeta<Secret>, watcher::Error>> + use<> {
    let owned = watcher::Config::default().labels(&format!("{MANAGED_BY_LABEL}={MANAGER}")).page_size(METADATA_PAGE);
    let mut changes = ChangeFilter::new(true, resource_version);
    watch(api, owned)
        .default_backoff()
        .inspect_ok(move |event| names.follow(event))
        .try_filter_map(move |event| ready(Ok(changes.of(event))))
}

/// The S3AccessUser that controls a Secret.
pub fn owner_of(secret: &PartialObjectMeta<Secret>) -> Option<ObjectRef<CachedUser>> {
    let owner = secret.owner_references().iter().find(|owner| owner.controller == Some(true))?;
    Some(ObjectRef::new(&owner.name).within(&secret.namespace().unwrap_or_default()))
}

fn resource_version<K: Resource>(object: &K) -> u64 {
    let mut hasher = DefaultHasher::new();
    object.meta().resource_version.hash(&mut hasher);
    hasher.finish()
}
