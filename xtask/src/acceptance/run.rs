//! A run on its way: the operator's process and identity, and how the account is looked at.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_iam::Client;
use aws_sdk_iam::config::retry::RetryConfig;
use aws_sdk_iam::config::{BehaviorVersion, Region};
use aws_sdk_iam::types::{AccessKeyMetadata, StatusType, Tag};
use ground::moto::Account;
use ground::operator::Operator;
use ground::recorder::Recorder;
use ground::stand::{Stand, for_any_resource, shipped, shipped_policy};
use ground::wait::eventually;
use serde_json::{Value, json};

use super::objects::{Objects, SOON};
use super::rights::Scope;
use super::site::{Against, Site};
use super::tools::Tools;

/// Between two looks at the account, each of which is a call: on this machine, and elsewhere.
const PAUSE: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(2));
/// A boundary that takes nothing from what the run grants.
const BOUNDARY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;

/// A run on its way.
pub(crate) struct Run<'a> {
    pub(crate) site: &'a Site,
    pub(crate) scope: &'a Scope,
    pub(crate) recorder: &'a Recorder,
    pub(crate) tools: &'a Tools,
    pub(crate) objects: Objects,
    pub(crate) iam: Client,
    pub(crate) bucket: String,
    /// What was found out beside passed and failed.
    pub(crate) notes: Vec<String>,
    pub(crate) stand: Stand,
    operator: Option<Operator>,
    starts: u32,
}

/// The administrator's client of IAM, by way of the recorder.
pub(crate) fn admin(site: &Site, recorder: &Recorder, attempts: u32) -> Client {
    let config = aws_sdk_iam::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(site.iam.region.clone()))
        .endpoint_url(recorder.endpoint())
        .credentials_provider(site.admin.clone())
        .retry_config(RetryConfig::standard().with_max_attempts(attempts))
        .build();
    Client::from_conf(config)
}

impl<'a> Run<'a> {
    /// Nothing is made in the account yet.
    pub(crate) fn new(
        (site, scope): (&'a Site, &'a Scope),
        recorder: &'a Recorder,
        tools: &'a Tools,
        objects: Objects,
        stand: Stand,
    ) -> Self {
        let (iam, bucket) = (admin(site, recorder, 6), scope.bucket(&site.account));
        Self { site, scope, recorder, tools, objects, iam, bucket, notes: Vec::new(), stand, operator: None, starts: 0 }
    }

    /// The boundary's ARN.
    pub(crate) fn boundary(&self) -> String {
        let (partition, account) = (self.site.partition.name(), &self.site.account);
        format!("arn:{partition}:iam::{account}:policy{}{}-boundary", self.scope.own_path(), self.scope.prefix)
    }

    /// The cluster's id in the ownership tags.
    pub(crate) fn cluster_id(&self) -> String {
        format!("{}-run", self.scope.prefix)
    }

    /// Makes what the operator runs as, with its shipped policy for this path; and the boundary.
    pub(crate) async fn create_identity(&mut self) -> Result<String> {
        let (path, name) = (self.scope.own_path(), format!("{}-operator", self.scope.prefix));
        self.iam.create_user().path(&path).user_name(&name).send().await?;
        let policy = self.operator_policy()?;
        if self.site.has_managed() {
            let make = self.iam.create_policy().path(&path).policy_name(&name).policy_document(policy);
            let made = make.send().await?.policy.and_then(|policy| policy.arn).context("no ARN in the answer")?;
            self.iam.attach_user_policy().user_name(&name).policy_arn(made).send().await?;
        } else {
            let put = self.iam.put_user_policy().user_name(&name).policy_name(&name).policy_document(policy);
            put.send().await?;
        }
        if self.site.has_boundaries() {
            let boundary = format!("{}-boundary", self.scope.prefix);
            self.iam.create_policy().path(&path).policy_name(boundary).policy_document(BOUNDARY).send().await?;
        }
        let made = self.iam.create_access_key().user_name(&name).send().await?;
        let key = made.access_key.context("no key in the answer")?;
        self.stand.operator_identity = Account {
            endpoint: self.recorder.endpoint().to_owned(),
            partition: self.site.partition,
            access_key_id: key.access_key_id,
            secret_access_key: key.secret_access_key,
        };
        // Key and policy are known everywhere only after a while.
        let own = self.stand.operator_identity.iam();
        self.look("the operator's key and policy to be known", async || {
            own.list_access_keys().user_name(&name).send().await?;
            Ok(())
        })
        .await?;
        self.start(&[]).await?;
        Ok("the operator runs with its shipped policy, for this path".to_owned())
    }

    fn operator_policy(&self) -> Result<String> {
        let partition = self.site.partition;
        let policy = match self.site.against {
            Against::Moto => for_any_resource(partition)?,
            // White space counts there.
            Against::Versitygw => {
                let policy: Value = serde_json::from_str(&shipped("operator-policy.s3-compatible")?)?;
                policy.to_string()
            }
            Against::Aws | Against::Double => shipped_policy(partition)?,
        };
        Ok(policy.replace("/s3access/*", &format!("{}*", self.scope.users_path())))
    }

