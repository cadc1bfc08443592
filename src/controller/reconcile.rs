//! One look at one S3AccessUser: observe, then plan and apply until nothing is left to do, then report.

use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use tracing::field::Empty;
use tracing::{Instrument, debug, info, info_span};

use super::apply::apply;
use super::conclusion::{Stopped, conclude, remember_probes, settle, stop};
use super::context::Context;
use super::curtail::curtail;
use super::ending::{abandon, fail, panicked, refuse, release, retry_later};
use super::error::Error;
use super::glance::{depth, glance};
use super::kept::{Kept, Opened};
use super::memory::Settled;
use super::observe::{self, Depth, Held, Possession, Seen};
use super::outcome::Outcome;
use super::panics::contained;
use super::place::Place;
use super::quiet::{asked, asked_but_rotation, quiet_until};
use super::report::hold;
use super::schedule::next_turn;
use super::urgency::newest;
use super::vigil::{self, Vigil};
use super::waiting::{Called, Caller};
use crate::api::{FINALIZER, Reason, S3AccessUser, annotations};
use crate::aws::{Session, at_priority};
use crate::core::curtail::first_end;
use crate::core::desired::{Desired, Owner, is_true};
use crate::core::iam::Account;
use crate::core::observed::{Observed, SecretState};
use crate::core::plan::Effect;
use crate::core::plan::{Action, Part, Plan, Progress, plan, teardown};
use crate::core::refusal::Refusal;
use crate::traces::TARGET;

/// Enough for the longest chain of dependent steps; a plan that does not settle by then is looked at afresh.
const ROUNDS: usize = 16;

/// So many failures in a row to look at a user that is known to be well are nobody's business: an API server's hiccup
/// must not turn ten thousand users not Ready.
pub const QUIET_FAILURES: u32 = 2;

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
        Some(found) => {
            let user = found.user.clone();
            let look = Box::pin(at_priority(priority, look_as_it_is(ctx, found)).instrument(span.clone()));
            match contained(&ctx.metrics, look).await {
                Some(outcome) => outcome,
                None => panicked(ctx, &user).await,
            }
        }
        None => Outcome::Deleted,
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
async fn look_as_it_is(ctx: &Context, found: Opened) -> Outcome {
    let newer = newer_copy(ctx, &found.user);
    look(ctx, newer.as_ref().unwrap_or(&found.user), found.invalid).await
}

/// The CR with what this process has written to it since the watch's copy was made.
fn newer_copy(ctx: &Context, user: &S3AccessUser) -> Option<S3AccessUser> {
    let seen: u64 = user.resource_version()?.parse().ok()?;
    let (written, status) = *ctx.memory.recall(&user.uid()?)?.reported?;
    (written > seen).then(|| {
        let mut newer = user.clone();
        newer.metadata.resource_version = Some(written.to_string());
        newer.status = Some(status);
        // The finalizer came before anything was made, and so before a status that tells of it.
        if newer.was_acted_upon() && !newer.is_finalized() && newer.metadata.deletion_timestamp.is_none() {
            newer.finalizers_mut().push(FINALIZER.to_owned());
        }
        newer
    })
}

/// What stands between a spec and its being carried out.
enum Obstacle {
    Paused,
    Refusal(Refusal),
}

