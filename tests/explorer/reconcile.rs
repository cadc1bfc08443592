//! One reconcile of a process, as the controller's loop has it: read as little as it may, plan, act, and read more where that
//! does not suffice. What is decided, and what is known from then on, is the operator's own.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hasher};

use jiff::Timestamp;
use s3_access_operator::api::{Reason, tags};
use s3_access_operator::core::conditions::{Conditions, Failure, interrupted, status};
use s3_access_operator::core::drift::{PolicyDetail, UserDetail, Verdict, screen_policy, screen_user};
use s3_access_operator::core::observed::{Observed, PolicyState, Probes, User, UserState};
use s3_access_operator::core::plan::{Action, Effect, Plan, WhyDelete, plan, teardown};
use s3_access_operator::core::reads::known::{Fingerprint, Known, Reported, Settled};
use s3_access_operator::core::reads::next::{Basis, End, due_at};
use s3_access_operator::core::reads::picture::{Itself, assumed, by_record, named_keys, unread};
use s3_access_operator::core::reads::{
    Current, Done, Facts, Reads, SecretFact, done_by_status, is_alone_by_status, needed,
};
use s3_access_operator::core::rotation::{PROBES, later};
use s3_access_operator::core::schedule::{backoff, next_resync};

use crate::model::{Explorer, Mistake, RESYNC};
use crate::process::{Process, Work};
use crate::resource::{Read, Report, Resource};
use crate::world::{Refused, WAITS, World, hash};

/// Nobody's class has changed.
const REVISION: u64 = 0;

impl Explorer {
    /// A process begins a reconcile.
    pub fn reconcile(&self, world: &mut World, index: usize) {
        let process = &mut world.processes[index];
        let Some(resource) = process.newest() else { return };
        if resource.deleted_at.is_some() && !resource.finalizer {
            (process.known, process.due_at) = (Known::default(), None);
            return;
        }
        if !resource.finalizer {
            process.known.enforced(REVISION);
        }
        let work = Work {
            seen: world.truth.secret.clone(),
            reads: Reads::Secret,
            read_at: world.now,
            retried: false,
            finalizer_added: false,
            view: Observed::nothing(),
            rest: VecDeque::new(),
            left: None,
            resource,
        };
        self.read(world, index, work, None);
    }

    /// Where the watches show nothing that a reconcile is needed for, until when.
    pub fn undisturbed_until(&self, world: &World, index: usize) -> Option<Timestamp> {
        let process = &world.processes[index];
        let resource = process.copy.as_ref()?;
        let read = resource.read();
        let facts = Facts::of(&process.known, &self.current(&read, &world.truth, (world.now, false)));
        let version = &process.known.settled.as_ref()?.secret_version;
        let changed = world.truth.our_secret().is_none_or(|secret| secret.resource_version != **version);
        let secret = if changed { SecretFact::Changed } else { SecretFact::Unread };
        match needed(&self.mistaken(Facts { secret, ..facts }), world.now, None) {
            Reads::Nothing { until } => Some(until),
            _ => None,
        }
    }

    /// `within`: the Secret was read, as it is within a reconcile.
    fn current<'a>(&self, read: &'a Read, seen: &'a Observed, (world_now, within): (Timestamp, bool)) -> Current<'a> {
        let now = within.then_some(world_now);
        let by_status = now.zip(read.desired.as_ref()).and_then(|(now, desired)| {
            let any = (self.mistake == Some(Mistake::TrustsAnyStatus)).then_some(later(now, RESYNC));
            any.or_else(|| done_by_status(&read.user, desired, (&seen.secret, seen.session.as_ref())))
        });
        Current {
            user: &read.user,
            fingerprint: Fingerprint::of(&read.user, REVISION),
            secret: now.is_some().then_some(&seen.secret),
            session: seen.session.as_ref().filter(|_| now.is_some()),
            alone: true,
            by_status,
            resync: (RESYNC, world_now),
            retain: false,
            swept: self.swept,
        }
    }

