//! `demo`: the main job from start to end, each claim seen before it is printed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ground::cache;
use ground::folders::Folder;
use ground::kubernetes::Access;
use ground::moto::{Account, Moto, Partition};
use ground::repository;
use ground::stand::{Ground, Stand, probe_s3};
use ground::wait::eventually;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::{Value, json};

use crate::build_operator;

const SOON: Duration = Duration::from_secs(60);

/// What a policy allows and denies: an operation, its bucket, and whether it is to work.
type Claims<'a> = &'a [(&'a str, &'a str, bool)];

pub(crate) async fn run(partition: Partition, kubeconfig: Option<PathBuf>) -> Result<()> {
    println!("1. Building what is missing");
    let operator = build_operator().await?;
    println!("2. Starting Kubernetes and moto ({}), installing CRDs and RBAC", partition.name());
    let ground = match kubeconfig {
        None => Place::Own(Box::new(Ground::start(partition, &operator).await?)),
        Some(kubeconfig) => Place::given(partition, kubeconfig, operator).await?,
    };
    let stand = ground.stand();
    println!("3. Running the operator as its own service account, with its own IAM policy");
    let operator = stand.start_operator("demo", &[]).await?;
    create_buckets(stand).await?;

    println!("\n4. One bucket, written and read but not deleted: deploy/samples/demo.yaml");
    let shown = show(
        stand,
        "demo.yaml",
        "team-a",
        "reports",
        &[
            ("PutObject", "team-a-reports", true),
            ("GetObject", "team-a-reports", true),
            ("DeleteObject", "team-a-reports", false),
            ("PutObject", "team-b-reports", false),
            ("GetObject", "team-b-reports", false),
        ],
    );
    shown.await?;

    println!("\n5. The console walk-through's user, policy and key: deploy/samples/walk-through.yaml");
    let shown = show(
        stand,
        "walk-through.yaml",
        "default",
        "walk-through",
        &[
            ("PutObject", "team-a-reports", true),
            ("GetObject", "team-b-reports", true),
            ("ListBucket", "team-b-reports", true),
            ("DeleteObject", "team-a-reports", false),
        ],
    );
    shown.await?;
    operator.terminate().await?;
    println!("\nAll of this was seen.");
    Ok(())
}

enum Place {
    Own(Box<Ground>),
    Given { stand: Box<Stand>, _moto: Box<Moto>, _folder: Folder },
}

impl Place {
    /// Somebody's cluster, with an AWS server of ours beside it. The operator runs as whoever the kubeconfig names.
    async fn given(partition: Partition, kubeconfig: PathBuf, operator: PathBuf) -> Result<Self> {
        let (programs, python) = (cache::kubernetes().await?, cache::python().await?);
        let folder = Folder::create("demo")?;
        let moto = Moto::start(&python, folder.path(), partition).await?;
        let kubernetes = Access {
            kubeconfig,
            audit_log: folder.path().join("audit.log"),
            server: String::new(),
            kubectl: programs.command("kubectl"),
        };
        let stand =
            Stand::given(kubernetes, moto.account().clone(), python, operator, folder.path().to_path_buf()).await?;
        stand.kubernetes.install().await?;
        Ok(Self::Given { stand: Box::new(stand), _moto: Box::new(moto), _folder: folder })
    }

    fn stand(&self) -> &Stand {
        match self {
            Self::Own(ground) => ground.stand(),
            Self::Given { stand, .. } => stand,
        }
    }
}

