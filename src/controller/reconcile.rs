//! One look at one S3AccessUser: observe, then plan and apply until nothing is left to do, then report.

use jiff::Timestamp;
use kube::ResourceExt;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::reflector::ObjectRef;
use tracing::field::Empty;
use tracing::{Instrument, debug, info, info_span};

use super::apply::apply;
use super::conclusion::{Stopped, conclude, remember_probes, settle, stop};
use super::context::Context;
use super::ending::{abandon, fail, refuse, retry_later};
use super::error::Error;
use super::glance::{depth, glance};
use super::kept::Kept;
use super::memory::Settled;
use super::observe::{self, Depth, Held};
use super::place::Place;
use super::quiet::{asked, asked_but_rotation, quiet_until};
use super::report::report;
use super::schedule::next_turn;
use super::urgency::{Newest, newest};
use super::vigil::{self, Vigil};
use super::waiting::{Called, Caller};
use crate::api::{FINALIZER, Reason, S3AccessUser, S3AccessUserStatus, annotations};
use crate::aws::{Session, at_priority};
use crate::core::conditions::interrupted;
use crate::core::desired::{Desired, Owner, Refusal, is_true};
use crate::core::names::Ownership;
use crate::core::observed::{Effect, Observed, SecretState, UserState};
use crate::core::plan::{Action, Part, Parts, Plan, Progress, plan, teardown};
use crate::kubernetes::UserRef;
use crate::traces::TARGET;

/// Enough for the longest chain of dependent steps; a plan that does not settle by then is looked at afresh.
const ROUNDS: usize = 16;

/// So many failures in a row to look at a user that is known to be well are nobody's business: an API server's hiccup
/// must not turn ten thousand users not Ready.
pub const QUIET_FAILURES: u32 = 2;

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

/// Looks at a user, in its turn. It never fails: what goes wrong is reported on the user itself, and tried again.
pub async fn reconcile(ctx: &Context, user: Box<S3AccessUser>) -> Outcome {
    let reference = ObjectRef::new(&user.name_any()).within(&user.namespace().unwrap_or_default());
    let called = Caller::new(ctx, &user).turn(ctx).await;
    reconcile_in_turn(ctx, &reference, called, Some(user)).await
}

/// The same, whose turn it is: as the watch has it now, or as it was `given` where no watch keeps it.
pub async fn reconcile_in_turn(
    ctx: &Context,
    reference: &ObjectRef<Kept>,
    called: Called,
    given: Option<Box<S3AccessUser>>,
) -> Outcome {
    let Called { uid, priority, since, turn } = called;
    ctx.memory.begin(&uid);
    let span = info_span!(
        target: TARGET, "reconcile", namespace = reference.namespace, name = reference.name, uid,
        priority = priority.as_str(), waited = ?since.elapsed(), result = Empty
    );
    let outcome = match newest(ctx, reference, &uid, given) {
        Newest::Readable(user) => {
            Box::pin(at_priority(priority, look_as_it_is(ctx, user)).instrument(span.clone())).await
        }
        Newest::Invalid(invalid) => Box::pin(reconcile_invalid(ctx, &invalid)).await,
        Newest::Gone => Outcome::Deleted,
    };
    span.record("result", outcome.label());
    drop(span);
    drop(turn);
    ctx.memory.update(&uid, |remembered| match outcome {
        Outcome::Failed(_) => {
            remembered.failures = remembered.failures.saturating_add(1);
            // What was settled before is looked at again, or its status would tell of the failure until the next turn.
            remembered.settled = None;
        }
        _ => remembered.failures = 0,
    });
    if !matches!(outcome, Outcome::Failed(_)) {
        ctx.memory.set_blocked(&uid, false);
    }
    ctx.memory.end(&uid);
    if outcome == Outcome::Deleted {
        ctx.memory.forget(&uid);
    }
    ctx.metrics.reconcile_ended(priority, outcome.label(), since.elapsed());
    outcome
}

/// Looks at the user as the watch has it, or as this process knows it to be since.
async fn look_as_it_is(ctx: &Context, user: Box<S3AccessUser>) -> Outcome {
    let newer = newer_copy(ctx, &user);
    look(ctx, newer.as_ref().unwrap_or(&user)).await
}

/// The CR with what this process has written to it since the watch's copy was made.
fn newer_copy(ctx: &Context, user: &S3AccessUser) -> Option<S3AccessUser> {
    let seen: u64 = user.resource_version()?.parse().ok()?;
    let (written, status) = *ctx.memory.recall(&user.uid()?)?.reported?;
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
    let news = ctx
        .memory
        .recall(&reference.uid)
        .is_none_or(|remembered| remembered.invalid.as_deref() != Some(invalid.error.as_str()));
    if news {
        match report(ctx, &reference, &earlier, &report_it).await {
            Ok(()) => {
                ctx.memory.update(&reference.uid, |remembered| remembered.invalid = Some(invalid.error.as_str().into()))
            }
            Err(error) => return retry_later(ctx, &reference.uid, &error),
        }
    }
    Outcome::Refused(next_turn(&reference.uid, now, ctx.resync_interval))
}

