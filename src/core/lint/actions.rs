//! Actions: those that are none, and those that none of the statement's resources is for.

use super::names::{action_of_operation, service_of_client};
use super::reference::{Action, Service, service};
use super::resources::Reach;
use super::{Finding, Kind, MOST, Statement, finding, quoted};
use crate::core::refusal::nearest;

/// An action of a statement, and what it stands for.
pub(super) struct Named<'a> {
    pub text: &'a str,
    pub service: &'static Service,
    pub actions: Vec<&'static Action>,
}

/// The actions of the services that are known, and those among them that are none.
pub(super) fn named<'a>(statement: &Statement<'a>) -> (Vec<Named<'a>>, Vec<Finding>) {
    let (mut named, mut found) = (Vec::new(), Vec::new());
    for text in &statement.actions.1 {
        let Some((prefix, name)) = text.split_once(':') else { continue };
        let Some(service) = service(prefix) else {
            found.extend(of_client(statement, text, prefix, name));
            continue;
        };
        let actions = service.matching(name, statement.effort);
        if actions.is_empty() && found.len() < MOST {
            found.push(unknown(statement, text, service, name));
        }
        named.push(Named { text, service, actions });
    }
    (named, found)
}

fn at(statement: &Statement<'_>, text: &str) -> String {
    format!("{}.{} {}", statement.at, statement.actions.0, quoted(text))
}

fn of_client(statement: &Statement<'_>, text: &str, prefix: &str, name: &str) -> Option<Finding> {
    let service = service_of_client(prefix)?;
    let means = format!("{prefix} is a name of the CLI or the console, and no action begins with it");
    let instead = action_of_operation(service, name).map_or_else(|| format!("{service}:{name}"), ToOwned::to_owned);
    Some(finding(Kind::OperationName, at(statement, text), means, format!("write {}", quoted(&instead))))
}

fn unknown(statement: &Statement<'_>, text: &str, service: &Service, name: &str) -> Finding {
    let nothing = if statement.actions.0 == "NotAction" { "it leaves out nothing" } else { "it does nothing" };
    if let Some(action) = action_of_operation(service.prefix, name) {
        let means =
            format!("that is an operation or a word of the console, and no action has that name, so that {nothing}");
        return finding(Kind::OperationName, at(statement, text), means, format!("write {action:?}"));
    }
    if name.contains(['*', '?']) {
        let means = format!("no action of {} is like that, so that {nothing}", service.prefix);
        let start = name.split(['*', '?']).next().unwrap_or_default();
        let names = service.actions.values().map(|action| action.name);
        let instead = match nearest(start, names).filter(|_| !start.is_empty()) {
            Some(name) => format!("write \"{}:{name}\"", service.prefix),
            None => reference(service),
        };
        return finding(Kind::EmptyWildcard, at(statement, text), means, instead);
    }
    let means = format!("{} has no such action, so that {nothing}", service.prefix);
    let instead = match nearest(name, service.actions.values().map(|action| action.name)) {
        Some(name) => format!("write \"{}:{name}\"", service.prefix),
        None => reference(service),
    };
    finding(Kind::UnknownAction, at(statement, text), means, instead)
}

fn reference(service: &Service) -> String {
    format!("take one of those that the service authorization reference has for {}", service.prefix)
}

/// The actions of which no resource of the statement is one that they are about.
pub(super) fn out_of_reach(statement: &Statement<'_>, named: &[Named<'_>], reach: &Reach) -> Vec<Finding> {
    let out = |named: &&Named<'_>| {
        !named.actions.is_empty() && !named.actions.iter().any(|action| reach.takes(named.service, &action.resources))
    };
    let out = named.iter().filter(out).take(MOST);
    out.filter_map(|named| explain(statement, named, named.actions.first()?, reach)).collect()
}

fn explain(statement: &Statement<'_>, named: &Named<'_>, action: &Action, reach: &Reach) -> Option<Finding> {
    let service = named.service;
    let about = |kind: &str| {
        action.resources.iter().filter_map(|place| service.resources.get(*place)).any(|own| own.name == kind)
    };
    let verb = statement.verb();
    let bucket = || bucket_of(statement).unwrap_or("arn:aws:s3:::<bucket>");
    let (kind, means, instead) = if action.resources.is_empty() {
        let means = format!("it is about no single resource, so that the statement never {verb} it");
        (Kind::ServiceAction, means, "give it a statement of its own with the Resource \"*\"".to_owned())
    } else if about("object") && !about("bucket") && reach.has(service, "bucket") {
        let means = format!("it is about objects and the resources are buckets, so that the statement never {verb} it");
        (Kind::ObjectActionOnBucket, means, format!("write the Resource {}", quoted(&format!("{}/*", bucket()))))
    } else if about("bucket") && !about("object") && reach.has(service, "object") {
        let means = format!("it is about buckets and the resources are objects, so that the statement never {verb} it");
        (Kind::BucketActionOnObject, means, format!("write the Resource {} for it", quoted(bucket())))
    } else if about("key") && reach.has(service, "alias") {
        let means = format!("policies are about keys and not their aliases, so that the statement never {verb} it");
        let instead = "write the key's ARN, or the Resource \"arn:…:key/*\" with the condition kms:ResourceAliases";
        (Kind::KmsAlias, means, instead.to_owned())
    } else {
        let of = if reach.is_of(service) { "of another kind" } else { "of another service" };
        let kinds: Vec<&str> =
            action.resources.iter().filter_map(|place| service.resources.get(*place)).map(|own| own.name).collect();
        let means = format!("the resources are {of}, so that the statement never {verb} it");
        let instead = format!("give it a statement of its own with the ARN of its {}, or \"*\"", kinds.join(" or "));
        (Kind::OtherResource, means, instead)
    };
    Some(finding(kind, at(statement, named.text), means, instead))
}

/// The bucket that the first of the resources names.
fn bucket_of<'a>(statement: &Statement<'a>) -> Option<&'a str> {
    let resource = statement.resources.1.iter().find(|resource| resource.contains(":s3:::"))?;
    resource.split('/').next()
}
