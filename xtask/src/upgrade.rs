//! `upgrade`: an earlier operator makes users, this one takes over, the earlier one comes back: no key may change, and
//! nothing be written to IAM.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use ground::double::{Config, DoubleServer};
use ground::folders::Folder;
use ground::moto::Partition;
use ground::operator::Operator;
use ground::repository;
use ground::stand::{Ground, Stand};
use ground::wait::eventually;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{build_operator, cargo};

const NAMESPACE: &str = "upgrade";
/// Only failures wait for so long.
const SOON: Duration = Duration::from_secs(90);

#[derive(Args)]
pub(crate) struct Options {
    /// The earlier version, as git names it [default: the newest tag that begins with v].
    #[arg(long)]
    from: Option<String>,
}

/// What must not change: each user's keys in IAM, and the data of each Secret.
#[derive(Debug, PartialEq)]
struct Kept {
    keys: BTreeMap<String, Vec<String>>,
    secrets: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let from = match &options.from {
        Some(from) => from.clone(),
        None => newest_tag().await.context("no tag begins with v: name a revision by --from")?,
    };
    let new = build_operator().await?;
    let folder = Folder::create("upgrade")?;
    let tree = folder.path().join("earlier");
    let old = build_earlier(&from, &tree).await?;
    let ground = Ground::start(Partition::Aws, &new).await?;
    let double = DoubleServer::start(Config::default()).await?;
    let stand = ground.stand().clone().on_double(&double, Partition::Aws).await?;
    let earlier = Stand { operator: old, ..stand.clone() };

    install(&stand, &tree).await?;
    let operator = start(&earlier, "1-earlier").await?;
    let users = apply_users(&stand).await?;
    settled(&stand, &operator, users).await?;
    operator.terminate().await?;
    let kept = Kept::of(&stand).await?;
    println!("{from} has made {users} users");

    for (step, stand, tree, what) in [
        ("2-new", &stand, repository(), "this version"),
        ("3-earlier", &earlier, tree.clone(), from.as_str()),
        ("4-new", &stand, repository(), "this version, again"),
    ] {
        install(stand, &tree).await?;
        let writes = double.with(|world| world.history().writes());
        let operator = start(stand, step).await?;
        settled(stand, &operator, users).await?;
        let written = double.with(|world| world.history().writes()) - writes;
        let now = Kept::of(stand).await?;
        ensure!(now == kept, "under {what} keys or Secrets have changed:\n{kept:?}\nbecame\n{now:?}");
        ensure!(written == 0, "{what} has written to IAM {written} times; its log ends:\n{}", operator.log()?);
        println!("{what}: all {users} users looked at, the same keys, no write to IAM");
        if step == "4-new" {
            stand.kubernetes.kubectl(&["delete", "-n", NAMESPACE, "s3u", "--all", "--timeout=90s"]).await?;
            ensure!(Kept::of(stand).await?.keys.is_empty(), "users are left in IAM");
        }
        operator.terminate().await?;
    }
    println!("deleted: nothing is left in IAM");
    Ok(())
}

async fn newest_tag() -> Option<String> {
    let output = git(&["tag", "--list", "v*", "--sort=-version:refname"]).await.ok()?;
    output.lines().next().map(ToOwned::to_owned)
}

