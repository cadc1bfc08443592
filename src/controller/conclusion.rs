//! Looks that came to a plan: what they report, what is remembered of them, and when the next one is.

use kube::ResourceExt;
use tracing::warn;

use super::context::Context;
use super::ending::{pause, pause_blocked, retry_later};
use super::error::Error;
use super::memory::Settled;
use super::outcome::Outcome;
use super::place::Place;
use super::quiet::asked;
use super::report::report;
use super::schedule::next_turn;
use crate::api::{Reason, S3AccessUser};
use crate::core::conditions::{Conditions, interrupted, status};
use crate::core::desired::{Desired, Owner};
use crate::core::observed::{Observed, UserState};
use crate::core::plan::{Action, Part, Plan, Progress};
use crate::kubernetes::UserRef;

/// Where a plan came to a stop.
pub struct Stopped {
    /// What went wrong.
    pub error: Error,
    /// In doing what.
    pub action: Action,
    /// Of which plan.
    pub plan: Plan,
}

/// The plan is carried out, as far as it goes now.
pub async fn conclude(
    ctx: &Context,
    place: &Place,
    user: &S3AccessUser,
    owner: &Owner,
    desired: Option<&Desired>,
    observed: &Observed,
    plan: Plan,
) -> Outcome {
    let uid = &owner.identity.uid;
    remember_probes(ctx, uid, observed);
    if plan.actions.contains(&Action::RemoveFinalizer) {
        return Outcome::Deleted;
    }
    let now = ctx.now();
    let earlier = user.status.clone().unwrap_or_default();
    let generation = user.metadata.generation;
    let report_it = match desired {
        // Where there is no user, what was known of one stays: it may be in another account.
        Some(desired) if observed.user().is_some() => {
            status(desired, observed, &plan, &Conditions { earlier: &earlier.conditions, generation, now })
        }
        _ => interrupted(Some(owner), &plan.parts, &earlier, generation, now),
    };
    if let Err(error) = report(ctx, &UserRef::of(&user.metadata), &earlier, &report_it).await {
        return retry_later(ctx, uid, &error);
    }
    let parts = Part::ALL.map(|part| plan.parts.of(part));
    // What the class does not allow waits for another spec or class, and so does all that would come after it.
    let refused = parts.iter().any(|part| matches!(part, Progress::Blocked(Reason::NotPermittedByClass, _)));
    let waits = parts.iter().any(|part| matches!(part, Progress::Waiting(..)));
    if refused && !waits && plan.wake_at.is_none() && parts.contains(&&Progress::Pending) {
        // What was found in IAM may be put right there, and nobody would tell.
        return match observed.user() {
            None => Outcome::Refused(next_turn(uid, now, ctx.resync_interval)),
            Some(_) => Outcome::Failed(pause_blocked(ctx, uid)),
        };
    }
    if parts.iter().any(|part| matches!(part, Progress::Blocked(..)) && !part.rests()) {
        return Outcome::Failed(pause_blocked(ctx, uid));
    }
    if parts.iter().any(|part| matches!(part, Progress::Waiting(..) | Progress::Pending))
        && desired.is_none_or(|desired| desired.active)
    {
        return Outcome::Waiting(plan.wake_at.unwrap_or_else(|| pause(ctx, uid)));
    }
    settle(ctx, place, user, observed, &plan)
}

/// All is as it should be: remembers what that rests upon, and when to look again.
pub fn settle(ctx: &Context, place: &Place, user: &S3AccessUser, observed: &Observed, plan: &Plan) -> Outcome {
    let (uid, now) = (user.uid().unwrap_or_default(), ctx.now());
    let turn = next_turn(&uid, now, ctx.resync_interval);
    let due_at = plan.wake_at.map_or(turn, |wake_at| wake_at.min(turn)).max(now);
    ctx.memory.update(&uid, |remembered| remembered.vigil = None);
    if let (Some(secret), UserState::Present(user_seen)) = (observed.our_secret(), &observed.user) {
        let settled = Settled { asked: asked(user, place), secret_version: secret.resource_version.clone(), due_at };
        ctx.memory.update(&uid, |remembered| remembered.settled = Some(settled));
        let key = secret.key.as_ref().and_then(|held| user_seen.keys.iter().find(|key| held.id == key.id));
        if let Some(age) = key.and_then(|key| now.duration_since(key.created_at).try_into().ok()) {
            ctx.metrics.key_age(age);
        }
    }
    Outcome::Settled(due_at)
}

/// An action failed: say so on the part that it was about, keep what is known of the others, try again later.
pub async fn stop(
    ctx: &Context,
    user: &S3AccessUser,
    owner: &Owner,
    desired: Option<&Desired>,
    observed: &Observed,
    stopped: Stopped,
) -> Outcome {
    let Stopped { error, action, mut plan } = stopped;
    warn!(namespace = %owner.identity.namespace, name = %owner.identity.name, %error, "could not {action}");
    // Another look, with nothing to report yet: somebody else was faster, or leads.
    let yields = match &error {
        Error::Kubernetes(error) => error.is_conflict(),
        error => matches!(error, Error::NotLeading(_)),
    };
    if yields {
        return retry_later(ctx, &owner.identity.uid, &error);
    }
    error.failure(action.part()).mark(&mut plan.parts);
    let earlier = user.status.clone().unwrap_or_default();
    let (generation, now) = (user.metadata.generation, ctx.now());
    let report_it = match desired {
        Some(desired) if observed.user().is_some() => {
            status(desired, observed, &plan, &Conditions { earlier: &earlier.conditions, generation, now })
        }
        _ => interrupted(Some(owner), &plan.parts, &earlier, generation, now),
    };
    if let Err(error) = report(ctx, &UserRef::of(&user.metadata), &earlier, &report_it).await {
        return retry_later(ctx, &owner.identity.uid, &error);
    }
    Outcome::Failed(pause(ctx, &owner.identity.uid))
}

/// What new keys have shown so far is not asked again.
pub fn remember_probes(ctx: &Context, uid: &str, observed: &Observed) {
    ctx.memory.update(uid, |remembered| remembered.probes = observed.probes.clone().into_iter().collect());
}
