//! What is shipped beside the binary says what the code says: manifests, IAM policies, samples and the README.
//!
//! Files only; the tests on a real Kubernetes apply them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and clippy's own exception for tests does not reach their helpers"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use kube::CustomResourceExt;
use s3_access_operator::api::{AccessKeyStatus, PolicyPreset, Reason, S3AccessClass, S3AccessUser};
use s3_access_operator::config::RunOptions;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn documents(text: &str, what: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// The files of a folder, with that extension.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no .{extension} in {folder}");
    found
}

/// Every object of the kustomize base, the CRDs aside.
fn manifests() -> Vec<Value> {
    let kustomization = &documents(&read("deploy/kustomization.yaml"), "kustomization.yaml")[0];
    let resources: Vec<&str> = strings(&kustomization["resources"]);
    let files = resources.iter().filter(|resource| resource.ends_with(".yaml"));
    files.flat_map(|file| documents(&read(format!("deploy/{file}")), file)).collect()
}

fn named<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name} in deploy/"))
}

/// A list of strings; a lone string counts as a list, as in IAM.
fn strings(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(members) => members.iter().map(|member| member.as_str().unwrap()).collect(),
        other => panic!("neither a string nor a list: {other}"),
    }
}

/// The code blocks of a Markdown text in that language, unindented.
fn code_blocks(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_start() != format!("```{language}") {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let block = lines.by_ref().take_while(|line| line.trim() != "```");
        blocks.push(block.map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect());
    }
    blocks
}

fn spec_schema(kind: &str) -> Value {
    let crd = if kind == "S3AccessClass" { S3AccessClass::crd() } else { S3AccessUser::crd() };
    let crd = serde_json::to_value(crd).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

/// The same without what is Kubernetes' own.
fn own_fields(schema: &Value) -> BTreeSet<String> {
    fields(schema, "").into_iter().filter(|path| !path.starts_with("allowedNamespaces.selector.")).collect()
}

/// The paths of all fields below a schema, such as `access[].bucket`.
fn fields(schema: &Value, at: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        found.extend(fields(property, &path));
        found.extend(fields(&property["items"], &format!("{path}[]")));
        found.insert(path);
    }
    found
}

/// The paths of all fields that an object uses, in the same form, as far down as the schema names them.
fn fields_used(value: &Value, schema: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) if schema["properties"].is_object() => {
            for (name, member) in members {
                let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                fields_used(member, &schema["properties"][name], &path, found);
                found.insert(path);
            }
        }
        Value::Array(members) => {
            for member in members {
                fields_used(member, &schema["items"], &format!("{at}[]"), found);
            }
        }
        _ => {}
    }
}

/// Reads the object as the operator does, and refuses what the API server would drop: serde passes over misspelt fields.
/// Reads an S3AccessUser or S3AccessClass, with no field that the CRD would drop.
fn check<K: DeserializeOwned>(object: &Value, what: &str) -> K {
    assert_eq!(object["apiVersion"], "s3access.dev/v1alpha1", "{what}");
    let schema = spec_schema(object["kind"].as_str().unwrap());
    let mut used = BTreeSet::new();
    fields_used(&object["spec"], &schema, "", &mut used);
    let unknown: Vec<String> = used.difference(&fields(&schema, "")).cloned().collect();
    assert!(unknown.is_empty(), "{what}: the CRD has no field {unknown:?}");
    serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{what}: {error}"))
}

fn sample_users() -> Vec<(String, S3AccessUser)> {
    let mut users = Vec::new();
    for path in files("deploy/samples", "yaml") {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for object in documents(&fs::read_to_string(&path).unwrap(), &name) {
            if object["kind"] == "S3AccessUser" {
                users.push((name.clone(), check(&object, &name)));
            } else if object["kind"] == "S3AccessClass" {
                check::<S3AccessClass>(&object, &name);
            }
        }
    }
    users
}

#[test]
fn iam_policies_differ_only_by_partition() {
    let aws = read("deploy/iam/operator-policy.aws.json");
    let china = read("deploy/iam/operator-policy.aws-cn.json");
    assert_eq!(aws.replace("\"arn:aws:", "\"arn:aws-cn:"), china);
}

