//! What the platform team sets and allows: an S3AccessClass as it applies to one namespace.
//!
//! A spec that asks for more is cut down to what fits, so that a class that shrinks takes back what no longer does, and
//! only that; what was cut is told by field.

mod buckets;
mod pattern;
mod statement;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};

use buckets::admits_namespace;
pub use buckets::{Overlap, kept, named_by};
pub use pattern::{Effort, Pattern};

use self::buckets::{Listed, Neighbours};
use super::ends::inactive::{EndedBy, Expiry};
use super::policy::requirement::Provable;
use super::policy::terms::Terms;
use super::refusal::Refusal;
use super::rotation::{DEFAULT_OVERLAP, Life, later};
use super::sessions::{self, Sessions};
use crate::api::{
    AccessKeyMode, Adoption, AllowedNamespaces, Capabilities, ClassProvider, DeletionPolicy, Duration, OnCompromise,
    S3AccessClass, S3AccessClassSpec, S3AccessUser, S3AccessUserSpec, SecretSpec,
};

/// No class can ask for less: AWS tells of uses some hours late.
const SHORTEST_UNUSED: SignedDuration = SignedDuration::from_hours(24);

/// An S3AccessClass as it applies to one namespace; or none, in the operator's own account.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    name: Option<String>,
    spec: Arc<S3AccessClassSpec>,
    namespace: String,
    admits_namespace: bool,
    listed: Listed,
    neighbours: Arc<Neighbours>,
    defaults: Defaults,
    terms: Terms,
    /// What an S3-compatible system was found to do; `None`: it was not tried.
    system: Option<Capabilities>,
}

/// What the operator's settings say where a class does not.
#[derive(Clone, Debug, PartialEq)]
pub struct Defaults {
    /// The IAM path of users and policies.
    pub path: String,
    /// No key is replaced by schedule sooner than that: each rotation is calls and a restart of its consumers.
    pub min_interval: SignedDuration,
}

impl Defaults {
    /// The path on AWS: the shipped IAM policy covers no other.
    pub const PATH: &str = "/s3access/";
}

impl Default for Defaults {
    fn default() -> Self {
        Self { path: "/".to_owned(), min_interval: SignedDuration::from_hours(1) }
    }
}

/// Helm takes every Secret of such a name for a release of its own.
const HELM_RELEASES: &str = "sh.helm.release.v1.*";

impl Class {
    /// Without a class, S3 is the only limit: an administrator who wants others makes a class.
    pub fn none() -> Self {
        let any = || vec!["*".to_owned()];
        let spec = S3AccessClassSpec {
            allowed_buckets: any(),
            allowed_kms_key_arns: any(),
            allow_statements: true,
            allowed_managed_policy_arns: any(),
            allowed_names: any(),
            allowed_tag_keys: any(),
            allowed_paths: any(),
            allow_retain: true,
            allowed_secret_labels: any(),
            allowed_secret_annotations: any(),
            ..S3AccessClassSpec::default()
        };
        Self {
            name: None,
            spec: Arc::new(spec),
            namespace: String::new(),
            admits_namespace: true,
            listed: Listed::default(),
            neighbours: Arc::default(),
            defaults: Defaults::default(),
            terms: Terms::default(),
            system: None,
        }
    }

    /// The same, with what the operator's settings say.
    #[must_use]
    pub fn with(self, defaults: Defaults) -> Self {
        Self { defaults, ..self }
    }

    /// The class, for a namespace with these labels; see [`Self::annotated`] and [`Self::beside`] for what else of the
    /// cluster it may go by.
    pub fn of(class: &S3AccessClass, namespace: &str, labels: &BTreeMap<String, String>) -> Self {
        let admits_namespace = admits_namespace(&class.spec, namespace, labels);
        Self {
            name: Some(class.name_any()),
            spec: Arc::new(class.spec.clone()),
            namespace: namespace.to_owned(),
            admits_namespace,
            listed: Listed::by_label(&class.spec, namespace, labels),
            neighbours: Arc::default(),
            defaults: Defaults::default(),
            terms: required(&class.spec).unwrap_or_else(|_| Terms::unmeetable()),
            system: class.capabilities().cloned(),
        }
    }

