//! What should be: the spec, resolved against the account and checked.

mod attached;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use self::attached::{attached_of, check_policy_arn};
use super::budget;
use super::class::Class;
use super::ends::inactive::{EndedBy, Expiry, Inactive};
use super::ends::quarantine;
use super::ends::revocation::{self, Revocation};
use super::ends::unused;
use super::iam::Account;
use super::lint::{self, Finding};
use super::names::{self, Cluster, Identity};
use super::policy::{self, Document, Terms};
use super::refusal::Refusal;
use super::rotation::window::{Turn, Window, earliest};
use super::rotation::{DEFAULT_OVERLAP, Rotation};
use super::schedule::fnv;
use super::sessions::{self, Sessions};
use crate::api::{
    AccessKeyStatus, Adoption, Duration, OnCompromise, PolicyType, Reason, S3AccessUser, S3AccessUserSpec, Workload,
    annotations, limits, tags,
};

/// Hex digits of the digest of a request that is too long to be recorded.
const REQUEST_DIGEST: usize = 16;

/// Who owns what, and under which names: all that deletion needs. It can always be told, also of a refused spec.
#[derive(Clone, Debug, PartialEq)]
pub struct Owner {
    /// The S3AccessUser.
    pub identity: Identity,
    /// Where its IAM user lives.
    pub account: Account,
    /// The IAM user's name.
    pub user_name: String,
    /// The IAM path of user and policy.
    pub path: String,
    /// The policy's name, whether or not the spec asks for one.
    pub policy_name: String,
    /// What to do with a user that is there already.
    pub adoption: Adoption,
    /// Keep the IAM user and policy when the CR is deleted.
    pub retain: bool,
    /// When the CR's deletion was asked for.
    pub deleted_at: Option<Timestamp>,
    /// The name of the Secret.
    pub secret_name: String,
    /// The class that it is held to; `None`: none.
    pub class: Option<String>,
}

impl Owner {
    /// The names under which this S3AccessUser's things live.
    pub fn of(user: &S3AccessUser, account: &Account, cluster: &Cluster, class: &Class) -> Self {
        let (namespace, name) = (user.namespace().unwrap_or_default(), user.name_any());
        let spec = &user.spec;
        let user_name = spec.user_name.clone().unwrap_or_else(|| names::user_name(cluster, &namespace, &name));
        Self {
            policy_name: spec
                .policy
                .as_ref()
                .and_then(|policy| policy.name.clone())
                .unwrap_or_else(|| user_name.clone()),
            secret_name: user.secret_name(),
            class: class.name().map(ToOwned::to_owned),
            identity: Identity { cluster_id: cluster.id.clone(), uid: user.uid().unwrap_or_default(), namespace, name },
            account: account.clone(),
            user_name,
            path: class.path(spec.path.as_deref()),
            adoption: class.adoption(spec.adoption),
            retain: class.retains(spec.deletion_policy),
            deleted_at: user.metadata.deletion_timestamp.as_ref().map(|time| time.0),
        }
    }

    /// The ARN that the IAM user has, or would have.
    pub fn user_arn(&self) -> String {
        format!("arn:{}:iam::{}:user{}{}", self.account.partition, self.account.id, self.path, self.user_name)
    }

    /// The ARN that the operator's own managed policy has, or would have.
    pub fn policy_arn(&self) -> String {
        names::policy_arn(&self.account.partition, &self.account.id, &self.path, &self.policy_name)
    }

    /// The ARN that a record of the form `managed:<path><name>` stands for.
    pub fn recorded_policy_arn(&self, record: &str) -> Option<String> {
        let Account { id, partition } = &self.account;
        record.strip_prefix("managed:").map(|path_and_name| format!("arn:{partition}:iam::{id}:policy{path_and_name}"))
    }
}

/// The policy that the operator makes for the user.
#[derive(Clone, Debug, PartialEq)]
pub enum DesiredPolicy {
    /// A customer managed policy, attached.
    Managed {
        /// Its ARN.
        arn: String,
        /// What it says.
        document: Document,
    },
    /// A policy inside the user.
    Inline {
        /// Its name.
        name: String,
        /// What it says.
        document: Document,
    },
}

