//! A namespace, an operator that watches only it, and a proxy in front of AWS.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_iam::types::{AccessKeyMetadata, StatusType};
use ground::double::{Caller, Config, DoubleServer, Request, Response, Settings};
use ground::kubernetes::Write;
use ground::moto::Partition;
use ground::operator::Operator;
use ground::proxy::Proxy;
use ground::stand::{OPERATOR_NAMESPACE, OPERATOR_USER, Stand, shipped};
use ground::wait::eventually;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use s3_access_operator::api::{Capabilities, S3AccessClass, S3AccessUser};
use serde_json::{Value, json};

/// Only failures wait for so long. The garbage collector of a new cluster gets to know our CRD after half a minute.
pub const SOON: Duration = Duration::from_secs(120);

pub struct Scene {
    pub stand: Stand,
    pub client: Client,
    pub namespace: String,
    pub proxy: Proxy,
    pub iam: aws_sdk_iam::Client,
    /// AWS, where the strict double plays it.
    pub double: Option<DoubleServer>,
    operator: Option<Operator>,
    starts: u32,
}

impl Scene {
    /// A namespace of its own and a running operator.
    pub async fn new(name: &str) -> Self {
        let mut scene = Self::without_operator(name).await;
        scene.start(&[]).await;
        scene
    }

    pub async fn without_operator(name: &str) -> Self {
        Self::on(Stand::attach().unwrap(), name).await
    }

