//! Bad input: each kind has its reason and a message that says what to do; no other CR is harmed; nothing is lost.

use ground::double::Settings;
use ground::proxy::Fault;
use ground::stand::Stand;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use s3_access_operator::api::annotations;
use serde_json::{Value, json};

use crate::loose::Loose;
use crate::scene::{Scene, data, spec, user_name, with};

fn statements(statement: Value) -> Value {
    json!({ "policy": { "statements": [statement] } })
}

#[tokio::test]
async fn specs_that_cannot_be_carried_out_are_refused_with_a_reason_and_harm_no_other() {
    let scene = Scene::new("refuse").await;
    let long: Vec<Value> = (0..60)
        .map(|n| json!({ "Effect": "Allow", "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{}-{n}/*", "b".repeat(60)) }))
        .collect();
    for (name, spec, reason, says) in [
        (
            "malformed",
            statements(json!({ "Effect": "Perhaps", "Action": "s3:GetObject", "Resource": "*" })),
            "InvalidPolicy",
            "spec.policy.statements[0].Effect",
        ),
        (
            "unknown-element",
            statements(json!({ "Effect": "Allow", "Acton": "s3:GetObject", "Resource": "*" })),
            "InvalidPolicy",
            "Acton",
        ),
        ("large", json!({ "policy": { "statements": long } }), "PolicyTooLarge", "6144"),
        (
            "partition",
            statements(json!({ "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws-cn:s3:::b/*" })),
            "PartitionMismatch",
            "arn:aws:s3:::b/*",
        ),
        (
            "key-of-another-partition",
            json!({ "access": [{ "bucket": "reports", "level": "ReadOnly", "kmsKeyArns": ["arn:aws-cn:kms:cn-north-1:123456789012:key/a"] }] }),
            "PartitionMismatch",
            "arn:aws:kms:cn-north-1:123456789012:key/a",
        ),
        (
            "beyond",
            statements(json!({ "Effect": "Allow", "Action": "iam:CreateUser", "Resource": "*" })),
            "NotPermittedByClass",
            "iam:CreateUser",
        ),
        ("force", with(json!({ "adoption": "Force" })), "NotPermittedByClass", "Force"),
    ] {
        scene.create(name, spec).await;
        let (_, message) = scene.refused(name, reason).await;
        assert!(message.contains(says), "{name}: {message}");
    }
    assert_eq!(scene.named("refuse-").await, Vec::<String>::new(), "nothing was made");
    scene.create("good", spec()).await;
    scene.ready("good").await;
    // A refused CR holds nothing, so it can go at once.
    scene.delete("malformed").await;
}

#[tokio::test]
async fn what_the_cr_alone_shows_is_refused_at_admission() {
    let scene = Scene::without_operator("admission").await;
    for (case, spec, says) in [
        ("nothing is granted", json!({}), "nothing is granted"),
        ("upper case", json!({ "access": [{ "bucket": "Reports", "level": "ReadOnly" }] }), "a name of the old kind"),
        ("a URL", json!({ "access": [{ "bucket": "s3://abc/in", "level": "ReadOnly" }] }), "belongs into prefixes"),
        ("an IP address", json!({ "access": [{ "bucket": "192.168.1.1", "level": "ReadOnly" }] }), "bucket"),
        ("adjacent periods", json!({ "access": [{ "bucket": "a..b", "level": "ReadOnly" }] }), "bucket"),
        ("a reserved prefix", json!({ "access": [{ "bucket": "xn--abc", "level": "ReadOnly" }] }), "reserves"),
        ("no such level", json!({ "access": [{ "bucket": "abc", "level": "Everything" }] }), "level"),
        (
            "a wildcard prefix",
            json!({ "access": [{ "bucket": "abc", "level": "ReadOnly", "prefixes": ["2026/*"] }] }),
            "write 2026/ for 2026/*",
        ),
        (
            "an alias of a key",
            json!({ "access": [{ "bucket": "abc", "level": "ReadOnly", "kmsKeyArns": ["arn:aws:kms:eu-west-1:123456789012:alias/data"] }] }),
            "aws kms describe-key",
        ),
        (
            "a key of no account",
            json!({ "access": [{ "bucket": "abc", "level": "ReadOnly", "kmsKeyArns": ["arn:aws:kms:eu-west-1:key/a"] }] }),
            "write the ARN of a key",
        ),
        ("an empty policy", json!({ "policy": {} }), "set access, policy.preset, policy.statements or"),
        ("only a type", json!({ "policy": { "type": "Inline" } }), "set access, policy.preset, policy.statements or"),
        (
            "overlap over interval",
            with(json!({ "accessKey": { "rotation": { "interval": "24h", "overlap": "25h" } } })),
            "overlap",
        ),
        (
            "an interval in days",
            with(json!({ "accessKey": { "rotation": { "interval": "90d" } } })),
            "there are no days: 90d is 2160h",
        ),
        (
            "a window in cron's words",
            with(json!({ "accessKey": { "rotation": { "interval": "2160h", "window": "0 9 * * 1-5" } } })),
            "Mon-Fri 09:00-16:00 Europe/Berlin",
        ),
        (
            "a window without a time zone",
            with(json!({ "accessKey": { "rotation": { "interval": "2160h", "window": "Mon-Fri 09:00-16:00" } } })),
            "Mon-Fri 09:00-16:00 Europe/Berlin",
        ),
        ("an interval in words", with(json!({ "accessKey": { "rotation": { "interval": "daily" } } })), "interval"),
        ("a name with a slash", with(json!({ "userName": "a/b" })), "userName: letters, digits"),
        ("a relative path", with(json!({ "path": "k8s" })), "begins and ends with a slash"),
        (
            "the name of a policy",
            json!({ "managedPolicyArns": ["AmazonS3ReadOnlyAccess"] }),
            "write the ARN of a managed policy",
        ),
        (
            "a role as a boundary",
            with(json!({ "permissionsBoundaryArn": "arn:aws:iam::123456789012:role/x" })),
            "write the ARN of a managed policy",
        ),
        ("a reserved tag", with(json!({ "tags": { "s3access.dev/uid": "x" } })), "reserved"),
        ("a template without its format", with(json!({ "secret": { "template": { "a": "b" } } })), "template"),
        (
            "a reserved label",
            with(json!({ "secret": { "labels": { "app.kubernetes.io/managed-by": "me" } } })),
            "reserved",
        ),
    ] {
        let error = scene.try_create("refused", spec).await.expect_err(case).to_string();
        assert!(error.contains(says), "{case}: {error}");
    }
    // What spec.access compiles to may be inline, or have a name.
    scene.create("inline", with(json!({ "policy": { "type": "Inline", "name": "own" } }))).await;
    scene.create("good", with(json!({ "userName": "admission-one" }))).await;
    let renamed = json!({ "spec": { "userName": "admission-two" } });
    let patched = scene.users().patch("good", &Default::default(), &kube::api::Patch::Merge(renamed)).await;
    assert!(patched.unwrap_err().to_string().contains("immutable"));
}

