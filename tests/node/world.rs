//! One node with everything on it, AWS included, and the operator as its chart installs it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_iam::types::{AccessKeyMetadata, StatusType};
use ground::double::{Config, DoubleServer, Iam, Lag, Operation, Settings};
use ground::kubernetes::{Kubernetes, Options, Reach};
use ground::moto::{Account, Partition};
use ground::node::{Node, REGISTRY};
use ground::processes::{Process, Spec};
use ground::tools::{Tool, tool};
use ground::wait::eventually;
use ground::{cache, namespaces, repository, stand};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use s3_access_operator::api::S3AccessUser;
use serde_json::{Value, json};
use tokio::process::Command;

/// Only failures wait for so long.
pub const SOON: Duration = Duration::from_secs(120);
/// How long a new key or a new policy is unknown to some of AWS's servers, in seconds.
pub const LAG: i64 = 3;
pub const RELEASE: &str = "s3-access-operator";
pub const NAMESPACE: &str = "s3-access-system";

pub struct World {
    pub kubernetes: Kubernetes,
    pub client: Client,
    pub double: DoubleServer,
    pub admin: Account,
    /// How long `helm install` took until two replicas were ready.
    pub installed_in: Duration,
    helm: PathBuf,
    programs: PathBuf,
    folder: PathBuf,
    _node: Node,
    _registry: Process,
}

impl World {
    pub async fn start() -> Self {
        let folder = namespaces::inside().unwrap();
        let (cluster, programs) = (cache::kubernetes_with_node().await.unwrap(), cache::node().await.unwrap());
        let helm = tool(Tool::Helm).await.unwrap();
        let options = Options { reach: Reach::Pods, ..Options::default() };
        let kubernetes = Kubernetes::start_with(&cluster, &folder, &options).await.unwrap();
        let node = Node::start(&kubernetes, &cluster, &programs, &folder).await.unwrap();
        let registry = publish(&folder).await;
        let lag = Lag { longest: SignedDuration::from_secs(LAG), stale_percent: 50 };
        let settings = Settings { credentials: lag, ..Settings::default() };
        let address = namespaces::ADDRESS.parse().unwrap();
        let double = DoubleServer::start(Config { settings, address, ..Config::default() }).await.unwrap();
        let key = double.admin();
        let admin = Account {
            endpoint: double.endpoint(),
            partition: Partition::Aws,
            access_key_id: key.access_key_id,
            secret_access_key: key.secret_access_key,
        };
        let client = kubernetes.access().client().await.unwrap();
        let installed_in = Duration::ZERO;
        let mut world = Self {
            kubernetes,
            client,
            double,
            admin,
            installed_in,
            helm,
            programs,
            folder,
            _node: node,
            _registry: registry,
        };
        world.prepare().await;
        let started = Instant::now();
        world.install().await;
        world.installed_in = started.elapsed();
        world
    }

