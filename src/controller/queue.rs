//! The work queue: each S3AccessUser at most once, when it is due, by its priority, until its account has a slot for it.
//!
//! There is no kube `Controller` beneath. It keeps a queue of its own, so that each object would pass two; it polls all that
//! it runs at each wake of one of them; and it runs what a list shows before the list is in the cache, where the reconcile
//! finds the object as it was before.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::core::ObjectMeta;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::aws::LaneId;
use crate::core::priority::Priority;
use crate::core::queue::{self, Admitted, Started};
use crate::metrics::Metrics;

/// Woken at a time, so that those who are more urgent are not kept from their slots for long.
const BATCH: usize = 64;

/// An S3AccessUser. Tenants choose its names, so that they are compared whole; one that was made anew is another.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(
    /// `namespace/name/uid`: neither names nor UIDs have a slash. One piece, since there are ten thousand of them.
    Arc<str>,
);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Key {
    /// Of an object as the watch has it.
    pub fn of(meta: &ObjectMeta) -> Self {
        let [namespace, name, uid] =
            [&meta.namespace, &meta.name, &meta.uid].map(|text| text.as_deref().unwrap_or_default());
        Self::new(namespace, name, uid)
    }

    /// Of that namespace, name and UID.
    pub fn new(namespace: &str, name: &str, uid: &str) -> Self {
        Self([namespace, name, uid].join("/").into())
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        self.part(0)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.part(1)
    }

    /// Its UID.
    pub fn uid(&self) -> &str {
        self.part(2)
    }

    fn part(&self, number: usize) -> &str {
        self.0.splitn(3, '/').nth(number).unwrap_or_default()
    }
}

/// The queue of all S3AccessUsers that this process watches.
pub struct WorkQueue {
    queue: Mutex<queue::WorkQueue<Key, LaneId>>,
    /// Told of each change that may have something started.
    changed: Notify,
    started_at: Instant,
    metrics: Arc<Metrics>,
}

impl WorkQueue {
    /// An empty one; of each account, so many are reconciled side by side.
    pub fn new(slots: usize, metrics: Arc<Metrics>) -> Self {
        let queue = Mutex::new(queue::WorkQueue::new(slots));
        Self { queue, changed: Notify::new(), started_at: Instant::now(), metrics }
    }

    /// Something has happened to it: it is reconciled, unless it turns out that nothing is to be done.
    pub fn add(&self, key: Key) {
        self.queue().add(key, self.now());
        self.changed.notify_one();
    }

    /// There is work to do: it waits for a slot of that lane.
    pub fn admit(&self, key: Key, lane: LaneId, priority: Priority) {
        match self.queue().admit(key, lane, priority, self.now()) {
            Admitted::Queued => self.metrics.reconcile_queued(priority),
            Admitted::Promoted { from, to } => self.metrics.reconcile_promoted(from, to),
            Admitted::Late => {}
        }
        self.changed.notify_one();
    }

    /// There is no work to do for so long; `None`: until something happens to it.
    pub fn defer(&self, key: &Key, pause: Option<Duration>) {
        let until = pause.map(|pause| self.now() + pause);
        self.queue().defer(key, until);
        self.changed.notify_one();
    }

    /// It was reconciled, and is to be again after that pause; `None`: only if something happens to it.
    pub fn finish(&self, key: &Key, pause: Option<Duration>) {
        let again = pause.map(|pause| self.now() + pause);
        self.queue().finish(key, again);
        self.changed.notify_one();
    }

    /// How long it has waited for its slot.
    pub fn waited(&self, started: &Started<Key>) -> Duration {
        self.now().saturating_sub(started.since)
    }

    /// Hands out what is due to `wake`, and what has a slot to `start`, until told to stop.
    pub async fn run(&self, stop: &CancellationToken, wake: impl Fn(Key), start: impl Fn(Started<Key>)) {
        loop {
            let due: Vec<Key> = (0..BATCH).map_while(|_| self.queue().due(self.now())).collect();
            due.into_iter().for_each(&wake);
            while let Some(started) = self.next() {
                start(started);
            }
            let next = self.queue().next_due().map(|at| at.saturating_sub(self.now()));
            let next_is_due = async {
                match next {
                    Some(pause) => sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.changed.notified() => {}
                () = next_is_due => {}
            }
        }
    }

    fn next(&self) -> Option<Started<Key>> {
        self.queue().start()
    }

    fn now(&self) -> Duration {
        self.started_at.elapsed()
    }

    fn queue(&self) -> MutexGuard<'_, queue::WorkQueue<Key, LaneId>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_that_somebody_has_made_up_is_nobody_else() {
        let real = Key::new("payments", "billing", "7d4c2f10");
        assert_eq!((real.namespace(), real.name(), real.uid()), ("payments", "billing", "7d4c2f10"));
        // Whoever writes a Secret writes its owner, with whatever text.
        for (name, uid) in
            [("billing/7d4c2f10", ""), ("billing/7d4c2f10", "/"), ("billing", "7d4c2f10/x"), ("", "billing/7d4c2f10")]
        {
            assert_ne!(Key::new("payments", name, uid), real, "{name} {uid}");
        }
    }
}