    pub async fn on(stand: Stand, name: &str) -> Self {
        let client = stand.kubernetes.client().await.unwrap();
        let namespace = format!("{name}-{:05x}", std::process::id());
        let object = serde_json::from_value(json!({ "metadata": { "name": namespace } })).unwrap();
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &object).await.unwrap();
        let proxy = Proxy::start(&stand.aws.endpoint).await.unwrap();
        let iam = stand.aws.iam();
        Self { stand, client, namespace, proxy, iam, double: None, operator: None, starts: 0 }
    }

    /// A namespace of its own, an account of its own on the strict double, and a running operator that may do what its
    /// shipped policy says, and no more.
    pub async fn on_double(name: &str, settings: Settings) -> Self {
        let mut scene = Self::on_double_without_operator(name, settings).await;
        scene.start(&[]).await;
        scene
    }

    pub async fn on_double_without_operator(name: &str, settings: Settings) -> Self {
        let double = DoubleServer::start(Config { settings, ..Config::default() }).await.unwrap();
        let stand = Stand::attach().unwrap().on_double(&double, Partition::Aws).await.unwrap();
        Self { double: Some(double), ..Self::on(stand, name).await }
    }

    /// Somebody does something in the double's account by hand.
    pub fn by_hand(&self, request: &Request) -> Response {
        let double = self.double.as_ref().unwrap();
        let root = Caller::root(&double.account().id);
        let now = double.now();
        double.with(|world| world.call(now, &root, request).result).unwrap()
    }

    /// Gives the operator one of the optional policies of `deploy/iam`, beside its own.
    pub fn grant(&self, file: &str) {
        let request = Request::CreatePolicy {
            policy_name: format!("s3-access-{file}"),
            path: None,
            policy_document: shipped(&format!("{file}.aws")).unwrap(),
            description: None,
            tags: Vec::new(),
        };
        let Response::NewPolicy { policy, .. } = self.by_hand(&request) else { panic!("no policy") };
        let user_name = "s3-access-operator".to_owned();
        self.by_hand(&Request::AttachUserPolicy { user_name, policy_arn: policy.arn.clone() });
    }

    /// The cluster's id in the tags, unless a setting names another.
    pub async fn cluster_id(&self) -> String {
        let namespaces = Api::<Namespace>::all(self.client.clone());
        namespaces.get("kube-system").await.unwrap().metadata.uid.unwrap()
    }

    /// Starts the operator of this scene; what `settings` names replaces the test's own.
    pub async fn start(&mut self, settings: &[(&str, &str)]) {
        self.starts += 1;
        self.operator = Some(self.launch(&self.starts.to_string(), settings).await);
    }

    /// Starts an operator for this namespace, beside whatever runs.
    pub async fn launch(&self, name: &str, settings: &[(&str, &str)]) -> Operator {
        // Classes are the cluster's: each scene sees its own.
        let classes = format!("scene={}", self.namespace);
        let mut all = vec![
            ("AWS_ENDPOINT_URL", self.proxy.endpoint()),
            ("S3ACCESS_CLASS_SELECTOR", classes.as_str()),
            ("S3ACCESS_WATCH_NAMESPACES", self.namespace.as_str()),
            ("S3ACCESS_LEADER_ELECTION", "false"),
            ("S3ACCESS_CONSISTENCY_WINDOW", "2s"),
            ("S3ACCESS_PROBE_INTERVAL", "100ms"),
            ("S3ACCESS_REQUESTS_PER_SECOND", "1000"),
            ("S3ACCESS_MIN_ROTATION_INTERVAL", "1s"),
        ];
        all.extend(settings);
        self.stand.start_operator(&format!("{}-{name}", self.namespace), &all).await.unwrap()
    }

    pub fn operator(&mut self) -> &mut Operator {
        self.operator.as_mut().unwrap()
    }

    pub fn log(&self) -> Result<String> {
        self.operator.as_ref().context("no operator runs")?.log()
    }

    pub async fn metric(&self, name: &str, label: &str) -> Result<f64> {
        self.operator.as_ref().context("no operator runs")?.metric(name, label).await
    }

    pub async fn kill9(&mut self) {
        self.operator.take().unwrap().kill9().await.unwrap();
    }

    pub async fn terminate(&mut self) {
        self.operator.take().unwrap().terminate().await.unwrap();
    }

    pub fn users(&self) -> Api<S3AccessUser> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn classes(&self) -> Api<S3AccessClass> {
        Api::all(self.client.clone())
    }

    /// Creates a class of this scene; its whole name.
    pub async fn class(&self, name: &str, spec: Value) -> String {
        let name = format!("{}-{name}", self.namespace);
        let class = json!({
            "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessClass",
            "metadata": { "name": name, "labels": { "scene": self.namespace } }, "spec": spec,
        });
        self.classes().create(&PostParams::default(), &serde_json::from_value(class).unwrap()).await.unwrap();
        name
    }

    pub async fn patch_class(&self, name: &str, patch: Value) {
        self.classes().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    /// The class, once it is Ready or not for that reason, and everybody has been held against it.
    pub async fn class_is(&self, name: &str, reason: &str) -> S3AccessClass {
        self.see(&format!("class {name} to be {reason}"), async || {
            let class = self.classes().get(name).await?;
            let status = class.status.clone().unwrap_or_default();
            let ready = status.conditions.first().context("no condition yet")?;
            ensure!(ready.reason == reason && ready.observed_generation == class.metadata.generation, "{ready:?}");
            ensure!(class.is_enforced() || reason != "Synced", "not enforced yet: {status:?}");
            Ok(class)
        })
        .await
    }

    /// What the system of a class was found to do, once it was tried.
    pub async fn tried(&self, class: &str) -> Capabilities {
        self.see(&format!("the system of {class} to have been tried"), async || {
            let found = self.classes().get(class).await?;
            found.capabilities().cloned().context("not tried yet")
        })
        .await
    }

    /// A Secret with the credentials of an account, for a class.
    pub async fn credentials(&self, name: &str, id: &str, secret: &str) -> String {
        let name = format!("{}-{name}", self.namespace);
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), OPERATOR_NAMESPACE);
        let params = PatchParams::apply("test").force();
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name },
            "stringData": { "AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": secret },
        });
        secrets.patch(&name, &params, &Patch::Apply(&object)).await.unwrap();
        name
    }

    pub fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates a CR.
    pub async fn create(&self, name: &str, spec: Value) -> S3AccessUser {
        self.try_create(name, spec).await.unwrap()
    }

    pub async fn try_create(&self, name: &str, spec: Value) -> kube::Result<S3AccessUser> {
        let user = json!({
            "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser",
            "metadata": { "name": name, "namespace": self.namespace }, "spec": spec,
        });
        let user: kube::core::DynamicObject = serde_json::from_value(user).unwrap();
        let resource = kube::discovery::ApiResource::erase::<S3AccessUser>(&());
        let users: Api<kube::core::DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        let created = users.create(&PostParams::default(), &user).await?;
        created.try_parse().map_err(|error| kube::Error::Service(Box::new(error)))
    }

    /// Changes a CR by a merge patch.
    pub async fn patch(&self, name: &str, patch: Value) {
        self.users().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// The CR, once it is Ready for its newest generation.
    pub async fn ready(&self, name: &str) -> S3AccessUser {
        self.condition(name, "Ready", "True", "Synced").await
    }

    /// The CR, once it is not Ready for that reason; and its message.
    pub async fn refused(&self, name: &str, reason: &str) -> (S3AccessUser, String) {
        let user = self.condition(name, "Ready", "False", reason).await;
        let conditions = user.status.as_ref().unwrap().conditions.clone();
        let message = conditions.into_iter().find(|condition| condition.type_ == "Ready").unwrap().message;
        (user, message)
    }

    pub async fn condition(&self, name: &str, kind: &str, status: &str, reason: &str) -> S3AccessUser {
        self.see(&format!("{name} to be {kind}={status} for {reason}"), async || {
            let user = self.users().get(name).await?;
            let conditions = user.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
            let found = conditions.iter().find(|condition| condition.type_ == kind).context("no such condition")?;
            ensure!(found.observed_generation == user.metadata.generation, "not reconciled yet: {found:?}");
            ensure!(found.status == status && found.reason == reason, "{found:?}");
            Ok(user)
        })
        .await
    }

    /// The Secret's key, once it is another one.
    pub async fn secret_holds_another_key(&self, secret: &str, old: &str) -> String {
        self.see(&format!("{secret} to hold another key than {old}"), async || {
            let held = data(&self.secrets().get(secret).await?)["AWS_ACCESS_KEY_ID"].clone();
            ensure!(held != old && !held.contains('\n'), "it holds {held:?}");
            Ok(held)
        })
        .await
    }

    /// The operator's metric, once it is no less than that.
    pub async fn metric_reaches(&self, name: &str, label: &str, wanted: f64) -> f64 {
        self.see(&format!("{name} {label} to reach {wanted}"), async || {
            let now = self.metric(name, label).await?;
            ensure!(now >= wanted, "it is {now}");
            Ok(now)
        })
        .await
    }

    /// An Event about an object of that name says so, once there is one.
    pub async fn event_says(&self, name: &str, parts: &[&str]) {
        let events: Api<Event> = Api::all(self.client.clone());
        self.see(&format!("an Event on {name} that says {parts:?}"), async || {
            let all = events.list(&ListParams::default()).await?.items.into_iter();
            let about = all.filter(|event| {
                let object = event.regarding.as_ref();
                object.is_some_and(|object| {
                    let here = object.namespace.as_ref().is_none_or(|namespace| *namespace == self.namespace);
                    here && object.name.as_deref() == Some(name)
                })
            });
            let notes: Vec<String> = about.filter_map(|event| event.note).collect();
            ensure!(notes.iter().any(|note| parts.iter().all(|part| note.contains(part))), "{notes:?}");
            Ok(())
        })
        .await;
    }

    /// Waits until `probe` finds what it wants; on failure the operator's log is shown.
    pub async fn see<T>(&self, what: &str, probe: impl AsyncFnMut() -> Result<T>) -> T {
        match eventually(what, SOON, probe).await {
            Ok(value) => value,
            Err(error) => {
                let log = self.operator.as_ref().map(|operator| operator.log().unwrap()).unwrap_or_default();
                let calls = self.proxy.calls();
                panic!("{error:#}\n{log}\nIAM calls: {calls:?}");
            }
        }
    }

    pub async fn secret(&self, name: &str) -> BTreeMap<String, String> {
        data(&self.secrets().get(name).await.unwrap())
    }

    pub async fn keys(&self, user: &str) -> Vec<AccessKeyMetadata> {
        self.iam.list_access_keys().user_name(user).send().await.unwrap().access_key_metadata
    }

    /// The one key of the user, which is active and the Secret's.
    pub async fn only_key(&self, user: &str, secret: &str) -> String {
        self.see(&format!("{user} to have one key, the Secret's"), async || {
            let keys = self.keys(user).await;
            let [key] = keys.as_slice() else { bail!("keys: {keys:?}") };
            ensure!(key.status() == Some(&StatusType::Active), "{key:?}");
            let id = key.access_key_id().unwrap().to_owned();
            let held = data(&self.secrets().get(secret).await?);
            ensure!(held["AWS_ACCESS_KEY_ID"] == id, "the Secret holds {}", held["AWS_ACCESS_KEY_ID"]);
            ensure!(held["credentials"].contains(&id), "the credentials file holds another key");
            Ok(id)
        })
        .await
    }

    /// Users and policies in IAM whose name contains `part`.
    pub async fn named(&self, part: &str) -> Vec<String> {
        let users = self.iam.list_users().send().await.unwrap();
        let policies = self.iam.list_policies().scope("Local".into()).send().await.unwrap();
        let users = users.users().iter().map(|user| user.user_name().to_owned());
        let policies = policies.policies().iter().filter_map(|policy| policy.policy_name()).map(ToOwned::to_owned);
        users.chain(policies).filter(|name| name.contains(part)).collect()
    }

    /// Waits until the second of that time is over: Kubernetes counts in whole ones.
    pub async fn second_passes(&self, at: Timestamp) {
        self.see("the second to pass", async || {
            let passed = Timestamp::now().duration_since(at);
            ensure!(passed > SignedDuration::from_millis(1_100), "{passed:?}");
            Ok(())
        })
        .await;
    }

    pub async fn delete(&self, name: &str) {
        self.users().delete(name, &DeleteParams::default()).await.unwrap();
        self.gone(name).await;
    }

    pub async fn gone(&self, name: &str) {
        self.see(&format!("{name} to be gone"), async || match self.users().get_opt(name).await? {
            None => Ok(()),
            Some(user) => bail!("{:?}", user.status.map(|status| status.conditions)),
        })
        .await;
    }

    /// The operator's writes to Kubernetes in this namespace, Events apart.
    pub fn writes(&self) -> Vec<Write> {
        self.stand.kubernetes.writes(OPERATOR_USER, &self.namespace).unwrap()
    }
}

pub fn data(secret: &Secret) -> BTreeMap<String, String> {
    let data = secret.data.iter().flatten();
    data.map(|(key, value)| (key.clone(), String::from_utf8(value.0.clone()).unwrap())).collect()
}

pub fn user_name(user: &S3AccessUser) -> String {
    user.status.as_ref().unwrap().user_name.clone().unwrap_or_else(|| panic!("{} has no user", user.name_any()))
}

/// A small valid spec.
pub fn spec() -> Value {
    json!({ "access": [{ "bucket": "team-a-reports", "level": "ReadOnly" }] })
}

pub fn with(extra: Value) -> Value {
    let mut spec = spec();
    for (key, value) in extra.as_object().unwrap() {
        spec[key] = value.clone();
    }
    spec
}
