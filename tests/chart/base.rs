//! The chart and the kustomize base are two ways to the same end.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use s3_access_operator::config::RunOptions;
use serde_json::Value;

use crate::helm::{Helm, NAMESPACE, RELEASE, documents, find, named, names, read, text};

/// The objects of the kustomize base, with the names that the chart gives them.
fn base() -> Vec<Value> {
    let kustomization = &documents(&read("deploy/kustomization.yaml"))[0];
    let files = kustomization["resources"].as_array().unwrap().iter().map(text);
    let texts = files.filter(|file| file.ends_with(".yaml")).map(|file| read(format!("deploy/{file}")));
    let mut objects: Vec<Value> = texts.flat_map(|text| documents(&text)).collect();
    for object in &mut objects {
        let ours = text(&object["metadata"]["name"]).strip_prefix("s3access-").map(|rest| format!("{RELEASE}-{rest}"));
        if let Some(name) = ours {
            object["metadata"]["name"] = name.clone().into();
            if object["spec"]["policyName"].is_string() {
                object["spec"]["policyName"] = name.into();
            }
        }
    }
    objects
}

fn of_kinds<'a>(objects: &'a [Value], kinds: &[&str]) -> Vec<&'a Value> {
    objects.iter().filter(|object| kinds.contains(&text(&object["kind"]))).collect()
}

#[tokio::test]
async fn the_chart_gives_the_rights_of_the_kustomize_base() {
    let (base, chart) = (base(), Helm::new().await.objects(&[]).await);
    let roles = of_kinds(&base, &["Role", "ClusterRole"]);
    assert_eq!(roles.len(), 10);
    for role in &roles {
        let same = named(&chart, text(&role["kind"]), text(&role["metadata"]["name"]));
        assert_eq!(same["rules"], role["rules"], "{}", role["metadata"]["name"]);
        assert_eq!(same["metadata"]["namespace"], role["metadata"]["namespace"]);
        let aggregation = |role: &Value| -> BTreeMap<String, Value> {
            let labels = role["metadata"]["labels"].as_object().cloned().unwrap_or_default();
            labels.into_iter().filter(|(key, _)| !key.contains("app.kubernetes.io") && key != "helm.sh/chart").collect()
        };
        assert_eq!(aggregation(same), aggregation(role), "{}", role["metadata"]["name"]);
    }
    let bindings = of_kinds(&base, &["RoleBinding", "ClusterRoleBinding"]);
    for binding in &bindings {
        let same = named(&chart, text(&binding["kind"]), text(&binding["metadata"]["name"]));
        for part in ["roleRef", "subjects"] {
            assert_eq!(same[part], binding[part], "{}", binding["metadata"]["name"]);
        }
        assert_eq!(same["metadata"]["namespace"], binding["metadata"]["namespace"]);
    }
    assert_eq!(of_kinds(&chart, &["Role", "ClusterRole"]).len(), roles.len(), "{:?}", names(&chart));
    assert_eq!(of_kinds(&chart, &["RoleBinding", "ClusterRoleBinding"]).len(), bindings.len());
}

