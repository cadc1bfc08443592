//! The bounds of [`crate::api::limits`], asked before any work is done. The schema asks the same at admission; a CR that
//! an older CRD let in has not met it.

use std::collections::{BTreeMap, BTreeSet};

use super::class;
use super::refusal::Refusal;
use crate::api::{BucketsFrom, S3AccessClassSpec, S3AccessUserSpec, limits};

/// Holds a spec to its bounds.
///
/// # Errors
/// [`Refusal`] with the first field that holds too much, and how much it may hold.
pub fn check(spec: &S3AccessUserSpec) -> Result<(), Refusal> {
    check_counts(spec)?;
    check_names(spec)?;
    check_entries(spec)
}

fn check_counts(spec: &S3AccessUserSpec) -> Result<(), Refusal> {
    let policy = spec.policy.as_ref();
    let secret = &spec.secret;
    let counts = [
        ("spec.access", spec.access.len(), limits::GRANTS),
        ("spec.policy.statements", policy.map_or(0, |policy| policy.statements.len()), limits::GRANTS),
        ("spec.managedPolicyArns", spec.managed_policy_arns.len(), limits::MANAGED_POLICIES),
        ("spec.tags", spec.tags.len(), limits::TAGS),
        ("spec.secret.keys", secret.keys.len(), limits::SECRET_ENTRIES),
        ("spec.secret.template", secret.template.len(), limits::SECRET_ENTRIES),
        ("spec.secret.labels", secret.labels.len(), limits::SECRET_ENTRIES),
        ("spec.secret.annotations", secret.annotations.len(), limits::SECRET_ENTRIES),
        ("spec.secret.rolloutRestart", secret.rollout_restart.len(), limits::WORKLOADS),
    ];
    for (field, found, limit) in counts {
        within(field, found, limit, "entries")?;
    }
    let keys = spec.access.iter().map(|grant| grant.kms_key_arns.len()).sum();
    within("spec.access, kmsKeyArns", keys, limits::ALL_KMS_KEYS, "entries in all")?;
    for (index, grant) in spec.access.iter().enumerate() {
        within(&format!("spec.access[{index}].kmsKeyArns"), grant.kms_key_arns.len(), limits::KMS_KEYS, "entries")?;
        let longest = grant.kms_key_arns.iter().map(String::len).max().unwrap_or(0);
        within(&format!("spec.access[{index}].kmsKeyArns"), longest, limits::KMS_KEY_ARN, "bytes each")?;
        within(&format!("spec.access[{index}].prefixes"), grant.prefixes.len(), limits::PREFIXES, "entries")?;
        let longest = grant.prefixes.iter().map(String::len).max().unwrap_or(0);
        within(&format!("spec.access[{index}].prefixes"), longest, limits::PREFIX, "bytes each")?;
    }
    Ok(())
}

fn check_names(spec: &S3AccessUserSpec) -> Result<(), Refusal> {
    let policy = spec.policy.as_ref();
    let names = [
        ("spec.className", spec.class_name.as_deref(), 253),
        ("spec.userName", spec.user_name.as_deref(), 64),
        ("spec.path", spec.path.as_deref(), 512),
        ("spec.policy.name", policy.and_then(|policy| policy.name.as_deref()), 128),
        ("spec.permissionsBoundaryArn", spec.permissions_boundary_arn.as_deref(), 512),
        (
            "spec.managedPolicyArns",
            spec.managed_policy_arns.iter().map(String::as_str).max_by_key(|arn| arn.len()),
            512,
        ),
        ("spec.secret.name", spec.secret.name.as_deref(), 253),
    ];
    for (field, text, limit) in names {
        within(field, text.map_or(0, str::len), limit, "bytes")?;
    }
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
    for (field, text) in [
        ("spec.userName", spec.user_name.as_deref()),
        ("spec.policy.name", policy.and_then(|policy| policy.name.as_deref())),
    ] {
        if let Some(text) = text.filter(|text| text.is_empty() || !text.bytes().all(word)) {
            return Err(Refusal::invalid_spec(format!(
                "{field}: {text:?} is no name that IAM takes: letters, digits and +=,.@_-"
            )));
        }
    }
    let is_path = |path: &str| {
        path.starts_with('/')
            && path.ends_with('/')
            && !path.contains("//")
            && path.bytes().all(|byte| word(byte) || byte == b'/')
    };
    if let Some(path) = spec.path.as_deref().filter(|path| !is_path(path)) {
        return Err(Refusal::invalid_spec(format!(
            "spec.path: {path:?} is no path that IAM takes, such as /s3access/team-a/"
        )));
    }
    Ok(())
}

