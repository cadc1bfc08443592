//! `test`: one ground for all tests, and one line that counts them.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use ground::cache;
use ground::folders::Folder;
use ground::moto::Partition;
use ground::rgw::{self, Rgw, Sts};
use ground::stand::{Ground, STATE};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::release::NAME;
use crate::{build_binary, built, cargo, node};

#[derive(Default)]
struct Count {
    passed: usize,
    failed: usize,
    skipped: usize,
}

pub(crate) async fn run(only_node: bool, shipped: bool, args: &[String]) -> Result<()> {
    let image = node::prepare(only_node, shipped).await?;
    if only_node {
        let mut command = cargo();
        command.args(["test", "--locked", "--test", "node"]).args(args).env("NODE_REQUIRED", "true");
        return count(command.envs(image.map(|image| ("NODE_OPERATOR", image)))).await;
    }
    // Those who name tests build no others, and not all have cargo build the operator with them.
    let (operator, suites) =
        if args.is_empty() { build_all().await? } else { (build_binary(&mut cargo(), &[]).await?, Vec::new()) };
    let versitygw = cache::versitygw().await?;
    let (consumers, consumers_python) = (cache::consumers().await?, cache::consumers_python().await?);
    let consumers_airflow = cache::consumers_airflow().await?;
    let (ground, rgw) = tokio::try_join!(Ground::start(Partition::Aws, &operator), start_rgw())?;
    let tests = || {
        let mut command = cargo();
        command
            .args(["test", "--locked", "--workspace", "--no-fail-fast"])
            .env(STATE, ground.state())
            // Helm collects garbage for almost half of its short life otherwise.
            .env("GOGC", "400")
            // The conformance suite starts servers of its own.
            .env("MOTO_SERVER", ground.stand().python.join("moto_server"))
            .env("VERSITYGW", &versitygw)
            .env("CONSUMERS", &consumers)
            .env("CONSUMERS_PYTHON", &consumers_python)
            .env("CONSUMERS_AIRFLOW", &consumers_airflow)
            .envs(rgw.as_ref().map(|(rgw, _)| (rgw::STATE, rgw.state())))
            .envs(image.as_ref().map(|image| ("NODE_OPERATOR", image)));
        command
    };
    if !args.is_empty() {
        return count(tests().args(args)).await;
    }
    let (mut main, mut docs) = (tests(), tests());
    let mut lanes = LANES.map(|lane| (format!("{}| ", lane[0]), tests()));
    main.args(["--lib", "--bins"]);
    docs.arg("--doc");
    for suite in &suites {
        let lane = LANES.iter().position(|lane| lane.contains(&suite.as_str()));
        lane.map_or(&mut main, |number| &mut lanes[number].1).args(["--test", suite]);
    }
    let [(_, world), ..] = &mut lanes;
    world.env("RUST_TEST_THREADS", AT_ONCE);
    let lanes = lanes.iter_mut().map(|(name, command)| said(command, name));
    let others = async { anyhow::Ok([said(&mut main, "").await?, said(&mut docs, "").await?]) };
    let (others, mut counts) = tokio::try_join!(others, try_join_all(lanes))?;
    counts.extend(others);
    told(&counts)
}

/// Suites that run beside the others, which mostly compute: the longest, which waits for half of its time, those that wait for keys'
/// ends and for rollouts, and the one that measures.
const LANES: [&[&str]; 3] = [&["world"], &["chart", "node"], &["bench_gate"]];
/// How many tests run at once in the first of these.
const AT_ONCE: &str = "3";

/// Builds all tests, and the operator as they ask for it; its path, and the names of the suites.
async fn build_all() -> Result<(PathBuf, Vec<String>)> {
    let mut command = cargo();
    command.args(["test", "--locked", "--workspace", "--no-run", "--message-format=json-render-diagnostics"]);
    let targets = built(&mut command).await?;
    let suites = targets.iter().filter(|message| message["target"]["kind"][0] == "test");
    let suites: Vec<String> = suites.filter_map(|message| message["target"]["name"].as_str().map(Into::into)).collect();
    ensure!(LANES.concat().iter().all(|suite| suites.iter().any(|found| found == suite)), "the suites are {suites:?}");
    // Not the program of its unit tests, which has the same name.
    let mut binaries = targets.iter().filter(|message| message["profile"]["test"] == false);
    let operator = binaries.find(|message| message["target"]["name"] == NAME && message["target"]["kind"][0] == "bin");
    let operator = operator.and_then(|message| message["executable"].as_str()).context("cargo built no operator")?;
    Ok((PathBuf::from(operator), suites))
}

