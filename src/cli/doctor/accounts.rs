//! The accounts that users are made in: each class's, or the operator's own.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use kube::{Api, Client, ResourceExt};

use super::place::Place;
use super::{Check, system};
use crate::aws::Session;
use crate::cli::Error;
use crate::cli::plan::planner;
use crate::config::RunOptions;
use crate::controller::{KnownClass, Planner};
use crate::kubernetes::KubernetesError;

/// So many classes are checked, and so many at once.
const CLASSES: u32 = 50;
const AT_ONCE: usize = 4;
/// So many S3AccessUsers are named.
const SHOWN: usize = 5;
/// A class that takes longer has failed: its endpoints are its own.
const DEADLINE: Duration = Duration::from_secs(60);

pub(super) async fn check(client: Option<&Client>, options: &RunOptions, session: &Arc<Session>) -> Vec<Check> {
    let path = options.defaults().path;
    let own = async |cluster_id: &str| {
        let (who, session) = ("AWS".to_owned(), session.clone());
        within(Place { who, session, class: None, path: &path, cluster_id }).await
    };
    let unknown = options.cluster_id.as_deref().unwrap_or("unknown");
    let Some(client) = client else { return own(unknown).await };
    let planner = match planner(client, options, session.clone()).await {
        Ok(planner) => planner,
        Err(error) => {
            let error = match error {
                Error::Kubernetes(error) => KubernetesError::of("get Namespace", "", "kube-system", &error).to_string(),
                other => other.to_string(),
            };
            let check = Check::failure("cluster id", error, "apply deploy/rbac.yaml, or set S3ACCESS_CLUSTER_ID");
            return [vec![check], own(unknown).await].concat();
        }
    };
    let (classes, more) = match options.classes {
        true => match planner.some_classes(Some(CLASSES)).await {
            Ok(found) => found,
            Err(error) => {
                let check = Check::failure("S3AccessClasses", error, "apply crds and deploy/rbac.yaml");
                return [vec![check], own(&planner.cluster.id).await].concat();
            }
        },
        false => (Vec::new(), false),
    };
    let mut checks = match (classes.is_empty(), options.require_class) {
        (true, false) => return own(&planner.cluster.id).await,
        (true, true) => vec![Check::warning(
            "S3AccessClasses",
            "there is none, and S3ACCESS_REQUIRE_CLASS asks for one: no user is made",
        )],
        (false, _) => match without_class(&planner, &classes, &options.watch_namespaces).await {
            Some(check) => [own(&planner.cluster.id).await, vec![check]].concat(),
            // The operator's own identity may then have no rights but to assume the classes' roles, or not be at all.
            None => vec![Check::ok(
                "AWS",
                "not checked by itself: users are made through the classes, as each of them says",
            )],
        },
    };
    let of_classes = stream::iter(&classes).map(|class| of_class(class, &planner, false)).buffered(AT_ONCE);
    checks.extend(of_classes.collect::<Vec<_>>().await.into_iter().flatten());
    if more {
        checks
            .push(Check::warning("S3AccessClasses", format!("there are more than {CLASSES}: only these were checked")));
    }
    checks
}

/// One class alone.
pub(super) async fn check_class(
    client: Option<&Client>,
    options: &RunOptions,
    session: &Arc<Session>,
    name: &str,
) -> Vec<Check> {
    let who = format!("class {name}");
    let Some(client) = client else { return Vec::new() };
    let planner = match planner(client, options, session.clone()).await {
        Ok(planner) => planner,
        Err(error) => return vec![Check::failure(who, error, "apply deploy/rbac.yaml, or set S3ACCESS_CLUSTER_ID")],
    };
    match Api::<KnownClass>::all(client.clone()).get_opt(name).await {
        Ok(Some(class)) => of_class(&class, &planner, true).await,
        Ok(None) => vec![Check::failure(who, "there is none", "create it")],
        Err(error) => {
            let error = KubernetesError::of("get S3AccessClass", "", name, &error);
            vec![Check::failure(who, error, "apply crds and deploy/rbac.yaml")]
        }
    }
}

