//! What is taken away, whatever else is to be done: the class has shrunk or shuts the user out, its key has outlived what
//! the class allows and nothing replaces it, its time is over, its keys are revoked, or the S3AccessUser is being deleted.
//!
//! It comes before the plan and waits for nothing: it needs proof of ownership and what was read of IAM, and no valid
//! spec, no Secret, no finalizer, no probe. `paused` does not hold it up. Where a part could not be read, the others are
//! acted upon all the same.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use super::adoption::Adoption;
use super::class::{Class, Effort};
use super::desired::{Owner, expiry_by_spec};
use super::ends::inactive::Expiry;
use super::ends::quarantine;
use super::ends::revocation::{self, Request, Revocation};
use super::ends::unused::{self, Finding, Uses};
use super::iam::AccessKey;
use super::names::{self, Ownership};
use super::observed::ManagedPolicy;
use super::plan::{Action, WhyDelete, version_to_prune};
use super::policy::{Document, Terms, cut_off, with_cut};
use super::sessions::may_be_in_use;
use crate::api::{OnCompromise, S3AccessUser, tags};

/// What was read of an IAM user, as far as it could be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holdings {
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The ARN of its permissions boundary.
    pub boundary: Option<String>,
    /// Its access keys; `None`: they could not be listed.
    pub keys: Option<Vec<AccessKey>>,
    /// When each of them was used last, where that was asked for and answered.
    pub uses: Uses,
    /// The ARNs of its attached managed policies; `None`: they could not be listed.
    pub attached: Option<BTreeSet<String>>,
    /// The inline policies that its tags record as ours and that are there; `None`: what one says could not be read.
    pub inline: BTreeMap<String, Option<Document>>,
    /// The managed policies that its tags record as ours and that are there, by ARN; `None`: one could not be read.
    pub managed: BTreeMap<String, Option<ManagedPolicy>>,
}

impl Holdings {
    /// Whether there are keys that are not ours: they hold up a deletion, and use what is granted until somebody deletes them.
    pub fn has_strangers_keys(&self) -> bool {
        let adoption = Adoption::of(&self.tags);
        self.keys.iter().flatten().any(|key| !adoption.owns(key))
    }

    /// Brings it up to date after one of the actions that concern the keys, the tags and the boundary.
    pub fn record(&mut self, action: &Action) {
        match action {
            Action::DeleteKey { id, .. } => self.keys.iter_mut().for_each(|keys| keys.retain(|key| key.id != *id)),
            Action::SetKeyStatus { id, active } => {
                let keys = self.keys.iter_mut().flatten();
                keys.filter(|key| key.id == *id).for_each(|key| key.active = *active);
            }
            Action::TagUser(more) => self.tags.extend(more.clone()),
            Action::PutBoundary(arn) => self.boundary = Some(arn.clone()),
            _ => {}
        }
    }
}

/// How far the spec is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// What the plan replaces in its time need not be taken away.
    CarriedOut,
    /// Something keeps it from that.
    Hindered,
    /// It is paused or wrong, and there is no plan.
    Refused,
}

/// Why something is to go.
#[derive(Clone, Copy, Debug)]
pub struct Bounds<'a> {
    /// The class as it is now.
    pub class: &'a Class,
    /// The S3AccessUser as far as it could be read: which namespace and names the class is asked for, and until when.
    pub user: &'a S3AccessUser,
    /// How far the spec is carried out.
    pub course: Course,
    /// When a key was made that is in no Secret yet, whether or not IAM lists it already.
    pub minted_at: Option<Timestamp>,
}

