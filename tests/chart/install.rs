//! The chart in a real API server: installed, upgraded, taken away. No node: what is seen is objects, and that the
//! admission plugin for pod security lets the pods be made.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ground::cache;
use ground::double::{Config, DoubleServer};
use ground::folders::Folder;
use ground::kubernetes::{Access, Kubernetes};
use ground::moto::Partition;
use ground::operator::Operator;
use ground::stand::Stand;
use ground::tools::{Tool, prometheus_crds};
use ground::wait::eventually;
use serde_json::Value;

use crate::health::{argocd, kstatus};
use crate::helm::{Helm, NAMESPACE, RELEASE, chart, documents, named, root, run, text, variants};

/// Only failures wait for so long.
const SOON: Duration = Duration::from_secs(90);
const CRD: &str = "s3accessusers.s3access.dev";
const COLUMNS: &str = "jsonpath={.spec.versions[0].additionalPrinterColumns[*].name}";

/// A control plane of this test's own: the shared one has the kustomize base.
pub struct Cluster {
    pub access: Access,
    pub folder: Folder,
    _kubernetes: Kubernetes,
}

impl Cluster {
    pub async fn start(name: &str) -> Self {
        let programs = cache::kubernetes().await.unwrap();
        let folder = Folder::create(name).unwrap();
        let kubernetes = Kubernetes::start(&programs, folder.path()).await.unwrap();
        let cluster = Self { access: kubernetes.access().clone(), folder, _kubernetes: kubernetes };
        cluster.apply(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n  labels: {{pod-security.kubernetes.io/enforce: restricted, pod-security.kubernetes.io/warn: restricted}}\n\
             ---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: team-a}}\n\
             ---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: team-b}}\n"
        ))
        .await;
        cluster
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    async fn apply(&self, yaml: &str) {
        let path = self.file("apply.yaml", yaml);
        self.kubectl(&["apply", "-f", &path]).await;
    }

    pub async fn kubectl(&self, args: &[&str]) -> String {
        self.access.kubectl(args).await.unwrap()
    }

    pub async fn there(&self, what: &[&str]) -> bool {
        !self.kubectl(&[&["get", "--ignore-not-found", "-o", "name"], what].concat()).await.is_empty()
    }

    /// What is allowed to the operator of that release.
    async fn can_i(&self, account: &str, ask: &[&str]) -> bool {
        let user = format!("--as=system:serviceaccount:{NAMESPACE}:{account}");
        self.access.kubectl(&[&["auth", "can-i", &user], ask].concat()).await.is_ok()
    }
}

async fn install(helm: &Helm, args: &[&str]) -> Result<String, String> {
    let chart = chart().display().to_string();
    helm.run(&[&["install", RELEASE, &chart, "--namespace", NAMESPACE], args].concat()).await
}

async fn upgrade(helm: &Helm, args: &[&str]) -> Result<String, String> {
    let chart = chart().display().to_string();
    helm.run(&[&["upgrade", RELEASE, &chart, "--namespace", NAMESPACE], args].concat()).await
}

async fn uninstall(helm: &Helm) {
    helm.run(&["uninstall", RELEASE, "--namespace", NAMESPACE]).await.unwrap();
}

/// Writes the chart as it would have been before the last column came to the CRD; the number of columns now.
async fn older_chart(to: &std::path::Path) -> usize {
    let status = tokio::process::Command::new("cp").arg("-r").arg(chart()).arg(to).status().await.unwrap();
    assert!(status.success());
    let path = to.join("files/crds/s3access.dev_s3accessusers.yaml");
    let mut crd = documents(&std::fs::read_to_string(&path).unwrap()).remove(0);
    let columns = crd["spec"]["versions"][0]["additionalPrinterColumns"].as_array_mut().unwrap();
    let all = columns.len();
    columns.pop();
    // JSON is YAML.
    std::fs::write(&path, crd.to_string()).unwrap();
    all
}

#[tokio::test]
async fn the_chart_is_installed_upgraded_and_taken_away_and_users_stay() {
    // Only this one may be told to take over what another manager of fields has set.
    lifecycle(Tool::Helm, "chart", &["--take-ownership", "--force-conflicts"]).await;
}

#[tokio::test]
async fn the_same_with_the_helm_before_which_needs_an_upgrade_to_take_in_the_class() {
    lifecycle(Tool::Helm3, "chart3", &["--take-ownership"]).await;
}

