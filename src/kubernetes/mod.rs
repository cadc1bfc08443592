//! Kubernetes, as far as the operator needs it: live reads, writes under preconditions, and what a Secret holds.

mod client;
mod error;
pub mod own_key;
mod recorders;
mod reviews;
pub mod secret;
mod secret_names;

pub use client::{KubeClient, client, config};
pub use error::{KubernetesError, knows_no_dry_run};
pub use reviews::{Reviews, Verdict};
pub use secret_names::SecretNames;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::events::Event;

use crate::api::{S3AccessUser, S3AccessUserStatus, Workload};
use crate::core::observed::WorkloadState;

/// What Kubernetes requests answer.
pub type Result<T> = std::result::Result<T, KubernetesError>;

/// An S3AccessUser, by name and UID: also of one that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID: a precondition, so that no successor of the same name is written by mistake.
    pub uid: String,
    /// The copy of it that is reconciled.
    pub resource_version: Option<String>,
}

impl UserRef {
    /// Names an object.
    pub fn of(meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> Self {
        Self {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone(),
        }
    }
}

/// What is noted on a workload.
#[derive(Clone, Copy, Debug)]
pub struct Mark<'a> {
    /// The annotation.
    pub annotation: &'a str,
    /// The id of the key.
    pub key_id: &'a str,
    /// On the pod template, too.
    pub restart: bool,
    /// The copy that is reconciled.
    pub resource_version: &'a str,
}

/// The requests that the operator makes, and no others. Reads of Secrets are live, never from a cache.
///
/// # Errors
/// Every request fails with [`KubernetesError`], which names the request and the object.
#[async_trait]
pub trait Kubernetes: Send + Sync {
    /// The Secret; `None` only to a positive NotFound.
    async fn get_secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>>;
    /// Creates the Secret; one that is there already is a conflict.
    async fn create_secret(&self, secret: &Secret) -> Result<Secret>;
    /// Replaces the Secret of the very resource version that it carries.
    async fn replace_secret(&self, secret: &Secret) -> Result<Secret>;
    /// Whether the API server would take that write, which is not carried out: a replacement where the Secret carries a resource
    /// version, else a creation. Admission webhooks and quotas of others have their say in a server-side dry run, too.
    async fn dry_run_secret(&self, secret: &Secret) -> Result<()>;
    /// Deletes the Secret of that UID.
    async fn delete_secret(&self, namespace: &str, name: &str, uid: &str) -> Result<()>;
    /// The names of the Secrets that the user controls, as far as the watch has seen them, and of many the first few: a hint for
    /// live reads.
    fn secret_names_of(&self, user: &ObjectMeta) -> Vec<String>;
    /// Whether the watch has seen that Secret of the user go or change since that version: then a reconcile is needed.
    fn secret_has_changed(&self, user: &ObjectMeta, name: &str, since: &str) -> bool;
    /// Whether the watch shows that Secret of the user in that very version.
    fn secret_is_at(&self, user: &ObjectMeta, name: &str, version: &str) -> bool;
    /// The workload, and which key the annotation says it has; no more of it is read than its metadata.
    async fn get_workload(&self, namespace: &str, workload: &Workload, annotation: &str) -> Result<WorkloadState>;
    /// Sets the annotation of the very resource version that was read, and with `restart` the same one of the pod
    /// template, for which Kubernetes replaces the pods; answers the new resource version.
    async fn mark_workload(&self, namespace: &str, workload: &Workload, mark: &Mark<'_>) -> Result<Option<String>>;
    /// Sets the finalizers of the very resource version that was read; answers the new one.
    async fn set_finalizers(&self, user: &S3AccessUser, finalizers: &[String]) -> Result<Option<String>>;
    /// Applies the status to the very resource version that is reconciled, so that a leader of yesterday does not speak
    /// over today's; answers the new one.
    async fn apply_status(&self, user: &UserRef, status: &S3AccessUserStatus) -> Result<Option<String>>;
    /// Publishes an Event about the user.
    async fn publish(&self, user: &UserRef, event: Event) -> Result<()>;
}
