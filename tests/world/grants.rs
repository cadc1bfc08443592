//! What `spec.access` may say beside one bucket a line: a bucket several times, and the keys its objects are encrypted with.

use anyhow::ensure;
use ground::cache;
use ground::double::{Access, Context, Credentials, Settings};
use ground::folders::Folder;
use ground::kubernetes::Kubernetes;
use kube::Api;
use kube::api::{Patch, PatchParams};
use s3_access_operator::api::S3AccessUser;
use serde_json::{Value, json};

use crate::scene::{Scene, user_name};

impl Scene {
    /// Whether the key of that Secret may do it, by the double's IAM.
    async fn may(&self, secret: &str, action: &str, resource: &str, context: Context) -> bool {
        let held = self.secret(secret).await;
        let key = |names: [&str; 2]| names.iter().find_map(|name| held.get(*name)).unwrap().clone();
        let key = Credentials {
            access_key_id: key(["AWS_ACCESS_KEY_ID", "access_key_id"]),
            secret_access_key: key(["AWS_SECRET_ACCESS_KEY", "access_key_secret"]),
            session_token: None,
        };
        let double = self.double.as_ref().unwrap();
        let now = double.now();
        double.with(|world| world.authorize(now, &key, action, resource, &context)) == Access::Allowed
    }
}

#[tokio::test]
async fn a_bucket_that_stands_twice_gives_what_each_entry_gives_and_stands_once_in_the_secret() {
    let scene = Scene::on_double("twice", Settings::default()).await;
    let access = json!([
        { "bucket": "reports", "level": "ReadOnly" },
        { "bucket": "archive", "level": "WriteOnly" },
        { "bucket": "reports", "level": "ReadWrite", "prefixes": ["out/"] },
        // To the letter what stands above.
        { "bucket": "archive", "level": "WriteOnly" },
    ]);
    scene.create("reports", json!({ "access": access, "secret": { "format": "loki-operator" } })).await;
    scene.ready("reports").await;
    let secret = scene.secret("reports-s3").await;
    assert_eq!(secret["bucketnames"], "reports,archive", "each once, in the order of the spec");
    for (action, resource, allowed) in [
        ("s3:GetObject", "arn:aws:s3:::reports/in/a", true),
        ("s3:PutObject", "arn:aws:s3:::reports/out/a", true),
        ("s3:DeleteObject", "arn:aws:s3:::reports/out/a", true),
        ("s3:PutObject", "arn:aws:s3:::reports/in/a", false),
        ("s3:ListBucket", "arn:aws:s3:::reports", true),
        ("s3:PutObject", "arn:aws:s3:::archive/a", true),
        ("s3:GetObject", "arn:aws:s3:::archive/a", false),
    ] {
        assert_eq!(scene.may("reports-s3", action, resource, Context::new()).await, allowed, "{action} on {resource}");
    }
}

#[tokio::test]
async fn each_entry_of_a_bucket_is_held_against_the_class() {
    let scene = Scene::on_double("entries", Settings::default()).await;
    let class = scene.class("c", json!({ "allowedBuckets": ["first-*", "second-*"] })).await;
    let access = json!([
        { "bucket": "first-a", "level": "ReadOnly" },
        { "bucket": "second-a", "level": "ReadOnly" },
        { "bucket": "second-a", "level": "ReadWrite", "prefixes": ["out/"] },
    ]);
    scene.create("reports", json!({ "className": class, "access": access })).await;
    let user = user_name(&scene.ready("reports").await);
    scene.patch_class(&class, json!({ "spec": { "allowedBuckets": ["first-*"] } })).await;
    scene.taken_back("reports", &user, &["second-a"], &["first-a"], true).await;
    let (_, message) = scene.refused("reports", "NotPermittedByClass").await;
    assert!(message.contains("spec.access[1]") && message.contains("spec.access[2]"), "{message}");
}

/// The bucket was the key of the list once, and server-side apply kept an owner for each entry.
#[tokio::test]
async fn what_was_applied_while_a_bucket_was_the_lists_key_is_applied_again() {
    let folder = Folder::create("applied").unwrap();
    let kubernetes = Kubernetes::start(&cache::kubernetes().await.unwrap(), folder.path()).await.unwrap();
    let access = kubernetes.access().clone();
    access.install().await.unwrap();
    let list = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/access";
    let patch_crd = async |patch: Value| {
        let patch = patch.to_string();
        access.kubectl(&["patch", "crd", "s3accessusers.s3access.dev", "--type=json", "-p", &patch]).await.unwrap();
    };
    patch_crd(json!([
        { "op": "replace", "path": format!("{list}/x-kubernetes-list-type"), "value": "map" },
        { "op": "add", "path": format!("{list}/x-kubernetes-list-map-keys"), "value": ["bucket"] },
    ]))
    .await;
    let client = access.client().await.unwrap();
    let users: Api<S3AccessUser> = Api::namespaced(client, "default");
    let apply = async |manager: &str, access: Value, dry: bool| {
        let user = json!({ "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser",
            "metadata": { "name": "reports" }, "spec": { "className": "none", "access": access } });
        let params = PatchParams { dry_run: dry, ..PatchParams::apply(manager).force() };
        users.patch("reports", &params, &Patch::Apply(&user)).await
    };
    let (whole, more) =
        (json!({ "bucket": "reports", "level": "ReadOnly" }), json!({ "bucket": "more", "level": "Admin" }));
    let twice = json!([whole, { "bucket": "reports", "level": "ReadWrite", "prefixes": ["out/"] }]);
    let served = async |old: bool| {
        ground::wait::eventually("the other schema to be served", std::time::Duration::from_secs(60), async || {
            let answer = apply("git", twice.clone(), true).await;
            ensure!(answer.is_err() == old, "{answer:?}");
            Ok(())
        })
        .await
        .unwrap();
    };
    served(true).await;
    apply("git", json!([whole, more]), false).await.unwrap();
    apply("somebody", json!([more]), false).await.unwrap();

    patch_crd(json!([
        { "op": "replace", "path": format!("{list}/x-kubernetes-list-type"), "value": "atomic" },
        { "op": "remove", "path": format!("{list}/x-kubernetes-list-map-keys") },
    ]))
    .await;
    served(false).await;
    let found = apply("git", twice.clone(), false).await.unwrap();
    assert_eq!(json!(found.spec.access), twice, "the list is whole whose it was applied last");
    let found = apply("git", json!([whole]), false).await.unwrap();
    assert_eq!(json!(found.spec.access), json!([whole]), "and an entry that is left out goes");
}