    /// The same, on a system that was found to do that.
    #[must_use]
    pub fn on(self, system: Option<Capabilities>) -> Self {
        Self { system, ..self }
    }

    /// What its S3-compatible system was found to do; `None`: it was not tried.
    pub fn system(&self) -> Option<&Capabilities> {
        self.system.as_ref()
    }

    /// Its name.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// What to say of these violations.
    pub fn told(&self, violations: &[String]) -> String {
        let violations = violations.join("; ");
        match &self.name {
            Some(name) => format!("S3AccessClass {name:?} does not allow {violations}"),
            None => format!("without an S3AccessClass that says otherwise, nothing allows {violations}"),
        }
    }

    /// The IAM path for a spec.
    pub fn path(&self, asked: Option<&str>) -> String {
        asked.filter(|asked| self.allows_path(asked)).unwrap_or_else(|| self.own_path()).to_owned()
    }

    fn own_path(&self) -> &str {
        // Systems other than AWS may have no paths but those that say whose a user is.
        let default = if self.spec.provider == ClassProvider::Aws { self.defaults.path.as_str() } else { "/" };
        self.spec.path.as_deref().unwrap_or(default)
    }

    fn allows_path(&self, path: &str) -> bool {
        path == self.own_path()
            || self.patterns(&self.spec.allowed_paths, Pattern::new).iter().any(|pattern| pattern.matches(path))
    }

    /// Whether IAM user and policy are kept, for a spec that may say.
    pub fn retains(&self, asked: Option<DeletionPolicy>) -> bool {
        let asked = asked.filter(|asked| self.allows_deletion_policy(*asked));
        asked.or(self.spec.deletion_policy).unwrap_or_default() == DeletionPolicy::Retain
    }

    fn allows_deletion_policy(&self, asked: DeletionPolicy) -> bool {
        asked == DeletionPolicy::Delete || self.spec.allow_retain || self.spec.deletion_policy == Some(asked)
    }

    /// The adoption for a spec; what is not allowed becomes the default.
    pub fn adoption(&self, asked: Adoption) -> Adoption {
        if asked == Adoption::Force && !self.spec.allow_force_adoption { Adoption::default() } else { asked }
    }

    /// The permissions boundary for a spec.
    pub fn boundary(&self, asked: Option<&str>) -> Option<String> {
        self.spec
            .permissions_boundary_arn
            .clone()
            .or_else(|| asked.filter(|arn| !arn.is_empty()).map(ToOwned::to_owned))
    }

    /// The tags for a spec.
    pub fn tags(&self, asked: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let of_class = |key: &str| self.spec.tags.keys().any(|own| own.to_lowercase() == key.to_lowercase());
        let allowed = asked.iter().filter(|(key, _)| self.allows_tag(key) && !of_class(key));
        let mut tags: BTreeMap<String, String> = allowed.map(|(key, value)| (key.clone(), value.clone())).collect();
        tags.extend(self.spec.tags.clone());
        tags
    }

    /// The rotation interval for a spec.
    pub fn interval(&self, asked: Option<SignedDuration>) -> Option<SignedDuration> {
        let default = self.spec.rotation.as_ref().and_then(|rotation| rotation.default_interval).map(Duration::signed);
        let interval = match (asked.or(default), self.max_interval()) {
            (Some(interval), Some(longest)) => Some(interval.min(longest)),
            (interval, longest) => interval.or(longest),
        };
        interval.map(|interval| interval.max(self.min_interval()))
    }

    /// No key may become older than that before it is replaced.
    pub fn max_interval(&self) -> Option<SignedDuration> {
        self.spec.rotation.as_ref().and_then(|rotation| rotation.max_interval).map(Duration::signed)
    }

    /// How long a key may work, whatever keeps it from being replaced.
    pub fn longest_life(&self, spec: &S3AccessUserSpec) -> Option<Life> {
        let longest = self.max_interval()?;
        let asked = spec.access_key.rotation.as_ref().and_then(|rotation| rotation.overlap);
        let overlap = asked.map_or(DEFAULT_OVERLAP, Duration::signed).min(longest);
        Some(Life::new(longest, overlap))
    }

