//! What was tried, and what anybody may.

mod fields;
mod statements;
mod texts;

use serde_json::{Value, json};

use crate::judge::{KEY, tenant};
use texts::{ACTIONS, BUCKETS, KEYS, NAMES, PATHS, POLICY_ARNS, PREFIXES, RESOURCES, TAGS};

fn allow(action: &Value, resource: &Value) -> Value {
    json!({ "Effect": "Allow", "Action": action, "Resource": resource })
}

fn statements(statements: Vec<Value>) -> Value {
    tenant(json!({ "policy": { "statements": statements } }))
}

/// A grant inside, with that key.
fn keyed(key: &str) -> Value {
    json!({ "bucket": "team-a.data", "level": "Admin", "kmsKeyArns": [key] })
}

/// Each of the texts, where a tenant would write it.
fn each(texts: &[&str], what: &str, spec: impl Fn(&str) -> Value) -> Vec<(String, Value)> {
    texts.iter().map(|text| (format!("{what} {text:?}"), spec(text))).collect()
}

/// Everything that was tried; each is refused, or cut down to what the class allows.
pub fn all() -> Vec<(String, Value)> {
    let inside = json!("arn:aws:s3:::team-a.data");
    let grant = |prefix: &str| json!({ "bucket": "team-a.data", "level": "ReadOnly", "prefixes": [prefix] });
    [
        each(BUCKETS, "access to bucket", |text| json!({ "access": [{ "bucket": text, "level": "Admin" }] })),
        each(PREFIXES, "prefix", |text| json!({ "access": [grant(text)] })),
        each(KEYS, "key", |text| tenant(json!({ "access": [keyed(text)] }))),
        each(RESOURCES, "resource", |text| statements(vec![allow(&json!("s3:*"), &json!(text))])),
        each(ACTIONS, "action", |text| statements(vec![allow(&json!(text), &inside)])),
        each(PATHS, "path", |text| tenant(json!({ "path": text }))),
        each(NAMES, "user", |text| tenant(json!({ "userName": text }))),
        each(TAGS, "tag", |text| tenant(json!({ "tags": { text: "b" } }))),
        each(POLICY_ARNS, "policy", |text| tenant(json!({ "managedPolicyArns": [text] }))),
        statements::all(),
        fields::all(),
    ]
    .concat()
}

/// What looks like a way out, and is taken to the letter: S3 and IAM know no `..`, and a bucket has no separator but `/`.
pub fn literal() -> Vec<(&'static str, Value)> {
    let resource = |text: &str| statements(vec![allow(&json!("s3:*"), &json!(text))]);
    vec![
        ("a path that climbs", tenant(json!({ "path": "/tenants/../admin/" }))),
        ("a key that climbs", resource("arn:aws:s3:::team-a.data/../../team-b.data/x")),
        ("a key with a bucket", resource("arn:aws:s3:::team-a.data/arn:aws:s3:::team-b.data")),
        ("a bucket with a colon", resource("arn:aws:s3:::team-a.*:team-b.data")),
        ("a key that is encoded", resource("arn:aws:s3:::team-a.data/%2e%2e%2fteam-b.data")),
        ("a key with every character", resource("arn:aws:s3:::team-a.data/ !\"#%&'()+,;<=>@[\\]^_`|~\u{7f}\u{ff}")),
        (
            "a prefix that climbs",
            tenant(
                json!({ "access": [{ "bucket": "team-a.data", "level": "Admin", "prefixes": ["../team-b.data/", "/", "in\n"] }] }),
            ),
        ),
    ]
}

/// What anybody may who stays inside.
pub fn honest() -> Vec<(&'static str, Value)> {
    let inside = json!(["arn:aws:s3:::team-a.data", "arn:aws:s3:::team-a.data/*"]);
    let statement = |action: &Value, resource: &Value| statements(vec![allow(action, resource)]);
    let template = |text: &str| tenant(json!({ "secret": { "format": "template", "template": { "a": text } } }));
    vec![
        ("a grant", tenant(json!({}))),
        ("statements", statement(&json!(["s3:Get*", "s3:ListBucket"]), &inside)),
        ("a wildcard inside", statement(&json!("s3:*"), &json!("arn:aws:s3:::team-a.*"))),
        ("a variable inside", statement(&json!("s3:*"), &json!("arn:aws:s3:::team-a.home/${aws:username}/*"))),
        ("the key", statement(&json!(["kms:Decrypt", "kms:GenerateDataKey"]), &json!(KEY))),
        ("the key of a grant", tenant(json!({ "access": [keyed(KEY)] }))),
        ("a bucket twice", tenant(json!({ "access": [keyed(KEY), { "bucket": "team-a.data", "level": "ReadOnly" }] }))),
        ("an action that is allowed", statement(&json!("sns:Publish"), &json!("*"))),
        ("a denial", statements(vec![json!({ "Effect": "Deny", "NotAction": "s3:GetObject", "Resource": "*" })])),
        ("a shared policy", tenant(json!({ "managedPolicyArns": ["arn:aws:iam::123456789012:policy/shared-x"] }))),
        ("a name", tenant(json!({ "userName": "team-a-reports", "policy": { "name": "team-a-p", "preset": null } }))),
        ("a path and a tag", tenant(json!({ "path": "/tenants/x/", "tags": { "cost-center": "1" } }))),
        ("a shorter interval", tenant(json!({ "accessKey": { "rotation": { "interval": "720h" } } }))),
        (
            "a Secret as the class has it",
            tenant(json!({ "secret": {
                "name": "team-a-s3", "labels": { "label-1": "1" }, "annotations": { "note-1": "any text" },
            } })),
        ),
        ("a template", template("s3://{{ access_key_id }}:{{ secret_access_key }}@{{ bucket | upper }}/")),
        (
            "a template with a loop",
            template(
                "{{ secret_access_key }}{% for b in buckets %}{% if b == bucket %}{{ b }}{% else %},{% endif %}{% endfor %}",
            ),
        ),
    ]
}
