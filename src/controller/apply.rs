//! Carries out one action. What it leads to is recorded by the caller, so that the next decision needs no new read.

use std::collections::BTreeMap;

use kube::ResourceExt;
use secrecy::SecretString;

use super::context::Pass;
use super::error::Error;
use super::observe::{Held, largest_example_of, unreachable, wanted_of};
use super::report;
use crate::api::Workload;
use crate::aws::{ErrorKind, Session};
use crate::core::iam::AccessKeyId;
use crate::core::names::workload_annotation;
use crate::core::observed::{Observed, SecretState, WorkloadState};
use crate::core::plan::{Action, Effect, SecretRecord, WhyDelete};
use crate::core::secret_data::Credentials;
use crate::core::sessions::HeldSession;
use crate::kubernetes::secret::Record;
use crate::kubernetes::{KubernetesError, Mark};

/// Carries out one action.
pub async fn apply(pass: Pass<'_>, observed: &Observed, held: &mut Held, action: &Action) -> Result<Effect, Error> {
    let Pass { ctx, user, owner, .. } = pass;
    match action {
        Action::AddFinalizer => {
            report::add_finalizer(ctx, user).await?;
        }
        Action::RemoveFinalizer => {
            ctx.kubernetes.set_finalizers(user, &user.other_finalizers()).await?;
        }
        Action::Announce(reason) => report::announce(ctx, user, owner, *reason).await?,
        Action::DryRunSecret => {
            let live = held.live.as_ref().filter(|_| observed.our_secret().is_some());
            ctx.kubernetes.dry_run_secret(&largest_example_of(pass, live)?).await?;
        }
        Action::CreateAccessKey => return create_access_key(pass, held).await,
        Action::ProbeKey { id } => {
            let usable = pass.resolved.session.sts.accepts(id, half_of(held, id)?).await?;
            return Ok(Effect::Probed(usable));
        }
        Action::WriteSecret { key_id, record } => {
            return write_secret(pass, observed, held, (key_id, record)).await;
        }
        Action::MarkWorkload { workload, key_id, restart } => {
            return mark_workload(pass, observed, workload, (key_id, *restart)).await;
        }
        Action::RenewSession { key_id } => return renew_session(pass, observed, held, key_id).await,
        Action::DeleteSecret { place, uid } => {
            let (namespace, name) = pass.secret_at(place);
            ctx.kubernetes.delete_secret(namespace, &name, uid).await?;
        }
        Action::DeleteUser => return delete_user(pass, observed).await,
        of_iam => return apply_iam(pass, of_iam).await,
    }
    Ok(Effect::Done)
}

/// Carries out one action that takes nothing but IAM: neither a picture of the world nor a Secret.
///
/// # Errors
/// [`Error::Defect`] where it takes more than that: nothing is done then.
pub async fn apply_iam(pass: Pass<'_>, action: &Action) -> Result<Effect, Error> {
    let Pass { ctx, resolved, owner, .. } = pass;
    let (iam, name) = (&resolved.session.iam, &owner.user_name);
    match action {
        Action::CreateUser { tags, boundary } => {
            let arn = iam.create_user(name, &owner.path, tags, boundary.as_deref()).await?;
            ctx.state.change(pass.uid(), |known| known.tagged(tags));
            return Ok(Effect::UserCreated(arn));
        }
        Action::MoveUser { path } => iam.update_user_path(name, path).await?,
        Action::TagUser(tags) => tag_user(pass, tags).await?,
        Action::UntagUser(keys) => iam.untag_user(name, keys).await?,
        Action::PutBoundary(arn) => iam.put_user_permissions_boundary(name, arn).await?,
        Action::DeleteBoundary => iam.delete_user_permissions_boundary(name).await?,
        Action::CreatePolicy { arn, document } => iam.create_policy(arn, document, &owner.identity.tags()).await?,
        Action::TagPolicy { arn, tags } => iam.tag_policy(arn, tags).await?,
        Action::DeletePolicyVersion { arn, version } => iam.delete_policy_version(arn, version).await?,
        Action::CreatePolicyVersion { arn, document } => iam.create_policy_version(arn, document).await?,
        Action::DeletePolicy { arn } => delete_policy(&resolved.session, arn).await?,
        Action::AttachPolicy(arn) => iam.attach_user_policy(name, arn).await?,
        Action::DetachPolicy(arn) => iam.detach_user_policy(name, arn).await?,
        Action::PutInlinePolicy { name: policy, document } => iam.put_user_policy(name, policy, document).await?,
        Action::DeleteInlinePolicy { name: policy } => iam.delete_user_policy(name, policy).await?,
        Action::SetKeyStatus { id, active } => iam.update_access_key(name, id, *active).await?,
        Action::DeleteKey { id, why } => delete_key(pass, id, *why).await?,
        Action::ReadLastUsed { id } => return Ok(Effect::LastUsed(iam.get_access_key_last_used(id).await?)),
        Action::ClearLeftovers => iam.clear_leftovers(name).await?,
        // Each by its name, so that it is decided of every new one where it belongs.
        Action::AddFinalizer
        | Action::RemoveFinalizer
        | Action::Announce(_)
        | Action::DryRunSecret
        | Action::CreateAccessKey
        | Action::ProbeKey { .. }
        | Action::WriteSecret { .. }
        | Action::MarkWorkload { .. }
        | Action::RenewSession { .. }
        | Action::DeleteSecret { .. }
        | Action::DeleteUser => return Err(Error::Defect),
    }
    Ok(Effect::Done)
}

