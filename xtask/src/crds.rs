//! `crds`: the generated CustomResourceDefinitions.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

use crate::build_operator;

const FILE: &str = "crds/s3access.dev_s3accessusers.yaml";
const HEAD: &str = "# Written by `cargo xtask crds` from src/api; CI fails where the two differ.\n";

pub(crate) async fn run(check: bool) -> Result<()> {
    let output = Command::new(build_operator().await?).arg("crd").output().await?;
    ensure!(output.status.success(), "the operator's crd command: {}", String::from_utf8_lossy(&output.stderr));
    let wanted = format!("{HEAD}{}", String::from_utf8(output.stdout)?);
    let path = ground::repository().join(FILE);
    if !check {
        return fs::write(&path, wanted).with_context(|| format!("writing {FILE}"));
    }
    let found = fs::read_to_string(&path).with_context(|| format!("reading {FILE}"))?;
    if let Some((number, (wanted, found))) =
        wanted.lines().zip(found.lines()).enumerate().find(|(_, (wanted, found))| wanted != found)
    {
        bail!("{FILE}:{}: has {found:?} where src/api makes {wanted:?}: run `cargo xtask crds`", number + 1);
    }
    ensure!(wanted == found, "{FILE} has another length than src/api makes: run `cargo xtask crds`");
    Ok(())
}
