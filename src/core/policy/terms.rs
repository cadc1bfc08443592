//! Under which terms an S3AccessUser may use what it is allowed: from where, how, and until when. Each statement that allows
//! anything is put under them; a statement in force that is not under the class's is, too.

use std::collections::BTreeSet;
use std::fmt;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::requirement::{Clash, Requirement, common, net};
use crate::api::{AccessConditions, limits};
use crate::core::ends::inactive::Expiry;
use crate::core::refusal::Refusal;

/// From where, how and until when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// A request comes from one of these; `None`: from anywhere.
    places: Option<Vec<Place>>,
    tls: bool,
    until: Option<Expiry>,
}

/// Where a request comes from: it meets each of these that says anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Place {
    addresses: Vec<IpNet>,
    vpcs: Vec<String>,
    endpoints: Vec<String>,
}

impl Terms {
    /// What these conditions ask for; `field` is where they stand.
    ///
    /// # Errors
    /// [`Refusal`] with the text that is no range of addresses, VPC or endpoint, or how much there may be.
    pub fn of(conditions: &AccessConditions, field: &str) -> Result<Self, Refusal> {
        let mut places = Vec::new();
        let addresses =
            read(&conditions.source_ips, limits::SOURCE_IPS, |text| text.contains('/').then(|| net(text))?).map_err(
                |why| {
                    why.told(
                        &format!("{field}.sourceIps"),
                        "a CIDR such as 203.0.113.0/24, or 203.0.113.7/32 for one address",
                    )
                },
            )?;
        if !addresses.is_empty() {
            let mut addresses = IpNet::aggregate(&addresses);
            addresses.sort();
            places.push(Place { addresses, ..Place::default() });
        }
        let ids = |texts: &[String], at: &str, prefix: &str| {
            let mut ids = read(texts, limits::SOURCE_VPCS, |text| is_id(text, prefix).then(|| text.to_owned()))
                .map_err(|why| {
                    why.told(&format!("{field}.{at}"), &format!("an id such as {prefix}0a1b2c3d4e5f67890"))
                })?;
            ids.sort();
            ids.dedup();
            Ok::<_, Refusal>(ids)
        };
        let vpcs = ids(&conditions.source_vpcs, "sourceVpcs", "vpc-")?;
        let endpoints = ids(&conditions.source_vpc_endpoints, "sourceVpcEndpoints", "vpce-")?;
        places.extend((!vpcs.is_empty()).then(|| Place { vpcs, ..Place::default() }));
        places.extend((!endpoints.is_empty()).then(|| Place { endpoints, ..Place::default() }));
        let places = (!places.is_empty()).then_some(places);
        Ok(Self { places, tls: conditions.secure_transport, until: None })
    }

    /// No request meets them.
    pub fn unmeetable() -> Self {
        Self { places: Some(Vec::new()), ..Self::default() }
    }

    /// The same, until then at the latest.
    #[must_use]
    pub fn until(self, expiry: Option<Expiry>) -> Self {
        Self { until: Expiry::earlier(self.until, expiry), ..self }
    }

