//! `attacks`: what a tenant was seen to try, with what came of it, and as much beside it as is asked for.

use anyhow::{Result, ensure};
use clap::Args;

use crate::cargo;

#[derive(Args)]
pub(crate) struct Options {
    /// How many of each kind are made up; a release is tried with 1000000. Default: as in the tests.
    #[arg(long)]
    runs: Option<u32>,
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let mut command = cargo();
    command.args(["test", "--locked", "--test", "attacks", "--", "--nocapture"]);
    command.envs(options.runs.map(|runs| ("ATTACKS_CASES", runs.to_string())));
    let status = command.status().await?;
    ensure!(status.success(), "cargo test ended with {status}");
    Ok(())
}