impl DesiredPolicy {
    fn holding(document: Document, inline: bool, owner: &Owner) -> Result<Self, Refusal> {
        policy::check_size(&document, if inline { policy::INLINE_LIMIT } else { policy::MANAGED_LIMIT })?;
        Ok(if inline {
            Self::Inline { name: owner.policy_name.clone(), document }
        } else {
            Self::Managed { arn: owner.policy_arn(), document }
        })
    }

    /// What it says.
    pub fn document(&self) -> &Document {
        match self {
            Self::Managed { document, .. } | Self::Inline { document, .. } => document,
        }
    }

    /// The same, of another document.
    #[must_use]
    pub fn with(self, document: Document) -> Self {
        match self {
            Self::Managed { arn, .. } => Self::Managed { arn, document },
            Self::Inline { name, .. } => Self::Inline { name, document },
        }
    }

    /// The value of [`tags::POLICY`] while this is the policy.
    pub fn record(&self) -> String {
        match self {
            Self::Managed { arn, .. } => {
                format!(
                    "managed:{}",
                    arn.split_once(":policy").map_or(arn.as_str(), |(_, path_and_name)| path_and_name)
                )
            }
            Self::Inline { name, .. } => format!("inline:{name}"),
        }
    }
}

/// What the spec asks for, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// Names and ownership.
    pub owner: Owner,
    /// The ARN of the permissions boundary.
    pub boundary: Option<String>,
    /// The spec's own tags.
    pub tags: BTreeMap<String, String>,
    /// The policy made from `access` and `policy`; as it is to be written: [`Self::policy_of`].
    pub policy: Option<DesiredPolicy>,
    /// Where sessions may be in use: the policy cuts those that were issued before, as the status tells of a revocation, or the
    /// user's tags. `None`: there are none to cut.
    pub cut_at: Option<Timestamp>,
    /// Existing managed policies to attach.
    pub attached: BTreeSet<String>,
    /// Why the access key is not to work, whatever the time: [`Self::inactive_at`].
    pub inactive: Option<Inactive>,
    /// When its access ends.
    pub expiry: Option<Expiry>,
    /// Under which terms it may use what it is allowed.
    pub terms: Terms,
    /// When the key is replaced, and how long the old one is kept.
    pub rotation: Rotation,
    /// What the revoke annotation asks for.
    pub revocation: Option<revocation::Request>,
    /// Whether and when a key that nobody uses is suspended.
    pub unused: unused::Terms,
    /// The Secret holds sessions of the key; `None`: the key itself.
    pub sessions: Option<Sessions>,
    /// The workloads that are restarted when the key was replaced.
    pub workloads: BTreeSet<Workload>,
    /// What of the spec the class does not allow, in words; it is left out of all the rest.
    pub violation: Option<String>,
    /// What of the spec's grants and statements is surely a mistake; `None` where there is nothing to look at.
    pub mistakes: Option<Vec<Finding>>,
    /// The class, for what is found on a user that was adopted.
    pub class: Class,
}

