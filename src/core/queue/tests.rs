//! The work queue: what it promises, in every order of what can happen to two keys in two lanes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use stateright::{Checker, Model, Property};

use super::*;

const NOW: Duration = Duration::from_secs(7);

fn queue(slots: usize) -> WorkQueue<u32, &'static str> {
    WorkQueue::new(slots)
}

/// Adds a key, and has it wait in the lane.
fn wait(queue: &mut WorkQueue<u32, &'static str>, key: u32, lane: &'static str, priority: Priority) {
    queue.add(key, NOW);
    assert_eq!(queue.due(NOW), Some(key));
    queue.admit(key, lane, priority, NOW);
}

fn keys(queue: &mut WorkQueue<u32, &'static str>) -> Vec<u32> {
    std::iter::from_fn(|| queue.start()).map(|started| started.key).collect()
}

#[test]
fn a_key_is_woken_at_the_earliest_of_its_times_and_once() {
    let mut queue = queue(1);
    let after = |seconds| NOW + Duration::from_secs(seconds);
    queue.add(1, after(9));
    queue.add(1, after(5));
    queue.add(1, after(7));
    queue.add(2, after(6));
    assert_eq!((queue.next_due(), queue.due(after(4))), (Some(after(5)), None));
    assert_eq!([queue.due(after(9)), queue.due(after(9)), queue.due(after(9))], [Some(1), Some(2), None]);
}

#[test]
fn what_comes_while_a_key_runs_is_kept_until_it_has_ended() {
    let mut queue = queue(1);
    wait(&mut queue, 1, "a", Priority::New);
    assert_eq!(keys(&mut queue), [1]);
    queue.add(1, NOW);
    assert_eq!((queue.due(NOW), queue.next_due()), (None, None));
    queue.finish(&1, Some(NOW + Duration::from_secs(60)));
    assert_eq!(queue.due(NOW), Some(1));
}

#[test]
fn what_comes_during_an_admission_leads_to_another() {
    let mut queue = queue(1);
    queue.add(1, NOW);
    assert_eq!(queue.due(NOW), Some(1));
    queue.add(1, NOW);
    assert_eq!(queue.due(NOW), None);
    queue.admit(1, "a", Priority::Background, NOW);
    assert_eq!(queue.due(NOW), Some(1), "it may be more urgent by now");
}

#[test]
fn a_new_user_has_a_slot_at_once_amid_ten_thousand_rotations() {
    let mut queue = queue(16);
    (0..10_000).for_each(|key| wait(&mut queue, key, "a", Priority::Background));
    let running = keys(&mut queue);
    assert_eq!(running.len(), 12);
    wait(&mut queue, 10_000, "a", Priority::New);
    assert_eq!(queue.start(), Some(Started { key: 10_000, priority: Priority::New, since: NOW }));
    let mut ended = 1;
    queue.finish(&10_000, None);
    let mut next = running;
    while !next.is_empty() {
        next.iter().for_each(|key| queue.finish(key, None));
        ended += next.len();
        next = keys(&mut queue);
    }
    assert_eq!((ended, queue.items.is_empty()), (10_001, true), "each in its time");
}

#[test]
fn the_more_urgent_find_slots_that_are_kept_for_them() {
    for (priority, slots) in [(Priority::Background, 12), (Priority::Edited, 14), (Priority::New, 16)] {
        let mut queue = queue(16);
        (0..20).for_each(|key| wait(&mut queue, key, "a", priority));
        assert_eq!(keys(&mut queue).len(), slots, "{priority:?}");
    }
}

#[test]
fn who_waits_and_is_edited_moves_up() {
    let mut queue = queue(1);
    (1..=3).for_each(|key| wait(&mut queue, key, "a", Priority::Background));
    assert_eq!(keys(&mut queue), [1]);
    queue.add(3, NOW);
    assert_eq!(queue.due(NOW), Some(3));
    let to = Priority::Edited;
    for (priority, from) in [(to, Priority::Background), (Priority::Background, to)] {
        assert_eq!(queue.admit(3, "a", priority, NOW), Admitted::Promoted { from, to });
    }
    queue.finish(&1, None);
    assert_eq!(queue.start().map(|started| (started.key, started.priority)), Some((3, Priority::Edited)));
    queue.finish(&3, None);
    assert_eq!(keys(&mut queue), [2]);
}

