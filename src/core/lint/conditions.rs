//! Conditions: keys that no request carries, and values that none has.

use super::actions::Named;
use super::reference::{Service, service};
use super::values::Test;
use super::{Finding, Kind, MOST, Statement, finding, quoted, values};
use crate::core::refusal::nearest;

/// IAM user guide, "AWS global condition context keys". New ones come: only what resembles one of these is told.
const GLOBAL: [&str; 49] = [
    "aws:AssumedRoot",
    "aws:CalledVia",
    "aws:CalledViaFirst",
    "aws:CalledViaLast",
    "aws:ChatbotSourceArn",
    "aws:CurrentTime",
    "aws:Ec2InstanceSourcePrivateIPv4",
    "aws:Ec2InstanceSourceVpc",
    "aws:EpochTime",
    "aws:FederatedProvider",
    "aws:IsMcpServiceAction",
    "aws:MultiFactorAuthAge",
    "aws:MultiFactorAuthPresent",
    "aws:PrincipalAccount",
    "aws:PrincipalArn",
    "aws:PrincipalIsAWSService",
    "aws:PrincipalOrgID",
    "aws:PrincipalOrgPaths",
    "aws:PrincipalServiceName",
    "aws:PrincipalServiceNamesList",
    "aws:PrincipalType",
    "aws:Referer",
    "aws:RequestedRegion",
    "aws:ResourceAccount",
    "aws:ResourceOrgID",
    "aws:ResourceOrgPaths",
    "aws:SecureTransport",
    "aws:SignInSessionArn",
    "aws:SourceAccount",
    "aws:SourceArn",
    "aws:SourceIdentity",
    "aws:SourceIp",
    "aws:SourceOrgID",
    "aws:SourceOrgPaths",
    "aws:SourceOwner",
    "aws:SourceVpc",
    "aws:SourceVpcArn",
    "aws:SourceVpce",
    "aws:TagKeys",
    "aws:TokenIssueTime",
    "aws:UserAgent",
    "aws:ViaAWSMCPService",
    "aws:ViaAWSService",
    "aws:VpcSourceIp",
    "aws:VpceAccount",
    "aws:VpceOrgID",
    "aws:VpceOrgPaths",
    "aws:userid",
    "aws:username",
];

pub(super) fn check(statement: &Statement<'_>, named: &[Named<'_>]) -> Vec<Finding> {
    let operators = statement.condition.into_iter().flatten();
    let tests = operators.flat_map(|(operator, keys)| {
        keys.as_object().into_iter().flatten().map(move |(key, values)| (operator, key, values))
    });
    let tests: Vec<Test<'_>> =
        tests.map(|(operator, key, values)| Test::of(statement, operator, key, values)).collect();
    let mut found = Vec::new();
    for test in &tests {
        if found.len() >= MOST {
            break;
        }
        found.extend(unknown(test).or_else(|| never_carried(statement, named, test)));
        found.extend(values::check(statement, test));
    }
    found.extend(values::contradiction(&tests, statement.effort));
    found
}

/// A key that nobody knows.
fn unknown(test: &Test<'_>) -> Option<Finding> {
    let of = |means: String, instead: String| Some(finding(Kind::ConditionKey, test.at.clone(), means, instead));
    let Some((prefix, _)) = test.key.split_once(':') else {
        let instead = ["s3", "kms", "aws"].iter().map(|prefix| format!("{prefix}:{}", test.key));
        let known = instead.into_iter().find(|key| is_known(key));
        let instead = known.map_or_else(
            || "write it with its service, as in s3:prefix".to_owned(),
            |key| format!("write {}", quoted(&key)),
        );
        return of(
            "a key begins with its service and a colon, so that no request carries this one".to_owned(),
            instead,
        );
    };
    if is_known(test.key) {
        return None;
    }
    if prefix.eq_ignore_ascii_case("aws") {
        let near = nearest(test.key, GLOBAL)?;
        return of("no request carries such a key".to_owned(), format!("write {near:?}"));
    }
    let service = service(prefix)?;
    let near = nearest(test.key, service.keys.iter().map(|key| key.name.as_str()));
    let instead = near.map_or_else(
        || format!("take one of those that the service authorization reference has for {}", service.prefix),
        |near| format!("write {near:?}"),
    );
    of(format!("{} has no such key, so that no request carries it", service.prefix), instead)
}

fn is_known(key: &str) -> bool {
    let lower = key.to_ascii_lowercase();
    let tag =
        ["aws:principaltag/", "aws:requesttag/", "aws:resourcetag/"].iter().any(|prefix| lower.starts_with(prefix));
    let of_service = || lower.split_once(':').and_then(|(prefix, _)| service(prefix)).is_some_and(|of| of.has_key(key));
    tag || GLOBAL.iter().any(|known| known.eq_ignore_ascii_case(key)) || of_service()
}

/// Actions whose requests never carry the key, where the condition is met only by one that does.
fn never_carried(statement: &Statement<'_>, named: &[Named<'_>], test: &Test<'_>) -> Option<Finding> {
    let prefix = test.key.split_once(':').map(|(prefix, _)| prefix)?;
    // The keys of other services, and the global ones, stand in no list here.
    service(prefix).filter(|_| test.needs_key && statement.actions.0 == "Action")?;
    let carries =
        |service: &Service, named: &Named<'_>| named.actions.iter().any(|action| service.knows(action, test.key));
    let never: Vec<&str> = named
        .iter()
        .filter(|named| !named.actions.is_empty() && !carries(named.service, named))
        .map(|named| named.text)
        .collect();
    let (first, more) = never.split_first()?;
    let told = if more.is_empty() { quoted(first) } else { format!("{} and {} more", quoted(first), more.len()) };
    let means = format!("requests for {told} carry no such key, so that the statement never {} them", statement.verb());
    let instead = "give them a statement of their own without that condition".to_owned();
    Some(finding(Kind::ConditionKey, test.at.clone(), means, instead))
}
