//! What a tenant writes is one failed reconcile, never more: the operator lives on, and so do all others.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use ground::double::{Operation, Settings};
use ground::stand::Stand;
use ground::wait::throughout;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use s3_access_operator::api::{MANAGED_BY_LABEL, MANAGER};
use serde_json::{Value, json};

use crate::loose::Loose;
use crate::scene::{Scene, spec, user_name};

/// The reasons that say: it is the spec that has to change.
const REFUSALS: [&str; 4] = ["InvalidSpec", "InvalidPolicy", "PolicyTooLarge", "NotPermittedByClass"];

/// The inputs that once did harm.
pub fn inputs() -> Vec<(&'static str, Value)> {
    [
        ("template-stack-overflow", include_str!("hostile/template-stack-overflow.json")),
        ("template-hang", include_str!("hostile/template-hang.json")),
        ("action-walk", include_str!("hostile/action-walk.json")),
        ("path", include_str!("hostile/path.json")),
        ("rotation-storm", include_str!("hostile/rotation-storm.json")),
        ("bad-label", include_str!("hostile/bad-label.json")),
        ("helm-release", include_str!("hostile/helm-release.json")),
        ("grafana", include_str!("hostile/grafana.json")),
    ]
    .map(|(name, text)| (name, serde_json::from_str::<Value>(text).unwrap()["spec"].clone()))
    .into()
}

/// A class like a cautious platform team's.
pub fn tenants() -> Value {
    json!({ "allowedBuckets": ["{namespace}.*"], "allowStatements": true, "rotation": { "maxInterval": "720h", "minInterval": "1h" } })
}

impl Scene {
    /// The spec of an input, as a tenant of this scene's class would write it.
    pub fn hostile(&self, name: &str, class: &str) -> Value {
        let (_, spec) = inputs().into_iter().find(|(found, _)| *found == name).unwrap();
        let text = spec.to_string().replace("team-a.", &format!("{}.", self.namespace));
        let mut spec: Value = serde_json::from_str(&text).unwrap();
        spec["className"] = class.into();
        spec
    }

    /// What anybody may have in that class.
    pub fn honest(&self, class: &str) -> Value {
        json!({ "className": class, "access": [{ "bucket": format!("{}.data", self.namespace), "level": "ReadOnly" }] })
    }

    /// Nothing comes of the S3AccessUser but a report: the API server does not take it, or the operator says why it is
    /// refused.
    async fn comes_to_nothing(&self, name: &str, spec: Value) {
        match self.try_create(name, spec).await {
            Err(kube::Error::Api(status)) => assert_eq!(status.code, 422, "{status:?}"),
            Err(error) => panic!("{error}"),
            Ok(_) => {
                self.see(&format!("{name} to be refused"), async || {
                    let user = self.users().get(name).await?;
                    let conditions = user.status.map(|status| status.conditions).unwrap_or_default();
                    let ready = conditions.iter().find(|found| found.type_ == "Ready").context("not reported yet")?;
                    ensure!(ready.status == "False" && REFUSALS.contains(&ready.reason.as_str()), "{ready:?}");
                    Ok(())
                })
                .await;
            }
        }
    }

    /// The operator lives and works: so far, and after a restart, where it meets the same objects at once.
    async fn goes_on(&mut self, class: &str) {
        self.create("honest", self.honest(class)).await;
        self.ready("honest").await;
        self.operator().process().ensure_running().unwrap();
        self.kill9().await;
        self.start(&[]).await;
        self.create("later", self.honest(class)).await;
        self.ready("later").await;
        self.operator().process().ensure_running().unwrap();
    }

    /// How often anything was reconciled.
    async fn reconciles(&self) -> f64 {
        self.metric("s3access_reconcile_total", "").await.unwrap()
    }
}

