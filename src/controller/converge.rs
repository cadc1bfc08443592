//! The loop of a reconcile: read as little as it may, plan and apply until nothing is left to do, report. Where what was read
//! does not suffice, more is read.

use jiff::Timestamp;
use kube::ResourceExt;
use tracing::{debug, info};

use super::apply::apply;
use super::context::Pass;
use super::error::Error;
use super::observe::{self, Held, Possession, Seen, read_level};
use super::outcome::{Outcome, Stopped, conclude, defer, fail, stop, told};
use crate::api::{Reason, S3AccessUserStatus};
use crate::core::curtail::Course;
use crate::core::observed::Observed;
use crate::core::plan::{Action, Effect, Part, Plan, plan, teardown};
use crate::core::reads::known::{Known, Settled};
use crate::core::reads::next::Basis;
use crate::core::reads::{
    Current, Done, Facts, Reads, done_by_status, is_alone_by_status, needed, secret_by_status, takes_the_user,
};

/// Enough for the longest chain of dependent steps; a plan that does not settle by then is begun afresh.
const ROUNDS: usize = 16;

impl Pass<'_> {
    /// Reads as little as it may, then plans and applies to a fixed point. Where what was read does not suffice, more is
    /// read.
    pub async fn converge(self, mut possession: Option<Possession>) -> Outcome {
        let Self { ctx, user, owner, desired, .. } = self;
        let mut held = Held::default();
        let mut beyond = None;
        if let Some(until) = self.resumes_unread() {
            return defer(self, until).await;
        }
        loop {
            if let Some((minted, half)) = ctx.state.with(self.uid(), |known| known.minted.as_deref().cloned()) {
                held.halves.insert(minted.id, half);
            }
            let mut seen = match desired {
                // A deletion needs no Secret of the workload: nothing that stands in it holds it up.
                None => match observe::kept_key(self, &mut held).await {
                    Ok(kept) => {
                        let seen = possession.take().map_or_else(Seen::nothing, Seen::of);
                        Seen { renamed: kept.into_iter().collect(), ..seen }
                    }
                    Err(error) => return fail(ctx, user, Some(owner), &error, Part::Secret).await,
                },
                Some(_) => match observe::secrets(self, &mut held).await {
                    Ok(seen) => seen,
                    Err(error) => return fail(ctx, user, Some(owner), &error, Part::Secret).await,
                },
            };
            match self.with_secrets(&mut seen, &mut held, beyond).await {
                Some(outcome) => return outcome,
                // The first write of a CR that was never acted upon may find what a lost answer left: read all, then go on.
                None => beyond = Some(Reads::UserAndKeys),
            }
        }
    }

    /// The same, with what the Secrets hold; `None`: the world is not as it was read, and everything is to be read anew.
    async fn with_secrets(self, seen: &mut Seen, held: &mut Held, beyond: Option<Reads>) -> Option<Outcome> {
        let Self { ctx, user, owner, .. } = self;
        let uid = self.uid();
        let (retried, mut beyond) = (beyond.is_some(), beyond);
        loop {
            let known = ctx.state.known(uid);
            let facts = self.facts(&known, seen, held);
            let reads = needed(&facts, ctx.now(), beyond);
            if let Reads::Nothing { until } = reads {
                self.resume(facts, seen);
                return Some(defer(self, until).await);
            }
            let read_at = ctx.now();
            if reads.begins_anew() {
                ctx.state.change(uid, |known| known.reading(reads));
            }
            let keys_read_at = self.keys_read_at(reads, seen, &known, read_at);
            let mut observed = match read_level(self, reads, seen, &known).await {
                Ok(Some(observed)) => observed,
                Ok(None) => {
                    beyond = Some(reads);
                    continue;
                }
                Err(error) => return Some(fail(ctx, user, Some(owner), &error, Part::User).await),
            };
            observed.finalizer |= held.finalizer_added;
            if reads.begins_anew() {
                self.note(&observed, read_at);
            }
            if let Some(found) = observed.user().filter(|_| reads == Reads::Everything) {
                ctx.state.change(uid, |known| known.attached(&found.attached));
            }
            let driven = self.drive(reads, &mut observed, held).await;
            if let Err(Break::Stopped(stopped)) = &driven
                && !retried
                && stopped.is_by_a_stale_view(reads)
            {
                debug!(error = %stopped.error, "the world is not as it was read; reading everything");
                return None;
            }
            ctx.state.change(uid, |known| known.probed(&observed));
            match driven {
                // The status may have been edited: then it is told anew, and not on what a bulk read has shown.
                Ok(next) if reads == Reads::Keys && !self.says_nothing_new(&observed, &next) => {}
                Ok(next) => {
                    if reads.begins_anew() {
                        self.keep(&observed, &next, keys_read_at);
                    }
                    return Some(conclude(self, &observed, next, keys_read_at).await);
                }
                Err(Break::Stopped(stopped)) if !stopped.wants_more(reads) => {
                    return Some(stop(self, &observed, *stopped).await);
                }
                Err(_) => {}
            }
            seen.follow(&observed);
            beyond = Some(reads);
        }
    }

    /// After a start, until when nothing is to be done or read, the Secret neither: the watch shows it as the status tells of it.
    fn resumes_unread(self) -> Option<Timestamp> {
        let Self { ctx, user, owner, .. } = self;
        let (known, name) = (ctx.state.known(self.uid()), &owner.secret_name);
        if !known.is_new() || ctx.kubernetes.secret_names_of(&user.metadata) != [name.as_str()] {
            return None;
        }
        let is_at = |version: &str| ctx.kubernetes.secret_is_at(&user.metadata, name, version);
        let state = secret_by_status(user, is_at, || observe::rendering(self))?;
        let seen = Seen { state, ..Seen::nothing() };
        let facts = self.facts(&known, &seen, &Held::default());
        match (facts.done, needed(&facts, ctx.now(), None)) {
            (Done::ByStatus(_), Reads::Nothing { until }) => {
                self.resume(facts, &seen);
                Some(until)
            }
            _ => None,
        }
    }

    /// When the access keys were read that a picture of that level shows.
    fn keys_read_at(self, reads: Reads, seen: &Seen, known: &Known, now: Timestamp) -> Timestamp {
        let left = match reads {
            Reads::Probe => known.left.as_ref().map(|left| left.read_at),
            Reads::User => known.keys_left(self.fingerprint(), seen.secrets()).map(|(_, read_at)| read_at),
            _ => None,
        };
        left.unwrap_or(now)
    }

    fn facts(self, known: &Known, seen: &Seen, held: &Held) -> Facts {
        let Self { ctx, resolved, user, owner, desired, .. } = self;
        let now = ctx.now();
        let by_status = desired.filter(|_| resolved.enforced);
        let current = Current {
            user,
            fingerprint: self.fingerprint(),
            secret: Some(&seen.state),
            session: seen.session.as_ref(),
            alone: seen.renamed.is_empty(),
            by_status: by_status.and_then(|desired| done_by_status(user, desired, seen.secrets())),
            resync: (ctx.resync_interval, now),
            retain: owner.retain,
            swept: ctx.coverage.covers(&owner.account, now, ctx.resync_interval),
        };
        let facts = Facts::of(known, &current);
        Facts { made: facts.made || held.finalizer_added, ..facts }
    }

    /// After a start, what status and Secret say is known from now on.
    fn resume(self, facts: Facts, seen: &Seen) {
        let fingerprint = self.fingerprint();
        if let Done::ByStatus(due_at) = facts.done
            && let Some(settled) = {
                let times = (due_at, self.ctx.now());
                Settled::by_status(fingerprint, seen.delivered(), times, is_alone_by_status(self.user))
            }
        {
            self.ctx.state.change(self.uid(), |known| known.resumed(settled, fingerprint));
        }
    }

    /// What was read says of the keys.
    fn note(self, observed: &Observed, read_at: Timestamp) {
        let state = &self.ctx.state;
        state.change(self.uid(), |known| known.observed(observed));
        if let Some(user) = observed.user().filter(|_| self.desired.is_some()) {
            state.change(self.uid(), |known| known.tagged(&user.tags));
            let ends_at = self.bounds(Course::CarriedOut).first_end(&user.tags, &user.keys, read_at);
            state.change(self.uid(), |known| known.ends_at = ends_at);
        }
    }

    /// What the next reconcile may go by.
    fn keep(self, observed: &Observed, next: &Plan, read_at: Timestamp) {
        let Self { ctx, desired, .. } = self;
        let Some(desired) = desired else { return };
        let fingerprint = self.fingerprint();
        let basis = Basis { desired, fingerprint, read_at, now: ctx.now(), waits: &ctx.waits };
        let kept = basis.kept(observed, next);
        ctx.state.change(self.uid(), |known| known.carried_out(kept));
    }

    fn says_nothing_new(self, observed: &Observed, next: &Plan) -> bool {
        let earlier = self.user.status.clone().unwrap_or_default();
        let told = told(self, observed, next, &earlier);
        // That a session was renewed is news of this very reconcile.
        S3AccessUserStatus { session_expires_at: earlier.session_expires_at.clone(), ..told } == earlier
    }

    /// Plans and applies until nothing is left to do, as far as what was read permits.
    async fn drive(self, reads: Reads, observed: &mut Observed, held: &mut Held) -> Result<Plan, Break> {
        let Self { ctx, owner, .. } = self;
        held.unproven = !reads.begins_anew();
        let mut settled_before = observed.announced_settled;
        let mut unrenewed = None;
        for _ in 0..ROUNDS {
            let next = self.decide(observed);
            if next.actions.is_empty() {
                if let Some((error, action)) = unrenewed {
                    return Err(Break::Stopped(Box::new(Stopped { error, action, plan: next })));
                }
                return if reads.suffices(&next) { Ok(next) } else { Err(Break::TooLittle) };
            }
            for action in next.actions.clone() {
                if !reads.permits(&action) {
                    return Err(Break::TooLittle);
                }
                let permitted = match &action {
                    action if takes_the_user(action) && !held.finalizer_added => self.confirm().await,
                    action if action.writes() => ctx.may_write(),
                    _ => Ok(()),
                };
                let applied = match permitted {
                    Ok(()) => apply(self, observed, held, &action).await,
                    Err(error) => Err(error),
                };
                let effect = match applied {
                    Ok(effect) => effect,
                    // It keeps nothing else from being done, and is told afterwards.
                    Err(error) if matches!(action, Action::RenewSession { .. }) && !error.is_stale_view() => {
                        unrenewed = Some((error, action.clone()));
                        Effect::NotRenewed
                    }
                    Err(error) => return Err(Break::Stopped(Box::new(Stopped { error, action, plan: next }))),
                };
                if action.writes() && effect != Effect::NotRenewed {
                    info!(namespace = %owner.identity.namespace, name = %owner.identity.name, "{action}");
                    // A rotation puts nothing right.
                    settled_before &= !matches!(action, Action::Announce(Reason::Rotating | Reason::Revoked));
                    if settled_before && action.corrects() {
                        ctx.metrics.drift_corrected(action.part().condition().as_str());
                    }
                }
                observed.record(owner, &action, &effect, ctx.now());
                held.finalizer_added |= action == Action::AddFinalizer;
                if action == Action::RemoveFinalizer {
                    return Ok(next);
                }
                if reads.is_belied_by(&effect) {
                    return Err(Break::TooLittle);
                }
                // What was planned to follow rested on the deletion.
                if effect == Effect::DeleteConflict {
                    break;
                }
            }
        }
        Ok(self.decide(observed))
    }

    fn decide(self, observed: &Observed) -> Plan {
        let Self { ctx, owner, desired, .. } = self;
        match desired {
            Some(desired) => plan(desired, observed, ctx.now(), &ctx.waits),
            None => teardown(owner, observed, ctx.now(), &ctx.waits),
        }
    }

    /// Whether the CR is there as it was read: another leader may have deleted all that was made for it and let it go, and
    /// nobody would remove what is made for it now; or another CR may have its name and its user. Its finalizers stay as they
    /// are; the resource version is what is asked for.
    async fn confirm(self) -> Result<(), Error> {
        self.ctx.may_write()?;
        self.ctx.kubernetes.set_finalizers(self.user, self.user.finalizers()).await?;
        Ok(())
    }
}

/// Why a plan was not carried out to its end.
enum Break {
    /// It asks for more than what was read permits.
    TooLittle,
    /// An action failed.
    Stopped(Box<Stopped>),
}
