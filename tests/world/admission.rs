//! What the API server says of a class at `kubectl apply`: the same as the operator, where it can see it.

use std::collections::BTreeMap;

use anyhow::ensure;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use s3_access_operator::api::S3AccessUser;
use s3_access_operator::core::class::{Class, Defaults};
use s3_access_operator::core::iam::Account;
use s3_access_operator::core::policy;
use serde_json::{Value, json};

use crate::scene::Scene;

const BOUNDARY: &str = "arn:aws:iam::123456789012:policy/forced";

/// Classes, from nothing beside buckets to everything.
fn classes() -> Vec<Value> {
    vec![
        json!({ "allowedBuckets": ["{namespace}.*"] }),
        json!({ "allowedBuckets": ["team-a*", "x?z", "a.b"], "path": "/s3/", "tags": { "team": "a" }, "allowedTagKeys": ["cost-*", "Team"] }),
        json!({
            "allowedBuckets": ["*"], "permissionsBoundaryArn": BOUNDARY, "allowedNames": ["{namespace}-*", "Exact"],
            "rotation": { "maxInterval": "2160h" }, "allowedManagedPolicyArns": ["arn:aws:iam::123456789012:policy/shared-?"],
        }),
        json!({
            "allowedBuckets": ["*"], "allowStatements": true, "allowedManagedPolicyArns": ["*"], "allowedNames": ["*"],
            "allowedTagKeys": ["*"], "allowForceAdoption": true,
        }),
        json!({
            "allowedBuckets": ["*"], "allowedPaths": ["/{namespace}/*", "/s3?/"], "allowRetain": true,
            "allowedSecretNames": ["{namespace}-*", "plain"], "allowedSecretLabels": ["team.example.com/*"],
            "allowedSecretAnnotations": ["note", "x?/y"], "rotation": { "minInterval": "24h" },
        }),
        json!({ "allowedBuckets": ["*"], "deletionPolicy": "Retain", "allowedSecretNames": ["*"] }),
        json!({ "allowedBuckets": ["*"], "allowedKmsKeyArns": ["*:key/a", "arn:aws:kms:eu-west-?:210987654321:key/*"] }),
        json!({ "allowedBuckets": ["*"], "allowedKmsKeyArns": ["*"], "accountId": "123456789012" }),
        json!({
            "allowedBuckets": ["*"], "allowedKmsKeyArns": ["arn:*"], "accountId": "123456789012",
            "allowedResourceAccounts": ["210987654321"],
        }),
        json!({ "allowedBuckets": ["*"], "allowedNamespaces": { "names": ["another"] } }),
        json!({ "allowedBucketsFrom": { "namespaceAnnotation": "example.com/listed" } }),
        json!({ "allowedBuckets": ["x?z"], "allowedBucketsFrom": { "namespaceAnnotation": "example.com/everything" } }),
        json!({ "allowedBuckets": ["x?z"], "allowedBucketsFrom": { "namespaceAnnotation": "example.com/malformed" } }),
        json!({ "allowedBuckets": ["x?z"], "allowedBucketsFrom": { "namespaceAnnotation": "example.com/absent" } }),
        json!({ "allowedBucketsFrom": { "namespaceLabel": "tier" } }),
        json!({ "allowedBucketsFrom": { "namespaceLabel": "example.com/team", "pattern": "{label}*" } }),
        json!({ "allowedBucketsFrom": { "namespaceLabel": "example.com/empty", "pattern": "{label}*" } }),
        json!({ "allowedBucketsFrom": { "namespaceLabel": "example.com/upper", "pattern": "{label}*" } }),
        json!({ "allowedBuckets": ["*"], "allowedNamespaces": { "selector": { "matchLabels": { "tier": "gold" } } } }),
        json!({ "allowedBuckets": ["*"], "allowedNamespaces": { "selector": { "matchLabels": { "tier": "silver" } } } }),
        json!({ "allowedBuckets": ["*"], "allowedNamespaces": { "selector": { "matchExpressions": [
            { "key": "tier", "operator": "In", "values": ["gold", "silver"] }, { "key": "closed", "operator": "DoesNotExist" },
        ] } } }),
        json!({ "allowedBuckets": ["*"], "allowedNamespaces": { "selector": { "matchExpressions": [
            { "key": "tier", "operator": "NotIn", "values": ["gold"] },
        ] } } }),
        json!({ "allowedBuckets": ["*"], "allowedNamespaces": {} }),
    ]
}

