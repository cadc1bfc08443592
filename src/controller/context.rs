//! What every reconcile shares, and what one of them is about.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::runtime::reflector::Store;

use super::class::{ClassResolver, ResolvedClass};
use super::error::Error;
use super::state::State;
use super::watch::CachedUser;
use crate::api::S3AccessUser;
use crate::core::desired::{Desired, Owner};
use crate::core::drift::Coverage;
use crate::core::names::Cluster;
use crate::core::plan::Waits;
use crate::kubernetes::Kubernetes;
use crate::leadership::Leadership;
use crate::metrics::Metrics;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What every reconcile shares.
pub struct Context {
    /// The cluster, for names and ownership.
    pub cluster: Cluster,
    /// Kubernetes.
    pub kubernetes: Arc<dyn Kubernetes>,
    /// Classes and accounts.
    pub classes: Arc<dyn ClassResolver>,
    /// The S3AccessUsers as the watch has them now: who has waited in the queue is reconciled as it is then. `None` takes
    /// each as it was given.
    pub users: Option<Store<CachedUser>>,
    /// What this process knows of each S3AccessUser.
    pub state: Arc<State>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The accounts that the bulk read answers for.
    pub coverage: Arc<Coverage>,
    /// Waits within a reconcile.
    pub waits: Waits,
    /// The interval of drift detection for a Ready user.
    pub resync_interval: SignedDuration,
    /// The clock.
    pub clock: Clock,
    /// Whether to write.
    pub leadership: Leadership,
}

impl Context {
    /// The time.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// # Errors
    /// [`Error::NotLeading`]: another process may have taken over meanwhile.
    pub fn may_write(&self) -> Result<(), Error> {
        Ok(self.leadership.check(self.now())?)
    }
}

/// One reconcile of one S3AccessUser.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    /// What all share.
    pub ctx: &'a Context,
    /// Its class and account.
    pub resolved: &'a ResolvedClass,
    /// The CR.
    pub user: &'a S3AccessUser,
    /// Who owns what.
    pub owner: &'a Owner,
    /// What should be; `None` where the CR is being deleted.
    pub desired: Option<&'a Desired>,
}

impl Pass<'_> {
    /// The CR's UID.
    pub fn uid(&self) -> &str {
        &self.owner.identity.uid
    }
}
