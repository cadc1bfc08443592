//! The commands for people, against the same cluster.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::ensure;
use ground::stand::{OPERATOR_ACCOUNT, OPERATOR_NAMESPACE};

use crate::scene::{Scene, spec, user_name};

/// Runs the binary as the administrator; its standard output, and its standard error where it fails.
async fn command(scene: &Scene, args: &[&str]) -> Result<String, String> {
    run(scene, args, &scene.stand.kubernetes.kubeconfig, BTreeMap::new()).await.map_err(|(_, errors)| errors)
}

/// The standard output; where it fails, with the standard error.
async fn run(
    scene: &Scene,
    args: &[&str],
    kubeconfig: &Path,
    env: BTreeMap<String, String>,
) -> Result<String, (String, String)> {
    let output = tokio::process::Command::new(&scene.stand.operator)
        .args(args)
        .env_clear()
        .envs(env)
        .env("KUBECONFIG", kubeconfig)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, errors) = (text(&output.stdout), text(&output.stderr));
    if output.status.success() { Ok(out) } else { Err((out, errors)) }
}

#[tokio::test]
async fn people_see_their_users_and_rotate_them() {
    let scene = Scene::new("commands").await;
    scene.create("reports", spec()).await;
    let user = scene.ready("reports").await;
    let name = user_name(&user);
    let namespace = user.metadata.namespace.unwrap();
    let before = scene.only_key(&name, "reports-s3").await;
    let all = command(&scene, &["status", "-A"]).await.unwrap();
    let line = all.lines().find(|line| line.contains(&namespace)).unwrap().to_owned();
    for word in ["reports", "True", "Synced", &name, &before, "reports-s3"] {
        assert!(line.contains(word), "{word}: {line}");
    }
    let one = command(&scene, &["status", "-n", &namespace, "reports"]).await.unwrap();
    assert!(one.contains("SecretSynced=True"), "{one}");
    let secret = scene.secret("reports-s3").await;
    assert!(!one.contains(&secret["AWS_SECRET_ACCESS_KEY"]), "the secret key is shown");

    command(&scene, &["rotate", "-n", &namespace, "reports"]).await.unwrap();
    let after = scene
        .see("another key", async || {
            let key = scene.secret("reports-s3").await["AWS_ACCESS_KEY_ID"].clone();
            ensure!(key != before, "still {before}");
            Ok(key)
        })
        .await;
    scene
        .see("the status to show it", async || {
            let shown = command(&scene, &["status", "-n", &namespace]).await.map_err(anyhow::Error::msg)?;
            ensure!(shown.contains(&after), "{shown}");
            Ok(())
        })
        .await;
    let error = command(&scene, &["rotate", "-n", &namespace, "absent"]).await.unwrap_err();
    assert!(error.contains("absent") && error.contains("not found"), "{error}");
}

#[tokio::test]
async fn the_doctor_finds_the_shipped_installation_well_and_names_what_is_missing() {
    let scene = Scene::without_operator("doctor").await;
    let (kubernetes, env) = (&scene.stand.kubernetes, scene.stand.operator_identity.env());
    let shipped = kubernetes.service_account_kubeconfig(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT).await.unwrap();
    let well = run(&scene, &["doctor"], &shipped, env.clone()).await.unwrap();
    assert!(!well.contains("FAIL"), "{well}");
    assert!(well.lines().count() >= 15, "{well}");

    let stranger = kubernetes.service_account_kubeconfig("default", "default").await.unwrap();
    let mut wrong = env.clone();
    wrong.insert("AWS_SECRET_ACCESS_KEY".to_owned(), "not-the-secret".to_owned());
    let (ill, errors) = run(&scene, &["doctor"], &stranger, wrong).await.unwrap_err();
    for problem in ["FAIL  AWS credentials: ", "FAIL  IAM: ", "FAIL  secrets in the cluster: may not get"] {
        assert!(ill.contains(problem), "{problem}: {ill}");
    }
    assert!(ill.contains("ok    s3accessusers.s3access.dev: served"), "{ill}");
    assert!(!ill.contains("not-the-secret") && errors.contains("checks failed"), "{ill}{errors}");
}

#[tokio::test]
async fn people_see_whom_the_operator_has_had_no_time_for() {
    // It never has: there is none.
    let scene = Scene::without_operator("waiting").await;
    scene.create("reports", spec()).await;
    let of = |name: &str| format!("{}/{name}: number ", scene.namespace);
    for args in [&["status", "-n", &scene.namespace][..], &["status", "-n", &scene.namespace, "reports"]] {
        let told = command(&scene, args).await.unwrap();
        assert!(told.contains("waiting (an estimate") && told.contains(&of("reports")), "{told}");
    }
}
