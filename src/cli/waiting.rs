//! Who waits for the operator, in which place, and for about how long: an estimate from the objects alone, since the
//! operator writes nothing for it.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use crate::api::{S3AccessClass, S3AccessUser, annotations};
use crate::core::priority::{Priority, Situation};
use crate::core::reads::known::Known;
use crate::core::sessions::is_due_by_status;

/// Calls a second where no class says, and `run` is not told otherwise.
pub(super) const PER_SECOND: u32 = 10;

/// The place of a user in the line of its account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// From 1.
    pub(super) number: usize,
    /// How many wait there.
    pub(super) of: usize,
    /// Calls to AWS until it is done, those for whoever is before it among them.
    calls: u64,
    /// Calls a second.
    per_second: u32,
}

impl Place {
    /// Seconds until it is done, at least one.
    pub(super) fn seconds(&self) -> u64 {
        self.calls.div_ceil(u64::from(self.per_second.max(1))).max(1)
    }

    /// Calls a second.
    pub(super) fn per_second(&self) -> u32 {
        self.per_second
    }
}

/// Namespace and name.
type Name = (String, String);

/// How urgent, since when, and how many calls; in the order in which they are taken.
type Waiter = (Priority, Timestamp, u64, Name);

/// The places of all who wait, as the operator would take them: the more urgent first, then in the order in which they
/// came, as far as that can be told.
pub(super) fn places<'a>(
    users: impl Iterator<Item = &'a S3AccessUser>,
    classes: &[S3AccessClass],
    now: Timestamp,
) -> HashMap<Name, Place> {
    let mut marked = classes.iter().filter(|class| class.is_default());
    let default = marked.next().filter(|_| marked.next().is_none()).map(ResourceExt::name_any);
    let mut lines: BTreeMap<Option<String>, Vec<Waiter>> = BTreeMap::new();
    for user in users {
        if let Some((priority, since)) = waits(user, now) {
            let class = user.spec.class_name.clone().or_else(|| default.clone());
            let name = (user.namespace().unwrap_or_default(), user.name_any());
            lines.entry(class).or_default().push((priority, since, calls(user, priority), name));
        }
    }
    let mut places = HashMap::new();
    for (class, mut line) in lines {
        line.sort();
        let set = classes.iter().find(|found| Some(found.name_any()) == class);
        let per_second = set.and_then(|class| class.spec.requests_per_second).unwrap_or(PER_SECOND);
        let (of, mut before) = (line.len(), 0);
        for (at, (_, _, calls, name)) in line.into_iter().enumerate() {
            before += calls;
            places.insert(name, Place { number: at + 1, of, calls: before, per_second });
        }
    }
    places
}

/// How urgent it is, and since when it waits; `None` where the operator has nothing to do for it.
fn waits(user: &S3AccessUser, now: Timestamp) -> Option<(Priority, Timestamp)> {
    let status = user.status.as_ref();
    let key_made = status.and_then(|status| status.access_key_created_at.as_ref()).map(|Time(at)| *at);
    // What `rotate` writes is the time; other values tell nothing without the Secret.
    let asked = user.annotations().get(annotations::ROTATE).and_then(|value| value.parse::<Timestamp>().ok());
    let asked = asked.zip(key_made).filter(|(asked, made)| asked > made).map(|(asked, _)| asked);
    let situation = Situation {
        generation: user.metadata.generation,
        revokes: Known::default().revokes_urgently(user),
        deleting: user.metadata.deletion_timestamp.is_some(),
        finalized: user.is_finalized(),
        status,
        session_due: is_due_by_status(user, now),
        begun: false,
        failures: 0,
        asks_anew: asked.is_some(),
        secret_changed: false,
    };
    let created = user.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |Time(at)| *at);
    match situation.priority() {
        Priority::Background => {
            let due = status?.next_rotation_at.as_ref().map(|Time(at)| *at)?;
            (due <= now).then_some((Priority::Background, due))
        }
        Priority::Requested => Some((Priority::Requested, asked.unwrap_or(created))),
        priority => Some((priority, created)),
    }
}

