//! The code blocks of the documentation, as people copy them: applied, Ready and used; run in a shell; taken by IAM.

mod shell;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use ground::folders::Folder;
use ground::repository;
use ground::snippets::{self, How, Snippet};
use ground::stand::{Stand, probe_s3};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::PostParams;
use kube::{Api, CustomResourceExt, ResourceExt};
use s3_access_operator::api::{AccessLevel, S3AccessUser};
use serde_json::{Value, json};

use crate::own::Own;
use crate::scene::data;

/// The chart's default class, for users whose page shows no class.
const DEFAULT: &str = "default";
/// For what that does not allow.
const WIDE: &str = "wide";
const OPERATIONS: [&str; 3] = ["PutObject", "GetObject", "DeleteObject"];

fn class(name: &str, is_default: bool, spec: Value) -> Value {
    json!({
        "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessClass",
        "metadata": { "name": name, "annotations": { "s3access.dev/is-default-class": is_default.to_string() } },
        "spec": spec,
    })
}

fn documents(snippet: &Snippet) -> Vec<Value> {
    let found: Vec<Value> = serde_saphyr::from_multiple(&snippet.text)
        .unwrap_or_else(|error| panic!("{} {}: {error}", snippet.page, snippet.heading));
    found.into_iter().filter(|object| !object.is_null()).collect()
}

/// The README's S3AccessUser.
pub fn readme_user() -> Snippet {
    let all = snippets::of(How::Ready).unwrap();
    all.into_iter().find(|snippet| snippet.page == "README.md").unwrap()
}

/// The objects of a block. A part of a spec is put into the README's S3AccessUser, or into a class where it is a class's.
fn objects(snippet: &Snippet) -> Vec<Value> {
    let crd = serde_json::to_value(S3AccessUser::crd()).unwrap();
    let fields = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"].clone();
    let whole = |document: Value| {
        if document["kind"].is_string() {
            return document;
        }
        let part = if document["spec"].is_object() { &document["spec"] } else { &document };
        let is_users = part.as_object().unwrap().keys().all(|field| fields[field].is_object());
        let mut object = if is_users {
            documents(&readme_user()).remove(0)
        } else {
            class("tenants", true, json!({ "allowedBuckets": ["*"] }))
        };
        for (field, value) in part.as_object().unwrap() {
            object["spec"][field] = value.clone();
        }
        object
    };
    documents(snippet).into_iter().map(whole).collect()
}

/// All that stands in front of an S3AccessUser under one heading, and after the last one.
#[derive(Default)]
struct Page {
    classes: BTreeSet<String>,
    /// The data of the last S3AccessUser's Secret, by its name.
    secret: Option<(String, BTreeMap<String, String>)>,
    buckets: BTreeSet<String>,
}

impl Own {
    /// As it is, if it is there.
    async fn namespace(&self, name: &str) {
        let namespaces: Api<Namespace> = Api::all(self.scene.client.clone());
        if namespaces.get_opt(name).await.unwrap().is_none() {
            let object = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
            namespaces.create(&PostParams::default(), &object).await.unwrap();
        }
    }

    /// Applies an S3AccessUser under its own class, the one that its page shows, the chart's default, or a wide one.
    async fn apply_user(&self, object: &Value, page: &Page) {
        let mut object = object.clone();
        self.namespace(object["metadata"]["namespace"].as_str().unwrap()).await;
        // moto takes the tag of an adoption, which holds a time, for wrongly signed: tests/world/takeover.rs has the double.
        object["spec"].as_object_mut().unwrap().remove("adoption");
        let named = object["spec"]["className"].as_str();
        if let (None, Some(class)) = (named, page.classes.first()) {
            object["spec"]["className"] = json!(class);
        } else if named.is_none() && self.apply(&object, &["--dry-run=server"]).await.is_err() {
            object["spec"]["className"] = json!(WIDE);
        }
        // Until the API server has seen what a Namespace names.
        self.scene.see("it to be taken", async || self.apply(&object, &["--validate=strict"]).await).await;
    }

