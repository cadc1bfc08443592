//! What is not about one phase: a new user among waiting ones, an account in the dark, and Secrets of others.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use super::figures::{Dark, Overtaking, Unrelated};
use super::fleet::Goal;
use super::floor::Phase;
use super::run::{Run, queue_depth};
use crate::wait::eventually;

/// The operator's own default.
pub(super) const REQUESTS_PER_SECOND: u32 = 10;
/// The share of the users that is to wait before.
const MOST: f64 = 0.9;
/// Between one overtaker and the next: what an account's limit keeps for new users has come back by then.
const BETWEEN: Duration = Duration::from_secs(5);
/// When a new user among waiting ones is given up.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long the double is asked as much as can be.
const CEILING: Duration = Duration::from_secs(5);
/// Creates of big Secrets under way at once.
const CLIENTS: usize = 4;

impl Run {
    /// With all users waiting to be rotated at the default limit of requests, creates one more.
    ///
    /// # Errors
    /// Where it is not Ready even with nothing else to do, or the rotations do not end.
    pub async fn overtake(&mut self) -> Result<()> {
        let limit = REQUESTS_PER_SECOND.to_string();
        self.restart(&[("S3ACCESS_REQUESTS_PER_SECOND", &limit)]).await?;
        self.quiet().await?;
        let mut new: Vec<String> = Vec::new();
        let mut idle = Vec::new();
        for number in 0..3 {
            new.push(format!("idle-{number}"));
            idle.push(self.one_more(&new[number..]).await?.context("not Ready with nothing else to do")?);
            self.quiet().await?;
        }
        idle.sort_by(f64::total_cmp);
        self.fleet.rotate(&self.names, &Timestamp::now().to_string(), Goal::Retired).await?;
        // The machine is busy with the requests for them until then.
        let port = self.metrics();
        let enough = self.setup.users as f64 * MOST;
        eventually("the rotations to wait", self.setup.pace.patience, async || {
            let depth = queue_depth(port).await?;
            ensure!(depth >= enough, "{depth} wait");
            Ok(())
        })
        .await?;
        let waiting = self.fleet.waiting(&self.names);
        let mut busy = Vec::new();
        for number in 0..3 {
            // As with nothing else to do, the one before has left its turns at the account to this one.
            tokio::time::sleep(BETWEEN).await;
            new.push(format!("overtaker-{number}"));
            busy.push(self.one_more(&new[3 + number..]).await?.unwrap_or(f64::INFINITY));
        }
        busy.sort_by(f64::total_cmp);
        self.figures.overtaking = Some(Overtaking {
            requests_per_second: REQUESTS_PER_SECOND,
            waiting,
            idle_seconds: idle[1],
            busy_seconds: Some(busy[1]).filter(|seconds| seconds.is_finite()),
            patience_seconds: PATIENCE.as_secs_f64(),
        });
        eprintln!("overtaking: {:?}", self.figures.overtaking);
        self.call_off().await?;
        self.remove(&new).await
    }

    /// Takes the requests for new keys back; what has begun comes to its end.
    async fn call_off(&mut self) -> Result<()> {
        self.stop().await?;
        self.fleet.forget(&self.names);
        self.fleet.patch(&self.names, &json!({ "annotations": { "s3access.dev/rotate": null } }), None).await?;
        self.start(&[]).await?;
        eventually("the rotations that have begun to end", self.setup.pace.patience, async || {
            let left = self.fleet.unsettled(&self.names);
            ensure!(left == 0, "{left} are under way");
            Ok(())
        })
        .await?;
        self.quiet().await
    }

    /// Creates users beside the measured ones; the seconds until all are Ready.
    async fn one_more(&self, names: &[String]) -> Result<Option<f64>> {
        self.fleet.create(names, |_| self.spec(0)).await?;
        let time = self.fleet.reach(names, PATIENCE).await;
        if time.is_none() {
            // It gets there in the end, and is removed then.
            eprintln!("{names:?} not Ready after {PATIENCE:?}");
        }
        Ok(time)
    }