    /// No key is replaced by schedule sooner than that.
    pub fn min_interval(&self) -> SignedDuration {
        let set = self.spec.rotation.as_ref().and_then(|rotation| rotation.min_interval).map(Duration::signed);
        let shortest = set.unwrap_or(self.defaults.min_interval);
        // A longest of its own wins: the platform team has written it down.
        self.max_interval().map_or(shortest, |longest| shortest.min(longest))
    }

    /// The sessions of a spec; `None`: its Secret holds the key itself.
    ///
    /// # Errors
    /// [`Refusal`]: STS knows no sessions of such a length.
    pub fn sessions(&self, spec: &S3AccessUserSpec) -> Result<Option<Sessions>, Refusal> {
        if spec.access_key.mode == AccessKeyMode::Static {
            return Ok(None);
        }
        let duration = spec.access_key.duration.map_or(sessions::DEFAULT_DURATION, Duration::signed);
        if !(sessions::SHORTEST..=sessions::LONGEST).contains(&duration) {
            return Err(Refusal::invalid_spec(
                "spec.accessKey.duration: it must be from 15m to 36h, which is what AWS STS takes",
            ));
        }
        Ok(Some(Sessions { duration, required: self.spec.require_session }))
    }

    /// How long a key may go without a use that AWS tells of.
    pub fn suspend_unused_after(&self) -> Option<SignedDuration> {
        let asked = self.spec.suspend_unused_after.filter(|_| self.spec.provider == ClassProvider::Aws)?;
        Some(asked.signed().max(SHORTEST_UNUSED))
    }

    /// Whether no workload may have a key itself.
    pub fn requires_sessions(&self) -> bool {
        self.spec.require_session
    }

    /// The boundary that every user has to be under.
    pub fn forced_boundary(&self) -> Option<&str> {
        self.spec.permissions_boundary_arn.as_deref()
    }

    /// The accounts whose buckets may be reached, where the class says; empty: any.
    pub fn resource_accounts(&self) -> Vec<&str> {
        // Systems other than AWS need not know the condition.
        let own = self.spec.account_id.iter().filter(|_| self.spec.provider == ClassProvider::Aws).map(String::as_str);
        own.flat_map(|own| std::iter::once(own).chain(self.spec.allowed_resource_accounts.iter().map(String::as_str)))
            .collect()
    }

    /// Whether statements in IAM's own words may be used.
    pub fn allows_statements(&self) -> bool {
        self.spec.allow_statements
    }

