//! Looks that end before a plan is carried out: what they report, and when the next one is.

use jiff::Timestamp;
use kube::ResourceExt;
use tracing::{debug, warn};

use super::context::Context;
use super::error::Error;
use super::outcome::Outcome;
use super::panics::contained;
use super::reconcile::QUIET_FAILURES;
use super::report::{self, report};
use super::schedule::{backoff, backoff_within, longest_pause, next_turn};
use crate::api::{Reason, S3AccessUser};
use crate::core::conditions::{interrupted, says_settled};
use crate::core::desired::Owner;
use crate::core::plan::{Part, Parts, Progress};
use crate::core::rotation::later;
use crate::kubernetes::UserRef;

/// Something could not even be read.
pub async fn fail(ctx: &Context, user: &S3AccessUser, owner: Option<&Owner>, error: &Error, part: Part) -> Outcome {
    warn!(namespace = user.namespace(), name = user.name_any(), %error, "could not look");
    let uid = user.uid().unwrap_or_default();
    let failure = error.failure(part);
    let failures = ctx.memory.recall(&uid).map_or(0, |remembered| remembered.failures);
    let settled = user.status.as_ref().is_some_and(|status| says_settled(status, user.metadata.generation));
    if failure.transient && settled && failures < QUIET_FAILURES {
        return Outcome::Failed(pause(ctx, &uid));
    }
    let mut parts = Parts::pending();
    failure.mark(&mut parts);
    interrupt(ctx, user, owner, &parts, Outcome::Failed(pause(ctx, &uid))).await
}

/// The spec cannot be carried out; what was made for an earlier one stays as it is.
pub async fn refuse(
    ctx: &Context,
    user: &S3AccessUser,
    owner: Option<&Owner>,
    part: Part,
    reason: Reason,
    message: String,
) -> Outcome {
    let mut parts = Parts::pending();
    parts.set(part, Progress::Blocked(reason, message));
    let turn = next_turn(&user.uid().unwrap_or_default(), ctx.now(), ctx.resync_interval);
    interrupt(ctx, user, owner, &parts, Outcome::Refused(turn)).await
}

/// A look that ended in a panic: told on the object, and tried again with growing pauses.
pub async fn panicked(ctx: &Context, user: &S3AccessUser) -> Outcome {
    let uid = user.uid().unwrap_or_default();
    let mut parts = Parts::pending();
    let message = "the operator failed on this object by a defect of its own (see its log, and please report it); what was made before stays as it is, and it is tried again with growing pauses";
    parts.set(Part::User, Progress::Blocked(Reason::ReconcilePanicked, message.to_owned()));
    let failed = Outcome::Failed(pause(ctx, &uid));
    contained(&ctx.metrics, interrupt(ctx, user, None, &parts, failed)).await.unwrap_or(failed)
}

/// Ends a look that did not come to a plan: the status keeps what was known, and the conditions say why.
pub async fn interrupt(
    ctx: &Context,
    user: &S3AccessUser,
    owner: Option<&Owner>,
    parts: &Parts,
    outcome: Outcome,
) -> Outcome {
    let earlier = user.status.clone().unwrap_or_default();
    let report_it = interrupted(owner, parts, &earlier, user.metadata.generation, ctx.now());
    match report(ctx, &UserRef::of(&user.metadata), &earlier, &report_it).await {
        Ok(()) => outcome,
        Err(error) => retry_later(ctx, &user.uid().unwrap_or_default(), &error),
    }
}

/// Lets the CR go, and says what may be left in IAM.
pub async fn abandon(ctx: &Context, user: &S3AccessUser) -> Outcome {
    let outcome = release(ctx, user).await;
    if outcome == Outcome::Deleted {
        report::abandoned(ctx, user).await;
    }
    outcome
}

/// Lets the CR go, for which nothing is to be done in IAM.
pub async fn release(ctx: &Context, user: &S3AccessUser) -> Outcome {
    let released = match ctx.may_write() {
        Ok(()) => ctx.kubernetes.set_finalizers(user, &user.other_finalizers()).await.map_err(Error::from),
        Err(error) => Err(error),
    };
    match released {
        Ok(_) => Outcome::Deleted,
        Err(error) => retry_later(ctx, &user.uid().unwrap_or_default(), &error),
    }
}

/// Nothing to report: the next look may.
pub fn retry_later(ctx: &Context, uid: &str, error: &Error) -> Outcome {
    debug!(%error, uid, "trying again");
    Outcome::Failed(pause(ctx, uid))
}

/// When to look again where only somebody's action helps: it is not announced where it is taken in IAM.
pub fn pause_blocked(ctx: &Context, uid: &str) -> Timestamp {
    let failures = ctx.memory.recall(uid).map_or(0, |remembered| remembered.failures);
    let longest = longest_pause(ctx.memory.set_blocked(uid, true));
    later(ctx.now(), backoff_within(uid, failures.saturating_add(1), longest))
}

/// When to look again after one more failure.
pub fn pause(ctx: &Context, uid: &str) -> Timestamp {
    let failures = ctx.memory.recall(uid).map_or(0, |remembered| remembered.failures);
    later(ctx.now(), backoff(uid, failures.saturating_add(1)))
}
