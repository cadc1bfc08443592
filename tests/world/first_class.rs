//! From a cluster without classes to one with them: nobody loses what was given before.

use std::collections::BTreeMap;

use ground::double::{Config, DoubleServer, Settings};
use ground::folders::Folder;
use ground::moto::Partition;
use ground::stand::Stand;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde_json::{Value, json};

use crate::commands::run;
use crate::loose::Loose;
use crate::scene::{Scene, spec, user_name, with};

/// What `plan` says of these objects, and whether it ends well. Of the operator's settings no more is given than where it is,
/// and these.
async fn plan(scene: &Scene, settings: &[(&str, &str)], objects: &[Value]) -> (bool, String) {
    let folder = Folder::create("plan").unwrap();
    let file = folder.path().join("objects.json");
    let documents: Vec<String> = objects.iter().map(Value::to_string).collect();
    std::fs::write(&file, documents.join("\n---\n")).unwrap();
    let mut env: BTreeMap<String, String> = scene.stand.operator_identity.env();
    env.insert("AWS_ENDPOINT_URL".to_owned(), scene.proxy.endpoint().to_owned());
    env.insert("S3ACCESS_NAMESPACE".to_owned(), scene.namespace.clone());
    env.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let told = run(scene, &["plan", "-f", file.to_str().unwrap()], &scene.stand.kubernetes.kubeconfig, env).await;
    let is_well = told.is_ok();
    (is_well, told.unwrap_or_else(|(out, errors)| format!("{out}{errors}")))
}

/// A cluster of its own, with a running operator: whoever sees but some of the classes leaves the rest to others.
async fn alone(name: &str) -> Loose {
    let double = DoubleServer::start(Config::default()).await.unwrap();
    let stand = Stand::attach().unwrap().on_double(&double, Partition::Aws).await.unwrap();
    let mut own = Loose::without_operator(name, stand).await;
    own.scene.double = Some(double);
    own.scene.start(&[("S3ACCESS_WATCH_NAMESPACES", ""), ("S3ACCESS_CLASS_SELECTOR", "")]).await;
    own
}

fn default_mark(value: &str) -> Value {
    json!({ "metadata": { "annotations": { "s3access.dev/is-default-class": value } } })
}

/// The other scenes' classes are theirs.
const WITHOUT_CLASSES: [(&str, &str); 1] = [("S3ACCESS_CLASSES", "false")];

/// What `doctor` finds, well or not.
async fn doctor(scene: &Scene) -> String {
    let mut env: BTreeMap<String, String> = scene.stand.operator_identity.env();
    env.insert("AWS_ENDPOINT_URL".to_owned(), scene.proxy.endpoint().to_owned());
    let (Ok(found) | Err((found, _))) = run(scene, &["doctor"], &scene.stand.kubernetes.kubeconfig, env).await;
    found
}

impl Scene {
    /// A Deployment as an install has it, with these variables; nothing runs it.
    async fn deployment(&self, variables: &[(&str, &str)]) {
        let env: Vec<Value> = variables.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        let container = json!({ "name": "operator", "image": "operator:none", "env": env });
        let labels = json!({ "app.kubernetes.io/name": "s3-access-operator" });
        let deployment = json!({
            "metadata": { "name": "s3-access-operator" },
            "spec": {
                "replicas": 0, "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": { "containers": [container] } },
            },
        });
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        deployments.create(&PostParams::default(), &serde_json::from_value(deployment).unwrap()).await.unwrap();
    }

    fn class_object(&self, name: &str, default: bool, buckets: &Value) -> Value {
        json!({
            "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessClass",
            "metadata": {
                "name": name, "labels": { "scene": self.namespace },
                "annotations": { "s3access.dev/is-default-class": default.to_string() },
            },
            "spec": { "allowedBuckets": buckets },
        })
    }
}

