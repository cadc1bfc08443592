//! One reconcile of one S3AccessUser: which account and class it is in, and what is to become of it.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use kube::ResourceExt;
use tracing::field::Empty;
use tracing::{Instrument, debug, info_span};

use super::context::{Context, Pass};
use super::curtail::{Extent, curtail};
use super::error::Error;
use super::observe::made_elsewhere;
use super::outcome::{Outcome, QUIET_FAILURES, abandon, fail, failures, panicked, refuse, release, retry_later};
use super::panics::contained;
use super::queue::Key;
use super::report::{announce, restore_finalizer};
use super::watch::cached::Opened;
use crate::api::{FINALIZER, Reason, S3AccessUser, annotations};
use crate::aws::{Session, at_priority};
use crate::core::curtail::Course;
use crate::core::desired::{Desired, Owner, is_true};
use crate::core::ends::unused;
use crate::core::iam::Account;
use crate::core::plan::Part;
use crate::core::priority::Priority;
use crate::core::reads::known::Known;
use crate::core::refusal::Refusal;
use crate::core::rotation::later;
use crate::core::schedule::next_resync;
use crate::traces::TARGET;

/// Requeue delay for a user whose S3-compatible system lacks something it needs: by then the system has been probed again.
const SYSTEM_AGAIN: SignedDuration = SignedDuration::from_mins(15);

/// Which reconcile it is.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// Of whom.
    pub key: &'a Key,
    /// How urgent it and its calls are.
    pub priority: Priority,
    /// How long it has waited for its slot.
    pub waited: Duration,
}

/// Reconciles a user. It never fails: what goes wrong is reported on the user itself, and tried again.
pub async fn reconcile(ctx: &Context, found: Opened, run: Run<'_>) -> Outcome {
    let Run { key, priority, waited } = run;
    ctx.state.begun(key.uid());
    let span = info_span!(
        target: TARGET, "reconcile", namespace = key.namespace(), name = key.name(), uid = key.uid(),
        priority = priority.as_str(), ?waited, result = Empty
    );
    let user = found.user.clone();
    let pass = Box::pin(at_priority(priority, as_it_is(ctx, found)).instrument(span.clone()));
    // Here, since the object is at hand to tell of it; the worker contains whatever is around this.
    let outcome = match contained(&ctx.metrics, pass).await {
        Some(outcome) => outcome,
        None => panicked(ctx, &user).await,
    };
    span.record("result", outcome.label());
    if !matches!(outcome, Outcome::Settled(_) | Outcome::Deferred(_)) {
        ctx.state.change(key.uid(), Known::waits);
    }
    ctx.state.ended(key.uid(), matches!(outcome, Outcome::Failed(_)));
    if outcome == Outcome::Deleted {
        ctx.state.forget(key.uid());
    }
    outcome
}

/// Reconciles the user as the watch has it, or as this process knows it to be since.
async fn as_it_is(ctx: &Context, found: Opened) -> Outcome {
    let newer = last_written(ctx, &found.user);
    begin(ctx, newer.as_ref().unwrap_or(&found.user), found.invalid).await
}

