//! The samples, as people copy them: applied, Ready, and used with nothing but their Secrets.

use std::collections::BTreeSet;
use std::time::Duration;

use ground::repository;
use kube::ResourceExt;
use s3_access_operator::api::{AccessKeyMode, AccessLevel, S3AccessUser};
use serde_json::{Value, json};

use crate::world::{LAG, World};

/// For the samples that ask for more than the default class allows: whatever a class can allow.
const WIDE: &str = "wide";
/// What fits into the default class of the chart, by the names of the S3AccessUsers.
const BY_DEFAULT: [&str; 6] = ["backups", "legacy", "nightly", "pipeline", "reports", "warehouse"];

fn wide() -> Value {
    let all = json!(["*"]);
    json!({
        "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessClass", "metadata": { "name": WIDE },
        "spec": {
            "allowedBuckets": all, "allowedKmsKeyArns": all, "allowStatements": true, "allowedManagedPolicyArns": all,
            "allowedNames": all, "allowedTagKeys": all, "allowedPaths": ["/s3access/*"], "allowRetain": true,
            "allowedSecretLabels": all, "allowedSecretAnnotations": all,
        },
    })
}

/// The S3AccessUsers of the samples; those with classes of their own aside. Two have one name, and are told apart by their
/// files.
fn samples() -> Vec<Value> {
    let mut samples = Vec::new();
    for entry in std::fs::read_dir(repository().join("deploy/samples")).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_stem().unwrap().to_string_lossy().into_owned();
        if file.starts_with("class-") || file == "workload" {
            continue;
        }
        let documents: Vec<Value> = serde_saphyr::from_multiple(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for mut document in documents.into_iter().filter(|document| document["kind"] == "S3AccessUser") {
            if file == "demo" {
                document["metadata"]["name"] = json!("reports-in-statements");
            }
            samples.push(document);
        }
    }
    samples
}

pub async fn every_sample_becomes_ready_and_its_key_does_what_it_says(world: &World) {
    // The README's, unless its test is left out.
    world.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "team-a" } })).await;
    world.apply(&wide()).await;
    let mut by_default = BTreeSet::new();
    let samples = samples();
    for sample in &samples {
        let file = world.file("sample.json", &sample.to_string());
        if world.kubectl(&["apply", "--dry-run=server", "-f", &file]).await.is_ok() {
            by_default.insert(sample["metadata"]["name"].as_str().unwrap());
            world.apply(sample).await;
        } else {
            let mut beyond = sample.clone();
            beyond["spec"]["className"] = json!(WIDE);
            world.apply(&beyond).await;
        }
    }
    assert_eq!(by_default, BTreeSet::from(BY_DEFAULT), "which samples the default class allows");
    let mut users = Vec::new();
    for sample in &samples {
        let meta = &sample["metadata"];
        users.push(world.ready(meta["namespace"].as_str().unwrap(), meta["name"].as_str().unwrap()).await);
    }
    tokio::time::sleep(Duration::from_secs(LAG.unsigned_abs())).await;
    for user in &users {
        used(world, user).await;
    }
    for sample in &samples {
        let (namespace, name) = (sample["metadata"]["namespace"].as_str(), sample["metadata"]["name"].as_str());
        world.kubectl(&["delete", "-n", namespace.unwrap(), "s3accessuser", name.unwrap()]).await.unwrap();
    }
    world.kubectl(&["delete", "s3accessclass", WIDE]).await.unwrap();
}