async fn tag_user(pass: Pass<'_>, tags: &BTreeMap<String, String>) -> Result<(), Error> {
    pass.resolved.session.iam.tag_user(&pass.owner.user_name, tags).await?;
    pass.ctx.state.change(pass.uid(), |known| known.tagged(tags));
    Ok(())
}

async fn create_access_key(pass: Pass<'_>, held: &mut Held) -> Result<Effect, Error> {
    let created = pass.resolved.session.iam.create_access_key(&pass.owner.user_name).await?;
    pass.ctx.metrics.key_issued();
    let minted = created.minted;
    pass.ctx.state.change(pass.uid(), |known| known.minted(&minted, &created.secret));
    held.halves.insert(minted.id.clone(), created.secret);
    Ok(Effect::KeyCreated(minted))
}

async fn delete_key(pass: Pass<'_>, id: &str, why: WhyDelete) -> Result<(), Error> {
    pass.resolved.session.iam.delete_access_key(&pass.owner.user_name, id).await?;
    pass.ctx.metrics.key_deleted(why);
    pass.ctx.state.change(pass.uid(), |known| known.deleted(id));
    Ok(())
}

async fn delete_user(pass: Pass<'_>, observed: &Observed) -> Result<Effect, Error> {
    match pass.resolved.session.iam.delete_user(&pass.owner.user_name).await {
        // Once what stood in the way is said to be gone, a further conflict is worth telling.
        Err(error) if error.kind == ErrorKind::DeleteConflict && !observed.cleared => Ok(Effect::DeleteConflict),
        outcome => Ok(if outcome? { Effect::Done } else { Effect::NoSuchUser }),
    }
}

async fn delete_policy(session: &Session, arn: &str) -> Result<(), Error> {
    let iam = &session.iam;
    match iam.delete_policy(arn).await {
        // It has versions that are not in force, or it is attached.
        Err(error) if error.kind == ErrorKind::DeleteConflict => {}
        outcome => return Ok(outcome?),
    }
    for version in iam.list_policy_versions(arn).await.or_else(none_if_missing)? {
        if !version.is_default {
            iam.delete_policy_version(arn, &version.id).await?;
        }
    }
    match iam.delete_policy(arn).await {
        Err(mut error) if error.kind == ErrorKind::DeleteConflict => {
            let entities = iam.list_entities_for_policy(arn).await?;
            if !entities.is_empty() {
                error.message = format!("it is still attached to {}: detach it there", entities.join(", "));
            }
            Err(error.into())
        }
        outcome => Ok(outcome?),
    }
}

fn none_if_missing<T: Default>(error: crate::aws::AwsError) -> Result<T, crate::aws::AwsError> {
    if error.kind == ErrorKind::NotFound { Ok(T::default()) } else { Err(error) }
}

async fn write_secret(
    pass: Pass<'_>,
    observed: &Observed,
    held: &mut Held,
    (key_id, record): (&str, &SecretRecord),
) -> Result<Effect, Error> {
    let kubernetes = &pass.ctx.kubernetes;
    let credentials = Credentials {
        access_key_id: AccessKeyId::of_iam(key_id),
        secret_access_key: half_of(held, key_id)?.clone(),
        token: None,
    };
    let secret = wanted_of(pass, held.live.as_ref(), &credentials, Record::Key(record))?;
    let written = match observed.our_secret() {
        None => kubernetes.create_secret(&secret).await,
        Some(_) => kubernetes.replace_secret(&secret).await,
    };
    let written = match written {
        Ok(written) => written,
        Err(error) => return Err(abandon_minted(pass, (observed, held), key_id, error).await),
    };
    pass.ctx.state.change(pass.uid(), |known| known.unminted(key_id));
    let effect = Effect::SecretWritten {
        uid: written.uid().unwrap_or_default(),
        resource_version: written.resource_version().unwrap_or_default(),
    };
    held.live = Some(written);
    Ok(effect)
}