/// IAM's rule for tags (IAM user guide, "Rules for tagging in IAM and AWS STS"). User tags whose keys differ by case alone are
/// one.
fn check_tags(tags: &BTreeMap<String, String>, field: &str) -> Result<(), Refusal> {
    let fits = |c: char| c.is_alphanumeric() || (c.is_whitespace() && !c.is_control()) || "_.:/=+-@".contains(c);
    let mut keys = BTreeSet::new();
    for (key, value) in tags {
        if let Some(c) = key.chars().chain(value.chars()).find(|c| !fits(*c)) {
            return Err(Refusal::invalid_spec(format!(
                "{field}: {key:?}={value:?} holds {c:?}, and IAM takes letters, digits, spaces and _.:/=+-@"
            )));
        }
        if key.is_empty() || !keys.insert(key.to_lowercase()) {
            return Err(Refusal::invalid_spec(format!(
                "{field}: the key {key:?} is empty, or stands twice: IAM's tag keys of a user are the same in either case"
            )));
        }
    }
    Ok(())
}

fn check_entries(spec: &S3AccessUserSpec) -> Result<(), Refusal> {
    let secret = &spec.secret;
    let maps = [
        ("spec.tags", &spec.tags, 128, 256),
        ("spec.secret.keys", &secret.keys, 253, 253),
        ("spec.secret.template", &secret.template, 253, limits::TEMPLATE),
        ("spec.secret.labels", &secret.labels, 317, 63),
        ("spec.secret.annotations", &secret.annotations, 317, limits::SECRET_ANNOTATION),
    ];
    for (field, entries, longest_key, longest_value) in maps {
        within(&format!("a key of {field}"), entries.keys().map(String::len).max().unwrap_or(0), longest_key, "bytes")?;
        let longest = entries.values().map(String::len).max().unwrap_or(0);
        within(&format!("a value of {field}"), longest, longest_value, "bytes")?;
    }
    check_tags(&spec.tags, "spec.tags")?;
    let templates = secret.template.values().map(String::len).sum();
    within("spec.secret.template", templates, limits::TEMPLATES, "bytes in all")?;
    for (field, keys) in [("labels", &secret.labels), ("annotations", &secret.annotations)] {
        if let Some(key) = keys.keys().find(|key| !is_qualified_name(key)) {
            return Err(Refusal::invalid_spec(format!(
                "spec.secret.{field}: {key:?} is no key that Kubernetes takes: write it as [prefix/]name"
            )));
        }
    }
    match secret.labels.iter().find(|(_, value)| !is_label_value(value)) {
        Some((key, value)) => Err(Refusal::invalid_spec(format!(
            "spec.secret.labels: {value:?}, the value of {key:?}, is none that Kubernetes takes: letters, digits, - _ and . between letters or digits"
        ))),
        None => Ok(()),
    }
}

