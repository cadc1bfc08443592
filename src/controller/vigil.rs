//! Looks at a user of which nothing is awaited but that AWS accepts its new key: they come every few seconds, and go on
//! with what the first of them has read. Before anything is written, all is read anew.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::apply::apply;
use super::context::Context;
use super::memory::Remembered;
use super::observe::{Held, Seen, before_iam};
use super::place::Place;
use super::quiet::asked;
use crate::api::S3AccessUser;
use crate::core::desired::Desired;
use crate::core::observed::{Observed, PolicyState, SecretState, User, UserState};
use crate::core::plan::{Action, Plan, Progress, plan};
use crate::core::rotation::later;

/// What was read, and what it rests upon.
#[derive(Clone, Debug)]
pub struct Vigil {
    asked: u64,
    secret_version: Option<String>,
    read_at: Timestamp,
    user: User,
    policies: BTreeMap<String, PolicyState>,
}

impl Vigil {
    /// Keeps what a look at that time has read, where only the key is awaited.
    pub fn of(
        place: &Place,
        user: &S3AccessUser,
        observed: &Observed,
        plan: &Plan,
        read_at: Timestamp,
    ) -> Option<Box<Self>> {
        let UserState::Present(found) = &observed.user else { return None };
        let parts = &plan.parts;
        let synced = parts.user == Progress::Synced && parts.policy == Progress::Synced;
        (synced && matches!(parts.key, Progress::Waiting(..))).then(|| {
            Box::new(Self {
                asked: asked(user, place),
                secret_version: observed.our_secret().map(|secret| secret.resource_version.clone()),
                read_at,
                user: User::clone(found),
                policies: observed.policies.clone(),
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
    let recent = ctx.now() < later(vigil.read_at, ctx.waits.consistency_window);
    if !same || !recent || remembered.suspect {
        return None;
    }
    let mut observed = Observed {
        user: UserState::Present(Box::new(vigil.user.clone())),
        policies: vigil.policies.clone(),
        ..before_iam(user, seen, remembered)
    };
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
