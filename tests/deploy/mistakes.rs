//! The page of mistakes says what the linter says, and so do the warnings at admission.

use std::collections::{BTreeMap, BTreeSet};

use s3_access_operator::api::S3AccessUserSpec;
use s3_access_operator::core::iam::Account;
use s3_access_operator::core::lint::{Finding, Kind, findings};
use serde_json::{Value, json};

use crate::read;

fn found(spec: Value) -> Vec<Finding> {
    let spec: S3AccessUserSpec = serde_json::from_value(spec).unwrap();
    findings(&spec, &Account { id: "123456789012".to_owned(), partition: "aws".to_owned() })
}

fn of_statement(action: &str, resource: &str, condition: Value) -> Vec<Finding> {
    let statement = json!({ "Effect": "Allow", "Action": action, "Resource": resource, "Condition": condition });
    found(json!({ "policy": { "statements": [statement] } }))
}

/// What stands in backticks.
fn code(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The rows of the table of what IAM takes: what is written, and what to write. Other tables are others' business.
fn rows(page: &str) -> Vec<(String, String)> {
    let (_, section) = page.split_once("## What IAM takes without a word").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        assert_eq!(cells.len(), 3, "{row}");
        (cells[0].to_owned(), cells[2].to_owned())
    })
    .collect()
}

#[test]
fn each_mistake_of_the_page_is_found_and_the_remedy_is_the_same() {
    let mut kinds = BTreeSet::new();
    for (written, remedy) in rows(&read("deploy/docs/mistakes.md")) {
        let found = match code(&written)[..] {
            [prefix, bucket] if written.contains("the prefix") => {
                found(json!({ "access": [{ "bucket": bucket, "level": "ReadOnly", "prefixes": [prefix] }] }))
            }
            [action, resource] => of_statement(action, resource, json!({})),
            [action, resource, operator, key, value] => {
                of_statement(action, resource, json!({ operator: { key: value } }))
            }
            _ => panic!("no example: {written}"),
        };
        assert_eq!(found.len(), 1, "{written}: {found:?}");
        for word in code(&remedy) {
            assert!(found[0].instead.contains(word), "{written}: {word:?} is not in {:?}", found[0].instead);
        }
        kinds.insert(found[0].kind);
    }
    assert_eq!(kinds, BTreeSet::from(Kind::ALL), "each kind has a row");
}

/// The pairs of texts in the policy's map of operations.
fn operations() -> BTreeMap<String, String> {
    let text = read("deploy/admission-warnings.yaml");
    let (_, map) = text.split_once("{'").unwrap();
    let map = map.split_once("'}").unwrap().0.replace('\n', " ");
    let pairs = map.split("',").map(|pair| pair.split_once("': '").unwrap());
    pairs.map(|(operation, action)| (operation.trim_matches([' ', '\'']).to_owned(), action.to_owned())).collect()
}

#[test]
fn admission_names_the_same_action_for_an_operation_as_the_operator() {
    let operations = operations();
    for (operation, action) in &operations {
        let found = of_statement(operation, "*", json!({}));
        assert_eq!(found.iter().map(|found| found.kind).collect::<Vec<_>>(), [Kind::OperationName], "{operation}");
        assert!(found[0].instead.contains(&format!("\"{action}\"")), "{operation}: {} and {action}", found[0]);
    }
    assert!(operations.len() >= 15, "{operations:?}");
}

/// The texts of a list among the variables of the policy.
fn list(name: &str) -> Vec<String> {
    let policy = &crate::documents(&read("deploy/admission-warnings.yaml"), "admission-warnings.yaml")[0];
    let variables = policy["spec"]["variables"].as_array().unwrap();
    let list = variables.iter().find(|variable| variable["name"] == name).unwrap();
    let text = list["expression"].as_str().unwrap();
    text.split('\'').skip(1).step_by(2).map(ToOwned::to_owned).collect()
}

#[test]
fn admission_takes_actions_for_those_of_objects_and_of_buckets_as_the_operator_does() {
    let (objects, buckets) = (list("ofObjects"), list("ofBuckets"));
    assert!(objects.len() >= 10 && buckets.len() >= 8, "{objects:?} {buckets:?}");
    for (actions, wrong, right, kind) in [
        (objects, "arn:aws:s3:::reports", "arn:aws:s3:::reports/*", Kind::ObjectActionOnBucket),
        (buckets, "arn:aws:s3:::reports/*", "arn:aws:s3:::reports", Kind::BucketActionOnObject),
    ] {
        for action in actions {
            let of = |resource: &str| of_statement(&action, resource, json!({})).into_iter().map(|found| found.kind);
            assert_eq!(of(wrong).collect::<Vec<_>>(), [kind], "{action}");
            assert_eq!(of(right).count(), 0, "{action}");
        }
    }
}
