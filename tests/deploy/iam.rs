//! The operator's own IAM policies: what each variant may hold, and that the partitions say the same.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{read, strings};

/// Every shipped policy, without its partition's ending.
pub const POLICIES: &[&str] = &[
    "operator-policy",
    "operator-policy.leftovers",
    "operator-policy.migration",
    "operator-policy.doctor",
    "operator-policy.own-key",
    "bounded/operator-policy",
    "bounded/users-boundary",
];
const CLUSTER: &str = "s3access.dev/cluster";
const BOUNDARY: &str = "arn:aws:iam::*:policy/s3access-boundary";

fn text(name: &str, partition: &str) -> String {
    read(format!("deploy/iam/{name}.{partition}.json"))
}

/// The statements of a shipped policy for the partition `aws`.
pub fn statements(name: &str) -> Vec<Value> {
    let policy: Value = serde_json::from_str(&text(name, "aws")).unwrap();
    policy["Statement"].as_array().unwrap().clone()
}

fn sid(statement: &Value) -> &str {
    statement["Sid"].as_str().unwrap()
}

fn allows(statement: &Value) -> bool {
    statement["Effect"] == "Allow"
}

fn reads(action: &str) -> bool {
    // A report is made of what there is, and changes nothing.
    action.starts_with("iam:Get") || action.starts_with("iam:List") || action == "iam:GenerateCredentialReport"
}

/// The statements that allow an action, by its name.
fn allowing(statements: &[Value], action: &str) -> Vec<Value> {
    let found = statements.iter().filter(|statement| allows(statement));
    found.filter(|statement| strings(&statement["Action"]).contains(&action)).cloned().collect()
}

fn actions(names: &[&str]) -> BTreeSet<String> {
    let statements = names.iter().flat_map(|name| statements(name)).filter(allows);
    statements
        .flat_map(|one| strings(&one["Action"]).iter().map(|&action| action.to_owned()).collect::<Vec<_>>())
        .collect()
}

#[test]
fn iam_policies_differ_only_by_partition() {
    for name in POLICIES {
        let china = text(name, "aws").replace("\"arn:aws:", "\"arn:aws-cn:");
        let china = china.replace(".amazonaws.com\"", ".amazonaws.com.cn\"");
        assert_eq!(china, text(name, "aws-cn"), "{name}");
    }
}

#[test]
fn iam_policies_fit_iam_and_are_explained() {
    let readme = read("deploy/iam/README.md");
    for name in POLICIES {
        let size = text(name, "aws-cn").chars().filter(|c| !c.is_whitespace()).count();
        assert!(size <= 6_144, "{name}: {size}, over IAM's limit on a managed policy");
        for statement in statements(name) {
            assert!(
                readme.contains(&format!("| {} |", sid(&statement))),
                "deploy/iam/README.md lacks {}",
                sid(&statement)
            );
        }
    }
    assert!(text("operator-policy", "aws").matches("iam:UpdateUser").count() == 0, "it renames");
}

/// What is changed lies under one path, and carries our tags or is made with them.
#[test]
fn the_iam_policies_change_only_what_lies_under_our_path() {
    // No tag of ours is on a group or a device.
    let untaggable = ["iam:RemoveUserFromGroup", "iam:DeleteVirtualMFADevice"];
    for name in ["operator-policy", "bounded/operator-policy"] {
        for statement in statements(name).iter().filter(|statement| allows(statement)) {
            let condition = &statement["Condition"]["StringLike"];
            let by_tag =
                ["ResourceTag", "RequestTag"].iter().any(|tag| condition[format!("aws:{tag}/{CLUSTER}")].is_string());
            for action in strings(&statement["Action"]).into_iter().filter(|action| !reads(action)) {
                assert!(action.starts_with("iam:") && !action.contains('*'), "{name}: {action}");
                assert!(by_tag || untaggable.contains(&action), "{}: {action} is not limited to ours", sid(statement));
                for resource in strings(&statement["Resource"]) {
                    let kinds =
                        ["user", "policy", "group", "mfa"].map(|kind| format!("arn:aws:iam::*:{kind}/s3access/*"));
                    assert!(kinds.iter().any(|kind| kind == resource), "{}: {resource}", sid(statement));
                }
            }
        }
    }
}

