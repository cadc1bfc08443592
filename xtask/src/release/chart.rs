//! The chart as it is published: it names the image that was published with it.

use std::fs;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;
use ground::folders::Folder;
use ground::oci::{Content, packed};
use ground::tools::{Tool, tool};
use serde_json::{Value, json};
use tokio::process::Command;

use super::versions::yaml;
use super::{NAME, VERSION, tell};

/// What Artifact Hub reads of the place where charts are; it is pushed beside them, and is in none.
pub(crate) const HUB: &str = "artifacthub-repo.yml";

/// Packs the chart for images of that registry into the folder `to`, as of a time in seconds since 1970. A repository is
/// named as `https://github.com/OWNER/NAME`.
pub(crate) async fn package(registry: &str, repository: &str, to: &Path, time: i64) -> Result<()> {
    let root = ground::repository();
    let copy = Folder::create("chart-to-ship")?;
    let chart = copy.path().join(NAME);
    let copied = Command::new("cp").arg("-r").arg(root.join("deploy/chart")).arg(&chart).status().await?;
    ensure!(copied.success(), "copying the chart ended with {copied}");
    let values = chart.join("values.yaml");
    let text = fs::read_to_string(&values)?;
    let (before, after) = (format!("  repository: {NAME}\n"), format!("  repository: {registry}/{NAME}\n"));
    ensure!(text.matches(&before).count() == 1, "values.yaml names the image's repository in another way");
    fs::write(&values, text.replace(&before, &after))?;
    // JSON is YAML, and helm writes it anew.
    fs::write(chart.join("Chart.yaml"), described(&root, registry, repository)?.to_string())?;
    let made = copy.path().join("made").display().to_string();
    tell(&tool(Tool::Helm).await?, &["package", &chart.display().to_string(), "-d", &made]).await?;
    let archive = format!("{NAME}-{VERSION}.tgz");
    // Helm writes down when it packed.
    let packed = repacked(&fs::read(Path::new(&made).join(&archive))?, time)?;
    fs::write(to.join(&archive), packed).with_context(|| format!("writing {archive}"))
}

/// The same files, of that time.
fn repacked(archive: &[u8], time: i64) -> Result<Vec<u8>> {
    let mut contents = Vec::new();
    for entry in tar::Archive::new(GzDecoder::new(archive)).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        contents.push(Content { path, mode: 0o644, bytes });
    }
    packed(&contents, time)
}

/// Chart.yaml, with what is known of a release and not of a checkout.
fn described(root: &Path, registry: &str, repository: &str) -> Result<Value> {
    let mut chart = yaml(root, "deploy/chart/Chart.yaml")?;
    chart["home"] = repository.into();
    chart["sources"] = json!([repository]);
    let annotations = chart["annotations"].as_object_mut().context("Chart.yaml has no annotations")?;
    let images = json!([{
        "name": NAME, "image": format!("{registry}/{NAME}:{VERSION}"), "platforms": ["linux/amd64", "linux/arm64"],
    }]);
    let links = json!([{ "name": "changes", "url": format!("{repository}/blob/v{VERSION}/deploy/docs/changelog.md") }]);
    for (name, value) in [("images", images), ("links", links)] {
        annotations.insert(format!("artifacthub.io/{name}"), value.to_string().into());
    }
    Ok(chart)
}
