//! Whatever a tenant or a platform team writes, and whatever stands in a Secret or in IAM, is dealt with: in time, with a
//! stack like the operator's own, without a panic, and without a step outside the class.
//!
//! `ATTACKS_CASES` says how many of each are tried. What was once found stays: smallest cases in `fuzz.regressions`,
//! whole inputs in `corpus/`.

mod mutation;
mod templates;
mod world;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use s3_access_operator::api::{S3AccessClass, S3AccessUser};
use s3_access_operator::core::class::Class;
use s3_access_operator::core::desired::Desired;
use s3_access_operator::core::iam::Account;
use s3_access_operator::core::names::Cluster;
use s3_access_operator::kubernetes::secret::{find_key, recorded};
use serde_json::{Value, json};

use crate::judge::{self, on_a_worker, tenant};
use mutation::harmed;

/// What an id must be before AWS is called with it: more lenient than IAM, and free of what breaks a header or a line.
fn is_plausible(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

/// Specs with something in every field.
fn users() -> Vec<Value> {
    let inside = json!(["arn:aws:s3:::team-a.data", "arn:aws:s3:::team-a.data/*"]);
    vec![
        tenant(json!({})),
        tenant(json!({
            "className": "tenants", "userName": "team-a-reports", "path": "/tenants/x/", "tags": { "cost-center": "1" },
            "managedPolicyArns": ["arn:aws:iam::123456789012:policy/shared-x"], "deletionPolicy": "Delete", "suspend": false,
            "permissionsBoundaryArn": "arn:aws:iam::123456789012:policy/tenants", "adoption": "IfOwnedByTag",
            "accessKey": { "status": "Active", "rotation": { "interval": "720h", "overlap": "1h" } },
            "secret": { "name": "team-a-s3", "format": "aws-env", "keys": { "AWS_ACCESS_KEY_ID": "id" }, "labels": { "label-1": "1" },
                "annotations": { "note-1": "x" }, "rolloutRestart": [{ "kind": "Deployment", "name": "app" }] },
        })),
        tenant(json!({ "policy": { "type": "Inline", "name": "team-a-p", "statements": [
            { "Sid": "One", "Effect": "Allow", "Action": ["s3:Get*", "s3:ListBucket"], "Resource": inside,
              "Condition": { "StringLike": { "s3:prefix": ["in/*"] } } },
            { "Effect": "Deny", "NotAction": "s3:GetObject", "NotResource": "arn:aws:s3:::x" },
        ] } })),
        tenant(json!({ "access": [
            { "bucket": "team-a.data", "prefixes": ["in/", "out/"], "level": "ReadWrite", "kmsKeyArns": [judge::KEY] },
            { "bucket": "team-a.logs", "level": "Admin" }, { "bucket": "team-a.data", "level": "ReadOnly" },
        ] })),
        tenant(json!({ "secret": { "format": "template", "template": {
            "a": "{{ secret_access_key }}{% for b in buckets %}{{ b | upper }}{% endfor %}", "b": "{{ access_key_id }}",
        } } })),
    ]
}

/// Classes with something in every field.
fn classes() -> Vec<Value> {
    vec![
        json!({ "allowedBuckets": ["{namespace}.*"] }),
        json!({
            "provider": "aws", "region": "eu-west-1", "accountId": "123456789012", "credentialsSecretRef": { "name": "x" },
            "roleArn": "arn:aws:iam::123456789012:role/x", "externalId": "external", "pathStyle": true, "requestsPerSecond": 5,
            "endpoints": { "iam": "https://iam.example", "sts": "https://sts.example", "s3": "https://s3.example" }, "path": "/tenants/",
            "permissionsBoundaryArn": "arn:aws:iam::123456789012:policy/tenants", "tags": { "team": "a" }, "deletionPolicy": "Retain",
            "rotation": { "defaultInterval": "720h", "maxInterval": "2160h", "minInterval": "1h" },
            "allowedNamespaces": { "names": ["team-a"], "selector": { "matchLabels": { "team": "a" },
                "matchExpressions": [{ "key": "team", "operator": "In", "values": ["a"] }] } },
            "allowedBuckets": ["{namespace}.*", "shared-?"], "allowedKmsKeyArns": [judge::KEY], "allowStatements": true,
            "allowedActions": ["sns:Publish"], "allowedManagedPolicyArns": ["arn:aws:iam::123456789012:policy/shared-*"],
            "allowedNames": ["{namespace}-*"], "allowedTagKeys": ["cost-*"], "allowedPaths": ["/tenants/*"], "allowRetain": true,
            "allowedSecretNames": ["{namespace}-*"], "allowedSecretLabels": ["label-*"], "allowedSecretAnnotations": ["note-*"],
            "allowedResourceAccounts": ["123456789012"], "allowForceAdoption": true,
            "allowedBucketsFrom": { "namespaceLabel": "team", "pattern": "{label}-x-*" },
        }),
    ]
}

/// As it comes from the API server: parsed from text, which JSON's own bounds hold for.
fn over_the_wire<T: serde::de::DeserializeOwned>(value: &Value) -> Option<T> {
    serde_json::from_str(&value.to_string()).ok()
}

/// The S3AccessUser of a spec, where it is one.
fn user_of(spec: &Value) -> Option<S3AccessUser> {
    let object = json!({ "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser",
        "metadata": { "name": "reports", "namespace": "team-a", "uid": "uid", "generation": 1 }, "spec": spec });
    over_the_wire(&object)
}

/// What of a spec is wanted under a class; no class where it is none.
fn desired(user: &S3AccessUser, class: &Class) -> Option<Desired> {
    let account = Account { id: "123456789012".to_owned(), partition: "aws".to_owned() };
    let cluster = Cluster { id: "cluster".to_owned(), name: "prod".to_owned() };
    Desired::of(user, &account, &cluster, class).ok()
}

/// Takes the spec through the whole core.
fn try_user(spec: &Value) -> Result<(), String> {
    let (spec, given) = (spec.clone(), spec.clone());
    on_a_worker(move || {
        let Some(user) = user_of(&spec) else { return Ok(()) };
        let class = S3AccessClass::new("wide", over_the_wire(&classes()[1]).unwrap());
        let classes = [Class::none(), Class::of(&class, "team-a", &BTreeMap::new())];
        classes.iter().filter_map(|class| desired(&user, class)).try_for_each(|desired| world::live_through(&desired))
    })??;
    judge::judge(&given).1.map_or(Ok(()), Err)
}

/// Takes the class through the whole core, with honest users in it.
fn try_class(spec: &Value) -> Result<(), String> {
    let spec = spec.clone();
    on_a_worker(move || {
        let Some(spec) = over_the_wire(&spec) else { return };
        let class = S3AccessClass::new("hostile", spec);
        for user in users().iter().filter_map(user_of) {
            let _ = desired(&user, &Class::of(&class, "team-a", &BTreeMap::new()));
        }
    })
}

/// Renders the template: in time, and within what a Secret may hold.
fn try_template(text: &str) -> Result<(), String> {
    let secret = json!({ "format": "template", "template": { "a": text } });
    let Some(spec) = over_the_wire(&secret) else { return Ok(()) };
    on_a_worker(move || judge::render(&spec).and_then(|data| judge::leaked(&data)))?.map_or(Ok(()), Err)
}

/// Reads the Secret: what is found can be shown to AWS.
fn try_secret(secret: &Value) -> Result<(), String> {
    let Some(secret) = over_the_wire::<Secret>(secret) else { return Ok(()) };
    on_a_worker(move || {
        for format in ["aws-env", "cnpg", "template"] {
            let spec = over_the_wire(&json!({ "format": format })).unwrap();
            let found = find_key(&secret, &spec).map(|found| found.credentials.access_key_id.to_string());
            let record = recorded(&secret, world::now());
            let ids = [
                found,
                record.record.previous.map(|id| id.to_string()),
                record.record.orphan_to_delete.map(|id| id.to_string()),
            ];
            if let Some(id) = ids.into_iter().flatten().find(|id| !is_plausible(id)) {
                return Err(format!("AWS: it would be asked for key {id:?}"));
            }
            // S3-compatible systems have other accounts than AWS.
            let is_account =
                |id: &String| (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if let Some(account) = record.account_id.filter(|id| !is_account(id)) {
                return Err(format!("an account {account:?}"));
            }
        }
        Ok(())
    })?
}

fn secret_of(data: BTreeMap<String, Vec<u8>>, annotations: BTreeMap<String, String>) -> Value {
    let mut secret = Secret {
        data: Some(data.into_iter().map(|(key, value)| (key, ByteString(value))).collect()),
        ..Secret::default()
    };
    secret.metadata.annotations = Some(annotations);
    serde_json::to_value(secret).unwrap()
}

fn data_and_annotations() -> impl Strategy<Value = Value> {
    let keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "credentials", "ACCESS_KEY_ID", "ACCESS_SECRET_KEY", "x"];
    let names = [
        "access-key-id",
        "access-key-created-at",
        "access-key-digest",
        "access-key-location",
        "account-id",
        "previous-access-key-id",
        "rotated-at",
        "rotate-handled",
        "revoked-access-key-id",
        "user-uid",
        "spec-labels",
        "spec-annotations",
    ];
    let location = "(AWS_SECRET_ACCESS_KEY|x|@|)@?[0-9]{0,20}\\+?[0-9]{0,20}%{0,2}";
    let bytes = prop_oneof![
        mutation::text().prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..40),
        "[A-Z0-9]{16,20}".prop_map(String::into_bytes),
    ];
    let annotation = prop_oneof![3 => mutation::text(), 1 => location, 1 => "[A-Z0-9]{16,20}"];
    let data = prop::collection::btree_map(prop::sample::select(keys.to_vec()).prop_map(str::to_owned), bytes, 0..6);
    let name = prop::sample::select(names.to_vec()).prop_map(|name| format!("s3access.dev/{name}"));
    (data, prop::collection::btree_map(name, annotation, 0..8))
        .prop_map(|(data, annotations)| secret_of(data, annotations))
}

