#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};

use super::*;
use crate::core::provider::Provider;

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
        // In place of characters that IAM takes in no policy.
        json!("arn:aws:s3:::team-a.x/??/*"),
        json!("arn:aws:s3:::team-a.${aws:username}"),
    ] {
        assert_eq!(class.judge(&allow(json!("s3:*"), resource.clone()), &Effort::default()), Ok(()), "{resource}");
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
        let judged = class.judge(&allow(json!("s3:GetObject"), resource.clone()), &Effort::default());
        assert!(judged.is_err() || resource == json!([]), "{resource}");
    }
    let denial = json!({ "Effect": "Deny", "NotAction": "s3:GetObject", "NotResource": "arn:aws:s3:::team-a.x" });
    assert_eq!(class.judge(&denial, &Effort::default()), Ok(()), "a denial grants nothing");
    for element in ["NotAction", "NotResource"] {
        let mut statement = allow(json!("s3:GetObject"), json!("arn:aws:s3:::team-a.x"));
        let value = statement.as_object_mut().unwrap().remove(&element[3..]).unwrap();
        statement[element] = value;
        assert!(class.judge(&statement, &Effort::default()).is_err(), "{element}");
    }
}

#[test]
fn invariant_7_only_actions_of_s3_and_of_the_buckets_keys() {
    let bucket = || json!("arn:aws:s3:::team-a.x");
    let narrow = class(json!({ "allowStatements": true, "allowedKmsKeyArns": [KEY] }));
    for action in ["s3:GetObject", "S3:getobject", "s3:*", "s3:Get?bject"] {
        assert_eq!(narrow.judge(&allow(json!(action), bucket()), &Effort::default()), Ok(()), "{action}");
    }
    for action in ["*", "s3*", "iam:CreateUser", "sts:AssumeRole", "kms:*", "kms:PutKeyPolicy", "s3-outposts:GetObject"]
    {
        assert!(narrow.judge(&allow(json!([action]), bucket()), &Effort::default()).is_err(), "{action}");
    }
    assert_eq!(narrow.judge(&allow(json!("kms:Decrypt"), json!(KEY)), &Effort::default()), Ok(()));
    assert_eq!(
        narrow.judge(
            &allow(json!(["s3:GetObject", "kms:Decrypt"]), json!([KEY, "arn:aws:s3:::team-a.x"])),
            &Effort::default()
        ),
        Ok(())
    );
    for resource in ["*", "arn:aws:kms:*:*:key/*", "arn:aws:s3:::team-a.x"] {
        assert!(narrow.judge(&allow(json!("kms:Decrypt"), json!(resource)), &Effort::default()).is_err(), "{resource}");
    }
    let wide = class(json!({ "allowStatements": true, "allowedActions": ["sns:Publish", "sqs:Send*"] }));
    assert_eq!(wide.judge(&allow(json!(["SNS:publish", "sqs:SendMessage"]), json!("*")), &Effort::default()), Ok(()));
    for action in [json!("sns:*"), json!(["sns:Publish", "s3:GetObject"])] {
        assert!(wide.judge(&allow(action.clone(), json!("*")), &Effort::default()).is_err(), "{action}");
    }
}

#[test]
fn invariant_7_a_pattern_of_keys_opens_no_bucket_and_no_action_opens_all_but_one() {
    let judged = |class: &Class, statement: &Value| class.judge(statement, &Effort::default());
    let keys = class(json!({ "allowStatements": true, "allowedKmsKeyArns": ["arn:*"] }));
    let both = |resource: &str| allow(json!(["s3:GetObject", "kms:Decrypt"]), json!(resource));
    assert_eq!(judged(&keys, &both(KEY)), Ok(()));
    assert!(judged(&keys, &both("arn:aws:s3:::team-b.x/*")).unwrap_err().contains("allowedBuckets"));
    let narrow = class(json!({ "allowStatements": true }));
    assert!(judged(&narrow, &allow(json!("kms:Decrypt"), json!(KEY))).unwrap_err().contains("allowedKmsKeyArns"));
    let all_but = json!({ "Effect": "Allow", "NotAction": "iam:*", "Resource": "*" });
    for (actions, buckets, fits) in [("*", "*", true), ("sns:*", "*", false), ("*", "team-a.*", false)] {
        let extra = json!({ "allowStatements": true, "allowedActions": [actions], "allowedBuckets": [buckets], "allowedKmsKeyArns": ["*"] });
        assert_eq!(judged(&class(extra), &all_but).is_ok(), fits, "{actions} {buckets}");
    }
}

