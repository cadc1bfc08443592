//! The session that the workload's Secret holds: renewed ahead of everything else that is planned, since whatever comes late
//! there is access that is lost. A renewal that fails keeps nothing else from being done.

use jiff::Timestamp;

use super::{Action, Plan, Progress, View, Waits};
use crate::api::Reason;
use crate::core::desired::Desired;
use crate::core::ends::revocation::Revocation;
use crate::core::iam::AccessKey;
use crate::core::names::Ownership;
use crate::core::observed::{HeldKey, Observed, OurSecret, SecretState};
use crate::core::rotation::later;
use crate::core::sessions::HeldSession;

/// The keys that are to work no longer, whatever comes of the rest: all of them while the user is suspended or shut out, and
/// where the class requires sessions, each that a workload may have.
pub(super) fn stopped(desired: &Desired, observed: &Observed, now: Timestamp, waits: &Waits) -> Vec<Action> {
    let required = desired.sessions.is_some_and(|sessions| sessions.required);
    let active = desired.inactive_with(observed.user(), now).is_none();
    let Some(user) = observed.user().filter(|_| observed.finalizer && (!active || required)) else { return Vec::new() };
    if desired.owner.identity.ownership(&user.tags) != Ownership::Ours {
        return Vec::new();
    }
    let in_place = observed.our_secret().and_then(|secret| secret.key.as_ref()).map(|key| &*key.id);
    let in_place = in_place.filter(|id| active && !observed.is_exposed(id));
    let minted = observed.minted.as_ref().filter(|_| active).map(|minted| minted.id.as_str());
    // Another leader may be about to put that into its place; a workload has it as soon as it is exposed.
    let on_its_way =
        |key: &AccessKey| active && !observed.is_exposed(&key.id) && later(key.created_at, waits.takeover) > now;
    let stopped = user.keys.iter().filter(|key| {
        let id = Some(key.id.as_str());
        key.active && user.is_ours(key) && id != in_place && id != minted && !on_its_way(key)
    });
    stopped.map(|key| Action::SetKeyStatus { id: key.id.clone(), active: false }).collect()
}

/// Whether the workload's Secret holds what it is for; of a key in its place that is the case.
pub(super) fn is_delivered(observed: &Observed) -> bool {
    observed.session.as_ref().is_none_or(|secret| secret.ours().is_some_and(|secret| secret.session.is_some()))
}

/// Renews the session where it is due, or says when it will be.
pub(super) fn plan_session(view: &View<'_>, plan: &mut Plan) {
    let Some(key) = view.issuer() else { return };
    let due_at = view.session_due_at();
    if due_at > view.now {
        plan.wake(due_at);
    } else if !view.observed.unrenewed && view.may_deliver() {
        plan.actions.insert(0, Action::RenewSession { key_id: key.id.clone() });
    }
}

impl View<'_> {
    pub(super) fn requires_sessions(&self) -> bool {
        self.desired.sessions.is_some_and(|sessions| sessions.required)
    }

    /// The key that a Secret of ours holds, and rather one that IAM may know: beside one that another leader has deleted on its
    /// way, a workload may have one that works. Where sessions are required, such a one is none.
    pub(super) fn held(&self) -> Option<(&OurSecret, &HeldKey)> {
        let allowed = |key: &HeldKey| !self.requires_sessions() || !self.observed.is_exposed(&key.id);
        let held = || self.observed.all_held().filter(|(_, key)| allowed(key));
        held().find(|(_, key)| self.listed(&key.id).is_some() || self.may_be_lagging(key)).or_else(|| held().next())
    }

    /// The key that sessions are made of: in its place, known to IAM and seen to work, and such that no workload has it.
    fn issuer(&self) -> Option<&AccessKey> {
        let View { observed, user, inactive, .. } = self;
        let held = observed.our_secret().filter(|_| observed.session.is_some() && inactive.is_none())?.key.as_ref()?;
        let key = self.listed(&held.id).filter(|key| key.active && user.is_ours(key))?;
        (self.is_proven(key) && !observed.is_exposed(&key.id)).then_some(key)
    }

    /// The session that the Secret holds, as the spec wants it and of a key that works.
    fn session(&self) -> Option<&HeldSession> {
        let secret = self.observed.session.as_ref()?.ours().filter(|secret| secret.up_to_date)?;
        let works = |session: &&HeldSession| {
            let key = self.listed(&session.key).filter(|key| key.active && self.user.is_ours(key));
            key.is_some() && session.issued_at >= self.cut_at()
        };
        secret.session.as_deref().filter(works)
    }

    fn session_due_at(&self) -> Timestamp {
        let uid = &self.desired.owner.identity.uid;
        self.session().map_or(self.cut_at(), |session| session.renew_at(uid))
    }

    /// What was issued before is of no use: it was cut when the key was revoked.
    fn cut_at(&self) -> Timestamp {
        Revocation::of(&self.user.tags).map_or(Timestamp::MIN, |revocation| revocation.cut_at())
    }

    /// Whether the workload's Secret may be written; where not, the plan for the key says why.
    fn may_deliver(&self) -> bool {
        let writable = match self.observed.delivered() {
            SecretState::Missing => true,
            SecretState::Ours(secret) => !secret.immutable,
            SecretState::Foreign { .. } => false,
        };
        writable && self.observed.unrenderable.is_none()
    }

    /// How it stands with what the workload's Secret is to hold, once the key is in its place.
    pub(super) fn delivery(&self, current: &AccessKey) -> Progress {
        let Some(SecretState::Ours(secret)) = &self.observed.session else {
            return if self.observed.session.is_none() { Progress::Synced } else { on_its_way(current) };
        };
        if secret.immutable && self.session_due_at() <= self.now {
            let message =
                "the Secret is immutable, and its session is to be renewed: delete it; it is made again at once";
            return Progress::Blocked(Reason::SecretImmutable, message.to_owned());
        }
        if secret.session.is_some() && secret.up_to_date { Progress::Synced } else { on_its_way(current) }
    }
}

fn on_its_way(key: &AccessKey) -> Progress {
    Progress::Waiting(Reason::Creating, format!("a session of access key {} goes into the Secret", key.id))
}

#[cfg(test)]
mod tests;