impl Bounds<'_> {
    fn hindered(&self) -> bool {
        self.course != Course::CarriedOut
    }

    /// The replaced key, where no plan ends it, and when its overlap is over, as the status tells.
    pub fn replaced(&self, keys: &[AccessKey]) -> Option<(&str, Timestamp)> {
        let retiring = self.user.status.as_ref().filter(|_| self.course == Course::Refused)?.retiring_key.as_ref()?;
        let key = keys.iter().find(|key| key.id == retiring.id && key.active)?;
        // The status is no proof: one that no other key follows was not replaced.
        let followed = keys.iter().any(|other| other.created_at > key.created_at);
        followed.then_some((&*retiring.id, retiring.retire_at.0))
    }

    fn deleting(&self) -> bool {
        self.user.metadata.deletion_timestamp.is_some()
    }

    /// When the S3AccessUser's access ends.
    pub fn expiry(&self) -> Option<Expiry> {
        Expiry::earlier(self.class.expiry(self.user), expiry_by_spec(&self.user.spec))
    }

    /// What is to be done about keys that are revoked, by whoever asks for it and as far as that is known.
    pub fn revocations(&self, found: &Holdings, now: Timestamp) -> Vec<Action> {
        let alarm = quarantine::request(self.class.on_compromise(), found.attached.iter().flatten());
        let requests: Vec<Request> = Request::of(self.user).into_iter().chain(alarm).collect();
        let revoke = |keys: &Vec<AccessKey>| revocation::revoke(&requests, &found.tags, keys, now).into();
        found.keys.as_ref().map(revoke).unwrap_or_default()
    }

    /// Whether nobody uses its keys, where their uses were asked for.
    pub fn unused(&self, found: &Holdings, now: Timestamp) -> Option<Finding> {
        let keys = found.keys.as_ref().filter(|_| !found.uses.is_empty())?;
        unused::Terms::of(self.user, self.class).judge(&found.tags, keys, &found.uses, now)
    }

    /// Whether a user with those tags is suspended, since nobody uses its keys.
    fn is_suspended(&self, tags: &BTreeMap<String, String>) -> bool {
        unused::Terms::of(self.user, self.class).inactive(tags).is_some()
    }

    /// When those keys were made, and the one that is on its way.
    fn made<'a>(&self, keys: impl Iterator<Item = &'a AccessKey>) -> impl Iterator<Item = Timestamp> {
        keys.map(|key| key.created_at).chain(self.minted_at)
    }

    /// When the first of the user's keys that are ours, or one that is made now, has to be inactive: by its own age, or since
    /// all access ends; `None` where there is no bound.
    pub fn first_end(&self, tags: &BTreeMap<String, String>, keys: &[AccessKey], now: Timestamp) -> Option<Timestamp> {
        let adoption = Adoption::of(tags);
        let ours = || keys.iter().filter(|key| adoption.owns(key));
        let active = || ours().filter(|key| key.active);
        let life = self.class.longest_life(&self.user.spec);
        let outlived = life.and_then(|life| {
            active()
                .map(|key| life.of_key(key.created_at, true, self.made(ours())))
                .chain([life.of_key_made_at(now)])
                .min()
        });
        // What has ended ends no more.
        let ends = self.expiry().map(|expiry| expiry.at).filter(|at| *at > now || active().next().is_some());
        let replaced = self.replaced(keys).map(|(_, ends_at)| ends_at);
        outlived.into_iter().chain(ends).chain(replaced).min()
    }
}