/// What an S3-compatible system is asked to allow is no more than what AWS is, and fits into a user.
#[test]
fn the_iam_policy_for_s3_compatible_systems_is_a_part_of_the_one_for_aws() {
    let text = read("deploy/iam/operator-policy.s3-compatible.json");
    let part: Value = serde_json::from_str(&text).unwrap();
    let whole: Value = serde_json::from_str(&read("deploy/iam/operator-policy.aws.json")).unwrap();
    assert!(part.to_string().len() <= 2_048, "over IAM's limit on inline policies");
    for statement in part["Statement"].as_array().unwrap() {
        let statements = whole["Statement"].as_array().unwrap();
        let same = statements.iter().find(|other| other["Sid"] == statement["Sid"]).unwrap();
        for element in ["Effect", "Resource", "Condition"] {
            assert_eq!(statement[element], same[element], "{}", statement["Sid"]);
        }
        let allowed: BTreeSet<&str> = strings(&same["Action"]).into_iter().collect();
        assert!(strings(&statement["Action"]).iter().all(|action| allowed.contains(action)), "{}", statement["Sid"]);
    }
}

#[test]
fn the_iam_policy_is_least_and_fits_iam() {
    let text = read("deploy/iam/operator-policy.aws.json");
    let policy: Value = serde_json::from_str(&text).unwrap();
    assert!(text.chars().filter(|c| !c.is_whitespace()).count() <= 6_144, "over IAM's limit on a managed policy");
    for statement in policy["Statement"].as_array().unwrap() {
        let sid = statement["Sid"].as_str().unwrap();
        assert_eq!(statement["Effect"], "Allow", "{sid}");
        for resource in strings(&statement["Resource"]) {
            let kinds = ["user", "policy", "group", "mfa"].map(|kind| format!("arn:aws:iam::*:{kind}/*"));
            // IAM knows no resource of this action.
            let whole = sid == "ReadTheAccountInBulk" && resource == "*";
            assert!(whole || kinds.iter().any(|kind| kind == resource), "{sid}: {resource}");
        }
        for action in strings(&statement["Action"]) {
            assert!(action.starts_with("iam:") && !action.contains('*'), "{sid}: {action}");
            let reads = action.starts_with("iam:Get") || action.starts_with("iam:List");
            // No tag of ours is on a group, a device, or the path that a user is moved to.
            let untaggable =
                ["iam:RemoveUserFromGroup", "iam:UpdateUser", "iam:DeleteVirtualMFADevice"].contains(&action);
            let condition = statement["Condition"].to_string();
            let by_tag = condition.contains("aws:ResourceTag/s3access.dev/cluster")
                || condition.contains("aws:RequestTag/s3access.dev/cluster");
            assert!(reads || untaggable || by_tag, "{sid}: {action} is not limited to what is ours");
        }
        assert!(read("deploy/iam/README.md").contains(sid), "deploy/iam/README.md does not explain {sid}");
    }
}

/// The operator names each call that it makes, for its errors; the policy allows those and no others.
#[test]
fn the_iam_policy_allows_exactly_the_calls_that_are_made() {
    let policy: Value = serde_json::from_str(&read("deploy/iam/operator-policy.aws.json")).unwrap();
    let statements = policy["Statement"].as_array().unwrap();
    let allowed: BTreeSet<&str> = statements
        .iter()
        .flat_map(|statement| strings(&statement["Action"]))
        .map(|action| action.strip_prefix("iam:").unwrap())
        .collect();
    let code = ["src/aws/iam.rs", "src/aws/details.rs", "src/aws/leftovers.rs"].map(read).concat();
    let verbs = [
        "Attach",
        "Create",
        "Deactivate",
        "Delete",
        "Detach",
        "Get",
        "List",
        "Put",
        "Remove",
        "Tag",
        "Untag",
        "Update",
    ];
    let made: BTreeSet<&str> = code
        .split('"')
        .filter(|word| {
            word.chars().all(|c| c.is_ascii_alphanumeric()) && verbs.iter().any(|verb| word.starts_with(verb))
        })
        .collect();
    assert_eq!(allowed, made);
}

