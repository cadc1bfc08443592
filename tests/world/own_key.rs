//! The operator's own key: replaced in its Secret while it works, by itself, and nobody else's is touched.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use aws_sdk_iam::types::StatusType;
use ground::double::{Account as IamAccount, Request, Settings};
use ground::moto::Account;
use ground::proxy::Fault;
use ground::stand::{OPERATOR_NAMESPACE, OPERATOR_USER, shipped};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;

use crate::doctor::{as_admin, says};
use crate::scene::{SOON, Scene, data, spec, user_name, with};
use crate::secrecy::shows;

const USER: &str = "s3-access-operator";
/// The scenes here, each with a Secret of its own that the admission policy names.
const SCENES: [&str; 5] = ["own-key", "own-key-killed", "own-key-foreign", "own-key-admission", "own-key-other"];

struct OwnKey {
    scene: Scene,
    secret: String,
    /// As it was when the scene began.
    first: Account,
}

impl OwnKey {
    /// An operator's user on the double, with the policy that rotating takes, and its key in a Secret.
    async fn new(name: &str) -> Self {
        let scene = Scene::on_double_without_operator(name, Settings::default()).await;
        scene.grant("operator-policy.own-key");
        let first = scene.stand.operator_identity.clone();
        let secret = scene.credentials("own", &first.access_key_id, &first.secret_access_key).await;
        let own = Self { scene, secret, first };
        own.admit().await;
        own
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.scene.client.clone(), OPERATOR_NAMESPACE)
    }

    /// The same as the operator's account, and no more than that may.
    async fn as_operator(&self) -> Api<Secret> {
        let kubeconfig = Kubeconfig::read_from(&self.scene.stand.kubernetes.kubeconfig).unwrap();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        config.auth_info.impersonate = Some(OPERATOR_USER.to_owned());
        Api::namespaced(Client::try_from(config).unwrap(), OPERATOR_NAMESPACE)
    }

    /// Has the admission policy name the Secrets of all scenes here, as the chart has it name one.
    async fn admit(&self) {
        let suffix = self.scene.namespace.rsplit('-').next().unwrap().to_owned();
        let names: Vec<String> = SCENES.iter().map(|scene| format!("'{scene}-{suffix}-own'")).collect();
        assert!(names.contains(&format!("'{}'", self.secret)), "{} is not among {names:?}", self.secret);
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(self.scene.client.clone());
        let policy = policies.get("s3access-operator").await.unwrap();
        let variables = policy.spec.unwrap().variables.unwrap();
        let index = variables.iter().position(|variable| variable.name == "ownKeys").unwrap();
        let named = json!([{ "op": "replace", "path": format!("/spec/variables/{index}/expression"), "value": format!("[{}]", names.join(", ")) }]);
        let patch = Patch::Json::<()>(serde_json::from_value(named).unwrap());
        policies.patch("s3access-operator", &PatchParams::default(), &patch).await.unwrap();
        let secrets = self.as_operator().await;
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        self.scene
            .see("the admission policy to let the Secret through", async || {
                secrets.replace(&self.secret, &dry_run, &secrets.get(&self.secret).await?).await?;
                Ok(())
            })
            .await;
    }

    /// Starts the operator without a key in its environment, and asks for a rotation.
    async fn start(&mut self, interval: &str) {
        let patch = json!({ "metadata": { "annotations": { "s3access.dev/rotate": "now" } } });
        self.secrets().patch(&self.secret, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
        self.start_again(interval).await;
    }

    async fn start_again(&mut self, interval: &str) {
        let settings = [
            ("S3ACCESS_ROTATE_OWN_KEY", self.secret.as_str()),
            ("S3ACCESS_OWN_KEY_INTERVAL", interval),
            // Another identity, which must never be used.
            ("AWS_ACCESS_KEY_ID", "AKIAOFTHEENVIRONMENT"),
            ("AWS_SECRET_ACCESS_KEY", "of-the-environment"),
        ];
        self.scene.start(&settings).await;
    }

    async fn held(&self) -> BTreeMap<String, String> {
        data(&self.secrets().get(&self.secret).await.unwrap())
    }

    /// The ids of the user's keys, each with whether it is active.
    async fn keys(&self) -> BTreeMap<String, bool> {
        let keys = self.scene.keys(USER).await.into_iter();
        keys.map(|key| (key.access_key_id.unwrap(), key.status == Some(StatusType::Active))).collect()
    }

    /// A class whose role the operator's user assumes, with the key that the Secret holds by now.
    async fn class_of_a_role(&self) -> String {
        let policy = shipped("operator-policy.aws").unwrap();
        let double = self.scene.double.as_ref().unwrap();
        let account = double.account().id.clone();
        let trusted = format!("arn:aws:iam::{account}:user/{USER}");
        let role = double
            .with(|world| world.account_mut(&account).unwrap().put_role("team", &[trusted.as_str()], None, &[&policy]))
            .unwrap();
        let spec = json!({ "allowedBuckets": ["*"], "region": "us-east-1", "roleArn": role });
        let class = self.scene.class("team", spec).await;
        self.scene.class_is(&class, "Synced").await;
        class
    }

    /// The key in the Secret, once it is none of those, and IAM knows it.
    async fn another_than(&self, others: &[&str]) -> String {
        self.scene
            .see("another key to be in the Secret", async || {
                let held = self.held().await;
                let id = held["AWS_ACCESS_KEY_ID"].clone();
                ensure!(!others.contains(&id.as_str()), "it holds {id}");
                ensure!(self.keys().await.get(&id) == Some(&true), "IAM does not know {id}");
                Ok(id)
            })
            .await
    }
}

