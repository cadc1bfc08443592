//! Keys that are bound to places and to a time, held against what they do in S3.

use anyhow::ensure;
use aws_sdk_iam::types::StatusType;
use ground::double::{Access, Config, DoubleServer, Settings, Status};
use ground::stand::probe_s3;
use jiff::{SignedDuration, Timestamp};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::compatible::Gateway;
use crate::consumer::create_bucket;
use crate::scene::{Scene, user_name};

const BUCKET: &str = "bound-data";
/// Where the tests' requests come from, and where none of them does.
const HERE: &str = "127.0.0.0/8";
const ELSEWHERE: &str = "10.0.0.0/8";

impl Scene {
    /// What a consumer who has nothing but the Secret gets for listing the bucket: nothing, or a code.
    async fn lists(&self, secret: &str, endpoint: &str, bucket: &str) -> String {
        let task = json!({
            "secret": self.secret(secret).await, "endpoint": endpoint,
            "operations": [{ "operation": "ListBucket", "bucket": bucket }],
        });
        let answers = probe_s3(&self.stand.python, &self.stand.folder, &task).await.unwrap();
        answers[0]["code"].as_str().unwrap().to_owned()
    }

    /// Waits until a consumer gets that.
    pub async fn listing_answers(&self, secret: &str, (endpoint, bucket): (&str, &str), wanted: &str) {
        self.see(&format!("{bucket} to answer {wanted:?}"), async || {
            let code = self.lists(secret, endpoint, bucket).await;
            ensure!(code == wanted, "it answers {code:?}");
            Ok(())
        })
        .await;
    }

    /// What S3 says to whoever has the Secret's key, in the last second before that time and at it.
    async fn around(&self, ends_at: Timestamp, secret: &str) -> [Access; 2] {
        let held = self.secret(secret).await;
        [ends_at - SignedDuration::from_secs(1), ends_at].map(|at| self.may_read_at(at, &held, BUCKET))
    }

    async fn bound_bucket(&self) -> String {
        let endpoint = self.stand.aws.endpoint.clone();
        create_bucket(&self.stand, &self.stand.aws, &endpoint, BUCKET).await;
        endpoint
    }
}

fn grant(extra: Value) -> Value {
    let mut spec = json!({ "access": [{ "bucket": BUCKET, "level": "ReadWrite" }] });
    extra.as_object().unwrap().iter().for_each(|(field, value)| spec[field] = value.clone());
    spec
}

fn required(ips: &[&str]) -> Value {
    json!({ "spec": { "requiredConditions": { "sourceIps": ips } } })
}

/// A whole second, as policies have it.
fn in_seconds(seconds: i64) -> Timestamp {
    let at = Timestamp::now() + SignedDuration::from_secs(seconds);
    Timestamp::from_second(at.as_second()).unwrap()
}

fn ends(at: Timestamp) -> Value {
    json!({ "spec": { "expiresAt": at.to_string() } })
}

#[tokio::test]
async fn invariant_12_a_class_that_comes_to_require_places_binds_the_keys_that_there_are() {
    let scene = Scene::on_double("bound", Settings::default()).await;
    let endpoint = scene.bound_bucket().await;
    let class = scene.class("c", json!({ "allowedBuckets": ["*"] })).await;
    for name in ["plain", "paused"] {
        scene.create(name, grant(json!({ "className": class }))).await;
        scene.ready(name).await;
        scene.listing_answers(&format!("{name}-s3"), (&endpoint, BUCKET), "").await;
    }
    scene.patch("paused", json!({ "metadata": { "annotations": { "s3access.dev/paused": "true" } } })).await;
    scene.refused("paused", "Paused").await;

    scene.patch_class(&class, required(&[ELSEWHERE])).await;
    scene.class_is(&class, "Synced").await;
    for name in ["plain", "paused"] {
        scene.listing_answers(&format!("{name}-s3"), (&endpoint, BUCKET), "AccessDenied").await;
    }
    scene.patch_class(&class, required(&[ELSEWHERE, HERE])).await;
    scene.ready("plain").await;
    scene.listing_answers("plain-s3", (&endpoint, BUCKET), "").await;

    // A spec narrows, and never widens.
    scene.patch("plain", json!({ "spec": { "conditions": { "sourceIps": [ELSEWHERE] } } })).await;
    scene.ready("plain").await;
    scene.listing_answers("plain-s3", (&endpoint, BUCKET), "AccessDenied").await;
    scene.patch("plain", json!({ "spec": { "conditions": { "sourceIps": ["192.0.2.0/24"] } } })).await;
    let (_, message) = scene.refused("plain", "NotPermittedByClass").await;
    assert!(message.contains("spec.conditions: none of its places is within requiredConditions"), "{message}");

    scene.patch_class(&class, json!({ "spec": { "allowedManagedPolicyArns": ["*"] } })).await;
    let arn = "arn:aws:iam::aws:policy/AmazonS3FullAccess";
    scene.patch("plain", json!({ "spec": { "conditions": null, "managedPolicyArns": [arn] } })).await;
    scene
        .see("the managed policy to be refused", async || {
            let (_, message) = scene.refused("plain", "NotPermittedByClass").await;
            ensure!(message.contains("nobody can put a managed policy under its requiredConditions"), "{message}");
            Ok(())
        })
        .await;
}

