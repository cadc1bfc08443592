//! One look at one S3AccessUser: observe, then plan and apply until nothing is left to do, then report.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::Instant;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::core::error_boundary::InvalidObject;
use tracing::{debug, info, warn};

use super::apply::apply;
use super::context::Context;
use super::error::Error;
use super::memory::Settled;
use super::observe::{self, Held, SecretsSeen};
use super::report::{self, report};
use super::schedule::{backoff, next_turn};
use crate::api::{FINALIZER, Reason, S3AccessUser, S3AccessUserStatus, annotations};
use crate::core::conditions::{interrupted, says_settled, status};
use crate::core::desired::{Desired, Owner, is_true};
use crate::core::observed::{Effect, Observed, SecretState, UserState};
use crate::core::plan::{Action, Part, Parts, Plan, Progress, plan, teardown};
use crate::core::rotation::later;
use crate::kubernetes::UserRef;

/// Enough for the longest chain of dependent steps; a plan that does not settle by then is looked at afresh.
const ROUNDS: usize = 16;

/// So many failures in a row to look at a user that is known to be well are nobody's business: an API server's hiccup
/// must not turn ten thousand users not Ready.
const QUIET_FAILURES: u32 = 2;

/// What a look ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is as it should be; look again at that time.
    Settled(Timestamp),
    /// Nothing had changed since; look again at that time.
    Deferred(Timestamp),
    /// Something comes by itself; look again at that time.
    Waiting(Timestamp),
    /// Something went wrong or stands in the way; look again at that time.
    Failed(Timestamp),
    /// Only a change of the CR brings news.
    Refused(Timestamp),
    /// The CR is let go.
    Deleted,
}

impl Outcome {
    fn label(self) -> &'static str {
        match self {
            Self::Settled(_) => "settled",
            Self::Deferred(_) => "deferred",
            Self::Waiting(_) => "waiting",
            Self::Failed(_) => "failed",
            Self::Refused(_) => "refused",
            Self::Deleted => "deleted",
        }
    }

    /// When to look again.
    pub fn due_at(self) -> Option<Timestamp> {
        match self {
            Self::Settled(at) | Self::Deferred(at) | Self::Waiting(at) | Self::Failed(at) | Self::Refused(at) => {
                Some(at)
            }
            Self::Deleted => None,
        }
    }
}

/// Looks at a user. It never fails: what goes wrong is reported on the user itself, and tried again.
pub async fn reconcile(ctx: &Context, user: &S3AccessUser) -> Outcome {
    let started = Instant::now();
    ctx.metrics.reconcile_started();
    let uid = user.uid().unwrap_or_default();
    let outcome = match newer_copy(ctx, user) {
        Some(newer) => look(ctx, &newer).await,
        None => look(ctx, user).await,
    };
    ctx.memory.update(&uid, |remembered| match outcome {
        Outcome::Failed(_) => {
            remembered.failures = remembered.failures.saturating_add(1);
            // What was settled before is looked at again, or its status would tell of the failure until the next turn.
            remembered.settled = None;
        }
        _ => remembered.failures = 0,
    });
    if outcome == Outcome::Deleted {
        ctx.memory.forget(&uid);
    }
    ctx.metrics.reconcile_ended(outcome.label(), started.elapsed());
    outcome
}

/// The CR with what this process has written to it since the watch's copy was made.
fn newer_copy(ctx: &Context, user: &S3AccessUser) -> Option<S3AccessUser> {
    let seen: u64 = user.resource_version()?.parse().ok()?;
    let (written, status) = ctx.memory.recall(&user.uid()?)?.reported?;
    (written > seen).then(|| {
        let mut newer = user.clone();
        newer.metadata.resource_version = Some(written.to_string());
        newer.status = Some(status);
        newer
    })
}

