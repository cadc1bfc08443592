//! The page of mistakes says what the linter says, and so do the warnings at admission.

use std::collections::{BTreeMap, BTreeSet};

use s3_access_operator::api::{S3AccessUser, S3AccessUserSpec};
use s3_access_operator::core::class::Class;
use s3_access_operator::core::desired::Desired;
use s3_access_operator::core::iam::{AccessKeyId, Account};
use s3_access_operator::core::lint::{Finding, Kind, findings};
use s3_access_operator::core::names::Cluster;
use s3_access_operator::core::secret_data::{Credentials, Target, render};
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

/// The rows of the table of a section: what is written, and what to write.
fn rows(page: &str, section: &str) -> Vec<(String, String)> {
    let (_, section) = page.split_once(&format!("## {section}\n")).unwrap();
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
    for (written, remedy) in rows(&read("deploy/docs/mistakes.md"), "What IAM takes without a word") {
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

/// Why a spec is refused without a class, whoever refuses it first.
fn refusal(spec: &Value) -> String {
    let object = json!({
        "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser", "spec": spec,
        "metadata": { "name": "reports", "namespace": "team-a", "uid": "1" },
    });
    let user: S3AccessUser = match serde_json::from_value(object) {
        Ok(user) => user,
        Err(error) => return error.to_string(),
    };
    let account = Account { id: "123456789012".to_owned(), partition: "aws".to_owned() };
    let cluster = Cluster { id: "1".to_owned(), name: "prod".to_owned() };
    if let Err(refusal) = Desired::of(&user, &account, &cluster, &Class::none()) {
        return refusal.message;
    }
    let target = Target {
        region: "eu-west-1".to_owned(),
        endpoint: None,
        path_style: false,
        buckets: vec!["team-a-reports".to_owned()],
        user_arn: "arn:aws:iam::123456789012:user/reports".to_owned(),
    };
    let example =
        Credentials { access_key_id: AccessKeyId::of_iam("AKIA"), secret_access_key: "example".into(), token: None };
    render(&user.spec.secret, &example, &target).map(drop).unwrap_err().to_string()
}

#[test]
fn each_refusal_of_the_page_says_what_to_write() {
    let rows = rows(&read("deploy/docs/mistakes.md"), "What is refused, with what to write");
    for (written, remedy) in &rows {
        let spec = serde_saphyr::from_str(code(written)[0]).unwrap();
        let refusal = refusal(&spec);
        // A text with backticks in it stands between two.
        let words = remedy.strip_prefix("``").and_then(|rest| rest.strip_suffix("``"));
        for word in words.map_or_else(|| code(remedy), |word| vec![word]) {
            assert!(refusal.contains(word), "{written}: {word:?} is not in {refusal:?}");
        }
    }
    assert!(rows.len() >= 16, "{rows:?}");
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
