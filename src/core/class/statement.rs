//! Whether a statement stays inside a class. What cannot be proven is refused.

use serde_json::{Value, json};

use super::Class;
use super::pattern::{Effort, Pattern};
use crate::core::policy::is_granted;

/// What reading and writing objects under a KMS key takes; everything else about keys is not the tenant's.
const KMS_ACTIONS: [&str; 6] =
    ["kms:decrypt", "kms:encrypt", "kms:generatedatakey", "kms:generatedatakey*", "kms:reencrypt*", "kms:describekey"];
const S3_ACTIONS: &str = "s3:*";
const KMS_SERVICE: &str = "kms:*";

impl Class {
    /// Judges a statement that IAM's grammar allows.
    ///
    /// # Errors
    /// What reaches beyond the class, from the element on: `.Action "iam:*": ...`.
    pub fn judge(&self, statement: &Value, effort: &Effort) -> Result<(), String> {
        // Whoever denies grants nothing.
        if statement["Effect"] == "Deny" {
            return Ok(());
        }
        if let Some(actions) = statement.get("NotAction") {
            if self.spec.allowed_actions.iter().any(|allowed| allowed == "*") {
                return self.judge_resources(statement, &["*"], effort);
            }
            return Err(format!(
                ".NotAction {actions}: it allows all but that, which reaches beyond S3: list the actions in Action"
            ));
        }
        let actions = texts(&statement["Action"]).ok_or(".Action: it is not a list of texts")?;
        let allowed: Vec<Pattern> = [S3_ACTIONS]
            .into_iter()
            .chain(KMS_ACTIONS)
            .chain(self.spec.allowed_actions.iter().map(String::as_str))
            .map(Pattern::caseless)
            .collect();
        for action in &actions {
            if !Pattern::caseless(action).is_within(&allowed, effort) {
                return Err(format!(
                    ".Action {action:?}: it is no s3: action, of kms: only Decrypt, Encrypt, GenerateDataKey, ReEncrypt* and DescribeKey are allowed, and it is not one of allowedActions"
                ));
            }
        }
        self.judge_resources(statement, &actions, effort)
    }

    /// What of a statement that is in force stays within the class; `None` where nothing of it does.
    ///
    /// Where the class allows no statements in IAM's own words, only the actions of grants are left.
    pub fn cut_down(&self, statement: &Value, effort: &Effort) -> Option<Value> {
        if statement["Effect"] == "Deny" {
            return Some(statement.clone());
        }
        let ours = |action: &str| self.spec.allow_statements || is_granted(action);
        let actions = texts(&statement["Action"]);
        let whole = actions.as_ref().is_some_and(|actions| actions.iter().all(|action| ours(action)));
        if (whole || self.spec.allow_statements) && self.judge(statement, effort).is_ok() {
            return Some(statement.clone());
        }
        let resources = texts(&statement["Resource"])?;
        let alone = |action: &str, resource: &str| {
            let part = json!({ "Effect": "Allow", "Action": action, "Resource": resource });
            self.judge(&part, effort).is_ok()
        };
        let actions: Vec<&str> = actions?
            .into_iter()
            .filter(|action| ours(action) && resources.iter().any(|resource| alone(action, resource)))
            .collect();
        let resources: Vec<&str> = resources
            .into_iter()
            .filter(|resource| !actions.is_empty() && actions.iter().all(|action| alone(action, resource)))
            .collect();
        if resources.is_empty() {
            return None;
        }
        let mut rest = statement.clone();
        rest["Action"] = json!(actions);
        rest["Resource"] = json!(resources);
        self.judge(&rest, effort).is_ok().then_some(rest)
    }

    fn judge_resources(&self, statement: &Value, actions: &[&str], effort: &Effort) -> Result<(), String> {
        let touches = |service: &str| actions.iter().any(|action| reaches(action, service));
        let (s3, kms) = (touches(S3_ACTIONS), touches(KMS_SERVICE));
        let every_bucket = self.allows_every_bucket();
        let every_key = self.spec.allowed_kms_key_arns.iter().any(|key| key == "*");
        if (!s3 || every_bucket) && (!kms || every_key) {
            return Ok(());
        }
        if let Some(resources) = statement.get("NotResource") {
            return Err(format!(".NotResource {resources}: it names all but that: list the buckets in Resource"));
        }
        let buckets = self.bounds();
        let keys = self.patterns(&self.spec.allowed_kms_key_arns, Pattern::new);
        for resource in texts(&statement["Resource"]).ok_or(".Resource: it is not a list of texts")? {
            let bucket = bucket_of(resource).filter(|_| s3);
            let refused = bucket.map(|bucket| self.refuses_buckets(bucket, &buckets, effort));
            let is_key =
                kms && is_kms(resource) && Pattern::of_policy(resource).is_some_and(|key| key.is_within(&keys, effort));
            let why = match refused {
                _ if is_key => continue,
                Some(None) => continue,
                Some(Some(why)) => why,
                None if kms && !s3 => "it is not, in all that it may stand for, within allowedKmsKeyArns".to_owned(),
                None => "it is not, in all that it may stand for, within allowedBuckets".to_owned(),
            };
            return Err(format!(".Resource {resource:?}: {why}"));
        }
        Ok(())
    }
}

/// Whether an action may be of that service. The grammar allows no wildcard in a service's name, but for `*` alone.
fn reaches(action: &str, service: &str) -> bool {
    let service = service.trim_end_matches('*');
    action == "*" || action.to_ascii_lowercase().starts_with(service)
}

/// The `<bucket>[/<key>]` of an ARN that names, whatever its wildcards and variables come to, nothing but buckets and
/// objects.
fn bucket_of(resource: &str) -> Option<&str> {
    let parts: Vec<&str> = resource.splitn(6, ':').collect();
    match parts.as_slice() {
        &["arn", _, "s3", "", "", rest] => Some(rest),
        _ => None,
    }
}

fn is_kms(resource: &str) -> bool {
    let parts: Vec<&str> = resource.splitn(6, ':').collect();
    matches!(parts.as_slice(), ["arn", _, "kms", ..])
}

/// One text, or a list of them.
fn texts(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(members) => members.iter().map(Value::as_str).collect(),
        _ => None,
    }
}
