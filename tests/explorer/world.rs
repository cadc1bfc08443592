//! The world around the core, and what each step does to it.

use std::cell::RefCell;
use std::fmt::{self, Write};
use std::hash::{Hash, Hasher};

use jiff::{SignedDuration, Timestamp};
use s3_access_operator::core::names::Ownership;
use s3_access_operator::core::observed::{Minted, Observed, PolicyState, SecretState, UserState};
use s3_access_operator::core::plan::Effect;
use s3_access_operator::core::plan::{Action, Waits};
use s3_access_operator::core::reads::takes_the_user;
use s3_access_operator::core::rotation::PROBES;

use crate::process::{Process, Work};
use crate::resource::{Report, Resource};

/// Short ones, so that few ticks cross them.
pub const WAITS: Waits = Waits {
    consistency_window: SignedDuration::from_secs(8),
    probe_interval: SignedDuration::from_secs(1),
    takeover: SignedDuration::from_secs(4),
};

/// How much may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Crashes, lost answers and refusals.
    pub faults: u8,
    /// Edits by people.
    pub hands: u8,
    /// Ticks of the clock.
    pub ticks: u8,
    /// Intervals of drift detection that pass at once.
    pub intervals: u8,
    /// Bulk reads of the account.
    pub sweeps: u8,
    /// Credential reports of it, true ones and others.
    pub reports: u8,
}

/// A state of everything.
#[derive(Clone, Debug)]
pub struct World {
    pub now: Timestamp,
    /// What there is in IAM and in the Secret.
    pub truth: Observed,
    /// The CR; none once it is gone.
    pub resource: Option<Resource>,
    pub processes: Vec<Process>,
    pub budget: Budget,
    /// Keys and versions made so far.
    pub made: u8,
    /// The step that no operator may take.
    pub violation: Option<String>,
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(self, state);
    }
}

/// A secret half has no equality, and its text does not show it: no two of a model's states differ by one alone.
impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        format!("{self:?}") == format!("{other:?}")
    }
}

/// Hashes the text of it, at once: piece by piece takes many times as long.
pub fn hash<H: Hasher>(what: &impl fmt::Debug, state: &mut H) {
    thread_local! {
        static TEXT: RefCell<String> = RefCell::default();
    }
    TEXT.with_borrow_mut(|text| {
        text.clear();
        write!(text, "{what:?}").unwrap();
        state.write(text.as_bytes());
    });
}

/// Why a step was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Kubernetes has another version.
    Conflict,
    /// IAM has one of that name.
    Exists,
    /// IAM says that there is another key, or none.
    Belied,
    /// Anything else.
    Other,
}

impl World {
    fn fresh(&mut self) -> u8 {
        if self.made == u8::MAX {
            self.violate(6, "writes without end");
        }
        self.made = self.made.saturating_add(1);
        self.made
    }

    fn violate(&mut self, invariant: u8, what: &str) {
        self.violation.get_or_insert_with(|| format!("invariant {invariant}: {what}"));
    }

    /// Looks at a step that will take place.
    fn judge(&mut self, process: usize, work: &Work, action: &Action) {
        let owner = &work.resource.read().owner;
        let held = self.truth.our_secret().and_then(|secret| secret.key.clone());
        let live = self.resource.clone();
        let wanted = live.as_ref().is_some_and(|live| live.deleted_at.is_none() && !live.suspended)
            && work.resource.deleted_at.is_none()
            && !work.resource.suspended;
        let working = |id: &str, world: &Self| {
            world.truth.user().is_some_and(|user| user.keys.iter().any(|key| key.id == id && key.active))
        };
        let ownership = self.truth.user().map(|user| owner.identity.ownership(&user.tags));
        let same_object = live.as_ref().is_some_and(|live| live.uid == work.resource.uid);
        match action {
            Action::DeleteKey { id, .. } | Action::SetKeyStatus { id, active: false }
                if wanted && same_object && held.as_ref().is_some_and(|held| held.id == *id) && working(id, self) =>
            {
                self.violate(3, "the Secret's key was revoked");
            }
            Action::WriteSecret { key_id, .. } if wanted && same_object => {
                let replaces = held.filter(|held| held.id != *key_id && working(&held.id, self));
                let known = &self.processes[process].known;
                let known = known.probes.iter().find(|(id, _)| id == key_id).map_or(0, |(_, probes)| probes.successes);
                let seen = known.max(work.view.probes.get(key_id).map_or(0, |probes| probes.successes));
                if replaces.is_some() && seen < PROBES {
                    self.violate(3, "a key was replaced by one that was not seen to work");
                }
            }
            Action::DetachPolicy(_) | Action::DeleteUser | Action::DeletePolicy { .. }
                if work.resource.deleted_at.is_some()
                    && self.truth.user().is_some_and(|user| !user.keys.is_empty())
                    && work.view.user().is_some_and(|user| !user.keys.is_empty()) =>
            {
                self.violate(10, "something else went before the keys");
            }
            _ => {}
        }
        let on_user = !matches!(
            action,
            Action::AddFinalizer
                | Action::RemoveFinalizer
                | Action::Announce(_)
                | Action::CreateUser { .. }
                | Action::ProbeKey { .. }
                | Action::ReadLastUsed { .. }
                | Action::WriteSecret { .. }
                | Action::MarkWorkload { .. }
                | Action::DeleteSecret { .. }
                | Action::CreatePolicy { .. }
                | Action::TagPolicy { .. }
                | Action::DeletePolicy { .. }
        );
        let adopts = matches!(action, Action::TagUser(_)) && ownership == Some(Ownership::Predecessor);
        if on_user && same_object && !adopts && ownership.is_some_and(|ownership| ownership != Ownership::Ours) {
            self.violate(4, "a step on a user that is not ours");
        }
        // The Secret is read live in each of them.
        let into_secret = matches!(action, Action::WriteSecret { .. });
        if action.writes() && !into_secret && !work.reads.begins_anew() {
            self.violate(4, "a write, and the proof that it rests upon was not read");
        }
    }

