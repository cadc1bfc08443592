//! Whether a caller may do something (IAM user guide, "Policy evaluation logic"): an explicit denial wins, then
//! something has to allow it, and a permissions boundary has to allow it as well.

use std::sync::Arc;

use jiff::Timestamp;

use super::caller::Caller;
use super::conditions::{Context, glob};
use super::document::{Document, Scope, Statement};
use super::error::{ApiError, Code};
use super::iam::Iam;
use super::model::{Tag, User};
use super::operation::Operation;
use super::request::{Request, Subject};
use super::state::State;

/// The outcome of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The caller may.
    Allowed,
    /// Nothing allows it.
    NotAllowed,
    /// The policies allow it, and the boundary does not.
    OutsideBoundary,
    /// A statement denies it.
    Denied,
}

impl Decision {
    /// Whether the caller may.
    pub fn is_allowed(self) -> bool {
        self == Self::Allowed
    }

    /// SimulatePrincipalPolicy's word for it.
    pub(super) fn simulated(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::NotAllowed | Self::OutsideBoundary => "implicitDeny",
            Self::Denied => "explicitDeny",
        }
    }

    /// The end of AWS's message.
    fn because(self, action: &str) -> String {
        match self {
            Self::Allowed => String::new(),
            Self::NotAllowed => format!("because no identity-based policy allows the {action} action"),
            Self::OutsideBoundary => format!("because no permissions boundary allows the {action} action"),
            Self::Denied => "with an explicit deny in an identity-based policy".to_owned(),
        }
    }
}

impl Statement {
    fn applies(&self, action: &str, resource: &str, context: &Context) -> bool {
        // Actions are compared without regard to case, resources with it.
        let action = action.to_lowercase();
        self.actions.holds(|pattern| glob(&pattern.to_lowercase(), &action))
            && self.resources.holds(|pattern| context.fill(pattern).is_some_and(|pattern| glob(&pattern, resource)))
            && self.conditions.iter().all(|test| test.operator.holds(&test.key, &test.values, context))
    }
}

impl Scope {
    fn holds(&self, matches: impl FnMut(&String) -> bool) -> bool {
        self.patterns.iter().any(matches) != self.negated
    }
}

/// Evaluates policies together: `NotAllowed`, `Allowed` or `Denied`.
pub(super) fn evaluate<'a>(
    documents: impl IntoIterator<Item = &'a Arc<Document>>,
    action: &str,
    resource: &str,
    context: &Context,
) -> Decision {
    let mut decision = Decision::NotAllowed;
    for statement in documents.into_iter().flat_map(|document| document.statements()) {
        if statement.applies(action, resource, context) {
            if !statement.allows {
                return Decision::Denied;
            }
            decision = Decision::Allowed;
        }
    }
    decision
}

impl Document {
    /// What the document alone says of a request.
    #[must_use]
    pub fn decide(&self, action: &str, resource: &str, context: &Context) -> Decision {
        evaluate([&Arc::new(self.clone())], action, resource, context)
    }
}

impl State {
    /// What a user may do, by inline and attached policies within the boundary.
    pub(super) fn decide(&self, user: &User, action: &str, resource: &str, context: &Context) -> Decision {
        let mut context = context
            .clone()
            .with("aws:username", &user.name)
            .with("aws:userid", &user.id)
            .with("aws:PrincipalArn", &user.arn)
            .with("aws:PrincipalAccount", &self.account.id)
            .with("aws:PrincipalType", "User");
        for tag in user.tags.values() {
            context.add(&format!("aws:PrincipalTag/{}", tag.key), &tag.value);
        }
        let attached = user.attached.iter().filter_map(|arn| self.policies.get(arn)?.document());
        let decision = evaluate(user.inline.values().chain(attached), action, resource, &context);
        let Some(boundary) = &user.boundary else {
            return decision;
        };
        let boundary = self.policies.get(boundary).and_then(|policy| policy.document());
        match (decision, evaluate(boundary, action, resource, &context)) {
            (Decision::Denied, _) | (_, Decision::Denied) => Decision::Denied,
            (Decision::Allowed, Decision::NotAllowed) => Decision::OutsideBoundary,
            (decision, _) => decision,
        }
    }

