//! The documentation says what the code says, and its links lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::Args;
use s3_access_operator::api::{Reason, S3AccessClass, S3AccessUser};
use s3_access_operator::config::RunOptions;
use serde_json::Value;

use crate::samples::check;
use crate::{documents, files, read, root};

/// The code blocks of a Markdown text in that language, unindented.
fn code_blocks(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_start() != format!("```{language}") {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let block = lines.by_ref().take_while(|line| line.trim() != "```");
        blocks.push(block.map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect());
    }
    blocks
}

#[test]
fn troubleshooting_has_an_entry_for_every_reason() {
    let page = read("deploy/docs/troubleshooting.md");
    let entries: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let reasons: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(entries, reasons);
}

/// The flags of `run`: clap's own view of them.
pub fn settings() -> Vec<clap::Arg> {
    let run = RunOptions::augment_args(clap::Command::new("run"));
    run.get_arguments().filter(|argument| argument.get_long().is_some()).cloned().collect()
}

#[test]
fn every_setting_is_explained_with_its_default() {
    let page = read("deploy/docs/operate.md");
    for argument in settings() {
        let flag = argument.get_long().unwrap();
        let variable = argument.get_env().unwrap().to_str().unwrap();
        assert_eq!(variable, format!("S3ACCESS_{}", flag.to_uppercase().replace('-', "_")));
        let defaults: Vec<&str> = argument.get_default_values().iter().map(|value| value.to_str().unwrap()).collect();
        let row = match defaults.as_slice() {
            [] => format!("| `--{flag}` | `{variable}` | "),
            [default] => format!("| `--{flag}` | `{variable}` | `{default}` |"),
            several => panic!("--{flag}: {several:?}"),
        };
        assert!(page.contains(&row), "deploy/docs/operate.md lacks the row {row}");
    }
    let rows = page.lines().filter(|line| line.starts_with("| `--")).count();
    assert_eq!(rows, settings().len(), "deploy/docs/operate.md explains a flag that is gone");
}

/// The README and every page of the documentation, by path.
fn pages() -> Vec<String> {
    let folders = ["deploy/docs", "deploy/iam", "deploy/iam/terraform", "deploy/chart", ".github"]
        .into_iter()
        .flat_map(|folder| files(folder, "md"));
    let relative = folders.map(|path| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned());
    std::iter::once("README.md".to_owned()).chain(relative).collect()
}

#[test]
fn the_yaml_of_the_documentation_is_right() {
    let mut users = 0;
    let mut classes = 0;
    for page in pages() {
        for block in code_blocks(&read(&page), "yaml") {
            let what = format!("{page}:\n{block}");
            for object in documents(&block, &what) {
                match object["kind"].as_str() {
                    Some("S3AccessUser") => {
                        check::<S3AccessUser>(&object, &what);
                        users += 1;
                    }
                    Some("S3AccessClass") => {
                        check::<S3AccessClass>(&object, &what);
                        classes += 1;
                    }
                    _ => {}
                }
            }
        }
    }
    assert!(users >= 4 && classes >= 2, "{users} S3AccessUsers, {classes} S3AccessClasses");
    // The walk-through stands in the guide and in a file: they are one.
    let sample = documents(&read("deploy/samples/walk-through.yaml"), "walk-through.yaml");
    let blocks = code_blocks(&read("deploy/docs/app-guide.md"), "yaml");
    assert_eq!(documents(&blocks[0], "app-guide.md"), sample);
}

/// The headings of a page, as links name them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let kept = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
    headings
        .map(|line| {
            let words: String = line.trim_start_matches('#').trim().to_lowercase().chars().filter(kept).collect();
            words.replace(' ', "-")
        })
        .collect()
}

/// A relative link of the documentation leads to a file, and to a heading where it names one.
#[test]
fn the_links_of_the_documentation_lead_somewhere() {
    let mut links = 0;
    for page in pages() {
        let text = read(&page);
        let folder = root().join(&page).parent().unwrap().to_path_buf();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { root().join(&page) } else { folder.join(file) };
            assert!(target.exists(), "{page}: {link}");
            let found = heading.is_empty() || anchors(&fs::read_to_string(&target).unwrap()).contains(heading);
            assert!(found, "{page}: {link}: no such heading");
            links += 1;
        }
    }
    assert!(links > 60, "{links} links");
}

/// Whoever looks for a page finds it.
#[test]
fn every_page_is_in_the_list_of_pages() {
    let list = read("deploy/docs/README.md");
    for path in files("deploy/docs", "md") {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name == "README.md" || list.contains(&format!("({name})")), "deploy/docs/README.md lacks {name}");
    }
}

/// The picture of the dashboard has the names of its panels, and below them what each asks: one that is older than the dashboard
/// is drawn anew by `cargo xtask pictures`.
#[test]
fn the_picture_of_the_dashboard_shows_every_panel_as_it_asks_today() {
    let picture = read("deploy/docs/pictures/dashboard.svg");
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let dashboard: Value = serde_json::from_str(&read("deploy/dashboards/s3-access-operator.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(picture.contains(&format!(">{}</text>", escaped(title))), "{title}: run `cargo xtask pictures`");
        let targets = panel["targets"].as_array().into_iter().flatten();
        let asked: Vec<&str> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
        let found = asked.is_empty() || picture.contains(&format!("<desc>{}</desc>", escaped(&asked.join("\n"))));
        assert!(found, "{title}: run `cargo xtask pictures`");
    }
    assert_eq!(picture.matches("<g>").count(), panels.len(), "a panel is gone: run `cargo xtask pictures`");
}

/// The names of all functions in the Rust files of a folder.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let names = text.lines().filter_map(|line| line.trim().split("fn ").nth(1)?.split('(').next());
            found.extend(names.map(ToOwned::to_owned));
        }
    }
}

#[test]
fn each_of_the_fields_failures_has_a_test_of_that_name() {
    let mut tests = BTreeSet::new();
    for folder in ["src", "tests", "xtask"] {
        functions(&root().join(folder), &mut tests);
    }
    let text = read("deploy/docs/proofs.md");
    let rows: Vec<&str> = text
        .lines()
        .filter(|line| line.strip_prefix("| ").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())))
        .collect();
    assert_eq!(rows.len(), 20);
    for (number, row) in (1..).zip(&rows) {
        assert!(row.starts_with(&format!("| {number} |")), "{row}");
        let cell = row.rsplit('|').nth(1).unwrap();
        assert!(cell.contains(&format!("rival_{number}_")), "no test carries the number of: {row}");
    }
    let words = text.split('`').skip(1).step_by(2);
    for name in words.filter(|word| ["rival_", "invariant_"].iter().any(|prefix| word.starts_with(prefix))) {
        assert!(tests.contains(name), "there is no test {name}");
    }
}
