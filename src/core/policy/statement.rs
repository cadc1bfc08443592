//! Raw statements: IAM's grammar, and the account's partition.

use serde_json::{Map, Value};

use super::condition;
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
    if statement.contains_key("Statement") {
        return Err(Refusal::invalid_policy(format!(
            "{at}: this is a whole policy document: put what stands in the list of its Statement here, and leave Version and Id out"
        )));
    }
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
        condition::check(condition, at)?;
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
        check_arn(resource, partition, account)
            .map_err(|refusal| Refusal { message: format!("{at}.{element}: {}", refusal.message), ..refusal })?;
    }
    Ok(())
}

fn check_arn(resource: &str, partition: &str, account: &str) -> Result<(), Refusal> {
    let parts: Vec<&str> = resource.splitn(6, ':').collect();
    let &["arn", found, service, _, _, rest] = parts.as_slice() else {
        return Err(Refusal::invalid_policy(format!(
            "{resource:?} is not an ARN: write it as {}",
            as_arn(resource).unwrap_or_else(|| format!("arn:{partition}:s3:::<bucket>/<key>"))
        )));
    };
    if service.is_empty() || rest.is_empty() {
        return Err(Refusal::invalid_policy(format!("{resource:?} lacks a service or a resource")));
    }
    if let Some(problem) = placeholder_problem(resource) {
        return Err(Refusal::invalid_policy(format!("{resource:?}: {problem}")));
    }
    if found == partition {
        return Ok(());
    }
    let why = match found {
        "" => "has no partition. Did Flux, Terraform or another tool take ${partition} for a variable of its own? Escape it there as $${partition}; else".to_owned(),
        "*" => "has a wildcard for its partition, which IAM does not take:".to_owned(),
        _ if found.starts_with('$') => "has a $ too many, which nothing took away:".to_owned(),
        _ => format!("is of partition {found:?}, and account {account} is of {partition}:"),
    };
    let right = format!("arn:{partition}:{}", parts[2..].join(":"));
    Err(Refusal {
        reason: Reason::PartitionMismatch,
        message: format!("{resource:?} {why} write {right:?}, or arn:${{partition}}:… to fit every account"),
    })
}

/// What a bucket or an object that is named in another way would be as an ARN.
fn as_arn(resource: &str) -> Option<String> {
    let name = match resource.split_once("://") {
        Some(("s3" | "s3a" | "s3n", name)) => name,
        Some(_) => return None,
        None => resource.rsplit(':').next()?,
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/*?".contains(c);
    (name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain))
        .then(|| format!("arn:${{partition}}:s3:::{name}"))
}

/// What stands in `${}` is a placeholder of ours, which is filled in by now, or a policy variable of IAM; what stands in
/// `{{ }}` was meant for Helm or the like.
fn placeholder_problem(resource: &str) -> Option<String> {
    if resource.contains("{{") {
        return Some(
            "a template in braces that nothing has rendered: only ${partition} and ${account} are filled in here"
                .to_owned(),
        );
    }
    let names = resource.split("${").skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name);
    let ours = |name: &&str| !name.contains(':') && !matches!(*name, "*" | "?" | "$");
    names.into_iter().find(ours).map(|name| {
        format!("${{{name}}} is neither ${{partition}} or ${{account}} nor a policy variable of IAM such as ${{aws:username}}")
    })
}

fn bounded(text: &str, limit: usize, at: &str) -> Result<(), Refusal> {
    if text.len() <= limit {
        return Ok(());
    }
    let found = text.len();
    Err(Refusal::invalid_policy(format!("{at}: a text of {found} bytes, and at most {limit} are taken: shorten it")))
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
    fn a_resource_that_is_no_arn_of_the_account_is_refused_with_what_to_write() {
        for (resource, told) in [
            ("s3://team-a/in/*", "write it as arn:${partition}:s3:::team-a/in/*"),
            ("s3a://team-a", "write it as arn:${partition}:s3:::team-a"),
            ("team-a/*", "write it as arn:${partition}:s3:::team-a/*"),
            ("arn:aws-cn:s3::team-a/*", "write it as arn:${partition}:s3:::team-a/*"),
            ("arn:aws-cn:s3:team-a", "write it as arn:${partition}:s3:::team-a"),
            ("https://team-a.s3.amazonaws.com", "write it as arn:aws-cn:s3:::<bucket>/<key>"),
            ("arn:*:s3:::team-a", "which IAM does not take: write \"arn:aws-cn:s3:::team-a\""),
            ("arn::s3:::team-a", "Escape it there as $${partition}; else write \"arn:aws-cn:s3:::team-a\""),
            ("arn:$${partition}:s3:::team-a", "a $ too many"),
            ("arn:${Partition}:s3:::team-a", "${Partition} is neither ${partition} or ${account}"),
            ("arn:aws-cn:s3:::team-${region}/*", "${region} is neither"),
            ("arn:aws-cn:s3:::{{ .Values.bucket }}/*", "nothing has rendered"),
        ] {
            let error =
                checked(json!({ "Effect": "Allow", "Action": "s3:GetObject", "Resource": [resource] })).unwrap_err();
            assert!(error.message.starts_with("spec.policy.statements[0].Resource: "), "{error}");
            assert!(error.message.contains(told), "{resource}: {error}");
        }
        for resource in
            ["arn:aws-cn:s3:::b/${aws:username}/*", "arn:aws-cn:s3:::b/${*}${?}${$}", "arn:aws-cn:s3:::b/$x{y}"]
        {
            assert!(
                checked(json!({ "Effect": "Allow", "Action": "s3:GetObject", "Resource": resource })).is_ok(),
                "{resource}"
            );
        }
    }

    #[test]
    fn a_whole_document_is_told_what_of_it_belongs_here() {
        let document =
            json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }] });
        let message = checked(document).unwrap_err().message;
        assert!(message.contains("put what stands in the list of its Statement here"), "{message}");
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
}
