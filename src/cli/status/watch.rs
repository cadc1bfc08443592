//! `status --watch`: the table drawn anew on a terminal; elsewhere a line for each change.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};

use super::{Guarded, HEADER, aligned, problems, row, table};
use crate::cli::{Error, on_one_line};

/// Ages change by the second.
const FRAME: Duration = Duration::from_secs(1);
/// Home, and nothing left of what stood there.
const CLEAR: &str = "\x1b[H\x1b[2J";
/// Of a row, what changes by itself as time goes by.
const AGES: std::ops::RangeInclusive<usize> = 6..=7;

/// Follows the users, or the one of this name, until the process is ended.
///
/// # Errors
/// Where they cannot be listed, or what is printed cannot be written; a watch that breaks later is begun again.
pub(super) async fn run(api: &Api<Guarded>, name: Option<&str>) -> Result<(), Error> {
    let selected = name.map_or_else(watcher::Config::default, |name| {
        watcher::Config::default().fields(&format!("metadata.name={name}"))
    });
    let mut out = std::io::stdout();
    let terminal = out.is_terminal();
    let mut users = Users::default();
    let mut events = pin!(watcher(api.clone(), selected).default_backoff());
    let mut frames = tokio::time::interval(FRAME);
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            _ = frames.tick(), if terminal && users.listed => {
                let now = Timestamp::now();
                let found: Vec<Guarded> = users.by_name.values().cloned().collect();
                write!(out, "{CLEAR}{}{}", table(&found, now), problems(&found))?;
                out.flush()?;
                continue;
            }
        };
        match event {
            None => return Ok(()),
            Some(Ok(event)) => {
                let lines = users.take(event, Timestamp::now());
                if !terminal {
                    write!(out, "{lines}")?;
                    out.flush()?;
                }
            }
            Some(Err(watcher::Error::InitialListFailed(error))) if !users.listed => return Err(error.into()),
            Some(Err(error)) => eprintln!("the watch is begun again: {}", on_one_line(&error.to_string())),
        }
    }
}

/// The users as the watch tells of them.
#[derive(Default)]
struct Users {
    by_name: BTreeMap<(String, String), Guarded>,
    /// Where the watch is begun again, those seen so far.
    listing: BTreeMap<(String, String), Guarded>,
    listed: bool,
    /// The last line of each, but for its ages.
    told: BTreeMap<(String, String), Vec<String>>,
    headed: bool,
}

impl Users {
    /// What is to be printed of it: the lines that changed, below a header the first time.
    fn take(&mut self, event: watcher::Event<Guarded>, now: Timestamp) -> String {
        let name = |user: &Guarded| (user.namespace().unwrap_or_default(), user.name_any());
        match event {
            watcher::Event::Init => self.listing.clear(),
            watcher::Event::InitApply(user) => drop(self.listing.insert(name(&user), user)),
            watcher::Event::InitDone => {
                self.by_name = std::mem::take(&mut self.listing);
                self.listed = true;
            }
            watcher::Event::Apply(user) => drop(self.by_name.insert(name(&user), user)),
            watcher::Event::Delete(user) => drop(self.by_name.remove(&name(&user))),
        }
        if self.listed { self.changes(now) } else { String::new() }
    }

    fn changes(&mut self, now: Timestamp) -> String {
        let mut rows = Vec::new();
        for (name, user) in &self.by_name {
            let cells = row(user, now);
            let lasting: Vec<String> =
                cells.iter().enumerate().filter(|(at, _)| !AGES.contains(at)).map(|(_, cell)| cell.clone()).collect();
            if self.told.get(name) != Some(&lasting) {
                self.told.insert(name.clone(), lasting);
                rows.push(cells);
            }
        }
        let gone: Vec<_> = self.told.keys().filter(|name| !self.by_name.contains_key(*name)).cloned().collect();
        for name in gone {
            self.told.remove(&name);
            let mut cells = HEADER.map(|_| "-".to_owned());
            [cells[0], cells[1], cells[2]] = [name.0, name.1, "Deleted".to_owned()];
            rows.push(cells);
        }
        if rows.is_empty() {
            return String::new();
        }
        let text = aligned(HEADER, rows.into_iter());
        let skipped = if std::mem::replace(&mut self.headed, true) { 1 } else { 0 };
        text.split_inclusive('\n').skip(skipped).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn user(name: &str, ready: &str) -> Guarded {
        let condition = json!({ "type": "Ready", "status": ready, "reason": "Synced", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z" });
        serde_json::from_value(json!({
            "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser",
            "metadata": { "name": name, "namespace": "team-a" },
            "spec": { "access": [{ "bucket": "team-a-reports", "level": "ReadOnly" }] },
            "status": { "conditions": [condition], "accessKeyCreatedAt": "2026-01-01T00:00:00Z" },
        }))
        .unwrap()
    }

    #[test]
    fn a_line_is_printed_for_each_change_and_for_nothing_else() {
        let mut users = Users::default();
        let now: Timestamp = "2026-01-03T00:00:00Z".parse().unwrap();
        let later: Timestamp = "2026-01-09T00:00:00Z".parse().unwrap();
        assert_eq!(users.take(watcher::Event::Init, now), "");
        assert_eq!(users.take(watcher::Event::InitApply(user("reports", "False")), now), "");
        let first = users.take(watcher::Event::InitDone, now);
        let words: Vec<Vec<&str>> = first.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[0][..2], ["NAMESPACE", "NAME"]);
        assert_eq!(words[1][..3], ["team-a", "reports", "False"]);
        assert_eq!(words.len(), 2);

        assert_eq!(users.take(watcher::Event::Apply(user("reports", "False")), later), "", "only its age is another");
        let ready = users.take(watcher::Event::Apply(user("reports", "True")), later);
        assert_eq!(ready.split_whitespace().nth(2), Some("True"), "no header again: {ready}");
        let gone = users.take(watcher::Event::Delete(user("reports", "True")), later);
        assert_eq!(gone.split_whitespace().nth(2), Some("Deleted"));
    }

    #[test]
    fn what_was_deleted_while_the_watch_was_broken_is_told_once() {
        let mut users = Users::default();
        let now = Timestamp::UNIX_EPOCH;
        for event in
            [watcher::Event::Init, watcher::Event::InitApply(user("reports", "True")), watcher::Event::InitDone]
        {
            users.take(event, now);
        }
        assert_eq!(users.take(watcher::Event::Init, now), "");
        assert!(users.take(watcher::Event::InitDone, now).contains("Deleted"));
        assert_eq!(users.take(watcher::Event::Init, now), "");
        assert_eq!(users.take(watcher::Event::InitDone, now), "");
    }
}