/// Whom no class bounds although there are some. Where they cannot be listed, the check of the rights has said so; where a
/// selector hides classes, nobody knows which one was the first.
async fn without_class(planner: &Planner, classes: &[KnownClass], watched: &[String]) -> Option<Check> {
    if planner.class_selector.is_some() {
        return None;
    }
    let mut found = planner.without_class(classes.to_vec()).await.ok()?;
    let is_watched = |user: &String| watched.iter().any(|own| user.split('/').next() == Some(own));
    found.retain(|user| watched.is_empty() || is_watched(user));
    if found.is_empty() {
        return None;
    }
    let shown = found.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    Some(Check::warning(
        "S3AccessUsers without a class",
        format!(
            "{} came before the first class and have no limits, such as {shown}: `plan` with the class that is to take them says what it would change; see platform-guide.md, \"From no classes to classes\"",
            found.len()
        ),
    ))
}

async fn of_class(class: &KnownClass, planner: &Planner, whole: bool) -> Vec<Check> {
    let who = format!("class {}", class.name_any());
    if let Some(invalid) = &class.invalid {
        return vec![Check::failure(who, format!("cannot be read: {invalid}"), "correct it")];
    }
    let mut class = (**class).clone();
    // Its few dozen calls would not be done in time at one a second.
    class.spec.requests_per_second = None;
    let session = match tokio::time::timeout(DEADLINE, planner.session_of(&class)).await {
        Ok(Ok(session)) => session,
        Ok(Err(error)) => return vec![Check::failure(who, error, "correct the class")],
        Err(_) => return vec![too_slow(who)],
    };
    let path = &planner.path_of(&class);
    let of_system = system::judge(&who, &class, whole);
    let checks = within(Place { who, session, class: Some(&class), path, cluster_id: &planner.cluster.id }).await;
    [checks, of_system].concat()
}

async fn within(place: Place<'_>) -> Vec<Check> {
    match tokio::time::timeout(DEADLINE, place.check()).await {
        Ok(checks) => checks,
        Err(_) => vec![too_slow(place.who)],
    }
}

fn too_slow(who: String) -> Check {
    let problem = format!("was not checked within {} s", DEADLINE.as_secs());
    Check::failure(who, problem, "are the endpoints right, and reached from here?")
}

#[cfg(test)]
mod tests {
    use axum::extract::RawQuery;
    use axum::routing::get;
    use axum::{Json, Router};
    use clap::{Args, FromArgMatches};
    use kube::Config;
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;
    use crate::cli::doctor::Level;
    use crate::leadership::Leadership;

    /// An API server with more classes than it is asked for, of which one has nothing that a class has.
    async fn api_server() -> Client {
        let classes = async |RawQuery(query): RawQuery| {
            assert_eq!(query.unwrap_or_default(), format!("&limit={CLASSES}"));
            Json(json!({
                "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessClassList", "metadata": { "continue": "more" },
                "items": [{ "metadata": { "name": "odd" }, "spec": { "allowedBuckets": { "\u{1b}[2J": 7 } } }],
            }))
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/apis/s3access.dev/v1alpha1/s3accessclasses", get(classes));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Client::try_from(Config::new(url.parse().unwrap())).unwrap()
    }

    #[tokio::test]
    async fn a_class_that_cannot_be_read_and_more_than_are_looked_at_are_said_to_be_so() {
        let command = RunOptions::augment_args(clap::Command::new("run").no_binary_name(true));
        let options = RunOptions::from_arg_matches(&command.get_matches_from(["--cluster-id=one"])).unwrap();
        let session = Session::from_environment(&options.session_options(), Leadership::nobody(), Arc::default()).await;
        let checks = check(Some(&api_server().await), &options, &Arc::new(session.unwrap())).await;
        let found: Vec<_> = checks.iter().map(|check| (check.level, check.what.as_str())).collect();
        let wanted = [(Level::Ok, "AWS"), (Level::Failure, "class odd"), (Level::Warning, "S3AccessClasses")];
        assert_eq!(found, wanted, "{checks:?}");
        assert!(checks[1].found.starts_with("cannot be read: ") && checks[1].found.ends_with(": correct it"));
    }
}
