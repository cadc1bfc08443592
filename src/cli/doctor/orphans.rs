//! IAM users of the operator's own account that carry this cluster's tags and belong to no S3AccessUser.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::api::ListParams;
use kube::{Api, Client};

use super::Check;
use crate::api::{S3AccessUser, tags};
use crate::aws::{DetailsQuery, Session};
use crate::cli::run::cluster;
use crate::config::{ProviderOption, RunOptions};

/// An account has 5,000 users, unless its quota was raised; a thousand are read at once.
const DEADLINE: Duration = Duration::from_secs(300);
const WHAT: &str = "users without an S3AccessUser";

pub(super) async fn check(client: &Client, options: &RunOptions, session: &Session) -> Check {
    if !options.watch_namespaces.is_empty()
        || options.class_selector.is_some()
        || options.provider != ProviderOption::Aws
    {
        return Check::ok(WHAT, "not looked for: this operator sees a part of them");
    }
    let found = tokio::time::timeout(DEADLINE, find(client, options, session)).await;
    match found.unwrap_or_else(|_| Err("the account could not be read in time".into())) {
        Ok(names) if names.is_empty() => Check::ok(WHAT, "none in the operator's own account"),
        Ok(names) => {
            let some = names.iter().take(10).cloned().collect::<Vec<_>>().join(", ");
            let advice = "see deploy/docs/operate.md, \"Users without an S3AccessUser\"";
            Check::failure(WHAT, format!("{} in the operator's own account: {some}", names.len()), advice)
        }
        // What may be wrong with the account is said of the account itself; where all are in classes, nothing is.
        Err(error) => Check::warning(
            WHAT,
            format!(
                "not looked for in the operator's own account: {error}: grant iam:GetAccountAuthorizationDetails to see them"
            ),
        ),
    }
}

async fn find(
    client: &Client,
    options: &RunOptions,
    session: &Session,
) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
    let cluster = cluster(client, options).await?;
    let mut strays = BTreeMap::new();
    let mut marker: Option<String> = None;
    loop {
        let query =
            DetailsQuery { marker: marker.as_deref(), cluster_id: &cluster.id, policies: false, keep: &|_| false };
        let page = session.iam.account_details(query).await?;
        let tagged = page.users.into_iter().filter_map(|user| Some((user.tags.get(tags::UID)?.clone(), user.name)));
        strays.extend(tagged);
        match page.marker {
            Some(next) => marker = Some(next),
            None => break,
        }
    }
    // The S3AccessUsers come after: one that is made meanwhile is among them.
    let users = Api::<S3AccessUser>::all(client.clone()).list_metadata(&ListParams::default()).await?;
    for user in users.items {
        strays.remove(user.metadata.uid.as_deref().unwrap_or_default());
    }
    Ok(strays.into_values().collect())
}
