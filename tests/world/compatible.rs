//! An S3-compatible system as a class, from start to end; also where its users have no tags.

use std::path::Path;

use ground::folders::Folder;
use ground::moto::Account;
use ground::proxy::Proxy;
use ground::stand::Stand;
use ground::versitygw::VersityGw;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::doctor::{as_admin, says};
use crate::scene::{Scene, user_name};

/// An S3-compatible system with an account of its own in it, a class for that, and an operator.
pub struct Gateway {
    pub scene: Scene,
    /// In front of the system's IAM.
    pub proxy: Proxy,
    pub admin: Account,
    pub s3: String,
    pub class: String,
    _server: Option<(VersityGw, Folder)>,
}

impl Gateway {
    /// On versitygw.
    pub async fn new(name: &str, ownership: &str) -> Self {
        let folder = Folder::create("gateway").unwrap();
        let program = std::env::var_os("VERSITYGW").unwrap();
        let server = VersityGw::start(Path::new(&program), folder.path()).await.unwrap();
        let more = json!({ "ownership": ownership });
        let gateway = Self::at(name, server.account().clone(), server.s3(), more).await;
        Self { _server: Some((server, folder)), ..gateway }
    }

    /// On the system whose IAM and S3 these are.
    pub async fn at(name: &str, admin: Account, s3: &str, more: Value) -> Self {
        let mut scene = Scene::on(Stand::attach().unwrap(), name).await;
        scene.iam = admin.iam();
        let proxy = Proxy::start(&admin.endpoint).await.unwrap();
        let secret = scene.credentials("gw", &admin.access_key_id, &admin.secret_access_key).await;
        let spec = json!({
            "provider": "s3-compatible", "region": "us-east-1", "allowedNames": ["*"],
            "credentialsSecretRef": { "name": secret }, "allowedBuckets": ["{namespace}.*"],
            "endpoints": { "iam": proxy.endpoint(), "s3": s3 },
        });
        let class = scene.class("gw", merged(spec, &more)).await;
        scene.start(&[]).await;
        scene.tried(&class).await;
        Self { scene, proxy, admin, s3: s3.to_owned(), class, _server: None }
    }

    /// The bucket of the specs.
    pub fn bucket(&self) -> String {
        format!("{}.data", self.scene.namespace)
    }

    pub fn spec(&self, extra: Value) -> Value {
        let spec = json!({
            "className": self.class, "access": [{ "bucket": self.bucket(), "level": "ReadWrite" }],
            "policy": { "type": "Inline" }, "accessKey": { "rotation": { "interval": "2160h", "overlap": "4s" } },
        });
        merged(spec, &extra)
    }

    /// A user's whole life.
    pub async fn lives(&mut self) {
        self.scene.create("reports", self.spec(json!({}))).await;
        let made = self.scene.ready("reports").await;
        let user = user_name(&made);
        let first = self.scene.only_key(&user, "reports-s3").await;
        assert_eq!(self.scene.secret("reports-s3").await["AWS_ENDPOINT_URL_S3"], self.s3);
        self.scene.class_is(&self.class, "Synced").await;

        self.scene.kill9().await;
        self.scene.start(&[]).await;
        let suspended = |suspend: bool| json!({ "spec": { "suspend": suspend } });
        self.scene.patch("reports", suspended(true)).await;
        self.scene.refused("reports", "Suspended").await;
        self.scene.patch("reports", suspended(false)).await;
        self.scene.ready("reports").await;
        assert_eq!(self.scene.only_key(&user, "reports-s3").await, first, "a restart and a pause cost no key");

        self.scene.patch("reports", json!({ "metadata": { "annotations": { "s3access.dev/rotate": "1" } } })).await;
        let second = self.scene.rotated(&user, &first).await;

        // Another object of the same name, as after a restore: it takes over what is there, but for the key.
        self.scene.kill9().await;
        self.scene.patch("reports", json!({ "metadata": { "finalizers": null } })).await;
        self.scene.users().delete("reports", &DeleteParams::default()).await.unwrap();
        self.scene.gone("reports").await;
        self.scene.create("reports", self.spec(json!({}))).await;
        self.scene.start(&[]).await;
        self.scene.ready("reports").await;
        assert_ne!(self.scene.only_key(&user, "reports-s3").await, second);

        self.scene.iam.create_user().user_name("theirs").send().await.unwrap();
        self.scene.create("foreign", self.spec(json!({ "userName": "theirs" }))).await;
        self.scene.refused("foreign", "ForeignUser").await;
        self.scene.delete("foreign").await;
        self.scene.delete("reports").await;
        let left = self.scene.iam.list_users().send().await.unwrap();
        let left: Vec<&str> = left.users().iter().map(|user| user.user_name()).collect();
        assert_eq!(left, ["theirs"], "what is ours is gone, and only that");
    }
}

fn merged(mut spec: Value, extra: &Value) -> Value {
    for (field, value) in extra.as_object().unwrap() {
        spec[field] = value.clone();
    }
    spec
}

#[tokio::test]
async fn a_user_lives_on_an_s3_compatible_system() {
    Gateway::new("gateway", "Tags").await.lives().await;
}

#[tokio::test]
async fn invariant_4_a_user_lives_on_a_system_without_tags() {
    let mut gateway = Gateway::new("tagless", "Path").await;
    gateway.scene.create("look", gateway.spec(json!({}))).await;
    let user = user_name(&gateway.scene.ready("look").await);
    let found = gateway.scene.iam.get_user().user_name(&user).send().await.unwrap();
    let found = found.user().unwrap();
    assert!(found.tags().is_empty(), "{found:?}");
    assert!(found.path().starts_with("/s3access/") && found.path().contains("/look/"), "{found:?}");
    gateway.scene.create("tagged", gateway.spec(json!({ "policy": { "type": "Inline", "name": "other" } }))).await;
    let (_, message) = gateway.scene.refused("tagged", "InvalidPolicy").await;
    assert!(message.contains("spec.policy.name"), "{message}");
    gateway.scene.delete("tagged").await;
    gateway.scene.delete("look").await;
    gateway.lives().await;
}

#[tokio::test]
async fn the_doctor_tries_what_an_s3_compatible_system_has() {
    for ownership in ["Tags", "Path"] {
        let gateway = Gateway::new(&format!("gwdoctor-{}", ownership.to_lowercase()), ownership).await;
        let (said, well) = as_admin(&gateway.scene, &[]).await;
        let class = &gateway.class;
        let lines = [
            format!("ok    class {class} credentials: "),
            format!("ok    class {class} reads: the 4 reads that were tried are allowed"),
            format!("ok    class {class} permissions: not checked: an S3-compatible system has no simulator"),
        ];
        says(&said, &lines.each_ref().map(String::as_str));
        assert!(well && !said.contains("region"), "{said}");
    }
}
