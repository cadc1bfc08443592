//! What serves IAM: AWS, or a server that speaks a part of it.

use jiff::{SignedDuration, Timestamp};

use super::class::Defaults;
use super::desired::{Desired, DesiredPolicy};
use super::policy::PROVABLE;
use super::refusal::Refusal;
use super::rotation::later;
use crate::api::{
    Adoption, Capabilities, Capability, ClassProvider, Ownership, Reason, S3AccessClassSpec, S3AccessUserSpec,
};

/// No sooner than that a system is tried again.
pub const AGAIN: SignedDuration = SignedDuration::from_mins(15);

/// What serves IAM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Provider {
    /// AWS, with all of its calls.
    #[default]
    Aws,
    /// An S3-compatible system: users, inline policies and access keys.
    S3Compatible {
        /// Whether its users have tags; where not, their paths say whose they are.
        tags: bool,
    },
}

impl Provider {
    /// That of a class.
    pub fn of(class: &S3AccessClassSpec) -> Self {
        match class.provider {
            ClassProvider::Aws => Self::Aws,
            ClassProvider::S3Compatible => Self::S3Compatible { tags: class.ownership == Ownership::Tags },
        }
    }

    /// What classes go by, where these are the settings of an own account on this: a path that is set for another system is
    /// not AWS's. A class of another system goes by no path but its own.
    pub fn in_classes(self, own: Defaults) -> Defaults {
        match self {
            Self::Aws => own,
            Self::S3Compatible { .. } => Defaults { path: Defaults::PATH.to_owned(), ..own },
        }
    }

    /// Whether there is more to a user than tags, inline policies and access keys. Where there is not, nothing of it is
    /// asked for: a server that does not know a call may just as well say that it is not allowed.
    pub fn has_all_of_iam(self) -> bool {
        self == Self::Aws
    }

    /// Whether users have tags.
    pub fn has_tags(self) -> bool {
        !matches!(self, Self::S3Compatible { tags: false })
    }

    /// Refuses what the server could not keep, before anything is made. Some servers ignore a boundary without a word. What
    /// is a mistake in AWS is none for a server that has actions of its own.
    ///
    /// # Errors
    /// [`Refusal`], which says what to write instead.
    pub fn check(self, spec: &S3AccessUserSpec, desired: Desired) -> Result<Desired, Refusal> {
        let lacks = match self {
            Self::Aws => None,
            Self::S3Compatible { .. } if spec.access.iter().any(|grant| !grant.kms_key_arns.is_empty()) => Some(
                "spec.access, kmsKeyArns: an S3-compatible system has no keys of AWS KMS: remove them, and encrypt by the system's own means",
            ),
            Self::S3Compatible { .. } if desired.sessions.is_some() => Some(
                "spec.accessKey.mode Session: an S3-compatible system has no sts:GetSessionToken: use mode Static, and rotate often",
            ),
            Self::S3Compatible { .. } if matches!(desired.policy, Some(DesiredPolicy::Managed { .. })) => {
                Some("spec.policy.type: an S3-compatible IAM has no managed policies: use policy.type: Inline")
            }
            Self::S3Compatible { .. } if !desired.attached.is_empty() => Some(
                "spec.managedPolicyArns: an S3-compatible IAM has no managed policies: write the policy in spec.access or spec.policy, and use policy.type: Inline",
            ),
            Self::S3Compatible { .. } if desired.boundary.is_some() => {
                Some("spec.permissionsBoundaryArn: an S3-compatible IAM has no permissions boundaries: remove it")
            }
            Self::S3Compatible { tags: false } if !desired.tags.is_empty() => {
                Some("spec.tags: the users of this system have no tags: remove them")
            }
            Self::S3Compatible { tags: false } if desired.owner.adoption == Adoption::Force => Some(
                "spec.adoption: the users of this system have no tags that could prove an adoption: leave Force out",
            ),
            // The name of an earlier policy would be forgotten.
            Self::S3Compatible { tags: false } if matches!(&desired.policy, Some(DesiredPolicy::Inline { name, .. }) if *name != desired.owner.user_name) => {
                Some("spec.policy.name: the users of this system have no tags that could record it: remove it")
            }
            Self::S3Compatible { .. } => None,
        };
        match lacks {
            None if self.has_all_of_iam() => Ok(desired),
            None => match unfit(&desired).or_else(|| undated(&desired)).or_else(|| unbound(&desired)) {
                None => Ok(Desired { mistakes: None, ..desired }),
                Some(refusal) => Err(refusal),
            },
            Some(message) => Err(Refusal { reason: Reason::InvalidPolicy, message: message.to_owned() }),
        }
    }
}

