//! Policy documents: the grammar that IAM insists on, and the text that it gives back.
//!
//! Rules are those of the IAM user guide, "Grammar of the IAM JSON policy language"; messages are IAM's.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::error::{ApiError, Code};

/// A policy that IAM has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    text: String,
    statements: Vec<Statement>,
}

/// A statement of a policy, its scalars turned into lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) allows: bool,
    pub(super) actions: Scope,
    pub(super) resources: Scope,
    pub(super) conditions: Vec<Condition>,
}

/// Patterns, or everything but what they match (`NotAction`, `NotResource`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) negated: bool,
    pub(super) patterns: Vec<String>,
}

/// One test of a `Condition` block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) operator: super::conditions::Operator,
    pub(super) key: String,
    pub(super) values: Vec<String>,
}

impl Document {
    /// Accepts a policy for use in a partition.
    ///
    /// # Errors
    /// `MalformedPolicyDocument` with IAM's message where it has one.
    pub fn parse(text: &str, partition: &str) -> Result<Self, ApiError> {
        if !text.chars().all(|letter| matches!(letter, '\u{9}' | '\u{a}' | '\u{d}' | '\u{20}'..='\u{ff}')) {
            return Err(Code::ValidationError.error(
                "The specified value for policyDocument is invalid. It must contain only printable ASCII characters.",
            ));
        }
        let Ok(Value::Object(root)) = serde_json::from_str(text) else {
            return Err(malformed("This policy contains invalid Json"));
        };
        only_keys(&root, &["Version", "Id", "Statement"])?;
        match root.get("Version") {
            None => {}
            Some(Value::String(version)) if version == "2012-10-17" || version == "2008-10-17" => {}
            Some(_) => return Err(malformed("Syntax errors in policy.")),
        }
        let statements = match root.get("Statement") {
            Some(Value::Array(list)) if !list.is_empty() => list.iter().collect(),
            Some(single @ Value::Object(_)) => vec![single],
            _ => return Err(malformed("Syntax errors in policy.")),
        };
        let mut sids = BTreeSet::new();
        let statements = statements
            .into_iter()
            .map(|statement| Statement::parse(statement, partition, &mut sids))
            .collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), statements })
    }

    /// The statements.
    pub(super) fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// The text as it was sent.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The number of characters that count toward a quota: white space does not.
    pub fn size(&self) -> usize {
        self.text.chars().filter(|letter| !letter.is_whitespace()).count()
    }

    /// Another text of the same meaning: IAM promises no more of what it gives back. Keys are sorted, statements and
    /// lists turned around, and a list of one is its element.
    pub fn reordered(&self) -> String {
        let mut root: Value = serde_json::from_str(&self.text).unwrap_or_default();
        if let Some(statements) = root.get_mut("Statement") {
            if let Value::Array(list) = statements {
                list.reverse();
                for statement in list {
                    turn_around(statement);
                }
            } else {
                turn_around(statements);
            }
        }
        root.to_string()
    }
}

/// Reverses the lists of a statement, whose order means nothing.
fn turn_around(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(turn_around),
        Value::Array(list) => {
            list.reverse();
            if let [only] = list.as_mut_slice() {
                *value = only.take();
            }
        }
        _ => {}
    }
}

fn malformed(message: impl Into<String>) -> ApiError {
    Code::MalformedPolicyDocument.error(message)
}

fn only_keys(fields: &Map<String, Value>, known: &[&str]) -> Result<(), ApiError> {
    if fields.keys().all(|key| known.contains(&key.as_str())) {
        return Ok(());
    }
    Err(malformed("Syntax errors in policy."))
}