#[tokio::test]
async fn the_chart_runs_the_pods_of_the_kustomize_base() {
    let (base, chart) = (base(), Helm::new().await.objects(&[]).await);
    let (base, chart) = (named(&base, "Deployment", RELEASE), named(&chart, "Deployment", RELEASE));
    for part in ["replicas", "strategy"] {
        assert_eq!(chart["spec"][part], base["spec"][part], "{part}");
    }
    let template = |deployment: &Value| deployment["spec"]["template"].clone();
    let (base, chart) = (template(base), template(chart));
    assert_eq!(chart["metadata"]["annotations"], base["metadata"]["annotations"]);
    let parts = [
        "serviceAccountName",
        "automountServiceAccountToken",
        "enableServiceLinks",
        "terminationGracePeriodSeconds",
        "securityContext",
        "nodeSelector",
    ];
    for part in parts {
        assert_eq!(chart["spec"][part], base["spec"][part], "{part}");
    }
    let spread = |pod: &Value| -> Vec<(Value, Value, Value)> {
        let constraints = pod["spec"]["topologySpreadConstraints"].as_array().unwrap();
        constraints
            .iter()
            .map(|one| (one["maxSkew"].clone(), one["topologyKey"].clone(), one["whenUnsatisfiable"].clone()))
            .collect()
    };
    assert_eq!(spread(&chart), spread(&base));
    let (base, chart) = (&base["spec"]["containers"], &chart["spec"]["containers"]);
    assert_eq!((base.as_array().unwrap().len(), chart.as_array().unwrap().len()), (1, 1));
    for part in [
        "name",
        "image",
        "imagePullPolicy",
        "args",
        "ports",
        "livenessProbe",
        "readinessProbe",
        "resources",
        "securityContext",
    ] {
        assert_eq!(chart[0][part], base[0][part], "{part}");
    }
    let environment = chart[0]["env"].as_array().unwrap();
    for variable in base[0]["env"].as_array().unwrap() {
        assert!(environment.contains(variable), "{variable} is not in {environment:?}");
    }
    assert_eq!(environment[0]["name"], "AWS_REGION");
}

#[tokio::test]
async fn the_chart_has_the_disruption_budget_and_the_admission_policies_of_the_kustomize_base() {
    let (base, chart) = (base(), Helm::new().await.objects(&[]).await);
    let (mut budget, mut same) =
        (named(&base, "PodDisruptionBudget", RELEASE).clone(), named(&chart, "PodDisruptionBudget", RELEASE).clone());
    for object in [&mut budget, &mut same] {
        assert_eq!(object["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"], RELEASE);
        object["spec"]["selector"] = Value::Null;
    }
    assert_eq!(same["spec"], budget["spec"]);
    let admission = of_kinds(&base, &["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"]);
    assert_eq!(admission.len(), 8);
    for object in admission {
        let same = named(&chart, text(&object["kind"]), text(&object["metadata"]["name"]));
        assert_eq!(same["spec"], object["spec"], "{}", object["kind"]);
    }
}

#[tokio::test]
async fn the_chart_brings_the_generated_crds_and_keeps_them() {
    let helm = Helm::new().await;
    let chart = helm.objects(&[]).await;
    for file in ["s3access.dev_s3accessclasses.yaml", "s3access.dev_s3accessusers.yaml"] {
        let generated = &documents(&read(format!("crds/{file}")))[0];
        let same = named(&chart, "CustomResourceDefinition", text(&generated["metadata"]["name"]));
        assert_eq!(plain(&same["spec"]), plain(&generated["spec"]), "{file}");
        assert_eq!(same["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
        let labels = &generated["metadata"]["labels"];
        for (name, value) in labels.as_object().into_iter().flatten() {
            assert_eq!(same["metadata"]["labels"][name], *value, "{name}");
        }
    }
    assert!(of_kinds(&helm.objects(&["--set", "crds.enabled=false"]).await, &["CustomResourceDefinition"]).is_empty());
    for crd in of_kinds(&helm.objects(&["--set", "crds.keep=false"]).await, &["CustomResourceDefinition"]) {
        assert!(crd["metadata"]["annotations"]["helm.sh/resource-policy"].is_null());
    }
}

/// With one form of numbers: helm writes 1000.0 as 1000.
fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().into(),
        Value::Array(members) => members.iter().map(plain).collect(),
        Value::Object(members) => members.iter().map(|(name, member)| (name.clone(), plain(member))).collect(),
        other => other.clone(),
    }
}

