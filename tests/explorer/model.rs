//! What can happen next, and what must hold.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use s3_access_operator::api::tags;
use s3_access_operator::core::iam::AccessKey;
use s3_access_operator::core::observed::{Observed, Probes, SecretState, UserState};
use s3_access_operator::core::plan::Effect;
use s3_access_operator::core::plan::{Action, Plan, WhyDelete, plan, teardown};
use s3_access_operator::core::rotation::{PROBES, later};
use stateright::{Model, Property};

use crate::world::{Budget, Process, Resource, WAITS, Work, World};

const START: &str = "2026-01-01T00:00:00Z";
/// More looks than any recovery takes.
const PATIENCE: usize = 400;
/// More steps than any look takes.
const STEPS: usize = 24;

/// A mistake in how a process carries out or makes its plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    DeletesBeforeTheSwap,
    SwapsWithoutAProbe,
    IgnoresTheUid,
    KeepsOrphans,
    DeletesTheUserFirst,
}

/// What can happen next.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A process looks at the world and plans.
    Look(usize),
    /// Its next step is carried out.
    Step(usize),
    /// It dies before, or after its next step takes place.
    Crash { process: usize, after: bool },
    /// Its next step takes place, or not, and the answer is lost.
    Lost { process: usize, after: bool },
    /// Somebody does something.
    Hand(Hand),
    /// Time passes.
    Tick(i64),
}

/// What people do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hand {
    DeleteSecret,
    EmptySecret,
    StripSecret,
    DeactivateKey,
    DeleteKey,
    AddKey,
    DetachPolicy,
    Rotate,
    ToggleSuspension,
    DeleteResource,
    /// The CR is forced out and made again, with another UID.
    ReplaceResource,
}

const HANDS: [Hand; 11] = [
    Hand::DeleteSecret,
    Hand::EmptySecret,
    Hand::StripSecret,
    Hand::DeactivateKey,
    Hand::DeleteKey,
    Hand::AddKey,
    Hand::DetachPolicy,
    Hand::Rotate,
    Hand::ToggleSuspension,
    Hand::DeleteResource,
    Hand::ReplaceResource,
];

/// A beginning and its bounds.
#[derive(Clone, Debug)]
pub struct Explorer {
    pub begin: World,
    pub mistake: Option<Mistake>,
    /// What was found out of worlds before, by their hash.
    pub known: Arc<Mutex<HashMap<u64, bool>>>,
}

impl Explorer {
    /// A CR that was just applied.
    pub fn creating(processes: usize, budget: Budget) -> Self {
        let resource = Resource { uid: 1, version: 0, deleted_at: None, suspended: false, rotation: None };
        let mut truth = Observed::nothing();
        truth.user = UserState::Missing;
        let begin = World {
            now: START.parse().unwrap(),
            truth,
            resource: Some(resource),
            processes: vec![Process::default(); processes],
            budget,
            made: 0,
            violation: None,
        };
        Self { begin, mistake: None, known: Arc::default() }
    }

    /// A CR of which nothing is left to do.
    pub fn settled(processes: usize, budget: Budget) -> Self {
        let mut explorer = Self::creating(processes, budget);
        let mut settled = explorer.recovered(&explorer.begin).expect("a create without faults settles");
        settled.processes = vec![Process::default(); processes];
        explorer.begin = settled;
        explorer
    }

    /// The same, with a rotation asked for.
    pub fn rotating(processes: usize, budget: Budget) -> Self {
        let mut explorer = Self::settled(processes, budget);
        explorer.begin.hand(Hand::Rotate);
        explorer
    }

    /// The same, being deleted.
    pub fn deleting(processes: usize, budget: Budget) -> Self {
        let mut explorer = Self::settled(processes, budget);
        explorer.begin.hand(Hand::DeleteResource);
        explorer
    }

    fn decide(&self, resource: &Resource, view: &Observed, now: Timestamp) -> Plan {
        let mut trusting = view.clone();
        if self.mistake == Some(Mistake::SwapsWithoutAProbe)
            && let Some(minted) = &view.minted
        {
            trusting.probes.insert(minted.id.clone(), Probes { successes: PROBES, since: now, last: now });
        }
        let mut plan = match resource.desired() {
            Some(desired) => plan(&desired, &trusting, now, &WAITS),
            None => teardown(&resource.owner(), view, now, &WAITS),
        };
        match self.mistake {
            Some(Mistake::DeletesBeforeTheSwap) if plan.actions.contains(&Action::CreateAccessKey) => {
                let keys = view.user().into_iter().flat_map(|user| &user.keys);
                let delete = keys.map(|key| Action::DeleteKey { id: key.id.clone(), why: WhyDelete::Retired });
                plan.actions = delete.chain(plan.actions.clone()).collect();
            }
            Some(Mistake::KeepsOrphans) => {
                plan.actions.retain(|action| !matches!(action, Action::DeleteKey { why: WhyDelete::Orphan, .. }));
            }
            Some(Mistake::DeletesTheUserFirst) => {
                plan.actions.sort_by_key(|action| !matches!(action, Action::DetachPolicy(_) | Action::DeleteUser));
            }
            _ => {}
        }
        plan
    }

