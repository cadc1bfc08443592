//! `site`: the documentation as a site, by mdBook, of the same Markdown files that are read in the repository.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use ground::{cache, repository};
use tokio::process::Command;

/// What is no page of its own is linked to where the repository is published, in this version.
const HOME: &str = env!("CARGO_PKG_REPOSITORY");
const VERSION: &str = env!("CARGO_PKG_VERSION");
const DOCS: &str = "deploy/docs";
/// How mdBook is to make it.
const BOOK: &str = "deploy/docs/book";
const NAME: &str = "s3-access-operator";
/// Pages outside `deploy/docs`, and where they are on the site.
const OTHERS: [(&str, &str); 5] = [
    ("README.md", "index.md"),
    ("deploy/iam/README.md", "iam.md"),
    ("deploy/chart/README.md", "chart.md"),
    (".github/CONTRIBUTING.md", "contributing.md"),
    (".github/SECURITY.md", "reporting.md"),
];

#[derive(Args)]
pub(crate) struct Options {
    /// Where the site goes [default: target/site]
    #[arg(long)]
    to: Option<PathBuf>,
}

/// Builds it, and sees that each of its links leads somewhere.
pub(crate) async fn run(options: Options) -> Result<()> {
    let to = options.to.unwrap_or_else(|| repository().join("target/site"));
    let mdbook = cache::mdbook().await?.join("mdbook");
    let sources = to.join("sources");
    if sources.is_dir() {
        fs::remove_dir_all(&sources)?;
    }
    Sources::gather()?.write(&sources)?;
    let html = to.join("html");
    let mut command = Command::new(mdbook);
    command.arg("build").arg(&sources).arg("--dest-dir").arg(&html);
    let status = command.status().await?;
    ensure!(status.success(), "mdbook ended with {status}");
    let (pages, links) = check(&html)?;
    println!("{pages} pages, {links} links: {}", html.join("index.html").display());
    Ok(())
}

/// The pages by their paths in the repository, and their paths on the site.
struct Sources(BTreeMap<String, String>);

impl Sources {
    fn gather() -> Result<Self> {
        let mut pages: BTreeMap<String, String> = OTHERS.map(|(file, page)| (file.to_owned(), page.to_owned())).into();
        for language in ["", "zh-CN/"] {
            for entry in fs::read_dir(repository().join(DOCS).join(language))? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                if name.ends_with(".md") {
                    let page = match (name.as_str(), language) {
                        ("README.md", "") => "pages.md".to_owned(),
                        ("README.md", _) => format!("{language}index.md"),
                        _ => format!("{language}{name}"),
                    };
                    pages.insert(format!("{DOCS}/{language}{name}"), page);
                }
            }
        }
        Ok(Self(pages))
    }

    fn write(&self, to: &Path) -> Result<()> {
        let source = to.join("src");
        for (file, page) in &self.0 {
            let text = fs::read_to_string(repository().join(file)).with_context(|| format!("reading {file}"))?;
            let (text, pictures) = self.moved(file, page, &text)?;
            let path = source.join(page);
            let folder = path.parent().context("a page lies in a folder")?;
            fs::create_dir_all(folder)?;
            for (from, name) in pictures {
                let picture = folder.join(&name);
                fs::create_dir_all(picture.parent().context("a picture lies in a folder")?)?;
                fs::copy(repository().join(from), picture)?;
            }
            fs::write(path, text)?;
        }
        fs::write(source.join("SUMMARY.md"), self.summary()?)?;
        for entry in fs::read_dir(repository().join(BOOK))? {
            let entry = entry?;
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
        Ok(())
    }

    /// The text with its links as they are from the page's place on the site, and the pictures that it shows: where they
    /// lie, and their path from the page.
    fn moved(&self, file: &str, page: &str, text: &str) -> Result<(String, Vec<(String, String)>)> {
        let (mut moved, mut pictures) = (String::new(), Vec::new());
        let mut is_code = false;
        for line in text.split_inclusive('\n') {
            is_code ^= line.trim_start().starts_with("```");
            let mut rest = line;
            while let Some((before, after)) = rest.split_once("](").filter(|_| !is_code) {
                let (link, after) = after.split_once(')').with_context(|| format!("{file}: {line}"))?;
                moved.push_str(before);
                moved.push_str("](");
                let is_picture = before.rfind('[').is_some_and(|at| before[..at].ends_with('!'));
                if is_picture {
                    pictures.push((resolved(file, link), link.to_owned()));
                    moved.push_str(link);
                } else {
                    moved.push_str(&self.link(file, page, link)?);
                }
                moved.push(')');
                rest = after;
            }
            moved.push_str(rest);
        }
        Ok((moved, pictures))
    }

    fn link(&self, file: &str, page: &str, link: &str) -> Result<String> {
        if link.contains("://") || link.starts_with('#') {
            return Ok(link.to_owned());
        }
        let (path, heading) = link.split_once('#').map_or((link, String::new()), |(path, at)| (path, format!("#{at}")));
        let target = resolved(file, path);
        if let Some(found) = self.0.get(&target) {
            let up = "../".repeat(page.matches('/').count());
            return Ok(format!("{up}{found}{heading}"));
        }
        let kind = match fs::metadata(repository().join(&target)) {
            Ok(found) if found.is_dir() => "tree",
            Ok(_) => "blob",
            Err(_) => bail!("{file}: {link} leads nowhere"),
        };
        Ok(format!("{HOME}/{kind}/v{VERSION}/{target}{heading}"))
    }

    /// The table of contents: in the order of the list of pages, and under its headings.
    fn summary(&self) -> Result<String> {
        let mut summary = format!("# Summary\n\n[{NAME}](index.md)\n[All pages](pages.md)\n");
        let mut listed = BTreeSet::from([OTHERS[0].1.to_owned(), "pages.md".to_owned()]);
        let list = fs::read_to_string(repository().join(DOCS).join("README.md"))?;
        for line in list.lines() {
            if let Some(part) = line.strip_prefix("## ") {
                write!(summary, "\n# {part}\n\n")?;
            }
            let link = line.strip_prefix("| [").and_then(|rest| rest.split_once(')')?.0.split_once("]("));
            if let Some((title, link)) = link {
                let target = resolved(&format!("{DOCS}/README.md"), link);
                let page = self.0.get(&target).with_context(|| format!("{target} is no page"))?;
                listed.insert(page.clone());
                writeln!(summary, "- [{title}]({page})")?;
            }
        }
        let left: Vec<_> = self.0.values().filter(|page| !listed.contains(*page)).collect();
        ensure!(left.is_empty(), "{DOCS}/README.md does not list {left:?}");
        Ok(summary)
    }
}

