//! A tenant against its class: every field of an S3AccessUser, tried for a byte outside.
//!
//! [`cases`] lists what was tried; statements are generated beside. What the operator would make of a spec is judged by
//! the strict double's evaluator of policies, which shares no code with the guard, on requests inside and outside the
//! class. [`fuzz`] makes up whatever else somebody may write, and asks that none of it does harm.
//!
//! `cargo xtask attacks` prints the list with each verdict, and takes the number of what is made up.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what was tried"
)]
#![allow(clippy::too_many_lines, reason = "lists of what is tried")]

mod cases;
mod fuzz;
mod judge;
mod operator;
mod sessions;
mod terms;
mod unused;

use judge::{Verdict, judge, tenant};
use proptest::prelude::*;
use serde_json::{Value, json};

#[test]
fn invariant_7_no_known_attack_gets_a_byte_outside_the_class() {
    let cases = cases::all();
    let (mut counts, mut failures) = ([0; 3], Vec::new());
    for (what, spec) in &cases {
        let (verdict, escape) = judge(spec);
        println!("| {what} | {verdict:?} |");
        counts[verdict as usize] += 1;
        let told = spec.to_string().chars().take(400).collect::<String>();
        failures.extend(escape.map(|escape| format!("{what} reaches {escape}: {told}")));
        if verdict == Verdict::Granted {
            failures.push(format!("{what} was taken as it stands: {told}"));
        }
    }
    println!("{} attacks: {} refused, {} cut down to the class", cases.len(), counts[0], counts[1]);
    assert!(failures.is_empty(), "{} of {} attacks:\n{}", failures.len(), cases.len(), failures.join("\n"));
    assert!(cases.len() >= 260, "{} attacks", cases.len());
}

#[test]
fn invariant_7_what_looks_like_a_way_out_leads_nowhere() {
    for (what, spec) in cases::literal() {
        assert_eq!(judge(&spec).1, None, "{what}: {spec}");
    }
}

#[test]
fn what_the_class_allows_is_granted() {
    for (what, spec) in cases::honest() {
        assert_eq!(judge(&spec), (Verdict::Granted, None), "{what}: {spec}");
    }
}

/// The oracle sees an escape where there is one: otherwise it would prove nothing.
#[test]
fn the_judge_knows_an_escape() {
    for resource in ["*", "arn:aws:s3:::*", "arn:aws:s3:::team-*", "arn:aws:s3:::${aws:PrincipalTag/cost-center}"] {
        let document = json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Action": "s3:GetObject", "Resource": resource },
        ] });
        assert!(judge::escape_of(&document).is_some(), "{resource}");
    }
}

/// How many statements to make up; mutation tests take fewer, since they run for each mutant.
fn cases() -> u32 {
    std::env::var("ATTACKS_CASES").map_or(1_500, |text| text.parse().unwrap())
}

fn one_of(choices: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(choices)
}

fn action() -> impl Strategy<Value = String> {
    let service = one_of(&["s3", "S3", "s3", "kms", "sns", "iam", "sts", "s3-object-lambda", "s*", "*"]);
    let name = one_of(&[
        "GetObject",
        "Get*",
        "*",
        "putobject",
        "List?ucket",
        "Decrypt",
        "Publish",
        "CreateUser",
        "AssumeRole",
    ]);
    prop_oneof![9 => (service, name).prop_map(|(service, name)| format!("{service}:{name}")), 1 => Just("*".to_owned())]
}

fn bucket_and_key() -> impl Strategy<Value = String> {
    let part = one_of(&[
        "team-a",
        ".",
        "team-a.",
        "team-a.data",
        "*",
        "?",
        "/",
        "team-b",
        "team-b.data",
        "data",
        "-",
        "a",
        "T",
        "${aws:username}",
        "${aws:PrincipalTag/cost-center}",
        "${*}",
        "${",
        "}",
        ":",
    ]);
    prop::collection::vec(part, 0..5).prop_map(|parts| parts.concat())
}

fn resource() -> impl Strategy<Value = String> {
    let head = one_of(&[
        "arn:aws:s3:::",
        "arn:aws:s3:::",
        "arn:aws:s3:::",
        "arn:aws:s3:::",
        "arn:aws:s3:::",
        "arn:${partition}:s3:::",
        "arn:aws:s3:*:*:",
        "arn:aws:s3:eu-west-1:${account}:accesspoint/",
        "arn:aws:*:::",
        "arn:aws:s3:",
        "arn:*",
        "arn:aws:kms:eu-west-1:${account}:key/",
        "",
    ]);
    (head, bucket_and_key()).prop_map(|(head, rest)| format!("{head}{rest}"))
}

fn statement() -> impl Strategy<Value = Value> {
    let actions = prop::collection::vec(action(), 1..3);
    let resources = prop::collection::vec(resource(), 1..3);
    let elements = (
        one_of(&["Action", "Action", "Action", "NotAction"]),
        one_of(&["Resource", "Resource", "Resource", "NotResource"]),
    );
    (one_of(&["Allow", "Allow", "Allow", "Deny"]), elements, actions, resources).prop_map(
        |(effect, (action, resource), actions, resources)| json!({ "Effect": effect, action: actions, resource: resources }),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 2_000, max_shrink_time: 60_000, ..ProptestConfig::default() })]

    #[test]
    fn invariant_7_no_generated_statements_reach_outside_the_class(statements in prop::collection::vec(statement(), 1..4)) {
        let spec = tenant(json!({ "policy": { "statements": statements } }));
        prop_assert_eq!(judge(&spec).1, None);
    }

    #[test]
    fn invariant_7_no_generated_bucket_reaches_outside_the_class(bucket in bucket_and_key(), prefix in "[a-z*?$/]{0,4}") {
        let spec = tenant(json!({ "access": [{ "bucket": bucket, "level": "Admin", "prefixes": [prefix] }] }));
        prop_assert_eq!(judge(&spec).1, None);
    }

    /// Whoever asks for what is inside gets it: a guard that refuses everything would be no use.
    #[test]
    fn what_is_plainly_inside_is_granted(key in "[a-z0-9/*?]{0,8}", bucket in "[a-z0-9]{1,8}") {
        let resources = [format!("arn:aws:s3:::team-a.{bucket}"), format!("arn:aws:s3:::team-a.{bucket}/{key}")];
        let statement = json!({ "Effect": "Allow", "Action": ["s3:GetObject", "s3:List*"], "Resource": resources });
        let spec = tenant(json!({ "policy": { "statements": [statement] } }));
        prop_assert_eq!(judge(&spec), (Verdict::Granted, None));
    }
}
