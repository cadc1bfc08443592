//! What the tests on a real node stand on.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use ground::tools::{Tool, tool};
use ground::{cache, namespaces};

use crate::release::ensure_static;
use crate::{cargo, executable, image};

/// Builds what they need; the operator's binary for an image, or the image that is shipped. Nothing where this machine
/// runs no node, unless it must.
pub(crate) async fn prepare(required: bool, shipped: bool) -> Result<Option<PathBuf>> {
    match namespaces::missing() {
        Some(reason) if required => bail!("the node tests cannot run: {reason}"),
        // The tests say so themselves.
        Some(_) => return Ok(None),
        None => {}
    }
    cache::kubernetes_with_node().await?;
    cache::node().await?;
    tool(Tool::Helm).await?;
    // In there, no registry can be reached.
    cache::python().await?;
    cache::consumers_python().await?;
    cache::consumers().await?;
    if shipped {
        return image::run(&image::Options::default()).await.map(Some);
    }
    build_static().await.map(Some)
}

/// The binary that the other tests run, linked once more, statically: an image holds nothing that it could load.
async fn build_static() -> Result<PathBuf> {
    let mut cargo = cargo();
    cargo.args(["rustc", "--locked", "--package", "s3-access-operator", "--bin", "s3-access-operator"]);
    cargo.args(["--message-format=json-render-diagnostics", "--"]);
    cargo.args(["-Ctarget-feature=+crt-static", "-Cstrip=symbols"]);
    let binary = executable(&mut cargo).await?;
    // The next build puts another one there.
    let copy = ground::repository().join("target/node/s3-access-operator");
    std::fs::create_dir_all(copy.parent().context("a path has a folder")?)?;
    std::fs::copy(&binary, &copy).with_context(|| format!("copying {}", binary.display()))?;
    ensure_static(&copy)?;
    Ok(copy)
}
