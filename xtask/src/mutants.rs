//! `mutants`: changes the pure core in every small way, and asks the unit tests and the fault suite whether they notice.

use std::env::{join_paths, split_paths, var_os};

use anyhow::{Result, ensure};
use clap::Args;
use ground::cache;

use crate::cargo;

#[derive(Args)]
pub(crate) struct Options {
    /// Only one part of all mutants: `0/8` is the first of eight.
    #[arg(long)]
    shard: Option<String>,
    /// Only mutants of these files, by glob.
    #[arg(long)]
    file: Vec<String>,
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let tool = cache::cargo_mutants().await?;
    let path = var_os("PATH").unwrap_or_default();
    let mut command = cargo();
    command.arg("mutants").args(["--output", "target"]);
    // Dealt out one by one, so that a shard is a sample of every file.
    command.args(["--sharding", "round-robin"]);
    command.args(options.shard.iter().flat_map(|shard| ["--shard", shard]));
    command.args(options.file.iter().flat_map(|file| ["--file", file]));
    let status = command
        .env("PATH", join_paths(std::iter::once(tool).chain(split_paths(&path)))?)
        // A mutant that the eleventh part of the single faults does not catch is not caught.
        .env("FAULTS_STRIDE", "11")
        .env("FAULTS_SEEDS", "2")
        .env("FAULTS_STOP", "1")
        .env("ATTACKS_CASES", "100")
        .env_remove("CARGO_TARGET_DIR")
        .status()
        .await?;
    ensure!(status.success(), "mutants were missed, or could not be tried: {status}");
    Ok(())
}
