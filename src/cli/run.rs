//! `run`: the process around the controller. It works only while it holds the Lease, and ends rather than go on
//! half-alive.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};
use tokio::runtime::{self, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

use super::Error;
use crate::api::MANAGER;
use crate::aws::{Session, SessionOptions, SettingsError};
use crate::config::RunOptions;
use crate::controller::{self, OwnSecret, log_panics};
use crate::core::names::Cluster;
use crate::core::plan::Waits;
use crate::kubernetes::{Reviews, config};
use crate::leadership::{Leadership, LeaseTimings};
use crate::metrics::Metrics;
use crate::server::{Certificate, Endpoint, Gate, Health};
use crate::telemetry;

/// A request to the API server that takes longer has failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) async fn run(options: RunOptions) -> Result<(), Error> {
    let telemetry = telemetry::start(options.log_format, &options.log_level)?;
    let metrics = Arc::new(Metrics::default());
    metrics.set_started(Timestamp::now().as_duration().as_secs_f64());
    let done = CancellationToken::new();
    let health = Health::new(metrics.clone());
    log_panics();
    let vital = Vital::new()?;
    let endpoint = if options.metrics_secure { Endpoint::probes } else { Endpoint::open };
    let serving = vital.spawn(endpoint(options.listen, health.clone()).serve(done.clone()));
    let guarded = guarded_metrics(options.clone(), health.clone(), done.clone());
    let guarded = AbortOnDropHandle::new(tokio::spawn(guarded));
    let working = work(options, metrics, health, &vital);
    let outcome = tokio::select! {
        ended = serving => match ended {
            Ok(Err(error)) => Err(Error::Listener(error)),
            _ => Err(Error::Ended("the HTTP listener")),
        },
        ended = guarded => match ended {
            Ok(Err(error)) => Err(error),
            _ => Err(Error::Ended("the listener for metrics")),
        },
        outcome = working => {
            done.cancel();
            outcome
        }
    };
    telemetry.stop().await;
    outcome
}

/// Where metrics are served by TLS. Not beside the Lease: with handshakes, whoever is in the pod network could keep that thread
/// busy.
async fn guarded_metrics(options: RunOptions, health: Health, done: CancellationToken) -> Result<(), Error> {
    if !options.metrics_secure {
        return std::future::pending().await;
    }
    let certificate = Certificate::load(options.metrics_certificates).await.map_err(Error::Listener)?;
    let gate = Gate::new(Reviews::new(client().await?));
    Endpoint::guarded(options.metrics_listen, health, gate, certificate).serve(done).await.map_err(Error::Listener)
}