    async fn settled(&self, namespace: &str, name: &str) -> (S3AccessUser, BTreeMap<String, String>) {
        let users: Api<S3AccessUser> = Api::namespaced(self.scene.client.clone(), namespace);
        let secrets = Api::namespaced(self.scene.client.clone(), namespace);
        self.scene
            .see(&format!("{namespace}/{name} to be Ready"), async || {
                let user = users.get(name).await?;
                let conditions = user.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
                let ready = conditions.iter().find(|condition| condition.type_ == "Ready").context("no condition")?;
                ensure!(ready.status == "True", "{ready:?}");
                let secret = secrets.get(&user.secret_name()).await?;
                Ok((user, data(&secret)))
            })
            .await
    }

    /// Puts, gets and deletes an object of each bucket with nothing but the Secret, and is let as the level says.
    async fn use_key(&self, user: &S3AccessUser, secret: &BTreeMap<String, String>, page: &mut Page) {
        let key = self.credentials(user, secret).await;
        let stand = &self.scene.stand;
        let grant = user.spec.access.first();
        let bucket = grant.map_or("team-a-reports", |grant| grant.bucket.as_str());
        let wanted = match grant.map(|grant| grant.level) {
            // From elsewhere: tests/world/bound.rs.
            _ if user.spec.conditions.is_some() => return,
            Some(AccessLevel::ReadOnly) => [false, true, false],
            Some(AccessLevel::WriteOnly) => [true, false, false],
            Some(AccessLevel::ReadWrite | AccessLevel::Admin) => [true, true, true],
            // The preset of the walk-through.
            None => [true, true, false],
        };
        let task = |secret: Value, operations: Value| json!({ "endpoint": stand.aws.endpoint, "secret": secret, "operations": operations });
        // Whoever can write has an object of its own to read.
        let mut first = Vec::new();
        if page.buckets.insert(bucket.to_owned()) {
            first.push(json!({ "operation": "CreateBucket", "bucket": bucket }));
        }
        if !wanted[0] {
            first.push(json!({ "operation": "PutObject", "bucket": bucket }));
        }
        if !first.is_empty() {
            let admin = json!(stand.aws.env());
            let made = probe_s3(&stand.python, &stand.folder, &task(admin, json!(first))).await.unwrap();
            assert!(made.iter().all(|answer| answer["allowed"] == true), "{made:?}");
        }
        let operations = OPERATIONS.map(|operation| json!({ "operation": operation, "bucket": bucket }));
        let found = probe_s3(&stand.python, &stand.folder, &task(key, json!(operations))).await.unwrap();
        let found: Vec<&Value> = found.iter().map(|answer| &answer["allowed"]).collect();
        assert_eq!(found, wanted, "{} {:?}", user.name_any(), user.spec.access);
    }

    /// The key in a Secret of any format, by the names of the SDK.
    async fn credentials(&self, user: &S3AccessUser, secret: &BTreeMap<String, String>) -> Value {
        let region = self.scene.stand.aws.partition.region();
        let keys = self.scene.keys(&crate::scene::user_name(user)).await;
        let [key] = keys.as_slice() else { panic!("{}: {keys:?}", user.name_any()) };
        let id = key.access_key_id().unwrap();
        let text = secret.values().cloned().collect::<Vec<_>>().join("\n");
        let text = percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned();
        let half = text.split(|c: char| !c.is_ascii_alphanumeric() && !"+/".contains(c)).find(|word| word.len() == 40);
        let half = half.unwrap_or_else(|| panic!("no secret key in the Secret of {}", user.name_any()));
        assert!(text.contains(id), "the Secret of {} holds another key", user.name_any());
        json!({ "AWS_REGION": region, "AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": half })
    }

    async fn try_objects(&self, snippet: &Snippet, page: &mut Page) -> usize {
        let mut users = Vec::new();
        for object in objects(snippet) {
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            match object["kind"].as_str() {
                Some("S3AccessClass") => {
                    self.apply(&object, &["--validate=strict"]).await.unwrap();
                    self.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", &format!("s3accessclass/{name}")])
                        .await;
                    page.classes.insert(name);
                }
                Some("S3AccessUser") => users.push(object),
                _ => drop(self.apply(&object, &["--server-side", "--force-conflicts"]).await.unwrap()),
            }
        }
        // A class by itself is for somebody: for the README's, who asks for what the Namespace names there.
        if users.is_empty() && snippet.heading != "Taking the user over" {
            let mut user = documents(&readme_user()).remove(0);
            if snippet.text.contains("namespaceAnnotation") {
                user["spec"]["access"][0]["bucket"] = json!("invoices-2026");
            }
            users.push(user);
        }
        for object in &users {
            self.apply_user(object, page).await;
            let text = |field: &str| object["metadata"][field].as_str().unwrap();
            let (user, secret) = self.settled(text("namespace"), text("name")).await;
            self.use_key(&user, &secret, page).await;
            self.kubectl(&["delete", "-n", text("namespace"), "s3accessuser", text("name"), "--timeout=60s"]).await;
            page.secret = Some((user.secret_name(), secret));
        }
        users.len()
    }
}

