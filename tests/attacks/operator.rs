//! An attacker with the operator's own credentials, against the strict double under each of the shipped IAM policies.
//!
//! [`moves`] lists what was tried. A move leads out where it changes anything outside the operator's path, or yields a key
//! that may do anything beyond S3. `cargo test --test attacks operator -- --nocapture` prints each move and its end.

mod account;
mod calls;
mod moves;

use std::collections::BTreeSet;

use account::{Attacker, End, Variant};

/// The moves that lead out under a variant, by name; every move's end is printed.
fn ways_out(variant: Variant) -> Vec<&'static str> {
    let moves = moves::all();
    let mut out = Vec::new();
    for one in &moves {
        let end = Attacker::play(variant, one);
        println!("| {} | {variant:?} | {end:?} |", one.what);
        if let End::Out(_) = end {
            out.push(one.what);
        }
    }
    println!("{variant:?}: {} moves, {} lead out", moves.len(), out.len());
    out
}

/// The moves that the README owns up to.
fn known() -> BTreeSet<String> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/iam/README.md")).unwrap();
    let rows = readme.lines().filter(|line| line.ends_with("| leads out | stopped |"));
    rows.map(|row| row.split('|').nth(1).unwrap().trim().to_owned()).collect()
}

#[test]
fn no_move_with_the_operators_credentials_leads_out_of_the_bounded_policy() {
    assert_eq!(ways_out(Variant::Bounded), Vec::<&str>::new());
}

/// IAM cannot look into a document, so rights can be written onto users under the path: that, and nothing else.
#[test]
fn the_moves_that_lead_out_of_the_default_policy_are_those_of_the_readme() {
    let out: BTreeSet<String> = ways_out(Variant::Default).into_iter().map(ToOwned::to_owned).collect();
    assert_eq!(out, known());
    assert!(!out.is_empty());
}

/// Beside the default policy, for a time: it adds no way out.
#[test]
fn the_migration_and_the_leftovers_add_the_ways_out_that_the_readme_tells() {
    let out = |variant| -> BTreeSet<String> { ways_out(variant).into_iter().map(ToOwned::to_owned).collect() };
    assert_eq!(out(Variant::WithMigration), known());
    let more: Vec<String> = out(Variant::WithLeftovers).difference(&known()).cloned().collect();
    assert_eq!(
        more,
        ["delete somebody's device that is assigned to nobody", "take somebody out of a group that denies"]
    );
}

/// What IAM refuses for its form, or what stays under the path even where all is allowed.
const HARMLESS: &[&str] = &[
    "read what a user of ours may",
    "delete a user of ours",
    "a policy ARN with the path in it twice",
    "give a user of ours everything within the boundary, made with it",
    "a user at a path that climbs: /s3access/../",
    "a user name with the path in it",
];

/// The moves are real and the judge sees them: with an administrator's policy all but a few lead out.
#[test]
fn with_an_administrators_policy_the_moves_lead_out() {
    let out = ways_out(Variant::Administrator);
    let stopped: Vec<&str> = moves::all().iter().map(|one| one.what).filter(|what| !out.contains(what)).collect();
    assert_eq!(stopped, HARMLESS);
}

/// The policy that was shipped before could tag what it liked.
#[test]
fn the_policy_of_before_led_out_by_tags() {
    let out = ways_out(Variant::Before);
    for what in [
        "tag an administrator, then mint a key",
        "tag a stranger's policy, then write a new version",
        "tag our own policy, then write a new version",
        "rename somebody",
    ] {
        assert!(out.contains(&what), "{what}");
    }
}

/// What the README asks for, beside the bounded policy: without it, there are ways out.
#[test]
fn the_bounded_policy_needs_all_users_of_the_path_bounded() {
    for one in moves::preconditions() {
        let end = Attacker::play(Variant::Bounded, &one);
        assert!(matches!(end, End::Out(_)), "{}: {end:?}", one.what);
    }
}

#[test]
fn many_different_moves_are_tried() {
    let names: BTreeSet<&str> = moves::all().iter().map(|one| one.what).collect();
    assert_eq!(names.len(), moves::all().len(), "a name stands twice");
    assert!(names.len() >= 80, "{} moves", names.len());
}