    /// These and the others.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let places = match (self.places, other.places) {
            (Some(one), Some(other)) => {
                let both = one.iter().flat_map(|one| other.iter().filter_map(|other| one.and(other)));
                let mut places: Vec<Place> = Vec::new();
                both.for_each(|place| places.extend((!places.contains(&place)).then_some(place)));
                Some(places)
            }
            (one, other) => one.or(other),
        };
        Self { places, tls: self.tls || other.tls, until: Expiry::earlier(self.until, other.until) }
    }

    /// Whether no request can meet them.
    pub fn is_unmeetable(&self) -> bool {
        self.places.as_ref().is_some_and(Vec::is_empty)
    }

    /// Whether they ask for anything: then what nobody can put under them may not be granted.
    pub fn bind(&self) -> bool {
        self.places.is_some() || self.tls || self.until.is_some()
    }

    /// A refusal of a policy's size, with what the terms have to do with it.
    pub fn told_of_size(&self, refusal: Refusal) -> Refusal {
        if !self.bind() {
            return refusal;
        }
        let message = format!(
            "{} (conditions stand in each statement, and each statement stands once for each kind of place: addresses, VPCs, endpoints)",
            refusal.message
        );
        Refusal { message, ..refusal }
    }

    /// The condition keys that a server has to heed for them to hold.
    pub fn keys(&self) -> BTreeSet<&'static str> {
        let places = self.places.iter().flatten().flat_map(Place::requirements);
        let until = self.until.iter().map(|expiry| Requirement::Before(expiry.at));
        let all = places.chain(self.tls.then_some(Requirement::Tls)).chain(until);
        all.map(|requirement| requirement.place().1).collect()
    }

    /// The statement under these terms: once for each kind of place, since a request has but one of them. A statement that
    /// denies stays as it is.
    ///
    /// # Errors
    /// The statement's own condition that none of it can be met together with, from the element on: `.Condition …`.
    pub fn bound(&self, statement: &Value) -> Result<Vec<Value>, String> {
        if statement["Effect"] == "Deny" || !self.bind() {
            return Ok(vec![statement.clone()]);
        }
        let mut bound = Vec::new();
        let mut clash = None;
        for requirements in self.alternatives(statement) {
            let mut copy = statement.clone();
            match put(&requirements, &mut copy) {
                Ok(()) => bound.push(copy),
                Err(told) => clash = clash.or(Some(told)),
            }
        }
        // IAM wants each Sid once.
        bound.iter_mut().skip(1).filter_map(Value::as_object_mut).for_each(|copy| drop(copy.remove("Sid")));
        match clash {
            Some(told) if bound.is_empty() => Err(told),
            _ => Ok(bound),
        }
    }

    /// Whether all that the statement allows is under these terms.
    pub fn hold(&self, statement: &Value) -> bool {
        let met = |requirement: &Requirement| requirement.is_met_by(&statement["Condition"]);
        statement["Effect"] == "Deny" || self.alternatives(statement).iter().any(|all| all.iter().all(met))
    }

    /// What each of the statements has to be under that stand for this one.
    fn alternatives(&self, statement: &Value) -> Vec<Vec<Requirement>> {
        if self.is_unmeetable() {
            return Vec::new();
        }
        let until: Vec<Requirement> = self.until.iter().map(|expiry| Requirement::Before(expiry.at)).collect();
        if is_through_s3(statement) {
            return vec![until];
        }
        let common = || self.tls.then_some(Requirement::Tls).into_iter().chain(until.clone());
        match &self.places {
            None => vec![common().collect()],
            Some(places) => places.iter().map(|place| place.requirements().chain(common()).collect()).collect(),
        }
    }
}

impl fmt::Display for Terms {
    /// What they ask for, for people; nothing where they ask for nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = self.places.as_ref().map(|places| match places.as_slice() {
            [] => "from nowhere".to_owned(),
            places => places.iter().map(ToString::to_string).collect::<Vec<_>>().join(", or "),
        });
        let tls = self.tls.then(|| "over TLS".to_owned());
        let until = self.until.map(|expiry| format!("until {}", expiry.at));
        f.write_str(&places.into_iter().chain(tls).chain(until).collect::<Vec<_>>().join("; "))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        let all =
            [("from", addresses.join(", ")), ("from", self.vpcs.join(", ")), ("through", self.endpoints.join(", "))];
        let told = all.into_iter().filter(|(_, what)| !what.is_empty()).map(|(how, what)| format!("{how} {what}"));
        f.write_str(&told.collect::<Vec<_>>().join(" "))
    }
}

impl Place {
    /// Both; `None` where no request meets both. One from an address of the Internet comes through no VPC endpoint (IAM user
    /// guide, "AWS global condition context keys": aws:SourceIp, aws:SourceVpc, aws:SourceVpce).
    fn and(&self, other: &Self) -> Option<Self> {
        let ids = |one: &[String], other: &[String]| -> Option<Vec<String>> {
            if one.is_empty() || other.is_empty() {
                return Some([one, other].concat());
            }
            let both: Vec<String> = one.iter().filter(|id| other.contains(id)).cloned().collect();
            (!both.is_empty()).then_some(both)
        };
        let addresses = match (self.addresses.as_slice(), other.addresses.as_slice()) {
            (one, []) => one.to_vec(),
            ([], other) => other.to_vec(),
            (one, other) => Some(common(one, other)).filter(|both| !both.is_empty())?,
        };
        let (vpcs, endpoints) = (ids(&self.vpcs, &other.vpcs)?, ids(&self.endpoints, &other.endpoints)?);
        let inside = !(vpcs.is_empty() && endpoints.is_empty());
        (addresses.is_empty() || !inside).then_some(Self { addresses, vpcs, endpoints })
    }

