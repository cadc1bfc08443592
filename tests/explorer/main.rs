//! An exhaustive explorer of the pure core: every order of looks, steps, faults, edits and time, within stated bounds.
//!
//! The fault suite tries what it is told to, on the operator's own code; this tries *everything* on a small model of the
//! world around [`plan`] and [`teardown`]: one or two operator processes, each with a picture of the world that may be
//! old, the steps that it has planned by that picture, and what it remembers; IAM with its quota of two keys, a Secret
//! and a CR with their versions; and somebody who edits, deletes, suspends and asks for rotations. Budgets bound how
//! much of each may happen, which makes the number of states finite; all of them are visited.
//!
//! In every state:
//! - no step so far was against invariant 3 (a key in the Secret is not revoked, nor replaced by one that was not seen
//!   to work), 4 (no step on a user or a Secret without proof) or 10 (keys first in a deletion);
//! - *recovery*: left alone from here, with a new process that remembers nothing, the world comes to the one right end
//!   (5), which has one key, in the Secret, and no other (2); and then nothing is planned any more (6).
//!
//! Not here: 1 (the core has no secret half of any key), 7 (its user has no class: that is tried in the attacks and in `core::curtail`), 8 (reads do not fail in the model;
//! stale ones do occur), 9 (there is one CR).
//!
//! [`plan`]: s3_access_operator::core::plan::plan
//! [`teardown`]: s3_access_operator::core::plan::teardown
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says how much it tried"
)]

mod model;
mod world;

use std::sync::Arc;

use model::{Explorer, Mistake, describe};
use stateright::{Checker, Model};
use world::Budget;

const NOTHING: Budget = Budget { faults: 0, hands: 0, ticks: 0 };

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
    explore("create, two faults", Explorer::creating(1, Budget { faults: 2, ticks: 3, ..NOTHING }));
    explore("create, one fault, one edit", Explorer::creating(1, Budget { faults: 1, hands: 1, ticks: 2 }));
    explore("rotate, two faults", Explorer::rotating(1, Budget { faults: 2, ticks: 4, ..NOTHING }));
    explore("rotate, one fault, one edit", Explorer::rotating(1, Budget { faults: 1, hands: 1, ticks: 2 }));
    explore("delete, two faults", Explorer::deleting(1, Budget { faults: 2, ticks: 2, ..NOTHING }));
}

#[test]
fn settled_users_are_edited_by_hand() {
    explore("settled, two edits", Explorer::settled(1, Budget { hands: 2, ticks: 2, ..NOTHING }));
    explore("settled, one edit, one fault", Explorer::settled(1, Budget { faults: 1, hands: 1, ticks: 2 }));
}

#[test]
fn two_processes_create_rotate_and_delete_at_once() {
    explore("two leaders create", Explorer::creating(2, Budget { ticks: 2, ..NOTHING }));
    explore("two leaders delete", Explorer::deleting(2, Budget { ticks: 1, ..NOTHING }));
    explore("two leaders heal", Explorer::settled(2, Budget { hands: 1, ..NOTHING }));
}

#[test]
#[ignore = "takes minutes: cargo xtask faults"]
fn deeper() {
    explore("rotate, one fault, one edit", Explorer::rotating(1, Budget { faults: 1, hands: 1, ticks: 3 }));
    explore("create, three faults", Explorer::creating(1, Budget { faults: 3, ticks: 4, ..NOTHING }));
    explore("rotate, three faults", Explorer::rotating(1, Budget { faults: 3, ticks: 5, ..NOTHING }));
    explore("two leaders create, one fault", Explorer::creating(2, Budget { faults: 1, ticks: 2, ..NOTHING }));
    explore("two leaders rotate", Explorer::rotating(2, Budget { ticks: 4, ..NOTHING }));
    explore("two leaders heal, with time", Explorer::settled(2, Budget { hands: 1, ticks: 1, ..NOTHING }));
}

#[test]
fn a_process_that_makes_a_known_mistake_is_found_out() {
    for (mistake, explorer) in [
        (Mistake::DeletesBeforeTheSwap, Explorer::rotating(1, Budget { ticks: 4, ..NOTHING })),
        (Mistake::SwapsWithoutAProbe, Explorer::rotating(1, Budget { ticks: 4, ..NOTHING })),
        (Mistake::IgnoresTheUid, Explorer::settled(1, Budget { hands: 1, ticks: 2, ..NOTHING })),
        (Mistake::KeepsOrphans, Explorer::creating(1, Budget { faults: 1, ticks: 2, ..NOTHING })),
        (Mistake::DeletesTheUserFirst, Explorer::deleting(1, Budget { ticks: 1, ..NOTHING })),
    ] {
        let checker = Explorer { mistake: Some(mistake), known: Arc::default(), ..explorer }
            .checker()
            .threads(2)
            .spawn_bfs()
            .join();
        let found: Vec<_> = checker.discoveries().into_keys().collect();
        println!("{mistake:?}: {found:?} after {} states", checker.unique_state_count());
        assert!(!found.is_empty(), "{mistake:?} was not found out");
    }
}
