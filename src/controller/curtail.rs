//! Carries out what [`crate::core::curtail`] takes away.

use kube::ResourceExt;
use tracing::{info, warn};

use super::apply::apply;
use super::context::Pass;
use super::error::Error;
use super::observe::{Held, Possession, holdings};
use crate::aws::ErrorKind;
use crate::core::curtail::{self, Bounds};
use crate::core::observed::Observed;
use crate::core::plan::Action;

/// Reads what hangs on the IAM user and takes away what is beyond its bounds. What can be done is done, whatever else
/// fails. `hindered`: the spec is not carried out after this. Answers what is left, for a deletion to go on with; `None` where there is no such user.
///
/// # Errors
/// The first part that could not be read or taken away.
pub async fn curtail(pass: Pass<'_>, hindered: bool) -> Result<Option<Possession>, Error> {
    let Pass { ctx, user, owner, .. } = pass;
    let (possession, mut first) = holdings(pass).await;
    let Some(mut possession) = possession else { return first.map_or(Ok(None), Err) };
    let bounds = pass.bounds(hindered);
    let observed = Observed::nothing();
    for action in curtail::curtail(bounds, owner, &possession.found, ctx.now()) {
        ctx.may_write()?;
        let mut held = Held::default();
        let mut done = apply(pass, &observed, &mut held, &action).await;
        if let (Err(error), Some(instead)) = (&done, instead_of(&action))
            && is_refusal(error)
        {
            warn!(namespace = user.namespace(), name = user.name_any(), %error, "could not {action}; instead: {instead}");
            done = apply(pass, &observed, &mut held, &instead).await;
        }
        match done {
            Ok(_) => {
                possession.taken = true;
                info!(namespace = user.namespace(), name = user.name_any(), "taken away: {action}");
                match (&action, &mut possession.found.keys) {
                    (Action::DeleteKey { id, .. }, Some(keys)) => keys.retain(|key| key.id != *id),
                    (Action::SetKeyStatus { id, active }, Some(keys)) => {
                        keys.iter_mut().filter(|key| key.id == *id).for_each(|key| key.active = *active);
                    }
                    _ => {}
                }
            }
            Err(error) => {
                warn!(namespace = user.namespace(), name = user.name_any(), %error, "could not {action}");
                first.get_or_insert(error);
            }
        }
    }
    let found = &possession.found;
    let ends_at = found.keys.as_ref().and_then(|keys| bounds.first_end(&found.tags, keys, ctx.now()));
    ctx.state.ends(pass.uid(), ends_at);
    first.map_or(Ok(Some(possession)), Err)
}

impl Pass<'_> {
    /// What it is held to. `hindered`: the spec is not carried out.
    pub fn bounds(&self, hindered: bool) -> Bounds<'_> {
        Bounds { class: &self.resolved.class, user: self.user, hindered }
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
fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::Aws(error) if !error.is_transient() && error.kind != ErrorKind::NoCredentials)
}