    fn requirements(&self) -> impl Iterator<Item = Requirement> {
        let all = [
            Requirement::Addresses(self.addresses.clone()),
            Requirement::Vpcs(self.vpcs.clone()),
            Requirement::Endpoints(self.endpoints.clone()),
        ];
        all.into_iter().filter(|requirement| !requirement.is_empty())
    }
}

/// Puts the statement under all of these.
fn put(requirements: &[Requirement], statement: &mut Value) -> Result<(), String> {
    let condition =
        statement.as_object_mut().map(|statement| statement.entry("Condition").or_insert_with(|| json!({})));
    let condition = condition.and_then(Value::as_object_mut).ok_or(".Condition: it is no map of operators")?;
    for requirement in requirements {
        let (operator, key) = requirement.place();
        requirement.put_into(condition).map_err(|clash| match clash {
            Clash::Apart => format!(".Condition {operator} {key}: none of its values is within what is required beside it"),
            Clash::Unclear => format!(
                ".Condition {operator} {key}: its values cannot be compared with what is required beside it: write them plainly, without policy variables"
            ),
        })?;
    }
    Ok(())
}

/// Whether the statement is about KMS keys alone, and only as S3 uses them for the user. Such a request comes from S3's own
/// addresses and has nothing of the user's place (AWS KMS developer guide, "Using the IP address condition in policies with
/// AWS KMS permissions"); S3 has held the user's own request against the statements about S3 before.
fn is_through_s3(statement: &Value) -> bool {
    let texts = |value: &Value| -> Vec<String> {
        match value {
            Value::String(text) => vec![text.clone()],
            Value::Array(members) => {
                members.iter().map(|member| member.as_str().unwrap_or_default().to_owned()).collect()
            }
            _ => Vec::new(),
        }
    };
    let all = |texts: Vec<String>, fits: fn(&str) -> bool| !texts.is_empty() && texts.iter().all(|text| fits(text));
    let of_kms = |text: &str| text.get(..4).is_some_and(|service| service.eq_ignore_ascii_case("kms:"));
    let via_s3 = |operator: &str| {
        let keys = statement["Condition"][operator].as_object();
        let mut same = keys.into_iter().flatten().filter(|(key, _)| key.eq_ignore_ascii_case("kms:ViaService"));
        let only = same.next().filter(|_| same.next().is_none());
        only.is_some_and(|(_, values)| all(texts(values), |text| text.starts_with("s3.")))
    };
    all(texts(&statement["Action"]), of_kms) && (via_s3("StringLike") || via_s3("StringEquals"))
}

/// Why a list cannot be read.
enum Unread<'a> {
    TooMany(usize, usize),
    Text(&'a str),
}

impl Unread<'_> {
    fn told(&self, field: &str, form: &str) -> Refusal {
        Refusal::invalid_spec(match self {
            Self::TooMany(found, most) => format!("{field}: {found} entries, and at most {most} are taken: shorten it"),
            Self::Text(text) => {
                let text: String = text.chars().take(64).collect();
                format!("{field}: {text:?} is not {form}")
            }
        })
    }
}

fn read<'a, T>(texts: &'a [String], most: usize, one: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Unread<'a>> {
    if texts.len() > most {
        return Err(Unread::TooMany(texts.len(), most));
    }
    texts.iter().map(|text| one(text).ok_or(Unread::Text(text))).collect()
}

fn is_id(text: &str, prefix: &str) -> bool {
    let hexadecimal = |rest: &str| rest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    text.strip_prefix(prefix).is_some_and(|rest| (8..=17).contains(&rest.len()) && hexadecimal(rest))
}

#[cfg(test)]
mod tests;