    /// Of these KMS keys, by their ARNs, those that may not be granted, and why.
    pub fn refused_keys<'a>(&self, asked: impl IntoIterator<Item = &'a String>) -> BTreeMap<&'a str, &'static str> {
        let asked: BTreeSet<&str> = asked.into_iter().map(String::as_str).collect();
        let allowed = self.patterns(&self.spec.allowed_kms_key_arns, Pattern::new);
        let accounts = self.resource_accounts();
        let why = |arn: &str| {
            let account = arn.split(':').nth(4).unwrap_or_default();
            if !allowed.iter().any(|pattern| pattern.matches(arn)) {
                Some("it is not one of allowedKmsKeyArns")
            } else if accounts.is_empty() || accounts.contains(&account) {
                None
            } else {
                Some("its account is neither accountId nor one of allowedResourceAccounts")
            }
        };
        asked.into_iter().filter_map(|arn| Some((arn, why(arn)?))).collect()
    }

    /// Whether a managed policy may be attached.
    pub fn allows_policy(&self, arn: &str) -> bool {
        self.refuses_policy(arn).is_none()
    }

    /// Why a managed policy may not be attached.
    pub fn refuses_policy(&self, arn: &str) -> Option<&'static str> {
        if self.terms.bind() || self.spec.max_lifetime.is_some() {
            return Some(
                "nobody can put a managed policy under its requiredConditions and maxLifetime, so use spec.access",
            );
        }
        let allowed = self.spec.allowed_managed_policy_arns.iter().any(|pattern| Pattern::new(pattern).matches(arn));
        (!allowed).then_some("it is not one of allowedManagedPolicyArns")
    }

    /// Under which terms whoever is in the class may use what it is allowed.
    pub fn terms(&self, user: &S3AccessUser) -> Terms {
        self.terms.clone().until(self.expiry(user))
    }

    /// What becomes of a key that AWS has found in public.
    pub fn on_compromise(&self) -> OnCompromise {
        self.spec.on_compromise
    }

    /// The condition keys that a system has to heed for what the class requires of everybody.
    pub fn required_keys(&self) -> Vec<&'static str> {
        self.terms.keys().into_iter().chain(self.spec.max_lifetime.map(|_| Provable::Before.key())).collect()
    }

    /// Why what is bound by these condition keys cannot be had of an S3-compatible system that was tried.
    pub fn unproven<'a>(&self, keys: impl IntoIterator<Item = &'a &'static str>) -> Option<String> {
        let heeded = &self.system.as_ref()?.condition_keys;
        let keys: Vec<&str> =
            keys.into_iter().filter(|key| !heeded.iter().any(|found| found == **key)).copied().collect();
        let lacks = !keys.is_empty();
        lacks.then(|| {
            format!("this S3-compatible system was tried, and does not look at {} in policies", keys.join(" and "))
        })
    }

    /// When whoever is in the class has no access any more; `None` where the class does not say.
    pub fn expiry(&self, user: &S3AccessUser) -> Option<Expiry> {
        let created_at = user.metadata.creation_timestamp.as_ref()?.0;
        Some(Expiry::at(later(created_at, self.spec.max_lifetime?.signed()), EndedBy::Class))
    }

    /// What of a spec, its grants apart, does not fit: by field, with what to write instead.
    pub fn violations(&self, spec: &S3AccessUserSpec) -> Vec<String> {
        let mut violations = self.expulsions(spec);
        if let Some(path) = spec.path.as_deref().filter(|path| !self.allows_path(path)) {
            violations.push(format!(
                "spec.path {path:?}: it is neither {:?} nor one of allowedPaths, so remove it",
                self.own_path()
            ));
        }
        if spec.deletion_policy.is_some_and(|asked| !self.allows_deletion_policy(asked)) {
            violations.push("spec.deletionPolicy Retain: see its allowRetain, or use Delete".to_owned());
        }
        violations.extend(self.secret_violations(&spec.secret));
        if spec.adoption != self.adoption(spec.adoption) {
            violations.push("spec.adoption Force: use IfOwnedByTag or Never".to_owned());
        }
        let asked = spec.permissions_boundary_arn.as_ref().filter(|arn| !arn.is_empty());
        if let (Some(asked), Some(forced)) = (asked, &self.spec.permissions_boundary_arn)
            && asked != forced
        {
            violations.push(format!("spec.permissionsBoundaryArn {asked:?}: the class sets {forced:?}, so remove it"));
        }
        let reserved = |key: &String| !self.allows_tag(key);
        violations.extend(
            spec.tags
                .keys()
                .filter(|key| reserved(key))
                .map(|key| format!("spec.tags {key:?}: its key is not one of allowedTagKeys, so remove it")),
        );
        if let Some(asked) = spec.access_key.rotation.as_ref().map(|rotation| rotation.interval) {
            let at = "spec.accessKey.rotation.interval";
            match self.spec.rotation.as_ref().and_then(|rotation| rotation.max_interval) {
                Some(longest) if asked > longest => violations.push(format!("{at}: at most {longest} is allowed")),
                _ if asked.signed() < self.min_interval() => {
                    violations.push(format!("{at}: at least {:#} is allowed", self.min_interval()));
                }
                _ => {}
            }
        }
        violations
    }

    /// Other controllers act on Secrets by their names, labels and annotations.
    fn secret_violations(&self, secret: &SecretSpec) -> Vec<String> {
        let mut violations = Vec::new();
        if let Some(name) = secret.name.as_deref().filter(|name| !self.allows_secret_name(name)) {
            violations.push(format!("spec.secret.name {name:?}: it is not one of allowedSecretNames, so remove it"));
        }
        for (field, bound, keys, patterns) in [
            ("labels", "allowedSecretLabels", &secret.labels, &self.spec.allowed_secret_labels),
            ("annotations", "allowedSecretAnnotations", &secret.annotations, &self.spec.allowed_secret_annotations),
        ] {
            let refused = keys.keys().filter(|key| !patterns.iter().any(|pattern| Pattern::new(pattern).matches(key)));
            violations.extend(
                refused.map(|key| format!("spec.secret.{field} {key:?}: it is not one of {bound}, so remove it")),
            );
        }
        violations
    }

    /// The S3AccessUser with no more of a Secret than the class allows; what is left out is told as a violation.
    pub fn bound_secret(&self, user: &mut S3AccessUser) {
        let allows = |patterns: &[String], key: &str| patterns.iter().any(|pattern| Pattern::new(pattern).matches(key));
        let secret = &mut user.spec.secret;
        secret.name.take_if(|name| !self.allows_secret_name(name));
        secret.labels.retain(|key, _| allows(&self.spec.allowed_secret_labels, key));
        secret.annotations.retain(|key, _| allows(&self.spec.allowed_secret_annotations, key));
    }

    fn allows_secret_name(&self, name: &str) -> bool {
        if self.name.is_none() {
            return true;
        }
        let names = self.patterns(&self.spec.allowed_secret_names, Pattern::new);
        !Pattern::new(HELM_RELEASES).matches(name)
            && (names.is_empty() || names.iter().any(|allowed| allowed.matches(name)))
    }

    /// The violations that leave nothing to be kept: whatever the spec grants is taken back.
    pub fn expulsions(&self, spec: &S3AccessUserSpec) -> Vec<String> {
        let mut violations = Vec::new();
        if !self.admits_namespace {
            violations.push(format!("namespace {:?}: see its allowedNamespaces", self.namespace));
        }
        // What the class requires cannot be had, and what was granted without it is not within the class.
        if self.spec.provider == ClassProvider::S3Compatible
            && self.system.as_ref().is_some_and(Capabilities::has_tried_conditions)
            && let Some(why) = self.unproven(&self.required_keys())
        {
            violations.push(format!("anything under its requiredConditions and maxLifetime: {why}"));
        }
        if self.spec.require_session && spec.access_key.mode == AccessKeyMode::Static {
            violations.push("spec.accessKey.mode Static: the class requires sessions, so write Session".to_owned());
        }
        let names = self.patterns(&self.spec.allowed_names, Pattern::caseless);
        let asked = [
            ("spec.userName", spec.user_name.as_ref()),
            ("spec.policy.name", spec.policy.as_ref().and_then(|policy| policy.name.as_ref())),
        ];
        for (field, name) in asked {
            // IAM's names are the same in either case.
            if let Some(name) =
                name.filter(|name| !names.iter().any(|allowed| allowed.matches(&name.to_ascii_lowercase())))
            {
                violations.push(format!("{field} {name:?}: it is not one of allowedNames, so remove it"));
            }
        }
        violations
    }

    fn allows_tag(&self, key: &str) -> bool {
        let key = key.to_ascii_lowercase();
        // IAM's tag keys are the same in either case: the class's own are not to be shadowed.
        !self.spec.tags.keys().any(|own| own.to_ascii_lowercase() == key)
            && self.spec.allowed_tag_keys.iter().any(|pattern| Pattern::caseless(pattern).matches(&key))
    }

    fn patterns(&self, texts: &[String], make: fn(&str) -> Pattern) -> Vec<Pattern> {
        texts.iter().map(|text| make(&text.replace("{namespace}", &self.namespace))).collect()
    }
}

/// What the class requires of every request.
///
/// # Errors
/// [`Refusal`] with the text that is no range of addresses, VPC or endpoint.
pub fn required(class: &S3AccessClassSpec) -> Result<Terms, Refusal> {
    class
        .required_conditions
        .as_ref()
        .map_or_else(|| Ok(Terms::default()), |conditions| Terms::of(conditions, "spec.requiredConditions"))
}

fn admits(allowed: &AllowedNamespaces, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
    allowed.names.iter().any(|name| name == namespace)
        || allowed.selector.as_ref().is_some_and(|selector| selects(selector, labels))
}

/// A selector that cannot be read selects nothing.
fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(labels))
}

#[cfg(test)]
mod tests;