/// Reports a CR that does not fit the schema: an older CRD let it in. It harms no other, and can still be deleted.
pub async fn reconcile_invalid(ctx: &Context, invalid: &InvalidObject) -> Outcome {
    let reference = UserRef::of(&invalid.metadata);
    let now = ctx.now();
    let mut parts = Parts::pending();
    let message = format!(
        "the object does not fit this version's schema: {}: correct it (to delete it without cleaning up in IAM, remove the finalizer {FINALIZER})",
        invalid.error
    );
    parts.set(Part::User, Progress::Blocked(Reason::InvalidSpec, message));
    let earlier = S3AccessUserStatus::default();
    let report_it = interrupted(None, &parts, &earlier, invalid.metadata.generation, now);
    // What the status said before cannot be read either, so the same verdict is written once in the life of a process.
    let news =
        ctx.memory.recall(&reference.uid).is_none_or(|remembered| remembered.invalid.as_ref() != Some(&invalid.error));
    if news {
        match report(ctx, &reference, &earlier, &report_it).await {
            Ok(()) => ctx.memory.update(&reference.uid, |remembered| remembered.invalid = Some(invalid.error.clone())),
            Err(error) => return retry_later(ctx, &reference.uid, &error),
        }
    }
    Outcome::Refused(next_turn(&reference.uid, now, ctx.resync_interval))
}

async fn look(ctx: &Context, user: &S3AccessUser) -> Outcome {
    let now = ctx.now();
    let uid = user.uid().unwrap_or_default();
    let deleting = user.metadata.deletion_timestamp.is_some();
    if deleting && !user.is_finalized() {
        return Outcome::Deleted;
    }
    if is_true(user, annotations::PAUSED) {
        let message = format!("paused: remove the annotation {} to go on", annotations::PAUSED);
        return refuse(ctx, user, None, Part::User, Reason::Paused, message).await;
    }
    if deleting && is_true(user, annotations::ABANDON) {
        return abandon(ctx, user).await;
    }
    let account = match ctx.session.account().await {
        Ok(account) => account,
        Err(error) => return fail(ctx, user, None, &error.into(), Part::User).await,
    };
    let owner = Owner::of(user, account, &ctx.cluster);
    if deleting {
        return pass(ctx, user, &owner, None).await;
    }
    let desired = match Desired::of(user, account, &ctx.cluster).and_then(|desired| ctx.session.provider.check(desired))
    {
        Ok(desired) => desired,
        Err(refusal) => {
            return refuse(ctx, user, Some(&owner), part_of(refusal.reason), refusal.reason, refusal.message).await;
        }
    };
    let outcome = pass(ctx, user, &owner, Some(&desired)).await;
    debug!(user = %owner.identity.name, namespace = %owner.identity.namespace, uid, ?outcome, since = %now, "looked");
    outcome
}

/// Observes, then plans and applies to a fixed point.
async fn pass(ctx: &Context, user: &S3AccessUser, owner: &Owner, desired: Option<&Desired>) -> Outcome {
    let uid = &owner.identity.uid;
    let recalled = ctx.memory.recall(uid);
    let mut held = Held::default();
    let mut thorough = false;
    loop {
        let remembered = ctx.memory.recall(uid).unwrap_or_default();
        if let Some((minted, half)) = &remembered.minted {
            held.halves.insert(minted.id.clone(), half.clone());
        }
        let seen = match observe::secrets(ctx, user, owner, &mut held).await {
            Ok(seen) => seen,
            Err(error) => return fail(ctx, user, Some(owner), &error, Part::Secret).await,
        };
        if let Some(desired) = desired
            && !thorough
            && let Some(due_at) =
                quiet_until(ctx, user, desired, &seen, recalled.as_ref().map(|recalled| recalled.settled.as_ref()))
        {
            if let (None, SecretState::Ours(secret)) = (&recalled, &seen.state) {
                let settled = Settled { asked: asked(user), secret_version: secret.resource_version.clone(), due_at };
                ctx.memory.update(uid, |remembered| remembered.settled = Some(settled));
            }
            return Outcome::Deferred(due_at);
        }
        let mut observed = match observe::everything(ctx, user, owner, desired, seen, &remembered, thorough).await {
            Ok(observed) => observed,
            Err(error) => return fail(ctx, user, Some(owner), &error, Part::User).await,
        };
        observed.finalizer |= held.finalizer_added;
        if observed.minted.is_none() {
            ctx.memory.update(uid, |remembered| remembered.minted = None);
        }
        match drive(ctx, user, owner, desired, &mut observed, &mut held).await {
            Ok(plan) => return conclude(ctx, user, owner, desired, &observed, plan).await,
            // The first write of a CR that was never acted upon may find what a lost answer left: look, then go on.
            Err(stopped) if stopped.error.is_stale_view() && !thorough => {
                debug!(error = %stopped.error, "the world is not as it was seen; looking again");
                thorough = true;
            }
            Err(stopped) => {
                remember_probes(ctx, uid, &observed);
                return stop(ctx, user, owner, desired, &observed, *stopped).await;
            }
        }
    }
}

