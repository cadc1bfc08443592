//! What the run may do in the account: under one path, with one prefix, and nothing else.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

/// Everything that a run makes in IAM.
const USERS: &[&str] = &[
    "AttachUserPolicy",
    "CreateAccessKey",
    "CreateUser",
    "DeleteAccessKey",
    "DeleteUser",
    "DeleteUserPolicy",
    "DetachUserPolicy",
    "GetUser",
    "GetUserPolicy",
    "ListAccessKeys",
    "ListAttachedUserPolicies",
    "ListUserPolicies",
    "PutUserPolicy",
    "TagUser",
    "UpdateAccessKey",
];
const POLICIES: &[&str] = &[
    "CreatePolicy",
    "CreatePolicyVersion",
    "DeletePolicy",
    "DeletePolicyVersion",
    "GetPolicy",
    "GetPolicyVersion",
    "ListPolicyVersions",
    "TagPolicy",
];
const S3: &[&str] = &["CreateBucket", "DeleteBucket", "DeleteObject", "GetObject", "ListBucket", "PutObject"];

/// Where everything lies.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// The IAM path.
    pub(crate) path: String,
    /// What every name begins with.
    pub(crate) prefix: String,
}

impl Scope {
    /// Refuses a scope in which others may live: what is in it is removed.
    pub(crate) fn new(path: &str, prefix: &str) -> Result<Self> {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let inner = path.strip_prefix('/').and_then(|path| path.strip_suffix('/')).unwrap_or_default();
        let parts_are_good = inner.split('/').all(|part| !part.is_empty() && part.chars().all(good));
        ensure!(parts_are_good, "--path {path}: write it as /name/, in small letters, digits and -");
        ensure!(path.len() <= 100, "--path {path} is longer than 100 characters");
        ensure!(
            inner.split('/').next() != Some("s3access"),
            "--path {path}: operators at work keep their users under /s3access/, and a run removes what it finds"
        );
        let length = (6..=20).contains(&prefix.len());
        let letters = prefix.chars().all(good) && prefix.starts_with(|c: char| c.is_ascii_lowercase());
        ensure!(length && letters && !prefix.ends_with('-'), "--prefix {prefix}: 6 to 20 small letters, digits and -");
        Ok(Self { path: path.to_owned(), prefix: prefix.to_owned() })
    }

    /// The path of what the operator may not change: its own identity, and the boundary.
    pub(crate) fn own_path(&self) -> String {
        format!("{}own/", self.path)
    }

    /// The path of what the operator makes.
    pub(crate) fn users_path(&self) -> String {
        format!("{}users/", self.path)
    }

    /// The one bucket; bucket names are the whole partition's.
    pub(crate) fn bucket(&self, account: &str) -> String {
        format!("{}-{account}", self.prefix)
    }

    /// Whether something is the run's to remove: both have to be so.
    pub(crate) fn holds(&self, path: &str, name: &str) -> bool {
        path.starts_with(&self.path) && name.starts_with(&format!("{}-", self.prefix))
    }

    /// The same in short: actions and where, a line each.
    pub(crate) fn rights(&self, partition: &str) -> Vec<String> {
        let policy = self.policy(partition);
        let words = |value: &Value| -> String {
            let all = value.as_array().map_or_else(|| vec![value], |values| values.iter().collect());
            all.iter().filter_map(|word| word.as_str()).collect::<Vec<_>>().join(", ")
        };
        let statements = policy["Statement"].as_array().into_iter().flatten();
        statements.map(|one| format!("{} on {}", words(&one["Action"]), words(&one["Resource"]))).collect()
    }

    /// The policy that the credentials of a run need.
    pub(crate) fn policy(&self, partition: &str) -> Value {
        let Self { path, prefix } = self;
        let actions = |service: &str, names: &[&str]| -> Vec<String> {
            names.iter().map(|name| format!("{service}:{name}")).collect()
        };
        let arn = |kind: &str| format!("arn:{partition}:iam::*:{kind}{path}*");
        let bucket = format!("arn:{partition}:s3:::{prefix}-*");
        json!({ "Version": "2012-10-17", "Statement": [
            { "Sid": "SeeWhatIsLeft", "Effect": "Allow", "Action": ["iam:ListPolicies", "iam:ListUsers"], "Resource": "*" },
            { "Sid": "UsersOfTheRun", "Effect": "Allow", "Action": actions("iam", USERS), "Resource": arn("user") },
            { "Sid": "PoliciesOfTheRun", "Effect": "Allow", "Action": actions("iam", POLICIES), "Resource": arn("policy") },
            { "Sid": "BucketOfTheRun", "Effect": "Allow", "Action": actions("s3", S3), "Resource": [bucket.clone(), format!("{bucket}/*")] },
        ] })
    }
}

#[cfg(test)]
mod tests {
    use super::Scope;

    #[test]
    fn a_scope_of_others_is_refused() {
        for path in ["/", "", "/s3access/", "/s3access/a/", "a/b", "//", "/a//b/", "/a/*/"] {
            assert!(Scope::new(path, "s3-acceptance").is_err(), "{path}");
        }
        for prefix in ["", "a", "short", "-acceptance", "acceptance-", "acc*ptance", "a-prefix-that-is-too-long"] {
            assert!(Scope::new("/s3-acceptance/", prefix).is_err(), "{prefix}");
        }
        let scope = Scope::new("/s3-acceptance/", "s3-acceptance").unwrap();
        assert!(scope.holds("/s3-acceptance/users/", "s3-acceptance-a"));
        assert!(!scope.holds("/s3-acceptance/users/", "other"));
        assert!(!scope.holds("/", "s3-acceptance-a"));
    }
}