/// The actions that take away what is beyond the bounds; each of them only removes. None without proof of ownership.
pub fn curtail(bounds: Bounds<'_>, owner: &Owner, found: &Holdings, now: Timestamp) -> Vec<Action> {
    if owner.identity.ownership(&found.tags) != Ownership::Ours {
        return Vec::new();
    }
    let (class, adoption) = (bounds.class, Adoption::of(&found.tags));
    let ours = || found.keys.iter().flatten().filter(|key| adoption.owns(key));
    let expelled = !class.expulsions(&bounds.user.spec).is_empty();
    let alarm = quarantine::policies(found.attached.iter().flatten());
    let suspended = class.on_compromise() == OnCompromise::Suspend && !alarm.is_empty();
    let mut actions = if bounds.deleting() {
        ours().map(|key| Action::DeleteKey { id: key.id.clone(), why: WhyDelete::Teardown }).collect()
    } else {
        ends_of_keys(bounds, found, expelled || suspended, now)
    };
    // Nor does a deletion that cannot go on keep what the class takes back.
    if class.name().is_none() || (bounds.deleting() && !found.has_strangers_keys()) {
        return actions;
    }
    if let Some(forced) = class.forced_boundary().filter(|forced| found.boundary.as_deref() != Some(forced)) {
        actions.push(Action::PutBoundary(forced.to_owned()));
    }
    let cut = cut_of(bounds, found, (expelled, suspended));
    for (name, document) in &found.inline {
        actions.extend(match cut.of(document.as_ref()) {
            Verdict::Keep => None,
            Verdict::Narrow(document) => Some(Action::PutInlinePolicy { name: name.clone(), document }),
            Verdict::Remove => Some(Action::DeleteInlinePolicy { name: name.clone() }),
        });
    }
    let mut granting = found.inline.len();
    let attached = |arn: &String| found.attached.as_ref().is_none_or(|attached| attached.contains(arn));
    for (arn, policy) in found.managed.iter().filter(|(arn, _)| attached(arn)) {
        actions.extend(cut.of_managed(owner, arn, policy.as_ref()));
        granting += 1;
    }
    for arn in found.attached.iter().flatten().filter(|arn| !found.managed.contains_key(*arn)) {
        if !names::recorded(found.tags.get(tags::ATTACHED), arn) {
            continue;
        }
        if expelled || !class.allows_policy(arn) {
            actions.push(Action::DetachPolicy(arn.clone()));
        }
        granting += 1;
    }
    let taken = |action: &&Action| matches!(action, Action::DetachPolicy(_) | Action::DeleteInlinePolicy { .. });
    if bounds.hindered() && granting > 0 && actions.iter().filter(taken).count() == granting {
        // Nothing that was granted is left, and nothing will be for now: what others grant to the user is not for this key.
        let working = found.keys.iter().flatten().filter(|key| key.active && adoption.owns(key));
        deactivate(working, &mut actions);
    }
    actions
}

/// The actions that take keys out of use. `shut`: all of them.
fn ends_of_keys(bounds: Bounds<'_>, found: &Holdings, shut: bool, now: Timestamp) -> Vec<Action> {
    let (class, adoption) = (bounds.class, Adoption::of(&found.tags));
    let ours = || found.keys.iter().flatten().filter(|key| adoption.owns(key));
    let over = bounds.expiry().is_some_and(|expiry| expiry.at <= now);
    let record = bounds.unused(found, now).and_then(|found| found.record);
    // What is recorded only now is acted upon once it is.
    let shut = shut || over || bounds.is_suspended(&found.tags);
    // While the spec is carried out, the plan replaces an old key first.
    let life = class.longest_life(&bounds.user.spec).filter(|_| bounds.hindered());
    let aged =
        |key: &AccessKey| life.is_some_and(|life| life.of_key(key.created_at, key.active, bounds.made(ours())) <= now);
    // Which keys the workloads have, only the plan can tell; no session needs its key to be active.
    let sessions_only = class.requires_sessions() && bounds.hindered();
    // Unless the keys are known, nothing may be recorded as revoked.
    let mut actions = bounds.revocations(found, now);
    actions.extend(record.map(|record| Action::TagUser(BTreeMap::from([record]))));
    let replaced = bounds.replaced(found.keys.as_deref().unwrap_or_default()).filter(|(_, ends_at)| *ends_at <= now);
    let spent = |key: &AccessKey| aged(key) || replaced.is_some_and(|(id, _)| key.id == id);
    deactivate(ours().filter(|key| key.active && (shut || sessions_only || spent(key))), &mut actions);
    actions
}

fn cut_of<'a>(bounds: Bounds<'a>, found: &Holdings, (expelled, suspended): (bool, bool)) -> Cut<'a> {
    let sessions = may_be_in_use(bounds.user.spec.access_key.mode, bounds.user.status.as_ref());
    Cut {
        class: bounds.class,
        terms: bounds.class.terms(bounds.user),
        expelled: expelled || (suspended && sessions),
        sessions,
        // While the spec is carried out, the plan cuts them.
        revoked: Revocation::of(&found.tags).filter(|_| sessions && bounds.hindered()),
        effort: Effort::default(),
    }
}

