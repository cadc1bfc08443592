//! The Kubernetes side of a run: its namespace, its S3AccessUsers and their Secrets.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ground::wait::eventually;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

/// What a Secret holds.
pub(crate) type Data = BTreeMap<String, String>;

/// Only failures wait for so long; AWS takes up to a minute for some things.
pub(crate) const SOON: Duration = Duration::from_secs(90);

/// The objects of one namespace.
#[derive(Clone)]
pub(crate) struct Objects {
    pub(crate) namespace: String,
    namespaces: Api<Namespace>,
    users: Api<DynamicObject>,
    secrets: Api<Secret>,
}

impl Objects {
    /// Makes a namespace of its own.
    pub(crate) async fn create(client: Client, namespace: &str) -> Result<Self> {
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let object = serde_json::from_value(json!({ "metadata": { "name": namespace } }))?;
        namespaces.create(&PostParams::default(), &object).await?;
        let kind = GroupVersionKind::gvk("s3access.dev", "v1alpha1", "S3AccessUser");
        Ok(Self {
            namespace: namespace.to_owned(),
            namespaces,
            users: Api::namespaced_with(client.clone(), namespace, &ApiResource::from_gvk(&kind)),
            secrets: Api::namespaced(client, namespace),
        })
    }

    /// Creates an S3AccessUser.
    pub(crate) async fn create_user(&self, name: &str, spec: Value) -> Result<()> {
        let user = json!({
            "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser",
            "metadata": { "name": name, "namespace": self.namespace }, "spec": spec,
        });
        self.users.create(&PostParams::default(), &serde_json::from_value(user)?).await?;
        Ok(())
    }

    /// Changes one.
    pub(crate) async fn patch(&self, name: &str, patch: &Value) -> Result<()> {
        self.users.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Has it looked at again, whole.
    pub(crate) async fn annotate(&self, name: &str, key: &str, value: &str) -> Result<()> {
        self.patch(name, &json!({ "metadata": { "annotations": { key: value } } })).await
    }

    /// Its status, once it is Ready with that status and reason for its newest generation.
    pub(crate) async fn is(&self, name: &str, status: &str, reason: &str) -> Result<Value> {
        eventually(&format!("{name} to be Ready={status} for {reason}"), SOON, async || {
            let user = self.users.get(name).await?;
            let seen = user.data["status"].clone();
            let conditions = seen["conditions"].as_array().context("no conditions yet")?;
            let ready = conditions.iter().find(|condition| condition["type"] == "Ready").context("not Ready yet")?;
            ensure!(ready["observedGeneration"].as_i64() == user.metadata.generation, "not looked at yet: {ready}");
            ensure!(ready["status"] == status && ready["reason"] == reason, "{ready}");
            Ok(seen)
        })
        .await
    }

    /// Its status, once it is Ready.
    pub(crate) async fn is_ready(&self, name: &str) -> Result<Value> {
        self.is(name, "True", "Synced").await
    }

    /// The Secret's data.
    pub(crate) async fn secret(&self, name: &str) -> Result<Data> {
        Ok(self.secret_version(name).await?.1)
    }

    /// The Secret's data, and which version it is.
    pub(crate) async fn secret_version(&self, name: &str) -> Result<(String, Data)> {
        let secret = self.secrets.get(name).await?;
        let version = secret.resource_version().unwrap_or_default();
        let entries = secret.data.unwrap_or_default().into_iter();
        let data: Result<Data> = entries.map(|(key, value)| Ok((key, String::from_utf8(value.0)?))).collect();
        Ok((version, data?))
    }

    /// The key of a Secret in the default format, once it is another one than these.
    pub(crate) async fn other_key(&self, secret: &str, old: &[&str]) -> Result<String> {
        eventually(&format!("another key in {secret}"), SOON, async || {
            let data = self.secret(secret).await?;
            let id = data.get("AWS_ACCESS_KEY_ID").context("no key")?;
            ensure!(!old.contains(&id.as_str()), "it holds an old one");
            Ok(id.clone())
        })
        .await
    }

    pub(crate) async fn delete_secret(&self, name: &str) -> Result<()> {
        self.secrets.delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Deletes S3AccessUsers, and waits until they are gone.
    pub(crate) async fn delete_users(&self, names: &[&str]) -> Result<()> {
        for name in names {
            self.users.delete(name, &DeleteParams::default()).await?;
        }
        for name in names {
            eventually(&format!("{name} to be gone"), SOON, async || match self.users.get_opt(name).await? {
                None => Ok(()),
                Some(user) => bail!("{}", user.data["status"]["conditions"]),
            })
            .await?;
        }
        Ok(())
    }

    /// Lets the namespace go with all that is in it, whether IAM was cleaned by its operator or by hand.
    pub(crate) async fn drop_namespace(&self) -> Result<()> {
        for user in self.users.list(&kube::api::ListParams::default()).await? {
            let released = json!({ "metadata": { "finalizers": null } });
            self.users.patch(&user.name_any(), &PatchParams::default(), &Patch::Merge(&released)).await?;
        }
        self.namespaces.delete(&self.namespace, &DeleteParams::background()).await?;
        Ok(())
    }
}