impl Desired {
    /// Resolves and checks the spec.
    ///
    /// # Errors
    /// [`Refusal`]: nothing is written for such a spec, and what was made for an earlier one stays as it is.
    pub fn of(user: &S3AccessUser, account: &Account, cluster: &Cluster, class: &Class) -> Result<Self, Refusal> {
        let spec = &user.spec;
        budget::check(spec)?;
        let owner = Owner::of(user, account, cluster, class);
        let mut violations = class.violations(spec);
        let expelled = !class.expulsions(spec).is_empty();
        let (terms, expiry, beyond) = terms_of(user, class)?;
        violations.extend(beyond);
        let (document, beyond) = policy::compile(spec, account, class, &terms)?;
        violations.extend(beyond);
        let (inactive, sessions) = (inactive_of(spec, expelled), class.sessions(spec)?);
        let (rotation, beyond) = rotation_of(user, class, sessions)?;
        violations.extend(beyond);
        let granted = document.is_some() || !violations.is_empty();
        let inline = spec.policy.as_ref().is_some_and(|policy| policy.policy_type == PolicyType::Inline);
        let holding = |document| {
            let policy = DesiredPolicy::holding(document, inline, &owner);
            policy.map_err(|refusal| terms.told_of_size(refusal))
        };
        let document = document.filter(|_| !expelled);
        let in_use = sessions::may_be_in_use(spec.access_key.mode, user.status.as_ref());
        let cut_at = in_use.then(|| told_cut_of(user));
        // Sessions are cut by the policy, so that it has to have room for that.
        let roomy = document.iter().filter(|_| sessions.is_some() || cut_at > Some(Timestamp::MIN));
        roomy
            .map(|document| policy::with_cut(document, Timestamp::UNIX_EPOCH))
            .try_for_each(|cut| holding(cut).map(drop))?;
        // An inactive key ends no session.
        let document = if in_use && inactive.is_some() { Some(policy::cut_off()) } else { document };
        let cut_at = cut_at.filter(|_| inactive.is_none());
        let policy = document.map(holding).transpose()?;
        let (attached, beyond) = attached_of(spec, account, class, &terms)?;
        violations.extend(beyond);
        let boundary = class.boundary(spec.permissions_boundary_arn.as_deref());
        boundary.iter().try_for_each(|arn| check_policy_arn(arn, "spec.permissionsBoundaryArn", account))?;
        if !granted && spec.managed_policy_arns.is_empty() {
            return Err(Refusal {
                reason: Reason::InvalidPolicy,
                message: "nothing is granted: set spec.access, spec.policy or spec.managedPolicyArns".to_owned(),
            });
        }
        check_tag_keys(&spec.tags)?;
        Ok(Self {
            boundary,
            tags: class.tags(&spec.tags),
            policy,
            cut_at,
            attached: if expelled { BTreeSet::new() } else { attached },
            inactive,
            expiry,
            terms,
            rotation,
            sessions,
            revocation: revocation::Request::of(user),
            unused: unused::Terms::of(user, class),
            workloads: spec.secret.rollout_restart.iter().cloned().collect(),
            mistakes: (!spec.access.is_empty() || spec.policy.is_some()).then(|| lint::findings(spec, account)),
            violation: (!violations.is_empty()).then(|| class.told(&violations)),
            class: class.clone(),
            owner,
        })
    }

    /// Why the access key is not to work now; `None`: it may be used.
    pub fn inactive_at(&self, now: Timestamp) -> Option<Inactive> {
        self.inactive.clone().or_else(|| self.expiry?.inactive(now))
    }

    /// The same, of what is attached to the user and what its tags tell as well.
    pub fn inactive_with(&self, user: Option<&super::observed::User>, now: Timestamp) -> Option<Inactive> {
        let alarm = || {
            let policies = quarantine::policies(&user?.attached);
            let suspends = self.class.on_compromise() == OnCompromise::Suspend && !policies.is_empty();
            suspends.then(|| Inactive::compromised(&policies))
        };
        let unused = || self.unused.inactive(&user?.tags);
        self.inactive_at(now).or_else(alarm).or_else(unused)
    }

    /// What is to be revoked, given what is attached to the user.
    pub fn revocations(&self, user: &super::observed::User) -> Vec<revocation::Request> {
        let alarm = quarantine::request(self.class.on_compromise(), &user.attached);
        self.revocation.iter().cloned().chain(alarm).collect()
    }

    /// Sessions that were issued before that time are cut: by the status, or by those tags of the user, which know of a revocation
    /// before the status tells of it. `None`: none is.
    pub(super) fn cut_of(&self, found: Option<&BTreeMap<String, String>>) -> Option<Timestamp> {
        let recorded = found.and_then(Revocation::of).map(|revocation| revocation.cut_at());
        self.cut_at.max(self.cut_at.and(recorded)).filter(|at| *at > Timestamp::MIN)
    }

    /// The policy, where the user's tags say that it is there already, with the cut of the sessions of revoked keys.
    ///
    /// IAM tells policies apart by name, whatever their paths and case, and cannot move one: a policy of ours keeps the
    /// ARN that it was made with while its name stays.
    pub fn policy_of(&self, found: Option<&BTreeMap<String, String>>) -> Option<DesiredPolicy> {
        let wanted = self.policy.clone()?;
        let wanted = match self.cut_of(found) {
            Some(at) => {
                let cut = policy::with_cut(wanted.document(), at);
                wanted.with(cut)
            }
            None => wanted,
        };
        let DesiredPolicy::Managed { arn, document } = &wanted else {
            return Some(wanted);
        };
        let name = |arn: &str| arn.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        let recorded = found.and_then(|tags| self.owner.recorded_policy_arn(tags.get(tags::POLICY)?));
        match recorded.filter(|recorded| name(recorded) == name(arn)) {
            Some(arn) => Some(DesiredPolicy::Managed { arn, document: document.clone() }),
            None => Some(wanted),
        }
    }