#[tokio::test]
async fn rival_8_invariant_4_a_strangers_user_is_never_touched() {
    let scene = Scene::new("foreign").await;
    let stranger = format!("stranger-{}", scene.namespace);
    scene.iam.create_user().user_name(&stranger).send().await.unwrap();
    scene.iam.create_access_key().user_name(&stranger).send().await.unwrap();
    let keys = scene.keys(&stranger).await;
    scene.create("reports", with(json!({ "userName": stranger }))).await;
    let (_, message) = scene.refused("reports", "ForeignUser").await;
    assert!(message.contains("spec.userName"), "{message}");
    scene.delete("reports").await;
    assert_eq!(scene.keys(&stranger).await, keys);
    let tags = scene.iam.list_user_tags().user_name(&stranger).send().await.unwrap();
    assert!(tags.tags().is_empty());
    assert_eq!(scene.named(&stranger).await, [stranger]);
}

#[tokio::test]
async fn rival_16_invariant_4_a_strangers_secret_is_never_touched() {
    let scene = Scene::new("taken").await;
    let secret: Secret =
        serde_json::from_value(json!({ "metadata": { "name": "reports-s3" }, "stringData": { "mine": "yes" } }))
            .unwrap();
    scene.secrets().create(&PostParams::default(), &secret).await.unwrap();
    scene.create("reports", spec()).await;
    let (user, message) = scene.refused("reports", "ForeignSecret").await;
    assert!(message.contains("spec.secret.name"), "{message}");
    assert!(scene.keys(&user_name(&user)).await.is_empty(), "no key is made that could not be delivered");
    assert_eq!(data(&scene.secrets().get("reports-s3").await.unwrap())["mine"], "yes");
    scene.secrets().delete("reports-s3", &DeleteParams::default()).await.unwrap();
    scene.ready("reports").await;
}

#[tokio::test]
async fn an_immutable_secret_is_told_of_and_no_key_is_made_for_it() {
    let scene = Scene::new("frozen").await;
    scene.create("reports", spec()).await;
    let user = user_name(&scene.ready("reports").await);
    let old = scene.only_key(&user, "reports-s3").await;
    let frozen = Patch::Merge(json!({ "immutable": true }));
    scene.secrets().patch("reports-s3", &PatchParams::default(), &frozen).await.unwrap();
    scene.patch("reports", json!({ "metadata": { "annotations": { annotations::ROTATE: "now" } } })).await;
    let (_, message) = scene.refused("reports", "SecretImmutable").await;
    assert!(message.contains("delete it"), "{message}");
    scene.condition("reports", "Stalled", "True", "SecretImmutable").await;
    assert_eq!(scene.only_key(&user, "reports-s3").await, old, "what works goes on");

    scene.secrets().delete("reports-s3", &DeleteParams::default()).await.unwrap();
    scene.secret_holds_another_key("reports-s3", &old).await;
    scene.ready("reports").await;
    assert_ne!(scene.only_key(&user, "reports-s3").await, old);
}

