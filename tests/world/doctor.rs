//! `doctor`, against a real API server and the strict double: what is well, and what is wrong by its name.

use std::collections::BTreeMap;
use std::path::Path;

use ground::double::{Request, Settings};
use ground::stand::{OPERATOR_ACCOUNT, OPERATOR_NAMESPACE, shipped};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::commands::run;
use crate::scene::Scene;

/// The settings of this scene: its own classes, and a Lease of its own.
fn settings(scene: &Scene) -> BTreeMap<String, String> {
    let mut env = scene.stand.operator_identity.env();
    env.insert("S3ACCESS_CLASS_SELECTOR".to_owned(), format!("scene={}", scene.namespace));
    env.insert("S3ACCESS_LEASE_NAME".to_owned(), scene.namespace.clone());
    env
}

/// What it says, and whether it finds the operator well.
async fn doctor(scene: &Scene, kubeconfig: &Path, env: BTreeMap<String, String>) -> (String, bool) {
    match run(scene, &["doctor"], kubeconfig, env).await {
        Ok(said) => (said, true),
        Err((said, errors)) => {
            assert!(errors.contains("checks failed"), "{said}{errors}");
            (said, false)
        }
    }
}

pub async fn as_admin(scene: &Scene, more: &[(&str, &str)]) -> (String, bool) {
    let mut env = settings(scene);
    env.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    doctor(scene, &scene.stand.kubernetes.kubeconfig, env).await
}

/// The operator's own policy, less some actions.
fn take_away(scene: &Scene, actions: &[&str]) {
    let mut policy: Value = serde_json::from_str(&shipped("operator-policy.aws").unwrap()).unwrap();
    let statements = policy["Statement"].as_array_mut().unwrap();
    for statement in &mut *statements {
        let left = statement["Action"].as_array_mut().unwrap();
        left.retain(|action| !actions.iter().any(|gone| action == gone));
    }
    statements.retain(|statement| statement["Action"] != json!([]));
    let policy_arn = "arn:aws:iam::123456789012:policy/s3-access-operator".to_owned();
    let policy_document = policy.to_string();
    scene.by_hand(&Request::CreatePolicyVersion { policy_arn, policy_document, set_as_default: true });
}

#[track_caller]
pub fn says(said: &str, lines: &[&str]) {
    for line in lines {
        assert!(said.lines().any(|found| found.starts_with(line)), "no line {line:?} in\n{said}");
    }
}

#[tokio::test]
async fn the_doctor_finds_the_shipped_installation_well_and_names_what_is_missing() {
    let scene = Scene::without_operator("doctor").await;
    let kubernetes = &scene.stand.kubernetes;
    let shipped = kubernetes.service_account_kubeconfig(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT).await.unwrap();
    // The Lease of the shipped name, which is all that its rights reach.
    let mut env = settings(&scene);
    env.remove("S3ACCESS_LEASE_NAME");
    let (well, is_well) = doctor(&scene, &shipped, env.clone()).await;
    assert!(is_well && !well.contains("FAIL"), "{well}");
    assert!(well.lines().count() >= 15, "{well}");
    says(
        &well,
        &[
            "ok    AWS credentials: ",
            "ok    AWS region: us-east-1",
            "ok    AWS clock: AWS's is the same",
            "ok    AWS sweep: ",
        ],
    );

    let stranger = kubernetes.service_account_kubeconfig("default", "default").await.unwrap();
    env.insert("AWS_SECRET_ACCESS_KEY".to_owned(), "not-the-secret".to_owned());
    let (ill, is_well) = doctor(&scene, &stranger, env).await;
    let problems = ["FAIL  AWS credentials: ", "FAIL  secrets in the cluster: may not get", "FAIL  cluster id: "];
    says(&ill, &[&problems[..], &["ok    s3accessusers.s3access.dev: served"]].concat());
    assert!(!is_well, "{ill}");
    assert!(!ill.contains("not-the-secret"), "{ill}");
}

