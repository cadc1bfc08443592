//! `run`: the process around the controller. It works only while it holds the Lease, and ends rather than go on
//! half-alive.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, Config, ResourceExt};
use kube_lease_manager::LeaseManagerBuilder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::Error;
use crate::api::MANAGER;
use crate::aws::{Session, SettingsError};
use crate::config::RunOptions;
use crate::controller;
use crate::core::names::Cluster;
use crate::core::plan::Waits;
use crate::core::rotation::later;
use crate::leadership::Leadership;
use crate::metrics::Metrics;
use crate::server::{Health, serve};
use crate::telemetry;

/// How long a Lease is good for without being renewed, and how long before its end it is renewed; seconds.
const LEASE_DURATION: u64 = 15;
const LEASE_GRACE: u64 = 5;
/// How often the Lease is looked at.
const LEASE_LOOK: Duration = Duration::from_secs(3);
/// A request to the API server that takes longer has failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) async fn run(options: RunOptions) -> Result<(), Error> {
    let telemetry = telemetry::start(options.log_format, &options.log_level)?;
    let metrics = Arc::new(Metrics::default());
    metrics.set_started(Timestamp::now().as_duration().as_secs_f64());
    let done = CancellationToken::new();
    let health = Health::new(metrics.clone());
    let serving = tokio::spawn(serve(options.listen, health.clone(), done.clone()));
    let working = work(options, metrics, health);
    let outcome = tokio::select! {
        ended = serving => match ended {
            Ok(Err(error)) => Err(Error::Listener(error)),
            _ => Err(Error::Ended("the HTTP listener")),
        },
        outcome = working => {
            done.cancel();
            outcome
        }
    };
    telemetry.stop().await;
    outcome
}

async fn work(options: RunOptions, metrics: Arc<Metrics>, health: Health) -> Result<(), Error> {
    let client = client().await?;
    let cluster = cluster(&client, &options).await?;
    if options.require_class && !options.classes {
        return Err(SettingsError::ClassesRequired.into());
    }
    let session_options = options.session_options();
    let leadership = if options.leader_election { Leadership::nobody() } else { Leadership::unopposed() };
    let session = Session::from_environment(&session_options, leadership.clone(), metrics.clone()).await?;
    let session = Arc::new(session);
    info!(cluster_id = cluster.id, cluster_name = cluster.name, region = session.region, "starting");
    health.set_ready(true);
    let mut terminate = Terminate::new()?;
    let identity = identity();
    let leases: Api<Lease> = Api::namespaced(client.clone(), &options.namespace);
    let lease = if options.leader_election {
        let manager = LeaseManagerBuilder::new(client.clone(), &options.lease_name)
            .with_namespace(&options.namespace)
            .with_duration(LEASE_DURATION)
            .with_grace(LEASE_GRACE)
            .with_identity(identity.as_str())
            .build()
            .await?;
        let (mut leads, renewal) = manager.watch().await;
        info!(lease = options.lease_name, "waiting for the Lease");
        tokio::select! {
            held = leads.wait_for(|leads| *leads) => { held.map_err(|_| Error::LeaseLost)?; }
            () = terminate.received() => return Ok(()),
        }
        Some((leads, renewal))
    } else {
        None
    };
    if lease.is_some() {
        // The manager renewed it a moment ago.
        leadership.extend(lease_end(Timestamp::now()));
    }
    metrics.set_leader(true);
    info!("leading");
    let stop = CancellationToken::new();
    let waits = waits(&options);
    let controllers = controller::run(
        client,
        controller::Options {
            namespaces: options.watch_namespaces,
            own_namespace: options.namespace.clone(),
            classes: options.classes,
            class_selector: options.class_selector,
            require_class: options.require_class,
            cluster,
            session,
            session_options,
            metrics: metrics.clone(),
            user_metrics: options.user_metrics,
            waits,
            resync_interval: options.resync_interval,
            leadership: leadership.clone(),
        },
        stop.clone(),
    );
    tokio::pin!(controllers);
    let lost = async {
        match lease.as_ref() {
            Some((leads, _)) => lease_lost(&leases, &options.lease_name, &identity, leads.clone(), &leadership).await,
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
            if let Some((leads, renewal)) = lease {
                // Without a receiver the manager gives the Lease back, so that the next replica need not wait for its end.
                drop(leads);
                let _ = tokio::time::timeout(REQUEST_TIMEOUT, renewal).await;
            }
            Ok(())
        }
    }
}

/// Returns once the Lease is no longer provably ours: taken by another, given up by the manager, or not to be read for
/// as long as it is good. The manager alone goes on for ever where the API server does not answer.
///
/// Meanwhile it tells `leadership` until when the Lease is good, so that a process that was stopped writes nothing before
/// it has looked again.
async fn lease_lost(
    leases: &Api<Lease>,
    name: &str,
    identity: &str,
    mut leads: watch::Receiver<bool>,
    leadership: &Leadership,
) {
    let mut end = lease_end(Timestamp::now());
    loop {
        tokio::select! {
            _ = leads.wait_for(|leads| !*leads) => return,
            () = tokio::time::sleep(LEASE_LOOK) => {}
        }
        if let Ok(Ok(lease)) = tokio::time::timeout(LEASE_LOOK, leases.get(name)).await {
            let spec = lease.spec.unwrap_or_default();
            if spec.holder_identity.as_deref() != Some(identity) {
                return;
            }
            if let Some(renewed) = spec.renew_time {
                end = lease_end(renewed.0);
                leadership.extend(end);
            }
        }
        if end <= Timestamp::now() {
            return;
        }
    }
}

fn lease_end(renewed: Timestamp) -> Timestamp {
    later(renewed, SignedDuration::from_secs(LEASE_DURATION.cast_signed()))
}

/// Unlike every other process's, also on one host and after a restart of this pod.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| MANAGER.to_owned());
    format!("{host}-{}-{}", std::process::id(), Timestamp::now().as_millisecond())
}

async fn client() -> Result<Client, Error> {
    let mut config = Config::infer().await?;
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
        takeover: SignedDuration::from_secs(LEASE_DURATION.cast_signed()),
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
