//! The commands for people, against the same cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use serde_json::json;
use tokio::io::AsyncBufReadExt;

use crate::scene::{Scene, spec, user_name};

/// Runs the binary as the administrator; its standard output, and its standard error where it fails.
pub async fn command(scene: &Scene, args: &[&str]) -> Result<String, String> {
    run(scene, args, &scene.stand.kubernetes.kubeconfig, BTreeMap::new()).await.map_err(|(_, errors)| errors)
}

/// The standard output; where it fails, with the standard error.
pub async fn run(
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
    let after = scene.secret_holds_another_key("reports-s3", &before).await;
    scene
        .see("the status to show it", async || {
            let shown = command(&scene, &["status", "-n", &namespace]).await.map_err(anyhow::Error::msg)?;
            ensure!(shown.contains(&after), "{shown}");
            Ok(())
        })
        .await;
    let error = command(&scene, &["rotate", "-n", &namespace, "absent"]).await.unwrap_err();
    assert!(error.contains("absent") && error.contains("not found") && error.contains("`status -A`"), "{error}");
}

#[tokio::test]
async fn people_follow_a_user_from_its_creation_to_its_end() {
    let scene = Scene::new("follow").await;
    let mut child = tokio::process::Command::new(&scene.stand.operator)
        .args(["status", "--watch", "-n", &scene.namespace])
        .env_clear()
        .env("KUBECONFIG", &scene.stand.kubernetes.kubeconfig)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = tokio::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let mut line_with = async |word: &str| {
        let found = tokio::time::timeout(Duration::from_secs(60), async {
            loop {
                let line = lines.next_line().await.unwrap().expect("the watch goes on");
                if line.contains(word) {
                    return line;
                }
            }
        });
        found.await.unwrap_or_else(|_| panic!("no line with {word:?}"))
    };
    scene.create("reports", spec()).await;
    line_with("NAMESPACE").await;
    let ready = line_with("Synced").await;
    assert!(ready.contains("reports-s3") && ready.contains("True"), "{ready}");
    scene.users().delete("reports", &Default::default()).await.unwrap();
    assert!(line_with("Deleted").await.contains("reports"));
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

/// The actions that `plan` names, and how it ends.
async fn planned(scene: &Scene, file: &Path, more: &[&str]) -> (Vec<String>, String) {
    let args = [["plan", "-f", file.to_str().unwrap()].as_slice(), more].concat();
    let mut env = scene.stand.operator_identity.env();
    let classes = format!("scene={}", scene.namespace);
    env.extend([
        ("AWS_ENDPOINT_URL".to_owned(), scene.proxy.endpoint().to_owned()),
        ("S3ACCESS_CLASS_SELECTOR".to_owned(), classes),
        ("S3ACCESS_CLASSES".to_owned(), "false".to_owned()),
        ("S3ACCESS_CONSISTENCY_WINDOW".to_owned(), "2s".to_owned()),
    ]);
    let told = run(scene, &args, &scene.stand.kubernetes.kubeconfig, env).await;
    let told = told.unwrap_or_else(|(out, errors)| format!("{out}{errors}"));
    let is_name = |word: &&str| {
        word.len() > 6
            && word.chars().all(|c| c.is_ascii_alphabetic())
            && word.starts_with(|c: char| c.is_ascii_uppercase())
    };
    let names = told.lines().filter_map(|line| line.split_whitespace().next()).filter(is_name).map(ToOwned::to_owned);
    (names.collect(), told)
}

#[tokio::test]
async fn plan_says_what_would_be_done_and_does_nothing() {
    let mut scene = Scene::without_operator("plan").await;
    let folder = ground::folders::Folder::create("plan").unwrap();
    let file = folder.path().join("cr.yaml");
    let namespace = scene.namespace.clone();
    let write = |spec: &serde_json::Value| {
        let user = json!({
            "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser",
            "metadata": { "name": "reports", "namespace": namespace }, "spec": spec,
        });
        std::fs::write(&file, user.to_string()).unwrap();
    };
    write(&spec());
    let (steps, told) = planned(&scene, &file, &[]).await;
    let wanted =
        ["AddFinalizer", "CreateUser", "CreatePolicy", "TagUser", "AttachPolicy", "CreateAccessKey", "WriteSecret"];
    let (steps, wanted) = (steps.into_iter().collect::<BTreeSet<_>>(), wanted.map(ToOwned::to_owned).into());
    assert!(steps.is_subset(&wanted) && steps.len() >= 6, "{told}");
    assert!(told.contains("not in the cluster yet") && told.contains("s3:GetObject"), "{told}");
    assert_eq!(scene.named(&scene.namespace).await, Vec::<String>::new(), "nothing was made in IAM");
    assert!(scene.users().get_opt("reports").await.unwrap().is_none());
    assert!(scene.secrets().get_opt("reports-s3").await.unwrap().is_none());
    let detailed = planned(&scene, &file, &["--detailed-exitcode"]).await.1;
    assert!(detailed.contains("there is something to do"), "{detailed}");

    scene.create("reports", spec()).await;
    scene.start(&[]).await;
    let user = user_name(&scene.ready("reports").await);
    scene.kill9().await;
    let key = scene.only_key(&user, "reports-s3").await;
    let secret = scene.secret("reports-s3").await;
    let version = async || scene.users().get("reports").await.unwrap().metadata.resource_version;
    let before = version().await;
    scene.proxy.forget();
    let (steps, told) = planned(&scene, &file, &["--detailed-exitcode"]).await;
    assert!(steps.is_empty() && told.contains("nothing to do"), "{told}");

    let mut edited = spec();
    edited["access"][0]["level"] = "ReadWrite".into();
    write(&edited);
    let (steps, told) = planned(&scene, &file, &[]).await;
    assert_eq!(steps, ["CreatePolicyVersion"], "{told}");
    assert!(told.contains("s3:PutObject"), "{told}");
    let (steps, told) = {
        let mut user: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        user["spec"] = spec();
        user["metadata"]["annotations"] = json!({ "s3access.dev/rotate": "1" });
        std::fs::write(&file, user.to_string()).unwrap();
        planned(&scene, &file, &[]).await
    };
    assert_eq!(steps, ["CreateAccessKey", "WriteSecret"], "{told}");
    assert!(told.contains("after ") && told.contains(&format!("access key {key} is retired at")), "{told}");
    let calls = scene.proxy.calls();
    assert!(calls.iter().all(|call| ["Get", "List"].iter().any(|verb| call.action.starts_with(verb))), "{calls:?}");
    assert_eq!(version().await, before, "the S3AccessUser was not written");
    assert!(!told.contains(&secret["AWS_SECRET_ACCESS_KEY"]), "the secret key is shown");
    assert_eq!(scene.only_key(&user, "reports-s3").await, key);
}

#[tokio::test]
async fn plan_warns_of_what_is_surely_a_mistake_and_plans_it() {
    let scene = Scene::without_operator("planwarns").await;
    let folder = ground::folders::Folder::create("planwarns").unwrap();
    let file = folder.path().join("cr.yaml");
    let mut mistaken = spec();
    mistaken["access"][0]["prefixes"] = json!(["/2026/"]);
    let user = json!({
        "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser",
        "metadata": { "name": "reports", "namespace": scene.namespace }, "spec": mistaken,
    });
    std::fs::write(&file, user.to_string()).unwrap();
    let (steps, told) = planned(&scene, &file, &[]).await;
    assert!(steps.iter().any(|step| step == "CreatePolicy"), "{told}");
    assert!(
        told.contains("  warning: spec.access[0].prefixes \"/2026/\"") && told.contains("write \"2026/\""),
        "{told}"
    );
}
