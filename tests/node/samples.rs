//! The samples, as people copy them: applied, Ready, and used with nothing but their Secrets.

use std::collections::BTreeSet;
use std::path::Path;

use ground::repository;
use kube::ResourceExt;
use s3_access_operator::api::{AccessLevel, S3AccessUser};
use serde_json::{Value, json};

use crate::world::World;

/// For the samples that ask for more than the default class allows: whatever a class can allow.
const WIDE: &str = "wide";
/// What fits into the default class of the chart, by the names of the S3AccessUsers.
const BY_DEFAULT: [&str; 5] = ["backups", "legacy", "pipeline", "reports", "warehouse"];

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

/// The S3AccessUsers of the samples; those of classes of other accounts aside. Two have one name, and are told apart by their
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
    for sample in &samples {
        let meta = &sample["metadata"];
        let user = world.ready(meta["namespace"].as_str().unwrap(), meta["name"].as_str().unwrap()).await;
        used(world, &user).await;
    }
    for sample in &samples {
        let (namespace, name) = (sample["metadata"]["namespace"].as_str(), sample["metadata"]["name"].as_str());
        world.kubectl(&["delete", "-n", namespace.unwrap(), "s3accessuser", name.unwrap()]).await.unwrap();
    }
    world.kubectl(&["delete", "s3accessclass", WIDE]).await.unwrap();
}

/// Does what the sample is for: reads where it may read, else writes.
async fn used(world: &World, user: &S3AccessUser) {
    let name = user.name_any();
    let (bucket, key, reads) = match user.spec.access.first() {
        Some(grant) => {
            let prefix = grant.prefixes.first().cloned().unwrap_or_default();
            (grant.bucket.clone(), format!("{prefix}today.txt"), grant.level != AccessLevel::WriteOnly)
        }
        None if name == "uploads" => ("team-a-uploads".to_owned(), "today.txt".to_owned(), false),
        None => ("team-a-reports".to_owned(), "today.txt".to_owned(), true),
    };
    let url = format!("s3://{bucket}/{key}");
    world.object(&url, "five were sold").await;
    let (id, secret) = credentials(world, user).await;
    let args: &[&str] = if reads { &["cat", &url] } else { &["put", &url, "six were sold"] };
    let answer = world.program(Path::new("workload"), args, [&id, &secret]).await;
    if name == "uploads" {
        let error = answer.unwrap_err();
        assert!(
            error.contains("AccessDenied"),
            "it may write under a KMS key only, which the program names none: {error}"
        );
    } else {
        let said = answer.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!reads || said == "five were sold\n", "{name}: {said:?}");
    }
}

/// The key of a Secret of whatever format: the id that IAM knows, and the one text that can be its other half.
async fn credentials(world: &World, user: &S3AccessUser) -> (String, String) {
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
    (id, half)
}
