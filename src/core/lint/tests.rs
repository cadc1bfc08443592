#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::reference::{services, without_variables};
use super::*;
use crate::api::PolicySpec;

const PLANTED: &str = include_str!("tests/planted.tsv");

fn account() -> Account {
    Account { id: "123456789012".to_owned(), partition: "aws".to_owned() }
}

fn of_statements(statements: Vec<Value>) -> Vec<Finding> {
    let policy = Some(PolicySpec { statements, ..PolicySpec::default() });
    findings(&S3AccessUserSpec { policy, ..S3AccessUserSpec::default() }, &account())
}

fn of_grant(grant: &Value) -> Vec<Finding> {
    let access = vec![serde_json::from_value(grant.clone()).unwrap()];
    findings(&S3AccessUserSpec { access, ..S3AccessUserSpec::default() }, &account())
}

fn kinds(found: &[Finding]) -> BTreeSet<String> {
    found.iter().map(|finding| format!("{:?}", finding.kind)).collect()
}

/// Each mistake with the kind that it is of.
fn planted() -> impl Iterator<Item = (&'static str, Value)> {
    let lines = PLANTED.lines().filter(|line| !line.starts_with('#')).map(|line| line.split_once('\t').unwrap());
    lines.map(|(kind, planted)| (kind, serde_json::from_str(planted).unwrap()))
}

#[test]
fn planted_mistakes_are_found_and_named_for_what_they_are() {
    let (mut all, mut found) = (BTreeMap::<&str, usize>::new(), 0);
    let mut missed = Vec::new();
    for (kind, planted) in planted() {
        *all.entry(kind).or_default() += 1;
        let told =
            if planted["bucket"].is_string() { of_grant(&planted) } else { of_statements(vec![planted.clone()]) };
        if kinds(&told).contains(kind) {
            found += 1;
        } else {
            missed.push(format!("{kind}: {planted}, but {:?}", kinds(&told)));
        }
    }
    let planted: usize = all.values().sum();
    println!("{found} of {planted} found; missed:\n{}", missed.join("\n"));
    assert!(planted >= 150 && all.len() >= 10, "{all:?}");
    assert!(found * 100 >= planted * 95, "{found} of {planted}:\n{}", missed.join("\n"));
}

/// What one mistake brings with it: an ARN of nothing, say, is of no kind that its actions are about.
#[test]
fn a_planted_mistake_is_told_once() {
    for (kind, planted) in planted().filter(|(_, planted)| planted["bucket"].is_null()) {
        let told = of_statements(vec![planted.clone()]);
        let others: Vec<String> =
            told.iter().filter(|finding| format!("{:?}", finding.kind) != kind).map(ToString::to_string).collect();
        assert!(others.is_empty() || told.len() == 1, "{kind}: {planted}: {others:#?}");
    }
}

#[test]
fn a_mistake_is_told_of_a_denial_as_of_what_is_allowed() {
    for (kind, mut planted) in planted().filter(|(_, planted)| planted["bucket"].is_null()) {
        let allowed = of_statements(vec![planted.clone()]);
        planted["Effect"] = json!(if planted["Effect"] == "Deny" { "Allow" } else { "Deny" });
        assert_eq!(kinds(&allowed), kinds(&of_statements(vec![planted])), "{kind}");
    }
}

