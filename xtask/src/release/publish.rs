//! `release publish` and `release sign`: what leaves this machine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use ground::folders::Folder;
use ground::oci::{digest_of, write_artifact};
use ground::tools::{Tool, tool};

use super::{FILES, IMAGE, NAME, PUBLISHED, SUMS, VERSION, chart, tell};

#[derive(Args)]
pub(crate) struct Options {
    /// The folder that `release assets` has filled
    #[arg(long)]
    from: PathBuf,
    /// HOST[:PORT]/PATH
    #[arg(long)]
    registry: String,
    /// Without TLS: for a registry of this machine
    #[arg(long)]
    plain_http: bool,
}

#[derive(Args)]
pub(crate) struct SignOptions {
    /// The folder whose release was published
    #[arg(long)]
    from: PathBuf,
    /// A private key of cosign (2.6 or later), with its password in COSIGN_PASSWORD, and no entry in a log that all can read; without one,
    /// keyless, as the identity that the environment has
    #[arg(long)]
    key: Option<PathBuf>,
    /// Without TLS: for a registry of this machine
    #[arg(long)]
    plain_http: bool,
    /// The program
    #[arg(long, env = "COSIGN", default_value = "cosign")]
    cosign: PathBuf,
}

/// The registry takes what is there already once more: a run that failed halfway may be run again.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let registry = options.registry.to_lowercase();
    let crane = tool(Tool::Crane).await?;
    let (insecure, plain) = (options.plain_http.then_some("--insecure"), options.plain_http.then_some("--plain-http"));
    let crane = async |args: &[&str]| tell(&crane, &[args, insecure.as_slice()].concat()).await;

    let layout = options.from.join(IMAGE).join("layout");
    let digest = digest_of(&layout)?;
    let image = format!("{registry}/{NAME}");
    crane(&["push", &layout.display().to_string(), &format!("{image}:{VERSION}")]).await?;
    let there = crane(&["digest", &format!("{image}:{VERSION}")]).await?;
    ensure!(there.trim() == digest, "the image is {digest}, and {image} has {}", there.trim());

    let archive = options.from.join(FILES).join(format!("{NAME}-{VERSION}.tgz")).display().to_string();
    let charts = format!("{registry}/charts");
    let push = ["push", &archive, &format!("oci://{charts}")];
    tell(&tool(Tool::Helm).await?, &[&push, plain.as_slice()].concat()).await?;
    let chart = format!("{charts}/{NAME}");
    let chart_digest = crane(&["digest", &format!("{chart}:{VERSION}")]).await?;
    hub(&chart, async |layout, name| crane(&["push", layout, name]).await.map(drop)).await?;

    let published = [format!("{image}@{digest}"), format!("{chart}@{}", chart_digest.trim())];
    fs::write(options.from.join(PUBLISHED), published.map(|one| format!("{one}\n")).concat())?;
    println!("pushed:\n  {image}:{VERSION} {digest}\n  {chart}:{VERSION} {}", chart_digest.trim());
    Ok(())
}

/// Tells Artifact Hub whose the charts are: a tag of its own, with media types of its own.
async fn hub(chart: &str, push: impl AsyncFn(&str, &str) -> Result<()>) -> Result<()> {
    let file = ground::repository().join("deploy/chart").join(chart::HUB);
    let folder = Folder::create("artifact-hub")?;
    let types = ["config.v1+yaml", "repository-metadata.layer.v1.yaml"];
    let types = types.map(|part| format!("application/vnd.cncf.artifacthub.{part}"));
    write_artifact(folder.path(), &types[0], &types[1], &fs::read(&file)?)?;
    push(&folder.path().display().to_string(), &format!("{chart}:artifacthub.io")).await
}

pub(crate) async fn sign(options: &SignOptions) -> Result<()> {
    let file = options.from.join(PUBLISHED);
    let published = fs::read_to_string(&file).with_context(|| format!("{}: publish first", file.display()))?;
    let key = options.key.as_ref().map(|key| key.display().to_string());
    let how: Vec<&str> = match &key {
        // With a signing config, which cosign 3 takes by default, it refuses to leave the log out.
        Some(key) => vec!["--yes", "--key", key, "--use-signing-config=false", "--tlog-upload=false"],
        None => vec!["--yes"],
    };
    let plain = options.plain_http.then_some("--allow-http-registry");
    for name in published.lines() {
        let args = [&["sign"], how.as_slice(), plain.as_slice(), &[name]].concat();
        tell(&options.cosign, &args).await?;
        println!("signed {name}");
    }
    let sums = options.from.join(FILES).join(SUMS);
    let bundle = bundle_of(&sums);
    let (sums, bundle) = (sums.display().to_string(), bundle.display().to_string());
    tell(&options.cosign, &[&["sign-blob"], how.as_slice(), &["--bundle", &bundle, &sums]].concat()).await?;
    println!("signed {sums}: {bundle}");
    Ok(())
}

/// The file of a file's signature.
fn bundle_of(file: &Path) -> PathBuf {
    file.with_extension("cosign.bundle")
}
