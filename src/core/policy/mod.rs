//! The policy document: compiled from the spec, checked against IAM's rules, compared by meaning.

mod condition;
mod cut;
mod document;
mod grants;
mod keys;
pub mod requirement;
mod statement;
pub mod terms;

pub use cut::{cut, cut_off, with_cut};
pub use document::Document;
pub use requirement::{PROVABLE, Provable};
pub(super) use statement::fill_in;
pub use terms::Terms;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::class::{Class, Effort};
use super::iam::Account;
use super::refusal::Refusal;
use crate::api::{AccessGrant, PolicyPreset, PolicyType, Reason, S3AccessUserSpec};

/// IAM's limit on a managed policy: characters, whitespace not counted (IAM user guide, "IAM and AWS STS quotas").
pub const MANAGED_LIMIT: usize = 6_144;
/// IAM's limit on all inline policies of a user together, counted in the same way.
pub const INLINE_LIMIT: usize = 2_048;

/// The policy of `spec.access` and `spec.policy`, each statement under these terms, and what of it the class does not allow:
/// that is left out, by field. No policy where nothing is granted.
///
/// # Errors
/// [`Refusal`] where IAM would refuse the policy, or a statement cannot be put under the terms.
pub fn compile(
    spec: &S3AccessUserSpec,
    account: &Account,
    class: &Class,
    terms: &Terms,
) -> Result<(Option<Document>, Vec<String>), Refusal> {
    grants::check(&spec.access, account)?;
    let (granted, mut violations) = granted(&spec.access, class);
    let accounts = class.resource_accounts();
    let bound = |at: &str, statement: &Value| {
        terms.bound(statement).map_err(|why| Refusal::invalid_policy(format!("{at}{why}")))
    };
    let mut statements = Vec::new();
    for mut statement in grants::statements(&granted, &account.partition) {
        if !accounts.is_empty() {
            statement["Condition"]["StringEquals"] = json!({ "aws:ResourceAccount": accounts });
        }
        statements.extend(bound("spec.access", &statement)?);
    }
    if let Some(policy) = &spec.policy {
        let limit = if policy.policy_type == PolicyType::Inline { INLINE_LIMIT } else { MANAGED_LIMIT };
        let effort = Effort::default();
        let preset = policy.preset.map(|PolicyPreset::ReadWriteNoDelete| read_write_no_delete(&account.partition));
        let mut asked: Vec<(String, Value)> =
            preset.into_iter().map(|statement| ("spec.policy.preset".to_owned(), statement)).collect();
        let raw: Vec<Value> = policy
            .statements
            .iter()
            .map(|statement| statement::fill_in(statement, &account.partition, &account.id))
            .collect();
        // Before anything is proven about them: what IAM would not take costs no proof.
        check_size(&Document::new(raw.clone()), limit)?;
        for (index, statement) in raw.into_iter().enumerate() {
            let at = format!("spec.policy.statements[{index}]");
            statement::check(&statement, &at, &account.partition, &account.id)?;
            if class.allows_statements() || statement["Effect"] == "Deny" {
                asked.push((at, statement));
            } else {
                violations.push(format!(
                    "{at}: statements are not allowed, so use spec.access, with kmsKeyArns for the keys of its objects"
                ));
            }
        }
        for (at, statement) in asked {
            match class.judge(&statement, &effort) {
                Ok(()) => statements.extend(bound(&at, &statement)?),
                Err(why) => violations.push(format!("{at}{why}")),
            }
        }
    }
    let mut sids = BTreeSet::new();
    // IAM counts only those that say something (recorded).
    let mut said = statements.iter().filter_map(|statement| statement["Sid"].as_str()).filter(|sid| !sid.is_empty());
    if let Some(sid) = said.find(|sid| !sids.insert(*sid)) {
        return Err(Refusal::invalid_policy(format!(
            "spec.policy.statements: the Sid {sid:?} stands twice in the policy, grants and preset included, and IAM wants each once"
        )));
    }
    let document = (!statements.is_empty()).then(|| Document::new(statements));
    Ok((document, violations))
}

