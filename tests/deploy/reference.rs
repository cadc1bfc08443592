//! Every shipped IAM policy against AWS's service authorization reference: a condition key that an action does not know
//! never holds, and nothing says so. `tests/aws/iam_authorization.py` makes the extract that is read here.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::iam::{POLICIES, statements};
use crate::{read, strings};

/// Keys that are in every request (IAM user guide, "AWS global condition context keys").
const GLOBAL: &[&str] = &["aws:PrincipalArn", "aws:PrincipalAccount", "aws:ResourceAccount", "aws:SecureTransport"];

struct Reference(Value);

impl Reference {
    fn load() -> Self {
        Self(serde_json::from_str(&read("tests/aws/iam-authorization.json")).unwrap())
    }

    /// The actions that a pattern such as `iam:Get*` stands for, as service and entry.
    fn actions(&self, pattern: &str) -> Vec<(String, Value)> {
        let (service, name) = pattern.split_once(':').unwrap();
        let known =
            self.0["services"][service]["actions"].as_object().unwrap_or_else(|| panic!("no service {service}"));
        let stem = name.strip_suffix('*');
        let fits = |action: &str| stem.map_or(action == name, |stem| action.starts_with(stem));
        known.iter().filter(|(action, _)| fits(action)).map(|(_, entry)| (service.to_owned(), entry.clone())).collect()
    }

