//! High-level grants, compiled to the least statements that make each level useful.
//!
//! Grants share statements wherever that leaves their meaning as it is, so that many buckets fit into one policy. A bucket
//! may be granted more than once: IAM allows what any statement allows, so that together they mean what each means alone.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::keys;
use crate::api::{AccessGrant, AccessLevel};
use crate::core::iam::Account;
use crate::core::refusal::Refusal;

const LEVELS: [AccessLevel; 4] =
    [AccessLevel::ReadOnly, AccessLevel::WriteOnly, AccessLevel::ReadWrite, AccessLevel::Admin];

/// Reading: what `GET` and `HEAD` need.
const READ: &[&str] = &["s3:GetObject"];
/// Writing: multipart uploads must be abortable and resumable by whoever may start them.
const WRITE: &[&str] = &["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"];
const DELETE: &[&str] = &["s3:DeleteObject"];
/// Objects and their versions, tags and retention. Left out are their ACLs and replication, with which a tenant could
/// hand them to others, and the bypass of a retention.
const ADMIN_OBJECTS: &[&str] = &[
    "s3:GetObject*",
    "s3:DeleteObject*",
    "s3:PutObjectLegalHold",
    "s3:PutObjectRetention",
    "s3:PutObjectTagging",
    "s3:PutObjectVersionTagging",
    "s3:RestoreObject",
];
/// A bucket's location has no prefix, and SDKs ask for it before anything else.
const LOCATION: &[&str] = &["s3:GetBucketLocation"];
const LIST: &[&str] = &["s3:ListBucket"];
const LIST_VERSIONS: &[&str] = &["s3:ListBucketVersions"];
/// S3 gives this action no `s3:prefix` to decide by (service authorization reference, "Actions defined by Amazon S3"),
/// so that it is for whole buckets only.
const LIST_UPLOADS: &[&str] = &["s3:ListBucketMultipartUploads"];
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

/// The statements of all grants: for each level its objects and its whole buckets, then what goes by prefix, then their
/// KMS keys.
pub(super) fn statements(grants: &[AccessGrant], partition: &str) -> Vec<Value> {
    let mut statements = Vec::new();
    for level in LEVELS {
        let of_level = || grants.iter().filter(move |grant| grant.level == level);
        let objects: Vec<String> = of_level().flat_map(|grant| objects(grant, partition)).collect();
        if !objects.is_empty() {
            statements.push(allow(&format!("{level:?}Objects"), &object_actions(level), objects));
        }
        let whole: Vec<String> =
            of_level().filter(|grant| grant.prefixes.is_empty()).map(|grant| arn(grant, partition)).collect();
        if !whole.is_empty() {
            statements.push(allow(&format!("{level:?}Buckets"), &bucket_actions(level), whole));
        }
    }
    let limited: Vec<&AccessGrant> = grants.iter().filter(|grant| !grant.prefixes.is_empty()).collect();
    for (index, list) in lists(&limited).into_iter().enumerate() {
        let buckets = list.buckets.iter().map(|grant| arn(grant, partition)).collect();
        let mut statement = allow(&format!("PrefixList{index}"), &list.actions, buckets);
        let patterns: Vec<String> = list.prefixes.iter().map(|prefix| format!("{prefix}*")).collect();
        statement["Condition"] = json!({ "StringLike": { "s3:prefix": patterns } });
        statements.push(statement);
    }
    if !limited.is_empty() {
        let buckets = limited.iter().map(|grant| arn(grant, partition)).collect();
        statements.push(allow("PrefixBuckets", LOCATION, buckets));
    }
    statements.extend(keys::statements(grants, partition));
    statements
}

/// Allows the actions on the resources, each of which is named once: a bucket may be granted more than once.
fn allow(sid: &str, actions: &[&str], mut resources: Vec<String>) -> Value {
    let mut seen = BTreeSet::new();
    resources.retain(|resource| seen.insert(resource.clone()));
    json!({ "Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources })
}

fn arn(grant: &AccessGrant, partition: &str) -> String {
    format!("arn:{partition}:s3:::{}", grant.bucket)
}

fn objects(grant: &AccessGrant, partition: &str) -> Vec<String> {
    let bucket = arn(grant, partition);
    if grant.prefixes.is_empty() {
        return vec![format!("{bucket}/*")];
    }
    grant.prefixes.iter().map(|prefix| format!("{bucket}/{prefix}*")).collect()
}

/// Buckets that are listed by the same actions under the same prefixes.
struct List<'a> {
    actions: Vec<&'static str>,
    prefixes: BTreeSet<&'a str>,
    buckets: Vec<&'a AccessGrant>,
}

fn lists<'a>(grants: &[&'a AccessGrant]) -> Vec<List<'a>> {
    let mut lists: Vec<List<'a>> = Vec::new();
    for grant in grants {
        let actions = prefix_actions(grant.level);
        let prefixes = grant.prefixes.iter().map(String::as_str).collect();
        match lists.iter_mut().find(|list| list.actions == actions && list.prefixes == prefixes) {
            Some(list) => list.buckets.push(grant),
            None if actions.is_empty() => {}
            None => lists.push(List { actions, prefixes, buckets: vec![grant] }),
        }
    }
    lists
}