    /// The ARN that a policy has to allow a call on.
    fn resource(&self, request: &Request) -> String {
        match request.subject() {
            Subject::User(name) => self.user_arn(name, "/"),
            Subject::NewUser(name, path) => self.account.arn(&format!("user{path}{name}")),
            Subject::Policy(arn) => arn.to_owned(),
            Subject::Principal(name) if name.starts_with("arn:") => name.to_owned(),
            Subject::Principal(name) => self.account.arn(&format!("role/{name}")),
            Subject::NewPolicy(name, path) => self.new_policy_arn(name, path),
            Subject::Group(name) => match self.group(name) {
                Ok(group) => group.arn.clone(),
                Err(_) => self.account.arn(&format!("group/{name}")),
            },
            Subject::Key(id) => match self.key(id) {
                Some((user, _)) => user.arn.clone(),
                None => "*".to_owned(),
            },
            Subject::Device(name) if name.starts_with("arn:") => name.to_owned(),
            Subject::Device(name) => self.account.arn(&format!("mfa/{name}")),
            Subject::Account => "*".to_owned(),
        }
    }

    /// What a policy has to allow for a call: its own action; for tags in a call that creates, tagging (IAM user guide,
    /// "Tagging IAM resources"); for a move or a new name, the place it leads to (API reference, UpdateUser).
    fn asked(&self, request: &Request) -> Vec<(String, String, Context)> {
        let (resource, context) = (self.resource(request), self.context(request));
        let mut asked = vec![(request.operation().action(), resource.clone(), context.clone())];
        match request {
            Request::CreateUser { tags, .. } if !tags.is_empty() => {
                asked.push((Operation::TagUser.action(), resource, tag_context(tags)));
            }
            Request::CreatePolicy { tags, .. } if !tags.is_empty() => {
                asked.push((Operation::TagPolicy.action(), resource, tag_context(tags)));
            }
            Request::UpdateUser { user_name, new_user_name, new_path } => {
                if let Ok(user) = self.user(user_name) {
                    let (path, name) =
                        (new_path.as_ref().unwrap_or(&user.path), new_user_name.as_ref().unwrap_or(&user.name));
                    // Nobody is there yet, so there are no tags.
                    let there = self.account.arn(&format!("user{path}{name}"));
                    asked.push((Operation::UpdateUser.action(), there, Context::new()));
                }
            }
            _ => {}
        }
        asked
    }

    /// The condition keys of a call (service authorization reference, "Condition keys for AWS IAM").
    fn context(&self, request: &Request) -> Context {
        let mut context = Context::new();
        match request {
            Request::CreateUser { tags, permissions_boundary, .. } => {
                context = tag_context(tags);
                if let Some(arn) = permissions_boundary {
                    context.add("iam:PermissionsBoundary", arn);
                }
            }
            Request::TagUser { tags, .. } | Request::CreatePolicy { tags, .. } | Request::TagPolicy { tags, .. } => {
                context = tag_context(tags);
            }
            Request::UntagUser { tag_keys, .. } | Request::UntagPolicy { tag_keys, .. } => {
                tag_keys.iter().for_each(|key| context.add("aws:TagKeys", key));
            }
            Request::PutUserPermissionsBoundary { permissions_boundary, .. } => {
                context.add("iam:PermissionsBoundary", permissions_boundary);
            }
            Request::AttachUserPolicy { policy_arn, .. } | Request::DetachUserPolicy { policy_arn, .. } => {
                context.add("iam:PolicyARN", policy_arn);
            }
            _ => {}
        }
        self.resource_context(request, &mut context);
        context
    }

    /// The tags and the boundary of what a call is about.
    fn resource_context(&self, request: &Request, context: &mut Context) {
        let tags = match request.subject() {
            Subject::User(name) => self.user(name).ok().map(|user| {
                // A call that sets a boundary is judged by the new one, any other by the one in force.
                if let (Some(arn), true) = (&user.boundary, asks_for_boundary(request)) {
                    context.add("iam:PermissionsBoundary", arn);
                }
                user.tags.values().for_each(|tag| context.add(&format!("iam:ResourceTag/{}", tag.key), &tag.value));
                &user.tags
            }),
            Subject::Policy(arn) => self.policies.get(arn).map(|policy| &policy.tags),
            _ => None,
        };
        for tag in tags.into_iter().flat_map(|tags| tags.values()) {
            context.add(&format!("aws:ResourceTag/{}", tag.key), &tag.value);
        }
    }
}

