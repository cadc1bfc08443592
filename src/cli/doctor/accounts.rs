//! The accounts that users are made in: each class's, or the operator's own.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use kube::{Client, ResourceExt};

use super::Check;
use super::place::Place;
use crate::aws::Session;
use crate::cli::Error;
use crate::cli::plan::planner;
use crate::config::RunOptions;
use crate::controller::{KnownClass, Planner};
use crate::kubernetes::KubernetesError;

/// So many classes are looked at, and so many at once.
const CLASSES: u32 = 50;
const AT_ONCE: usize = 4;
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
        // The operator's own identity may then have no rights but to assume the classes' roles, or not be at all.
        (false, _) => {
            vec![Check::ok("AWS", "not checked by itself: users are made through the classes, as each of them says")]
        }
    };
    let of_classes = stream::iter(&classes).map(|class| of_class(class, &planner, &path)).buffered(AT_ONCE);
    checks.extend(of_classes.collect::<Vec<_>>().await.into_iter().flatten());
    if more {
        checks
            .push(Check::warning("S3AccessClasses", format!("there are more than {CLASSES}: only these were checked")));
    }
    checks
}

async fn of_class(class: &KnownClass, planner: &Planner, path: &str) -> Vec<Check> {
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
    let path = class.spec.path.as_deref().unwrap_or(path);
    within(Place { who, session, class: Some(&class), path, cluster_id: &planner.cluster.id }).await
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
