//! A Kubernetes of its own whose CRDs let everything in, as older ones might have: what the schemas stop elsewhere, the
//! operator meets here.

use ground::cache;
use ground::folders::Folder;
use ground::kubernetes::Kubernetes;
use ground::stand::Stand;
use kube::Api;
use kube::api::PostParams;
use kube::core::DynamicObject;
use kube::discovery::ApiResource;
use s3_access_operator::api::{S3AccessClass, S3AccessUser};
use serde_json::{Value, json};

use crate::scene::Scene;

/// A scene in such a cluster.
pub struct Loose {
    pub scene: Scene,
    // Ended in this order: the control plane before its files go.
    _kubernetes: Kubernetes,
    _folder: Folder,
}

impl Loose {
    /// The scene, without an operator.
    pub async fn without_operator(name: &str, stand: Stand) -> Self {
        let folder = Folder::create(name).unwrap();
        let kubernetes = Kubernetes::start(&cache::kubernetes().await.unwrap(), folder.path()).await.unwrap();
        let access = kubernetes.access().clone();
        access.install().await.unwrap();
        let anything = json!([{ "op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema",
            "value": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } }]);
        for kind in ["s3accessusers", "s3accessclasses"] {
            let crd = format!("{kind}.s3access.dev");
            access.kubectl(&["patch", "crd", &crd, "--type=json", "-p", &anything.to_string()]).await.unwrap();
        }
        // Neither does an installation without the admission policy keep anything from the operator.
        access.kubectl(&["delete", "validatingadmissionpolicybinding", "--all"]).await.unwrap();
        let scene = Scene::on(Stand { kubernetes: access, ..stand }, name).await;
        let loose = Self { scene, _kubernetes: kubernetes, _folder: folder };
        loose.is_served().await;
        loose
    }

    /// The API server goes on with the old schemas for a moment.
    async fn is_served(&self) {
        let (users, classes) = (self.users(), self.classes());
        let probe = |kind: &str| {
            object(json!({ "apiVersion": "s3access.dev/v1alpha1", "kind": kind,
                "metadata": { "name": "probe" }, "spec": { "access": "anything" } }))
        };
        let (user, class) = (probe("S3AccessUser"), probe("S3AccessClass"));
        let params = PostParams { dry_run: true, ..PostParams::default() };
        self.scene
            .see("the looser CRDs to be served", async || {
                users.create(&params, &user).await?;
                classes.create(&params, &class).await?;
                Ok(())
            })
            .await;
    }

    /// S3AccessUsers, whatever they are.
    pub fn users(&self) -> Api<DynamicObject> {
        let resource = ApiResource::erase::<S3AccessUser>(&());
        Api::namespaced_with(self.scene.client.clone(), &self.scene.namespace, &resource)
    }

    /// S3AccessClasses, whatever they are.
    pub fn classes(&self) -> Api<DynamicObject> {
        Api::all_with(self.scene.client.clone(), &ApiResource::erase::<S3AccessClass>(&()))
    }

    /// Creates an S3AccessUser of any spec.
    pub async fn create(&self, name: &str, spec: Value) {
        let user = object(json!({ "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser",
            "metadata": { "name": name, "namespace": self.scene.namespace }, "spec": spec }));
        self.users().create(&PostParams::default(), &user).await.unwrap();
    }

    /// Creates a class of any spec; its whole name.
    pub async fn class(&self, name: &str, spec: Value) -> String {
        let name = format!("{}-{name}", self.scene.namespace);
        let class = object(json!({ "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessClass",
            "metadata": { "name": name, "labels": { "scene": self.scene.namespace } }, "spec": spec }));
        self.classes().create(&PostParams::default(), &class).await.unwrap();
        name
    }
}

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}
