//! The world around the core, and what each step does to it.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};

use jiff::{SignedDuration, Timestamp};
use s3_access_operator::api::{S3AccessUser, annotations};
use s3_access_operator::core::class::Class;
use s3_access_operator::core::desired::{Desired, Owner};
use s3_access_operator::core::iam::Account;
use s3_access_operator::core::names::{Cluster, Ownership};
use s3_access_operator::core::observed::{Minted, Observed, PolicyState, Probes, SecretState, UserState};
use s3_access_operator::core::plan::Effect;
use s3_access_operator::core::plan::{Action, Waits};
use s3_access_operator::core::rotation::PROBES;
use serde_json::json;

/// Short ones, so that few ticks cross them.
pub const WAITS: Waits = Waits {
    consistency_window: SignedDuration::from_secs(8),
    probe_interval: SignedDuration::from_secs(1),
    takeover: SignedDuration::from_secs(4),
};

/// How much may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Crashes, lost answers and refusals.
    pub faults: u8,
    /// Edits by people.
    pub hands: u8,
    /// Ticks of the clock.
    pub ticks: u8,
}

/// The CR, as the API server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    pub uid: u8,
    pub version: u8,
    pub deleted_at: Option<Timestamp>,
    pub suspended: bool,
    pub rotation: Option<u8>,
}

impl Resource {
    fn object(&self) -> S3AccessUser {
        let spec = json!({
            "userName": "reports",
            "access": [{ "bucket": "reports", "level": "ReadOnly" }],
            "accessKey": { "rotation": { "interval": "720h", "overlap": "6s" } },
            "suspend": self.suspended,
        });
        let mut user = S3AccessUser::new("reports", serde_json::from_value(spec).unwrap());
        user.metadata.namespace = Some("team-a".to_owned());
        user.metadata.uid = Some(format!("uid-{}", self.uid));
        user.metadata.deletion_timestamp = self.deleted_at.map(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time);
        let requested = self.rotation.map(|number| (annotations::ROTATE.to_owned(), number.to_string()));
        user.metadata.annotations = Some(requested.into_iter().collect());
        user
    }

    /// What it wants; `None` while it is being deleted.
    pub fn desired(&self) -> Option<Desired> {
        self.deleted_at.is_none().then(|| Desired::of(&self.object(), &account(), &cluster(), &Class::none()).unwrap())
    }

    pub fn owner(&self) -> Owner {
        Owner::of(&self.object(), &account(), &cluster(), &Class::none())
    }
}

fn account() -> Account {
    Account { id: "123456789012".to_owned(), partition: "aws".to_owned() }
}

fn cluster() -> Cluster {
    Cluster { id: "cluster".to_owned(), name: "prod".to_owned() }
}

/// What a process is doing.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// The CR as the process has it.
    pub resource: Resource,
    /// Its picture of the rest.
    pub view: Observed,
    /// What it has planned.
    pub rest: VecDeque<Action>,
}

/// An operator process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Process {
    pub minted: Option<Minted>,
    pub probes: BTreeMap<String, Probes>,
    pub work: Option<Work>,
}

/// A state of everything.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    pub now: Timestamp,
    /// What there is in IAM and in the Secret, and the finalizer.
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
        format!("{self:?}").hash(state);
    }
}

/// Why a step was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

impl World {
    fn fresh(&mut self) -> u8 {
        self.made += 1;
        self.made
    }

    fn violate(&mut self, invariant: u8, what: &str) {
        self.violation.get_or_insert_with(|| format!("invariant {invariant}: {what}"));
    }

    /// Looks at a step that will take place.
    fn judge(&mut self, process: usize, work: &Work, action: &Action) {
        let owner = work.resource.owner();
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
                let seen = self.processes[process].probes.get(key_id).map_or(0, |probes| probes.successes);
                let seen = seen.max(work.view.probes.get(key_id).map_or(0, |probes| probes.successes));
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
    }

    /// Carries out a step, as IAM and the API server do.
    #[expect(clippy::too_many_lines, reason = "one arm an action")]
    pub fn carry_out(&mut self, process: usize, work: &Work, action: &Action) -> Result<Effect, Refused> {
        let owner = work.resource.owner();
        let has_user = self.truth.user().is_some();
        let same_object = self.resource.as_ref().is_some_and(|live| live.uid == work.resource.uid);
        let effect = match action {
            Action::AddFinalizer | Action::RemoveFinalizer => {
                let same = self.resource.as_ref().is_some_and(|live| live.version == work.resource.version);
                if !same || !same_object {
                    return Err(Refused);
                }
                Effect::Done
            }
            Action::CreateUser { .. } if has_user => return Err(Refused),
            Action::CreateUser { .. } => Effect::UserCreated(owner.user_arn()),
            Action::CreatePolicy { arn, .. }
                if matches!(self.truth.policies.get(arn), Some(PolicyState::Present(_))) =>
            {
                return Err(Refused);
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
                    return Err(Refused);
                }
                Effect::SecretWritten { uid: "secret".to_owned(), resource_version: self.fresh().to_string() }
            }
            Action::DeleteSecret { .. } => Effect::Done,
            _ if !has_user => return Err(Refused),
            Action::CreateAccessKey if self.truth.user().is_some_and(|user| user.keys.len() >= 2) => {
                return Err(Refused);
            }
            Action::CreateAccessKey => {
                let id = format!("K{}", self.fresh());
                Effect::KeyCreated(Minted { id, created_at: self.now })
            }
            Action::DeleteUser => {
                let in_the_way = |user: &s3_access_operator::core::observed::User| {
                    !user.keys.is_empty() || !user.attached.is_empty() || !user.inline.is_empty()
                };
                if self.truth.user().is_some_and(in_the_way) { Effect::DeleteConflict } else { Effect::Done }
            }
            _ => Effect::Done,
        };
        self.judge(process, work, action);
        if effect != Effect::DeleteConflict {
            self.truth.record(&owner, action, &effect, self.now);
            // What only a process knows.
            (self.truth.minted, self.truth.last_used) = (None, None);
            self.truth.probes.clear();
            if self.truth.user == UserState::Deleted {
                self.truth.user = UserState::Missing;
            }
        }
        if matches!(action, Action::AddFinalizer | Action::RemoveFinalizer) {
            let version = self.fresh();
            let live = self.resource.as_mut().unwrap();
            live.version = version;
            if *action == Action::RemoveFinalizer && live.deleted_at.is_some() {
                self.resource = None;
                self.truth.secret = SecretState::Missing;
            }
        }
        Ok(effect)
    }
}
