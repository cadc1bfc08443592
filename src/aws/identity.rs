//! What a session's credentials may do, as IAM's simulator says it, for `doctor`; nothing is changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_iam::types::{ContextEntry, ContextKeyTypeEnum, EntityType, PolicyEvaluationDecisionType};

use super::Result;
use super::lanes::Way;
use super::sdk::found;
use crate::core::iam::AccessKeyId;

/// Who calls, and what that one may do.
pub struct Identity {
    pub(super) iam: aws_sdk_iam::Client,
    pub(super) sts: aws_sdk_sts::Client,
    pub(super) lane: Arc<Way>,
    pub(super) credentials: Option<SharedCredentialsProvider>,
}

/// What the simulator is asked: some actions, on one resource, with the condition keys that their request would have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Such as `iam:CreateUser`.
    pub actions: Vec<String>,
    /// An ARN, or `*`.
    pub resource: String,
    /// Condition keys, each with its value.
    pub context: BTreeMap<String, String>,
}

impl Identity {
    /// The id of the access key that the calls are signed with, where it is one for ever: a session's is none.
    pub async fn static_key(&self) -> Option<AccessKeyId> {
        let credentials = self.credentials.as_ref()?.provide_credentials().await.ok()?;
        AccessKeyId::parse(credentials.access_key_id()).filter(|_| credentials.session_token().is_none())
    }

    /// GetRole: the ARN, which has the path that an assumed role's lacks.
    ///
    /// # Errors
    /// As for [`super::Iam`].
    pub async fn role_arn(&self, role: &str) -> Result<Option<String>> {
        let request = self.iam.get_role().role_name(role);
        let answer = found(self.lane.call("GetRole", role, || request.clone().send()).await)?;
        Ok(answer.and_then(|answer| answer.role).map(|role| role.arn))
    }

    /// SimulatePrincipalPolicy: those of the actions that are not allowed. It knows the identity's policies and its
    /// boundary. Of an organization's policies it knows some, and not their conditions.
    ///
    /// # Errors
    /// As for [`super::Iam`].
    pub async fn simulate(&self, principal: &str, question: &Question) -> Result<Vec<String>> {
        let context = question.context.iter().map(|(key, value)| {
            let entry = ContextEntry::builder().context_key_name(key).context_key_values(value);
            entry.context_key_type(ContextKeyTypeEnum::String).build()
        });
        let request = self
            .iam
            .simulate_principal_policy()
            .policy_source_arn(principal)
            .set_action_names(Some(question.actions.clone()))
            .resource_arns(&question.resource)
            .set_context_entries(Some(context.collect()));
        let send = |marker| request.clone().set_marker(marker).send();
        let verdicts = self.lane.list("SimulatePrincipalPolicy", principal, send, |page| {
            (page.evaluation_results.unwrap_or_default(), page.marker.filter(|_| page.is_truncated))
        });
        let verdicts = verdicts.await?;
        let allowed = |action: &String| {
            let same = |name: &str| name.eq_ignore_ascii_case(action);
            verdicts.iter().any(|verdict| {
                same(&verdict.eval_action_name) && verdict.eval_decision == PolicyEvaluationDecisionType::Allowed
            })
        };
        Ok(question.actions.iter().filter(|action| !allowed(action)).cloned().collect())
    }

    /// GetAccountAuthorizationDetails of one user: whether the account may be read in bulk.
    ///
    /// # Errors
    /// As for [`super::Iam`].
    pub async fn account_details(&self) -> Result<()> {
        let request = self.iam.get_account_authorization_details().filter(EntityType::User).max_items(1);
        self.lane.call("GetAccountAuthorizationDetails", "account", || request.clone().send()).await.map(drop)
    }
}