/// Applies a sample, proves what its Secret can and cannot do, deletes it, and sees that nothing is left.
async fn show(stand: &Stand, sample: &str, namespace: &str, name: &str, claims: Claims<'_>) -> Result<()> {
    let kubernetes = &stand.kubernetes;
    let before = Census::take(&stand.aws).await?;
    let file = repository().join("deploy/samples").join(sample);
    kubernetes.kubectl(&["apply", "-f", &file.display().to_string()]).await?;
    let (user, secret) = (format!("s3accessuser/{name}"), format!("{name}-s3"));
    kubernetes.kubectl(&["wait", "-n", namespace, "--for=condition=Ready", "--timeout=60s", &user]).await?;
    print!("{}", kubernetes.kubectl(&["get", "-n", namespace, &user]).await?);
    let data = secret_data(stand, namespace, &secret).await?;
    println!("Secret {namespace}/{secret} has: {}", data.keys().cloned().collect::<Vec<_>>().join(", "));

    let mut wrong = Vec::new();
    for (claim, found) in claims.iter().zip(probe(stand, &data, claims).await?) {
        let (operation, bucket, expected) = claim;
        let allowed = found["allowed"].as_bool().context("the probe's answer has no verdict")?;
        let code = found["code"].as_str().unwrap_or_default();
        println!(
            "  {operation:<12} on {bucket:<16} {}",
            if allowed { "allowed".to_owned() } else { format!("denied ({code})") }
        );
        // A denial must be one of authorization: a missing bucket denies nothing.
        if allowed != *expected || (!allowed && code != "AccessDenied") {
            wrong.push(format!("{operation} on {bucket}"));
        }
    }
    ensure!(wrong.is_empty(), "not as the policy says: {}", wrong.join(", "));

    kubernetes.kubectl(&["delete", "-n", namespace, &user, "--timeout=60s"]).await?;
    eventually("the Secret to go", SOON, async || {
        let left = kubernetes.kubectl(&["get", "secrets", "-n", namespace, "-o", "name"]).await?;
        if left.contains(&secret) { bail!("left: {left}") } else { Ok(()) }
    })
    .await?;
    let after = Census::take(&stand.aws).await?;
    ensure!(after == before, "something is left in IAM: {after:?}, before: {before:?}");
    println!("  deleted: 0 users, 0 policies, 0 keys and no Secret are left of it");
    Ok(())
}

async fn secret_data(stand: &Stand, namespace: &str, name: &str) -> Result<BTreeMap<String, String>> {
    let secrets: Api<Secret> = Api::namespaced(stand.kubernetes.client().await?, namespace);
    let data = secrets.get(name).await?.data.context("the Secret is empty")?;
    data.into_iter().map(|(key, value)| Ok((key, String::from_utf8(value.0)?))).collect()
}

/// Tries operations with boto3, which gets the Secret's data and nothing else.
async fn probe(stand: &Stand, data: &BTreeMap<String, String>, claims: Claims<'_>) -> Result<Vec<Value>> {
    let operations: Vec<Value> =
        claims.iter().map(|(operation, bucket, _)| json!({ "operation": operation, "bucket": bucket })).collect();
    let input = json!({ "secret": data, "endpoint": stand.aws.endpoint, "operations": operations });
    probe_s3(&stand.python, &stand.folder, &input).await
}

/// Both buckets exist, with an object to read, made by the administrator.
async fn create_buckets(stand: &Stand) -> Result<()> {
    let admin = BTreeMap::from([
        ("AWS_ACCESS_KEY_ID".to_owned(), stand.aws.access_key_id.clone()),
        ("AWS_SECRET_ACCESS_KEY".to_owned(), stand.aws.secret_access_key.clone()),
        ("AWS_REGION".to_owned(), stand.aws.partition.region().to_owned()),
    ]);
    let claims: Claims<'_> = &[
        ("CreateBucket", "team-a-reports", true),
        ("CreateBucket", "team-b-reports", true),
        ("PutObject", "team-a-reports", true),
        ("PutObject", "team-b-reports", true),
    ];
    let answers = probe(stand, &admin, claims).await?;
    ensure!(
        answers.iter().all(|answer| answer["allowed"] == true),
        "the administrator could not make buckets: {answers:?}"
    );
    Ok(())
}

/// Everything in the account, by name and number.
#[derive(Debug, PartialEq, Eq)]
struct Census {
    users: Vec<String>,
    policies: Vec<String>,
    keys: usize,
}

impl Census {
    async fn take(account: &Account) -> Result<Self> {
        let iam = account.iam();
        let listed = iam.list_users().send().await?;
        let users: Vec<String> = listed.users().iter().map(|user| user.user_name().to_owned()).collect();
        let mut keys = 0;
        for user in &users {
            keys += iam.list_access_keys().user_name(user).send().await?.access_key_metadata().len();
        }
        let listed = iam.list_policies().scope("Local".into()).send().await?;
        let policies =
            listed.policies().iter().filter_map(|policy| policy.policy_name()).map(ToOwned::to_owned).collect();
        Ok(Self { users, policies, keys })
    }
}
