//! What a run tells: what differs from the double, one by one, and its record.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use ground::recorder::{Difference, Exchange, Kind, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::cleaning::{Census, counted};
use super::gaps;
use super::site::Site;

const REPORT: &str = "report.json";

/// What a run tells of itself.
pub(crate) struct Told<'a> {
    pub(crate) site: &'a Site,
    pub(crate) path: &'a str,
    pub(crate) calls: usize,
    pub(crate) limit: usize,
    pub(crate) seconds: u64,
    pub(crate) notes: Vec<String>,
    pub(crate) left: Census,
}

/// What a replay has to know of the run.
#[derive(Serialize, Deserialize)]
struct Place {
    server: String,
    partition: String,
    path: String,
}

/// Differences of one kind.
#[derive(Serialize)]
struct Group<'a> {
    #[serde(flatten)]
    first: &'a Difference,
    /// How many there are like it.
    count: usize,
    /// Why it is known to be so, if it is.
    gap: Option<&'static str>,
}

/// Refuses a folder with something in it.
pub(crate) fn is_free(record: &Path) -> Result<()> {
    let empty = !record.exists() || fs::read_dir(record).is_ok_and(|mut entries| entries.next().is_none());
    ensure!(empty, "--record {}: it is there already, and not an empty folder", record.display());
    Ok(())
}

/// Asks the double the same, prints what differs, and writes the record.
pub(crate) async fn tell(told: &Told<'_>, exchanges: &[Exchange], record: Option<&Path>) -> Result<()> {
    let partition = told.site.partition.name();
    let outcome = ground::recorder::replay(exchanges, partition, told.path).await.context("asking the double")?;
    let server = told.site.name();
    let groups = groups(&outcome.differences, &server);
    print(&outcome, &groups, &server);
    told.notes.iter().for_each(|note| println!("  noted: {note}"));
    let Some(record) = record else { return Ok(()) };
    fs::create_dir_all(record)?;
    for exchange in exchanges {
        let name = format!("{:04}-{}.json", exchange.number, exchange.action);
        fs::write(record.join(name), serde_json::to_string_pretty(exchange)? + "\n")?;
    }
    let place = Place { server, partition: partition.to_owned(), path: told.path.to_owned() };
    let report = json!({
        "place": place, "calls": told.calls, "limit": told.limit, "seconds": told.seconds, "notes": told.notes,
        "left": counted(&told.left), "compared": outcome.compared, "late": outcome.late,
        "throttled": outcome.throttled, "unknown": outcome.unknown, "differences": groups,
    });
    fs::write(record.join(REPORT), serde_json::to_string_pretty(&report)? + "\n")?;
    println!("  the record, without secrets: {}", record.display());
    Ok(())
}

/// Holds a record against the double as it is now.
pub(crate) async fn replay(record: &Path) -> Result<()> {
    let read = |name: &Path| fs::read(name).with_context(|| format!("reading {}", name.display()));
    let report: serde_json::Value = serde_json::from_slice(&read(&record.join(REPORT))?)?;
    let place: Place = serde_json::from_value(report["place"].clone()).context("the report names no place")?;
    let mut exchanges: Vec<Exchange> = Vec::new();
    for entry in fs::read_dir(record)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") && !path.ends_with(REPORT) {
            exchanges.push(serde_json::from_slice(&read(&path)?).with_context(|| format!("{}", path.display()))?);
        }
    }
    ensure!(!exchanges.is_empty(), "{} holds no call", record.display());
    exchanges.sort_by_key(|exchange| exchange.number);
    let outcome = ground::recorder::replay(&exchanges, &place.partition, &place.path).await?;
    print(&outcome, &groups(&outcome.differences, &place.server), &place.server);
    Ok(())
}

/// Alike are differences of the same call in the same respect, with the same said on both sides but for names.
fn groups<'a>(differences: &'a [Difference], server: &str) -> Vec<Group<'a>> {
    let mut places: BTreeMap<(&str, Kind, &str, Option<&'static str>, String), usize> = BTreeMap::new();
    let mut groups: Vec<Group<'a>> = Vec::new();
    for first in differences {
        let gap = gaps::of(server, first);
        let said = if first.kind == Kind::Content { String::new() } else { code(&first.server) + &code(&first.double) };
        let key = (first.action.as_str(), first.kind, first.what.as_str(), gap, said);
        let place = *places.entry(key).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.count += 1,
            None => groups.push(Group { first, count: 1, gap }),
        }
    }
    groups
}

/// Status and code, without the message.
fn code(said: &str) -> String {
    said.split(':').next().unwrap_or_default().to_owned()
}

fn print(outcome: &Outcome, groups: &[Group<'_>], server: &str) {
    let Outcome { compared, late, throttled, unknown, differences } = outcome;
    let (known, new): (Vec<_>, Vec<_>) = groups.iter().partition(|group| group.gap.is_some());
    println!(
        "Held against the double: {compared} answers of {server}; {} differences of {} kinds, {} of these known gaps",
        differences.len(),
        groups.len(),
        known.len()
    );
    println!(
        "  not held against it: {throttled} throttled, {unknown} without an answer; {late} were late, and right before"
    );
    for group in new {
        let Group { first, count, .. } = group;
        let more = if *count > 1 { format!(", and {} like it", count - 1) } else { String::new() };
        println!("  DIFFERS: {} (call {}, step {}{more}) {}", first.action, first.number, first.step, first.what);
        println!("    {server}: {}\n    the double: {}", first.server, first.double);
    }
    let mut by_reason: BTreeMap<&str, usize> = BTreeMap::new();
    for group in known {
        *by_reason.entry(group.gap.unwrap_or_default()).or_default() += group.count;
    }
    for (why, count) in by_reason {
        println!("  known gap of {server}: {why} ({count} answers)");
    }
}
