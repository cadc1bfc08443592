//! The API server: whether it answers, what it serves, and what the operator may do there.

use std::time::Duration;

use axum::http::header::DATE;
use axum::http::{Request, Response};
use jiff::Timestamp;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::client::Body;
use kube::{Api, Client};

use super::{Check, Level, clock, lease};
use crate::api::GROUP;
use crate::cli::Error;
use crate::config::RunOptions;
use crate::kubernetes::{KubernetesError, config};

/// An answer that takes longer does not come.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A right that a rule of deploy/rbac.yaml gives.
struct Right<'a> {
    group: &'a str,
    resource: &'a str,
    verbs: &'a [&'a str],
    name: Option<&'a str>,
    namespace: Option<&'a str>,
}

/// The API server, and its version.
pub(super) async fn connect() -> Result<(Client, String), Check> {
    let client = async {
        let mut config = config().await?;
        (config.read_timeout, config.write_timeout) = (Some(TIMEOUT), Some(TIMEOUT));
        config.default_retry = false;
        Ok::<_, Error>(Client::try_from(config)?)
    };
    let advice = "set KUBECONFIG, or run it in a pod of the operator";
    let client = client.await.map_err(|error| Check::failure("API server", error, advice))?;
    let version = client.apiserver_version().await;
    let version = version.map_err(|error| Check::failure("API server", error, "check KUBECONFIG and the network"))?;
    Ok((client, version.git_version))
}

pub(super) async fn check(client: &Client, options: &RunOptions) -> Vec<Check> {
    let mut checks = vec![clock(client).await];
    checks.extend(definitions(client, options.classes).await);
    for right in rights(options) {
        checks.push(may(client, &right).await);
    }
    checks.push(restarts(client, options).await);
    checks.push(lease::check(client, options).await);
    checks
}

/// The API server's clock stands in for the world's.
async fn clock(client: &Client) -> Check {
    let answer = match Request::get("/version").body(Body::empty()) {
        Ok(request) => client.send(request).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match answer.and_then(|answer| date(&answer).ok_or_else(|| "the API server names no time".to_owned())) {
        Ok(theirs) => clock::judge("clock", "the API server's", Timestamp::now(), theirs),
        Err(error) => Check::failure("clock", error, "it cannot be held against another"),
    }
}

fn date(answer: &Response<Body>) -> Option<Timestamp> {
    let text = answer.headers().get(DATE)?.to_str().ok()?;
    Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp())
}

async fn definitions(client: &Client, classes: bool) -> Vec<Check> {
    let served = client.list_api_group_resources(&format!("{GROUP}/v1alpha1")).await;
    let names: Vec<String> =
        served.map(|list| list.resources.into_iter().map(|resource| resource.name).collect()).unwrap_or_default();
    let wanted = std::iter::once("s3accessusers").chain(classes.then_some("s3accessclasses"));
    wanted
        .map(|name| {
            let there = names.iter().any(|found| found == name);
            let found = if there { Ok("served".to_owned()) } else { Err("not served") };
            Check::of(format!("{name}.{GROUP}"), found, "kubectl apply -f crds")
        })
        .collect()
}

