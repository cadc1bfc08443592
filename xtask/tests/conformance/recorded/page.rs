//! The table of the recorded answers in `deploy/docs/testing.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use ground::repository;

use super::fact::{Fact, Verdict};

const FILE: &str = "deploy/docs/testing.md";
const BEGIN: &str = "<!-- recorded answers: UPDATE_DOCS=1 cargo test -p xtask --test conformance recorded -->\n";
const END: &str = "<!-- end of the recorded answers -->\n";

/// What a row of the table is about.
fn group(fact: &Fact) -> &'static str {
    let call = fact.call.as_str();
    match call {
        _ if fact.when.starts_with("document") => "policy documents",
        _ if call.contains("AccessKey") => "access keys",
        _ if call.contains("Policy") || call.contains("Policies") => "policies and boundaries",
        "AssumeRole" | "GetCallerIdentity" => "STS",
        "GetAccountAuthorizationDetails" => "the account's details",
        _ if call.ends_with("User") || call.contains("UserTags") || call == "ListUsers" => "users and tags",
        _ => "what people hang on users",
    }
}

fn table(verdicts: &[(Fact, Verdict)]) -> String {
    let mut rows: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for (fact, verdict) in verdicts {
        let column = ["equal", "other words", "other content", "another code"];
        let column = column.iter().position(|kind| *kind == verdict.kind()).unwrap_or_default();
        rows.entry(group(fact)).or_default()[column] += 1;
    }
    let mut text = "| answers about | recorded | equal | other words | other content | another code |\n\
                    |---|---|---|---|---|---|\n"
        .to_owned();
    let mut all = [0; 4];
    for (name, row) in &rows {
        write_row(&mut text, name, *row);
        all.iter_mut().zip(row).for_each(|(sum, number)| *sum += number);
    }
    write_row(&mut text, "**all**", all);
    text += "\nDifferences that stay:\n\n";
    for (fact, _) in verdicts {
        if let Some(differs) = &fact.differs {
            let _ = writeln!(text, "- {}, {}: {}.", fact.call, fact.when, differs.why);
        }
    }
    text
}

fn write_row(text: &mut String, name: &str, row: [usize; 4]) {
    let sum: usize = row.iter().sum();
    let [equal, words, content, code] = row;
    let _ = writeln!(text, "| {name} | {sum} | {equal} | {words} | {content} | {code} |");
}

/// Holds the page against what was found; with `UPDATE_DOCS` set, writes it.
pub fn check(verdicts: &[(Fact, Verdict)]) {
    let path = repository().join(FILE);
    let page = fs::read_to_string(&path).expect(FILE);
    let (head, rest) = page.split_once(BEGIN).expect("the table's begin");
    let (found, tail) = rest.split_once(END).expect("the table's end");
    let table = table(verdicts);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{head}{BEGIN}{table}{END}{tail}")).expect(FILE);
    } else {
        assert_eq!(found, table, "{FILE} has another table: see the comment above it");
    }
}
