//! Values of conditions: those that the operator cannot read, that no request has, and that exclude each other.

use std::net::IpAddr;

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::Value;

use super::{Finding, Kind, Statement, finding, prefixes, quoted};
use crate::core::class::{Effort, Pattern};

/// One condition: an operator with a key and its values.
pub(super) struct Test<'a> {
    /// The operator without its set and `IfExists`.
    pub operator: &'a str,
    pub key: &'a str,
    pub values: Vec<&'a Value>,
    /// A request without the key does not meet it.
    pub needs_key: bool,
    pub negated: bool,
    /// It is about one value, not a set.
    pub single: bool,
    pub at: String,
}

impl<'a> Test<'a> {
    pub(super) fn of(statement: &Statement<'_>, operator: &'a str, key: &'a str, values: &'a Value) -> Self {
        let at = format!("{}.Condition.{} {}", statement.at, quoted(operator).trim_matches('"'), quoted(key));
        let (set, rest) = operator.rsplit_once(':').unwrap_or(("", operator));
        let plain = rest.strip_suffix("IfExists").unwrap_or(rest);
        let negated = plain.contains("Not");
        let values: Vec<&Value> = match values {
            Value::Array(values) => values.iter().collect(),
            value => vec![value],
        };
        let asks_for_none = plain == "Null" && values.iter().any(|value| *value == true || *value == "true");
        let single = set.is_empty() && plain == rest;
        let needs_key = set != "ForAllValues" && plain == rest && !negated && !asks_for_none;
        Self { operator: plain, key, values, needs_key, negated, single, at }
    }

    /// Whether it is about that key.
    pub(super) fn is_about(&self, key: &str) -> bool {
        self.key.eq_ignore_ascii_case(key)
    }
}

/// Keys with few values (Amazon S3 API reference, PutObject; Amazon S3 user guide, "Signature Version 4 authentication
/// specific policy keys").
const VALUES: [(&str, &[&str]); 6] = [
    ("s3:x-amz-server-side-encryption", &["AES256", "aws:kms", "aws:kms:dsse", "aws:fsx", "aws:backup"]),
    ("s3:object-lock-mode", &["GOVERNANCE", "COMPLIANCE"]),
    ("s3:object-lock-legal-hold", &["ON", "OFF"]),
    ("s3:x-amz-metadata-directive", &["COPY", "REPLACE"]),
    ("s3:authType", &["REST-HEADER", "REST-QUERY-STRING", "POST"]),
    ("s3:signatureversion", &["AWS", "AWS4-HMAC-SHA256"]),
];
const ACCOUNTS: [&str; 5] =
    ["aws:PrincipalAccount", "aws:ResourceAccount", "aws:SourceAccount", "s3:ResourceAccount", "kms:CallerAccount"];
const ADDRESSES: [&str; 2] = ["aws:SourceIp", "aws:VpcSourceIp"];
const PREFIX: &str = "s3:prefix";
/// So many values of one condition are held against those of another: each of one against each of the other.
const MOST_VALUES: usize = 32;

/// The first value that is surely not meant.
pub(super) fn check(statement: &Statement<'_>, test: &Test<'_>) -> Option<Finding> {
    if test.values.is_empty() {
        let met = if test.needs_key { "no request meets it" } else { "it says nothing" };
        return Some(finding(
            Kind::ConditionValue,
            test.at.clone(),
            format!("it has no values, so that {met}"),
            "write the values, or leave the condition out",
        ));
    }
    let buckets = if test.is_about(PREFIX) { buckets_of(statement) } else { Vec::new() };
    test.values.iter().find_map(|value| {
        let text = text_of(value);
        let (kind, means, instead) = misread(test, &text).or_else(|| of_prefix(test, &buckets, &text))?;
        Some(finding(kind, format!("{}: {}", test.at, quoted(&text)), means, instead))
    })
}

type Verdict = (Kind, String, String);

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// A value that its operator does not read as it is meant.
fn misread(test: &Test<'_>, text: &str) -> Option<Verdict> {
    let wrong = |means: &str, instead: String| Some((Kind::ConditionValue, means.to_owned(), instead));
    if text.contains("${") {
        return None;
    }
    let is_address = ADDRESSES.iter().any(|key| test.is_about(key));
    match test.operator {
        "Bool" | "Null" if !["true", "false"].contains(&text.to_ascii_lowercase().as_str()) => {
            wrong("it is neither true nor false", "write \"true\" or \"false\"".to_owned())
        }
        "IpAddress" | "NotIpAddress" if !is_range(text) => {
            wrong("it is no range of addresses", "write it as 203.0.113.0/24".to_owned())
        }
        operator if operator.starts_with("Numeric") && text.parse::<f64>().is_err() => {
            wrong("it is no number", "write a number".to_owned())
        }
        operator if operator.starts_with("Date") && !is_date(text) => {
            wrong("it is no date", "write it as 2026-01-31T00:00:00Z".to_owned())
        }
        operator if operator.starts_with("Arn") && text != "*" && text.split(':').count() < 6 => {
            wrong("it is no ARN: one has six parts", "write the whole ARN, with * for what may be any".to_owned())
        }
        "StringEquals" | "StringNotEquals" if text.contains('*') => wrong(
            "that operator compares letter by letter, so that the * stands for itself",
            format!("use {}", if test.negated { "StringNotLike" } else { "StringLike" }),
        ),
        operator if operator.starts_with("String") && is_address => wrong(
            "a text is compared, and no address is equal to a range",
            format!("use {}", if test.negated { "NotIpAddress" } else { "IpAddress" }),
        ),
        operator if operator.starts_with("String") && ACCOUNTS.iter().any(|key| test.is_about(key)) => {
            let is_account = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
            let instead = "write the account's number, of 12 digits".to_owned();
            if is_account || text.contains(['*', '?']) { None } else { wrong("it is no account's number", instead) }
        }
        "StringEquals" | "StringNotEquals" => {
            let (_, known) = VALUES.iter().find(|(key, _)| test.is_about(key))?;
            let instead = format!("write one of {}", known.join(", "));
            if known.contains(&text) { None } else { wrong("no request has that value", instead) }
        }
        _ => None,
    }
}