/// Calls to AWS that such a user usually takes: a new one is made, another is read first.
fn calls(user: &S3AccessUser, priority: Priority) -> u64 {
    match priority {
        // Two reads, then the key and the record; the new key follows as any other.
        Priority::Revoked => 4,
        // CreateUser, CreatePolicy, AttachUserPolicy, CreateAccessKey, GetCallerIdentity.
        Priority::New => 5,
        // The keys, the session.
        Priority::Expiring => 2,
        // Five reads; then the policy, or each thing that is deleted.
        Priority::Edited if user.metadata.deletion_timestamp.is_some() => 9,
        Priority::Edited => 7,
        // The key and three proofs that it works, then the swap; two reads before each.
        Priority::Begun | Priority::Requested | Priority::Background => 8,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: &str = "2026-01-03T00:00:00Z";

    fn user(name: &str, created: &str, more: &Value) -> S3AccessUser {
        let mut object = json!({
            "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser",
            "metadata": { "name": name, "namespace": "team-a", "generation": 1, "creationTimestamp": created },
            "spec": { "access": [{ "bucket": "team-a-reports", "level": "ReadOnly" }] },
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            object[key] = value.clone();
        }
        serde_json::from_value(object).unwrap()
    }

    fn well(name: &str, next_rotation: &str) -> S3AccessUser {
        let condition = json!({ "type": "Ready", "status": "True", "reason": "Synced", "message": "", "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z" });
        let status = json!({ "status": { "observedGeneration": 1, "conditions": [condition],
            "accessKeyCreatedAt": "2026-01-01T00:00:00Z", "nextRotationAt": next_rotation } });
        user(name, "2026-01-01T00:00:00Z", &status)
    }

    fn class(name: &str, per_second: Option<u32>, default: bool) -> S3AccessClass {
        let annotations = json!({ "s3access.dev/is-default-class": default.to_string() });
        serde_json::from_value(json!({
            "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessClass",
            "metadata": { "name": name, "annotations": annotations },
            "spec": { "allowedBuckets": ["*"], "requestsPerSecond": per_second },
        }))
        .unwrap()
    }

    fn place<'a>(places: &'a HashMap<Name, Place>, name: &str) -> Option<&'a Place> {
        places.get(&("team-a".to_owned(), name.to_owned()))
    }

    #[test]
    fn a_new_user_stands_before_the_rotations_and_behind_those_who_came_earlier() {
        let mut users: Vec<_> = (0..100).map(|number| well(&format!("due-{number}"), "2026-01-02T00:00:00Z")).collect();
        users.push(well("settled", "2026-01-09T00:00:00Z"));
        users.push(user("second", "2026-01-02T12:00:00Z", &json!({})));
        users.push(user("first", "2026-01-02T11:00:00Z", &json!({})));
        let places = places(users.iter(), &[], NOW.parse().unwrap());
        let second = place(&places, "second").unwrap();
        assert_eq!((second.number, second.of, second.seconds(), second.per_second()), (2, 102, 1, 10));
        assert_eq!(place(&places, "settled"), None);
        let last = users[..100].iter().filter_map(|user| place(&places, &user.name_any())).map(Place::seconds).max();
        assert_eq!(last, Some(81), "8 calls each, and 10 for the new ones");
    }

    #[test]
    fn each_class_has_a_line_and_a_rate_of_its_own() {
        let mut users: Vec<_> =
            (0..10).map(|number| user(&format!("u-{number}"), "2026-01-02T00:00:00Z", &json!({}))).collect();
        users[9].spec.class_name = Some("slow".to_owned());
        let classes = [class("main", Some(50), true), class("slow", Some(1), false)];
        let places = places(users.iter(), &classes, NOW.parse().unwrap());
        let slow = place(&places, "u-9").unwrap();
        assert_eq!((slow.number, slow.of, slow.seconds()), (1, 1, 5));
        assert_eq!(place(&places, "u-8").map(|place| (place.number, place.of, place.seconds())), Some((9, 9, 1)));
    }

    #[test]
    fn a_rotation_that_was_asked_for_waits_until_the_key_is_newer() {
        let mut asked = well("asked", "2026-01-09T00:00:00Z");
        asked.annotations_mut().insert(annotations::ROTATE.to_owned(), "2026-01-02T00:00:00Z".to_owned());
        let mut done = well("done", "2026-01-09T00:00:00Z");
        done.annotations_mut().insert(annotations::ROTATE.to_owned(), "2025-12-31T00:00:00Z".to_owned());
        let places = places([&asked, &done].into_iter(), &[], NOW.parse().unwrap());
        assert_eq!(place(&places, "asked").map(|place| place.of), Some(1));
        assert_eq!(place(&places, "done"), None);
    }
}
