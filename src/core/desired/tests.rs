#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};

use super::*;
use crate::core::observed::User;

fn user(extra: Value) -> S3AccessUser {
    let mut spec = json!({ "access": [{ "bucket": "reports", "level": "ReadOnly" }] });
    for (key, value) in extra.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let mut user = S3AccessUser::new("reports", serde_json::from_value(spec).unwrap());
    user.metadata.namespace = Some("team-a".to_owned());
    user.metadata.uid = Some("uid".to_owned());
    user
}

fn desired(extra: Value) -> Result<Desired, Refusal> {
    let account = Account { id: "123456789012".to_owned(), partition: "aws".to_owned() };
    let cluster = Cluster { id: "id".to_owned(), name: "prod".to_owned() };
    Desired::of(&user(extra), &account, &cluster, &Class::none())
}

fn refused(extra: Value) -> (Reason, String) {
    let refusal = desired(extra).unwrap_err();
    (refusal.reason, refusal.message)
}

#[test]
fn what_cannot_be_carried_out_is_refused_with_what_to_change() {
    for (extra, reason, hint) in [
        (json!({ "access": [] }), Reason::InvalidPolicy, "nothing is granted"),
        (json!({ "tags": { "s3access.dev/uid": "x" } }), Reason::InvalidSpec, "reserved prefix"),
        (json!({ "tags": { "S3Access.dev/UID": "x" } }), Reason::InvalidSpec, "reserved prefix"),
        (json!({ "tags": { "aws:x": "x" } }), Reason::InvalidSpec, "reserved prefix"),
        (json!({ "managedPolicyArns": ["arn:aws:s3:::bucket"] }), Reason::InvalidPolicy, "managedPolicyArns[0]"),
        (
            json!({ "managedPolicyArns": ["arn:aws-cn:iam::aws:policy/AmazonS3ReadOnlyAccess"] }),
            Reason::PartitionMismatch,
            "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess",
        ),
        (
            json!({ "permissionsBoundaryArn": "arn:aws:iam::999999999999:policy/theirs" }),
            Reason::AccountMismatch,
            "permissionsBoundaryArn",
        ),
        (
            json!({ "accessKey": { "rotation": { "interval": "24h" } } }),
            Reason::InvalidSpec,
            "interval must be longer than overlap",
        ),
        (
            json!({ "accessKey": { "rotation": { "interval": "0s", "overlap": "0s" } } }),
            Reason::InvalidSpec,
            "interval must be longer than overlap",
        ),
    ] {
        let (found, message) = refused(extra.clone());
        assert_eq!(found, reason, "{extra}: {message}");
        assert!(message.contains(hint), "{extra}: {message}");
    }
}

#[test]
fn policies_of_aws_and_of_the_own_account_may_be_named() {
    let arns = ["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess", "arn:aws:iam::123456789012:policy/own"];
    let made = desired(json!({ "managedPolicyArns": arns, "permissionsBoundaryArn": arns[1] })).unwrap();
    assert_eq!(made.attached.len(), 2);
    assert_eq!(made.boundary.as_deref(), Some(arns[1]));
    assert_eq!(desired(json!({ "permissionsBoundaryArn": "" })).unwrap().boundary, None);
}

#[test]
fn a_key_is_wanted_active_unless_either_switch_is_off() {
    for (extra, active) in [
        (json!({}), true),
        (json!({ "suspend": true }), false),
        (json!({ "accessKey": { "status": "Inactive" } }), false),
        (json!({ "suspend": true, "accessKey": { "status": "Inactive" } }), false),
    ] {
        assert_eq!(desired(extra.clone()).unwrap().inactive.is_none(), active, "{extra}");
    }
}

#[test]
fn names_come_from_the_spec_or_are_derived() {
    let made = desired(json!({})).unwrap().owner;
    assert!(made.user_name.starts_with("prod-team-a-reports-"), "{}", made.user_name);
    assert_eq!((made.policy_name.as_str(), made.secret_name.as_str()), (made.user_name.as_str(), "reports-s3"));
    assert!(!made.retain);
    let spec = json!({
        "userName": "app", "path": "/k8s/", "policy": { "name": "own" }, "secret": { "name": "key" },
        "deletionPolicy": "Retain",
    });
    let made = desired(spec).unwrap().owner;
    assert_eq!(made.user_arn(), "arn:aws:iam::123456789012:user/k8s/app");
    assert_eq!(made.policy_arn(), "arn:aws:iam::123456789012:policy/k8s/own");
    assert_eq!(made.secret_name, "key");
    assert!(made.retain);
}

#[test]
fn an_overlap_is_at_most_half_of_an_interval_that_only_the_class_asks_for() {
    let class = |longest: &str| {
        let spec = json!({ "allowedBuckets": ["*"], "rotation": { "maxInterval": longest } });
        let class = crate::api::S3AccessClass::new("tenants", serde_json::from_value(spec).unwrap());
        Class::of(&class, "team-a", &BTreeMap::new())
    };
    let asked = |interval: &str, overlap: &str| json!({ "interval": interval, "overlap": overlap });
    for (rotation, longest, hours) in [
        (Value::Null, "24h", 12),
        (Value::Null, "240h", 24),
        (asked("48h", "30h"), "480h", 30),
        (asked("100h", "60h"), "40h", 20),
    ] {
        let user = user(json!({ "accessKey": { "rotation": rotation } }));
        let found = rotation_of(&user, &class(longest), None).unwrap().0;
        assert_eq!(found.overlap, SignedDuration::from_hours(hours), "{rotation} under {longest}");
    }
}

