//! What the documentation has people give to helm: commands, and values.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use ground::snippets::{self, How, Snippet};
use ground::tools::{Tool, tool};
use serde_json::Value;
use tokio::process::Command;

use crate::helm::{Helm, NAMESPACE, RELEASE, documents, finish, named, root, text};
use crate::install::Cluster;

/// The published chart, which is not to be had here: the checkout's stands for it, and tests/node pulls a published one.
const PUBLISHED: &str = "oci://ghcr.io/s3-access-operator/charts/s3-access-operator";

/// What a reader fills in.
fn filled_in(text: &str) -> String {
    text.replace("<your registry>", "registry.example.com")
        .replace("<your region>", "eu-central-1")
        .replace("=…", "=an-example")
        .replace(PUBLISHED, "deploy/chart")
}

/// A shell that finds helm and kubectl, in the repository's root.
async fn shell(cluster: &Cluster, script: &str) -> Result<String, String> {
    let bin = cluster.folder.path().join("bin");
    if !bin.is_dir() {
        std::fs::create_dir(&bin).unwrap();
        symlink(tool(Tool::Helm).await.unwrap(), bin.join("helm")).unwrap();
        let (kubectl, args) = &cluster.access.kubectl;
        std::fs::write(
            bin.join("kubectl"),
            format!("#!/bin/sh\nexec {} {} \"$@\"\n", kubectl.display(), args.join(" ")),
        )
        .unwrap();
        std::fs::set_permissions(bin.join("kubectl"), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new("bash");
    command.args(["-euxo", "pipefail", "-c", script]).current_dir(root()).env_clear();
    command.env("PATH", format!("{}:/usr/bin:/bin", bin.display())).env("HOME", cluster.folder.path());
    command.env("KUBECONFIG", &cluster.access.kubeconfig);
    finish(command, "").await
}

/// Each page's way, from an empty cluster: installed, upgraded and taken away by its own lines.
#[tokio::test]
async fn the_documentations_helm_commands_install_upgrade_and_uninstall() {
    let cluster = Cluster::start("helm-commands").await;
    let empty = format!(
        "helm uninstall {RELEASE} -n {NAMESPACE} --ignore-not-found; kubectl delete namespace {NAMESPACE} --ignore-not-found"
    );
    let mut installed = 0;
    for snippet in snippets::of(How::Helm).unwrap() {
        let (what, text) = (format!("{} {}", snippet.page, snippet.heading), filled_in(&snippet.text));
        let installs = text.contains("helm install");
        if installs {
            shell(&cluster, &empty).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        }
        // No pod starts where there is no node: tests/node does that.
        let lines = text.lines().filter(|line| !line.contains("rollout status"));
        let script: String = lines.map(|line| format!("{line}\n")).collect();
        shell(&cluster, &script).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        if installs {
            let image = "jsonpath={.spec.template.spec.containers[0].image}";
            let found = cluster.kubectl(&["-n", NAMESPACE, "get", "deployment", RELEASE, "-o", image]).await;
            let registry = if text.contains("image.repository") { "registry.example.com/" } else { "" };
            assert!(found.starts_with(&format!("{registry}s3-access-operator:")), "{what}: {found}");
            assert!(cluster.there(&["s3accessclass", "default"]).await, "{what}");
            installed += 1;
        }
    }
    assert!(installed >= 3, "{installed}");
}

/// The values of a block: the block itself, or what an Application or a HelmRelease has of them.
fn values(snippet: &Snippet) -> Vec<Value> {
    let found =
        documents(&filled_in(&snippet.text)).into_iter().filter_map(|document| match document["kind"].as_str() {
            Some("Application") => Some(document["spec"]["source"]["helm"]["valuesObject"].clone()),
            Some("HelmRelease") => Some(document["spec"]["values"].clone()),
            Some(_) => None,
            None => Some(document),
        });
    found.collect()
}

#[tokio::test]
async fn the_documentations_values_are_the_charts() {
    let helm = Helm::new().await;
    let folder = ground::folders::Folder::create("values").unwrap();
    let path: PathBuf = folder.path().join("values.json");
    let mut rendered = 0;
    for snippet in snippets::of(How::Values).unwrap() {
        for values in values(&snippet) {
            assert!(values.is_object(), "{} {} has no values", snippet.page, snippet.heading);
            // JSON is YAML; what is no value of the chart, its schema refuses.
            std::fs::write(&path, values.to_string()).unwrap();
            let objects = helm.objects(&["--values", path.to_str().unwrap()]).await;
            if values["image"].is_object() {
                let deployment = named(&objects, "Deployment", RELEASE);
                let image = text(&deployment["spec"]["template"]["spec"]["containers"][0]["image"]);
                assert!(image.starts_with("registry.example.com/"), "{image}");
            }
            rendered += 1;
        }
    }
    assert!(rendered >= 4, "{rendered}");
}
