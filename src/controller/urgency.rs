//! How urgent a look at a user is, from what is at hand without a read.

use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use super::context::Context;
use super::quiet::asked_within;
use super::run::Guarded;
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
pub fn promote(ctx: &Context, user: &S3AccessUser) {
    let priority = urgency(ctx, user);
    if priority < Priority::Background {
        let uid = user.uid().unwrap_or_default();
        ctx.places.sessions().iter().for_each(|session| session.promote(&uid, priority));
    }
}

/// The user as the watch has it now, which may be newer than the copy that has waited for a turn.
pub enum Newest {
    /// The copy that has waited.
    Same,
    /// A newer one.
    Newer(Arc<Guarded>),
    /// It is gone.
    Gone,
}

/// The user as the watch has it now.
pub fn newest(ctx: &Context, user: &S3AccessUser) -> Newest {
    let Some(users) = &ctx.users else { return Newest::Same };
    let reference = ObjectRef::new(&user.name_any()).within(&user.namespace().unwrap_or_default());
    match users.get(&reference) {
        Some(found) if found.uid() != user.uid() => Newest::Gone,
        Some(found) if found.resource_version() == user.resource_version() => Newest::Same,
        Some(found) => Newest::Newer(found),
        None => Newest::Gone,
    }
}