/// The path in the repository that a link of a file means.
fn resolved(file: &str, link: &str) -> String {
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in link.trim_end_matches('/').split('/') {
        match part {
            ".." => drop(parts.pop()),
            "" | "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Holds every link of the made pages against the made files and their anchors; how many pages and links there are.
fn check(html: &Path) -> Result<(usize, usize)> {
    let (mut pages, mut folders) = (BTreeMap::new(), vec![html.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "html") {
                pages.insert(path.strip_prefix(html)?.to_string_lossy().into_owned(), fs::read_to_string(&path)?);
            }
        }
    }
    let mut links = 0;
    // Made for every address that is not there, and with links from the site's root.
    for (page, text) in pages.iter().filter(|(page, _)| *page != "404.html") {
        for link in attributes(text, "href").chain(attributes(text, "src")) {
            if link.contains(':') {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { page.clone() } else { resolved(page, path) };
            ensure!(html.join(&target).is_file(), "{page}: {link} leads nowhere");
            if let (false, Some(there)) = (heading.is_empty(), pages.get(&target)) {
                ensure!(attributes(there, "id").any(|id| id == heading), "{page}: {link}: no such heading");
            }
            links += 1;
        }
    }
    Ok((pages.len(), links))
}

/// The values of an attribute in a page.
fn attributes<'a>(text: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    text.split(&format!(" {name}=\""))
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('"')?.0))
        .collect::<Vec<_>>()
        .into_iter()
}

#[cfg(test)]
mod tests {
    use super::{HOME, Sources, VERSION, resolved};

    #[test]
    fn a_link_goes_to_the_page_on_the_site_or_to_the_repository() {
        let sources = Sources::gather().unwrap();
        let link = |file: &str, page: &str, link: &str| sources.link(file, page, link).unwrap();
        assert_eq!(link("README.md", "index.md", "deploy/docs/alerts.md#x"), "alerts.md#x");
        assert_eq!(link("deploy/docs/zh-CN/README.md", "zh-CN/index.md", "../alerts.md"), "../alerts.md");
        assert_eq!(link("deploy/docs/alerts.md", "alerts.md", "../../README.md"), "index.md");
        let there = format!("{HOME}/blob/v{VERSION}/deploy/samples/demo.yaml");
        assert_eq!(link("deploy/docs/alerts.md", "alerts.md", "../samples/demo.yaml"), there);
        assert!(sources.link("README.md", "index.md", "nowhere.yaml").is_err());
        assert_eq!(resolved("a/b/c.md", "../d/"), "a/d");
    }

    #[test]
    fn what_stands_in_code_is_no_link() {
        let text = "see [a](deploy/docs/alerts.md)\n```sh\nx[1](deploy/docs/alerts.md)\n```\n";
        let (moved, _) = Sources::gather().unwrap().moved("README.md", "index.md", text).unwrap();
        assert_eq!(moved, text.replacen("deploy/docs/alerts.md", "alerts.md", 1));
    }
}
