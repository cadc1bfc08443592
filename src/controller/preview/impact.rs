//! Whom a class would touch: where each S3AccessUser stands now, and where it would.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::Planner;
use crate::api::{Reason, S3AccessUser};
use crate::controller::class::{ClassResolver, Classes, KnownClass};
use crate::controller::error::Error;
use crate::controller::watch::cached::Membership;
use crate::core::desired::Owner;
use crate::core::policy::Terms;
use crate::kubernetes::KubernetesError;

/// What a class is to an S3AccessUser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its name; `None`: none, in the operator's own account.
    pub class: Option<String>,
    /// The account of the IAM user.
    pub account: String,
    /// The IAM user, with its path.
    pub user_arn: String,
    /// What of the spec is not allowed, or why nothing of it can be carried out.
    pub problem: Option<String>,
    /// Under which terms its key works.
    pub terms: Terms,
}

/// An S3AccessUser that would stand elsewhere, or otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    /// `<namespace>/<name>`.
    pub user: String,
    /// How it stands; or why it has no class.
    pub before: Result<Standing, String>,
    /// How it would.
    pub after: Result<Standing, String>,
}

impl Touched {
    /// Whether it would lose something that it has.
    pub fn loses(&self) -> bool {
        match (&self.before, &self.after) {
            (Err(_), _) => false,
            (Ok(_), Err(_)) => true,
            (Ok(before), Ok(after)) => {
                before.account != after.account
                    || (after.problem.is_some() && after.problem != before.problem)
                    || (after.terms.bind() && after.terms != before.terms)
            }
        }
    }
}

impl Planner {
    /// Whom the classes that are planned would touch, in the order of their names.
    ///
    /// # Errors
    /// The classes, the namespaces or the S3AccessUsers cannot be listed.
    pub async fn impact(&self) -> Result<Vec<Touched>, Error> {
        let every = ListParams::default();
        let namespaces = Api::<Namespace>::all(self.client.clone()).list_metadata(&every).await;
        let namespaces = namespaces.map_err(|error| KubernetesError::of("list Namespaces", "", "", &error))?.items;
        let users = self.users().await?;
        let now = self.classes_of(self.some_classes(None).await?.0, namespaces.clone());
        let then = self.classes_of(self.classes_with_drafts().await?, namespaces);
        let mut touched = Vec::new();
        for user in users.iter().filter(|user| user.metadata.deletion_timestamp.is_none()) {
            let (before, after) = (self.standing(&now, user).await, self.standing(&then, user).await);
            if before != after {
                let user = format!("{}/{}", user.namespace().unwrap_or_default(), user.name_any());
                touched.push(Touched { user, before, after });
            }
        }
        touched.sort_by(|one, other| one.user.cmp(&other.user));
        Ok(touched)
    }

    /// The S3AccessUsers, by `<namespace>/<name>`, that are in the operator's own account although there are classes: who came
    /// before the first one.
    ///
    /// # Errors
    /// They cannot be listed.
    pub async fn without_class(&self, classes: Vec<KnownClass>) -> Result<Vec<String>, Error> {
        let classes = self.classes_of(classes, Vec::new());
        let users = self.users().await?;
        let unbound = users.iter().filter(|user| matches!(classes.class_of(Membership::of(user)), Ok(None)));
        Ok(unbound.map(|user| format!("{}/{}", user.namespace().unwrap_or_default(), user.name_any())).collect())
    }

    async fn users(&self) -> Result<Vec<S3AccessUser>, Error> {
        let users = Api::<S3AccessUser>::all(self.client.clone()).list(&ListParams::default()).await;
        Ok(users.map_err(|error| KubernetesError::of("list S3AccessUsers", "", "", &error))?.items)
    }

    async fn standing(&self, classes: &Classes, user: &S3AccessUser) -> Result<Standing, String> {
        let resolved = classes.of(user).await.map_err(|error| error.to_string())?;
        let account = resolved.session.account().await.map_err(|error| Error::from(error).to_string())?;
        let (problem, terms) = match resolved.desired(user, account, &self.cluster) {
            Ok(desired) => {
                let inactive =
                    desired.inactive_at(Timestamp::now()).filter(|inactive| inactive.reason == Reason::Expired);
                (desired.violation.or(inactive.map(|inactive| inactive.message)), desired.terms)
            }
            Err(refusal) => (Some(refusal.message), resolved.class.terms(user)),
        };
        Ok(Standing {
            class: resolved.class.name().map(ToOwned::to_owned),
            account: account.id.clone(),
            user_arn: Owner::of(user, account, &self.cluster, &resolved.class).user_arn(),
            problem,
            terms,
        })
    }
}
