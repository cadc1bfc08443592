//! What AWS was recorded to answer, and what the operator makes of it.

use std::collections::BTreeSet;

use ground::cache;
use ground::double::{Code, Fault, FaultKind, Operation, Request, Settings, When};
use ground::stand::shipped;
use kube::api::PostParams;
use s3_access_operator::aws::ErrorKind;
use serde_json::json;
use tokio::process::Command;

use crate::scene::{Scene, spec, user_name, with};

const QUICK: (&str, &str) = ("S3ACCESS_CONSISTENCY_WINDOW", "3s");
const DOCUMENT: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"s3:DeleteBucket","Resource":"*"}]}"#;

impl Scene {
    /// From now on, AWS answers so.
    fn aws_answers(&self, faults: impl IntoIterator<Item = Fault>) {
        self.double.as_ref().unwrap().with(|world| world.faults().set(faults));
    }
}

/// "Policy … does not exist or is not attachable", or "Scope ARN: …": for a while it may be on its way.
#[tokio::test]
async fn a_policy_that_does_not_exist_is_told_with_its_field_and_its_arn_and_taken_once_it_does() {
    let mut scene = Scene::on_double_without_operator("nopolicy", Settings::default()).await;
    scene.start(&[QUICK]).await;
    let account = scene.double.as_ref().unwrap().account().id.clone();
    let arn = |name: &str| format!("arn:aws:iam::{account}:policy/s3access/{name}");
    for (name, field, spec) in [
        ("attached", "spec.managedPolicyArns", json!({ "managedPolicyArns": [arn("attached")] })),
        ("bounded", "spec.permissionsBoundaryArn", json!({ "permissionsBoundaryArn": arn("bounded") })),
    ] {
        scene.create(name, with(spec)).await;
        let (_, message) = scene.refused(name, "InvalidPolicy").await;
        assert!(message.contains(field) && message.contains(&arn(name)), "{message}");
        scene.condition(name, "Stalled", "True", "InvalidPolicy").await;
        scene.by_hand(&Request::CreatePolicy {
            policy_name: name.to_owned(),
            path: Some("/s3access/".to_owned()),
            policy_document: DOCUMENT.to_owned(),
            description: None,
            tags: Vec::new(),
        });
        scene.ready(name).await;
        scene.delete(name).await;
    }
}

/// GetAccessKeyLastUsed answers 403 for a key that is gone, to an administrator, too.
#[tokio::test]
async fn a_replaced_key_that_aws_no_longer_knows_is_no_missing_permission() {
    let scene = Scene::on_double("gonekey", Settings::default()).await;
    let rotation = json!({ "accessKey": { "rotation": { "interval": "2160h", "overlap": "4s" } } });
    scene.create("reports", with(rotation)).await;
    let user = user_name(&scene.ready("reports").await);
    let old = scene.only_key(&user, "reports-s3").await;
    scene.aws_answers([Fault::new(
        When::Every(Operation::GetAccessKeyLastUsed),
        FaultKind::Answer(
            Code::AccessDenied,
            "User: arn:aws:iam::123456789012:user/s3-access-operator is not authorized to perform iam:GetAccessKeyLastUsed on resource: access key AKIAGONE",
        ),
    )]);
    scene.patch("reports", json!({ "metadata": { "annotations": { "s3access.dev/rotate": "1" } } })).await;
    let new = scene.secret_holds_another_key("reports-s3", &old).await;
    assert_eq!(scene.only_key(&user, "reports-s3").await, new, "the old one is removed after its overlap");
    scene.ready("reports").await;
}

#[tokio::test]
async fn what_aws_finds_invalid_names_the_field_of_the_spec() {
    let scene = Scene::on_double("invalid", Settings::default()).await;
    scene.aws_answers([Fault::new(
        When::Every(Operation::CreateUser),
        FaultKind::Answer(
            Code::ValidationError,
            "1 validation error detected: Value at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50",
        ),
    )]);
    scene.create("reports", spec()).await;
    let (_, message) = scene.refused("reports", "InvalidSpec").await;
    assert!(message.contains("CreateUser") && message.contains("correct spec.tags"), "{message}");
    scene.aws_answers([]);
    scene.ready("reports").await;
}

/// What IAM's and STS's service models, as botocore has them, declare for the calls that the operator may make.
#[tokio::test]
async fn every_error_that_the_service_models_declare_for_our_calls_means_something() {
    let policies = ["operator-policy.aws", "operator-policy.leftovers.aws", "operator-policy.migration.aws"];
    let allowed: String = policies.iter().map(|file| shipped(file).unwrap()).collect();
    let python = cache::python().await.unwrap().join("python");
    let declared = Command::new(python).args(["-c", DECLARED]).output().await.unwrap();
    let declared = String::from_utf8(declared.stdout).unwrap();
    let ours = |line: &&str| {
        let operation = line.split(' ').next().unwrap();
        allowed.contains(&format!("\"iam:{operation}\"")) || operation == "GetCallerIdentity"
    };
    let codes: BTreeSet<_> = declared.lines().filter(ours).map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert!(codes.len() >= 10 && codes.contains("PolicyNotAttachable"), "{codes:?}");
    let unknown: Vec<_> = codes.iter().filter(|code| ErrorKind::of_code(code, Some(400)) == ErrorKind::Other).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// Prints operation and error code.
const DECLARED: &str = "
import botocore.session
for service in ['iam', 'sts']:
    model = botocore.session.get_session().get_service_model(service)
    for name in model.operation_names:
        for shape in model.operation_model(name).error_shapes:
            print(name, shape.metadata.get('error', {}).get('code', shape.name))
";

/// IAM's pattern of a document ends at U+00FF.
#[tokio::test]
async fn a_prefix_that_iam_takes_in_no_policy_is_refused_with_what_to_write_instead() {
    let scene = Scene::without_operator("umlaut").await;
    let grant =
        |prefix: &str| with(json!({ "access": [{ "bucket": "reports", "level": "ReadOnly", "prefixes": [prefix] }] }));
    let user = |prefix: &str| {
        let object = json!({
            "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser",
            "metadata": { "name": "reports", "namespace": scene.namespace }, "spec": grant(prefix),
        });
        serde_json::from_value(object).unwrap()
    };
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    scene.users().create(&dry_run, &user("Übersicht/")).await.unwrap();
    for prefix in ["报表/", "a/😀"] {
        let error = scene.users().create(&dry_run, &user(prefix)).await.unwrap_err().to_string();
        assert!(error.contains("U+00FF") && error.contains("spec.policy"), "{error}");
    }
}
