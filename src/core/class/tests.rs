#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};

use super::*;

const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/team-a";

fn class(extra: Value) -> Class {
    let mut spec = json!({ "allowedBuckets": ["{namespace}.*"] });
    for (key, value) in extra.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let class = S3AccessClass::new("tenants", serde_json::from_value(spec).unwrap());
    Class::of(&class, "team-a", &BTreeMap::from([("tier".to_owned(), "gold".to_owned())]))
}

fn spec(extra: Value) -> S3AccessUserSpec {
    serde_json::from_value(extra).unwrap()
}

fn allow(action: Value, resource: Value) -> Value {
    json!({ "Effect": "Allow", "Action": action, "Resource": resource })
}

#[test]
fn invariant_7_statements_stay_inside_the_buckets() {
    let class = class(json!({ "allowStatements": true }));
    for resource in [
        json!("arn:aws:s3:::team-a.x"),
        json!(["arn:aws:s3:::team-a.x/*", "arn:aws:s3:::team-a.y/${aws:username}/*"]),
        json!("arn:aws:s3:::team-a.*"),
        json!("arn:aws:s3:::team-a.${aws:username}"),
    ] {
        assert_eq!(class.judge(&allow(json!("s3:*"), resource.clone())), Ok(()), "{resource}");
    }
    for resource in [
        json!("*"),
        json!("arn:aws:s3:::*"),
        json!("arn:aws:s3:::team-a*"),
        json!("arn:aws:s3:::team-ab.x"),
        json!("arn:aws:s3:::team-b.x"),
        json!("arn:aws:s3:::?eam-a.x"),
        json!("arn:aws:s3:::${aws:username}"),
        json!("arn:aws:s3:::${aws:username"),
        json!("arn:aws:s3:::Team-a.x"),
        json!("arn:aws:s3:::*/team-a.x"),
        json!("arn:aws:s3:eu-west-1:123456789012:accesspoint/team-a.x"),
        json!("arn:aws:s3-object-lambda:::team-a.x"),
        json!("arn:aws:s*:::team-a.x"),
        json!("arn:aws:kms:::team-a.x"),
        json!(["arn:aws:s3:::team-a.x", "arn:aws:s3:::team-b.x"]),
        json!([]),
        json!({}),
    ] {
        let judged = class.judge(&allow(json!("s3:GetObject"), resource.clone()));
        assert!(judged.is_err() || resource == json!([]), "{resource}");
    }
    let denial = json!({ "Effect": "Deny", "NotAction": "s3:GetObject", "NotResource": "arn:aws:s3:::team-a.x" });
    assert_eq!(class.judge(&denial), Ok(()), "a denial grants nothing");
    for element in ["NotAction", "NotResource"] {
        let mut statement = allow(json!("s3:GetObject"), json!("arn:aws:s3:::team-a.x"));
        let value = statement.as_object_mut().unwrap().remove(&element[3..]).unwrap();
        statement[element] = value;
        assert!(class.judge(&statement).is_err(), "{element}");
    }
}

#[test]
fn invariant_7_only_actions_of_s3_and_of_the_buckets_keys() {
    let bucket = || json!("arn:aws:s3:::team-a.x");
    let narrow = class(json!({ "allowStatements": true, "allowedKmsKeyArns": [KEY] }));
    for action in ["s3:GetObject", "S3:getobject", "s3:*", "s3:Get?bject"] {
        assert_eq!(narrow.judge(&allow(json!(action), bucket())), Ok(()), "{action}");
    }
    for action in ["*", "s3*", "iam:CreateUser", "sts:AssumeRole", "kms:*", "kms:PutKeyPolicy", "s3-outposts:GetObject"]
    {
        assert!(narrow.judge(&allow(json!([action]), bucket())).is_err(), "{action}");
    }
    assert_eq!(narrow.judge(&allow(json!("kms:Decrypt"), json!(KEY))), Ok(()));
    assert_eq!(
        narrow.judge(&allow(json!(["s3:GetObject", "kms:Decrypt"]), json!([KEY, "arn:aws:s3:::team-a.x"]))),
        Ok(())
    );
    for resource in ["*", "arn:aws:kms:*:*:key/*", "arn:aws:s3:::team-a.x"] {
        assert!(narrow.judge(&allow(json!("kms:Decrypt"), json!(resource))).is_err(), "{resource}");
    }
    let wide = class(json!({ "allowStatements": true, "allowedActions": ["sns:Publish", "sqs:Send*"] }));
    assert_eq!(wide.judge(&allow(json!(["SNS:publish", "sqs:SendMessage"]), json!("*"))), Ok(()));
    for action in [json!("sns:*"), json!(["sns:Publish", "s3:GetObject"])] {
        assert!(wide.judge(&allow(action.clone(), json!("*"))).is_err(), "{action}");
    }
}

