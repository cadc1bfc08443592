//! Pods that hold nothing but the Secret of an S3AccessUser.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ground::node::WORKLOAD;
use ground::repository;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use s3_access_operator::core::rotation::window::SWAP;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::world::{LAG, World};

/// Longer than a mounted file takes to follow, and short enough to sit out twice.
const OVERLAP: &str = "12s";

/// What the workload says that it has met.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Report {
    /// Requests that succeeded, by access key id.
    pub keys: BTreeMap<String, usize>,
    /// Those that did not, by error code.
    pub failures: BTreeMap<String, usize>,
}

/// The README's object and its commands, word for word, in the default class of the chart; then the sample that it leads to,
/// with the image of the tests in place of the AWS CLI's, and the address of the test's AWS.
pub async fn the_readmes_commands_lead_to_a_pod_that_reads_its_bucket(world: &World) {
    world.object("s3://team-a-reports/today.txt", "five were sold").await;
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let (_, section) = readme.split_once("\n## Use\n").unwrap();
    let block = |kind: &str| section.split_once(&format!("```{kind}\n")).unwrap().1.split("```").next().unwrap();
    let file = world.file("reports.yaml", block("yaml"));
    let mut answers = Vec::new();
    for command in block("console").lines().filter_map(|line| line.strip_prefix("$ kubectl ")) {
        // What follows the pipe is the reader's shell.
        let args: Vec<&str> =
            command.split(" | ").next().unwrap().split(' ').map(|arg| arg.trim_matches('\'')).collect();
        let args: Vec<String> = args.iter().map(|arg| arg.replace("reports.yaml", &file).replace("='", "=")).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        answers.push(world.kubectl(&args).await.unwrap_or_else(|error| panic!("{command}: {error:#}")));
    }
    let [.., shown, credentials] = answers.as_slice() else { panic!("{answers:?}") };
    assert!(shown.contains("READY") && shown.contains("True") && shown.contains("Synced"), "{shown}");
    let user = world.ready("team-a", "reports").await;
    let key = world.only_key(&user, "reports-s3", "").await;
    let held = world.secret("team-a", "reports-s3").await.data.unwrap()["credentials"].0.clone();
    assert_eq!(*credentials, serde_json::json!(ByteString(held.clone())).as_str().unwrap());
    assert!(String::from_utf8(held).unwrap().contains(&key));
    tokio::time::sleep(Duration::from_secs(LAG.unsigned_abs())).await;

    let text = std::fs::read_to_string(repository().join("deploy/samples/workload.yaml")).unwrap();
    let mut deployment: Value = serde_saphyr::from_str(&text).unwrap();
    let containers = deployment["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap();
    assert_eq!(containers.len(), 2, "the sample has another shape than this test knows");
    for container in containers {
        container["image"] = WORKLOAD.into();
        container["command"] = json!(["/workload", "cat", "s3://team-a-reports/today.txt"]);
        let endpoint = json!({ "name": "AWS_ENDPOINT_URL", "value": world.admin.endpoint });
        container["env"].as_array_mut().unwrap().push(endpoint);
    }
    world.apply(&deployment).await;
    for container in ["with-a-file", "with-the-environment"] {
        world
            .see(&format!("the object in the log of {container}"), async || {
                let log = world.kubectl(&["logs", "-n", "team-a", "deployment/reports", "-c", container]).await?;
                ensure!(log == "five were sold\n", "{log:?}");
                Ok(())
            })
            .await;
    }
    world.kubectl(&["delete", "-n", "team-a", "deployment", "reports"]).await.unwrap();
    world.kubectl(&["delete", "-n", "team-a", "s3accessuser", "reports"]).await.unwrap();
}

/// One in the hours that the spec names, as its key comes to its age, and one on demand.
pub async fn two_rotations_under_load_fail_no_request(world: &World) {
    world.namespace("load").await;
    world.object("s3://load-data/first", "first").await;
    let user = world.user("load", "app", rotating(json!({ "interval": "2160h", "overlap": OVERLAP }))).await;
    let first = world.only_key(&user, "app-s3", "").await;
    let (opens, closes) = hours_of(world, &first).await;
    tokio::time::sleep(Duration::from_secs(LAG.unsigned_abs())).await;
    world.apply(&pod("load", &world.admin.endpoint)).await;

    let started = Instant::now();
    uses(world, "load", &first).await;
    let mut keys = vec![first];
    for how in ["in its window", "on demand"] {
        let old = keys.last().unwrap().clone();
        let mut due_at = opens;
        if how == "on demand" {
            world.rotate("load", "app", "now").await;
            due_at = Timestamp::now();
        }
        let new = world.another_key("load", "app-s3", &old).await;
        let written = Instant::now();
        let after = Timestamp::now().duration_since(due_at).as_secs_f32();
        uses(world, "load", &new).await;
        println!(
            "{how}: another key in the Secret after {after:.1}s, a hundred requests with it {:.1?} later",
            written.elapsed()
        );
        world.only_key(&user, "app-s3", &old).await;
        keys.push(new);
    }
    let made = world.made_keys(&user);
    assert!(made.len() == 3 && (opens..closes).contains(&made[1]), "not from {opens} to {closes}: {made:?}");
    world
        .see("a thousand requests", async || {
            let report = report(world, "load", "app").await?;
            let total: usize = report.keys.values().sum();
            ensure!(total >= 1_000, "{report:?}");
            Ok(())
        })
        .await;
    // Those after the last old key was deleted count too.
    uses(world, "load", &keys[2]).await;
    let report = report(world, "load", "app").await.unwrap();
    let total: usize = report.keys.values().sum();
    println!("{total} requests in {:.0?} over two rotations, failed: {:?}", started.elapsed(), report.failures);
    assert!(report.failures.is_empty(), "{report:?}");
    assert_eq!(report.keys.len(), 3, "{report:?}");
    let restarts = ["get", "pod", "-n", "load", "app", "-o", "jsonpath={.status.containerStatuses[0].restartCount}"];
    assert_eq!(world.kubectl(&restarts).await.unwrap(), "0", "the workload was started again");
    world.kubectl(&["delete", "-n", "load", "pod", "app"]).await.unwrap();
}

fn rotating(rotation: Value) -> Value {
    let access = json!([{ "bucket": "load-data", "level": "ReadWrite" }]);
    json!({ "access": access, "accessKey": { "rotation": rotation } })
}

/// Gives the user hours in which it is rotated, which begin within the next minute or so, and its key the age at which it is to be
/// replaced with their begin: each user has a turn somewhere in its hours, and this one has the first seconds left for it.
async fn hours_of(world: &World, key: &str) -> (Timestamp, Timestamp) {
    let second = SignedDuration::from_secs(1);
    let opens = Timestamp::from_second((Timestamp::now() + 20 * second).as_second() / 60 * 60 + 60).unwrap();
    let closes = opens + 3_600 * second;
    let interval = SignedDuration::from_hours(48);
    world.iam(|iam| iam.set_created(key, opens + 5 * second + SWAP - interval));
    let hours = [opens, closes].map(|time| time.strftime("%H:%M").to_string()).join("-");
    let rotation = json!({ "interval": "48h", "overlap": OVERLAP, "window": format!("Mon-Sun {hours} UTC") });
    let user = world.user("load", "app", rotating(rotation)).await;
    let next = user.status.unwrap().next_rotation_at.unwrap().0;
    assert!((opens..=opens + 5 * second).contains(&next), "{next}, and the hours begin at {opens}");
    (opens, closes)
}

/// What a revocation costs whoever mounts the Secret: until the node has brought the next key into the file, and no longer.
pub async fn a_revocation_under_load_fails_only_what_still_has_the_old_key(world: &World) {
    world.namespace("revoked").await;
    world.object("s3://revoked-data/first", "first").await;
    let access = json!([{ "bucket": "revoked-data", "level": "ReadWrite" }]);
    let user = world.user("revoked", "app", json!({ "access": access })).await;
    let mut held = world.only_key(&user, "app-s3", "").await;
    tokio::time::sleep(Duration::from_secs(LAG.unsigned_abs())).await;
    world.apply(&pod("revoked", &world.admin.endpoint)).await;
    uses(world, "revoked", &held).await;
    for value in ["keep-working-1", "2"] {
        let annotation = format!("s3access.dev/revoke={value}");
        world.kubectl(&["annotate", "--overwrite", "s3accessuser", "-n", "revoked", "app", &annotation]).await.unwrap();
        let asked = Instant::now();
        let new = world.another_key("revoked", "app-s3", &held).await;
        let written = asked.elapsed();
        uses(world, "revoked", &new).await;
        let follows = report(world, "revoked", "app").await.unwrap();
        let failed: usize = follows.failures.values().sum();
        println!(
            "revoked with {value:?}: another key in the Secret after {written:.1?}, at work after {:.1?}, failed so far: {:?}",
            asked.elapsed(),
            follows.failures
        );
        assert!(follows.failures.keys().all(|code| code == "InvalidAccessKeyId"), "{follows:?}");
        uses(world, "revoked", &new).await;
        let after: usize = report(world, "revoked", "app").await.unwrap().failures.values().sum();
        assert_eq!(after, failed, "requests fail that have the new key");
        let of_old = world.keys(&user).await.into_iter().find(|key| key.access_key_id() == Some(held.as_str()));
        let works = of_old.is_some_and(|key| key.status().is_some_and(|status| status.as_str() == "Active"));
        assert!(!works, "{held} works after its revocation");
        held = new;
    }
    world.kubectl(&["delete", "-n", "revoked", "pod", "app"]).await.unwrap();
    world.kubectl(&["delete", "-n", "revoked", "s3accessuser", "app"]).await.unwrap();
}

/// Waits for a hundred more requests that succeeded with that key.
async fn uses(world: &World, namespace: &str, key: &str) {
    let count = |report: &Report| report.keys.get(key).copied().unwrap_or_default();
    let before = report(world, namespace, "app").await.map_or(0, |report| count(&report));
    world
        .see(&format!("a hundred requests with {key}"), async || {
            let report = report(world, namespace, "app").await?;
            ensure!(count(&report) >= before + 100, "{report:?}");
            Ok(())
        })
        .await;
}

/// What a container of the pod `app` says.
pub async fn report(world: &World, namespace: &str, container: &str) -> Result<Report> {
    let log = world.kubectl(&["logs", "-n", namespace, "app", "-c", container, "--tail=1"]).await?;
    serde_json::from_str(&log).with_context(|| format!("the workload said {log:?}"))
}

fn pod(namespace: &str, endpoint: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "app", "namespace": namespace },
        "spec": {
            "automountServiceAccountToken": false,
            "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": [{
                "name": "app", "image": WORKLOAD, "args": ["load", format!("{namespace}-data")],
                "env": [
                    { "name": "AWS_SHARED_CREDENTIALS_FILE", "value": "/var/run/s3/credentials" },
                    { "name": "AWS_REGION", "value": "us-east-1" },
                    { "name": "AWS_ENDPOINT_URL", "value": endpoint },
                ],
                "volumeMounts": [{ "name": "s3", "mountPath": "/var/run/s3", "readOnly": true }],
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
                },
            }],
            "volumes": [{ "name": "s3", "secret": { "secretName": "app-s3" } }],
        },
    })
}
