//! Developers' commands: `cargo xtask <verb>`.
#![allow(clippy::print_stdout, reason = "these commands speak to people")]

mod acceptance;
mod actions;
mod attacks;
mod bench;
mod cluster;
mod crds;
mod demo;
mod faults;
mod image;
mod mutants;
mod node;
mod pictures;
mod reference;
mod release;
mod site;
mod system;
mod test;
mod upgrade;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use ground::moto::Partition;
use release::NAME;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

/// Developers' commands.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the main job from start to end and prove it.
    Demo {
        /// The AWS partition.
        #[arg(long, default_value = "aws")]
        partition: Partition,
        /// Use this cluster instead of one of its own.
        #[arg(long)]
        kubeconfig: Option<PathBuf>,
    },
    /// Run every test; the last line counts them.
    Test {
        /// Only those on a real node, and fail where this machine cannot run one; else they are skipped there.
        #[arg(long)]
        node: bool,
        /// There, run the image that `cargo xtask image` builds, instead of the build that the other tests run.
        #[arg(long, requires = "node")]
        shipped: bool,
        /// For `cargo test`, such as the name of one test.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run the fault suite at full length and print its table; or one run of it again.
    Faults(faults::Options),
    /// Take the operator through its whole life in a real AWS account, clean up, and tell what AWS says otherwise than the double.
    Acceptance(acceptance::Options),
    /// Play a hostile tenant: print what was tried with each verdict, and make up more.
    Attacks(attacks::Options),
    /// Measure memory, calls and time, at 100, 1,000 and 10,000 users and otherwise, and write the documentation's tables and charts.
    Bench(bench::Options),
    /// A strict double of AWS, for `bench`.
    #[command(hide = true)]
    Double {
        /// Which account, from 1.
        number: u8,
        /// How many users there will be at most.
        users: usize,
    },
    /// Change the core in every small way, and see that the tests notice. Takes an hour or two; a file or a shard takes minutes.
    Mutants(mutants::Options),
    /// Serve an S3-compatible system that drops, alters or forgets what it is told, and print a class for it.
    System(system::Options),
    /// A Kubernetes and an AWS server to play with.
    #[command(subcommand)]
    Cluster(cluster::Verb),
    /// Draw the documentation's pictures: the dashboard with the data of a run of ten minutes, and what `status` prints then.
    Pictures {
        /// Draw those of the last run on this machine, without another.
        #[arg(long)]
        again: bool,
    },
    /// Build the binary that is shipped, and print its path and size; or make, publish and sign all of a release.
    Release(release::Options),
    /// Let an earlier version make users, this one take over, and the earlier one come back: no key may change.
    Upgrade(upgrade::Options),
    /// Build the documentation as a site, and see that each of its links leads somewhere.
    Site(site::Options),
    /// Build the container image that is shipped, without a container engine, and print its digest and size.
    Image(image::Options),
    /// Write the table of actions, resources and condition keys that the policy linter goes by.
    Actions {
        /// Write nothing; fail where it differs.
        #[arg(long)]
        check: bool,
    },
    /// Write the CustomResourceDefinitions to crds/, what the chart and the OLM bundle have copies of, and the reference.
    Crds {
        /// Write nothing; fail where they differ.
        #[arg(long)]
        check: bool,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let verb = match Cli::parse().verb {
        // It cleans an account up at its end, however that comes, and that takes calls.
        Verb::Acceptance(options) => return code(acceptance::run(options).await),
        verb => verb,
    };
    let work = async {
        match verb {
            Verb::Acceptance(_) => Ok(()),
            Verb::Demo { partition, kubeconfig } => demo::run(partition, kubeconfig).await,
            Verb::Test { node, shipped, args } => test::run(node, shipped, &args).await,
            Verb::Faults(options) => faults::run(&options).await,
            Verb::Attacks(options) => attacks::run(&options).await,
            Verb::Bench(options) => bench::run(options).await,
            Verb::Double { number, users } => ground::bench::account::serve(number, users).await,
            Verb::Mutants(options) => mutants::run(&options).await,
            Verb::System(options) => system::run(options).await,
            Verb::Cluster(verb) => cluster::run(verb).await,
            Verb::Upgrade(options) => upgrade::run(&options).await,
            Verb::Pictures { again } => pictures::run(again).await,
            Verb::Release(options) => release::run(options).await,
            Verb::Site(options) => site::run(options).await,
            Verb::Image(options) => image::run(&options, &ground::repository().join("target/image")).await,
            Verb::Actions { check } => actions::run(check).await,
            Verb::Crds { check } => crds::run(check).await,
        }
    };
    // Dropping the work is what cleans up.
    let outcome = tokio::select! {
        outcome = work => outcome,
        () = interrupted() => Err(anyhow::anyhow!("interrupted; everything that was started is stopped")),
    };
    code(outcome)
}

fn code(outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn interrupted() {
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        _ => std::future::pending().await,
    }
}

/// For builds in which memory is not measured: the allocator's own build takes longer than the operator's.
const SYSTEM_ALLOCATOR: &str = "--no-default-features";

/// Builds the operator; the path of its binary.
async fn build_operator() -> Result<PathBuf> {
    build_binary(&mut cargo(), &[SYSTEM_ALLOCATOR]).await
}

/// Builds the operator with these arguments; the path of its binary.
async fn build_binary(cargo: &mut Command, args: &[&str]) -> Result<PathBuf> {
    build_target(cargo, NAME, NAME, args).await
}

/// Builds a binary of a package with these arguments; its path.
async fn build_target(cargo: &mut Command, package: &str, binary: &str, args: &[&str]) -> Result<PathBuf> {
    executable(
        cargo
            .args([
                "build",
                "--locked",
                "--message-format=json-render-diagnostics",
                "--package",
                package,
                "--bin",
                binary,
            ])
            .args(args),
    )
    .await
}

/// Runs a build that tells in JSON what it makes; the path of its binary.
async fn executable(cargo: &mut Command) -> Result<PathBuf> {
    let built = built(cargo).await?;
    let binary = built.iter().filter_map(|message| message["executable"].as_str().map(PathBuf::from)).next_back();
    binary.context("cargo named no executable")
}

/// Runs a build that tells in JSON what it makes; all that it tells.
async fn built(cargo: &mut Command) -> Result<Vec<serde_json::Value>> {
    let output = cargo.stderr(std::process::Stdio::inherit()).output().await?;
    ensure!(output.status.success(), "the build by cargo ended with {}", output.status);
    let messages = String::from_utf8(output.stdout)?;
    Ok(messages.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// The cargo that runs this, in the repository's root.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(ground::repository()).stdin(std::process::Stdio::null()).kill_on_drop(true);
    command
}

/// The compiler that cargo uses, in the repository's root.
fn rustc() -> Command {
    let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.current_dir(ground::repository()).stdin(std::process::Stdio::null()).kill_on_drop(true);
    command
}
