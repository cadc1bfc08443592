//! What every reconciliation shares.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::runtime::reflector::Store;

use super::coverage::Coverage;
use super::error::Error;
use super::kept::Kept;
use super::memory::Memory;
use super::place::Places;
use crate::core::names::Cluster;
use crate::core::plan::Waits;
use crate::kubernetes::Kubernetes;
use crate::leadership::Leadership;
use crate::metrics::Metrics;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What every reconciliation shares.
pub struct Context {
    /// The cluster, for names and ownership.
    pub cluster: Cluster,
    /// Kubernetes.
    pub kubernetes: Arc<dyn Kubernetes>,
    /// Classes and accounts.
    pub places: Arc<dyn Places>,
    /// The S3AccessUsers as the watch has them now: who has waited for a turn is looked at as it is then. `None` takes
    /// each as it was given.
    pub users: Option<Store<Kept>>,
    /// What this process remembers.
    pub memory: Arc<Memory>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// What the bulk sweep answers for.
    pub coverage: Arc<Coverage>,
    /// Waits within a reconciliation.
    pub waits: Waits,
    /// How often a settled user is looked at again, to find drift.
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
