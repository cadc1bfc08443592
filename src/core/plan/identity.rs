//! The IAM user: created whole, refused where it is somebody else's, kept as the spec says.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Action, Part, Plan};
use crate::api::{Adoption, Reason, tags};
use crate::core::adoption;
use crate::core::desired::Desired;
use crate::core::ends::quarantine;
use crate::core::ends::revocation;
use crate::core::names::{self, Ownership};
use crate::core::observed::{Observed, User, UserState};

/// Plans the user; `None` where nothing else can be planned before it is there and ours.
pub(super) fn plan_user<'a>(
    desired: &Desired,
    observed: &'a Observed,
    now: Timestamp,
    plan: &mut Plan,
) -> Option<&'a User> {
    let user = match &observed.user {
        UserState::Unread | UserState::Missing | UserState::Deleted => {
            add_finalizer(observed, plan);
            let revoked = revocation::of_new_user(desired.revocation.as_ref(), now);
            let tags = desired.user_tags(None).into_iter().chain(revoked).collect();
            plan.actions.push(Action::CreateUser { tags, boundary: desired.boundary.clone() });
            return None;
        }
        UserState::Present(user) => user,
    };
    let owner = &desired.owner;
    match (owner.identity.ownership(&user.tags), owner.adoption) {
        (Ownership::Ours, _) => {}
        (Ownership::Predecessor, Adoption::IfOwnedByTag | Adoption::Force) => {
            add_finalizer(observed, plan);
            plan.actions.push(Action::TagUser(owner.identity.tags()));
            return None;
        }
        // Tags of another S3AccessUser are a claim: two that both took a user for theirs would fight over its keys.
        (Ownership::Foreign, Adoption::Force) if !is_claimed(user) => {
            add_finalizer(observed, plan);
            let settling = adoption::Adoption::Settling(now).value();
            let settling = settling.map(|value| (tags::ADOPTED_AT.to_owned(), value));
            plan.actions.push(Action::TagUser(owner.identity.tags().into_iter().chain(settling).collect()));
            return None;
        }
        (ownership, adoption) => {
            plan.block(Part::User, Reason::ForeignUser, foreign_user(&owner.user_name, user, ownership, adoption));
            return None;
        }
    }
    add_finalizer(observed, plan);
    let revoked = revocation::revoke(&desired.revocations(user), &user.tags, &user.keys, now);
    plan.actions.extend(Vec::from(revoked));
    if quarantine::policies(&user.attached).is_empty() {
        plan.actions.extend(Vec::from(revocation::after_quarantine(&user.tags)));
    }
    let resumed = desired.unused.resumed(&user.tags, now);
    plan.actions.extend(resumed.map(|record| Action::TagUser(BTreeMap::from([record]))));
    if user.path != owner.path {
        plan.actions.push(Action::MoveUser { path: owner.path.clone() });
    }
    plan_tags(desired, user, plan);
    plan_boundary(desired, user, plan);
    Some(user)
}

/// Some S3AccessUser's tags are on the user.
fn is_claimed(user: &User) -> bool {
    [tags::CLUSTER, tags::UID, tags::OWNER].iter().any(|tag| user.tags.contains_key(*tag))
}

/// Before the first write to IAM, so that nothing is made that no finalizer removes.
fn add_finalizer(observed: &Observed, plan: &mut Plan) {
    if !observed.finalizer {
        plan.actions.push(Action::AddFinalizer);
    }
}

fn plan_tags(desired: &Desired, user: &User, plan: &mut Plan) {
    let mut wanted = desired.user_tags(Some(user));
    // The policy's record is written before the policy is made or deleted: see `policies`.
    wanted.remove(tags::POLICY);
    wanted.remove(tags::BOUNDARY);
    let missing: BTreeMap<String, String> = wanted
        .iter()
        .filter(|(key, value)| !user.tags.iter().any(|(found, held)| is_same_key(found, key) && held == *value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let stale: Vec<String> = user
        .tags
        .keys()
        .filter(|key| names::recorded(user.tags.get(tags::TAG_KEYS), key))
        .filter(|key| !desired.tags.keys().any(|wanted| is_same_key(wanted, key)))
        .chain(
            user.tags
                .keys()
                .filter(|key| [tags::ATTACHED, tags::TAG_KEYS].contains(&key.as_str()) && !wanted.contains_key(*key)),
        )
        .cloned()
        .collect();
    if !missing.is_empty() {
        plan.actions.push(Action::TagUser(missing));
    }
    if !stale.is_empty() {
        plan.actions.push(Action::UntagUser(stale));
    }
}

/// IAM tells the tag keys of a user apart without regard to case (IAM user guide, "Tagging IAM resources"): to remove the one
/// would remove the other.
fn is_same_key(one: &str, other: &str) -> bool {
    one == other || one.to_lowercase() == other.to_lowercase()
}

/// A boundary that the spec does not name is only removed if the operator set it.
fn plan_boundary(desired: &Desired, user: &User, plan: &mut Plan) {
    match (&desired.boundary, &user.boundary) {
        (Some(wanted), found) => {
            let record = names::record([wanted.as_str()]);
            if user.tags.get(tags::BOUNDARY) != Some(&record) {
                plan.actions.push(Action::TagUser(BTreeMap::from([(tags::BOUNDARY.to_owned(), record)])));
            }
            if found.as_ref() != Some(wanted) {
                plan.actions.push(Action::PutBoundary(wanted.clone()));
            }
        }
        (None, Some(found)) if names::recorded(user.tags.get(tags::BOUNDARY), found) => {
            plan.actions.push(Action::DeleteBoundary);
        }
        (None, _) => {
            if user.tags.contains_key(tags::BOUNDARY) {
                plan.actions.push(Action::UntagUser(vec![tags::BOUNDARY.to_owned()]));
            }
        }
    }
}

fn foreign_user(name: &str, user: &User, ownership: Ownership, adoption: Adoption) -> String {
    // Whose it is stays untold: namespaces and names of other tenants are not this one's to read.
    let cluster = user.tags.get(tags::CLUSTER).filter(|_| user.tags.contains_key(tags::OWNER));
    let whose = match (ownership, cluster) {
        (Ownership::Predecessor, _) => "belongs to an earlier S3AccessUser of this name".to_owned(),
        (_, Some(cluster)) => format!("belongs to another S3AccessUser, of cluster {cluster}"),
        (_, None) => "was not made by this operator".to_owned(),
    };
    let help = match (ownership, adoption) {
        (Ownership::Predecessor, Adoption::Never) => "set spec.adoption to IfOwnedByTag to take it over",
        (Ownership::Foreign, Adoption::Force) => {
            "if that S3AccessUser is no more, remove the user's tags s3access.dev/cluster, /uid and /owner; else choose another spec.userName"
        }
        _ => "choose another spec.userName, or delete that user if nobody needs it",
    };
    format!("IAM user {name} {whose}: {help}")
}
