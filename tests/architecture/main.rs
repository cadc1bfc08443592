//! The rules of the house, read off its source: which module may import which, and how much a reader meets at once.
//!
//! What may be imported is said once, in the table of `src/lib.rs`. Tests are left out, and a module is of one room with
//! those that it is made of. Each rule has a small tree beside it that breaks it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, and clippy's own exception for tests does not reach their helpers"
)]

mod tree;

use std::collections::{BTreeMap, BTreeSet};

use tree::{Module, Reading, Tree, imports};

/// A folder with more files is no longer taken in at a glance.
const FILES_IN_A_FOLDER: usize = 17;
const LINES_IN_A_FILE: usize = 500;
/// Without the receiver.
const PARAMETERS: usize = 5;

type Needs = fn(&[String]) -> bool;
/// What is broken, in words.
type Rule = fn(&Tree) -> Vec<String>;

/// What the table names beside modules, and the paths that need it.
const BEYOND: [(&str, Needs); 4] = [
    ("the AWS SDK", |path| path[0].starts_with("aws_")),
    ("kube's client", |path| match path[0].as_str() {
        "kube" => path.get(1).is_some_and(|next| {
            ["Api", "Client", "Config", "api", "client", "config", "discovery", "runtime"].contains(&next.as_str())
        }),
        first => first == "kube_lease_manager",
    }),
    ("tokio", |path| path[0].starts_with("tokio")),
    ("a clock", |path| path.len() > 1 && path.last().is_some_and(|last| last == "now")),
];

/// Modules that import each other, by whatever way round.
fn circles(tree: &Tree) -> Vec<String> {
    let imports = imports(&tree.modules());
    let reached = |from: &Module| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(module) = next.pop() {
            next.extend(imports[module].iter().filter(|target| seen.insert((*target).clone())));
        }
        seen
    };
    let reaches: BTreeMap<&Module, BTreeSet<Module>> = imports.keys().map(|module| (module, reached(module))).collect();
    let circle = |module: &Module| {
        let back = reaches[module].iter().filter(|other| reaches[other].contains(module));
        back.map(|other| other.join("::")).collect::<Vec<_>>().join(", ")
    };
    let found: BTreeSet<String> = imports.keys().map(circle).filter(|circle| !circle.is_empty()).collect();
    found.into_iter().map(|circle| format!("import each other: {circle}")).collect()
}

/// What is imported although the table of `lib.rs` does not say so.
fn strangers(tree: &Tree) -> Vec<String> {
    let mut above: BTreeSet<String> = BTreeSet::new();
    let mut may: BTreeMap<String, (BTreeSet<String>, &str)> = BTreeMap::new();
    for row in tree.0["lib.rs"].lines().filter_map(|line| line.strip_prefix("//! | [`")) {
        let [name, _, imports, ..] = row.split('|').collect::<Vec<_>>()[..] else { panic!("no row: {row}") };
        let name = name.trim_end().trim_end_matches("`]").to_owned();
        let named = imports.split('`').skip(1).step_by(2).map(ToOwned::to_owned);
        may.insert(
            name.clone(),
            (if imports.contains("all above") { above.clone() } else { named.collect() }, imports),
        );
        above.insert(name);
    }
    let mut found = BTreeSet::new();
    let modules = tree.modules();
    for (module, targets) in imports(&modules) {
        let Some(top) = module.first() else { continue };
        let Some((named, words)) = may.get(top) else {
            found.insert(format!("{top} is not in the table"));
            continue;
        };
        let elsewhere = targets.iter().map(|target| &target[0]).filter(|target| *target != top);
        let inside = elsewhere.filter(|target| !named.contains(*target)).cloned();
        let paths = &modules[&module].paths;
        let beyond =
            BEYOND.iter().filter(|(name, needs)| !words.contains(name) && paths.iter().any(|path| needs(path)));
        let beyond = beyond.map(|(name, _)| (*name).to_owned());
        found.extend(inside.chain(beyond).map(|what| format!("{} imports {what}", module.join("::"))));
    }
    found.into_iter().collect()
}

