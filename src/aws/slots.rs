//! Slots at an account: so many of its users are reconciled side by side, the more urgent first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::core::priority::Priority;
use crate::core::queue::FairQueue;

/// The slots of an account, and those who wait for one, at a few hundred bytes each.
pub(super) struct Slots(Arc<Shared>);

struct Shared {
    slots: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    taken: [usize; Priority::ALL.len()],
    queue: FairQueue<Waiting>,
    /// Where each waits, by UID, so that it can move up.
    queued: HashMap<Arc<str>, (Priority, u64)>,
}

struct Waiting {
    uid: Arc<str>,
    go: oneshot::Sender<Slot>,
}

/// A slot; dropping it lets the next one in.
pub struct Slot {
    shared: Arc<Shared>,
    priority: Priority,
}

impl Slot {
    /// How urgent it was in the end.
    pub fn priority(&self) -> Priority {
        self.priority
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.state().taken[self.priority as usize] -= 1;
        self.shared.let_in();
    }
}

impl Slots {
    /// So many at a time.
    pub(super) fn new(slots: usize) -> Self {
        Self(Arc::new(Shared { slots: slots.max(1), state: Mutex::default() }))
    }

    /// Waits for a slot; `None` only where the process ends.
    pub(super) async fn take(&self, uid: &str, priority: Priority) -> Option<Slot> {
        let (go, slot) = oneshot::channel();
        {
            let mut state = self.0.state();
            let uid: Arc<str> = uid.into();
            let number = state.queue.push(priority, Waiting { uid: uid.clone(), go });
            state.queued.insert(uid, (priority, number));
        }
        self.0.let_in();
        slot.await.ok()
    }

    /// Whoever waits becomes more urgent, or stays as it is.
    pub(super) fn promote(&self, uid: &str, to: Priority) {
        {
            let mut state = self.0.state();
            let Some((from, number)) = state.queued.get(uid).copied().filter(|(from, _)| to < *from) else { return };
            let Some(number) = state.queue.change(number, from, to) else { return };
            if let Some(at) = state.queued.get_mut(uid) {
                *at = (to, number);
            }
        }
        self.0.let_in();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn let_in(self: &Arc<Self>) {
        while let Some((priority, waiting)) = self.next() {
            let slot = Slot { shared: self.clone(), priority };
            // Whoever has gone away meanwhile leaves the slot to the next.
            let _ = waiting.go.send(slot);
        }
    }

    fn next(&self) -> Option<(Priority, Waiting)> {
        let mut state = self.state();
        let State { taken, queue, queued } = &mut *state;
        loop {
            if taken.iter().sum::<usize>() >= self.slots {
                return None;
            }
            // Those who are no more urgent than that share what is not kept for the others.
            let open =
                |priority: Priority| taken[priority as usize..].iter().sum::<usize>() < slots_of(priority, self.slots);
            let (priority, waiting) = queue.next(open, |_, _| true)?;
            if queued.get(&waiting.uid).is_some_and(|(at, _)| *at == priority) {
                queued.remove(&waiting.uid);
                if queued.is_empty() {
                    queued.shrink_to_fit();
                }
            }
            if !waiting.go.is_closed() {
                taken[priority as usize] += 1;
                return Some((priority, waiting));
            }
        }
    }
}

/// How many of the slots those of that priority may take together with the less urgent. A few are kept, so that who
/// is more urgent need not wait until a reconcile ends.
fn slots_of(priority: Priority, slots: usize) -> usize {
    match priority {
        Priority::New => slots,
        Priority::Edited => slots - slots / 8,
        Priority::Begun | Priority::Requested | Priority::Background => slots - slots / 4,
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;

    fn take<'a>(slots: &'a Slots, uid: &'a str, priority: Priority) -> BoxFuture<'a, Option<Slot>> {
        slots.take(uid, priority).boxed()
    }

    fn now(waiting: &mut BoxFuture<'_, Option<Slot>>) -> Option<Slot> {
        waiting.now_or_never().flatten()
    }

    #[test]
    fn a_new_user_has_a_slot_at_once_amid_ten_thousand_rotations() {
        let slots = Slots::new(16);
        let uids: Vec<_> = (0..10_000).map(|number| format!("uid-{number}")).collect();
        let mut rotations: Vec<_> = uids.iter().map(|uid| take(&slots, uid, Priority::Background)).collect();
        let held: Vec<_> = rotations.iter_mut().filter_map(now).collect();
        assert_eq!(held.len(), 12);
        let new = now(&mut take(&slots, "new", Priority::New));
        assert_eq!(new.as_ref().map(Slot::priority), Some(Priority::New));
        drop(new);
        drop(held);
        assert_eq!(rotations[12..].iter_mut().filter_map(now).count(), 9_988, "each in its time");
    }

    #[test]
    fn who_waits_and_is_edited_moves_up() {
        let slots = Slots::new(1);
        let held = now(&mut take(&slots, "first", Priority::Background));
        let mut second = take(&slots, "2", Priority::Background);
        let mut third = take(&slots, "3", Priority::Background);
        assert!((&mut second).now_or_never().is_none() && (&mut third).now_or_never().is_none());
        slots.promote("3", Priority::Edited);
        slots.promote("3", Priority::Background);
        slots.promote("nobody", Priority::New);
        drop(held);
        let slot = now(&mut third);
        assert_eq!(slot.as_ref().map(Slot::priority), Some(Priority::Edited));
        assert!((&mut second).now_or_never().is_none());
        drop(slot);
        assert!(now(&mut second).is_some());
    }

    #[test]
    fn the_background_goes_on_under_a_stream_of_new_users() {
        let slots = Slots::new(4);
        let uids: Vec<_> = (0..100).map(|number| format!("uid-{number}")).collect();
        let mut held: Vec<_> = uids[..4].iter().filter_map(|uid| now(&mut take(&slots, uid, Priority::New))).collect();
        assert_eq!(held.len(), 4);
        let mut rotation = take(&slots, "rotation", Priority::Background);
        assert!((&mut rotation).now_or_never().is_none());
        let mut stream: Vec<_> = uids[4..].iter().map(|uid| take(&slots, uid, Priority::New)).collect();
        for new in &mut stream {
            assert!(new.now_or_never().is_none());
        }
        for overtaker in 0..5 {
            held.remove(0);
            if let Some(slot) = (&mut rotation).now_or_never().flatten() {
                assert_eq!((slot.priority(), overtaker), (Priority::Background, 4));
                return;
            }
            held.push(now(&mut stream.remove(0)).unwrap());
        }
        panic!("the rotation never had a slot");
    }

    #[test]
    fn who_goes_away_keeps_nobody_waiting() {
        let slots = Slots::new(1);
        let held = now(&mut take(&slots, "first", Priority::New));
        let mut gone = take(&slots, "gone", Priority::New);
        let mut next = take(&slots, "next", Priority::Background);
        assert!((&mut gone).now_or_never().is_none() && (&mut next).now_or_never().is_none());
        drop(gone);
        drop(held);
        assert!(now(&mut next).is_some());
    }
}
