//! Reads everything there is to know into one [`Observed`].

mod secrets;

pub use secrets::{example_of_workload, kept_key, largest_example_of, rendering, secrets, unreachable, wanted_of};

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use secrecy::SecretString;

use super::context::Pass;
use super::error::Error;
use crate::api::{S3AccessUser, S3AccessUserStatus, Workload, tags};
use crate::aws::{AwsError, ErrorKind, Session, UserRecord, inline_policy};
use crate::core::adoption::Adoption;
use crate::core::curtail::{Holdings, exceeds};
use crate::core::desired::{DesiredPolicy, Owner};
use crate::core::ends;
use crate::core::iam::AccessKey;
use crate::core::names::Ownership;
use crate::core::observed::{
    ManagedPolicy, Observed, OurSecret, Place, PolicyState, SecretState, User, UserState, WorkloadState, policy_records,
};
use crate::core::plan::policies_to_read;
use crate::core::policy::Document;
use crate::core::reads::Reads;
use crate::core::reads::known::Known;
use crate::core::reads::names_its_keys;
use crate::core::reads::picture::{Itself, assumed, by_record, named_keys, unread};

/// The Secrets as read, and the secret halves of the keys found: what the pure core must not see.
#[derive(Default)]
pub struct Held {
    /// The live Secret that the key belongs into.
    pub live: Option<Secret>,
    /// The workload's, where that has sessions.
    pub delivered: Option<Secret>,
    /// The secret halves, by key id.
    pub halves: HashMap<String, SecretString>,
    /// This pass has added the finalizer, which the cached CR does not show yet.
    pub finalizer_added: bool,
    /// The user was not read: nothing may be written to IAM.
    pub unproven: bool,
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
    /// Its keys are those that the status names, and were not listed.
    pub by_name: bool,
}

/// What has been read before the rest: what the Secrets hold, and perhaps the access keys.
pub struct Seen {
    /// The one that the key belongs into.
    pub state: SecretState,
    /// The workload's, where that has sessions.
    pub session: Option<SecretState>,
    /// Why the workload's cannot be rendered as the spec asks, where it is to be written.
    pub unrenderable: Option<String>,
    /// Those in other places.
    pub renamed: BTreeMap<Place, OurSecret>,
    /// Who is to be restarted for a new key.
    pub workloads: BTreeMap<Workload, WorkloadState>,
    /// The IAM user, where it has been read already; `Some(None)`: IAM says NoSuchEntity.
    pub user: Option<Option<UserRecord>>,
    /// Its access keys, where they have been listed already.
    pub keys: Option<Vec<AccessKey>>,
    /// The managed policies that this reconcile has deleted, by ARN.
    pub deleted: BTreeSet<String>,
}

impl Seen {
    /// What was read to curtail the user, for a deletion to go on with.
    pub fn of(possession: Possession) -> Self {
        let keys = possession.found.keys.filter(|_| !possession.by_name);
        Self { user: Some(Some(possession.record)), keys, ..Self::nothing() }
    }

    /// The workload's Secret.
    pub fn delivered(&self) -> &SecretState {
        self.session.as_ref().unwrap_or(&self.state)
    }

    /// What this reconcile has written meanwhile need not be read again.
    pub fn follow(&mut self, observed: &Observed) {
        (self.state, self.session) = (observed.secret.clone(), observed.session.clone());
        (self.renamed, self.workloads) = (observed.renamed.clone(), observed.workloads.clone());
        let deleted = observed.policies.iter().filter(|(_, state)| **state == PolicyState::Deleted);
        self.deleted.extend(deleted.map(|(arn, _)| arn.clone()));
    }

    /// The Secret that the key belongs into, and the workload's, where that has sessions.
    pub fn secrets(&self) -> (&SecretState, Option<&SecretState>) {
        (&self.state, self.session.as_ref())
    }

