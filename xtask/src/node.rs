//! What the tests on a real node stand on.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ground::node::{REGISTRY, unpacked};
use ground::oci::{Content, write_layout};
use ground::tools::{Tool, tool};
use ground::{authorities, cache, namespaces, repository};

use crate::release::{NAME, VERSION, empty, ensure_static, package_chart};
use crate::{SYSTEM_ALLOCATOR, cargo, executable, image};

/// Builds what they need; the folder of a release to publish and install there, whose image has an unoptimised binary or
/// is the one that is shipped. Nothing where this machine runs no node, unless it must.
pub(crate) async fn prepare(required: bool, shipped: bool) -> Result<Option<PathBuf>> {
    match namespaces::missing() {
        Some(reason) if required => bail!("the node tests cannot run: {reason}"),
        // The tests say so themselves.
        Some(_) => return Ok(None),
        None => {}
    }
    cache::kubernetes_with_node().await?;
    cache::node().await?;
    for program in [Tool::Helm, Tool::Crane] {
        tool(program).await?;
    }
    // In there, no registry of packages can be reached.
    cache::python().await?;
    cache::consumers_python().await?;
    cache::consumers().await?;
    let binary = if shipped { None } else { Some(build_static().await?) };
    let folder = repository().join("target/node/release");
    empty(&folder)?;
    match binary {
        Some(binary) => unoptimised(&binary, &folder.join("image"))?,
        None => image::run(&image::Options::default(), &folder.join("image")).await?,
    }
    let files = folder.join("files");
    fs::create_dir(&files)?;
    package_chart(REGISTRY, "https://example.com/s3-access-operator", &files, 0).await?;
    // With it the tests publish what is here, in there; by a path that holds when a build has replaced it meanwhile.
    fs::copy("/proc/self/exe", folder.join("xtask")).context("copying this program")?;
    Ok(Some(folder))
}

/// An image as the one that is shipped, around this binary, and not compressed.
fn unoptimised(binary: &Path, to: &Path) -> Result<()> {
    let mut image = unpacked(NAME, fs::read(binary)?);
    let bytes = authorities::pem().into_bytes();
    image.files.push(Content { path: authorities::PATH.to_owned(), mode: 0o644, bytes });
    write_layout(&to.join("layout"), &format!("{NAME}:{VERSION}"), &[image]).map(drop)
}

/// The operator, unoptimised and linked statically: an image holds nothing that it could load.
async fn build_static() -> Result<PathBuf> {
    let mut cargo = cargo();
    cargo.args(["rustc", "--locked", "--package", NAME, "--bin", NAME, SYSTEM_ALLOCATOR]);
    cargo.args(["--message-format=json-render-diagnostics", "--"]);
    cargo.args(["-Ctarget-feature=+crt-static", "-Cstrip=symbols"]);
    let binary = executable(&mut cargo).await?;
    // The next build puts another one there.
    let copy = repository().join("target/node/s3-access-operator");
    fs::create_dir_all(copy.parent().context("a path has a folder")?)?;
    fs::copy(&binary, &copy).with_context(|| format!("copying {}", binary.display()))?;
    ensure_static(&copy)?;
    Ok(copy)
}
