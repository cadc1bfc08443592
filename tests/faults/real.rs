//! The same on a real API server, with the operator's own client: a sample, since each run takes a second.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use async_trait::async_trait;
use ground::double::Settings;
use ground::stand::Stand;
use ground::wait::eventually;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::events::Event;
use kube::runtime::watcher;
use kube::{Api, Client, Config, ResourceExt};
use s3_access_operator::api::{S3AccessUser, S3AccessUserStatus, Workload, annotations};
use s3_access_operator::controller::{Context, reconcile_now};
use s3_access_operator::core::observed::WorkloadState;
use s3_access_operator::kubernetes::{KubeClient, Kubernetes, Mark, Result as KubernetesResult, SecretNames, UserRef};
use serde_json::{Value, json};

use crate::boundary::{Boundary, Plan};
use crate::outside::Outside;
use crate::scenarios::{SECRET, spec};
use crate::simulation::{RESYNC, context};
use crate::snapshot::Snapshot;
use crate::suite::Verdict;

const NAME: &str = "reports";
const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// For what the API server's own controllers do in their time.
const SOON: Duration = Duration::from_secs(30);

/// Something that happens, step by step.
pub struct Scenario {
    pub name: &'static str,
    before: &'static [Step],
    act: &'static [Step],
}

/// What somebody does, and then lets the operator work.
#[derive(Clone, Copy)]
enum Step {
    Create,
    Respec(fn() -> Value),
    Rotate,
    LoseSecret,
    EmptySecret,
    Delete,
    /// The CR is forced out of the cluster and made again, with another UID, while the operator is down.
    Replace,
}

pub const ALL: &[Scenario] = &[
    Scenario { name: "create", before: &[], act: &[Step::Create] },
    Scenario {
        name: "update",
        before: &[Step::Create],
        act: &[Step::Respec(|| {
            spec(json!({ "policy": { "name": "other" }, "secret": { "name": SECRET, "format": "velero" } }))
        })],
    },
    Scenario {
        name: "rename-secret",
        before: &[Step::Create],
        act: &[Step::Respec(|| spec(json!({ "secret": { "name": "other" } })))],
    },
    Scenario { name: "rotate", before: &[Step::Create], act: &[Step::Rotate] },
    Scenario { name: "lose-secret", before: &[Step::Create], act: &[Step::LoseSecret] },
    Scenario { name: "empty-secret", before: &[Step::Create], act: &[Step::EmptySecret] },
    Scenario { name: "delete", before: &[Step::Create], act: &[Step::Delete] },
    Scenario { name: "adopt", before: &[Step::Create], act: &[Step::Replace] },
];

/// The operator's client, behind the boundary.
struct Bounded {
    inner: KubeClient,
    boundary: Boundary,
}

#[async_trait]
impl Kubernetes for Bounded {
    async fn get_secret(&self, namespace: &str, name: &str) -> KubernetesResult<Option<Secret>> {
        self.boundary.through("get Secret", name, self.inner.get_secret(namespace, name)).await
    }

    async fn create_secret(&self, secret: &Secret) -> KubernetesResult<Secret> {
        self.boundary.through("create Secret", &secret.name_any(), self.inner.create_secret(secret)).await
    }

    async fn replace_secret(&self, secret: &Secret) -> KubernetesResult<Secret> {
        self.boundary.through("update Secret", &secret.name_any(), self.inner.replace_secret(secret)).await
    }

    async fn dry_run_secret(&self, secret: &Secret) -> KubernetesResult<()> {
        self.boundary.through("dry run Secret", &secret.name_any(), self.inner.dry_run_secret(secret)).await
    }

    async fn delete_secret(&self, namespace: &str, name: &str, uid: &str) -> KubernetesResult<()> {
        self.boundary.through("delete Secret", name, self.inner.delete_secret(namespace, name, uid)).await
    }

    fn secret_names_of(&self, user: &ObjectMeta) -> Vec<String> {
        self.inner.secret_names_of(user)
    }

    fn secret_has_changed(&self, user: &ObjectMeta, name: &str, since: &str) -> bool {
        self.inner.secret_has_changed(user, name, since)
    }

    fn secret_is_at(&self, user: &ObjectMeta, name: &str, version: &str) -> bool {
        self.inner.secret_is_at(user, name, version)
    }

    async fn get_workload(
        &self,
        namespace: &str,
        workload: &Workload,
        annotation: &str,
    ) -> KubernetesResult<WorkloadState> {
        let request = self.inner.get_workload(namespace, workload, annotation);
        self.boundary.through("get workload", &workload.name, request).await
    }