fn wide(tree: &Tree) -> Vec<String> {
    let named = |(module, reading): (Module, Reading)| {
        let wide = reading.functions.into_iter().filter(|(_, parameters)| *parameters > PARAMETERS);
        wide.map(move |(name, parameters)| format!("{}::{name} takes {parameters} parameters", module.join("::")))
    };
    tree.modules().into_iter().flat_map(named).collect()
}

fn long(tree: &Tree) -> Vec<String> {
    let lines = tree.0.iter().map(|(file, text)| (file, text.lines().count()));
    lines
        .filter(|(_, lines)| *lines > LINES_IN_A_FILE)
        .map(|(file, lines)| format!("{file} has {lines} lines"))
        .collect()
}

fn crowded(tree: &Tree) -> Vec<String> {
    let mut folders: BTreeMap<&str, usize> = BTreeMap::new();
    for file in tree.0.keys().filter(|file| !file.ends_with("tests.rs")) {
        *folders.entry(file.rsplit_once('/').map_or("", |(folder, _)| folder)).or_default() += 1;
    }
    let crowded = folders.into_iter().filter(|(_, files)| *files > FILES_IN_A_FOLDER);
    crowded.map(|(folder, files)| format!("src/{folder} has {files} files")).collect()
}

/// Each rule, with a small tree that breaks it, and what is said of that.
fn rules() -> [(Rule, Tree, &'static [&'static str]); 5] {
    const TABLE: &str =
        "//! | [`api`] | names | nothing |\n//! | [`core`] | rules | `api` |\n//! | [`cli`] | | all above; tokio |";
    let lines = "\n".repeat(LINES_IN_A_FILE + 1);
    let files = (0..=FILES_IN_A_FOLDER).map(|number| format!("core/file{number}.rs"));
    [
        (
            circles,
            Tree::of(&[
                ("core/mod.rs", "mod plan; mod key; mod names; use key::Key;"),
                ("core/plan.rs", "fn plan() { debug!(\"{}\", super::names::of()) }"),
                ("core/names.rs", "use super::{key::{Key, Held as H}, Plan};"),
                ("core/key.rs", "pub(crate) use crate::core::plan;"),
                ("core/alone.rs", "#[cfg(test)] mod tests { use super::super::user; } use super::key::Key;"),
                ("core/user.rs", "use super::alone;"),
            ]),
            &["import each other: core::key, core::names, core::plan"],
        ),
        (
            strangers,
            Tree::of(&[
                ("lib.rs", TABLE),
                ("api.rs", "fn of() -> crate::core::Plan { todo!() }"),
                ("core/mod.rs", "use crate::api::Name; use kube::{ResourceExt, Api}; fn now() { Timestamp::now(); }"),
                ("core/mod/tests.rs", "use tokio::time;"),
                ("cli.rs", "use crate::{api, core}; use tokio::time; use aws_sdk_iam::Client;"),
                ("metrics.rs", ""),
            ]),
            &[
                "api imports core",
                "cli imports the AWS SDK",
                "core imports a clock",
                "core imports kube's client",
                "metrics is not in the table",
            ],
        ),
        (
            wide,
            Tree::of(&[(
                "core.rs",
                "impl Key { fn five<'a, F: Fn(A, B) -> C>(&'a self, a: F, b: (A, B), c: Map<K, V>, d: [u8; 2], e: E,) {} fn six(mut a: A, b: B, c: C, d: D, e: E, f: F); }",
            )]),
            &["core::six takes 6 parameters"],
        ),
        (long, Tree::of(&[("lib.rs", &lines), ("api.rs", &lines[1..])]), &["lib.rs has 501 lines"]),
        (
            crowded,
            Tree(
                files
                    .chain(["lib.rs".to_owned(), "core/tests.rs".to_owned()])
                    .map(|file| (file, String::new()))
                    .collect(),
            ),
            &["src/core has 18 files"],
        ),
    ]
}

#[test]
fn each_rule_can_be_broken() {
    for (rule, tree, expected) in rules() {
        assert_eq!(rule(&tree), expected);
    }
}

#[test]
fn the_house_keeps_its_rules() {
    let broken: Vec<String> = rules().iter().flat_map(|(rule, ..)| rule(&Tree::ours())).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
