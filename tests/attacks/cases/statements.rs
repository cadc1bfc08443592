//! Statements that are no statements, or more than one.

use serde_json::{Value, json};

use super::{allow, statements};
use crate::judge::KEY;

const INSIDE: &str = "arn:aws:s3:::team-a.data";

fn elements() -> Vec<(&'static str, Value)> {
    let inside = json!(INSIDE);
    vec![
        ("all but one action", json!({ "Effect": "Allow", "NotAction": "iam:*", "Resource": inside })),
        ("all but one bucket", json!({ "Effect": "Allow", "Action": "s3:*", "NotResource": inside })),
        ("all but nothing", json!({ "Effect": "Allow", "NotAction": "x:y", "NotResource": "arn:aws:s3:::x" })),
        ("a second resource", allow(&json!("s3:*"), &json!([inside, "arn:aws:s3:::team-b.data"]))),
        ("a second action", allow(&json!(["s3:GetObject", "iam:CreateUser"]), &inside)),
        ("another's topic beside S3", allow(&json!(["sns:Publish", "s3:GetObject"]), &json!("*"))),
        ("a key beside every bucket", allow(&json!(["kms:Decrypt", "s3:GetObject"]), &json!([KEY, "*"]))),
        ("every key", allow(&json!("kms:Decrypt"), &json!("*"))),
        ("another key", allow(&json!("kms:Decrypt"), &json!("arn:aws:kms:eu-west-1:123456789012:key/team-*"))),
        ("a key by alias", allow(&json!("kms:Decrypt"), &json!("arn:aws:kms:eu-west-1:123456789012:alias/team-a"))),
        ("the key in every region", allow(&json!("kms:Decrypt"), &json!("arn:aws:kms:*:123456789012:key/team-a"))),
        ("the key in every account", allow(&json!("kms:Decrypt"), &json!("arn:aws:kms:eu-west-1:*:key/team-a"))),
        ("a key of a longer name", allow(&json!("kms:Decrypt"), &json!(format!("{KEY}*")))),
        ("the effect in lower case", json!({ "effect": "Allow", "Effect": "Deny", "Action": "s3:*", "Resource": "*" })),
        ("an effect in upper case", json!({ "Effect": "ALLOW", "Action": "s3:*", "Resource": inside })),
        ("an effect with a space", json!({ "Effect": "Allow ", "Action": "s3:*", "Resource": inside })),
        ("two effects", json!({ "Effect": ["Deny", "Allow"], "Action": "s3:*", "Resource": "*" })),
        ("an effect that is no text", json!({ "Effect": true, "Action": "s3:*", "Resource": inside })),
        (
            "the action in lower case",
            json!({ "Effect": "Allow", "action": "s3:*", "Action": "s3:*", "Resource": inside }),
        ),
        ("the resource in lower case", json!({ "Effect": "Allow", "Action": "s3:*", "resource": "*" })),
        ("no effect", json!({ "Action": "s3:*", "Resource": inside })),
        ("a principal", json!({ "Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": inside })),
        ("no principal", json!({ "Effect": "Allow", "NotPrincipal": "*", "Action": "s3:*", "Resource": inside })),
        (
            "a principal that is denied",
            json!({ "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*" }),
        ),
        ("both actions", json!({ "Effect": "Allow", "Action": "s3:*", "NotAction": "s3:x", "Resource": inside })),
        (
            "both resources",
            json!({ "Effect": "Allow", "Action": "s3:*", "Resource": inside, "NotResource": "arn:aws:s3:::x" }),
        ),
        ("a list of lists", allow(&json!([["s3:*"]]), &json!([[inside]]))),
        ("an object as resource", allow(&json!("s3:*"), &json!({ "Fn::Sub": "*" }))),
        ("an object as action", allow(&json!({ "s3": "*" }), &inside)),
        ("a number as resource", allow(&json!("s3:*"), &json!(1))),
        ("a number as action", allow(&json!(1e308), &inside)),
        ("nothing as resource", allow(&json!("s3:*"), &json!(null))),
        ("nothing as action", allow(&json!(null), &inside)),
        ("nothing beside an action", allow(&json!(["s3:GetObject", null]), &inside)),
        ("a truth beside a resource", allow(&json!("s3:GetObject"), &json!([inside, true]))),
        ("no resource", json!({ "Effect": "Allow", "Action": "s3:*" })),
        ("no action", json!({ "Effect": "Allow", "Resource": inside })),
        ("an empty list", allow(&json!("s3:*"), &json!([]))),
        ("an empty list of actions", allow(&json!([]), &inside)),
        ("another element", json!({ "Effect": "Allow", "Action": "s3:*", "Resource": inside, "Statement": [] })),
        (
            "a version in a statement",
            json!({ "Version": "2008-10-17", "Effect": "Allow", "Action": "s3:*", "Resource": inside }),
        ),
        (
            "an element with a space",
            json!({ "Effect": "Allow", "Action": "s3:*", "Resource": inside, "Condition ": {} }),
        ),
        (
            "an element of a look-alike",
            json!({ "Effect": "Allow", "\u{410}ction": "s3:*", "Action": "s3:*", "Resource": inside }),
        ),
        ("a Sid with a line's end", json!({ "Sid": "a\n", "Effect": "Allow", "Action": "s3:*", "Resource": inside })),
        ("a Sid that is a number", json!({ "Sid": 1, "Effect": "Allow", "Action": "s3:*", "Resource": inside })),
        (
            "a Sid that grants do have",
            json!({ "Sid": "ReadOnlyObjects", "Effect": "Deny", "Action": "s3:x", "Resource": "*" }),
        ),
        ("a text for a statement", json!("Allow")),
        ("a number for a statement", json!(7)),
        ("nothing for a statement", json!(null)),
        ("a list for a statement", json!([allow(&json!("s3:*"), &inside)])),
        ("an empty statement", json!({})),
        ("a nested account", allow(&json!("s3:*"), &json!("arn:${partition}:s3:::${account}"))),
        ("a nested partition", allow(&json!("s3:*"), &json!("arn:aws:s3:::team-a${partition}"))),
        ("a placeholder in a placeholder", allow(&json!("s3:*"), &json!("arn:aws:s3:::${acc${account}ount}"))),
        ("a partition in an action", allow(&json!("${partition}:*"), &inside)),
        ("an account as a bucket", allow(&json!("s3:*"), &json!("arn:aws:s3:::${account}.data"))),
    ]
}

