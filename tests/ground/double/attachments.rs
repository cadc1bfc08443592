//! Managed policies attached to users, and inline policies.

use std::sync::Arc;

use super::document::Document;
use super::error::{ApiError, Code};
use super::iam::Iam;
use super::limits;
use super::model::User;
use super::names::fold;
use super::policies::shown;
use super::response::{AttachedPolicy, Response, Window};
use super::state::State;

impl State {
    /// A user's attached policies by name.
    pub(super) fn attached(&self, user: &User) -> Vec<AttachedPolicy> {
        let mut attached: Vec<AttachedPolicy> = user
            .attached
            .iter()
            .filter_map(|arn| self.policies.get(arn))
            .map(|policy| AttachedPolicy { name: policy.name.clone(), arn: policy.arn.clone() })
            .collect();
        attached.sort_by(|left, right| (&left.name, &left.arn).cmp(&(&right.name, &right.arn)));
        attached
    }

    pub(super) fn list_attached(
        &self,
        name: &str,
        path_prefix: Option<&str>,
        window: &Window,
    ) -> Result<Response, ApiError> {
        let prefix = path_prefix.unwrap_or("/");
        let fits = |arn: &str| self.policies.get(arn).is_some_and(|policy| policy.path.starts_with(prefix));
        let attached = self
            .attached(self.user(name)?)
            .into_iter()
            .filter(|policy| fits(&policy.arn))
            // The ARN tells apart policies of AWS and of the account that have one name.
            .map(|policy| (format!("{} {}", policy.name, policy.arn), policy));
        Ok(Response::AttachedPolicies(window.take(attached)))
    }

    pub(super) fn get_user_policy(&self, name: &str, policy: &str, reorder: bool) -> Result<Response, ApiError> {
        let user = self.user(name)?;
        let document = user.inline.get(policy).ok_or_else(|| no_such_inline_policy(policy))?;
        Ok(Response::InlinePolicy {
            user_name: user.name.clone(),
            policy_name: policy.to_owned(),
            document: shown(document, reorder),
        })
    }

    pub(super) fn list_user_policies(&self, name: &str, window: &Window) -> Result<Response, ApiError> {
        let names = self.user(name)?.inline.keys().map(|name| (name, name));
        Ok(Response::PolicyNames(window.take(names).map(String::clone)))
    }
}

fn no_such_inline_policy(policy: &str) -> ApiError {
    Code::NoSuchEntity.error(format!("The user policy with name {policy} cannot be found."))
}

impl Iam {
    /// Attaching what is attached is no error.
    pub(super) fn attach_user_policy(&mut self, name: &str, arn: &str) -> Result<Response, ApiError> {
        let user = self.state.user(name)?;
        self.state.attachable(arn)?;
        let limit = limits::ATTACHED_POLICIES_PER_USER;
        if !user.attached.contains(arn) && user.attached.len() >= limit {
            return Err(Code::LimitExceeded.error(format!("Cannot exceed quota for PoliciesPerUser: {limit}")));
        }
        self.state.edit_policy(arn, |policy| policy.attached_to.insert_mut(fold(name)))?;
        self.state.edit_user(name, |user| user.attached.insert(arn.to_owned()))?;
        Ok(Response::Done)
    }

    pub(super) fn detach_user_policy(&mut self, name: &str, arn: &str) -> Result<Response, ApiError> {
        let attached = self.state.user(name)?.attached.contains(arn);
        self.state.policy(arn)?;
        if !attached {
            return Err(Code::NoSuchEntity.error(format!("Policy {arn} was not found.")));
        }
        self.state.edit_policy(arn, |policy| policy.attached_to.remove_mut(&fold(name)))?;
        self.state.edit_user(name, |user| user.attached.remove(arn))?;
        Ok(Response::Done)
    }

    /// Adds or replaces an inline policy. The quota is on all of a user's together.
    pub(super) fn put_user_policy(&mut self, name: &str, policy: &str, text: &str) -> Result<Response, ApiError> {
        let user = self.state.user(name)?;
        let document = Arc::new(Document::parse(text, &self.state.account.partition)?);
        let others: usize =
            user.inline.iter().filter(|(name, _)| *name != policy).map(|(_, document)| document.size()).sum();
        let limit = limits::INLINE_POLICIES_CHARACTERS;
        if others + document.size() > limit {
            return Err(Code::LimitExceeded
                .error(format!("Maximum policy size of {limit} bytes exceeded for user {}", user.name)));
        }
        self.state.edit_user(name, |user| user.inline.insert(policy.to_owned(), document))?;
        Ok(Response::Done)
    }

    pub(super) fn delete_user_policy(&mut self, name: &str, policy: &str) -> Result<Response, ApiError> {
        let removed = self.state.edit_user(name, |user| user.inline.remove(policy))?;
        removed.map(|_| Response::Done).ok_or_else(|| no_such_inline_policy(policy))
    }
}