fn tag_context(tags: &[Tag]) -> Context {
    let mut context = Context::new();
    for tag in tags {
        context.add(&format!("aws:RequestTag/{}", tag.key), &tag.value);
        context.add("aws:TagKeys", &tag.key);
    }
    context
}

/// Whether the boundary in force is a condition key of the call: of a few that give or take rights, and not of
/// CreateAccessKey.
fn asks_for_boundary(request: &Request) -> bool {
    matches!(
        request.operation(),
        Operation::AttachUserPolicy
            | Operation::DetachUserPolicy
            | Operation::PutUserPolicy
            | Operation::DeleteUserPolicy
            | Operation::DeleteUserPermissionsBoundary
    )
}

impl Iam {
    /// What a caller of this account may do, by a replica of its policies.
    pub(super) fn decide(
        &mut self,
        now: Timestamp,
        caller: &Caller,
        action: &str,
        resource: &str,
        context: &Context,
    ) -> Result<Decision, ApiError> {
        let context = &context
            .clone()
            .with("aws:CurrentTime", now.to_string())
            .with("aws:EpochTime", now.as_second().to_string())
            .ignoring(self.settings.conditions_ignored);
        match caller {
            Caller::Root { .. } => Ok(Decision::Allowed),
            Caller::User { name, .. } => {
                let view = self.view(now, self.settings.credentials);
                let user = view.user(name).map_err(|_| unknown_key())?;
                Ok(view.decide(user, action, resource, context))
            }
            // What the user may, and what its policies say of sessions (IAM user guide, "Global condition keys").
            Caller::UserSession { name, issued, .. } => {
                let view = self.view(now, self.settings.credentials);
                let user = view.user(name).map_err(|_| unknown_key())?;
                let issued = issued.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
                let context = context.clone().with("aws:TokenIssueTime", issued);
                Ok(view.decide(user, action, resource, &context))
            }
            Caller::Session { role, .. } => {
                let role = self.roles.iter().find(|other| other.name == *role).ok_or_else(unknown_key)?;
                Ok(evaluate(&role.policies, action, resource, context))
            }
        }
    }

    /// The ARN of a caller of this account.
    pub(super) fn arn_of(&self, caller: &Caller) -> String {
        let account = &self.state.account;
        match caller {
            Caller::Root { .. } => account.arn("root"),
            Caller::User { name, .. } | Caller::UserSession { name, .. } => self.state.user_arn(name, "/"),
            Caller::Session { role, session, .. } => {
                format!("arn:{}:sts::{}:assumed-role/{role}/{session}", account.partition, account.id)
            }
        }
    }

    /// Refuses a call that the caller's policies do not allow.
    pub(super) fn check_permission(
        &mut self,
        now: Timestamp,
        caller: &Caller,
        request: &Request,
    ) -> Result<(), ApiError> {
        if matches!(caller, Caller::Root { .. }) {
            return Ok(());
        }
        // Without MFA, a session may call no API of IAM (API reference, GetSessionToken).
        if matches!(caller, Caller::UserSession { .. }) {
            return Err(unknown_key());
        }
        for (action, resource, context) in self.state.asked(request) {
            let decision = self.decide(now, caller, &action, &resource, &context)?;
            if !decision.is_allowed() {
                return Err(self.denied(caller, &action, &resource, decision));
            }
        }
        Ok(())
    }

    /// AWS's answer to a caller that may not.
    pub(super) fn denied(&self, caller: &Caller, action: &str, resource: &str, decision: Decision) -> ApiError {
        let arn = self.arn_of(caller);
        let because = decision.because(action);
        Code::AccessDenied
            .error(format!("User: {arn} is not authorized to perform: {action} on resource: {resource} {because}"))
    }
}

/// The answer to a key that is not known, or not yet, or no more.
pub(super) fn unknown_key() -> ApiError {
    Code::InvalidClientTokenId.error("The security token included in the request is invalid.")
}
