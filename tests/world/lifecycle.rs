//! Create, change, heal, rotate, delete.

use anyhow::{bail, ensure};
use aws_sdk_iam::types::StatusType;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use crate::scene::{Scene, spec, user_name, with};

#[tokio::test]
async fn rival_20_an_access_key_of_its_own_costs_at_most_five_iam_calls_and_three_writes() {
    let scene = Scene::new("create").await;
    scene.create("reports", spec()).await;
    let user = scene.ready("reports").await;
    let status = user.status.clone().unwrap();
    scene.only_key(&user_name(&user), "reports-s3").await;

    let mut calls = scene.proxy.counts();
    // STS is not IAM: the operator's own identity, and the new key's first use.
    assert_eq!(calls.remove("GetCallerIdentity"), Some(2));
    assert!(calls.values().sum::<usize>() <= 5, "{calls:?}");
    let writes = scene.writes();
    assert!(writes.len() <= 3, "{writes:?}");

    assert_eq!(status.account_id.as_deref(), Some("123456789012"));
    assert_eq!(status.partition.as_deref(), Some("aws"));
    assert_eq!(status.binding.unwrap().name, "reports-s3");
    assert_eq!(status.access_key_id.unwrap(), scene.secret("reports-s3").await["AWS_ACCESS_KEY_ID"]);
    let secret = scene.secrets().get("reports-s3").await.unwrap();
    assert_eq!(secret.metadata.owner_references.unwrap()[0].uid, user.metadata.uid.unwrap());
    assert_eq!(secret.metadata.labels.unwrap()["app.kubernetes.io/managed-by"], "s3-access-operator");
}

#[tokio::test]
async fn rival_7_deleting_leaves_nothing() {
    let scene = Scene::new("delete").await;
    scene.create("reports", spec()).await;
    let name = user_name(&scene.ready("reports").await);
    assert_eq!(scene.named(&name).await.len(), 2, "a user and a policy");
    scene.delete("reports").await;
    assert_eq!(scene.named(&name).await, Vec::<String>::new());
    scene
        .see("the Secret to be collected", async || match scene.secrets().get_opt("reports-s3").await? {
            None => Ok(()),
            Some(_) => bail!("it is there"),
        })
        .await;
}

#[tokio::test]
async fn rival_12_invariant_10_deleting_a_namespace_ends_and_leaves_nothing() {
    let scene = Scene::new("namespace").await;
    scene.create("reports", spec()).await;
    let name = user_name(&scene.ready("reports").await);
    let namespaces: Api<Namespace> = Api::all(scene.client.clone());
    namespaces.delete(&scene.namespace, &DeleteParams::default()).await.unwrap();
    scene
        .see("the namespace to go", async || match namespaces.get_opt(&scene.namespace).await? {
            None => Ok(()),
            Some(namespace) => bail!("{:?}", namespace.status),
        })
        .await;
    assert_eq!(scene.named(&name).await, Vec::<String>::new());
}

#[tokio::test]
async fn every_mutable_field_takes_effect() {
    let scene = Scene::new("update").await;
    scene.create("reports", with(json!({ "tags": { "team": "a" } }))).await;
    let name = user_name(&scene.ready("reports").await);
    let key = scene.only_key(&name, "reports-s3").await;

    scene
        .patch(
            "reports",
            json!({ "spec": {
        "access": [{ "bucket": "other-bucket", "level": "ReadWrite", "prefixes": ["2026/"] }],
        "tags": { "team": null, "cost": "b" },
        "managedPolicyArns": ["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"],
        "policy": { "preset": "ReadWriteNoDelete", "name": "update-renamed" },
        "secret": { "labels": { "tier": "gold" }, "annotations": { "note": "x" } },
    } }),
        )
        .await;
    scene.ready("reports").await;
    let document = scene
        .iam
        .get_policy_version()
        .policy_arn("arn:aws:iam::123456789012:policy/s3access/update-renamed")
        .version_id("v1")
        .send()
        .await
        .unwrap();
    let document = format!("{:?}", document.policy_version());
    assert!(document.contains("other-bucket") && document.contains("CreateBucket"), "{document}");
    let attached = scene.iam.list_attached_user_policies().user_name(&name).send().await.unwrap();
    let mut attached: Vec<_> = attached.attached_policies().iter().filter_map(|policy| policy.policy_name()).collect();
    attached.sort_unstable();
    assert_eq!(attached, ["AmazonS3ReadOnlyAccess", "update-renamed"]);
    assert_eq!(scene.named(&name).await, std::slice::from_ref(&name), "the policy's earlier name is gone");
    let tags = scene.iam.list_user_tags().user_name(&name).send().await.unwrap();
    let tags: Vec<_> = tags.tags().iter().map(|tag| tag.key()).filter(|key| !key.contains('/')).collect();
    assert_eq!(tags, ["cost"]);
    let secret = scene.secrets().get("reports-s3").await.unwrap();
    assert_eq!(secret.metadata.labels.unwrap()["tier"], "gold");
    assert_eq!(secret.metadata.annotations.unwrap()["note"], "x");

    scene
        .patch(
            "reports",
            json!({ "spec": {
        "managedPolicyArns": null,
        "policy": { "preset": null, "type": "Inline", "statements": [
            { "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:${partition}:s3:::inline-bucket/*" },
        ] },
        "access": null,
        "secret": { "name": "renamed", "format": "argo-workflows", "labels": null },
    } }),
        )
        .await;
    scene.ready("reports").await;
    let attached = scene.iam.list_attached_user_policies().user_name(&name).send().await.unwrap();
    assert!(attached.attached_policies().is_empty(), "{attached:?}");
    let inline = scene.iam.get_user_policy().user_name(&name).policy_name("update-renamed").send().await.unwrap();
    assert!(inline.policy_document().contains("inline-bucket"), "{inline:?}");
    assert_eq!(scene.named("update-renamed").await, Vec::<String>::new());
    let renamed = scene.secret("renamed").await;
    assert_eq!(renamed["accessKey"], key, "a new name and format need no new key");
    assert!(scene.secrets().get_opt("reports-s3").await.unwrap().is_none(), "the earlier Secret is gone");

    scene.patch("reports", json!({ "spec": { "suspend": true } })).await;
    scene.refused("reports", "Suspended").await;
    assert_eq!(scene.keys(&name).await[0].status(), Some(&StatusType::Inactive));
    scene.patch("reports", json!({ "spec": { "suspend": false } })).await;
    scene.ready("reports").await;
    assert_eq!(scene.keys(&name).await[0].status(), Some(&StatusType::Active));
}

