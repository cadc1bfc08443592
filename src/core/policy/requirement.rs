//! One condition that a statement has to be under: an operator of IAM on a key, and how it is put beside what the statement
//! says itself.
//!
//! IAM holds a statement to all of its operators and keys, and to one of the values of each (IAM user guide, "Conditions with
//! multiple context keys or values"). So another operator on the same key (`…IfExists`, `ForAnyValue:…`, `Not…`) only narrows,
//! and where the very operator and key stand there already, the values are those that both allow. IAM's keys are the same in
//! either case.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Requirement {
    /// The request comes from one of these addresses.
    Addresses(Vec<IpNet>),
    /// The request comes from one of these VPCs.
    Vpcs(Vec<String>),
    /// The request comes through one of these VPC endpoints.
    Endpoints(Vec<String>),
    /// The request comes over TLS.
    Tls,
    /// The request comes before that time.
    Before(Timestamp),
}

/// A condition that can be tried on a server: under one value it always holds, under another never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provable {
    /// `aws:SourceIp`.
    Addresses,
    /// `aws:SecureTransport`.
    Tls,
    /// `aws:CurrentTime`.
    Before,
}

/// All of them.
pub const PROVABLE: [Provable; 3] = [Provable::Addresses, Provable::Tls, Provable::Before];

impl Provable {
    /// The condition key.
    pub fn key(self) -> &'static str {
        match self {
            Self::Addresses => "aws:SourceIp",
            Self::Tls => "aws:SecureTransport",
            Self::Before => "aws:CurrentTime",
        }
    }

    /// A condition that holds for a request that comes over TLS or not, and one that does not.
    pub fn conditions(self, over_tls: bool) -> (Value, Value) {
        let key = self.key();
        match self {
            Self::Addresses => (
                json!({ "IpAddress": { key: ["0.0.0.0/0", "::/0"] } }),
                json!({ "IpAddress": { key: ["255.255.255.255/32"] } }),
            ),
            Self::Tls => {
                let when = |tls: bool| json!({ "Bool": { key: tls.to_string() } });
                (when(over_tls), when(!over_tls))
            }
            Self::Before => {
                let before = |time: &str| json!({ "DateLessThan": { key: time } });
                (before("9000-01-01T00:00:00Z"), before("2000-01-01T00:00:00Z"))
            }
        }
    }
}

/// Why a statement's own condition cannot be met together with a required one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clash {
    /// No value meets both.
    Apart,
    /// A value cannot be compared: a policy variable, or of no known form.
    Unclear,
}

impl Requirement {
    /// The operator and the key.
    pub(super) fn place(&self) -> (&'static str, &'static str) {
        match self {
            Self::Addresses(_) => ("IpAddress", "aws:SourceIp"),
            Self::Vpcs(_) => ("StringEquals", "aws:SourceVpc"),
            Self::Endpoints(_) => ("StringEquals", "aws:SourceVpce"),
            Self::Tls => ("Bool", "aws:SecureTransport"),
            Self::Before(_) => ("DateLessThan", "aws:CurrentTime"),
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Addresses(nets) => json!(nets.iter().map(ToString::to_string).collect::<Vec<_>>()),
            Self::Vpcs(ids) | Self::Endpoints(ids) => json!(ids),
            Self::Tls => json!("true"),
            Self::Before(time) => json!(time.to_string()),
        }
    }

