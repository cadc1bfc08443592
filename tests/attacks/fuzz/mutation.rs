//! Hostile texts and values, and what becomes of an honest object that somebody puts them into.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Texts that have once been somebody's undoing.
const TEXTS: &[&str] = &[
    "",
    " ",
    "\n",
    "\0",
    "\u{7f}",
    "\u{202e}",
    "\u{feff}",
    "\u{1f4a9}",
    "AKIA\nX",
    "*",
    "**",
    "?",
    "${",
    "${*}",
    "${aws:username}",
    "{namespace}",
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "'",
    "\"",
    "\\",
    "/",
    "//",
    "/../",
    "..",
    ".",
    "-",
    "--",
    "a:b",
    ":",
    "::",
    "%00",
    "%s",
    "team-a.data",
    "team-b.data",
    "arn:aws:s3:::*",
    "arn:aws:iam::123456789012:policy/shared-x",
    "99999999999999999999h",
    "-1h",
    "0s",
    "1ms",
    "2160h",
    "87600h",
    "9223372036854775807s",
    "1e309",
    "NaN",
    "true",
    "null",
    "2026-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999Z",
    "-009999-01-02T01:59:59Z",
    "999999999999",
    "Force",
    "Retain",
    "Admin",
    "template",
];

/// Parts that cost more the oftener they stand.
const PARTS: &[&str] = &[
    "*a",
    "a",
    "?",
    "-",
    "not ",
    "(",
    "[",
    "{",
    "{{",
    "{%",
    "|upper",
    ".x",
    "[0]",
    "1+",
    "${aws:username}",
    "9",
    "\u{430}",
    "\n",
    "/",
    "*",
];

pub fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(TEXTS).prop_map(str::to_owned),
        2 => "\\PC{0,20}",
        1 => prop::collection::vec(any::<char>(), 0..8).prop_map(|all| all.into_iter().collect()),
        2 => (prop::sample::select(PARTS), 0..3_000_usize).prop_map(|(part, times)| part.repeat(times)),
        1 => (prop::sample::select(TEXTS), prop::sample::select(TEXTS)).prop_map(|(a, b)| format!("{a}{b}")),
    ]
}

pub fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        6 => text().prop_map(Value::from),
        // As deep as JSON may come over the wire.
        1 => (0..120_usize).prop_map(|floors| (0..floors).fold(json!("x"), |inner, _| json!([inner]))),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((text(), inner), 0..6)
                .prop_map(|all| Value::from(all.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// What is done to one place of an object.
#[derive(Clone, Debug)]
enum Harm {
    Replace(Value),
    Remove,
    Append(String),
    Multiply(usize),
    Add(String, Value),
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        6 => value().prop_map(Harm::Replace),
        3 => text().prop_map(|text| Harm::Replace(Value::from(text))),
        1 => Just(Harm::Remove),
        3 => text().prop_map(Harm::Append),
        1 => (2..200_usize).prop_map(Harm::Multiply),
        1 => (text(), value()).prop_map(|(key, value)| Harm::Add(key, value)),
    ]
}

/// One of the objects, with one to three places harmed.
pub fn harmed(seeds: Vec<Value>) -> impl Strategy<Value = Value> {
    let harms = prop::collection::vec((any::<prop::sample::Index>(), harm()), 1..4);
    (prop::sample::select(seeds), harms).prop_map(|(mut object, harms)| {
        for (place, harm) in harms {
            let at = place.index(count(&object));
            visit(&mut object, &mut 0, at, &harm);
        }
        object
    })
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(all) => all.iter().map(count).sum(),
        Value::Object(all) => all.values().map(count).sum(),
        _ => 0,
    }
}

/// Does it to the place of that number, counted from the top.
fn visit(value: &mut Value, number: &mut usize, at: usize, harm: &Harm) {
    *number += 1;
    if *number - 1 == at {
        return harm.strike(value);
    }
    match value {
        Value::Array(all) => all.iter_mut().for_each(|inner| visit(inner, number, at, harm)),
        Value::Object(all) => all.values_mut().for_each(|inner| visit(inner, number, at, harm)),
        _ => {}
    }
}

impl Harm {
    fn strike(&self, value: &mut Value) {
        match (self, value) {
            (Self::Replace(new), value) => *value = new.clone(),
            (Self::Remove, value) => *value = Value::Null,
            (Self::Append(text), Value::String(old)) => old.push_str(text),
            (Self::Append(text), Value::Array(all)) => all.push(Value::from(text.as_str())),
            (Self::Append(text), Value::Object(all)) => drop(all.insert(text.clone(), Value::from(text.as_str()))),
            (Self::Multiply(times), Value::Array(all)) => {
                *all = (0..*times).flat_map(|_| all.clone()).collect();
            }
            (Self::Multiply(times), Value::String(old)) => *old = old.repeat(*times),
            (Self::Add(key, new), Value::Object(all)) => drop(all.insert(key.clone(), new.clone())),
            (Self::Add(_, new), Value::Array(all)) => all.push(new.clone()),
            (_, value) => *value = Value::Null,
        }
    }
}
