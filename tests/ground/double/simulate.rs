//! GetRole and SimulatePrincipalPolicy.

use super::authorize::evaluate;
use super::conditions::Context;
use super::error::{ApiError, Code};
use super::iam::Iam;
use super::model::Role;
use super::names::invalid;
use super::response::{Evaluation, Response};
use super::state::State;

impl Iam {
    pub(super) fn role_named(&self, name: &str) -> Result<&Role, ApiError> {
        self.roles
            .iter()
            .find(|role| role.name == name)
            .ok_or_else(|| Code::NoSuchEntity.error(format!("The role with name {name} cannot be found.")))
    }

    /// What the policies of a user or a role say of each action on each resource. A session or an account's root is
    /// nobody whose policies could be asked (API reference, SimulatePrincipalPolicy: the ARN of a user, group or role).
    pub(super) fn simulate(
        &self,
        view: &State,
        principal: &str,
        [actions, resources]: [&[String]; 2],
        entries: &[(String, Vec<String>)],
    ) -> Result<Response, ApiError> {
        if actions.is_empty() {
            return Err(invalid("actionNames", "Member must have length greater than or equal to 1"));
        }
        let mut context = Context::new();
        for (key, values) in entries {
            values.iter().for_each(|value| context.add(key, value));
        }
        let unclear = || {
            Code::InvalidInput
                .error(format!("Invalid Entity Arn: {principal} does not clearly define entity type and name."))
        };
        let kind_and_name = principal.splitn(6, ':').nth(5).and_then(|resource| resource.split_once('/'));
        let (kind, path_and_name) = kind_and_name.ok_or_else(unclear)?;
        let name = path_and_name.rsplit('/').next().unwrap_or_default();
        let decide: Box<dyn Fn(&str, &str) -> _> = match kind {
            "user" => {
                let user = view.user(name)?;
                Box::new(move |action, resource| view.decide(user, action, resource, &context))
            }
            "role" => {
                let role = self.role_named(name)?;
                // The policies may be right there, and yet the path in the ARN is another's.
                if role.arn != principal {
                    return Err(Code::NoSuchEntity.error(format!("The role with name {name} cannot be found.")));
                }
                Box::new(move |action, resource| evaluate(&role.policies, action, resource, &context))
            }
            _ => return Err(unclear()),
        };
        let everywhere = ["*".to_owned()];
        let resources = if resources.is_empty() { &everywhere } else { resources };
        let evaluations = actions.iter().flat_map(|action| {
            resources.iter().map(|resource| Evaluation {
                action: action.clone(),
                resource: resource.clone(),
                decision: decide(action, resource),
            })
        });
        Ok(Response::Evaluations(evaluations.collect()))
    }
}