/// What of the grants the class allows, and what it does not, by field.
fn granted(access: &[AccessGrant], class: &Class) -> (Vec<AccessGrant>, Vec<String>) {
    let (mut granted, mut violations) = (Vec::new(), Vec::new());
    let refused = class.refused_keys(access.iter().flat_map(|grant| &grant.kms_key_arns));
    for (index, grant) in access.iter().enumerate() {
        if let Some(why) = class.refuses_bucket(&grant.bucket) {
            violations.push(format!("spec.access[{index}].bucket {:?}: {why}", grant.bucket));
            continue;
        }
        let mut grant = grant.clone();
        grant.kms_key_arns.retain(|arn| {
            let why = refused.get(arn.as_str());
            violations.extend(why.map(|why| format!("spec.access[{index}].kmsKeyArns {arn:?}: {why}")));
            why.is_none()
        });
        granted.push(grant);
    }
    (granted, violations)
}

/// Of what IAM takes in a document: tab, line feed, carriage return, and U+0020 to U+00FF (IAM API reference, CreatePolicy).
/// Control characters are refused elsewhere.
pub(super) fn check_characters(text: &str, at: &str) -> Result<(), Refusal> {
    match text.chars().find(|c| *c > '\u{ff}') {
        Some(c) => Err(Refusal::invalid_policy(format!(
            "{at}: IAM takes no {c:?} in a policy, and no other character beyond U+00FF: grant a prefix above it or the whole bucket, or write a statement in spec.policy with ? in place of each such character"
        ))),
        None => Ok(()),
    }
}

/// The actions of the console walk-through, in its order.
const PRESET: [&str; 5] = ["s3:PutObject", "s3:GetObject", "s3:CreateBucket", "s3:ListAllMyBuckets", "s3:ListBucket"];

/// Whether the action is one that a grant or the preset gives, so that it need not come of raw statements.
pub(super) fn is_granted(action: &str) -> bool {
    grants::grants_action(action) || PRESET.iter().any(|granted| granted.eq_ignore_ascii_case(action))
}

/// The console walk-through's statement, to the letter.
fn read_write_no_delete(partition: &str) -> Value {
    json!({
        "Sid": "Statement1",
        "Effect": "Allow",
        "Action": PRESET,
        "Resource": format!("arn:{partition}:s3:::*"),
    })
}