#[tokio::test]
async fn invariant_12_a_key_ends_in_iam_itself_while_the_operator_is_down_and_comes_back_when_extended() {
    let mut scene = Scene::on_double("ends", Settings::default()).await;
    let endpoint = scene.bound_bucket().await;
    let ends_at = in_seconds(3_600);
    scene.create("reports", grant(json!({ "expiresAt": ends_at.to_string() }))).await;
    let user = user_name(&scene.ready("reports").await);
    let key = scene.only_key(&user, "reports-s3").await;
    scene.listing_answers("reports-s3", (&endpoint, BUCKET), "").await;
    scene.kill9().await;
    assert_eq!(scene.around(ends_at, "reports-s3").await, [Access::Allowed, Access::Denied]);
    assert_eq!(scene.keys(&user).await[0].status(), Some(&StatusType::Active), "nobody has deactivated it");

    scene.patch("reports", ends(in_seconds(-3_600))).await;
    scene.start(&[]).await;
    let (ended, message) = scene.refused("reports", "Expired").await;
    assert!(message.contains(&key) && message.contains("spec.expiresAt"), "{message}");
    assert!(ended.status.unwrap().expires_at.is_some());
    assert_eq!(scene.keys(&user).await[0].status(), Some(&StatusType::Inactive));

    scene.patch("reports", ends(in_seconds(86_400))).await;
    scene.ready("reports").await;
    assert_eq!(scene.only_key(&user, "reports-s3").await, key, "the very key works again");
    scene.listing_answers("reports-s3", (&endpoint, BUCKET), "").await;
}

#[tokio::test]
async fn a_key_is_put_out_of_use_once_its_time_is_over_and_none_is_made_after_it() {
    let scene = Scene::on_double("bound-over", Settings::default()).await;
    let class = scene.class("c", json!({ "allowedBuckets": ["*"], "maxLifetime": "1h" })).await;
    let spec = grant(json!({ "className": class }));
    scene.create("brief", spec.clone()).await;
    scene.create("long", grant(json!({ "className": class, "expiresAt": in_seconds(86_400).to_string() }))).await;
    let (_, message) = scene.refused("long", "NotPermittedByClass").await;
    assert!(message.contains("spec.expiresAt") && message.contains("maxLifetime ends at"), "{message}");
    let brief = scene.ready("brief").await;
    let ends_at = brief.status.clone().unwrap().expires_at.unwrap().0;
    assert_eq!(ends_at, brief.metadata.creation_timestamp.clone().unwrap().0 + SignedDuration::from_hours(1));
    assert_eq!(scene.around(ends_at, "brief-s3").await, [Access::Allowed, Access::Denied]);

    // By itself: nobody touches it any more.
    scene.create("soon", spec).await;
    let soon = user_name(&scene.ready("soon").await);
    let ends_at = in_seconds(2);
    scene.patch("soon", ends(ends_at)).await;
    let (_, message) = scene.refused("soon", "Expired").await;
    assert!(Timestamp::now() >= ends_at && message.contains("spec.expiresAt"), "{message}");
    assert_eq!(scene.keys(&soon).await[0].status(), Some(&StatusType::Inactive));

    scene.create("late", grant(json!({ "expiresAt": "2020-01-01T00:00:00Z", "className": class }))).await;
    scene.refused("late", "Expired").await;
    assert!(scene.secrets().get_opt("late-s3").await.unwrap().is_none(), "no key was made at all");

    scene.patch_class(&class, json!({ "spec": { "maxLifetime": "1s" } })).await;
    let (_, message) = scene.refused("brief", "Expired").await;
    assert!(message.contains("the class's maxLifetime"), "{message}");
    assert_eq!(scene.keys(&user_name(&brief)).await[0].status(), Some(&StatusType::Inactive));
}

#[tokio::test]
async fn what_is_no_place_and_no_time_is_refused_at_admission_in_words() {
    let scene = Scene::without_operator("noplace").await;
    for (extra, says) in [
        (json!({ "conditions": { "sourceIps": ["10.0.0.0"] } }), "not a CIDR: write 203.0.113.0/24"),
        (json!({ "conditions": { "sourceVpcs": ["vpce-00000001"] } }), "not the id of a VPC"),
        (json!({ "conditions": { "sourceVpcEndpoints": ["vpc-00000001"] } }), "not the id of a VPC endpoint"),
        (json!({ "expiresAt": "2027-01-31" }), "spec.expiresAt"),
        (json!({ "expiresAt": "tomorrow" }), "spec.expiresAt"),
    ] {
        let error = scene.try_create("reports", grant(extra.clone())).await.unwrap_err().to_string();
        assert!(error.contains(says), "{extra}: {error}");
    }
}

