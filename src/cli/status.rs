//! `status`: all S3AccessUsers in one table, and why those that are not Ready are not; or those whose keys nobody uses.

mod unused;
mod watch;

use std::collections::HashMap;
use std::io::Write;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::{Api, Client, ResourceExt};

use super::waiting::{Place, places};
use super::{Error, on_one_line, users};
use crate::api::{ConditionType, S3AccessClass, S3AccessUser};
use crate::kubernetes::client;

/// Objects a page, which bounds the memory that the list takes.
const PAGE: u32 = 500;
const HEADER: [&str; 9] =
    ["NAMESPACE", "NAME", "READY", "REASON", "IAM USER", "KEY", "KEY AGE", "ROTATES IN", "SECRET"];

#[derive(Args, Debug)]
pub(super) struct Options {
    /// Only this S3AccessUser, with all its conditions
    name: Option<String>,
    /// Its namespace [default: the kubeconfig's]
    #[arg(short, long)]
    namespace: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with_all = ["name", "namespace"])]
    all_namespaces: bool,
    /// Only those of whose keys AWS tells of no use for so long, such as 90d or 720h
    #[arg(long, value_name = "DURATION", conflicts_with = "name", value_parser = unused::duration)]
    unused: Option<SignedDuration>,
    /// Show what changes until it is interrupted: the table anew on a terminal, else a line for each change
    #[arg(short, long, conflicts_with = "unused")]
    watch: bool,
}

type Guarded = DeserializeGuard<S3AccessUser>;

pub(super) async fn run(options: &Options) -> Result<(), Error> {
    let client = client().await?;
    let api: Api<Guarded> = if options.all_namespaces {
        Api::all(client.clone())
    } else {
        users(client.clone(), options.namespace.as_deref())
    };
    if options.watch {
        return watch::run(&api, options.name.as_deref()).await;
    }
    let now = Timestamp::now();
    let mut out = std::io::stdout();
    if let Some(name) = &options.name {
        let found = [api.get(name).await?];
        let line = line(&client, &found, now).await;
        write!(out, "{}{}{}", table(&found, now), details(&found), waits(&found, &line))?;
        return Ok(());
    }
    let found = list_all(&api).await?;
    if found.is_empty() {
        writeln!(out, "no S3AccessUser here: `-A` looks in all namespaces")?;
        return Ok(());
    }
    if let Some(limit) = options.unused {
        write!(out, "{}", unused::table(&found, limit, now))?;
        return Ok(());
    }
    let line = line(&client, &found, now).await;
    write!(out, "{}{}{}", table(&found, now), problems(&found), waits(&found, &line))?;
    Ok(())
}

pub(super) async fn list_all<K>(api: &Api<K>) -> kube::Result<Vec<K>>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let mut found = Vec::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let list = api.list(&page).await?;
        found.extend(list.items);
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(found),
        }
    }
}

/// Who waits, of all that may be read: those of other namespaces stand in the same line.
struct Line {
    places: HashMap<(String, String), Place>,
    whole: bool,
}

async fn line(client: &Client, found: &[Guarded], now: Timestamp) -> Line {
    let of = |users: &[Guarded], classes: &[S3AccessClass]| {
        places(users.iter().filter_map(|user| user.0.as_ref().ok()), classes, now)
    };
    let alone = of(found, &[]);
    if alone.is_empty() {
        return Line { places: alone, whole: true };
    }
    let all = list_all(&Api::<Guarded>::all(client.clone())).await;
    // Without them the rates are those of an operator without classes.
    let classes = list_all(&Api::<S3AccessClass>::all(client.clone())).await;
    let whole = all.is_ok() && classes.is_ok();
    Line { places: of(all.as_deref().unwrap_or(found), classes.as_deref().unwrap_or_default()), whole }
}