/// The grant a second time, with keys.
fn with_keys(grant: &Value) -> impl Iterator<Item = Value> {
    let sets: [&[&str]; 3] =
        [&["123456789012:key/a"], &["123456789012:key/b"], &["210987654321:key/mrk-1", "123456789012:key/a"]];
    sets.into_iter().map(move |keys| {
        let keys: Vec<String> = keys.iter().map(|key| format!("arn:aws:kms:eu-west-1:{key}")).collect();
        let mut second = grant.clone();
        second["kmsKeyArns"] = json!(keys);
        json!({ "access": [grant, second] })
    })
}

/// What a tenant writes, in one field each.
fn specs(namespace: &str) -> Vec<Value> {
    let mut specs: Vec<Value> = [
        &format!("{namespace}.data"),
        &format!("{namespace}xdata"),
        "team-a",
        "team-ab.x",
        "xyz",
        "xyyz",
        "a.b",
        "axb",
    ]
    .iter()
    .map(|bucket| json!({ "access": [{ "bucket": bucket, "level": "ReadOnly" }] }))
    .collect();
    let inside = || json!([{ "bucket": format!("{namespace}.data"), "level": "ReadOnly" }]);
    specs.extend(with_keys(&inside()[0]));
    let statement =
        |effect: &str| json!({ "statements": [{ "Effect": effect, "Action": "s3:GetObject", "Resource": "*" }] });
    for extra in [
        json!({ "policy": { "preset": "ReadWriteNoDelete" } }),
        json!({ "policy": statement("Allow") }),
        json!({ "policy": statement("Deny") }),
        json!({ "policy": { "type": "Managed", "name": "exact" } }),
        json!({ "userName": format!("{namespace}-x").to_uppercase() }),
        json!({ "userName": "exactly" }),
        json!({ "path": "/s3/x/" }),
        json!({ "path": "/s3x/" }),
        json!({ "path": "/s3/" }),
        json!({ "path": "/s3access/" }),
        json!({ "path": format!("/{namespace}/x/") }),
        json!({ "deletionPolicy": "Retain" }),
        json!({ "deletionPolicy": "Delete" }),
        json!({ "secret": { "name": "plain" } }),
        json!({ "secret": { "name": "plainly" } }),
        json!({ "secret": { "name": format!("{namespace}-x") } }),
        json!({ "secret": { "name": "sh.helm.release.v1.app.v9" } }),
        json!({ "secret": { "labels": { "team.example.com/a": "1" } } }),
        json!({ "secret": { "labels": { "team.example.com/a": "1", "grafana_datasource": "1" } } }),
        json!({ "secret": { "annotations": { "note": "1" } } }),
        json!({ "secret": { "annotations": { "xx/y": "1", "replicator.v1.mittwald.de/replicate-to": "*" } } }),
        json!({ "accessKey": { "rotation": { "interval": "24h", "overlap": "1h" } } }),
        json!({ "accessKey": { "rotation": { "interval": "23h", "overlap": "1h" } } }),
        json!({ "permissionsBoundaryArn": BOUNDARY }),
        json!({ "permissionsBoundaryArn": "arn:aws:iam::123456789012:policy/own" }),
        json!({ "managedPolicyArns": ["arn:aws:iam::123456789012:policy/shared-1"] }),
        json!({ "managedPolicyArns": ["arn:aws:iam::123456789012:policy/shared-12"] }),
        json!({ "tags": { "cost-center": "1" } }),
        json!({ "tags": { "TEAM": "b" } }),
        json!({ "accessKey": { "rotation": { "interval": "2160h" } } }),
        json!({ "accessKey": { "rotation": { "interval": "2161h" } } }),
        json!({ "adoption": "Force" }),
    ] {
        let mut spec = json!({ "access": inside() });
        extra.as_object().unwrap().iter().for_each(|(field, value)| spec[field] = value.clone());
        specs.push(spec);
    }
    specs
}

impl Scene {
    /// What the API server says of a spec, without keeping it.
    async fn asked(&self, spec: Value) -> Result<(), String> {
        let object: S3AccessUser = serde_json::from_value(json!({
            "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser", "metadata": { "name": "asked" }, "spec": spec,
        }))
        .unwrap();
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        self.users().create(&dry, &object).await.map(drop).map_err(|error| error.to_string())
    }
}

