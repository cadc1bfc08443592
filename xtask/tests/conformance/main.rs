//! One suite of what AWS does, tried on every server that stands in for it.
//!
//! The double has to pass it all. The others have a list of known gaps, each with its reason: a gap that is not listed
//! fails the suite, and so does a listed one that has closed.
#![allow(
    clippy::expect_used,
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
mod moto;
mod policies;
mod target;
mod users;

use std::collections::BTreeMap;

use cases::Case;
use ground::double::{Config, DoubleServer};
use target::Target;

fn all() -> impl Iterator<Item = &'static Case> {
    [
        users::CASES,
        keys::CASES,
        policies::CASES,
        documents::CASES,
        inline::CASES,
        leftovers::CASES,
        details::CASES,
    ]
    .into_iter()
    .flatten()
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

/// Compares what failed with what is known to.
fn check(server: &str, failures: &BTreeMap<&str, String>, known: &[(&str, &str)]) {
    let is_known = |name: &str| known.iter().any(|(gap, _)| *gap == name);
    let new = failures
        .iter()
        .filter(|(name, _)| !is_known(name))
        .map(|(name, why)| format!("{name}: {why}"));
    let closed = known.iter().filter(|(gap, _)| !failures.contains_key(gap));
    let closed = closed.map(|(gap, _)| format!("{gap}: listed as a gap of {server}, and passes"));
    let wrong: Vec<String> = new.chain(closed).collect();
    assert!(
        wrong.is_empty(),
        "{server}: {} of {} cases:\n{}",
        wrong.len(),
        all().count(),
        wrong.join("\n")
    );
    println!("{server}: {} cases, {} known gaps", all().count(), known.len());
}

#[test]
fn cases_have_names_of_their_own_and_gaps_name_cases() {
    let mut names: Vec<&str> = all().map(|case| case.name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
    for (gap, why) in gaps::OF_MOTO {
        assert!(names.binary_search(gap).is_ok() && !why.is_empty(), "{gap}");
    }
}

#[tokio::test]
async fn the_double_conforms() {
    let double = DoubleServer::start(Config::default()).await.expect("a port");
    let admin = double.admin();
    let target = Target::new(
        double.endpoint(),
        double.region(),
        &admin.access_key_id,
        &admin.secret_access_key,
    );
    check("double", &failures(&target).await, &[]);
}

#[tokio::test]
async fn moto_conforms_but_for_its_known_gaps() {
    let Some(moto) = moto::Moto::start().await.expect("moto") else {
        println!("moto: skipped, as MOTO_SERVER names no program");
        return;
    };
    check("moto", &failures(&moto.target).await, gaps::OF_MOTO);
}