#[expect(clippy::too_many_lines, reason = "one scene, from its start to its end")]
async fn lifecycle(which: Tool, name: &str, takeover: &[&str]) {
    let cluster = Cluster::start(name).await;
    let helm = Helm::of(which).await.on(&cluster.access);

    // An older chart, whose CRD lacks the last column.
    let older = cluster.folder.path().join("older");
    let columns = older_chart(&older).await;
    let said = helm.run(&["install", RELEASE, &older.display().to_string(), "--namespace", NAMESPACE]).await.unwrap();
    assert!(said.contains("STATUS: deployed") && said.contains("It has no AWS credentials"), "{said}");
    cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", &format!("crd/{CRD}")]).await;
    assert!(cluster.there(&["s3accessclass", "default"]).await, "no default class after the first install");
    // Pod security is enforced in the namespace: what it refuses is never made.
    eventually("two pods", SOON, async || {
        let pods = cluster.access.kubectl(&["-n", NAMESPACE, "get", "pods", "-o", "name"]).await?;
        ensure!(pods.lines().count() == 2, "{pods:?}");
        Ok(())
    })
    .await
    .unwrap();

    assert_eq!(cluster.kubectl(&["get", "crd", CRD, "-o", COLUMNS]).await.split(' ').count(), columns - 1);
    let user = "apiVersion: s3access.dev/v1alpha1\nkind: S3AccessUser\nmetadata: {name: reports, namespace: team-a}\n\
                spec: {access: [{bucket: team-a-reports, level: ReadOnly}]}\n";
    cluster.apply(user).await;

    if which == Tool::Helm3 {
        assert!(said.contains("run `helm upgrade` once with the same values"), "{said}");
        upgrade(&helm, &[]).await.unwrap();
    }
    let class = ["--set", "defaultClass.spec.rotation.maxInterval=2160h"];
    upgrade(&helm, &class).await.unwrap();
    assert_eq!(cluster.kubectl(&["get", "crd", CRD, "-o", COLUMNS]).await.split(' ').count(), columns);
    assert!(cluster.there(&["s3accessuser", "reports", "-n", "team-a"]).await);
    let interval = ["get", "s3accessclass", "default", "-o", "jsonpath={.spec.rotation.maxInterval}"];
    assert_eq!(cluster.kubectl(&interval).await, "2160h");
    let manifest = documents(&helm.run(&["get", "manifest", RELEASE, "--namespace", NAMESPACE]).await.unwrap());
    named(&manifest, "S3AccessClass", "default");

    helm.run(&["rollback", RELEASE, "1", "--namespace", NAMESPACE]).await.unwrap();
    assert!(cluster.there(&["s3accessclass", "default"]).await, "a rollback to the first revision took the class");
    assert!(cluster.there(&["s3accessuser", "reports", "-n", "team-a"]).await);

    uninstall(&helm).await;
    assert!(cluster.there(&["s3accessuser", "reports", "-n", "team-a"]).await);
    assert!(cluster.there(&["s3accessclass", "default"]).await);
    for gone in ["deployments", "services", "serviceaccounts", "poddisruptionbudgets", "roles", "rolebindings"] {
        let left = cluster
            .kubectl(&[
                "-n",
                NAMESPACE,
                "get",
                gone,
                "-l",
                "app.kubernetes.io/part-of=s3-access-operator",
                "-o",
                "name",
            ])
            .await;
        assert_eq!(left, "", "{gone}");
    }
    for gone in
        ["clusterroles", "clusterrolebindings", "validatingadmissionpolicies", "validatingadmissionpolicybindings"]
    {
        let left =
            cluster.kubectl(&["get", gone, "-l", "app.kubernetes.io/part-of=s3-access-operator", "-o", "name"]).await;
        assert_eq!(left, "", "{gone}");
    }

    // What stayed is taken into the next release.
    install(&helm, &[]).await.unwrap();
    assert!(cluster.there(&["s3accessuser", "reports", "-n", "team-a"]).await);

    // With nothing to keep, nothing stays.
    cluster.kubectl(&["-n", "team-a", "delete", "s3accessuser", "reports"]).await;
    cluster.kubectl(&["delete", "s3accessclass", "default"]).await;
    upgrade(&helm, &["--set", "crds.keep=false,defaultClass.create=false"]).await.unwrap();
    uninstall(&helm).await;
    eventually("the CRDs to be gone", SOON, async || {
        let left = cluster.access.kubectl(&["get", "crd", "-o", "name"]).await?;
        ensure!(!left.contains("s3access.dev"), "{left}");
        Ok(())
    })
    .await
    .unwrap();

    // The kustomize base was there first: helm says whose the objects are, and takes them over when told to.
    cluster.kubectl(&["apply", "-f", &root().join("crds").display().to_string()]).await;
    let refused = install(&helm, &[]).await.unwrap_err();
    assert!(refused.contains("invalid ownership metadata"), "{refused}");
    install(&helm, takeover).await.unwrap();
    uninstall(&helm).await;
}

