//! Reads everything there is to know into one [`Observed`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use secrecy::SecretString;

use super::context::Pass;
use super::error::Error;
use crate::api::{S3AccessUser, Workload, tags};
use crate::aws::{ErrorKind, Session, UserRecord, inline_policy};
use crate::core::adoption::Adoption;
use crate::core::curtail::{Holdings, exceeds};
use crate::core::desired::{DesiredPolicy, Owner};
use crate::core::iam::{AccessKey, AccessKeyId};
use crate::core::names::{Ownership, workload_annotation};
use crate::core::observed::{
    HeldKey, ManagedPolicy, Observed, OurSecret, PolicyState, SecretState, User, UserState, WorkloadState,
    policy_records,
};
use crate::core::plan::{SecretRecord, policies_to_read};
use crate::core::policy::Document;
use crate::core::reads::Reads;
use crate::core::reads::known::Known;
use crate::core::reads::picture::{Itself, picture as of_level, unread};
use crate::core::revocation;
use crate::core::secret_data::{Credentials, Target};
use crate::kubernetes::KubernetesError;
use crate::kubernetes::secret::{
    Content, Controller, Recorded, controller_of, find_key, is_up_to_date, recorded, wanted,
};

/// The Secrets as read, and the secret halves of the keys found: what the pure core must not see.
#[derive(Default)]
pub struct Held {
    /// The live Secret of the wanted name.
    pub live: Option<Secret>,
    /// The secret halves, by key id.
    pub halves: HashMap<String, SecretString>,
    /// This pass has added the finalizer, which the cached CR does not show yet.
    pub finalizer_added: bool,
}

/// An IAM user as far as it was read to curtail it.
pub struct Possession {
    /// As GetUser shows it.
    pub record: UserRecord,
    /// What hangs on it.
    pub found: Holdings,
    /// Something of it was taken away, beside what was revoked.
    pub taken: bool,
    /// A key of it was revoked.
    pub revoked: bool,
}

/// What has been read before the rest: what the Secrets hold, and perhaps the access keys.
pub struct Seen {
    /// The one of the wanted name.
    pub state: SecretState,
    /// Why the one of the wanted name cannot be rendered as the spec asks, where it is to be written.
    pub unrenderable: Option<String>,
    /// Those under earlier names.
    pub renamed: BTreeMap<String, OurSecret>,
    /// Who is to be restarted for a new key.
    pub workloads: BTreeMap<Workload, WorkloadState>,
    /// The IAM user, where it has been read already; `Some(None)`: IAM says NoSuchEntity.
    pub user: Option<Option<UserRecord>>,
    /// Its access keys, where they have been listed already.
    pub keys: Option<Vec<AccessKey>>,
}

impl Seen {
    /// What was read to curtail the user, for a deletion to go on with.
    pub fn of(possession: Possession) -> Self {
        Self { user: Some(Some(possession.record)), keys: possession.found.keys, ..Self::nothing() }
    }

    /// No Secret was read: a deletion needs none.
    pub fn nothing() -> Self {
        Self {
            state: SecretState::Missing,
            unrenderable: None,
            renamed: BTreeMap::new(),
            workloads: BTreeMap::new(),
            user: None,
            keys: None,
        }
    }
}

