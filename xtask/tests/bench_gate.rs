//! The gate: five hundred users, created, at rest, restarted, swept, some rotated, and deleted, and what they may cost; beside them,
//! AWS's alarm is listened for and sessions are renewed. A change that adds one call of IAM or one write to Kubernetes for each user
//! fails it, and so does one that makes each user take much more memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it measured"
)]

use std::time::Duration;

use ground::bench::account::Account;
use ground::bench::floor::{Phase, PolicyKind};
use ground::bench::gate::{judge, slope_kib};
use ground::bench::subject::Kind;
use ground::bench::{Pace, Run, Setup};
use ground::stand::Stand;

const USERS: usize = 500;
/// Those that come first: what they take more than nobody is no user's, but the program's.
const FIRST: usize = 100;
/// Those whose key is rotated, which takes longer than all the rest.
const ROTATED: usize = 50;
/// Those with sessions, which come beside the others.
const SESSIONS: usize = 20;

#[tokio::test]
async fn five_hundred_users_cost_no_more_than_their_budget() {
    let pace = Pace {
        idle: Duration::from_secs(3),
        sweep: Duration::from_secs(8),
        overlap: Duration::from_secs(2),
        patience: Duration::from_secs(60),
    };
    let setup = Setup {
        kind: Kind::Operator,
        users: USERS,
        policy: PolicyKind::Inline,
        namespace: format!("gate-{:05x}", std::process::id()),
        alone: false,
        pace,
    };
    let accounts = vec![Account::here(1, USERS).await.unwrap(), Account::here(2, USERS).await.unwrap()];
    let mut run = Run::prepare(setup, Stand::attach().unwrap(), accounts).await.unwrap();
    let slope = run.create_in_two_steps(FIRST).await.unwrap();
    run.rest(None).await.unwrap();
    run.start_again().await.unwrap();
    run.sweep().await.unwrap();
    run.rotate(ROTATED).await.unwrap();
    run.listen().await.unwrap();
    run.renew(SESSIONS).await.unwrap();
    run.delete().await.unwrap();

    let figures = run.figures();
    for (phase, figures) in &figures.phases {
        println!("{}: {:?} {:?}", phase.name(), figures.iam_calls, figures.kubernetes_requests);
    }
    println!("memory: {slope:.1} KiB a user, {:.1} MiB at rest", figures.rss_steady_mib);
    let mut failures = judge(figures);
    let bound = slope_kib(!cfg!(debug_assertions));
    if slope > bound {
        failures.push(format!("{slope:.1} KiB of memory a user; the budget is {bound}"));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(figures.phases.contains_key(&Phase::Delete));
}
