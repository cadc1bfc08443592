//! The replaced key: it works through its overlap, then it is inactive, then deleted.

use jiff::Timestamp;

use crate::core::iam::AccessKey;
use crate::core::observed::OurSecret;
use crate::core::plan::sessions::is_delivered;
use crate::core::plan::{Action, Plan, Retiring, View, WhyDelete, workloads};
use crate::core::rotation::Retirement;

impl View<'_> {
    /// Whether the workloads that may have the replaced key have been restarted.
    pub(super) fn restart(&self, secret: &OurSecret, current: &AccessKey, plan: &mut Plan) -> bool {
        workloads::restart(self, secret, current, self.retiring(secret, current), plan)
    }

    /// The Secret cannot be written, and holds what it did, or did under an earlier name: what was replaced or revoked ends as if
    /// it could.
    pub(super) fn plan_endings(&self, plan: &mut Plan) {
        let current = self.held().and_then(|(secret, key)| Some((secret, self.listed(&key.id)?)));
        if let Some((secret, current)) = current {
            let secret = &self.believed(secret, current);
            let may_retire = !is_delivered(self.observed) || self.restart(secret, current, plan);
            self.plan_retiring(secret, current, may_retire, plan);
        }
        self.plan_revoked(current.map(|(_, current)| current), plan);
    }

    /// The key that the Secret held before: works through the overlap, then inactive, then deleted.
    ///
    /// It outlives its overlap where it may not go yet, because a workload that it may be in is still to be restarted.
    pub(super) fn plan_retiring(&self, secret: &OurSecret, current: &AccessKey, may_go: bool, plan: &mut Plan) {
        let Some(key) = self.retiring(secret, current).filter(|key| !self.is_revoked(&key.id)) else {
            return;
        };
        let rotated_at = secret.rotated_at.unwrap_or(current.created_at);
        let overlap = self.desired.rotation.overlap;
        let regular = Retirement::of(rotated_at, overlap, None);
        if regular.deactivate_at > self.now {
            self.keep_retiring(key, regular, None, plan);
            return;
        }
        if !may_go && !self.has_outlived(key) {
            let retire_at = regular.deactivate_at;
            plan.retiring = Some(Retiring { id: key.id.clone(), retire_at, last_used: None, extended: false });
            return;
        }
        let Some((_, last_used)) = self.observed.last_used.as_ref().filter(|(id, _)| *id == key.id) else {
            plan.actions.push(Action::ReadLastUsed { id: key.id.clone() });
            return;
        };
        let retirement = Retirement::of(rotated_at, overlap, *last_used);
        if retirement.delete_at <= self.now && !key.active {
            plan.actions.push(Action::DeleteKey { id: key.id.clone(), why: WhyDelete::Retired });
        } else {
            self.keep_retiring(key, retirement, *last_used, plan);
        }
    }

    fn keep_retiring(&self, key: &AccessKey, retirement: Retirement, last_used: Option<Timestamp>, plan: &mut Plan) {
        let active = self.inactive.is_none()
            && !self.requires_sessions()
            && retirement.deactivate_at > self.now
            && !self.has_outlived(key);
        if key.active != active {
            plan.actions.push(Action::SetKeyStatus { id: key.id.clone(), active });
        }
        plan.wake(if retirement.deactivate_at > self.now { retirement.deactivate_at } else { retirement.delete_at });
        plan.retiring = Some(Retiring {
            id: key.id.clone(),
            retire_at: retirement.deactivate_at,
            last_used,
            extended: retirement.extended,
        });
    }

    /// By the Secret's own record; by the status only as a hint, and only for a key that is older than the current one.
    pub(super) fn retiring(&self, secret: &OurSecret, current: &AccessKey) -> Option<&AccessKey> {
        let others = self.user.keys.iter().filter(|key| key.id != current.id && self.user.is_ours(key));
        others.into_iter().find(|key| {
            secret.previous.as_deref() == Some(key.id.as_str())
                || (self.observed.retiring_hint.as_ref() == Some(&key.id) && key.created_at < current.created_at)
        })
    }
}
