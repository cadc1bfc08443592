//! Leaves nothing behind: what is under the path and has the prefix goes, and is counted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_iam::Client;
use aws_sdk_iam::types::PolicyScopeType;
use ground::wait::eventually;
use serde_json::{Value, json};

use super::rights::Scope;
use super::tools::Tools;

/// Long enough for AWS to show what is gone as gone.
const GONE: Duration = Duration::from_secs(90);

/// What there is in the account under path and prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) users: Vec<String>,
    pub(crate) keys: usize,
    /// ARNs.
    pub(crate) policies: Vec<String>,
    pub(crate) buckets: usize,
}

impl Census {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl std::fmt::Display for Census {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { users, keys, policies, buckets } = self;
        write!(formatter, "{} users, {keys} keys, {} policies, {buckets} buckets", users.len(), policies.len())
    }
}

/// Who cleans, and where.
pub(crate) struct Cleaner<'a> {
    pub(crate) iam: &'a Client,
    pub(crate) scope: &'a Scope,
    pub(crate) tools: &'a Tools,
    pub(crate) bucket: String,
    pub(crate) has_managed: bool,
    /// How long a list may lack what was just made.
    pub(crate) spread: Duration,
}

impl Cleaner<'_> {
    /// Counts what there is.
    pub(crate) async fn census(&self) -> Result<Census> {
        let mut census = Census { users: self.users().await?, policies: self.policies().await?, ..Census::default() };
        for user in &census.users {
            let listed = self.iam.list_access_keys().user_name(user).send().await;
            census.keys += listed.map_or(0, |listed| listed.access_key_metadata().len());
        }
        census.buckets = usize::from(self.ask_s3("ListBucket").await?["code"] != "NoSuchBucket");
        Ok(census)
    }

    /// Removes everything; what there was, and what there is.
    pub(crate) async fn clean(&self) -> Result<[Census; 2]> {
        let before = self.census().await?;
        if before.buckets > 0 {
            let removed = self.ask_s3("RemoveBucket").await?;
            ensure!(removed["allowed"] == true, "the bucket {} cannot be removed: {removed}", self.bucket);
        }
        // What was made last may be in no list yet.
        let from = Instant::now();
        let after = eventually("everything to be gone", GONE + self.spread, async || {
            for user in self.users().await? {
                self.remove_user(&user).await.with_context(|| format!("removing the user {user}"))?;
            }
            for arn in self.policies().await? {
                self.remove_policy(&arn).await.with_context(|| format!("removing {arn}"))?;
            }
            let left = self.census().await?;
            ensure!(left.is_empty(), "there are still {left}");
            ensure!(before.is_empty() || from.elapsed() >= self.spread, "waiting for what is in no list yet");
            Ok(left)
        })
        .await?;
        Ok([before, after])
    }

    async fn users(&self) -> Result<Vec<String>> {
        let mut pages = self.iam.list_users().path_prefix(&self.scope.path).into_paginator().items().send();
        let mut found = Vec::new();
        while let Some(user) = pages.next().await {
            let user = user.context("listing users")?;
            if self.scope.holds(user.path(), user.user_name()) {
                found.push(user.user_name().to_owned());
            }
        }
        Ok(found)
    }

    async fn policies(&self) -> Result<Vec<String>> {
        if !self.has_managed {
            return Ok(Vec::new());
        }
        let listing = self.iam.list_policies().scope(PolicyScopeType::Local).path_prefix(&self.scope.path);
        let mut pages = listing.into_paginator().items().send();
        let mut found = Vec::new();
        while let Some(policy) = pages.next().await {
            let policy = policy.context("listing policies")?;
            let (path, name) = (policy.path().unwrap_or_default(), policy.policy_name().unwrap_or_default());
            if self.scope.holds(path, name) {
                found.extend(policy.arn().map(ToOwned::to_owned));
            }
        }
        Ok(found)
    }

    /// Keys first: they are what does harm.
    async fn remove_user(&self, user: &str) -> Result<()> {
        let keys = self.iam.list_access_keys().user_name(user).send().await?;
        for key in keys.access_key_metadata() {
            let id = key.access_key_id().unwrap_or_default();
            self.iam.delete_access_key().user_name(user).access_key_id(id).send().await?;
        }
        if self.has_managed {
            let attached = self.iam.list_attached_user_policies().user_name(user).send().await?;
            for policy in attached.attached_policies() {
                let arn = policy.policy_arn().unwrap_or_default();
                self.iam.detach_user_policy().user_name(user).policy_arn(arn).send().await?;
            }
        }
        for name in self.iam.list_user_policies().user_name(user).send().await?.policy_names() {
            self.iam.delete_user_policy().user_name(user).policy_name(name).send().await?;
        }
        self.iam.delete_user().user_name(user).send().await?;
        Ok(())
    }

    async fn remove_policy(&self, arn: &str) -> Result<()> {
        let versions = self.iam.list_policy_versions().policy_arn(arn).send().await?;
        for version in versions.versions().iter().filter(|version| !version.is_default_version()) {
            let id = version.version_id().unwrap_or_default();
            self.iam.delete_policy_version().policy_arn(arn).version_id(id).send().await?;
        }
        self.iam.delete_policy().policy_arn(arn).send().await?;
        Ok(())
    }

    async fn ask_s3(&self, operation: &str) -> Result<Value> {
        let task = json!([{ "operation": operation, "bucket": self.bucket }]);
        let answers = self.tools.probe(&self.tools.admin(), &task).await?;
        match answers.into_iter().next() {
            Some(answer) if answer["allowed"] == true || answer["code"] == "NoSuchBucket" => Ok(answer),
            Some(answer) => bail!("{operation} on the bucket {}: {}", self.bucket, answer["code"]),
            None => bail!("s3_probe.py answered nothing"),
        }
    }
}

/// Names of the census by kind, for a report.
pub(crate) fn counted(census: &Census) -> BTreeMap<&'static str, usize> {
    let Census { users, keys, policies, buckets } = census;
    BTreeMap::from([("users", users.len()), ("keys", *keys), ("policies", policies.len()), ("buckets", *buckets)])
}