/// Holds a class to its bounds, as its schema does.
///
/// # Errors
/// [`Refusal`] with the first field that holds too much, and how much it may hold.
pub fn check_class(class: &S3AccessClassSpec) -> Result<(), Refusal> {
    let namespaces = class.allowed_namespaces.as_ref();
    let selector = namespaces.and_then(|namespaces| namespaces.selector.as_ref());
    let expressions = selector.and_then(|selector| selector.match_expressions.as_ref());
    let none = Vec::new();
    for (field, texts, most, longest) in [
        ("spec.allowedBuckets", &class.allowed_buckets, limits::PATTERNS, limits::BUCKET_PATTERN),
        ("spec.allowedKmsKeyArns", &class.allowed_kms_key_arns, limits::PATTERNS, 512),
        ("spec.allowedActions", &class.allowed_actions, limits::PATTERNS, limits::ACTION),
        ("spec.allowedManagedPolicyArns", &class.allowed_managed_policy_arns, limits::PATTERNS, 512),
        ("spec.allowedNames", &class.allowed_names, limits::PATTERNS, 128),
        ("spec.allowedTagKeys", &class.allowed_tag_keys, limits::PATTERNS, 128),
        ("spec.allowedPaths", &class.allowed_paths, limits::PATTERNS, 128),
        ("spec.allowedSecretNames", &class.allowed_secret_names, limits::PATTERNS, 253),
        ("spec.allowedSecretLabels", &class.allowed_secret_labels, limits::PATTERNS, 317),
        ("spec.allowedSecretAnnotations", &class.allowed_secret_annotations, limits::PATTERNS, 317),
        ("spec.allowedResourceAccounts", &class.allowed_resource_accounts, limits::PATTERNS, 12),
        (
            "spec.allowedNamespaces.names",
            namespaces.map_or(&none, |namespaces| &namespaces.names),
            limits::NAMESPACES,
            63,
        ),
    ] {
        within(field, texts.len(), most, "entries")?;
        within(field, texts.iter().map(String::len).max().unwrap_or(0), longest, "bytes each")?;
    }
    let none = BucketsFrom::default();
    let from = class.allowed_buckets_from.as_ref().unwrap_or(&none);
    for (field, text, longest) in [
        ("namespaceAnnotation", &from.namespace_annotation, limits::METADATA_KEY),
        ("namespaceLabel", &from.namespace_label, limits::METADATA_KEY),
        ("pattern", &from.pattern, limits::BUCKET_PATTERN),
    ] {
        within(&format!("spec.allowedBucketsFrom.{field}"), text.as_ref().map_or(0, String::len), longest, "bytes")?;
    }
    within("spec.tags", class.tags.len(), limits::CLASS_TAGS, "entries")?;
    check_tags(&class.tags, "spec.tags")?;
    class::required(class)?;
    within("spec.allowedNamespaces.selector", expressions.map_or(0, Vec::len), limits::PATTERNS, "expressions")
}

fn within(field: &str, found: usize, limit: usize, unit: &str) -> Result<(), Refusal> {
    if found <= limit {
        return Ok(());
    }
    Err(Refusal::invalid_spec(format!("{field}: {found} {unit}, and at most {limit} are taken: shorten it")))
}

/// Kubernetes' rule for the keys of labels and annotations (apimachinery, IsQualifiedName).
fn is_qualified_name(key: &str) -> bool {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let label = |part: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !part.is_empty() && part.bytes().all(inner) && !part.starts_with('-') && !part.ends_with('-')
    };
    prefix.is_none_or(|prefix| prefix.len() <= 253 && prefix.split('.').all(label))
        && !name.is_empty()
        && is_label_value(name)
}