/// The strict double as an S3-compatible system, one that looks at conditions and one that does not.
#[tokio::test]
async fn a_system_that_ignores_conditions_is_found_out_by_use_and_refused() {
    let scene = Scene::new("ignores").await;
    for conditions_ignored in [false, true] {
        let settings = Settings { conditions_ignored, ..Settings::default() };
        let system = DoubleServer::start(Config { settings, ..Config::default() }).await.unwrap();
        let (name, endpoint, admin) = (format!("u{conditions_ignored}"), system.endpoint(), system.admin());
        let secret = scene.credentials(&name, &admin.access_key_id, &admin.secret_access_key).await;
        let spec = json!({
            "provider": "s3-compatible", "region": "us-east-1", "allowedBuckets": ["*"],
            "credentialsSecretRef": { "name": secret }, "endpoints": { "iam": endpoint, "s3": endpoint },
        });
        let class = scene.class(&name, spec).await;
        let spec = grant(json!({ "className": class, "policy": { "type": "Inline" } }));
        scene.create(&name, spec.clone()).await;
        let user = user_name(&scene.ready(&name).await);
        let status = || {
            system.with(|world| {
                let users = world.account(&system.account().id).unwrap().state().users().cloned().collect::<Vec<_>>();
                users.iter().map(|user| (user.name.clone(), user.keys[0].status)).collect::<Vec<_>>()
            })
        };
        scene
            .patch_class(
                &class,
                json!({ "spec": { "requiredConditions": { "sourceIps": [HERE] }, "maxLifetime": "24h" } }),
            )
            .await;
        let found = scene.tried(&class).await.condition_keys;
        if conditions_ignored {
            assert_eq!(found, Vec::<String>::new());
            // At first it is told that its policy was put under the terms, since the system was still being tried.
            let told = async || {
                let (_, message) = scene.refused(&name, "NotPermittedByClass").await;
                ensure!(message.contains("does not look at"), "{message}");
                Ok(message)
            };
            let message = scene.see("what the system ignores to be told", told).await;
            assert!(message.contains("aws:CurrentTime") && message.contains("aws:SourceIp"), "{message}");
            assert_eq!(status(), [(user.clone(), Status::Inactive)], "what cannot be bound does not work");
            scene.patch_class(&class, json!({ "spec": { "requiredConditions": null, "maxLifetime": null } })).await;
        } else {
            assert_eq!(found, ["aws:SourceIp", "aws:SecureTransport", "aws:CurrentTime"]);
        }
        scene.ready(&name).await;
        assert_eq!(status(), [(user, Status::Active)], "and nothing is left of the trial");

        let brief = format!("{name}-brief");
        let mut ending = spec;
        ending["expiresAt"] = json!(in_seconds(86_400).to_string());
        scene.create(&brief, ending).await;
        if conditions_ignored {
            let told = async || {
                let (_, message) = scene.refused(&brief, "InvalidPolicy").await;
                ensure!(message.contains("was tried, and does not look at aws:CurrentTime"), "{message}");
                Ok(())
            };
            scene.see("its end to be refused", told).await;
        } else {
            scene.ready(&brief).await;
        }
    }
}

#[tokio::test]
async fn keys_on_versitygw_are_bound_to_place_and_time() {
    let mut gateway = Gateway::new("gwbound", "Tags").await;
    let (bucket, s3) = (gateway.bucket(), gateway.s3.clone());
    create_bucket(&gateway.scene.stand, &gateway.admin, &s3, &bucket).await;
    gateway.scene.create("reports", gateway.spec(json!({}))).await;
    gateway.scene.ready("reports").await;
    let at = (s3.as_str(), bucket.as_str());
    gateway.scene.listing_answers("reports-s3", at, "").await;

    gateway.scene.patch_class(&gateway.class, required(&[ELSEWHERE])).await;
    assert_eq!(
        gateway.scene.tried(&gateway.class).await.condition_keys,
        ["aws:SourceIp", "aws:SecureTransport", "aws:CurrentTime"]
    );
    gateway.scene.ready("reports").await;
    gateway.scene.listing_answers("reports-s3", at, "AccessDenied").await;
    gateway.scene.patch_class(&gateway.class, required(&[HERE])).await;
    gateway.scene.ready("reports").await;
    gateway.scene.listing_answers("reports-s3", at, "").await;

    // The server has no clock to be set: the end that the operator wrote is moved into the past while it is away.
    let (ends_at, past) = (in_seconds(3_600), in_seconds(-3_600));
    gateway.scene.patch("reports", ends(ends_at)).await;
    let user = user_name(&gateway.scene.ready("reports").await);
    gateway.scene.listing_answers("reports-s3", at, "").await;
    gateway.scene.kill9().await;
    let iam = &gateway.scene.iam;
    let written = iam.get_user_policy().user_name(&user).policy_name(&user).send().await.unwrap();
    let text = percent_decode_str(written.policy_document()).decode_utf8().unwrap();
    assert!(text.contains(&ends_at.to_string()), "{text}");
    let over = text.replace(&ends_at.to_string(), &past.to_string());
    iam.put_user_policy().user_name(&user).policy_name(&user).policy_document(over).send().await.unwrap();
    gateway.scene.listing_answers("reports-s3", at, "AccessDenied").await;
    gateway.scene.patch("reports", ends(past)).await;
    gateway.scene.start(&[]).await;
    gateway.scene.refused("reports", "Expired").await;
}
