//! Policy documents: the grammar that IAM insists on, and the text that it gives back.
//!
//! Rules are those of the IAM user guide, "Grammar of the IAM JSON policy language"; messages are IAM's.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::conditions::is_date;
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
    /// Accepts an inline policy for use in a partition.
    ///
    /// # Errors
    /// `MalformedPolicyDocument` with IAM's message where it has one.
    pub fn parse(text: &str, partition: &str) -> Result<Self, ApiError> {
        Self::parse_of(text, partition, false)
    }

    /// Accepts a managed policy, which has to name the version of today (recorded).
    pub(super) fn parse_managed(text: &str, partition: &str) -> Result<Self, ApiError> {
        Self::parse_of(text, partition, true)
    }

    /// The order of what is looked at is IAM's, as far as recorded documents with two faults tell it.
    fn parse_of(text: &str, partition: &str, managed: bool) -> Result<Self, ApiError> {
        if !text.chars().all(|letter| matches!(letter, '\u{9}' | '\u{a}' | '\u{d}' | '\u{20}'..='\u{ff}')) {
            return Err(Code::ValidationError.error(
                "The specified value for policyDocument is invalid. It must contain only printable ASCII characters.",
            ));
        }
        let root: Value = serde_json::from_str(text).map_err(|_| malformed("This policy contains invalid Json"))?;
        let root = root.as_object().ok_or_else(syntax)?;
        let drafts = drafts(root)?;
        let version = root.get("Version").map_or("2008-10-17", |version| version.as_str().unwrap_or_default());
        match version {
            "2012-10-17" => {}
            "2008-10-17" if !managed => {}
            "2008-10-17" => return Err(malformed("Policy document must be version 2012-10-17 or greater.")),
            _ => return Err(syntax()),
        }
        drafts.iter().try_for_each(Draft::check_legacy)?;
        check_sids(&drafts)?;
        drafts.iter().try_for_each(|draft| draft.check_resources(partition))?;
        let statements = drafts.into_iter().map(Draft::finish).collect::<Result<_, _>>()?;
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

fn syntax() -> ApiError {
    malformed("Syntax errors in policy.")
}

/// The policy failed at what was there before the grammar of today.
fn legacy() -> ApiError {
    malformed("The policy failed legacy parsing")
}

fn only_keys(fields: &Map<String, Value>, known: &[&str]) -> Result<(), ApiError> {
    if fields.keys().all(|key| known.contains(&key.as_str())) { Ok(()) } else { Err(syntax()) }
}

/// Reads the statements as far as the syntax goes.
fn drafts(root: &Map<String, Value>) -> Result<Vec<Draft>, ApiError> {
    only_keys(root, &["Version", "Id", "Statement"])?;
    if !root.get("Id").is_none_or(Value::is_string) {
        return Err(syntax());
    }
    match root.get("Statement") {
        Some(Value::Array(list)) if !list.is_empty() => list.iter().map(Draft::parse).collect(),
        Some(single @ Value::Object(_)) => Ok(vec![Draft::parse(single)?]),
        _ => Err(syntax()),
    }
}

/// A string or a list of strings; a null in a list is passed over (recorded).
fn strings(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(list) => {
            list.iter().filter(|item| !item.is_null()).map(|item| item.as_str().map(str::to_owned)).collect()
        }
        _ => None,
    }
}

/// A statement whose syntax is right, and no more.
struct Draft {
    sid: Option<String>,
    effect: String,
    actions: Option<Scope>,
    resources: Option<Scope>,
    conditions: Vec<Condition>,
}

impl Draft {
    fn parse(value: &Value) -> Result<Self, ApiError> {
        let fields = value.as_object().ok_or_else(syntax)?;
        if fields.contains_key("Principal") || fields.contains_key("NotPrincipal") {
            return Err(malformed("Policy document should not specify a principal."));
        }
        only_keys(fields, &["Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"])?;
        let sid = fields.get("Sid").map(|sid| sid.as_str().map(str::to_owned).ok_or_else(syntax)).transpose()?;
        let effect = fields.get("Effect").and_then(Value::as_str).ok_or_else(syntax)?;
        if !effect.eq_ignore_ascii_case("Allow") && !effect.eq_ignore_ascii_case("Deny") {
            return Err(syntax());
        }
        Ok(Self {
            sid,
            effect: effect.to_owned(),
            actions: Scope::parse(fields, "Action")?,
            resources: Scope::parse(fields, "Resource")?,
            conditions: fields.get("Condition").map_or(Ok(Vec::new()), parse_conditions)?,
        })
    }

    fn check_legacy(&self) -> Result<(), ApiError> {
        let dates = self.conditions.iter().filter(|condition| condition.operator.compares_dates());
        let mut values = dates.flat_map(|condition| &condition.values);
        let fits = matches!(self.effect.as_str(), "Allow" | "Deny") && values.all(|value| is_date(value));
        if fits { Ok(()) } else { Err(legacy()) }
    }

    fn check_resources(&self, partition: &str) -> Result<(), ApiError> {
        let resources = self.resources.iter().flat_map(|scope| &scope.patterns);
        resources.filter(|resource| *resource != "*").try_for_each(|resource| check_resource(resource, partition))
    }

