//! Recovery: what the world comes to where it is left alone with one process, which reconciles when it is due.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use s3_access_operator::core::iam::AccessKey;
use s3_access_operator::core::observed::Observed;
use s3_access_operator::core::plan::leaves_alone;
use s3_access_operator::core::rotation::later;
use s3_access_operator::core::schedule::next_resync;

use crate::model::{Explorer, RESYNC};
use crate::process::Process;
use crate::resource::{Resource, account};
use crate::world::{Budget, World, hash};

/// More reconciles than any recovery takes.
const PATIENCE: usize = 150;
/// More steps than any reconcile takes.
const STEPS: usize = 48;
/// Longer than all that is waited for within a recovery.
const SHORTLY: SignedDuration = SignedDuration::from_hours(1);

impl Explorer {
    /// Whether what comes of a state is the one right end: with each of its processes, by what that knows, and with a new
    /// one.
    pub fn ends_well(&self, world: &World) -> bool {
        let new = Process::new(world.resource.as_ref());
        // What is read in a recovery says nothing of what is explored.
        let aside = Self { taken: Arc::default(), ..self.clone() };
        world.processes.iter().chain([&new]).all(|process| aside.ends_well_with(world, process))
    }

    fn ends_well_with(&self, world: &World, process: &Process) -> bool {
        // The others end, and what may still happen does not.
        let alone = World { processes: vec![process.clone()], budget: Budget::default(), ..world.clone() };
        self.recovered(alone).is_some()
    }

    /// What the world comes to with its first process: the right end, and at rest; `None` where it does not.
    pub fn recovered(&self, mut world: World) -> Option<World> {
        let process = &mut world.processes[0];
        // What is called for by events, and by a sweep that has shown something, is reconciled at once.
        process.known.drift_suspected |= std::mem::take(&mut process.screened);
        process.watch(world.resource.as_ref());
        let due_at = self.undisturbed_until(&world, 0).unwrap_or(world.now);
        world.processes[0].due_at = world.resource.as_ref().map(|_| due_at);
        let mut passed = Vec::new();
        let well = self.is_well_left(&mut world, &mut passed);
        self.known.lock().unwrap().extend(passed.into_iter().map(|key| (key, well)));
        well.then_some(world)
    }

    /// What the watches show is put right shortly, and what only IAM shows within an interval: by the sweep, or by the
    /// reconcile that is due. Once a sweep has told of it, without another one.
    ///
    /// States that are `passed` shortly after the beginning come to the same end.
    fn is_well_left(&self, world: &mut World, passed: &mut Vec<u64>) -> bool {
        let begun = world.now;
        // What a report of before says nothing of is read an interval later.
        let reported = world.processes[0].known.settled.as_ref().is_some_and(|settled| settled.compared_at.is_some());
        let (shortly, found) = (later(begun, SHORTLY), later(begun, RESYNC * if reported { 2 } else { 1 } + SHORTLY));
        let end = later(found, RESYNC);
        let (mut changed_at, mut is_early) = (begun, true);
        for _ in 0..PATIENCE {
            let due_at = world.processes[0].due_at.unwrap_or(end);
            let swept_at = Some(next_resync(&account().id, world.now, RESYNC));
            let swept_at = swept_at.filter(|at| self.swept && !world.processes[0].shown && *at < due_at);
            let next = swept_at.unwrap_or(due_at);
            if is_early && next > shortly && !self.is_shortly_right(world) {
                return false;
            }
            is_early = next <= shortly;
            if next >= end {
                return changed_at <= found && world.violation.is_none() && self.is_right(world);
            }
            if is_early {
                let key = key(world, next);
                match self.known.lock().unwrap().get(&key) {
                    Some(well) => return *well,
                    None => passed.push(key),
                }
            }
            world.now = next.max(world.now);
            if swept_at.is_some() {
                if self.differs(world, &world.processes[0]) && world.processes[0].known.suspect_drift() {
                    world.processes[0].due_at = Some(world.now);
                }
                continue;
            }
            let (truth, resource) = (world.truth.clone(), world.resource.clone());
            self.reconcile_to_its_end(world);
            if truth != world.truth || resource != world.resource {
                changed_at = world.now;
            }
        }
        false
    }

    fn reconcile_to_its_end(&self, world: &mut World) {
        self.reconcile(world, 0);
        for _ in 0..STEPS {
            self.step(world, 0, true, true);
        }
        if world.processes[0].work.is_some() {
            world.violation = Some("a reconcile that comes to no end".to_owned());
            world.processes[0].work = None;
        }
        let World { processes, resource, .. } = world;
        processes[0].watch(resource.as_ref());
        if world.processes[0].shown {
            world.processes[0].shown = self.differs(world, &world.processes[0]);
        }
    }

    /// What the watches have shown is done: a deletion, a request to rotate, and all about the Secret.
    fn is_shortly_right(&self, world: &World) -> bool {
        let Some(resource) = &world.resource else { return world.truth.user().is_none() };
        let secret = world.truth.our_secret();
        let requested = resource.rotation.map(|number| number.to_string());
        let whole = secret.is_some_and(|secret| {
            secret.key.is_some() && secret.up_to_date && (requested.is_none() || secret.rotate_handled == requested)
        });
        resource.deleted_at.is_none() && (whole || resource.suspended)
    }

    /// The one right end.
    fn is_right(&self, world: &World) -> bool {
        let keys: &[AccessKey] = world.truth.user().map(|user| &*user.keys).unwrap_or_default();
        let Some(resource) = &world.resource else { return world.truth.user().is_none() };
        let held = world.truth.our_secret().and_then(|secret| secret.key.as_ref()).map(|key| key.id.clone());
        let active = !resource.suspended;
        let one = matches!(keys, [key] if held.as_ref().is_some_and(|held| *held == key.id) && key.active == active);
        // Suspended before there was a key, it has none.
        let none = resource.suspended && keys.is_empty();
        (one || none) && self.is_as_wanted(world, resource) && (none || self.is_told(resource))
    }

    /// Whoever reads everything, and remembers nothing, finds nothing to do.
    fn is_as_wanted(&self, world: &World, resource: &Resource) -> bool {
        let view = Observed { finalizer: true, ..world.truth.clone() };
        let read = resource.read();
        let Some(desired) = &read.desired else { return false };
        leaves_alone(desired, &view) && self.decide(resource, &view, world.now).actions.is_empty()
    }

    /// The status says so.
    fn is_told(&self, resource: &Resource) -> bool {
        let report = &resource.report;
        report.generation == Some(resource.generation.into()) && report.settled != resource.suspended
    }
}

/// What goes on from here is told by this: what there is, what is known, and when the next reconcile is due.
fn key(world: &World, due_at: Timestamp) -> u64 {
    let mut hasher = DefaultHasher::new();
    hash(&(world, due_at), &mut hasher);
    hasher.finish()
}