async fn git(args: &[&str]) -> Result<String> {
    let output = Command::new("git").args(args).current_dir(repository()).output().await?;
    ensure!(output.status.success(), "git {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Builds the operator of an earlier revision from a copy of its files.
async fn build_earlier(from: &str, tree: &Path) -> Result<PathBuf> {
    let target = repository().join("target/upgrade");
    // A clone leaves nothing behind in this repository, as a worktree would.
    let source = repository().display().to_string();
    git(&["clone", "--quiet", "--no-checkout", &source, &tree.display().to_string()]).await?;
    git(&["-C", &tree.display().to_string(), "checkout", "--quiet", "--detach", from]).await?;
    let status = cargo()
        .current_dir(tree)
        .args(["build", "--locked", "--package", "s3-access-operator", "--target-dir"])
        .arg(&target)
        .status()
        .await?;
    ensure!(status.success(), "the operator of {from} does not build");
    let binary = tree.join("s3-access-operator");
    std::fs::copy(target.join("debug/s3-access-operator"), &binary)?;
    Ok(binary)
}

/// The objects of that tree, as its README says.
async fn install(stand: &Stand, tree: &Path) -> Result<()> {
    let deploy = tree.join("deploy").display().to_string();
    stand.kubernetes.kubectl(&["apply", "-k", &deploy]).await?;
    stand.kubernetes.takes_users().await
}

async fn start(stand: &Stand, name: &str) -> Result<Operator> {
    let settings = [
        ("S3ACCESS_WATCH_NAMESPACES", NAMESPACE),
        ("S3ACCESS_LEADER_ELECTION", "false"),
        ("S3ACCESS_CONSISTENCY_WINDOW", "2s"),
        ("S3ACCESS_PROBE_INTERVAL", "100ms"),
        ("S3ACCESS_REQUESTS_PER_SECOND", "1000"),
        // Whatever the status says, everybody is compared with IAM.
        ("S3ACCESS_RESYNC_INTERVAL", "3s"),
    ];
    stand.start_operator(name, &settings).await
}

/// Users of each kind; how many.
async fn apply_users(stand: &Stand) -> Result<usize> {
    stand.kubernetes.kubectl(&["create", "namespace", NAMESPACE]).await?;
    let grant = json!([{ "bucket": "upgrade-reports", "level": "ReadWrite" }]);
    let specs = [
        ("managed", json!({ "access": grant, "accessKey": { "rotation": { "interval": "2160h", "overlap": "24h" } } })),
        ("inline", json!({ "access": grant, "policy": { "type": "Inline" }, "tags": { "team": "a" } })),
        ("walk-through", json!({ "policy": { "preset": "ReadWriteNoDelete", "name": "upgrade-walk-through" } })),
        ("velero", json!({ "access": grant, "secret": { "format": "velero", "labels": { "app": "velero" } } })),
        ("thanos", json!({ "access": grant, "secret": { "format": "thanos", "name": "objstore" } })),
        ("path", json!({ "access": grant, "path": "/k8s/", "deletionPolicy": "Delete" })),
    ];
    let items: Vec<Value> = specs
        .iter()
        .map(|(name, spec)| {
            json!({ "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser",
                "metadata": { "name": name, "namespace": NAMESPACE }, "spec": spec })
        })
        .collect();
    let file = stand.folder.join("upgrade-users.json");
    std::fs::write(&file, json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string())?;
    stand.kubernetes.kubectl(&["apply", "-f", &file.display().to_string()]).await?;
    // One is in the overlap of a rotation.
    stand
        .kubernetes
        .kubectl(&["wait", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=90s", "s3u", "--all"])
        .await?;
    stand.kubernetes.kubectl(&["annotate", "-n", NAMESPACE, "s3u/managed", "s3access.dev/rotate=now"]).await?;
    eventually("two keys of the rotated user", SOON, async || {
        let hint = ["get", "-n", NAMESPACE, "s3u/managed", "-o", "jsonpath={.status.retiringKey.id}"];
        ensure!(!stand.kubernetes.kubectl(&hint).await?.is_empty(), "no key is retiring");
        Ok(())
    })
    .await?;
    Ok(specs.len())
}

/// Everybody has been looked at, against IAM, and found to be well.
async fn settled(stand: &Stand, operator: &Operator, users: usize) -> Result<()> {
    let looks = u32::try_from(users)? * 3;
    eventually("everybody to be looked at", SOON, async || {
        let seen = operator.metric("s3access_reconcile_total", "settled").await?;
        ensure!(seen >= f64::from(looks), "{seen} of {looks} looks");
        let ready = "jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}";
        let words = stand.kubernetes.kubectl(&["get", "-n", NAMESPACE, "s3u", "-o", ready]).await?;
        let ready = words.split_whitespace().filter(|word| *word == "True").count();
        if ready != users {
            bail!("{ready} of {users} are Ready");
        }
        Ok(())
    })
    .await
}

impl Kept {
    async fn of(stand: &Stand) -> Result<Self> {
        let iam = stand.aws.iam();
        let mut keys = BTreeMap::new();
        for user in iam.list_users().send().await?.users() {
            if user.user_name() == "s3-access-operator" {
                continue;
            }
            let listed = iam.list_access_keys().user_name(user.user_name()).send().await?;
            let state =
                |key: &aws_sdk_iam::types::AccessKeyMetadata| format!("{:?} {:?}", key.access_key_id, key.status);
            keys.insert(user.user_name().to_owned(), listed.access_key_metadata().iter().map(state).collect());
        }
        let secrets: Api<Secret> = Api::namespaced(stand.kubernetes.client().await?, NAMESPACE);
        let data = |secret: Secret| {
            let data = secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect();
            (secret.name_any(), data)
        };
        let secrets = secrets.list(&Default::default()).await?.items.into_iter().map(data).collect();
        Ok(Self { keys, secrets })
    }
}
