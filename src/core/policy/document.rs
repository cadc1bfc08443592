//! A policy document and what it means.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::api::limits;

/// The elements whose values are sets of strings, in either spelling of IAM: one string or a list.
const SETS: [&str; 4] = ["Action", "NotAction", "Resource", "NotResource"];

/// A policy document as IAM takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Document(Value);

impl Document {
    /// A document of these statements.
    pub fn new(statements: Vec<Value>) -> Self {
        Self(json!({ "Version": "2012-10-17", "Statement": statements }))
    }

    /// Reads a document as IAM returned it, URL-decoded.
    ///
    /// # Errors
    /// The text is not JSON, or longer than any policy.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        if text.len() > limits::DOCUMENT {
            return Err(serde::de::Error::custom("a policy of that length is none of IAM's"));
        }
        serde_json::from_str(text).map(Self)
    }

    /// The same document with these statements in the place of its own.
    #[must_use]
    pub fn with_statements(&self, statements: Vec<Value>) -> Self {
        let mut document = self.0.clone();
        if let Some(elements) = document.as_object_mut() {
            elements.insert("Statement".to_owned(), Value::Array(statements));
        }
        Self(document)
    }

    /// Its statements; of a document that is none, none.
    pub fn statements(&self) -> Vec<&Value> {
        self.0.get("Statement").map(list).unwrap_or_default()
    }

    /// The text to send to IAM.
    pub fn text(&self) -> String {
        self.0.to_string()
    }

    /// Its length as IAM counts it: characters, without whitespace.
    pub fn size(&self) -> usize {
        self.text().chars().filter(|c| !c.is_whitespace()).count()
    }

    /// Whether two documents say the same. IAM may reorder what it stores, so texts are never compared.
    pub fn means_the_same(&self, other: &Self) -> bool {
        self == other || canonical(&self.0) == canonical(&other.0)
    }
}

/// Scalars become lists, sets are sorted, names that IAM reads without regard to case are lowered.
fn canonical(document: &Value) -> Value {
    let Value::Object(document) = document else {
        return document.clone();
    };
    let mut canonical = document.clone();
    if let Some(statements) = document.get("Statement") {
        let mut statements: Vec<Value> = list(statements).into_iter().map(canonical_statement).collect();
        statements.sort_by_key(ToString::to_string);
        canonical.insert("Statement".to_owned(), Value::Array(statements));
    }
    Value::Object(canonical)
}

fn canonical_statement(statement: &Value) -> Value {
    let Value::Object(statement) = statement else {
        return statement.clone();
    };
    let canonical: Map<String, Value> = statement
        .iter()
        .map(|(element, value)| {
            let value = if SETS.contains(&element.as_str()) {
                let lower = element.ends_with("Action");
                set(value, |text| if lower { text.to_ascii_lowercase() } else { text.to_owned() })
            } else if element == "Condition" {
                canonical_condition(value)
            } else {
                value.clone()
            };
            (element.clone(), value)
        })
        .collect();
    Value::Object(canonical)
}

fn canonical_condition(condition: &Value) -> Value {
    let Value::Object(operators) = condition else {
        return condition.clone();
    };
    let operators: BTreeMap<&String, Value> = operators
        .iter()
        .map(|(operator, keys)| {
            let keys = match keys {
                Value::Object(keys) => {
                    let keys: Map<String, Value> = keys
                        .iter()
                        .map(|(key, values)| (key.to_ascii_lowercase(), set(values, ToOwned::to_owned)))
                        .collect();
                    Value::Object(keys)
                }
                other => other.clone(),
            };
            (operator, keys)
        })
        .collect();
    json!(operators)
}

/// IAM reads `true` and `"true"`, `1` and `"1"` alike in conditions.
fn set(value: &Value, normalise: impl Fn(&str) -> String) -> Value {
    let members: BTreeSet<String> = list(value)
        .into_iter()
        .map(|member| match member {
            Value::String(text) => normalise(text),
            other => other.to_string(),
        })
        .collect();
    json!(members)
}

fn list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(members) => members.iter().collect(),
        scalar => vec![scalar],
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn document(statement: Value) -> Document {
        Document(json!({ "Version": "2012-10-17", "Statement": statement }))
    }

    #[test]
    fn rival_10_documents_are_compared_by_meaning() {
        let ours = document(json!([
            { "Sid": "a", "Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "arn:aws:s3:::b/*" },
            { "Sid": "b", "Effect": "Allow", "Action": "s3:ListBucket", "Resource": ["arn:aws:s3:::b"],
              "Condition": { "StringLike": { "s3:prefix": "x/*" }, "Bool": { "aws:SecureTransport": true } } },
        ]));
        let theirs = document(json!([
            { "Effect": "Allow", "Sid": "b", "Action": ["s3:listbucket"], "Resource": "arn:aws:s3:::b",
              "Condition": { "Bool": { "aws:securetransport": ["true"] }, "StringLike": { "s3:Prefix": ["x/*"] } } },
            { "Sid": "a", "Resource": ["arn:aws:s3:::b/*"], "Effect": "Allow", "Action": ["s3:PutObject", "s3:GetObject"] },
        ]));
        assert!(ours.means_the_same(&theirs));
    }

    #[test]
    fn a_single_statement_equals_a_list_of_one() {
        let statement = json!({ "Effect": "Allow", "Action": "s3:*", "Resource": "*" });
        assert!(document(statement.clone()).means_the_same(&document(json!([statement]))));
    }

    #[test]
    fn differences_that_matter_are_seen() {
        let base = json!({ "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*" });
        for (element, value) in [
            ("Effect", json!("Deny")),
            ("Action", json!(["s3:GetObject", "s3:PutObject"])),
            ("Resource", json!("arn:aws:s3:::B/*")),
            ("Condition", json!({ "Bool": { "aws:SecureTransport": "true" } })),
        ] {
            let mut other = base.clone();
            other.as_object_mut().unwrap().insert(element.to_owned(), value);
            assert!(!document(base.clone()).means_the_same(&document(other)), "{element}");
        }
    }

    #[test]
    fn size_is_counted_without_whitespace() {
        let spaced = Document::parse("{ \"Version\": \"2012-10-17\",\n \"Statement\": [] }").unwrap();
        assert_eq!(spaced.size(), r#"{"Version":"2012-10-17","Statement":[]}"#.len());
    }

    #[test]
    fn each_part_of_a_condition_matters() {
        let under = |condition: Value| {
            document(json!({ "Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": condition }))
        };
        let base = json!({ "StringLike": { "s3:prefix": ["a", "b"] } });
        assert!(under(base.clone()).means_the_same(&under(json!({ "StringLike": { "S3:Prefix": ["b", "a"] } }))));
        for other in [
            json!({ "StringEquals": { "s3:prefix": ["a", "b"] } }),
            json!({ "StringLike": { "s3:delimiter": ["a", "b"] } }),
            json!({ "StringLike": { "s3:prefix": ["a", "B"] } }),
            json!({ "StringLike": { "s3:prefix": ["a"] } }),
            json!({}),
        ] {
            assert!(!under(base.clone()).means_the_same(&under(other.clone())), "{other}");
        }
    }

    #[test]
    fn a_document_of_the_limit_is_read_and_none_beyond() {
        let padded = |length: usize| format!("{{}}{}", " ".repeat(length - 2));
        assert!(Document::parse("{}").is_ok() && Document::parse(&padded(limits::DOCUMENT)).is_ok());
        assert!(Document::parse(&padded(limits::DOCUMENT + 1)).is_err());
    }
}
