//! What the documentation of the chart says is so.

use ground::tools::{HELM_DOCS, Tool, tool};
use tokio::process::Command;

use crate::helm::{chart, documents, finish, read, text};

/// deploy/chart/README.md is made by helm-docs from the comments of values.yaml.
#[tokio::test]
async fn the_charts_readme_is_the_generated_one() {
    let mut command = Command::new(tool(Tool::HelmDocs).await.unwrap());
    command.args(HELM_DOCS).arg("--dry-run").env_clear().current_dir(chart());
    let made = finish(command, "").await.unwrap();
    let found = read("deploy/chart/README.md");
    let differs = made.trim().lines().zip(found.trim().lines()).find(|(made, found)| made != found);
    assert!(differs.is_none(), "run `cargo xtask crds`: {differs:?}");
    assert_eq!(made.trim().lines().count(), found.trim().lines().count());
}

#[test]
fn the_charts_version_is_the_operators() {
    let chart = documents(&read("deploy/chart/Chart.yaml")).remove(0);
    assert_eq!(text(&chart["version"]), env!("CARGO_PKG_VERSION"));
    assert_eq!(text(&chart["appVersion"]), env!("CARGO_PKG_VERSION"));
    assert_eq!(text(&chart["home"]), env!("CARGO_PKG_REPOSITORY"));
    let csv = documents(&read("deploy/olm/manifests/s3-access-operator.clusterserviceversion.yaml")).remove(0);
    assert_eq!(text(&csv["spec"]["version"]), env!("CARGO_PKG_VERSION"));
    // What Artifact Hub reads is YAML in YAML.
    let annotations = &chart["annotations"];
    let crds = documents(text(&annotations["artifacthub.io/crds"])).remove(0);
    assert_eq!(crds.as_array().unwrap().len(), 2);
    for crd in crds.as_array().unwrap() {
        assert!(read(format!("crds/{}.yaml", file_of(text(&crd["name"])))).contains(text(&crd["kind"])));
    }
    documents(text(&annotations["artifacthub.io/crdsExamples"]));
    documents(text(&annotations["artifacthub.io/changes"]));
}

/// The file of a CRD, by its name.
fn file_of(name: &str) -> String {
    let (plural, group) = name.split_once('.').unwrap();
    format!("{group}_{plural}")
}

/// The files that the chart cannot read outside itself are copies.
#[test]
fn the_charts_copies_are_up_to_date() {
    for (copy, original) in [
        ("deploy/chart/files/crds/s3access.dev_s3accessclasses.yaml", "crds/s3access.dev_s3accessclasses.yaml"),
        ("deploy/chart/files/crds/s3access.dev_s3accessusers.yaml", "crds/s3access.dev_s3accessusers.yaml"),
        ("deploy/chart/files/admission.yaml", "deploy/admission.yaml"),
        ("deploy/chart/files/admission-operator.yaml", "deploy/admission-operator.yaml"),
        ("deploy/chart/files/admission-guard.yaml", "deploy/admission-guard.yaml"),
        ("deploy/chart/files/admission-warnings.yaml", "deploy/admission-warnings.yaml"),
        ("deploy/chart/files/dashboard.json", "deploy/dashboards/s3-access-operator.json"),
    ] {
        assert!(read(copy) == read(original), "{copy} is not {original}: run `cargo xtask crds`");
    }
}

/// Each value that the pages name is one.
#[test]
fn the_documentation_names_values_that_there_are() {
    let values = documents(&read("deploy/chart/values.yaml")).remove(0);
    for page in ["deploy/docs/helm.md", "deploy/docs/gitops.md", "deploy/docs/alerts.md"] {
        let page_text = read(page);
        let named = page_text.split('`').skip(1).step_by(2).filter(|word| {
            let first = word.split('.').next().unwrap_or_default();
            values.get(first).is_some() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '.')
        });
        for name in named {
            let pointer = format!("/{}", name.replace('.', "/"));
            // What lies below a free map is not the chart's.
            let free = name.starts_with("defaultClass.spec.") || name.starts_with("serviceAccount.annotations.");
            assert!(free || values.pointer(&pointer).is_some(), "{page}: there is no value {name}");
        }
    }
}