    fn finish(self) -> Result<Statement, ApiError> {
        let actions = self.actions.ok_or_else(|| malformed("Policy statement must contain actions."))?;
        let resources = self.resources.ok_or_else(|| malformed("Policy statement must contain resources."))?;
        actions.patterns.iter().try_for_each(|action| check_action(action))?;
        Ok(Statement { allows: self.effect == "Allow", actions, resources, conditions: self.conditions })
    }
}

fn check_sids(drafts: &[Draft]) -> Result<(), ApiError> {
    let mut seen = BTreeSet::new();
    for sid in drafts.iter().filter_map(|draft| draft.sid.as_deref()) {
        if !sid.chars().all(|letter| letter.is_ascii_alphanumeric()) {
            return Err(malformed(
                "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression \
                 [0-9A-Za-z]*",
            ));
        }
        if !sid.is_empty() && !seen.insert(sid) {
            return Err(malformed("Statement IDs (SID) in a single policy must be unique."));
        }
    }
    Ok(())
}

impl Scope {
    /// Reads `Action` or `NotAction`, `Resource` or `NotResource`: not both, and an empty list is none.
    fn parse(fields: &Map<String, Value>, name: &str) -> Result<Option<Self>, ApiError> {
        let (negated, value) = match (fields.get(name), fields.get(&format!("Not{name}"))) {
            (Some(value), None) => (false, value),
            (None, Some(value)) => (true, value),
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => return Err(syntax()),
        };
        let patterns = strings(value).ok_or_else(syntax)?;
        Ok((!patterns.is_empty()).then_some(Self { negated, patterns }))
    }
}

/// `*` or `vendor:action`; there is hardly a letter that IAM does not take in the name of an action (recorded).
fn check_action(action: &str) -> Result<(), ApiError> {
    if action == "*" {
        return Ok(());
    }
    let Some((vendor, name)) = action.split_once(':') else {
        return Err(malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."));
    };
    if name.contains(':') {
        return Err(malformed("Actions/Condition can contain only one colon."));
    }
    if vendor.is_empty() || !vendor.chars().all(|letter| letter.is_ascii_alphanumeric() || "-.".contains(letter)) {
        return Err(malformed(format!("Vendor {vendor} is not valid")));
    }
    if name.is_empty() { Err(syntax()) } else { Ok(()) }
}

/// Where the resources of IAM itself begin.
const IAM_RESOURCES: [&str; 13] = [
    "user/",
    "federated-user/",
    "role/",
    "group/",
    "instance-profile/",
    "mfa/",
    "server-certificate/",
    "policy/",
    "sms-mfa/",
    "saml-provider/",
    "oidc-provider/",
    "report/",
    "access-report/",
];

/// An ARN of the account's partition. What lacks parts at the end has `*` there.
fn check_resource(resource: &str, partition: &str) -> Result<(), ApiError> {
    let Some((_, rest)) = resource.split_once(':') else {
        return Err(malformed(format!("Resource {resource} must be in ARN format or \"*\".")));
    };
    let mut parts: Vec<&str> = rest.splitn(5, ':').collect();
    let complete = parts.len() == 5;
    parts.resize(5, "*");
    let [named, vendor, region, account, path] = [parts[0], parts[1], parts[2], parts[3], parts[4]];
    let arn = format!("arn:{}", parts.join(":"));
    if named != partition && named != "*" {
        return Err(malformed(format!("Partition \"{named}\" is not valid for resource \"{arn}\".")));
    }
    if vendor.is_empty() || (!complete && resource.contains("::")) {
        return Err(legacy());
    }
    if vendor.contains(['*', '?']) {
        return Err(malformed("Resource vendor must be fully qualified and cannot contain regexes."));
    }
    let has_region = complete && !region.is_empty();
    if vendor == "iam" && has_region {
        return Err(malformed(format!("IAM resource {arn} cannot contain region information.")));
    }
    if vendor == "s3" && has_region && account.is_empty() {
        return Err(malformed(format!("Resource {arn} can not contain region information.")));
    }
    let is_iam = |path: &str| ["*", "root"].contains(&path) || IAM_RESOURCES.iter().any(|kind| path.starts_with(kind));
    if vendor == "iam" && !is_iam(path) {
        let kinds = IAM_RESOURCES.join(", ");
        return Err(malformed(format!("IAM resource path must either be \"*\", root, or start with {kinds}.")));
    }
    Ok(())
}

/// An operator that IAM does not know is accepted as long as nothing is under it, and so is a key without a vendor
/// (recorded).
fn parse_conditions(block: &Value) -> Result<Vec<Condition>, ApiError> {
    let mut conditions = Vec::new();
    for (name, tests) in block.as_object().ok_or_else(syntax)? {
        for (key, values) in tests.as_object().ok_or_else(syntax)? {
            let operator = super::conditions::Operator::parse(name).ok_or_else(syntax)?;
            let values = condition_values(values).ok_or_else(syntax)?;
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