#[tokio::test]
async fn the_doctor_names_each_permission_that_is_missing_and_how_sure_it_is() {
    let scene = Scene::on_double_without_operator("doctor-iam", Settings::default()).await;
    let (said, well) = as_admin(&scene, &[]).await;
    assert!(well, "{said}");
    says(
        &said,
        &[
            "ok    AWS credentials: arn:aws:iam::123456789012:user/s3-access-operator, account 123456789012",
            "ok    AWS region: us-east-1, of partition aws",
            "ok    AWS reads: the 9 reads that were tried are allowed",
            "ok    AWS sweep: ",
            "ok    AWS permissions: not checked: grant iam:SimulatePrincipalPolicy",
        ],
    );

    scene.grant("operator-policy.doctor");
    let (said, well) = as_admin(&scene, &[]).await;
    assert!(well && !said.contains("WARN  AWS"), "{said}");
    let whole =
        ["ok    AWS permissions: the ", "ok    AWS optional policies: leftovers not granted, migration not granted"];
    says(&said, &whole);
    scene.grant("operator-policy.leftovers");

    take_away(&scene, &["iam:CreateAccessKey", "iam:GetAccountAuthorizationDetails"]);
    let (said, well) = as_admin(&scene, &[]).await;
    assert!(well, "the simulator may be wrong, and without the sweep the operator works: {said}");
    says(
        &said,
        &[
            "ok    AWS reads: ",
            "WARN  AWS sweep: not allowed: drift is found only at each user's own resync",
            "WARN  AWS permissions: not allowed: iam:CreateAccessKey (statement ChangeOurUsers): give",
            "ok    AWS optional policies: leftovers granted, migration not granted",
        ],
    );

    take_away(&scene, &["iam:GetPolicy", "iam:GetAccessKeyLastUsed"]);
    let (said, well) = as_admin(&scene, &[]).await;
    assert!(!well, "{said}");
    says(
        &said,
        &[
            "FAIL  AWS reads: not allowed: iam:GetPolicy (statement ReadPolicies): give",
            "WARN  AWS permissions: not allowed: iam:GetAccessKeyLastUsed (statement ReadUsers): give",
        ],
    );

    let (said, well) = as_admin(&scene, &[("AWS_REGION", "cn-north-1"), ("S3ACCESS_PATH", "/elsewhere/")]).await;
    assert!(!well, "{said}");
    let region =
        "FAIL  AWS region: region cn-north-1 is of partition aws-cn, the credentials are of aws: set AWS_REGION";
    says(&said, &[region]);
    assert!(said.contains("iam:CreateUser, iam:TagUser (statement CreateUsersWithOurTags)"), "of another path: {said}");
    let root = scene.stand.aws.env();
    let (said, well) =
        doctor(&scene, &scene.stand.kubernetes.kubeconfig, settings(&scene).into_iter().chain(root).collect()).await;
    assert!(well, "{said}");
    says(&said, &["WARN  AWS permissions: the credentials are of the account's root"]);
}