/// A key of the double's account.
fn key(id: &str) -> String {
    format!("arn:aws:kms:us-east-1:123456789012:key/{id}")
}

/// What KMS gives to IAM where this service makes the call.
fn through(service: &str) -> Context {
    let context = Context::new().with("aws:ResourceAccount", "123456789012");
    if service.is_empty() { context } else { context.with("kms:ViaService", service) }
}

#[tokio::test]
async fn each_level_uses_the_keys_of_its_objects_through_s3_and_nothing_else() {
    let scene = Scene::on_double("keys", Settings::default()).await;
    let class = json!({ "allowedBuckets": ["*"], "allowedKmsKeyArns": [key("*")], "accountId": "123456789012" });
    let class = scene.class("c", class).await;
    let levels = [("ReadOnly", false), ("WriteOnly", true), ("ReadWrite", true), ("Admin", true)];
    for (level, _) in levels {
        let grant = json!({ "bucket": "reports", "level": level, "prefixes": ["2026/"], "kmsKeyArns": [key("a"), key("mrk-b")] });
        scene.create(&level.to_lowercase(), json!({ "className": class, "access": [grant] })).await;
    }
    let s3 = "s3.us-east-1.amazonaws.com";
    for (level, writes) in levels {
        let name = level.to_lowercase();
        scene.ready(&name).await;
        for (action, id, service, allowed) in [
            ("kms:Decrypt", "a", s3, true),
            ("kms:Decrypt", "mrk-b", s3, true),
            ("kms:GenerateDataKey", "a", s3, writes),
            ("kms:Decrypt", "a", "", false),
            ("kms:Decrypt", "a", "ec2.us-east-1.amazonaws.com", false),
            ("kms:GenerateDataKey", "a", "s3express.us-east-1.amazonaws.com", false),
            ("kms:Decrypt", "c", s3, false),
            ("kms:Encrypt", "a", s3, false),
            ("kms:PutKeyPolicy", "a", s3, false),
            ("kms:CreateGrant", "a", s3, false),
        ] {
            let may = scene.may(&format!("{name}-s3"), action, &key(id), through(service)).await;
            assert_eq!(may, allowed, "{level}: {action} on {id} through {service:?}");
        }
    }
}

#[tokio::test]
async fn invariant_7_a_class_bounds_the_keys_and_takes_them_back() {
    let scene = Scene::on_double("keybound", Settings::default()).await;
    let class = scene
        .class("c", json!({ "allowedBuckets": ["*"], "allowedKmsKeyArns": [key("first-key"), key("second-key")] }))
        .await;
    let grant = |keys: &[&str]| {
        let keys: Vec<String> = keys.iter().map(|id| key(id)).collect();
        json!({ "className": class, "access": [{ "bucket": "reports", "level": "ReadWrite", "kmsKeyArns": keys }] })
    };
    scene.create("reports", grant(&["first-key", "second-key"])).await;
    let user = user_name(&scene.ready("reports").await);
    let secret = scene.secret("reports-s3").await;
    scene.patch_class(&class, json!({ "spec": { "allowedKmsKeyArns": [key("second-key")] } })).await;
    scene.taken_back("reports", &user, &["first-key"], &["second-key", "GetObject", "ViaService"], true).await;
    let (_, message) = scene.refused("reports", "NotPermittedByClass").await;
    assert!(message.contains("spec.access[0].kmsKeyArns \"arn:") && message.contains("allowedKmsKeyArns"), "{message}");
    scene.patch_class(&class, json!({ "spec": { "allowedKmsKeyArns": null } })).await;
    scene.taken_back("reports", &user, &["Decrypt", "second-key"], &["GetObject"], true).await;
    assert_eq!(scene.secret("reports-s3").await, secret, "the key of the user stays the same");
    scene
        .see("admission to refuse a key beyond the class", async || {
            let error = scene.try_create("more", grant(&["third-key"])).await;
            ensure!(error.as_ref().is_err_and(|error| error.to_string().contains("kmsKeyArns")), "{error:?}");
            Ok(())
        })
        .await;
}