#[test]
fn without_a_class_s3_is_the_only_limit() {
    let none = Class::none();
    for action in ["s3:*", "S3:getobject", "kms:Decrypt"] {
        assert_eq!(none.judge(&allow(json!(action), json!("*")), &Effort::default()), Ok(()), "{action}");
    }
    for action in ["*", "iam:CreateUser", "sts:AssumeRole", "kms:*", "kms:PutKeyPolicy"] {
        assert!(none.judge(&allow(json!(action), json!("*")), &Effort::default()).is_err(), "{action}");
    }
    assert!(
        none.judge(&json!({ "Effect": "Allow", "NotAction": "s3:GetObject", "Resource": "*" }), &Effort::default())
            .is_err()
    );
    let asked = spec(json!({ "userName": "u", "path": "/x/", "tags": { "team": "a" }, "adoption": "Never" }));
    assert_eq!(none.violations(&asked), Vec::<String>::new());
    assert!(none.violations(&spec(json!({ "adoption": "Force" })))[0].contains("use IfOwnedByTag or Never"));
}

#[test]
fn invariant_7_each_field_beyond_the_class_is_named() {
    let strict = class(json!({
        "path": "/s3/", "allowedPaths": ["/s3/*"], "permissionsBoundaryArn": "arn:aws:iam::123456789012:policy/forced",
        "rotation": { "maxInterval": "2160h" }, "tags": { "team": "a" }, "allowedTagKeys": ["cost-*"], "allowedNames": ["{namespace}-*"],
    }));
    for (extra, field) in [
        (json!({ "userName": "team-b-x" }), "spec.userName"),
        (json!({ "policy": { "name": "other" } }), "spec.policy.name"),
        (json!({ "path": "/admin/" }), "spec.path"),
        (json!({ "path": "/s3" }), "spec.path"),
        (json!({ "deletionPolicy": "Retain" }), "spec.deletionPolicy"),
        (
            json!({ "accessKey": { "rotation": { "interval": "1s", "overlap": "0s" } } }),
            "spec.accessKey.rotation.interval",
        ),
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
    let hour = SignedDuration::from_hours(1);
    assert_eq!(class(json!({})).interval(Some(hour / 60)), Some(hour), "the operator's shortest");
    assert_eq!(class(json!({ "rotation": { "minInterval": "24h" } })).interval(Some(hour)), Some(day));
    assert!(class(json!({ "allowRetain": true })).retains(Some(DeletionPolicy::Retain)));
    assert!(!class(json!({})).retains(Some(DeletionPolicy::Retain)));
    assert!(set.retains(None) && !set.retains(Some(DeletionPolicy::Delete)));
    assert!(!class(json!({})).retains(None));
    let forced = class(json!({ "allowForceAdoption": true }));
    assert_eq!(forced.adoption(Adoption::Force), Adoption::Force);
    assert_eq!(class(json!({})).adoption(Adoption::Force), Adoption::IfOwnedByTag);
}

#[test]
fn the_operators_settings_say_what_the_class_leaves_open() {
    let defaults = Defaults { path: "/k8s/".to_owned(), min_interval: SignedDuration::from_hours(2) };
    let path = |class: Class| class.with(defaults.clone()).path(None);
    assert_eq!(path(Class::none()), "/k8s/");
    assert_eq!(path(class(json!({}))), "/k8s/");
    assert_eq!(path(class(json!({ "path": "/own/" }))), "/own/");
    assert_eq!(path(class(json!({ "provider": "s3-compatible" }))), "/", "others than AWS may have no paths");
    let beside = |own: Provider| class(json!({})).with(own.in_classes(defaults.clone())).path(None);
    assert_eq!(beside(Provider::Aws), "/k8s/");
    assert_eq!(beside(Provider::S3Compatible { tags: true }), "/s3access/", "that path is another system's");
    let bound = class(json!({})).with(defaults);
    let violations = |interval: &str| {
        let rotation = json!({ "interval": interval, "overlap": "0s" });
        bound.violations(&spec(json!({ "accessKey": { "rotation": rotation } }))).len()
    };
    assert_eq!((violations("119m"), violations("2h")), (1, 0));
}

#[test]
fn invariant_7_grants_reach_the_buckets_of_the_accounts_that_the_class_names() {
    let accounts = |extra: Value| class(extra).resource_accounts().into_iter().map(str::to_owned).collect::<Vec<_>>();
    let (own, other) = ("123456789012", "210987654321");
    assert_eq!(accounts(json!({ "accountId": own })), [own]);
    let both = json!({ "accountId": own, "allowedResourceAccounts": [other] });
    assert_eq!(accounts(both), [own, other]);
    assert!(accounts(json!({})).is_empty(), "any");
    assert!(accounts(json!({ "accountId": own, "provider": "s3-compatible" })).is_empty());
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

#[test]
fn invariant_7_buckets_and_policies_are_matched_whole() {
    const SHARED: &str = "arn:aws:iam::123456789012:policy/shared-x";
    let class = class(json!({
        "allowedBuckets": ["{namespace}.*", "a?c"], "allowedManagedPolicyArns": ["arn:aws:iam::123456789012:policy/shared-*"],
    }));
    for (bucket, allowed) in
        [("team-a.x", true), ("team-a", false), ("xteam-a.x", false), ("abc", true), ("abbc", false)]
    {
        assert_eq!(class.allows_bucket(bucket), allowed, "{bucket}");
    }
    assert!(class.allows_policy(SHARED) && !class.allows_policy("arn:aws:iam::123456789012:policy/own"));
    assert!(class.name() == Some("tenants") && Class::none().name().is_none());
}

#[test]
fn what_is_left_of_a_statement_is_what_fits() {
    let (narrow, plain) = (class(json!({ "allowStatements": true })), class(json!({})));
    let (inside, outside) = ("arn:aws:s3:::team-a.x/*", "arn:aws:s3:::team-b.x/*");
    let cut = |class: &Class, statement: &Value| class.cut_down(statement, &Effort::default());
    let both = json!({ "Sid": "One", "Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [inside, outside] });
    let left = json!({ "Sid": "One", "Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [inside] });
    assert_eq!(cut(&narrow, &both), Some(left.clone()));
    assert_eq!(cut(&narrow, &left), Some(left.clone()), "what fits stays to the letter");
    assert_eq!(cut(&narrow, &allow(json!("s3:GetObject"), json!(outside))), None);
    assert_eq!(
        cut(&narrow, &allow(json!(["iam:CreateUser", "s3:PutObjectAcl"]), json!(inside))),
        Some(allow(json!(["s3:PutObjectAcl"]), json!([inside])))
    );
    assert_eq!(
        cut(&plain, &allow(json!("s3:PutObjectAcl"), json!(inside))),
        None,
        "no statements: no grant gives this"
    );
    let granted = allow(json!("s3:getobject"), json!(inside));
    assert_eq!(cut(&plain, &granted), Some(granted), "to the letter, too");
    let denial = json!({ "Effect": "Deny", "Action": "*", "Resource": "*" });
    assert_eq!(cut(&plain, &denial), Some(denial.clone()));
    for odd in [json!({}), json!("x"), json!({ "Effect": "Allow", "NotAction": "iam:*", "Resource": inside })] {
        assert_eq!(cut(&plain, &odd), None, "{odd}");
    }
}

#[test]
fn what_others_act_upon_is_bounded_in_secrets() {
    let (closed, open) = (
        class(json!({})),
        class(json!({
            "allowedSecretNames": ["{namespace}-*"], "allowedSecretLabels": ["example.com/*"], "allowedSecretAnnotations": ["note"],
        })),
    );
    let violations = |class: &Class, secret: Value| class.violations(&spec(json!({ "secret": secret })));
    for secret in [
        json!({ "name": "sh.helm.release.v1.myapp.v99" }),
        json!({ "labels": { "owner": "helm" } }),
        json!({ "labels": { "grafana_datasource": "1" } }),
        json!({ "annotations": { "replicator.v1.mittwald.de/replicate-to": "kube-system" } }),
    ] {
        assert_eq!(violations(&closed, secret.clone()).len(), 1, "{secret}");
        assert_eq!(violations(&open, secret.clone()).len(), 1, "{secret}");
        assert_eq!(violations(&Class::none(), secret.clone()), Vec::<String>::new(), "{secret}");
    }
    assert!(violations(&closed, json!({ "name": "any" })).is_empty());
    assert_eq!(violations(&open, json!({ "name": "any" })).len(), 1);
    let fits = json!({ "name": "team-a-x", "labels": { "example.com/a": "b" }, "annotations": { "note": "x" } });
    assert!(violations(&open, fits.clone()).is_empty());
    let mut user = S3AccessUser::new("reports", spec(json!({ "secret": fits })));
    closed.bound_secret(&mut user);
    assert_eq!((user.secret_name().as_str(), user.spec.secret.labels.len()), ("team-a-x", 0));
    assert!(user.spec.secret.annotations.is_empty());
}

#[test]
fn a_tag_of_the_class_is_its_own_in_either_case() {
    let class = class(json!({ "tags": { "team": "a" }, "allowedTagKeys": ["*"] }));
    let asked = BTreeMap::from(["Team", "cost"].map(|key| (key.to_owned(), "tenant".to_owned())));
    let tags = class.tags(&asked);
    assert_eq!(
        tags,
        BTreeMap::from([("team", "a"), ("cost", "tenant")].map(|(key, value)| (key.to_owned(), value.to_owned())))
    );
}
