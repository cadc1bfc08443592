//! What is shipped beside the binary says what the code says: manifests, IAM policies, samples, workflows and the README.
//!
//! Files only; the tests on a real Kubernetes apply them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and clippy's own exception for tests does not reach their helpers"
)]

mod docs;
mod iam;
mod manifests;
mod mistakes;
mod reference;
mod samples;
mod workflows;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn documents(text: &str, what: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// The files of a folder, with that extension.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no .{extension} in {folder}");
    found
}

/// A list of strings; a lone string counts as a list, as in IAM.
fn strings(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(members) => members.iter().map(|member| member.as_str().unwrap()).collect(),
        other => panic!("neither a string nor a list: {other}"),
    }
}