/// The buckets that the statement names without a wildcard.
fn buckets_of<'a>(statement: &Statement<'a>) -> Vec<&'a str> {
    let named = statement.resources.1.iter().filter_map(|resource| resource.split_once(":s3:::")?.1.split('/').next());
    named.filter(|bucket| !bucket.contains(['*', '?', '$'])).collect()
}

fn of_prefix(test: &Test<'_>, buckets: &[&str], text: &str) -> Option<Verdict> {
    if !test.is_about(PREFIX) || text == "/" {
        return None;
    }
    let (means, instead) = prefixes::judge(text, buckets)?;
    Some((Kind::Prefix, means, instead))
}

/// An address, or a range of them as CIDR writes it.
fn is_range(text: &str) -> bool {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= most))
}

/// ISO 8601 as the W3C has it, or seconds since 1970 (IAM user guide, "Date condition operators").
fn is_date(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(text)
        || (text.len() == 10 && text.parse::<Date>().is_ok())
        || (text.contains('T') && text.parse::<Timestamp>().is_ok())
        || text.split_once('-').is_some_and(|(year, month)| digits(year) && digits(month) && month.len() == 2)
}

/// Conditions that no request meets together, as each is about the same single value.
pub(super) fn contradiction(tests: &[Test<'_>], effort: &Effort) -> Option<Finding> {
    tests.iter().find_map(|test| {
        let others = tests.iter().filter(|other| other.key.eq_ignore_ascii_case(test.key));
        let against = others.filter(|other| other.at != test.at).find(|other| exclude(test, other, effort))?;
        let means = format!("no request meets this and {} together", against.operator);
        Some(finding(Kind::ConditionValue, test.at.clone(), means, "leave one of them out"))
    })
}

/// Whether the first, which asks for certain texts, leaves none that the other takes. Of very many values, nothing is said.
fn exclude(test: &Test<'_>, other: &Test<'_>, effort: &Effort) -> bool {
    if test.values.len().max(other.values.len()) > MOST_VALUES {
        return false;
    }
    let texts = |test: &Test<'_>| -> Option<Vec<String>> {
        let texts: Vec<String> = test.values.iter().map(|value| text_of(value)).collect();
        texts.iter().all(|text| !text.contains("${")).then_some(texts)
    };
    let is_absent = |test: &Test<'_>| test.operator == "Null" && !test.needs_key;
    if test.needs_key && test.operator != "Null" && is_absent(other) {
        return true;
    }
    if !(test.single && other.single && test.needs_key) {
        return false;
    }
    let (Some(wanted), Some(against)) = (texts(test), texts(other)) else { return false };
    let meets = |one: &str, other: &Pattern| Pattern::new(one).meets(other, effort);
    let plain = |text: &&String| !text.contains(['*', '?']);
    match (test.operator, other.operator) {
        ("StringEquals" | "StringLike", "StringEquals" | "StringLike") => {
            let against: Vec<Pattern> = against.iter().map(|text| Pattern::new(text)).collect();
            !wanted.iter().any(|one| against.iter().any(|other| meets(one, other)))
        }
        ("StringEquals", "StringNotEquals") => wanted.iter().all(|one| against.contains(one)),
        ("StringEquals", "StringNotLike") => {
            wanted.iter().all(|one| plain(&one) && against.iter().any(|other| Pattern::new(other).matches(one)))
        }
        ("NumericLessThan" | "NumericLessThanEquals", "NumericGreaterThan" | "NumericGreaterThanEquals") => {
            let number = |texts: &[String]| texts.first().and_then(|text| text.parse::<f64>().ok());
            let several = wanted.len() > 1 || against.len() > 1;
            !several && number(&wanted).zip(number(&against)).is_some_and(|(most, least)| most < least)
        }
        ("Bool", "Bool") => wanted != against && wanted.len() == 1 && against.len() == 1,
        _ => false,
    }
}