/// To IAM they are one tag.
#[tokio::test]
async fn a_tag_whose_key_changes_its_case_stays() {
    let scene = Scene::on_double("tagcase", Settings::default()).await;
    scene.create("reports", with(json!({ "tags": { "team": "a" } }))).await;
    let user = user_name(&scene.ready("reports").await);
    scene.patch("reports", json!({ "spec": { "tags": { "team": null, "Team": "b" } } })).await;
    scene.ready("reports").await;
    let tags = scene.iam.list_user_tags().user_name(&user).send().await.unwrap();
    let teams: Vec<_> = tags.tags().iter().filter(|tag| tag.key().eq_ignore_ascii_case("team")).collect();
    assert!(matches!(teams[..], [tag] if tag.value() == "b"), "{teams:?}");
}

#[tokio::test]
async fn no_key_is_made_for_a_secret_that_cannot_be_rendered() {
    let scene = Scene::new("template").await;
    let template = |text: &str| json!({ "secret": { "format": "template", "template": { "url": text } } });
    scene.create("reports", with(template("{{ nobody_knows }}"))).await;
    let (user, message) = scene.refused("reports", "InvalidSpec").await;
    assert!(message.contains("template.url"), "{message}");
    assert!(scene.keys(&user_name(&user)).await.is_empty());
    scene.patch("reports", json!({ "spec": template("s3://{{ access_key_id }}:{{ secret_access_key }}") })).await;
    let name = user_name(&scene.ready("reports").await);
    assert_eq!(scene.keys(&name).await.len(), 1);

    // What works stays, and is not rotated into a Secret that cannot be written.
    let before = scene.secret("reports-s3").await;
    let rotate = json!({ annotations::ROTATE: "2026-01-01T00:00:00Z" });
    let broken = template("{{ secret_access_key | nothing }}");
    scene.patch("reports", json!({ "spec": broken, "metadata": { "annotations": rotate } })).await;
    scene.refused("reports", "InvalidSpec").await;
    assert_eq!((scene.keys(&name).await.len(), scene.secret("reports-s3").await), (1, before));
}

#[tokio::test]
async fn rival_3_two_users_with_one_secret_name_do_not_fight() {
    let scene = Scene::new("twins").await;
    scene.create("first", with(json!({ "secret": { "name": "shared" } }))).await;
    let first = user_name(&scene.ready("first").await);
    let key = scene.only_key(&first, "shared").await;
    scene.create("second", with(json!({ "secret": { "name": "shared" } }))).await;
    let (second, message) = scene.refused("second", "SecretNameTaken").await;
    assert!(message.contains("first"), "{message}");
    assert!(scene.keys(&user_name(&second)).await.is_empty());
    assert_eq!(scene.only_key(&first, "shared").await, key);
    scene.delete("second").await;
    assert_eq!(scene.only_key(&first, "shared").await, key, "deleting the second does not touch the first's Secret");
}

#[tokio::test]
async fn credentials_permissions_and_the_network_each_have_their_reason() {
    let mut scene = Scene::without_operator("aws").await;
    scene.create("reports", spec()).await;

    scene
        .start(&[("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", ""), ("AWS_EC2_METADATA_DISABLED", "true")])
        .await;
    let (_, message) = scene.refused("reports", "NoCredentials").await;
    assert!(message.contains("AWS_ACCESS_KEY_ID"), "{message}");
    scene.terminate().await;

    scene.start(&[("AWS_SECRET_ACCESS_KEY", "wrong")]).await;
    let (_, message) = scene.refused("reports", "InvalidCredentials").await;
    assert!(message.contains("replace the operator's AWS credentials"), "{message}");
    scene.terminate().await;

    scene.proxy.set_down(true);
    scene.start(&[]).await;
    let (_, message) = scene.refused("reports", "Unreachable").await;
    assert!(message.contains("AWS_ENDPOINT_URL"), "{message}");
    scene.proxy.set_down(false);
    scene.ready("reports").await;

    scene.proxy.inject("CreateUser", Fault::Error { status: 403, code: "AccessDenied" });
    scene.create("denied", spec()).await;
    let (_, message) = scene.refused("denied", "AccessDenied").await;
    assert!(message.contains("CreateUser") && message.contains("deploy/iam"), "{message}");
    scene.ready("denied").await;
}

#[tokio::test]
async fn invariant_9_a_cr_that_does_not_fit_the_schema_is_reported_and_harms_no_other() {
    let mut loose = Loose::without_operator("unfit", Stand::attach().unwrap()).await;
    loose.create("unfit", json!({ "access": "everything" })).await;
    let users = loose.users();
    let scene = &mut loose.scene;
    scene.start(&[]).await;
    scene.create("good", spec()).await;
    scene.ready("good").await;
    scene
        .see("the unfit CR to be reported", async || {
            let user = users.get("unfit").await?;
            let conditions = user.data["status"]["conditions"].to_string();
            anyhow::ensure!(conditions.contains("InvalidSpec") && conditions.contains("everything"), "{conditions}");
            Ok(())
        })
        .await;
}
