//! A look in a user's own turn, where the bulk sweep answers for its details: the Secret and the access keys are all that
//! is left to read, live.

use super::context::Context;
use super::error::Error;
use super::memory::Remembered;
use super::observe::{Depth, Seen, before_iam};
use super::place::Place;
use super::quiet::{asked, asked_but_rotation};
use crate::api::S3AccessUser;
use crate::aws::ErrorKind;
use crate::core::conditions::{Conditions, says_settled, status};
use crate::core::desired::Desired;
use crate::core::observed::{Observed, SecretState};
use crate::core::plan::Plan;
use crate::core::sweep::rest;

/// The picture and the plan, where there is nothing to do; `None` where everything is to be read. The keys that were
/// listed are kept for that, so that a glance in vain costs nothing.
///
/// # Errors
/// The keys cannot be listed.
pub async fn glance(
    ctx: &Context,
    place: &Place,
    user: &S3AccessUser,
    desired: &Desired,
    seen: &mut Seen,
    remembered: &Remembered,
) -> Result<Option<(Observed, Plan)>, Error> {
    if !is_enough(ctx, place, user, desired, seen, remembered) {
        return Ok(None);
    }
    let keys = match place.session.iam.list_access_keys(&desired.owner.user_name).await {
        Ok(keys) => keys,
        // Somebody has deleted the user.
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    seen.keys = Some(keys.clone());
    let resting = rest(desired, before_iam(user, seen, remembered), keys, ctx.now(), &ctx.waits);
    let earlier = user.status.clone().unwrap_or_default();
    let conditions = Conditions { earlier: &earlier.conditions, generation: user.metadata.generation, now: ctx.now() };
    // The status may have been edited: then it is told anew, and not on what a sweep has seen.
    Ok(resting.filter(|(observed, plan)| status(desired, observed, plan, &conditions) == earlier))
}

/// Whether nothing has changed since a look that ended with everything done, and the sweep compares the rest.
fn is_enough(
    ctx: &Context,
    place: &Place,
    user: &S3AccessUser,
    desired: &Desired,
    seen: &Seen,
    remembered: &Remembered,
) -> bool {
    let (Some(settled), SecretState::Ours(secret)) = (&remembered.settled, &seen.state) else {
        return false;
    };
    settled.asked == asked(user, place)
        && settled.secret_version == secret.resource_version
        && !remembered.suspect
        && remembered.minted.is_none()
        && user.status.as_ref().is_some_and(|status| says_settled(status, user.metadata.generation))
        && ctx.coverage.covers(&desired.owner.account, ctx.now(), ctx.resync_interval)
}

/// How much a look has to read: not what the last one has found or left as it should be, where the bulk sweep compares it
/// since.
pub fn depth(ctx: &Context, place: &Place, user: &S3AccessUser, desired: &Desired, remembered: &Remembered) -> Depth {
    let known = remembered.details == Some(asked_but_rotation(user, place));
    let well = known && !remembered.suspect && remembered.failures == 0;
    if well && ctx.coverage.covers(&desired.owner.account, ctx.now(), ctx.resync_interval) {
        Depth::Keys
    } else {
        Depth::Usual
    }
}