/// Read your writes: the CR with what this process has written to it since the watch's copy was made.
fn last_written(ctx: &Context, user: &S3AccessUser) -> Option<S3AccessUser> {
    let seen: u64 = user.resource_version()?.parse().ok()?;
    let (written, status) = *ctx.state.with(&user.uid()?, |known| known.last_written.clone())?;
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

/// Finds out in which account and class the user is, and what is to become of it.
async fn begin(ctx: &Context, user: &S3AccessUser, invalid: Option<String>) -> Outcome {
    let deleting = user.metadata.deletion_timestamp.is_some();
    if deleting && !user.is_finalized() {
        return Outcome::Deleted;
    }
    let resolved = match ctx.classes.of(user).await {
        Err(Error::NotOurs) => {
            return Outcome::Refused(next_resync(&user.uid().unwrap_or_default(), ctx.now(), ctx.resync_interval));
        }
        resolved => resolved,
    };
    let (mut user, unrestored) = restore_finalizer(ctx, user).await;
    let mut resolved = match resolved {
        Ok(resolved) => resolved,
        Err(error) => return without_account(ctx, &user, &error).await,
    };
    let account = match resolved.session.account().await {
        Ok(account) => account.clone(),
        Err(error) => return without_account(ctx, &user, &error.into()).await,
    };
    let asked = user.clone();
    resolved.class.bound_secret(&mut user);
    let mut owner = Owner::of(&user, &account, &ctx.cluster, &resolved.class);
    if let Some(there) = made_elsewhere(&user, &owner).filter(|_| deleting)
        && let Some((session, account)) = session_in(ctx, &there)
    {
        owner = Owner::of(&user, &account, &ctx.cluster, &resolved.class);
        resolved.session = session;
    }
    let desired = match invalid {
        Some(message) => Err(Refusal { reason: Reason::InvalidSpec, message }),
        // What of the Secret is left out is told, and so are its names.
        None => {
            resolved.desired(&asked, &account, &ctx.cluster).map(|desired| Desired { owner: owner.clone(), ..desired })
        }
    };
    let pass = Pass { ctx, resolved: &resolved, user: &user, owner: &owner, desired: None };
    let outcome = match desired {
        _ if deleting => pass.remove().await,
        _ if let Some(error) = unrestored => pass.without_finalizer(&error).await,
        desired if is_true(&user, annotations::PAUSED) => {
            pass.hindered(paused(), desired.ok().and_then(|desired| desired.violation)).await
        }
        Err(refusal) => {
            let again_at = refusal.reason.is_of_the_system().then(|| later(ctx.now(), SYSTEM_AGAIN));
            pass.hindered(refusal, None).await.by(again_at)
        }
        Ok(desired) => Pass { desired: Some(&desired), ..pass }.carry_out().await,
    };
    debug!(name = user.name_any(), namespace = user.namespace(), ?outcome, "reconciled");
    if !matches!(outcome, Outcome::Failed(_)) {
        ctx.state.change(pass.uid(), |known| known.enforced(resolved.revision));
    }
    outcome
}

/// The session of an account that some class or the operator has, if its credentials were used before.
fn session_in(ctx: &Context, account: &str) -> Option<(Arc<Session>, Account)> {
    ctx.classes.sessions().into_iter().find_map(|session| {
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
        let told = refuse(ctx, user, None, Part::User, paused()).await;
        // What is to be taken away waits for the account, and not for the next resync.
        return if user.is_finalized() { retry_later(ctx, &user.uid().unwrap_or_default(), error) } else { told };
    }
    match fail(ctx, user, None, error, Part::User).await {
        Outcome::Failed(_) if may_abandon(ctx, user) => abandon(ctx, user).await,
        outcome => outcome,
    }
}

/// Whoever keeps the key of an abandoned user keeps its access for ever, so nobody may have that for the asking.
fn may_abandon(ctx: &Context, user: &S3AccessUser) -> bool {
    let asked = user.metadata.deletion_timestamp.is_some() && is_true(user, annotations::ABANDON);
    asked && failures(ctx, &user.uid().unwrap_or_default()) >= QUIET_FAILURES
}

fn paused() -> Refusal {
    let message = format!("paused: remove the annotation {} to go on", annotations::PAUSED);
    Refusal { reason: Reason::Paused, message }
}

impl Pass<'_> {
    /// Deletion, which neither `paused` nor a wrong spec holds up; once it has failed again and again, somebody may give it
    /// up.
    async fn remove(self) -> Outcome {
        let Self { ctx, user, owner, .. } = self;
        let now = ctx.now();
        ctx.state.change(self.uid(), |known| known.deleting(now));
        let outcome = match curtail(self, Extent::All).await {
            Ok(possession) => self.converge(possession).await,
            Err(error) => fail(ctx, user, Some(owner), &error, Part::AccessKey).await,
        };
        match outcome {
            Outcome::Failed(_) if may_abandon(ctx, user) => abandon(ctx, user).await,
            outcome => outcome,
        }
    }

    /// The CR's finalizer could not be put back: nothing is made for it, and what its class takes away is taken all the same.
    async fn without_finalizer(self, error: &Error) -> Outcome {
        let taken = curtail(self, Extent::Hindered).await;
        retry_later(self.ctx, self.uid(), taken.as_ref().err().unwrap_or(error))
    }

    /// The spec is carried out; first, what a changed class takes away is, and what is revoked.
    async fn carry_out(self) -> Outcome {
        let Self { ctx, resolved, user, owner, .. } = self;
        let (may_exceed, revokes) = (self.may_exceed(), self.revokes());
        let unused = user.is_finalized() && ctx.state.with(self.uid(), |known| known.unused_suspected);
        if may_exceed || revokes || unused {
            let extent = if may_exceed { Extent::All } else { Extent::Keys };
            let (taken, revoked) = match curtail(self, extent).await {
                Ok(found) => found.map_or((false, false), |found| (found.taken, found.revoked)),
                Err(error) => return fail(ctx, user, Some(owner), &error, Part::AccessKey).await,
            };
            if unused && taken {
                ctx.state.suspect_drift(self.uid());
            }
            if revoked {
                // Everybody's revocations come before anybody's new key.
                return match announce(ctx, user, owner, Reason::Revoked).await {
                    Ok(()) => Outcome::Waiting(ctx.now()),
                    Err(error) => retry_later(ctx, self.uid(), &error),
                };
            }
        }
        // From here on nothing is beyond the class, whatever becomes of the rest: one whose making fails for ever must not
        // keep the class from being in force.
        if may_exceed || !user.is_finalized() {
            ctx.state.change(self.uid(), |known| known.enforced(resolved.revision));
        }
        let outcome = self.converge(None).await;
        self.end_in_time(outcome).await
    }

    /// Its keys are to be revoked, and something was made for it.
    fn revokes(self) -> bool {
        self.user.is_finalized() && self.ctx.state.with(self.uid(), |known| known.revokes(self.user).is_some())
    }

    /// Something was made for it, and nobody has held that against the class as it is now.
    fn may_exceed(self) -> bool {
        let Self { ctx, resolved, user, .. } = self;
        let is_enforced = ctx.state.with(self.uid(), |known| {
            known.enforced_revision == Some(resolved.revision) || (known.is_new() && resolved.enforced)
        });
        resolved.class.name().is_some() && user.is_finalized() && !is_enforced
    }

    /// Whatever keeps the plan from replacing a key, or from putting it out of use: it ends in time.
    async fn end_in_time(self, outcome: Outcome) -> Outcome {
        let Self { ctx, user, .. } = self;
        let stuck = matches!(outcome, Outcome::Failed(_) | Outcome::Waiting(_) | Outcome::Refused(_));
        if !stuck || !user.is_finalized() || !self.has_an_end() {
            return outcome;
        }
        let (failures, ends_at) = ctx.state.with(self.uid(), |known| (known.failures, known.ends_at));
        // A hiccup puts no key out of use for its age alone: the class may bound that since a moment ago.
        let hiccup = matches!(outcome, Outcome::Failed(_)) && failures < QUIET_FAILURES;
        let extent = if hiccup { Extent::Keys } else { Extent::Hindered };
        if ends_at.is_none_or(|at| at <= ctx.now())
            && let Err(error) = curtail(self, extent).await
        {
            return retry_later(ctx, self.uid(), &error);
        }
        outcome.by(ctx.state.with(self.uid(), |known| known.ends_at).filter(|at| *at > ctx.now()))
    }

    /// Its keys may not work for ever, by the class or by its own spec.
    fn has_an_end(self) -> bool {
        self.resolved.class.max_interval().is_some() || self.bounds(Course::Refused).expiry().is_some()
    }

    /// The spec is not carried out, and what was made for an earlier one stays; but only within the class, or a spec that
    /// is paused or wrong would be the way to keep what the class takes back.
    async fn hindered(self, obstacle: Refusal, violation: Option<String>) -> Outcome {
        let Self { ctx, resolved, user, owner, .. } = self;
        let class = &resolved.class;
        let (mut refusal, mut ends_at) = (obstacle, None);
        let replaced = user.status.as_ref().is_some_and(|status| status.retiring_key.is_some());
        if ((class.name().is_some() || self.has_an_end() || replaced) && user.is_finalized()) || self.revokes() {
            let found = match curtail(self, Extent::Refused).await {
                Ok(found) => found,
                Err(error) => return fail(ctx, user, Some(owner), &error, Part::User).await,
            };
            ends_at = ctx.state.with(self.uid(), |known| known.ends_at);
            let taken = found.as_ref().is_some_and(|found| found.taken);
            let unused = || unused::Terms::of(user, class).inactive(&found.as_ref()?.found.tags);
            let over =
                self.bounds(Course::Refused).expiry().and_then(|expiry| expiry.inactive(ctx.now())).or_else(unused);
            let expulsions = class.expulsions(&user.spec);
            let left = ["what was granted before: it is taken back, so correct the spec".to_owned()];
            let beyond = (!expulsions.is_empty()).then(|| class.told(&expulsions)).or(violation);
            refusal = match (beyond.or_else(|| (taken && over.is_none()).then(|| class.told(&left))), over) {
                (Some(message), _) => Refusal { reason: Reason::NotPermittedByClass, message },
                (None, Some(over)) => {
                    let message =
                        format!("no access key works, because {}; besides, {}", over.message, refusal.message);
                    Refusal { reason: over.reason, message }
                }
                (None, None) => refusal,
            };
        }
        refuse(ctx, user, Some(owner), part_of(refusal.reason), refusal).await.by(ends_at)
    }
}

fn part_of(reason: Reason) -> Part {
    match reason {
        Reason::InvalidPolicy | Reason::PolicyTooLarge | Reason::PartitionMismatch | Reason::NotPermittedByClass => {
            Part::Policy
        }
        Reason::Expired | Reason::Unused => Part::AccessKey,
        _ => Part::User,
    }
}
