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
use crate::api::{S3AccessUser, annotations};
use crate::core::conditions::says_settled;
use crate::core::desired::Desired;
use crate::core::observed::{OurSecret, SecretState};

/// Where nothing has changed since the last look that ended with everything done, the time of the next one.
///
/// At first sight, after a restart, and until a look has come to its end, the status stands in for the memory. That decides nothing but when to look: so a
/// restart asks IAM nothing, and each user waits for its turn in the sweep. What must not wait is read live: the Secret.
pub fn quiet_until(
    ctx: &Context,
    place: &Place,
    user: &S3AccessUser,
    desired: &Desired,
    seen: &Seen,
    remembered: &Remembered,
) -> Option<Timestamp> {
    let SecretState::Ours(secret) = &seen.state else {
        return None;
    };
    if !secret.up_to_date || !seen.renamed.is_empty() {
        return None;
    }
    let now = ctx.now();
    let due_at = if remembered.is_new() {
        let created_at = by_status(place, user, desired, secret)?;
        let turn = next_turn(&desired.owner.identity.uid, now, ctx.resync_interval);
        desired.rotation.due_at(created_at).map_or(turn, |due_at| due_at.min(turn))
    } else {
        let settled = remembered.settled.as_ref().filter(|_| !remembered.suspect)?;
        let same = settled.asked == asked(user, place) && settled.secret_version == secret.resource_version;
        same.then_some(settled.due_at)?
    };
    (due_at > now).then_some(due_at)
}

/// Where the watches show nothing but what the last look has left, and that ended with everything done, the time of the
/// next one: each Secret that is written comes back as an event, and calls for nothing.
pub fn undisturbed_until(ctx: &Context, user: &S3AccessUser) -> Option<Timestamp> {
    let uid = user.uid()?;
    let remembered = ctx.memory.recall(&uid)?;
    // A finalizer that was taken off is put back.
    let kept = user.metadata.deletion_timestamp.is_none() && user.is_finalized();
    let settled = remembered.settled.filter(|_| !remembered.suspect && kept)?;
    let (name, revision) = (user.secret_name(), ctx.places.revision(user)?);
    let alone = ctx.kubernetes.secret_names_of(&uid) == [name.as_str()];
    let same = alone && !ctx.kubernetes.secret_has_changed(&uid, &name, &settled.secret_version);
    (same && settled.asked == asked_within(user, revision) && settled.due_at > ctx.now()).then_some(settled.due_at)
}

/// Where status and Secret say that all is done: since when there is the key.
fn by_status(place: &Place, user: &S3AccessUser, desired: &Desired, secret: &OurSecret) -> Option<Timestamp> {
    let (status, key) = (user.status.as_ref()?, secret.key.as_ref()?);
    let settled = place.enforced && desired.active && says_settled(status, user.metadata.generation);
    let alone = status.access_key_id.as_deref() == Some(&*key.id) && status.retiring_key.is_none();
    let requested = &desired.rotation.requested;
    let rotated = requested.is_none() || *requested == secret.rotate_handled;
    key.created_at.filter(|_| settled && alone && rotated)
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

/// As [`asked`], less a request to rotate: that concerns nothing but the key.
pub fn asked_but_rotation(user: &S3AccessUser, place: &Place) -> u64 {
    let mut hasher = DefaultHasher::new();
    user.metadata.generation.hash(&mut hasher);
    user.annotations().iter().filter(|(name, _)| *name != annotations::ROTATE).for_each(|pair| pair.hash(&mut hasher));
    place.revision.hash(&mut hasher);
    hasher.finish()
}
