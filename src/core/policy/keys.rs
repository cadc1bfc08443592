//! The KMS keys that the buckets of grants are encrypted with: what may stand there, and what a level needs of them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::api::{AccessGrant, AccessLevel, Reason};
use crate::core::iam::Account;
use crate::core::refusal::Refusal;

/// Reading: S3 has the data key of the object decrypted (Amazon S3 user guide, "Using server-side encryption with AWS KMS
/// keys").
const READ: &[&str] = &["kms:Decrypt"];
/// Writing: a data key for each object; and decrypting, since S3 reads the parts of a multipart upload again before it
/// puts them together (Amazon S3 user guide, "Multipart upload API and permissions").
const WRITE: &[&str] = &["kms:Decrypt", "kms:GenerateDataKey"];

fn actions(level: AccessLevel) -> &'static [&'static str] {
    match level {
        AccessLevel::ReadOnly => READ,
        AccessLevel::WriteOnly | AccessLevel::ReadWrite | AccessLevel::Admin => WRITE,
    }
}

/// Whether some level grants the action.
pub(super) fn grants_action(action: &str) -> bool {
    WRITE.iter().any(|granted| granted.eq_ignore_ascii_case(action))
}

/// The statements of all grants: the keys to write under, and those to read under. S3 alone may use them for the user.
pub(super) fn statements(grants: &[AccessGrant], partition: &str) -> Vec<Value> {
    let under = |wanted: &[&str]| -> BTreeSet<&str> {
        let grants = grants.iter().filter(|grant| actions(grant.level) == wanted);
        grants.flat_map(|grant| &grant.kms_key_arns).map(String::as_str).collect()
    };
    let written = under(WRITE);
    // Whoever may write under a key may read under it.
    let read: BTreeSet<&str> = under(READ).difference(&written).copied().collect();
    [("KeysToWrite", WRITE, written), ("KeysToRead", READ, read)]
        .into_iter()
        .filter(|(_, _, keys)| !keys.is_empty())
        .map(|(sid, actions, keys)| {
            json!({
                "Sid": sid, "Effect": "Allow", "Action": actions, "Resource": keys,
                "Condition": { "StringLike": { "kms:ViaService": via_s3(partition) } },
            })
        })
        .collect()
}

/// S3's name in `kms:ViaService` (AWS KMS developer guide, "AWS KMS condition keys"). Where the ending is not known, any
/// is taken: what comes before it is S3's alone.
fn via_s3(partition: &str) -> &'static str {
    match partition {
        "aws" | "aws-us-gov" => "s3.*.amazonaws.com",
        "aws-cn" => "s3.*.amazonaws.com.cn",
        _ => "s3.*",
    }
}

/// Holds the keys of a grant to the form of a key's ARN. `at` is the grant's place in the spec.
///
/// # Errors
/// [`Refusal`] with the field, and what to write there: InvalidPolicy, or PartitionMismatch.
pub(super) fn check(grant: &AccessGrant, at: &str, account: &Account) -> Result<(), Refusal> {
    grant.kms_key_arns.iter().enumerate().try_for_each(|(index, arn)| {
        let at = format!("{at}.kmsKeyArns[{index}]");
        check_key(arn, &at, account)
    })
}

fn check_key(arn: &str, at: &str, account: &Account) -> Result<(), Refusal> {
    let Account { id, partition } = account;
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let resource = parts.last().copied().unwrap_or_default();
    if resource.starts_with("alias/") {
        return Err(Refusal::invalid_policy(format!(
            "{at}: {arn:?} is an alias, and IAM allows a key by its own ARN only: write the Arn that `aws kms describe-key --key-id {arn}` tells"
        )));
    }
    let &["arn", found, "kms", region, owner, _] = parts.as_slice() else { return Err(no_key(arn, at, partition)) };
    let word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let is_account = owner.len() == 12 && owner.bytes().all(|byte| byte.is_ascii_digit());
    if !(word(found) && word(region) && is_account && resource.strip_prefix("key/").is_some_and(word)) {
        return Err(no_key(arn, at, partition));
    }
    if found != partition {
        let right = format!("arn:{partition}:kms:{region}:{owner}:{resource}");
        return Err(Refusal {
            reason: Reason::PartitionMismatch,
            message: format!(
                "{at}: {arn:?} is of partition {found:?}, and account {id} is of {partition}: write {right:?}"
            ),
        });
    }
    Ok(())
}