/// A digest that the tenant computed for an id of its own: it vouches for nothing that could not be an id.
fn vouched_secret(id: &str) -> Value {
    use s3_access_operator::core::secret_data::digest;
    let credentials = judge::credentials(id);
    let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let data = [("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", judge::SECRET_KEY)];
    let length = judge::SECRET_KEY.len();
    let annotations = [
        text("s3access.dev/access-key-id", id),
        text("s3access.dev/access-key-digest", &digest(&credentials)),
        text("s3access.dev/access-key-location", &format!("AWS_SECRET_ACCESS_KEY@0+{length}")),
    ];
    let data = data.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
    secret_of(data.into(), annotations.into())
}

fn duration() -> impl Strategy<Value = String> {
    prop_oneof!["([0-9]{1,25}(\\.[0-9]{0,25})?(ms|s|m|h|d|us|ns)){0,3}", mutation::text()]
}

/// The files of a folder of the corpus.
fn kept(folder: &str) -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files
}

#[test]
fn what_once_did_harm_does_none_any_more() {
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    for (path, text) in kept("attacks/corpus/users") {
        assert_eq!(try_user(&json(&text)), Ok(()), "{}", path.display());
    }
    for (path, text) in kept("attacks/corpus/classes") {
        assert_eq!(try_class(&json(&text)), Ok(()), "{}", path.display());
    }
    for (path, text) in kept("attacks/corpus/templates") {
        assert_eq!(try_template(&text), Ok(()), "{}", path.display());
    }
    for (path, text) in kept("attacks/corpus/secrets") {
        assert_eq!(try_secret(&json(&text)), Ok(()), "{}", path.display());
    }
}