/// What the chart sets is what the operator reads; and what the values say by default, the operator does by default.
#[tokio::test]
async fn the_charts_settings_are_the_operators() {
    let run = RunOptions::augment_args(clap::Command::new("run"));
    let defaults: BTreeMap<String, String> = run
        .get_arguments()
        .filter_map(|argument| {
            let name = argument.get_env()?.to_string_lossy().into_owned();
            Some((name, argument.get_default_values().first()?.to_string_lossy().into_owned()))
        })
        .collect();
    let known: BTreeSet<String> =
        run.get_arguments().filter_map(|argument| Some(argument.get_env()?.to_string_lossy().into_owned())).collect();
    let helm = Helm::new().await;
    let full = crate::helm::chart().join("ci/full-values.yaml").display().to_string();
    for args in [&[][..], &["--values", &full]] {
        let objects = helm.objects(args).await;
        let deployment = of_kinds(&objects, &["Deployment"])[0].clone();
        for variable in deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap() {
            let name = text(&variable["name"]);
            if !name.starts_with("S3ACCESS_") {
                continue;
            }
            assert!(known.contains(name), "the operator reads no {name}");
            // Closed by default, since a chart knows nobody's tenants.
            let differs = ["S3ACCESS_NAMESPACE", "S3ACCESS_REQUIRE_CLASS"];
            if args.is_empty() && !differs.contains(&name) {
                assert_eq!(variable["value"].as_str(), defaults.get(name).map(String::as_str), "{name}");
            }
        }
    }
    // Each setting can be set by a value.
    let template = read("deploy/chart/templates/_env.tpl");
    for name in &known {
        assert!(template.contains(&format!("name: {name}\n")), "no value sets {name}");
    }
}

#[tokio::test]
async fn the_chart_gives_the_right_to_restart_workloads_where_it_is_asked_for() {
    let helm = Helm::new().await;
    let name = format!("{RELEASE}-rollout-restart");
    assert!(find(&helm.objects(&[]).await, "ClusterRole", &name).is_none());
    let (chart, optional) = (
        helm.objects(&["--set", "rbac.rolloutRestart=true"]).await,
        documents(&read("deploy/optional/rollout-restart.yaml")),
    );
    assert_eq!(named(&chart, "ClusterRole", &name)["rules"], named(&optional, "ClusterRole", &name)["rules"]);
    for part in ["roleRef", "subjects"] {
        let binding = |objects: &[Value]| named(objects, "ClusterRoleBinding", &name)[part].clone();
        assert_eq!(binding(&chart), binding(&optional), "{part}");
    }
}

/// What the operator asks about others, and what whoever reads metrics has to have.
#[tokio::test]
async fn the_chart_keeps_metrics_to_whoever_may_read_them_where_it_is_asked_for() {
    let helm = Helm::new().await;
    let roles = ["metrics-auth", "metrics-reader"].map(|role| format!("{RELEASE}-{role}"));
    let without = helm.objects(&[]).await;
    let (chart, optional) = (
        helm.objects(&["--set", "metrics.secure.enabled=true"]).await,
        documents(&read("deploy/optional/secure-metrics/rbac.yaml")),
    );
    for name in &roles {
        assert!(find(&without, "ClusterRole", name).is_none());
        assert_eq!(named(&chart, "ClusterRole", name)["rules"], named(&optional, "ClusterRole", name)["rules"]);
    }
    for part in ["roleRef", "subjects"] {
        let binding = |objects: &[Value]| named(objects, "ClusterRoleBinding", &roles[0])[part].clone();
        assert_eq!(binding(&chart), binding(&optional), "{part}");
    }
    // The component puts into the pod what the chart does.
    let component = &documents(&read("deploy/optional/secure-metrics/kustomization.yaml"))[0];
    let patches = documents(text(&component["patches"][0]["patch"])).remove(0);
    let template = &named(&chart, "Deployment", RELEASE)["spec"]["template"];
    for operation in patches.as_array().unwrap() {
        let path = text(&operation["path"]).strip_prefix("/spec/template").unwrap();
        let found = template.pointer(path.strip_suffix("/-").unwrap_or(path)).unwrap();
        let holds = found.as_array().map_or(*found == operation["value"], |all| all.contains(&operation["value"]));
        assert!(holds, "{path}: {found}");
    }
}

