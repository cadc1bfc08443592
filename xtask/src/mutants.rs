//! `mutants`: changes the pure core in every small way, and asks the tests whether they notice.
//!
//! The core needs no client, no runtime and no clock, so it builds alone, in seconds: a package of `src/api` and
//! `src/core`, with the few dependencies that they have, is where its unit tests try every mutant. Only what these miss
//! is tried again in the whole tree, where a mutant takes half a minute: by the fault suite and the attacks.

use std::env::{join_paths, split_paths, var_os};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use ground::{cache, repository};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::cargo;

/// What `src/api` and `src/core` import, and their unit tests; the compiler says so where one is missing.
const DEPENDENCIES: &str = "hex ipnet jiff k8s-openapi kube minijinja percent-encoding schemars secrecy serde serde_json sha2 strsim \
                            thiserror zeroize insta proptest stateright";
/// Of a hundred mutants that compile, so many must be caught.
const CAUGHT: usize = 92;

#[derive(Args)]
pub(crate) struct Options {
    /// Only one part of all mutants: `0/8` is the first of eight.
    #[arg(long)]
    shard: Option<String>,
    /// Only mutants of these files, by glob.
    #[arg(long, default_value = "src/core/**/*.rs")]
    file: Vec<String>,
    /// No mutants of these files, by glob.
    #[arg(long)]
    exclude: Vec<String>,
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let packages = [0, 1].map(|number| repository().join(format!("target/mutants/{number}")));
    for package in &packages {
        write_package(package).await?;
    }
    let (first, second) = tokio::join!(try_alone(options, &packages[0], 0), try_alone(options, &packages[1], 1));
    first.and(second)?;
    let [caught, missed, late, unviable] =
        ["caught", "missed", "timeout", "unviable"].map(|kind| named(kind, &packages));
    let (caught, missed, late, unviable) = (caught?.len(), missed?, late?.len(), unviable?.len());
    println!("the unit tests: {caught} caught, {} missed, {late} timeouts, {unviable} unviable", missed.len());
    let left = if missed.is_empty() { Vec::new() } else { try_in_the_tree(&missed).await? };
    left.iter().for_each(|mutant| println!("missed: {mutant}"));
    let viable = caught + late + missed.len();
    let noticed = viable - left.len();
    println!("all tests: {noticed} of {viable} caught, {} missed, {unviable} unviable", left.len());
    ensure!(noticed * 100 >= viable * CAUGHT, "fewer than {CAUGHT} % of the mutants were caught");
    Ok(())
}

/// Writes a package of the core alone, with its dependencies as the operator's manifest has them. What was built there
/// stays.
async fn write_package(folder: &Path) -> Result<()> {
    let answer = cargo().args(["metadata", "--no-deps", "--format-version", "1", "--locked"]).output().await?;
    let answer: Value = serde_json::from_slice(&answer.stdout).context("reading what cargo says of the packages")?;
    let packages = answer["packages"].as_array().context("cargo names no package")?;
    let operator = packages.iter().find(|package| package["name"] == "s3-access-operator").context("no operator")?;
    let dependencies: String =
        operator["dependencies"].as_array().into_iter().flatten().filter_map(dependency).collect();
    let manifest = format!(
        "[workspace]\n[package]\nname = \"s3-access-operator\"\nedition = {}\n[lib]\ndoctest = false\n\
         [profile.dev]\ndebug = false\n[dependencies]\n{dependencies}",
        operator["edition"]
    );
    let source = folder.join("src");
    fs::create_dir_all(&source)?;
    fs::remove_dir_all(&source)?;
    fs::create_dir(&source)?;
    fs::write(folder.join("Cargo.toml"), manifest)?;
    fs::write(source.join("lib.rs"), "pub mod api;\npub mod core;\n")?;
    fs::copy(repository().join("Cargo.lock"), folder.join("Cargo.lock"))?;
    let modules = ["src/api", "src/core"].map(|module| repository().join(module));
    let copied = Command::new("cp").arg("-r").args(modules).arg(&source).status().await?;
    ensure!(copied.success(), "copying the core ended with {copied}");
    Ok(())
}

