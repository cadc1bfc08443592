//! When a look need not be taken.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use jiff::Timestamp;
use kube::ResourceExt;

use super::context::Context;
use super::memory::Remembered;
use super::observe::Seen;
use super::place::Place;
use super::schedule::next_turn;
use crate::api::S3AccessUser;
use crate::core::conditions::says_settled;
use crate::core::desired::Desired;
use crate::core::observed::SecretState;

/// Where nothing has changed since the last look that ended with everything done, the time of the next one.
///
/// At first sight, after a restart, the status stands in for the memory. That decides nothing but when to look: so a
/// restart asks IAM nothing, and each user waits for its turn in the sweep. What must not wait is read live: the Secret.
pub fn quiet_until(
    ctx: &Context,
    place: &Place,
    user: &S3AccessUser,
    desired: &Desired,
    seen: &Seen,
    recalled: Option<&Remembered>,
) -> Option<Timestamp> {
    let SecretState::Ours(secret) = &seen.state else {
        return None;
    };
    if !secret.up_to_date || !seen.renamed.is_empty() {
        return None;
    }
    let now = ctx.now();
    match recalled.map(|recalled| recalled.settled.as_ref().filter(|_| !recalled.suspect)) {
        Some(Some(settled)) => {
            let same = settled.asked == asked(user, place) && settled.secret_version == secret.resource_version;
            (same && settled.due_at > now).then_some(settled.due_at)
        }
        Some(None) => None,
        None => {
            let status = user.status.as_ref()?;
            let known = place.enforced && says_settled(status, user.metadata.generation);
            if !known || secret.previous.is_some() || !desired.active {
                return None;
            }
            let requested = &desired.rotation.requested;
            if requested.is_some() && *requested != secret.rotate_handled {
                return None;
            }
            let created_at = secret.key.as_ref()?.created_at?;
            let turn = next_turn(&desired.owner.identity.uid, now, ctx.resync_interval);
            let due_at = desired.rotation.due_at(created_at).map_or(turn, |due_at| due_at.min(turn));
            (due_at > now).then_some(due_at)
        }
    }
}

/// What is asked for: the CR's spec and annotations, and its class.
pub fn asked(user: &S3AccessUser, place: &Place) -> u64 {
    asked_within(user, place.revision)
}

/// The same, within a class in that state.
pub fn asked_within(user: &S3AccessUser, revision: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    user.metadata.generation.hash(&mut hasher);
    user.annotations().hash(&mut hasher);
    revision.hash(&mut hasher);
    hasher.finish()
}