/// Every action of the reference, on every kind of thing that it is about, under every key that it knows.
#[test]
fn whatever_the_reference_allows_is_no_mistake() {
    let mut tried = 0;
    for service in services() {
        for action in service.actions.values() {
            let types = action.resources.iter().map(|place| &service.resources[*place]);
            let formats: Vec<String> = types.map(|kind| without_variables(kind.format, "abc")).collect();
            for resource in if formats.is_empty() { vec!["*".to_owned()] } else { formats } {
                let mut statement = json!({
                    "Effect": "Allow", "Action": format!("{}:{}", service.prefix, action.name), "Resource": resource,
                });
                assert_eq!(of_statements(vec![statement.clone()]), [], "{statement}");
                for key in action.keys.iter().map(|place| service.keys[*place].name.replace('*', "abc")) {
                    statement["Condition"] = json!({ "StringLike": { key: "123*" } });
                    assert_eq!(of_statements(vec![statement.clone()]), [], "{statement}");
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 2_000, "{tried}");
}

/// Also the preset, to the letter of the console's walk-through.
#[test]
fn what_grants_and_preset_come_to_is_no_mistake() {
    let levels = ["ReadOnly", "WriteOnly", "ReadWrite", "Admin"];
    let grants = levels.iter().enumerate().flat_map(|(index, level)| {
        [json!([]), json!(["2026/", "b"])].into_iter().enumerate().map(move |(more, prefixes)| {
            json!({ "bucket": format!("reports-{index}{more}"), "level": level, "prefixes": prefixes })
        })
    });
    let spec = json!({ "access": grants.collect::<Vec<_>>(), "policy": { "preset": "ReadWriteNoDelete" } });
    let spec: S3AccessUserSpec = serde_json::from_value(spec).unwrap();
    let compiled = crate::core::policy::compile(
        &spec,
        &account(),
        &crate::core::class::Class::none(),
        &crate::core::policy::Terms::default(),
    )
    .unwrap();
    let document = compiled.0.unwrap();
    let statements: Vec<Value> = document.statements().into_iter().cloned().collect();
    assert!(statements.len() >= 10, "{statements:?}");
    assert_eq!(of_statements(statements), []);
}

#[test]
fn what_cannot_be_told_is_not_told() {
    let allow = |extra: Value| {
        let mut statement =
            json!({ "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::reports/*" });
        extra.as_object().unwrap().iter().for_each(|(element, value)| statement[element] = value.clone());
        statement
    };
    let condition = |operator: &str, key: &str, value: Value| json!({ "Condition": { operator: { key: value } } });
    for extra in [
        json!({ "Action": "*" }),
        json!({ "Action": ["ec2:RunInstances", "s3:*"] }),
        json!({ "Resource": "arn:aws:s3:::*", "Action": "s3:ListAllMyBuckets" }),
        json!({ "Resource": "arn:aws:s3:::${aws:PrincipalTag/bucket}/*" }),
        json!({ "Resource": "arn:aws:s3:::reports*", "Action": ["s3:GetObject", "s3:ListBucket"] }),
        json!({ "Resource": "*", "Action": ["s3:GetObject", "kms:Decrypt", "sts:GetCallerIdentity"] }),
        json!({ "Resource": "no ARN" }),
        json!({ "Resource": "arn:aws:s3:::*Reports*" }),
        condition("StringLikeIfExists", "s3:prefix", json!("a*")),
        condition("StringNotLike", "s3:prefix", json!("a*")),
        condition("ForAllValues:StringLike", "s3:prefix", json!("a*")),
        condition("Null", "s3:prefix", json!("true")),
        condition("StringEquals", "aws:SomethingNew", json!("a")),
        condition("StringEquals", "AWS:principalORGid", json!("o-1")),
        condition("StringEquals", "s3:EXISTINGobjectTAG/Team", json!("a")),
        condition("StringEquals", "ec2:Region", json!("a")),
        condition("IpAddress", "aws:SourceIp", json!(["10.0.0.0/8", "2001:db8::/32", "192.0.2.1"])),
        condition(
            "DateLessThan",
            "aws:CurrentTime",
            json!(["2026-12-31", "2026-12-31T00:00:00Z", "1798675200", "2026-12"]),
        ),
        condition("Bool", "aws:SecureTransport", json!(true)),
        condition("StringEquals", "aws:PrincipalAccount", json!("${aws:ResourceAccount}")),
    ] {
        assert_eq!(of_statements(vec![allow(extra.clone())]), [], "{extra}");
    }
    let but = json!({ "Effect": "Allow", "NotAction": "s3:DeleteObject", "NotResource": "arn:aws:s3:::reports" });
    assert_eq!(of_statements(vec![but]), []);
}

#[test]
fn an_action_that_is_none_leaves_nothing_out_either() {
    let told = of_statements(vec![json!({ "Effect": "Allow", "NotAction": "s3:DeleteObjects", "Resource": "*" })]);
    assert_eq!(told.len(), 1);
    assert!(told[0].at.ends_with(".NotAction \"s3:DeleteObjects\"") && told[0].means.contains("leaves out nothing"));
}

#[test]
fn the_place_and_the_remedy_are_told() {
    let read = |action: &str, resource: &str| json!({ "Effect": "Allow", "Action": action, "Resource": resource });
    let told = of_statements(vec![
        read("s3:GetObject", "arn:${partition}:s3:::reports/*"),
        read("s3:GetObject", "arn:${partition}:s3:::reports"),
    ]);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].at, "spec.policy.statements[1].Action \"s3:GetObject\"");
    assert!(told[0].instead.contains("\"arn:aws:s3:::reports/*\""), "{}", told[0]);
}

#[test]
fn what_is_told_fits_and_counts_the_rest() {
    let long = "x".repeat(2_000);
    let statement = json!({ "Effect": "Allow", "Resource": "*", "Action": [format!("s3:{long}"), "s3:Y", "s3:Z"] });
    let found = of_statements(vec![statement; 20]);
    assert_eq!(found.len(), MOST);
    let text = told(&found, 1_000);
    let shown = text.matches("spec.policy").count();
    assert!(text.len() < 1_100 && text.contains(&format!("and {} more", MOST - shown)), "{text}");
    assert_eq!(told(&[], 1_000), "");
}

/// Policies made to take for ever, each far larger than what [`crate::core::policy::compile`] lets through to here.
#[test]
fn a_hostile_policy_costs_a_moment() {
    let wild: Vec<String> = (0..60).map(|n| format!("s3:{}{n}", "*a".repeat(60))).collect();
    let arns: Vec<String> = (0..60).map(|n| format!("arn:aws:s3:::{}{n}", "*?a".repeat(300))).collect();
    let names: Vec<String> = (0..600).map(|n| format!("s3:GetBuckt{n}")).collect();
    let values: Vec<String> = (0..200).map(|n| format!("{}{n}", "*a".repeat(40))).collect();
    let few = &values[..MOST];
    let started = Instant::now();
    for (actions, resources) in [(&wild, &arns), (&names, &arns), (&wild, &names)] {
        for values in [&values[..], few] {
            let condition = json!({ "StringLike": { "s3:prefix": values }, "StringEquals": { "s3:PREFIX": values } });
            let statement =
                json!({ "Effect": "Allow", "Action": actions, "Resource": resources, "Condition": condition });
            assert!(of_statements(vec![statement; 2]).len() <= MOST);
        }
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

proptest! {
    #[test]
    fn whatever_stands_in_a_statement_is_read(
        action in "(s3|kms|\\*)?:?[A-Za-z*?]{0,12}",
        resource in "(arn:aws:(s3|kms):)?[:/*?a-zA-Z0-9$_{}.é-]{0,24}",
        key in "(s3|aws|kms)?:?[a-zA-Z/:-]{0,12}",
        operator in "(ForAnyValue:)?(StringEquals|Null|Bool|IpAddress|NumericEquals|DateEquals|ArnLike)(IfExists)?",
        value in any::<Option<String>>(),
    ) {
        let statement = json!({
            "Effect": "Allow", "Action": [action], "Resource": resource, "Condition": { operator: { key: value } },
        });
        let found = of_statements(vec![statement.clone()]);
        prop_assert_eq!(&found, &of_statements(vec![statement]));
        prop_assert!(found.iter().all(|finding| finding.to_string().len() < 1_000));
    }
}