#[tokio::test]
async fn the_operators_own_key_is_replaced_while_it_works_and_the_old_one_ends() {
    let mut own = OwnKey::new("own-key").await;
    own.start("40s").await;
    let (first, scene) = (own.first.clone(), &own.scene);
    scene.create("before", spec()).await;
    scene.ready("before").await;

    own.another_than(&[&first.access_key_id]).await;
    assert_eq!(own.keys().await.get(&first.access_key_id), Some(&true), "the old one works for its overlap");
    scene.create("meanwhile", spec()).await;
    scene.ready("meanwhile").await;

    scene
        .see("the old key to be gone", async || {
            let keys = own.keys().await;
            ensure!(!keys.contains_key(&first.access_key_id), "{keys:?}");
            Ok(())
        })
        .await;
    let refused = first.iam().list_access_keys().user_name(USER).send().await.unwrap_err();
    assert!(format!("{refused:?}").contains("InvalidClientTokenId"), "{refused:?}");
    let class = own.class_of_a_role().await;
    scene.create("after", with(json!({ "className": class }))).await;
    let after = user_name(&scene.ready("after").await);
    scene.only_key(&after, "after-s3").await;
    let created = scene.metric("s3access_own_key_created_timestamp_seconds", "").await.unwrap();
    let due = scene.metric("s3access_own_key_due_timestamp_seconds", "").await.unwrap();
    assert!(created > 0.0 && (due - created - 40.0).abs() < 1.0, "{created} {due}");
    let log = own.scene.operator().log().unwrap();
    let held = own.held().await;
    assert!(!shows(&log, &held["AWS_SECRET_ACCESS_KEY"]) && !shows(&log, &first.secret_access_key), "{log}");
}