/// A string or a list of strings.
fn strings(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(list) => list.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

impl Statement {
    fn parse(value: &Value, partition: &str, sids: &mut BTreeSet<String>) -> Result<Self, ApiError> {
        let Value::Object(fields) = value else {
            return Err(malformed("Syntax errors in policy."));
        };
        if fields.contains_key("Principal") || fields.contains_key("NotPrincipal") {
            return Err(malformed("Policy document should not specify a principal."));
        }
        only_keys(fields, &["Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"])?;
        if let Some(sid) = fields.get("Sid") {
            let sid = sid.as_str().ok_or_else(|| malformed("Syntax errors in policy."))?;
            if !sid.chars().all(|letter| letter.is_ascii_alphanumeric()) {
                return Err(malformed(
                    "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular \
                     expression [0-9A-Za-z]*",
                ));
            }
            if !sid.is_empty() && !sids.insert(sid.to_owned()) {
                return Err(malformed("Statement IDs (SID) in a single policy must be unique."));
            }
        }
        let allows = match fields.get("Effect").and_then(Value::as_str) {
            Some("Allow") => true,
            Some("Deny") => false,
            _ => return Err(malformed("Syntax errors in policy.")),
        };
        let actions = Scope::parse(fields, "Action", "Policy statement must contain actions.")?;
        for action in &actions.patterns {
            check_action(action)?;
        }
        let resources = Scope::parse(fields, "Resource", "Policy statement must contain resources.")?;
        for resource in &resources.patterns {
            check_resource(resource, partition)?;
        }
        let conditions = match fields.get("Condition") {
            None => Vec::new(),
            Some(Value::Object(block)) => parse_conditions(block)?,
            Some(_) => return Err(malformed("Syntax errors in policy.")),
        };
        Ok(Self { allows, actions, resources, conditions })
    }
}

impl Scope {
    /// Reads `Action` or `NotAction`, `Resource` or `NotResource`: one of the two, and not empty.
    fn parse(fields: &Map<String, Value>, name: &str, absent: &str) -> Result<Self, ApiError> {
        let (negated, value) = match (fields.get(name), fields.get(&format!("Not{name}"))) {
            (Some(value), None) => (false, value),
            (None, Some(value)) => (true, value),
            (None, None) => return Err(malformed(absent)),
            (Some(_), Some(_)) => return Err(malformed("Syntax errors in policy.")),
        };
        let patterns = strings(value).ok_or_else(|| malformed("Syntax errors in policy."))?;
        if patterns.is_empty() {
            return Err(malformed(absent));
        }
        Ok(Self { negated, patterns })
    }
}

/// `*` or `vendor:action`, with wildcards in the action.
fn check_action(action: &str) -> Result<(), ApiError> {
    if action == "*" {
        return Ok(());
    }
    let Some((vendor, name)) = action.split_once(':') else {
        return Err(malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."));
    };
    let vendor_fits =
        !vendor.is_empty() && vendor.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-');
    if !vendor_fits {
        return Err(malformed(format!("Vendor {vendor} is not valid")));
    }
    let name_fits =
        !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "*?".contains(letter));
    if name_fits { Ok(()) } else { Err(malformed("Syntax errors in policy.")) }
}

/// `*` or an ARN of the account's partition.
fn check_resource(resource: &str, partition: &str) -> Result<(), ApiError> {
    if resource == "*" {
        return Ok(());
    }
    let not_an_arn = || malformed(format!("Resource {resource} must be in ARN format or \"*\"."));
    let (named, rest) = resource.strip_prefix("arn:").and_then(|rest| rest.split_once(':')).ok_or_else(not_an_arn)?;
    if named != partition && named != "*" {
        return Err(malformed(format!("Partition \"{named}\" is not valid for resource \"{resource}\".")));
    }
    // Service, region, account, and the resource; a wildcard at the end may stand for several of them.
    if rest.split(':').count() < 4 && !rest.ends_with('*') {
        return Err(not_an_arn());
    }
    Ok(())
}

fn parse_conditions(block: &Map<String, Value>) -> Result<Vec<Condition>, ApiError> {
    let mut conditions = Vec::new();
    for (name, tests) in block {
        let operator = super::conditions::Operator::parse(name)
            .ok_or_else(|| malformed(format!("Invalid Condition type : {name}.")))?;
        let Value::Object(tests) = tests else {
            return Err(malformed("Syntax errors in policy."));
        };
        for (key, values) in tests {
            if !key.contains(':') {
                return Err(malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."));
            }
            let values = condition_values(values).ok_or_else(|| malformed("Syntax errors in policy."))?;
            conditions.push(Condition { operator, key: key.to_lowercase(), values });
        }
    }
    Ok(conditions)
}

/// Strings, numbers and booleans are all accepted as a condition's values.
fn condition_values(value: &Value) -> Option<Vec<String>> {
    let scalar = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    };
    match value {
        Value::Array(list) => list.iter().map(scalar).collect(),
        single => scalar(single).map(|text| vec![text]),
    }
}
