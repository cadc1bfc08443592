//! One suite of what AWS does, tried on every server that stands in for it.
//!
//! The double has to pass it all. The others have a list of known gaps, each with its reason: a gap that is not listed
//! fails the suite, and so does a listed one that has closed. `MOTO_SERVER` and `VERSITYGW` name the others' programs.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says how much it tried"
)]

mod cases;
mod details;
mod documents;
mod gaps;
mod inline;
mod keys;
mod leftovers;
mod policies;
#[path = "../double/raw.rs"]
mod raw;
mod recorded;
mod reports;
mod servers;
mod target;
mod users;

use std::collections::BTreeMap;

use cases::Case;
use gaps::Gap;
use ground::double::{Config, DoubleServer};
use servers::Server;
use target::Target;

fn all() -> impl Iterator<Item = &'static Case> {
    let people = [users::CASES, keys::CASES, leftovers::CASES];
    let policies = [policies::CASES, documents::CASES, inline::CASES];
    people.into_iter().chain(policies).chain([details::CASES, reports::CASES]).flatten()
}

/// Runs every case, and gives the reasons of those that failed.
async fn failures(target: &Target) -> BTreeMap<&'static str, String> {
    let mut failures = BTreeMap::new();
    for case in all() {
        if let Err(error) = (case.run)(target).await {
            failures.insert(case.name, format!("{error:#}"));
        }
    }
    failures
}

/// What is not as it is known to be: failures that are not listed, and listed ones that pass.
fn surprises(failures: &BTreeMap<&str, String>, known: &[Gap]) -> Vec<String> {
    let listed: BTreeMap<&str, &str> = cases_of(known).collect();
    let new = failures.iter().filter(|(name, _)| !listed.contains_key(*name));
    let closed = listed.iter().filter(|(name, _)| !failures.contains_key(*name));
    new.map(|(name, why)| format!("{name}: {why}"))
        .chain(closed.map(|(name, why)| format!("{name}: passes, and is listed as a gap: {why}")))
        .collect()
}

/// Each case of the gaps with its reason.
fn cases_of(gaps: &[Gap]) -> impl Iterator<Item = (&'static str, &'static str)> {
    gaps.iter().flat_map(|gap| gap.cases.iter().map(|case| (*case, gap.why)))
}

/// Tries every case on a server.
async fn check(server: &str, target: &Target, known: &[Gap]) {
    let surprises = surprises(&failures(target).await, known);
    assert!(surprises.is_empty(), "{server}: {} surprises:\n{}", surprises.len(), surprises.join("\n"));
    println!("{server}: {} cases, {} of them known gaps", all().count(), cases_of(known).count());
}

#[test]
fn a_new_gap_and_a_closed_one_are_surprises() {
    let known = [Gap { why: "reasons", cases: &["still_open", "closed"] }];
    let failed = [("still_open", "as ever".to_owned()), ("new", "oh".to_owned())].into();
    assert_eq!(surprises(&failed, &known), ["new: oh", "closed: passes, and is listed as a gap: reasons"]);
}

#[test]
fn cases_have_names_of_their_own_and_gaps_name_cases() {
    let mut names: Vec<&str> = all().map(|case| case.name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
    for (case, _) in cases_of(gaps::OF_MOTO).chain(cases_of(gaps::OF_VERSITYGW)) {
        assert!(names.binary_search(&case).is_ok(), "{case}");
    }
}

#[tokio::test]
async fn the_double_conforms() {
    let double = DoubleServer::start(Config::default()).await.expect("a port");
    let admin = double.admin();
    let target = Target::new(double.endpoint(), double.region(), &admin.access_key_id, &admin.secret_access_key);
    check("double", &target, &[]).await;
}

/// Compares a server with its list of gaps, where the machine has the server.
async fn conforms_but_for(server: &str, started: anyhow::Result<Option<Server>>, known: &[Gap]) {
    match started.expect(server) {
        Some(running) => check(server, &running.target, known).await,
        None => println!("{server}: skipped, as its environment variable names no program"),
    }
}

#[tokio::test]
async fn moto_conforms_but_for_its_known_gaps() {
    conforms_but_for("moto", servers::moto().await, gaps::OF_MOTO).await;
}

#[tokio::test]
async fn versitygw_conforms_but_for_its_known_gaps() {
    conforms_but_for("versitygw", servers::versitygw().await, gaps::OF_VERSITYGW).await;
}
