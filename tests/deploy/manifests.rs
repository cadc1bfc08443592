//! The kustomize base: complete, hardened, and of one mind with itself.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::docs::settings;
use crate::{documents, files, read, strings};

/// Every object of the kustomize base, the CRDs aside.
fn manifests() -> Vec<Value> {
    let kustomization = &documents(&read("deploy/kustomization.yaml"), "kustomization.yaml")[0];
    let resources: Vec<&str> = strings(&kustomization["resources"]);
    let files = resources.iter().filter(|resource| !resource.starts_with("chart/"));
    files.flat_map(|file| documents(&read(format!("deploy/{file}")), file)).collect()
}

fn named<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name} in deploy/"))
}

#[test]
fn the_kustomize_base_is_complete() {
    let kustomization = &documents(&read("deploy/kustomization.yaml"), "kustomization.yaml")[0];
    let resources = strings(&kustomization["resources"]);
    for path in files("deploy", "yaml") {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name == "kustomization.yaml" || resources.contains(&name), "kubectl apply -k deploy leaves out {name}");
    }
    for path in files("crds", "yaml") {
        let name = path.file_name().unwrap().to_str().unwrap();
        // As they are there: `cargo xtask crds --check` holds the chart's copies to them.
        let copy = format!("chart/files/crds/{name}");
        assert!(resources.contains(&copy.as_str()), "kubectl apply -k deploy leaves out crds/{name}");
        let kind = &documents(&read(format!("crds/{name}")), name)[0]["kind"];
        assert_eq!(kind, "CustomResourceDefinition", "`kubectl apply -f crds/` takes nothing else");
    }
}

#[test]
fn the_deployment_passes_restricted_pod_security() {
    let objects = manifests();
    let namespace = named(&objects, "Namespace", "s3-access-system");
    assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");

    let pod = &named(&objects, "Deployment", "s3-access-operator")["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    for host in ["hostNetwork", "hostPID", "hostIPC", "volumes", "initContainers"] {
        assert!(pod[host].is_null(), "{host}");
    }
    for container in pod["containers"].as_array().unwrap() {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(strings(&context["capabilities"]["drop"]), ["ALL"]);
        assert!(context["capabilities"]["add"].is_null());
        for resource in ["cpu", "memory"] {
            assert!(container["resources"]["requests"][resource].is_string(), "{resource}");
        }
        assert!(container["resources"]["limits"]["memory"].is_string());
        for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
            assert_eq!(container[probe]["httpGet"]["path"], path);
            assert_eq!(container[probe]["httpGet"]["port"], "http");
        }
    }
}

#[test]
fn the_deployment_and_the_rbac_name_the_same_things() {
    let objects = manifests();
    let pod = &named(&objects, "Deployment", "s3-access-operator")["spec"]["template"]["spec"];
    let environment = pod["containers"][0]["env"].as_array().unwrap();
    let value =
        |name: &str| environment.iter().find(|variable| variable["name"] == name).map(|variable| &variable["value"]);
    let leader = named(&objects, "Role", "s3-access-operator-leader");
    let lease = leader["rules"].as_array().unwrap().iter().find_map(|rule| rule["resourceNames"].get(0));
    assert_eq!(value("S3ACCESS_LEASE_NAME"), lease);
    // Overlays patch it by its index.
    assert_eq!(environment[0]["name"], "AWS_REGION");

    let account = pod["serviceAccountName"].as_str().unwrap();
    named(&objects, "ServiceAccount", account);
    for binding in objects.iter().filter(|object| object["kind"].as_str().unwrap().ends_with("RoleBinding")) {
        let role = &binding["roleRef"];
        named(&objects, role["kind"].as_str().unwrap(), role["name"].as_str().unwrap());
        assert_eq!(binding["subjects"][0]["name"], account);
        assert_eq!(binding["subjects"][0]["namespace"], "s3-access-system");
    }
}

