//! Whose keys nobody uses, as far as AWS tells: the last report knows nothing of what came after it.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::{Guarded, aligned, span};
use crate::api::{LastUse, S3AccessUserStatus};
use crate::core::ends::unused::unused_since;

const HEADER: [&str; 6] = ["NAMESPACE", "NAME", "KEY", "KEY AGE", "LAST USE TOLD OF", "BY THE REPORT OF"];

/// Days, or what else is a duration.
///
/// # Errors
/// What to write instead.
pub(super) fn duration(text: &str) -> Result<SignedDuration, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<i64>().ok());
    let hours = days.and_then(|days| days.checked_mul(24)).and_then(SignedDuration::try_from_hours);
    let found = hours.or_else(|| text.parse().ok());
    found.filter(SignedDuration::is_positive).ok_or_else(|| "write days or hours, such as 90d or 720h".to_owned())
}

/// The last use that a report tells of, in words.
pub(super) fn last_use(told: &LastUse) -> String {
    let by = format!("by AWS's report of {}", told.reported_at.0);
    match &told.at {
        Some(at) => format!("key last used at {}{}, {by}", at.0, place(told)),
        None => format!("no use of the key since it was made, {by}"),
    }
}

fn place(told: &LastUse) -> String {
    let part =
        |word: &str, text: &Option<String>| text.as_ref().map_or_else(String::new, |text| format!(" {word} {text}"));
    format!("{}{}", part("for", &told.service), part("in", &told.region))
}

/// Of all users, those whose keys were not used for so long; and how many there are of which nobody knows.
pub(super) fn table(users: &[Guarded], limit: SignedDuration, now: Timestamp) -> String {
    let statuses = || users.iter().filter_map(|user| Some((user, user.0.as_ref().ok()?.status.as_ref()?)));
    let keys = || statuses().filter(|(_, status)| status.access_key_id.is_some());
    let unused: Vec<_> = keys().filter(|(_, status)| is_unused(status, limit)).collect();
    let unknown = keys().filter(|(_, status)| status.last_used.is_none()).count();
    let mut text = if unused.is_empty() {
        format!("of no key does AWS tell that it was not used for {limit:#}\n")
    } else {
        aligned(HEADER, unused.iter().map(|(user, status)| row(user, status, now)))
    };
    if unknown > 0 {
        text += &format!(
            "\n{unknown} {} not told of by any report yet: one is read every six hours, unless --report-interval says otherwise\n",
            if unknown == 1 { "key is" } else { "keys are" }
        );
    }
    text
}

fn is_unused(status: &S3AccessUserStatus, limit: SignedDuration) -> bool {
    let created_at = status.access_key_created_at.as_ref();
    status.last_used.as_ref().zip(created_at).is_some_and(|(told, Time(at))| unused_since(told, *at, limit).is_some())
}

fn row(user: &Guarded, status: &S3AccessUserStatus, now: Timestamp) -> [String; 6] {
    let ago = |at: Timestamp| span(now.duration_since(at).as_secs());
    let none = || "-".to_owned();
    let told = status.last_used.as_ref();
    let at = told.and_then(|told| Some(format!("{} ago{}", ago(told.at.as_ref()?.0), place(told))));
    [
        user.namespace().unwrap_or_default(),
        user.name_any(),
        status.access_key_id.clone().unwrap_or_else(none),
        status.access_key_created_at.as_ref().map_or_else(none, |Time(at)| ago(*at)),
        at.unwrap_or_else(|| "none".to_owned()),
        told.map_or_else(none, |told| told.reported_at.0.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn user(name: &str, last_used: Value) -> Guarded {
        let status =
            json!({ "accessKeyId": "AKIA1", "accessKeyCreatedAt": "2026-01-01T00:00:00Z", "lastUsed": last_used });
        let spec = json!({ "access": [{ "bucket": "reports", "level": "ReadOnly" }] });
        let metadata = json!({ "name": name, "namespace": "team-a" });
        let (version, kind) = ("s3access.dev/v1alpha1", "S3AccessUser");
        serde_json::from_value(json!({
            "apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn only_those_are_listed_of_whom_a_report_says_so_and_the_unknown_are_counted() {
        let report = "2026-06-01T00:00:00Z";
        let used = |at: &str| json!({ "at": at, "region": "eu-central-1", "service": "s3", "reportedAt": report });
        let users = [
            user("busy", used("2026-05-30T00:00:00Z")),
            user("idle", used("2026-02-01T00:00:00Z")),
            user("never", json!({ "reportedAt": report })),
            user("unknown", Value::Null),
        ];
        let now = "2026-06-02T00:00:00Z".parse().unwrap();
        let text = table(&users, duration("90d").unwrap(), now);
        assert!(
            text.contains("121d ago for s3 in eu-central-1") && text.contains("never") && text.contains("none"),
            "{text}"
        );
        assert!(
            !text.contains("busy") && !text.contains("unknown  ") && text.contains("\n1 key is not told of"),
            "{text}"
        );
        let text = table(&users[..1], duration("720h").unwrap(), now);
        assert!(text.starts_with("of no key does AWS tell"), "{text}");
    }

    #[test]
    fn days_and_hours_are_durations_and_words_are_none() {
        assert_eq!(duration("90d"), Ok(SignedDuration::from_hours(2_160)));
        assert_eq!(duration("36h"), Ok(SignedDuration::from_hours(36)));
        for text in ["", "d", "-1d", "0h", "soon", "9223372036854775807d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