/// Ceph's RGW for all tests that want one; nothing, with the reason, where this machine cannot have it.
async fn start_rgw() -> Result<Option<(Rgw, Folder)>> {
    let installed = match cache::ceph().await {
        Ok(installed) => installed,
        Err(reason) => {
            println!("the tests on Ceph's RGW are skipped: {reason:#}");
            return Ok(None);
        }
    };
    let folder = Folder::create("rgw")?;
    Ok(Some((Rgw::start(&installed, folder.path(), Sts::Off).await?, folder)))
}

/// Runs tests, shows what they say, and counts them.
async fn count(command: &mut Command) -> Result<()> {
    told(&[said(command, "").await?])
}

/// Runs tests and shows each line that they say at once, so that the last ones before a hang are seen; how many there were,
/// and how cargo ended. `lane` tells its lines from those that others say meanwhile; the last one says how long it took.
async fn said(command: &mut Command, lane: &str) -> Result<(Count, ExitStatus)> {
    let started = Instant::now();
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut count = Count::default();
    if let Some(stdout) = child.stdout.take() {
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next_line().await? {
            count.add(&line);
            println!("{lane}{line}");
        }
    }
    let status = child.wait().await?;
    let cores = std::thread::available_parallelism()?;
    println!("{lane}ended after {} s, with {cores} cores for all of them", started.elapsed().as_secs());
    Ok((count, status))
}

/// Says how many tests there were.
fn told(all: &[(Count, ExitStatus)]) -> Result<()> {
    let sum = |of: fn(&Count) -> usize| all.iter().map(|(count, _)| of(count)).sum::<usize>();
    let (passed, failed) = (sum(|count| count.passed), sum(|count| count.failed));
    println!("{passed} passed, {failed} failed, {} skipped", sum(|count| count.skipped));
    for (_, status) in all {
        ensure!(status.success() && failed == 0, "cargo test ended with {status}");
    }
    ensure!(passed > 0, "no test ran");
    Ok(())
}

impl Count {
    /// Reads a summary line of libtest.
    fn add(&mut self, line: &str) {
        let Some(summary) = line.strip_prefix("test result: ") else { return };
        for part in summary.split([';', '.']) {
            let mut words = part.split_whitespace();
            let (Some(number), Some(what)) = (words.next().and_then(|word| word.parse::<usize>().ok()), words.next())
            else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use tokio::process::Command;

    use super::{Count, said};

    /// The crates of a package's build, each with the features it is built with.
    fn built(package: &str) -> BTreeMap<String, BTreeSet<String>> {
        let arguments = ["tree", "--locked", "--offline", "--edges", "normal,build", "--prefix", "none", "--no-dedupe"];
        let mut cargo = std::process::Command::new(env!("CARGO"));
        cargo.current_dir(ground::repository()).args(arguments).args(["--format", "{p}|{f}|", "--package", package]);
        let output = cargo.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut crates: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let mut parts = line.split('|').map(ToOwned::to_owned);
            crates.entry(parts.next().unwrap()).or_default().insert(parts.next().unwrap());
        }
        crates
    }

    #[test]
    fn what_is_shared_is_built_once() {
        let (xtask, operator) = (built("xtask"), built("s3-access-operator"));
        let shared: Vec<&String> = xtask.keys().filter(|name| operator.contains_key(*name)).collect();
        assert!(shared.len() > 200, "{} crates are shared", shared.len());
        let twice: Vec<_> = shared
            .into_iter()
            .filter(|name| xtask[*name].is_disjoint(&operator[*name]))
            .map(|name| format!("{name}: {:?} for xtask, {:?} for the operator", xtask[name], operator[name]))
            .collect();
        assert!(twice.is_empty(), "ask for the same features of:\n{}", twice.join("\n"));
    }

    #[tokio::test]
    async fn a_lane_is_counted_as_if_it_were_alone() {
        let lines =
            "printf 'running 2 tests\ntest result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured\n'; exit 3";
        let (count, status) = said(Command::new("sh").args(["-c", lines]), "world| ").await.unwrap();
        assert_eq!((count.passed, count.failed, count.skipped), (1, 1, 0));
        assert_eq!(status.code(), Some(3));
    }

    #[test]
    fn summaries_add_up() {
        let mut count = Count::default();
        count.add("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s");
        count.add("test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.30s");
        count.add("test some::name ... ok");
        assert_eq!((count.passed, count.failed, count.skipped), (7, 2, 1));
    }
}