    fn mistaken(&self, facts: Facts) -> Facts {
        match self.mistake {
            Some(Mistake::SettledWithoutTheSecret) => Facts { secret: SecretFact::Same, intact: true, ..facts },
            Some(Mistake::IgnoresSuspicion) => Facts { drift_suspected: false, ..facts },
            Some(Mistake::TrustsAnAbsentSweep) => Facts { swept: true, ..facts },
            _ => facts,
        }
    }

    /// Reads, beyond what has not sufficed, and plans.
    fn read(&self, world: &mut World, index: usize, mut work: Work, mut beyond: Option<Reads>) {
        let (read, uid) = (work.resource.read(), work.resource.uid);
        loop {
            let known = world.processes[index].known_of(uid);
            let mut base = unread(&read.user, &known);
            base.secret.clone_from(&work.seen);
            base.forget_delivered();
            let facts = Facts::of(&known, &self.current(&read, &base, (world.now, true)));
            let facts = self.mistaken(Facts { made: facts.made || work.finalizer_added, ..facts });
            let reads = needed(&facts, world.now, beyond);
            self.take(reads);
            let process = &mut world.processes[index];
            if let Reads::Nothing { until } = reads {
                let fingerprint = Fingerprint::of(&read.user, REVISION);
                if let Done::ByStatus(due_at) = facts.done
                    && let Some(settled) = {
                        let times = (due_at, world.now);
                        Settled::by_status(fingerprint, &work.seen, times, is_alone_by_status(&read.user))
                    }
                {
                    process.change(uid, |known| known.resumed(settled, fingerprint));
                }
                return self.end(world, index, uid, Ok(until));
            }
            if reads.begins_anew() {
                process.change(uid, |known| known.reading(reads));
            }
            work.read_at = match reads {
                Reads::Probe => known.left.as_ref().map_or(world.now, |left| left.read_at),
                Reads::User => known
                    .keys_left(Fingerprint::of(&read.user, REVISION), (&base.secret, None))
                    .map_or(world.now, |left| left.1),
                _ => world.now,
            };
            let Some(mut view) = self.look(world, (reads, &read), base, &known) else {
                beyond = Some(reads);
                continue;
            };
            view.finalizer |= work.finalizer_added;
            if reads.begins_anew() {
                world.processes[index].change(uid, |known| known.observed(&view));
            }
            (work.reads, work.view) = (reads, view);
            work.rest.clear();
            return self.go_on(world, index, work);
        }
    }

    /// What there is to see at that level.
    fn look(&self, world: &World, (reads, read): (Reads, &Read), base: Observed, known: &Known) -> Option<Observed> {
        let truth = &world.truth;
        if reads == Reads::Recorded {
            let user = truth.user()?;
            let user = by_record(&read.owner, &read.user, itself(user))?;
            // Those go first, before the rest is looked at.
            let user = UserState::Present(Box::new(User { keys: named_keys(&read.user), ..user }));
            return Some(Observed { user, policies: truth.policies.clone(), ..base });
        }
        let Some(desired) = read.desired.as_ref().filter(|_| reads != Reads::Everything) else {
            let mut view = Observed { user: truth.user.clone(), policies: truth.policies.clone(), ..base };
            if let (Some(Mistake::IgnoresTheUid), UserState::Present(user)) = (self.mistake, &mut view.user) {
                user.tags.insert(tags::UID.to_owned(), read.owner.identity.uid.clone());
            }
            return Some(view);
        };
        let user = truth.user().filter(|user| !reads.is_of_the_user() || itself(user).is_as_wanted(desired));
        let left =
            || known.keys_left(Fingerprint::of(&read.user, REVISION), (&base.secret, None)).map(|(keys, _)| keys);
        let mut keys =
            if reads == Reads::User { user.and_then(|_| left()) } else { user.map(|user| user.keys.clone()) };
        if let (Some(Mistake::KeepsToTheKeysOfTheSecret), Some(keys), Some(secret)) =
            (self.mistake, &mut keys, base.our_secret())
        {
            let held = secret.key.as_ref().map(|held| held.id.to_string());
            keys.retain(|key| held.as_ref() == Some(&key.id));
        }
        assumed(reads, desired, base, keys, known)
    }

