//! Deletion: keys first, then everything of ours, in the order that IAM demands; it always ends.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::policies::{deletion, removal};
use super::{Action, Part, Plan, Progress, Waits, WhyDelete, elsewhere, secret, soon};
use crate::api::{Reason, tags};
use crate::core::desired::{Desired, DesiredPolicy, Owner};
use crate::core::names::Ownership;
use crate::core::observed::{Observed, PolicyState, User, UserState};
use crate::core::rotation::later;

/// Decides for a CR that is being deleted. It needs no valid spec, no Secret and no namespace.
pub fn teardown(owner: &Owner, observed: &Observed, now: Timestamp, waits: &Waits) -> Plan {
    let mut plan = Plan::new();
    if !observed.finalizer {
        return plan;
    }
    let believed_at = window_end(owner, observed, waits);
    let is_early = believed_at > now;
    match &observed.user {
        UserState::Present(user) if owner.identity.ownership(&user.tags) == Ownership::Ours => {
            delete_keys(observed, user, &mut plan);
            match unseen_policy(owner, observed, user).filter(|_| is_early) {
                // Once the user is gone, nothing tells of its policy any more.
                Some(arn) => {
                    let message = format!(
                        "IAM does not show policy {arn}; it is looked for again before the IAM user is deleted"
                    );
                    plan.wait(Part::User, Reason::Deleting, message, believed_at);
                }
                None => plan_user(owner, observed, user, &mut plan),
            }
        }
        // Let go here, it would be forgotten there, with a key that works.
        _ if elsewhere(owner, observed).is_some() => {
            plan.block(Part::User, Reason::AccountMismatch, elsewhere(owner, observed).unwrap_or_default());
        }
        // The replica that answered may not know it yet, or show it as it was before it was taken over: then it would be left
        // behind, with a key that works.
        state if *state != UserState::Deleted && is_early => {
            let message = "IAM does not show a user of this S3AccessUser's; it is looked for again before the S3AccessUser is let go";
            plan.wait(Part::User, Reason::Deleting, message, soon(now, waits));
        }
        _ if owner.retain => {}
        // The user is gone, or was never ours: a policy of ours may still be there.
        _ => plan.actions.extend(observed.policies.keys().filter_map(|arn| deletion(owner, observed, arn))),
    }
    if plan.actions.is_empty() && plan.parts.user == Progress::Pending {
        plan.actions.extend(secret::leave(observed));
        plan.actions.push(Action::RemoveFinalizer);
    }
    plan
}

/// From when on "not found" is believed. The API server tells when the deletion was asked for, by a clock that may be behind this
/// process's: so it is not counted from before this process has seen it.
fn window_end(owner: &Owner, observed: &Observed, waits: &Waits) -> Timestamp {
    let since = owner.deleted_at.map(|deleted_at| deleted_at.max(observed.deletion_seen.unwrap_or(deleted_at)));
    since.map_or(Timestamp::MIN, |since| later(since, waits.before_loss()))
}

fn delete_keys(observed: &Observed, user: &User, plan: &mut Plan) {
    let ours = user.keys.iter().filter(|key| user.is_ours(key)).map(|key| &key.id);
    // One that this process has made or tried may be unknown to the replica that answered.
    let unlisted = observed.probes.keys().filter(|id| user.keys.iter().all(|key| key.id != **id));
    for id in ours.chain(unlisted) {
        plan.actions.push(Action::DeleteKey { id: id.clone(), why: WhyDelete::Teardown });
    }
}

/// The managed policy that the user's tags record as ours and that IAM does not show, though nobody here has deleted it.
fn unseen_policy(owner: &Owner, observed: &Observed, user: &User) -> Option<String> {
    let mut recorded = user.policy_records().filter_map(|record| owner.recorded_policy_arn(record));
    recorded.find(|arn| !owner.retain && observed.policies.get(arn) == Some(&PolicyState::Missing))
}

fn plan_user(owner: &Owner, observed: &Observed, user: &User, plan: &mut Plan) {
    if owner.retain {
        // Without the UID the user is nobody's, and the next S3AccessUser of this name may take it over.
        plan.actions.push(Action::UntagUser(vec![tags::UID.to_owned()]));
        plan.actions.extend(secret::leave(observed));
        plan.actions.push(Action::RemoveFinalizer);
        return;
    }
    let foreign = user.keys.iter().filter(|key| !user.is_ours(key));
    let ids: Vec<&str> = foreign.map(|key| key.id.as_str()).collect();
    if !ids.is_empty() {
        let message = format!(
            "IAM user {} has access keys from before its adoption ({}): delete them, or set spec.deletionPolicy to Retain",
            owner.user_name,
            ids.join(", ")
        );
        plan.block(Part::User, Reason::DeleteBlocked, message);
        return;
    }
    if observed.leftovers {
        plan.actions.push(Action::ClearLeftovers);
    }
    let nothing = BTreeSet::new();
    let mut actions = Vec::new();
    for record in user.policy_records() {
        actions.extend(removal(owner, observed, user, record, &nothing));
    }
    for arn in &user.attached {
        if !actions.contains(&Action::DetachPolicy(arn.clone())) {
            actions.push(Action::DetachPolicy(arn.clone()));
        }
    }
    // A policy can be deleted only when it is attached nowhere.
    actions.sort_by_key(|action| matches!(action, Action::DeletePolicy { .. }));
    plan.actions.extend(actions);
    plan.actions.extend(deletion(owner, observed, &owner.policy_arn()).filter(|action| !plan.actions.contains(action)));
    plan.actions.push(Action::DeleteUser);
}

/// The ARNs of the managed policies to read: those that the user's tags record, and the one that the spec asks for;
/// an inline policy leaves that ARN to others.
pub fn policies_to_read(owner: &Owner, desired: Option<&Desired>, tags: &BTreeMap<String, String>) -> BTreeSet<String> {
    let recorded = [tags::POLICY, tags::PREVIOUS_POLICY].into_iter().filter_map(|tag| tags.get(tag));
    let own = match desired.map(|desired| desired.policy_of(Some(tags))) {
        None => Some(owner.policy_arn()),
        Some(Some(DesiredPolicy::Managed { arn, .. })) => Some(arn),
        Some(_) => None,
    };
    recorded.filter_map(|record| owner.recorded_policy_arn(record)).chain(own).collect()
}

#[cfg(test)]
mod tests;
