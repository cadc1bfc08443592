//! The Secrets of a user, live: the workload's, the operator's own with the key of its sessions, and those of earlier specs.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use super::{Held, Seen};
use crate::api::{SecretSpec, Workload};
use crate::controller::context::Pass;
use crate::controller::error::Error;
use crate::core::iam::AccessKeyId;
use crate::core::names::workload_annotation;
use crate::core::observed::{HeldKey, OurSecret, Place, SecretState, WorkloadState};
use crate::core::plan::SecretRecord;
use crate::core::schedule::fnv;
use crate::core::secret_data::{Credentials, SessionToken, Target};
use crate::core::sessions::{HeldSession, may_be_in_use};
use crate::kubernetes::KubernetesError;
use crate::kubernetes::secret::{
    Content, Record, Recorded, SecretOwner, find_key, find_session, is_key_of, is_up_to_date, owner_of, recorded,
    wanted, wanted_key,
};

/// Reads the Secrets, live.
///
/// The workloads come before: what is planned for one rests on a Secret that is no older than its copy, so that a leader
/// of yesterday, who knows an older key, fails to mark it with that.
pub async fn secrets(pass: Pass<'_>, held: &mut Held) -> Result<Seen, Error> {
    let Pass { ctx, user, owner, .. } = pass;
    let workloads = workloads(pass).await;
    let (of_workload, live) = read(pass, &Place::Workload(owner.secret_name.clone()), held).await?;
    let mut renamed = BTreeMap::new();
    for name in ctx.kubernetes.secret_names_of(&user.metadata) {
        let place = Place::Workload(name);
        if place == Place::Workload(owner.secret_name.clone()) {
            continue;
        }
        if let (SecretState::Ours(secret), _) = read(pass, &place, held).await? {
            renamed.insert(place, secret);
        }
    }
    let unrenderable = match &of_workload {
        SecretState::Ours(secret) if secret.up_to_date => None,
        _ => example_of_workload(pass).err().map(|error| error.to_string()),
    };
    let seen = Seen { unrenderable, workloads, ..Seen::nothing() };
    if pass.sessions().is_some() {
        let (state, key) = read(pass, &Place::Keys, held).await?;
        (held.live, held.delivered) = (key, live);
        return Ok(Seen { state, session: Some(of_workload), renamed, ..seen });
    }
    held.live = live;
    // The mode may have been Session: then the key is there still, or not deleted yet.
    let had_sessions = user.status.as_ref().is_some_and(|status| status.session_expires_at.is_some());
    let has_key = of_workload.ours().into_iter().chain(renamed.values()).any(|secret| secret.key.is_some());
    if had_sessions || (user.is_finalized() && !has_key) {
        renamed.extend(kept_key(pass, held).await?);
    }
    Ok(Seen { state: of_workload, renamed, ..seen })
}

/// The Secret in the operator's namespace, where there is one: of a user without sessions it is in an earlier place.
pub async fn kept_key(pass: Pass<'_>, held: &mut Held) -> Result<Option<(Place, OurSecret)>, Error> {
    let user = pass.user;
    let had_sessions = may_be_in_use(user.spec.access_key.mode, user.status.as_ref());
    let state = match read(pass, &Place::Keys, held).await {
        // Who has never had sessions need not have given the right to read their keys.
        Err(Error::Kubernetes(error)) if error.is_denial() && !had_sessions => return Ok(None),
        read => read?.0,
    };
    Ok(state.ours().cloned().map(|secret| (Place::Keys, secret)))
}

/// Reads a Secret, and whose it is.
async fn read(pass: Pass<'_>, place: &Place, held: &mut Held) -> Result<(SecretState, Option<Secret>), Error> {
    let (namespace, name) = pass.secret_at(place);
    let uid = pass.uid();
    let Some(secret) = pass.ctx.kubernetes.get_secret(namespace, &name).await? else {
        return Ok((SecretState::Missing, None));
    };
    let owner = match place {
        Place::Keys if is_key_of(&secret, uid) => SecretOwner::Ours,
        Place::Keys => SecretOwner::Foreign,
        Place::Workload(_) => owner_of(&secret, uid),
    };
    let state = match owner {
        SecretOwner::Ours => SecretState::Ours(ours(pass, &secret, place, held).await?),
        SecretOwner::Other(other) => SecretState::Foreign { other_user: Some(other) },
        SecretOwner::Foreign => SecretState::Foreign { other_user: None },
    };
    Ok((state, Some(secret)))
}

/// What cannot be read keeps nothing else from being done.
async fn workloads(pass: Pass<'_>) -> BTreeMap<Workload, WorkloadState> {
    let Pass { ctx, user, owner, .. } = pass;
    let mut seen = BTreeMap::new();
    if user.metadata.deletion_timestamp.is_none() {
        let annotation = workload_annotation(&owner.identity.name);
        for workload in &user.spec.secret.rollout_restart {
            let found = ctx.kubernetes.get_workload(&owner.identity.namespace, workload, &annotation).await;
            seen.insert(workload.clone(), found.unwrap_or_else(|error| unreachable(&error)));
        }
    }
    seen
}