async fn look(ctx: &Context, user: &S3AccessUser, invalid: Option<String>) -> Outcome {
    let deleting = user.metadata.deletion_timestamp.is_some();
    if deleting && !user.is_finalized() {
        return Outcome::Deleted;
    }
    let place = match ctx.places.of(user).await {
        Err(Error::NotOurs) => {
            return Outcome::Refused(next_turn(&user.uid().unwrap_or_default(), ctx.now(), ctx.resync_interval));
        }
        place => place,
    };
    let (mut user, unheld) = hold(ctx, user).await;
    let mut place = match place {
        Ok(place) => place,
        Err(error) => return without_account(ctx, &user, &error).await,
    };
    let account = match place.session.account().await {
        Ok(account) => account.clone(),
        Err(error) => return without_account(ctx, &user, &error.into()).await,
    };
    let asked = user.clone();
    place.class.bound_secret(&mut user);
    let mut owner = Owner::of(&user, &account, &ctx.cluster, &place.class);
    if let Some(there) = observe::made_elsewhere(&user, &owner).filter(|_| deleting)
        && let Some((session, account)) = session_in(ctx, &there)
    {
        owner = Owner::of(&user, &account, &ctx.cluster, &place.class);
        place.session = session;
    }
    let desired = match invalid {
        Some(message) => Err(Refusal { reason: Reason::InvalidSpec, message }),
        // What of the Secret is left out is told, and so are its names.
        None => Desired::of(&asked, &account, &ctx.cluster, &place.class)
            .map(|desired| Desired { owner: owner.clone(), ..desired })
            .and_then(|desired| place.session.provider.check(desired)),
    };
    let obstacle = match &desired {
        _ if is_true(&user, annotations::PAUSED) => Some(Obstacle::Paused),
        Ok(_) => None,
        Err(refusal) => Some(Obstacle::Refusal(refusal.clone())),
    };
    let scene = Scene { ctx, place: &place, user: &user, owner: &owner };
    let outcome = match (desired, obstacle) {
        _ if deleting => scene.remove().await,
        _ if let Some(error) = unheld => scene.unheld(&error).await,
        (desired, Some(obstacle)) => {
            let violation = desired.ok().and_then(|desired| desired.violation);
            scene.hindered(obstacle, violation).await
        }
        (Ok(desired), None) => scene.carry_out(&desired).await,
        (Err(_), None) => Outcome::Refused(next_turn(&owner.identity.uid, ctx.now(), ctx.resync_interval)),
    };
    debug!(name = user.name_any(), namespace = user.namespace(), ?outcome, "looked");
    if !matches!(outcome, Outcome::Failed(_)) {
        ctx.memory.update(&owner.identity.uid, |remembered| remembered.held_against = Some(place.revision));
    }
    outcome
}

/// The session of an account that some class or the operator has, if its credentials were used before.
fn session_in(ctx: &Context, account: &str) -> Option<(Arc<Session>, Account)> {
    ctx.places.sessions().into_iter().find_map(|session| {
        let known = session.known_account().filter(|known| known.id == account)?.clone();
        Some((session, known))
    })
}