#[tokio::test]
async fn every_variant_of_the_chart_is_taken_by_the_api_server_and_by_its_schemas() {
    let cluster = Cluster::start("variants").await;
    let crds = prometheus_crds().await.unwrap();
    for crd in crds.iter().map(|crd| crd.display().to_string()).chain([root().join("crds").display().to_string()]) {
        cluster.kubectl(&["create", "-f", &crd]).await;
    }
    cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "--all", "crd"]).await;
    let schemas = eventually("the schemas of what was just installed", SOON, async || {
        let folder = schemas(&cluster.access, &cluster.folder.path().join("schemas")).await?;
        for kind in ["s3accessclass-s3access-v1alpha1", "prometheusrule-monitoring-v1", "servicemonitor-monitoring-v1"]
        {
            ensure!(folder.join(format!("{kind}.json")).is_file(), "there is none of {kind}");
        }
        Ok(folder)
    })
    .await
    .unwrap();
    let helm = Helm::new().await;
    let known = ["--api-versions", "s3access.dev/v1alpha1/S3AccessClass"];
    let mut kinds = std::collections::BTreeSet::new();
    for (name, values) in variants() {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let text = helm.template(&[&known, &values[..]].concat()).await.unwrap();
        let objects = documents(&text);
        let path = cluster.file(&format!("{name}.rendered.yaml"), &text);
        // `restricted` is only warned of for what is not a pod: here a warning is an error.
        let mut args = vec!["apply", "--dry-run=server", "--validate=strict", "-f", &path];
        if !name.starts_with("s3-compatible") {
            // That one is on the node's network, which `restricted` does not allow.
            args.push("--warnings-as-errors");
        }
        let taken = cluster.access.kubectl(&args).await.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        assert_eq!(
            taken.lines().filter(|line| line.contains("(server dry run)")).count(),
            objects.len(),
            "{name}: {taken}"
        );
        let location = format!("{}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", schemas.display());
        let held = run(
            Tool::Kubeconform,
            &["-strict", "-summary", "-output", "json", "-schema-location", &location, &path],
            "",
        )
        .await
        .unwrap_or_else(|error| panic!("{name}: {error}"));
        let summary: Value = serde_json::from_str(&held).unwrap();
        assert_eq!(summary["summary"]["valid"], objects.len(), "{name}: {held}");
        kinds.extend(objects.iter().map(|object| text_of(&object["kind"])));
    }
    assert_eq!(kinds.len(), 16, "{kinds:?}");
    // The schemas do refuse.
    let wrong =
        cluster.file("wrong.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {replicaz: 1}\n");
    let location = format!("{}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", schemas.display());
    let refused = run(Tool::Kubeconform, &["-strict", "-schema-location", &location, &wrong], "").await.unwrap_err();
    assert!(refused.contains("replicaz"), "{refused}");
}

fn text_of(value: &Value) -> String {
    text(value).to_owned()
}

/// JSON schemas for kubeconform, of what this API server serves: its OpenAPI, with unknown fields refused.
async fn schemas(access: &Access, folder: &std::path::Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let get = async |path: &str| -> Result<Value> {
        Ok(serde_json::from_str(&access.kubectl(&["get", "--raw", path]).await?)?)
    };
    let index = get("/openapi/v3").await?;
    for path in index["paths"].as_object().context("no paths")?.keys() {
        let Some(version) = path.strip_prefix("api/").or_else(|| path.strip_prefix("apis/")) else { continue };
        let mut components = get(&format!("/openapi/v3/{path}")).await?["components"].take();
        let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
        let mut kinds = Vec::new();
        for (name, schema) in components["schemas"].as_object_mut().context("no schemas")? {
            close(schema);
            for kind in schema["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
                if kind["group"] == group && kind["version"] == version {
                    kinds.push((text(&kind["kind"]).to_lowercase(), name.clone()));
                }
            }
        }
        // kubeconform's own naming: the kind, the group's first word, the version.
        let word = group.split('.').next().filter(|word| !word.is_empty());
        let suffix = word.map_or(format!("-{version}"), |word| format!("-{word}-{version}"));
        for (kind, name) in kinds {
            let reference = format!("#/components/schemas/{name}");
            let schema = serde_json::json!({ "$ref": reference, "components": components });
            std::fs::write(folder.join(format!("{kind}{suffix}.json")), schema.to_string())?;
        }
    }
    Ok(folder.to_path_buf())
}