/// What stands between a spec and its being carried out.
enum Obstacle {
    Paused,
    Refusal(Refusal),
}

async fn look(ctx: &Context, user: &S3AccessUser) -> Outcome {
    let deleting = user.metadata.deletion_timestamp.is_some();
    if deleting && !user.is_finalized() {
        return Outcome::Deleted;
    }
    let place = match ctx.places.of(user).await {
        Ok(place) => place,
        Err(Error::NotOurs) => {
            return Outcome::Refused(next_turn(&user.uid().unwrap_or_default(), ctx.now(), ctx.resync_interval));
        }
        Err(error) => return without_account(ctx, user, &error).await,
    };
    let account = match place.session.account().await {
        Ok(account) => account,
        Err(error) => return without_account(ctx, user, &error.into()).await,
    };
    let owner = Owner::of(user, account, &ctx.cluster, &place.class);
    let outcome = if is_true(user, annotations::PAUSED) {
        hindered(ctx, &place, user, owner, Obstacle::Paused).await
    } else if deleting {
        remove(ctx, &place, user, &owner).await
    } else {
        let desired = Desired::of(user, account, &ctx.cluster, &place.class);
        match desired.and_then(|desired| place.session.provider.check(desired)) {
            Ok(desired) => pass(ctx, &place, user, &owner, Some(&desired)).await,
            Err(refusal) => hindered(ctx, &place, user, owner, Obstacle::Refusal(refusal)).await,
        }
    };
    debug!(name = user.name_any(), namespace = user.namespace(), ?outcome, "looked");
    if !matches!(outcome, Outcome::Failed(_)) {
        let uid = user.uid().unwrap_or_default();
        ctx.memory.update(&uid, |remembered| remembered.held_against = Some(place.revision));
    }
    outcome
}

/// Nobody can say what there is in IAM.
async fn without_account(ctx: &Context, user: &S3AccessUser, error: &Error) -> Outcome {
    if is_true(user, annotations::PAUSED) {
        return refuse(ctx, user, None, Part::User, Reason::Paused, paused()).await;
    }
    match fail(ctx, user, None, error, Part::User).await {
        Outcome::Failed(_) if may_abandon(ctx, user) => abandon(ctx, user).await,
        outcome => outcome,
    }
}

/// Deletion; once it has failed again and again, somebody may give it up.
async fn remove(ctx: &Context, place: &Place, user: &S3AccessUser, owner: &Owner) -> Outcome {
    match pass(ctx, place, user, owner, None).await {
        Outcome::Failed(_) if may_abandon(ctx, user) => abandon(ctx, user).await,
        outcome => outcome,
    }
}

/// Whoever keeps the key of an abandoned user keeps its access for ever, so nobody may have that for the asking.
fn may_abandon(ctx: &Context, user: &S3AccessUser) -> bool {
    let failures = ctx.memory.recall(&user.uid().unwrap_or_default()).map_or(0, |remembered| remembered.failures);
    user.metadata.deletion_timestamp.is_some() && is_true(user, annotations::ABANDON) && failures >= QUIET_FAILURES
}

fn paused() -> String {
    format!("paused: remove the annotation {} to go on", annotations::PAUSED)
}

/// The spec is not carried out, and what was made for an earlier one stays; but only within the class, or a spec that is
/// paused or wrong would be the way to keep what the class takes back.
async fn hindered(ctx: &Context, place: &Place, user: &S3AccessUser, owner: Owner, obstacle: Obstacle) -> Outcome {
    if place.class.name().is_some() && user.is_finalized() {
        match fits_in_place(ctx, place, user, &owner).await {
            Ok(true) => {}
            Ok(false) => {
                let none = Desired::none(user, owner.clone(), &place.class);
                return pass(ctx, place, user, &owner, Some(&none)).await;
            }
            Err(error) => return fail(ctx, user, Some(&owner), &error, Part::User).await,
        }
    }
    match obstacle {
        Obstacle::Paused => refuse(ctx, user, None, Part::User, Reason::Paused, paused()).await,
        Obstacle::Refusal(Refusal { reason, message }) => {
            refuse(ctx, user, Some(&owner), part_of(reason), reason, message).await
        }
    }
}

async fn fits_in_place(ctx: &Context, place: &Place, user: &S3AccessUser, owner: &Owner) -> Result<bool, Error> {
    let secrets = observe::secrets(ctx, &place.session, user, owner, &mut Held::default()).await?;
    let remembered = ctx.memory.recall(&owner.identity.uid).unwrap_or_default();
    let observed =
        observe::everything(&place.session, user, owner, None, secrets, &remembered, Depth::Thorough).await?;
    Ok(match &observed.user {
        UserState::Present(found) if owner.identity.ownership(&found.tags) == Ownership::Ours => {
            place.class.admits_in_place(&user.spec, &observed, found)
        }
        _ => true,
    })
}

