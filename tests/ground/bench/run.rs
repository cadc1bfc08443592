//! A run: what stands, what is counted, and how a phase is measured.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::discovery::ApiResource;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::account::{Account, Calls};
use super::audit::{Audit, Requests};
use super::figures::{Figures, PhaseFigures, Times, beside};
use super::fleet::Fleet;
use super::floor::{Phase, PolicyKind, Service, Size};
use super::subject::{Kind, Subject, ack_spec, reconciles};
use super::usage::{Usage, reset_peak};
use crate::double::{Kind as CallKind, Operation};
use crate::moto::Partition;
use crate::operator::{get, sum_of};
use crate::stand::{OPERATOR_NAMESPACE, Stand, shipped_policy};
use crate::wait::eventually;

/// Nothing more is to come once nothing has come for so long; longer than the operator's own pauses at work.
const QUIET: Duration = Duration::from_secs(3);
/// How long the last call may be in coming.
const UNQUIET: Duration = Duration::from_secs(120);
/// What each user may add to what all have to wait for.
const FOR_EACH: Duration = Duration::from_millis(20);
/// With this limit, the operator is measured and not its own lane.
const UNLIMITED: &str = "1000";

/// What a run is about.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What is measured.
    pub kind: Kind,
    /// How many S3AccessUsers.
    pub users: usize,
    /// Their policies.
    pub policy: PolicyKind,
    /// Their namespace; where others are at work in the cluster, only requests in it count.
    pub namespace: String,
    /// Whether the cluster is the run's own.
    pub alone: bool,
    /// How long things take.
    pub pace: Pace,
}

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long nothing happens in the rest phase.
    pub idle: Duration,
    /// The resync interval of the sweep phase.
    pub sweep: Duration,
    /// How long a rotated key goes on working.
    pub overlap: Duration,
    /// How long nothing may get on before the run is given up.
    pub patience: Duration,
}

/// A run under way.
pub struct Run {
    pub(super) setup: Setup,
    pub(super) stand: Stand,
    pub(super) accounts: Vec<Account>,
    pub(super) client: Client,
    pub(super) fleet: Fleet,
    pub(super) names: Vec<String>,
    pub(super) figures: Figures,
    pub(super) subject: Option<Subject>,
    classes: Vec<String>,
    audit: Audit,
    starts: u32,
    /// The port of its metrics; 0 where it has none.
    metrics: Arc<AtomicU16>,
    /// What processes that have ended had used by then.
    earlier_cpu: f64,
    earlier_reconciles: BTreeMap<String, u64>,
}

/// The counts at one moment.
struct Snapshot {
    calls: Calls,
    requests: Requests,
    reconciles: BTreeMap<String, u64>,
    cpu_seconds: f64,
}

