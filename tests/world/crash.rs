//! Lost answers and killed operators: the end is the same, with no key left over.

use ground::proxy::Fault;
use kube::api::DeleteParams;
use serde_json::json;

use crate::scene::{SOON, Scene, spec, user_name};

#[tokio::test]
async fn invariant_2_killed_between_mint_and_secret_exactly_one_key_is_left() {
    let mut scene = Scene::new("killed").await;
    scene.proxy.inject("CreateAccessKey", Fault::HeldAnswer);
    scene.create("reports", spec()).await;
    scene.proxy.called("CreateAccessKey", SOON).await.unwrap();
    scene.kill9().await;
    let name = scene.named("killed-").await.into_iter().next().unwrap();
    assert_eq!(scene.keys(&name).await.len(), 1, "a key that nobody knows");
    assert!(scene.secrets().get_opt("reports-s3").await.unwrap().is_none());
    let orphan = scene.keys(&name).await[0].access_key_id().unwrap().to_owned();

    scene.start(&[]).await;
    scene.ready("reports").await;
    assert_ne!(scene.only_key(&name, "reports-s3").await, orphan);
}

#[tokio::test]
async fn invariant_2_killed_in_a_rotation_the_stranded_key_goes() {
    let mut scene = Scene::new("killrot").await;
    scene.create("reports", spec()).await;
    let name = user_name(&scene.ready("reports").await);
    let first = scene.only_key(&name, "reports-s3").await;
    scene.proxy.forget();
    scene.proxy.inject("CreateAccessKey", Fault::HeldAnswer);
    scene.patch("reports", json!({ "metadata": { "annotations": { "s3access.dev/rotate": "now" } } })).await;
    scene.proxy.called("CreateAccessKey", SOON).await.unwrap();
    scene.kill9().await;
    let stranded: Vec<String> = scene
        .keys(&name)
        .await
        .iter()
        .filter_map(|key| key.access_key_id())
        .filter(|id| *id != first)
        .map(ToOwned::to_owned)
        .collect();
    assert_eq!(stranded.len(), 1);

    scene.start(&[]).await;
    scene
        .see("the rotation to be done without the stranded key", async || {
            let held = scene.secret("reports-s3").await["AWS_ACCESS_KEY_ID"].clone();
            anyhow::ensure!(held != first, "still the first key");
            anyhow::ensure!(held != stranded[0], "the stranded key's secret half is lost: it cannot be in the Secret");
            let keys = scene.keys(&name).await;
            anyhow::ensure!(keys.iter().all(|key| key.access_key_id() != Some(stranded[0].as_str())), "{keys:?}");
            Ok(())
        })
        .await;
}

#[tokio::test]
async fn invariant_5_a_lost_answer_of_any_creating_call_leaves_one_of_each() {
    for action in ["CreateUser", "CreatePolicy", "AttachUserPolicy", "CreateAccessKey"] {
        for fault in [Fault::LostAnswer, Fault::LostRequest] {
            let kind = if fault == Fault::LostAnswer { "answer" } else { "request" };
            let scene = Scene::new(&format!("lost-{kind}-{}", action.to_lowercase())).await;
            scene.proxy.inject(action, fault);
            scene.create("reports", spec()).await;
            let name = user_name(&scene.ready("reports").await);
            scene.only_key(&name, "reports-s3").await;
            assert_eq!(scene.named(&name).await.len(), 2, "{action}: a user and a policy");
            scene.delete("reports").await;
            assert_eq!(scene.named(&name).await, Vec::<String>::new(), "{action}");
        }
    }
}

#[tokio::test]
async fn a_lost_answer_to_a_delete_still_ends() {
    let scene = Scene::new("lostdel").await;
    scene.create("reports", spec()).await;
    let name = user_name(&scene.ready("reports").await);
    for action in ["DeleteAccessKey", "DetachUserPolicy", "DeletePolicy", "DeleteUser"] {
        scene.proxy.inject(action, Fault::LostAnswer);
    }
    scene.users().delete("reports", &DeleteParams::default()).await.unwrap();
    scene.gone("reports").await;
    assert_eq!(scene.named(&name).await, Vec::<String>::new());
}

#[tokio::test]
async fn throttling_and_server_errors_are_waited_out() {
    let scene = Scene::new("throttle").await;
    for _ in 0..2 {
        scene.proxy.inject("CreateUser", Fault::Error { status: 400, code: "Throttling" });
        scene.proxy.inject("CreateAccessKey", Fault::Error { status: 500, code: "ServiceFailure" });
    }
    scene.create("reports", spec()).await;
    let name = user_name(&scene.ready("reports").await);
    scene.only_key(&name, "reports-s3").await;
}