/// Observes, then plans and applies to a fixed point.
async fn pass(ctx: &Context, place: &Place, user: &S3AccessUser, owner: &Owner, desired: Option<&Desired>) -> Outcome {
    let session = &place.session;
    let uid = &owner.identity.uid;
    let mut held = Held::default();
    let mut thorough = false;
    loop {
        let mut remembered = ctx.memory.recall(uid).unwrap_or_default();
        if let Some((minted, half)) = remembered.minted.as_deref() {
            held.halves.insert(minted.id.clone(), half.clone());
        }
        let mut seen = match observe::secrets(ctx, session, user, owner, &mut held).await {
            Ok(seen) => seen,
            Err(error) => return fail(ctx, user, Some(owner), &error, Part::Secret).await,
        };
        if let Some(desired) = desired.filter(|_| !thorough) {
            if let Some(due_at) = quiet_until(ctx, place, user, desired, &seen, &remembered) {
                if let (true, SecretState::Ours(secret)) = (remembered.is_new(), &seen.state) {
                    let settled =
                        Settled { asked: asked(user, place), secret_version: secret.resource_version.clone(), due_at };
                    let details = asked_but_rotation(user, place);
                    ctx.memory.update(uid, |remembered| {
                        (remembered.settled, remembered.details) = (Some(settled), Some(details));
                    });
                }
                return Outcome::Deferred(due_at);
            }
            match glance(ctx, place, user, desired, &mut seen, &remembered).await {
                Ok(Some((observed, plan))) => return settle(ctx, place, user, &observed, &plan),
                Ok(None) => {}
                Err(error) => return fail(ctx, user, Some(owner), &error, Part::User).await,
            }
            if let Some((observed, plan)) = vigil::keep(ctx, place, user, desired, &seen, &remembered, &mut held).await
            {
                return conclude(ctx, place, user, owner, Some(desired), &observed, plan).await;
            }
            remembered = ctx.memory.recall(uid).unwrap_or_default();
        }
        let depth = match desired {
            _ if thorough => Depth::Thorough,
            Some(desired) => depth(ctx, place, user, desired, &remembered),
            None => Depth::Usual,
        };
        let read_at = ctx.now();
        ctx.memory.update(uid, |remembered| {
            // What the sweep has seen meanwhile is cleared up only by a look at everything.
            remembered.suspect &= depth == Depth::Keys;
            (remembered.vigil, remembered.details) = (None, None);
        });
        let mut observed = match observe::everything(session, user, owner, desired, seen, &remembered, depth).await {
            Ok(observed) => observed,
            Err(error) => return fail(ctx, user, Some(owner), &error, Part::User).await,
        };
        observed.finalizer |= held.finalizer_added;
        if observed.minted.is_none() {
            ctx.memory.update(uid, |remembered| remembered.minted = None);
        }
        match drive(ctx, session, user, owner, desired, &mut observed, &mut held).await {
            Ok(plan) => {
                let vigil = desired.and_then(|desired| Vigil::of(ctx, place, user, desired, &observed, &plan, read_at));
                let synced = [Part::User, Part::Policy].iter().all(|part| *plan.parts.of(*part) == Progress::Synced);
                let details = desired.filter(|_| synced).map(|_| asked_but_rotation(user, place));
                ctx.memory.update(uid, |remembered| (remembered.vigil, remembered.details) = (vigil, details));
                return conclude(ctx, place, user, owner, desired, &observed, plan).await;
            }
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

async fn drive(
    ctx: &Context,
    session: &Session,
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
            let permitted = match &action {
                Action::CreateUser { .. } if !held.finalizer_added => confirm(ctx, user).await,
                action if action.writes() => ctx.may_write(),
                _ => Ok(()),
            };
            let applied = match permitted {
                Ok(()) => apply(ctx, session, user, owner, observed, held, &action).await,
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

/// Whether the CR is there as it was looked at: another leader may have deleted all that was made for it and let it go, and
/// nobody would remove what is made for it now. Its finalizers stay as they are; the resource version is what is asked for.
async fn confirm(ctx: &Context, user: &S3AccessUser) -> Result<(), Error> {
    ctx.may_write()?;
    ctx.kubernetes.set_finalizers(user, user.finalizers()).await?;
    Ok(())
}

fn decide(ctx: &Context, owner: &Owner, desired: Option<&Desired>, observed: &Observed) -> Plan {
    match desired {
        Some(desired) => plan(desired, observed, ctx.now(), &ctx.waits),
        None => teardown(owner, observed, ctx.now(), &ctx.waits),
    }
}

fn part_of(reason: Reason) -> Part {
    match reason {
        Reason::InvalidPolicy | Reason::PolicyTooLarge | Reason::PartitionMismatch => Part::Policy,
        _ => Part::User,
    }
}