/// Refuses what a schema does not name; what it leaves open stays so.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            let open = members.contains_key("additionalProperties")
                || members.get("x-kubernetes-preserve-unknown-fields").is_some_and(|open| *open == true);
            if members.get("properties").is_some_and(Value::is_object) && !open {
                members.insert("additionalProperties".to_owned(), false.into());
            }
            // Quantities and the like: OpenAPI's words for them are not JSON schema's.
            if members.get("format").is_some_and(Value::is_string) {
                members.remove("format");
            }
            members.values_mut().for_each(close);
        }
        Value::Array(members) => members.iter_mut().for_each(close),
        _ => {}
    }
}

/// The operator itself, as the service account that the chart makes, with Roles in two namespaces and nothing of the
/// cluster's.
#[tokio::test]
async fn the_operator_serves_some_namespaces_with_the_roles_of_the_chart_and_no_others() {
    let cluster = Cluster::start("roles").await;
    cluster.kubectl(&["apply", "-f", &root().join("crds").display().to_string()]).await;
    let helm = Helm::new().await.on(&cluster.access);
    let values = chart().join("ci/namespaces-values.yaml").display().to_string();
    install(&helm, &["--values", &values]).await.unwrap();

    for namespace in ["team-a", "team-b"] {
        assert!(cluster.can_i(RELEASE, &["update", "secrets", "-n", namespace]).await, "{namespace}");
    }
    assert!(!cluster.can_i(RELEASE, &["get", "secrets", "-n", "default"]).await);
    // In its own, nothing but the keys of sessions, by their names.
    assert!(!cluster.can_i(RELEASE, &["list", "secrets", "-n", NAMESPACE]).await);
    assert!(!cluster.can_i(RELEASE, &["list", "secrets", "-A"]).await);
    assert!(!cluster.can_i(RELEASE, &["list", "namespaces"]).await);
    assert!(!cluster.can_i(RELEASE, &["list", "s3accessclasses"]).await);

    let double = DoubleServer::start(Config::default()).await.unwrap();
    let stand = Stand::attach().unwrap().on_double(&double, Partition::Aws).await.unwrap();
    let deployment = cluster.kubectl(&["-n", NAMESPACE, "get", "deployment", RELEASE, "-o", "json"]).await;
    let deployment: Value = serde_json::from_str(&deployment).unwrap();
    let mut env = stand.operator_identity.env();
    // What the chart's pod would have; where its values are the pod's, the test's.
    for variable in deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap() {
        if let Some(value) = variable["value"].as_str() {
            env.insert(text_of(&variable["name"]), value.to_owned());
        }
    }
    let kubeconfig = cluster.access.service_account_kubeconfig(NAMESPACE, RELEASE).await.unwrap();
    env.insert("KUBECONFIG".to_owned(), kubeconfig.display().to_string());
    env.insert("S3ACCESS_NAMESPACE".to_owned(), NAMESPACE.to_owned());
    env.insert("S3ACCESS_CONSISTENCY_WINDOW".to_owned(), "2s".to_owned());
    env.insert("S3ACCESS_PROBE_INTERVAL".to_owned(), "100ms".to_owned());
    let operator = Operator::start(&stand.operator, env, cluster.folder.path().join("operator.log")).await.unwrap();
    for namespace in ["team-a", "team-b", "default"] {
        cluster
            .apply(&format!(
                "apiVersion: s3access.dev/v1alpha1\nkind: S3AccessUser\nmetadata: {{name: reports, namespace: {namespace}}}\n\
                 spec: {{access: [{{bucket: reports, level: ReadOnly}}]}}\n"
            ))
            .await;
    }
    for namespace in ["team-a", "team-b"] {
        cluster
            .kubectl(&["-n", namespace, "wait", "--for=condition=Ready", "--timeout=90s", "s3accessuser/reports"])
            .await;
        assert!(cluster.there(&["secret", "reports-s3", "-n", namespace]).await);
    }
    assert!(!cluster.there(&["secret", "reports-s3", "-n", "default"]).await, "it reached beyond its namespaces");

    // What two that read such objects make of real ones: one is done, one is nobody's yet.
    let mut objects: Vec<Value> = Vec::new();
    for namespace in ["team-a", "default"] {
        let found = cluster.kubectl(&["-n", namespace, "get", "s3accessuser", "reports", "-o", "json"]).await;
        objects.push(serde_json::from_str(&found).unwrap());
    }
    assert_eq!(kstatus(&objects).await, ["Current", "InProgress"]);
    assert_eq!(argocd("s3accessuser", &objects).await, ["Healthy", "Progressing"]);
    let log = operator.log().unwrap();
    assert!(!log.contains("Forbidden") && !log.contains("forbidden"), "{log}");
}
