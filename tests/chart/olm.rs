//! The bundle for OLM: the rights and the pod of the kustomize base, and what OLM's own validators say.

use std::path::Path;

use ground::tools::Tool;
use serde_json::Value;

use crate::helm::{documents, named, read, run};

const CSV: &str = "deploy/olm/manifests/s3-access-operator.clusterserviceversion.yaml";

fn csv() -> Value {
    documents(&read(CSV)).remove(0)
}

fn rules(objects: &[Value], kind: &str, names: &[&str]) -> Vec<Value> {
    names.iter().flat_map(|name| named(objects, kind, name)["rules"].as_array().unwrap().clone()).collect()
}

#[test]
fn the_bundle_gives_the_rights_of_the_kustomize_base() {
    let (csv, base) = (csv(), documents(&read("deploy/rbac.yaml")));
    let install = &csv["spec"]["install"]["spec"];
    let given = |part: &str| {
        let all = install[part].as_array().unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0]["serviceAccountName"], "s3-access-operator");
        all[0]["rules"].as_array().unwrap().clone()
    };
    let cluster = ["s3-access-operator", "s3-access-operator-classes", "s3-access-operator-cluster-id"];
    assert_eq!(given("clusterPermissions"), rules(&base, "ClusterRole", &cluster));
    let own = ["s3-access-operator-credentials", "s3-access-operator-leader"];
    assert_eq!(given("permissions"), rules(&base, "Role", &own));
}

/// Except that it requires a class: OLM lets whoever has the role `edit` write S3AccessUsers.
#[test]
fn the_bundle_runs_the_pods_of_the_kustomize_base_and_requires_a_class() {
    let csv = csv();
    let deployments = csv["spec"]["install"]["spec"]["deployments"].as_array().unwrap();
    assert_eq!(deployments.len(), 1);
    let base = documents(&read("deploy/deployment.yaml")).remove(0);
    assert_eq!(deployments[0]["name"], base["metadata"]["name"]);
    let mut spec = deployments[0]["spec"].clone();
    let environment = spec["template"]["spec"]["containers"][0]["env"].as_array_mut().unwrap();
    let required = environment.iter().position(|variable| variable["name"] == "S3ACCESS_REQUIRE_CLASS").unwrap();
    assert_eq!(environment.remove(required)["value"], "true");
    assert_eq!(spec, base["spec"]);
}

#[test]
fn the_bundle_has_the_generated_crds() {
    let owned: Vec<Value> = csv()["spec"]["customresourcedefinitions"]["owned"].as_array().unwrap().clone();
    for kind in ["s3accessclasses", "s3accessusers"] {
        let file = format!("s3access.dev_{kind}.yaml");
        assert_eq!(read(Path::new("deploy/olm/manifests").join(&file)), read(Path::new("crds").join(&file)));
        let crd = documents(&read(Path::new("crds").join(&file))).remove(0);
        let own = owned.iter().find(|own| own["name"] == crd["metadata"]["name"]).unwrap();
        assert_eq!(own["kind"], crd["spec"]["names"]["kind"]);
        assert_eq!(own["version"], crd["spec"]["versions"][0]["name"]);
    }
    assert_eq!(owned.len(), 2);
}

#[tokio::test]
async fn olms_own_validators_find_no_error_in_the_bundle() {
    let said = run(Tool::Judge, &["bundle", "deploy/olm"], "").await.unwrap_or_else(|error| panic!("{error}"));
    let found: Vec<Value> = serde_json::from_str(&said).unwrap();
    // Events of events.k8s.io/v1 are taken for those of v1beta1, which are gone.
    let is_known = |one: &Value| one["status"] == "Warning" && one["message"].as_str().unwrap().contains("for events");
    let unexpected: Vec<&Value> = found.iter().filter(|one| !is_known(one)).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
}
