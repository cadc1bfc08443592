//! Raw statements: IAM's grammar, and the account's partition.

use serde_json::{Map, Value};

use crate::api::{Reason, limits};
use crate::core::refusal::Refusal;

const ELEMENTS: [&str; 7] = ["Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"];
/// Checks one statement, filled in. `at` is its place in the spec, for messages.
pub(super) fn check(statement: &Value, at: &str, partition: &str, account: &str) -> Result<(), Refusal> {
    let Value::Object(statement) = statement else {
        return Err(Refusal::invalid_policy(format!(
            "{at}: a statement is an object with Effect, Action and Resource"
        )));
    };
    for element in statement.keys() {
        if element == "Principal" || element == "NotPrincipal" {
            return Err(Refusal::invalid_policy(format!(
                "{at}.{element}: a user's policy has no principal: remove it"
            )));
        }
        if !ELEMENTS.contains(&element.as_str()) {
            let known = ELEMENTS.join(", ");
            return Err(Refusal::invalid_policy(format!(
                "{at}.{element}: no element of a statement (names are case-sensitive): use {known}"
            )));
        }
    }
    if !matches!(statement.get("Effect").and_then(Value::as_str), Some("Allow" | "Deny")) {
        return Err(Refusal::invalid_policy(format!("{at}.Effect: must be Allow or Deny")));
    }
    check_sid(statement, at)?;
    super::check_characters(&Value::Object(statement.clone()).to_string(), at)?;
    check_actions(statement, at)?;
    check_resources(statement, at, partition, account)?;
    if let Some(condition) = statement.get("Condition") {
        check_condition(condition, at)?;
    }
    Ok(())
}

/// A statement with `${partition}` and `${account}` filled in.
pub(in crate::core) fn fill_in(value: &Value, partition: &str, account: &str) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace("${partition}", partition).replace("${account}", account)),
        Value::Array(members) => members.iter().map(|member| fill_in(member, partition, account)).collect(),
        Value::Object(members) => {
            members.iter().map(|(key, member)| (key.clone(), fill_in(member, partition, account))).collect()
        }
        other => other.clone(),
    }
}

fn check_sid(statement: &Map<String, Value>, at: &str) -> Result<(), Refusal> {
    match statement.get("Sid") {
        None => Ok(()),
        Some(Value::String(sid)) if sid.chars().all(|c| c.is_ascii_alphanumeric()) => Ok(()),
        Some(_) => Err(Refusal::invalid_policy(format!("{at}.Sid: only letters and digits are allowed"))),
    }
}

fn check_actions(statement: &Map<String, Value>, at: &str) -> Result<(), Refusal> {
    let (element, value) = one_of(statement, at, "Action", "NotAction")?;
    let actions = strings(value, &format!("{at}.{element}"))?;
    for action in &actions {
        let well_formed = *action == "*"
            || action.split_once(':').is_some_and(|(service, name)| {
                !service.is_empty()
                    && service.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
                    && !name.is_empty()
                    && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '*' || c == '?')
            });
        if !well_formed {
            return Err(Refusal::invalid_policy(format!(
                "{at}.{element}: {action:?} is not an action such as s3:GetObject"
            )));
        }
        bounded(action, limits::ACTION, &format!("{at}.{element}"))?;
    }
    Ok(())
}

fn check_resources(statement: &Map<String, Value>, at: &str, partition: &str, account: &str) -> Result<(), Refusal> {
    let (element, value) = one_of(statement, at, "Resource", "NotResource")?;
    for resource in strings(value, &format!("{at}.{element}"))? {
        if resource == "*" {
            continue;
        }
        bounded(resource, limits::RESOURCE, &format!("{at}.{element}"))?;
        let parts: Vec<&str> = resource.splitn(6, ':').collect();
        let &["arn", found, service, _, _, rest] = parts.as_slice() else {
            return Err(Refusal::invalid_policy(format!(
                "{at}.{element}: {resource:?} is not an ARN: write it as arn:{partition}:s3:::<bucket>/<key>"
            )));
        };
        if service.is_empty() || rest.is_empty() {
            return Err(Refusal::invalid_policy(format!("{at}.{element}: {resource:?} lacks a service or a resource")));
        }
        if found != partition {
            return Err(Refusal {
                reason: Reason::PartitionMismatch,
                message: format!(
                    "{at}.{element}: {resource:?} is of partition {found:?}, and account {account} is of {partition}: write {:?}, or arn:${{partition}}:… to fit every account",
                    format!("arn:{partition}:{}", parts[2..].join(":")),
                ),
            });
        }
    }
    Ok(())
}

fn bounded(text: &str, limit: usize, at: &str) -> Result<(), Refusal> {
    if text.len() <= limit {
        return Ok(());
    }
    let found = text.len();
    Err(Refusal::invalid_policy(format!("{at}: a text of {found} bytes, and at most {limit} are taken: shorten it")))
}

