//! The fault suite: what happens to S3AccessUsers in their lives, with a fault at every effect.
//!
//! An effect is a call to IAM or STS, or a request to Kubernetes; all of them pass one [`boundary`]. Each scenario of
//! [`scenarios`] is run once without a fault, and then again for each of its effects and each of five faults: a crash
//! before it, a crash after it, a lost response, an error, an error after it took place. Then the operator is left alone,
//! and the world must end as it did without the fault: same users, policies, Secrets and conditions, one key, which works
//! and is in the Secret, and no write any more. Beside single faults there are pairs of them, two operators that both
//! take themselves for the leader and are interleaved effect by effect, and an account in which everything happens that
//! AWS warns of.
//!
//! Meanwhile [`judge`] looks at each write before it takes effect, and holds it against the invariants.
//!
//! It is the operator's own code from `reconcile` down, over the strict double of AWS and a cluster in this process, on
//! a clock that nobody waits for: a run takes milliseconds. [`real`] repeats a sample on a real API server.
//!
//! `cargo xtask faults` runs it at full length; what fails is printed with the command that runs it again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says how much it tried"
)]

mod boundary;
mod class_scenarios;
mod classes;
mod cloud;
mod cluster;
mod ending_scenarios;
mod hostile_objects;
mod judge;
mod mistakes;
mod outside;
mod own_key;
mod quarantine_scenarios;
mod real;
mod restarts;
mod revocation_scenarios;
mod scenarios;
mod session_scenarios;
mod simulation;
mod snapshot;
mod suite;
mod table;
mod term_scenarios;
mod unused_scenarios;
mod window_scenarios;
mod withdrawal_scenarios;

use std::env;

use ground::stand::Stand;
use suite::Reference;
use table::{Effort, Table};

/// The operator's own: a quarter of the suite's time goes into memory otherwise, half of that with it.
#[cfg(all(feature = "jemalloc", target_os = "linux"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A number of the environment, by which `cargo xtask faults` says how much to do.
fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn run(effort: Effort) {
    let table = Table::of(&scenarios::all(), effort);
    println!("{table}");
    assert!(table.failures.is_empty(), "{} runs failed:\n\n{}", table.failures.len(), table.failures.join("\n\n"));
}

/// What all runs under faults are held against is held against what somebody has read and found right.
#[test]
fn each_scenario_ends_as_written_down() {
    let ends: Vec<String> = scenarios::all().into_iter().map(|scenario| Reference::of(scenario).told()).collect();
    insta::assert_snapshot!("ends", ends.join("\n"));
}

#[test]
fn invariant_5_a_fault_at_any_effect_leads_to_the_same_end() {
    // Mutation tests take fewer, since they run for each mutant.
    let stride = usize::try_from(number("FAULTS_STRIDE", 1)).unwrap();
    let seeds = number("FAULTS_SEEDS", 4);
    let stop = number("FAULTS_STOP", 0) > 0;
    if stop {
        scenarios::all().into_iter().for_each(|scenario| drop(Reference::of(scenario)));
    }
    run(Effort { stride, pairs: seeds, races: seeds, hostile: seeds, seed: 1, stop });
}

#[test]
#[ignore = "takes minutes: cargo xtask faults"]
fn the_whole_suite() {
    run(Effort {
        stride: 1,
        pairs: number("FAULTS_PAIRS", 100),
        races: number("FAULTS_RACES", 100),
        hostile: number("FAULTS_HOSTILE", 50),
        seed: number("FAULTS_SEED", 1),
        stop: false,
    });
}

/// On a real API server, so many plans of each scenario.
async fn run_real(plans: u64, seed: u64) {
    let stand = Stand::attach().unwrap();
    let mut count = 0;
    let mut failures = Vec::new();
    for scenario in real::ALL {
        let verdicts = real::sample(&stand, scenario, usize::try_from(plans).unwrap(), seed).await.unwrap();
        count += verdicts.len();
        let good = verdicts.iter().filter(|(_, verdict)| verdict.is_good()).count();
        println!("real API server, {}: {good}/{} plans converged", scenario.name, verdicts.len());
        let bad = verdicts.into_iter().filter(|(_, verdict)| !verdict.is_good());
        failures.extend(bad.map(|(plan, verdict)| format!("{} {plan}: {verdict:?}", scenario.name)));
    }
    println!("real API server: {count} plans run, {} converged", count - failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[tokio::test]
async fn invariant_5_the_same_goes_for_a_real_api_server() {
    run_real(2, 1).await;
}

#[tokio::test]
#[ignore = "takes minutes: cargo xtask faults"]
async fn the_sample_on_a_real_api_server() {
    run_real(number("FAULTS_REAL", 10), number("FAULTS_SEED", 1)).await;
}

/// `FAULTS_SCENARIO` and one of `FAULTS_PLAN`, `FAULTS_TWO_LEADERS`, `FAULTS_HOSTILE_SEED`: one run, with its effects.
#[test]
#[ignore = "runs one failure again: cargo xtask faults --scenario"]
fn one_run() {
    let name = env::var("FAULTS_SCENARIO").unwrap();
    let scenario =
        scenarios::all().into_iter().find(|scenario| scenario.name == name).expect("a scenario of that name");
    let reference = Reference::of(scenario);
    for (number, effect) in reference.effects.iter().enumerate() {
        println!("{number:>3} {effect}");
    }
    let verdict = if let Ok(seed) = env::var("FAULTS_TWO_LEADERS") {
        reference.race(seed.parse().unwrap())
    } else if let Ok(seed) = env::var("FAULTS_HOSTILE_SEED") {
        reference.hostile(seed.parse().unwrap())
    } else {
        reference.run(&env::var("FAULTS_PLAN").unwrap_or_default().parse().unwrap())
    };
    assert!(verdict.is_good(), "{} lost, {} stranded\n{}", verdict.lost, verdict.stranded, verdict.problems.join("\n"));
}