/// For whom the operator has not had the time yet. Thousands may wait: the first and the last of them say enough.
fn waits(users: &[Guarded], Line { places, whole }: &Line) -> String {
    const SHOWN: usize = 20;
    let mut waiting: Vec<(&Place, String)> = users
        .iter()
        .filter_map(|user| {
            let name = (user.namespace().unwrap_or_default(), user.name_any());
            Some((places.get(&name)?, format!("{}/{}", name.0, name.1)))
        })
        .collect();
    waiting.sort_by_key(|(place, _)| (place.seconds(), place.number));
    let line = |(place, name): &(&Place, String)| {
        let wait = span(i64::try_from(place.seconds()).unwrap_or(i64::MAX));
        let (number, of, rate) = (place.number, place.of, place.per_second());
        format!("{name}: number {number} of {of} in line, done in about {wait} at {rate} calls to AWS a second\n")
    };
    if waiting.is_empty() {
        return String::new();
    }
    let seen = if *whole { "" } else { ", of those that you may list" };
    let lines: String = waiting.iter().take(SHOWN).map(line).collect();
    let last = waiting.get(SHOWN..).and_then(<[_]>::last).map(line);
    format!(
        "\nwaiting (an estimate, from the objects alone{seen}):\n{lines}{}",
        last.map_or_else(String::new, |last| format!("...\n{last}"))
    )
}

fn table(users: &[Guarded], now: Timestamp) -> String {
    aligned(HEADER, users.iter().map(|user| row(user, now)))
}

/// Columns as wide as what is widest in them.
fn aligned<const COLUMNS: usize>(header: [&str; COLUMNS], lines: impl Iterator<Item = [String; COLUMNS]>) -> String {
    let mut rows = vec![header.map(ToOwned::to_owned)];
    rows.extend(lines.map(|line| line.map(|cell| on_one_line(&cell))));
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..COLUMNS).map(|column| width(column).unwrap_or_default()).collect();
    let line = |row: &[String; COLUMNS]| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn row(user: &Guarded, now: Timestamp) -> [String; 9] {
    let (namespace, name) = (user.namespace().unwrap_or_default(), user.name_any());
    let none = || "-".to_owned();
    let Ok(user) = &user.0 else {
        return [
            namespace,
            name,
            "Unknown".to_owned(),
            "InvalidSpec".to_owned(),
            none(),
            none(),
            none(),
            none(),
            none(),
        ];
    };
    let status = user.status.clone().unwrap_or_default();
    let ready = condition(&status.conditions, ConditionType::Ready);
    let text = |value: Option<String>| value.filter(|value| !value.is_empty()).unwrap_or_else(none);
    [
        namespace,
        name,
        ready.map_or_else(|| "Unknown".to_owned(), |ready| ready.status.to_string()),
        ready.map_or_else(none, |ready| ready.reason.to_string()),
        text(status.user_name),
        text(status.access_key_id),
        status.access_key_created_at.map_or_else(none, |Time(at)| span(now.duration_since(at).as_secs())),
        status.next_rotation_at.map_or_else(none, |Time(at)| span(at.duration_since(now).as_secs())),
        text(status.binding.map(|binding| binding.name)),
    ]
}

/// Why those that are not Ready are not, by their own words.
fn problems(users: &[Guarded]) -> String {
    let problem = |user: &Guarded| {
        let message = match &user.0 {
            Err(invalid) => invalid.error.clone(),
            Ok(user) => match condition(&user.status.as_ref()?.conditions, ConditionType::Ready)? {
                ready if ready.status == "True" => return None,
                ready => ready.message.clone(),
            },
        };
        let message = on_one_line(&message);
        Some(format!("\n{}/{}: {message}\n", user.namespace().unwrap_or_default(), user.name_any()))
    };
    users.iter().filter_map(problem).collect()
}

fn details(users: &[Guarded]) -> String {
    let users = users.iter().map(|user| match &user.0 {
        Err(invalid) => format!("\n{}\n", on_one_line(&invalid.error)),
        Ok(user) => {
            let status = user.status.clone().unwrap_or_default();
            let line = |condition: &Condition| {
                let Condition { type_, status, reason, message, .. } = condition;
                format!("{}\n", on_one_line(&format!("{type_}={status} {reason}: {message}")))
            };
            let conditions: String = status.conditions.iter().map(line).collect();
            let retiring =
                status.retiring_key.map(|key| format!("{} retires at {}\n", on_one_line(&key.id), key.retire_at.0));
            let used = status.last_used.map(|told| format!("{}\n", on_one_line(&unused::last_use(&told))));
            format!("\n{conditions}{}{}", retiring.unwrap_or_default(), used.unwrap_or_default())
        }
    });
    users.collect()
}