#[test]
fn without_a_class_s3_is_the_only_limit() {
    let none = Class::none();
    for action in ["s3:*", "S3:getobject", "kms:Decrypt"] {
        assert_eq!(none.judge(&allow(json!(action), json!("*"))), Ok(()), "{action}");
    }
    for action in ["*", "iam:CreateUser", "sts:AssumeRole", "kms:*", "kms:PutKeyPolicy"] {
        assert!(none.judge(&allow(json!(action), json!("*"))).is_err(), "{action}");
    }
    assert!(none.judge(&json!({ "Effect": "Allow", "NotAction": "s3:GetObject", "Resource": "*" })).is_err());
    let asked = spec(json!({ "userName": "u", "path": "/x/", "tags": { "team": "a" }, "adoption": "Never" }));
    assert_eq!(none.violations(&asked), Vec::<String>::new());
    assert!(none.violations(&spec(json!({ "adoption": "Force" })))[0].contains("use IfOwnedByTag or Never"));
}

#[test]
fn invariant_7_each_field_beyond_the_class_is_named() {
    let strict = class(json!({
        "path": "/s3/", "permissionsBoundaryArn": "arn:aws:iam::123456789012:policy/forced",
        "rotation": { "maxInterval": "2160h" }, "tags": { "team": "a" }, "allowedTagKeys": ["cost-*"], "allowedNames": ["{namespace}-*"],
    }));
    for (extra, field) in [
        (json!({ "userName": "team-b-x" }), "spec.userName"),
        (json!({ "policy": { "name": "other" } }), "spec.policy.name"),
        (json!({ "path": "/admin/" }), "spec.path"),
        (json!({ "path": "/s3" }), "spec.path"),
        (json!({ "adoption": "Force" }), "spec.adoption"),
        (json!({ "permissionsBoundaryArn": "arn:aws:iam::123456789012:policy/own" }), "spec.permissionsBoundaryArn"),
        (json!({ "tags": { "owner": "x" } }), "spec.tags"),
        (json!({ "tags": { "Team": "b" } }), "spec.tags"),
        (json!({ "accessKey": { "rotation": { "interval": "9000h" } } }), "spec.accessKey.rotation.interval"),
    ] {
        let violations = strict.violations(&spec(extra.clone()));
        assert_eq!(violations.len(), 1, "{extra}: {violations:?}");
        assert!(violations[0].starts_with(field), "{extra}: {violations:?}");
        assert!(strict.told(&violations).starts_with("S3AccessClass \"tenants\" does not allow spec."));
    }
    let fits = spec(json!({
        "userName": "Team-A-x", "path": "/s3/x/", "tags": { "cost-center": "1" }, "permissionsBoundaryArn": "",
        "accessKey": { "rotation": { "interval": "2160h" } },
    }));
    assert_eq!(strict.violations(&fits), Vec::<String>::new());
    assert_eq!(strict.path(Some("/s3/x/")), "/s3/x/");
    assert_eq!(strict.path(Some("/admin/")), "/s3/");
    assert_eq!(strict.boundary(None).as_deref(), Some("arn:aws:iam::123456789012:policy/forced"));
    let tags =
        strict.tags(&BTreeMap::from([("Team".to_owned(), "b".to_owned()), ("cost-center".to_owned(), "1".to_owned())]));
    assert_eq!(serde_json::json!(tags), json!({ "team": "a", "cost-center": "1" }));
}

#[test]
fn the_class_sets_what_the_spec_leaves_open() {
    let day = SignedDuration::from_hours(24);
    let set =
        class(json!({ "rotation": { "defaultInterval": "240h", "maxInterval": "480h" }, "deletionPolicy": "Retain" }));
    assert_eq!(set.interval(None), Some(day * 10));
    assert_eq!(set.interval(Some(day * 5)), Some(day * 5));
    assert_eq!(set.interval(Some(day * 30)), Some(day * 20));
    assert_eq!(class(json!({ "rotation": { "maxInterval": "480h" } })).interval(None), Some(day * 20));
    assert_eq!(class(json!({})).interval(None), None);
    assert!(set.retains(None) && !set.retains(Some(DeletionPolicy::Delete)));
    assert!(!class(json!({})).retains(None));
    let forced = class(json!({ "allowForceAdoption": true }));
    assert_eq!(forced.adoption(Adoption::Force), Adoption::Force);
    assert_eq!(class(json!({})).adoption(Adoption::Force), Adoption::IfOwnedByTag);
}

#[test]
fn namespaces_are_admitted_by_name_or_label() {
    let user = spec(json!({}));
    let expelled = |allowed: Value| !class(json!({ "allowedNamespaces": allowed })).expulsions(&user).is_empty();
    for allowed in [
        json!({ "names": ["team-b", "team-a"] }),
        json!({ "selector": { "matchLabels": { "tier": "gold" } } }),
        json!({ "names": ["team-b"], "selector": { "matchExpressions": [{ "key": "tier", "operator": "Exists" }] } }),
        json!({ "selector": {} }),
    ] {
        assert!(!expelled(allowed.clone()), "{allowed}");
    }
    for allowed in [
        json!({}),
        json!({ "names": ["team-b", "team-ab", "team"] }),
        json!({ "selector": { "matchLabels": { "tier": "silver" } } }),
        json!({ "selector": { "matchExpressions": [{ "key": "tier", "operator": "Unheard" }] } }),
    ] {
        assert!(expelled(allowed.clone()), "{allowed}");
    }
    assert!(class(json!({})).expulsions(&user).is_empty(), "without a list, all are admitted");
}

