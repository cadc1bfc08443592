//! Deletion always ends, in an account that refuses it as AWS does: keys first, then all that hangs on the user.

use anyhow::{bail, ensure};
use ground::double::{Request, Response, Settings, Tag};
use kube::api::DeleteParams;
use serde_json::json;

use crate::scene::{Scene, spec, user_name, with};

const ANY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;
const BOUNDARY: &str = "arn:aws:iam::aws:policy/AmazonS3FullAccess";
const OTHER_BOUNDARY: &str = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess";

impl Scene {
    /// Users and policies of the double's account, the operator's own aside.
    pub fn left(&self) -> Vec<String> {
        let double = self.double.as_ref().unwrap();
        double.with(|world| {
            let state = world.account(&double.account().id).unwrap().state();
            let users = state.users().map(|user| user.name.clone());
            let policies = state.local_policies().map(|policy| policy.name.clone());
            users.chain(policies).filter(|name| !name.starts_with("s3-access-operator")).collect()
        })
    }

    /// Somebody gives a deletion up; the CR goes, and an Event names what may be left.
    async fn abandon(&self, name: &str, arn: &str) {
        self.patch(name, json!({ "metadata": { "annotations": { "s3access.dev/abandon": "true" } } })).await;
        self.gone(name).await;
        self.event_says(name, &[arn]).await;
    }
}

#[tokio::test]
async fn rival_7_leftovers_of_every_kind_are_removed_with_our_user() {
    let scene = Scene::on_double("leftovers", Settings::default()).await;
    // The group and the device lie at the path `/`.
    scene.grant("operator-policy.leftovers");
    scene.create("reports", spec()).await;
    let name = user_name(&scene.ready("reports").await);
    let user_name = || name.clone();
    scene.by_hand(&Request::CreateLoginProfile { user_name: user_name(), password: "Abc-12345".to_owned() });
    scene.by_hand(&Request::CreateGroup { group_name: "people".to_owned(), path: None });
    scene.by_hand(&Request::AddUserToGroup { user_name: user_name(), group_name: "people".to_owned() });
    let (policy_name, policy_document) = ("theirs".to_owned(), ANY.to_owned());
    scene.by_hand(&Request::PutUserPolicy { user_name: user_name(), policy_name, policy_document });
    scene.by_hand(&Request::AttachUserPolicy { user_name: user_name(), policy_arn: BOUNDARY.to_owned() });
    scene.by_hand(&Request::CreateAccessKey { user_name: user_name() });
    let device = Request::CreateVirtualMFADevice { virtual_mfa_device_name: "phone".to_owned(), path: None };
    let Response::VirtualMfaDevice { serial, .. } = scene.by_hand(&device) else { panic!("no device") };
    scene.by_hand(&Request::EnableMFADevice {
        user_name: user_name(),
        serial_number: serial,
        authentication_code1: "123456".to_owned(),
        authentication_code2: "654321".to_owned(),
    });
    let service_name = "codecommit.amazonaws.com".to_owned();
    scene.by_hand(&Request::CreateServiceSpecificCredential { user_name: user_name(), service_name });
    scene.by_hand(&Request::UploadSSHPublicKey {
        user_name: user_name(),
        ssh_public_key_body: "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC0 someone".to_owned(),
    });
    let certificate_body = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----".to_owned();
    scene.by_hand(&Request::UploadSigningCertificate { user_name: user_name(), certificate_body });
    scene.delete("reports").await;
    assert_eq!(scene.left(), Vec::<String>::new());
}