/// Why a user cannot be had of its S3-compatible system, by what that was found to do.
fn unfit(desired: &Desired) -> Option<Refusal> {
    let of = desired.class.name().map_or_else(String::new, |name| format!(" of S3AccessClass {name:?}"));
    let Some(system) = desired.class.system() else {
        let message = format!(
            "the S3-compatible system{of} is being tried before it serves anybody, which takes some seconds: where it takes longer, see the conditions of the class, or the operator's log"
        );
        return Some(Refusal { reason: Reason::Creating, message });
    };
    let has_prefixes = match &desired.policy {
        Some(DesiredPolicy::Inline { document, .. } | DesiredPolicy::Managed { document, .. }) => {
            document.text().contains("\"s3:prefix\"")
        }
        None => false,
    };
    let (reason, message) = system.lacks(has_prefixes)?;
    let server = system.server.as_ref().map(|server| format!(" ({server})")).unwrap_or_default();
    let message = format!(
        "the S3-compatible system{of}{server} was tried, and nobody's key would be safe there: {message} (status.capabilities of the class; it is tried again every 15 minutes)"
    );
    Some(Refusal { reason, message })
}

/// Why an adoption by force cannot be proven, by what the system was found to do.
fn undated(desired: &Desired) -> Option<Refusal> {
    let mut trials = desired.class.system()?.trials.iter();
    let shows_no_dates = trials.any(|trial| trial.name == Capability::KeyDates && !trial.works);
    (desired.owner.adoption == Adoption::Force && shows_no_dates).then(|| Refusal {
        reason: Reason::SystemUnfit,
        message: "spec.adoption: this S3-compatible system shows no dates of access keys, by which those from before an adoption would be told from the operator's: leave Force out".to_owned(),
    })
}

/// Why the grants would not be bound as they are to be.
fn unbound(desired: &Desired) -> Option<Refusal> {
    let why = desired.class.unproven(&desired.terms.keys())?;
    let message = format!(
        "spec.conditions, spec.expiresAt, and what the class requires: {why}: leave them out, or use a system that does"
    );
    Some(Refusal { reason: Reason::InvalidPolicy, message })
}

impl Capability {
    /// What stands in the condition of whom its lack keeps from being served; `None`: others do without it.
    pub fn needed(self, has_prefixes: bool) -> Option<Reason> {
        match self {
            Self::Ownership => Some(Reason::OwnershipNotKept),
            Self::PolicyKept
            | Self::PolicyEnforced
            | Self::TwoKeys
            | Self::UnknownKeyRefused
            | Self::InactiveKeyRefused => Some(Reason::SystemUnfit),
            Self::Prefixes => has_prefixes.then_some(Reason::SystemUnfit),
            // The operator's own record stands for the one, and it deletes keys before their user by itself.
            Self::KeyDates | Self::DeletionGuarded => None,
        }
    }
}

impl Capabilities {
    /// Those of a system that nobody has tried, for a preview.
    pub fn presumed() -> Self {
        let condition_keys = PROVABLE.iter().map(|provable| provable.key().to_owned()).collect();
        Self { condition_keys, ..Self::default() }
    }