fn deactivate<'a>(keys: impl Iterator<Item = &'a AccessKey>, actions: &mut Vec<Action>) {
    for off in keys.map(|key| Action::SetKeyStatus { id: key.id.clone(), active: false }) {
        if !actions.contains(&off) {
            actions.push(off);
        }
    }
}

/// Whether what a policy says reaches beyond the user's class, so that it has to be narrowed.
pub fn exceeds(class: &Class, user: &S3AccessUser, document: &Document) -> bool {
    let (terms, effort) = (class.terms(user), Effort::default());
    let cut = Cut { class, terms, expelled: false, sessions: false, revoked: None, effort };
    // Whose sessions are revoked, its policies are to have another statement.
    let in_use = may_be_in_use(user.spec.access_key.mode, user.status.as_ref());
    let revokes = in_use && Request::of(user).is_some();
    revokes || !matches!(cut.of(Some(document)), Verdict::Keep)
}

/// How a policy in force is cut down to the class.
struct Cut<'a> {
    class: &'a Class,
    terms: Terms,
    expelled: bool,
    /// Sessions may be in use, which no inactive key ends.
    sessions: bool,
    /// What of them was revoked, and nothing else cuts now.
    revoked: Option<Revocation>,
    effort: Effort,
}

enum Verdict {
    Keep,
    Narrow(Document),
    Remove,
}

impl Cut<'_> {
    /// What to do about a managed policy: only one of ours is narrowed.
    fn of_managed(&self, owner: &Owner, arn: &str, policy: Option<&ManagedPolicy>) -> Vec<Action> {
        let ours = policy.filter(|policy| owner.identity.ownership(&policy.tags) == Ownership::Ours);
        let arn = arn.to_owned();
        match (self.of(policy.map(|policy| &policy.document)), ours) {
            (Verdict::Keep, _) => Vec::new(),
            (Verdict::Narrow(document), Some(policy)) => {
                let prune = version_to_prune(policy);
                let prune = prune.map(|version| Action::DeletePolicyVersion { arn: arn.clone(), version });
                prune.into_iter().chain([Action::CreatePolicyVersion { arn: arn.clone(), document }]).collect()
            }
            _ => vec![Action::DetachPolicy(arn)],
        }
    }

    /// What of a statement is within the class, under the class's terms.
    fn left_of(&self, statement: &Value) -> Vec<Value> {
        match self.class.cut_down(statement, &self.effort) {
            None => Vec::new(),
            Some(left) if self.terms.hold(&left) => vec![left],
            // What cannot be put under them goes.
            Some(left) => self.terms.bound(&left).unwrap_or_default(),
        }
    }

    /// One that cannot be read stays unless all is to go: a failed read is tried again, and is no proof of anything.
    fn of(&self, document: Option<&Document>) -> Verdict {
        if self.expelled {
            let cut_off = cut_off();
            let is_cut = document.is_some_and(|document| document.means_the_same(&cut_off));
            return match self.sessions {
                true if is_cut => Verdict::Keep,
                // What others grant to the user holds for its sessions, too.
                true => Verdict::Narrow(cut_off),
                false => Verdict::Remove,
            };
        }
        let Some(document) = document else { return Verdict::Keep };
        let statements = document.statements();
        let rest: Vec<_> = statements.iter().flat_map(|statement| self.left_of(statement)).collect();
        if let Some(revoked) = &self.revoked {
            let cut = with_cut(&document.with_statements(rest), revoked.cut_at());
            return if document.means_the_same(&cut) { Verdict::Keep } else { Verdict::Narrow(cut) };
        }
        if rest.iter().eq(statements.iter().copied()) {
            Verdict::Keep
        } else if rest.iter().any(|statement| statement["Effect"] == "Allow") {
            Verdict::Narrow(document.with_statements(rest))
        } else {
            Verdict::Remove
        }
    }
}

#[cfg(test)]
mod tests;
