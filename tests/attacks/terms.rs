//! A tenant whose class binds keys to places, to TLS and to a time: every field tried for a request from elsewhere, or later.
//!
//! What the operator would make of an object, and what it leaves of policies that are in force, is judged by the strict
//! double's evaluator, which shares no code with the guard.

use std::collections::{BTreeMap, BTreeSet};

use ground::double::{Context, Document};
use jiff::{SignedDuration, Timestamp};
use s3_access_operator::api::{S3AccessClass, S3AccessUser, S3AccessUserSpec, tags};
use s3_access_operator::core::class::Class;
use s3_access_operator::core::curtail::{Bounds, Holdings, curtail};
use s3_access_operator::core::desired::{Desired, DesiredPolicy, Owner};
use s3_access_operator::core::iam::{AccessKey, Account};
use s3_access_operator::core::names::{self, Cluster};
use s3_access_operator::core::plan::Action;
use s3_access_operator::core::policy;
use serde_json::{Value, json};

use crate::judge::KEY;

const INSIDE: &str = "arn:aws:s3:::team-a.data/*";
const SHARED: &str = "arn:aws:iam::123456789012:policy/shared-x";
const CREATED: &str = "2026-01-01T00:00:00Z";
/// The class's maxLifetime after that.
const END: &str = "2026-01-31T00:00:00Z";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// As much is allowed as can be, but from the office or its VPC alone, over TLS, and for a month.
fn class() -> Class {
    let spec = json!({
        "allowedBuckets": ["{namespace}.*"], "allowStatements": true, "allowedActions": ["sns:Publish"],
        "allowedKmsKeyArns": [KEY], "allowedNames": ["*"], "allowedManagedPolicyArns": ["*"], "allowForceAdoption": true,
        "allowedPaths": ["*"], "allowedTagKeys": ["*"], "allowRetain": true, "maxLifetime": "720h",
        "requiredConditions": { "sourceIps": ["10.0.0.0/8"], "sourceVpcs": ["vpc-00000001"], "secureTransport": true },
    });
    Class::of(&S3AccessClass::new("bound", serde_json::from_value(spec).unwrap()), "team-a", &BTreeMap::new())
}

/// From where, how and when; none of them is within the terms, but for the first two.
fn requests() -> Vec<(bool, &'static str, Context)> {
    let from = |place: &[(&str, &str)], tls: &str, at: &str| {
        let seconds = time(at).as_second().to_string();
        let context = Context::new().with("aws:CurrentTime", at).with("aws:EpochTime", seconds);
        let context = context.with("aws:SecureTransport", tls).with("aws:username", "reports");
        place.iter().fold(context, |context, (key, value)| context.with(key, *value))
    };
    let (ip, vpc, vpce) = ("aws:SourceIp", "aws:SourceVpc", "aws:SourceVpce");
    let before = "2026-01-15T00:00:00Z";
    vec![
        (true, "the office", from(&[(ip, "10.1.2.3")], "true", before)),
        (true, "the VPC", from(&[(vpc, "vpc-00000001"), (vpce, "vpce-00000001")], "true", before)),
        (false, "elsewhere", from(&[(ip, "192.0.2.1")], "true", before)),
        (false, "elsewhere in IPv6", from(&[(ip, "2001:db8::1")], "true", before)),
        (false, "another VPC", from(&[(vpc, "vpc-00000002"), (vpce, "vpce-00000001")], "true", before)),
        (false, "nowhere", from(&[], "true", before)),
        (
            false,
            "another VPC with the office's address",
            from(&[(vpc, "vpc-00000002"), ("aws:VpcSourceIp", "10.1.2.3")], "true", before),
        ),
        (false, "the office without TLS", from(&[(ip, "10.1.2.3")], "false", before)),
        (false, "the office at the end", from(&[(ip, "10.1.2.3")], "true", END)),
        (false, "the VPC, years later", from(&[(vpc, "vpc-00000001")], "true", "2036-01-01T00:00:00Z")),
    ]
}

/// The first request outside the terms that the policy allows.
fn escape_of(document: &policy::Document) -> Option<String> {
    // What IAM does not take grants nothing.
    let document = Document::parse(&document.text(), "aws").ok()?;
    let asked = [
        ("s3:GetObject", "arn:aws:s3:::team-a.data/x"),
        ("s3:ListBucket", "arn:aws:s3:::team-a.data"),
        ("s3:PutObject", "arn:aws:s3:::team-a.data/x"),
        ("sns:Publish", "arn:aws:sns:eu-west-1:123456789012:x"),
        ("kms:Decrypt", KEY),
    ];
    for (within, place, context) in requests() {
        let allowed = |(action, resource): &&(&str, &str)| document.decide(action, resource, &context).is_allowed();
        if let Some((action, _)) = asked.iter().find(allowed).filter(|_| !within) {
            return Some(format!("{action} from {place}"));
        }
    }
    None
}