#[test]
fn the_kustomize_base_is_complete() {
    let kustomization = &documents(&read("deploy/kustomization.yaml"), "kustomization.yaml")[0];
    let resources = strings(&kustomization["resources"]);
    assert!(resources.contains(&"../crds"));
    for path in files("deploy", "yaml") {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name == "kustomization.yaml" || resources.contains(&name), "kubectl apply -k deploy leaves out {name}");
    }
    let crds = &documents(&read("crds/kustomization.yaml"), "crds/kustomization.yaml")[0];
    for path in files("crds", "yaml") {
        let name = path.file_name().unwrap().to_str().unwrap();
        let listed = strings(&crds["resources"]).contains(&name);
        assert!(name == "kustomization.yaml" || listed, "kubectl apply -k deploy leaves out crds/{name}");
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

#[test]
fn rbac_has_no_wildcards_and_gives_people_no_secrets() {
    for role in manifests().iter().filter(|object| object["kind"].as_str().unwrap().ends_with("Role")) {
        let name = role["metadata"]["name"].as_str().unwrap();
        for rule in role["rules"].as_array().unwrap() {
            for part in ["apiGroups", "resources", "verbs"] {
                assert!(!strings(&rule[part]).contains(&"*"), "{name}: {rule}");
            }
            let secrets = strings(&rule["resources"]).contains(&"secrets");
            let ours = ["s3-access-operator", "s3-access-operator-credentials"];
            assert!(!secrets || ours.contains(&name), "{name} reads Secrets");
        }
    }
}

#[test]
fn samples_fit_the_crd_and_are_named_in_the_readme() {
    let readme = read("README.md");
    assert!(sample_users().len() >= 8);
    for path in files("deploy/samples", "yaml") {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(readme.contains(&format!("(deploy/samples/{name})")), "the README does not link {name}");
    }
}

/// Together they show every field.
#[test]
fn samples_use_every_field() {
    for kind in ["S3AccessUser", "S3AccessClass"] {
        let schema = spec_schema(kind);
        let mut used = BTreeSet::from(["suspend".to_owned()]);
        for path in files("deploy/samples", "yaml") {
            let text = fs::read_to_string(&path).unwrap();
            for object in documents(&text, &path.to_string_lossy()).iter().filter(|object| object["kind"] == kind) {
                fields_used(&object["spec"], &schema, "", &mut used);
            }
        }
        let missing: Vec<String> = own_fields(&schema).difference(&used).cloned().collect();
        assert!(missing.is_empty(), "no sample shows {missing:?} of {kind}");
    }
}

#[test]
fn the_walk_through_sample_is_the_walk_through() {
    let users = sample_users();
    let (_, user) = users.iter().find(|(file, _)| file == "walk-through.yaml").unwrap();
    let policy = user.spec.policy.as_ref().unwrap();
    assert!(user.spec.user_name.is_some(), "step 2.2");
    assert_eq!(policy.preset, Some(PolicyPreset::ReadWriteNoDelete), "step 2.3.1");
    assert!(policy.name.is_some(), "step 2.3.2");
    assert!(policy.statements.is_empty() && user.spec.access.is_empty(), "nothing beyond it");
    assert_eq!(user.spec.access_key.status, AccessKeyStatus::Active, "step 3");
}

#[test]
fn the_readme_has_an_entry_for_every_reason() {
    let readme = read("README.md");
    let (_, troubleshooting) = readme.split_once("\n## Troubleshoot\n").unwrap();
    let (troubleshooting, _) = troubleshooting.split_once("\n## ").unwrap();
    let entries: BTreeSet<&str> = troubleshooting.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let reasons: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(entries, reasons);
}

/// The flags of `run`: clap's own view of them.
fn settings() -> Vec<clap::Arg> {
    let run = RunOptions::augment_args(clap::Command::new("run"));
    run.get_arguments().filter(|argument| argument.get_long().is_some()).cloned().collect()
}

#[test]
fn every_setting_is_explained_with_its_default() {
    let page = read("deploy/docs/operate.md");
    for argument in settings() {
        let flag = argument.get_long().unwrap();
        let variable = argument.get_env().unwrap().to_str().unwrap();
        assert_eq!(variable, format!("S3ACCESS_{}", flag.to_uppercase().replace('-', "_")));
        let defaults: Vec<&str> = argument.get_default_values().iter().map(|value| value.to_str().unwrap()).collect();
        let row = match defaults.as_slice() {
            [] => format!("| `--{flag}` | `{variable}` | "),
            [default] => format!("| `--{flag}` | `{variable}` | `{default}` |"),
            several => panic!("--{flag}: {several:?}"),
        };
        assert!(page.contains(&row), "deploy/docs/operate.md lacks the row {row}");
    }
    let rows = page.lines().filter(|line| line.starts_with("| `--")).count();
    assert_eq!(rows, settings().len(), "deploy/docs/operate.md explains a flag that is gone");
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

/// The README and every page of the documentation, by path.
fn pages() -> Vec<String> {
    let folders =
        ["deploy/docs", "deploy/iam", "deploy/chart", ".github"].into_iter().flat_map(|folder| files(folder, "md"));
    let relative = folders.map(|path| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned());
    std::iter::once("README.md".to_owned()).chain(relative).collect()
}

#[test]
fn the_yaml_of_the_documentation_is_right() {
    let mut users = 0;
    let mut classes = 0;
    for page in pages() {
        for block in code_blocks(&read(&page), "yaml") {
            let what = format!("{page}:\n{block}");
            for object in documents(&block, &what) {
                match object["kind"].as_str() {
                    Some("S3AccessUser") => {
                        check::<S3AccessUser>(&object, &what);
                        users += 1;
                    }
                    Some("S3AccessClass") => {
                        check::<S3AccessClass>(&object, &what);
                        classes += 1;
                    }
                    _ => {}
                }
            }
        }
    }
    assert!(users >= 4 && classes >= 2, "{users} S3AccessUsers, {classes} S3AccessClasses");
    // The walk-through stands in the guide and in a file: they are one.
    let sample = documents(&read("deploy/samples/walk-through.yaml"), "walk-through.yaml");
    let blocks = code_blocks(&read("deploy/docs/app-guide.md"), "yaml");
    assert_eq!(documents(&blocks[0], "app-guide.md"), sample);
}

/// The headings of a page, as links name them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let kept = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
    headings
        .map(|line| {
            let words: String = line.trim_start_matches('#').trim().to_lowercase().chars().filter(kept).collect();
            words.replace(' ', "-")
        })
        .collect()
}

/// A relative link of the documentation leads to a file, and to a heading where it names one.
#[test]
fn the_links_of_the_documentation_lead_somewhere() {
    let mut links = 0;
    for page in pages() {
        let text = read(&page);
        let folder = root().join(&page).parent().unwrap().to_path_buf();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { root().join(&page) } else { folder.join(file) };
            assert!(target.exists(), "{page}: {link}");
            let found = heading.is_empty() || anchors(&fs::read_to_string(&target).unwrap()).contains(heading);
            assert!(found, "{page}: {link}: no such heading");
            links += 1;
        }
    }
    assert!(links > 60, "{links} links");
}