/// A dependency as it stands in a manifest; `None` where the core has no need of it.
fn dependency(found: &Value) -> Option<String> {
    let name = found["name"].as_str().filter(|name| DEPENDENCIES.split(' ').any(|own| own == *name))?;
    // Of kube the types alone: its client is most of what would have to be built.
    let features = if name == "kube" { &json!(["derive"]) } else { &found["features"] };
    let (version, defaults) = (&found["req"], &found["uses_default_features"]);
    Some(format!("{name} = {{ version = {version}, default-features = {defaults}, features = {features} }}\n"))
}

/// Has the unit tests try one half of the mutants in this package. A compiler uses little more than one of the machine's
/// cores for one crate, so two packages are tried side by side; each is changed in place, and so built from scratch once.
async fn try_alone(options: &Options, folder: &Path, half: u64) -> Result<()> {
    let (part, parts) = options.shard.as_deref().unwrap_or("0/1").split_once('/').context("a shard is like 0/8")?;
    let (part, parts): (u64, u64) = (part.parse()?, parts.parse()?);
    let mut command = tool().await?;
    command.current_dir(folder).args(["--in-place", "--minimum-test-timeout", "30"]).arg("--config");
    command.arg(repository().join(".cargo/mutants.toml")).arg("--output").arg(folder);
    // Dealt out one by one, so that a shard is a sample of every file.
    command.args(["--sharding", "round-robin", "--shard", &format!("{}/{}", part + half * parts, parts * 2)]);
    command.args(options.file.iter().flat_map(|file| ["--file", file]));
    command.args(options.exclude.iter().flat_map(|file| ["--exclude", file]));
    // A counterexample is enough, it need not be small; what few cases miss, the whole tree tries with more.
    command.env("PROPTEST_CASES", "64").env("PROPTEST_MAX_SHRINK_ITERS", "0");
    judged(command.env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true")).await
}

/// Has all tests of the core try these mutants; those that none notices.
async fn try_in_the_tree(mutants: &[String]) -> Result<Vec<String>> {
    let folder = repository().join("target/mutants/tree");
    let mut command = tool().await?;
    command.arg("--output").arg(&folder).args(["--minimum-test-timeout", "120"]);
    for mutant in mutants {
        // The file, too: cargo-mutants leaves fields of structs out by no name.
        let file = mutant.split(':').next().unwrap_or_default();
        command.args(["--file", file, "--re", &format!("^{}$", literal(mutant))]);
    }
    // Nothing else needs to be built, either.
    command.args(["--cargo-arg=--lib", "--cargo-arg=--test=faults", "--cargo-arg=--test=attacks"]);
    let not = ["--cargo-test-arg=--skip=real_api_server", "--cargo-test-arg=--skip=every_known_mistake"];
    command.arg("--cargo-test-arg=--").args(not);
    // A mutant that the eleventh part of the single faults does not catch is not caught.
    let counts = [("FAULTS_STRIDE", "11"), ("FAULTS_SEEDS", "2"), ("FAULTS_STOP", "1"), ("ATTACKS_CASES", "100")];
    judged(command.envs(counts)).await?;
    named("missed", &[folder])
}

/// The mutants of one outcome in all these folders, by name.
fn named(outcome: &str, folders: &[PathBuf]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for folder in folders {
        let file = folder.join("mutants.out").join(outcome).with_extension("txt");
        let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        names.extend(text.lines().map(str::to_owned));
    }
    Ok(names)
}

/// A regular expression that matches this text alone.
fn literal(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, letter| {
        if r"\.+*?()|[]{}^$".contains(letter) {
            escaped.push('\\');
        }
        escaped.push(letter);
        escaped
    })
}

async fn tool() -> Result<Command> {
    let path = var_os("PATH").unwrap_or_default();
    let mut command = cargo();
    command.arg("mutants").env_remove("CARGO_TARGET_DIR");
    command.env("PATH", join_paths(std::iter::once(cache::cargo_mutants().await?).chain(split_paths(&path)))?);
    Ok(command)
}

/// Runs cargo-mutants, which ends with 2 or 3 where mutants were missed or ran out of time.
async fn judged(command: &mut Command) -> Result<()> {
    let status = command.status().await?;
    ensure!(matches!(status.code(), Some(0 | 2 | 3)), "the mutants could not be tried: {status}");
    Ok(())
}