#[tokio::test]
async fn killed_after_it_has_made_a_key_of_its_own_the_operator_deletes_that_and_makes_another() {
    let mut own = OwnKey::new("own-key-killed").await;
    let first = own.first.access_key_id.clone();
    own.scene.proxy.inject("CreateAccessKey", Fault::HeldAnswer);
    own.start("720h").await;
    own.scene.proxy.called("CreateAccessKey", SOON).await.unwrap();
    let stranded = own
        .scene
        .see("the key that nobody knows", async || {
            let keys = own.keys().await;
            keys.into_keys().find(|id| *id != first).context("it is not made yet")
        })
        .await;
    own.scene.kill9().await;
    assert_eq!(own.held().await["AWS_ACCESS_KEY_ID"], first);

    own.start_again("720h").await;
    let next = own.another_than(&[&first, &stranded]).await;
    let expected = BTreeMap::from([(first, true), (next, true)]);
    assert_eq!(own.keys().await, expected, "the old one in its overlap, the new one, and no other");
}

#[tokio::test]
async fn a_key_that_somebody_has_made_of_the_operators_user_is_named_and_left_alone() {
    let mut own = OwnKey::new("own-key-foreign").await;
    own.scene.by_hand(&Request::CreateAccessKey { user_name: USER.to_owned() });
    let before = own.keys().await;
    let foreign = before.keys().find(|id| **id != own.first.access_key_id).unwrap().clone();
    // As somebody would write it who wants that key deleted.
    let forged = json!({ "metadata": { "annotations": {
        "s3access.dev/previous-access-key-id": foreign, "s3access.dev/rotated-at": "2020-01-01T00:00:00Z", "s3access.dev/seal": "0" } } });
    own.secrets().patch(&own.secret, &PatchParams::default(), &Patch::Merge(&forged)).await.unwrap();
    own.start("40s").await;
    let says_so = format!("access key {foreign} of this user was not made by this operator");
    let log = own.scene.operator().process().log_path().to_path_buf();
    own.scene
        .see("the log to name it", async || {
            let log = std::fs::read_to_string(&log)?;
            ensure!(log.contains(&says_so), "{log}");
            Ok(())
        })
        .await;
    own.scene.create("reports", spec()).await;
    own.scene.ready("reports").await;
    assert_eq!(own.keys().await, before);
    assert_eq!(own.held().await["AWS_ACCESS_KEY_ID"], own.first.access_key_id);

    let (said, _) = as_admin(&own.scene, &[("S3ACCESS_ROTATE_OWN_KEY", &own.secret)]).await;
    says(&said, &[&format!("WARN  the operator's own key: it is not rotated: {says_so}")]);
    own.scene.grant("operator-policy.doctor");
    let rotating = [("S3ACCESS_ROTATE_OWN_KEY", own.secret.as_str())];
    let (said, _) = as_admin(&own.scene, &rotating).await;
    assert!(!said.contains("own key: permissions"), "{said}");
    own.scene.by_hand(&Request::DetachUserPolicy {
        user_name: USER.to_owned(),
        policy_arn: "arn:aws:iam::123456789012:policy/s3-access-operator-policy.own-key".to_owned(),
    });
    let (said, _) = as_admin(&own.scene, &rotating).await;
    let denied = "iam:CreateAccessKey, iam:UpdateAccessKey, iam:DeleteAccessKey";
    says(&said, &[&format!("WARN  the operator's own key: permissions: not allowed: {denied}: give its user")]);
    let (said, _) = as_admin(&own.scene, &[]).await;
    let age = format!("ok    the operator's own key: {}, 0 days old", own.first.access_key_id);
    says(&said, &[&age]);
    let (said, _) = as_admin(&own.scene, &[("S3ACCESS_ROTATE_OWN_KEY", "no-such-secret")]).await;
    says(
        &said,
        &[
            "FAIL  the operator's own key: the operator's own key: Secret s3-access-system/no-such-secret does not exist",
        ],
    );
}

