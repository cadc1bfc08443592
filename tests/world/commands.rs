//! The commands for people, against the same cluster.

use anyhow::ensure;

use crate::scene::{Scene, spec, user_name};

/// Runs the binary as the administrator; its standard output, and its standard error where it fails.
async fn command(scene: &Scene, args: &[&str]) -> Result<String, String> {
    let output = tokio::process::Command::new(&scene.stand.operator)
        .args(args)
        .env_clear()
        .env("KUBECONFIG", &scene.stand.kubernetes.kubeconfig)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
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