    /// Carries out a step, as IAM and the API server do.
    #[expect(clippy::too_many_lines, reason = "one arm an action")]
    pub fn carry_out(&mut self, process: usize, work: &Work, action: &Action) -> Result<Effect, Refused> {
        let read = work.resource.read();
        let owner = &read.owner;
        let has_user = self.truth.user().is_some();
        let same_object = self.resource.as_ref().is_some_and(|live| live.uid == work.resource.uid);
        let effect = match action {
            Action::AddFinalizer | Action::RemoveFinalizer => {
                if !self.is_as_read(work) {
                    return Err(Refused::Conflict);
                }
                Effect::Done
            }
            // Before a user is made or taken over, the CR has to be there as it was read.
            action if takes_the_user(action) && !work.finalizer_added && !self.is_as_read(work) => {
                return Err(Refused::Conflict);
            }
            Action::CreateUser { .. } if has_user => return Err(Refused::Exists),
            Action::CreateUser { .. } => Effect::UserCreated(owner.user_arn()),
            Action::CreatePolicy { arn, .. }
                if matches!(self.truth.policies.get(arn), Some(PolicyState::Present(_))) =>
            {
                return Err(Refused::Exists);
            }
            Action::CreatePolicy { .. } | Action::DeletePolicy { .. } | Action::TagPolicy { .. } => Effect::Done,
            Action::ProbeKey { id } => {
                let user = self.truth.user();
                Effect::Probed(user.is_some_and(|user| user.keys.iter().any(|key| key.id == *id && key.active)))
            }
            Action::ReadLastUsed { .. } => Effect::LastUsed(None),
            Action::WriteSecret { .. } => {
                let known = work.view.our_secret().map(|secret| secret.resource_version.clone());
                let live = self.truth.our_secret().map(|secret| secret.resource_version.clone());
                let foreign = matches!(self.truth.secret, SecretState::Foreign { .. });
                if known != live || foreign || !same_object {
                    return Err(Refused::Conflict);
                }
                Effect::SecretWritten { uid: "secret".to_owned(), resource_version: self.fresh().to_string() }
            }
            Action::DeleteSecret { .. } => Effect::Done,
            Action::Announce(_) => {
                let report = Report {
                    settled: false,
                    generation: Some(work.resource.generation.into()),
                    ..work.resource.report.clone()
                };
                self.report(process, work, report)?;
                Effect::Done
            }
            _ if !has_user => return Err(Refused::Belied),
            Action::CreateAccessKey if self.truth.user().is_some_and(|user| user.keys.len() >= 2) => {
                return Err(Refused::Belied);
            }
            Action::CreateAccessKey => {
                let id = format!("K{}", self.fresh());
                Effect::KeyCreated(Minted { id, created_at: self.now })
            }
            Action::DeleteUser => {
                let in_the_way = |user: &s3_access_operator::core::observed::User| {
                    !user.keys.is_empty() || !user.attached.is_empty() || !user.inline.is_empty()
                };
                match self.truth.user() {
                    None => Effect::NoSuchUser,
                    Some(user) if in_the_way(user) => Effect::DeleteConflict,
                    Some(_) => Effect::Done,
                }
            }
            _ => Effect::Done,
        };
        self.judge(process, work, action);
        if effect != Effect::DeleteConflict {
            self.truth.record(owner, action, &effect, self.now);
            // What only a process knows.
            (self.truth.minted, self.truth.last_used) = (None, None);
            self.truth.probes.clear();
            if self.truth.user == UserState::Deleted {
                self.truth.user = UserState::Missing;
            }
            for state in self.truth.policies.values_mut().filter(|state| **state == PolicyState::Deleted) {
                *state = PolicyState::Missing;
            }
        }
        if matches!(action, Action::AddFinalizer | Action::RemoveFinalizer) {
            self.truth.finalizer = false;
            let version = self.fresh();
            let live = self.resource.as_mut().unwrap();
            (live.version, live.finalizer) = (version, *action == Action::AddFinalizer);
            if !live.finalizer && live.deleted_at.is_some() {
                self.resource = None;
                self.truth.secret = SecretState::Missing;
            }
        }
        Ok(effect)
    }

    /// The CR is there, in the version that the process has.
    fn is_as_read(&self, work: &Work) -> bool {
        let Resource { uid, version, .. } = work.resource;
        self.resource.as_ref().is_some_and(|live| live.uid == uid && live.version == version)
    }

    /// Writes the status, on the version that the process has or has written since.
    pub fn report(&mut self, process: usize, work: &Work, report: Report) -> Result<(), Refused> {
        if report == work.resource.report {
            return Ok(());
        }
        let uid = work.resource.uid;
        let written = self.processes[process].known_of(uid).last_written.map_or(0, |written| written.0);
        let version = written.max(work.resource.version.into());
        if !self.resource.as_ref().is_some_and(|live| live.uid == uid && u64::from(live.version) == version) {
            return Err(Refused::Conflict);
        }
        let fresh = self.fresh();
        if let Some(live) = &mut self.resource {
            (live.report, live.version) = (report, fresh);
        }
        Ok(())
    }
}
