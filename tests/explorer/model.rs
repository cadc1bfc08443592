//! What can happen next, and what must hold.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use jiff::SignedDuration;
use s3_access_operator::core::observed::{Observed, UserState};
use s3_access_operator::core::reads::Reads;
use s3_access_operator::core::rotation::later;
use stateright::{Model, Property};

use crate::hands::{HANDS, Hand};
use crate::process::Process;
use crate::resource::{Report, Resource};
use crate::world::{Budget, WAITS, World};

const START: &str = "2026-01-01T00:00:00Z";
/// The interval of drift detection.
pub const RESYNC: SignedDuration = SignedDuration::from_hours(10);

/// The levels of reads.
pub const LEVELS: u16 = 8;

/// A mistake in how a process reads, carries out or makes its plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    DeletesBeforeTheSwap,
    SwapsWithoutAProbe,
    IgnoresTheUid,
    KeepsOrphans,
    DeletesTheUserFirst,
    SettledWithoutTheSecret,
    IgnoresSuspicion,
    ForgetsSuspicionAtTheEnd,
    TrustsAnAbsentSweep,
    TrustsAnyStatus,
    KeepsToTheKeysOfTheSecret,
    WritesByAssumption,
    TakesTheUserUnseen,
}

/// What can happen next.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A process reconciles: it reads and plans.
    Reconcile(usize),
    /// Its next step is carried out, or its report is written.
    Step(usize),
    /// It dies before, or after its next step takes place.
    Crash { process: usize, after: bool },
    /// Its next step takes place, or not, and the answer is lost.
    Lost { process: usize, after: bool },
    /// Its watch brings the CR as it is.
    Watch(usize),
    /// A page of its bulk read shows a difference.
    Sweep(usize),
    /// That sweep ends, and tells of what it found then.
    Suspect(usize),
    /// AWS makes a credential report, which tells the truth or does not.
    Report { process: usize, lies: bool },
    /// The process reads it.
    Compare(usize),
    /// Somebody does something.
    Hand(Hand),
    /// Time passes.
    Tick(SignedDuration),
}

/// A beginning and its bounds.
#[derive(Clone, Debug)]
pub struct Explorer {
    pub begin: World,
    /// The account is read in bulk once an interval.
    pub swept: bool,
    /// The watch may be late: else each process has the CR as it is.
    pub late: bool,
    pub mistake: Option<Mistake>,
    /// What was found out of worlds before, by their hash.
    pub known: Arc<Mutex<HashMap<u64, bool>>>,
    /// The levels of reads that were taken, one bit each.
    pub taken: Arc<AtomicU16>,
}

impl Explorer {
    /// A CR that was just applied.
    pub fn creating(processes: usize, budget: Budget) -> Self {
        let resource = Resource {
            uid: 1,
            version: 0,
            generation: 1,
            deleted_at: None,
            suspended: false,
            rotation: None,
            finalizer: false,
            report: Report::default(),
        };
        let mut truth = Observed::nothing();
        truth.user = UserState::Missing;
        let begin = World {
            now: START.parse().unwrap(),
            truth,
            processes: vec![Process::new(Some(&resource)); processes],
            resource: Some(resource),
            budget,
            made: 0,
            violation: None,
        };
        Self { begin, swept: false, late: false, mistake: None, known: Arc::default(), taken: Arc::default() }
    }

    /// A CR of which nothing is left to do. The first process has done all that, and knows it.
    pub fn settled(processes: usize, budget: Budget) -> Self {
        let mut explorer = Self::creating(processes, budget);
        let mut begin = explorer.begin.clone();
        begin.processes.truncate(1);
        begin = explorer.recovered(begin).expect("a create without faults settles");
        begin.processes.resize(processes, Process::new(begin.resource.as_ref()));
        explorer.begin = begin;
        explorer
    }

    /// The same, with a rotation asked for.
    pub fn rotating(processes: usize, budget: Budget) -> Self {
        Self::settled(processes, budget).after(Hand::Rotate)
    }

    /// The same, forced out and made again, which no watch has shown yet.
    pub fn replaced(processes: usize, budget: Budget) -> Self {
        let mut explorer = Self::settled(processes, budget).late();
        explorer.begin.hand(Hand::ReplaceResource);
        explorer
    }

    /// The same, being deleted.
    pub fn deleting(processes: usize, budget: Budget) -> Self {
        Self::settled(processes, budget).after(Hand::DeleteResource)
    }

    fn after(mut self, hand: Hand) -> Self {
        self.begin.hand(hand);
        let live = self.begin.resource.clone();
        self.begin.processes.iter_mut().for_each(|process| process.watch(live.as_ref()));
        self
    }

    /// The account is read in bulk.
    pub fn swept(self) -> Self {
        Self { swept: true, ..self }
    }

    /// The watch may be late.
    pub fn late(self) -> Self {
        Self { late: true, ..self }
    }

