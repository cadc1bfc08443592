//! The kube client behind the trait.

use std::sync::Arc;

use async_trait::async_trait;
use hyper_util::client::proxy::matcher::Matcher;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::config::InferConfigError;
use kube::core::{ObjectMeta, PartialObjectMeta};
use kube::discovery::ApiResource;
use kube::runtime::events::{Event, Reporter};
use kube::{Client, Config, Resource, ResourceExt};
use serde::{Deserialize, Deserializer};
use serde_json::json;

use super::recorders::Recorders;
use super::{Kubernetes, KubernetesError, Mark, Result, SecretNames, UserRef, knows_no_dry_run};
use crate::api::{MANAGER, S3AccessUser, S3AccessUserStatus, Workload, WorkloadKind};
use crate::core::observed::WorkloadState;

/// An S3AccessUser as a write of ours answers: its version. The rest is what was written, or may be what does not parse.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = S3AccessUser)]
struct Written {
    #[serde(deserialize_with = "version_alone")]
    metadata: ObjectMeta,
}

/// The cluster of kubectl, or that of the pod.
///
/// # Errors
/// Where there is neither.
pub async fn config() -> std::result::Result<Config, InferConfigError> {
    let mut proxies = ["HTTPS_PROXY", "https_proxy"].into_iter().filter_map(|name| std::env::var(name).ok());
    let proxy = proxies.find(|proxy| !proxy.is_empty());
    Ok(heeding_no_proxy(Config::infer().await?, proxy.as_deref(), &Matcher::from_env()))
}

/// A client of [`config`], with kube's own settings.
///
/// # Errors
/// Where there is no cluster, or its certificates cannot be read.
pub async fn client() -> std::result::Result<Client, kube::Error> {
    Client::try_from(config().await.map_err(kube::Error::InferConfig)?)
}

/// kube goes by the environment's proxy, whatever `NO_PROXY` says of the cluster.
fn heeding_no_proxy(mut config: Config, proxy: Option<&str>, matcher: &Matcher) -> Config {
    let of_environment = config.proxy_url == proxy.and_then(|proxy| proxy.parse().ok());
    if of_environment && matcher.intercept(&config.cluster_url).is_none() {
        config.proxy_url = None;
    }
    config
}

fn version_alone<'de, D: Deserializer<'de>>(metadata: D) -> std::result::Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        resource_version: Option<String>,
    }
    let Version { resource_version } = Version::deserialize(metadata)?;
    Ok(ObjectMeta { resource_version, ..ObjectMeta::default() })
}

/// The operator's client, and the names of the Secrets that it watches.
pub struct KubeClient {
    client: Client,
    recorders: Recorders,
    secrets: Arc<SecretNames>,
}

impl KubeClient {
    /// Speaks through the client; the names say which Secrets a user controls.
    pub fn new(client: Client, secrets: Arc<SecretNames>) -> Self {
        let reporter = Reporter { controller: MANAGER.to_owned(), instance: std::env::var("HOSTNAME").ok() };
        Self { recorders: Recorders::new(client.clone(), reporter), client, secrets }
    }

    fn secrets(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn workloads(&self, namespace: &str, kind: WorkloadKind) -> Api<DynamicObject> {
        let resource = match kind {
            WorkloadKind::Deployment => ApiResource::erase::<Deployment>(&()),
            WorkloadKind::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
            WorkloadKind::DaemonSet => ApiResource::erase::<DaemonSet>(&()),
        };
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }
}

#[async_trait]
impl Kubernetes for KubeClient {
    async fn get_secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>> {
        let found = self.secrets(namespace).get_opt(name).await;
        found.map_err(|error| KubernetesError::of("get Secret", namespace, name, &error))
    }

    async fn create_secret(&self, secret: &Secret) -> Result<Secret> {
        let (namespace, name) = (secret.namespace().unwrap_or_default(), secret.name_any());
        let created = self.secrets(&namespace).create(&as_manager(), secret).await;
        created.map_err(|error| KubernetesError::of("create Secret", &namespace, &name, &error))
    }

    async fn replace_secret(&self, secret: &Secret) -> Result<Secret> {
        let (namespace, name) = (secret.namespace().unwrap_or_default(), secret.name_any());
        let replaced = self.secrets(&namespace).replace(&name, &as_manager(), secret).await;
        replaced.map_err(|error| KubernetesError::of("update Secret", &namespace, &name, &error))
    }

    async fn dry_run_secret(&self, secret: &Secret) -> Result<()> {
        let (namespace, name) = (secret.namespace().unwrap_or_default(), secret.name_any());
        let secrets = self.secrets(&namespace);
        let params = PostParams { dry_run: true, ..as_manager() };
        let tried = match secret.resource_version() {
            None => secrets.create(&params, secret).await,
            Some(_) => secrets.replace(&name, &params, secret).await,
        };
        match tried {
            // Only the write itself can tell.
            Err(kube::Error::Api(status)) if knows_no_dry_run(status.code, &status.message) => Ok(()),
            Err(error) => Err(KubernetesError::of("dry run of the Secret", &namespace, &name, &error)),
            Ok(_) => Ok(()),
        }
    }