    /// Takes users away that came beside the measured ones.
    pub(super) async fn remove(&mut self, names: &[String]) -> Result<()> {
        self.fleet.delete(names).await?;
        self.fleet.settled("removing what came beside", self.setup.pace.patience).await?;
        self.quiet().await
    }

    /// Makes the second account dark with rotations under way there, and users in the first.
    ///
    /// # Errors
    /// Where the first account's do not become Ready, or the second's do not recover.
    pub async fn dark(&mut self) -> Result<()> {
        let batch = (self.setup.users / 4).clamp(1, 100);
        let named = |kind: &str| -> Vec<String> { (0..batch).map(|number| format!("{kind}-{number}")).collect() };
        let (light, dark) = (named("light"), named("dark"));
        let light_seconds = self.timed(async |run| run.batch(&light).await.map(drop)).await?;
        self.quiet().await?;
        let stuck: Vec<String> = self.names.iter().skip(1).step_by(self.accounts.len()).take(batch).cloned().collect();
        self.accounts[1].set_dark(true)?;
        self.fleet.rotate(&stuck, &Timestamp::now().to_string(), Goal::Retired).await?;
        // Longer than it takes to find a connection dead: all turns of that account are taken by then.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let mut dark_seconds = 0.0;
        self.measure(Phase::Dark, batch, async |run| {
            let times = run.batch(&dark).await?;
            dark_seconds = times.last().copied().unwrap_or_default();
            Ok(Some(times))
        })
        .await?;
        let left = self.fleet.waiting(&stuck);
        ensure!(left == stuck.len(), "{left} of {} waited for the dark account", stuck.len());
        self.accounts[1].set_dark(false)?;
        self.fleet.settled("recovering from the dark", self.setup.pace.patience).await?;
        self.figures.dark = Some(Dark { light_seconds, dark_seconds });
        eprintln!("dark: {:?}", self.figures.dark);
        let beside: Vec<String> = light.into_iter().chain(dark).collect();
        self.remove(&beside).await
    }

    /// Creates users in the first account, and waits until they are Ready; the seconds that each took, sorted.
    async fn batch(&self, names: &[String]) -> Result<Vec<f64>> {
        self.fleet.create(names, |_| self.spec(0)).await?;
        let patience = self.setup.pace.patience;
        let all = self.fleet.reach(names, patience).await;
        Ok(vec![all.with_context(|| format!("{} are not Ready", self.fleet.waiting(names)))?])
    }

    /// Measures what the double answers at most, so that it is known not to be what was measured.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn measure_double(&mut self) -> Result<()> {
        self.figures.double = Some(self.accounts[0].ceiling(CEILING).await?);
        eprintln!("the double: {:?}", self.figures.double);
        Ok(())
    }

    /// Makes Secrets that are nobody's business here, and starts the process with and without them.
    ///
    /// # Errors
    /// Where the API server does not take them.
    pub async fn unrelated_secrets(&mut self, secrets: usize, bytes: usize) -> Result<()> {
        self.restart(&[]).await?;
        let before_mib = self.settled_usage().await?.rss_mib;
        let name = format!("{}-unrelated", self.setup.namespace);
        let namespace: Namespace = serde_json::from_value(json!({ "metadata": { "name": name } }))?;
        Api::<Namespace>::all(self.client.clone()).create(&PostParams::default(), &namespace).await?;
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &name);
        let filling = ByteString(vec![b'x'; bytes]);
        let create = |number| {
            let secret = Secret {
                metadata: kube::core::ObjectMeta { name: Some(format!("big-{number}")), ..Default::default() },
                data: Some([("filling".to_owned(), filling.clone())].into()),
                ..Secret::default()
            };
            let api = &api;
            async move { api.create(&PostParams::default(), &secret).await.map(drop) }
        };
        stream::iter(0..secrets).map(create).buffer_unordered(CLIENTS).try_collect::<()>().await?;
        self.restart(&[]).await?;
        let after_mib = self.settled_usage().await?.rss_mib;
        self.figures.unrelated_secrets = Some(Unrelated { secrets, bytes, before_mib, after_mib });
        eprintln!("unrelated Secrets: {:?}", self.figures.unrelated_secrets);
        Ok(())
    }
}
