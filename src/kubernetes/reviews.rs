//! Whose a token is, and whether he may read a path: both are asked of the API server.

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::{Api, PostParams};
use kube::{Client, Error};

use super::{KubernetesError, Result};

/// What the API server thinks of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its bearer may.
    Allowed,
    /// Its bearer is known, and may not.
    Forbidden,
    /// It is no token of this cluster, or none any more.
    Unknown,
}

/// Asks the API server about others.
#[derive(Clone)]
pub struct Reviews {
    tokens: Api<TokenReview>,
    access: Api<SubjectAccessReview>,
}

impl Reviews {
    /// Asks through the client.
    pub fn new(client: Client) -> Self {
        Self { tokens: Api::all(client.clone()), access: Api::all(client) }
    }

    /// Whether the bearer of the token may get that path, which is no resource of Kubernetes.
    ///
    /// # Errors
    /// [`KubernetesError`]: nothing is known of the token, so nobody is to be let in by it.
    pub async fn may_get(&self, token: &str, path: &str) -> Result<Verdict> {
        let Some(user) = self.owner(token).await? else { return Ok(Verdict::Unknown) };
        let attributes = NonResourceAttributes { path: Some(path.to_owned()), verb: Some("get".to_owned()) };
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: user.username,
                groups: user.groups,
                uid: user.uid,
                extra: user.extra,
                non_resource_attributes: Some(attributes),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let answer = self.access.create(&PostParams::default(), &review).await;
        let status = answer.map_err(|error| of("create SubjectAccessReview", &error))?.status.unwrap_or_default();
        let allowed = status.allowed && status.denied != Some(true);
        Ok(if allowed { Verdict::Allowed } else { Verdict::Forbidden })
    }

    /// Who bears the token, if it is one for the API server itself.
    async fn owner(&self, token: &str) -> Result<Option<UserInfo>> {
        let spec = TokenReviewSpec { token: token.to_owned(), ..TokenReviewSpec::default() };
        let answer = self.tokens.create(&PostParams::default(), &TokenReview { spec, ..TokenReview::default() }).await;
        let status = answer.map_err(|error| of("create TokenReview", &error))?.status.unwrap_or_default();
        let is_known = status.authenticated == Some(true) && status.error.is_none_or(|error| error.is_empty());
        Ok(status.user.filter(|user| is_known && user.username.as_ref().is_some_and(|name| !name.is_empty())))
    }
}

fn of(operation: &'static str, error: &Error) -> KubernetesError {
    KubernetesError {
        object: "of somebody who asks for metrics".to_owned(),
        ..KubernetesError::of(operation, "", "", error)
    }
}