fn check_condition(condition: &Value, at: &str) -> Result<(), Refusal> {
    let malformed = || {
        Refusal::invalid_policy(format!(
            "{at}.Condition: must map operators to keys to values, such as {{\"StringLike\": {{\"s3:prefix\": [\"2026/*\"]}}}}"
        ))
    };
    let operators = condition.as_object().ok_or_else(malformed)?;
    for keys in operators.values() {
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

fn one_of<'a>(
    statement: &'a Map<String, Value>,
    at: &str,
    element: &'static str,
    negated: &'static str,
) -> Result<(&'static str, &'a Value), Refusal> {
    match (statement.get(element), statement.get(negated)) {
        (Some(value), None) => Ok((element, value)),
        (None, Some(value)) => Ok((negated, value)),
        _ => Err(Refusal::invalid_policy(format!("{at}: exactly one of {element} and {negated} is needed"))),
    }
}

fn strings<'a>(value: &'a Value, at: &str) -> Result<Vec<&'a str>, Refusal> {
    let malformed = || Refusal::invalid_policy(format!("{at}: must be a string or a list of strings, not empty"));
    match value {
        Value::String(text) if !text.is_empty() => Ok(vec![text]),
        Value::Array(members) if !members.is_empty() => {
            members.iter().map(|member| member.as_str().filter(|text| !text.is_empty()).ok_or_else(malformed)).collect()
        }
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use serde_json::json;

    use super::*;

    fn checked(raw: Value) -> Result<Value, Refusal> {
        let filled = fill_in(&raw, "aws-cn", "123456789012");
        check(&filled, "spec.policy.statements[0]", "aws-cn", "123456789012").map(|()| filled)
    }

    #[test]
    fn placeholders_are_filled_in_and_policy_variables_kept() {
        let statement = checked(json!({
            "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:${partition}:s3:::b-${account}/${aws:username}/*",
        }))
        .unwrap();
        assert_eq!(statement["Resource"], "arn:aws-cn:s3:::b-123456789012/${aws:username}/*");
    }

    #[test]
    fn rival_19_another_partition_is_refused_with_the_right_arn() {
        let error = checked(json!({ "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*" }))
            .unwrap_err();
        assert_eq!(error.reason, Reason::PartitionMismatch);
        assert!(error.message.contains("\"arn:aws-cn:s3:::b/*\""), "{error}");
    }

    #[test]
    fn malformed_statements_are_refused_with_the_field() {
        let good = json!({ "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*" });
        for (element, value) in [
            ("Effect", json!("allow")),
            ("effect", json!("Allow")),
            ("Sid", json!("a b")),
            ("Action", json!([])),
            ("Action", json!("GetObject")),
            ("Action", json!("s*:GetObject")),
            ("NotAction", json!("s3:GetObject")),
            ("Action", json!("")),
            ("Action", json!(["s3:GetObject", ""])),
            ("Action", json!(":GetObject")),
            ("Action", json!("s3:")),
            ("Action", json!("s3:Get_Object")),
            ("Action", json!(format!("s3:{}", "a".repeat(limits::ACTION)))),
            ("NotPrincipal", json!("*")),
            ("Resource", json!(format!("arn:aws-cn:s3:::{}", "a".repeat(limits::RESOURCE)))),
            ("Resource", json!("arn:aws-cn:::::b")),
            ("Resource", json!("arn:aws-cn:s3:::")),
            ("Resource", json!({})),
            ("Resource", json!("my-bucket")),
            ("Resource", json!("arn:aws-cn:s3")),
            ("Principal", json!("*")),
            ("Condition", json!({ "StringLike": "s3:prefix" })),
            ("Condition", json!({ "StringLike": { "s3:prefix": {} } })),
        ] {
            let mut statement = good.clone();
            statement.as_object_mut().unwrap().insert(element.to_owned(), value);
            let error = checked(statement).unwrap_err();
            assert_eq!(error.reason, Reason::InvalidPolicy, "{element}");
            assert!(error.message.starts_with("spec.policy.statements[0]"), "{error}");
        }
        assert!(checked(json!("Allow")).is_err());
    }

    #[test]
    fn an_account_without_quotes_is_refused() {
        let with = |key: &str, value: Value| json!({ "Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": { "StringEquals": { key: value } } });
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
    fn what_iam_takes_is_taken() {
        let actions = json!(["*", "s3:GetObject", "s3-outposts:Get?bject*"]);
        for statement in [
            json!({ "Sid": "Abc1", "Effect": "Allow", "Action": actions, "Resource": ["*", "arn:aws-cn:s3:::b/*"] }),
            json!({ "Effect": "Deny", "NotAction": "s3:GetObject", "NotResource": "arn:aws-cn:s3:::b/*" }),
        ] {
            assert_eq!(checked(statement.clone()), Ok(statement));
        }
    }

    #[test]
    fn a_principal_is_told_to_be_removed() {
        for element in ["Principal", "NotPrincipal"] {
            let error = checked(json!({ "Effect": "Allow", element: "*" })).unwrap_err();
            assert!(error.message.contains("remove it"), "{error}");
        }
    }

    #[test]
    fn a_condition_maps_operators_to_keys_to_scalars_or_lists_of_them() {
        let check = |value: serde_json::Value| {
            super::check_condition(&serde_json::json!({ "StringLike": { "s3:prefix": value } }), "statements[0]")
        };
        for value in ["\"2026/*\"", "true", "10", "[\"a\", false, 3]"] {
            assert!(check(serde_json::from_str(value).unwrap()).is_ok(), "{value}");
        }
        for value in ["{\"a\": 1}", "null", "[[\"a\"]]"] {
            assert!(check(serde_json::from_str(value).unwrap()).is_err(), "{value}");
        }
    }
}