/// Where nothing has changed since the last look that ended with everything done, the time of the next one.
///
/// At first sight, after a restart, the status stands in for the memory. That decides nothing but when to look: so a
/// restart asks IAM nothing, and each user waits for its turn in the sweep. What must not wait is read live: the Secret.
fn quiet_until(
    ctx: &Context,
    user: &S3AccessUser,
    desired: &Desired,
    seen: &SecretsSeen,
    settled: Option<Option<&Settled>>,
) -> Option<Timestamp> {
    let SecretState::Ours(secret) = &seen.state else {
        return None;
    };
    if !secret.up_to_date || !seen.renamed.is_empty() {
        return None;
    }
    let now = ctx.now();
    match settled {
        Some(Some(settled)) => {
            let same = settled.asked == asked(user) && settled.secret_version == secret.resource_version;
            (same && settled.due_at > now).then_some(settled.due_at)
        }
        Some(None) => None,
        None => {
            let status = user.status.as_ref()?;
            if !says_settled(status, user.metadata.generation) || secret.previous.is_some() || !desired.active {
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

/// What the CR asks for: its spec and its annotations.
fn asked(user: &S3AccessUser) -> u64 {
    let mut hasher = DefaultHasher::new();
    user.metadata.generation.hash(&mut hasher);
    user.annotations().hash(&mut hasher);
    hasher.finish()
}

struct Stopped {
    error: Error,
    action: Action,
    plan: Plan,
}

async fn drive(
    ctx: &Context,
    user: &S3AccessUser,
    owner: &Owner,
    desired: Option<&Desired>,
    observed: &mut Observed,
    held: &mut Held,
) -> Result<Plan, Box<Stopped>> {
    let settled_before = observed.announced_settled;
    for _ in 0..ROUNDS {
        let next = decide(ctx, owner, desired, observed);
        if next.actions.is_empty() {
            return Ok(next);
        }
        for action in next.actions.clone() {
            let permitted = if action.writes() { ctx.may_write() } else { Ok(()) };
            let applied = match permitted {
                Ok(()) => apply(ctx, user, owner, observed, held, &action).await,
                Err(error) => Err(error),
            };
            let effect = match applied {
                Ok(effect) => effect,
                Err(error) => {
                    return Err(Box::new(Stopped { error, action, plan: next }));
                }
            };
            if action.writes() {
                info!(namespace = %owner.identity.namespace, name = %owner.identity.name, "{action}");
                if settled_before && !matches!(action, Action::Announce(_)) {
                    ctx.metrics.drift_corrected(action.part().condition().as_str());
                }
            }
            observed.record(owner, &action, &effect, ctx.now());
            held.finalizer_added |= action == Action::AddFinalizer;
            if action == Action::RemoveFinalizer {
                return Ok(next);
            }
            // What was planned to follow rested on the deletion.
            if effect == Effect::DeleteConflict {
                break;
            }
        }
    }
    Ok(decide(ctx, owner, desired, observed))
}

fn decide(ctx: &Context, owner: &Owner, desired: Option<&Desired>, observed: &Observed) -> Plan {
    match desired {
        Some(desired) => plan(desired, observed, ctx.now(), &ctx.waits),
        None => teardown(owner, observed, ctx.now(), &ctx.waits),
    }
}

fn remember_probes(ctx: &Context, uid: &str, observed: &Observed) {
    ctx.memory.update(uid, |remembered| remembered.probes = observed.probes.clone());
}

async fn conclude(
    ctx: &Context,
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
        Some(desired) => status(desired, observed, &plan, &earlier, generation, now),
        None => interrupted(Some(owner), &plan.parts, &earlier, generation, now),
    };
    if let Err(error) = report(ctx, &UserRef::of(&user.metadata), &earlier, &report_it).await {
        return retry_later(ctx, uid, &error);
    }
    let parts = Part::ALL.map(|part| plan.parts.of(part));
    if parts.iter().any(|part| matches!(part, Progress::Blocked(reason, _) if *reason != Reason::Suspended)) {
        return Outcome::Failed(pause(ctx, uid));
    }
    if parts.iter().any(|part| matches!(part, Progress::Waiting(..) | Progress::Pending))
        && desired.is_none_or(|desired| desired.active)
    {
        return Outcome::Waiting(plan.wake_at.unwrap_or_else(|| pause(ctx, uid)));
    }
    let turn = next_turn(uid, now, ctx.resync_interval);
    let due_at = plan.wake_at.map_or(turn, |wake_at| wake_at.min(turn)).max(now);
    if let (Some(secret), UserState::Present(user_seen)) = (observed.our_secret(), &observed.user) {
        let settled = Settled { asked: asked(user), secret_version: secret.resource_version.clone(), due_at };
        ctx.memory.update(uid, |remembered| remembered.settled = Some(settled));
        let key = secret.key.as_ref().and_then(|held| user_seen.keys.iter().find(|key| key.id == held.id));
        if let Some(age) = key.and_then(|key| now.duration_since(key.created_at).try_into().ok()) {
            ctx.metrics.key_age(age);
        }
    }
    Outcome::Settled(due_at)
}

/// An action failed: say so on the part that it was about, keep what is known of the others, try again later.
async fn stop(
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
        error => matches!(error, Error::NotLeading),
    };
    if yields {
        return retry_later(ctx, &owner.identity.uid, &error);
    }
    error.failure(action.part()).mark(&mut plan.parts);
    let earlier = user.status.clone().unwrap_or_default();
    let (generation, now) = (user.metadata.generation, ctx.now());
    let report_it = match desired {
        Some(desired) if observed.user().is_some() => status(desired, observed, &plan, &earlier, generation, now),
        _ => interrupted(Some(owner), &plan.parts, &earlier, generation, now),
    };
    if let Err(error) = report(ctx, &UserRef::of(&user.metadata), &earlier, &report_it).await {
        return retry_later(ctx, &owner.identity.uid, &error);
    }
    Outcome::Failed(pause(ctx, &owner.identity.uid))
}

/// Something could not even be read.
async fn fail(ctx: &Context, user: &S3AccessUser, owner: Option<&Owner>, error: &Error, part: Part) -> Outcome {
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
async fn refuse(
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

/// Ends a look that did not come to a plan: the status keeps what was known, and the conditions say why.
async fn interrupt(
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
async fn abandon(ctx: &Context, user: &S3AccessUser) -> Outcome {
    let released = match ctx.may_write() {
        Ok(()) => ctx.kubernetes.set_finalizers(user, &user.other_finalizers()).await.map_err(Error::from),
        Err(error) => Err(error),
    };
    match released {
        Ok(_) => {
            report::abandoned(ctx, user).await;
            Outcome::Deleted
        }
        Err(error) => retry_later(ctx, &user.uid().unwrap_or_default(), &error),
    }
}

fn retry_later(ctx: &Context, uid: &str, error: &Error) -> Outcome {
    debug!(%error, uid, "trying again");
    Outcome::Failed(pause(ctx, uid))
}

fn pause(ctx: &Context, uid: &str) -> Timestamp {
    let failures = ctx.memory.recall(uid).map_or(0, |remembered| remembered.failures);
    later(ctx.now(), backoff(uid, failures.saturating_add(1)))
}

fn part_of(reason: Reason) -> Part {
    match reason {
        Reason::InvalidPolicy | Reason::PolicyTooLarge | Reason::PartitionMismatch => Part::Policy,
        _ => Part::User,
    }
}