    /// The tags that the user should have, given what it has: ownership, the records of what was set, the spec's own.
    ///
    /// A record keeps what it names until that is gone from the user, so that a crash between the two loses nothing.
    pub fn user_tags(&self, found: Option<&super::observed::User>) -> BTreeMap<String, String> {
        let mut wanted = self.tags.clone();
        wanted.extend(self.owner.identity.tags());
        let old = |tag: &str| found.and_then(|user| user.tags.get(tag));
        let attached = found
            .into_iter()
            .flat_map(|user| &user.attached)
            .filter(|arn| names::recorded(old(tags::ATTACHED), arn))
            .chain(&self.attached)
            .map(String::as_str);
        let keys = found
            .into_iter()
            .flat_map(|user| user.tags.keys())
            .filter(|key| names::recorded(old(tags::TAG_KEYS), key))
            .chain(self.tags.keys())
            .map(String::as_str);
        for (tag, record) in [(tags::ATTACHED, names::record(attached)), (tags::TAG_KEYS, names::record(keys))] {
            if !record.is_empty() {
                wanted.insert(tag.to_owned(), record);
            }
        }
        if let Some(boundary) = &self.boundary {
            wanted.insert(tags::BOUNDARY.to_owned(), names::record([boundary.as_str()]));
        }
        if let Some(policy) = &self.policy {
            wanted.insert(tags::POLICY.to_owned(), policy.record());
        }
        wanted
    }
}

#[cfg(test)]
impl Desired {
    /// Of a user with that spec, without a class.
    pub(crate) fn by_spec(spec: &serde_json::Value) -> Self {
        let mut user = S3AccessUser::new("reports", serde_json::from_value(spec.clone()).unwrap());
        (user.metadata.namespace, user.metadata.uid) = (Some("team-a".to_owned()), Some("uid".to_owned()));
        let account = Account { id: "123456789012".to_owned(), partition: "aws".to_owned() };
        let cluster = Cluster { id: "id".to_owned(), name: "prod".to_owned() };
        Self::of(&user, &account, &cluster, &Class::none()).unwrap()
    }
}

/// What tells one request for a rotation from the next.
fn request(value: &str) -> String {
    if value.len() <= limits::REQUEST { value.to_owned() } else { names::digest(&[value], REQUEST_DIGEST) }
}

/// Whether an annotation of the CR says `"true"`.
pub fn is_true(user: &S3AccessUser, annotation: &str) -> bool {
    user.annotations().get(annotation).is_some_and(|value| value == "true")
}

/// When the spec has the access end.
pub fn expiry_by_spec(spec: &S3AccessUserSpec) -> Option<Expiry> {
    spec.expires_at.as_ref().map(|time| Expiry::at(time.0, EndedBy::Spec))
}

/// Under which terms what the spec asks for is allowed, when that ends, and what of the spec's own terms the class does not
/// allow.
fn terms_of(user: &S3AccessUser, class: &Class) -> Result<(Terms, Option<Expiry>, Vec<String>), Refusal> {
    let mut violations = Vec::new();
    let (asked, longest) = (expiry_by_spec(&user.spec), class.expiry(user));
    if let (Some(asked), Some(longest)) = (asked, longest)
        && asked.at > longest.at
    {
        violations.push(format!(
            "spec.expiresAt {}: maxLifetime ends at {}, so write that or an earlier time",
            asked.at, longest.at
        ));
    }
    let own = user.spec.conditions.as_ref().map(|conditions| Terms::of(conditions, "spec.conditions")).transpose()?;
    let of_class = class.terms(user);
    let unmeetable = of_class.is_unmeetable();
    let terms = of_class.and(own.unwrap_or_default()).until(asked);
    if terms.is_unmeetable() && !unmeetable {
        violations
            .push("spec.conditions: none of its places is within requiredConditions, so name such as are".to_owned());
    }
    Ok((terms, Expiry::earlier(longest, asked), violations))
}

