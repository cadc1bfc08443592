//! The phases, in the order in which a user of the operator meets them.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use serde_json::json;

use super::fleet::Goal;
use super::floor::Phase;
use super::run::{Run, difference};
use super::subject::Kind;
use super::usage::Usage;
use crate::kubernetes::Kubernetes;
use crate::wait::eventually;

/// kube's longest pause before a watch that has lost the API server is begun anew, with the lists.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How many intervals a sweep may take on a slow machine.
const SLOWEST: u32 = 4;

impl Run {
    /// Creates all users at once, and waits until all are Ready.
    ///
    /// # Errors
    /// Where one does not become Ready, or what is in IAM and Kubernetes then is not one of each.
    pub async fn create(&mut self) -> Result<()> {
        self.start(&[]).await?;
        self.quiet().await?;
        self.measure(Phase::Create, self.setup.users, async |run| {
            run.fleet.create(&run.names, |number| run.spec(number)).await?;
            let times = run.fleet.settled("creating", run.setup.pace.patience).await?;
            run.quiet().await?;
            Ok(Some(times))
        })
        .await?;
        self.check_made().await
    }

    /// The same, `first` users before the others; what each of the others takes of resident memory, KiB.
    ///
    /// # Errors
    /// As [`Run::create`].
    pub async fn create_in_two_steps(&mut self, first: usize) -> Result<f64> {
        let mut memory = 0.0;
        self.start(&[]).await?;
        self.quiet().await?;
        let patience = self.setup.pace.patience;
        self.measure(Phase::Create, self.setup.users, async |run| {
            let (early, late) = run.names.split_at(first);
            run.fleet.create(early, |number| run.spec(number)).await?;
            let mut times = run.fleet.settled("creating", patience).await?;
            let late = late.to_vec();
            memory = run.memory().await?;
            run.fleet.create(&late, |number| run.spec(number)).await?;
            times.extend(run.fleet.settled("creating", patience).await?);
            times.sort_by(f64::total_cmp);
            memory = run.memory().await? - memory;
            Ok(Some(times))
        })
        .await?;
        self.check_made().await?;
        #[expect(clippy::cast_precision_loss, reason = "users are far fewer than 2^52")]
        Ok(memory * 1024.0 / (self.setup.users - first) as f64)
    }

    /// Touches the labels of all, which asks for nothing; has all watches break, where the control plane is given; and
    /// then lets nothing happen.
    ///
    /// # Errors
    /// Where the API server does not come back.
    pub async fn rest(&mut self, kubernetes: Option<&mut Kubernetes>) -> Result<()> {
        let mut idle_cpu = 0.0;
        self.measure(Phase::Rest, self.setup.users, async |run| {
            run.fleet.patch(&run.names, &json!({ "labels": { "bench": "touched" } }), None).await?;
            if let Some(kubernetes) = kubernetes {
                kubernetes.stop_apiserver().await?;
                kubernetes.start_apiserver().await?;
                // What the lists take is part of the phase, and not of the idle time.
                tokio::time::sleep(LONGEST_PAUSE).await;
            }
            run.quiet().await?;
            let before = run.usage()?;
            tokio::time::sleep(run.setup.pace.idle).await;
            idle_cpu = run.usage()?.cpu_seconds - before.cpu_seconds;
            Ok(None)
        })
        .await?;
        self.figures.idle_cpu_percent = 100.0 * idle_cpu / self.setup.pace.idle.as_secs_f64();
        Ok(())
    }

    /// Ends the process and starts it again.
    ///
    /// # Errors
    /// Where it does not come to rest.
    pub async fn start_again(&mut self) -> Result<()> {
        self.measure(Phase::Restart, self.setup.users, async |run| {
            run.restart(&[]).await?;
            run.quiet().await?;
            Ok(None)
        })
        .await
    }

    /// One whole resync interval, a short one, with a credential report of its own. Of who knows no report, where the machine is
    /// too slow for it, until as many users have been read as there are, which is as much work.
    ///
    /// # Errors
    /// Where it does not come to rest before, or the accounts were not read.
    pub async fn sweep(&mut self) -> Result<()> {
        let interval = self.setup.pace.sweep;
        // As they are to each other by default.
        let settings = [("S3ACCESS_RESYNC_INTERVAL", interval), ("S3ACCESS_REPORT_INTERVAL", interval * 6 / 10)];
        let settings = settings.map(|(name, interval)| (name, format!("{}s", interval.as_secs())));
        let settings = settings.each_ref().map(|(name, interval)| (*name, interval.as_str()));
        self.restart(&settings).await?;
        // Who knows no bulk read reads each user.
        let (counted, least) = match self.setup.kind {
            Kind::Operator => (&["GetAccountAuthorizationDetails", "GetCredentialReport"][..], self.accounts.len()),
            _ => (&["GetUser"][..], self.setup.users),
        };
        // What a start takes is the restart phase's, and so is the first report, which is news to each status.
        self.swept(interval * 2, counted, least).await?;
        if let Kind::Operator = self.setup.kind {
            self.written().await?;
        }
        self.measure(Phase::Sweep, self.setup.users, async |run| {
            run.swept(interval, counted, least).await?;
            Ok(None)
        })
        .await?;
        self.restart(&[]).await?;
        self.quiet().await
    }