/// Whoever looks for a page finds it.
#[test]
fn every_page_is_in_the_list_of_pages() {
    let list = read("deploy/docs/README.md");
    for path in files("deploy/docs", "md") {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name == "README.md" || list.contains(&format!("({name})")), "deploy/docs/README.md lacks {name}");
    }
}

/// The names of all functions in the Rust files of a folder.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let names = text.lines().filter_map(|line| line.trim().split("fn ").nth(1)?.split('(').next());
            found.extend(names.map(ToOwned::to_owned));
        }
    }
}

#[test]
fn each_of_the_fields_failures_has_a_test_of_that_name() {
    let mut tests = BTreeSet::new();
    for folder in ["src", "tests", "xtask"] {
        functions(&root().join(folder), &mut tests);
    }
    let text = read("deploy/docs/proofs.md");
    let rows: Vec<&str> = text
        .lines()
        .filter(|line| line.strip_prefix("| ").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())))
        .collect();
    assert_eq!(rows.len(), 20);
    for (number, row) in (1..).zip(&rows) {
        assert!(row.starts_with(&format!("| {number} |")), "{row}");
        let cell = row.rsplit('|').nth(1).unwrap();
        assert!(cell.contains(&format!("rival_{number}_")), "no test carries the number of: {row}");
    }
    let words = text.split('`').skip(1).step_by(2);
    for name in words.filter(|word| ["rival_", "invariant_"].iter().any(|prefix| word.starts_with(prefix))) {
        assert!(tests.contains(name), "there is no test {name}");
    }
}
