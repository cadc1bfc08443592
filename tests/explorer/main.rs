//! An exhaustive explorer of the pure core: every order of reconciles, steps, faults, edits, events and time, within stated
//! bounds.
//!
//! The fault suite tries what it is told to, on the operator's own code; this tries *everything* on a small model of the
//! world around [`needed`], [`plan`] and [`teardown`]: one or two operator processes, each with what it knows of the CR
//! (the operator's own [`Known`], changed in the operator's own ways), the copy of the CR that its watch has brought, a
//! picture of the world that may be old, and the steps that it has planned by that picture; IAM with its quota of two keys,
//! a Secret and a CR with their versions and the status; the sweep; and somebody who edits, deletes, suspends and asks for
//! rotations. Budgets bound how much of each may happen, which makes the number of states finite; all of them are visited.
//!
//! A reconcile reads as the controller's does: as little as [`needed`] says, the rest as it was left and as the spec wants
//! it; and more where that does not suffice. So memory that is stale, lost or another process's, a watch that is late, a
//! status that was told before, a drift that a sweep has shown, perhaps of yesterday's inventory, and credential reports that are
//! old or lie come in all orders.
//!
//! In every state:
//! - no step so far was against invariant 3 (a key in the Secret is not revoked, nor replaced by one that was not seen
//!   to work), 4 (no step on a user or a Secret without proof, nor upon what was not read) or 10 (keys first in a deletion);
//! - *recovery*: left alone from here with any of the processes and what it knows, or with a new one that remembers nothing,
//!   the world comes to the one right end (5), which has one key, in the Secret, and no other (2), and a status that says so;
//!   and then nothing is written any more (6). What the watches show is put right within the hour; what only IAM shows within
//!   one interval of drift detection, by the next sweep or the next resync, or within two where a report has put that off; and
//!   what a sweep has shown, without another one.
//!
//! Not here: 1 (the model's keys have no secret half), 7 (its user has no class: that is tried in the attacks and in
//! `core::curtail`), 8 (reads do not fail in the model; stale ones do occur), 9 (there is one CR).
//!
//! [`Known`]: s3_access_operator::core::reads::known::Known
//! [`needed`]: s3_access_operator::core::reads::needed
//! [`plan`]: s3_access_operator::core::plan::plan
//! [`teardown`]: s3_access_operator::core::plan::teardown
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says how much it tried"
)]

mod hands;
mod model;
mod process;
mod reconcile;
mod recovery;
mod resource;
mod world;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::{Explorer, LEVELS, Mistake, describe};
use stateright::{Checker, HasDiscoveries, Model};
use world::Budget;

const NOTHING: Budget = Budget { faults: 0, hands: 0, ticks: 0, intervals: 0, sweeps: 0, reports: 0 };
const HAND: Budget = Budget { hands: 1, ..NOTHING };
const SWEEP: Budget = Budget { hands: 1, sweeps: 1, ..NOTHING };

/// Visits all states, and says how many there were.
fn explore(name: &str, explorer: Explorer) {
    let checker = explorer.checker().threads(2).spawn_bfs().join();
    let mut counterexamples = Vec::new();
    for (property, path) in checker.discoveries() {
        let end = format!("{:?}", path.last_state());
        let steps = path.into_vec().into_iter().filter_map(|(world, event)| Some(describe(&world, &event?)));
        counterexamples.push(format!("{property}\n{}\n{end}", steps.collect::<Vec<_>>().join("\n")));
    }
    assert!(counterexamples.is_empty(), "{name}: {}", counterexamples.join("\n\n"));
    println!(
        "explored {} states to depth {}: {name}: both properties hold",
        checker.unique_state_count(),
        checker.max_depth()
    );
}

#[test]
fn one_process_with_faults_creates_rotates_and_deletes() {
    explore("create, one fault", Explorer::creating(1, Budget { faults: 1, ticks: 2, ..NOTHING }));
    explore("rotate, one fault", Explorer::rotating(1, Budget { faults: 1, ticks: 3, ..NOTHING }));
    explore("delete, two faults", Explorer::deleting(1, Budget { faults: 2, ticks: 2, ..NOTHING }).late());
}

#[test]
fn settled_users_are_edited_by_hand() {
    explore("settled, one edit, with time", Explorer::settled(1, Budget { ticks: 2, ..HAND }));
    explore("settled, one edit, one fault, late", Explorer::settled(1, Budget { faults: 1, ..HAND }).late());
    explore("swept, one edit, one fault", Explorer::settled(1, Budget { faults: 1, ..SWEEP }).swept());
}

#[test]
fn what_a_shortcut_leaves_out_is_found_by_the_sweep_or_the_resync() {
    explore("swept, one edit, an interval", Explorer::settled(1, Budget { intervals: 1, ..SWEEP }).swept().late());
    explore("not swept, one edit, an interval", Explorer::settled(1, Budget { intervals: 1, ..HAND }).late());
    explore("rotate, swept, one edit", Explorer::rotating(1, Budget { ticks: 1, ..SWEEP }).swept());
}

