//! The samples are what the CRDs take, and show all of it.

use std::collections::BTreeSet;
use std::fs;

use kube::CustomResourceExt;
use s3_access_operator::api::{AccessKeyStatus, PolicyPreset, S3AccessClass, S3AccessUser};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{documents, files, read};

fn spec_schema(kind: &str) -> Value {
    let crd = if kind == "S3AccessClass" { S3AccessClass::crd() } else { S3AccessUser::crd() };
    let crd = serde_json::to_value(crd).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

/// The same without what is Kubernetes' own.
fn own_fields(schema: &Value) -> BTreeSet<String> {
    fields(schema, "").into_iter().filter(|path| !path.starts_with("allowedNamespaces.selector.")).collect()
}

/// The paths of all fields below a schema, such as `access[].bucket`.
fn fields(schema: &Value, at: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        found.extend(fields(property, &path));
        found.extend(fields(&property["items"], &format!("{path}[]")));
        found.insert(path);
    }
    found
}

/// The paths of all fields that an object uses, in the same form, as far down as the schema names them.
fn fields_used(value: &Value, schema: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) if schema["properties"].is_object() => {
            for (name, member) in members {
                let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                fields_used(member, &schema["properties"][name], &path, found);
                found.insert(path);
            }
        }
        Value::Array(members) => {
            for member in members {
                fields_used(member, &schema["items"], &format!("{at}[]"), found);
            }
        }
        _ => {}
    }
}

/// Reads the object as the operator does, and refuses what the API server would drop: serde passes over misspelt fields.
/// Reads an S3AccessUser or S3AccessClass, with no field that the CRD would drop.
pub fn check<K: DeserializeOwned>(object: &Value, what: &str) -> K {
    assert_eq!(object["apiVersion"], "s3access.dev/v1alpha1", "{what}");
    let schema = spec_schema(object["kind"].as_str().unwrap());
    let mut used = BTreeSet::new();
    fields_used(&object["spec"], &schema, "", &mut used);
    let unknown: Vec<String> = used.difference(&fields(&schema, "")).cloned().collect();
    assert!(unknown.is_empty(), "{what}: the CRD has no field {unknown:?}");
    serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{what}: {error}"))
}

fn sample_users() -> Vec<(String, S3AccessUser)> {
    let mut users = Vec::new();
    for path in files("deploy/samples", "yaml") {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for object in documents(&fs::read_to_string(&path).unwrap(), &name) {
            if object["kind"] == "S3AccessUser" {
                users.push((name.clone(), check(&object, &name)));
            } else if object["kind"] == "S3AccessClass" {
                check::<S3AccessClass>(&object, &name);
            }
        }
    }
    users
}

#[test]
fn samples_fit_the_crd_and_are_named_in_the_readme() {
    let readme = read("README.md");
    assert!(sample_users().len() >= 8);
    for path in files("deploy/samples", "yaml") {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(readme.contains(&format!("(deploy/samples/{name})")), "the README does not link {name}");
    }
}

/// Together they show every field.
#[test]
fn samples_use_every_field() {
    for kind in ["S3AccessUser", "S3AccessClass"] {
        let schema = spec_schema(kind);
        let mut used = BTreeSet::from(["suspend".to_owned()]);
        for path in files("deploy/samples", "yaml") {
            let text = fs::read_to_string(&path).unwrap();
            for object in documents(&text, &path.to_string_lossy()).iter().filter(|object| object["kind"] == kind) {
                fields_used(&object["spec"], &schema, "", &mut used);
            }
        }
        let missing: Vec<String> = own_fields(&schema).difference(&used).cloned().collect();
        assert!(missing.is_empty(), "no sample shows {missing:?} of {kind}");
    }
}

/// Kube's own transform would give an optional enum the words of its type, which are the same everywhere.
#[test]
fn a_field_is_described_by_itself_and_not_by_its_type() {
    let of = |kind: &str, pointer: &str| {
        let schema = spec_schema(kind);
        schema.pointer(&format!("{pointer}/description")).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let class = of("S3AccessClass", "/properties/deletionPolicy");
    assert!(class.starts_with("For S3AccessUsers that have none"), "{class}");
    let user = of("S3AccessUser", "/properties/deletionPolicy");
    assert!(user.contains("Access keys are deleted either way"), "{user}");
    let preset = of("S3AccessUser", "/properties/policy/properties/preset");
    assert!(preset.contains("s3:PutObject"), "{preset}");
}

#[test]
fn the_walk_through_sample_is_the_walk_through() {
    let users = sample_users();
    let (_, user) = users.iter().find(|(file, _)| file == "walk-through.yaml").unwrap();
    let policy = user.spec.policy.as_ref().unwrap();
    assert!(user.spec.user_name.is_some(), "step 2.2");
    assert_eq!(policy.preset, Some(PolicyPreset::ReadWriteNoDelete), "step 2.3.1");
    assert!(policy.name.is_some(), "step 2.3.2");
    assert!(policy.statements.is_empty() && user.spec.access.is_empty(), "nothing beyond it");
    assert_eq!(user.spec.access_key.status, AccessKeyStatus::Active, "step 3");
}