/// Nobody can say what there is in IAM.
async fn without_account(ctx: &Context, user: &S3AccessUser, error: &Error) -> Outcome {
    let deleting = user.metadata.deletion_timestamp.is_some();
    // It came when the class was going, with a finalizer of its own making: nothing was ever made for it.
    if deleting && matches!(error, Error::ClassGoing(_)) && !user.was_acted_upon() {
        return release(ctx, user).await;
    }
    if is_true(user, annotations::PAUSED) && !deleting {
        return refuse(ctx, user, None, Part::User, Reason::Paused, paused()).await;
    }
    match fail(ctx, user, None, error, Part::User).await {
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

/// Whom a reconcile is about, and where.
struct Scene<'a> {
    ctx: &'a Context,
    place: &'a Place,
    user: &'a S3AccessUser,
    owner: &'a Owner,
}

impl Scene<'_> {
    /// Deletion, which neither `paused` nor a wrong spec holds up; once it has failed again and again, somebody may give it
    /// up.
    async fn remove(&self) -> Outcome {
        let Self { ctx, place, user, owner } = *self;
        let outcome = match curtail(ctx, place, user, owner, false).await {
            Ok(possession) => pass(ctx, place, user, owner, None, possession).await,
            Err(error) => fail(ctx, user, Some(owner), &error, Part::AccessKey).await,
        };
        match outcome {
            Outcome::Failed(_) if may_abandon(ctx, user) => abandon(ctx, user).await,
            outcome => outcome,
        }
    }

    /// The CR could not be written: nothing is made for it, and what its class takes away is taken all the same.
    async fn unheld(&self, error: &Error) -> Outcome {
        let Self { ctx, place, user, owner } = *self;
        let taken = curtail(ctx, place, user, owner, true).await;
        retry_later(ctx, &owner.identity.uid, taken.as_ref().err().unwrap_or(error))
    }

    /// The spec is carried out; first, what a changed class takes away is.
    async fn carry_out(&self, desired: &Desired) -> Outcome {
        let Self { ctx, place, user, owner } = *self;
        let may_exceed = self.may_exceed();
        if may_exceed && let Err(error) = curtail(ctx, place, user, owner, false).await {
            return fail(ctx, user, Some(owner), &error, Part::User).await;
        }
        // From here on nothing is beyond the class, whatever becomes of the rest: one whose making fails for ever must not
        // keep the class from being in force.
        if may_exceed || !user.is_finalized() {
            ctx.memory.update(&owner.identity.uid, |remembered| remembered.held_against = Some(place.revision));
        }
        let outcome = pass(ctx, place, user, owner, Some(desired), None).await;
        self.end_outlived(outcome).await
    }

    /// Whatever keeps the plan from replacing a key: it ends in time.
    async fn end_outlived(&self, outcome: Outcome) -> Outcome {
        let Self { ctx, place, user, owner } = *self;
        let stuck = matches!(outcome, Outcome::Failed(_) | Outcome::Waiting(_) | Outcome::Refused(_));
        if !stuck || !user.is_finalized() || place.class.max_interval().is_none() {
            return outcome;
        }
        let outlived_at = || ctx.memory.recall(&owner.identity.uid).and_then(|remembered| remembered.outlived_at);
        if outlived_at().is_none_or(|at| at <= ctx.now())
            && let Err(error) = curtail(ctx, place, user, owner, true).await
        {
            return retry_later(ctx, &owner.identity.uid, &error);
        }
        outcome.by(outlived_at())
    }

    /// Something was made for it, and nobody has held that against the class as it is now.
    fn may_exceed(&self) -> bool {
        let Self { ctx, place, user, owner } = *self;
        let remembered = ctx.memory.recall(&owner.identity.uid).unwrap_or_default();
        let held = remembered.held_against == Some(place.revision) || (remembered.is_new() && place.enforced);
        place.class.name().is_some() && user.is_finalized() && !held
    }

    /// The spec is not carried out, and what was made for an earlier one stays; but only within the class, or a spec that
    /// is paused or wrong would be the way to keep what the class takes back.
    async fn hindered(&self, obstacle: Obstacle, violation: Option<String>) -> Outcome {
        let Self { ctx, place, user, owner } = *self;
        let (mut beyond, mut outlived_at) = (None, None);
        if place.class.name().is_some() && user.is_finalized() {
            let taken = match curtail(ctx, place, user, owner, true).await {
                Ok(possession) => possession.is_some_and(|possession| possession.taken),
                Err(error) => return fail(ctx, user, Some(owner), &error, Part::User).await,
            };
            outlived_at = ctx.memory.recall(&owner.identity.uid).and_then(|remembered| remembered.outlived_at);
            let expulsions = place.class.expulsions(&user.spec);
            let left = ["what was granted before: it is taken back, so correct the spec".to_owned()];
            beyond = (!expulsions.is_empty()).then(|| place.class.told(&expulsions)).or(violation);
            beyond = beyond.or_else(|| taken.then(|| place.class.told(&left)));
        }
        let outcome = match obstacle {
            _ if let Some(message) = beyond => {
                refuse(ctx, user, Some(owner), Part::Policy, Reason::NotPermittedByClass, message).await
            }
            Obstacle::Paused => refuse(ctx, user, None, Part::User, Reason::Paused, paused()).await,
            Obstacle::Refusal(Refusal { reason, message }) => {
                refuse(ctx, user, Some(owner), part_of(reason), reason, message).await
            }
        };
        outcome.by(outlived_at)
    }
}

/// Observes, then plans and applies to a fixed point.
async fn pass(
    ctx: &Context,
    place: &Place,
    user: &S3AccessUser,
    owner: &Owner,
    desired: Option<&Desired>,
    mut possession: Option<Possession>,
) -> Outcome {
    let session = &place.session;
    let uid = &owner.identity.uid;
    let mut held = Held::default();
    let mut thorough = false;
    loop {
        let mut remembered = ctx.memory.recall(uid).unwrap_or_default();
        if let Some((minted, half)) = remembered.minted.as_deref() {
            held.halves.insert(minted.id.clone(), half.clone());
        }
        let mut seen = match desired {
            // A deletion needs no Secret: nothing that stands in it holds it up.
            None => possession.take().map_or_else(Seen::nothing, Seen::of),
            Some(_) => match observe::secrets(ctx, session, user, owner, &mut held).await {
                Ok(seen) => seen,
                Err(error) => return fail(ctx, user, Some(owner), &error, Part::Secret).await,
            },
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
        if let (Some(seen), Some(desired)) = (observed.user(), desired) {
            let outlived_at = first_end(desired.rotation.longest_life, &seen.tags, &seen.keys, read_at);
            ctx.memory.update(uid, |remembered| remembered.outlived_at = outlived_at);
        }
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