/// Checks the document against the limit of its type.
///
/// # Errors
/// PolicyTooLarge with both numbers.
pub fn check_size(document: &Document, limit: usize) -> Result<(), Refusal> {
    let size = document.size();
    if size <= limit {
        return Ok(());
    }
    let hint = if limit == INLINE_LIMIT {
        "use spec.policy.type Managed (6144 characters), or fewer grants"
    } else {
        "use fewer grants or wildcards, or split them over several S3AccessUsers"
    };
    Err(Refusal {
        reason: Reason::PolicyTooLarge,
        message: format!("the policy has {size} characters without whitespace and IAM takes {limit}: {hint}"),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::api::{AccessGrant, AccessLevel, PolicySpec};

    /// Grants of buckets with the longest names.
    fn buckets(count: usize, level: AccessLevel) -> S3AccessUserSpec {
        let bucket = |index| AccessGrant {
            bucket: format!("{index:063}"),
            prefixes: Vec::new(),
            level,
            kms_key_arns: Vec::new(),
        };
        S3AccessUserSpec { access: (0..count).map(bucket).collect(), ..S3AccessUserSpec::default() }
    }

    fn compiled(spec: &S3AccessUserSpec, partition: &str) -> Result<Document, Refusal> {
        let account = Account { id: "123456789012".to_owned(), partition: partition.to_owned() };
        compile(spec, &account, &Class::none(), &Terms::default()).map(|(document, _)| document.unwrap())
    }

    #[test]
    fn twenty_five_buckets_of_any_level_fit_into_a_managed_policy() {
        for level in [AccessLevel::ReadOnly, AccessLevel::WriteOnly, AccessLevel::ReadWrite, AccessLevel::Admin] {
            let document = compiled(&buckets(25, level), "aws-us-gov").unwrap();
            check_size(&document, MANAGED_LIMIT).unwrap();
        }
    }

    #[test]
    fn a_policy_over_the_limit_is_refused_with_both_numbers() {
        let document = compiled(&buckets(40, AccessLevel::ReadOnly), "aws").unwrap();
        for limit in [INLINE_LIMIT, MANAGED_LIMIT] {
            assert_eq!(check_size(&document, document.size()), Ok(()), "the limit itself fits");
            let error = check_size(&document, limit).unwrap_err();
            assert_eq!(error.reason, Reason::PolicyTooLarge);
            for number in [document.size(), limit] {
                assert!(error.message.contains(&number.to_string()), "{error}");
            }
            assert_eq!(error.message.contains("type Managed"), limit == INLINE_LIMIT, "{error}");
        }
    }

    #[test]
    fn the_limit_of_statements_is_that_of_the_policys_type() {
        let read = |n: usize| json!({ "Effect": "Allow", "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{n:055}") });
        let statements: Vec<Value> = (0..30).map(read).collect();
        for (policy_type, fits) in [(PolicyType::Managed, true), (PolicyType::Inline, false)] {
            let policy = Some(PolicySpec { policy_type, statements: statements.clone(), ..PolicySpec::default() });
            let judged = compiled(&S3AccessUserSpec { policy, ..S3AccessUserSpec::default() }, "aws");
            assert_eq!(judged.is_ok(), fits, "{judged:?}");
        }
    }

    #[test]
    fn invariant_7_a_class_bounds_accounts_and_statements() {
        let class = |extra: Value| {
            let mut spec = json!({ "allowedBuckets": ["*"] });
            extra.as_object().unwrap().iter().for_each(|(field, value)| spec[field] = value.clone());
            let class = crate::api::S3AccessClass::new("tenants", serde_json::from_value(spec).unwrap());
            Class::of(&class, "team-a", &std::collections::BTreeMap::new())
        };
        let account = Account { id: "123456789012".to_owned(), partition: "aws".to_owned() };
        let statement =
            |effect: &str| json!({ "Effect": effect, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::a/*" });
        let policy =
            Some(PolicySpec { statements: vec![statement("Allow"), statement("Deny")], ..PolicySpec::default() });
        let spec = S3AccessUserSpec { policy, ..buckets(1, AccessLevel::ReadOnly) };
        for (extra, statements, violations) in
            [(json!({}), 1, 1), (json!({ "allowStatements": true }), 2, 0), (json!({ "accountId": account.id }), 1, 1)]
        {
            let (document, told) = compile(&spec, &account, &class(extra.clone()), &Terms::default()).unwrap();
            let document = document.unwrap();
            let (grants, asked): (Vec<&Value>, Vec<&Value>) =
                document.statements().into_iter().partition(|statement| statement["Sid"].is_string());
            assert_eq!((asked.len(), told.len()), (statements, violations), "{extra}: {told:?}");
            assert!(asked.iter().any(|statement| statement["Effect"] == "Deny"), "{extra}: a denial is always taken");
            let bound = json!({ "aws:ResourceAccount": [account.id] });
            for grant in grants {
                assert_eq!(grant["Condition"]["StringEquals"] == bound, extra["accountId"].is_string(), "{grant}");
            }
        }
    }

    #[test]
    fn invariant_7_a_class_bounds_the_keys_of_grants() {
        let key = |account: &str, id: &str| format!("arn:aws:kms:eu-west-1:{account}:key/{id}");
        let (own, other, third) = ("123456789012", "210987654321", "999999999999");
        let (ours, theirs, far) = (key(own, "team-a"), key(other, "team-a"), key(third, "team-a"));
        let mut spec = buckets(1, AccessLevel::ReadWrite);
        spec.access[0].kms_key_arns = vec![ours.clone(), theirs.clone(), far.clone(), key(own, "team-b")];
        let account = Account { id: own.to_owned(), partition: "aws".to_owned() };
        for (extra, wanted) in [
            (json!({}), vec![]),
            (json!({ "allowedKmsKeyArns": ["*"] }), vec![&ours, &key(own, "team-b"), &theirs, &far]),
            (json!({ "allowedKmsKeyArns": ["*:key/team-a"], "accountId": own }), vec![&ours]),
            (
                json!({ "allowedKmsKeyArns": ["*:key/team-a"], "accountId": own, "allowedResourceAccounts": [other] }),
                vec![&ours, &theirs],
            ),
        ] {
            let mut class = json!({ "allowedBuckets": ["*"] });
            extra.as_object().unwrap().iter().for_each(|(field, value)| class[field] = value.clone());
            let class = crate::api::S3AccessClass::new("tenants", serde_json::from_value(class).unwrap());
            let class = Class::of(&class, "team-a", &std::collections::BTreeMap::new());
            let (document, told) = compile(&spec, &account, &class, &Terms::default()).unwrap();
            assert_eq!(told.len(), 4 - wanted.len(), "{told:?}");
            assert!(told.iter().all(|told| told.starts_with("spec.access[0].kmsKeyArns \"arn:aws:kms")), "{told:?}");
            let document = document.unwrap();
            let keys = document.statements().into_iter().find(|found| found["Sid"] == "KeysToWrite");
            assert_eq!(keys.map(|found| found["Resource"].clone()), (!wanted.is_empty()).then(|| json!(wanted)));
            let Some(keys) = keys else { continue };
            let condition = &keys["Condition"];
            assert!(condition["StringLike"]["kms:ViaService"].is_string(), "{condition}");
            assert_eq!(condition["StringEquals"].is_object(), extra["accountId"].is_string(), "{condition}");
            assert!(
                !crate::core::curtail::exceeds(
                    &class,
                    &crate::api::S3AccessUser::new("reports", spec.clone()),
                    &document
                ),
                "what a class allows it leaves in place"
            );
        }
    }

    #[test]
    fn what_grants_and_preset_give_needs_no_statement_of_its_own() {
        for (action, granted) in [
            ("s3:GetObject", true),
            ("S3:listallmybuckets", true),
            ("s3:CreateBucket", true),
            ("s3:PutBucketPolicy", false),
            ("KMS:decrypt", true),
            ("kms:GenerateDataKey", true),
            ("kms:Encrypt", false),
        ] {
            assert_eq!(is_granted(action), granted, "{action}");
        }
    }

    #[test]
    fn the_preset_is_the_console_walk_through_to_the_letter() {
        let policy = Some(PolicySpec { preset: Some(PolicyPreset::ReadWriteNoDelete), ..PolicySpec::default() });
        let document = compiled(&S3AccessUserSpec { policy, ..S3AccessUserSpec::default() }, "aws-cn").unwrap();
        let statement = document.statements()[0];
        assert_eq!(
            statement,
            &json!({
                "Sid": "Statement1", "Effect": "Allow", "Resource": "arn:aws-cn:s3:::*",
                "Action": PRESET,
            })
        );
    }

    #[test]
    fn a_sid_that_stands_twice_is_refused() {
        let raw = |sid: &str| json!({ "Sid": sid, "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*" });
        for (preset, sids) in [
            (None, ["ReadOnlyObjects", "Mine"]),
            (None, ["Mine", "Mine"]),
            (Some(PolicyPreset::ReadWriteNoDelete), ["Statement1", "Mine"]),
        ] {
            let statements = sids.map(raw).to_vec();
            let policy = Some(PolicySpec { preset, statements, ..PolicySpec::default() });
            let spec = S3AccessUserSpec { policy, ..buckets(1, AccessLevel::ReadOnly) };
            let error = compiled(&spec, "aws").unwrap_err();
            assert_eq!(error.reason, Reason::InvalidPolicy);
            assert!(error.message.contains("Sid"), "{error}");
        }
        let policy = Some(PolicySpec { statements: ["", ""].map(raw).to_vec(), ..PolicySpec::default() });
        let document = compiled(&S3AccessUserSpec { policy, ..S3AccessUserSpec::default() }, "aws").unwrap();
        assert_eq!(document.statements().len(), 2, "an empty one may, as in IAM");
    }
}
