//! The watch on S3AccessUsers: how they are cached, and which of its events are changes.

mod cached;
mod changes;

use std::sync::Arc;

use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

pub use cached::{CachedUser, Membership, Opened};
pub use changes::ChangeFilter;

use super::state::State;

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