#[tokio::test]
async fn invariant_10_a_policy_in_use_by_another_user_blocks_by_name_until_it_is_detached() {
    let scene = Scene::on_double("attached", Settings::default()).await;
    scene.create("reports", spec()).await;
    let policy_arn = scene.ready("reports").await.status.unwrap().policy_arn.unwrap();
    let somebody = || "somebody".to_owned();
    let create =
        Request::CreateUser { user_name: somebody(), path: None, permissions_boundary: None, tags: Vec::new() };
    scene.by_hand(&create);
    scene.by_hand(&Request::AttachUserPolicy { user_name: somebody(), policy_arn: policy_arn.clone() });
    scene.users().delete("reports", &DeleteParams::default()).await.unwrap();
    let (_, message) = scene.refused("reports", "DeleteBlocked").await;
    assert!(message.contains(&policy_arn) && message.contains("user somebody"), "{message}");
    let keys = scene.by_hand(&Request::GetAccountSummary {});
    let Response::AccountSummary(summary) = keys else { panic!("no summary") };
    assert!(summary.contains(&("Users", 3)), "the other two users are the operator and somebody: {summary:?}");
    scene.by_hand(&Request::DetachUserPolicy { user_name: somebody(), policy_arn });
    scene
        .users()
        .patch(
            "reports",
            &Default::default(),
            &kube::api::Patch::Merge(json!({ "metadata": { "annotations": { "look": "now" } } })),
        )
        .await
        .unwrap();
    scene.gone("reports").await;
    assert_eq!(scene.left(), ["somebody"]);
}

#[tokio::test]
async fn invariant_10_a_key_from_before_the_adoption_blocks_by_name_until_it_may_stay() {
    let scene = Scene::on_double("adoptedkey", Settings::default()).await;
    let name = || "adopted-key".to_owned();
    let tags = vec![
        Tag::new("s3access.dev/cluster", scene.cluster_id().await),
        Tag::new("s3access.dev/owner", format!("{}/reports", scene.namespace)),
    ];
    let path = Some("/s3access/".to_owned());
    scene.by_hand(&Request::CreateUser { user_name: name(), path, permissions_boundary: None, tags });
    let Response::NewAccessKey(new) = scene.by_hand(&Request::CreateAccessKey { user_name: name() }) else {
        panic!("no key")
    };
    let (old, second) = (new.key.id, jiff::SignedDuration::from_secs(1));
    let adopted_at = new.key.created + second;
    scene
        .see("the adoption to be past: times in IAM have no fractions", async || {
            ensure!(scene.double.as_ref().unwrap().now() > adopted_at + second, "not yet");
            Ok(())
        })
        .await;
    let tags = vec![Tag::new("s3access.dev/adopted-at", adopted_at.to_string())];
    scene.by_hand(&Request::TagUser { user_name: name(), tags });
    scene.create("reports", with(json!({ "userName": name() }))).await;
    scene.ready("reports").await;
    let ids: Vec<_> = scene.keys(&name()).await.into_iter().filter_map(|key| key.access_key_id).collect();
    assert!(ids.len() == 2 && ids.contains(&old), "{ids:?}");

    scene.users().delete("reports", &DeleteParams::default()).await.unwrap();
    let (_, message) = scene.refused("reports", "DeleteBlocked").await;
    assert!(message.contains(&old) && message.contains("spec.deletionPolicy"), "{message}");
    scene.patch("reports", json!({ "spec": { "deletionPolicy": "Retain" } })).await;
    scene.gone("reports").await;
    let ids: Vec<_> = scene.keys(&name()).await.into_iter().filter_map(|key| key.access_key_id).collect();
    assert_eq!(ids, [old], "theirs stays, ours is gone");
}

#[tokio::test]
async fn boundary_and_path_are_set_changed_and_removed() {
    let scene = Scene::on_double("bounded", Settings::default()).await;
    // Moving a user is no part of the default policy.
    scene.grant("operator-policy.migration");
    scene.create("reports", with(json!({ "permissionsBoundaryArn": BOUNDARY }))).await;
    let name = user_name(&scene.ready("reports").await);
    let seen = async |boundary: Option<&str>, path: &str| {
        scene.ready("reports").await;
        let Response::User(user) = scene.by_hand(&Request::GetUser { user_name: name.clone() }) else {
            panic!("no user")
        };
        assert_eq!((user.boundary.as_deref(), user.path.as_str()), (boundary, path));
    };
    seen(Some(BOUNDARY), "/s3access/").await;
    scene
        .patch("reports", json!({ "spec": { "permissionsBoundaryArn": OTHER_BOUNDARY, "path": "/s3access/k8s/" } }))
        .await;
    seen(Some(OTHER_BOUNDARY), "/s3access/k8s/").await;
    scene.patch("reports", json!({ "spec": { "permissionsBoundaryArn": null } })).await;
    seen(None, "/s3access/k8s/").await;
    scene.delete("reports").await;
    assert_eq!(scene.left(), Vec::<String>::new());
}