fn windowed(interval: &str, window: &str) -> Value {
    json!({ "accessKey": { "rotation": { "interval": interval, "window": window } } })
}

#[test]
fn a_window_that_comes_too_seldom_is_refused_with_the_arithmetic() {
    let sundays = "Sun 09:00-16:00 Europe/Berlin";
    let (reason, message) = refused(windowed("48h", sundays));
    assert_eq!(reason, Reason::InvalidSpec);
    for told in ["lie up to 162h", "48h 15m after it was made", "an interval of 48h may", "at least 211h"] {
        assert!(message.contains(told), "{told}: {message}");
    }
    assert!(desired(windowed("210h", sundays)).is_err());
    assert!(desired(windowed("211h", sundays)).unwrap().rotation.window.is_some());
    let (_, message) = refused(windowed("2160h", "Sundays"));
    assert!(message.starts_with("spec.accessKey.rotation.window: it is not days, hours"), "{message}");
}

/// Neither by hours that never come in time nor by such as the operator does not know.
#[test]
fn invariant_7_no_window_makes_a_key_older_than_the_class_allows() {
    let spec = json!({ "allowedBuckets": ["*"], "rotation": { "maxInterval": "100h" } });
    let class = crate::api::S3AccessClass::new("tenants", serde_json::from_value(spec).unwrap());
    let class = Class::of(&class, "team-a", &BTreeMap::new());
    let account = Account { id: "123456789012".to_owned(), partition: "aws".to_owned() };
    let cluster = Cluster { id: "id".to_owned(), name: "prod".to_owned() };
    let of = |window: &str| Desired::of(&user(windowed("2160h", window)), &account, &cluster, &class).unwrap();
    let made: Timestamp = "2026-01-05T11:00:00Z".parse().unwrap();
    let bound = made + SignedDuration::from_hours(100);

    let seldom = of("Sun 09:00-16:00 Europe/Berlin");
    assert_eq!(seldom.rotation.due_at(made), Some(bound), "the class goes before the window");
    let told = seldom.violation.unwrap();
    assert!(told.contains("spec.accessKey.rotation.window: between two windows"), "{told}");
    assert!(told.contains("interval of 100h may have no window"), "{told}");

    let daily = of("Mon-Sun 09:00-16:00 Europe/Berlin");
    assert!(daily.rotation.due_at(made).is_some_and(|due| due < bound));
    assert!(!daily.violation.unwrap().contains("window"));
}

#[test]
fn an_annotation_counts_only_with_the_very_word() {
    let mut found = user(json!({}));
    assert!(!is_true(&found, annotations::PAUSED));
    for (value, counts) in [("true", true), ("false", false), ("True", false), ("", false)] {
        found.metadata.annotations = Some([(annotations::PAUSED.to_owned(), value.to_owned())].into());
        assert_eq!(is_true(&found, annotations::PAUSED), counts, "{value:?}");
        assert!(!is_true(&found, annotations::ABANDON));
    }
}

fn iam_user(tags: BTreeMap<String, String>, attached: &[&str]) -> User {
    User {
        arn: String::new(),
        path: "/".to_owned(),
        tags,
        boundary: None,
        keys: Vec::new(),
        attached: attached.iter().map(|arn| (*arn).to_owned()).collect(),
        inline: BTreeMap::new(),
        beside: BTreeSet::new(),
    }
}

#[test]
fn a_record_keeps_what_it_names_until_that_is_gone() {
    const OLD: &str = "arn:aws:iam::aws:policy/Old";
    const NEW: &str = "arn:aws:iam::aws:policy/New";
    let made = desired(json!({ "managedPolicyArns": [NEW], "tags": { "team": "a" } })).unwrap();
    let records = BTreeMap::from([
        (tags::ATTACHED.to_owned(), names::record([OLD])),
        (tags::TAG_KEYS.to_owned(), names::record(["gone", "stale"])),
        ("stale".to_owned(), "1".to_owned()),
        ("theirs".to_owned(), "1".to_owned()),
    ]);
    let wanted = made.user_tags(Some(&iam_user(records.clone(), &[OLD, "arn:aws:iam::aws:policy/Theirs"])));
    assert_eq!(wanted[tags::ATTACHED], names::record([OLD, NEW]));
    assert_eq!(wanted[tags::TAG_KEYS], names::record(["stale", "team"]));
    assert_eq!(wanted["team"], "a");
    assert!(!wanted.contains_key("theirs") && !wanted.contains_key("stale"));
    let wanted = made.user_tags(Some(&iam_user(records, &[])));
    assert_eq!(wanted[tags::ATTACHED], names::record([NEW]));
    assert!(!desired(json!({})).unwrap().user_tags(None).contains_key(tags::ATTACHED));
}