/// Should the operator die between answer and write, the session is of use to nobody and ends by itself.
async fn renew_session(pass: Pass<'_>, observed: &Observed, held: &mut Held, key_id: &str) -> Result<Effect, Error> {
    let renewed = write_session(pass, observed, held, key_id).await;
    pass.ctx.metrics.session_renewed(renewed.is_ok());
    renewed
}

async fn write_session(pass: Pass<'_>, observed: &Observed, held: &mut Held, key_id: &str) -> Result<Effect, Error> {
    let Pass { ctx, resolved, .. } = pass;
    let issued_at = ctx.now();
    let seconds = pass.sessions().map_or(0, |sessions| sessions.duration.as_secs());
    let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
    let mut credentials = resolved.session.sts.session_token(key_id, half_of(held, key_id)?, seconds).await?;
    let expires_at = credentials.token.as_ref().map_or(issued_at, |session| session.expires_at);
    let session = HeldSession::issued(AccessKeyId::of_iam(key_id), issued_at, expires_at);
    credentials.token.iter_mut().for_each(|token| token.expires_at = session.expires_at);
    let secret = wanted_of(pass, held.delivered.as_ref(), &credentials, Record::Session(&session))?;
    ctx.may_write()?;
    let written = match observed.session {
        Some(SecretState::Ours(_)) => ctx.kubernetes.replace_secret(&secret).await?,
        _ => ctx.kubernetes.create_secret(&secret).await?,
    };
    let (uid, version) = (written.uid().unwrap_or_default(), written.resource_version().unwrap_or_default());
    held.delivered = Some(written);
    Ok(Effect::Renewed { uid, resource_version: version, session })
}

/// So many copies of a workload may be outdated by its own controller, which reports on it, before the reconcile ends.
const COPIES: usize = 4;

/// Marks the workload, if it still says of its key what was seen; an attempt that failed is no failure of the reconcile.
async fn mark_workload(
    pass: Pass<'_>,
    observed: &Observed,
    workload: &Workload,
    (key_id, restart): (&str, bool),
) -> Result<Effect, Error> {
    let Pass { ctx, owner, .. } = pass;
    let namespace = &owner.identity.namespace;
    let annotation = workload_annotation(&owner.identity.name);
    let mut seen = observed.workloads.get(workload).cloned().unwrap_or(WorkloadState::Missing);
    for copy in 1..=COPIES {
        let WorkloadState::Present { resource_version, created_at, key } = seen else { break };
        let mark = Mark { annotation: &annotation, key_id, restart, resource_version: &resource_version };
        seen = match ctx.kubernetes.mark_workload(namespace, workload, &mark).await {
            Ok(version) => {
                let resource_version = version.unwrap_or_default();
                WorkloadState::Present { resource_version, created_at, key: Some(key_id.to_owned()) }
            }
            Err(conflict) if conflict.is_conflict() => {
                let live = ctx.kubernetes.get_workload(namespace, workload, &annotation).await;
                match live.unwrap_or_else(|error| unreachable(&error)) {
                    WorkloadState::Present { key: found, .. } if found != key || copy == COPIES => {
                        return Err(conflict.into());
                    }
                    live => {
                        seen = live;
                        continue;
                    }
                }
            }
            Err(error) => unreachable(&error),
        };
        break;
    }
    Ok(Effect::Workload(seen))
}

/// A new key whose Secret the API server has refused is deleted at once: it may not be asked to take it again soon.
/// Where the write may have taken effect all the same, the key is kept, and the next reconcile finds it in the Secret or not.
async fn abandon_minted(
    pass: Pass<'_>,
    (observed, held): (&Observed, &Held),
    key_id: &str,
    error: KubernetesError,
) -> Error {
    let minted = observed.minted.as_ref().is_some_and(|minted| minted.id == key_id);
    if minted && error.is_refusal() && (held.unproven || delete_key(pass, key_id, WhyDelete::Orphan).await.is_err()) {
        // The next reconcile finds it in no Secret.
        pass.ctx.state.change(pass.uid(), |known| known.unminted(key_id));
    }
    error.into()
}

fn half_of<'a>(held: &'a Held, id: &str) -> Result<&'a SecretString, Error> {
    held.halves.get(id).ok_or_else(|| Error::KeyUnknown(id.to_owned()))
}
