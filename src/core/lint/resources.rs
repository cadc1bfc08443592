//! ARNs: which actions they are for, and those that nothing has.

use super::reference::{Part, Service, services, without_variables};
use super::{Finding, Kind, Statement, finding, prefixes, quoted};
use crate::core::class::Effort;

/// What the resources of a statement take in, all together.
pub(super) struct Reach {
    /// Everything: `*`, and what cannot be told.
    pub everything: bool,
    /// By service, as [`services`] has them: whether some ARN is of its own, and takes in all of it.
    own: Vec<(bool, bool)>,
    /// By service and type of resource.
    types: Vec<Vec<bool>>,
    /// Services whose ARNs are impossible: nothing more is said of their actions.
    impossible: Vec<String>,
}

impl Reach {
    pub(super) fn of(statement: &Statement<'_>) -> Self {
        let mut reach = Self {
            everything: statement.resources.0 != "Resource",
            own: vec![(false, false); services().len()],
            types: services().iter().map(|service| vec![false; service.resources.len()]).collect(),
            impossible: Vec::new(),
        };
        for resource in &statement.resources.1 {
            reach.add(resource, statement.effort);
        }
        reach
    }

    fn add(&mut self, resource: &str, effort: &Effort) {
        let resource = without_variables(resource, "*");
        let parts: Vec<&str> = resource.splitn(6, ':').collect();
        let [_, _, found, .., rest] = parts.as_slice() else {
            self.everything = true;
            return;
        };
        if judge(&resource, effort).is_some() {
            self.impossible.push((*found).to_owned());
            return;
        }
        let parted: Vec<Part> = parts.iter().skip(1).map(|part| Part::new(part)).collect();
        let all = !rest.is_empty() && rest.chars().all(|c| c == '*');
        for ((service, own), types) in services().iter().zip(&mut self.own).zip(&mut self.types) {
            if found.contains(['*', '?']) || *found == service.prefix {
                (own.0, own.1) = (true, own.1 || all);
            }
            for (kind, met) in service.resources.iter().zip(types) {
                *met = *met || kind.meets(&parted, effort);
            }
        }
    }

    /// Whether an action about these types finds one among the resources. One that is about none needs all of the service.
    pub(super) fn takes(&self, service: &Service, types: &[usize]) -> bool {
        let Some(place) = services().iter().position(|known| known.prefix == service.prefix) else { return true };
        let is_met = |kind: &usize| self.types.get(place).and_then(|met| met.get(*kind)).copied().unwrap_or(false);
        let own = self.own.get(place).copied().unwrap_or_default();
        self.everything
            || self.impossible.iter().any(|found| found == service.prefix)
            || if types.is_empty() { own.1 } else { types.iter().any(is_met) }
    }

    /// Whether a resource of that type is among them.
    pub(super) fn has(&self, service: &Service, kind: &str) -> bool {
        let place = service.resources.iter().position(|known| known.name == kind);
        !self.everything && place.is_some_and(|place| self.takes(service, &[place]))
    }

    /// Whether some ARN is of the service.
    pub(super) fn is_of(&self, service: &Service) -> bool {
        let place = services().iter().position(|known| known.prefix == service.prefix);
        place.and_then(|place| self.own.get(place)).is_some_and(|own| own.0)
    }
}

/// The resources that nothing can be.
pub(super) fn impossible(statement: &Statement<'_>) -> Vec<Finding> {
    let (element, resources) = &statement.resources;
    let wrong = resources.iter().filter_map(|resource| {
        let (kind, means, instead) = judge(&without_variables(resource, "*"), statement.effort)?;
        Some(finding(kind, format!("{}.{element} {}", statement.at, quoted(resource)), means, instead))
    });
    wrong.collect()
}

type Verdict = (Kind, String, String);