/// What the status tells of a revocation: sessions that were issued before are to be cut.
fn told_cut_of(user: &S3AccessUser) -> Timestamp {
    let revocation = user.status.as_ref().and_then(|status| status.revocation.as_ref());
    revocation.map_or(Timestamp::MIN, |told| revocation::cut_at(told.revoked_at.0))
}

fn inactive_of(spec: &S3AccessUserSpec, expelled: bool) -> Option<Inactive> {
    let suspended = spec.suspend || spec.access_key.status == AccessKeyStatus::Inactive;
    expelled.then(Inactive::expelled).or_else(|| suspended.then(Inactive::suspended))
}

/// The rotation, and what of it the class leaves no room for.
fn rotation_of(
    user: &S3AccessUser,
    class: &Class,
    sessions: Option<Sessions>,
) -> Result<(Rotation, Option<String>), Refusal> {
    let spec = user.spec.access_key.rotation.as_ref();
    let asked = spec.map(|rotation| rotation.interval.signed());
    let overlap = spec.and_then(|rotation| rotation.overlap).map(Duration::signed);
    if asked.is_some_and(|asked| overlap.unwrap_or(DEFAULT_OVERLAP) >= asked || asked <= SignedDuration::ZERO) {
        return Err(Refusal {
            reason: Reason::InvalidSpec,
            message: "spec.accessKey.rotation: interval must be longer than overlap (24h unless set)".to_owned(),
        });
    }
    let interval = class.interval(asked);
    // An interval of the class knows nothing of the overlap.
    let longest = interval.map_or(SignedDuration::MAX, |interval| interval / 2);
    let overlap = if interval == asked {
        overlap.unwrap_or(DEFAULT_OVERLAP)
    } else {
        overlap.unwrap_or(DEFAULT_OVERLAP).min(longest)
    };
    // A replaced key is kept while a session of it may be in use.
    let overlap = sessions.map_or(overlap, |sessions| overlap.max(sessions.duration));
    let window = spec.and_then(|rotation| rotation.window.as_deref()).map(Window::parse).transpose();
    let window = window.map_err(|error| Refusal::invalid_spec(format!("spec.accessKey.rotation.window: {error}")))?;
    let unmet = window.as_ref().zip(interval).and_then(|(window, interval)| unmet(window, interval, overlap));
    if let Some(unmet) = unmet.as_ref().filter(|_| interval == asked) {
        return Err(Refusal::invalid_spec(unmet));
    }
    // An interval of the class goes before the tenant's hours.
    let window = window.filter(|_| unmet.is_none());
    let window = window.map(|window| Turn::new(window, fnv(&user.uid().unwrap_or_default())));
    let longest_life = class.longest_life(&user.spec);
    let requested = user.annotations().get(annotations::ROTATE).map(|value| request(value));
    Ok((Rotation { interval, window, overlap, longest_life, requested }, unmet))
}

/// Why the window does not come often enough for every key to be replaced in it before it is older than the interval.
fn unmet(window: &Window, interval: SignedDuration, overlap: SignedDuration) -> Option<String> {
    let shortest = window.shortest_interval(overlap);
    // Rounded up: what is written is to be enough.
    let hours = shortest.as_secs().saturating_add(3_599) / 3_600;
    (interval < shortest).then(|| {
        format!(
            "spec.accessKey.rotation.window: between two windows lie up to {:#}, and a key is replaced {:#} after it was made at the earliest (twice the overlap, and the time of a rotation), so an interval of {interval:#} may have no window: write an interval of at least {hours}h, a wider window or a shorter overlap",
            window.widest_gap(),
            earliest(overlap),
        )
    })
}

/// IAM's tag keys are the same in either case.
fn check_tag_keys(asked: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let reserved =
        |key: &&String| [tags::PREFIX, "aws:"].iter().any(|prefix| key.to_ascii_lowercase().starts_with(prefix));
    match asked.keys().find(reserved) {
        Some(key) => Err(Refusal::invalid_spec(format!(
            "spec.tags: {key:?} has a reserved prefix (s3access.dev/ or aws:): choose another key"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
