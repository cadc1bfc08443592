//! The work queue. Each key is in it at most once: it is delayed until its time, admitted to a lane, queued there by its
//! priority, and running while it has one of the lane's slots. A wake-up while it is running is kept until it has ended.

mod fair;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use fair::{FairQueue, OVERTAKERS};

use super::priority::Priority;

/// The keys, and the lanes in which they are worked on. Times are those of any clock that does not go backwards.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WorkQueue<K, L> {
    slots: usize,
    items: BTreeMap<K, Item<L>>,
    /// When to wake those that listen, the next one first.
    wakes: BTreeSet<(Duration, K)>,
    /// Those in use.
    lanes: BTreeMap<L, Lane<K>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Item<L> {
    /// The earliest wake-up that is still to come.
    wake_at: Option<Duration>,
    stage: Stage<L>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
enum Stage<L> {
    /// Until it is woken.
    #[default]
    Delayed,
    /// It was woken: whether there is work, and in which lane, is being found out.
    Admitting,
    Queued {
        lane: L,
        priority: Priority,
        number: u64,
        since: Duration,
    },
    Running {
        lane: L,
        priority: Priority,
    },
}

impl<L> Default for Item<L> {
    fn default() -> Self {
        Self { wake_at: None, stage: Stage::default() }
    }
}

impl<L> Stage<L> {
    /// Whether a wake-up is handed out now. Until an admission or a run has ended, it waits: so no key is worked on twice
    /// at once, and nothing that came meanwhile is lost.
    fn listens(&self) -> bool {
        matches!(self, Self::Delayed | Self::Queued { .. })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Lane<K> {
    running: [usize; Priority::ALL.len()],
    queue: FairQueue<K>,
}

/// A key that has a slot from now on, until [`WorkQueue::finish`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started<K> {
    /// Whose turn it is.
    pub key: K,
    /// How urgent it is by now.
    pub priority: Priority,
    /// Since when it was queued.
    pub since: Duration,
}

/// What an admission has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// It waits for a slot.
    Queued,
    /// It waited already; now at the more urgent of the priority that it had and the one that it was admitted with.
    Promoted {
        /// The one that it had.
        from: Priority,
        /// The one that it has.
        to: Priority,
    },
    /// It is running.
    Late,
}

impl<K: Clone + Ord, L: Clone + Ord> WorkQueue<K, L> {
    /// So many slots in each lane.
    pub fn new(slots: usize) -> Self {
        Self { slots: slots.max(1), items: BTreeMap::new(), wakes: BTreeSet::new(), lanes: BTreeMap::new() }
    }

    /// Wakes the key at that time, unless it is to be woken before then.
    pub fn add(&mut self, key: K, at: Duration) {
        let item = self.items.entry(key.clone()).or_default();
        if item.wake_at.is_some_and(|earlier| earlier <= at) {
            return;
        }
        let later = item.wake_at.replace(at);
        if item.stage.listens() {
            let key = later.and_then(|later| self.wakes.take(&(later, key.clone()))).map_or(key, |(_, key)| key);
            self.wakes.insert((at, key));
        }
    }

    /// The next key that is to be woken by now: whoever takes it finds out whether there is work, and then calls
    /// [`Self::admit`] or [`Self::defer`].
    pub fn due(&mut self, now: Duration) -> Option<K> {
        self.wakes.first().filter(|(at, _)| *at <= now)?;
        let (_, key) = self.wakes.pop_first()?;
        let item = self.items.get_mut(&key)?;
        item.wake_at = None;
        if item.stage == Stage::Delayed {
            item.stage = Stage::Admitting;
        }
        Some(key)
    }

    /// When the next key is to be woken.
    pub fn next_due(&self) -> Option<Duration> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// There is work: the key waits in that lane for a slot. Where it waits already it keeps its age, and becomes as urgent
    /// as that if it was less.
    pub fn admit(&mut self, key: K, lane: L, priority: Priority, now: Duration) -> Admitted {
        // An admission that took long may find that another one has ended; better once too often than never.
        let item = self.items.entry(key.clone()).or_default();
        let (before, since) = match &item.stage {
            Stage::Delayed | Stage::Admitting => (None, now),
            Stage::Queued { priority, since, .. } => (Some(*priority), *since),
            Stage::Running { .. } => return Admitted::Late,
        };
        let priority = before.map_or(priority, |before| priority.min(before));
        if let Stage::Queued { lane: same, priority: before, number, .. } = &mut item.stage
            && *same == lane
        {
            let queue = self.lanes.get_mut(&lane).map(|lane| &mut lane.queue);
            queue.into_iter().for_each(|queue| queue.change(*number, *before, priority));
            *before = priority;
        } else {
            let left = std::mem::take(&mut item.stage);
            let number = self.lanes.entry(lane.clone()).or_default().queue.push(priority, key.clone());
            item.stage = Stage::Queued { lane, priority, number, since };
            if let Some(at) = item.wake_at {
                self.wakes.insert((at, key));
            }
            self.leave(left);
        }
        before.map_or(Admitted::Queued, |from| Admitted::Promoted { from, to: priority })
    }

    /// Gives the next key a slot, if one is free for it.
    pub fn start(&mut self) -> Option<Started<K>> {
        let slots = self.slots;
        let next = |(id, lane): (&L, &mut Lane<K>)| lane.next(slots).map(|next| (id.clone(), next));
        let (lane, (priority, key)) = self.lanes.iter_mut().find_map(next)?;
        let item = self.items.get_mut(&key)?;
        let Stage::Queued { since, .. } = item.stage else { return None };
        // What is about to be read is no older than that.
        if let Some(at) = item.wake_at.take() {
            self.wakes.remove(&(at, key.clone()));
        }
        item.stage = Stage::Running { lane, priority };
        Some(Started { key, priority, since })
    }

    /// There is no work: to be woken again at that time, or before if it was asked for meanwhile. What is queued stays so.
    pub fn defer(&mut self, key: &K, until: Option<Duration>) {
        if self.items.get(key).is_some_and(|item| item.stage == Stage::Admitting) {
            self.delay(key, until);
        }
    }

    /// The work is done: to be woken again at that time, or before if it was asked for meanwhile.
    pub fn finish(&mut self, key: &K, again: Option<Duration>) {
        if self.items.get(key).is_some_and(|item| matches!(item.stage, Stage::Running { .. })) {
            self.delay(key, again);
        }
    }

    fn delay(&mut self, key: &K, until: Option<Duration>) {
        let Some(item) = self.items.get_mut(key) else { return };
        let left = std::mem::take(&mut item.stage);
        item.wake_at = item.wake_at.into_iter().chain(until).min();
        match item.wake_at {
            Some(at) => drop(self.wakes.insert((at, key.clone()))),
            None => drop(self.items.remove(key)),
        }
        self.leave(left);
    }

    /// What had that stage is no longer in its lane.
    fn leave(&mut self, stage: Stage<L>) {
        let (Stage::Queued { lane: id, .. } | Stage::Running { lane: id, .. }) = &stage else { return };
        let Some(lane) = self.lanes.get_mut(id) else { return };
        match stage {
            Stage::Queued { priority, number, .. } => drop(lane.queue.remove(number, priority)),
            Stage::Running { priority, .. } => lane.running[priority as usize] -= 1,
            Stage::Delayed | Stage::Admitting => {}
        }
        if lane.queue.is_empty() && lane.running.iter().sum::<usize>() == 0 {
            let id = id.clone();
            self.lanes.remove(&id);
        }
    }
}

impl<K> Default for Lane<K> {
    fn default() -> Self {
        Self { running: Default::default(), queue: FairQueue::default() }
    }
}

impl<K> Lane<K> {
    fn next(&mut self, slots: usize) -> Option<(Priority, K)> {
        let running = self.running;
        if running.iter().sum::<usize>() >= slots {
            return None;
        }
        // Those who are no more urgent than that share what is not kept for the others.
        let open = |priority: Priority| running[priority as usize..].iter().sum::<usize>() < slots_of(priority, slots);
        let (priority, key) = self.queue.next(open, |_, _| true)?;
        self.running[priority as usize] += 1;
        Some((priority, key))
    }
}

/// How many of the slots those of that priority may take together with the less urgent. A few are kept, so that who
/// is more urgent need not wait until a reconcile ends.
fn slots_of(priority: Priority, slots: usize) -> usize {
    match priority {
        Priority::Revoked | Priority::Expiring | Priority::New => slots,
        Priority::Edited => slots - slots / 8,
        Priority::Begun | Priority::Requested | Priority::Background => slots - slots / 4,
    }
}

#[cfg(test)]
mod tests;