fn object(spec: &Value) -> Value {
    let mut whole = json!({ "access": [{ "bucket": "team-a.data", "level": "ReadWrite", "kmsKeyArns": [KEY] }] });
    spec.as_object().unwrap().iter().for_each(|(field, value)| whole[field] = value.clone());
    json!({
        "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser", "spec": whole,
        "metadata": { "name": "reports", "namespace": "team-a", "uid": "uid", "creationTimestamp": CREATED,
            "resourceVersion": "1", "finalizers": ["s3access.dev/iam"] },
    })
}

fn account() -> Account {
    Account { id: "123456789012".to_owned(), partition: "aws".to_owned() }
}

fn cluster() -> Cluster {
    Cluster { id: "cluster".to_owned(), name: "prod".to_owned() }
}

/// What the operator makes of an object that gets outside the terms.
fn escape(object: &Value) -> Option<String> {
    // What does not fit the schema is held to its class by its names.
    let names = || {
        let mut user = S3AccessUser::new("reports", S3AccessUserSpec::default());
        user.metadata = serde_json::from_value(object["metadata"].clone()).unwrap();
        user
    };
    let (user, fits) = serde_json::from_value(object.clone()).map_or_else(|_| (names(), false), |user| (user, true));
    let (class, end) = (class(), time(END));
    if let Ok(desired) = Desired::of(&user, &account(), &cluster(), &class)
        && fits
    {
        let document = match &desired.policy {
            Some(DesiredPolicy::Managed { document, .. } | DesiredPolicy::Inline { document, .. }) => Some(document),
            None => None,
        };
        if let Some(escape) = document.and_then(escape_of) {
            return Some(format!("what is made allows {escape}"));
        }
        if !desired.attached.is_empty() || desired.inactive_at(end).is_none() {
            return Some("a policy of others, or a key after its end".to_owned());
        }
    }
    in_force(&user, &class)
}

/// What is left of policies in force, whatever keeps the spec from being carried out.
fn in_force(user: &S3AccessUser, class: &Class) -> Option<String> {
    let owner = Owner::of(user, &account(), &cluster(), class);
    let own = owner.policy_arn();
    let raw = user.spec.policy.iter().flat_map(|policy| policy.statements.clone());
    let statements: Vec<Value> = raw
        .chain([json!({ "Effect": "Allow", "Action": ["s3:*"], "Resource": [INSIDE, "arn:aws:s3:::team-a.data"] })])
        .collect();
    for statement in &statements {
        let document = policy::Document::new(vec![statement.clone()]);
        let mut tags = owner.identity.tags();
        tags.insert(tags::ATTACHED.to_owned(), names::record([SHARED]));
        let key = AccessKey { id: "AKIA1".to_owned(), active: true, created_at: time(CREATED) };
        let found = Holdings {
            uses: BTreeMap::new(),
            tags,
            boundary: None,
            keys: Some(vec![key]),
            attached: Some(BTreeSet::from([own.clone(), SHARED.to_owned()])),
            inline: BTreeMap::from([("own".to_owned(), Some(document.clone()))]),
            managed: BTreeMap::new(),
        };
        for (hindered, at) in [(true, time(END)), (false, time(END)), (true, time(END) - SignedDuration::from_hours(1))]
        {
            let actions = curtail(Bounds { class, user, hindered, minted_at: None }, &owner, &found, at);
            let gone = |arn: &str| actions.contains(&Action::DetachPolicy(arn.to_owned()));
            let left = actions.iter().find_map(|action| match action {
                Action::PutInlinePolicy { document, .. } => Some(Some(document)),
                Action::DeleteInlinePolicy { .. } => Some(None),
                _ => None,
            });
            if let Some(escape) = left.unwrap_or(Some(&document)).and_then(escape_of) {
                return Some(format!("what is left allows {escape}"));
            }
            let off = actions.contains(&Action::SetKeyStatus { id: "AKIA1".to_owned(), active: false });
            if !gone(SHARED) || (at >= time(END) && !off) {
                return Some("a policy of others, or a key after its end, is left".to_owned());
            }
        }
    }
    None
}

