//! `release`: what is shipped, from the binary to what stands in a registry.

mod assets;
pub(crate) mod bill;
mod build;
mod chart;
mod provenance;
mod publish;
mod versions;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use tokio::process::Command;

pub(crate) use build::{Architecture, Platform, build, buildable, ensure_static};
pub(crate) use chart::package as package_chart;

pub(crate) const NAME: &str = "s3-access-operator";
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Of a release's folder: the image's, what users download, and what is said of it.
const IMAGE: &str = "image";
const FILES: &str = "files";
const NOTES: &str = "notes.md";
/// What a registry has, by digest; one a line.
const PUBLISHED: &str = "published.txt";
/// In the folder of what users download.
const SUMS: &str = "SHA256SUMS";

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    /// Build for every platform that this machine can build for, and put the binaries there, named by platform
    #[arg(long)]
    to: Option<PathBuf>,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Subcommand)]
enum Part {
    /// Make all files of a release from its binaries, and hold the versions against each other.
    Assets(assets::Options),
    /// Push image and chart to a registry.
    Publish(publish::Options),
    /// Sign with cosign what was pushed, and the checksums.
    Sign(publish::SignOptions),
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let root = ground::repository();
    match options.part {
        Some(Part::Assets(options)) => assets::run(&options).await,
        Some(Part::Publish(options)) => publish::run(&options).await,
        Some(Part::Sign(options)) => publish::sign(&options).await,
        None => {
            let platforms = match options.to {
                Some(_) => buildable(&Platform::ALL, |_| false).await?,
                None => vec![Platform::here()?],
            };
            for platform in platforms {
                let mut binary = build(platform, &root, &root.join("target")).await?;
                if let Some(to) = &options.to {
                    std::fs::create_dir_all(to)?;
                    let copy = to.join(binary_name(platform));
                    std::fs::copy(&binary, &copy).with_context(|| format!("copying to {}", copy.display()))?;
                    binary = copy;
                }
                println!("{}: {}, {} bytes", binary.display(), platform.name(), std::fs::metadata(&binary)?.len());
            }
            Ok(())
        }
    }
}

fn binary_name(platform: Platform) -> String {
    format!("{NAME}-{}", platform.name())
}

/// An empty folder of that name.
pub(crate) fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))
}

/// Runs a program to its end; what it says on standard output.
async fn tell(program: &Path, args: &[impl AsRef<OsStr>]) -> Result<String> {
    let mut command = Command::new(program);
    let output = command.args(args).stdin(std::process::Stdio::null()).kill_on_drop(true).output().await;
    let output = output.with_context(|| format!("starting {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{:?}: {}{said}", command.as_std(), String::from_utf8_lossy(&output.stdout));
    Ok(String::from_utf8(output.stdout)?)
}