impl Run {
    /// Makes the namespace, and for each account a class and an identity. Nothing runs yet.
    ///
    /// # Errors
    /// Where Kubernetes or IAM refuses.
    pub async fn prepare(setup: Setup, mut stand: Stand, accounts: Vec<Account>) -> Result<Self> {
        let client = stand.kubernetes.client().await?;
        let namespace: Namespace = serde_json::from_value(json!({ "metadata": { "name": setup.namespace } }))?;
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await?;
        setup.kind.install(&stand).await?;
        let audit_log = stand.kubernetes.audit_log.clone();
        let audit = Audit::of(audit_log, &setup.kind.user(), (!setup.alone).then(|| setup.namespace.clone()))?;
        let classes: Vec<String> = (1..=accounts.len()).map(|number| format!("{}-{number}", setup.namespace)).collect();
        for (account, class) in accounts.iter().zip(&classes) {
            let identity =
                account.admin.create_identity("s3-access-operator", &shipped_policy(Partition::Aws)?).await?;
            stand.operator_identity = identity.clone();
            let secret = json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": { "name": class },
                "stringData": { "AWS_ACCESS_KEY_ID": identity.access_key_id, "AWS_SECRET_ACCESS_KEY": identity.secret_access_key },
            });
            let secrets: Api<Secret> = Api::namespaced(client.clone(), OPERATOR_NAMESPACE);
            secrets.patch(class, &PatchParams::apply("bench").force(), &Patch::Apply(&secret)).await?;
            let endpoint = &account.admin.endpoint;
            let object = json!({
                "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessClass",
                "metadata": { "name": class, "labels": { "bench": setup.namespace } },
                "spec": {
                    "allowedBuckets": ["*"], "region": "us-east-1", "credentialsSecretRef": { "name": class },
                    "endpoints": { "iam": endpoint, "sts": endpoint, "s3": endpoint },
                },
            });
            class_api(&client).create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        }
        let mut figures = Figures::new(setup.users, setup.kind.name(), setup.policy);
        figures.accounts = accounts.len();
        let names = (0..setup.users).map(|number| format!("u-{number:05}")).collect();
        let fleet = Fleet::watch(&client, &setup.namespace, setup.kind.watched());
        Ok(Self {
            setup,
            stand,
            accounts,
            client,
            fleet,
            names,
            figures,
            subject: None,
            classes,
            audit,
            starts: 0,
            metrics: Arc::default(),
            earlier_cpu: 0.0,
            earlier_reconciles: BTreeMap::new(),
        })
    }

    /// What has been measured.
    #[must_use]
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// The same, to be completed.
    pub fn figures_mut(&mut self) -> &mut Figures {
        &mut self.figures
    }

    /// Whether a phase is one of this run's. What is about one among many is of two accounts.
    #[must_use]
    pub fn goes_through(&self, phase: Phase) -> bool {
        self.setup.kind.goes_through(phase) && (phase != Phase::Dark || self.accounts.len() == 2)
    }

    /// Starts what is measured; `settings` come beside the run's own.
    pub(super) async fn start(&mut self, settings: &[(&str, &str)]) -> Result<()> {
        ensure!(self.subject.is_none(), "one runs already");
        self.starts += 1;
        let selector = format!("bench={}", self.setup.namespace);
        let mut all = vec![
            ("S3ACCESS_CLASS_SELECTOR", selector.as_str()),
            ("S3ACCESS_REQUESTS_PER_SECOND", UNLIMITED),
            // The double has no replicas that lag.
            ("S3ACCESS_CONSISTENCY_WINDOW", "2s"),
        ];
        if !self.setup.alone {
            all.extend([
                ("S3ACCESS_WATCH_NAMESPACES", self.setup.namespace.as_str()),
                ("S3ACCESS_LEADER_ELECTION", "false"),
            ]);
        }
        all.extend(settings);
        let name = format!("{}-{}", self.setup.namespace, self.starts);
        let subject = self.setup.kind.start(&self.stand, &name, &all).await?;
        self.metrics.store(subject.metrics().unwrap_or_default(), Ordering::Relaxed);
        self.subject = Some(subject);
        if matches!(self.setup.kind, Kind::Operator) {
            let classes = self.classes.clone();
            let client = self.client.clone();
            eventually("all classes to be Ready", self.at_least(Duration::from_secs(60)), async || {
                for class in &classes {
                    let class = class_api(&client).get(class).await?;
                    ensure!(class.data["status"]["conditions"][0]["status"] == "True", "{}", class.data["status"]);
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// The port of its metrics.
    pub(super) fn metrics(&self) -> u16 {
        self.metrics.load(Ordering::Relaxed)
    }

    /// Ends it in order.
    pub(super) async fn stop(&mut self) -> Result<()> {
        let mut subject = self.subject.take().context("nothing runs")?;
        self.earlier_cpu += Usage::of(subject.id())?.cpu_seconds;
        if let Some(port) = subject.metrics() {
            add(&mut self.earlier_reconciles, &reconciles(port).await?);
        }
        subject.terminate().await
    }

    /// Ends it, and starts it again, until each user has been looked at: that asks for nothing, so that there is nothing else to
    /// be seen of it.
    pub(super) async fn restart(&mut self, settings: &[(&str, &str)]) -> Result<()> {
        self.stop().await?;
        self.start(settings).await?;
        let Some(port) = self.subject.as_ref().and_then(Subject::metrics) else { return Ok(()) };
        let users = u64::try_from(self.setup.users)?;
        eventually("all users to be looked at", self.at_least(UNQUIET), async || {
            let looks: u64 = reconciles(port).await?.values().sum();
            ensure!(looks >= users, "{looks} of {users} have been");
            Ok(())
        })
        .await
    }

    pub(super) fn usage(&mut self) -> Result<Usage> {
        Usage::of(self.subject.as_mut().context("nothing runs")?.id())
    }

    /// The spec of the user of that number: one after the other, all accounts get their share.
    pub(super) fn spec(&self, number: usize) -> Value {
        if let Kind::Ack { .. } = self.setup.kind {
            return ack_spec(&self.setup.namespace, number);
        }
        let policy = match self.setup.policy {
            PolicyKind::Inline => "Inline",
            PolicyKind::Managed => "Managed",
        };
        let overlap = format!("{}s", self.setup.pace.overlap.as_secs());
        json!({
            "className": self.classes[number % self.classes.len()],
            "access": [{ "bucket": format!("team-{}-reports", number % 100), "level": "ReadWrite" }],
            "policy": { "type": policy },
            "accessKey": { "rotation": { "interval": "2160h", "overlap": overlap } },
        })
    }

    /// Calls of AWS so far, in all accounts.
    pub(super) async fn calls(&self) -> Result<Calls> {
        calls_in(&self.accounts).await
    }

    async fn snapshot(&mut self, phase: Phase) -> Result<Snapshot> {
        let mut all = self.earlier_reconciles.clone();
        let mut cpu_seconds = self.earlier_cpu;
        if let Some(subject) = &mut self.subject {
            cpu_seconds += Usage::of(subject.id())?.cpu_seconds;
            if let Some(port) = subject.metrics() {
                add(&mut all, &reconciles(port).await?);
            }
        }
        // An account in the dark cannot be asked, and the phase is about the first.
        let asked = if phase == Phase::Dark { &self.accounts[..1] } else { &self.accounts[..] };
        Ok(Snapshot { calls: calls_in(asked).await?, requests: self.audit.requests()?, reconciles: all, cpu_seconds })
    }

    /// Waits until nothing is asked of AWS or Kubernetes any more.
    pub(super) async fn quiet(&mut self) -> Result<()> {
        self.unchanged(async |run| Ok((run.calls().await?, run.audit.requests()?))).await
    }

    /// Waits until nothing is asked of Kubernetes any more: of who sweeps all the time, AWS always is.
    pub(super) async fn written(&mut self) -> Result<()> {
        self.unchanged(async |run| run.audit.requests()).await
    }

    async fn unchanged<T: PartialEq + Debug>(&mut self, count: impl AsyncFn(&mut Self) -> Result<T>) -> Result<()> {
        let started = Instant::now();
        let unquiet = self.at_least(UNQUIET);
        let (mut last, mut since) = (None, Instant::now());
        loop {
            let now = Some(count(self).await?);
            if now != last {
                (last, since) = (now, Instant::now());
            }
            if since.elapsed() >= QUIET {
                return Ok(());
            }
            ensure!(started.elapsed() < unquiet, "it does not come to rest: {last:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Measures a phase about `users` users: what `work` leads to, and what it returns is how long each took.
    pub(super) async fn measure(
        &mut self,
        phase: Phase,
        users: usize,
        work: impl AsyncFnOnce(&mut Self) -> Result<Option<Vec<f64>>>,
    ) -> Result<()> {
        let before = self.snapshot(phase).await?;
        if let Some(subject) = &mut self.subject {
            reset_peak(subject.id())?;
        }
        let started = Instant::now();
        let depth = Depth::watch(Arc::clone(&self.metrics));
        let times = work(self).await.with_context(|| format!("in the phase {}", phase.name()))?;
        let seconds = times.as_ref().map_or_else(|| started.elapsed().as_secs_f64(), |times| Times::of(times).total);
        let usage = self.usage()?;
        let after = self.snapshot(phase).await?;
        let calls = difference(&after.calls, &before.calls);
        let (sts, iam): (Calls, Calls) = calls.into_iter().partition(|(call, _)| is_sts(call));
        let in_accounts = self.in_accounts();
        let size = Size { users, in_accounts: &in_accounts, policy: self.setup.policy };
        let requests = difference(&after.requests, &before.requests);
        let figures = PhaseFigures {
            users,
            seconds,
            rss_steady_mib: usage.rss_mib,
            rss_peak_mib: usage.peak_mib,
            cpu_seconds: after.cpu_seconds - before.cpu_seconds,
            iam_calls: beside(&iam, phase, Service::Iam, size),
            sts_calls: beside(&sts, phase, Service::Sts, size),
            kubernetes_requests: beside(&requests, phase, Service::Kubernetes, size),
            reconciles: difference(&after.reconciles, &before.reconciles),
            queue_depth_max: depth.end(),
            times: times.as_deref().map(Times::of),
            api_server_cpu_seconds: None,
        };
        eprintln!(
            "{:>8}: {:6.1} s, IAM {} of {}, writes {} of {}, {:.1} MiB (peak {:.1}), CPU {:.1} s",
            phase.name(),
            figures.seconds,
            figures.iam().measured,
            figures.iam().floor,
            figures.writes().measured,
            figures.writes().floor,
            figures.rss_steady_mib,
            figures.rss_peak_mib,
            figures.cpu_seconds,
        );
        self.figures.add(phase, figures);
        Ok(())
    }

    /// IAM users of each account: ours, and the operator's own identity.
    fn in_accounts(&self) -> Vec<usize> {
        let (users, accounts) = (self.setup.users, self.accounts.len());
        match self.setup.kind {
            Kind::Operator => (0..accounts).map(|number| users.saturating_sub(number).div_ceil(accounts) + 1).collect(),
            Kind::Yardstick(..) | Kind::Ack { .. } => vec![users + 2],
        }
    }

    /// A time that is enough for some thousand users, made as long as so many as there are may take.
    pub(super) fn at_least(&self, time: Duration) -> Duration {
        time.max(FOR_EACH * u32::try_from(self.setup.users).unwrap_or(u32::MAX))
    }
}

async fn calls_in(accounts: &[Account]) -> Result<Calls> {
    let mut calls = Calls::new();
    for account in accounts {
        add(&mut calls, &account.calls().await?);
    }
    Ok(calls)
}

fn class_api(client: &Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("s3access.dev", "v1alpha1", "S3AccessClass");
    Api::all_with(client.clone(), &ApiResource::from_gvk_with_plural(&kind, "s3accessclasses"))
}

pub(super) fn is_sts(call: &str) -> bool {
    Operation::parse(call).is_some_and(|call| call.kind() == CallKind::Sts)
}

fn add(all: &mut BTreeMap<String, u64>, more: &BTreeMap<String, u64>) {
    for (name, count) in more {
        *all.entry(name.clone()).or_default() += count;
    }
}

pub(super) fn difference(after: &BTreeMap<String, u64>, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let since = |(name, count): (&String, &u64)| (name.clone(), count - before.get(name).copied().unwrap_or_default());
    after.iter().map(since).filter(|(_, count)| *count > 0).collect()
}

/// How many wait for their look or are being looked at, by the metrics at that port.
pub(super) async fn queue_depth(port: u16) -> Result<f64> {
    Ok(sum_of(&get(port, "/metrics").await?, "s3access_queue_depth", ""))
}

/// Looks at the queue depth once a second.
struct Depth {
    max: Arc<AtomicU64>,
    port: Arc<AtomicU16>,
    task: JoinHandle<()>,
}

impl Depth {
    fn watch(port: Arc<AtomicU16>) -> Self {
        let max = Arc::new(AtomicU64::new(0));
        let (seen, asked) = (Arc::clone(&max), Arc::clone(&port));
        let task = tokio::spawn(async move {
            loop {
                // The process may be between its end and its next start, or have no metrics.
                if let Ok(depth) = queue_depth(asked.load(Ordering::Relaxed)).await {
                    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
                    seen.fetch_max(depth as u64, Ordering::Relaxed);
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        Self { max, port, task }
    }

    fn end(self) -> Option<u64> {
        self.task.abort();
        (self.port.load(Ordering::Relaxed) > 0).then(|| self.max.load(Ordering::Relaxed))
    }
}