fn conditions() -> Vec<(&'static str, Value)> {
    let with =
        |condition: Value| json!({ "Effect": "Allow", "Action": "s3:*", "Resource": INSIDE, "Condition": condition });
    let outside =
        |condition: Value| json!({ "Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": condition });
    vec![
        ("a condition that is none", with(json!("x"))),
        ("a condition that is a list", with(json!([{ "StringEquals": { "aws:username": "x" } }]))),
        ("a condition of a text", with(json!({ "StringEquals": "x" }))),
        ("a condition of a list", with(json!({ "StringEquals": [] }))),
        ("a condition nested deeper", with(json!({ "StringEquals": { "aws:username": { "x": "y" } } }))),
        ("a condition of lists in lists", with(json!({ "StringEquals": { "aws:username": [["x"]] } }))),
        ("a condition of nothing", with(json!({ "StringEquals": { "aws:username": null } }))),
        // A condition may narrow what a statement grants; none makes everything one's own.
        ("everything under a condition on the bucket", outside(json!({ "StringLike": { "s3:prefix": "team-a.*" } }))),
        ("everything of one's account", outside(json!({ "StringEquals": { "aws:ResourceAccount": "123456789012" } }))),
        (
            "everything under one's own tag",
            outside(json!({ "StringEquals": { "aws:ResourceTag/cost-center": "${aws:PrincipalTag/cost-center}" } })),
        ),
        ("everything, if it exists", outside(json!({ "StringEqualsIfExists": { "s3:prefix": "team-a" } }))),
        ("everything for all values", outside(json!({ "ForAllValues:StringEquals": { "s3:prefix": ["team-a"] } }))),
        ("everything where a key is missing", outside(json!({ "Null": { "s3:prefix": "true" } }))),
    ]
}

/// A statement so large, so deep or so many that what counts is that it is refused in time.
fn huge() -> Vec<(&'static str, Value)> {
    let deep = (0..100).fold(json!("x"), |inner, _| json!({ "x": inner }));
    let long = |text: &str, times: usize| text.repeat(times);
    vec![
        ("an action that walks", allow(&json!(format!("s3:{}", long("*a", 2_000))), &json!(INSIDE))),
        ("an action that walks for KMS", allow(&json!(format!("kms:{}", long("*a", 2_000))), &json!(KEY))),
        ("a resource that walks", allow(&json!("s3:*"), &json!(format!("arn:aws:s3:::{}", long("*a", 2_000))))),
        (
            "a resource of question marks",
            allow(&json!("s3:*"), &json!(format!("arn:aws:s3:::team-a.{}", long("?", 60_000)))),
        ),
        (
            "a resource of variables",
            allow(&json!("s3:*"), &json!(format!("arn:aws:s3:::{}", long("${aws:username}", 400)))),
        ),
        ("an action as long as a book", allow(&json!(format!("s3:{}", long("x", 1_000_000))), &json!(INSIDE))),
        (
            "a Sid as long as a book",
            json!({ "Sid": long("x", 1_000_000), "Effect": "Deny", "Action": "s3:*", "Resource": "*" }),
        ),
        (
            "an element of a megabyte",
            json!({ "Effect": "Deny", "Action": "s3:*", "Resource": "*", "Junk": long("x", 1_000_000) }),
        ),
        (
            "a condition of a hundred floors",
            json!({ "Effect": "Deny", "Action": "s3:*", "Resource": "*", "Condition": deep }),
        ),
        ("ten thousand actions", allow(&Value::from(vec!["s3:*a*b*c*d"; 10_000]), &json!(INSIDE))),
        ("ten thousand resources", allow(&json!("s3:*"), &Value::from(vec!["arn:aws:s3:::team-a.*a*b*c"; 10_000]))),
        (
            "ten thousand keys of a condition",
            json!({ "Effect": "Deny", "Action": "s3:*", "Resource": "*", "Condition": { "StringLike":
                (0..10_000).map(|n| (format!("aws:PrincipalTag/{n}"), json!("*"))).collect::<serde_json::Map<_, _>>() } }),
        ),
    ]
}

pub fn all() -> Vec<(String, Value)> {
    let each = elements().into_iter().chain(conditions()).chain(huge());
    let mut cases: Vec<_> = each.map(|(what, statement)| (what.to_owned(), statements(vec![statement]))).collect();
    let walk =
        allow(&json!(format!("s3:{}", "*a".repeat(60))), &json!(format!("arn:aws:s3:::team-a.{}", "*a".repeat(300))));
    cases.push(("sixty-four statements that walk".to_owned(), statements(vec![walk; 64])));
    let deny = json!({ "Effect": "Deny", "Action": "s3:*", "Resource": "*" });
    cases.push(("ten thousand statements".to_owned(), statements(vec![deny; 10_000])));
    cases
}