#[test]
fn a_secret_that_is_what_the_operator_wrote_is_read() {
    let secret: Secret = serde_json::from_value(vouched_secret("AKIAIOSFODNN7EXAMPLE")).unwrap();
    let found = find_key(&secret, &serde_json::from_value(json!({})).unwrap()).unwrap();
    assert_eq!((found.credentials.access_key_id.to_string().as_str(), found.vouched), ("AKIAIOSFODNN7EXAMPLE", true));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: super::cases(),
        max_shrink_iters: 2_000,
        // Milliseconds: what takes long is found all the same, and told in time.
        max_shrink_time: 60_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn invariant_9_no_spec_does_harm(spec in harmed(users())) {
        prop_assert_eq!(try_user(&spec), Ok(()));
    }

    #[test]
    fn invariant_9_no_class_does_harm(spec in harmed(classes())) {
        prop_assert_eq!(try_class(&spec), Ok(()));
    }

    #[test]
    fn invariant_9_no_statement_does_harm(elements in prop::collection::vec((mutation::text(), mutation::value()), 0..3), statement in super::statement()) {
        let mut statement = statement;
        elements.into_iter().for_each(|(key, value)| statement[key] = value);
        prop_assert_eq!(try_user(&tenant(json!({ "policy": { "statements": [statement] } }))), Ok(()));
    }

    #[test]
    fn invariant_9_no_duration_does_harm(interval in duration(), overlap in duration()) {
        let rotation = json!({ "rotation": { "interval": interval, "overlap": overlap } });
        prop_assert_eq!(try_user(&tenant(json!({ "accessKey": rotation }))), Ok(()));
        let mut class = classes()[1].clone();
        class["rotation"] = json!({ "maxInterval": interval, "minInterval": overlap });
        prop_assert_eq!(try_class(&class), Ok(()));
    }

    #[test]
    fn invariant_9_no_template_does_harm(text in templates::text()) {
        prop_assert_eq!(try_template(&text), Ok(()));
    }

    #[test]
    fn invariant_9_nothing_in_a_secret_does_harm(secret in data_and_annotations(), id in mutation::text()) {
        prop_assert_eq!(try_secret(&secret), Ok(()));
        prop_assert_eq!(try_secret(&vouched_secret(&id)), Ok(()));
    }

    #[test]
    fn invariant_9_nothing_in_iam_does_harm(world in world::world()) {
        prop_assert_eq!(world::try_world(world), Ok(()));
    }
}