#[tokio::test]
async fn what_is_wrong_with_one_class_is_said_of_that_class_alone() {
    let scene = Scene::on_double_without_operator("doctor-class", Settings::default()).await;
    let double = scene.double.as_ref().unwrap();
    let account = double.account().id.clone();
    let operator = [format!("arn:aws:iam::{account}:user/s3-access-operator")];
    let trusts: Vec<&str> = operator.iter().map(String::as_str).collect();
    let policies = ["operator-policy.aws", "operator-policy.doctor.aws"].map(|name| shipped(name).unwrap());
    let role = |name: &str, policies: &[&str]| {
        double.with(|world| world.account_mut(&account).unwrap().put_role(name, &trusts, None, policies)).unwrap()
    };
    let known = role("s3-access-operator-team", &[&policies[0], &policies[1]]);
    let silent = role("s3-access-operator-silent", &[&policies[0]]);
    let spec = |more: Value| {
        let mut spec = json!({ "region": "us-east-1", "allowedBuckets": ["*"] });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let secret = scene.credentials("broken", "AKIAIOSFODNN7EXAMPLE", "not-the-secret").await;
    let known = scene.class("known", spec(json!({ "roleArn": known, "requestsPerSecond": 1 }))).await;
    let silent = scene.class("silent", spec(json!({ "roleArn": silent }))).await;
    let broken = scene.class("broken", spec(json!({ "credentialsSecretRef": { "name": secret } }))).await;
    let absent = scene.class("absent", spec(json!({ "credentialsSecretRef": { "name": "absent" } }))).await;
    let other = scene.class("other", spec(json!({ "accountId": "999999999999" }))).await;
    let china = scene.class("china", spec(json!({ "region": "cn-north-1" }))).await;
    let dark = scene.class("dark", spec(json!({ "endpoints": { "iam": "http://127.0.0.1:9" } }))).await;
    let writes = || double.with(|world| world.history().writes());
    let before = writes();
    let (said, well) = as_admin(&scene, &[]).await;
    assert_eq!(writes(), before, "it changes nothing");
    let session = format!("arn:aws:sts::{account}:assumed-role/s3-access-operator-team/");
    says(
        &said,
        &[
            "ok    AWS: not checked by itself",
            &format!("ok    class {known} credentials: {session}"),
            &format!("ok    class {known} permissions: the "),
            &format!("ok    class {silent} reads: "),
            &format!("ok    class {silent} permissions: not checked: grant iam:SimulatePrincipalPolicy"),
            &format!("FAIL  class {broken} credentials: "),
            &format!("FAIL  class {absent}: "),
            &format!("FAIL  class {other} account: "),
            &format!("FAIL  class {china} region: region cn-north-1 is of partition aws-cn"),
            &format!("FAIL  class {dark} credentials: "),
        ],
    );
    let failed = said.lines().filter(|line| line.starts_with("FAIL")).count();
    assert!(!well && failed == 5, "{failed}: {said}");
    assert!(!said.contains("not-the-secret"), "{said}");
    for class in [known, silent, broken, absent, other, china, dark] {
        scene.classes().delete(&class, &DeleteParams::default()).await.unwrap();
    }
}

#[tokio::test]
async fn the_doctor_finds_the_bounded_variant_well_where_the_class_sets_the_boundary() {
    let scene = Scene::on_double_without_operator("doctor-bounds", Settings::default()).await;
    let boundary = scene.boundary();
    scene.by_hand(&Request::CreatePolicyVersion {
        policy_arn: "arn:aws:iam::123456789012:policy/s3-access-operator".to_owned(),
        policy_document: shipped("bounded/operator-policy.aws").unwrap(),
        set_as_default: true,
    });
    scene.grant("operator-policy.doctor");
    let bounded = scene.class("in", json!({ "allowedBuckets": ["*"], "permissionsBoundaryArn": boundary })).await;
    let loose = scene.class("out", json!({ "allowedBuckets": ["*"] })).await;
    let (said, well) = as_admin(&scene, &[]).await;
    assert!(well, "{said}");
    says(
        &said,
        &[
            &format!("ok    class {bounded} permissions: the "),
            &format!("WARN  class {loose} permissions: not allowed: "),
        ],
    );
    assert!(said.contains("iam:CreateUser (statement CreateUsersWithOurTags)"), "{said}");
    for class in [bounded, loose] {
        scene.classes().delete(&class, &DeleteParams::default()).await.unwrap();
    }
}

#[tokio::test]
async fn the_doctor_says_who_holds_the_lease_and_whether_that_one_lives() {
    let scene = Scene::on_double_without_operator("doctor-lease", Settings::default()).await;
    let leases: Api<Lease> = Api::namespaced(scene.client.clone(), OPERATOR_NAMESPACE);
    let what = format!("Lease {OPERATOR_NAMESPACE}/{}: ", scene.namespace);
    let (said, well) = as_admin(&scene, &[]).await;
    assert!(well, "{said}");
    says(&said, &[&format!("WARN  {what}nobody holds it: no operator runs")]);
    let lease = |renewed: Timestamp| {
        let time = |at: Timestamp| format!("{at:.6}");
        json!({ "metadata": { "name": scene.namespace }, "spec": {
            "holderIdentity": "pod-1", "leaseDurationSeconds": 15,
            "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": time(renewed),
        } })
    };
    let old = lease(Timestamp::now() - SignedDuration::from_secs(300));
    leases.create(&PostParams::default(), &serde_json::from_value(old).unwrap()).await.unwrap();
    let (said, well) = as_admin(&scene, &[]).await;
    assert!(well, "{said}");
    let stale = format!("WARN  {what}stale: pod-1 renewed it ");
    let ago = said.lines().find_map(|line| line.strip_prefix(&stale)?.split(' ').next()?.parse::<u64>().ok());
    assert!(ago.is_some_and(|ago| ago >= 300), "{said}");
    // Good for as long as the command may take.
    let new = Patch::Merge(lease(Timestamp::now() + SignedDuration::from_secs(600)));
    leases.patch(&scene.namespace, &PatchParams::default(), &new).await.unwrap();
    let (said, well) = as_admin(&scene, &[]).await;
    assert!(well, "{said}");
    says(&said, &[&format!("ok    {what}pod-1 holds it since 2026-01-01T00:00:00Z")]);
    leases.delete(&scene.namespace, &DeleteParams::default()).await.unwrap();
}
