//! Whether an S3-compatible system heeds the conditions that bind keys: found out by use, since some ignore them without
//! a word.
//!
//! A user of the operator's own, that no S3AccessUser has, may list buckets under a condition that always or never holds, and
//! S3 is asked. It is there for seconds; one that a crash has left is removed by the next try.

use std::time::Duration;

use kube::ResourceExt;
use secrecy::SecretString;
use serde_json::json;

use crate::api::S3AccessClass;
use crate::aws::{ErrorKind, Session};
use crate::controller::error::Error;
use crate::core::names::{self, Cluster, Identity, Ownership};
use crate::core::policy::{Document, PROVABLE};

/// Such a system may take a while to hear of a new policy.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(300);
/// In place of a namespace, which has no such name.
const NAMESPACE: &str = "-";

/// The throw-away user.
struct Probe<'a> {
    session: &'a Session,
    user: String,
    identity: Identity,
}

/// The condition keys that the system of the class heeds.
///
/// # Errors
/// The first call that failed; what was made is removed as far as it can be.
pub async fn condition_keys(session: &Session, cluster: &Cluster, class: &S3AccessClass) -> Result<Vec<String>, Error> {
    let uid = class.uid().unwrap_or_default();
    let identity =
        Identity { cluster_id: cluster.id.clone(), uid, namespace: NAMESPACE.to_owned(), name: class.name_any() };
    let probe = Probe { session, user: names::user_name(cluster, NAMESPACE, &class.name_any()), identity };
    probe.remove().await?;
    let found = probe.try_all(class.spec.path.as_deref().unwrap_or("/")).await;
    let removed = probe.remove().await;
    let found = found?;
    removed.map(|()| found)
}

impl Probe<'_> {
    async fn try_all(&self, path: &str) -> Result<Vec<String>, Error> {
        let iam = &self.session.iam;
        iam.create_user(&self.user, path, &self.identity.tags(), None).await?;
        let key = iam.create_access_key(&self.user).await?;
        let (id, secret) = (key.minted.id.as_str(), &key.secret);
        // Where nothing is denied without a condition, a denial proves nothing, and the other way round.
        if !self.answers(None, id, secret, true).await? {
            return Ok(Vec::new());
        }
        let over_tls = self.session.s3_endpoint.as_ref().is_some_and(|url| url.starts_with("https://"));
        let mut proven = Vec::new();
        for provable in PROVABLE {
            let (holds, fails) = provable.conditions(over_tls);
            if self.answers(Some(fails), id, secret, false).await?
                && self.answers(Some(holds), id, secret, true).await?
            {
                proven.push(provable.key().to_owned());
            }
        }
        Ok(proven)
    }

    /// Whether the key comes to be let in, or kept out, under that condition.
    async fn answers(
        &self,
        condition: Option<serde_json::Value>,
        id: &str,
        secret: &SecretString,
        wanted: bool,
    ) -> Result<bool, Error> {
        let mut statement = json!({ "Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*" });
        if let Some(condition) = condition {
            statement["Condition"] = condition;
        }
        let document = Document::new(vec![statement]);
        match self.session.iam.put_user_policy(&self.user, &self.user, &document).await {
            // It takes no such condition, and so heeds none.
            Err(error) if error.kind == ErrorKind::MalformedPolicy => return Ok(false),
            put => put?,
        }
        for _ in 0..TRIES {
            if self.session.sts.lists_buckets(id, secret).await? == Some(wanted) {
                return Ok(true);
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(false)
    }

    /// Removes the user, if it is this one.
    async fn remove(&self) -> Result<(), Error> {
        let iam = &self.session.iam;
        let Some(found) = iam.get_user(&self.user).await? else { return Ok(()) };
        if self.identity.ownership(&found.tags) == Ownership::Foreign {
            let message = format!(
                "IAM user {} is somebody else's, and has the name of the one that conditions are tried with",
                self.user
            );
            return Err(Error::InvalidClass(message));
        }
        for key in iam.list_access_keys(&self.user).await? {
            iam.delete_access_key(&self.user, &key.id).await?;
        }
        iam.delete_user_policy(&self.user, &self.user).await?;
        Ok(iam.delete_user(&self.user).await?)
    }
}
