//! A Secret that the API server would not take: admission of others is asked before a key is made.

use anyhow::ensure;
use ground::double::Settings;
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use s3_access_operator::api::annotations;
use serde_json::json;

use crate::scene::{Scene, spec, user_name};

const WORDS: &str = "Secrets are frozen until Monday";

impl Scene {
    /// The platform team's policy by which nobody writes a Secret in this namespace, once it is bound.
    async fn policy_of_frozen_secrets(&self) {
        let name = format!("frozen-{}", self.namespace);
        let here = json!({ "matchLabels": { "kubernetes.io/metadata.name": self.namespace } });
        let rules = json!([{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["secrets"] }]);
        let policy = json!({
            "metadata": { "name": name },
            "spec": {
                "matchConstraints": { "namespaceSelector": here, "resourceRules": rules },
                "validations": [{ "expression": "false", "message": WORDS }],
            },
        });
        let policies = Api::<ValidatingAdmissionPolicy>::all(self.client.clone());
        policies.create(&PostParams::default(), &serde_json::from_value(policy).unwrap()).await.unwrap();
    }

    async fn freeze_secrets(&self) {
        let name = format!("frozen-{}", self.namespace);
        let binding =
            json!({ "metadata": { "name": name }, "spec": { "policyName": name, "validationActions": ["Deny"] } });
        let bindings = Api::<ValidatingAdmissionPolicyBinding>::all(self.client.clone());
        bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
        self.secrets_are(false).await;
    }

    async fn thaw_secrets(&self) {
        let name = format!("frozen-{}", self.namespace);
        let bindings = Api::<ValidatingAdmissionPolicyBinding>::all(self.client.clone());
        bindings.delete(&name, &DeleteParams::default()).await.unwrap();
        self.secrets_are(true).await;
    }

    /// Admission follows its objects with a delay.
    async fn secrets_are(&self, taken: bool) {
        let any: Secret = serde_json::from_value(json!({ "metadata": { "generateName": "any-" } })).unwrap();
        let params = PostParams { dry_run: true, ..PostParams::default() };
        self.see("the admission of Secrets to change", async || {
            ensure!(self.secrets().create(&params, &any).await.is_ok() == taken, "not yet");
            Ok(())
        })
        .await;
    }

    fn minted(&self) -> usize {
        self.proxy.counts().get("CreateAccessKey").copied().unwrap_or_default()
    }
}

#[tokio::test]
async fn no_key_is_made_for_a_secret_that_the_api_server_would_not_take() {
    let scene = Scene::on_double("untaken", Settings::default()).await;
    scene.policy_of_frozen_secrets().await;
    scene.freeze_secrets().await;
    scene.create("reports", spec()).await;
    let (user, message) = scene.refused("reports", "AccessDenied").await;
    assert!(message.contains("reports-s3") && message.contains(WORDS) && message.contains("dry run"), "{message}");
    scene.condition("reports", "SecretSynced", "False", "AccessDenied").await;
    scene.condition("reports", "PolicySynced", "True", "Synced").await;
    let user = user_name(&user);
    assert_eq!((scene.minted(), scene.keys(&user).await.len()), (0, 0));

    scene.thaw_secrets().await;
    scene.ready("reports").await;
    let first = scene.only_key(&user, "reports-s3").await;
    assert_eq!(scene.minted(), 1);

    scene.freeze_secrets().await;
    scene.patch("reports", json!({ "metadata": { "annotations": { annotations::ROTATE: "1" } } })).await;
    scene.condition("reports", "SecretSynced", "False", "AccessDenied").await;
    assert_eq!(scene.only_key(&user, "reports-s3").await, first, "the key that is there goes on");
    assert_eq!(scene.minted(), 1, "none was made that no Secret could hold");
    scene.thaw_secrets().await;
    scene.secret_holds_another_key("reports-s3", &first).await;
    assert_eq!(scene.minted(), 2);
}