pub(super) fn condition(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == kind.as_str())
}

/// Seconds as kubectl would write an age; what is past due is `now`.
pub(super) fn span(seconds: i64) -> String {
    match seconds {
        ..1 => "now".to_owned(),
        1..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Guarded, Line, details, places, problems, span, table, waits};

    fn user(name: &str, spec: Value, ready: &str, reason: &str, message: &str) -> Guarded {
        let condition = json!({ "type": "Ready", "status": ready, "reason": reason, "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z" });
        serde_json::from_value(json!({
            "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser",
            "metadata": { "name": name, "namespace": "team-a" }, "spec": spec,
            "status": { "conditions": [condition], "userName": format!("iam-{name}"), "accessKeyId": "AKIA1",
                "accessKeyCreatedAt": "2026-01-01T00:00:00Z", "nextRotationAt": "2026-01-04T12:00:00Z",
                "binding": { "name": format!("{name}-s3") } },
        }))
        .unwrap()
    }

    #[test]
    fn each_user_has_a_line_and_what_is_wrong_its_words() {
        let access = json!({ "access": [{ "bucket": "team-a-reports", "level": "ReadOnly" }] });
        let users = [
            user("reports", access.clone(), "True", "Synced", "all is well"),
            user("taken", access, "False", "ForeignUser", "somebody else's"),
            user("broken", json!({ "access": 7 }), "False", "InvalidSpec", "not seen"),
        ];
        let table = table(&users, "2026-01-03T00:00:00Z".parse().unwrap());
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        let expected = ["team-a", "reports", "True", "Synced", "iam-reports", "AKIA1", "2d", "36h", "reports-s3"];
        assert_eq!(lines[1], expected, "{table}");
        assert_eq!(lines[2][2..4], ["False", "ForeignUser"]);
        assert_eq!(lines[3][1..4], ["broken", "Unknown", "InvalidSpec"]);
        let problems = problems(&users);
        assert!(!problems.contains("all is well"), "{problems}");
        assert!(problems.contains("team-a/taken: somebody else's"), "{problems}");
        assert!(problems.contains("team-a/broken: "), "{problems}");
        assert!(details(&users).contains("Ready=False ForeignUser: somebody else's"));
    }

    #[test]
    fn who_waits_is_told_its_place_and_many_are_told_in_few_words() {
        let access = json!({ "access": [{ "bucket": "team-a-reports", "level": "ReadOnly" }] });
        let mut users: Vec<Guarded> =
            (0..100).map(|number| user(&format!("u-{number:03}"), access.clone(), "True", "Synced", "")).collect();
        let now = "2026-01-03T00:00:00Z".parse().unwrap();
        let line = |users: &[Guarded], whole| {
            let places = places(users.iter().filter_map(|user| user.0.as_ref().ok()), &[], now);
            waits(users, &Line { places, whole })
        };
        assert_eq!(line(&users, true), "", "all is done");
        for user in &mut users {
            user.0.as_mut().unwrap().metadata.generation = Some(1);
        }
        let told = line(&users, true);
        let place = |name, number, wait| {
            format!("{name}: number {number} of 100 in line, done in about {wait} at 10 calls to AWS a second\n")
        };
        assert!(told.contains("estimate") && told.contains(&place("team-a/u-000", 1, "1s")), "{told}");
        assert!(told.ends_with(&format!("...\n{}", place("team-a/u-099", 100, "50s"))), "{told}");
        assert_eq!(told.lines().count(), 24);
        assert!(line(&users, false).contains("of those that you may list"));
    }

    #[test]
    fn spans_are_short() {
        let spans = [-5, 0, 59, 119, 120, 7_199, 7_200, 172_799, 172_800].map(span);
        assert_eq!(spans, ["now", "now", "59s", "119s", "2m", "119m", "2h", "47h", "2d"]);
    }
}
