//! What the operator makes of a spec, held against the class by means of its own.

use std::collections::BTreeMap;

use ground::double::{Context, Document};
use kube::api::ObjectMeta;
use s3_access_operator::api::{Adoption, S3AccessClass, S3AccessUser};
use s3_access_operator::core::class::Class;
use s3_access_operator::core::desired::{Account, Desired, DesiredPolicy};
use s3_access_operator::core::names::Cluster;
use serde_json::{Value, json};

pub const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/team-a";
const BOUNDARY: &str = "arn:aws:iam::123456789012:policy/tenants";

/// How a spec was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not at all.
    Refused,
    /// Less what the class does not allow.
    CutDown,
    /// As it stands.
    Granted,
}

/// The class of the attacks: as much is allowed as can be, so that there is something to attack.
fn class() -> S3AccessClass {
    S3AccessClass::new(
        "tenants",
        serde_json::from_value(json!({
            "allowedBuckets": ["{namespace}.*"], "allowedNamespaces": { "names": ["team-a"] }, "allowStatements": true,
            "allowedActions": ["sns:Publish"], "allowedKmsKeyArns": [KEY], "allowedNames": ["{namespace}-*"],
            "allowedManagedPolicyArns": ["arn:aws:iam::123456789012:policy/shared-*"], "allowedTagKeys": ["cost-*"],
            "tags": { "team": "a" }, "path": "/tenants/", "permissionsBoundaryArn": BOUNDARY,
            "rotation": { "maxInterval": "2160h" },
        }))
        .unwrap(),
    )
}

/// A tenant's spec, beside what any tenant has.
pub fn tenant(extra: Value) -> Value {
    let mut spec = json!({ "access": [{ "bucket": "team-a.data", "level": "ReadOnly" }] });
    for (field, value) in extra.as_object().unwrap() {
        spec[field] = value.clone();
    }
    spec
}

/// How the operator takes the spec, and what of it reaches outside.
pub fn judge(spec: &Value) -> (Verdict, Option<String>) {
    // What the schema does not take never reaches the operator; some of it is tried all the same.
    let Ok(parsed) = serde_json::from_value(spec.clone()) else { return (Verdict::Refused, None) };
    let mut user = S3AccessUser::new("reports", parsed);
    let meta = ObjectMeta { namespace: Some("team-a".to_owned()), uid: Some("uid".to_owned()), ..user.metadata };
    user.metadata = meta;
    let account = Account { id: "123456789012".to_owned(), partition: "aws".to_owned() };
    let cluster = Cluster { id: "cluster".to_owned(), name: "prod".to_owned() };
    let namespace = spec.get("namespace").and_then(Value::as_str).unwrap_or("team-a");
    let class = Class::of(&class(), namespace, &BTreeMap::new());
    match Desired::of(&user, &account, &cluster, &class) {
        Err(_) => (Verdict::Refused, None),
        Ok(desired) => {
            let verdict = if desired.violation.is_some() { Verdict::CutDown } else { Verdict::Granted };
            (verdict, escape(&desired, user.spec.user_name.as_deref()))
        }
    }
}

fn escape(desired: &Desired, asked_name: Option<&str>) -> Option<String> {
    let document = match &desired.policy {
        Some(DesiredPolicy::Managed { document, .. } | DesiredPolicy::Inline { document, .. }) => Some(document),
        None => None,
    };
    if let Some(escape) = document.and_then(|document| escape_of(&serde_json::from_str(&document.text()).unwrap())) {
        return Some(escape);
    }
    let owner = &desired.owner;
    let named = asked_name.is_some_and(|asked| !asked.to_lowercase().starts_with("team-a-"));
    let has_access = desired.active || desired.policy.is_some() || !desired.attached.is_empty();
    let tag = |key: &String| *key != "team" && !key.starts_with("cost-") || key.contains("s3access.dev");
    [
        (named && has_access, "the name"),
        (!owner.path.starts_with("/tenants/"), "the path"),
        (owner.adoption == Adoption::Force, "adoption"),
        (desired.boundary.as_deref() != Some(BOUNDARY), "the boundary"),
        (desired.attached.iter().any(|arn| !arn.starts_with("arn:aws:iam::123456789012:policy/shared-")), "a policy"),
        (desired.tags.keys().any(tag) || desired.tags.get("team").is_none_or(|team| team != "a"), "a tag"),
        (desired.rotation.interval.is_none_or(|interval| interval.as_hours() > 2160), "the age of keys"),
    ]
    .into_iter()
    .find_map(|(escapes, what)| escapes.then(|| what.to_owned()))
}

/// The first request outside the class that a policy allows, by the double's evaluator.
pub fn escape_of(document: &Value) -> Option<String> {
    // What IAM does not take grants nothing.
    let document = Document::parse(&document.to_string(), "aws").ok()?;
    let actions = [
        "s3:GetObject",
        "s3:PutObject",
        "s3:ListBucket",
        "s3:DeleteBucket",
        "s3:PutBucketPolicy",
        "s3:ListAllMyBuckets",
        "s3:CreateBucket",
        "s3:GetObjectVersion",
        "s3:BypassGovernanceRetention",
    ];
    let buckets = [
        "team-b.data",
        "team-ab.data",
        "team-a",
        "team-a-x",
        "team-adata",
        "other",
        "a",
        "Team-a.data",
        "team-b.team-a.data",
        "xteam-a.data",
    ];
    let keys = ["", "/", "/x", "/team-a.data", "/team-a.data/x", "/2026/x"];
    let foreign = [
        "arn:aws:s3:eu-west-1:123456789012:accesspoint/team-a.data",
        "arn:aws:s3:::accesspoint/x",
        "arn:aws:s3-object-lambda:eu-west-1:123456789012:accesspoint/x",
        "arn:aws:s3express:eu-west-1:123456789012:bucket/x",
        "*",
    ];
    let resources = buckets.iter().flat_map(|bucket| keys.map(|key| format!("arn:aws:s3:::{bucket}{key}")));
    let mut requests: Vec<(&str, String)> = resources
        .chain(foreign.map(str::to_owned))
        .flat_map(|resource| actions.map(|action| (action, resource.clone())))
        .collect();
    for key in ["arn:aws:kms:eu-west-1:123456789012:key/team-b", "arn:aws:kms:eu-west-1:999999999999:key/team-a"] {
        requests.extend(["kms:Decrypt", "kms:GenerateDataKey"].map(|action| (action, key.to_owned())));
    }
    requests.extend([("kms:PutKeyPolicy", KEY.to_owned()), ("kms:ScheduleKeyDeletion", KEY.to_owned())]);
    for action in [
        "iam:CreateUser",
        "iam:PutUserPolicy",
        "sts:AssumeRole",
        "sns:DeleteTopic",
        "s3-object-lambda:GetObject",
        "ec2:RunInstances",
    ] {
        requests.push((action, "*".to_owned()));
        requests.push((action, "arn:aws:s3:::team-a.data".to_owned()));
    }
    // A tenant may have a say in some of these.
    for name in ["team-b.data", "team-a-x", "x"] {
        let mut context = Context::new().with("aws:username", name).with("aws:PrincipalTag/cost-center", name);
        context.add("aws:userid", name);
        let found = requests.iter().find(|(action, resource)| document.decide(action, resource, &context).is_allowed());
        if let Some((action, resource)) = found {
            return Some(format!("{action} on {resource} as {name}"));
        }
    }
    None
}
