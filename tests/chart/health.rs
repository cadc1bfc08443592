//! What others make of the conditions: kstatus, by its own Go package, and Argo CD, by the health checks that are
//! shipped for it, in its Lua.

use ground::tools::Tool;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use s3_access_operator::api::Reason;
use s3_access_operator::core::conditions::Conditions;
use s3_access_operator::core::plan::{Part, Parts, Progress};
use serde::Serialize;
use serde_json::{Value, json};

use crate::helm::{documents, read, run, text};

/// kstatus's word for each object.
pub async fn kstatus(objects: &[Value]) -> Vec<String> {
    judge(&["kstatus"], objects).await
}

/// The word of Argo CD's health check of that kind for each object.
pub async fn argocd(kind: &str, objects: &[Value]) -> Vec<String> {
    judge(&["argocd", &format!("deploy/argocd/{kind}.lua")], objects).await
}

async fn judge(args: &[&str], objects: &[Value]) -> Vec<String> {
    let said = run(Tool::Judge, args, &serde_json::to_string(objects).unwrap()).await;
    let said: Vec<Value> = serde_json::from_str(&said.unwrap_or_else(|error| panic!("{args:?}: {error}"))).unwrap();
    said.iter().map(|one| text(&one["status"]).to_owned()).collect()
}

/// An object with the conditions that the operator writes when its parts stand so.
fn user(parts: &Parts) -> Value {
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    with_conditions("S3AccessUser", &Conditions { earlier: &[], generation: Some(2), now }.of_parts(parts))
}

fn with_conditions(kind: &str, conditions: &[impl Serialize]) -> Value {
    json!({
        "apiVersion": "s3access.dev/v1alpha1",
        "kind": kind,
        "metadata": { "name": "reports", "namespace": "team-a", "generation": 2 },
        "spec": {},
        "status": { "observedGeneration": 2, "conditions": conditions },
    })
}

fn synced() -> Parts {
    let synced = || Progress::Synced;
    Parts { user: synced(), policy: synced(), key: synced(), secret: synced() }
}

fn with(part: Part, progress: Progress) -> Value {
    let mut parts = synced();
    parts.set(part, progress);
    user(&parts)
}

/// Every state that the operator reports, with kstatus's word and Argo CD's.
fn states() -> Vec<(String, Value, &'static str, &'static str)> {
    let mut states = vec![
        ("synced".to_owned(), user(&synced()), "Current", "Healthy"),
        ("new".to_owned(), user(&Parts::pending()), "InProgress", "Progressing"),
    ];
    for part in Part::ALL {
        for reason in Reason::ALL {
            let message = || format!("{} of {part:?}", reason.as_str());
            let waiting = with(part, Progress::Waiting(*reason, message()));
            // The key in the Secret works all the while, and yet the spec is not carried out to the end.
            let argo = match reason {
                Reason::Rotating => "Healthy",
                Reason::Suspended | Reason::Paused => "Suspended",
                _ => "Progressing",
            };
            states.push((format!("waiting: {}", message()), waiting, "InProgress", argo));
            let blocked = with(part, Progress::Blocked(*reason, message()));
            let argo = if [Reason::Suspended, Reason::Paused].contains(reason) { "Suspended" } else { "Degraded" };
            states.push((format!("blocked: {}", message()), blocked, "Failed", argo));
        }
    }
    let mut newer = user(&synced());
    newer["metadata"]["generation"] = 3.into();
    states.push(("a spec that was not looked at yet".to_owned(), newer, "InProgress", "Progressing"));
    let mut going = user(&synced());
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    states.push(("being deleted".to_owned(), going.clone(), "Terminating", "Progressing"));
    let mut stuck = with(Part::User, Progress::Blocked(Reason::DeleteBlocked, "somebody's group".to_owned()));
    stuck["metadata"]["deletionTimestamp"] = going["metadata"]["deletionTimestamp"].clone();
    states.push(("a deletion that is blocked".to_owned(), stuck, "Terminating", "Degraded"));
    // What the API server makes of an object without a status, by the CRD's default.
    let mut fresh = user(&synced());
    fresh["status"] = default_status("S3AccessUser");
    states.push(("nobody has looked at it".to_owned(), fresh, "InProgress", "Progressing"));
    states
}

/// The status that the CRD gives to a new object.
fn default_status(kind: &str) -> Value {
    let crd =
        &documents(&read(format!("crds/s3access.dev_{}s.yaml", kind.to_lowercase().replace("class", "classe"))))[0];
    let status = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
    status["default"].clone()
}

#[tokio::test]
async fn kstatus_reads_every_state_as_it_is_meant() {
    let states = states();
    assert!(states.len() > 200, "{}", states.len());
    let objects: Vec<Value> = states.iter().map(|(_, object, ..)| object.clone()).collect();
    for ((name, object, wanted, _), found) in states.iter().zip(kstatus(&objects).await) {
        assert_eq!(found, *wanted, "{name}: {object}");
    }
}

#[tokio::test]
async fn argo_cd_reads_every_state_as_it_is_meant() {
    let states = states();
    let objects: Vec<Value> = states.iter().map(|(_, object, ..)| object.clone()).collect();
    for ((name, object, _, wanted), found) in states.iter().zip(argocd("s3accessuser", &objects).await) {
        assert_eq!(found, *wanted, "{name}: {object}");
    }
}

fn class(status: Option<&str>, generation: i64) -> Value {
    let conditions: Vec<Condition> = status
        .into_iter()
        .map(|status| {
            serde_json::from_value(json!({
                "type": "Ready", "status": status, "reason": "Synced", "message": "account 123456789012 answers",
                "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z",
            }))
            .unwrap()
        })
        .collect();
    let mut class = with_conditions("S3AccessClass", &conditions);
    class["status"]["observedGeneration"] = generation.into();
    if status.is_none() {
        class["status"] = default_status("S3AccessClass");
    }
    class
}

#[tokio::test]
async fn a_class_is_well_while_its_account_answers() {
    let objects = [class(Some("True"), 2), class(Some("False"), 2), class(Some("True"), 1), class(None, 2)];
    assert_eq!(kstatus(&objects).await, ["Current", "InProgress", "InProgress", "InProgress"]);
    assert_eq!(argocd("s3accessclass", &objects).await, ["Healthy", "Degraded", "Progressing", "Progressing"]);
}

/// The ConfigMap of the documentation has the scripts that were tried.
#[test]
fn the_settings_for_argo_cd_have_the_tested_scripts() {
    let settings = &documents(&read("deploy/argocd/argocd-cm.yaml"))[0];
    for kind in ["S3AccessUser", "S3AccessClass"] {
        let script = text(&settings["data"][format!("resource.customizations.health.s3access.dev_{kind}")]);
        assert_eq!(script, read(format!("deploy/argocd/{}.lua", kind.to_lowercase())), "{kind}");
    }
}
