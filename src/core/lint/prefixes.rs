//! Prefixes of keys: what reads like a path, a URL or an ARN is none.

use super::{Finding, Kind, finding, quoted};
use crate::api::AccessGrant;

pub(super) fn of_grant(grant: &AccessGrant, index: usize) -> Vec<Finding> {
    let wrong = grant.prefixes.iter().filter_map(|prefix| {
        let (means, instead) = judge(prefix, &[&grant.bucket])?;
        Some(finding(Kind::Prefix, format!("spec.access[{index}].prefixes {}", quoted(prefix)), means, instead))
    });
    wrong.collect()
}

/// What is wrong with the beginning of a key, and what to write instead.
pub(super) fn judge(prefix: &str, buckets: &[&str]) -> Option<(String, String)> {
    let lower = prefix.to_ascii_lowercase();
    if ["s3://", "http://", "https://", "arn:"].iter().any(|scheme| lower.starts_with(scheme)) {
        let means = "keys begin with neither a URL nor an ARN, so that it takes in no object";
        return Some((means.to_owned(), "write only what comes after the bucket and its slash".to_owned()));
    }
    if let Some(rest) = prefix.strip_prefix('/') {
        let means = "tools write keys without a slash in front, so that it takes in none of theirs";
        let rest = rest.trim_start_matches('/');
        let instead =
            if rest.is_empty() { "leave the slash out".to_owned() } else { format!("write {}", quoted(rest)) };
        return Some((means.to_owned(), instead));
    }
    let bucket =
        buckets.iter().find(|bucket| prefix.strip_prefix(**bucket).is_some_and(|rest| rest.starts_with('/')))?;
    let rest = prefix.get(bucket.len() + 1..).unwrap_or_default();
    let means = format!("it is the key below the bucket, and begins with the bucket's own name {}", quoted(bucket));
    let instead = if rest.is_empty() {
        "leave it out, unless keys really repeat that name".to_owned()
    } else {
        format!("write {}, unless keys really repeat that name", quoted(rest))
    };
    Some((means, instead))
}
