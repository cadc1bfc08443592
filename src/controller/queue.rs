//! The work queue: each S3AccessUser at most once, by its priority, until its account has a slot for it.
//!
//! They wait here and not in kube's runner, which polls all that it has at each wake of one of them: among ten thousand
//! that is most of the work.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures::FutureExt;
use jiff::Timestamp;
use kube::runtime::reflector::{self, ObjectRef};
use kube::{Resource, ResourceExt};
use tokio::sync::mpsc::UnboundedSender;

use super::context::Context;
use super::panics::contained;
use super::watch::{CachedUser, Membership, Opened};
use crate::api::S3AccessUser;
use crate::aws::{self, at_priority};
use crate::core::priority::{Priority, Situation};
use crate::core::reads::known::Fingerprint;
use crate::core::reads::{Current, Facts, Reads, SecretFact, needed};

/// An item of the queue: no more than it takes to find a slot, since thousands may wait.
pub struct Item {
    uid: String,
    class_name: Option<String>,
    is_finalized: bool,
    created_at: Option<Timestamp>,
    priority: Priority,
    since: Instant,
}

/// A slot for an item.
pub struct Slot {
    /// Of whom, should another S3AccessUser have its name by now.
    pub uid: String,
    /// How urgent it has become.
    pub priority: Priority,
    /// Since when it has waited.
    pub since: Instant,
    /// What the account gave; `None` where that is not known, so that there is nothing to wait for.
    pub turn: Option<aws::Slot>,
}

impl Item {
    /// An item, queued now.
    pub fn new(ctx: &Context, user: &S3AccessUser) -> Self {
        let priority = priority_of(ctx, user);
        ctx.metrics.reconcile_started(priority);
        Self {
            uid: user.metadata.uid.clone().unwrap_or_default(),
            class_name: user.spec.class_name.clone(),
            is_finalized: user.is_finalized(),
            created_at: Membership::of(user).created_at,
            priority,
            since: Instant::now(),
        }
    }

    /// Waits for a slot.
    pub async fn slot(self, ctx: impl Deref<Target = Context>) -> Slot {
        let Self { is_finalized, created_at, .. } = self;
        let member = Membership { class_name: self.class_name.as_deref(), is_finalized, created_at };
        let session = at_priority(self.priority, ctx.classes.session(member));
        let turn = match contained(&ctx.metrics, session).await {
            Some(Ok(session)) => session.slot(&self.uid, self.priority).await,
            Some(Err(_)) | None => None,
        };
        let priority = turn.as_ref().map_or(self.priority, aws::Slot::priority);
        ctx.metrics.reconcile_promoted(self.priority, priority);
        Slot { uid: self.uid, priority, since: self.since, turn }
    }
}

impl Slot {
    /// It is not there any more.
    pub fn gone(self, ctx: &Context) {
        ctx.state.forget(&self.uid);
        ctx.metrics.reconcile_ended(self.priority, "deleted", self.since.elapsed());
    }
}

/// Namespace and name, whole: tenants choose them, and two that had one digest would have one place.
type Key = Arc<(Box<str>, Box<str>)>;

/// The slot by namespace and name; `None`: it still waits.
type ByReference = HashMap<Key, Option<Box<Slot>>>;

/// The items that wait for a slot, and those that have one and are yet to be reconciled.
pub struct WorkQueue {
    /// By namespace and name, which kube goes by.
    all: Mutex<ByReference>,
    /// Has kube run one.
    call: UnboundedSender<ObjectRef<CachedUser>>,
}

impl WorkQueue {
    /// An empty one, which has those reconciled that are sent to `call`.
    pub fn new(call: UnboundedSender<ObjectRef<CachedUser>>) -> Self {
        Self { all: Mutex::default(), call }
    }

    /// Queues it, unless it is queued already, and has kube run it once it has a slot. A process that ends waits for
    /// nobody.
    pub fn add<F>(self: &Arc<Self>, reference: &ObjectRef<CachedUser>, wait: impl FnOnce() -> F)
    where
        F: Future<Output = Slot> + Send + 'static,
    {
        let key = key(reference);
        match self.all().entry(key.clone()) {
            Entry::Occupied(_) => return,
            Entry::Vacant(entry) => entry.insert(None),
        };
        let queue = self.clone();
        // An async block would hold the future twice, and there are thousands.
        tokio::spawn(wait().map(move |called| {
            let reference = ObjectRef::new(&key.1).within(&key.0);
            queue.all().insert(key, Some(Box::new(called)));
            // Nobody listens any more where the process ends.
            let _ = queue.call.send(reference);
        }));
    }

    /// Takes out what has a slot; what still waits stays.
    pub fn take<K: reflector::Lookup>(&self, reference: &ObjectRef<K>) -> Option<Slot> {
        let mut all = self.all();
        let key = key(reference);
        let called = all.get_mut(&key)?.take()?;
        all.remove(&key);
        if all.is_empty() {
            // After ten thousand have waited, their memory is given back.
            all.shrink_to_fit();
        }
        Some(*called)
    }

    fn all(&self) -> MutexGuard<'_, ByReference> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key<K: reflector::Lookup>(reference: &ObjectRef<K>) -> Key {
    Arc::new((reference.namespace.as_deref().unwrap_or_default().into(), reference.name.as_str().into()))
}