/// The platform team's sample, beside the default class that the chart has made: the class that its user names, and the two that
/// go by what the Namespace says.
pub async fn the_sample_of_classes_bounds_its_users_and_their_keys_work(world: &World) {
    let text = std::fs::read_to_string(repository().join("deploy/samples/class-tenants.yaml")).unwrap();
    let boundary = std::fs::read_to_string(repository().join("deploy/iam/bounded/users-boundary.aws.json")).unwrap();
    let iam = world.admin.iam();
    iam.create_policy().policy_name("s3access-boundary").policy_document(boundary).send().await.unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    for mut document in documents {
        if document["metadata"]["name"] == "tenants" {
            document["metadata"]["annotations"] = json!({});
        }
        world.apply(&document).await;
    }
    let asked = |class: &str, bucket: &str| json!({ "className": class, "access": [{ "bucket": bucket, "level": "ReadWrite" }] });
    let mut users = vec![world.ready("team-a", "invoices").await];
    users.push(world.user("team-a", "by-annotation", asked("by-annotation", "invoices-2026")).await);
    users.push(world.user("team-a", "by-label", asked("by-label", "payroll-2026")).await);
    tokio::time::sleep(Duration::from_secs(LAG.unsigned_abs())).await;
    for user in &users {
        used(world, user).await;
    }
    let beyond = json!({ "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser",
        "metadata": { "name": "beyond", "namespace": "team-a" }, "spec": asked("by-label", "invoices-2026") });
    let file = world.file("beyond.json", &beyond.to_string());
    let refused = world.kubectl(&["apply", "-f", &file]).await.unwrap_err();
    assert!(format!("{refused:#}").contains("what the Namespace names by label team.example.com/name"), "{refused:#}");
    for user in &users {
        world.kubectl(&["delete", "-n", "team-a", "s3accessuser", &user.name_any()]).await.unwrap();
    }
    world.kubectl(&["delete", "s3accessclass", "tenants", "by-annotation", "by-label"]).await.unwrap();
}

/// Does what the sample is for, and what it is not for: put, get and delete an object.
async fn used(world: &World, user: &S3AccessUser) {
    let name = user.name_any();
    let (bucket, wanted) = match (user.spec.access.first(), name.as_str()) {
        (Some(grant), _) => (
            grant.bucket.as_str(),
            match grant.level {
                AccessLevel::ReadOnly => [false, true, false],
                AccessLevel::WriteOnly => [true, false, false],
                AccessLevel::ReadWrite | AccessLevel::Admin => [true, true, true],
            },
        ),
        // Under a KMS key alone, and the request names none.
        (None, "uploads") => ("team-a-reports", [false, false, false]),
        (None, "auditor") => ("team-a-reports", [false, true, false]),
        (None, _) => ("team-a-reports", [true, true, false]),
    };
    let admin = [world.admin.access_key_id.as_str(), world.admin.secret_access_key.as_str()];
    let made = world.tried(bucket, &["CreateBucket", "PutObject"], admin, None).await;
    assert!(made[1], "the administrator's object: {made:?}");
    let (id, secret, token) = credentials(world, user).await;
    let operations = ["PutObject", "GetObject", "DeleteObject"];
    let found = world.tried(bucket, &operations, [&id, &secret], token.as_deref()).await;
    assert_eq!(found, wanted, "{name} puts, gets and deletes in {bucket}");
}

/// The key of a Secret of whatever format: the id that IAM knows, and the one text that can be its other half. Of a session,
/// what its Secret holds, with the token.
async fn credentials(world: &World, user: &S3AccessUser) -> (String, String, Option<String>) {
    if user.spec.access_key.mode == AccessKeyMode::Session {
        let secret = world.secret(&user.namespace().unwrap(), &user.secret_name()).await;
        let text = |key: &str| String::from_utf8(secret.data.as_ref().unwrap()[key].0.clone()).unwrap();
        return (text("AWS_ACCESS_KEY_ID"), text("AWS_SECRET_ACCESS_KEY"), Some(text("AWS_SESSION_TOKEN")));
    }
    let keys = world.keys(user).await;
    let [key] = keys.as_slice() else { panic!("{}: {keys:?}", user.name_any()) };
    let secret = world.secret(&user.namespace().unwrap(), &user.secret_name()).await;
    let values = secret.data.unwrap().into_values().map(|value| String::from_utf8(value.0).unwrap());
    let text = values.collect::<Vec<_>>().join("\n");
    let half = text
        .split(|c: char| !c.is_ascii_alphanumeric() && !"+/".contains(c))
        .find(|word| word.len() == 40)
        .unwrap_or_else(|| panic!("no secret key in the Secret of {}", user.name_any()))
        .to_owned();
    let id = key.access_key_id().unwrap().to_owned();
    assert!(text.contains(&id), "the Secret of {} holds another key", user.name_any());
    (id, half, None)
}
