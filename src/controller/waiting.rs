//! Those who wait for a turn. They wait here and not in kube's runner, which polls all that it has at each wake of one of
//! them: among ten thousand that is most of the work.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures::FutureExt;
use jiff::Timestamp;
use kube::runtime::reflector::{Lookup, ObjectRef};
use tokio::sync::mpsc::UnboundedSender;

use super::context::Context;
use super::kept::{Kept, Membership};
use super::panics::contained;
use super::urgency::urgency;
use crate::api::S3AccessUser;
use crate::aws::{Turn, at_priority};
use crate::core::priority::Priority;

/// Who waits for a turn: no more than it takes to find one, since thousands may.
pub struct Caller {
    uid: String,
    class_name: Option<String>,
    is_finalized: bool,
    created_at: Option<Timestamp>,
    priority: Priority,
    since: Instant,
}

/// Whose turn it is.
pub struct Called {
    /// Of whom, should another S3AccessUser have its name by now.
    pub uid: String,
    /// How urgent it has become.
    pub priority: Priority,
    /// Since when it has waited.
    pub since: Instant,
    /// The turn; `None` where its account is not known, so that there is none to wait for.
    pub turn: Option<Turn>,
}

impl Caller {
    /// Begins to wait.
    pub fn new(ctx: &Context, user: &S3AccessUser) -> Self {
        let priority = urgency(ctx, user);
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

    /// Waits.
    pub async fn turn(self, ctx: impl Deref<Target = Context>) -> Called {
        let Self { is_finalized, created_at, .. } = self;
        let member = Membership { class_name: self.class_name.as_deref(), is_finalized, created_at };
        let session = at_priority(self.priority, ctx.places.session(member));
        let turn = match contained(&ctx.metrics, session).await {
            Some(Ok(session)) => session.turn(&self.uid, self.priority).await,
            Some(Err(_)) | None => None,
        };
        let priority = turn.as_ref().map_or(self.priority, Turn::priority);
        ctx.metrics.reconcile_promoted(self.priority, priority);
        Called { uid: self.uid, priority, since: self.since, turn }
    }
}

impl Called {
    /// It is not there any more.
    pub fn gone(self, ctx: &Context) {
        ctx.memory.forget(&self.uid);
        ctx.metrics.reconcile_ended(self.priority, "deleted", self.since.elapsed());
    }
}

/// Namespace and name, whole: tenants choose them, and two that had one digest would have one place.
type Key = Arc<(Box<str>, Box<str>)>;

/// Who has been called by namespace and name; `None`: it still waits.
type ByReference = HashMap<Key, Option<Box<Called>>>;

/// Those who wait for a turn, and those who have one and are yet to be looked at.
pub struct WaitingRoom {
    /// By namespace and name, which kube goes by.
    all: Mutex<ByReference>,
    /// Has kube look at one.
    call: UnboundedSender<ObjectRef<Kept>>,
}

impl WaitingRoom {
    /// An empty one, which has those looked at that are sent to `call`.
    pub fn new(call: UnboundedSender<ObjectRef<Kept>>) -> Self {
        Self { all: Mutex::default(), call }
    }

    /// Has somebody wait for a turn, and then has kube look at it. Who waits already goes on waiting. A process that ends
    /// waits for nobody.
    pub fn enter<F>(self: &Arc<Self>, reference: &ObjectRef<Kept>, wait: impl FnOnce() -> F)
    where
        F: Future<Output = Called> + Send + 'static,
    {
        let key = key(reference);
        match self.all().entry(key.clone()) {
            Entry::Occupied(_) => return,
            Entry::Vacant(place) => place.insert(None),
        };
        let room = self.clone();
        // An async block would hold the future twice, and there are thousands.
        tokio::spawn(wait().map(move |called| {
            let reference = ObjectRef::new(&key.1).within(&key.0);
            room.all().insert(key, Some(Box::new(called)));
            // Nobody listens any more where the process ends.
            let _ = room.call.send(reference);
        }));
    }

    /// Takes whoever has been called out of the room; who still waits stays.
    pub fn leave<K: Lookup>(&self, reference: &ObjectRef<K>) -> Option<Called> {
        let mut all = self.all();
        let key = key(reference);
        let called = all.get_mut(&key)?.take()?;
        all.remove(&key);
        if all.is_empty() {
            // After ten thousand have waited, their places are given back.
            all.shrink_to_fit();
        }
        Some(*called)
    }

    fn all(&self) -> MutexGuard<'_, ByReference> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key<K: Lookup>(reference: &ObjectRef<K>) -> Key {
    Arc::new((reference.namespace.as_deref().unwrap_or_default().into(), reference.name.as_str().into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use futures::future::{Pending, pending};
    use tokio::sync::mpsc::unbounded_channel;
    use tokio::sync::oneshot;

    use super::*;

    fn called(uid: &str) -> Called {
        Called { uid: uid.to_owned(), priority: Priority::New, since: Instant::now(), turn: None }
    }

    #[tokio::test]
    async fn who_waits_is_called_once_and_leaves_once() {
        let (call, mut calls) = unbounded_channel();
        let room = Arc::new(WaitingRoom::new(call));
        let user = ObjectRef::<Kept>::new("billing").within("payments");
        let (go, turn) = oneshot::channel();
        room.enter(&user, || async { turn.await.unwrap() });
        room.enter(&user, || -> Pending<Called> { panic!("it waits already") });
        assert!(room.leave(&user).is_none(), "it still waits");
        go.send(called("first")).ok();
        assert_eq!(calls.recv().await, Some(user.clone()));
        room.enter(&user, || -> Pending<Called> { panic!("it has a turn already") });
        assert_eq!(room.leave(&user).map(|called| called.uid).as_deref(), Some("first"));
        assert!(room.leave(&user).is_none());
        room.enter(&user, || async { called("second") });
        assert_eq!(calls.recv().await, Some(user.clone()));
        assert_eq!(room.leave(&user).map(|called| called.uid).as_deref(), Some("second"));
        assert!(calls.is_empty());
    }

    #[tokio::test]
    async fn each_waits_for_itself() {
        let (call, mut calls) = unbounded_channel();
        let room = Arc::new(WaitingRoom::new(call));
        let (here, there) = (ObjectRef::<Kept>::new("a").within("here"), ObjectRef::<Kept>::new("a").within("there"));
        room.enter(&here, pending::<Called>);
        room.enter(&there, || async { called("there") });
        assert_eq!(calls.recv().await, Some(there.clone()));
        assert!(room.leave(&here).is_none());
        assert!(room.leave(&there.erase()).is_some(), "kube's errors name the kind at run time");
    }
}
