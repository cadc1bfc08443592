//! The Secret: written only if it is ours, kept as the spec says, and followed when its name changes.

use super::{Action, Part, Plan, Progress, SecretRecord, View, WhyDelete};
use crate::api::Reason;
use crate::core::desired::Desired;
use crate::core::iam::{AccessKey, AccessKeyId};
use crate::core::names;
use crate::core::observed::{Observed, OurSecret, SecretState};
use crate::core::rotation::later;

/// Returns false, with the condition set, where the Secret of the wanted name is somebody else's, or cannot be rendered.
pub(super) fn may_write(view: &View<'_>, plan: &mut Plan) -> bool {
    let View { desired, observed, .. } = view;
    if let Some(message) = &observed.unrenderable {
        plan.block(Part::Secret, Reason::InvalidSpec, message.clone());
        return false;
    }
    if observed.session.is_some() && matches!(observed.secret, SecretState::Foreign { .. }) {
        let message = format!(
            "Secret {} of the operator's namespace was not made by the operator: delete it there",
            names::key_secret(&desired.owner.identity.uid)
        );
        plan.block(Part::Secret, Reason::ForeignSecret, message);
        return false;
    }
    let SecretState::Foreign { other_user } = observed.delivered() else {
        return true;
    };
    let name = &desired.owner.secret_name;
    match other_user {
        // Two live objects cannot share a name: its owner is no more. The Secret's end is an event; the reconcile is for
        // the case that it gets lost.
        Some(other) if *other == desired.owner.identity.name => plan.wait(
            Part::Secret,
            Reason::Creating,
            format!("Secret {name} belongs to an earlier S3AccessUser of this name: waiting for Kubernetes to collect it"),
            later(view.now, view.waits.consistency_window),
        ),
        Some(other) => plan.block(
            Part::Secret,
            Reason::SecretNameTaken,
            format!("Secret {name} belongs to S3AccessUser {other}: choose another spec.secret.name"),
        ),
        None => plan.block(
            Part::Secret,
            Reason::ForeignSecret,
            format!("Secret {name} exists and was not made for this S3AccessUser: choose another spec.secret.name, or delete that Secret if nobody needs it"),
        ),
    }
    false
}

/// Takes out of the plan what ends in a write to a Secret that is immutable: no key is made that no Secret could take, and
/// the one that is there goes on.
pub(super) fn hold_where_immutable(observed: &Observed, plan: &mut Plan) {
    if !observed.our_secret().is_some_and(|secret| secret.immutable) {
        return;
    }
    let minted = observed.minted.as_ref().map(|minted| minted.id.clone());
    let leads_there = |action: &Action| match action {
        Action::DryRunSecret | Action::WriteSecret { .. } | Action::CreateAccessKey => true,
        Action::ProbeKey { id } => minted.as_ref() == Some(id),
        _ => false,
    };
    if minted.is_none() && !plan.actions.iter().any(leads_there) {
        return;
    }
    // All else stays: taking access away waits for nothing.
    plan.actions.retain(|action| !leads_there(action) && !matches!(action, Action::Announce(_)));
    plan.actions.extend(minted.map(|id| Action::DeleteKey { id, why: WhyDelete::Unusable }));
    if matches!(plan.parts.key, Progress::Waiting(..)) {
        plan.parts.key = Progress::Pending;
    }
    let message =
        "the Secret is immutable, and has to be written: delete it; it is made again at once, with another key";
    plan.block(Part::Secret, Reason::SecretImmutable, message);
}

/// Brings the Secret to what the spec and its key make of it, and removes it under earlier names.
pub(super) fn refresh(
    desired: &Desired,
    observed: &Observed,
    secret: &OurSecret,
    current: &AccessKey,
    plan: &mut Plan,
) {
    // It is replaced before it comes into its place.
    if observed.is_exposed(&current.id) {
        return;
    }
    let in_place = observed.our_secret().is_some_and(|found| found.key.is_some() && found.up_to_date);
    if !in_place {
        plan.actions.push(rewrite(desired, secret, current, secret.orphan_to_delete.clone()));
        return;
    }
    if super::sessions::is_delivered(observed) {
        plan.actions.extend(leave(observed));
    }
}

/// Removes the Secrets in other places.
pub(super) fn leave(observed: &Observed) -> impl Iterator<Item = Action> {
    observed
        .renamed
        .iter()
        .map(|(place, secret)| Action::DeleteSecret { place: place.clone(), uid: secret.uid.clone() })
}

/// Writes the Secret with the key that it has.
pub(super) fn rewrite(
    desired: &Desired,
    secret: &OurSecret,
    current: &AccessKey,
    orphan_to_delete: Option<AccessKeyId>,
) -> Action {
    Action::WriteSecret {
        key_id: current.id.clone(),
        record: SecretRecord {
            created_at: Some(current.created_at),
            previous: secret.previous.clone(),
            rotated_at: secret.rotated_at,
            // Stripped annotations are no request to rotate.
            rotate_handled: if secret.annotated {
                secret.rotate_handled.clone()
            } else {
                desired.rotation.requested.clone()
            },
            orphan_to_delete,
        },
    }
}