#[test]
fn invariant_9_a_lane_whose_slots_are_taken_keeps_no_other_waiting() {
    let mut queue = queue(2);
    (1..=5).for_each(|key| wait(&mut queue, key, "dead", Priority::New));
    assert_eq!(keys(&mut queue), [1, 2]);
    wait(&mut queue, 6, "well", Priority::Background);
    assert_eq!(keys(&mut queue), [6]);
    let same = Admitted::Promoted { from: Priority::New, to: Priority::New };
    assert_eq!(queue.admit(5, "well", Priority::New, NOW), same);
    assert_eq!(keys(&mut queue), [5], "who is in another account by now waits there");
    queue.finish(&1, None);
    queue.finish(&2, None);
    assert_eq!(keys(&mut queue), [3, 4]);
}

#[test]
fn the_background_goes_on_under_a_stream_of_new_users() {
    let mut queue = queue(4);
    (0..4).for_each(|key| wait(&mut queue, key, "a", Priority::New));
    assert_eq!(keys(&mut queue).len(), 4);
    wait(&mut queue, 1_000, "a", Priority::Background);
    let mut let_in = Vec::new();
    for key in 4..12 {
        wait(&mut queue, key, "a", Priority::New);
        queue.finish(&(key - 4), None);
        let_in.extend(keys(&mut queue));
    }
    assert_eq!(let_in[..5], [4, 5, 6, 7, 1_000]);
}

#[test]
fn an_admission_that_comes_late_does_no_harm() {
    let mut queue = queue(1);
    wait(&mut queue, 1, "a", Priority::New);
    assert_eq!(keys(&mut queue), [1]);
    assert_eq!(queue.admit(1, "b", Priority::New, NOW), Admitted::Late);
    queue.defer(&1, None);
    assert_eq!(keys(&mut queue), [0; 0], "it is running still, and once");
    queue.finish(&1, None);
    queue.finish(&1, None);
    assert!(queue.items.is_empty());
    assert_eq!(queue.admit(1, "a", Priority::New, NOW), Admitted::Queued, "better once too often than never");
}

proptest! {
    /// Whatever comes later, a key starts after at most so many others as [`OVERTAKERS`] lets pass each of those before it.
    #[test]
    fn everything_is_served_within_a_stated_bound(
        before in proptest::collection::vec(0..Priority::ALL.len(), 1..20),
        stream in 0..Priority::ALL.len(),
        slots in 1_usize..9,
    ) {
        let mut queue = queue(slots);
        let count = u32::try_from(before.len()).unwrap();
        for (key, priority) in (0..).zip(&before) {
            wait(&mut queue, key, "a", Priority::ALL[*priority]);
        }
        let (mut left, mut running, mut started) = (count, Vec::new(), 0);
        for key in 1_000..1_000 + count * (OVERTAKERS + 1) + 9 {
            wait(&mut queue, key, "a", Priority::ALL[stream]);
            let next = keys(&mut queue);
            started += u32::try_from(next.len()).unwrap();
            left -= u32::try_from(next.iter().filter(|key| **key < count).count()).unwrap();
            if left == 0 {
                break;
            }
            running.extend(next);
            queue.finish(&running.remove(0), None);
        }
        prop_assert_eq!(left, 0);
        prop_assert!(started <= count * (OVERTAKERS + 1) + u32::try_from(slots).unwrap(), "{}", started);
    }
}

/// The queue, and those who use it: as many admissions and runs at once as there can be, each as slow as it likes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Users {
    queue: WorkQueue<u8, u8>,
    now: Duration,
    /// The admissions under way, each with what it was woken for.
    admissions: Vec<(u8, Option<Duration>)>,
    running: Vec<(u8, u8)>,
    /// What was asked for and is not served yet: the earliest time of each key.
    asked: BTreeMap<u8, Duration>,
    adds: u8,
    ticks: u8,
    violation: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Add(u8),
    Due,
    /// The admission of that number ends: it found work.
    Admit(usize, u8, Priority),
    /// The admission of that number ends: there is no work, or only in a second.
    Defer(usize, bool),
    Start,
    /// The run of that number ends, and is to come again in a second, or not.
    Finish(usize, bool),
    Tick,
}

const SECOND: Duration = Duration::from_secs(1);

impl Users {
    fn ask(&mut self, key: u8, at: Option<Duration>) {
        if let Some(at) = at {
            let asked = self.asked.entry(key).or_insert(at);
            *asked = at.min(*asked);
        }
    }