#[tokio::test]
async fn invariant_7_admission_and_operator_say_the_same_of_a_spec() {
    let scene = Scene::without_operator("admit").await;
    let annotations = json!({
        "example.com/listed": "team-a*,\tx?z\n{namespace}.*", "example.com/everything": "*", "example.com/malformed": "*, Team_A",
    });
    let labels =
        json!({ "tier": "gold", "example.com/team": "team-a", "example.com/empty": "", "example.com/upper": "Team" });
    let gold = Patch::Merge(json!({ "metadata": { "labels": labels, "annotations": annotations } }));
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(scene.client.clone());
    let metadata = namespaces.patch(&scene.namespace, &PatchParams::default(), &gold).await.unwrap().metadata;
    let (labels, annotations) = (metadata.labels.unwrap(), metadata.annotations.unwrap());
    scene.policy_is_sound("s3access-classes").await;
    let account = Account { id: "123456789012".to_owned(), partition: "aws".to_owned() };
    let (mut pairs, mut refused) = (0, 0);
    for (number, class) in classes().into_iter().enumerate() {
        let name = scene.class(&format!("c{number}"), class).await;
        let made = scene.classes().get(&name).await.unwrap();
        let labels: BTreeMap<String, String> = labels.clone();
        let defaults = Defaults { path: "/s3access/".to_owned(), ..Defaults::default() };
        let class = Class::of(&made, &scene.namespace, &labels).annotated(&annotations).with(defaults);
        for mut spec in specs(&scene.namespace) {
            spec["className"] = json!(name);
            let parsed = serde_json::from_value(spec.clone()).unwrap();
            let mut violations = class.violations(&parsed);
            violations.extend(
                policy::compile(&parsed, &account, &class, &s3_access_operator::core::policy::Terms::default())
                    .unwrap()
                    .1,
            );
            let beyond = parsed.managed_policy_arns.iter().filter(|arn| !class.allows_policy(arn));
            violations.extend(beyond.map(|arn| format!("spec.managedPolicyArns {arn}")));
            let said = scene
                .see(&format!("admission of {spec} to say {violations:?}"), async || {
                    // A class that was just made takes a moment to be asked.
                    let said = scene.asked(spec.clone()).await;
                    ensure!(said.is_err() != violations.is_empty(), "{said:?}");
                    Ok(said)
                })
                .await;
            if let Err(message) = said {
                refused += 1;
                assert!(message.contains(&format!("S3AccessClass {name} does not allow")), "{message}");
                let field = violations[0].split([' ', '[']).next().unwrap().trim_end_matches(".Resource");
                assert!(violations.len() > 1 || message.contains(field), "{message} lacks {field}");
            }
            pairs += 1;
        }
        scene.classes().delete(&name, &DeleteParams::default()).await.unwrap();
    }
    println!("admission: {pairs} pairs of class and spec, {refused} refused, and the operator says the same of each");
    assert!(pairs >= 200 && refused >= 50, "{pairs} {refused}");
}

#[tokio::test]
async fn admission_lets_go_what_a_class_no_longer_allows() {
    let scene = Scene::without_operator("letgo").await;
    let class = scene.class("c", json!({ "allowedBuckets": ["first"] })).await;
    let spec = json!({ "className": class, "access": [{ "bucket": "first", "level": "ReadOnly" }] });
    scene.create("reports", spec).await;
    scene.patch("reports", json!({ "metadata": { "finalizers": ["example.com/hold"] } })).await;
    scene.patch_class(&class, json!({ "spec": { "allowedBuckets": ["second"] } })).await;
    let asked = json!({ "className": class, "access": [{ "bucket": "first", "level": "ReadOnly" }] });
    scene
        .see("the class to be in force", async || {
            ensure!(scene.asked(asked.clone()).await.is_err(), "not yet");
            Ok(())
        })
        .await;
    scene.patch("reports", json!({ "metadata": { "labels": { "theirs": "yes" } } })).await;
    let widened = Patch::Merge(json!({ "spec": { "access": [{ "bucket": "first", "level": "Admin" }] } }));
    let error = scene.users().patch("reports", &PatchParams::default(), &widened).await.unwrap_err().to_string();
    assert!(error.contains("allowedBuckets are second"), "{error}");
    scene.users().delete("reports", &DeleteParams::default()).await.unwrap();
    scene.patch("reports", json!({ "metadata": { "finalizers": null } })).await;
    scene.gone("reports").await;
}