fn statement(condition: &Value) -> Value {
    json!({ "policy": { "statements": [
        { "Effect": "Allow", "Action": "s3:*", "Resource": [INSIDE, "arn:aws:s3:::team-a.data"], "Condition": condition },
    ] } })
}

/// Statements that say something of the very keys, in every way that there is.
fn conditions() -> Vec<(String, Value)> {
    let anywhere = "0.0.0.0/0";
    let mut cases = Vec::new();
    for key in ["aws:SourceIp", "AWS:SOURCEIP", "aws:sourceIP", "aws:SourceIp ", "aws:VpcSourceIp"] {
        for operator in [
            "IpAddress",
            "IpAddressIfExists",
            "ForAnyValue:IpAddress",
            "ForAllValues:IpAddress",
            "ForAllValues:IpAddressIfExists",
            "NotIpAddress",
            "ipAddress",
            "StringLike",
            "StringNotEquals",
            "Null",
        ] {
            let value = if operator == "Null" { "true" } else { anywhere };
            cases.push((format!("{operator} {key:?}"), json!({ operator: { key: value } })));
        }
    }
    let mut add = |what: &str, condition: Value| cases.push((what.to_owned(), condition));
    add(
        "two keys that differ by case",
        json!({ "IpAddress": { "aws:SourceIp": "10.0.0.0/8", "aws:sourceip": anywhere } }),
    );
    add("a second range", json!({ "IpAddress": { "aws:SourceIp": ["10.0.0.0/8", anywhere, "::/0"] } }));
    add("a range around the range", json!({ "IpAddress": { "aws:SourceIp": "8.0.0.0/5" } }));
    add("a range with an octal number", json!({ "IpAddress": { "aws:SourceIp": "010.0.0.0/1" } }));
    add("a range that is none", json!({ "IpAddress": { "aws:SourceIp": "10.0.0.0/8,0.0.0.0/0" } }));
    add("a range by a variable", json!({ "IpAddress": { "aws:SourceIp": "${aws:SourceIp}" } }));
    add("no range", json!({ "IpAddress": { "aws:SourceIp": [] } }));
    add("no key", json!({ "IpAddress": {} }));
    add("a key of nothing", json!({ "IpAddress": { "aws:SourceIp": null } }));
    add("operators that are a list", json!([{ "IpAddress": { "aws:SourceIp": anywhere } }]));
    add("any VPC", json!({ "StringLike": { "aws:SourceVpc": "*" } }));
    add("the VPC by a variable", json!({ "StringEquals": { "aws:SourceVpc": "${aws:SourceVpc}" } }));
    add("another VPC", json!({ "StringEquals": { "aws:sourcevpc": ["vpc-00000001", "vpc-00000002"] } }));
    add("an endpoint for a VPC", json!({ "StringEquals": { "aws:SourceVpce": "vpce-00000001" } }));
    add("no TLS", json!({ "Bool": { "aws:SecureTransport": "false" } }));
    add("TLS or not", json!({ "Bool": { "aws:securetransport": [true, false] } }));
    add("TLS if there is", json!({ "BoolIfExists": { "aws:SecureTransport": "false" } }));
    add("through a service", json!({ "Bool": { "aws:ViaAWSService": "true" } }));
    add("a later end", json!({ "DateLessThan": { "aws:CurrentTime": "2036-01-01T00:00:00Z" } }));
    add("a later end by case", json!({ "DateLessThan": { "AWS:currenttime": "2036-01-01T00:00:00Z" } }));
    add("two ends", json!({ "DateLessThan": { "aws:CurrentTime": ["2026-01-02T00:00:00Z", "2036-01-01T00:00:00Z"] } }));
    add("an end in seconds", json!({ "DateLessThan": { "aws:CurrentTime": "4102444800" } }));
    add("an end that is a number", json!({ "DateLessThan": { "aws:CurrentTime": 4_102_444_800_u64 } }));
    add("an end by another key", json!({ "DateLessThan": { "aws:EpochTime": "4102444800" } }));
    add("an end by another operator", json!({ "DateLessThanEquals": { "aws:CurrentTime": "2036-01-01T00:00:00Z" } }));
    add("an end if there is a time", json!({ "DateLessThanIfExists": { "aws:CurrentTime": "2036-01-01T00:00:00Z" } }));
    add("after the end", json!({ "DateGreaterThan": { "aws:CurrentTime": END } }));
    add(
        "the terms to the letter, with more beside",
        json!({
            "IpAddress": { "aws:SourceIp": ["10.0.0.0/8", "192.0.2.0/24"] }, "Bool": { "aws:SecureTransport": "true" },
            "DateLessThan": { "aws:CurrentTime": END },
        }),
    );
    cases.into_iter().map(|(what, condition)| (format!("a statement with {what}"), statement(&condition))).collect()
}

