//! Carries out what [`crate::core::curtail`] takes away.

use kube::ResourceExt;
use tracing::{info, warn};

use super::apply::apply_iam;
use super::context::Pass;
use super::error::Error;
use super::observe::{self, Possession};
use crate::aws::ErrorKind;
use crate::core::curtail::{self, Bounds, Course};
use crate::core::names::Ownership;
use crate::core::plan::Action;
use crate::core::reads::known::Known;

/// How far it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The access keys; what is granted was held against the class before.
    Keys,
    /// All; after it, the spec is carried out.
    All,
    /// All, and something keeps the spec from being carried out.
    Hindered,
    /// All, and the spec is paused or wrong.
    Refused,
}

impl Extent {
    fn course(self) -> Course {
        match self {
            Self::Keys | Self::All => Course::CarriedOut,
            Self::Hindered => Course::Hindered,
            Self::Refused => Course::Refused,
        }
    }
}

/// Reads what hangs on the IAM user and takes away what is beyond its bounds: first of the access keys, so that a revocation
/// waits for two reads and no more. What can be done is done, whatever else fails. Answers what is left, for a deletion to go
/// on with; `None` where there is no such user.
///
/// # Errors
/// The first part that could not be read or taken away.
pub async fn curtail(pass: Pass<'_>, extent: Extent) -> Result<Option<Possession>, Error> {
    let Pass { ctx, resolved, user, owner, .. } = pass;
    let (possession, mut first) = observe::possession(pass).await;
    let Some(mut possession) = possession else { return first.map_or(Ok(None), Err) };
    let bounds = pass.bounds(extent.course());
    let asked = !possession.found.uses.is_empty();
    let unused = bounds.unused(&possession.found, ctx.now());
    let mut failed = take(pass, bounds, &mut possession).await?;
    first = first.or(failed);
    if unused.as_ref().is_some_and(|found| found.record.is_some()) {
        failed = take(pass, bounds, &mut possession).await?;
        first = first.or(failed);
    }
    // Deletion goes on with a plan of its own once the keys are gone, unless those of strangers hold it up.
    let goes_on = (user.metadata.deletion_timestamp.is_none() || possession.found.has_strangers_keys())
        && owner.identity.ownership(&possession.found.tags) == Ownership::Ours;
    if extent != Extent::Keys && goes_on && resolved.class.name().is_some() {
        failed = observe::grants(pass, &mut possession.found).await;
        first = first.or(failed);
        failed = take(pass, bounds, &mut possession).await?;
        first = first.or(failed);
    }
    let found = &possession.found;
    let ends_at = found.keys.as_ref().and_then(|keys| bounds.first_end(&found.tags, keys, ctx.now()));
    ctx.state.change(pass.uid(), |known| known.ends_at = ends_at);
    if asked && first.is_none() {
        ctx.state.change(pass.uid(), |known| {
            known.tagged(&found.tags);
            known.judged(unused.map(|found| found.again_at));
        });
    }
    first.map_or(Ok(Some(possession)), Err)
}

/// Takes away what is known to be beyond the bounds; the first failure, which keeps nothing else from being done.
///
/// # Errors
/// This process may not write any more.
async fn take(pass: Pass<'_>, bounds: Bounds<'_>, possession: &mut Possession) -> Result<Option<Error>, Error> {
    let Pass { ctx, user, owner, .. } = pass;
    let (mut first, mut works) = (None, false);
    let revoked = bounds.revocations(&possession.found, ctx.now());
    let replaced = bounds.replaced(possession.found.keys.as_deref().unwrap_or_default()).map(|(id, _)| id.to_owned());
    let ends = replaced.map(|id| Action::SetKeyStatus { id, active: false });
    for action in curtail::curtail(bounds, owner, &possession.found, ctx.now()) {
        // A key that still works is not recorded as revoked.
        if works && matches!(action, Action::TagUser(_)) {
            continue;
        }
        ctx.may_write()?;
        let mut done = apply_iam(pass, &action).await;
        if let (Err(error), Some(instead)) = (&done, instead_of(&action))
            && is_permanent(error)
        {
            warn!(namespace = user.namespace(), name = user.name_any(), %error, "could not {action}; instead: {instead}");
            done = apply_iam(pass, &instead).await;
        }
        match done {
            Ok(_) => {
                let is_revocation = revoked.contains(&action) || matches!(action, Action::TagUser(_));
                possession.taken |= !is_revocation && ends.as_ref() != Some(&action);
                possession.revoked |= is_revocation && matches!(action, Action::SetKeyStatus { .. });
                info!(namespace = user.namespace(), name = user.name_any(), "taken away: {action}");
                possession.found.record(&action);
            }
            Err(error) => {
                warn!(namespace = user.namespace(), name = user.name_any(), %error, "could not {action}");
                works |= matches!(action, Action::SetKeyStatus { .. });
                first.get_or_insert(error);
            }
        }
    }
    Ok(first)
}

impl Pass<'_> {
    /// What it is held to.
    pub fn bounds(&self, course: Course) -> Bounds<'_> {
        let made_at = |known: &Known| known.minted.as_ref().map(|minted| minted.0.created_at);
        let minted_at = self.ctx.state.with(self.uid(), made_at);
        Bounds { class: &self.resolved.class, user: self.user, course, minted_at }
    }
}

/// Where IAM refuses the narrower policy, the one in force goes.
fn instead_of(action: &Action) -> Option<Action> {
    match action {
        Action::CreatePolicyVersion { arn, .. } => Some(Action::DetachPolicy(arn.clone())),
        Action::PutInlinePolicy { name, .. } => Some(Action::DeleteInlinePolicy { name: name.clone() }),
        _ => None,
    }
}

/// Another try would lead to the same.
fn is_permanent(error: &Error) -> bool {
    matches!(error, Error::Aws(error) if !error.is_transient() && error.kind != ErrorKind::NoCredentials)
}
