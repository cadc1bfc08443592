//! `doctor`: whether the operator, with the settings of `run`, could work; it reads and asks, and changes nothing.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use axum::http::header::DATE;
use axum::http::{Request, Response};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::{ListParams, PostParams};
use kube::client::Body;
use kube::{Api, Client};

use super::Error;
use super::run::cluster;
use crate::api::{GROUP, S3AccessUser, tags};
use crate::aws::{DetailsQuery, Session};
use crate::config::{ProviderOption, RunOptions};
use crate::leadership::Leadership;
use crate::metrics::Metrics;

/// AWS refuses a signature that is off by more than 15 minutes (IAM user guide, "Signing AWS API requests"); where clocks
/// part by this much, something is wrong with them already.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(60);
/// Not a name that anything could have been given: asked for, never made.
const NOBODY: &str = "s3-access-operator-doctor-looks-for-nobody";

/// What was checked, and what was found or is to be done.
struct Check {
    what: String,
    found: Result<String, String>,
}

impl Check {
    fn new<E: std::fmt::Display>(what: impl Into<String>, found: Result<String, E>, advice: &str) -> Self {
        Self { what: what.into(), found: found.map_err(|error| format!("{error}: {advice}")) }
    }
}

/// A right that a rule of deploy/rbac.yaml gives.
struct Right<'a> {
    group: &'a str,
    resource: &'a str,
    verbs: &'a [&'a str],
    name: Option<&'a str>,
    namespace: Option<&'a str>,
}

pub(super) async fn run(options: &RunOptions) -> Result<(), Error> {
    let mut checks = aws(options).await;
    match Client::try_default().await {
        Ok(client) => {
            checks.extend(kubernetes(&client, options).await?);
            checks.push(orphans(&client, options).await);
        }
        Err(error) => {
            let advice = "set KUBECONFIG, or run it in a pod of the operator";
            checks.push(Check::new("API server", Err(error), advice));
        }
    }
    let mut out = std::io::stdout();
    for check in &checks {
        match &check.found {
            Ok(found) => writeln!(out, "ok    {}: {found}", check.what)?,
            Err(problem) => writeln!(out, "FAIL  {}: {problem}", check.what)?,
        }
    }
    match checks.iter().filter(|check| check.found.is_err()).count() {
        0 => Ok(()),
        failed => Err(Error::Unwell(failed)),
    }
}

async fn aws(options: &RunOptions) -> Vec<Check> {
    let session =
        match Session::from_environment(&options.session_options(), Leadership::nobody(), Arc::new(Metrics::default()))
            .await
        {
            Ok(session) => session,
            Err(error) => return vec![Check::new("AWS settings", Err(error), "see operate.md, \"Settings\"")],
        };
    let account = session.account().await;
    let account = account.map(|account| format!("account {}, partition {}", account.id, account.partition));
    // AWS asks for the right before it reads the user.
    let nobody = session.iam.get_user(NOBODY).await.map(|_| "iam:GetUser is allowed".to_owned());
    vec![
        Check::new("AWS credentials", account, "see README, \"Install\""),
        Check::new("IAM", nobody, "attach the policy of deploy/iam to the operator's identity"),
    ]
}

async fn kubernetes(client: &Client, options: &RunOptions) -> Result<Vec<Check>, Error> {
    let version = match client.apiserver_version().await {
        Ok(version) => version,
        Err(error) => return Ok(vec![Check::new("API server", Err(error), "check KUBECONFIG and the network")]),
    };
    let mut checks = vec![Check { what: "API server".to_owned(), found: Ok(version.git_version) }];
    checks.push(clock(client).await);
    checks.extend(definitions(client, options.classes).await);
    for right in rights(options) {
        checks.push(may(client, &right).await?);
    }
    checks.push(restarts(client, options).await?);
    Ok(checks)
}

/// The API server's clock stands in for the world's.
async fn clock(client: &Client) -> Check {
    let what = "clock".to_owned();
    let answer = match Request::get("/version").body(Body::empty()) {
        Ok(request) => client.send(request).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let found = answer.and_then(|answer| date(&answer).ok_or_else(|| "the API server names no time".to_owned()));
    Check { what, found: found.and_then(|theirs| judge_clock(Timestamp::now(), theirs)) }
}

fn date(answer: &Response<Body>) -> Option<Timestamp> {
    let text = answer.headers().get(DATE)?.to_str().ok()?;
    Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp())
}

fn judge_clock(ours: Timestamp, theirs: Timestamp) -> Result<String, String> {
    let apart = ours.duration_since(theirs).abs();
    if apart > CLOCK_TOLERANCE {
        return Err(format!(
            "{} s from the API server's: set up NTP on the nodes; AWS refuses requests of another time",
            apart.as_secs()
        ));
    }
    Ok("the API server's is the same within a minute".to_owned())
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
            Check::new(format!("{name}.{GROUP}"), found, "kubectl apply -f crds")
        })
        .collect()
}