/// Reads the Secrets, live.
///
/// The workloads come before: what is planned for one rests on a Secret that is no older than its copy, so that a leader
/// of yesterday, who knows an older key, fails to mark it with that.
pub async fn secrets(pass: Pass<'_>, held: &mut Held) -> Result<Seen, Error> {
    let Pass { ctx, owner, .. } = pass;
    let namespace = &owner.identity.namespace;
    let workloads = workloads(pass).await;
    let live = ctx.kubernetes.get_secret(namespace, &owner.secret_name).await?;
    let state = match &live {
        None => SecretState::Missing,
        Some(secret) => match controller_of(secret, &owner.identity.uid) {
            Controller::Ours => SecretState::Ours(ours(pass, secret, held).await?),
            Controller::Other(other) => SecretState::Foreign { other_user: Some(other) },
            Controller::Foreign => SecretState::Foreign { other_user: None },
        },
    };
    held.live = live;
    let mut renamed = BTreeMap::new();
    for name in ctx.kubernetes.secret_names_of(&owner.identity.uid) {
        if name == owner.secret_name {
            continue;
        }
        if let Some(secret) = ctx.kubernetes.get_secret(namespace, &name).await?
            && controller_of(&secret, &owner.identity.uid) == Controller::Ours
        {
            renamed.insert(name, ours(pass, &secret, held).await?);
        }
    }
    let unrenderable = match &state {
        SecretState::Ours(secret) if secret.up_to_date => None,
        _ => example_of(pass, None).err().map(|error| error.to_string()),
    };
    Ok(Seen { state, unrenderable, renamed, workloads, user: None, keys: None })
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

async fn ours(pass: Pass<'_>, secret: &Secret, held: &mut Held) -> Result<OurSecret, Error> {
    let Pass { ctx, resolved, user, .. } = pass;
    let Recorded { annotated, record, account_id } = recorded(secret, ctx.now());
    let mut key = None;
    let mut up_to_date = false;
    if let Some(found) = find_key(secret, &user.spec.secret) {
        let Credentials { access_key_id, secret_access_key } = &found.credentials;
        // Annotations may have been stripped from a Secret that still works: only AWS can tell.
        if found.vouched || resolved.session.sts.accepts(access_key_id, secret_access_key).await? {
            held.halves.insert(access_key_id.to_string(), secret_access_key.clone());
            key = Some(HeldKey { id: access_key_id.clone(), created_at: record.created_at, account_id });
            up_to_date = wanted_of(pass, Some(secret), &found.credentials, &record)
                .is_ok_and(|wanted| is_up_to_date(secret, &wanted));
        }
    }
    Ok(OurSecret {
        uid: secret.uid().unwrap_or_default(),
        resource_version: secret.resource_version().unwrap_or_default(),
        key,
        annotated,
        previous: record.previous,
        rotated_at: record.rotated_at,
        rotate_handled: record.rotate_handled,
        revoked: record.revoked,
        up_to_date,
        immutable: secret.immutable == Some(true),
    })
}

/// The Secret as it should be with that key.
pub fn wanted_of(
    pass: Pass<'_>,
    live: Option<&Secret>,
    credentials: &Credentials,
    record: &SecretRecord,
) -> Result<Secret, Error> {
    let Pass { user, owner, .. } = pass;
    let session = &pass.resolved.session;
    let target = Target {
        region: session.region.clone(),
        endpoint: session.s3_endpoint.clone(),
        path_style: session.path_style,
        buckets: user.buckets(),
        user_arn: owner.user_arn(),
    };
    let content = Content { credentials, record, account_id: &owner.account.id, target: &target };
    Ok(wanted(user, &owner.secret_name, live, content)?)
}

/// The Secret with an example of a key: whatever is wrong with it is so with any. The example is AWS's own, as long as any key
/// and known to those who look for leaked ones.
///
/// # Errors
/// [`Error::Render`].
pub fn example_of(pass: Pass<'_>, live: Option<&Secret>) -> Result<Secret, Error> {
    let credentials = Credentials {
        access_key_id: AccessKeyId::of_iam("AKIAIOSFODNN7EXAMPLE"),
        secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
    };
    wanted_of(pass, live, &credentials, &SecretRecord::default())
}

/// The picture before IAM is asked.
pub fn before_iam(user: &S3AccessUser, seen: &Seen, known: &Known) -> Observed {
    let mut observed = Observed {
        secret: seen.state.clone(),
        unrenderable: seen.unrenderable.clone(),
        renamed: seen.renamed.clone(),
        workloads: seen.workloads.clone(),
        ..unread(user, known)
    };
    observed.forget_delivered();
    observed
}

/// The picture at that level: the Secrets as seen, and as much of IAM as it says. What is read stays in `seen`, for the case
/// that more has to be read. `None`: that level says too little.
///
/// # Errors
/// Something could not be read.
pub async fn picture(pass: Pass<'_>, reads: Reads, seen: &mut Seen, known: &Known) -> Result<Option<Observed>, Error> {
    let mut observed = before_iam(pass.user, seen, known);
    let Some(desired) = pass.desired.filter(|_| reads != Reads::Everything) else {
        return everything(pass, observed, seen).await.map(Some);
    };
    let name = &pass.owner.user_name;
    let iam = &pass.resolved.session.iam;
    let keys = match reads {
        Reads::Keys => match iam.list_access_keys(name).await {
            Ok(keys) => {
                seen.keys = Some(keys.clone());
                Some(keys)
            }
            // Somebody has deleted the user.
            Err(error) if error.kind == ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        },
        Reads::UserAndKeys => {
            let found = iam.get_user(name).await?.map(|mut found| {
                revocation::carry(&mut found.tags, observed.revoked.as_deref());
                found
            });
            let is_as_wanted = found.as_ref().is_some_and(|found| itself(found).is_as_wanted(desired));
            seen.user = Some(found);
            match seen.keys.take_if(|_| is_as_wanted) {
                None if is_as_wanted => Some(iam.list_access_keys(name).await?),
                keys => keys,
            }
        }
        _ => None,
    };
    let elsewhere = if reads == Reads::UserAndKeys { made_elsewhere(pass.user, pass.owner) } else { None };
    let live = seen.user.as_ref().and_then(|found| found.as_ref()?.tags.get(tags::REVOKED).cloned());
    observed.revoked = live.or(observed.revoked);
    let observed = Observed { account_elsewhere: elsewhere, ..observed };
    Ok(of_level(reads, desired, observed, keys, known))
}

async fn everything(pass: Pass<'_>, mut observed: Observed, seen: &mut Seen) -> Result<Observed, Error> {
    let Pass { user, owner, desired, .. } = pass;
    let session = &pass.resolved.session;
    observed.account_elsewhere = made_elsewhere(user, owner);
    let found = match seen.user.take() {
        Some(found) => found,
        None => session.iam.get_user(&owner.user_name).await?,
    };
    let tags = found.as_ref().map(|found| found.tags.clone()).unwrap_or_default();
    observed.user = match found {
        None => UserState::Missing,
        Some(mut found) => {
            revocation::carry(&mut found.tags, observed.revoked.as_deref());
            UserState::Present(Box::new(user_of(pass, found, seen.keys.take()).await?))
        }
    };
    let wanted = desired.and_then(|desired| desired.policy_of(Some(&tags)));
    for arn in policies_to_read(owner, desired, &tags) {
        let differs = |document: &Document| match &wanted {
            Some(DesiredPolicy::Managed { arn: wanted, document: meant }) => {
                *wanted == arn && !meant.means_the_same(document)
            }
            _ => false,
        };
        let state = policy(session, &arn, differs).await?;
        observed.policies.insert(arn, state);
    }
    Ok(observed)
}

/// The account in which something was made for it, by its status, where that is another one than its class's now.
pub fn made_elsewhere(user: &S3AccessUser, owner: &Owner) -> Option<String> {
    let account = user.status.as_ref()?.account_id.as_ref()?;
    (user.was_acted_upon() && *account != owner.account.id).then(|| account.clone())
}

/// Reads the user and its access keys, to curtail it; of a user that is not ours, nothing hangs on it. Answers the error beside
/// what was read.
pub async fn possession(pass: Pass<'_>) -> (Option<Possession>, Option<Error>) {
    let Pass { ctx, resolved, owner, .. } = pass;
    let (iam, name) = (&resolved.session.iam, &owner.user_name);
    let record = match iam.get_user(name).await {
        Ok(Some(record)) => record,
        Ok(None) => return (None, None),
        Err(error) => return (None, Some(error.into())),
    };
    let mut found = Holdings { tags: record.tags.clone(), boundary: record.boundary.clone(), ..Holdings::default() };
    revocation::carry(&mut found.tags, ctx.state.known(pass.uid()).revoked.as_deref());
    let mut failed = None;
    if owner.identity.ownership(&found.tags) == Ownership::Ours {
        ctx.state.tagged(pass.uid(), &found.tags);
        match iam.list_access_keys(name).await {
            Ok(keys) => found.keys = Some(keys),
            Err(error) if error.kind == ErrorKind::NotFound => found.keys = Some(Vec::new()),
            Err(error) => failed = Some(error.into()),
        }
    }
    (Some(Possession { record, found, taken: false, revoked: false }), failed)
}

/// Reads what the user is granted, part by part: what cannot be read keeps nothing else from being read. Answers the first
/// error.
pub async fn grants(pass: Pass<'_>, found: &mut Holdings) -> Option<Error> {
    let Pass { resolved, user, owner, .. } = pass;
    let (iam, name) = (&resolved.session.iam, &owner.user_name);
    let mut first = None;
    let mut tell = |error: Error| {
        first.get_or_insert(error);
    };
    match iam.list_attached_user_policies(name).await {
        Ok(attached) => found.attached = Some(attached),
        Err(error) => tell(error.into()),
    }
    let records: Vec<String> = policy_records(&found.tags).map(ToOwned::to_owned).collect();
    for record in records {
        let Some(arn) = owner.recorded_policy_arn(&record) else {
            let Some(policy) = record.strip_prefix("inline:") else { continue };
            match iam.get_user_policy(name, policy).await {
                Ok(None) => {}
                Ok(Some(document)) => drop(found.inline.insert(policy.to_owned(), Some(document))),
                Err(error) => {
                    tell(error.into());
                    found.inline.insert(policy.to_owned(), None);
                }
            }
            continue;
        };
        match policy(&resolved.session, &arn, |document| exceeds(&resolved.class, user, document)).await {
            Ok(PolicyState::Missing) => {}
            Ok(PolicyState::Present(policy)) => drop(found.managed.insert(arn, Some(policy))),
            Err(error) => {
                tell(error);
                found.managed.insert(arn, None);
            }
        }
    }
    first
}

fn itself(found: &UserRecord) -> Itself<'_> {
    Itself { arn: &found.arn, path: &found.path, tags: &found.tags, boundary: found.boundary.as_ref() }
}