/// A workload to which a request has failed.
pub fn unreachable(error: &KubernetesError) -> WorkloadState {
    if error.is_not_found() {
        WorkloadState::Missing
    } else if error.is_refusal() && !error.is_conflict() {
        WorkloadState::Denied(error.to_string())
    } else {
        WorkloadState::Failed(error.to_string())
    }
}

async fn ours(pass: Pass<'_>, secret: &Secret, place: &Place, held: &mut Held) -> Result<OurSecret, Error> {
    let Pass { ctx, resolved, user, .. } = pass;
    let Recorded { annotated, record, account_id } = recorded(secret, ctx.now());
    let (mut key, mut session, mut wanted) = (None, None, None);
    let plain = SecretSpec::default();
    let spec = if *place == Place::Keys { &plain } else { &user.spec.secret };
    if let Some((credentials, found)) = find_session(secret, ctx.now()).filter(|_| *place != Place::Keys) {
        wanted = wanted_of(pass, Some(secret), &credentials, Record::Session(&found)).ok();
        session = Some(Box::new(found));
    } else if let Some(found) = find_key(secret, spec) {
        let Credentials { access_key_id, secret_access_key, .. } = &found.credentials;
        // Annotations may have been stripped from a Secret that still works: only AWS can tell.
        if found.vouched || resolved.session.sts.accepts(access_key_id, secret_access_key).await? {
            held.halves.insert(access_key_id.to_string(), secret_access_key.clone());
            key = Some(HeldKey { id: access_key_id.clone(), created_at: record.created_at, account_id });
            wanted = wanted_of(pass, Some(secret), &found.credentials, Record::Key(&record)).ok();
        }
    }
    Ok(OurSecret {
        uid: secret.uid().unwrap_or_default(),
        resource_version: secret.resource_version().unwrap_or_default(),
        key,
        session,
        annotated,
        previous: record.previous,
        rotated_at: record.rotated_at,
        rotate_handled: record.rotate_handled,
        orphan_to_delete: record.orphan_to_delete,
        up_to_date: wanted.is_some_and(|wanted| is_up_to_date(secret, &wanted)),
        immutable: secret.immutable == Some(true),
    })
}

/// The Secret as it should be: of a key, in the place where it belongs; of a session, the workload's.
pub fn wanted_of(
    pass: Pass<'_>,
    live: Option<&Secret>,
    credentials: &Credentials,
    record: Record<'_>,
) -> Result<Secret, Error> {
    let Pass { ctx, user, owner, .. } = pass;
    let session = &pass.resolved.session;
    let target = Target {
        region: session.region.clone(),
        endpoint: session.s3_endpoint.clone(),
        path_style: session.path_style,
        buckets: user.buckets(),
        user_arn: owner.user_arn(),
    };
    let content = Content { credentials, record, account_id: &owner.account.id, target: &target };
    let apart = pass.sessions().is_some() && matches!(record, Record::Key(_));
    Ok(if apart {
        wanted_key(user, &ctx.own_namespace, live, content)?
    } else {
        wanted(user, &owner.secret_name, live, content)?
    })
}

/// The Secret with an example of a key: whatever is wrong with it is so with any. The example is AWS's own, as long as any key
/// and known to those who search for leaked ones.
///
/// # Errors
/// [`Error::Render`].
fn example_of(pass: Pass<'_>, live: Option<&Secret>) -> Result<Secret, Error> {
    wanted_of(pass, live, &example(), Record::Key(&SecretRecord::default()))
}

/// The same with all that may be recorded beside a key: as large as any that will be written.
///
/// # Errors
/// [`Error::Render`].
pub fn largest_example_of(pass: Pass<'_>, live: Option<&Secret>) -> Result<Secret, Error> {
    let (now, example) = (pass.ctx.now(), example());
    let key = Some(example.access_key_id.clone());
    let record = SecretRecord {
        created_at: Some(now),
        previous: key.clone(),
        rotated_at: Some(now),
        rotate_handled: pass.desired.and_then(|desired| desired.rotation.requested.clone()),
        orphan_to_delete: key,
    };
    wanted_of(pass, live, &example, Record::Key(&record))
}

/// The same of the workload's Secret, which may be to hold a session.
///
/// # Errors
/// [`Error::Render`].
pub fn example_of_workload(pass: Pass<'_>) -> Result<Secret, Error> {
    if pass.sessions().is_none() {
        return example_of(pass, None);
    }
    let now = pass.ctx.now();
    let credentials = example();
    let session = HeldSession::issued(credentials.access_key_id.clone(), now, now);
    // As long as they usually are.
    let token = SessionToken { token: "FwoGZXIvYXdzEXAMPLE".repeat(20).into(), expires_at: session.expires_at };
    wanted_of(pass, None, &Credentials { token: Some(token), ..credentials }, Record::Session(&session))
}

/// A digest of what the Secret is made of beside the key: another spec, class, setting or version of the operator may change it.
pub fn rendering(pass: Pass<'_>) -> Option<u64> {
    let example = example_of_workload(pass).ok()?;
    Some(fnv(&serde_json::to_string(&example).ok()?))
}

fn example() -> Credentials {
    Credentials {
        access_key_id: AccessKeyId::of_iam("AKIAIOSFODNN7EXAMPLE"),
        secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
        token: None,
    }
}
