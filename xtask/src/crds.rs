//! `crds`: the generated CustomResourceDefinitions, and their reference.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use ground::tools::{HELM_DOCS, Tool, tool};
use serde_json::Value;
use tokio::process::Command;

use crate::{build_operator, reference};

const FILES: [&str; 2] = ["crds/s3access.dev_s3accessclasses.yaml", "crds/s3access.dev_s3accessusers.yaml"];
/// What the chart and the OLM bundle cannot read outside their own folders: the copy, and what it is made from.
const COPIES: [(&str, &str); 9] = [
    ("deploy/chart/files/crds/s3access.dev_s3accessclasses.yaml", FILES[0]),
    ("deploy/chart/files/crds/s3access.dev_s3accessusers.yaml", FILES[1]),
    ("deploy/olm/manifests/s3access.dev_s3accessclasses.yaml", FILES[0]),
    ("deploy/olm/manifests/s3access.dev_s3accessusers.yaml", FILES[1]),
    ("deploy/chart/files/admission.yaml", "deploy/admission.yaml"),
    ("deploy/chart/files/admission-operator.yaml", "deploy/admission-operator.yaml"),
    ("deploy/chart/files/admission-guard.yaml", "deploy/admission-guard.yaml"),
    ("deploy/chart/files/admission-warnings.yaml", "deploy/admission-warnings.yaml"),
    ("deploy/chart/files/dashboard.json", "deploy/dashboards/s3-access-operator.json"),
];
const HEAD: &str = "# Written by `cargo xtask crds` from src/api; CI fails where the two differ.\n";

pub(crate) async fn run(check: bool) -> Result<()> {
    let output = Command::new(build_operator().await?).arg("crd").output().await?;
    ensure!(output.status.success(), "the operator's crd command: {}", String::from_utf8_lossy(&output.stderr));
    let output = String::from_utf8(output.stdout)?;
    let crds: Vec<&str> = output.trim_start_matches("---\n").split_inclusive("\n---\n").collect();
    ensure!(crds.len() == FILES.len(), "the operator prints {} CRDs", crds.len());
    let files = FILES.into_iter().zip(crds.iter().map(|crd| format!("{HEAD}{}", crd.trim_end_matches("---\n"))));
    let page = reference::page(&serde_saphyr::from_multiple::<Value>(&output)?)?;
    for (file, wanted) in files.chain([(reference::FILE, page)]) {
        let path = ground::repository().join(file);
        if check {
            compare(file, &wanted, &fs::read_to_string(&path).with_context(|| format!("reading {file}"))?)?;
        } else {
            fs::write(&path, wanted).with_context(|| format!("writing {file}"))?;
        }
    }
    for (copy, original) in COPIES {
        let read =
            |file: &str| fs::read_to_string(ground::repository().join(file)).with_context(|| format!("reading {file}"));
        let wanted = read(original)?;
        if check {
            ensure!(wanted == read(copy)?, "{copy} is not {original}: run `cargo xtask crds`");
        } else {
            fs::write(ground::repository().join(copy), wanted).with_context(|| format!("writing {copy}"))?;
        }
    }
    // Whether it is up to date, the tests of the chart see.
    if !check {
        let chart = ground::repository().join("deploy/chart");
        let status = Command::new(tool(Tool::HelmDocs).await?).args(HELM_DOCS).current_dir(chart).status().await?;
        ensure!(status.success(), "helm-docs ended with {status}");
    }
    Ok(())
}

fn compare(file: &str, wanted: &str, found: &str) -> Result<()> {
    if let Some((number, (wanted, found))) =
        wanted.lines().zip(found.lines()).enumerate().find(|(_, (wanted, found))| wanted != found)
    {
        bail!("{file}:{}: has {found:?} where src/api makes {wanted:?}: run `cargo xtask crds`", number + 1);
    }
    ensure!(wanted == found, "{file} has another length than src/api makes: run `cargo xtask crds`");
    Ok(())
}
