//! `run`: the process around the controller. It works only while it holds the Lease, and ends rather than go on
//! half-alive.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, Config, ResourceExt};
use kube_lease_manager::LeaseManagerBuilder;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::Error;
use crate::aws::{Session, SessionOptions};
use crate::config::RunOptions;
use crate::controller;
use crate::core::names::Cluster;
use crate::core::plan::Waits;
use crate::metrics::Metrics;
use crate::server::{Health, serve};
use crate::telemetry;

/// How long a Lease is good for without being renewed, and how long before its end it is renewed; seconds.
const LEASE_DURATION: u64 = 15;
const LEASE_GRACE: u64 = 5;
/// A request to the API server that takes longer has failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) async fn run(options: RunOptions) -> Result<(), Error> {
    telemetry::start(options.log_format, &options.log_level)?;
    let metrics = Arc::new(Metrics::default());
    metrics.set_started(Timestamp::now().as_duration().as_secs_f64());
    let stop = CancellationToken::new();
    let health = Health::new(metrics.clone());
    let serving = tokio::spawn(serve(options.listen, health.clone(), stop.clone()));
    let working = work(options, metrics, health, stop.clone());
    tokio::select! {
        ended = serving => match ended {
            Ok(Err(error)) => Err(Error::Listener(error)),
            _ => Err(Error::Ended("the HTTP listener")),
        },
        outcome = working => {
            stop.cancel();
            outcome
        }
    }
}

async fn work(
    options: RunOptions,
    metrics: Arc<Metrics>,
    health: Health,
    stop: CancellationToken,
) -> Result<(), Error> {
    let client = client().await?;
    let cluster = cluster(&client, &options).await?;
    let session_options = SessionOptions {
        requests_per_second: options.requests_per_second,
    };
    let session = Arc::new(Session::from_environment(&session_options, metrics.clone()).await);
    info!(
        cluster_id = cluster.id,
        cluster_name = cluster.name,
        region = session.region,
        "starting"
    );
    health.set_ready(true);
    let mut terminate = Terminate::new()?;
    let lease = if options.leader_election {
        let manager = LeaseManagerBuilder::new(client.clone(), &options.lease_name)
            .with_namespace(&options.namespace)
            .with_duration(LEASE_DURATION)
            .with_grace(LEASE_GRACE)
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
    metrics.set_leader(true);
    info!("leading");
    let controllers = controller::run(
        client,
        controller::Options {
            namespaces: options.watch_namespaces,
            concurrency: options.concurrency,
            cluster,
            session,
            metrics: metrics.clone(),
            waits: Waits {
                consistency_window: options.consistency_window,
                probe_interval: options.probe_interval,
            },
            resync_interval: options.resync_interval,
        },
        stop.clone(),
    );
    tokio::pin!(controllers);
    let lost = async {
        match lease.as_ref() {
            Some((leads, _)) => {
                let mut leads = leads.clone();
                // An error means that the renewal has ended: that is a loss, too.
                let _ = leads.wait_for(|leads| !*leads).await;
            }
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

async fn client() -> Result<Client, Error> {
    let mut config = Config::infer().await?;
    // Reconciliations are tried again as a whole; the client would repeat a POST for minutes.
    config.default_retry = false;
    config.write_timeout = Some(REQUEST_TIMEOUT);
    Ok(Client::try_from(config)?)
}

async fn cluster(client: &Client, options: &RunOptions) -> Result<Cluster, Error> {
    let id = match &options.cluster_id {
        Some(id) => id.clone(),
        None => {
            let namespaces: Api<Namespace> = Api::all(client.clone());
            namespaces.get("kube-system").await?.uid().unwrap_or_default()
        }
    };
    let name = options
        .cluster_name
        .clone()
        .unwrap_or_else(|| id.chars().take(8).collect());
    Ok(Cluster { id, name })
}

struct Terminate {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
}

impl Terminate {
    fn new() -> Result<Self, Error> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
        })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}
