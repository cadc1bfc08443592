//! The condition of a statement: operators, keys and values.

use serde_json::Value;

use crate::core::refusal::{Refusal, nearest};

/// IAM user guide, "IAM JSON policy elements: Condition operators".
const OPERATORS: [&str; 27] = [
    "StringEquals",
    "StringNotEquals",
    "StringEqualsIgnoreCase",
    "StringNotEqualsIgnoreCase",
    "StringLike",
    "StringNotLike",
    "NumericEquals",
    "NumericNotEquals",
    "NumericLessThan",
    "NumericLessThanEquals",
    "NumericGreaterThan",
    "NumericGreaterThanEquals",
    "DateEquals",
    "DateNotEquals",
    "DateLessThan",
    "DateLessThanEquals",
    "DateGreaterThan",
    "DateGreaterThanEquals",
    "Bool",
    "BinaryEquals",
    "IpAddress",
    "NotIpAddress",
    "ArnEquals",
    "ArnLike",
    "ArnNotEquals",
    "ArnNotLike",
    "Null",
];
const QUANTIFIERS: [&str; 2] = ["ForAllValues:", "ForAnyValue:"];
const IF_EXISTS: &str = "IfExists";

/// Checks the condition of the statement at that place.
pub(super) fn check(condition: &Value, at: &str) -> Result<(), Refusal> {
    let malformed = || {
        Refusal::invalid_policy(format!(
            "{at}.Condition: must map operators to keys to values, such as {{\"StringLike\": {{\"s3:prefix\": [\"2026/*\"]}}}}"
        ))
    };
    let operators = condition.as_object().ok_or_else(malformed)?;
    for (operator, keys) in operators {
        check_operator(operator, at)?;
        for (key, values) in keys.as_object().ok_or_else(malformed)? {
            check_account_key(key, values, at)?;
            let scalar = |value: &Value| value.is_string() || value.is_boolean() || value.is_number();
            let well_formed = match values {
                Value::Array(values) => values.iter().all(scalar),
                value => scalar(value),
            };
            if !well_formed {
                return Err(malformed());
            }
        }
    }
    Ok(())
}

/// IAM knows an operator by its very letters, and answers to any other with no more than "Syntax errors in policy".
fn check_operator(operator: &str, at: &str) -> Result<(), Refusal> {
    let name = QUANTIFIERS.iter().find_map(|quantifier| operator.strip_prefix(quantifier)).unwrap_or(operator);
    let known = |name: &str| OPERATORS.contains(&name);
    if known(name) || name.strip_suffix(IF_EXISTS).is_some_and(|name| known(name) && name != "Null") {
        return Ok(());
    }
    let told: String = operator.chars().take(64).collect();
    let nearest = nearest(&told, all_operators()).map(|name| format!(": did you mean {name}?")).unwrap_or_default();
    Err(Refusal::invalid_policy(format!(
        "{at}.Condition: {told:?} is no condition operator of IAM (names are case-sensitive){nearest}"
    )))
}

/// Every operator, with every quantifier and suffix.
fn all_operators() -> impl Iterator<Item = String> {
    let suffixed = OPERATORS.iter().flat_map(|name| [String::from(*name), format!("{name}{IF_EXISTS}")]);
    suffixed.flat_map(|name| {
        let quantified = QUANTIFIERS.map(|quantifier| format!("{quantifier}{name}"));
        quantified.into_iter().chain([name])
    })
}

/// YAML takes an account's number without quotes for a number, and one that begins with 0 for an octal one: the statement
/// would be about another account.
fn check_account_key(key: &str, values: &Value, at: &str) -> Result<(), Refusal> {
    let is_account = key.to_ascii_lowercase().ends_with("account");
    let mut values = values.as_array().map_or(std::slice::from_ref(values), Vec::as_slice).iter();
    match values.find(|value| is_account && value.is_number()) {
        Some(number) => Err(Refusal::invalid_policy(format!(
            "{at}.Condition: {key} is the number {number}, as YAML reads an account id without quotes (octal, if it begins with 0): put the id in quotes"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use serde_json::json;

    use super::*;

    #[test]
    fn an_account_without_quotes_is_refused() {
        let checked = |condition: Value| check(&condition, "statements[0]");
        let with = |key: &str, value: Value| json!({ "StringEquals": { key: value } });
        for (key, value) in [
            ("aws:PrincipalAccount", json!(1_402_433_619)),
            ("s3:ResourceAccount", json!(["123456789012", 123_456_789_012_u64])),
            ("aws:sourceaccount", json!(1)),
        ] {
            let message = checked(with(key, value)).unwrap_err().message;
            assert!(message.contains(key) && message.contains("in quotes"), "{message}");
        }
        assert!(checked(with("aws:PrincipalAccount", json!("012345670123"))).is_ok());
        assert!(checked(with("s3:max-keys", json!(10))).is_ok());
    }

    #[test]
    fn every_operator_of_iam_is_taken() {
        let taken = |operator: &str| check(&json!({ operator: { "aws:SourceIp": "x" } }), "statements[0]").is_ok();
        for name in OPERATORS {
            assert!(taken(name) && taken(&format!("ForAnyValue:{name}")), "{name}");
            assert_eq!(taken(&format!("ForAllValues:{name}IfExists")), name != "Null", "{name}");
        }
    }

    #[test]
    fn a_misspelt_operator_is_refused_with_its_statement_and_the_nearest_one() {
        for (wrong, right) in [
            ("StringEqual", ": did you mean StringEquals?"),
            ("stringLike", ": did you mean StringLike?"),
            ("StringLikes", ": did you mean StringLike?"),
            ("ForAnyValues:StringLike", ": did you mean ForAnyValue:StringLike?"),
            ("StringEqualsIfExist", ": did you mean StringEqualsIfExists?"),
            ("IPAddress", ": did you mean IpAddress?"),
            ("NullIfExists", ": did you mean"),
            ("s3:prefix", "(names are case-sensitive)"),
            ("", "(names are case-sensitive)"),
        ] {
            let message =
                check(&json!({ wrong: { "s3:prefix": "x" } }), "spec.policy.statements[3]").unwrap_err().message;
            assert!(message.starts_with("spec.policy.statements[3].Condition"), "{message}");
            assert!(message.contains(&format!("{wrong:?}")) && message.contains(right), "{message}");
        }
        let long = check(&json!({ "x".repeat(100_000): {} }), "statements[0]").unwrap_err().message;
        assert!(long.len() < 300, "{long}");
    }

    #[test]
    fn a_condition_maps_operators_to_keys_to_scalars_or_lists_of_them() {
        let check = |value: Value| super::check(&json!({ "StringLike": { "s3:prefix": value } }), "statements[0]");
        for value in ["\"2026/*\"", "true", "10", "[\"a\", false, 3]"] {
            assert!(check(serde_json::from_str(value).unwrap()).is_ok(), "{value}");
        }
        for value in ["{\"a\": 1}", "null", "[[\"a\"]]"] {
            assert!(check(serde_json::from_str(value).unwrap()).is_err(), "{value}");
        }
    }
}
