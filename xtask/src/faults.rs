//! `faults`: the fault suite and the explorer at full length, with a real API server for a sample.

use anyhow::{Result, ensure};
use clap::Args;
use ground::moto::Partition;
use ground::stand::{Ground, STATE};

use crate::{build_operator, cargo};

#[derive(Args)]
pub(crate) struct Options {
    /// Pairs of faults for each scenario.
    #[arg(long, default_value_t = 100)]
    pairs: u64,
    /// Runs of each scenario with two leaders.
    #[arg(long, default_value_t = 100)]
    races: u64,
    /// Runs of each scenario in an account where everything happens that AWS warns of.
    #[arg(long, default_value_t = 50)]
    hostile_runs: u64,
    /// Plans for each scenario on a real API server.
    #[arg(long, default_value_t = 10)]
    real: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this scenario, once, with its effects.
    #[arg(long)]
    scenario: Option<String>,
    /// Its faults: `<effect>:<fault>`, comma-separated.
    #[arg(long, requires = "scenario", conflicts_with_all = ["two_leaders", "hostile"])]
    plan: Option<String>,
    /// With two leaders, by this seed.
    #[arg(long, requires = "scenario", conflicts_with = "hostile")]
    two_leaders: Option<u64>,
    /// In a hostile account, by this seed.
    #[arg(long, requires = "scenario")]
    hostile: Option<u64>,
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    if let Some(scenario) = &options.scenario {
        let mut env = vec![("FAULTS_SCENARIO", scenario.clone())];
        env.extend(options.plan.clone().map(|plan| ("FAULTS_PLAN", plan)));
        env.extend(options.two_leaders.map(|seed| ("FAULTS_TWO_LEADERS", seed.to_string())));
        env.extend(options.hostile.map(|seed| ("FAULTS_HOSTILE_SEED", seed.to_string())));
        return test("faults", "one_run", &env).await;
    }
    let counts = [
        ("FAULTS_PAIRS", options.pairs),
        ("FAULTS_RACES", options.races),
        ("FAULTS_HOSTILE", options.hostile_runs),
        ("FAULTS_REAL", options.real),
        ("FAULTS_SEED", options.seed),
    ];
    let mut env: Vec<(&str, String)> = counts.map(|(name, count)| (name, count.to_string())).to_vec();
    test("faults", "the_whole_suite", &env).await?;
    test("explorer", "deeper", &env).await?;
    let ground = Ground::start(Partition::Aws, &build_operator().await?).await?;
    env.push((STATE, ground.state().display().to_string()));
    test("faults", "the_sample_on_a_real_api_server", &env).await
}

async fn test(target: &str, name: &str, env: &[(&str, String)]) -> Result<()> {
    let args = ["test", "--locked", "--test", target, "--", "--ignored", "--exact", "--nocapture", name];
    let status = cargo().args(args).envs(env.iter().map(|(name, value)| (*name, value.as_str()))).status().await?;
    ensure!(status.success(), "cargo test ended with {status}");
    Ok(())
}