    /// No Secret was read: a deletion needs none.
    pub fn nothing() -> Self {
        Self {
            state: SecretState::Missing,
            session: None,
            unrenderable: None,
            renamed: BTreeMap::new(),
            workloads: BTreeMap::new(),
            user: None,
            keys: None,
            deleted: BTreeSet::new(),
        }
    }
}

/// The picture before IAM is asked.
pub fn before_iam(user: &S3AccessUser, seen: &Seen, known: &Known) -> Observed {
    let mut observed = Observed {
        secret: seen.state.clone(),
        session: seen.session.clone(),
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
pub async fn read_level(
    pass: Pass<'_>,
    reads: Reads,
    seen: &mut Seen,
    known: &Known,
) -> Result<Option<Observed>, Error> {
    let mut observed = before_iam(pass.user, seen, known);
    if reads == Reads::Recorded {
        return read_recorded(pass, observed, seen).await;
    }
    let Some(desired) = pass.desired.filter(|_| reads != Reads::Everything) else {
        return read_everything(pass, observed, seen).await.map(Some);
    };
    let name = &pass.owner.user_name;
    let iam = &pass.resolved.session.iam;
    let keys = match reads {
        Reads::Keys => match keys_of(pass).await {
            Ok(keys) => {
                seen.keys = Some(keys.clone());
                Some(keys)
            }
            // Somebody has deleted the user.
            Err(error) if error.kind == ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        },
        Reads::User | Reads::UserAndKeys => {
            let mut found = match seen.user.take() {
                Some(found) => found,
                None => iam.get_user(name).await?,
            };
            found.iter_mut().for_each(|found| carry(&mut found.tags, &observed));
            let is_as_wanted = found.as_ref().is_some_and(|found| itself(found).is_as_wanted(desired));
            seen.user = Some(found);
            match reads {
                _ if !is_as_wanted => None,
                Reads::User => known.keys_left(pass.fingerprint(), seen.secrets()).map(|(keys, _)| keys),
                _ => match seen.keys.take() {
                    None => Some(keys_of(pass).await?),
                    keys => keys,
                },
            }
        }
        _ => None,
    };
    let elsewhere = if reads.is_of_the_user() { made_elsewhere(pass.user, pass.owner) } else { None };
    let live = |tag: &str| seen.user.as_ref().and_then(|found| found.as_ref()?.tags.get(tag).cloned());
    observed.revoked = live(tags::REVOKED).or(observed.revoked);
    observed.unused = live(tags::UNUSED).or(observed.unused);
    let observed = Observed { account_elsewhere: elsewhere, ..observed };
    Ok(assumed(reads, desired, observed, keys, known))
}

/// The picture of a deletion by what the user's tags record, and the tags of its managed policies, which say whose they are.
async fn read_recorded(pass: Pass<'_>, mut observed: Observed, seen: &Seen) -> Result<Option<Observed>, Error> {
    let Some(Some(found)) = &seen.user else { return Ok(None) };
    let Some(mut user) = by_record(pass.owner, pass.user, itself(found)) else { return Ok(None) };
    user.keys = seen.keys.clone().unwrap_or_default();
    for arn in policy_records(&user.tags).filter_map(|record| pass.owner.recorded_policy_arn(record)) {
        let state = match pass.resolved.session.iam.get_policy(&arn).await? {
            None => PolicyState::Missing,
            Some(found) => PolicyState::Present(ManagedPolicy {
                tags: found.tags,
                document: Document::new(Vec::new()),
                versions: Vec::new(),
            }),
        };
        observed.policies.insert(arn, state);
    }
    observed.account_elsewhere = made_elsewhere(pass.user, pass.owner);
    observed.user = UserState::Present(Box::new(user));
    Ok(Some(observed))
}

async fn read_everything(pass: Pass<'_>, mut observed: Observed, seen: &mut Seen) -> Result<Observed, Error> {
    let Pass { user, owner, desired, .. } = pass;
    let session = &pass.resolved.session;
    observed.account_elsewhere = made_elsewhere(user, owner);
    let mut found = match seen.user.take() {
        Some(found) => found,
        None => session.iam.get_user(&owner.user_name).await?,
    };
    found.iter_mut().for_each(|found| carry(&mut found.tags, &observed));
    let tags = found.as_ref().map(|found| found.tags.clone()).unwrap_or_default();
    observed.user = match found {
        None => UserState::Missing,
        Some(found) => UserState::Present(Box::new(user_of(pass, found, seen.keys.take()).await?)),
    };
    let wanted = desired.and_then(|desired| desired.policy_of(Some(&tags)));
    for arn in policies_to_read(owner, desired, &tags) {
        let differs = |document: &Document| match &wanted {
            Some(DesiredPolicy::Managed { arn: wanted, document: meant }) => {
                *wanted == arn && !meant.means_the_same(document)
            }
            _ => false,
        };
        let state = match policy(session, &arn, differs).await? {
            PolicyState::Missing if seen.deleted.contains(&arn) => PolicyState::Deleted,
            state => state,
        };
        observed.policies.insert(arn, state);
    }
    Ok(observed)
}

/// Has the tags tell what this process knows of them, where a replica of IAM is behind.
fn carry(tags: &mut BTreeMap<String, String>, observed: &Observed) {
    ends::carry(tags, tags::REVOKED, observed.revoked.as_deref());
    ends::carry(tags, tags::UNUSED, observed.unused.as_deref());
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
    let known = ctx.state.known(pass.uid());
    carry(&mut found.tags, &unread(pass.user, &known));
    let (mut failed, mut by_name) = (None, false);
    if owner.identity.ownership(&found.tags) == Ownership::Ours {
        ctx.state.change(pass.uid(), |known| known.tagged(&found.tags));
        by_name = names_its_keys(pass.user, owner.retain)
            && known.failures == 0
            && Adoption::of(&found.tags) == Adoption::None;
        match if by_name { Ok(named_keys(pass.user)) } else { keys_of(pass).await } {
            Ok(keys) => found.keys = Some(keys),
            Err(error) if error.kind == ErrorKind::NotFound => found.keys = Some(Vec::new()),
            Err(error) => failed = Some(error.into()),
        }
    }
    if known.unused_suspected {
        failed = failed.or(uses(pass, &mut found).await.err());
    }
    (Some(Possession { record, found, taken: false, revoked: false, by_name }), failed)
}

/// Asks when each key was used last.
async fn uses(pass: Pass<'_>, found: &mut Holdings) -> Result<(), Error> {
    for key in found.keys.iter().flatten() {
        let used = pass.resolved.session.iam.get_access_key_last_used(&key.id).await?;
        found.uses.insert(key.id.clone(), used);
    }
    Ok(())
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
            Ok(PolicyState::Missing | PolicyState::Deleted) => {}
            Ok(PolicyState::Present(policy)) => drop(found.managed.insert(arn, Some(policy))),
            Err(error) => {
                tell(error);
                found.managed.insert(arn, None);
            }
        }
    }
    first
}

/// The user's access keys; where a system shows no dates, with what the status says of those that it names.
async fn keys_of(pass: Pass<'_>) -> Result<Vec<AccessKey>, AwsError> {
    let recorded = pass.user.status.as_ref().map(dates).unwrap_or_default();
    pass.resolved.session.keys_of(&pass.owner.user_name, &recorded).await
}

/// The date of the current key, and a second before for the one that it has replaced: which of them is older is all that counts.
fn dates(status: &S3AccessUserStatus) -> Vec<(&str, Timestamp)> {
    let current = status.access_key_id.as_deref().zip(status.access_key_created_at.as_ref().map(|at| at.0));
    let replaced = status.retiring_key.as_ref().map(|retiring| retiring.id.as_str());
    let replaced = current.and_then(|(_, at)| Some((replaced?, earlier(at))));
    current.into_iter().chain(replaced).collect()
}

fn earlier(time: Timestamp) -> Timestamp {
    time.checked_sub(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MIN)
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
        None => keys_of(pass).await?,
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