/// IAM users of the operator's own account that carry this cluster's tags and belong to no S3AccessUser.
async fn orphans(client: &Client, options: &RunOptions) -> Check {
    let what = "users without an S3AccessUser";
    if !options.watch_namespaces.is_empty()
        || options.class_selector.is_some()
        || options.provider != ProviderOption::Aws
    {
        return Check {
            what: what.to_owned(),
            found: Ok("not looked for: this operator sees a part of them".to_owned()),
        };
    }
    let advice = "see deploy/docs/operate.md, \"Users without an S3AccessUser\"";
    match find_orphans(client, options).await {
        Ok(names) if names.is_empty() => {
            Check { what: what.to_owned(), found: Ok("none in the operator's own account".to_owned()) }
        }
        Ok(names) => {
            let some = names.iter().take(10).cloned().collect::<Vec<_>>().join(", ");
            Check::new(what, Err(format!("{} in the operator's own account: {some}", names.len())), advice)
        }
        Err(error) => Check::new(what, Err(error), "grant iam:GetAccountAuthorizationDetails to see them"),
    }
}

async fn find_orphans(
    client: &Client,
    options: &RunOptions,
) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
    let metrics = Arc::new(Metrics::default());
    let session = Session::from_environment(&options.session_options(), Leadership::nobody(), metrics).await?;
    let cluster = cluster(client, options).await?;
    let mut strays = BTreeMap::new();
    let mut marker: Option<String> = None;
    loop {
        let query =
            DetailsQuery { marker: marker.as_deref(), cluster_id: &cluster.id, policies: false, keep: &|_| false };
        let page = session.iam.account_details(query).await?;
        let tagged = page.users.into_iter().filter_map(|user| Some((user.tags.get(tags::UID)?.clone(), user.name)));
        strays.extend(tagged);
        match page.marker {
            Some(next) => marker = Some(next),
            None => break,
        }
    }
    // The S3AccessUsers come after: one that is made meanwhile is among them.
    let users = Api::<S3AccessUser>::all(client.clone()).list_metadata(&ListParams::default()).await?;
    for user in users.items {
        strays.remove(user.metadata.uid.as_deref().unwrap_or_default());
    }
    Ok(strays.into_values().collect())
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
        rights.push(right(GROUP, "s3accessusers", &["get", "list", "watch", "patch", "finalize"], scope));
        rights.push(right(GROUP, "s3accessusers/status", &["patch"], scope));
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
    if options.cluster_id.is_none() {
        rights.push(Right { name: Some("kube-system"), ..right("", "namespaces", &["get"], None) });
    }
    if options.leader_election {
        rights.push(right("coordination.k8s.io", "leases", &["create"], own));
        let name = Some(options.lease_name.as_str());
        rights.push(Right { name, ..right("coordination.k8s.io", "leases", &["get", "patch"], own) });
    }
    rights
}

/// The right of deploy/optional/rollout-restart.yaml, which may be missing.
async fn restarts(client: &Client, options: &RunOptions) -> Result<Check, Error> {
    let namespace = options.watch_namespaces.first().map(String::as_str);
    let right = Right { group: "apps", resource: "deployments", verbs: &["get", "patch"], name: None, namespace };
    let check = may(client, &right).await?;
    let found = check.found.or_else(|_| {
        Ok("not granted, so spec.secret.rolloutRestart restarts nothing; if it should: deploy/optional/rollout-restart.yaml"
            .to_owned())
    });
    Ok(Check { what: format!("{} (optional)", check.what), found })
}

async fn may(client: &Client, right: &Right<'_>) -> Result<Check, Error> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let (resource, subresource) = match right.resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (right.resource, None),
    };
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
        let answer = reviews.create(&PostParams::default(), &review).await?;
        if !answer.status.is_some_and(|status| status.allowed) {
            denied.push(*verb);
        }
    }
    let place = right.namespace.map_or_else(|| "the cluster".to_owned(), |namespace| format!("namespace {namespace}"));
    let name = right.name.map(|name| format!(" {name}")).unwrap_or_default();
    let found =
        if denied.is_empty() { Ok(right.verbs.join(", ")) } else { Err(format!("may not {}", denied.join(", "))) };
    Ok(Check::new(format!("{}{name} in {place}", right.resource), found, "apply deploy/rbac.yaml"))
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};
    use jiff::{SignedDuration, Timestamp};

    use super::{judge_clock, rights};
    use crate::config::RunOptions;

    fn options(args: &[&str]) -> RunOptions {
        let command = RunOptions::augment_args(clap::Command::new("run").no_binary_name(true));
        RunOptions::from_arg_matches(&command.get_matches_from(args)).unwrap()
    }

    #[test]
    fn a_clock_may_be_a_minute_off_either_way() {
        let now = Timestamp::UNIX_EPOCH;
        for (seconds, well) in [(0, true), (60, true), (-60, true), (61, false), (-61, false)] {
            assert_eq!(judge_clock(now, now + SignedDuration::from_secs(seconds)).is_ok(), well, "{seconds}");
        }
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
        assert_eq!(namespaces.len(), 8);
        assert!(namespaces.iter().all(Option::is_some), "nothing of the whole cluster");
    }
}
