//! What the platform team sets and allows: an S3AccessClass as it applies to one namespace.
//!
//! A spec that asks for more is cut down to what fits, so that a class that shrinks takes back what no longer does, and
//! only that; what was cut is told by field.

mod pattern;
mod statement;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};

pub use pattern::Pattern;

use super::names::recorded;
use super::observed::{Observed, PolicyState, User};
use super::policy::Document;
use super::rotation::signed;
use crate::api::{
    Adoption, AllowedNamespaces, DeletionPolicy, S3AccessClass, S3AccessClassSpec, S3AccessUserSpec, tags,
};

/// An S3AccessClass as it applies to one namespace; or none, in the operator's own account.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    name: Option<String>,
    spec: Arc<S3AccessClassSpec>,
    namespace: String,
    admits_namespace: bool,
}

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
            ..S3AccessClassSpec::default()
        };
        Self { name: None, spec: Arc::new(spec), namespace: String::new(), admits_namespace: true }
    }

    /// The class, for a namespace with these labels.
    pub fn of(class: &S3AccessClass, namespace: &str, labels: &BTreeMap<String, String>) -> Self {
        let admits_namespace =
            class.spec.allowed_namespaces.as_ref().is_none_or(|allowed| admits(allowed, namespace, labels));
        Self {
            name: Some(class.name_any()),
            spec: Arc::new(class.spec.clone()),
            namespace: namespace.to_owned(),
            admits_namespace,
        }
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

    /// The IAM path for a spec; below the class's own.
    pub fn path(&self, asked: Option<&str>) -> String {
        let own = self.spec.path.as_deref().unwrap_or("/");
        asked.filter(|asked| asked.starts_with(own)).unwrap_or(own).to_owned()
    }

    /// Whether IAM user and policy are kept, for a spec that may say.
    pub fn retains(&self, asked: Option<DeletionPolicy>) -> bool {
        asked.or(self.spec.deletion_policy).unwrap_or_default() == DeletionPolicy::Retain
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
        let allowed = asked.iter().filter(|(key, _)| self.allows_tag(key));
        let mut tags: BTreeMap<String, String> = allowed.map(|(key, value)| (key.clone(), value.clone())).collect();
        tags.extend(self.spec.tags.clone());
        tags
    }

    /// The rotation interval for a spec.
    pub fn interval(&self, asked: Option<SignedDuration>) -> Option<SignedDuration> {
        let set = self.spec.rotation.as_ref();
        let longest = set.and_then(|rotation| rotation.max_interval.as_ref()).map(signed);
        let default = set.and_then(|rotation| rotation.default_interval.as_ref()).map(signed);
        match (asked.or(default), longest) {
            (Some(interval), Some(longest)) => Some(interval.min(longest)),
            (interval, longest) => interval.or(longest),
        }
    }

    /// Whether statements in IAM's own words may be used.
    pub fn allows_statements(&self) -> bool {
        self.spec.allow_statements
    }

    /// Whether a bucket may be granted.
    pub fn allows_bucket(&self, bucket: &str) -> bool {
        self.patterns(&self.spec.allowed_buckets, Pattern::new).iter().any(|pattern| pattern.matches(bucket))
    }

    /// Whether a managed policy may be attached.
    pub fn allows_policy(&self, arn: &str) -> bool {
        self.spec.allowed_managed_policy_arns.iter().any(|pattern| Pattern::new(pattern).matches(arn))
    }

    /// What of a spec, its grants apart, does not fit: by field, with what to write instead.
    pub fn violations(&self, spec: &S3AccessUserSpec) -> Vec<String> {
        let mut violations = self.expulsions(spec);
        let own = self.spec.path.as_deref().unwrap_or("/");
        if spec.path.as_ref().is_some_and(|path| !path.starts_with(own)) {
            violations
                .push(format!("spec.path {:?}: it must begin with {own:?}", spec.path.as_deref().unwrap_or_default()));
        }
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
        let asked = spec.access_key.rotation.as_ref().map(|rotation| signed(&rotation.interval));
        if asked.is_some() && self.interval(asked) != asked {
            let longest = self.spec.rotation.as_ref().and_then(|rotation| rotation.max_interval.as_ref());
            let longest = longest.map(|longest| serde_json::json!(longest).to_string()).unwrap_or_default();
            violations.push(format!("spec.accessKey.rotation.interval: at most {longest} is allowed"));
        }
        violations
    }

    /// The violations that leave nothing to be kept: whatever the spec grants is taken back.
    pub fn expulsions(&self, spec: &S3AccessUserSpec) -> Vec<String> {
        let mut violations = Vec::new();
        if !self.admits_namespace {
            violations.push(format!("namespace {:?}: see its allowedNamespaces", self.namespace));
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

    /// Whether what is in place fits, whatever the spec says now: what was granted before the class shrank, and the
    /// policies that somebody wrote by hand where ours were.
    pub fn admits_in_place(&self, spec: &S3AccessUserSpec, observed: &Observed, user: &User) -> bool {
        let managed = observed.policies.iter().filter_map(|(arn, state)| match state {
            PolicyState::Present(policy) if user.attached.contains(arn) => Some(&policy.document),
            _ => None,
        });
        let documents: Vec<&Document> = managed.chain(user.inline.values()).collect();
        let attached: Vec<&String> =
            user.attached.iter().filter(|arn| recorded(user.tags.get(tags::ATTACHED), arn)).collect();
        let key_works = user.keys.iter().any(|key| key.active && user.is_ours(key));
        let forced = self.spec.permissions_boundary_arn.as_ref();
        let fits = self.expulsions(spec).is_empty()
            && documents.iter().all(|document| self.admits_document(document))
            && attached.iter().all(|arn| self.allows_policy(arn))
            && forced.is_none_or(|forced| user.boundary.as_ref() == Some(forced));
        fits || documents.is_empty() && attached.is_empty() && !key_works
    }

    fn admits_document(&self, document: &Document) -> bool {
        document.statements().iter().all(|statement| self.judge(statement).is_ok())
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