/// Whether some level grants the action.
pub(super) fn grants_action(action: &str) -> bool {
    keys::grants_action(action)
        || LEVELS.into_iter().any(|level| {
            [object_actions(level), bucket_actions(level)]
                .concat()
                .iter()
                .any(|granted| granted.eq_ignore_ascii_case(action))
        })
}

fn object_actions(level: AccessLevel) -> Vec<&'static str> {
    match level {
        AccessLevel::ReadOnly => READ.to_vec(),
        AccessLevel::WriteOnly => WRITE.to_vec(),
        AccessLevel::ReadWrite => [READ, WRITE, DELETE].concat(),
        AccessLevel::Admin => [ADMIN_OBJECTS, WRITE].concat(),
    }
}

/// What a grant of a whole bucket allows on the bucket itself.
fn bucket_actions(level: AccessLevel) -> Vec<&'static str> {
    match level {
        AccessLevel::ReadOnly => [LOCATION, LIST].concat(),
        AccessLevel::WriteOnly => [LOCATION, LIST_UPLOADS].concat(),
        AccessLevel::ReadWrite => [LOCATION, LIST, LIST_UPLOADS].concat(),
        AccessLevel::Admin => [LIST, LIST_VERSIONS, LIST_UPLOADS, ADMIN_BUCKET].concat(),
    }
}

/// What a grant of prefixes allows to list.
fn prefix_actions(level: AccessLevel) -> Vec<&'static str> {
    match level {
        AccessLevel::ReadOnly | AccessLevel::ReadWrite => LIST.to_vec(),
        AccessLevel::WriteOnly => Vec::new(),
        AccessLevel::Admin => [LIST, LIST_VERSIONS].concat(),
    }
}

/// The CRD's schema says the same; a CR that an older CRD let in has not met it.
pub(super) fn check(grants: &[AccessGrant], account: &Account) -> Result<(), Refusal> {
    grants.iter().enumerate().try_for_each(|(index, grant)| check_grant(grant, index, account))
}

fn check_grant(grant: &AccessGrant, index: usize, account: &Account) -> Result<(), Refusal> {
    let at = format!("spec.access[{index}]");
    if let Some(problem) = bucket_problem(&grant.bucket) {
        return Err(Refusal::invalid_policy(format!(
            "{at}.bucket: {:?} is not a valid S3 bucket name: {problem}",
            grant.bucket
        )));
    }
    keys::check(grant, &at, account)?;
    // Wildcards and policy variables would widen the resource beyond the prefix.
    if let Some(prefix) = grant
        .prefixes
        .iter()
        .find(|prefix| prefix.is_empty() || prefix.contains(['*', '?', '$']) || prefix.chars().any(char::is_control))
    {
        return Err(Refusal::invalid_policy(format!(
            "{at}.prefixes: {prefix:?} must be plain text, without *, ?, $ and control characters: it stands for all that begins with it{}",
            told_plain(prefix)
        )));
    }
    grant.prefixes.iter().try_for_each(|prefix| super::check_characters(prefix, &format!("{at}.prefixes {prefix:?}")))
}

/// A prefix as a pattern is meant: it ends where the pattern's wildcard begins.
fn told_plain(prefix: &str) -> String {
    match prefix.strip_suffix('*').map(|plain| plain.trim_end_matches('*')) {
        Some(plain) if !plain.is_empty() && !plain.contains(['*', '?', '$']) => format!(", so write {plain:?}"),
        _ => String::new(),
    }
}

