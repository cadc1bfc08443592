//! The decision: what to do next, about which part, and how it stands. A pure function of what is wanted, what is
//! seen, and the time.

mod action;
mod effect;
mod identity;
mod key;
mod policies;
mod secret;
mod sessions;
mod teardown;
mod unused;
mod workloads;

pub use action::{Action, Part, SecretRecord, WhyDelete};
pub use effect::Effect;
pub use key::being_replaced;
pub use policies::named_policy;
pub(crate) use policies::version_to_prune;
pub use teardown::{policies_to_read, teardown};

use jiff::{SignedDuration, Timestamp};

use super::desired::{Desired, Owner};
use super::ends::inactive::Inactive;
use super::names::Ownership;
use super::observed::{Observed, User};
use super::rotation::later;
use crate::api::Reason;

/// The configured waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// IAM's consistency window: within it, "not found" may be a replica that lags (3–15 s are usual, 30 s reported). What
    /// is only delayed or told waits as long as that.
    pub consistency_window: SignedDuration,
    /// Between two probes of a new key.
    pub probe_interval: SignedDuration,
    /// How long a leader that has lost its Lease may go on: so long, a key that no Secret holds may be on its way there.
    pub takeover: SignedDuration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            consistency_window: SignedDuration::from_secs(60),
            probe_interval: SignedDuration::from_secs(2),
            takeover: SignedDuration::from_secs(15),
        }
    }
}

impl Waits {
    /// How long "not found" is not believed where what follows cannot be taken back: a user with its keys left behind, a
    /// working key replaced, somebody else's key taken for ours. Twice the window, by default two minutes, as long as
    /// Terraform's provider waits for IAM (hashicorp/terraform-provider-aws, internal/service/iam/consts.go).
    #[must_use]
    pub fn before_loss(&self) -> SignedDuration {
        self.consistency_window * 2
    }
}

/// How a part stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// As the spec says.
    Synced,
    /// The operator goes on by itself.
    Waiting(Reason, String),
    /// Only somebody's action helps.
    Blocked(Reason, String),
    /// An earlier part comes first.
    Pending,
}

impl Progress {
    /// As the spec says, or kept from it by choice: suspension, expiry and what the class does not allow wait for nothing
    /// but another spec or class.
    pub fn rests(&self) -> bool {
        matches!(
            self,
            Self::Synced
                | Self::Blocked(
                    Reason::Suspended
                        | Reason::Compromised
                        | Reason::Expired
                        | Reason::Unused
                        | Reason::NotPermittedByClass,
                    _
                )
        )
    }
}

/// The parts, each of which has a condition of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// The IAM user.
    pub user: Progress,
    /// Its policies.
    pub policy: Progress,
    /// Its access key.
    pub key: Progress,
    /// The Secret.
    pub secret: Progress,
}

impl Parts {
    /// Nothing is known yet.
    pub fn pending() -> Self {
        Self { user: Progress::Pending, policy: Progress::Pending, key: Progress::Pending, secret: Progress::Pending }
    }

    /// The part's progress.
    pub fn of(&self, part: Part) -> &Progress {
        match part {
            Part::User => &self.user,
            Part::Policy => &self.policy,
            Part::AccessKey => &self.key,
            Part::Secret => &self.secret,
        }
    }

    /// Changes the part's progress.
    pub fn set(&mut self, part: Part, progress: Progress) {
        match part {
            Part::User => self.user = progress,
            Part::Policy => self.policy = progress,
            Part::AccessKey => self.key = progress,
            Part::Secret => self.secret = progress,
        }
    }
}

/// A replaced key in its overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retiring {
    /// Its id.
    pub id: String,
    /// When it is deactivated.
    pub retire_at: Timestamp,
    /// When IAM says it was last used.
    pub last_used: Option<Timestamp>,
    /// Its use after the swap has put its end off.
    pub extended: bool,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// In this order; after them, plan again. Empty: all is done that can be done now.
    pub actions: Vec<Action>,
    /// How each part stands.
    pub parts: Parts,
    /// When to reconcile again, where something is to come.
    pub wake_at: Option<Timestamp>,
    /// The replaced key.
    pub retiring: Option<Retiring>,
    /// When the key is due.
    pub next_rotation_at: Option<Timestamp>,
}

impl Plan {
    fn new() -> Self {
        Self { actions: Vec::new(), parts: Parts::pending(), wake_at: None, retiring: None, next_rotation_at: None }
    }

    /// Nothing is left to do, to wait for, or to complain of.
    pub fn rests(&self) -> bool {
        self.actions.is_empty() && Part::ALL.iter().all(|part| self.parts.of(*part).rests())
    }