/// What the component patches is where it looks for it, and the same Secret throughout.
#[test]
fn the_component_for_the_own_key_patches_what_there_is() {
    let objects = manifests();
    let component = &documents(&read("deploy/optional/own-key/kustomization.yaml"), "own-key")[0];
    let mut patched = 0;
    for patch in component["patches"].as_array().unwrap() {
        let target = &patch["target"];
        let kind = target["kind"].as_str().unwrap();
        let object = named(&objects, kind, target["name"].as_str().unwrap());
        for operation in documents(patch["patch"].as_str().unwrap(), "patch")[0].as_array().unwrap() {
            let path = operation["path"].as_str().unwrap();
            let found = object.pointer(path.strip_suffix("/-").unwrap_or(path));
            assert!(found.is_some(), "{kind} has no {path}");
            if operation["op"] == "test" {
                assert_eq!(found, Some(&operation["value"]), "{path}");
            }
            patched += 1;
        }
    }
    assert_eq!(patched, 4);
    let of_pods =
        named(&objects, "Deployment", "s3-access-operator")["spec"]["template"]["spec"]["containers"][0]["envFrom"][0]
            ["secretRef"]["name"]
            .as_str()
            .unwrap();
    let texts = ["kustomization", "rbac"].map(|file| read(format!("deploy/optional/own-key/{file}.yaml")));
    let lines = texts.iter().flat_map(|text| text.lines()).filter(|line| !line.trim_start().starts_with('#'));
    assert_eq!(lines.filter(|line| line.contains(of_pods)).count(), 3);
}

#[test]
fn rbac_has_no_wildcards_and_gives_people_no_secrets() {
    for role in manifests().iter().filter(|object| object["kind"].as_str().unwrap().ends_with("Role")) {
        let name = role["metadata"]["name"].as_str().unwrap();
        for rule in role["rules"].as_array().unwrap() {
            for part in ["apiGroups", "resources", "verbs"] {
                assert!(!strings(&rule[part]).contains(&"*"), "{name}: {rule}");
            }
            let secrets = strings(&rule["resources"]).contains(&"secrets");
            let ours = ["s3-access-operator", "s3-access-operator-credentials", "s3-access-operator-session-keys"];
            assert!(!secrets || ours.contains(&name), "{name} reads Secrets");
        }
    }
}

#[test]
fn the_deployment_sets_only_what_exists() {
    let objects = manifests();
    let pod = &named(&objects, "Deployment", "s3-access-operator")["spec"]["template"]["spec"];
    let known: BTreeSet<String> =
        settings().iter().map(|argument| argument.get_env().unwrap().to_string_lossy().into_owned()).collect();
    for variable in pod["containers"][0]["env"].as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
        assert!(name == "AWS_REGION" || known.contains(name), "the operator reads no {name}");
    }
}

/// A workflow with an account's credentials runs only what was looked at, and only where somebody set it up.
#[test]
fn the_workflow_pins_what_it_uses_and_asks_for_little() {
    let workflow = &documents(&read(".github/workflows/acceptance.yml"), "acceptance.yml")[0];
    assert_eq!(workflow["permissions"], serde_json::json!({}));
    let job = &workflow["jobs"]["acceptance"];
    assert_eq!(job["permissions"], serde_json::json!({ "contents": "read", "id-token": "write" }));
    assert!(job["if"].as_str().unwrap().contains("vars.ACCEPTANCE_ROLE_ARN != ''"));
    let steps = job["steps"].as_array().unwrap();
    let used: Vec<&str> = steps.iter().filter_map(|step| step["uses"].as_str()).collect();
    assert!(used.len() >= 3, "{used:?}");
    for action in used {
        let (_, commit) = action.split_once('@').unwrap();
        assert!(commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit()), "{action} is pinned by no commit");
    }
    // What is built is built before there are credentials.
    let place = |part: &str| steps.iter().position(|step| step.to_string().contains(part)).unwrap();
    assert!(place("cargo build") < place("configure-aws-credentials"));
    assert!(place("configure-aws-credentials") < place("--record acceptance-record"));
    assert!(place("--record acceptance-record") < place("upload-artifact"));
}