    /// A level is taken.
    pub fn take(&self, reads: Reads) {
        let bit = match reads {
            Reads::Nothing { .. } => 0,
            Reads::Secret => 1,
            Reads::Probe => 2,
            Reads::Keys => 3,
            Reads::UserAndKeys => 4,
            Reads::Everything => 5,
            Reads::User => 6,
            Reads::Recorded => 7,
        };
        self.taken.fetch_or(1 << bit, Ordering::Relaxed);
    }

    /// Where no watch is late, each process has the CR as it is.
    fn deliver(&self, world: &mut World) {
        let live = world.resource.clone();
        world.processes.iter_mut().for_each(|process| process.watch(live.as_ref()));
    }
}

/// An event, and the step that it is about.
pub fn describe(world: &World, event: &Event) -> String {
    let next = |process: &usize| {
        let work = world.processes[*process].work.as_ref()?;
        let step = work.rest.front().map_or_else(|| "report".to_owned(), ToString::to_string);
        Some(format!("{step}, having read {:?}", work.reads))
    };
    match event {
        Event::Step(process) | Event::Crash { process, .. } | Event::Lost { process, .. } => {
            format!("{} {event:?}: {}", world.now, next(process).unwrap_or_default())
        }
        _ => format!("{} {event:?}", world.now),
    }
}

impl Model for Explorer {
    type State = World;
    type Action = Event;

    fn init_states(&self) -> Vec<World> {
        vec![self.begin.clone()]
    }

    fn actions(&self, world: &World, events: &mut Vec<Event>) {
        for (index, process) in world.processes.iter().enumerate() {
            if process.copy != world.resource {
                events.push(Event::Watch(index));
            }
            if process.screened {
                events.push(Event::Suspect(index));
            } else if world.budget.sweeps > 0 && !process.known.drift_suspected && self.differs(world, process) {
                events.push(Event::Sweep(index));
            }
            if process.reported.is_some() {
                events.push(Event::Compare(index));
            } else if world.budget.reports > 0 {
                events.extend([false, true].map(|lies| Event::Report { process: index, lies }));
            }
            if process.work.is_none() {
                // The watch is late by one reconcile that fails, not by any number of them.
                if process.known.failures == 0 || process.copy == world.resource {
                    events.push(Event::Reconcile(index));
                }
                continue;
            }
            events.push(Event::Step(index));
            if world.budget.faults > 0 {
                for after in [false, true] {
                    events.push(Event::Crash { process: index, after });
                    events.push(Event::Lost { process: index, after });
                }
            }
        }
        if world.budget.hands > 0 {
            events.extend(HANDS.map(Event::Hand));
        }
        if world.budget.ticks > 0 {
            events.extend([1, 20].map(|seconds| Event::Tick(SignedDuration::from_secs(seconds))));
        }
        if world.budget.intervals > 0 {
            events.push(Event::Tick(RESYNC));
        }
    }

    fn next_state(&self, world: &World, event: Event) -> Option<World> {
        let mut next = world.clone();
        match event {
            Event::Reconcile(index) => self.reconcile(&mut next, index),
            Event::Step(index) => self.step(&mut next, index, true, true),
            Event::Crash { process, after } => {
                next.budget.faults -= 1;
                self.step(&mut next, process, after, false);
                next.processes[process] = Process::new(next.resource.as_ref());
            }
            Event::Lost { process, after } => {
                next.budget.faults -= 1;
                self.step(&mut next, process, after, false);
            }
            Event::Watch(index) => {
                let live = next.resource.clone();
                next.processes[index].watch(live.as_ref());
            }
            Event::Sweep(index) => {
                next.budget.sweeps -= 1;
                next.processes[index].screened = true;
            }
            Event::Suspect(index) => {
                next.processes[index].screened = false;
                next.processes[index].known.suspect_drift();
                next.processes[index].shown = true;
            }
            Event::Report { process, lies } => {
                next.budget.reports -= 1;
                next.processes[process].reported = Some(self.reported(&next, lies)?);
            }
            Event::Compare(index) => next.processes[index].compare(),
            Event::Hand(hand) => {
                next.budget.hands -= 1;
                if !next.hand(hand) {
                    return None;
                }
            }
            Event::Tick(pause) => {
                if pause == RESYNC {
                    next.budget.intervals -= 1;
                } else {
                    next.budget.ticks -= 1;
                }
                next.now = later(next.now, pause);
                // Two lead at once only while the Lease changes hands. For longer than that there is one, and what one does
                // alone is explored alone; who has lost the Lease may not write any more, and ends.
                if next.processes.len() > 1 && pause > WAITS.takeover {
                    let new = Process::new(next.resource.as_ref());
                    next.processes.fill(new);
                }
            }
        }
        if !self.late {
            self.deliver(&mut next);
        }
        for index in 0..next.processes.len() {
            if next.processes[index].shown {
                next.processes[index].shown = self.differs(&next, &next.processes[index]);
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("invariants 3, 4, 10: no step against them", |_, world: &World| world.violation.is_none()),
            Property::always("invariants 2, 5, 6: recovery", |explorer: &Self, world: &World| {
                // While steps are planned, recovery is from what comes of them.
                world.processes.iter().any(|process| process.work.is_some()) || explorer.ends_well(world)
            }),
        ]
    }
}
