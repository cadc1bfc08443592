//! The policy linter against documents that it was not written from: AWS's own managed policies, the samples, and what
//! another linter says of them and of the planted mistakes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking, and counts")]

mod oracle;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use s3_access_operator::api::{PolicySpec, S3AccessUser, S3AccessUserSpec};
use s3_access_operator::core::iam::Account;
use s3_access_operator::core::lint::{Finding, findings};
use serde_json::{Value, json};
use tokio::process::Command;

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

fn of_spec(spec: &S3AccessUserSpec) -> Vec<Finding> {
    findings(spec, &Account { id: "123456789012".to_owned(), partition: "aws".to_owned() })
}

fn of_statements(statements: Vec<Value>) -> Vec<Finding> {
    let policy = Some(PolicySpec { statements, ..PolicySpec::default() });
    of_spec(&S3AccessUserSpec { policy, ..S3AccessUserSpec::default() })
}

fn statements(document: &Value) -> Vec<Value> {
    match &document["Statement"] {
        Value::Array(statements) => statements.clone(),
        statement => vec![statement.clone()],
    }
}

fn kinds(found: &[Finding]) -> BTreeSet<String> {
    found.iter().map(|finding| format!("{:?}", finding.kind)).collect()
}

/// AWS's managed policies that speak of S3, KMS or STS, by name.
async fn managed() -> BTreeMap<String, Value> {
    let python = ground::cache::python().await.unwrap().join("python");
    let output = Command::new(python).arg("tests/lint/managed.py").output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The lines of a table of ours; its fields are parted by tabs.
fn table(text: &str) -> Vec<Vec<String>> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split('\t').map(ToOwned::to_owned).collect()).collect()
}

/// `tests/lint/managed.tsv` has those where AWS errs itself or the reference lacks something, with the reason.
#[tokio::test]
async fn nothing_is_found_in_what_aws_wrote_but_where_it_is_explained() {
    let known: BTreeMap<String, String> =
        table(&read("tests/lint/managed.tsv")).into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let mut found = BTreeMap::new();
    let managed = managed().await;
    for (name, document) in &managed {
        let told = kinds(&of_statements(statements(document)));
        if !told.is_empty() {
            found.insert(name.clone(), told.into_iter().collect::<Vec<_>>().join(" "));
        }
    }
    let clean = managed.len() - found.len();
    println!("{clean} of {} managed policies are clean", managed.len());
    assert_eq!(found, known);
    assert!(clean >= 300, "{clean}");
}

#[test]
fn nothing_is_found_in_the_samples() {
    let mut users = 0;
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/samples")).unwrap() {
        let path = entry.unwrap().path();
        for object in serde_saphyr::from_multiple::<Value>(&fs::read_to_string(&path).unwrap()).unwrap() {
            if object["kind"] == "S3AccessUser" {
                let user: S3AccessUser = serde_json::from_value(object).unwrap();
                assert_eq!(of_spec(&user.spec), [], "{}", path.display());
                users += 1;
            }
        }
    }
    assert!(users >= 8, "{users}");
}

/// However much stands before it.
#[tokio::test]
async fn a_mistake_at_the_end_of_a_long_policy_is_found() {
    let mistake =
        json!({ "Effect": "Allow", "Action": ["s3:GetObject", "s3:HeadBucket"], "Resource": "arn:aws:s3:::reports" });
    for (name, document) in managed().await {
        let mut statements = statements(&document);
        let before = of_statements(statements.clone()).len();
        statements.push(mistake.clone());
        assert_eq!(of_statements(statements).len(), before + 2, "{name}");
    }
}