/// The Secret is named to RBAC, to admission and to the operator, and is in no pod's environment any more.
#[tokio::test]
async fn the_chart_lets_the_operator_rotate_its_own_key_where_it_is_asked_for() {
    let helm = Helm::new().await;
    let (role, admission) = (format!("{RELEASE}-own-key"), format!("{RELEASE}-operator"));
    let named_to = |objects: &[Value]| {
        let variables = named(objects, "ValidatingAdmissionPolicy", &admission)["spec"]["variables"].clone();
        let own_keys = variables.as_array().unwrap().iter().find(|variable| variable["name"] == "ownKeys").cloned();
        text(&own_keys.unwrap()["expression"]).to_owned()
    };
    let secret = "aws.credentials.existingSecret=s3-access-operator-aws";
    let without = helm.objects(&["--set", secret]).await;
    assert!(find(&without, "Role", &role).is_none());
    assert_eq!(named_to(&without), "[]");
    let chart = helm.objects(&["--set", secret, "--set", "aws.credentials.rotate=true"]).await;
    assert_eq!(named_to(&chart), "['s3-access-operator-aws']");
    let optional = documents(&read("deploy/optional/own-key/rbac.yaml"));
    assert_eq!(named(&chart, "Role", &role)["rules"], named(&optional, "Role", &role)["rules"]);
    for part in ["roleRef", "subjects"] {
        let binding = |objects: &[Value]| named(objects, "RoleBinding", &role)[part].clone();
        assert_eq!(binding(&chart), binding(&optional), "{part}");
    }
    let container =
        |objects: &[Value]| named(objects, "Deployment", RELEASE)["spec"]["template"]["spec"]["containers"][0].clone();
    assert!(container(&without)["envFrom"].is_array());
    let container = container(&chart);
    assert!(container["envFrom"].is_null(), "{container}");
    let environment = container["env"].as_array().unwrap();
    for (name, value) in [("S3ACCESS_ROTATE_OWN_KEY", "s3-access-operator-aws"), ("S3ACCESS_OWN_KEY_INTERVAL", "720h")]
    {
        assert!(environment.iter().any(|one| one["name"] == name && one["value"] == value), "{environment:?}");
    }
}

#[tokio::test]
async fn some_namespaces_are_served_with_no_right_on_the_clusters_secrets() {
    let helm = Helm::new().await;
    let values = |name: &str| crate::helm::chart().join(format!("ci/{name}-values.yaml")).display().to_string();
    let cluster = ["ClusterRole", "ClusterRoleBinding"];

    let without = helm.objects(&["--values", &values("namespaces")]).await;
    assert!(of_kinds(&without, &cluster).is_empty(), "{:?}", names(&without));
    for object in &without {
        assert!(object["metadata"]["namespace"].is_string(), "{} is the cluster's", object["kind"]);
    }
    let rules = &named(&base(), "ClusterRole", RELEASE)["rules"].clone();
    for namespace in ["team-a", "team-b"] {
        let there: Vec<Value> =
            without.iter().filter(|object| object["metadata"]["namespace"] == namespace).cloned().collect();
        assert_eq!(names(&there), [format!("Role {RELEASE}"), format!("RoleBinding {RELEASE}")]);
        assert_eq!(there[0]["rules"], *rules);
        assert_eq!(there[1]["roleRef"]["kind"], "Role");
        assert_eq!(there[1]["subjects"][0]["namespace"], NAMESPACE);
    }

    let with = helm.objects(&["--values", &values("namespaces-with-classes"), "--set", "userRoles.create=false"]).await;
    let roles = of_kinds(&with, &cluster);
    assert_eq!(roles.len(), 2, "the classes, and nothing else");
    for rule in roles[0]["rules"].as_array().unwrap() {
        assert!(!rule["resources"].as_array().unwrap().contains(&"secrets".into()), "{rule}");
    }
    assert!(find(&with, "ClusterRole", RELEASE).is_none());
}
