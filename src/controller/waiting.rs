//! Those who wait for a turn. They wait here and not in kube's runner, which polls all that it has at each wake of one of
//! them: among ten thousand that is most of the work.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use kube::runtime::reflector::{Lookup, ObjectRef};
use tokio::sync::mpsc::UnboundedSender;

use super::context::Context;
use super::kept::{Kept, Membership};
use super::schedule::fnv;
use super::urgency::urgency;
use crate::api::S3AccessUser;
use crate::aws::{Turn, at_priority};
use crate::core::priority::Priority;

/// Who waits for a turn: no more than it takes to find one, since thousands may.
pub struct Caller {
    uid: String,
    class_name: Option<String>,
    is_finalized: bool,
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
            priority,
            since: Instant::now(),
        }
    }

    /// Waits; `None` where the process ends meanwhile.
    pub async fn turn(self, ctx: &Context) -> Option<Called> {
        let Self { uid, class_name, is_finalized, priority, since } = self;
        let member = Membership { class_name: class_name.as_deref(), is_finalized };
        let turn = async {
            let session = at_priority(priority, ctx.places.session(member)).await.ok()?;
            session.turn(&uid, priority).await
        };
        let turn = tokio::select! {
            biased;
            () = ctx.stop.cancelled() => {
                ctx.metrics.reconcile_ended(priority, "deferred", since.elapsed());
                return None;
            }
            turn = turn => turn,
        };
        let promoted = turn.as_ref().map_or(priority, Turn::priority);
        ctx.metrics.reconcile_promoted(priority, promoted);
        Some(Called { uid, priority: promoted, since, turn })
    }
}

impl Called {
    /// It is not there any more.
    pub fn gone(self, ctx: &Context) {
        ctx.memory.forget(&self.uid);
        ctx.metrics.reconcile_ended(self.priority, "deleted", self.since.elapsed());
    }
}

/// Those who wait for a turn, and those who have one and are yet to be looked at.
pub struct WaitingRoom {
    /// By name and namespace, which kube goes by.
    all: Mutex<HashMap<u64, Option<Called>>>,
    /// Has kube look at one.
    call: UnboundedSender<ObjectRef<Kept>>,
}

impl WaitingRoom {
    /// An empty one, which has those looked at that are sent to `call`.
    pub fn new(call: UnboundedSender<ObjectRef<Kept>>) -> Self {
        Self { all: Mutex::default(), call }
    }

    /// Has somebody wait for a turn, and then has kube look at it. Who waits already goes on waiting.
    pub fn enter<F>(self: &Arc<Self>, reference: ObjectRef<Kept>, wait: impl FnOnce() -> F)
    where
        F: Future<Output = Option<Called>> + Send + 'static,
    {
        let key = key(&reference);
        match self.all().entry(key) {
            Entry::Occupied(_) => return,
            Entry::Vacant(place) => place.insert(None),
        };
        let room = self.clone();
        let waiting = wait();
        tokio::spawn(async move {
            let called = waiting.await;
            if called.is_some() {
                room.all().insert(key, called);
                // Nobody listens any more where the process ends.
                let _ = room.call.send(reference);
            }
        });
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
        Some(called)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<u64, Option<Called>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key<K: Lookup>(reference: &ObjectRef<K>) -> u64 {
    fnv(&format!("{}/{}", reference.namespace.as_deref().unwrap_or_default(), reference.name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use futures::future::{Pending, pending};
    use tokio::sync::mpsc::unbounded_channel;
    use tokio::sync::oneshot;

    use super::*;

    fn called(uid: &str) -> Option<Called> {
        Some(Called { uid: uid.to_owned(), priority: Priority::New, since: Instant::now(), turn: None })
    }

    #[tokio::test]
    async fn who_waits_is_called_once_and_leaves_once() {
        let (call, mut calls) = unbounded_channel();
        let room = Arc::new(WaitingRoom::new(call));
        let user = ObjectRef::<Kept>::new("billing").within("payments");
        let (go, turn) = oneshot::channel();
        room.enter(user.clone(), || async { turn.await.ok() });
        room.enter(user.clone(), || -> Pending<Option<Called>> { panic!("it waits already") });
        assert!(room.leave(&user).is_none(), "it still waits");
        go.send(called("first").unwrap()).ok();
        assert_eq!(calls.recv().await, Some(user.clone()));
        room.enter(user.clone(), || -> Pending<Option<Called>> { panic!("it has a turn already") });
        assert_eq!(room.leave(&user).map(|called| called.uid).as_deref(), Some("first"));
        assert!(room.leave(&user).is_none());
        room.enter(user.clone(), || async { called("second") });
        assert_eq!(calls.recv().await, Some(user.clone()));
        assert_eq!(room.leave(&user).map(|called| called.uid).as_deref(), Some("second"));
        assert!(calls.is_empty());
    }

    #[tokio::test]
    async fn each_waits_for_itself() {
        let (call, mut calls) = unbounded_channel();
        let room = Arc::new(WaitingRoom::new(call));
        let (here, there) = (ObjectRef::<Kept>::new("a").within("here"), ObjectRef::<Kept>::new("a").within("there"));
        room.enter(here.clone(), pending::<Option<Called>>);
        room.enter(there.clone(), || async { called("there") });
        assert_eq!(calls.recv().await, Some(there.clone()));
        assert!(room.leave(&here).is_none());
        assert!(room.leave(&there.erase()).is_some(), "kube's errors name the kind at run time");
    }
}