    async fn mark_workload(
        &self,
        namespace: &str,
        workload: &Workload,
        mark: &Mark<'_>,
    ) -> KubernetesResult<Option<String>> {
        let request = self.inner.mark_workload(namespace, workload, mark);
        self.boundary.through("restart workload", &workload.name, request).await
    }

    async fn set_finalizers(&self, user: &S3AccessUser, finalizers: &[String]) -> KubernetesResult<Option<String>> {
        self.boundary.through("set finalizers", NAME, self.inner.set_finalizers(user, finalizers)).await
    }

    async fn apply_status(&self, user: &UserRef, status: &S3AccessUserStatus) -> KubernetesResult<Option<String>> {
        self.boundary.through("apply status", NAME, self.inner.apply_status(user, status)).await
    }

    async fn publish(&self, user: &UserRef, event: Event) -> KubernetesResult<()> {
        self.boundary.through("publish Event", NAME, self.inner.publish(user, event)).await
    }
}

/// Who speaks to the API server, both as its administrator.
#[derive(Clone)]
struct Clients {
    /// Waits where the API server asks for it, as it may while it readies its cache of a resource anew.
    tests: Client,
    /// Tries nothing again, like that of `s3-access-operator run`: what is refused is the reconcile's to bear.
    operators: Client,
}

impl Clients {
    async fn of(stand: &Stand) -> Result<Self> {
        let kubeconfig = Kubeconfig::read_from(&stand.kubernetes.kubeconfig)?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        ensure!(config.default_retry, "kube's client tries nothing again");
        Ok(Self { tests: Client::try_from(config)?, operators: stand.kubernetes.client().await? })
    }
}

/// A namespace of a real cluster, AWS in this process, and an operator.
struct Real {
    clients: Clients,
    namespace: String,
    outside: Outside,
    boundary: Boundary,
    context: Context,
    watched: Arc<SecretNames>,
    due: Timestamp,
    seen: u64,
}

impl Real {
    async fn new(clients: &Clients, name: &str) -> Result<Self> {
        let namespace: Namespace =
            serde_json::from_value(json!({ "metadata": { "generateName": format!("faults-{name}-") } }))?;
        let namespace =
            Api::<Namespace>::all(clients.tests.clone()).create(&PostParams::default(), &namespace).await?.name_any();
        let outside = Outside::new(Settings::default(), Timestamp::now());
        let boundary = Boundary::default();
        let (context, watched) = start(&clients.operators, &outside, &boundary);
        let due = outside.now();
        Ok(Self { clients: clients.clone(), namespace, outside, boundary, context, watched, due, seen: 0 })
    }