    fn take(&mut self, step: Step) {
        let soon = |later: bool| later.then_some(self.now + SECOND);
        match step {
            Step::Add(key) => {
                self.adds -= 1;
                self.queue.add(key, self.now);
                self.ask(key, Some(self.now));
            }
            Step::Due => {
                if let Some(key) = self.queue.due(self.now) {
                    let asked = self.asked.remove(&key);
                    if asked.is_some_and(|at| at > self.now) {
                        self.violation = Some("woken before its time");
                    }
                    self.admissions.push((key, asked));
                }
            }
            Step::Admit(number, lane, priority) => {
                let (key, asked) = self.admissions.remove(number);
                if self.queue.admit(key, lane, priority, self.now) != Admitted::Late {
                    self.ask(key, asked);
                }
            }
            Step::Defer(number, later) => {
                let (until, before) = (soon(later), self.queue.clone());
                let (key, _) = self.admissions.remove(number);
                self.queue.defer(&key, until);
                // It changes nothing of what is queued or running meanwhile.
                self.ask(key, until.filter(|_| self.queue != before));
            }
            Step::Start => {
                let Some(Started { key, .. }) = self.queue.start() else { return };
                let Some(Item { stage: Stage::Running { lane, .. }, .. }) = self.queue.items.get(&key) else {
                    self.violation = Some("started without a slot");
                    return;
                };
                if self.running.iter().any(|(running, other)| *running == key || other == lane) {
                    self.violation = Some("a key twice, or two in a lane of one slot");
                }
                self.running.push((key, *lane));
                self.asked.remove(&key);
            }
            Step::Finish(number, later) => {
                let again = soon(later);
                let (key, _) = self.running.remove(number);
                self.queue.finish(&key, again);
                self.ask(key, again);
            }
            Step::Tick => {
                self.ticks -= 1;
                self.now += SECOND;
            }
        }
    }

    /// Left alone from here, all that was asked for is served, and nothing stays behind.
    fn drains(&self) -> bool {
        let mut users = self.clone();
        users.ticks = u8::MAX;
        for _ in 0..8 {
            while !users.admissions.is_empty() {
                users.take(Step::Admit(0, 0, Priority::Background));
            }
            while !users.running.is_empty() {
                users.take(Step::Finish(0, false));
            }
            users.take(Step::Start);
            users.take(Step::Due);
            users.take(Step::Tick);
        }
        users.asked.is_empty() && users.violation.is_none() && users.queue == WorkQueue::new(1)
    }
}

impl Model for Users {
    type State = Self;
    type Action = Step;

    fn init_states(&self) -> Vec<Self> {
        vec![self.clone()]
    }

    fn actions(&self, users: &Self, steps: &mut Vec<Step>) {
        if users.adds > 0 {
            steps.extend([Step::Add(0), Step::Add(1)]);
        }
        for number in 0..users.admissions.len() {
            for priority in [Priority::New, Priority::Background] {
                steps.extend([0, 1].map(|lane| Step::Admit(number, lane, priority)));
            }
            steps.extend([false, true].map(|later| Step::Defer(number, later)));
        }
        for number in 0..users.running.len() {
            steps.extend([false, true].map(|later| Step::Finish(number, later)));
        }
        steps.extend([Step::Due, Step::Start]);
        if users.ticks > 0 {
            steps.push(Step::Tick);
        }
    }

    fn next_state(&self, users: &Self, step: Step) -> Option<Self> {
        let mut next = users.clone();
        next.take(step);
        (next != *users).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one run a key, one key a slot, none too early", |_, users: &Self| {
                users.violation.is_none()
            }),
            Property::always("no wake-up is lost, and nothing is left behind", |_, users: &Self| users.drains()),
        ]
    }
}

#[test]
fn no_key_runs_twice_at_once_and_no_wake_up_is_lost() {
    let users = Users {
        queue: WorkQueue::new(1),
        now: NOW,
        admissions: Vec::new(),
        running: Vec::new(),
        asked: BTreeMap::new(),
        adds: 3,
        ticks: 1,
        violation: None,
    };
    let checker = users.checker().threads(2).spawn_bfs().join();
    let found: Vec<_> = checker.discoveries().into_iter().map(|(name, path)| (name, path.into_actions())).collect();
    assert!(found.is_empty(), "{found:#?}");
    assert!(checker.unique_state_count() > 10_000, "{}", checker.unique_state_count());
}
