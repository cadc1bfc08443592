//! What the controllers are made of, what every reconcile shares, and what one of them is about.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::runtime::reflector::{ObjectRef, Store};
use tokio_util::sync::CancellationToken;

use super::class::{ClassResolver, OwnAccount, ResolvedClass};
use super::error::Error;
use super::own_key::OwnSecret;
use super::queue::{Key, WorkQueue};
use super::state::State;
use super::watch::cached::CachedUser;
use crate::api::S3AccessUser;
use crate::aws::{Session, SessionOptions};
use crate::core::class::Defaults;
use crate::core::desired::{Desired, Owner};
use crate::core::drift::Coverage;
use crate::core::names::{Cluster, key_secret};
use crate::core::observed::Place;
use crate::core::plan::Waits;
use crate::core::reads::known::Fingerprint;
use crate::core::sessions::Sessions;
use crate::kubernetes::Kubernetes;
use crate::leadership::Leadership;
use crate::metrics::{Metrics, UserMetrics};

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

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
    /// The Secret with the operator's own key, where that is to be rotated.
    pub own_key: Option<OwnSecret>,
    /// For what a class does not say of its users.
    pub defaults: Defaults,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// How many users of one account are reconciled side by side.
    pub slots: usize,
    /// Whether each user has a metric of its own.
    pub user_metrics: UserMetrics,
    /// Waits within a reconcile.
    pub waits: Waits,
    /// How often each account is asked for AWS's alarm of keys found in public; zero: never.
    pub alarm_interval: SignedDuration,
    /// How often each account is asked for its credential report; zero: never.
    pub report_interval: SignedDuration,
    /// The interval of drift detection for a Ready user.
    pub resync_interval: SignedDuration,
    /// Whether to write.
    pub leadership: Leadership,
}

impl Options {
    /// The operator's own account, for those who are in no class.
    pub fn own_account(&self) -> OwnAccount {
        OwnAccount::new(self.session.clone(), self.defaults.clone(), Some(self.cluster.clone()))
    }
}

/// What every reconcile shares.
pub struct Context {
    /// The cluster, for names and ownership.
    pub cluster: Cluster,
    /// The operator's own namespace.
    pub own_namespace: String,
    /// Kubernetes.
    pub kubernetes: Arc<dyn Kubernetes>,
    /// Classes and accounts.
    pub classes: Arc<dyn ClassResolver>,
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

/// The S3AccessUsers of one watched scope.
#[derive(Clone)]
pub struct Scope {
    /// The namespace; `None`: all.
    pub namespace: Option<String>,
    /// The S3AccessUsers as the watch has them.
    pub users: Store<CachedUser>,
    /// Cancelled once the initial list is complete; until then an empty cache means nothing.
    pub listed: CancellationToken,
    /// What their reconciles share.
    pub ctx: Arc<Context>,
    /// Where they are queued.
    pub queue: Arc<WorkQueue>,
}

impl Scope {
    /// Whether that namespace is in it.
    pub fn watches(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|watched| watched == namespace)
    }

    /// The user as the watch has it now, which may be newer than what it was queued for. `None`: it is gone.
    pub fn newest(&self, key: &Key) -> Option<Arc<CachedUser>> {
        self.users.get(&ObjectRef::new(key.name()).within(key.namespace())).filter(|found| found.key() == key)
    }

    /// Something has happened that concerns the user: the queue finds out whether there is anything to do.
    pub fn add(&self, user: &CachedUser) {
        self.queue.add(user.key().clone());
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
    /// What is asked for, in short.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.user, self.resolved.revision)
    }

    /// The CR's UID.
    pub fn uid(&self) -> &str {
        &self.owner.identity.uid
    }

    /// The namespace and the name of a Secret.
    pub fn secret_at(&self, place: &Place) -> (&str, String) {
        match place {
            Place::Keys => (&self.ctx.own_namespace, key_secret(self.uid())),
            Place::Workload(name) => (&self.owner.identity.namespace, name.clone()),
        }
    }

    /// Whether the workload is to have sessions.
    pub fn sessions(&self) -> Option<Sessions> {
        self.desired.and_then(|desired| desired.sessions)
    }
}