    /// Waits for so long, and where the machine is too slow for it, until each of these calls was made so often.
    async fn swept(&mut self, time: Duration, counted: &[&str], least: usize) -> Result<()> {
        let (before, started, least) = (self.calls().await?, Instant::now(), u64::try_from(least)?);
        tokio::time::sleep(time).await;
        while started.elapsed() < time * SLOWEST {
            let calls = difference(&self.calls().await?, &before);
            if counted.iter().all(|call| calls.get(*call).is_some_and(|count| *count >= least)) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    /// Asks for a new key of the first so many at once, and waits until the old ones are gone.
    ///
    /// # Errors
    /// Where one does not get its key.
    pub async fn rotate(&mut self, users: usize) -> Result<()> {
        self.measure(Phase::Rotate, users, async |run| {
            run.fleet.rotate(&run.names[..users], &Timestamp::now().to_string(), Goal::Retired).await?;
            let times = run.fleet.settled("rotating", run.setup.pace.patience).await?;
            run.quiet().await?;
            Ok(Some(times))
        })
        .await
    }

    /// Deletes all at once, and waits until nothing is left of them.
    ///
    /// # Errors
    /// Where something is left.
    pub async fn delete(&mut self) -> Result<()> {
        self.measure(Phase::Delete, self.setup.users, async |run| {
            run.fleet.delete(&run.names).await?;
            let times = run.fleet.settled("deleting", run.setup.pace.patience).await?;
            run.quiet().await?;
            Ok(Some(times))
        })
        .await?;
        let left = self.in_iam().await? - self.setup.kind.identities(self.accounts.len());
        ensure!(left == 0, "{left} IAM users are left");
        eventually("the garbage collector to take the Secrets", self.at_least(self.setup.pace.patience), async || {
            let secrets = self.secrets().await?;
            ensure!(secrets == 0, "{secrets} Secrets are left");
            Ok(())
        })
        .await?;
        self.stop().await
    }

    /// One of each, whatever was counted.
    async fn check_made(&self) -> Result<()> {
        let (users, identities) = (self.setup.users, self.setup.kind.identities(self.accounts.len()));
        let made = self.in_iam().await? - identities;
        ensure!(made == users, "{made} IAM users were made for {users} S3AccessUsers");
        let secrets = self.secrets().await?;
        let wanted = if self.setup.kind.makes_keys() { users } else { 0 };
        ensure!(secrets == wanted, "there are {secrets} Secrets for {users} S3AccessUsers");
        Ok(())
    }

    async fn in_iam(&self) -> Result<usize> {
        let mut users = 0;
        for account in &self.accounts {
            users += account.users().await?;
        }
        Ok(users)
    }

    async fn secrets(&self) -> Result<usize> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.setup.namespace);
        let params = ListParams::default().limit(500);
        let (mut count, mut next) = (0, None);
        loop {
            let page = ListParams { continue_token: next, ..params.clone() };
            let list: kube::core::ObjectList<PartialObjectMeta<Secret>> = secrets.list_metadata(&page).await?;
            count += list.items.len();
            next = list.metadata.continue_.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(count);
            }
        }
    }

    /// Resident memory with the users there so far, once nothing happens, MiB.
    ///
    /// # Errors
    /// Where nothing runs.
    pub async fn memory(&mut self) -> Result<f64> {
        self.quiet().await?;
        Ok(self.usage()?.rss_mib)
    }

    /// Waits for a process that has just been started to have done its first work, and then measures it.
    pub(super) async fn settled_usage(&mut self) -> Result<Usage> {
        self.quiet().await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        self.usage()
    }

    /// How long `work` takes, seconds.
    pub(super) async fn timed(&mut self, work: impl AsyncFnOnce(&mut Self) -> Result<()>) -> Result<f64> {
        let started = Instant::now();
        work(self).await?;
        Ok(started.elapsed().as_secs_f64())
    }
}