    async fn delete_secret(&self, namespace: &str, name: &str, uid: &str) -> Result<()> {
        let this_one = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let deleted = self.secrets(namespace).delete(name, &DeleteParams::default().preconditions(this_one)).await;
        match deleted.map_err(|error| KubernetesError::of("delete Secret", namespace, name, &error)) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    fn secret_names_of(&self, user: &ObjectMeta) -> Vec<String> {
        let (namespace, uid) = identity(user);
        self.secrets.of(namespace, uid)
    }

    fn secret_has_changed(&self, user: &ObjectMeta, name: &str, since: &str) -> bool {
        let (namespace, uid) = identity(user);
        // The watch may be behind our own write.
        self.secrets.version(namespace, uid, name).is_none_or(|version| version > since.parse().unwrap_or_default())
    }

    fn secret_is_at(&self, user: &ObjectMeta, name: &str, version: &str) -> bool {
        let (namespace, uid) = identity(user);
        self.secrets.version(namespace, uid, name).is_some_and(|seen| version.parse() == Ok(seen))
    }

    async fn get_workload(&self, namespace: &str, workload: &Workload, annotation: &str) -> Result<WorkloadState> {
        let found = self.workloads(namespace, workload.kind).get_metadata_opt(&workload.name).await;
        match found.map_err(|error| KubernetesError::of("get workload", namespace, &workload.name, &error))? {
            None => Ok(WorkloadState::Missing),
            Some(found) => Ok(WorkloadState::Present {
                resource_version: found.resource_version().unwrap_or_default(),
                created_at: found.creation_timestamp().map(|time| time.0).unwrap_or_default(),
                key: found.annotations().get(annotation).cloned(),
            }),
        }
    }

    async fn mark_workload(&self, namespace: &str, workload: &Workload, mark: &Mark<'_>) -> Result<Option<String>> {
        let annotations = json!({ mark.annotation: mark.key_id });
        let mut patch = json!({ "metadata": { "resourceVersion": mark.resource_version, "annotations": annotations } });
        if mark.restart {
            patch["spec"] = json!({ "template": { "metadata": { "annotations": annotations } } });
        }
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let workloads = self.workloads(namespace, workload.kind);
        let patched = workloads.patch_metadata(&workload.name, &params, &Patch::Merge(&patch)).await;
        match patched {
            Ok(patched) => Ok(patched.resource_version()),
            Err(error) => Err(KubernetesError::of("restart workload", namespace, &workload.name, &error)),
        }
    }

    async fn set_finalizers(&self, user: &S3AccessUser, finalizers: &[String]) -> Result<Option<String>> {
        let reference = UserRef::of(&user.metadata);
        let patch = json!({
            "metadata": { "uid": reference.uid, "resourceVersion": user.resource_version(), "finalizers": finalizers },
        });
        let users: Api<PartialObjectMeta<S3AccessUser>> = Api::namespaced(self.client.clone(), &reference.namespace);
        let patched = users.patch_metadata(&reference.name, &PatchParams::default(), &Patch::Merge(&patch)).await;
        match patched {
            Ok(patched) => Ok(patched.resource_version()),
            Err(error) => Err(KubernetesError::of(
                "set finalizers of S3AccessUser",
                &reference.namespace,
                &reference.name,
                &error,
            )),
        }
    }

    async fn apply_status(&self, user: &UserRef, status: &S3AccessUserStatus) -> Result<Option<String>> {
        let resource = ApiResource::erase::<S3AccessUser>(&());
        let users: Api<Written> = Api::namespaced(self.client.clone(), &user.namespace);
        let body = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": { "name": user.name, "namespace": user.namespace, "uid": user.uid, "resourceVersion": user.resource_version },
            "status": status,
        });
        let params = PatchParams::apply(MANAGER).force();
        let applied = users.patch_status(&user.name, &params, &Patch::Apply(&body)).await;
        match applied {
            Ok(applied) => Ok(applied.resource_version()),
            Err(error) => {
                Err(KubernetesError::of("update status of S3AccessUser", &user.namespace, &user.name, &error))
            }
        }
    }

    async fn publish(&self, user: &UserRef, event: Event) -> Result<()> {
        let mut reference = S3AccessUser::new(&user.name, crate::api::S3AccessUserSpec::default()).object_ref(&());
        reference.namespace = Some(user.namespace.clone());
        reference.uid = Some(user.uid.clone());
        let published = self.recorders.next().publish(&event, &reference).await;
        published
            .map_err(|error| KubernetesError::of("publish Event on S3AccessUser", &user.namespace, &user.name, &error))
    }
}

/// The user's namespace and UID.
fn identity(user: &ObjectMeta) -> (&str, &str) {
    (user.namespace.as_deref().unwrap_or_default(), user.uid.as_deref().unwrap_or_default())
}

fn as_manager() -> PostParams {
    PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_cluster_that_no_proxy_names_is_reached_without_one() {
        const PROXY: &str = "http://proxy.example.com:3128";
        let matcher = Matcher::builder().all(PROXY).no("10.0.0.0/8,.internal").build();
        let goes_through = |cluster: &str, configured: &str, environment: Option<&str>| {
            let mut config = Config::new(cluster.parse().unwrap());
            config.proxy_url = Some(configured.parse().unwrap());
            heeding_no_proxy(config, environment, &matcher).proxy_url.is_some()
        };
        assert!(goes_through("https://eks.example.com", PROXY, Some(PROXY)));
        assert!(!goes_through("https://10.1.2.3:6443", PROXY, Some(PROXY)));
        assert!(!goes_through("https://api.internal:6443", PROXY, Some(PROXY)));
        assert!(
            goes_through("https://10.1.2.3:6443", "http://of.kubeconfig:3128", Some(PROXY)),
            "kubectl does so, too"
        );
        assert!(goes_through("https://10.1.2.3:6443", PROXY, None));
    }
}