fn no_key(arn: &str, at: &str, partition: &str) -> Refusal {
    Refusal::invalid_policy(format!(
        "{at}: {arn:?} is not the ARN of a KMS key, such as arn:{partition}:kms:<region>:<account>:key/<id>: write the Arn that `aws kms describe-key` tells"
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    const REPLICATED: &str = "arn:aws:kms:eu-west-1:123456789012:key/mrk-1234abcd12ab34cd56ef1234567890ab";

    fn grant(level: AccessLevel, keys: &[&str]) -> AccessGrant {
        let kms_key_arns = keys.iter().map(ToString::to_string).collect();
        AccessGrant { bucket: "reports".to_owned(), prefixes: Vec::new(), level, kms_key_arns }
    }

    fn checked(arn: &str, partition: &str) -> Result<(), Refusal> {
        let account = Account { id: "123456789012".to_owned(), partition: partition.to_owned() };
        check(
            &grant(AccessLevel::ReadOnly, &[KEY.replace(":aws:", &format!(":{partition}:")).as_str(), arn]),
            "spec.access[3]",
            &account,
        )
    }

    #[test]
    fn each_level_has_of_its_keys_what_s3_needs_for_it() {
        use AccessLevel::{Admin, ReadOnly, ReadWrite, WriteOnly};
        for (level, wanted) in [(ReadOnly, READ), (WriteOnly, WRITE), (ReadWrite, WRITE), (Admin, WRITE)] {
            let statements = statements(&[grant(level, &[KEY, REPLICATED])], "aws");
            let [statement] = statements.as_slice() else { panic!("{statements:?}") };
            assert_eq!((&statement["Action"], &statement["Resource"]), (&json!(wanted), &json!([KEY, REPLICATED])));
        }
        assert!(statements(&[grant(Admin, &[])], "aws").is_empty(), "without keys nothing is said of KMS");
    }

    #[test]
    fn a_key_is_used_through_s3_alone() {
        for (partition, service) in [
            ("aws", "s3.*.amazonaws.com"),
            ("aws-us-gov", "s3.*.amazonaws.com"),
            ("aws-cn", "s3.*.amazonaws.com.cn"),
            ("aws-iso", "s3.*"),
        ] {
            let found = statements(&[grant(AccessLevel::ReadOnly, &[KEY])], partition);
            assert_eq!(found[0]["Condition"], json!({ "StringLike": { "kms:ViaService": service } }), "{partition}");
        }
    }

    /// All pairs of levels with all pairs of sets of keys: together they allow what each allows alone.
    #[test]
    fn grants_share_the_statements_of_their_keys() {
        let levels = [AccessLevel::ReadOnly, AccessLevel::WriteOnly, AccessLevel::ReadWrite, AccessLevel::Admin];
        let sets: [&[&str]; 4] = [&[], &[KEY], &[REPLICATED], &[REPLICATED, KEY]];
        let all = || levels.into_iter().flat_map(|level| sets.map(|keys| grant(level, keys)));
        let allows = |statements: &[Value], action: &str, key: &str| {
            let named = |list: &Value, text: &str| list.as_array().unwrap().contains(&json!(text));
            statements.iter().any(|found| named(&found["Action"], action) && named(&found["Resource"], key))
        };
        for first in all() {
            for second in all() {
                let together = statements(&[first.clone(), second.clone()], "aws");
                let alone = [&first, &second].map(|grant| statements(std::slice::from_ref(grant), "aws"));
                for (action, key) in WRITE.iter().flat_map(|action| [(*action, KEY), (*action, REPLICATED)]) {
                    let wanted = alone.iter().any(|statements| allows(statements, action, key));
                    assert_eq!(allows(&together, action, key), wanted, "{action} on {key}: {first:?} {second:?}");
                }
                assert!(together.len() <= 2, "{together:?}");
            }
        }
    }

    #[test]
    fn what_is_no_key_of_the_partition_is_refused_with_the_field_and_what_to_write() {
        for arn in [KEY, REPLICATED] {
            assert_eq!(checked(arn, "aws"), Ok(()), "{arn}");
        }
        for (arn, says) in [
            ("arn:aws:kms:eu-west-1:123456789012:alias/data", "is an alias"),
            ("alias/data", "is an alias"),
            ("1234abcd-12ab-34cd-56ef-1234567890ab", "describe-key"),
            ("arn:aws:kms:eu-west-1:123456789012:key/*", "key/<id>"),
            ("arn:aws:kms:eu-west-1:123456789012:key/", "key/<id>"),
            ("arn:aws:kms:eu-west-1:123456789012:key/${aws:username}", "key/<id>"),
            ("arn:aws:kms:*:123456789012:key/a", "key/<id>"),
            ("arn:aws:kms::123456789012:key/a", "key/<id>"),
            ("arn:aws:kms:eu-west-1:12345678901:key/a", "key/<id>"),
            ("arn:aws:kms:eu-west-1:12345678901x:key/a", "key/<id>"),
            ("arn::kms:eu-west-1:123456789012:key/a", "key/<id>"),
            ("arn:aws:s3:eu-west-1:123456789012:key/a", "key/<id>"),
            ("arn:aws:s3:::reports", "key/<id>"),
            ("", "key/<id>"),
        ] {
            let refusal = checked(arn, "aws").unwrap_err();
            assert_eq!(refusal.reason, Reason::InvalidPolicy, "{arn}");
            assert!(refusal.message.starts_with("spec.access[3].kmsKeyArns[1]: "), "{refusal}");
            assert!(refusal.message.contains(says), "{refusal}");
        }
        let refusal = checked(KEY, "aws-cn").unwrap_err();
        assert_eq!(refusal.reason, Reason::PartitionMismatch);
        assert!(refusal.message.contains("\"arn:aws-cn:kms:eu-west-1:123456789012:key/1234"), "{refusal}");
    }
}