#[test]
fn a_policy_of_ours_keeps_its_arn_while_its_name_stays() {
    let made = desired(json!({ "userName": "app", "path": "/new/" })).unwrap();
    let arn = |record: &str| {
        let found = BTreeMap::from([(tags::POLICY.to_owned(), record.to_owned())]);
        match made.policy_of(Some(&found)) {
            Some(DesiredPolicy::Managed { arn, .. }) => arn,
            other => format!("{other:?}"),
        }
    };
    assert_eq!(arn("managed:/old/app"), "arn:aws:iam::123456789012:policy/old/app");
    assert_eq!(arn("managed:/old/APP"), "arn:aws:iam::123456789012:policy/old/APP");
    assert_eq!(arn("managed:/old/other"), "arn:aws:iam::123456789012:policy/new/app");
    assert_eq!(arn("inline:app"), "arn:aws:iam::123456789012:policy/new/app");
    assert_eq!(made.policy_of(None), made.policy);
    let inline = desired(json!({ "policy": { "type": "Inline" } })).unwrap();
    let found = BTreeMap::from([(tags::POLICY.to_owned(), "managed:/old/app".to_owned())]);
    assert_eq!(inline.policy_of(Some(&found)), inline.policy);
}

#[test]
fn a_class_bounds_place_and_time_and_what_nobody_can_bind_is_refused() {
    let class = |extra: Value| {
        let mut spec = json!({ "allowedBuckets": ["*"], "allowedManagedPolicyArns": ["*"] });
        extra.as_object().unwrap().iter().for_each(|(field, value)| spec[field] = value.clone());
        let class = crate::api::S3AccessClass::new("tenants", serde_json::from_value(spec).unwrap());
        Class::of(&class, "team-a", &BTreeMap::new())
    };
    let under = |class: &Class, extra: Value| {
        let account = Account { id: "123456789012".to_owned(), partition: "aws".to_owned() };
        let cluster = Cluster { id: "id".to_owned(), name: "prod".to_owned() };
        let mut user = user(extra);
        let created_at = "2026-01-01T00:00:00Z".parse().unwrap();
        user.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(created_at));
        Desired::of(&user, &account, &cluster, class)
    };
    let ends = |made: &Desired| made.expiry.map(|expiry| (expiry.at.to_string(), expiry.by));
    let a_week = class(json!({ "maxLifetime": "168h" }));
    let of_class = Some(("2026-01-08T00:00:00Z".to_owned(), EndedBy::Class));
    let made = under(&a_week, json!({})).unwrap();
    assert_eq!((ends(&made), made.violation), (of_class.clone(), None));
    let earlier = under(&a_week, json!({ "expiresAt": "2026-01-02T00:00:00Z" })).unwrap();
    assert_eq!(ends(&earlier), Some(("2026-01-02T00:00:00Z".to_owned(), EndedBy::Spec)));
    let beyond = under(&a_week, json!({ "expiresAt": "2026-01-08T00:00:01Z" })).unwrap();
    assert_eq!(ends(&beyond), of_class, "it is cut down, and told");
    assert!(beyond.violation.unwrap().contains("spec.expiresAt 2026-01-08T00:00:01Z: maxLifetime ends at"));

    let office = class(json!({ "requiredConditions": { "sourceIps": ["10.0.0.0/8"] } }));
    let elsewhere = under(&office, json!({ "conditions": { "sourceIps": ["192.168.0.0/16"] } })).unwrap();
    assert!(elsewhere.policy.is_none() && elsewhere.violation.unwrap().contains("none of its places is within"));
    let arn = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess";
    for class in [&a_week, &office] {
        let made = under(class, json!({ "managedPolicyArns": [arn] })).unwrap();
        assert!(made.attached.is_empty() && made.violation.unwrap().contains("nobody can put a managed policy under"));
    }
    for own in [json!({ "expiresAt": "2030-01-01T00:00:00Z" }), json!({ "conditions": { "secureTransport": true } })] {
        let mut spec = own;
        spec["managedPolicyArns"] = json!([arn]);
        let refusal = under(&class(json!({})), spec).unwrap_err();
        assert!(refusal.message.starts_with("spec.managedPolicyArns: nobody can put"), "{refusal}");
    }
    let spec = json!({ "managedPolicyArns": [arn], "conditions": {} });
    assert!(under(&class(json!({})), spec).is_ok(), "which ask for nothing");
    let large: Vec<Value> = (0..40).map(|n| json!({ "bucket": format!("{n:063}"), "level": "Admin" })).collect();
    let refusal = under(&office, json!({ "access": large })).unwrap_err();
    assert!(refusal.reason == Reason::PolicyTooLarge && refusal.message.contains("once for each kind of place"));
    assert!(
        crate::core::budget::check_class(&crate::api::S3AccessClassSpec {
            required_conditions: Some(crate::api::AccessConditions {
                source_ips: vec!["10.0.0.0".to_owned()],
                ..Default::default()
            }),
            ..Default::default()
        })
        .is_err_and(|refusal| refusal.message.starts_with("spec.requiredConditions.sourceIps: \"10.0.0.0\""))
    );
}