/// The other fields of a spec.
fn fields() -> Vec<(String, Value)> {
    let own = |conditions: Value| json!({ "conditions": conditions });
    let allow = |statement: Value| json!({ "policy": { "statements": [statement] } });
    let via = |operator: &str, service: Value, action: Value| {
        allow(
            json!({ "Effect": "Allow", "Action": action, "Resource": [INSIDE, KEY], "Condition": { operator: { "kms:ViaService": service } } }),
        )
    };
    let cases = vec![
        ("conditions from anywhere", own(json!({ "sourceIps": ["0.0.0.0/0", "::/0"] }))),
        ("conditions of another VPC", own(json!({ "sourceVpcs": ["vpc-00000002"] }))),
        ("conditions of an endpoint", own(json!({ "sourceVpcEndpoints": ["vpce-00000001"] }))),
        ("conditions without TLS", own(json!({ "secureTransport": false }))),
        ("conditions of nothing", own(json!({}))),
        ("conditions with a null", own(json!({ "sourceIps": null }))),
        ("conditions in a list", own(json!([]))),
        ("conditions by another name", json!({ "requiredConditions": { "sourceIps": ["0.0.0.0/0"] } })),
        ("a lifetime of its own", json!({ "maxLifetime": "87600h" })),
        ("a preset", json!({ "policy": { "preset": "ReadWriteNoDelete" } })),
        ("a managed policy", json!({ "managedPolicyArns": [SHARED] })),
        (
            "AWS's policy for everything",
            json!({ "managedPolicyArns": ["arn:aws:iam::aws:policy/AdministratorAccess"] }),
        ),
        (
            "its own policy by its ARN",
            json!({ "managedPolicyArns": ["arn:aws:iam::123456789012:policy/own"], "policy": { "name": "own" } }),
        ),
        ("a boundary", json!({ "permissionsBoundaryArn": "arn:aws:iam::aws:policy/AdministratorAccess" })),
        ("somebody's user", json!({ "userName": "admin", "adoption": "Force" })),
        ("another policy's name", json!({ "policy": { "name": "shared-x" } })),
        (
            "an inline policy",
            json!({ "policy": { "type": "Inline", "statements": [{ "Effect": "Allow", "Action": "s3:*", "Resource": INSIDE }] } }),
        ),
        ("all actions but one", allow(json!({ "Effect": "Allow", "NotAction": "iam:*", "Resource": INSIDE }))),
        ("all buckets but one", allow(json!({ "Effect": "Allow", "Action": "s3:*", "NotResource": "arn:aws:s3:::x" }))),
        ("an action that others allow", allow(json!({ "Effect": "Allow", "Action": "sns:Publish", "Resource": "*" }))),
        ("a key as S3 uses it, and S3", via("StringLike", json!("s3.*"), json!(["kms:Decrypt", "s3:GetObject"]))),
        ("a key as anybody uses it", via("StringLike", json!(["s3.*", "*"]), json!("kms:Decrypt"))),
        ("a key as nobody uses it", via("StringNotLike", json!("s3.*"), json!("kms:Decrypt"))),
        ("a key if a service uses it", via("StringLikeIfExists", json!("s3.*"), json!("kms:Decrypt"))),
        ("a key for any value", via("ForAllValues:StringLike", json!("s3.*"), json!("kms:Decrypt"))),
        ("a spec that is refused", json!({ "accessKey": { "rotation": { "interval": "1h", "overlap": "2h" } } })),
        ("a spec that is no spec", json!({ "access": "everything" })),
        ("a retained user", json!({ "deletionPolicy": "Retain" })),
    ];
    let ends = [
        "9999-12-31T23:59:59Z",
        "2036-01-01T00:00:00Z",
        "2036-01-01T00:00:00+14:00",
        "2036-01-01",
        "2036",
        "20360101T000000Z",
        "2036-01-01T00:00:00",
        "2036-01-01 00:00:00Z",
        "+292278993-01-01T00:00:00Z",
        "never",
        "",
        "4102444800",
        "-1",
        "2036-01-01T00:00:00Z[Europe/Berlin]",
        "2036-02-30T00:00:00Z",
        "2036-01-01T24:00:00Z",
    ];
    let ends = ends.into_iter().map(|end| (format!("an end {end:?}"), json!({ "expiresAt": end })));
    let odd = [json!(4_102_444_800_u64), json!(null), json!(true), json!({ "at": "2036" })];
    let odd = odd.into_iter().map(|end| (format!("an end {end}"), json!({ "expiresAt": end })));
    cases.into_iter().map(|(what, spec)| (what.to_owned(), spec)).chain(ends).chain(odd).collect()
}

