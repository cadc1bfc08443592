//! The documentation says what the code says, and its links lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::Args;
use ground::snippets::{self, How};
use s3_access_operator::api::{Reason, S3AccessClass, S3AccessUser};
use s3_access_operator::config::RunOptions;
use serde_json::Value;

use crate::samples::check;
use crate::{documents, files, read, root};

const CHINESE: &str = "deploy/docs/zh-CN";

/// The code blocks of a Markdown text in that language.
fn code_blocks(text: &str, language: &str) -> Vec<String> {
    let blocks = snippets::blocks(text).into_iter().filter(|(_, found, _)| found == language);
    blocks.map(|(_, _, text)| text).collect()
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

/// The README and every page of the documentation, by path; those in Chinese, too.
fn pages() -> Vec<String> {
    let chinese = files(CHINESE, "md").into_iter();
    let chinese = chinese.map(|path| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned());
    snippets::pages().unwrap().into_iter().chain(chinese).collect()
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
            if link.contains("://") {
                continue;
            }
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

/// The bucket of which pages and samples speak, so that one reads on where another left off.
const BUCKET: &str = "team-a-reports";
/// What else is called after a team, and why.
const OTHER_NAMES: [(&str, &str); 9] = [
    ("team-b-reports", "another team's bucket, which is refused"),
    ("team-a-other", "a bucket that the key of the quickstart may not make"),
    ("team-a-b", "a namespace whose name begins alike"),
    ("team-a-b-data", "that namespace's bucket, which team-a would have by its name"),
    ("team-a-source", "one S3AccessUser with a level for each of four buckets"),
    ("team-a-inbox", "the same"),
    ("team-a-work", "the same"),
    ("team-a-lake", "the same"),
    ("team-a-buckets", "a managed policy, and no bucket"),
];

#[test]
fn the_documentation_has_one_bucket_unless_another_has_a_reason() {
    let samples = files("deploy/samples", "yaml").into_iter();
    let samples = samples.map(|path| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned());
    let mut seen = BTreeSet::new();
    for file in pages().into_iter().chain(samples) {
        let text = read(&file);
        let words = text
            .split(|c: char| !c.is_ascii_alphanumeric() && !"-.*".contains(c))
            .map(|word| word.trim_end_matches(['.', '-']));
        let of_a_team = |word: &&str| {
            let rest = word.strip_prefix("team-").and_then(|rest| rest.get(1..));
            rest.is_some_and(|rest| rest.len() > 1 && rest.starts_with(['-', '.']) && !rest.contains('*'))
        };
        for word in words.filter(of_a_team).filter(|word| *word != BUCKET) {
            assert!(OTHER_NAMES.iter().any(|(name, _)| *name == word), "{file}: {word} where {BUCKET} would do");
            seen.insert(word.to_owned());
        }
        for object in yaml_of(&file, &text).iter().filter(|object| object["kind"] == "S3AccessUser") {
            let meta = &object["metadata"];
            for grant in object["spec"]["access"].as_array().into_iter().flatten() {
                let bucket = grant["bucket"].as_str().unwrap();
                let known = bucket == BUCKET || OTHER_NAMES.iter().any(|(name, _)| *name == bucket);
                assert!(known, "{file}: {} has the bucket {bucket}", meta["name"]);
            }
        }
    }
    assert_eq!(seen.len(), OTHER_NAMES.len(), "some of the other names are gone: {seen:?}");
}

/// The objects of a sample, or of the blocks of a page.
fn yaml_of(file: &str, text: &str) -> Vec<Value> {
    if file.ends_with(".yaml") {
        return documents(text, file);
    }
    code_blocks(text, "yaml").iter().flat_map(|block| documents(block, file)).collect()
}

/// Each block of code is run, or it is said why not; and a test that is named is there.
#[test]
fn every_snippet_says_what_the_tests_make_of_it() {
    let tests = all_tests();
    let all = snippets::all().unwrap_or_else(|error| panic!("{error:#}"));
    for snippet in all.iter().filter(|snippet| snippet.how == How::Test) {
        assert!(
            tests.contains(&snippet.what),
            "{} {}: there is no test {}",
            snippet.page,
            snippet.heading,
            snippet.what
        );
    }
    let run = all.iter().filter(|snippet| snippet.how != How::Not).count();
    println!("{} of {} blocks are run", run, all.len());
    assert!(run >= 80, "{run}");
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

/// The names of all tests in the Rust files of a folder: of functions that are marked as one, and those in a list of trials.
fn tests_in(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_in(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.extend(tests_of(&fs::read_to_string(&path).unwrap()));
        }
    }
}

fn tests_of(text: &str) -> Vec<String> {
    let (mut marked, mut listed, mut found) = (false, false, Vec::new());
    for line in text.lines().map(str::trim) {
        let name = line.split_once("fn ").filter(|(before, _)| ["", "pub ", "async ", "pub async "].contains(before));
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            marked = true;
        } else if let Some((_, name)) = name {
            found.extend(name.split('(').next().filter(|_| marked).map(ToOwned::to_owned));
            marked = false;
        } else if line.ends_with("trials![") || line == "];" {
            listed = line != "];";
        } else if let Some((_, name)) = line.split_once("::").filter(|_| listed) {
            found.push(name.trim_end_matches(',').to_owned());
        }
    }
    found
}

fn all_tests() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    ["src", "tests", "xtask"].iter().for_each(|folder| tests_in(&root().join(folder), &mut tests));
    tests
}