async fn work(options: RunOptions, metrics: Arc<Metrics>, health: Health, vital: &Vital) -> Result<(), Error> {
    let client = client().await?;
    let leadership = if options.leader_election { Leadership::nobody() } else { Leadership::unopposed() };
    let settings = settings(&client, &options, &leadership, &metrics).await?;
    health.set_ready(true);
    let mut terminate = Terminate::new()?;
    let mut lease = None;
    if options.leader_election {
        let mut candidate = Candidate::start(&options, vital).await?;
        info!(lease = options.lease_name, "waiting for the Lease");
        tokio::select! {
            elected = candidate.elected() => elected?,
            () = terminate.received() => return Ok(()),
        }
        // The manager renewed it a moment ago.
        leadership.extend(candidate.held.timings.end(Timestamp::now()));
        lease = Some(candidate);
    }
    metrics.set_leader(true);
    info!("leading");
    let stop = CancellationToken::new();
    let controllers = controller::run(client, settings, stop.clone());
    tokio::pin!(controllers);
    let lost = async {
        match &lease {
            Some(lease) => lease.lost(&leadership, vital).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = &mut controllers => Err(Error::Ended("the controller")),
        () = lost => Err(Error::LeaseLost),
        () = terminate.received() => {
            info!("terminating: what is under way is finished first");
            stop.cancel();
            controllers.await;
            if let Some(lease) = lease {
                lease.give_back().await;
            }
            Ok(())
        }
    }
}

/// What the controller is told: the settings, and the operator's own account.
async fn settings(
    client: &Client,
    options: &RunOptions,
    leadership: &Leadership,
    metrics: &Arc<Metrics>,
) -> Result<controller::Options, Error> {
    let cluster = cluster(client, options).await?;
    if options.require_class && !options.classes {
        return Err(SettingsError::ClassesRequired.into());
    }
    let own_key = own_key(client, options)?;
    let session_options = session_options(options, own_key.clone());
    let session = Session::from_environment(&session_options, leadership.clone(), metrics.clone()).await?;
    let session = Arc::new(session);
    info!(cluster_id = cluster.id, cluster_name = cluster.name, region = session.region, "starting");
    Ok(controller::Options {
        namespaces: options.watch_namespaces.clone(),
        own_namespace: options.namespace.clone(),
        classes: options.classes,
        class_selector: options.class_selector.clone(),
        require_class: options.require_class,
        cluster,
        session,
        session_options,
        own_key,
        defaults: options.defaults(),
        metrics: metrics.clone(),
        slots: usize::from(options.concurrency),
        user_metrics: options.user_metrics,
        waits: waits(options),
        alarm_interval: options.alarm_interval,
        report_interval: options.report_interval,
        resync_interval: options.resync_interval,
        leadership: leadership.clone(),
    })
}

/// The Secret with the operator's own key, where that is to be rotated.
pub(super) fn own_key(client: &Client, options: &RunOptions) -> Result<Option<OwnSecret>, SettingsError> {
    let found = options.own_key()?;
    Ok(found.map(|(name, interval)| OwnSecret::new(client.clone(), &options.namespace, name, interval)))
}

/// How to reach the operator's own account: with that key, where there is one.
pub(super) fn session_options(options: &RunOptions, own_key: Option<OwnSecret>) -> SessionOptions {
    let own_credentials = own_key.map(OwnSecret::into_provider);
    SessionOptions { own_credentials, ..options.session_options() }
}

/// One who competes for the Lease, and holds it once elected.
struct Candidate {
    held: Held,
    leads: watch::Receiver<bool>,
    renewal: JoinHandle<kube_lease_manager::Result<LeaseManager>>,
}

impl Candidate {
    /// Competes from now on.
    async fn start(options: &RunOptions, vital: &Vital) -> Result<Self, Error> {
        let (namespace, name, identity) = (options.namespace.clone(), options.lease_name.clone(), identity());
        let timings = options.lease()?;
        let starting = vital.spawn(async move {
            // A client's connections live where it was made.
            let client = client().await?;
            let manager = LeaseManagerBuilder::new(client.clone(), &name)
                .with_namespace(&namespace)
                .with_duration(timings.duration.unsigned_abs().as_secs())
                .with_grace(timings.renew_before.unsigned_abs().as_secs())
                .with_identity(identity.as_str())
                .build()
                .await?;
            let (leads, renewal) = manager.watch().await;
            let held = Held { leases: Api::namespaced(client, &namespace), name, identity, timings };
            Ok(Self { held, leads, renewal })
        });
        starting.await.map_err(|_| Error::Ended("the Lease's manager"))?
    }

    /// Returns once it holds the Lease.
    async fn elected(&mut self) -> Result<(), Error> {
        self.leads.wait_for(|leads| *leads).await.map(drop).map_err(|_| Error::LeaseLost)
    }

    /// Returns once the Lease is no longer provably its own.
    async fn lost(&self, leadership: &Leadership, vital: &Vital) {
        let (held, leads, leadership) = (self.held.clone(), self.leads.clone(), leadership.clone());
        let watching = async move { held.lost(leads, &leadership).await };
        // Once nobody waits for it, it holds no receiver that would keep the manager from giving the Lease back.
        let _ = AbortOnDropHandle::new(vital.spawn(watching)).await;
    }

    /// Without a receiver the manager gives the Lease back, so that the next replica need not wait for its end.
    async fn give_back(self) {
        drop(self.leads);
        let _ = tokio::time::timeout(REQUEST_TIMEOUT, self.renewal).await;
    }
}

/// The Lease, and who of all its candidates this is.
#[derive(Clone)]
struct Held {
    leases: Api<Lease>,
    name: String,
    identity: String,
    timings: LeaseTimings,
}

impl Held {
    /// Returns once the Lease is no longer provably ours: taken by another, given up by the manager, or not to be read for
    /// as long as it is good. The manager alone goes on for ever where the API server does not answer.
    ///
    /// Meanwhile it tells `leadership` until when the Lease is good, so that a process that was stopped writes nothing before
    /// it has read the Lease again.
    async fn lost(&self, mut leads: watch::Receiver<bool>, leadership: &Leadership) {
        let mut end = self.timings.end(Timestamp::now());
        let interval = self.timings.read_interval();
        loop {
            tokio::select! {
                _ = leads.wait_for(|leads| !*leads) => return,
                () = tokio::time::sleep(interval) => {}
            }
            if let Ok(Ok(lease)) = tokio::time::timeout(interval, self.leases.get(&self.name)).await {
                let spec = lease.spec.unwrap_or_default();
                if spec.holder_identity.as_deref() != Some(self.identity.as_str()) {
                    return;
                }
                if let Some(renewed) = spec.renew_time {
                    end = self.timings.end(renewed.0);
                    leadership.extend(end);
                }
            }
            if end <= Timestamp::now() {
                return;
            }
        }
    }
}

/// Unlike every other process's, also on one host and after a restart of this pod.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| MANAGER.to_owned());
    format!("{host}-{}-{}", std::process::id(), Timestamp::now().as_millisecond())
}

/// What must go on whatever the work costs: the endpoints and the Lease, on a thread of their own.
struct Vital(Option<Runtime>);

impl Vital {
    fn new() -> Result<Self, Error> {
        let runtime =
            runtime::Builder::new_multi_thread().worker_threads(1).thread_name("vital").enable_all().build()?;
        Ok(Self(Some(runtime)))
    }

    fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        match &self.0 {
            Some(runtime) => runtime.spawn(work),
            None => tokio::spawn(work),
        }
    }
}

impl Drop for Vital {
    fn drop(&mut self) {
        // A runtime may not wait for its end on a thread of another.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

async fn client() -> Result<Client, Error> {
    let mut config = config().await?;
    // Reconciliations are tried again as a whole; the client would repeat a POST for minutes.
    config.default_retry = false;
    config.write_timeout = Some(REQUEST_TIMEOUT);
    Ok(Client::try_from(config)?)
}

/// The waits of the settings.
pub(super) fn waits(options: &RunOptions) -> Waits {
    Waits {
        consistency_window: options.consistency_window,
        probe_interval: options.probe_interval,
        takeover: options.lease_duration,
    }
}

/// What the cluster is called in IAM.
pub(super) async fn cluster(client: &Client, options: &RunOptions) -> Result<Cluster, Error> {
    let id = match &options.cluster_id {
        Some(id) => id.clone(),
        None => {
            let namespaces: Api<Namespace> = Api::all(client.clone());
            namespaces.get("kube-system").await?.uid().unwrap_or_default()
        }
    };
    let name = options.cluster_name.clone().unwrap_or_else(|| id.chars().take(8).collect());
    Ok(Cluster { id, name })
}

struct Terminate {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
}

impl Terminate {
    fn new() -> Result<Self, Error> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}
