//! High-level grants, compiled to the least statements that make each level useful.

use serde_json::{Value, json};

use super::PolicyError;
use crate::api::{AccessGrant, AccessLevel};

/// Reading: what `GET` and `HEAD` need.
const READ: &[&str] = &["s3:GetObject"];
/// Writing: multipart uploads must be abortable and resumable by whoever may start them.
const WRITE: &[&str] = &["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"];
const DELETE: &[&str] = &["s3:DeleteObject"];
/// Every action on objects and their versions, tags, ACLs and retention; not the bypass of a retention.
const ADMIN_OBJECTS: &[&str] = &["s3:*Object*", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"];
const LIST: &[&str] = &["s3:ListBucket"];
const LIST_UPLOADS: &[&str] = &["s3:ListBucketMultipartUploads"];
const LIST_ALL: &[&str] = &["s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads"];
/// The bucket's settings that concern its content. Its policy, ACL, public access block and deletion are left out:
/// with them a tenant could hand the bucket to others.
const ADMIN_BUCKET: &[&str] = &[
    "s3:GetBucket*",
    "s3:GetEncryptionConfiguration",
    "s3:GetLifecycleConfiguration",
    "s3:PutBucketCORS",
    "s3:PutBucketNotification",
    "s3:PutBucketTagging",
    "s3:PutBucketVersioning",
    "s3:PutEncryptionConfiguration",
    "s3:PutLifecycleConfiguration",
];

/// The statements of all grants, in the order of the spec.
pub(super) fn statements(grants: &[AccessGrant], partition: &str) -> Vec<Value> {
    let mut statements = Vec::new();
    for (index, grant) in grants.iter().enumerate() {
        let bucket = format!("arn:{partition}:s3:::{}", grant.bucket);
        let objects: Vec<String> = if grant.prefixes.is_empty() {
            vec![format!("{bucket}/*")]
        } else {
            grant.prefixes.iter().map(|prefix| format!("{bucket}/{prefix}*")).collect()
        };
        statements.push(json!({
            "Sid": format!("Grant{index}Objects"), "Effect": "Allow", "Action": object_actions(grant.level), "Resource": objects,
        }));
        let mut list = json!({
            "Sid": format!("Grant{index}List"), "Effect": "Allow", "Action": list_actions(grant.level), "Resource": bucket,
        });
        if !grant.prefixes.is_empty() {
            let patterns: Vec<String> = grant.prefixes.iter().map(|prefix| format!("{prefix}*")).collect();
            list["Condition"] = json!({ "StringLike": { "s3:prefix": patterns } });
        }
        statements.push(list);
        // A bucket's location has no prefix, and SDKs ask for it before anything else.
        let mut bucket_actions = vec!["s3:GetBucketLocation"];
        if grant.level == AccessLevel::Admin && grant.prefixes.is_empty() {
            bucket_actions = ADMIN_BUCKET.to_vec();
        }
        statements.push(json!({
            "Sid": format!("Grant{index}Bucket"), "Effect": "Allow", "Action": bucket_actions, "Resource": bucket,
        }));
    }
    statements
}

fn object_actions(level: AccessLevel) -> Vec<&'static str> {
    match level {
        AccessLevel::ReadOnly => READ.to_vec(),
        AccessLevel::WriteOnly => WRITE.to_vec(),
        AccessLevel::ReadWrite => [READ, WRITE, DELETE].concat(),
        AccessLevel::Admin => ADMIN_OBJECTS.to_vec(),
    }
}

fn list_actions(level: AccessLevel) -> Vec<&'static str> {
    match level {
        AccessLevel::ReadOnly => LIST.to_vec(),
        AccessLevel::WriteOnly => LIST_UPLOADS.to_vec(),
        AccessLevel::ReadWrite => [LIST, LIST_UPLOADS].concat(),
        AccessLevel::Admin => LIST_ALL.to_vec(),
    }
}

/// The CRD's schema says the same; a CR that an older CRD let in has not met it.
pub(super) fn check(grants: &[AccessGrant]) -> Result<(), PolicyError> {
    grants.iter().enumerate().try_for_each(|(index, grant)| check_grant(grant, index))
}

