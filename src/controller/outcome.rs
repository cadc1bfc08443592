//! What a reconcile ends with: what it reports, what is known from then on, and when the next one is.

use jiff::Timestamp;
use kube::ResourceExt;
use tracing::{debug, warn};

use super::context::{Context, Pass};
use super::error::Error;
use super::observe::rendering;
use super::panics::contained;
use super::report::{self, report, with_revocation};
use crate::api::{Reason, S3AccessUser, S3AccessUserStatus};
use crate::core::conditions::{Conditions, Failure, interrupted, says_settled, status};
use crate::core::desired::{Desired, Owner};
use crate::core::observed::Observed;
use crate::core::plan::{Action, Part, Parts, Plan, Progress, named_policy};
use crate::core::reads::known::{Known, Settled};
use crate::core::reads::next::{End, due_at};
use crate::core::reads::{Reads, is_made_of, named_version};
use crate::core::refusal::Refusal;
use crate::core::rotation::later;
use crate::core::schedule::{backoff, backoff_within, longest_pause, next_resync};
use crate::kubernetes::UserRef;

/// Consecutive transient failures tolerated before a Ready user is reported as not Ready: an API server's hiccup must not
/// turn ten thousand users not Ready.
pub const QUIET_FAILURES: u32 = 2;

/// What a reconcile ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is as it should be; reconcile again at that time.
    Settled(Timestamp),
    /// Nothing had changed since; reconcile again at that time.
    Deferred(Timestamp),
    /// Something comes by itself; reconcile again at that time.
    Waiting(Timestamp),
    /// Something went wrong or stands in the way; reconcile again at that time.
    Failed(Timestamp),
    /// Only a change of the CR brings news.
    Refused(Timestamp),
    /// The CR is let go.
    Deleted,
}

impl Outcome {
    /// One word, for the metric's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Settled(_) => "settled",
            Self::Deferred(_) => "deferred",
            Self::Waiting(_) => "waiting",
            Self::Failed(_) => "failed",
            Self::Refused(_) => "refused",
            Self::Deleted => "deleted",
        }
    }

    /// Reconciles again by then.
    #[must_use]
    pub fn by(mut self, latest: Option<Timestamp>) -> Self {
        if let (Some(at), Some(latest)) = (self.at(), latest) {
            *at = latest.min(*at);
        }
        self
    }

    /// When to reconcile again.
    pub fn due_at(mut self) -> Option<Timestamp> {
        self.at().copied()
    }

    fn at(&mut self) -> Option<&mut Timestamp> {
        match self {
            Self::Settled(at) | Self::Deferred(at) | Self::Waiting(at) | Self::Failed(at) | Self::Refused(at) => {
                Some(at)
            }
            Self::Deleted => None,
        }
    }
}

/// Where a plan came to a stop.
pub struct Stopped {
    /// What went wrong.
    pub error: Error,
    /// In doing what.
    pub action: Action,
    /// Of which plan.
    pub plan: Plan,
}

impl Stopped {
    /// More is to be read at once, at that level: a key that could not be tried, or the keys are not as they were left.
    pub fn wants_more(&self, reads: Reads) -> bool {
        reads.retries(&self.action) || (reads == Reads::User && self.error.belies_the_keys())
    }

    /// The world is not as it was read at that level: all of it is to be read anew, the Secret, too.
    pub fn is_by_a_stale_view(&self, reads: Reads) -> bool {
        self.error.is_stale_view() && !self.wants_more(reads)
    }
}

/// The plan is carried out, as far as it goes now.
///
/// `keys_read_at`: when the access keys were read that it rests upon.
pub async fn conclude(pass: Pass<'_>, observed: &Observed, plan: Plan, keys_read_at: Timestamp) -> Outcome {
    let Pass { ctx, user, desired, .. } = pass;
    let uid = pass.uid();
    if plan.actions.contains(&Action::RemoveFinalizer) {
        return Outcome::Deleted;
    }
    let now = ctx.now();
    let earlier = report::last_told(ctx, user);
    let status = told(pass, observed, &plan, &earlier);
    if let Err(error) = report(ctx, &UserRef::of(&user.metadata), &earlier, &status).await {
        return retry_later(ctx, uid, &error);
    }
    ctx.state.change(uid, Known::told);
    match End::of(desired, observed, &plan, now) {
        End::Refused => Outcome::Refused(next_resync(uid, now, ctx.resync_interval)),
        End::Blocked => Outcome::Failed(pause_blocked(ctx, uid)),
        End::Waiting => Outcome::Waiting(plan.wake_at.unwrap_or_else(|| pause(ctx, uid))),
        End::Settled => settle(pass, observed, &plan, keys_read_at),
    }
}