    /// What is required and what these values allow, together.
    fn meet(&self, own: &[String]) -> Result<Self, Clash> {
        let met = match self {
            Self::Addresses(nets) => {
                let own: Option<Vec<IpNet>> = own.iter().map(|text| net(text)).collect();
                Self::Addresses(common(nets, &own.ok_or(Clash::Unclear)?))
            }
            Self::Vpcs(ids) => Self::Vpcs(both(ids, own)?),
            Self::Endpoints(ids) => Self::Endpoints(both(ids, own)?),
            Self::Tls if own.iter().any(|text| text.eq_ignore_ascii_case("true")) => Self::Tls,
            Self::Tls if own.iter().all(|text| text.eq_ignore_ascii_case("false")) => return Err(Clash::Apart),
            Self::Tls => return Err(Clash::Unclear),
            // Before one of several times is before the latest of them.
            Self::Before(time) => {
                let own: Option<Vec<Timestamp>> = own.iter().map(|text| text.parse().ok()).collect();
                let latest = own.ok_or(Clash::Unclear)?.into_iter().max().ok_or(Clash::Apart)?;
                Self::Before(latest.min(*time))
            }
        };
        if met.is_empty() { Err(Clash::Apart) } else { Ok(met) }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Addresses(nets) => nets.is_empty(),
            Self::Vpcs(ids) | Self::Endpoints(ids) => ids.is_empty(),
            Self::Tls | Self::Before(_) => false,
        }
    }

    /// Whether all that these values allow meets it.
    fn covers(&self, own: &[String]) -> bool {
        match self {
            Self::Addresses(nets) => {
                own.iter().all(|text| net(text).is_some_and(|own| nets.iter().any(|net| net.contains(&own))))
            }
            Self::Vpcs(ids) | Self::Endpoints(ids) => own.iter().all(|text| ids.contains(text)),
            Self::Tls => own.iter().all(|text| text.eq_ignore_ascii_case("true")),
            // As it is written here: what else may be a time, servers read in their own ways.
            Self::Before(time) => own
                .iter()
                .all(|text| text.parse::<Timestamp>().is_ok_and(|own| own <= *time && own.to_string() == *text)),
        }
    }

    /// Puts it beside what the conditions say already.
    pub(super) fn put_into(&self, condition: &mut Map<String, Value>) -> Result<(), Clash> {
        let (operator, name) = self.place();
        let keys = condition.entry(operator).or_insert_with(|| json!({}));
        let keys = keys.as_object_mut().ok_or(Clash::Unclear)?;
        let same: Vec<String> = keys.keys().filter(|key| key.eq_ignore_ascii_case(name)).cloned().collect();
        let mut met = self.clone();
        for key in same {
            let own = keys.remove(&key).unwrap_or_default();
            met = met.meet(&texts(&own).ok_or(Clash::Unclear)?)?;
        }
        keys.insert(name.to_owned(), met.value());
        Ok(())
    }

    /// Whether the conditions of a statement see to it.
    pub(super) fn is_met_by(&self, condition: &Value) -> bool {
        let (operator, name) = self.place();
        let same = |keys: &Map<String, Value>| -> Vec<Value> {
            keys.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, values)| values.clone()).collect()
        };
        match condition[operator].as_object().map(same).as_deref() {
            // Which of two that differ by case counts, nobody says.
            Some([own]) => texts(own).is_some_and(|own| !own.is_empty() && self.covers(&own)),
            _ => false,
        }
    }
}

/// The values of a key, as IAM reads them: `true` and `"true"` alike.
fn texts(values: &Value) -> Option<Vec<String>> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    };
    match values {
        Value::Array(values) => values.iter().map(text).collect(),
        value => text(value).map(|text| vec![text]),
    }
}

/// A range of addresses, or a single one, which IAM takes for a range of one. Leading zeros are not taken, which some read as
/// octal.
pub(super) fn net(text: &str) -> Option<IpNet> {
    let Some((address, prefix)) = text.split_once('/') else {
        return text.parse::<IpAddr>().ok().map(IpNet::from);
    };
    let digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
    IpNet::new(address.parse().ok()?, prefix.parse().ok().filter(|_| digits)?).ok().map(|net| net.trunc())
}

/// The addresses that are in both. Two ranges are apart, or one is within the other.
pub(super) fn common(one: &[IpNet], other: &[IpNet]) -> Vec<IpNet> {
    let pairs = one.iter().flat_map(|one| other.iter().map(move |other| (one, other)));
    let shared = pairs.filter_map(|(one, other)| match (one.contains(other), other.contains(one)) {
        (true, _) => Some(*other),
        (_, true) => Some(*one),
        _ => None,
    });
    let mut shared = IpNet::aggregate(&shared.collect());
    shared.sort();
    shared
}

/// The ids that are in both; with a policy variable, nobody can tell.
fn both(ids: &[String], own: &[String]) -> Result<Vec<String>, Clash> {
    if own.iter().any(|text| text.contains("${")) {
        return Err(Clash::Unclear);
    }
    Ok(ids.iter().filter(|id| own.contains(id)).cloned().collect())
}