fn check_grant(grant: &AccessGrant, index: usize) -> Result<(), PolicyError> {
    let at = format!("spec.access[{index}]");
    if let Some(problem) = bucket_problem(&grant.bucket) {
        return Err(PolicyError::invalid(format!(
            "{at}.bucket: {:?} is not a valid S3 bucket name: {problem}",
            grant.bucket
        )));
    }
    // Wildcards and policy variables would widen the resource beyond the prefix.
    if let Some(prefix) = grant.prefixes.iter().find(|prefix| prefix.is_empty() || prefix.contains(['*', '?', '$'])) {
        return Err(PolicyError::invalid(format!("{at}.prefixes: {prefix:?} must be plain text, without *, ? and $")));
    }
    Ok(())
}

/// The naming rules of general purpose buckets (Amazon S3 user guide, "Bucket naming rules").
fn bucket_problem(name: &str) -> Option<&'static str> {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !(3..=63).contains(&name.len()) {
        return Some("it must have 3 to 63 characters");
    }
    if !name.chars().all(|c| edge(c) || c == '.' || c == '-') {
        return Some("only lower-case letters, digits, periods and hyphens are allowed");
    }
    if !(name.starts_with(edge) && name.ends_with(edge)) {
        return Some("it must begin and end with a letter or digit");
    }
    if name.contains("..") || name.parse::<std::net::Ipv4Addr>().is_ok() {
        return Some("adjacent periods and IP addresses are not allowed");
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::api::Reason;

    fn grant(bucket: &str, level: AccessLevel, prefixes: &[&str]) -> AccessGrant {
        AccessGrant { bucket: bucket.to_owned(), prefixes: prefixes.iter().map(ToString::to_string).collect(), level }
    }

    #[test]
    fn prefixes_limit_objects_and_listing() {
        let statements = statements(&[grant("team-a", AccessLevel::ReadOnly, &["2026/"])], "aws-cn");
        assert_eq!(
            statements,
            vec![
                json!({"Sid": "Grant0Objects", "Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws-cn:s3:::team-a/2026/*"]}),
                json!({"Sid": "Grant0List", "Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": "arn:aws-cn:s3:::team-a", "Condition": {"StringLike": {"s3:prefix": ["2026/*"]}}}),
                json!({"Sid": "Grant0Bucket", "Effect": "Allow", "Action": ["s3:GetBucketLocation"], "Resource": "arn:aws-cn:s3:::team-a"}),
            ]
        );
    }

    #[test]
    fn only_admin_of_a_whole_bucket_may_change_its_settings() {
        for (level, prefixes, settings) in [
            (AccessLevel::ReadWrite, &[][..], false),
            (AccessLevel::Admin, &["x/"][..], false),
            (AccessLevel::Admin, &[][..], true),
        ] {
            let text = json!(statements(&[grant("team-a", level, prefixes)], "aws")).to_string();
            assert_eq!(text.contains("s3:PutLifecycleConfiguration"), settings, "{level:?} {prefixes:?}");
            for never in ["PutBucketPolicy", "DeleteBucket\"", "s3:*\"", "PutBucketAcl", "PublicAccessBlock"] {
                assert!(!text.contains(never), "{level:?} grants {never}");
            }
        }
    }

    #[test]
    fn bad_bucket_names_and_prefixes_are_refused_with_the_field() {
        for bucket in ["ab", "Team", "a_b", "-ab", "ab.", "a..b", "192.168.0.1", "bücket", &"a".repeat(64)] {
            let error = check(&[grant(bucket, AccessLevel::ReadOnly, &[])]).unwrap_err();
            assert_eq!(error.reason, Reason::InvalidPolicy);
            assert!(error.message.contains("spec.access[0].bucket"), "{error}");
        }
        for prefix in ["*", "a?", "${aws:username}", ""] {
            assert!(check(&[grant("team-a", AccessLevel::ReadOnly, &[prefix])]).is_err(), "{prefix:?}");
        }
    }
}