/// One tenant's input, and all that comes of it.
async fn is_one_refused_user(name: &str) {
    let mut scene = Scene::on_double(name, Settings::default()).await;
    let class = scene.class("c", tenants()).await;
    scene.comes_to_nothing("hostile", scene.hostile(name, &class)).await;
    let made = scene.iam.list_users().send().await.unwrap();
    for user in made.users().iter().filter(|user| user.user_name().contains("-hostile-")) {
        assert!(scene.keys(user.user_name()).await.is_empty(), "no key was made for it");
    }
    scene.goes_on(&class).await;
}

#[tokio::test]
async fn invariant_9_a_template_that_would_overflow_the_stack_is_one_refused_user() {
    is_one_refused_user("template-stack-overflow").await;
}

#[tokio::test]
async fn invariant_9_a_template_that_would_run_for_ever_is_one_refused_user() {
    is_one_refused_user("template-hang").await;
}

#[tokio::test]
async fn invariant_9_an_action_that_is_costly_to_prove_is_one_refused_user() {
    is_one_refused_user("action-walk").await;
}

#[tokio::test]
async fn invariant_9_labels_that_kubernetes_does_not_take_are_one_refused_user() {
    is_one_refused_user("bad-label").await;
}

#[tokio::test]
async fn invariant_7_a_secret_that_others_act_upon_is_not_made() {
    let scene = Scene::on_double("others", Settings::default()).await;
    let class = scene.class("c", tenants()).await;
    for (name, secret) in [("helm-release", "sh.helm.release.v1.myapp.v99"), ("grafana", "ds")] {
        scene.comes_to_nothing(name, scene.hostile(name, &class)).await;
        let made = scene.secrets().get_opt(secret).await.unwrap();
        assert!(made.is_none(), "{name}: {:?}", made.map(|made| made.metadata));
    }
}

#[tokio::test]
async fn invariant_7_what_the_class_lists_a_secret_may_have() {
    let scene = Scene::on_double("listed", Settings::default()).await;
    let mut class = tenants();
    for (field, pattern) in
        [("allowedSecretNames", "ds*"), ("allowedSecretLabels", "grafana_*"), ("allowedSecretAnnotations", "note-*")]
    {
        class[field] = json!([pattern]);
    }
    let class = scene.class("c", class).await;
    let mut wanted = scene.honest(&class);
    wanted["secret"] =
        json!({ "name": "ds", "labels": { "grafana_datasource": "1" }, "annotations": { "note-1": "any" } });
    scene.create("reports", wanted).await;
    scene.ready("reports").await;
    let meta = scene.secrets().get("ds").await.unwrap().metadata;
    assert_eq!(meta.labels.unwrap()["grafana_datasource"], "1");
    assert_eq!(meta.annotations.unwrap()["note-1"], "any");
}

#[tokio::test]
async fn invariant_7_a_path_that_the_class_does_not_list_is_refused() {
    let scene = Scene::on_double("path", Settings::default()).await;
    let class = scene.class("c", tenants()).await;
    scene.comes_to_nothing("hostile", scene.hostile("path", &class)).await;
    let users = scene.iam.list_users().path_prefix("/break-glass/").send().await.unwrap();
    assert!(users.users().is_empty(), "{users:?}");
    let mut class = tenants();
    // The operator may do nothing outside its own path.
    class["allowedPaths"] = json!(["/s3access/admins/"]);
    let class = scene.class("d", class).await;
    let mut listed = scene.honest(&class);
    listed["path"] = "/s3access/admins/".into();
    scene.create("listed", listed).await;
    let arn = scene.ready("listed").await.status.unwrap().user_arn.unwrap();
    assert!(arn.contains(":user/s3access/admins/"), "{arn}");
}

