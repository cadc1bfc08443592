//! Looks at a user of which nothing is awaited but that AWS accepts its new key: they come every few seconds, and go on
//! with what the first of them has read. Before anything is written, all is read anew.

use jiff::Timestamp;

use super::apply::apply;
use super::context::Context;
use super::memory::Remembered;
use super::observe::{Held, Seen, before_iam};
use super::place::Place;
use super::quiet::asked;
use crate::api::S3AccessUser;
use crate::core::desired::Desired;
use crate::core::iam::AccessKey;
use crate::core::observed::{Observed, SecretState, UserState};
use crate::core::plan::{Action, Plan, Progress, plan};
use crate::core::rotation::later;
use crate::core::sweep::as_wanted;

/// So many consistency windows: a new key is awaited for one, and its look has begun before it was made.
const GOOD_FOR: i32 = 2;

/// What was read, and what it rests upon. Thousands may wait for their keys at once, so that nothing is kept of the user
/// and its policies but that they were as the spec wants them.
#[derive(Clone, Debug)]
pub struct Vigil {
    asked: u64,
    secret_version: Option<String>,
    read_at: Timestamp,
    keys: Vec<AccessKey>,
}

impl Vigil {
    /// Keeps what a look that began at that time has read, where only the key is awaited.
    pub fn of(
        ctx: &Context,
        place: &Place,
        user: &S3AccessUser,
        desired: &Desired,
        observed: &Observed,
        next: &Plan,
        read_at: Timestamp,
    ) -> Option<Box<Self>> {
        let UserState::Present(found) = &observed.user else { return None };
        if !matches!(next.parts.key, Progress::Waiting(..)) {
            return None;
        }
        let assumed = as_wanted(desired, observed.clone(), found.keys.clone());
        let again = plan(desired, &assumed, ctx.now(), &ctx.waits);
        (again.actions == next.actions && again.parts == next.parts).then(|| {
            Box::new(Self {
                asked: asked(user, place),
                secret_version: observed.our_secret().map(|secret| secret.resource_version.clone()),
                read_at,
                keys: found.keys.clone(),
            })
        })
    }
}

/// Tries the key. Answers the picture and the plan that follows; `None` where something is to be written or has changed,
/// or the picture is old.
pub async fn keep(
    ctx: &Context,
    place: &Place,
    user: &S3AccessUser,
    desired: &Desired,
    seen: &Seen,
    remembered: &Remembered,
    held: &mut Held,
) -> Option<(Observed, Plan)> {
    let vigil = remembered.vigil.as_ref()?;
    let secret_version = match &seen.state {
        SecretState::Ours(secret) => Some(&secret.resource_version),
        SecretState::Missing => None,
        SecretState::Foreign { .. } => return None,
    };
    let same = vigil.asked == asked(user, place) && vigil.secret_version.as_ref() == secret_version;
    let recent = ctx.now() < later(vigil.read_at, ctx.waits.consistency_window * GOOD_FOR);
    if !same || !recent || remembered.suspect {
        return None;
    }
    let mut observed = as_wanted(desired, before_iam(user, seen, remembered), vigil.keys.clone());
    loop {
        let next = plan(desired, &observed, ctx.now(), &ctx.waits);
        if next.actions.is_empty() {
            return Some((observed, next));
        }
        for action in &next.actions {
            let probe = matches!(action, Action::ProbeKey { .. });
            let tried = if probe {
                apply(ctx, &place.session, user, &desired.owner, &observed, held, action).await.ok()
            } else {
                None
            };
            let Some(effect) = tried else {
                // What the key has shown so far is not asked again.
                ctx.memory.update(&desired.owner.identity.uid, |remembered| {
                    remembered.probes = observed.probes.into_iter().collect();
                });
                return None;
            };
            observed.record(&desired.owner, action, &effect, ctx.now());
        }
    }
}
