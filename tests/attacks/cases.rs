//! What was tried, and what anybody may.

use serde_json::{Value, json};

use crate::judge::{KEY, tenant};

fn allow(action: &Value, resource: &Value) -> Value {
    json!({ "Effect": "Allow", "Action": action, "Resource": resource })
}

fn statements(statement: Value) -> Value {
    tenant(json!({ "policy": { "statements": [statement] } }))
}

/// Buckets outside, as a tenant might write them.
const BUCKETS: &[&str] = &[
    "team-b.data",
    "team-ab.data",
    "team-a",
    "team-a-data",
    "team-adata",
    "team-a*",
    "team-?.data",
    "*",
    "team-a.*",
    "*.data",
    "Team-a.data",
    "TEAM-A.DATA",
    "team-b.data/team-a.data",
    "team-a.data/../team-b.data",
    "${aws:username}",
    "team-a.data,team-b.data",
    " team-a.data",
    "team-a\u{2024}data",
    "team‐a.data",
    "xn--team-a.data",
    "arn:aws:s3:::team-b.data",
    "",
];

/// Resources that reach, or might reach, outside.
const RESOURCES: &[&str] = &[
    "*",
    "**",
    "arn:aws:s3:::*",
    "arn:aws:s3:::**",
    "arn:aws:s3:::?*",
    "arn:aws:s3:::*/*",
    "arn:aws:s3:::team-*",
    "arn:aws:s3:::team-a*",
    "arn:aws:s3:::team-a*.data",
    "arn:aws:s3:::team-?.data",
    "arn:aws:s3:::?eam-a.data",
    "arn:aws:s3:::*.data",
    "arn:aws:s3:::*team-a.data",
    "arn:aws:s3:::*/team-a.data",
    "arn:aws:s3:::team-b.data",
    "arn:aws:s3:::team-b.data/*",
    "arn:aws:s3:::team-b.data/team-a.data",
    "arn:aws:s3:::team-ab.data/x",
    "arn:aws:s3:::team-a-data/*",
    "arn:aws:s3:::TEAM-A.data",
    "arn:aws:s3:::${aws:username}",
    "arn:aws:s3:::${aws:username}/*",
    "arn:aws:s3:::${aws:PrincipalTag/cost-center}",
    "arn:aws:s3:::${aws:PrincipalTag/cost-center, 'team-b.data'}",
    "arn:aws:s3:::team${aws:username}",
    "arn:aws:s3:::team-a${aws:username}",
    "arn:aws:s3:::${*}",
    "arn:aws:s3:::team-a${",
    "arn:aws:s3:::$",
    "arn:aws:s3:*:*:*",
    "arn:aws:s3:eu-west-1::team-a.data",
    "arn:aws:s3::123456789012:team-a.data",
    "arn:aws:s3:eu-west-1:123456789012:accesspoint/team-a.data",
    "arn:aws:s3:eu-west-1:123456789012:accesspoint/*/object/*",
    "arn:aws:s3-object-lambda:eu-west-1:123456789012:accesspoint/x",
    "arn:aws:s3express:eu-west-1:123456789012:bucket/team-a.data",
    "arn:aws:*:::team-a.data",
    "arn:aws:s?:::team-a.data",
    "arn:aws:S3:::team-a.data",
    "arn:*:s3:::team-a.data",
    "arn:aws-cn:s3:::team-a.data",
    "arn:aws:iam::123456789012:user/*",
    "arn:aws:kms:eu-west-1:123456789012:key/team-b",
    "arn:aws:s3",
    "team-a.data",
    "",
    "arn:aws:s3:::",
];

/// Actions that are not a tenant's.
const ACTIONS: &[&str] = &[
    "*",
    "**",
    "*:*",
    "s*:GetObject",
    "s?:GetObject",
    "iam:*",
    "iam:CreateUser",
    "iam:PassRole",
    "IAM:CreateAccessKey",
    "sts:AssumeRole",
    "kms:*",
    "kms:Put*",
    "kms:CreateGrant",
    "kms:GenerateDataKeyPair*",
    "sns:*",
    "sns:Publish*",
    "sns:Pub?ish",
    "sqs:SendMessage",
    "s3-object-lambda:*",
    "s3-outposts:GetObject",
    "s3express:CreateSession",
    "ec2:*",
    "lambda:InvokeFunction",
    "organizations:*",
    "s3",
    "s3:",
    ":GetObject",
    "",
];