mod in_place {
    use std::collections::BTreeSet;

    use jiff::Timestamp;

    use super::*;
    use crate::core::names::record;
    use crate::core::observed::{AccessKey, ManagedPolicy};

    const OWN: &str = "arn:aws:iam::123456789012:policy/own";
    const SHARED: &str = "arn:aws:iam::123456789012:policy/shared-x";
    const FORCED: &str = "arn:aws:iam::123456789012:policy/forced";

    fn document(bucket: &str) -> Document {
        Document::new(vec![allow(json!("s3:GetObject"), json!(format!("arn:aws:s3:::{bucket}/*")))])
    }

    /// A user with that policy attached, a shared one, the boundary and a working key.
    fn world(bucket: &str) -> (Observed, User) {
        let user = User {
            arn: String::new(),
            path: "/".to_owned(),
            tags: BTreeMap::from([(tags::ATTACHED.to_owned(), record([SHARED]))]),
            boundary: Some(FORCED.to_owned()),
            keys: vec![AccessKey { id: "AKIA".to_owned(), active: true, created_at: Timestamp::UNIX_EPOCH }],
            attached: BTreeSet::from([OWN, SHARED, "arn:aws:iam::aws:policy/ByHand"].map(str::to_owned)),
            inline: BTreeMap::new(),
        };
        let policy = ManagedPolicy { tags: BTreeMap::new(), document: document(bucket), versions: Vec::new() };
        let policies = BTreeMap::from([(OWN.to_owned(), PolicyState::Present(policy))]);
        (Observed { policies, ..Observed::nothing() }, user)
    }

    fn limits(extra: Value) -> Class {
        let mut all = json!({
            "allowedManagedPolicyArns": ["arn:aws:iam::123456789012:policy/shared-*"], "permissionsBoundaryArn": FORCED,
        });
        extra.as_object().unwrap().iter().for_each(|(field, value)| all[field] = value.clone());
        class(all)
    }

    #[test]
    fn invariant_7_what_is_in_place_is_held_against_the_class_whatever_the_spec_says() {
        let asked = spec(json!({}));
        let fits = |class: &Class, (observed, user): &(Observed, User)| class.admits_in_place(&asked, observed, user);
        let inside = world("team-a.x");
        assert!(fits(&limits(json!({})), &inside));
        assert!(!fits(&limits(json!({})), &world("team-b.x")), "the policy");
        assert!(!fits(&limits(json!({ "allowedManagedPolicyArns": [] })), &inside), "what was attached for the spec");
        assert!(!fits(&limits(json!({ "permissionsBoundaryArn": OWN })), &inside), "the boundary");
        assert!(!fits(&limits(json!({ "allowedNamespaces": { "names": ["team-b"] } })), &inside), "the namespace");

        let mut inline = world("team-a.x");
        inline.1.inline.insert("own".to_owned(), document("team-b.x"));
        assert!(!fits(&limits(json!({})), &inline), "an inline policy");
        let (mut detached, user) = world("team-b.x");
        detached.policies.insert(SHARED.to_owned(), PolicyState::Missing);
        let mut user = User { attached: BTreeSet::new(), ..user };
        let attached_nowhere = (detached, user.clone());
        assert!(fits(&limits(json!({})), &attached_nowhere), "a policy that is not attached grants nothing");

        let expelled = limits(json!({ "allowedNamespaces": { "names": ["team-b"] } }));
        assert!(!fits(&expelled, &attached_nowhere), "the key still works");
        user.keys[0].active = false;
        assert!(fits(&expelled, &(Observed::nothing(), user.clone())), "nothing is left to take");
        user.attached.insert(SHARED.to_owned());
        assert!(!fits(&expelled, &(Observed::nothing(), user.clone())), "a policy is left");
        user.attached.clear();
        user.keys[0].active = true;
        user.tags.insert(tags::ADOPTED_AT.to_owned(), "2026-01-01T00:00:00Z".to_owned());
        assert!(fits(&expelled, &(Observed::nothing(), user)), "a key from before the adoption is somebody else's");
    }

    #[test]
    fn invariant_7_buckets_and_policies_are_matched_whole() {
        let class = limits(json!({ "allowedBuckets": ["{namespace}.*", "a?c"] }));
        for (bucket, allowed) in
            [("team-a.x", true), ("team-a", false), ("xteam-a.x", false), ("abc", true), ("abbc", false)]
        {
            assert_eq!(class.allows_bucket(bucket), allowed, "{bucket}");
        }
        assert!(class.allows_policy(SHARED) && !class.allows_policy(OWN));
        assert!(class.name() == Some("tenants") && Class::none().name().is_none());
    }
}