/// Names, since AmazonS3* covers policies that pass roles.
#[test]
fn the_iam_policies_attach_only_ours_and_two_of_aws() {
    for name in ["operator-policy", "bounded/operator-policy"] {
        let attached: BTreeSet<String> = allowing(&statements(name), "iam:AttachUserPolicy")
            .iter()
            .flat_map(|statement| {
                ["ArnLike", "ArnEquals"].map(|operator| statement["Condition"][operator]["iam:PolicyARN"].clone())
            })
            .filter(|value| !value.is_null())
            .flat_map(|value| strings(&value).iter().map(|&arn| arn.to_owned()).collect::<Vec<_>>())
            .collect();
        let expected = [
            "arn:aws:iam::*:policy/s3access/*",
            "arn:aws:iam::aws:policy/AmazonS3FullAccess",
            "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess",
        ];
        assert_eq!(attached.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{name}");
    }
}

/// What moves users at other paths reaches those that carry our tags; only the place they are moved to has none.
#[test]
fn the_migration_reaches_nothing_without_our_tags() {
    for statement in statements("operator-policy.migration") {
        let by_tag = statement["Condition"]["StringLike"][format!("aws:ResourceTag/{CLUSTER}")].is_string();
        let destination = strings(&statement["Resource"]) == ["arn:aws:iam::*:user/s3access/*"]
            && strings(&statement["Action"]) == ["iam:UpdateUser"];
        assert!(by_tag || destination, "{}", sid(&statement));
    }
}

/// What `doctor` asks with changes nothing, and tells of nobody but the operator's own identity.
#[test]
fn the_policy_for_the_doctor_asks_about_the_operator_alone() {
    let actions = actions(&["operator-policy.doctor"]);
    assert!(actions.iter().all(|action| reads(action) || action == "iam:SimulatePrincipalPolicy"), "{actions:?}");
    for statement in statements("operator-policy.doctor") {
        for resource in strings(&statement["Resource"]) {
            let own = ["role", "user"].map(|kind| format!("arn:aws:iam::*:{kind}/s3-access-operator*"));
            assert!(own.iter().any(|own| own == resource), "{}: {resource}", sid(&statement));
        }
    }
}

/// Whoever has it may change the keys of the very user that calls, and nothing else; the bounded variant lets that through
/// without allowing it.
#[test]
fn the_policy_for_the_own_key_reaches_the_caller_alone() {
    let statements = statements("operator-policy.own-key");
    let [statement] = statements.as_slice() else { panic!("{statements:?}") };
    assert_eq!(strings(&statement["Resource"]), ["arn:aws:iam::*:user/${aws:username}"]);
    let allowed = actions(&["operator-policy.own-key"]);
    let expected = ["CreateAccessKey", "DeleteAccessKey", "GetAccessKeyLastUsed", "ListAccessKeys", "UpdateAccessKey"];
    assert_eq!(allowed.iter().map(|action| action.trim_start_matches("iam:")).collect::<Vec<_>>(), expected);
    let bounded = self::statements("bounded/operator-policy");
    let never = bounded.iter().find(|one| sid(one) == "NeverChangeWhoWeAre").unwrap();
    let let_through: Vec<&str> = strings(&never["NotAction"]).into_iter().filter(|one| !one.contains('*')).collect();
    let writes: Vec<&String> = allowed.iter().filter(|action| !reads(action)).collect();
    assert_eq!(let_through, writes);
}

/// What gives rights asks for the boundary where IAM can ask for it, and is denied without it whatever else allows it.
#[test]
fn the_bounded_policy_gives_rights_only_under_the_boundary() {
    let statements = statements("bounded/operator-policy");
    let giving = ["CreateUser", "PutUserPermissionsBoundary", "PutUserPolicy", "AttachUserPolicy"];
    for action in giving.map(|action| format!("iam:{action}")) {
        for statement in allowing(&statements, &action) {
            assert_eq!(statement["Condition"]["ArnLike"]["iam:PermissionsBoundary"], BOUNDARY, "{}", sid(&statement));
        }
        let denied = statements.iter().any(|statement| {
            let without = &statement["Condition"]["ArnNotLike"]["iam:PermissionsBoundary"];
            !allows(statement) && strings(&statement["Action"]).contains(&action.as_str()) && *without == BOUNDARY
        });
        assert!(denied, "{action}");
    }
    assert!(allowing(&statements, "iam:DeleteUserPermissionsBoundary").is_empty());
    for (action, resource) in [
        ("iam:DeleteUserPermissionsBoundary", "*"),
        ("iam:CreatePolicyVersion", BOUNDARY),
        ("iam:SetDefaultPolicyVersion", BOUNDARY),
        ("iam:TagPolicy", "arn:aws:iam::*:policy/s3-access-operator*"),
    ] {
        let denied = statements.iter().any(|one| {
            let same = one["Action"].is_array() && strings(&one["Action"]).contains(&action);
            !allows(one) && same && strings(&one["Resource"]).contains(&resource) && one["Condition"].is_null()
        });
        assert!(denied, "{action} on {resource}");
    }
}

/// The boundary limits buckets in one place, which the template and the module fill in, and KMS to S3 alone.
#[test]
fn the_boundary_has_one_resource_to_narrow() {
    let statements = statements("bounded/users-boundary");
    let [s3, keys] = statements.as_slice() else { panic!("{statements:?}") };
    assert_eq!((strings(&s3["Action"]), strings(&s3["Resource"])), (vec!["s3:*"], vec!["*"]));
    assert!(keys["Condition"]["StringLike"]["kms:ViaService"].is_string());
    // The module replaces this text.
    assert_eq!(text("bounded/users-boundary", "aws").matches("\"*\"").count(), 1);
}

/// A path that the denials reach is one under which the operator could do nothing.
#[test]
fn no_path_that_the_template_or_the_module_takes_is_one_that_the_bounded_policy_denies() {
    let statements = statements("bounded/operator-policy");
    let denied = statements.iter().filter(|one| !allows(one)).flat_map(|one| strings(&one["Resource"]));
    let prefixes: BTreeSet<&str> = denied.filter_map(|arn| arn.split_once('/')?.1.strip_suffix('*')).collect();
    assert_eq!(prefixes.into_iter().collect::<Vec<_>>(), ["s3-access-operator"]);
    let template = read("deploy/iam/cloudformation.yaml");
    assert!(template.contains("    AllowedPattern: (?!/s3-access-operator)(/"));
    let module = read("deploy/iam/terraform/variables.tf");
    assert!(module.contains("!can(regex(\"^/s3-access-operator\", var.path))"));
}

/// The bounded variant allows nothing that the default one does not.
#[test]
fn the_bounded_policy_allows_no_other_calls() {
    let (bounded, default) = (actions(&["bounded/operator-policy"]), actions(&["operator-policy"]));
    let less: Vec<&String> = default.difference(&bounded).collect();
    assert!(bounded.is_subset(&default));
    assert_eq!(less, ["iam:DeleteUserPermissionsBoundary"]);
}

/// What an S3-compatible system is asked to allow is no more than what AWS is with users at any path, since such systems
/// keep the tags of a user in its path; and it fits into a user.
#[test]
fn the_iam_policy_for_s3_compatible_systems_is_a_part_of_the_one_for_aws() {
    let part: Value = serde_json::from_str(&read("deploy/iam/operator-policy.s3-compatible.json")).unwrap();
    assert!(part.to_string().len() <= 2_048, "over IAM's limit on inline policies");
    let allowed = actions(&["operator-policy", "operator-policy.migration"]);
    let whole = statements("operator-policy");
    for statement in part["Statement"].as_array().unwrap() {
        // A bucket of the operator's own, for some seconds, before a system serves anybody.
        if sid(statement) == "TryTheSystem" {
            assert_eq!(strings(&statement["Resource"]), ["arn:aws:s3:::s3access-probe-*"]);
            continue;
        }
        assert!(strings(&statement["Action"]).iter().all(|&action| allowed.contains(action)), "{}", sid(statement));
        // It records ownership there, and cannot be limited by what it records.
        if sid(statement) == "MoveUsers" {
            assert_eq!(strings(&statement["Action"]), ["iam:UpdateUser"]);
            continue;
        }
        let same = whole.iter().find(|other| sid(other) == sid(statement)).unwrap();
        assert_eq!(statement["Effect"], same["Effect"]);
        assert_eq!(statement["Condition"], same["Condition"], "{}", sid(statement));
        assert_eq!(statement["Resource"], same["Resource"].as_str().unwrap().replace("/s3access/", "/"));
    }
}

/// The operator names each call that it makes, for its errors; the policies together allow those and no others.
#[test]
fn the_iam_policies_allow_exactly_the_calls_that_are_made() {
    let allowed = actions(&[
        "operator-policy",
        "operator-policy.leftovers",
        "operator-policy.migration",
        "operator-policy.doctor",
        "operator-policy.own-key",
    ]);
    let allowed: BTreeSet<&str> = allowed.iter().map(|action| action.strip_prefix("iam:").unwrap()).collect();
    let code =
        ["src/aws/iam.rs", "src/aws/details.rs", "src/aws/leftovers.rs", "src/aws/identity.rs"].map(read).concat();
    let verbs = [
        "Attach",
        "Create",
        "Deactivate",
        "Delete",
        "Detach",
        "Generate",
        "Get",
        "List",
        "Put",
        "Remove",
        "Simulate",
        "Tag",
        "Untag",
        "Update",
    ];
    let made: BTreeSet<&str> = code
        .split('"')
        .filter(|word| {
            word.chars().all(|c| c.is_ascii_alphanumeric()) && verbs.iter().any(|verb| word.starts_with(verb))
        })
        .collect();
    assert_eq!(allowed, made);
}