#[test]
fn a_test_is_told_from_a_function_beside_it() {
    let text = "#[tokio::test(flavor = \"multi_thread\")]\nasync fn one() {}\nfn helper() {}\nproptest! {\n    #[test]\n    \
        fn two(x in any::<u8>()) {}\n}\nlet trials = trials![\n    module::three,\n];\nmodule::four,\n";
    assert_eq!(tests_of(text), ["one", "two", "three"]);
}

#[test]
fn each_of_the_fields_failures_has_a_test_of_that_name() {
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
}

#[test]
fn each_test_that_the_proofs_name_is_one() {
    let (tests, text) = (all_tests(), read("deploy/docs/proofs.md"));
    let is_name = |word: &&str| {
        let snake = word.chars().all(|c| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit());
        word.len() >= 15 && word.contains('_') && snake
    };
    let named: Vec<&str> = text.split('`').skip(1).step_by(2).filter(is_name).collect();
    assert!(named.len() > 100, "{} names", named.len());
    let missing: Vec<_> = named.into_iter().filter(|name| !tests.contains(*name)).collect();
    assert!(missing.is_empty(), "there is no test of that name: {missing:#?}");
}

/// A page in Chinese, and its original.
const TRANSLATIONS: [(&str, &str); 2] = [("README.md", "README.md"), ("walk-through.md", "deploy/docs/app-guide.md")];

/// The levels of the headings of a page, and its blocks of code.
fn skeleton(text: &str) -> (Vec<usize>, Vec<(String, String)>) {
    let mut is_code = false;
    let lines = text.lines().filter(|line| {
        is_code ^= line.trim_start().starts_with("```");
        !is_code && line.starts_with('#')
    });
    let levels = lines.map(|line| line.chars().take_while(|c| *c == '#').count()).collect();
    let blocks = snippets::blocks(text).into_iter();
    (levels, blocks.map(|(_, language, text)| (language, text)).collect())
}

/// The Chinese pages have the headings, the commands and the samples of the pages that they translate.
/// The region in an example may be one of China's.
#[test]
fn the_chinese_pages_are_in_step() {
    for (chinese, original) in TRANSLATIONS {
        let mut wanted = skeleton(&part(original));
        let mut found = skeleton(&read(Path::new(CHINESE).join(chinese)));
        let update = format!("{CHINESE}/{chinese}: take over what has changed in {original}");
        assert_eq!(found.0, wanted.0, "{update}: the levels of its headings");
        for blocks in [&mut found.1, &mut wanted.1] {
            for (_, text) in blocks {
                *text = without_comments(text).replace("cn-north-1", "eu-central-1");
            }
        }
        for (found, wanted) in found.1.iter().zip(&wanted.1) {
            assert_eq!(found, wanted, "{update}: a block of code");
        }
        assert_eq!(found.1.len(), wanted.1.len(), "{update}: the number of its blocks");
    }
}

/// The whole README; of the app guide, what is about the walk-through.
fn part(original: &str) -> String {
    let text = read(original);
    match text.split_once("\n## Least access instead") {
        Some((walk_through, _)) => walk_through.to_owned(),
        None => text,
    }
}

/// Commands and samples without what is said beside them, which a translation translates.
fn without_comments(text: &str) -> String {
    let lines = text.lines().map(|line| line.split(" #").next().unwrap_or_default().trim_end());
    lines.collect::<Vec<_>>().join("\n")
}