/// There is nothing to do before that time, but to tell of what a report has said.
pub async fn defer(pass: Pass<'_>, until: Timestamp) -> Outcome {
    let Pass { ctx, user, desired, .. } = pass;
    let earlier = user.status.clone().unwrap_or_default();
    if let Some(desired) = desired.filter(|_| ctx.state.with(pass.uid(), |known| known.untold.is_some())) {
        let status = with_last_use(pass, desired, earlier.clone(), &earlier);
        if let Err(error) = report(ctx, &UserRef::of(&user.metadata), &earlier, &status).await {
            return retry_later(ctx, pass.uid(), &error);
        }
        ctx.state.change(pass.uid(), Known::told);
    }
    Outcome::Deferred(until)
}

/// That status, with when the key that it tells of was used last.
fn with_last_use(
    pass: Pass<'_>,
    desired: &Desired,
    status: S3AccessUserStatus,
    earlier: &S3AccessUserStatus,
) -> S3AccessUserStatus {
    let Pass { ctx, user, .. } = pass;
    let untold = ctx.state.with(pass.uid(), |known| known.untold.clone());
    let conditions = Conditions { earlier: &earlier.conditions, generation: user.metadata.generation, now: ctx.now() };
    conditions.with_last_use(status, earlier, untold.as_deref(), desired.unused.told_after())
}

/// What the status says after that plan.
pub fn told(pass: Pass<'_>, observed: &Observed, plan: &Plan, earlier: &S3AccessUserStatus) -> S3AccessUserStatus {
    let (generation, now) = (pass.user.metadata.generation, pass.ctx.now());
    match pass.desired {
        // Where there is no user, what was known of one stays: it may be in another account.
        Some(desired) if observed.user().is_some() => {
            let mut told =
                status(desired, observed, plan, &Conditions { earlier: &earlier.conditions, generation, now });
            // One that the Secret no longer holds works to its end all the same.
            let session = earlier.session_expires_at.clone().filter(|expires_at| expires_at.0 > now);
            told.session_expires_at = told.session_expires_at.or(session);
            let told = with_last_use(pass, desired, told, earlier);
            // That others have touched the Secret is nothing to write a status for.
            let told = S3AccessUserStatus { secret_version: earlier.secret_version.clone(), ..told };
            let left = observed.delivered().ours().filter(|secret| secret.up_to_date && plan.rests());
            // Of a session's Secret, the status tells nothing that would do without it.
            let rendered = left.filter(|_| pass.sessions().is_none()).and_then(|_| rendering(pass));
            let named = left.zip(rendered).map(|(left, rendered)| named_version(&left.resource_version, rendered));
            if told == *earlier && is_made_of(earlier.secret_version.as_deref(), rendered) {
                return told;
            }
            S3AccessUserStatus { secret_version: named, ..told }
        }
        _ => interrupted(Some(pass.owner), &plan.parts, earlier, generation, now),
    }
}

/// All is as it should be: what that rests upon, and when to reconcile again.
fn settle(pass: Pass<'_>, observed: &Observed, plan: &Plan, keys_read_at: Timestamp) -> Outcome {
    let ctx = pass.ctx;
    let (uid, now) = (pass.uid(), ctx.now());
    let (interval, due_at) = (ctx.resync_interval, due_at(plan, now));
    let settled = Settled::of(pass.fingerprint(), observed, due_at, keys_read_at);
    let resync_at =
        settled.as_ref().map_or_else(|| next_resync(uid, now, interval), |settled| settled.resync_at(uid, interval));
    ctx.state.change(uid, |known| known.settled(settled));
    if let (Some(secret), Some(found)) = (observed.our_secret(), observed.user()) {
        let key = secret.key.as_ref().and_then(|held| found.keys.iter().find(|key| held.id == key.id));
        if let Some(age) = key.and_then(|key| now.duration_since(key.created_at).try_into().ok()) {
            ctx.metrics.key_age(age);
        }
    }
    Outcome::Settled(due_at.min(resync_at))
}

/// An action failed: say so on the part that it was about, keep what is known of the others, try again later.
pub async fn stop(pass: Pass<'_>, observed: &Observed, stopped: Stopped) -> Outcome {
    let Pass { ctx, user, owner, .. } = pass;
    let Stopped { error, action, mut plan } = stopped;
    warn!(namespace = %owner.identity.namespace, name = %owner.identity.name, %error, "could not {action}");
    // Another reconcile, with nothing to report yet: somebody else was faster, or leads.
    let yields = match &error {
        Error::Kubernetes(error) => error.is_conflict(),
        error => matches!(error, Error::NotLeading(_)),
    };
    if yields {
        return retry_later(ctx, &owner.identity.uid, &error);
    }
    let earlier = report::last_told(ctx, user);
    // The session that could not be renewed works for half its life still.
    let works = matches!(action, Action::RenewSession { .. }) && plan.parts.secret == Progress::Synced;
    if works && error.failure(action.part()).transient && failures(ctx, pass.uid()) < QUIET_FAILURES {
        return retry_later(ctx, pass.uid(), &error);
    }
    let failure = missing_policy(pass, &earlier, &action, &error).unwrap_or_else(|| error.failure(action.part()));
    failure.mark(&mut plan.parts);
    let status = told(pass, observed, &plan, &earlier);
    if let Err(error) = report(ctx, &UserRef::of(&user.metadata), &earlier, &status).await {
        return retry_later(ctx, &owner.identity.uid, &error);
    }
    Outcome::Failed(pause(ctx, &owner.identity.uid))
}