/// Everything that was tried; each is refused, or cut down to what the class allows.
pub fn all() -> Vec<(String, Value)> {
    let mut cases = Vec::new();
    for bucket in BUCKETS {
        let grant = json!({ "bucket": bucket, "level": "Admin" });
        cases.push((format!("access to bucket {bucket:?}"), json!({ "access": [grant] })));
    }
    for resource in RESOURCES {
        cases.push((format!("resource {resource:?}"), statements(allow(&json!("s3:*"), &json!(resource)))));
    }
    for action in ACTIONS {
        cases.push((
            format!("action {action:?}"),
            statements(allow(&json!(action), &json!("arn:aws:s3:::team-a.data"))),
        ));
    }
    let inside = json!("arn:aws:s3:::team-a.data");
    for (what, statement) in [
        ("all but one action", json!({ "Effect": "Allow", "NotAction": "iam:*", "Resource": inside })),
        ("all but one bucket", json!({ "Effect": "Allow", "Action": "s3:*", "NotResource": inside })),
        ("all but nothing", json!({ "Effect": "Allow", "NotAction": "x:y", "NotResource": "arn:aws:s3:::x" })),
        ("a second resource", allow(&json!("s3:*"), &json!([inside, "arn:aws:s3:::team-b.data"]))),
        ("a second action", allow(&json!(["s3:GetObject", "iam:CreateUser"]), &inside)),
        ("another's topic beside S3", allow(&json!(["sns:Publish", "s3:GetObject"]), &json!("*"))),
        ("a key beside every bucket", allow(&json!(["kms:Decrypt", "s3:GetObject"]), &json!([KEY, "*"]))),
        ("every key", allow(&json!("kms:Decrypt"), &json!("*"))),
        ("another key", allow(&json!("kms:Decrypt"), &json!("arn:aws:kms:eu-west-1:123456789012:key/team-*"))),
        ("the effect in lower case", json!({ "effect": "Allow", "Effect": "Deny", "Action": "s3:*", "Resource": "*" })),
        (
            "the action in lower case",
            json!({ "Effect": "Allow", "action": "s3:*", "Action": "s3:*", "Resource": inside }),
        ),
        ("no effect", json!({ "Action": "s3:*", "Resource": inside })),
        ("a principal", json!({ "Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": inside })),
        ("no principal", json!({ "Effect": "Allow", "NotPrincipal": "*", "Action": "s3:*", "Resource": inside })),
        ("both actions", json!({ "Effect": "Allow", "Action": "s3:*", "NotAction": "s3:x", "Resource": inside })),
        (
            "both resources",
            json!({ "Effect": "Allow", "Action": "s3:*", "Resource": inside, "NotResource": "arn:aws:s3:::x" }),
        ),
        ("a list of lists", allow(&json!([["s3:*"]]), &json!([[inside]]))),
        ("an object as resource", allow(&json!("s3:*"), &json!({ "Fn::Sub": "*" }))),
        ("a number as resource", allow(&json!("s3:*"), &json!(1))),
        ("no resource", json!({ "Effect": "Allow", "Action": "s3:*" })),
        ("an empty list", allow(&json!("s3:*"), &json!([]))),
        (
            "a condition that is none",
            json!({ "Effect": "Allow", "Action": "s3:*", "Resource": inside, "Condition": "x" }),
        ),
        ("another element", json!({ "Effect": "Allow", "Action": "s3:*", "Resource": inside, "Statement": [] })),
        ("a text for a statement", json!("Allow")),
        ("a nested account", allow(&json!("s3:*"), &json!("arn:${partition}:s3:::${account}"))),
        ("a nested partition", allow(&json!("s3:*"), &json!("arn:aws:s3:::team-a${partition}"))),
    ] {
        cases.push((what.to_owned(), statements(statement)));
    }
    for (what, fields) in [
        ("the preset, on every bucket", json!({ "policy": { "preset": "ReadWriteNoDelete" } })),
        ("a policy of AWS", json!({ "managedPolicyArns": ["arn:aws:iam::aws:policy/AdministratorAccess"] })),
        ("S3's own full access", json!({ "managedPolicyArns": ["arn:aws:iam::aws:policy/AmazonS3FullAccess"] })),
        ("another team's policy", json!({ "managedPolicyArns": ["arn:aws:iam::123456789012:policy/team-b"] })),
        (
            "the operator's own policy",
            json!({ "managedPolicyArns": ["arn:aws:iam::123456789012:policy/s3-access-operator"] }),
        ),
        ("a policy of another account", json!({ "managedPolicyArns": ["arn:aws:iam::999999999999:policy/shared-x"] })),
        (
            "a policy of another partition",
            json!({ "managedPolicyArns": ["arn:aws-cn:iam::123456789012:policy/shared-x"] }),
        ),
        ("a policy by wildcard", json!({ "managedPolicyArns": ["arn:aws:iam::123456789012:policy/*"] })),
        ("a policy below a path", json!({ "managedPolicyArns": ["arn:aws:iam::123456789012:policy/x/shared-x"] })),
        ("no boundary", json!({ "permissionsBoundaryArn": "arn:aws:iam::aws:policy/AdministratorAccess" })),
        ("another boundary", json!({ "permissionsBoundaryArn": "arn:aws:iam::123456789012:policy/tenants2" })),
        ("another's user", json!({ "userName": "team-b-reports" })),
        ("another's user by case", json!({ "userName": "TEAM-B-reports" })),
        ("a look-alike user", json!({ "userName": "team-a" })),
        ("the operator's user", json!({ "userName": "s3-access-operator" })),
        ("an administrator", json!({ "userName": "admin" })),
        ("another's policy name", json!({ "policy": { "name": "team-b-reports" } })),
        ("a policy name with a path", json!({ "policy": { "name": "../team-b" } })),
        ("another path", json!({ "path": "/admin/" })),
        ("the root path", json!({ "path": "/" })),
        ("a look-alike path", json!({ "path": "/tenants2/" })),
        ("a path in upper case", json!({ "path": "/TENANTS/" })),
        ("the team's tag", json!({ "tags": { "team": "b" } })),
        ("the team's tag by case", json!({ "tags": { "TEAM": "b" } })),
        ("a tag that others trust", json!({ "tags": { "department": "finance" } })),
        ("the ownership tag", json!({ "tags": { "s3access.dev/uid": "theirs" } })),
        ("the ownership tag by case", json!({ "tags": { "S3ACCESS.dev/UID": "theirs" } })),
        ("the cluster tag", json!({ "tags": { "s3access.dev/cluster": "theirs" } })),
        ("a tag of AWS", json!({ "tags": { "AWS:x": "y" } })),
        ("adoption of anybody", json!({ "adoption": "Force" })),
        ("a key for ever", json!({ "accessKey": { "rotation": { "interval": "87600h" } } })),
        ("an interval beyond counting", json!({ "accessKey": { "rotation": { "interval": "2562047h" } } })),
        ("an overlap for ever", json!({ "accessKey": { "rotation": { "interval": "2160h", "overlap": "87600h" } } })),
        (
            "a wildcard for a prefix",
            json!({ "access": [{ "bucket": "team-a.data", "level": "ReadOnly", "prefixes": ["*"] }] }),
        ),
        (
            "a variable for a prefix",
            json!({ "access": [{ "bucket": "team-a.data", "level": "ReadOnly", "prefixes": ["${aws:username}"] }] }),
        ),
        ("a level that there is not", json!({ "access": [{ "bucket": "team-a.data", "level": "Root" }] })),
    ] {
        cases.push((what.to_owned(), tenant(fields)));
    }
    cases
}

