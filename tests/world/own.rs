//! A Kubernetes and an AWS account of a test's own, for what is the whole cluster's: classes without labels, namespaces by
//! name, the CRDs themselves.

use ground::cache;
use ground::folders::Folder;
use ground::kubernetes::Kubernetes;
use ground::moto::{Moto, Partition};
use ground::stand::Stand;

use crate::scene::Scene;

/// A scene in such a cluster.
pub struct Own {
    pub scene: Scene,
    pub folder: Folder,
    // Ended in this order: the servers before their files go.
    _kubernetes: Kubernetes,
    _moto: Moto,
}

impl Own {
    /// The scene, with an operator that sees all of the cluster.
    pub async fn new(name: &str) -> Self {
        let shared = Stand::attach().unwrap();
        let folder = Folder::create(name).unwrap();
        let programs = cache::kubernetes().await.unwrap();
        let (kubernetes, moto) = tokio::try_join!(
            Kubernetes::start(&programs, folder.path()),
            Moto::start(&shared.python, folder.path(), Partition::Aws),
        )
        .unwrap();
        let access = kubernetes.access().clone();
        access.install().await.unwrap();
        let path = folder.path().to_path_buf();
        let stand = Stand::given(access, moto.account().clone(), shared.python, shared.operator, path).await.unwrap();
        let mut own = Self { scene: Scene::on(stand, name).await, folder, _kubernetes: kubernetes, _moto: moto };
        own.scene.start(&[("S3ACCESS_WATCH_NAMESPACES", ""), ("S3ACCESS_CLASS_SELECTOR", "")]).await;
        own
    }

    pub async fn kubectl(&self, args: &[&str]) -> String {
        self.scene.stand.kubernetes.kubectl(args).await.unwrap()
    }

    /// Applies an object; or says why not.
    pub async fn apply(&self, object: &serde_json::Value, more: &[&str]) -> anyhow::Result<String> {
        let path = self.folder.path().join("apply.json");
        // JSON is YAML.
        std::fs::write(&path, object.to_string())?;
        self.scene.stand.kubernetes.kubectl(&[&["apply", "-f", path.to_str().unwrap()], more].concat()).await
    }
}