/// IAM does not know a policy that the action names, and has had its time to hear of it.
fn missing_policy(pass: Pass<'_>, earlier: &S3AccessUserStatus, action: &Action, error: &Error) -> Option<Failure> {
    let (Error::Aws(error), Some(desired)) = (error, pass.desired) else { return None };
    let named = named_policy(desired, action).filter(|(_, arn)| error.lacks(arn))?;
    let conditions =
        Conditions { earlier: &earlier.conditions, generation: pass.user.metadata.generation, now: pass.ctx.now() };
    Failure::of_missing_policy(named, action.part(), &conditions, pass.ctx.waits.consistency_window)
}

/// Reports a reconcile that ended before there was a plan: something could not be read, or access could not be taken away.
pub async fn fail(ctx: &Context, user: &S3AccessUser, owner: Option<&Owner>, error: &Error, part: Part) -> Outcome {
    warn!(namespace = user.namespace(), name = user.name_any(), %error, "reconcile failed before there was a plan");
    let uid = user.uid().unwrap_or_default();
    let failure = error.failure(part);
    let settled = user.status.as_ref().is_some_and(|status| says_settled(status, user.metadata.generation));
    if failure.transient && settled && failures(ctx, &uid) < QUIET_FAILURES {
        return Outcome::Failed(pause(ctx, &uid));
    }
    let mut parts = Parts::pending();
    failure.mark(&mut parts);
    interrupt(ctx, user, owner, &parts, Outcome::Failed(pause(ctx, &uid))).await
}

/// The spec cannot be carried out; what was made for an earlier one stays as it is.
pub async fn refuse(ctx: &Context, user: &S3AccessUser, owner: Option<&Owner>, part: Part, why: Refusal) -> Outcome {
    let mut parts = Parts::pending();
    parts.set(part, Progress::Blocked(why.reason, why.message));
    let uid = user.uid().unwrap_or_default();
    ctx.state.change(&uid, Known::refused);
    let resync = next_resync(&uid, ctx.now(), ctx.resync_interval);
    interrupt(ctx, user, owner, &parts, Outcome::Refused(resync)).await
}

/// A reconcile that ended in a panic: told on the object, and tried again with growing pauses.
pub async fn panicked(ctx: &Context, user: &S3AccessUser) -> Outcome {
    let uid = user.uid().unwrap_or_default();
    let mut parts = Parts::pending();
    let message = "the operator failed on this object by a defect of its own (see its log, and please report it); what was made before stays as it is, and it is tried again with growing pauses";
    parts.set(Part::User, Progress::Blocked(Reason::ReconcilePanicked, message.to_owned()));
    let failed = Outcome::Failed(pause(ctx, &uid));
    contained(&ctx.metrics, interrupt(ctx, user, None, &parts, failed)).await.unwrap_or(failed)
}

/// Ends a reconcile that did not come to a plan: the status keeps what was known, and the conditions say why.
pub async fn interrupt(
    ctx: &Context,
    user: &S3AccessUser,
    owner: Option<&Owner>,
    parts: &Parts,
    outcome: Outcome,
) -> Outcome {
    let earlier = user.status.clone().unwrap_or_default();
    let known = with_revocation(ctx, user);
    let status = interrupted(owner, parts, &known, user.metadata.generation, ctx.now());
    match report(ctx, &UserRef::of(&user.metadata), &earlier, &status).await {
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

/// Nothing to report: the next reconcile may.
pub fn retry_later(ctx: &Context, uid: &str, error: &Error) -> Outcome {
    debug!(%error, uid, "trying again");
    Outcome::Failed(pause(ctx, uid))
}

/// When to reconcile again where only somebody's action helps: it is not announced where it is taken in IAM.
pub fn pause_blocked(ctx: &Context, uid: &str) -> Timestamp {
    ctx.state.block(uid);
    let longest = longest_pause(ctx.state.blocked_count());
    later(ctx.now(), backoff_within(uid, failures(ctx, uid).saturating_add(1), longest))
}

/// When to reconcile again after one more failure.
pub fn pause(ctx: &Context, uid: &str) -> Timestamp {
    later(ctx.now(), backoff(uid, failures(ctx, uid).saturating_add(1)))
}

/// How many reconciles of the user in a row have ended short of done, before this one.
pub fn failures(ctx: &Context, uid: &str) -> u32 {
    ctx.state.with(uid, |known| known.failures)
}