/// What anybody may who stays inside.
pub fn honest() -> Vec<(&'static str, Value)> {
    let inside = json!(["arn:aws:s3:::team-a.data", "arn:aws:s3:::team-a.data/*"]);
    vec![
        ("a grant", tenant(json!({}))),
        ("statements", statements(allow(&json!(["s3:Get*", "s3:ListBucket"]), &inside))),
        ("a wildcard inside", statements(allow(&json!("s3:*"), &json!("arn:aws:s3:::team-a.*")))),
        ("a variable inside", statements(allow(&json!("s3:*"), &json!("arn:aws:s3:::team-a.home/${aws:username}/*")))),
        ("the key", statements(allow(&json!(["kms:Decrypt", "kms:GenerateDataKey"]), &json!(KEY)))),
        ("an action that is allowed", statements(allow(&json!("sns:Publish"), &json!("*")))),
        ("a denial", statements(json!({ "Effect": "Deny", "NotAction": "s3:GetObject", "Resource": "*" }))),
        ("a shared policy", tenant(json!({ "managedPolicyArns": ["arn:aws:iam::123456789012:policy/shared-x"] }))),
        ("a name", tenant(json!({ "userName": "team-a-reports", "policy": { "name": "team-a-p", "preset": null } }))),
        ("a path and a tag", tenant(json!({ "path": "/tenants/x/", "tags": { "cost-center": "1" } }))),
        ("a shorter interval", tenant(json!({ "accessKey": { "rotation": { "interval": "720h" } } }))),
    ]
}
