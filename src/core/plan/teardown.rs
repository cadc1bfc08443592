//! Deletion: keys first, then everything of ours, in the order that IAM demands; it always ends.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::policies::{deletion, removal};
use super::{Action, Part, Plan, Progress, Waits, WhyDelete, elsewhere, secret, soon};
use crate::api::{Reason, tags};
use crate::core::desired::{Desired, DesiredPolicy, Owner};
use crate::core::names::Ownership;
use crate::core::observed::{Observed, User, UserState};
use crate::core::rotation::later;

/// Decides for a CR that is being deleted. It needs no valid spec, no Secret and no namespace.
pub fn teardown(owner: &Owner, observed: &Observed, now: Timestamp, waits: &Waits) -> Plan {
    let mut plan = Plan::new();
    if !observed.finalizer {
        return plan;
    }
    match &observed.user {
        UserState::Present(user) if owner.identity.ownership(&user.tags) == Ownership::Ours => {
            plan_user(owner, observed, user, &mut plan);
        }
        // Let go here, it would be forgotten there, with a key that works.
        _ if elsewhere(owner, observed).is_some() => {
            plan.block(Part::User, Reason::AccountMismatch, elsewhere(owner, observed).unwrap_or_default());
        }
        // The replica that answered may not know it yet, or show it as it was before it was taken over: then it would be left
        // behind, with a key that works.
        state if *state != UserState::Deleted && !window_passed(owner, observed, now, waits) => {
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

/// Whether "not found" is believed. The API server tells when the deletion was asked for, by a clock that may be behind this
/// process's: so it is not counted from before this process has seen it.
fn window_passed(owner: &Owner, observed: &Observed, now: Timestamp, waits: &Waits) -> bool {
    let since =
        owner.deleted_at.map(|deleted_at| observed.deletion_seen.map_or(deleted_at, |seen| seen.max(deleted_at)));
    since.is_none_or(|since| later(since, waits.before_loss()) <= now)
}

fn plan_user(owner: &Owner, observed: &Observed, user: &User, plan: &mut Plan) {
    let (ours, foreign): (Vec<_>, Vec<_>) = user.keys.iter().partition(|key| user.is_ours(key));
    // One that this process has made or tried may be unknown to the replica that answered.
    let unlisted = observed.probes.keys().filter(|id| user.keys.iter().all(|key| key.id != **id));
    for id in ours.into_iter().map(|key| &key.id).chain(unlisted) {
        plan.actions.push(Action::DeleteKey { id: id.clone(), why: WhyDelete::Teardown });
    }
    if owner.retain {
        // Without the UID the user is nobody's, and the next S3AccessUser of this name may take it over.
        plan.actions.push(Action::UntagUser(vec![tags::UID.to_owned()]));
        plan.actions.extend(secret::leave(observed));
        plan.actions.push(Action::RemoveFinalizer);
        return;
    }
    if !foreign.is_empty() {
        let ids: Vec<&str> = foreign.iter().map(|key| key.id.as_str()).collect();
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
