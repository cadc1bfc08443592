//! Mistakes in what a spec grants that IAM takes without a word: an action that is none, a resource that no action of its
//! statement is about, a condition that no request can meet. Each is a warning and holds nothing up: AWS may know more
//! than the table that this goes by.

mod actions;
mod conditions;
mod names;
mod prefixes;
mod reference;
mod resources;
mod values;

use std::fmt;

use serde_json::{Map, Value};

use super::class::Effort;
use super::iam::Account;
use super::policy::fill_in;
use crate::api::S3AccessUserSpec;
use resources::Reach;

/// More findings help nobody, and each costs a search for what was meant.
const MOST: usize = 32;
/// Steps of walks through patterns, for a whole spec: some ten milliseconds. The longest of AWS's own managed policies takes
/// less; what comes after is taken for right.
const EFFORT: usize = 100_000;
/// Characters of a text of the spec that a message repeats.
const QUOTED: usize = 80;

/// The kinds of mistakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// No action has that name.
    UnknownAction,
    /// An operation of the API, a word of the console or a name of the CLI stands for an action.
    OperationName,
    /// No action is as the wildcard says.
    EmptyWildcard,
    /// The action is about objects, and the resources are buckets.
    ObjectActionOnBucket,
    /// The action is about buckets, and the resources are objects.
    BucketActionOnObject,
    /// The action is about no bucket or key at all.
    ServiceAction,
    /// The resources are of another service, or of a kind that the action is not about.
    OtherResource,
    /// An alias stands for its KMS key.
    KmsAlias,
    /// Requests for the action never carry that condition key.
    ConditionKey,
    /// No request has such a value.
    ConditionValue,
    /// Nothing has such an ARN.
    ImpossibleArn,
    /// No key begins like that.
    Prefix,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::UnknownAction,
        Self::OperationName,
        Self::EmptyWildcard,
        Self::ObjectActionOnBucket,
        Self::BucketActionOnObject,
        Self::ServiceAction,
        Self::OtherResource,
        Self::KmsAlias,
        Self::ConditionKey,
        Self::ConditionValue,
        Self::ImpossibleArn,
        Self::Prefix,
    ];
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of mistake it is.
    pub kind: Kind,
    /// The place in the spec, with what stands there.
    pub at: String,
    /// What it means as it stands.
    pub means: String,
    /// What to write instead.
    pub instead: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.at, self.means, self.instead)
    }
}

/// What is surely not meant in the grants and statements of a spec, in their order; at most some thirty.
///
/// The spec is one that [`super::policy::compile`] takes; what it does not take is passed over.
pub fn findings(spec: &S3AccessUserSpec, account: &Account) -> Vec<Finding> {
    let mut found: Vec<Finding> =
        spec.access.iter().enumerate().flat_map(|(index, grant)| prefixes::of_grant(grant, index)).collect();
    let effort = Effort::of(EFFORT);
    for (index, raw) in spec.policy.iter().flat_map(|policy| &policy.statements).enumerate() {
        if found.len() >= MOST {
            break;
        }
        let filled = fill_in(raw, &account.partition, &account.id);
        let at = format!("spec.policy.statements[{index}]");
        if let Some(statement) = Statement::of(&filled, &at, &effort) {
            found.extend(statement.findings());
        }
    }
    found.truncate(MOST);
    found
}

/// The findings in one text: as many as fit, and how many more there are. Empty where there are none.
pub fn told(findings: &[Finding], limit: usize) -> String {
    let mut text = String::new();
    for (index, finding) in findings.iter().enumerate() {
        let next = finding.to_string();
        if index > 0 && text.len() + next.len() > limit {
            let more = findings.len() - index;
            text.push_str(&format!("; and {more} more: see them with the plan command"));
            break;
        }
        if index > 0 {
            text.push_str("; ");
        }
        text.push_str(&next);
    }
    text
}

/// A statement of IAM's grammar.
struct Statement<'a> {
    at: &'a str,
    allows: bool,
    /// `Action` or `NotAction`.
    actions: (&'static str, Vec<&'a str>),
    /// `Resource` or `NotResource`.
    resources: (&'static str, Vec<&'a str>),
    condition: Option<&'a Map<String, Value>>,
    effort: &'a Effort,
}

impl<'a> Statement<'a> {
    fn of(statement: &'a Value, at: &'a str, effort: &'a Effort) -> Option<Self> {
        let either = |one: &'static str, other: &'static str| {
            let element = if statement.get(one).is_some() { one } else { other };
            Some((element, texts(statement.get(element)?)))
        };
        Some(Self {
            at,
            allows: statement["Effect"] != "Deny",
            actions: either("Action", "NotAction")?,
            resources: either("Resource", "NotResource")?,
            condition: statement.get("Condition").and_then(Value::as_object),
            effort,
        })
    }

    fn findings(&self) -> Vec<Finding> {
        let reach = Reach::of(self);
        let (named, mut found) = actions::named(self);
        found.extend(resources::impossible(self));
        if (self.actions.0, self.resources.0) == ("Action", "Resource") {
            found.extend(actions::out_of_reach(self, &named, &reach));
        }
        found.extend(conditions::check(self, &named));
        found.truncate(MOST);
        found
    }

    /// What the statement does, as a verb.
    fn verb(&self) -> &'static str {
        if self.allows { "allows" } else { "denies" }
    }
}

fn finding(kind: Kind, at: String, means: impl Into<String>, instead: impl Into<String>) -> Finding {
    Finding { kind, at, means: means.into(), instead: instead.into() }
}

/// One text, or those of a list.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(members) => members.iter().filter_map(Value::as_str).collect(),
        value => value.as_str().into_iter().collect(),
    }
}

/// A text of the spec as a message repeats it.
fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests;
