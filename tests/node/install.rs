//! The chart on a real node: what it brings, and what it leaves.

use anyhow::ensure;
use kube::ResourceExt;
use serde_json::json;

use crate::world::{NAMESPACE, RELEASE, World};

pub async fn one_helm_install_brings_two_replicas_up_where_pod_security_is_restricted(world: &World) {
    let pods = world.operators().await;
    assert_eq!(pods.len(), 2, "{:?}", pods.iter().map(ResourceExt::name_any).collect::<Vec<_>>());
    for pod in &pods {
        let conditions = pod.status.as_ref().unwrap().conditions.clone().unwrap();
        assert!(conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"));
        assert_eq!(pod.spec.as_ref().unwrap().service_account_name.as_deref(), Some(RELEASE));
    }
    let leader = world.see("one of them to lead", async || world.leader().await).await;
    println!("helm install: two replicas ready after {:.1?}; {leader} leads", world.installed_in);
    world.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "s3accessclass/default"]).await.unwrap();

    // As the pages on `doctor` and `status` have it.
    let deployment = format!("deploy/{RELEASE}");
    let command = ["exec", "-n", NAMESPACE, deployment.as_str(), "--", "s3-access-operator", "status", "-A"];
    world.see("a command in the pod", async || world.kubectl(&command).await).await;

    // The same namespace refuses what is not restricted: so the operator's own pods were held against it.
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "loose", "namespace": NAMESPACE },
        "spec": { "containers": [{ "name": "loose", "image": "docker.io/local/workload:1", "args": ["pause"] }] },
    });
    let pods = kube::Api::<k8s_openapi::api::core::v1::Pod>::namespaced(world.client.clone(), NAMESPACE);
    let refused = pods.create(&Default::default(), &serde_json::from_value(pod).unwrap()).await.unwrap_err();
    assert!(refused.to_string().contains("violates PodSecurity \"restricted"), "{refused}");
}

pub async fn helm_upgrade_changes_no_key(world: &World) {
    world.namespace("upgrade").await;
    let user =
        world.user("upgrade", "app", json!({ "access": [{ "bucket": "upgrade-data", "level": "ReadOnly" }] })).await;
    let key = world.only_key(&user, "app-s3", "").await;
    let secret = world.secret("upgrade", "app-s3").await;
    let before: Vec<String> = world.operators().await.iter().map(ResourceExt::name_any).collect();
    // As the documentation has it, and with a change.
    let change = ["--reuse-values", "--set", "operator.logFormat=text"];
    world.helm(&[["upgrade", RELEASE, &world.chart()].as_slice(), &change].concat()).await.unwrap();
    world
        .see("two new pods, one of which leads", async || {
            let pods = world.operators().await;
            ensure!(pods.len() == 2 && pods.iter().all(|pod| !before.contains(&pod.name_any())), "pods of before run");
            world.leader().await
        })
        .await;
    // The new leader has looked at it: it carries out what it is asked.
    world.rotate("upgrade", "app", "after-the-upgrade").await;
    let next = world.another_key("upgrade", "app-s3", &key).await;
    let kept = world.keys(&user).await;
    assert!(kept.iter().all(|found| [Some(key.as_str()), Some(next.as_str())].contains(&found.access_key_id())));
    assert_eq!(world.secret("upgrade", "app-s3").await.uid(), secret.uid(), "the Secret was made anew");
}

pub async fn helm_uninstall_leaves_the_users_and_an_install_finds_them_again(world: &World) {
    world.namespace("leave").await;
    let user = world.user("leave", "app", json!({ "access": [{ "bucket": "leave-data", "level": "ReadOnly" }] })).await;
    let key = world.only_key(&user, "app-s3", "").await;
    let secret = world.secret("leave", "app-s3").await;
    world.helm(&["uninstall", RELEASE]).await.unwrap();
    let kinds = "deployments,replicasets,pods,services,serviceaccounts,roles,rolebindings,poddisruptionbudgets,\
                 clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings";
    let selector = "app.kubernetes.io/name=s3-access-operator";
    world
        .see("nothing of the operator to be left", async || {
            let left = world.kubectl(&["get", kinds, "-A", "-l", selector, "-o", "name"]).await?;
            ensure!(left.is_empty(), "left: {left}");
            Ok(())
        })
        .await;
    let kept = world.kubectl(&["get", "crds,s3accessclasses", "-o", "name"]).await.unwrap();
    for name in ["s3accessusers.s3access.dev", "s3accessclasses.s3access.dev", "s3accessclass.s3access.dev/default"] {
        assert!(kept.contains(name), "{name} is gone: {kept}");
    }
    let found = world.users("leave").get("app").await.unwrap();
    assert!(found.metadata.deletion_timestamp.is_none());
    let resource_version = |secret: &k8s_openapi::api::core::v1::Secret| secret.resource_version();
    assert_eq!(resource_version(&world.secret("leave", "app-s3").await), resource_version(&secret));

    world.install().await;
    world.see("a new pod to lead", async || world.leader().await).await;
    // It deletes what was made before it was there.
    let other =
        world.user("leave", "other", json!({ "access": [{ "bucket": "leave-data", "level": "ReadOnly" }] })).await;
    assert_eq!(world.only_key(&user, "app-s3", "").await, key, "the new release took another key");
    for name in ["app", "other"] {
        world.kubectl(&["delete", "-n", "leave", "s3accessuser", name, "--timeout=60s"]).await.unwrap();
    }
    let names: Vec<String> = [&user, &other].map(|user| user.status.clone().unwrap().user_name.unwrap()).into();
    let users = world.admin.iam().list_users().send().await.unwrap();
    assert!(users.users().iter().all(|user| !names.contains(&user.user_name().to_owned())), "{users:?}");
}