    /// Starts the operator, in place of the one that runs.
    pub(crate) async fn start(&mut self, more: &[(&str, &str)]) -> Result<()> {
        self.stop().await?;
        self.starts += 1;
        let (path, cluster) = (self.scope.users_path(), self.cluster_id());
        let mut settings = vec![
            ("AWS_ENDPOINT_URL", ""),
            ("AWS_ENDPOINT_URL_IAM", self.recorder.endpoint()),
            ("AWS_ENDPOINT_URL_STS", self.recorder.endpoint()),
            ("AWS_ENDPOINT_URL_S3", self.site.s3.as_deref().unwrap_or_default()),
            ("AWS_REGION", self.site.region.as_str()),
            ("S3ACCESS_CLASSES", "false"),
            ("S3ACCESS_CLUSTER_ID", cluster.as_str()),
            ("S3ACCESS_CLUSTER_NAME", self.scope.prefix.as_str()),
            ("S3ACCESS_LEADER_ELECTION", "false"),
            ("S3ACCESS_PATH", path.as_str()),
            ("S3ACCESS_WATCH_NAMESPACES", self.objects.namespace.as_str()),
        ];
        if self.is_near() {
            settings.extend([
                ("S3ACCESS_CONSISTENCY_WINDOW", "2s"),
                ("S3ACCESS_PROBE_INTERVAL", "100ms"),
                ("S3ACCESS_REQUESTS_PER_SECOND", "1000"),
            ]);
        }
        if self.site.against == Against::Versitygw {
            settings.push(("S3ACCESS_PROVIDER", "s3-compatible"));
        }
        settings.extend(more);
        let name = format!("{}-{}", self.objects.namespace, self.starts);
        self.operator = Some(self.stand.start_operator(&name, &settings).await?);
        Ok(())
    }

    /// Ends the operator in order.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        match self.operator.take() {
            Some(operator) => operator.terminate().await,
            None => Ok(()),
        }
    }

    /// Kills it.
    pub(crate) async fn kill9(&mut self) -> Result<()> {
        self.operator.take().context("no operator runs")?.kill9().await
    }

    /// One of its metrics.
    pub(crate) async fn metric(&self, name: &str) -> Result<f64> {
        self.operator.as_ref().context("no operator runs")?.metric(name, "").await
    }

    /// The end of its log, for whoever wants to know why.
    pub(crate) fn log_tail(&self) -> String {
        let log = self.operator.as_ref().and_then(|operator| operator.log().ok()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    /// Whether the server is on this machine: no replicas, and looks cost nothing.
    pub(crate) fn is_near(&self) -> bool {
        self.site.spread().is_zero()
    }

    /// Waits for something in the account.
    pub(crate) async fn look<T>(&self, what: &str, mut probe: impl AsyncFnMut() -> Result<T>) -> Result<T> {
        let pause = if self.is_near() { PAUSE.0 } else { PAUSE.1 };
        eventually(what, SOON, async || {
            let seen = probe().await;
            if seen.is_err() {
                tokio::time::sleep(pause).await;
            }
            seen
        })
        .await
    }

    /// The keys of a user.
    pub(crate) async fn keys(&self, user: &str) -> Result<Vec<AccessKeyMetadata>> {
        Ok(self.iam.list_access_keys().user_name(user).send().await?.access_key_metadata)
    }

    /// The one key of the user, which is active and the Secret's, and none of those.
    pub(crate) async fn only_key(&self, user: &str, secret: &str, old: &[&str]) -> Result<String> {
        self.look(&format!("{user} to have one key, the Secret's"), async || {
            let keys = self.keys(user).await?;
            let [key] = keys.as_slice() else { bail!("{} keys", keys.len()) };
            ensure!(key.status() == Some(&StatusType::Active), "the key is not active");
            let id = key.access_key_id().unwrap_or_default().to_owned();
            ensure!(!old.contains(&id.as_str()), "it is an old one");
            let data = self.objects.secret(secret).await?;
            ensure!(data.get("AWS_ACCESS_KEY_ID") == Some(&id), "the Secret holds another");
            Ok(id)
        })
        .await
    }

    /// What every S3AccessUser of a run has in its spec.
    pub(crate) fn spec(&self, level: &str, policy: &str) -> Value {
        // Long enough for a workload to see the new key.
        let overlap = if self.is_near() { "4s" } else { "20s" };
        json!({
            "access": [{ "bucket": self.bucket, "level": level }],
            "policy": { "type": policy },
            "accessKey": { "rotation": { "interval": "2160h", "overlap": overlap } },
        })
    }

    /// A user as an S3AccessUser of that name in an earlier life left it, with two keys of others.
    pub(crate) async fn strangers_user(&self, name: &str, owner: &str) -> Result<Vec<String>> {
        let tag = |key: &str, value: &str| Tag::builder().key(format!("s3access.dev/{key}")).value(value).build();
        let mut make = self.iam.create_user().path(self.scope.users_path()).user_name(name);
        for (key, value) in [("cluster", self.cluster_id().as_str()), ("owner", owner), ("uid", "an-earlier-one")] {
            make = make.tags(tag(key, value)?);
        }
        make.send().await?;
        let mut keys = Vec::new();
        let mut newest = jiff::Timestamp::UNIX_EPOCH;
        for _ in 0..2 {
            let made =
                self.look("a key by hand", async || Ok(self.iam.create_access_key().user_name(name).send().await?));
            let key = made.await?.access_key.context("no key in the answer")?;
            let seconds = key.create_date().map(aws_sdk_iam::primitives::DateTime::secs).unwrap_or_default();
            newest = newest.max(jiff::Timestamp::from_second(seconds)?);
            keys.push(key.access_key_id);
        }
        // What was there before that time is not the operator's to delete.
        let adopted = newest + jiff::SignedDuration::from_secs(1);
        self.iam.tag_user().user_name(name).tags(tag("adopted-at", &adopted.to_string())?).send().await?;
        // IAM dates keys by whole seconds: one that is made within this one would count among them.
        let passed = adopted + jiff::SignedDuration::from_secs(1);
        eventually("that second to have passed", SOON, async || {
            ensure!(jiff::Timestamp::now() > passed, "not yet");
            Ok(keys.clone())
        })
        .await
    }
}