    /// A process looks: at the live Secret and IAM, and at the CR as the watch has it.
    fn look(&self, world: &mut World, index: usize) {
        let Some(resource) = world.resource.clone() else { return };
        let process = &world.processes[index];
        let mut view = world.truth.clone();
        (view.minted, view.probes) = (process.minted.clone(), process.probes.clone());
        view.forget_delivered();
        world.processes[index].minted.clone_from(&view.minted);
        if let (Some(Mistake::IgnoresTheUid), UserState::Present(user)) = (self.mistake, &mut view.user) {
            user.tags.insert(tags::UID.to_owned(), format!("uid-{}", resource.uid));
        }
        self.go_on(world, index, Work { resource, view, rest: VecDeque::new() });
    }

    /// Plans again where nothing is left of the last plan; a process with nothing to do is idle.
    fn go_on(&self, world: &mut World, index: usize, mut work: Work) {
        if work.rest.is_empty() {
            work.rest = self.decide(&work.resource, &work.view, world.now).actions.into();
        }
        let process = &mut world.processes[index];
        process.probes.clone_from(&work.view.probes);
        process.work = Some(work).filter(|work| !work.rest.is_empty());
    }

    /// The next step of a process, and how it ends; `known` is whether the process gets the answer.
    fn step(&self, world: &mut World, index: usize, takes_place: bool, known: bool) {
        let Some(mut work) = world.processes[index].work.take() else { return };
        let Some(action) = work.rest.pop_front() else { return };
        let outcome = if takes_place { Some(world.carry_out(index, &work, &action)) } else { None };
        let process = &mut world.processes[index];
        let Some(Ok(effect)) = outcome.filter(|_| known) else {
            // The look ends here. A Secret that was refused takes the new key with it.
            let refused = matches!((known, &action), (true, Action::WriteSecret { .. }));
            if let (true, Some(minted)) = (refused, process.minted.take_if(|_| refused)) {
                let delete = Action::DeleteKey { id: minted.id, why: WhyDelete::Orphan };
                drop(world.carry_out(index, &work, &delete));
            }
            return;
        };
        match (&action, &effect) {
            (Action::CreateAccessKey, Effect::KeyCreated(minted)) => process.minted = Some(minted.clone()),
            (Action::WriteSecret { key_id, .. }, _) => drop(process.minted.take_if(|minted| minted.id == *key_id)),
            (Action::DeleteKey { id, .. }, _) => drop(process.minted.take_if(|minted| minted.id == *id)),
            (Action::AddFinalizer, _) => work.resource.version = world.resource.as_ref().map_or(0, |live| live.version),
            _ => {}
        }
        work.view.record(&work.resource.owner(), &action, &effect, world.now);
        if effect == Effect::DeleteConflict {
            work.rest.clear();
        }
        if action != Action::RemoveFinalizer {
            self.go_on(world, index, work);
        }
    }

    /// Left alone with one new process, what the world comes to; `None` where it does not come to rest.
    fn recovered(&self, world: &World) -> Option<World> {
        let mut world = world.clone();
        world.processes = vec![Process::default()];
        for _ in 0..PATIENCE {
            self.look_to_the_end(&mut world);
            // A day later, nothing that takes time is still to come.
            let mut tomorrow = world.clone();
            tomorrow.now = later(world.now, SignedDuration::from_hours(24));
            self.look_to_the_end(&mut tomorrow);
            if tomorrow.truth == world.truth
                && tomorrow.resource == world.resource
                && world.processes[0].minted.is_none()
            {
                return Some(world);
            }
            world.now = later(world.now, SignedDuration::from_secs(2));
        }
        None
    }

    fn look_to_the_end(&self, world: &mut World) {
        self.look(world, 0);
        for _ in 0..STEPS {
            self.step(world, 0, true, true);
        }
    }

    /// Whether what comes of a state is the one right end. It depends on the world only: what processes know is lost.
    fn ends_well(&self, world: &World) -> bool {
        let mut hasher = DefaultHasher::new();
        format!("{:?} {:?} {:?}", world.now, world.truth, world.resource).hash(&mut hasher);
        let key = hasher.finish();
        if let Some(known) = self.known.lock().unwrap().get(&key) {
            return *known;
        }
        let well = self.recovers(world);
        self.known.lock().unwrap().insert(key, well);
        well
    }