/// The naming rules of general purpose buckets (Amazon S3 user guide, "Bucket naming rules").
fn bucket_problem(name: &str) -> Option<&'static str> {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !(3..=63).contains(&name.len()) {
        return Some("it must have 3 to 63 characters");
    }
    if !name.chars().all(|c| edge(c) || c == '.' || c == '-') {
        return Some(
            "only lower-case letters, digits, periods and hyphens are allowed; a bucket with a name of the old kind (capital letters, underscores) is granted by spec.policy.statements",
        );
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
        let prefixes = prefixes.iter().map(ToString::to_string).collect();
        AccessGrant { bucket: bucket.to_owned(), prefixes, level, kms_key_arns: Vec::new() }
    }

    fn check(grants: &[AccessGrant]) -> Result<(), Refusal> {
        super::check(grants, &Account { id: "123456789012".to_owned(), partition: "aws".to_owned() })
    }

    fn compiled(grants: &[AccessGrant]) -> Vec<Value> {
        statements(grants, "aws")
    }

    #[test]
    fn prefixes_limit_objects_and_listing() {
        let statements = statements(&[grant("team-a", AccessLevel::ReadOnly, &["2026/"])], "aws-cn");
        assert_eq!(
            statements,
            vec![
                json!({"Sid": "ReadOnlyObjects", "Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws-cn:s3:::team-a/2026/*"]}),
                json!({"Sid": "PrefixList0", "Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": ["arn:aws-cn:s3:::team-a"], "Condition": {"StringLike": {"s3:prefix": ["2026/*"]}}}),
                json!({"Sid": "PrefixBuckets", "Effect": "Allow", "Action": ["s3:GetBucketLocation"], "Resource": ["arn:aws-cn:s3:::team-a"]}),
            ]
        );
    }

    #[test]
    fn only_admin_of_a_whole_bucket_may_change_its_settings() {
        for level in LEVELS {
            for prefixes in [&[][..], &["x/"][..]] {
                let grants = compiled(&[grant("team-a", level, prefixes)]);
                let allows = |action| allows(&grants, action, "arn:aws:s3:::team-a", None);
                let settings = level == AccessLevel::Admin && prefixes.is_empty();
                assert_eq!(allows("s3:PutLifecycleConfiguration"), settings, "{level:?} {prefixes:?}");
                assert!(allows("s3:GetBucketLocation"), "{level:?} {prefixes:?}");
            }
        }
    }

    /// The actions by which a bucket, or an object in it, is handed to others, or by which the bucket goes.
    #[test]
    fn no_level_may_hand_over_what_it_was_given() {
        let on_the_bucket = [
            "s3:CreateBucket",
            "s3:DeleteBucket",
            "s3:DeleteBucketPolicy",
            "s3:PutBucketAcl",
            "s3:PutBucketOwnershipControls",
            "s3:PutBucketPolicy",
            "s3:PutBucketPublicAccessBlock",
            "s3:PutBucketWebsite",
            "s3:PutInventoryConfiguration",
            "s3:PutReplicationConfiguration",
        ];
        let on_objects = [
            "s3:BypassGovernanceRetention",
            "s3:ObjectOwnerOverrideToBucketOwner",
            "s3:PutObjectAcl",
            "s3:PutObjectVersionAcl",
            "s3:ReplicateObject",
        ];
        for level in LEVELS {
            let grants = compiled(&[grant("team-a", level, &[]), grant("team-b", level, &["x/"])]);
            for bucket in ["arn:aws:s3:::team-a", "arn:aws:s3:::team-b"] {
                for action in on_the_bucket {
                    assert!(!allows(&grants, action, bucket, None), "{level:?} grants {action}");
                }
                for action in on_objects {
                    assert!(!allows(&grants, action, &format!("{bucket}/x/y"), None), "{level:?} grants {action}");
                }
            }
        }
    }

    /// Whether a text fits a pattern in which `*` stands for anything.
    fn glob(pattern: &str, text: &str) -> bool {
        match pattern.split_once('*') {
            None => pattern == text,
            Some((start, rest)) => text
                .strip_prefix(start)
                .is_some_and(|text| text.char_indices().any(|(at, _)| glob(rest, &text[at..])) || glob(rest, "")),
        }
    }

    /// IAM's decision, for statements of the forms that are made here.
    fn allows(statements: &[Value], action: &str, resource: &str, prefix: Option<&str>) -> bool {
        let matches = |pattern: &Value, text: &str| glob(pattern.as_str().unwrap(), text);
        let any =
            |patterns: &Value, text: &str| patterns.as_array().unwrap().iter().any(|pattern| matches(pattern, text));
        statements.iter().any(|statement| {
            let condition = &statement["Condition"]["StringLike"]["s3:prefix"];
            any(&statement["Action"], action)
                && any(&statement["Resource"], resource)
                && (condition.is_null() || prefix.is_some_and(|prefix| any(condition, prefix)))
        })
    }

    #[test]
    fn together_grants_mean_what_each_means_alone() {
        let grants: Vec<AccessGrant> = LEVELS
            .iter()
            .enumerate()
            .flat_map(|(index, level)| {
                [
                    grant(&format!("whole-{index}"), *level, &[]),
                    grant(&format!("whole-too-{index}"), *level, &[]),
                    grant(&format!("one-{index}"), *level, &["a/"]),
                    grant(&format!("two-{index}"), *level, &["a/", "b/"]),
                    grant(&format!("turned-{index}"), *level, &["b/", "a/"]),
                    // Of one bucket, each level has the whole, a prefix that others have, and one of its own.
                    grant("every-level", *level, &[]),
                    grant(&format!("below-{index}"), *level, &[]),
                    grant("every-prefix", *level, &["a/"]),
                    grant("every-prefix", *level, &[["a/", "b/", "c/", "a/x"][index]]),
                    // Another level below one prefix of what this level has as a whole.
                    grant(&format!("below-{index}"), LEVELS[(index + 1) % LEVELS.len()], &["a/"]),
                    grant(&format!("one-{index}"), *level, &["a/"]),
                ]
            })
            .collect();
        let together = compiled(&grants);
        let alone: Vec<Vec<Value>> = grants.iter().map(|grant| compiled(std::slice::from_ref(grant))).collect();
        let actions =
            LEVELS.map(|level| [object_actions(level), bucket_actions(level), prefix_actions(level)].concat());
        let (mut allowed, mut denied) = (0, 0);
        for action in actions.concat().into_iter().chain(["s3:PutBucketPolicy"]) {
            let action = action.replace('*', "Tagging");
            for bucket in grants.iter().map(|grant| grant.bucket.as_str()).chain(["other"]) {
                for path in ["", "/a/x", "/b/x", "/c/x"] {
                    for prefix in [None, Some(""), Some("a"), Some("a/"), Some("b/x"), Some("c/")] {
                        let resource = format!("arn:aws:s3:::{bucket}{path}");
                        let wanted = alone.iter().any(|statements| allows(statements, &action, &resource, prefix));
                        let found = allows(&together, &action, &resource, prefix);
                        assert_eq!(found, wanted, "{action} on {resource} with prefix {prefix:?}");
                        *(if found { &mut allowed } else { &mut denied }) += 1;
                    }
                }
            }
        }
        assert!(allowed > 1_000 && denied > 1_000, "{allowed} {denied}");
    }

    /// Every pair of grants of one bucket, and the same grant twice.
    #[test]
    fn one_bucket_may_be_granted_twice() {
        let scopes: [&[&str]; 3] = [&[], &["a/"], &["b/", "a/"]];
        let all = || LEVELS.into_iter().flat_map(|level| scopes.map(|scope| grant("team-a", level, scope)));
        for first in all() {
            for second in all() {
                let statements = compiled(&[first.clone(), second.clone()]);
                let sids: BTreeSet<&str> = statements.iter().filter_map(|found| found["Sid"].as_str()).collect();
                assert_eq!(sids.len(), statements.len(), "IAM wants each Sid once: {statements:?}");
                for statement in &statements {
                    let resources = statement["Resource"].as_array().unwrap();
                    let once: BTreeSet<&str> = resources.iter().filter_map(Value::as_str).collect();
                    assert_eq!(once.len(), resources.len(), "{statement}");
                }
                if first == second {
                    assert_eq!(statements, compiled(std::slice::from_ref(&first)), "said twice, it says the same");
                }
            }
        }
    }

    #[test]
    fn grants_that_can_share_a_statement_do() {
        let sids = |grants: &[AccessGrant]| -> Vec<String> {
            let statements = compiled(grants);
            let sids: BTreeSet<&str> = statements.iter().map(|statement| statement["Sid"].as_str().unwrap()).collect();
            assert_eq!(sids.len(), statements.len(), "IAM wants each Sid once");
            statements.iter().map(|statement| statement["Sid"].as_str().unwrap().to_owned()).collect()
        };
        use AccessLevel::{Admin, ReadOnly, ReadWrite, WriteOnly};
        assert_eq!(
            sids(&[grant("aaa", ReadOnly, &[]), grant("bbb", ReadOnly, &[])]),
            ["ReadOnlyObjects", "ReadOnlyBuckets"]
        );
        // Who reads and who writes lists alike.
        assert_eq!(
            sids(&[grant("aaa", ReadOnly, &["x/", "y/"]), grant("bbb", ReadWrite, &["y/", "x/"])]),
            ["ReadOnlyObjects", "ReadWriteObjects", "PrefixList0", "PrefixBuckets"]
        );
        assert_eq!(
            sids(&[grant("aaa", ReadOnly, &["x/"]), grant("bbb", Admin, &["x/"]), grant("ccc", ReadOnly, &["y/"])]),
            ["ReadOnlyObjects", "AdminObjects", "PrefixList0", "PrefixList1", "PrefixList2", "PrefixBuckets"]
        );
        assert_eq!(sids(&[grant("aaa", WriteOnly, &["x/"])]), ["WriteOnlyObjects", "PrefixBuckets"]);
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
        assert_eq!(check(&[grant("team-a", AccessLevel::ReadOnly, &["Übersicht/\u{ff}/"])]), Ok(()));
        let error = check(&[grant("team-a", AccessLevel::ReadOnly, &["a/", "报表/"])]).unwrap_err();
        assert!(
            error.message.starts_with("spec.access[0].prefixes \"报表/\"") && error.message.contains("U+00FF"),
            "{error}"
        );
    }
}