/// How urgent a reconcile of the user is, from what is at hand without a read.
pub fn priority_of(ctx: &Context, user: &S3AccessUser) -> Priority {
    let uid = user.uid().unwrap_or_default();
    let known = ctx.state.known(&uid);
    let settled = known.settled.as_ref();
    let asks_anew = settled
        .zip(known.enforced_revision)
        .is_some_and(|(settled, revision)| settled.fingerprint != Fingerprint::of(user, revision).all);
    let secret_changed = settled
        .is_some_and(|settled| ctx.kubernetes.secret_has_changed(&uid, &user.secret_name(), &settled.secret_version));
    Situation {
        generation: user.metadata.generation,
        deleting: user.metadata.deletion_timestamp.is_some(),
        finalized: user.is_finalized(),
        status: user.status.as_ref(),
        begun: known.minted.is_some(),
        failures: known.failures,
        asks_anew,
        secret_changed,
    }
    .priority()
}

/// Something has happened to a user or to its Secret: if it waits already, it may have become urgent meanwhile.
pub fn promote(ctx: &Context, user: &CachedUser) {
    let user = user.open().user;
    let priority = priority_of(ctx, &user);
    if priority < Priority::Background {
        let uid = user.uid().unwrap_or_default();
        ctx.classes.sessions().iter().for_each(|session| session.promote(&uid, priority));
    }
}

/// The user as the watch has it now, which may be newer than the copy that was queued; as it was `given` where
/// no watch keeps them. `None`: it is gone.
pub fn newest(
    ctx: &Context,
    reference: &ObjectRef<CachedUser>,
    uid: &str,
    given: Option<Box<S3AccessUser>>,
) -> Option<Opened> {
    if let Some(user) = given {
        return Some(Opened { user, invalid: None });
    }
    let found = ctx.users.as_ref()?.get(reference)?;
    (found.meta().uid.as_deref() == Some(uid)).then(|| found.open())
}

/// Where the watches show nothing but what the last reconcile has left, and that ended with everything done, the time of
/// the next one: each Secret that is written comes back as an event, and calls for nothing.
pub fn undisturbed_until(ctx: &Context, user: &S3AccessUser) -> Option<Timestamp> {
    let uid = user.uid()?;
    let known = ctx.state.known(&uid);
    let (name, version) = (user.secret_name(), &known.settled.as_ref()?.secret_version);
    let alone = ctx.kubernetes.secret_names_of(&uid) == [name.as_str()];
    let current = Current {
        user,
        fingerprint: Fingerprint::of(user, ctx.classes.revision(user)?),
        secret: None,
        alone,
        by_status: None,
        swept: false,
        window: ctx.waits.consistency_window,
    };
    let facts = Facts::of(&known, &current);
    let changed = !alone || ctx.kubernetes.secret_has_changed(&uid, &name, version);
    let secret = if changed { SecretFact::Changed } else { facts.secret };
    match needed(&Facts { secret, ..facts }, ctx.now(), None) {
        Reads::Nothing { until } => Some(until),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use futures::future::{Pending, pending};
    use tokio::sync::mpsc::unbounded_channel;
    use tokio::sync::oneshot;

    use super::*;

    fn called(uid: &str) -> Slot {
        Slot { uid: uid.to_owned(), priority: Priority::New, since: Instant::now(), turn: None }
    }

    #[tokio::test]
    async fn who_waits_is_called_once_and_leaves_once() {
        let (call, mut calls) = unbounded_channel();
        let queue = Arc::new(WorkQueue::new(call));
        let user = ObjectRef::<CachedUser>::new("billing").within("payments");
        let (go, turn) = oneshot::channel();
        queue.add(&user, || async { turn.await.unwrap() });
        queue.add(&user, || -> Pending<Slot> { panic!("it waits already") });
        assert!(queue.take(&user).is_none(), "it still waits");
        go.send(called("first")).ok();
        assert_eq!(calls.recv().await, Some(user.clone()));
        queue.add(&user, || -> Pending<Slot> { panic!("it has a turn already") });
        assert_eq!(queue.take(&user).map(|called| called.uid).as_deref(), Some("first"));
        assert!(queue.take(&user).is_none());
        queue.add(&user, || async { called("second") });
        assert_eq!(calls.recv().await, Some(user.clone()));
        assert_eq!(queue.take(&user).map(|called| called.uid).as_deref(), Some("second"));
        assert!(calls.is_empty());
    }

    #[tokio::test]
    async fn each_waits_for_itself() {
        let (call, mut calls) = unbounded_channel();
        let queue = Arc::new(WorkQueue::new(call));
        let (here, there) =
            (ObjectRef::<CachedUser>::new("a").within("here"), ObjectRef::<CachedUser>::new("a").within("there"));
        queue.add(&here, pending::<Slot>);
        queue.add(&there, || async { called("there") });
        assert_eq!(calls.recv().await, Some(there.clone()));
        assert!(queue.take(&here).is_none());
        assert!(queue.take(&there.erase()).is_some(), "kube's errors name the kind at run time");
    }
}