#[tokio::test]
async fn the_first_class_takes_nothing_from_those_who_came_before_until_one_takes_them() {
    let own = alone("first-class").await;
    let scene = &own.scene;
    let made = scene.create("reports", spec()).await;
    let user = user_name(&scene.ready("reports").await);
    let key = scene.only_key(&user, "reports-s3").await;
    let before = scene.access(&user).await;
    let made_at = made.metadata.creation_timestamp.unwrap().0;
    scene.second_passes(made_at).await;

    // For another team.
    let class = scene.class("c", json!({ "allowedBuckets": ["other-*"] })).await;
    scene.class_is(&class, "Synced").await;
    scene.patch("reports", json!({ "spec": { "tags": { "team": "reports" } } })).await;
    let kept = scene.ready("reports").await;
    assert_eq!(kept.status.unwrap().class_name, None, "it goes on without a class");
    scene.create("late", spec()).await;
    let (_, message) = scene.refused("late", "ClassNotFound").await;
    assert!(message.contains("marked default"), "{message}");

    let found = doctor(scene).await;
    let warning = format!(
        "WARN  S3AccessUsers without a class: 1 came before the first class and have no limits, such as {}/reports:",
        scene.namespace
    );
    assert!(found.contains(&warning), "{found}");

    // What marking it would do, and what a wider one would.
    let narrow = scene.class_object(&class, true, &json!(["other-*"]));
    let (is_well, told) = plan(scene, &[], &[narrow]).await;
    let line = |told: &str| {
        told.lines().find(|line| line.contains(&format!("{}/reports:", scene.namespace))).unwrap().to_owned()
    };
    let found = line(&told);
    assert!(found.contains("comes from no class into class") && found.contains("team-a-reports"), "{told}");
    assert!(!is_well && told.contains("would lose access"), "{told}");
    let wide = scene.class_object(&class, true, &json!(["other-*", "team-a-*"]));
    let found = line(&plan(scene, &[], &[wide]).await.1);
    assert!(found.contains("tags") && !found.contains("team-a-reports"), "only the tag is beyond it: {found}");

    let wider = json!({ "spec": { "allowedBuckets": ["other-*", "team-a-*"], "allowedTagKeys": ["team"] } });
    scene.patch_class(&class, wider).await;
    scene.patch_class(&class, default_mark("true")).await;
    scene.class_is(&class, "Synced").await;
    let taken = scene.ready("reports").await;
    assert_eq!(taken.status.unwrap().class_name.as_ref(), Some(&class));
    assert_eq!(scene.access(&user).await, before, "the policy is as it was");
    assert_eq!(scene.only_key(&user, "reports-s3").await, key, "and so is the key");
    scene.ready("late").await;

    // Whom a class has taken does not get rid of its limits with the mark.
    scene.patch_class(&class, default_mark("false")).await;
    scene.refused("reports", "ClassNotFound").await;
    scene.patch_class(&class, default_mark("true")).await;
    scene.ready("reports").await;
}

/// Else a pause, while the class has the mark, would be the way out of its limits.
#[tokio::test]
async fn invariant_7_who_is_paused_is_taken_by_a_class_all_the_same() {
    let own = alone("first-paused").await;
    let scene = &own.scene;
    let made = scene.create("reports", spec()).await;
    scene.ready("reports").await;
    scene.second_passes(made.metadata.creation_timestamp.unwrap().0).await;
    let pause = |value: Value| json!({ "metadata": { "annotations": { "s3access.dev/paused": value } } });
    scene.patch("reports", pause(json!("true"))).await;
    scene.refused("reports", "Paused").await;
    let class = scene.class("c", json!({ "allowedBuckets": ["team-a-*"] })).await;
    scene.patch_class(&class, default_mark("true")).await;
    scene.class_is(&class, "Synced").await;
    scene.patch_class(&class, default_mark("false")).await;
    scene.patch("reports", pause(Value::Null)).await;
    scene.refused("reports", "ClassNotFound").await;
}

#[tokio::test]
async fn plan_asks_the_operators_deployment_and_the_api_server() {
    let mut scene = Scene::on_double_without_operator("deployed", Settings::default()).await;
    let named = [("S3ACCESS_CLUSTER_NAME", "prod"), WITHOUT_CLASSES[0]];
    scene.start(&named).await;
    scene.create("reports", spec()).await;
    let user = user_name(&scene.ready("reports").await);
    assert!(user.starts_with("prod-"), "{user}");
    let of = |name: &str, spec: Value| {
        json!({
            "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser",
            "metadata": { "name": name, "namespace": scene.namespace }, "spec": spec,
        })
    };
    let (is_well, told) = plan(&scene, &WITHOUT_CLASSES, &[of("reports", spec())]).await;
    assert!(!is_well && told.contains(&format!("has made IAM user {user} for it")), "{told}");
    assert!(told.contains("no Deployment of the operator is in namespace"), "{told}");

    scene.deployment(&[named.as_slice(), &[("S3ACCESS_CONSISTENCY_WINDOW", "2s")]].concat()).await;
    let (is_well, told) = plan(&scene, &WITHOUT_CLASSES, &[of("reports", spec())]).await;
    assert!(is_well && told.contains("nothing to do"), "{told}");

    // What only the API server can say.
    let aged = with(json!({ "accessKey": { "rotation": { "interval": "90d" } } }));
    for (spec, words) in [
        (json!({ "access": [{ "bucket": "abc", "level": "ReadOnly" }], "tags": { "aws:a": "b" } }), "are reserved"),
        (with(json!({ "userName": "other" })), "immutable"),
        (aged, "2160h"),
    ] {
        let (is_well, told) = plan(&scene, &WITHOUT_CLASSES, &[of("reports", spec)]).await;
        assert!(!is_well && told.contains(words), "{told}");
    }
    let users = scene.users().list(&ListParams::default()).await.unwrap();
    assert_eq!(users.items.len(), 1, "nothing was written");
}
