//! The leader is lost at each stage of a create and of a rotation: killed, frozen, or cut off from the API server. The
//! standby finishes what it began, and no second key is made where the first one was delivered.

use std::time::{Duration, Instant};

use anyhow::ensure;
use futures::future::join_all;
use ground::double::Settings;
use ground::kubernetes::Access;
use ground::proxy::{Fault, Proxy};
use ground::stand::{OPERATOR_ACCOUNT, OPERATOR_NAMESPACE};
use ground::wait::eventually;
use ground::wire::Wire;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use crate::scene::{SOON, Scene, spec, user_name, with};

/// The call that the leader is in when it is lost.
const CREATE: [&str; 5] = ["CreateUser", "CreatePolicy", "AttachUserPolicy", "CreateAccessKey", "GetCallerIdentity"];
const ROTATE: [&str; 4] = ["CreateAccessKey", "GetCallerIdentity", "UpdateAccessKey", "DeleteAccessKey"];
/// A Lease is good for 15 s and looked at every 3 s; the rest is for a busy machine.
const TAKEOVER: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    Killed,
    Frozen,
    CutOff,
}

impl Scene {
    /// Lets the operators keep their Lease in the scene's namespace: by its shipped RBAC there is one for all.
    async fn allow_lease(&self) {
        let role = json!({
            "metadata": { "name": "lease" },
            "rules": [{ "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "patch"] }],
        });
        let binding = json!({
            "metadata": { "name": "lease" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "lease" },
            "subjects": [{ "kind": "ServiceAccount", "name": OPERATOR_ACCOUNT, "namespace": OPERATOR_NAMESPACE }],
        });
        let roles: Api<Role> = Api::namespaced(self.client.clone(), &self.namespace);
        let bindings: Api<RoleBinding> = Api::namespaced(self.client.clone(), &self.namespace);
        roles.create(&PostParams::default(), &serde_json::from_value(role).unwrap()).await.unwrap();
        bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    }
}

/// Loses the leader in that call; how long the standby took to lead.
#[expect(clippy::too_many_lines, reason = "one scene, from its start to its end")]
async fn lost(loss: Loss, stage: &str, rotation: bool) -> Duration {
    let what = if rotation { "rot" } else { "new" };
    let name = format!("{loss:?}-{what}-{stage}").to_lowercase();
    let mut scene = Scene::on_double_without_operator(&name, Settings::default()).await;
    scene.allow_lease().await;
    let kubernetes = scene.stand.kubernetes.clone();
    let wire = Wire::start(&kubernetes.server).await.unwrap();
    let by_wire = Access { server: wire.server(), ..kubernetes };
    let kubeconfig = by_wire.service_account_kubeconfig(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT).await.unwrap();
    let namespace = scene.namespace.clone();
    let endpoint = scene.stand.aws.endpoint.clone();
    let shared = [
        ("S3ACCESS_LEADER_ELECTION", "true"),
        ("S3ACCESS_NAMESPACE", namespace.as_str()),
        // It stands in the Secrets, whichever way to IAM their writer has.
        ("AWS_ENDPOINT_URL_S3", endpoint.as_str()),
    ];
    let kubeconfig = kubeconfig.display().to_string();
    scene.start(&[shared.as_slice(), &[("KUBECONFIG", &kubeconfig)]].concat()).await;
    // The account is asked for once, before the first reconcile.
    scene.create("earlier", spec()).await;
    scene.ready("earlier").await;
    let spec = with(json!({ "accessKey": { "rotation": { "interval": "2160h", "overlap": "4s" } } }));
    if rotation {
        scene.create("reports", spec.clone()).await;
        scene.ready("reports").await;
    }
    // Each has a way to AWS of its own, so that it is known who called.
    let beside = Proxy::start(&scene.stand.aws.endpoint).await.unwrap();
    let of_its_own = [("AWS_ENDPOINT_URL", beside.endpoint())];
    let standby = scene.launch("standby", &[shared.as_slice(), &of_its_own].concat()).await;
    scene.proxy.forget();
    scene.proxy.inject(stage, Fault::HeldAnswer);
    if rotation {
        scene.patch("reports", json!({ "metadata": { "annotations": { "s3access.dev/rotate": "now" } } })).await;
    } else {
        scene.create("reports", spec).await;
    }
    scene.proxy.called(stage, SOON).await.unwrap();
    match loss {
        Loss::Killed => scene.kill9().await,
        Loss::Frozen => scene.operator().freeze().unwrap(),
        Loss::CutOff => wire.cut(true),
    }
    let since = Instant::now();
    eventually("the standby to lead", TAKEOVER, async || {
        ensure!(standby.metric("s3access_leader", "").await? >= 1.0, "not yet");
        Ok(())
    })
    .await
    .unwrap();
    let took = since.elapsed();
    let user = user_name(&scene.ready("reports").await);
    let key = scene.only_key(&user, "reports-s3").await;
    let minted = |proxy: &Proxy| proxy.counts().get("CreateAccessKey").copied().unwrap_or_default();
    let mints = minted(&scene.proxy) + minted(&beside);
    assert!((1..=most_keys(loss, stage, rotation)).contains(&mints), "{name}: {mints} keys were made");
    let data = scene.secret("reports-s3").await;
    if loss != Loss::Killed {
        scene.proxy.forget();
        if loss == Loss::Frozen {
            scene.operator().thaw().unwrap();
        }
        eventually("the old leader to end", TAKEOVER, async || {
            ensure!(scene.operator().process().ensure_running().is_err(), "it runs");
            Ok(())
        })
        .await
        .unwrap();
        let calls = scene.proxy.calls();
        let reads = |action: &str| action.starts_with("Get") || action.starts_with("List");
        assert!(calls.iter().all(|call| reads(&call.action)), "{name}: it wrote in its last moments: {calls:?}");
    }
    assert_eq!(scene.only_key(&user, "reports-s3").await, key, "{name}");
    assert_eq!(scene.secret("reports-s3").await, data, "{name}");
    scene.ready("reports").await;
    scene.delete("reports").await;
    scene.delete("earlier").await;
    assert_eq!(scene.left(), Vec::<String>::new(), "{name}");
    took
}

/// Two where the secret half of a first key can be lost with the leader, before it was delivered.
fn most_keys(loss: Loss, stage: &str, rotation: bool) -> usize {
    match stage {
        "CreateAccessKey" => 2,
        // A first key is tried once it is in the Secret, a rotated one before.
        "GetCallerIdentity" => 1 + usize::from(rotation),
        // As long as its Lease is good, a leader that is cut off goes on in IAM.
        "CreateUser" | "CreatePolicy" | "AttachUserPolicy" if loss == Loss::CutOff => 2,
        _ => 1,
    }
}

/// All stages at once: each waits for a Lease to run out.
async fn lost_at_each_stage(loss: Loss) {
    let create = CREATE.map(|stage| (stage, false));
    let rotate = ROTATE.map(|stage| (stage, true));
    let all = create.into_iter().chain(rotate);
    let mut took = join_all(all.map(|(stage, rotation)| lost(loss, stage, rotation))).await;
    took.sort();
    let seconds: Vec<String> = took.iter().map(|took| format!("{:.1}", took.as_secs_f64())).collect();
    println!("{loss:?}: the standby led after {} s", seconds.join(", "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_5_a_leader_killed_at_any_stage_is_replaced() {
    lost_at_each_stage(Loss::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_5_a_leader_frozen_at_any_stage_is_replaced() {
    lost_at_each_stage(Loss::Frozen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_5_a_leader_cut_off_from_kubernetes_at_any_stage_is_replaced() {
    lost_at_each_stage(Loss::CutOff).await;
}

#[tokio::test]
async fn the_lease_is_good_for_as_long_as_was_said() {
    let mut scene = Scene::on_double_without_operator("leasetime", Settings::default()).await;
    scene.allow_lease().await;
    let namespace = scene.namespace.clone();
    let settings = [
        ("S3ACCESS_LEADER_ELECTION", "true"),
        ("S3ACCESS_NAMESPACE", namespace.as_str()),
        ("S3ACCESS_LEASE_DURATION", "1m"),
        ("S3ACCESS_LEASE_RENEW_BEFORE", "57s"),
    ];
    scene.start(&settings).await;
    let leases: Api<Lease> = Api::namespaced(scene.client.clone(), &namespace);
    let renewed = async || {
        let spec = leases.get("s3-access-operator").await?.spec.unwrap_or_default();
        ensure!(spec.lease_duration_seconds == Some(60), "{spec:?}");
        spec.renew_time.ok_or_else(|| anyhow::anyhow!("nobody has taken it"))
    };
    let first = scene.see("the Lease to be taken", renewed).await;
    scene
        .see("the Lease to be renewed long before its end", async || {
            let next = renewed().await?;
            ensure!(next > first, "not yet");
            Ok(())
        })
        .await;
}