async fn user_of(pass: Pass<'_>, record: UserRecord, keys: Option<Vec<AccessKey>>) -> Result<User, Error> {
    let Pass { owner, desired, .. } = pass;
    let iam = &pass.resolved.session.iam;
    let name = &owner.user_name;
    let keys = match keys {
        Some(keys) => keys,
        None => iam.list_access_keys(name).await?,
    };
    let mut user = User {
        arn: record.arn,
        path: record.path,
        tags: record.tags,
        boundary: record.boundary,
        keys,
        attached: iam.list_attached_user_policies(name).await?,
        inline: BTreeMap::new(),
        beside: BTreeSet::new(),
    };
    if desired.is_some() && Adoption::of(&user.tags) != Adoption::None {
        user.beside = iam.list_what_else_grants(name).await?;
        let own: Vec<_> = user.policy_records().filter_map(|record| record.strip_prefix("inline:")).collect();
        let own: BTreeSet<String> = own.into_iter().map(inline_policy).collect();
        user.beside.retain(|found| !own.contains(found));
    }
    let wanted = match desired.and_then(|desired| desired.policy.as_ref()) {
        Some(DesiredPolicy::Inline { name, .. }) => Some(name.clone()),
        _ => None,
    };
    let recorded = user.policy_records().filter_map(|record| record.strip_prefix("inline:")).map(ToOwned::to_owned);
    let inline: BTreeSet<String> = recorded.chain(wanted).collect();
    for policy in inline {
        if let Some(document) = iam.get_user_policy(name, &policy).await? {
            user.inline.insert(policy, document);
        }
    }
    Ok(user)
}

/// Reads a managed policy; its versions only where it is to change.
async fn policy(session: &Session, arn: &str, changes: impl Fn(&Document) -> bool) -> Result<PolicyState, Error> {
    let iam = &session.iam;
    let Some(record) = iam.get_policy(arn).await? else {
        return Ok(PolicyState::Missing);
    };
    let document = iam.get_policy_version(arn, &record.default_version).await?;
    let versions = if changes(&document) { iam.list_policy_versions(arn).await? } else { Vec::new() };
    Ok(PolicyState::Present(ManagedPolicy { tags: record.tags, document, versions }))
}