    /// Whether the system is to be tried again: it calls itself otherwise now, or it was found unfit, or not to heed one of these
    /// condition keys. Not at once: behind one address there may be servers of two names, and each trial makes a user and keys.
    pub fn is_to_be_tried(&self, server: Option<&str>, needed: &[&str], now: Timestamp) -> bool {
        let renamed = server.is_some() && server != self.server.as_deref();
        let heeds = |needed: &&str| self.condition_keys.iter().any(|key| key == needed);
        let again = self.tried_at.as_ref().map_or(Timestamp::MIN, |tried_at| later(tried_at.0, AGAIN));
        again <= now && (renamed || self.lacks(true).is_some() || !needed.iter().all(heeds))
    }

    /// Whether the trial came to the condition keys: it ends before where no key would be safe anyway, and proves nothing of them.
    pub fn has_tried_conditions(&self) -> bool {
        let before = [Capability::Ownership, Capability::PolicyKept, Capability::UnknownKeyRefused];
        self.trials.iter().all(|trial| trial.works || !before.contains(&trial.name))
    }

    /// The first thing that is needed and that the system lacks.
    pub fn lacks(&self, has_prefixes: bool) -> Option<(Reason, &str)> {
        let mut missing = self.trials.iter().filter(|trial| !trial.works);
        missing.find_map(|trial| Some((trial.name.needed(has_prefixes)?, trial.message.as_str())))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeMap;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::{ClassEndpoints, S3AccessClass, S3AccessUser, Trial};
    use crate::core::class::Class;
    use crate::core::iam::Account;
    use crate::core::names::Cluster;

    fn on(system: Option<Capabilities>, provider: Provider, extra: Value) -> Result<Desired, Refusal> {
        let mut spec =
            json!({ "access": [{ "bucket": "reports", "level": "ReadOnly" }], "policy": { "type": "Inline" } });
        for (field, value) in extra.as_object().unwrap() {
            spec[field] = value.clone();
        }
        let user = S3AccessUser::new("reports", serde_json::from_value(spec).unwrap());
        let account = Account { id: "123456789012".to_owned(), partition: "aws".to_owned() };
        let cluster = Cluster { id: "id".to_owned(), name: "prod".to_owned() };
        let open = json!({ "allowedBuckets": ["*"], "allowedNames": ["*"], "allowedTagKeys": ["*"],
            "allowedManagedPolicyArns": ["*"], "allowedKmsKeyArns": ["*"], "allowForceAdoption": true });
        let class = S3AccessClass::new("open", serde_json::from_value(open).unwrap());
        let class = Class::of(&class, "team-a", &BTreeMap::new()).on(system);
        provider.check(&user.spec, Desired::of(&user, &account, &cluster, &class).unwrap())
    }

    fn checked(provider: Provider, extra: Value) -> Result<Desired, Refusal> {
        on(Some(Capabilities::presumed()), provider, extra)
    }

    #[test]
    fn a_system_serves_nobody_before_it_was_tried_and_nobody_whose_key_would_not_be_safe_there() {
        let provider = Provider::S3Compatible { tags: true };
        let reason = |system, extra: Value| on(system, provider, extra).map(drop).map_err(|refusal| refusal.reason);
        assert_eq!(reason(None, json!({})), Err(Reason::Creating));
        let prefixes = || json!({ "access": [{ "bucket": "reports", "level": "ReadOnly", "prefixes": ["2026/"] }] });
        for name in Capability::ALL {
            let trial = Trial { name, works: false, message: "it drops them".to_owned() };
            let lacking = || Some(Capabilities { trials: vec![trial.clone()], ..Capabilities::presumed() });
            let works =
                Capabilities { trials: vec![Trial { works: true, ..trial.clone() }], ..Capabilities::presumed() };
            assert_eq!(reason(Some(works), prefixes()), Ok(()), "{name:?}");
            let (whole, narrow) = match name {
                Capability::Ownership => (Err(Reason::OwnershipNotKept), Err(Reason::OwnershipNotKept)),
                Capability::KeyDates | Capability::DeletionGuarded => (Ok(()), Ok(())),
                Capability::Prefixes => (Ok(()), Err(Reason::SystemUnfit)),
                _ => (Err(Reason::SystemUnfit), Err(Reason::SystemUnfit)),
            };
            assert_eq!((reason(lacking(), json!({})), reason(lacking(), prefixes())), (whole, narrow), "{name:?}");
            assert!(on(lacking(), Provider::Aws, prefixes()).is_ok(), "AWS is not tried");
            if let Err(refusal) = on(lacking(), provider, prefixes()) {
                assert!(refusal.message.contains("it drops them") && refusal.message.contains("open"), "{refusal}");
            }
        }
    }

    #[test]
    fn a_system_is_tried_again_when_it_calls_itself_otherwise_or_was_not_fit_for_what_it_is_needed_for_and_not_too_often()
     {
        let unfit = Trial { name: Capability::Prefixes, works: false, message: "it ignores them".to_owned() };
        let now = Timestamp::UNIX_EPOCH;
        let instants = [(SignedDuration::ZERO, false), (AGAIN - SignedDuration::from_secs(1), false), (AGAIN, true)];
        for (known, lacks) in [(None, false), (Some("rgw 20"), false), (None, true), (Some("rgw 20"), true)] {
            let trials = lacks.then(|| unfit.clone()).into_iter().collect();
            let found = Capabilities { server: known.map(str::to_owned), trials, ..Capabilities::presumed() };
            for (told, (since, long)) in
                [None, Some("rgw 20"), Some("rgw 21")].into_iter().flat_map(|told| instants.map(|at| (told, at)))
            {
                let renamed = told.is_some() && told != known;
                let found = Capabilities { tried_at: Some(Time(now - since)), ..found.clone() };
                for (needed, heeded) in [("aws:SourceIp", true), ("aws:SourceVpc", false)] {
                    let wanted = long && (renamed || lacks || !heeded);
                    let due = found.is_to_be_tried(told, &[needed], now);
                    assert_eq!(due, wanted, "{known:?} {told:?} {lacks} {since:?} {needed}");
                }
            }
        }
    }

    #[test]
    fn what_a_system_lacks_is_refused_by_field() {
        let arn = "arn:aws:iam::123456789012:policy/own";
        let (tagged, tagless) = (Provider::S3Compatible { tags: true }, Provider::S3Compatible { tags: false });
        for (extra, field, lack) in [
            (json!({ "policy": { "type": "Managed" } }), "spec.policy.type", [tagged, tagless].as_slice()),
            (json!({ "managedPolicyArns": [arn] }), "spec.managedPolicyArns", &[tagged, tagless]),
            (json!({ "permissionsBoundaryArn": arn }), "spec.permissionsBoundaryArn", &[tagged, tagless]),
            (
                json!({ "access": [{ "bucket": "reports", "level": "ReadOnly",
                    "kmsKeyArns": ["arn:aws:kms:eu-west-1:123456789012:key/a"] }] }),
                "spec.access, kmsKeyArns",
                &[tagged, tagless],
            ),
            (json!({ "accessKey": { "mode": "Session" } }), "spec.accessKey.mode", &[tagged, tagless]),
            (json!({ "tags": { "team": "a" } }), "spec.tags", &[tagless]),
            (json!({ "policy": { "type": "Inline", "name": "other" } }), "spec.policy.name", &[tagless]),
            (json!({ "adoption": "Force" }), "spec.adoption", &[tagless]),
            (json!({}), "", &[]),
        ] {
            for provider in [Provider::Aws, tagged, tagless] {
                match checked(provider, extra.clone()) {
                    Ok(_) => assert!(!lack.contains(&provider), "{provider:?} {extra}"),
                    Err(refusal) => {
                        assert!(lack.contains(&provider), "{provider:?} {extra}: {refusal}");
                        assert!(
                            refusal.reason == Reason::InvalidPolicy && refusal.message.starts_with(field),
                            "{refusal}"
                        );
                    }
                }
            }
        }
        let mistakes = |provider| checked(provider, json!({})).unwrap().mistakes;
        assert_eq!(
            (mistakes(Provider::Aws), mistakes(tagged)),
            (Some(Vec::new()), None),
            "whose actions are not AWS's"
        );
        assert!(Provider::Aws.has_all_of_iam() && !tagged.has_all_of_iam());
        assert!(Provider::Aws.has_tags() && tagged.has_tags() && !tagless.has_tags());
    }

    #[test]
    fn what_binds_keys_is_refused_where_the_system_was_not_seen_to_look_at_it() {
        let class = |extra: Value, seen: Option<&[&str]>| {
            let endpoints = ClassEndpoints { s3: Some("https://s3".to_owned()), ..ClassEndpoints::default() };
            let mut spec = json!({ "provider": "s3-compatible", "allowedBuckets": ["*"], "endpoints": endpoints });
            extra.as_object().unwrap().iter().for_each(|(field, value)| spec[field] = value.clone());
            let mut class = S3AccessClass::new("own", serde_json::from_value(spec).unwrap());
            let status = |keys| json!({ "capabilities": { "endpoints": endpoints, "conditionKeys": keys } });
            class.status = seen.map(|keys| serde_json::from_value(status(keys)).unwrap());
            Class::of(&class, "team-a", &BTreeMap::new())
        };
        let made = |class: &Class, extra: Value| {
            let mut spec =
                json!({ "access": [{ "bucket": "reports", "level": "ReadOnly" }], "policy": { "type": "Inline" } });
            extra.as_object().unwrap().iter().for_each(|(field, value)| spec[field] = value.clone());
            let user = S3AccessUser::new("reports", serde_json::from_value(spec).unwrap());
            let account = Account { id: "123456789012".to_owned(), partition: "aws".to_owned() };
            let cluster = Cluster { id: "id".to_owned(), name: "prod".to_owned() };
            let desired = Desired::of(&user, &account, &cluster, class).unwrap();
            let provider = Provider::S3Compatible { tags: true };
            (class.expulsions(&user.spec).len(), provider.check(&user.spec, desired).map_err(|refusal| refusal.message))
        };
        let all: &[&str] = &["aws:SourceIp", "aws:SecureTransport", "aws:CurrentTime"];
        let required = || json!({ "requiredConditions": { "sourceIps": ["10.0.0.0/8"] }, "maxLifetime": "24h" });
        for (extra, says) in [
            (
                json!({ "conditions": { "sourceIps": ["10.0.0.0/8"], "secureTransport": true } }),
                "aws:SecureTransport and aws:SourceIp",
            ),
            (json!({ "expiresAt": "2027-01-01T00:00:00Z" }), "aws:CurrentTime"),
        ] {
            assert!(made(&class(json!({}), Some(all)), extra.clone()).1.is_ok(), "{extra}");
            let (expelled, told) = made(&class(json!({}), Some(&[])), extra.clone());
            let told = told.unwrap_err();
            assert!(expelled == 0 && told.contains(says) && told.contains("was tried, and does not look at"), "{told}");
            let (expelled, told) = made(&class(json!({}), None), extra.clone());
            assert!(expelled == 0 && told.unwrap_err().contains("is being tried"));
        }
        let (expelled, told) = made(&class(required(), Some(all)), json!({}));
        assert!(expelled == 0 && told.is_ok());
        assert!(made(&class(required(), None), json!({})).1.is_err(), "until it was tried");
        assert_eq!(made(&class(required(), None), json!({})).0, 0, "nobody is shut out before");
        let heeds_one = class(required(), Some(&["aws:SourceIp"]));
        assert_eq!(made(&heeds_one, json!({})).0, 1, "what cannot be bound does not work");
        let trials = vec![Trial { name: Capability::Ownership, works: false, message: "a full account".to_owned() }];
        let found = Capabilities { trials, condition_keys: Vec::new(), ..Capabilities::presumed() };
        assert_eq!(
            made(&heeds_one.on(Some(found)), json!({})).0,
            0,
            "a trial that came to no condition proves nothing"
        );
        let vpcs = json!({ "conditions": { "sourceVpcs": ["vpc-00000001"] } });
        assert!(made(&class(json!({}), Some(all)), vpcs).1.is_err(), "a system of one's own has no VPCs");
    }
}
