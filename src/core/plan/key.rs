//! The access key: made once, seen to work, replaced without a gap, and never left behind.

mod retiring;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::sessions::is_delivered;
use super::{Action, Part, Plan, Progress, SecretRecord, View, WhyDelete, secret, soon};
use crate::api::{Reason, tags};
use crate::core::adoption::Adoption;
use crate::core::ends::revocation::Revocation;
use crate::core::iam::{AccessKey, AccessKeyId, past};
use crate::core::observed::{HeldKey, Minted, OurSecret, Probes};
use crate::core::rotation::{PROBES, UNUSABLE_AFTER, later};

/// IAM's limit on the access keys of a user; inactive ones count.
const KEYS_LIMIT: usize = 2;

/// So many intervals after it was tried last, a new key is tried once more before it goes into the Secret.
const FRESH: i32 = 5;

/// Plans the key and the Secret that holds it.
pub(super) fn plan_key(view: &View<'_>, plan: &mut Plan) {
    if view.plan_adoption(plan) {
        return;
    }
    view.tell_of_outlived(plan);
    // No key is made or delivered while its Secret could not be written; those that are to go do.
    if !secret::may_write(view, plan) {
        view.plan_endings(plan);
        return;
    }
    plan_delivery(view, plan);
    secret::hold_where_immutable(view.observed, plan);
}

fn plan_delivery(view: &View<'_>, plan: &mut Plan) {
    match view.held() {
        Some((secret, key)) => match view.listed(&key.id) {
            Some(listed) => view.plan_current(secret, listed, plan),
            None if view.may_be_lagging(key) => {
                let message = format!("IAM does not list access key {} yet", key.id);
                plan.wait(Part::AccessKey, Reason::WaitingForKey, message, soon(view.now, view.waits));
            }
            None => view.plan_first(plan),
        },
        None => view.plan_first(plan),
    }
}