    /// Reconciles again at that time, or earlier if something else is due earlier.
    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn wait(&mut self, part: Part, reason: Reason, message: impl Into<String>, until: Timestamp) {
        self.parts.set(part, Progress::Waiting(reason, message.into()));
        self.wake(until);
    }

    fn block(&mut self, part: Part, reason: Reason, message: impl Into<String>) {
        self.parts.set(part, Progress::Blocked(reason, message.into()));
    }
}

/// Everything that is known when the key and its Secret are planned.
#[derive(Clone, Copy)]
struct View<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    user: &'a User,
    /// Why the key is not to work.
    inactive: Option<&'a Inactive>,
    now: Timestamp,
    waits: &'a Waits,
}

/// Decides for a CR that is not being deleted: an ordered chain over one picture of the world.
///
/// The user comes first, then its policies, then the key and the Secret, so that a key that is Ready can do what the
/// spec says. A part that cannot go on leaves the later ones as they are.
///
/// What a class does not allow is not in the spec as it is desired. Nothing is begun for such a spec, and where something
/// was made for an earlier one, access goes first.
pub fn plan(desired: &Desired, observed: &Observed, now: Timestamp, waits: &Waits) -> Plan {
    let begins_nothing = desired.violation.is_some() && !observed.finalizer;
    let mut plan = Plan { actions: sessions::stopped(desired, observed, now, waits), ..Plan::new() };
    if plan.actions.is_empty() && !begins_nothing {
        plan = chain(desired, observed, now, waits);
    }
    if let Some(violation) = desired.violation.clone().filter(|_| !matches!(plan.parts.policy, Progress::Blocked(..))) {
        plan.parts.policy = Progress::Blocked(Reason::NotPermittedByClass, violation);
    }
    plan
}

fn chain(desired: &Desired, observed: &Observed, now: Timestamp, waits: &Waits) -> Plan {
    let mut plan = Plan::new();
    if let Some(other) = elsewhere(&desired.owner, observed) {
        plan.block(Part::User, Reason::AccountMismatch, other);
        return plan;
    }
    let Some(user) = identity::plan_user(desired, observed, now, &mut plan) else {
        return plan;
    };
    if plan.actions.is_empty() {
        plan.parts.user = Progress::Synced;
    }
    let inactive = desired.inactive_with(Some(user), now);
    let view = View { desired, observed, user, inactive: inactive.as_ref(), now, waits };
    sessions::plan_session(&view, &mut plan);
    policies::plan_policies(desired, observed, user, &mut plan);
    if !matches!(plan.parts.policy, Progress::Blocked(..)) && plan.actions.is_empty() {
        plan.parts.policy = Progress::Synced;
    }
    // No key is made or put to use that reaches beyond the class.
    let beyond = matches!(plan.parts.policy, Progress::Blocked(Reason::NotPermittedByClass, _));
    if !plan.actions.is_empty() || beyond {
        return plan;
    }
    key::plan_key(&view, &mut plan);
    unused::keep_uses(&view, &mut plan);
    plan
}

/// Whether the plan has nothing to do about the user and its policies, and nothing to complain of; the key and the Secret
/// are left aside.
pub fn leaves_alone(desired: &Desired, observed: &Observed) -> bool {
    let mut plan = Plan::new();
    // The time is that of an adoption, which would be something to do.
    let Some(user) = identity::plan_user(desired, observed, Timestamp::MIN, &mut plan) else {
        return false;
    };
    policies::plan_policies(desired, observed, user, &mut plan);
    plan.actions.is_empty() && plan.parts.policy == Progress::Pending
}

/// What was made is in another account, as far as status and Secret know; why nothing is begun or let go here. Neither of
/// the two is believed where the user is found in this account, with the proof that it is ours.
fn elsewhere(owner: &Owner, observed: &Observed) -> Option<String> {
    let here = observed.user().is_some_and(|user| owner.identity.ownership(&user.tags) == Ownership::Ours);
    let account = &owner.account.id;
    let of_secret = observed.held().and_then(|(_, key)| key.account_id.as_ref()).filter(|other| *other != account);
    let other = observed.account_elsewhere.as_ref().or(of_secret).filter(|_| !here)?;
    Some(format!(
        "the IAM user was made in account {other}, and the credentials are now those of {account}: give the class (or the operator) the credentials of {other} again, or move the default mark back; it can be deleted then"
    ))
}

/// Soon, without a busy loop.
fn soon(now: Timestamp, waits: &Waits) -> Timestamp {
    later(now, waits.probe_interval)
}

#[cfg(test)]
mod tests;