/// What is wrong with an ARN whose variables are wildcards.
fn judge(resource: &str, effort: &Effort) -> Option<Verdict> {
    let parts: Vec<&str> = resource.splitn(6, ':').collect();
    match parts.as_slice() {
        ["arn", partition, "s3", "", "", rest] => judge_bucket(partition, rest),
        ["arn", partition, service @ ("s3" | "kms"), _, _, rest] if !meets_any(&parts, effort) => {
            let instead = if *service == "s3" {
                let bucket = rest.strip_prefix("bucket/").unwrap_or(rest);
                format!("write {}", quoted(&format!("arn:{partition}:s3:::{bucket}")))
            } else {
                format!("write arn:{partition}:kms:<region>:<account>:key/<key id>")
            };
            let means = if *service == "s3" {
                "a bucket's ARN has neither a region nor an account, so that it is of nothing"
            } else {
                "a KMS key's ARN has a region, an account and key/ before the id, so that it is of nothing"
            };
            Some((Kind::ImpossibleArn, means.to_owned(), instead))
        }
        _ => None,
    }
}

fn meets_any(parts: &[&str], effort: &Effort) -> bool {
    let parted: Vec<Part> = parts.iter().skip(1).map(|part| Part::new(part)).collect();
    services().iter().flat_map(|service| &service.resources).any(|kind| kind.meets(&parted, effort))
}

/// `<bucket>[/<key>]` (Amazon S3 user guide, "General purpose bucket naming rules").
fn judge_bucket(partition: &str, rest: &str) -> Option<Verdict> {
    let impossible = |means: &str, instead: String| Some((Kind::ImpossibleArn, means.to_owned(), instead));
    let whole = |rest: &str| format!("write {}", quoted(&format!("arn:{partition}:s3:::{rest}")));
    let lower = rest.to_ascii_lowercase();
    for scheme in ["s3://", "https://", "http://", "arn:"] {
        if lower.starts_with(scheme) {
            let path = rest.get(scheme.len()..).unwrap_or_default();
            let path = if scheme == "s3://" { path } else { "<bucket>/<key>" };
            return impossible("an ARN holds the bucket's bare name, neither a URL nor an ARN", whole(path));
        }
    }
    let (bucket, key) = rest.split_once('/').map_or((rest, None), |(bucket, key)| (bucket, Some(key)));
    if bucket.is_empty() {
        return impossible("no bucket has an empty name", whole(rest.trim_start_matches('/')));
    }
    if bucket.to_ascii_lowercase().contains("amazonaws.com") {
        return impossible("that is a host's name, not a bucket's", whole("<bucket>/<key>"));
    }
    if let Some(means) = judge_name(bucket) {
        return impossible(&means, "write the bucket's name as S3 has it".to_owned());
    }
    match key {
        Some("") => impossible(
            "no object has an empty key",
            format!("{}, and without the slash for the bucket itself", whole(&format!("{bucket}/*"))),
        ),
        Some(key) => {
            let named = if bucket.contains(['*', '?']) { "" } else { bucket };
            let (means, instead) = prefixes::judge(key, &[named])?;
            Some((Kind::Prefix, means, format!("{instead} after the bucket")))
        }
        None => None,
    }
}

/// Why no bucket has that name; `*` and `?` may stand for what fits. A `*` takes in slashes, too: what comes after it may be
/// of a key.
fn judge_name(bucket: &str) -> Option<String> {
    let (bucket, closed) = bucket.split_once('*').map_or((bucket, true), |(before, _)| (before, false));
    let odd = |c: &char| !c.is_ascii_alphanumeric() && !".-_?".contains(*c);
    if let Some(c) = bucket.chars().find(odd) {
        return Some(format!("no bucket's name holds {c:?}"));
    }
    if let Some(c) = bucket.chars().find(|c| c.is_ascii_uppercase() || *c == '_') {
        return Some(format!("a bucket's name holds no {c:?}, unless it is one of us-east-1 from before March 2018"));
    }
    let edge = |c: char| c == '.' || c == '-';
    if bucket.contains("..") || bucket.starts_with(edge) || (closed && bucket.ends_with(edge)) {
        return Some("a bucket's name has a letter or digit at each end, and no two periods in a row".to_owned());
    }
    if bucket.len() > 63 || (closed && bucket.len() < 3) {
        return Some("a bucket's name has 3 to 63 characters".to_owned());
    }
    let is_address = bucket.parse::<std::net::Ipv4Addr>().is_ok();
    is_address.then(|| "no bucket's name is an IP address".to_owned())
}