    fn recovers(&self, world: &World) -> bool {
        let Some(end) = self.recovered(world) else { return false };
        let keys: Vec<AccessKey> = end.truth.user().map(|user| user.keys.clone()).unwrap_or_default();
        match &end.resource {
            None => end.truth.user().is_none() && keys.is_empty(),
            Some(resource) => {
                let held = end.truth.our_secret().and_then(|secret| secret.key.as_ref()).map(|key| key.id.clone());
                let active = !resource.suspended;
                let one = matches!(keys.as_slice(), [key] if held.as_ref().is_some_and(|held| *held == key.id) && key.active == active);
                // Suspended before there was a key, it has none.
                one || (resource.suspended && keys.is_empty())
            }
        }
    }
}

/// An event, and the step that it is about.
pub fn describe(world: &World, event: &Event) -> String {
    let next = |process: &usize| world.processes[*process].work.as_ref().and_then(|work| work.rest.front().cloned());
    match event {
        Event::Step(process) | Event::Crash { process, .. } | Event::Lost { process, .. } => {
            let step = next(process).map(|action| action.to_string()).unwrap_or_default();
            format!("{} {event:?}: {step}", world.now)
        }
        _ => format!("{} {event:?}", world.now),
    }
}

impl World {
    /// Somebody does something; false where there is nothing to do it to.
    fn hand(&mut self, hand: Hand) -> bool {
        let version = self.made + 1;
        let now = self.now;
        let held = self.truth.our_secret().and_then(|secret| secret.key.clone()).map(|key| key.id);
        match (hand, &mut self.truth.secret, &mut self.truth.user) {
            (Hand::DeleteSecret, secret @ SecretState::Ours(_), _) => *secret = SecretState::Missing,
            (Hand::EmptySecret, SecretState::Ours(secret), _) => {
                (secret.key, secret.up_to_date) = (None, false);
                secret.resource_version = version.to_string();
            }
            (Hand::StripSecret, SecretState::Ours(secret), _) => {
                // The key is found in the data, proven by use; what was recorded beside it is gone.
                if let Some(key) = &mut secret.key {
                    (key.created_at, key.account_id) = (None, None);
                }
                (secret.annotated, secret.up_to_date) = (false, false);
                (secret.previous, secret.rotated_at, secret.rotate_handled) = (None, None, None);
                secret.resource_version = version.to_string();
            }
            (Hand::DeactivateKey, _, UserState::Present(user)) => {
                let Some(key) = user.keys.iter_mut().find(|key| held.as_ref().is_some_and(|held| *held == key.id))
                else {
                    return false;
                };
                key.active = false;
            }
            (Hand::DeleteKey, _, UserState::Present(user)) if held.is_some() => {
                user.keys.retain(|key| held.as_ref().is_none_or(|held| *held != key.id));
            }
            (Hand::AddKey, _, UserState::Present(user)) if user.keys.len() < 2 => {
                user.keys.push(AccessKey { id: format!("H{version}"), active: true, created_at: now });
            }
            (Hand::DetachPolicy, _, UserState::Present(user)) if !user.attached.is_empty() => user.attached.clear(),
            (Hand::Rotate | Hand::ToggleSuspension | Hand::DeleteResource | Hand::ReplaceResource, ..) => {
                let Some(resource) = &mut self.resource else { return false };
                resource.version = version;
                match hand {
                    Hand::Rotate => resource.rotation = Some(version),
                    Hand::ToggleSuspension => resource.suspended = !resource.suspended,
                    Hand::DeleteResource if resource.deleted_at.is_none() && self.truth.finalizer => {
                        resource.deleted_at = Some(now);
                    }
                    Hand::ReplaceResource if resource.deleted_at.is_none() => {
                        (resource.uid, resource.rotation) = (resource.uid + 1, None);
                        (self.truth.finalizer, self.truth.secret) = (false, SecretState::Missing);
                    }
                    _ => return false,
                }
            }
            _ => return false,
        }
        self.made = version;
        true
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
            if process.work.is_none() {
                events.push(Event::Look(index));
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
            events.extend([1, 20].map(Event::Tick));
        }
    }

    fn next_state(&self, world: &World, event: Event) -> Option<World> {
        let mut next = world.clone();
        match event {
            Event::Look(index) => self.look(&mut next, index),
            Event::Step(index) => self.step(&mut next, index, true, true),
            Event::Crash { process, after } => {
                next.budget.faults -= 1;
                self.step(&mut next, process, after, false);
                next.processes[process] = Process::default();
            }
            Event::Lost { process, after } => {
                next.budget.faults -= 1;
                self.step(&mut next, process, after, false);
            }
            Event::Hand(hand) => {
                next.budget.hands -= 1;
                if !next.hand(hand) {
                    return None;
                }
            }
            Event::Tick(seconds) => {
                next.budget.ticks -= 1;
                let pause = SignedDuration::from_secs(seconds);
                next.now = later(next.now, pause);
                // Two lead at once only while the Lease changes hands. For longer than that there is one, and what one does
                // alone is explored alone; who has lost the Lease may not write any more, and ends.
                if next.processes.len() > 1 && pause > WAITS.takeover {
                    next.processes.fill_with(Process::default);
                }
            }
        }
        (next != *world).then_some(next)
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
