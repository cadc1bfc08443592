//! How urgent a look at a user is, from what is at hand without a read.

use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};

use super::context::Context;
use super::kept::{Kept, Opened};
use super::quiet::asked_within;
use crate::api::S3AccessUser;
use crate::core::priority::{Priority, Situation};

/// How urgent a look at the user is now.
pub fn urgency(ctx: &Context, user: &S3AccessUser) -> Priority {
    let uid = user.uid().unwrap_or_default();
    let remembered = ctx.memory.recall(&uid).unwrap_or_default();
    let settled = remembered.settled.as_ref();
    let asks_anew = settled
        .zip(remembered.held_against)
        .is_some_and(|(settled, revision)| settled.asked != asked_within(user, revision));
    let secret_changed = settled
        .is_some_and(|settled| ctx.kubernetes.secret_has_changed(&uid, &user.secret_name(), &settled.secret_version));
    Situation {
        generation: user.metadata.generation,
        deleting: user.metadata.deletion_timestamp.is_some(),
        finalized: user.is_finalized(),
        status: user.status.as_ref(),
        begun: remembered.minted.is_some(),
        failures: remembered.failures,
        asks_anew,
        secret_changed,
    }
    .priority()
}

/// Something has happened to a user or to its Secret: if it waits already, it may have become urgent meanwhile.
pub fn promote(ctx: &Context, user: &Kept) {
    let user = user.open().user;
    let priority = urgency(ctx, &user);
    if priority < Priority::Background {
        let uid = user.uid().unwrap_or_default();
        ctx.places.sessions().iter().for_each(|session| session.promote(&uid, priority));
    }
}

/// The user as the watch has it now, which may be newer than the copy that had to wait for a turn; as it was `given` where
/// no watch keeps them. `None`: it is gone.
pub fn newest(
    ctx: &Context,
    reference: &ObjectRef<Kept>,
    uid: &str,
    given: Option<Box<S3AccessUser>>,
) -> Option<Opened> {
    if let Some(user) = given {
        return Some(Opened { user, invalid: None });
    }
    let found = ctx.users.as_ref()?.get(reference)?;
    (found.meta().uid.as_deref() == Some(uid)).then(|| found.open())
}