    /// What a platform team has before it installs: a namespace that lets in nothing but `restricted`, and an IAM user
    /// with the shipped policy, whose key is in a Secret.
    async fn prepare(&self) {
        self.namespace(NAMESPACE).await;
        let policy = stand::shipped_policy(Partition::Aws).unwrap();
        let own = self.admin.create_identity(RELEASE, &policy).await.unwrap();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s3-access-operator-aws", "namespace": NAMESPACE },
            "stringData": { "AWS_ACCESS_KEY_ID": own.access_key_id, "AWS_SECRET_ACCESS_KEY": own.secret_access_key },
        });
        self.apply(&secret).await;
        let values = json!({
            "aws": { "endpoints": { "all": self.admin.endpoint } },
            "operator": { "consistencyWindow": "5s", "probeInterval": "500ms" },
            // This node's snapshots are copies, so that the image counts as what its container has written; and the binary of the
            // tests is not optimised.
            "resources": { "limits": { "ephemeral-storage": "256Mi" } },
        });
        std::fs::write(self.values(), values.to_string()).unwrap();
    }

    /// Installs what was published by the README's command, word for word but for whose registry and which
    /// region it is; and with what is particular to this node.
    pub async fn install(&self) {
        let page = std::fs::read_to_string(repository().join("README.md")).unwrap();
        let (_, command) = page.split_once("helm install ").unwrap();
        let (command, _) = command.split_once("\n   kubectl ").unwrap();
        let command = command
            .replace("ghcr.io/s3-access-operator", REGISTRY)
            .replace("<your region>", self.admin.partition.region())
            .replace("\\\n", " ");
        let words: Vec<&str> = command.split_whitespace().collect();
        assert!(words.contains(&RELEASE) && words.contains(&self.chart().as_str()), "{words:?}");
        self.helm(&[&["install"], words.as_slice(), &["--values", &self.values()]].concat()).await.unwrap();
    }

    /// The chart in the registry.
    pub fn chart(&self) -> String {
        format!("oci://{REGISTRY}/charts/{RELEASE}")
    }

    pub fn values(&self) -> String {
        self.folder.join("values.json").display().to_string()
    }

    /// Runs helm in the operator's namespace, and waits for what it does where it can.
    pub async fn helm(&self, args: &[&str]) -> Result<String> {
        let from_registry = args.iter().any(|word| word.starts_with("oci://"));
        let output = Command::new(&self.helm)
            .args(args)
            .args(from_registry.then_some("--plain-http"))
            .args(["--namespace", NAMESPACE, "--wait", "--timeout", "120s"])
            .env_clear()
            .env("KUBECONFIG", &self.kubernetes.access().kubeconfig)
            .env("HOME", &self.folder)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        let told = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            let pods = self.kubectl(&["describe", "pods", "-n", NAMESPACE]).await.unwrap_or_default();
            bail!("helm {}: {told}\n{pods}\n{}", args.join(" "), self.operator_log().await);
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.kubernetes.access().kubectl(args).await
    }

    pub async fn apply(&self, object: &Value) {
        let file = self.folder.join("object.json");
        std::fs::write(&file, object.to_string()).unwrap();
        self.kubectl(&["apply", "--server-side", "-f", &file.display().to_string()]).await.unwrap();
    }

    /// Looks at the account or changes it.
    pub fn iam<T>(&self, look: impl FnOnce(&mut Iam) -> T) -> T {
        let account = self.double.account().id.clone();
        self.double.with(|aws| look(aws.account_mut(&account).unwrap()))
    }

    /// A file of that name with this text; its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// A namespace in which only pods of the profile `restricted` are let in.
    pub async fn namespace(&self, name: &str) {
        let labels = json!({ "pod-security.kubernetes.io/enforce": "restricted" });
        self.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } }))
            .await;
    }

    /// The administrator makes a bucket with one object.
    pub async fn object(&self, url: &str, text: &str) {
        let output = Command::new(self.programs.join("workload"))
            .args(["put", url, text])
            .env_clear()
            .envs(self.admin.env())
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Whether S3 lets the holder of that key do these things in the bucket: boto3 with the key and nothing else.
    pub async fn tried(
        &self,
        bucket: &str,
        operations: &[&str],
        [id, secret]: [&str; 2],
        token: Option<&str>,
    ) -> Vec<bool> {
        let operations: Vec<Value> =
            operations.iter().map(|operation| json!({ "operation": operation, "bucket": bucket })).collect();
        let secret = json!({
            "AWS_REGION": self.admin.partition.region(), "AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_SESSION_TOKEN": token,
        });
        let task = json!({ "secret": secret, "endpoint": self.admin.endpoint, "operations": operations });
        let python = cache::python().await.unwrap();
        let answers = stand::probe_s3(&python, &self.folder, &task).await.unwrap();
        answers.iter().map(|answer| answer["allowed"] == true).collect()
    }

    /// The operator's pods that are not on their way out.
    pub async fn operators(&self) -> Vec<Pod> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        let found =
            pods.list(&ListParams::default().labels("app.kubernetes.io/name=s3-access-operator")).await.unwrap();
        found.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect()
    }

    pub async fn operator_log(&self) -> String {
        let selector = "app.kubernetes.io/name=s3-access-operator";
        let log = self.kubectl(&["logs", "-n", NAMESPACE, "-l", selector, "--prefix", "--tail=40"]).await;
        log.unwrap_or_else(|error| format!("{error:#}"))
    }

    /// Who holds the Lease: the pod's name, the process's id and the time of its start.
    pub async fn holder(&self) -> Result<String> {
        self.kubectl(&["get", "lease", RELEASE, "-n", NAMESPACE, "-o", "jsonpath={.spec.holderIdentity}"]).await
    }

    /// The pod that leads, by its Lease.
    pub async fn leader(&self) -> Result<String> {
        let holder = self.holder().await?;
        let pods: Vec<String> = self.operators().await.iter().map(ResourceExt::name_any).collect();
        let leads = pods.iter().find(|pod| holder.starts_with(pod.as_str()));
        leads.cloned().with_context(|| format!("the Lease's holder is {holder:?}, and pods are {pods:?}"))
    }

    pub async fn see<T>(&self, what: &str, probe: impl AsyncFnMut() -> Result<T>) -> T {
        match eventually(what, SOON, probe).await {
            Ok(value) => value,
            Err(error) => panic!("{error:#}\n{}", self.operator_log().await),
        }
    }

    pub fn users(&self, namespace: &str) -> Api<S3AccessUser> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Creates an S3AccessUser and waits until it is Ready.
    pub async fn user(&self, namespace: &str, name: &str, spec: Value) -> S3AccessUser {
        let metadata = json!({ "name": name, "namespace": namespace });
        self.apply(&json!({
            "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser", "metadata": metadata, "spec": spec,
        }))
        .await;
        self.ready(namespace, name).await
    }

    pub async fn ready(&self, namespace: &str, name: &str) -> S3AccessUser {
        self.see(&format!("S3AccessUser {namespace}/{name} to be Ready"), async || {
            let user = self.users(namespace).get(name).await?;
            let conditions = user.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
            let ready = conditions.iter().find(|condition| condition.type_ == "Ready").context("no condition yet")?;
            ensure!(ready.status == "True" && ready.observed_generation == user.metadata.generation, "{ready:?}");
            Ok(user)
        })
        .await
    }

    pub async fn secret(&self, namespace: &str, name: &str) -> Secret {
        Api::<Secret>::namespaced(self.client.clone(), namespace).get(name).await.unwrap()
    }

    /// The id of the key in the Secret, once it is another.
    pub async fn another_key(&self, namespace: &str, secret: &str, old: &str) -> String {
        self.see("another key in the Secret", async || {
            let held = key_in(&self.secret(namespace, secret).await);
            ensure!(held != old, "still {held}");
            Ok(held)
        })
        .await
    }

    pub async fn rotate(&self, namespace: &str, name: &str, value: &str) {
        let annotation = format!("s3access.dev/rotate={value}");
        self.kubectl(&["annotate", "--overwrite", "s3accessuser", "-n", namespace, name, &annotation]).await.unwrap();
    }

    pub async fn keys(&self, user: &S3AccessUser) -> Vec<AccessKeyMetadata> {
        let name = user.status.as_ref().unwrap().user_name.clone().unwrap();
        self.admin.iam().list_access_keys().user_name(name).send().await.unwrap().access_key_metadata
    }

    /// When keys were made for the user.
    pub fn made_keys(&self, user: &S3AccessUser) -> Vec<Timestamp> {
        let name = user.status.as_ref().unwrap().user_name.clone().unwrap();
        self.double.with(|aws| {
            let made = aws.history().calls().filter(|call| call.operation == Operation::CreateAccessKey);
            made.filter(|call| call.target == name).map(|call| call.time).collect()
        })
    }

    /// The one key of the user in IAM, once it is active, the Secret's and another than `old`.
    pub async fn only_key(&self, user: &S3AccessUser, secret: &str, old: &str) -> String {
        let namespace = user.namespace().unwrap();
        self.see(&format!("{} to have one key, the Secret's, and not {old:?}", user.name_any()), async || {
            let keys = self.keys(user).await;
            let [key] = keys.as_slice() else { bail!("keys: {keys:?}") };
            ensure!(key.status() == Some(&StatusType::Active), "{key:?}");
            let held = key_in(&self.secret(&namespace, secret).await);
            ensure!(key.access_key_id() == Some(held.as_str()) && held != old, "{key:?}, and the Secret holds {held}");
            Ok(held)
        })
        .await
    }
}

/// The id of the key in a Secret.
fn key_in(secret: &Secret) -> String {
    String::from_utf8(secret.data.as_ref().unwrap()["AWS_ACCESS_KEY_ID"].0.clone()).unwrap()
}

/// A registry at the node's address, and in it what `cargo xtask test` has prepared, by the command that publishes
/// releases.
async fn publish(folder: &Path) -> Process {
    let release = PathBuf::from(std::env::var_os(crate::OPERATOR).unwrap());
    let (host, _) = REGISTRY.split_once('/').unwrap();
    let registry = Spec::new("registry", tool(Tool::Crane).await.unwrap(), folder.join("registry.log"))
        .args(["registry", "serve", "--address", host])
        .spawn()
        .unwrap();
    let published = eventually("the registry", SOON, async || Ok(tokio::net::TcpStream::connect(host).await?)).await;
    drop(published.unwrap_or_else(|error| panic!("{error:#}\n{}", registry.log_tail())));
    let output = Command::new(release.join("xtask"))
        .args(["release", "publish", "--plain-http", "--registry", REGISTRY, "--from"])
        .arg(&release)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    registry
}