#[tokio::test]
async fn a_key_of_another_account_is_not_followed_and_nobody_is_let_go_for_it() {
    const OTHER: &str = "210987654321";
    let mut own = OwnKey::new("own-key-other").await;
    // By which the Secret is read again every few seconds.
    own.start_again("3m").await;
    let scene = &own.scene;
    scene.create("reports", spec()).await;
    let user = user_name(&scene.ready("reports").await);
    let double = scene.double.as_ref().unwrap();
    let root = double.with(|world| {
        let account = IamAccount { id: OTHER.to_owned(), partition: "aws".to_owned() };
        world.add_account(account, Settings { seed: 7, ..Settings::default() });
        world.account(OTHER).unwrap().root_credentials().clone()
    });
    scene.credentials("own", &root.access_key_id, &root.secret_access_key).await;
    let mut touched = 0;
    scene
        .see("the other account to be noticed", async || {
            touched += 1;
            scene.patch("reports", json!({ "metadata": { "annotations": { "touched": touched.to_string() } } })).await;
            let conditions = scene.users().get("reports").await?.status.context("no status")?.conditions;
            let told = conditions.iter().find(|condition| condition.reason == "AccountMismatch");
            ensure!(told.is_some_and(|told| told.message.contains(OTHER)), "{conditions:?}");
            Ok(())
        })
        .await;
    scene.users().delete("reports", &DeleteParams::default()).await.unwrap();
    scene.refused("reports", "AccountMismatch").await;
    scene.only_key(&user, "reports-s3").await;
    assert_eq!(double.with(|world| world.account(OTHER).unwrap().state().users().count()), 0);
    scene.credentials("own", &own.first.access_key_id, &own.first.secret_access_key).await;
    scene.gone("reports").await;
    assert_eq!(scene.left(), Vec::<String>::new());
}

#[tokio::test]
async fn the_operators_account_changes_nothing_of_its_own_secret_but_the_key() {
    let own = OwnKey::new("own-key-admission").await;
    let secrets = own.as_operator().await;
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let found = secrets.get(&own.secret).await.unwrap();
    let with = |change: &dyn Fn(&mut Secret)| {
        let mut secret = found.clone();
        change(&mut secret);
        secret
    };
    let text = |text: &str| ByteString(text.as_bytes().to_vec());
    let rotated = with(&|secret| {
        let data = secret.data.get_or_insert_default();
        data.insert("AWS_ACCESS_KEY_ID".to_owned(), text("AKIATWO"));
        data.insert("AWS_SECRET_ACCESS_KEY".to_owned(), text("another"));
        secret.metadata.annotations.get_or_insert_default().insert("s3access.dev/seal".to_owned(), "1".to_owned());
    });
    secrets.replace(&own.secret, &dry_run, &rotated).await.unwrap();
    let more = with(&|secret| drop(secret.data.get_or_insert_default().insert("more".to_owned(), text("x"))));
    let fewer = with(&|secret| drop(secret.data.get_or_insert_default().remove("AWS_ACCESS_KEY_ID")));
    let labelled =
        with(&|secret| drop(secret.metadata.labels.get_or_insert_default().insert("a".to_owned(), "b".to_owned())));
    let account = with(&|secret| {
        let annotations = secret.metadata.annotations.get_or_insert_default();
        annotations.insert("kubernetes.io/service-account.name".to_owned(), "default".to_owned());
    });
    for (what, secret) in [("more", more), ("fewer", fewer), ("labelled", labelled), ("account", account)] {
        let refused = secrets.replace(&own.secret, &dry_run, &secret).await.expect_err(what);
        assert!(refused.to_string().contains("the operator's account"), "{what}: {refused}");
    }
    let deleted = DeleteParams { dry_run: true, ..DeleteParams::default() };
    let refused = secrets.delete(&own.secret, &deleted).await.unwrap_err();
    assert!(refused.to_string().contains("its own key"), "{refused}");
    let other = own.scene.credentials("another", "AKIAONE", "secret").await;
    let refused = secrets.replace(&other, &dry_run, &secrets.get(&other).await.unwrap()).await.unwrap_err();
    assert!(refused.to_string().contains("its own key"), "{refused}");
}