#[tokio::test]
async fn rival_10_a_policy_is_updated_past_its_fifth_version() {
    let scene = Scene::new("versions").await;
    scene.create("reports", spec()).await;
    let user = scene.ready("reports").await;
    let arn = user.status.unwrap().policy_arn.unwrap();
    for n in 0..7 {
        scene
            .patch(
                "reports",
                json!({ "spec": { "access": [{ "bucket": format!("bucket-{n}"), "level": "ReadOnly" }] } }),
            )
            .await;
        scene.ready("reports").await;
    }
    let versions = scene.iam.list_policy_versions().policy_arn(&arn).send().await.unwrap();
    assert_eq!(versions.versions().len(), 5);
    let current = versions.versions().iter().find(|version| version.is_default_version()).unwrap();
    let id = current.version_id().unwrap();
    let current = scene.iam.get_policy_version().policy_arn(&arn).version_id(id).send().await.unwrap();
    assert!(format!("{current:?}").contains("bucket-6"), "{current:?}");
}

#[tokio::test]
async fn rival_4_a_deleted_secret_is_healed_and_the_lost_key_removed() {
    let scene = Scene::new("lost").await;
    scene.create("reports", spec()).await;
    let name = user_name(&scene.ready("reports").await);
    let lost = scene.only_key(&name, "reports-s3").await;
    scene.secrets().delete("reports-s3", &DeleteParams::default()).await.unwrap();
    scene.secret_holds_another_key("reports-s3", &lost).await;
    scene.only_key(&name, "reports-s3").await;
    scene.ready("reports").await;
}