/// Those of deploy/rbac.yaml, as far as the settings need them.
fn rights(options: &RunOptions) -> Vec<Right<'_>> {
    let right = |group, resource, verbs, namespace| Right { group, resource, verbs, name: None, namespace };
    let mut rights = Vec::new();
    let scopes: Vec<Option<&str>> = if options.watch_namespaces.is_empty() {
        vec![None]
    } else {
        options.watch_namespaces.iter().map(|namespace| Some(namespace.as_str())).collect()
    };
    for scope in scopes {
        rights.push(right(GROUP, "s3accessusers", &["get", "list", "watch", "patch"], scope));
        rights.push(right(GROUP, "s3accessusers/status", &["patch"], scope));
        rights.push(right(GROUP, "s3accessusers/finalizers", &["update"], scope));
        rights.push(right("", "secrets", &["get", "list", "watch", "create", "update", "delete"], scope));
        rights.push(right("events.k8s.io", "events", &["create", "patch"], scope));
    }
    let own = Some(options.namespace.as_str());
    if options.classes {
        rights.push(right(GROUP, "s3accessclasses", &["get", "list", "watch", "patch"], None));
        rights.push(right(GROUP, "s3accessclasses/status", &["patch"], None));
        rights.push(right("", "namespaces", &["list", "watch"], None));
        rights.push(right("", "secrets", &["get", "list", "watch"], own));
    }
    rights.push(right("", "secrets", &["get", "create", "update", "delete"], own));
    if options.cluster_id.is_none() {
        rights.push(Right { name: Some("kube-system"), ..right("", "namespaces", &["get"], None) });
    }
    if options.metrics_secure {
        rights.push(right("authentication.k8s.io", "tokenreviews", &["create"], None));
        rights.push(right("authorization.k8s.io", "subjectaccessreviews", &["create"], None));
    }
    if options.leader_election {
        rights.push(right("coordination.k8s.io", "leases", &["create"], own));
        let name = Some(options.lease_name.as_str());
        rights.push(Right { name, ..right("coordination.k8s.io", "leases", &["get", "patch"], own) });
    }
    rights
}

/// The right of deploy/optional/rollout-restart.yaml, which may be missing.
async fn restarts(client: &Client, options: &RunOptions) -> Check {
    let namespace = options.watch_namespaces.first().map(String::as_str);
    let right = Right { group: "apps", resource: "deployments", verbs: &["get", "patch"], name: None, namespace };
    let check = may(client, &right).await;
    let what = format!("{} (optional)", check.what);
    if check.level == Level::Ok {
        return Check { what, ..check };
    }
    Check::ok(
        what,
        "not granted, so spec.secret.rolloutRestart restarts nothing; if it should: deploy/optional/rollout-restart.yaml",
    )
}

async fn may(client: &Client, right: &Right<'_>) -> Check {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let (resource, subresource) = match right.resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (right.resource, None),
    };
    let place = right.namespace.map_or_else(|| "the cluster".to_owned(), |namespace| format!("namespace {namespace}"));
    let name = right.name.map(|name| format!(" {name}")).unwrap_or_default();
    let what = format!("{}{name} in {place}", right.resource);
    let mut denied = Vec::new();
    for verb in right.verbs {
        let attributes = ResourceAttributes {
            group: Some(right.group.to_owned()),
            resource: Some(resource.to_owned()),
            subresource: subresource.clone(),
            verb: Some((*verb).to_owned()),
            name: right.name.map(ToOwned::to_owned),
            namespace: right.namespace.map(ToOwned::to_owned),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        match reviews.create(&PostParams::default(), &review).await {
            Ok(answer) if answer.status.as_ref().is_some_and(|status| status.allowed) => {}
            Ok(_) => denied.push(*verb),
            Err(error) => {
                let error = KubernetesError::of("create SelfSubjectAccessReview", "", verb, &error);
                return Check::failure(what, error, "whether it is granted cannot be asked");
            }
        }
    }
    let found =
        if denied.is_empty() { Ok(right.verbs.join(", ")) } else { Err(format!("may not {}", denied.join(", "))) };
    Check::of(what, found, "apply deploy/rbac.yaml")
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::rights;
    use crate::config::RunOptions;

    fn options(args: &[&str]) -> RunOptions {
        let command = RunOptions::augment_args(clap::Command::new("run").no_binary_name(true));
        RunOptions::from_arg_matches(&command.get_matches_from(args)).unwrap()
    }

    #[test]
    fn the_rights_are_those_that_the_settings_need() {
        let whole = options(&[]);
        assert!(rights(&whole).iter().any(|right| right.resource == "s3accessclasses"));
        let few = options(&[
            "--watch-namespaces=team-a,team-b",
            "--classes=false",
            "--cluster-id=one",
            "--leader-election=false",
        ]);
        let namespaces: Vec<_> = rights(&few).iter().map(|right| right.namespace).collect();
        assert_eq!(namespaces.len(), 11, "five in each, and the keys of sessions in its own");
        assert!(namespaces.iter().all(Option::is_some), "nothing of the whole cluster");
    }
}