#[test]
fn a_report_that_is_old_or_lies_puts_off_what_it_hides_by_one_interval() {
    let reported = Budget { reports: 1, ticks: 1, ..HAND };
    explore("reported, one edit", Explorer::settled(1, Budget { intervals: 1, ..reported }).swept());
    explore("reported, one edit, not swept", Explorer::settled(1, reported));
    explore("rotate, reported", Explorer::rotating(1, Budget { reports: 1, ticks: 2, ..NOTHING }).swept());
}

#[test]
fn two_processes_create_rotate_and_delete_at_once() {
    explore("two leaders create", Explorer::creating(2, NOTHING));
    explore("two leaders delete", Explorer::deleting(2, Budget { ticks: 1, ..NOTHING }));
    explore("two leaders heal", Explorer::settled(2, HAND));
}

#[test]
#[ignore = "takes minutes: cargo xtask faults"]
fn deeper() {
    explore("settled, two edits", Explorer::settled(1, Budget { hands: 2, ticks: 1, ..NOTHING }));
    explore("create, one edit, late", Explorer::creating(1, Budget { ticks: 1, ..HAND }).late());
    explore("swept, two edits", Explorer::settled(1, Budget { hands: 2, sweeps: 1, intervals: 1, ..NOTHING }).swept());
    explore("create, two faults", Explorer::creating(1, Budget { faults: 2, ticks: 2, ..NOTHING }));
    explore("rotate, two faults", Explorer::rotating(1, Budget { faults: 2, ticks: 3, ..NOTHING }));
    explore("two leaders create", Explorer::creating(2, Budget { ticks: 1, ..NOTHING }));
    explore("two leaders, a CR made anew, late", Explorer::replaced(2, NOTHING));
    explore("two leaders heal, late", Explorer::settled(2, HAND).late());
}

#[test]
fn every_level_of_the_reads_is_taken() {
    let budget = Budget { hands: 1, ticks: 2, intervals: 1, ..NOTHING };
    let explorer = Explorer::rotating(1, budget).swept();
    let taken = explorer.taken.clone();
    explorer.checker().threads(2).target_state_count(2_000).spawn_bfs().join();
    for other in [Explorer::creating(1, NOTHING), Explorer::deleting(1, NOTHING)] {
        Explorer { taken: taken.clone(), ..other }.checker().spawn_bfs().join();
    }
    assert_eq!(taken.load(Ordering::Relaxed), (1 << LEVELS) - 1, "a level is missing");
}

#[test]
fn a_process_that_makes_a_known_mistake_is_found_out() {
    let later = Budget { intervals: 1, ..SWEEP };
    let mut missed = Vec::new();
    for (mistake, explorer) in [
        (Mistake::DeletesBeforeTheSwap, Explorer::rotating(1, Budget { ticks: 4, ..NOTHING })),
        (Mistake::SwapsWithoutAProbe, Explorer::rotating(1, Budget { ticks: 4, ..NOTHING })),
        (Mistake::IgnoresTheUid, Explorer::settled(1, HAND)),
        (Mistake::KeepsOrphans, Explorer::creating(1, Budget { faults: 1, ticks: 2, ..NOTHING })),
        (Mistake::DeletesTheUserFirst, Explorer::deleting(1, Budget { ticks: 1, ..NOTHING })),
        (Mistake::SettledWithoutTheSecret, Explorer::settled(1, HAND)),
        (Mistake::IgnoresSuspicion, Explorer::settled(1, later).swept()),
        (Mistake::ForgetsSuspicionAtTheEnd, Explorer::rotating(1, SWEEP).swept()),
        (Mistake::TrustsAnAbsentSweep, Explorer::settled(1, HAND)),
        (Mistake::TrustsAnyStatus, Explorer::rotating(1, Budget { faults: 1, ..NOTHING })),
        (Mistake::KeepsToTheKeysOfTheSecret, Explorer::settled(1, later).swept()),
        (Mistake::WritesByAssumption, Explorer::settled(1, later).swept()),
        (Mistake::TakesTheUserUnseen, Explorer::replaced(2, NOTHING)),
    ] {
        let checker = Explorer { mistake: Some(mistake), known: Arc::default(), ..explorer }
            .checker()
            .threads(2)
            .finish_when(HasDiscoveries::Any)
            .spawn_bfs()
            .join();
        let found: Vec<_> = checker.discoveries().into_keys().collect();
        println!("{mistake:?}: {found:?} after {} states", checker.unique_state_count());
        missed.extend(found.is_empty().then_some(mistake));
    }
    assert!(missed.is_empty(), "not found out: {missed:?}");
}