impl View<'_> {
    /// Whether it is not known yet which keys were there before the user was adopted.
    fn plan_adoption(&self, plan: &mut Plan) -> bool {
        let Adoption::Settling(since) = Adoption::of(&self.user.tags) else { return false };
        let settled_at = later(since, self.waits.before_loss());
        if settled_at > self.now {
            let message = "the IAM user was adopted a moment ago; an access key is made once IAM shows all that it has";
            plan.wait(Part::AccessKey, Reason::Creating, message, settled_at);
        } else if let Some(value) = Adoption::after(&self.user.keys).value() {
            plan.actions.push(Action::TagUser(BTreeMap::from([(tags::ADOPTED_AT.to_owned(), value)])));
        }
        true
    }

    fn has_outlived(&self, key: &AccessKey) -> bool {
        let listed = self.user.keys.iter().filter(|key| self.user.is_ours(key)).map(|key| key.created_at);
        let made = listed.chain(self.observed.minted.iter().map(|minted| minted.created_at));
        self.desired.rotation.longest_life.is_some_and(|life| life.of_key(key.created_at, key.active, made) <= self.now)
    }

    /// Where a key was taken out of use for its age; whatever comes of the rest of the plan says more.
    fn tell_of_outlived(&self, plan: &mut Plan) {
        let ours = self.user.keys.iter().filter(|key| self.user.is_ours(key));
        if let Some(key) = ours.into_iter().find(|key| !key.active && self.has_outlived(key)) {
            let message = format!(
                "access key {} is inactive: it is older than the class's rotation.maxInterval allows, and nothing could replace it in time; it is replaced once the rest is Ready",
                key.id
            );
            plan.block(Part::AccessKey, Reason::NotPermittedByClass, message);
        }
    }

    pub(super) fn listed(&self, id: &str) -> Option<&AccessKey> {
        self.user.keys.iter().find(|key| key.id == id)
    }

    /// What the Secret records, held against IAM's own dates: its annotations are anybody's who may write it. The replaced
    /// key is one of ours that is older than the current one, and the swap came after that was made, within the time that
    /// a swap can take.
    fn believed(&self, secret: &OurSecret, current: &AccessKey) -> OurSecret {
        let latest = later(current.created_at, self.desired.rotation.longest_swap());
        let older = |previous: &AccessKeyId| {
            let key = self.listed(previous);
            key.is_none_or(|key| self.user.is_ours(key) && key.created_at <= current.created_at)
        };
        OurSecret {
            previous: secret.previous.clone().filter(older),
            rotated_at: secret.rotated_at.map(|at| at.clamp(current.created_at, latest)),
            ..secret.clone()
        }
    }

    /// When the replicas of IAM all know a key, and they take that long. Its age is told by IAM's clock and by ours, which
    /// may be fast.
    fn spread_at(&self, id: &str, created_at: Option<Timestamp>, window: SignedDuration) -> Option<Timestamp> {
        let since = self.observed.probes.get(id).map(|probes| probes.since);
        let made_at = created_at.and_then(|at| past(at, self.now)).into_iter().chain(since).max()?;
        Some(later(made_at, window))
    }

    /// Until then, a replica that does not know the key proves nothing.
    pub(super) fn may_be_lagging(&self, key: &HeldKey) -> bool {
        self.spread_at(&key.id, key.created_at, self.waits.before_loss()).is_some_and(|spread_at| spread_at > self.now)
    }

    /// Whether the key was revoked: it is inactive, or will be once its successor is in the Secret, and never put to use again.
    fn is_revoked(&self, id: &str) -> bool {
        Revocation::of(&self.user.tags).is_some_and(|revocation| revocation.covers(id))
    }

    /// Revoked keys that the Secret does not hold: inactive, until nobody needs them as evidence any more.
    fn plan_revoked(&self, current: Option<&AccessKey>, plan: &mut Plan) {
        let Some(revocation) = Revocation::of(&self.user.tags) else { return };
        let held = |key: &&AccessKey| current.is_some_and(|current| current.id == key.id);
        for key in
            self.user.keys.iter().filter(|key| revocation.covers(&key.id) && self.user.is_ours(key) && !held(key))
        {
            if key.active {
                plan.actions.push(Action::SetKeyStatus { id: key.id.clone(), active: false });
            } else if revocation.delete_at() <= self.now {
                plan.actions.push(Action::DeleteKey { id: key.id.clone(), why: WhyDelete::Revoked });
            } else {
                plan.wake(revocation.delete_at());
            }
        }
    }

    /// No Secret of ours holds a key that IAM knows: make one, then remove what nobody can use any more.
    fn plan_first(&self, plan: &mut Plan) {
        self.plan_revoked(None, plan);
        if let Some(minted) = self.observed.minted.as_ref().filter(|minted| !self.is_revoked(&minted.id)) {
            plan.parts.key = Progress::Waiting(Reason::Creating, "the new access key goes into the Secret".to_owned());
            plan.actions.push(self.write_first(&minted.id, minted.created_at));
            return;
        }
        if let Some(inactive) = self.inactive {
            for key in self.orphans(None) {
                if !self.may_be_on_its_way(key, plan) {
                    plan.actions.push(Action::DeleteKey { id: key.id.clone(), why: WhyDelete::Orphan });
                }
            }
            let message = format!("no access key is made, because {}", inactive.message);
            plan.block(Part::AccessKey, inactive.reason, message);
            plan.parts.secret = Progress::Pending;
            return;
        }
        let mut room = None;
        if self.user.keys.len() >= KEYS_LIMIT {
            let Some((key, why)) = self.least_missed() else { return self.block_on_foreign_keys(plan) };
            if why == WhyDelete::Orphan && self.may_be_on_its_way(key, plan) {
                plan.parts.key = Progress::Waiting(Reason::Creating, no_secret_yet(key));
                return;
            }
            room = Some(Action::DeleteKey { id: key.id.clone(), why });
        }
        plan.parts.key = Progress::Waiting(Reason::Creating, "an access key is being made".to_owned());
        self.make_key(Reason::Creating, room, plan);
    }

    /// Which of two keys of ours makes room, where no Secret holds either: a revoked one; in an overlap the older one, which was to
    /// go anyway; else the newest, which no consumer can have got from the Secret.
    fn least_missed(&self) -> Option<(&AccessKey, WhyDelete)> {
        let ours = || self.user.keys.iter().filter(|key| self.user.is_ours(key));
        let newest = ours().map(|key| key.created_at).max();
        let retiring = |key: &AccessKey| {
            self.observed.retiring_hint.as_ref() == Some(&key.id)
                && newest.is_some_and(|newest| key.created_at < newest)
        };
        let why = |key: &AccessKey| match (self.is_revoked(&key.id), retiring(key)) {
            (true, _) => WhyDelete::Revoked,
            (_, true) => WhyDelete::Retired,
            _ => WhyDelete::Orphan,
        };
        let key = ours().max_by_key(|key| (self.is_revoked(&key.id), retiring(key), key.created_at))?;
        Some((key, why(key)))
    }

    /// The dry run comes first: where it fails, a consumer goes on with the key that is to make room, and the status has said
    /// nothing that it would take back.
    fn make_key(&self, why: Reason, room: Option<Action>, plan: &mut Plan) {
        plan.actions.push(Action::DryRunSecret);
        plan.actions.extend(room);
        if self.observed.announced_settled {
            plan.actions.push(Action::Announce(why));
        }
        plan.actions.push(Action::CreateAccessKey);
    }

    fn write_first(&self, id: &str, created_at: Timestamp) -> Action {
        Action::WriteSecret {
            key_id: id.to_owned(),
            record: SecretRecord {
                created_at: Some(created_at),
                rotate_handled: self.desired.rotation.requested.clone(),
                ..SecretRecord::default()
            },
        }
    }

    /// The Secret holds a key that IAM knows.
    fn plan_current(&self, secret: &OurSecret, current: &AccessKey, plan: &mut Plan) {
        let secret = &self.believed(secret, current);
        let active = self.inactive.is_none();
        plan.next_rotation_at = self.desired.rotation.due_at(current.created_at).filter(|_| active);
        secret::refresh(self.desired, self.observed, secret, current, plan);
        // One that was revoked, or taken out of use for its age, waits for the rotation that is due.
        let stays_off = self.has_outlived(current) || self.is_revoked(&current.id);
        if current.active != active && !(active && stays_off) {
            plan.actions.push(Action::SetKeyStatus { id: current.id.clone(), active });
        }
        if active {
            let may_retire = is_delivered(self.observed) && self.restart(secret, current, plan);
            self.plan_retiring(secret, current, may_retire, plan);
        } else {
            self.plan_retiring(secret, current, true, plan);
        }
        self.plan_revoked(Some(current), plan);
        self.delete_orphans(secret, current, plan);
        if !plan.actions.is_empty() {
            return;
        }
        plan.parts.secret = self.delivery(current);
        if let Some(inactive) = self.inactive {
            let message = format!("access key {} is inactive, because {}", current.id, inactive.message);
            plan.block(Part::AccessKey, inactive.reason, message);
            return;
        }
        plan.parts.key = Progress::Synced;
        self.prove(current, plan);
        if let Some(minted) = &self.observed.minted {
            self.plan_swap(secret, current, minted, plan);
        } else {
            self.plan_rotation(secret, current, plan);
        }
    }

    /// A key in its first minutes is Ready only when AWS has been seen to accept it.
    fn prove(&self, current: &AccessKey, plan: &mut Plan) {
        if (!current.active && self.is_revoked(&current.id)) || self.is_proven(current) {
            return;
        }
        self.probe(&current.id, plan);
        let message = format!("AWS does not accept access key {} yet; it is tried again", current.id);
        plan.parts.key = Progress::Waiting(Reason::WaitingForKey, message);
    }

    /// Whether AWS has accepted it, or has had its time to.
    pub(super) fn is_proven(&self, key: &AccessKey) -> bool {
        match self.observed.probes.get(&key.id) {
            Some(probes) => probes.successes > 0,
            None => later(key.created_at, self.waits.consistency_window) <= self.now,
        }
    }

    /// Tries a key, at most once in a probe interval.
    fn probe(&self, id: &str, plan: &mut Plan) {
        let probes = self.observed.probes.get(id);
        match probes.map(|probes| later(probes.last, self.waits.probe_interval)) {
            Some(next) if next > self.now => plan.wake(next),
            _ => plan.actions.push(Action::ProbeKey { id: id.to_owned() }),
        }
    }

    fn plan_rotation(&self, secret: &OurSecret, current: &AccessKey, plan: &mut Plan) {
        let requested = &self.desired.rotation.requested;
        let on_demand = secret.annotated && requested.is_some() && *requested != secret.rotate_handled;
        let scheduled = plan.next_rotation_at.is_some_and(|due_at| due_at <= self.now);
        let (revoked, exposed) = (self.is_revoked(&current.id), self.observed.is_exposed(&current.id));
        if !on_demand && !scheduled && !revoked && !exposed {
            let ends_at = self.desired.expiry.map(|expiry| expiry.at);
            plan.next_rotation_at.into_iter().chain(ends_at).for_each(|at| plan.wake(at));
            return;
        }
        if let Some(retiring) = plan.retiring.clone() {
            if retiring.retire_at <= self.now || revoked {
                // Kept only as a courtesy by now, it must not hold up a rotation; nor may anything hold up a revocation.
                plan.actions.push(Action::DeleteKey { id: retiring.id, why: WhyDelete::Retired });
                return;
            }
            let message = format!(
                "a rotation is due, and waits until {} leaves its overlap at {}, since IAM allows two access keys",
                retiring.id, retiring.retire_at
            );
            plan.wait(Part::AccessKey, Reason::Rotating, message, retiring.retire_at);
            return;
        }
        let why = self.why_replaced(current);
        if self.user.keys.len() >= KEYS_LIMIT {
            let others = self.user.keys.iter().filter(|key| key.id != current.id && self.user.is_ours(key));
            let spent = others.into_iter().find(|key| self.is_revoked(&key.id));
            let spent = spent.or(Some(current).filter(|_| why == Reason::Revoked));
            match (self.orphans(Some((secret, current))).next(), spent) {
                (Some(young), _) => plan.parts.key = Progress::Waiting(why, no_secret_yet(young)),
                (None, Some(key)) => {
                    plan.parts.key = Progress::Waiting(why, replaced(current));
                    plan.actions.push(Action::DeleteKey { id: key.id.clone(), why: WhyDelete::Revoked });
                }
                (None, None) => self.block_on_foreign_keys(plan),
            }
            return;
        }
        let not_before = later(current.created_at, self.waits.consistency_window);
        if revoked && not_before > self.now {
            // Whoever revokes each key as it comes gets no more of them than one in this time, at everybody's cost.
            plan.wait(
                Part::AccessKey,
                why,
                format!("{}; it was revoked in its first moments", replaced(current)),
                not_before,
            );
            return;
        }
        plan.parts.key = Progress::Waiting(why, replaced(current));
        self.make_key(why, None, plan);
    }

    /// Whether the key works while another one is made in its place.
    fn why_replaced(&self, current: &AccessKey) -> Reason {
        if !current.active && self.is_revoked(&current.id) { Reason::Revoked } else { Reason::Rotating }
    }

    /// The new key goes into the Secret once it is older than the consistency window, in which the old one works, and has then been
    /// seen to work several times in a row, just before: the replicas that answer say nothing of the others, and whoever has
    /// revoked or deleted the new key meanwhile keeps it out. Where the old key was revoked, every second without a key counts
    /// for more, and it is tried at once.
    fn plan_swap(&self, secret: &OurSecret, current: &AccessKey, minted: &Minted, plan: &mut Plan) {
        let (id, created_at) = (&minted.id, minted.created_at);
        if self.is_revoked(id) {
            plan.actions.push(Action::DeleteKey { id: id.clone(), why: WhyDelete::Revoked });
            return;
        }
        // Too late for an overlap: whatever held it up, such as a pause, another one takes its place.
        let too_old_at = self.spread_at(id, Some(created_at), self.desired.rotation.longest_swap());
        if current.active && too_old_at.is_some_and(|at| at <= self.now) {
            plan.actions.push(Action::DeleteKey { id: id.clone(), why: WhyDelete::Unusable });
            return;
        }
        let why = self.why_replaced(current);
        let probes = self.observed.probes.get(id);
        let successes = probes.map_or(0, |probes| probes.successes);
        // One that is too old is tried anew; one more success is enough then, since a turn may be long in coming.
        let fresh = probes.is_some_and(|probes| later(probes.last, self.waits.probe_interval * FRESH) > self.now);
        let spread_at = self.spread_at(id, Some(created_at), self.waits.consistency_window).unwrap_or(self.now);
        plan.parts.key = Progress::Waiting(why, replaced(current));
        if successes >= PROBES && fresh {
            plan.actions.push(Action::WriteSecret {
                key_id: id.clone(),
                record: SecretRecord {
                    created_at: Some(created_at),
                    previous: Some(AccessKeyId::of_iam(&current.id)),
                    rotated_at: Some(self.now),
                    rotate_handled: self.desired.rotation.requested.clone().or_else(|| secret.rotate_handled.clone()),
                    orphan_to_delete: secret.orphan_to_delete.clone(),
                },
            });
        } else if probes.is_some_and(|probes| self.is_unusable(probes)) {
            plan.actions.push(Action::DeleteKey { id: id.clone(), why: WhyDelete::Unusable });
        } else if spread_at > self.now && why == Reason::Rotating {
            plan.wake(spread_at);
        } else if successes > 0 && spread_at <= self.now {
            // Every replica has had its time: nothing is gained by a pause.
            plan.actions.push(Action::ProbeKey { id: id.clone() });
        } else {
            self.probe(id, plan);
        }
    }

    /// AWS refuses the key still, long after it was made. One that has not been tried meanwhile, because its user had to
    /// wait for a turn, is not given up: among thousands of rotations, all would begin anew for ever.
    fn is_unusable(&self, probes: &Probes) -> bool {
        let refused = probes.successes == 0 && probes.last > Timestamp::MIN;
        refused && later(probes.since, self.waits.consistency_window * UNUSABLE_AFTER) <= self.now
    }

    /// Keys of ours that no Secret holds are of use to nobody: a crash or a lost response left them. While suspended,
    /// that goes for a new key on its way, too.
    fn orphans<'a>(
        &'a self,
        keep: Option<(&'a OurSecret, &'a AccessKey)>,
    ) -> impl Iterator<Item = &'a AccessKey> + use<'a> {
        let minted = self.observed.minted.as_ref().filter(|_| self.inactive.is_none()).map(|minted| minted.id.as_str());
        self.user.keys.iter().filter(move |key| {
            let kept = keep.is_some_and(|(secret, current)| {
                key.id == current.id || self.retiring(secret, current).is_some_and(|retiring| retiring.id == key.id)
            });
            self.user.is_ours(key) && !kept && minted != Some(key.id.as_str()) && !self.is_revoked(&key.id)
        })
    }

    /// One at a time, and noted on the Secret before: where two leaders are at work, the other one's write of that very
    /// key then fails.
    fn delete_orphans(&self, secret: &OurSecret, current: &AccessKey, plan: &mut Plan) {
        for key in self.orphans(Some((secret, current))) {
            if self.may_be_on_its_way(key, plan) || !plan.actions.is_empty() {
                continue;
            }
            // Into an immutable Secret nobody writes it any more, and an exposed key has none to be noted on.
            let unnoted = secret.immutable || self.observed.is_exposed(&current.id);
            plan.actions.push(if unnoted || secret.orphan_to_delete.as_deref() == Some(key.id.as_str()) {
                Action::DeleteKey { id: key.id.clone(), why: WhyDelete::Orphan }
            } else {
                secret::rewrite(self.desired, secret, current, Some(AccessKeyId::of_iam(&key.id)))
            });
        }
    }

    /// A key that another leader may be about to put into the Secret is left alone for as long as there may be one.
    fn may_be_on_its_way(&self, key: &AccessKey, plan: &mut Plan) -> bool {
        let old_at = later(key.created_at, self.waits.takeover);
        if old_at > self.now {
            plan.wake(old_at);
        }
        old_at > self.now
    }

    fn block_on_foreign_keys(&self, plan: &mut Plan) {
        let ids: Vec<&str> = self.user.keys.iter().map(|key| key.id.as_str()).collect();
        let message = format!(
            "IAM allows two access keys, and the slots are taken by {}, of which this operator may not delete any: delete one of those that were there before the user was adopted",
            ids.join(" and ")
        );
        plan.block(Part::AccessKey, Reason::ForeignAccessKeys, message);
    }
}

/// What is told of a key that works while another one is made in its place: the same from the first step to the last, so that it
/// is written once.
pub fn being_replaced(id: &str) -> String {
    format!(
        "access key {id} is being replaced: its successor goes into the Secret once AWS has accepted it {PROBES} times in a row, and has had time to spread it"
    )
}

fn replaced(current: &AccessKey) -> String {
    if current.active {
        return being_replaced(&current.id);
    }
    format!("access key {} is inactive, and another one is being made in its place", current.id)
}

fn no_secret_yet(key: &AccessKey) -> String {
    format!("access key {} of this user is in no Secret yet: it is deleted if it stays so", key.id)
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod revoked;