/// The names and keys of a consumer's part are those of the Secret.
fn hold_against(snippet: &Snippet, secret: &(String, BTreeMap<String, String>)) {
    let (name, data) = secret;
    assert!(snippet.text.contains(name.as_str()), "{}: the Secret {name} is not named", snippet.heading);
    let mut left: Vec<Value> = documents(snippet);
    while let Some(value) = left.pop() {
        if value["name"] == name.as_str() {
            for key in ["key", "keyId", "accessKey"].iter().filter_map(|field| value[*field].as_str()) {
                assert!(data.contains_key(key), "{}: {name} has no key {key}", snippet.heading);
            }
        }
        match value {
            Value::Array(members) => left.extend(members),
            Value::Object(members) => left.extend(members.into_iter().map(|(_, member)| member)),
            _ => {}
        }
    }
}

#[tokio::test]
async fn the_objects_of_the_documentation_become_ready_and_their_keys_work() {
    let own = Own::new("snippets").await;
    let all = json!(["*"]);
    let wide = json!({ "allowedBuckets": all, "allowedNames": all, "allowedTagKeys": all });
    own.apply(&class(WIDE, false, wide), &[]).await.unwrap();
    let default = class(DEFAULT, true, json!({ "allowedBuckets": ["{namespace}-*"] }));
    own.apply(&default, &[]).await.unwrap();
    let (mut page, mut at, mut tried) = (Page::default(), (String::new(), String::new()), BTreeMap::new());
    for snippet in snippets::all().unwrap() {
        let here = (snippet.page.clone(), snippet.heading.clone());
        if here != at {
            for class in std::mem::take(&mut page.classes) {
                own.kubectl(&["delete", "s3accessclass", &class, "--timeout=60s"]).await;
            }
            (at, page.secret) = (here, None);
        }
        match snippet.how {
            How::Ready => *tried.entry("ready").or_insert(0) += own.try_objects(&snippet, &mut page).await,
            How::Consumer => {
                let secret = page.secret.as_ref().unwrap_or_else(|| panic!("{at:?} has no S3AccessUser above"));
                hold_against(&snippet, secret);
                *tried.entry("consumer").or_insert(0) += 1;
            }
            _ => {}
        }
    }
    println!("{tried:?}");
    assert!(tried["ready"] >= 30 && tried["consumer"] >= 20, "{tried:?}");
}

/// It is a part of a kustomization.
#[tokio::test]
async fn the_overlay_of_the_security_page_gives_editors_the_right() {
    let page = std::fs::read_to_string(repository().join("deploy/docs/security.md")).unwrap();
    let blocks = snippets::blocks(&page);
    let (_, _, patches) = blocks.iter().find(|(_, language, _)| language == "yaml").unwrap();
    let folder = Folder::create("overlay").unwrap();
    std::os::unix::fs::symlink(repository().join("deploy"), folder.path().join("deploy")).unwrap();
    let overlay = folder.path().join("overlay");
    std::fs::create_dir(&overlay).unwrap();
    std::fs::write(overlay.join("kustomization.yaml"), format!("resources: [../deploy]\n{patches}")).unwrap();
    let kubernetes = Stand::attach().unwrap().kubernetes;
    let made = kubernetes.kubectl(&["kustomize", overlay.to_str().unwrap()]).await.unwrap();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&made).unwrap();
    let role = objects.iter().find(|object| object["metadata"]["name"] == "s3access-editor").unwrap();
    for label in ["aggregate-to-edit", "aggregate-to-admin"] {
        assert_eq!(role["metadata"]["labels"][format!("rbac.authorization.k8s.io/{label}")], "true", "{role}");
    }
}