/// What of an object is no spec.
fn objects() -> Vec<(String, Value)> {
    let edited = |what: &str, edit: fn(&mut Value)| {
        let mut edited = object(&json!({}));
        edit(&mut edited);
        (what.to_owned(), edited)
    };
    vec![
        edited("paused", |it| it["metadata"]["annotations"] = json!({ "s3access.dev/paused": "true" })),
        edited("abandoned", |it| it["metadata"]["annotations"] = json!({ "s3access.dev/abandon": "true" })),
        edited("a rotation for ever", |it| it["metadata"]["annotations"] = json!({ "s3access.dev/rotate": "9999" })),
        edited("an end in an annotation", |it| {
            it["metadata"]["annotations"] = json!({ "s3access.dev/expires-at": "9999" })
        }),
        edited("an end in the status", |it| it["status"] = json!({ "expiresAt": "9999-01-01T00:00:00Z" })),
        edited("a status of another class", |it| it["status"] = json!({ "className": "open" })),
        edited("suspended", |it| it["spec"]["suspend"] = json!(true)),
        edited("no finalizer", |it| it["metadata"]["finalizers"] = json!([])),
        edited("larger than any", |it| it["metadata"]["annotations"] = json!({ "x": "x".repeat(200_000) })),
    ]
}

#[test]
fn invariant_7_no_field_gets_a_key_out_of_its_place_and_time() {
    let specs = conditions().into_iter().chain(fields()).map(|(what, spec)| (what, object(&spec)));
    let cases: Vec<(String, Value)> = specs.chain(objects()).collect();
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|(what, object)| {
            let found = escape(object);
            println!("| {what} | {} |", found.as_deref().unwrap_or("bound"));
            found.map(|found| format!("{what}: {found}"))
        })
        .collect();
    println!("{} attacks on place and time", cases.len());
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
    assert!(cases.len() >= 120, "{} attacks", cases.len());
}

#[test]
fn within_its_place_and_time_a_key_works() {
    let desired = Desired::of(
        &serde_json::from_value(object(
            &json!({ "conditions": { "sourceIps": ["10.1.0.0/16"], "sourceVpcs": ["vpc-00000001"] } }),
        ))
        .unwrap(),
        &account(),
        &cluster(),
        &class(),
    )
    .unwrap();
    let Some(DesiredPolicy::Managed { document, .. }) = desired.policy else { panic!("there is a policy") };
    let document = Document::parse(&document.text(), "aws").unwrap();
    for (within, place, context) in requests() {
        let allowed = document.decide("s3:GetObject", "arn:aws:s3:::team-a.data/x", &context).is_allowed();
        assert_eq!(allowed, within, "{place}");
    }
    // S3 uses the key for the user from an address of its own.
    let via = Context::new().with("kms:ViaService", "s3.eu-west-1.amazonaws.com").with("aws:SourceIp", "192.0.2.9");
    let at = |when: &str| document.decide("kms:Decrypt", KEY, &via.clone().with("aws:CurrentTime", when)).is_allowed();
    assert!(at("2026-01-15T00:00:00Z") && !at(END));
}

/// The judge sees an escape where there is one: otherwise it would prove nothing.
#[test]
fn the_judge_of_terms_knows_an_escape() {
    for condition in [
        json!({}),
        json!({ "IpAddress": { "aws:SourceIp": "10.0.0.0/8" } }),
        json!({ "IpAddress": { "aws:SourceIp": "10.0.0.0/8" }, "Bool": { "aws:SecureTransport": "true" } }),
        json!({ "Bool": { "aws:SecureTransport": "true" }, "DateLessThan": { "aws:CurrentTime": END } }),
        json!({ "IpAddressIfExists": { "aws:SourceIp": "10.0.0.0/8" }, "Bool": { "aws:SecureTransport": "true" },
            "DateLessThan": { "aws:CurrentTime": END } }),
    ] {
        let statement = json!({ "Effect": "Allow", "Action": "s3:*", "Resource": INSIDE, "Condition": condition });
        assert!(escape_of(&policy::Document::new(vec![statement])).is_some(), "{condition}");
    }
}