#[tokio::test]
async fn invariant_10_without_credentials_a_deletion_can_be_abandoned_and_says_what_is_left() {
    let mut scene = Scene::on_double("abandon", Settings::default()).await;
    scene.create("reports", spec()).await;
    let arn = scene.ready("reports").await.status.unwrap().user_arn.unwrap();
    scene.terminate().await;
    scene.start(&[("AWS_SECRET_ACCESS_KEY", "not-the-secret")]).await;
    scene.users().delete("reports", &DeleteParams::default()).await.unwrap();
    let (_, message) = scene.refused("reports", "InvalidCredentials").await;
    assert!(message.contains("replace the operator's AWS credentials"), "{message}");
    scene.abandon("reports", &arn).await;
}

#[tokio::test]
async fn invariant_10_a_deletion_in_an_account_out_of_reach_can_be_abandoned() {
    let scene = Scene::on_double("unreached", Settings::default()).await;
    scene.create("reports", spec()).await;
    let arn = scene.ready("reports").await.status.unwrap().user_arn.unwrap();
    scene.proxy.set_down(true);
    scene.users().delete("reports", &DeleteParams::default()).await.unwrap();
    scene.refused("reports", "Unreachable").await;
    scene.abandon("reports", &arn).await;
    assert_eq!(scene.left().len(), 2, "user and policy are left, as the Event says");
}

#[tokio::test]
async fn invariant_10_a_deletion_ends_once_the_account_can_be_reached_again() {
    let scene = Scene::on_double("dark", Settings::default()).await;
    scene.create("reports", spec()).await;
    scene.ready("reports").await;
    scene.proxy.set_down(true);
    scene.users().delete("reports", &DeleteParams::default()).await.unwrap();
    let (_, message) = scene.refused("reports", "Unreachable").await;
    assert!(message.contains("check the network"), "{message}");
    scene.proxy.set_down(false);
    scene.gone("reports").await;
    assert_eq!(scene.left(), Vec::<String>::new());
}

#[tokio::test]
async fn rival_1_a_create_that_fails_half_way_makes_one_of_each_however_often_it_is_tried() {
    let scene = Scene::on_double("halfway", Settings::default()).await;
    // IAM refuses the policy's attachment until somebody makes room.
    scene.create("reports", with(json!({ "userName": "halfway" }))).await;
    let name = user_name(&scene.ready("reports").await);
    for number in 0..9 {
        let policy_name = format!("filler-{number}");
        let create = Request::CreatePolicy {
            policy_name: policy_name.clone(),
            path: None,
            policy_document: ANY.to_owned(),
            description: None,
            tags: vec![Tag::new("for", "the test")],
        };
        scene.by_hand(&create);
        let policy_arn = format!("arn:aws:iam::123456789012:policy/{policy_name}");
        scene.by_hand(&Request::AttachUserPolicy { user_name: name.clone(), policy_arn });
    }
    scene.patch("reports", json!({ "spec": { "managedPolicyArns": [BOUNDARY] } })).await;
    let (_, message) = scene.refused("reports", "QuotaExceeded").await;
    assert!(message.contains("raise the IAM quota"), "{message}");
    let keys = scene.keys(&name).await;
    assert_eq!(keys.len(), 1, "no key was made by the tries: {keys:?}");
    let policy_arn = "arn:aws:iam::123456789012:policy/filler-0".to_owned();
    scene.by_hand(&Request::DetachUserPolicy { user_name: name.clone(), policy_arn });
    scene.patch("reports", json!({ "metadata": { "annotations": { "look": "now" } } })).await;
    scene.ready("reports").await;
    scene.only_key(&name, "reports-s3").await;
    scene
        .see("ten attached policies", async || {
            let attached = scene.iam.list_attached_user_policies().user_name(&name).send().await?;
            if attached.attached_policies().len() == 10 { Ok(()) } else { bail!("{attached:?}") }
        })
        .await;
}