    /// The plan, which is the same for the same picture.
    pub fn decide(&self, resource: &Resource, view: &Observed, now: Timestamp) -> Plan {
        thread_local! {
            static PLANS: RefCell<HashMap<u64, Plan>> = RefCell::default();
        }
        let mut hasher = DefaultHasher::new();
        hash(&(self.mistake, resource, view, now), &mut hasher);
        let key = hasher.finish();
        let known = PLANS.with_borrow(|plans| plans.get(&key).cloned());
        known.unwrap_or_else(|| {
            let plan = self.plan(resource, view, now);
            PLANS.with_borrow_mut(|plans| plans.insert(key, plan.clone()));
            plan
        })
    }

    fn plan(&self, resource: &Resource, view: &Observed, now: Timestamp) -> Plan {
        let read = resource.read();
        let mut trusting = view.clone();
        if self.mistake == Some(Mistake::SwapsWithoutAProbe)
            && let Some(minted) = &view.minted
        {
            trusting.probes.insert(minted.id.clone(), Probes { successes: PROBES, since: now, last: now });
        }
        let mut plan = match &read.desired {
            Some(desired) => plan(desired, &trusting, now, &WAITS),
            None => teardown(&read.owner, view, now, &WAITS),
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

    /// Plans again where nothing is left of the last plan, and reads more where what was read does not permit the next step.
    fn go_on(&self, world: &mut World, index: usize, mut work: Work) {
        if work.rest.is_empty() {
            let next = self.decide(&work.resource, &work.view, world.now);
            if next.actions.is_empty() && work.reads.suffices(&next) {
                return self.conclude(world, index, work, next);
            }
            work.rest = next.actions.into();
        }
        let permits = |action: &Action| work.reads.permits(action) || self.mistake == Some(Mistake::WritesByAssumption);
        if work.rest.front().is_some_and(permits) {
            world.processes[index].work = Some(Box::new(work));
        } else {
            self.read_more(world, index, work);
        }
    }

    fn read_more(&self, world: &mut World, index: usize, mut work: Work) {
        work.seen.clone_from(&work.view.secret);
        world.processes[index].change(work.resource.uid, |known| known.probed(&work.view));
        let beyond = Some(work.reads);
        self.read(world, index, work, beyond);
    }

    /// The plan is carried out as far as it goes: that is reported, if it says anything new.
    fn conclude(&self, world: &mut World, index: usize, mut work: Work, left: Plan) {
        let read = work.resource.read();
        let news = told(&read, &work.view, &left, world.now) != work.resource.report;
        if work.reads == Reads::Keys {
            return if news {
                self.read(world, index, work, Some(Reads::Keys))
            } else {
                self.finish(world, index, &work, &left)
            };
        }
        let process = &mut world.processes[index];
        if let Some(desired) = read.desired.as_ref().filter(|_| work.reads != Reads::Probe) {
            let fingerprint = Fingerprint::of(&read.user, REVISION);
            let basis = Basis { desired, fingerprint, read_at: work.read_at, now: world.now, waits: &WAITS };
            process.change(work.resource.uid, |known| known.carried_out(basis.kept(&work.view, &left)));
        }
        process.change(work.resource.uid, |known| known.probed(&work.view));
        if news {
            work.left = Some(Box::new(left));
            process.work = Some(Box::new(work));
        } else {
            self.finish(world, index, &work, &left);
        }
    }

    /// All that was to be said is said.
    fn finish(&self, world: &mut World, index: usize, work: &Work, left: &Plan) {
        let (read, uid, now) = (work.resource.read(), work.resource.uid, world.now);
        let resync = next_resync(&read.owner.identity.uid, now, RESYNC);
        let pause = pause(world, index, &work.resource);
        let outcome = match End::of(read.desired.as_ref(), &work.view, left, now) {
            End::Refused => {
                world.processes[index].change(uid, Known::waits);
                Ok(resync)
            }
            End::Blocked => Err(pause),
            End::Waiting => {
                world.processes[index].change(uid, Known::waits);
                Ok(left.wake_at.unwrap_or(pause))
            }
            End::Settled => {
                let fingerprint = Fingerprint::of(&read.user, REVISION);
                let settled = Settled::of(fingerprint, &work.view, due_at(left, now), work.read_at);
                let resync =
                    settled.as_ref().map_or(resync, |settled| settled.resync_at(&read.owner.identity.uid, RESYNC));
                world.processes[index].change(uid, |known| known.settled(settled));
                Ok(due_at(left, now).min(resync))
            }
        };
        self.end(world, index, uid, outcome);
    }

    /// A reconcile ends, well or not, and the next one is due then.
    fn end(&self, world: &mut World, index: usize, uid: u8, outcome: Result<Timestamp, Timestamp>) {
        let process = &mut world.processes[index];
        process.change(uid, |known| {
            if outcome.is_ok() {
                known.enforced(REVISION);
            }
            known.ended(outcome.is_err());
            // How many, decides nothing but a pause.
            known.failures = known.failures.min(1);
            known.drift_suspected &= self.mistake != Some(Mistake::ForgetsSuspicionAtTheEnd);
        });
        process.work = None;
        process.drop_written();
        process.due_at = Some(outcome.unwrap_or_else(|at| at));
    }

    /// The next step of a process, and how it ends; `answered` is whether the process gets the answer.
    pub fn step(&self, world: &mut World, index: usize, takes_place: bool, answered: bool) {
        let Some(mut work) = world.processes[index].work.take() else { return };
        if let Some(left) = work.left.take() {
            let report = told(&work.resource.read(), &work.view, &left, world.now);
            let written = if takes_place { world.report(index, &work, report) } else { Err(Refused::Other) };
            return match written {
                Ok(()) if answered => {
                    self.written(world, index, &work);
                    self.finish(world, index, &work, &left);
                }
                _ => {
                    let at = pause(world, index, &work.resource);
                    self.end(world, index, work.resource.uid, Err(at));
                }
            };
        }
        let Some(action) = work.rest.pop_front() else { return };
        work.finalizer_added |= self.mistake == Some(Mistake::TakesTheUserUnseen);
        let outcome = if takes_place { world.carry_out(index, &work, &action) } else { Err(Refused::Other) };
        match outcome.and_then(|effect| if answered { Ok(effect) } else { Err(Refused::Other) }) {
            Ok(effect) => self.took_place(world, index, *work, (action, effect)),
            Err(why) => self.stop(world, index, *work, (action, why)),
        }
    }

    fn took_place(&self, world: &mut World, index: usize, mut work: Work, (action, effect): (Action, Effect)) {
        let uid = work.resource.uid;
        match (&action, &effect) {
            (Action::CreateAccessKey, Effect::KeyCreated(minted)) => {
                world.processes[index].change(uid, |known| known.minted(minted, &"".into()));
            }
            (Action::WriteSecret { key_id: id, .. } | Action::DeleteKey { id, .. }, _) => {
                world.processes[index].change(uid, |known| known.unminted(id));
            }
            (Action::AddFinalizer | Action::Announce(_), _) => self.written(world, index, &work),
            _ => {}
        }
        work.finalizer_added |= action == Action::AddFinalizer;
        work.view.record(&work.resource.read().owner, &action, &effect, world.now);
        if action == Action::RemoveFinalizer {
            // Let go: nothing is to be known of it any more.
            let process = &mut world.processes[index];
            process.change(uid, |known| *known = Known::default());
            process.due_at = None;
            return;
        }
        if work.reads.is_belied_by(&effect) {
            return self.read_more(world, index, work);
        }
        if effect == Effect::DeleteConflict {
            work.rest.clear();
        }
        self.go_on(world, index, work);
    }

    /// A write of ours has made a version of the CR.
    fn written(&self, world: &mut World, index: usize, work: &Work) {
        if let Some(live) = &world.resource {
            let (version, status) = (live.version.into(), live.report.status());
            world.processes[index].change(work.resource.uid, |known| known.written(Some(version), &status));
        }
    }

    /// A step has failed.
    fn stop(&self, world: &mut World, index: usize, mut work: Work, (action, why): (Action, Refused)) {
        let uid = work.resource.uid;
        // A Secret that was refused takes the new key with it.
        if let (Action::WriteSecret { key_id, .. }, Refused::Conflict) = (&action, why)
            && work.view.minted.as_ref().is_some_and(|minted| minted.id == *key_id)
        {
            let delete = Action::DeleteKey { id: key_id.clone(), why: WhyDelete::Orphan };
            if work.reads.begins_anew() {
                drop(world.carry_out(index, &work, &delete));
            }
            world.processes[index].change(uid, |known| known.unminted(key_id));
        }
        if work.reads.retries(&action) || (work.reads == Reads::User && why == Refused::Belied) {
            return self.read_more(world, index, work);
        }
        if matches!(why, Refused::Conflict | Refused::Exists) && !work.retried {
            (work.retried, work.seen) = (true, world.truth.secret.clone());
            return self.read(world, index, work, Some(Reads::UserAndKeys));
        }
        world.processes[index].change(uid, |known| known.probed(&work.view));
        if why != Refused::Conflict {
            let mut plan = self.decide(&work.resource, &work.view, world.now);
            let failure =
                Failure { part: action.part(), reason: Reason::Failed, message: String::new(), transient: true };
            failure.mark(&mut plan.parts);
            let report = told(&work.resource.read(), &work.view, &plan, world.now);
            if world.report(index, &work, report).is_ok() {
                self.written(world, index, &work);
            }
        }
        let at = pause(world, index, &work.resource);
        self.end(world, index, uid, Err(at));
    }

    /// What a credential report that is made now says of its keys: the truth, or that they are as they were left.
    pub fn reported(&self, world: &World, lies: bool) -> Option<Reported> {
        let held = world.truth.our_secret()?.key.as_ref()?;
        let created_at = held.created_at?;
        let active: Vec<_> = world.truth.user()?.keys.iter().filter(|key| key.active).collect();
        let only_key = match active.as_slice() {
            _ if lies => Some(created_at),
            [only] => Some(only.created_at),
            _ => None,
        };
        Some(Reported { made_at: world.now, created_at, only_key, rest_is_compared: self.swept })
    }

    /// Whether the bulk read shows a difference between what the process's copy wants and what there is.
    pub fn differs(&self, world: &World, process: &Process) -> bool {
        let Some(resource) = process.copy.as_ref().filter(|copy| copy.finalizer && copy.deleted_at.is_none()) else {
            return false;
        };
        let read = resource.read();
        let (Some(desired), Some(user)) = (&read.desired, world.truth.user()) else { return true };
        if user.tags.get(tags::UID) != Some(&read.owner.identity.uid) {
            return true;
        }
        let detail = UserDetail {
            name: read.owner.user_name.clone(),
            arn: user.arn.clone(),
            path: user.path.clone(),
            tags: user.tags.clone(),
            boundary: user.boundary.clone(),
            attached: user.attached.clone(),
            inline: user.inline.clone(),
        };
        let well = |arn: &String| match world.truth.policies.get(arn) {
            Some(PolicyState::Present(policy)) => {
                screen_policy(desired, &PolicyDetail { arn: arn.clone(), document: policy.document.clone() })
            }
            _ => false,
        };
        match screen_user(desired, &detail) {
            Verdict::Differs => true,
            Verdict::Agrees { policy } => !policy.as_ref().is_none_or(well),
        }
    }
}

fn itself(user: &User) -> Itself<'_> {
    Itself { arn: &user.arn, path: &user.path, tags: &user.tags, boundary: user.boundary.as_ref() }
}

fn pause(world: &World, index: usize, resource: &Resource) -> Timestamp {
    let failures = world.processes[index].known_of(resource.uid).failures;
    later(world.now, backoff(&resource.uid(), failures.saturating_add(1)))
}

/// What the status says after that plan.
fn told(read: &Read, view: &Observed, plan: &Plan, now: Timestamp) -> Report {
    let generation = read.user.metadata.generation;
    let earlier = read.user.status.clone().unwrap_or_default();
    Report::of(&match &read.desired {
        Some(desired) if view.user().is_some() => {
            status(desired, view, plan, &Conditions { earlier: &earlier.conditions, generation, now })
        }
        _ => interrupted(Some(&read.owner), &plan.parts, &earlier, generation, now),
    })
}
