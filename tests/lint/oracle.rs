//! parliament, another linter: what it says of each document, and where it and ours disagree.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::{managed, of_statements, read, statements, table};

const SERVICES: [&str; 6] = ["s3", "s3-outposts", "s3-object-lambda", "s3express", "kms", "sts"];

/// What can be compared: of an action, of its resources, of a condition's key, of its value.
fn of_parliament(issue: &str) -> Option<&'static str> {
    Some(match issue {
        "UNKNOWN_ACTION" | "UNKNOWN_PREFIX" => "action",
        "RESOURCE_MISMATCH" | "INVALID_ARN" => "resource",
        "UNKNOWN_CONDITION_FOR_ACTION" => "key",
        "MISMATCHED_TYPE" | "MISMATCHED_TYPE_OPERATION_TO_NULL" => "value",
        "EXCEPTION" => "exception",
        _ => return None,
    })
}

fn of_ours(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "UnknownAction" | "OperationName" | "EmptyWildcard" => "action",
        "ConditionKey" => "key",
        "ConditionValue" => "value",
        // It has no idea of either.
        "Prefix" => return None,
        _ => "resource",
    })
}

/// The statements without the actions of services that ours knows nothing of.
fn ours_alone(document: &Value) -> Vec<Value> {
    let mut kept = Vec::new();
    for mut statement in statements(document) {
        let element = if statement["Action"].is_null() { "NotAction" } else { "Action" };
        let actions = match &statement[element] {
            Value::Array(actions) => actions.clone(),
            action => vec![action.clone()],
        };
        let known = |action: &Value| {
            let prefix = action
                .as_str()
                .and_then(|action| action.split_once(':'))
                .map(|(prefix, _)| prefix.to_ascii_lowercase());
            prefix.is_some_and(|prefix| SERVICES.contains(&prefix.as_str()))
        };
        let actions: Vec<Value> = actions.into_iter().filter(known).collect();
        if !actions.is_empty() {
            statement[element] = json!(actions);
            kept.push(statement);
        }
    }
    kept
}

/// The planted mistakes and the managed policies, each under a name of its own.
async fn documents() -> BTreeMap<String, Vec<Value>> {
    let mut documents: BTreeMap<String, Vec<Value>> =
        managed().await.into_iter().map(|(name, document)| (name, ours_alone(&document))).collect();
    for row in table(&read("src/core/lint/tests/planted.tsv")) {
        let statement: Value = serde_json::from_str(&row[1]).unwrap();
        if statement["Effect"].is_string() {
            documents.insert(row[1].clone(), vec![statement]);
        }
    }
    documents.retain(|_, statements| !statements.is_empty());
    documents
}

async fn parliament(documents: &BTreeMap<String, Vec<Value>>) -> Vec<BTreeSet<&'static str>> {
    let python = ground::cache::lint_python().await.unwrap().join("python");
    let mut child = Command::new(python)
        .args(["-W", "ignore", "tests/lint/parliament_findings.py"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines: String = documents
        .values()
        .map(|statements| format!("{}\n", json!({ "Version": "2012-10-17", "Statement": statements })))
        .collect();
    // Both at once, or each would wait for the other with a full pipe.
    let (written, output) =
        tokio::join!(async move { stdin.write_all(lines.as_bytes()).await }, child.wait_with_output());
    written.unwrap();
    let output = String::from_utf8(output.unwrap().stdout).unwrap();
    let found: Vec<Vec<(String, String)>> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    found.iter().map(|found| found.iter().filter_map(|(issue, _)| of_parliament(issue)).collect()).collect()
}

/// `tests/lint/disagreements.tsv` has each document with what one alone finds, and why.
#[tokio::test]
async fn parliament_finds_the_same_but_where_it_is_explained() {
    let documents = documents().await;
    let theirs = parliament(&documents).await;
    assert_eq!(theirs.len(), documents.len());
    let mut disagreements = BTreeSet::new();
    for ((name, statements), theirs) in documents.iter().zip(&theirs) {
        let found = of_statements(statements.clone());
        let ours: BTreeSet<&str> = found.iter().filter_map(|finding| of_ours(&format!("{:?}", finding.kind))).collect();
        // At an action that it does not know, it stops, and so it does where it breaks.
        let compared = |what: &&&str| match (theirs.contains("exception"), theirs.contains("action")) {
            (true, _) => **what == "exception",
            (_, true) => **what == "action",
            _ => true,
        };
        for what in ours.difference(theirs).filter(compared) {
            disagreements.insert((name.clone(), "ours".to_owned(), (*what).to_owned()));
        }
        for what in theirs.difference(&ours).filter(compared) {
            disagreements.insert((name.clone(), "parliament".to_owned(), (*what).to_owned()));
        }
    }
    println!("{} documents, {} disagreements", documents.len(), disagreements.len());
    let rows = table(&read("tests/lint/disagreements.tsv"));
    assert!(rows.iter().all(|row| row.len() == 4 && !row[3].is_empty()), "each has a reason");
    let known: BTreeSet<_> = rows.iter().map(|row| (row[0].clone(), row[1].clone(), row[2].clone())).collect();
    let lines = |one: &BTreeSet<(String, String, String)>, other| {
        let only = one.difference(other).map(|(name, who, what)| format!("{name}\t{who}\t{what}"));
        only.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(
        disagreements,
        known,
        "new:\n{}\n\ngone:\n{}",
        lines(&disagreements, &known),
        lines(&known, &disagreements)
    );
    assert!(documents.len() >= 200, "{}", documents.len());
}