#[tokio::test]
async fn rival_11_an_emptied_or_altered_secret_is_healed() {
    let scene = Scene::new("altered").await;
    scene.create("reports", spec()).await;
    let name = user_name(&scene.ready("reports").await);
    for change in [
        json!({ "data": null }),
        json!({ "data": { "AWS_SECRET_ACCESS_KEY": "Zm9v", "credentials": "Zm9v" } }),
        json!({ "data": { "AWS_REGION": "Zm9v", "stray": "Zm9v" } }),
    ] {
        let secrets = scene.secrets();
        let changed = secrets.patch("reports-s3", &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
        let version = changed.metadata.resource_version;
        scene
            .see("the Secret to be rewritten", async || {
                let secret = secrets.get("reports-s3").await?;
                ensure!(secret.metadata.resource_version != version, "not yet");
                Ok(())
            })
            .await;
        scene.only_key(&name, "reports-s3").await;
        let secret = scene.secret("reports-s3").await;
        assert_eq!(secret["AWS_REGION"], "us-east-1");
        assert!(!secret.contains_key("stray"));
        assert_ne!(secret["AWS_SECRET_ACCESS_KEY"], "foo");
    }
}

#[tokio::test]
async fn rival_2_stripped_labels_and_annotations_are_no_loss() {
    let scene = Scene::new("stripped").await;
    scene.create("reports", spec()).await;
    let name = user_name(&scene.ready("reports").await);
    let key = scene.only_key(&name, "reports-s3").await;
    let strip = json!({ "metadata": { "labels": { "app.kubernetes.io/managed-by": null }, "annotations": null } });
    scene.secrets().patch("reports-s3", &PatchParams::default(), &Patch::Merge(&strip)).await.unwrap();
    scene
        .see("the label to be back", async || {
            let secret = scene.secrets().get("reports-s3").await?;
            ensure!(secret.metadata.labels.is_some_and(|labels| !labels.is_empty()), "not yet");
            Ok(())
        })
        .await;
    assert_eq!(scene.only_key(&name, "reports-s3").await, key, "the same key");
}

#[tokio::test]
async fn rival_14_what_is_changed_by_hand_in_iam_is_put_right() {
    let mut scene = Scene::without_operator("drift").await;
    scene.start(&[("S3ACCESS_RESYNC_INTERVAL", "500ms")]).await;
    scene.create("reports", spec()).await;
    let user = scene.ready("reports").await;
    let (name, arn) = (user_name(&user), user.status.unwrap().policy_arn.unwrap());
    let key = scene.only_key(&name, "reports-s3").await;

    let iam = &scene.iam;
    iam.update_access_key().user_name(&name).access_key_id(&key).status(StatusType::Inactive).send().await.unwrap();
    iam.detach_user_policy().user_name(&name).policy_arn(&arn).send().await.unwrap();
    scene
        .see("the policy to be attached again", async || {
            let attached = iam.list_attached_user_policies().user_name(&name).send().await?;
            ensure!(attached.attached_policies().len() == 1, "{attached:?}");
            Ok(())
        })
        .await;
    assert_eq!(scene.only_key(&name, "reports-s3").await, key, "the same key, active again");

    // A key that somebody made by hand on our user is in no Secret.
    iam.create_access_key().user_name(&name).send().await.unwrap();
    assert_eq!(scene.only_key(&name, "reports-s3").await, key);

    iam.delete_access_key().user_name(&name).access_key_id(&key).send().await.unwrap();
    scene.secret_holds_another_key("reports-s3", &key).await;
    scene.only_key(&name, "reports-s3").await;
}

#[tokio::test]
async fn a_rotation_keeps_the_old_key_through_the_overlap_then_removes_it() {
    let scene = Scene::new("rotate").await;
    scene
        .create("reports", with(json!({ "accessKey": { "rotation": { "interval": "2160h", "overlap": "1h" } } })))
        .await;
    let name = user_name(&scene.ready("reports").await);
    let old = scene.only_key(&name, "reports-s3").await;
    scene.patch("reports", json!({ "metadata": { "annotations": { "s3access.dev/rotate": "1" } } })).await;
    let new = scene.secret_holds_another_key("reports-s3", &old).await;
    assert_eq!(scene.statuses(&name).await, [StatusType::Active, StatusType::Active]);
    scene
        .see("the status to tell of the old key", async || {
            let retiring = scene.users().get("reports").await?.status.and_then(|status| status.retiring_key);
            ensure!(retiring.as_ref().is_some_and(|key| key.id == old), "it tells of {retiring:?}");
            Ok(())
        })
        .await;
    scene.ready("reports").await;

    scene.overlap_ends(&name, &old).await;
    assert_eq!(scene.only_key(&name, "reports-s3").await, new, "the old key is gone");
    let user = scene
        .see("the status to forget the old key", async || {
            let user = scene.users().get("reports").await?;
            ensure!(user.status.as_ref().is_some_and(|status| status.retiring_key.is_none()), "it is there");
            Ok(user)
        })
        .await;
    assert_eq!(user.status.unwrap().access_key_id, Some(new), "the annotation rotates once");
}

#[tokio::test]
async fn retain_keeps_user_and_policy_and_a_successor_takes_them_over() {
    let scene = Scene::new("retain").await;
    scene.create("reports", with(json!({ "deletionPolicy": "Retain" }))).await;
    let name = user_name(&scene.ready("reports").await);
    scene.delete("reports").await;
    assert_eq!(scene.named(&name).await.len(), 2, "user and policy stay");
    assert!(scene.keys(&name).await.is_empty(), "a key whose Secret goes is of use to nobody");
    scene
        .see("the Secret to be collected", async || match scene.secrets().get_opt("reports-s3").await? {
            None => Ok(()),
            Some(_) => bail!("it is there"),
        })
        .await;

    scene.create("reports", with(json!({ "adoption": "Never" }))).await;
    let (_, message) = scene.refused("reports", "ForeignUser").await;
    assert!(message.contains("IfOwnedByTag"), "{message}");
    scene.patch("reports", json!({ "spec": { "adoption": "IfOwnedByTag" } })).await;
    scene.ready("reports").await;
    scene.only_key(&name, "reports-s3").await;
    scene.delete("reports").await;
    assert_eq!(scene.named(&name).await, Vec::<String>::new());
}
