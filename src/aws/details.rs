//! GetAccountAuthorizationDetails: users with all but their keys and managed policies with all but their tags, a
//! thousand at a time.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_sdk_iam::types::{EntityType, ManagedPolicyDetail, UserDetail as SdkUser};

use super::Result;
use super::sdk::{SdkIam, document, tags_from};
use crate::api::tags;
use crate::core::drift::{PolicyDetail, UserDetail};

const OPERATION: &str = "GetAccountAuthorizationDetails";
/// The most that IAM takes for MaxItems. It may return fewer (IAM API reference).
const ITEMS: i32 = 1_000;
/// A page is a thousand times what another call answers.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(150);

/// Which part of an account to read.
#[derive(Clone, Copy)]
pub struct DetailsQuery<'a> {
    /// Where the last page ended; `None` for the first.
    pub marker: Option<&'a str>,
    /// Users whose tags name this cluster; of the others nothing is kept.
    pub cluster_id: &'a str,
    /// Whether customer managed policies are of interest, too.
    pub policies: bool,
    /// By ARN, the policies of interest; of the others nothing is kept.
    pub keep: &'a (dyn Fn(&str) -> bool + Sync),
}

/// A page of an account, as far as it was asked for.
#[derive(Clone, Debug, Default)]
pub struct DetailsPage {
    /// The users.
    pub users: Vec<UserDetail>,
    /// The customer managed policies.
    pub policies: Vec<PolicyDetail>,
    /// Where the page ends, where there is another.
    pub marker: Option<String>,
}

pub(super) async fn page(SdkIam { client, lane, .. }: &SdkIam, query: DetailsQuery<'_>) -> Result<DetailsPage> {
    let mut request = client.get_account_authorization_details().filter(EntityType::User).max_items(ITEMS);
    if query.policies {
        request = request.filter(EntityType::LocalManagedPolicy);
    }
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .read_timeout(ATTEMPT_TIMEOUT);
    let patient = aws_sdk_iam::config::Builder::new().timeout_config(timeouts.build());
    let request = request.set_marker(query.marker.map(ToOwned::to_owned));
    let send = || request.clone().customize().config_override(patient.clone()).send();
    let answer = lane.call(OPERATION, "account", send).await?;
    Ok(DetailsPage {
        marker: answer.marker.filter(|_| answer.is_truncated),
        users: answer
            .user_detail_list
            .into_iter()
            .flatten()
            .filter_map(|user| user_of(user, query.cluster_id))
            .collect(),
        policies: answer.policies.into_iter().flatten().filter_map(|policy| policy_of(policy, query.keep)).collect(),
    })
}

/// What cannot be read is left out, and so differs from what it should be.
fn user_of(user: SdkUser, cluster_id: &str) -> Option<UserDetail> {
    let tags = tags_from(user.tags());
    if tags.get(tags::CLUSTER).is_none_or(|found| found != cluster_id) {
        return None;
    }
    let inline = user.user_policy_list().iter().filter_map(|policy| {
        let name = policy.policy_name()?;
        Some((name.to_owned(), document(OPERATION, name, policy.policy_document()?).ok()?))
    });
    let attached = user.attached_managed_policies().iter().filter_map(|policy| policy.policy_arn());
    Some(UserDetail {
        inline: inline.collect(),
        attached: attached.map(ToOwned::to_owned).collect(),
        tags,
        name: user.user_name?,
        arn: user.arn?,
        path: user.path?,
        boundary: user.permissions_boundary.and_then(|boundary| boundary.permissions_boundary_arn),
    })
}

fn policy_of(policy: ManagedPolicyDetail, keep: &(dyn Fn(&str) -> bool + Sync)) -> Option<PolicyDetail> {
    let arn = policy.arn.filter(|arn| keep(arn))?;
    let in_force = policy.policy_version_list?.into_iter().find(|version| version.is_default_version)?;
    Some(PolicyDetail { document: document(OPERATION, &arn, &in_force.document?).ok()?, arn })
}
