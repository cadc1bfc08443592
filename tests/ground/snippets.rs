//! The code blocks of the documentation, each with what the tests make of it: `tests/deploy/snippets.tsv` is the list.

use std::fs;

use anyhow::{Context, Result, bail, ensure};

use crate::repository;

const LIST: &str = "tests/deploy/snippets.tsv";
/// Where there are pages; those in Chinese have the blocks of their originals.
const FOLDERS: [&str; 4] = ["deploy/docs", "deploy/iam", "deploy/chart", ".github"];

/// What becomes of a code block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Its objects, or the part of one that it shows, are applied; they become Ready, and their Secrets are used.
    Ready,
    /// A consumer's own part: the names and keys in it are those of the Secret of the block above it.
    Consumer,
    /// Values of the chart, on their own or in the object of a tool: helm renders them.
    Values,
    /// Commands that are run.
    Shell,
    /// Commands of helm, which are run in a cluster of their own.
    Helm,
    /// A policy, or a statement of one, which IAM takes.
    Policy,
    /// Another test, by its name, runs or reads it.
    Test,
    /// It is not run, for a reason.
    Not,
}

/// A code block.
#[derive(Clone, Debug)]
pub struct Snippet {
    /// Its page, from the repository's root.
    pub page: String,
    /// The heading under which it stands.
    pub heading: String,
    /// Such as `yaml`.
    pub language: String,
    /// Its lines, unindented.
    pub text: String,
    /// What becomes of it.
    pub how: How,
    /// The name of the test, the reason, or nothing.
    pub what: String,
}

impl Snippet {
    /// The commands of a block of shell: those behind a prompt, where there are prompts.
    #[must_use]
    pub fn commands(&self) -> String {
        if self.language != "console" {
            return self.text.clone();
        }
        self.text.lines().filter_map(|line| line.strip_prefix("$ ")).map(|line| format!("{line}\n")).collect()
    }
}

/// The README and every page, by their paths from the root.
///
/// # Errors
/// Where a folder cannot be read.
pub fn pages() -> Result<Vec<String>> {
    let mut pages = vec!["README.md".to_owned()];
    for folder in FOLDERS {
        let mut found = Vec::new();
        for entry in fs::read_dir(repository().join(folder)).with_context(|| format!("reading {folder}"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.ends_with(".md") {
                found.push(format!("{folder}/{name}"));
            }
        }
        found.sort();
        pages.extend(found);
    }
    Ok(pages)
}

/// The code blocks of a page: heading, language and text.
#[must_use]
pub fn blocks(page: &str) -> Vec<(String, String, String)> {
    let (mut blocks, mut heading) = (Vec::new(), String::new());
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            let indent = line.len() - line.trim_start().len();
            let block = lines.by_ref().take_while(|line| line.trim() != "```");
            let text = block.map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect();
            blocks.push((heading.clone(), language.to_owned(), text));
        } else if line.starts_with('#') {
            line.trim_start_matches('#').trim().clone_into(&mut heading);
        }
    }
    blocks
}

/// Every code block, with what becomes of it.
///
/// # Errors
/// Where the list and the pages differ: a new block has to choose.
pub fn all() -> Result<Vec<Snippet>> {
    let list = fs::read_to_string(repository().join(LIST)).with_context(|| format!("reading {LIST}"))?;
    let mut rows = list.lines().filter(|line| !line.starts_with('#'));
    let mut found = Vec::new();
    for page in pages()? {
        for (heading, language, text) in blocks(&fs::read_to_string(repository().join(&page))?) {
            let wanted = format!("{page}\t{heading}\t{language}\t");
            let row = rows.next().unwrap_or_default();
            let Some((how, what)) = row.strip_prefix(&wanted).and_then(|rest| rest.split_once('\t')) else {
                bail!("{LIST} has, as row {} of its blocks:\n{row}\nwhere {page} has:\n{wanted}?\t?", found.len() + 1);
            };
            let how = match how {
                "ready" => How::Ready,
                "consumer" => How::Consumer,
                "values" => How::Values,
                "shell" => How::Shell,
                "helm" => How::Helm,
                "policy" => How::Policy,
                "test" => How::Test,
                "not" => How::Not,
                other => bail!("{LIST}: {other} is no word for what becomes of a block"),
            };
            let what = what.to_owned();
            ensure!(
                what.is_empty() != matches!(how, How::Test | How::Not),
                "{LIST}: {row}: no test or reason, or one too many"
            );
            found.push(Snippet { page: page.clone(), heading, language, text, how, what });
        }
    }
    let left: Vec<&str> = rows.collect();
    ensure!(left.is_empty(), "{LIST} has rows of blocks that are gone:\n{}", left.join("\n"));
    Ok(found)
}

/// Those of which that becomes.
///
/// # Errors
/// As of [`all`].
pub fn of(how: How) -> Result<Vec<Snippet>> {
    Ok(all()?.into_iter().filter(|snippet| snippet.how == how).collect())
}