    fn users(&self) -> Api<S3AccessUser> {
        Api::namespaced(self.clients.tests.clone(), &self.namespace)
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.clients.tests.clone(), &self.namespace)
    }

    fn restart(&mut self) {
        self.boundary.restart();
        (self.context, self.watched) = start(&self.clients.operators, &self.outside, &self.boundary);
        self.seen = 0;
    }

    async fn carry_out(&mut self, steps: &[Step]) -> Result<()> {
        for step in steps {
            self.happen(*step).await?;
            self.run(HOUR).await?;
        }
        Ok(())
    }

    async fn happen(&mut self, step: Step) -> Result<()> {
        let merge = |patch: Value| Patch::Merge(patch);
        match step {
            Step::Create => self.create().await?,
            Step::Respec(spec) => {
                let mut patch = spec();
                // The policy's name that an earlier spec had goes.
                patch["policy"] = patch.get("policy").cloned().unwrap_or(Value::Null);
                self.users().patch(NAME, &PatchParams::default(), &merge(json!({ "spec": patch }))).await?;
            }
            Step::Rotate => {
                let patch = json!({ "metadata": { "annotations": { annotations::ROTATE: "please" } } });
                self.users().patch(NAME, &PatchParams::default(), &merge(patch)).await?;
            }
            Step::LoseSecret => drop(self.secrets().delete(SECRET, &DeleteParams::default()).await?),
            Step::EmptySecret => {
                let patch = merge(json!({ "data": null }));
                self.secrets().patch(SECRET, &PatchParams::default(), &patch).await?;
            }
            Step::Delete => drop(self.users().delete(NAME, &DeleteParams::default()).await?),
            Step::Replace => {
                let patch = merge(json!({ "metadata": { "finalizers": null } }));
                self.users().patch(NAME, &PatchParams::default(), &patch).await?;
                self.users().delete(NAME, &DeleteParams::default()).await?;
                self.collected().await?;
                self.create().await?;
                self.restart();
            }
        }
        Ok(())
    }

    async fn create(&self) -> Result<()> {
        let mut user = S3AccessUser::new(NAME, serde_json::from_value(spec(json!({})))?);
        user.metadata.namespace = Some(self.namespace.clone());
        self.users().create(&PostParams::default(), &user).await?;
        Ok(())
    }

    /// Waits until the garbage collector has removed the Secrets of a CR that is gone.
    async fn collected(&self) -> Result<()> {
        eventually("the Secret to be collected", SOON, async || {
            let left = self.secrets().list(&ListParams::default()).await?.items;
            ensure!(left.is_empty(), "{} Secrets are left", left.len());
            Ok(())
        })
        .await
    }

    /// Lets the operator work for a while, by its own clock.
    async fn run(&mut self, time: SignedDuration) -> Result<()> {
        let end = self.outside.now() + time;
        while let Some(user) = self.users().get_opt(NAME).await? {
            let seen = self.watch(&user).await?;
            if seen == self.seen && self.due > self.outside.now() {
                if self.due > end {
                    break;
                }
                self.outside.set_now(self.due);
            }
            let boundary = self.boundary.clone();
            tokio::select! {
                outcome = reconcile_now(&self.context, Box::new(user)) => {
                    self.seen = seen;
                    self.due = outcome.due_at().unwrap_or(Timestamp::MAX);
                }
                () = boundary.crashed() => self.restart(),
            }
        }
        self.outside.set_now(end);
        Ok(())
    }

    /// What the watches would show.
    async fn watch(&mut self, user: &S3AccessUser) -> Result<u64> {
        let secrets = self.secrets().list_metadata(&ListParams::default()).await?.items;
        let mut hasher = DefaultHasher::new();
        let meta = &user.metadata;
        (&meta.uid, meta.generation, &meta.annotations, meta.deletion_timestamp.is_some()).hash(&mut hasher);
        self.watched.follow(&watcher::Event::Init);
        for secret in secrets {
            (secret.name_any(), secret.resource_version()).hash(&mut hasher);
            self.watched.follow(&watcher::Event::InitApply(secret));
        }
        self.watched.follow(&watcher::Event::InitDone);
        Ok(hasher.finish())
    }

    async fn end(&mut self) -> Result<Snapshot> {
        self.run(RESYNC + HOUR).await?;
        let users = self.users().list(&ListParams::default()).await?.items;
        if users.is_empty() {
            self.collected().await?;
        }
        let secrets = self.secrets().list(&ListParams::default()).await?.items;
        let end = self.outside.with(|state| Snapshot::taken(state, &users, &secrets));
        let namespaces = Api::<Namespace>::all(self.clients.tests.clone());
        for user in users {
            let patch = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
            self.users().patch(&user.name_any(), &PatchParams::default(), &patch).await?;
        }
        namespaces.delete(&self.namespace, &DeleteParams::background()).await?;
        // Each run has a namespace of its own.
        Ok(Snapshot { text: end.text.replace(&self.namespace, "NAMESPACE"), ..end })
    }
}

fn start(client: &Client, outside: &Outside, boundary: &Boundary) -> (Context, Arc<SecretNames>) {
    let watched = Arc::new(SecretNames::default());
    let inner = KubeClient::new(client.clone(), watched.clone());
    let kubernetes = Arc::new(Bounded { inner, boundary: boundary.clone() });
    (context(outside, boundary, kubernetes), watched)
}

/// One run; its end and its effects by name.
async fn once(clients: &Clients, scenario: &Scenario, plan: Plan) -> Result<(Snapshot, Vec<String>)> {
    let mut real = Real::new(clients, scenario.name).await?;
    real.carry_out(scenario.before).await?;
    real.boundary.arm(plan);
    real.restart();
    real.carry_out(scenario.act).await?;
    let effects = real.boundary.disarm();
    Ok((real.end().await?, effects))
}

/// How the runs of one scenario went: `(plan, verdict)`.
pub async fn sample(stand: &Stand, scenario: &Scenario, plans: usize, seed: u64) -> Result<Vec<(Plan, Verdict)>> {
    let clients = Clients::of(stand).await?;
    let (wanted, effects) = once(&clients, scenario, Plan::default()).await?;
    ensure!(wanted.lost + wanted.stranded == 0, "{} without a fault: {}", scenario.name, wanted.text);
    let mut all = crate::suite::singles(effects.len()).map(|(_, plan)| plan).collect::<Vec<_>>();
    fastrand::Rng::with_seed(seed).shuffle(&mut all);
    let mut verdicts = Vec::new();
    for plan in all.into_iter().take(plans) {
        let verdict = match once(&clients, scenario, plan.clone()).await {
            Ok((end, _)) => Verdict::of(&wanted, &end, Vec::new()),
            Err(error) => Verdict { problems: vec![format!("{error:#}")], ..Verdict::default() },
        };
        verdicts.push((plan, verdict));
    }
    Ok(verdicts)
}