    /// The kinds of resources of a service that an ARN may name.
    fn kinds(&self, service: &str, arn: &str) -> BTreeSet<String> {
        let kinds = self.0["services"][service]["resources"].as_object().into_iter().flatten();
        let part = |arn: &str| arn.splitn(6, ':').nth(5).map(|rest| rest.split('/').next().unwrap().to_owned());
        let same_service = arn.split(':').nth(2) == Some(service);
        kinds
            .filter(|(_, kind)| same_service && part(kind["arn"].as_str().unwrap()) == part(arn))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// The first thing in a statement that AWS does not know.
    fn mistake(&self, statement: &Value) -> Option<String> {
        let resources = strings(&statement["Resource"]);
        let keys: Vec<&str> = statement["Condition"]
            .as_object()
            .into_iter()
            .flatten()
            .flat_map(|(_, tests)| tests.as_object().unwrap().keys().map(String::as_str))
            .collect();
        let allow = statement["Effect"] == "Allow";
        let element = if statement["Action"].is_null() { "NotAction" } else { "Action" };
        let mut fitting = BTreeSet::new();
        for pattern in strings(&statement[element]) {
            let actions = self.actions(pattern);
            if actions.is_empty() {
                return Some(format!("{pattern}: no such action"));
            }
            if element == "NotAction" || self.0["services"][&actions[0].0]["resources"].is_null() {
                continue;
            }
            for (service, entry) in actions {
                let takes = entry["resources"].as_object().unwrap();
                let mut found = BTreeSet::new();
                for resource in &resources {
                    let kinds = self.kinds(&service, resource);
                    let taken: Vec<&String> = kinds.iter().filter(|kind| takes.contains_key(*kind)).collect();
                    if !taken.is_empty() {
                        fitting.insert(*resource);
                    }
                    found.extend(taken.into_iter().cloned());
                }
                let any = resources == ["*"];
                // A denial of everything reaches every kind; a permission names what it reaches wherever it can.
                if any && allow && !takes.is_empty() {
                    return Some(format!("{pattern}: could name its resources"));
                }
                if !any && found.is_empty() {
                    return Some(format!("{pattern}: takes none of {resources:?}"));
                }
                for key in &keys {
                    if !self.knows(
                        &service,
                        &entry,
                        if any { takes.keys().cloned().collect() } else { found.clone() },
                        key,
                    ) {
                        return Some(format!("{pattern}: no condition key {key}"));
                    }
                }
            }
        }
        let idle =
            resources.iter().find(|resource| element == "Action" && **resource != "*" && !fitting.contains(*resource));
        idle.map(|resource| format!("{resource}: no action takes it"))
    }

    /// Whether a request of the action has a value for the key.
    fn knows(&self, service: &str, action: &Value, kinds: BTreeSet<String>, key: &str) -> bool {
        let of_kinds = kinds.iter().map(|kind| &self.0["services"][service]["resources"][kind]["conditions"]);
        let known = of_kinds.chain([&action["conditions"]]).flat_map(strings);
        // `aws:ResourceTag/${TagKey}` stands for each tag.
        let same =
            |known: &str| known.split_once("/${").map_or(known == key, |(stem, _)| key.split('/').next() == Some(stem));
        GLOBAL.contains(&key) || known.into_iter().any(same)
    }
}

#[test]
fn the_reference_is_pinned_and_whole() {
    let reference = Reference::load();
    let script = read("tests/aws/iam_authorization.py");
    for field in ["version", "wheelSha256"] {
        let value = reference.0["source"][field].as_str().unwrap();
        assert!(script.contains(&format!("\"{value}\"")), "{field} is not the script's");
    }
    for (service, least) in [("iam", 170), ("kms", 50), ("s3", 150), ("sts", 10)] {
        let found = reference.actions(&format!("{service}:*")).len();
        assert!(found >= least, "{service}: {found} actions");
    }
}

#[test]
fn each_statement_action_and_condition_key_is_one_that_aws_knows() {
    let reference = Reference::load();
    let mut checked = 0;
    for name in POLICIES {
        for statement in statements(name) {
            assert_eq!(reference.mistake(&statement), None, "{name}: {}", statement["Sid"]);
            checked += 1;
        }
    }
    assert!(checked >= 35, "{checked} statements");
}

/// The check sees what was wrong once, and what would be.
#[test]
fn the_check_knows_a_mistake() {
    let reference = Reference::load();
    let user = "arn:aws:iam::*:user/*";
    let boundary = json!({ "StringEquals": { "iam:PermissionsBoundary": "arn:aws:iam::1:policy/b" } });
    let tag = json!({ "StringLike": { "aws:ResourceTag/s3access.dev/cluster": "*" } });
    let request = json!({ "StringLike": { "aws:RequestTag/s3access.dev/cluster": "*" } });
    for (action, resource, condition, mistake) in [
        ("iam:CreateAccessKey", user, &boundary, Some("no condition key iam:PermissionsBoundary")),
        ("iam:CreateUser", user, &boundary, None),
        ("iam:RemoveUserFromGroup", "arn:aws:iam::*:group/*", &tag, Some("no condition key aws:ResourceTag")),
        ("iam:RemoveUserFromGroup", user, &Value::Null, Some("takes none of")),
        ("iam:CreateAccessKey", user, &request, Some("no condition key aws:RequestTag")),
        ("iam:CreateAccessKey", user, &tag, None),
        ("iam:MintAccessKey", user, &Value::Null, Some("no such action")),
        ("iam:DeleteUser", "*", &Value::Null, Some("could name its resources")),
        ("iam:GetAccountAuthorizationDetails", "*", &Value::Null, None),
        ("kms:Decrypt", "arn:aws:kms:*:*:alias/x", &Value::Null, Some("takes none of")),
    ] {
        let statement = json!({ "Effect": "Allow", "Action": action, "Resource": resource, "Condition": condition });
        let found = reference.mistake(&statement);
        let same = match (&found, mistake) {
            (Some(found), Some(expected)) => found.contains(expected),
            (found, expected) => found.is_none() && expected.is_none(),
        };
        assert!(same, "{action} on {resource}: {found:?}, not {mistake:?}");
    }
    let idle = json!({ "Effect": "Allow", "Action": "iam:DeleteUser", "Resource": [user, "arn:aws:iam::*:policy/*"] });
    assert!(reference.mistake(&idle).is_some_and(|found| found.contains("no action takes it")));
}
