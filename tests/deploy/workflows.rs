//! The workflows take nothing that can change below them, have no more rights than they need, and run nothing that whoever
//! opens a pull request can write.

use serde_json::Value;

use crate::{documents, files, read};

/// Each workflow's name and text.
fn workflows() -> Vec<(String, String)> {
    let found = files(".github/workflows", "yml");
    let name = |path: &std::path::PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    found.iter().map(|path| (name(path), read(path))).collect()
}

/// The jobs of a workflow, by name.
fn jobs(text: &str, name: &str) -> Vec<(String, Value)> {
    let workflow = documents(text, name).remove(0);
    assert_eq!(workflow["permissions"], serde_json::json!({}), "{name}: a job has the rights that it names");
    let jobs = workflow["jobs"].as_object().unwrap();
    jobs.iter().map(|(job, value)| (format!("{name}, {job}"), value.clone())).collect()
}

fn steps(job: &Value) -> &[Value] {
    job["steps"].as_array().unwrap()
}

#[test]
fn every_action_is_pinned_by_its_commit_and_says_which_version_that_is() {
    let mut actions = 0;
    for (name, text) in workflows() {
        for line in text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("uses: ")) {
            let (action, version) = line.split_once(" # ").unwrap_or_else(|| panic!("{name}: {line}: which version?"));
            let (_, commit) = action.split_once('@').unwrap();
            let is_commit = commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit());
            assert!(is_commit, "{name}: {action} is not pinned by its commit");
            assert!(version.starts_with('v'), "{name}: {line}");
            actions += 1;
        }
    }
    assert!(actions >= 15, "{actions}");
}

#[test]
fn one_action_has_one_commit() {
    let mut seen = std::collections::BTreeMap::new();
    for (name, text) in workflows() {
        for line in text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("uses: ")) {
            let (action, commit) = line.split_once('@').unwrap();
            let first = seen.entry(action.to_owned()).or_insert_with(|| commit.to_owned()).clone();
            assert_eq!(first, commit, "{name}: {action}");
        }
    }
}

#[test]
fn no_workflow_keeps_credentials_in_the_checkout_or_runs_for_ever() {
    for (name, text) in workflows() {
        for (job, value) in jobs(&text, &name) {
            assert!(value["timeout-minutes"].is_u64() && value["permissions"].is_object(), "{job}");
            for step in steps(&value) {
                if step["uses"].as_str().is_some_and(|action| action.starts_with("actions/checkout@")) {
                    assert_eq!(step["with"]["persist-credentials"], false, "{job}");
                }
            }
        }
    }
}

/// An expression is put into a script before the shell reads it: a branch can be named `$(…)`.
#[test]
fn no_script_has_an_expression_in_it() {
    for (name, text) in workflows() {
        assert!(!text.contains("pull_request_target"), "{name} would lend its rights to anybody's code");
        for (job, value) in jobs(&text, &name) {
            for script in steps(&value).iter().filter_map(|step| step["run"].as_str()) {
                assert!(!script.contains("${{"), "{job}: {script}");
            }
        }
    }
}

/// What a release does can be done here; and what compiles the code of many is not near the rights to publish.
#[test]
fn a_release_consists_of_verbs_of_xtask_and_of_actions() {
    let mut verbs = 0;
    for (job, value) in jobs(&read(".github/workflows/release.yml"), "release.yml") {
        let publishes = value["permissions"].as_object().unwrap().values().any(|right| right == "write");
        for script in steps(&value).iter().filter_map(|step| step["run"].as_str()) {
            let (built, ready) = (script.starts_with("cargo xtask "), script.starts_with("target/debug/xtask "));
            let prepares = ["rustup target add x86_64-apple-darwin", "chmod +x target/debug/xtask"].contains(&script);
            assert!(built || ready || prepares, "{job}: {script}");
            assert!(!(built && publishes), "{job}: {script}");
            verbs += usize::from(built || ready);
        }
    }
    assert_eq!(verbs, 4);
}

#[test]
fn ci_is_the_script_that_everybody_runs() {
    let jobs = jobs(&read(".github/workflows/ci.yml"), "ci.yml");
    let [(_, job)] = jobs.as_slice() else { panic!("{jobs:?}") };
    let scripts: Vec<&str> = steps(job).iter().filter_map(|step| step["run"].as_str()).collect();
    assert_eq!(scripts, [".ci/run"]);
    assert_eq!(job["permissions"], serde_json::json!({ "contents": "read" }));
}