#[tokio::test]
async fn invariant_9_a_rotation_each_second_is_refused() {
    let scene = Scene::on_double("storm", Settings::default()).await;
    let class = scene.class("c", tenants()).await;
    scene.comes_to_nothing("hostile", scene.hostile("rotation-storm", &class)).await;
    let made = || {
        let double = scene.double.as_ref().unwrap();
        double.with(|world| world.history().count(Operation::CreateAccessKey))
    };
    let before = made();
    throughout("no key is made for it", Duration::from_secs(3), async || {
        ensure!(made() == before, "{} keys", made());
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn invariant_9_a_key_id_that_breaks_a_header_is_no_key() {
    let mut scene = Scene::on_double("newline", Settings::default()).await;
    let class = scene.class("c", tenants()).await;
    scene.create("reports", scene.honest(&class)).await;
    let user = user_name(&scene.ready("reports").await);
    let old = scene.only_key(&user, "reports-s3").await;
    let altered = json!({
        "metadata": { "annotations": { "s3access.dev/access-key-digest": null } },
        "stringData": { "AWS_ACCESS_KEY_ID": "AKIA\nX", "AWS_SECRET_ACCESS_KEY": "x" },
    });
    scene.secrets().patch("reports-s3", &PatchParams::default(), &Patch::Merge(&altered)).await.unwrap();
    scene.secret_holds_another_key("reports-s3", &old).await;
    scene.only_key(&user, "reports-s3").await;
    scene.goes_on(&class).await;
}

#[tokio::test]
async fn invariant_9_an_interval_beyond_counting_stops_no_operator() {
    let scene = Scene::without_operator("forever").await;
    let mut class = tenants();
    class["rotation"]["maxInterval"] = "99999999999999999999h".into();
    let object = json!({ "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessClass",
        "metadata": { "name": format!("{}-c", scene.namespace), "labels": { "scene": scene.namespace } }, "spec": class });
    let object: kube::core::DynamicObject = serde_json::from_value(object).unwrap();
    let resource = kube::discovery::ApiResource::erase::<s3_access_operator::api::S3AccessClass>(&());
    let classes: Api<kube::core::DynamicObject> = Api::all_with(scene.client.clone(), &resource);
    let refused = classes.create(&PostParams::default(), &object).await.expect_err("no such duration").to_string();
    assert!(refused.contains("maxInterval"), "{refused}");

    // Where an older CRD has let it in, it is one class that cannot be used.
    let mut loose = Loose::without_operator("forever", Stand::attach().unwrap()).await;
    let hostile = loose.class("hostile", class).await;
    let good = loose.class("good", tenants()).await;
    loose.create("inside", loose.scene.honest(&hostile)).await;
    loose.scene.start(&[]).await;
    loose.scene.create("outside", loose.scene.honest(&good)).await;
    loose.scene.ready("outside").await;
    loose
        .scene
        .see("the user of the broken class not to be Ready", async || {
            let user = loose.users().get("inside").await?;
            let conditions = user.data["status"]["conditions"].as_array().context("no status yet")?.clone();
            ensure!(
                conditions.iter().any(|found| found["type"] == "Ready" && found["status"] == "False"),
                "{conditions:?}"
            );
            Ok(())
        })
        .await;
    loose.scene.goes_on(&good).await;
}

#[tokio::test]
async fn invariant_6_what_is_refused_from_the_start_is_not_reconciled_over_and_over() {
    let scene = Scene::on_double("unmoved", Settings::default()).await;
    let class = scene.class("c", tenants()).await;
    // Admission knows nothing of statements.
    let mut beyond = scene.honest(&class);
    beyond["policy"] = json!({ "statements": [{ "Effect": "Allow", "Action": "iam:CreateUser", "Resource": "*" }] });
    scene.create("beyond", beyond).await;
    scene.refused("beyond", "NotPermittedByClass").await;
    let settled = scene.reconciles().await;
    throughout("it is left alone", Duration::from_secs(6), async || {
        let more = scene.reconciles().await - settled;
        ensure!(more <= 2.0, "{more} reconciles");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn invariant_9_a_name_with_anothers_hash_keeps_nobody_waiting() {
    let mut scene = Scene::on_double_without_operator("hash", Settings::default()).await;
    let namespaces = Api::<Namespace>::all(scene.client.clone());
    for name in ["tenant-x", "payments"] {
        let namespace = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    }
    let own = std::mem::replace(&mut scene.namespace, "payments".to_owned());
    let one_at_a_time = [
        ("S3ACCESS_WATCH_NAMESPACES", "tenant-x,payments"),
        ("S3ACCESS_CONCURRENCY", "1"),
        ("S3ACCESS_CLASS_SELECTOR", "no=class"),
    ];
    scene.start(&one_at_a_time).await;
    scene.create("first", spec()).await;
    scene.ready("first").await;
    // All wait behind one that AWS does not answer.
    scene.proxy.set_dark(true);
    scene.create("stuck", spec()).await;
    scene.create("billing", spec()).await;
    scene.namespace = "tenant-x".to_owned();
    scene.create("d4ncncui6lgmpxukit0gdo3vjbcsnfmp", spec()).await;
    scene.metric_reaches("s3access_queue_depth", "", 3.0).await;
    scene.proxy.set_dark(false);
    scene.ready("d4ncncui6lgmpxukit0gdo3vjbcsnfmp").await;
    scene.namespace = "payments".to_owned();
    scene.ready("billing").await;
    scene.ready("stuck").await;
    scene.namespace = own;
    for name in ["tenant-x", "payments"] {
        namespaces.delete(name, &DeleteParams::default()).await.unwrap();
    }
}

#[tokio::test]
async fn invariant_9_connections_that_say_nothing_keep_nobody_from_the_endpoints() {
    let mut scene = Scene::without_operator("silent").await;
    scene.start(&[]).await;
    let port = scene.operator().port();
    let before = scene.operator().process().resident_bytes().unwrap();
    let mut silent = Vec::new();
    for _ in 0..400 {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        // Where there is a limit, it may be closed already.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET /metrics HTTP/1.1\r\nX-Slow: ").await;
        silent.push(stream);
    }
    scene
        .see("the endpoint to answer beside them", async || {
            tokio::time::timeout(Duration::from_secs(1), scene_get(port)).await.context("no answer in a second")?
        })
        .await;
    let grown = scene.operator().process().resident_bytes().unwrap().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes for them");
    scene
        .see("those who say nothing to be sent away", async || {
            let mut open = 0;
            for stream in &silent {
                match stream.try_read(&mut [0; 512]) {
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => open += 1,
                    _ => {}
                }
            }
            if open == 0 { Ok(()) } else { bail!("{open} are open") }
        })
        .await;
}

async fn scene_get(port: u16) -> anyhow::Result<()> {
    ground::operator::get(port, "/healthz").await.map(drop)
}

/// Whoever writes a Secret can name any owner in it, and the UID of any.
#[tokio::test]
async fn invariant_9_a_secret_that_names_anothers_uid_costs_that_user_nothing() {
    let mut scene = Scene::without_operator("ghost").await;
    scene.start(&[("S3ACCESS_CONSISTENCY_WINDOW", "6s")]).await;
    scene.create("reports", spec()).await;
    let uid = scene.ready("reports").await.metadata.uid.unwrap();
    let old = scene.secret("reports-s3").await["AWS_ACCESS_KEY_ID"].clone();
    scene.proxy.forget();
    scene.patch("reports", json!({ "metadata": { "annotations": { "s3access.dev/rotate": "1" } } })).await;
    scene.proxy.called("CreateAccessKey", Duration::from_secs(60)).await.unwrap();
    // Until the new key has spread, only the process knows its secret half.
    for number in 0..3 {
        let ghost = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {
                "name": format!("ghost-{number}"), "labels": { MANAGED_BY_LABEL: MANAGER },
                "ownerReferences": [{
                    "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser", "name": "ghost", "uid": uid, "controller": true,
                }],
            },
        });
        let ghost = serde_json::from_value(ghost).unwrap();
        scene.secrets().create(&PostParams::default(), &ghost).await.unwrap();
    }
    scene.secret_holds_another_key("reports-s3", &old).await;
    assert_eq!(scene.proxy.counts()["CreateAccessKey"], 1, "the key that was on its way is the one that came");
}