fn is_label_value(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
        && edge(bytes.first())
        && edge(bytes.last())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use serde_json::{Value, json};

    use super::*;
    use crate::api::Reason;

    fn judged(extra: &Value) -> Result<(), Refusal> {
        let mut spec = json!({ "access": [{ "bucket": "reports", "level": "ReadOnly" }] });
        for (field, value) in extra.as_object().unwrap() {
            spec[field] = value.clone();
        }
        check(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn each_field_is_told_that_holds_too_much() {
        let grants = |count: usize| vec![json!({ "bucket": "reports", "level": "ReadOnly" }); count];
        let entries = |count: usize| -> Value { (0..count).map(|n| (format!("k{n}"), json!("v"))).collect() };
        let keys = |count: usize, each: usize, length: usize| {
            let grant =
                json!({ "bucket": "reports", "level": "ReadOnly", "kmsKeyArns": vec!["k".repeat(length); each] });
            json!({ "access": vec![grant; count] })
        };
        for (field, most, beyond) in [
            ("access", json!({ "access": grants(64) }), json!({ "access": grants(65) })),
            ("kmsKeyArns", keys(1, 8, 256), keys(1, 9, 256)),
            ("kmsKeyArns", keys(1, 8, 256), keys(1, 1, 257)),
            ("kmsKeyArns", keys(10, 8, 1), keys(11, 8, 1)),
            ("tags", json!({ "tags": entries(30) }), json!({ "tags": entries(31) })),
            (
                "template",
                json!({ "secret": { "template": { "a": "x".repeat(limits::TEMPLATE) } } }),
                json!({ "secret": { "template": { "a": "x".repeat(limits::TEMPLATE + 1) } } }),
            ),
            (
                "template",
                json!({ "secret": { "template": { "a": "x".repeat(limits::TEMPLATE), "b": "x".repeat(limits::TEMPLATE) } } }),
                json!({ "secret": { "template": (0..5).map(|n| (format!("k{n}"), json!("x".repeat(limits::TEMPLATE)))).collect::<Value>() } }),
            ),
            (
                "labels",
                json!({ "secret": { "labels": { "example.com/a_b": "A-1" } } }),
                json!({ "secret": { "labels": { "bad key!": "x" } } }),
            ),
            (
                "labels",
                json!({ "secret": { "labels": { "a": "" } } }),
                json!({ "secret": { "labels": { "a": "x y" } } }),
            ),
            (
                "annotations",
                json!({ "secret": { "annotations": { "a.b/c": "any ‹text›" } } }),
                json!({ "secret": { "annotations": { "-a/c": "x" } } }),
            ),
            ("tags", json!({ "tags": { "Kostenstelle": "Größe 1/2" } }), json!({ "tags": { "a": "x|y" } })),
            ("tags", json!({ "tags": { "Team": "a", "Teams": "b" } }), json!({ "tags": { "Team": "a", "team": "b" } })),
            ("tags", json!({ "tags": { "a": "" } }), json!({ "tags": { "a": "tab\there" } })),
            ("userName", json!({ "userName": "u".repeat(64) }), json!({ "userName": "u".repeat(65) })),
        ] {
            assert_eq!(judged(&most), Ok(()), "{field}");
            let refusal = judged(&beyond).unwrap_err();
            assert!(refusal.reason == Reason::InvalidSpec && refusal.message.contains(field), "{refusal}");
        }
    }

    #[test]
    fn names_are_those_that_iam_and_kubernetes_take() {
        let labels = |key: &str| json!({ "secret": { "labels": { key: "x" } } });
        for good in [
            json!({ "userName": "a+=,.@_-1" }),
            json!({ "path": "/" }),
            json!({ "path": "/a/b-1/" }),
            labels("a-1.b/c"),
            labels(&format!("{}/c", "a".repeat(253))),
        ] {
            assert_eq!(judged(&good), Ok(()), "{good}");
        }
        for bad in [
            json!({ "userName": "" }),
            json!({ "userName": "a b" }),
            json!({ "policy": { "name": "" } }),
            json!({ "policy": { "name": "a/b" } }),
            json!({ "path": "a/" }),
            json!({ "path": "/a" }),
            json!({ "path": "/a//b/" }),
            json!({ "path": "/a b/" }),
            labels("/c"),
            labels("a/"),
            labels("A/c"),
            labels("a_b/c"),
            labels("-a/c"),
            labels("a-/c"),
            labels(&format!("{}/c", "a".repeat(254))),
        ] {
            assert_eq!(judged(&bad).unwrap_err().reason, Reason::InvalidSpec, "{bad}");
        }
    }

    #[test]
    fn each_list_of_a_class_is_told_that_holds_too_much() {
        let judged = |field: &str, value: Value| {
            let mut spec = json!({ "allowedBuckets": ["a"] });
            spec[field] = value;
            check_class(&serde_json::from_value(spec).unwrap())
        };
        for field in [
            "allowedBuckets",
            "allowedKmsKeyArns",
            "allowedActions",
            "allowedManagedPolicyArns",
            "allowedNames",
            "allowedTagKeys",
            "allowedPaths",
            "allowedSecretNames",
            "allowedSecretLabels",
            "allowedSecretAnnotations",
            "allowedResourceAccounts",
        ] {
            assert_eq!(judged(field, json!(vec!["a"; 64])), Ok(()), "{field}");
            for beyond in [json!(vec!["a"; 65]), json!(["a".repeat(600)])] {
                assert!(judged(field, beyond).unwrap_err().message.contains(field), "{field}");
            }
        }
        for (field, most) in [("namespaceAnnotation", 317), ("namespaceLabel", 317), ("pattern", 128)] {
            let from = |length: usize| json!({ field: "a".repeat(length) });
            assert_eq!(judged("allowedBucketsFrom", from(most)), Ok(()), "{field}");
            assert!(judged("allowedBucketsFrom", from(most + 1)).unwrap_err().message.contains(field), "{field}");
        }
        let names = |count: usize| json!({ "names": vec!["a"; count] });
        assert_eq!(judged("allowedNamespaces", names(256)), Ok(()));
        assert!(judged("allowedNamespaces", names(257)).is_err());
        let tags = |count: usize| -> Value { (0..count).map(|n| (format!("k{n}"), json!("v"))).collect() };
        assert!(judged("tags", tags(10)).is_ok() && judged("tags", tags(11)).is_err());
    }
}
