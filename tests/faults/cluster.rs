//! A cluster, in this process: as much of an API server as the operator's few requests can tell from a real one, with
//! optimistic concurrency, preconditions, finalizers and garbage collection. The sampled plans run on a real one.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::ResourceExt;
use kube::runtime::events::Event;
use s3_access_operator::api::{S3AccessClass, S3AccessUser, S3AccessUserStatus, Workload};
use s3_access_operator::core::observed::WorkloadState;
use s3_access_operator::kubernetes::{Kubernetes, Mark, Result, UserRef};
use serde_json::Value;

use crate::boundary::{Boundary, kubernetes_error};
use crate::outside::{Outside, State};

pub const NAMESPACE: &str = "team-a";
pub const OPERATORS_NAMESPACE: &str = "s3-access-system";

/// A Deployment or the like, as far as it is restarted.
#[derive(Clone)]
pub struct Running {
    pub annotations: BTreeMap<String, String>,
    /// Those of the pod template.
    pub template: BTreeMap<String, String>,
    /// The keys for which its pods were replaced.
    pub rollouts: Vec<String>,
    version: String,
    created_at: Timestamp,
}

/// The objects of one namespace.
#[derive(Clone, Default)]
pub struct Cluster {
    pub users: BTreeMap<String, S3AccessUser>,
    pub secrets: BTreeMap<String, Secret>,
    /// The class of all users, where there are classes.
    pub class: Option<ClassState>,
    pub workloads: BTreeMap<Workload, Running>,
    /// The words of the Events.
    pub events: Vec<String>,
    /// Somebody's admission webhook keeps finalizers from being written.
    pub refuses_finalizers: bool,
    /// The operator's writes, Events apart.
    pub writes: usize,
    versions: u64,
    uids: u64,
}

/// An S3AccessClass, as far as its users are concerned.
#[derive(Clone)]
pub struct ClassState {
    /// The default class; `None` while it is gone.
    pub class: Option<S3AccessClass>,
    /// Tells one state of it from another.
    pub revision: u64,
    /// Every user has been held against it as it is now, and its status says so.
    pub enforced: bool,
}

impl Cluster {
    /// `kubectl apply` of the class; `None` takes it away.
    pub fn set_class(&mut self, spec: Option<&Value>) {
        let class = spec.map(|spec| S3AccessClass::new("tenants", serde_json::from_value(spec.clone()).unwrap()));
        let revision = self.class.as_ref().map_or(1, |state| state.revision + 1);
        self.class = Some(ClassState { class, revision, enforced: false });
    }

    fn next_version(&mut self) -> Option<String> {
        self.versions += 1;
        Some(self.versions.to_string())
    }

    fn new_uid(&mut self) -> Option<String> {
        self.uids += 1;
        Some(format!("00000000-0000-4000-8000-{:012x}", self.uids))
    }

    /// `kubectl apply` of a new CR.
    pub fn create_user(&mut self, now: Timestamp, name: &str, spec: &Value) {
        let spec = serde_json::from_value(spec.clone()).unwrap();
        let mut user = S3AccessUser::new(name, spec);
        let meta = &mut user.metadata;
        (meta.uid, meta.resource_version) = (self.new_uid(), self.next_version());
        (meta.namespace, meta.generation) = (Some(NAMESPACE.to_owned()), Some(1));
        meta.creation_timestamp = Some(Time(now));
        self.users.insert(name.to_owned(), user);
    }

    /// An edit of a CR by its users.
    pub fn edit_user(&mut self, name: &str, edit: impl FnOnce(&mut S3AccessUser)) {
        let version = self.next_version();
        let user = self.users.get_mut(name).unwrap();
        let spec = user.spec.clone();
        edit(user);
        user.metadata.resource_version = version;
        if user.spec != spec {
            user.metadata.generation = user.metadata.generation.map(|generation| generation + 1);
        }
    }

    /// `kubectl delete`: at once, or once the finalizers are gone.
    pub fn delete_user(&mut self, now: Timestamp, name: &str) {
        let version = self.next_version();
        let Some(user) = self.users.get_mut(name) else { return };
        if user.metadata.deletion_timestamp.is_none() {
            user.metadata.deletion_timestamp = Some(Time(now));
            user.metadata.resource_version = version;
            user.metadata.generation = user.metadata.generation.map(|generation| generation + 1);
        }
        self.collect_garbage();
    }

    /// The CR vanishes whatever its finalizers say, and its Secrets with it.
    pub fn force_delete_user(&mut self, name: &str) {
        self.users.remove(name);
        self.collect_garbage();
    }

    /// Somebody edits a Secret by hand.
    pub fn edit_secret(&mut self, name: &str, edit: impl FnOnce(&mut Secret)) {
        let version = self.next_version();
        let secret = self.secrets.get_mut(name).unwrap();
        edit(secret);
        secret.metadata.resource_version = version;
    }

    /// Somebody puts a Secret there.
    pub fn put_secret(&mut self, secret: Secret) {
        let mut secret = secret;
        (secret.metadata.uid, secret.metadata.resource_version) = (self.new_uid(), self.next_version());
        self.secrets.insert(secret.name_any(), secret);
    }

    /// Somebody runs something.
    pub fn put_workload(&mut self, now: Timestamp, workload: &Workload) {
        let version = self.next_version().unwrap();
        let (annotations, template) = (BTreeMap::new(), BTreeMap::new());
        let running = Running { annotations, template, rollouts: Vec::new(), version, created_at: now };
        self.workloads.insert(workload.clone(), running);
    }

    fn collect_garbage(&mut self) {
        self.users.retain(|_, user| user.metadata.deletion_timestamp.is_none() || !user.finalizers().is_empty());
        let alive: Vec<Option<String>> = self.users.values().map(ResourceExt::uid).collect();
        self.secrets.retain(|_, secret| {
            let owners = secret.owner_references();
            owners.is_empty() || owners.iter().any(|owner| alive.contains(&Some(owner.uid.clone())))
        });
    }
}

/// The cluster behind the boundary.
#[derive(Clone)]
pub struct InProcess {
    pub outside: Outside,
    pub boundary: Boundary,
}

impl InProcess {
    async fn request<T>(
        &self,
        call: &'static str,
        object: &str,
        act: impl FnOnce(&mut State) -> std::result::Result<T, u16>,
    ) -> Result<T> {
        let effect = async { self.outside.with(act).map_err(|code| kubernetes_error(call, object, Some(code))) };
        self.boundary.through(call, object, effect).await
    }

    /// The version of that Secret of the user, as a watch without delay shows it.
    fn version_of(&self, user: &ObjectMeta, name: &str) -> Option<String> {
        self.outside.with(|state| {
            let secret = state.cluster.secrets.get(name)?;
            let ours = secret.owner_references().iter().any(|owner| Some(&owner.uid) == user.uid.as_ref());
            secret.resource_version().filter(|_| ours)
        })
    }
}

/// Refuses an object that is not the one that was read.
fn check(live: &ObjectMeta, uid: Option<&String>, version: Option<&String>) -> std::result::Result<(), u16> {
    let other = |wanted: Option<&String>, found: &Option<String>| wanted.is_some() && wanted != found.as_ref();
    if other(uid, &live.uid) || other(version, &live.resource_version) { Err(409) } else { Ok(()) }
}

/// As JSON would carry it: `stringData` aside, which the operator never sends.
fn stored(secret: &Secret) -> Secret {
    let data = secret.data.iter().flatten().map(|(key, value)| (key.clone(), ByteString(value.0.clone()))).collect();
    Secret { data: Some(data), ..secret.clone() }
}

#[async_trait]
impl Kubernetes for InProcess {
    async fn get_secret(&self, _: &str, name: &str) -> Result<Option<Secret>> {
        self.request("get Secret", name, |state| Ok(state.read_secret(name))).await
    }

    async fn create_secret(&self, secret: &Secret) -> Result<Secret> {
        let name = secret.name_any();
        self.request("create Secret", &name, |state| {
            if state.cluster.secrets.contains_key(&name) {
                return Err(409);
            }
            state.cluster.writes += 1;
            let mut created = stored(secret);
            created.metadata.creation_timestamp = Some(Time(state.now));
            state.cluster.put_secret(created);
            Ok(state.cluster.secrets[&name].clone())
        })
        .await
    }

    async fn replace_secret(&self, secret: &Secret) -> Result<Secret> {
        let name = secret.name_any();
        self.request("update Secret", &name, |state| {
            let live = state.cluster.secrets.get(&name).ok_or(404_u16)?;
            let wanted = &secret.metadata;
            check(&live.metadata, wanted.uid.as_ref(), wanted.resource_version.as_ref())?;
            state.judge_secret(&name, Some(secret));
            state.cluster.writes += 1;
            let mut replaced = stored(secret);
            replaced.metadata.resource_version = state.cluster.next_version();
            state.cluster.secrets.insert(name.clone(), replaced.clone());
            Ok(replaced)
        })
        .await
    }

    async fn dry_run_secret(&self, secret: &Secret) -> Result<()> {
        let name = secret.name_any();
        self.request("dry run Secret", &name, |state| match (state.cluster.secrets.get(&name), &secret.metadata) {
            (Some(live), wanted) => check(&live.metadata, wanted.uid.as_ref(), wanted.resource_version.as_ref()),
            (None, wanted) if wanted.resource_version.is_some() => Err(404),
            (None, _) => Ok(()),
        })
        .await
    }

    async fn delete_secret(&self, _: &str, name: &str, uid: &str) -> Result<()> {
        self.request("delete Secret", name, |state| {
            let Some(live) = state.cluster.secrets.get(name) else { return Ok(()) };
            check(&live.metadata, Some(&uid.to_owned()), None)?;
            state.judge_secret(name, None);
            state.cluster.writes += 1;
            state.cluster.secrets.remove(name);
            Ok(())
        })
        .await
    }

    fn secret_names_of(&self, user: &ObjectMeta) -> Vec<String> {
        let owned =
            |secret: &&Secret| secret.owner_references().iter().any(|owner| Some(&owner.uid) == user.uid.as_ref());
        self.outside.with(|state| state.cluster.secrets.values().filter(owned).map(ResourceExt::name_any).collect())
    }

    fn secret_has_changed(&self, user: &ObjectMeta, name: &str, since: &str) -> bool {
        let since: u64 = since.parse().unwrap_or_default();
        self.version_of(user, name).is_none_or(|version| version.parse().is_ok_and(|version: u64| version > since))
    }

    fn secret_is_at(&self, user: &ObjectMeta, name: &str, version: &str) -> bool {
        self.version_of(user, name).as_deref() == Some(version)
    }

    async fn get_workload(&self, _: &str, workload: &Workload, annotation: &str) -> Result<WorkloadState> {
        self.request("get workload", &workload.name, |state| {
            Ok(state.cluster.workloads.get(workload).map_or(WorkloadState::Missing, |running| WorkloadState::Present {
                resource_version: running.version.clone(),
                created_at: running.created_at,
                key: running.annotations.get(annotation).cloned(),
            }))
        })
        .await
    }

    async fn mark_workload(&self, _: &str, workload: &Workload, mark: &Mark<'_>) -> Result<Option<String>> {
        self.request("restart workload", &workload.name, |state| {
            state.judge_mark(mark.key_id);
            let version = state.cluster.next_version();
            let running = state.cluster.workloads.get_mut(workload).ok_or(404_u16)?;
            if running.version != mark.resource_version {
                return Err(409);
            }
            let entry = (mark.annotation.to_owned(), mark.key_id.to_owned());
            running.annotations.extend([entry.clone()]);
            if mark.restart && running.template.insert(entry.0, entry.1.clone()).as_ref() != Some(&entry.1) {
                running.rollouts.push(entry.1);
            }
            running.version = version.clone().unwrap();
            state.cluster.writes += 1;
            Ok(version)
        })
        .await
    }

    async fn set_finalizers(&self, user: &S3AccessUser, finalizers: &[String]) -> Result<Option<String>> {
        let name = user.name_any();
        self.request("set finalizers", &name, |state| {
            let version = state.cluster.next_version();
            let live = state.cluster.users.get_mut(&name).ok_or(404_u16)?;
            check(&live.metadata, user.metadata.uid.as_ref(), user.metadata.resource_version.as_ref())?;
            // The API server writes nothing where nothing changes.
            if live.finalizers() == finalizers {
                return Ok(live_version(state, &name));
            }
            if state.cluster.refuses_finalizers {
                return Err(403);
            }
            live.metadata.finalizers = Some(finalizers.to_vec());
            live.metadata.resource_version = version;
            state.cluster.writes += 1;
            state.cluster.collect_garbage();
            Ok(live_version(state, &name))
        })
        .await
    }

    async fn apply_status(&self, user: &UserRef, status: &S3AccessUserStatus) -> Result<Option<String>> {
        self.request("apply status", &user.name, |state| {
            state.judge_words(&serde_json::to_string(status).unwrap());
            let version = state.cluster.next_version();
            let live = state.cluster.users.get_mut(&user.name).ok_or(404_u16)?;
            check(&live.metadata, Some(&user.uid), user.resource_version.as_ref())?;
            if live.status.as_ref() != Some(status) {
                live.status = Some(status.clone());
                live.metadata.resource_version = version;
            }
            state.cluster.writes += 1;
            Ok(live_version(state, &user.name))
        })
        .await
    }

    async fn publish(&self, user: &UserRef, event: Event) -> Result<()> {
        self.request("publish Event", &user.name, |state| {
            let words = format!("{} {}", event.reason, event.note.unwrap_or_default());
            state.judge_words(&words);
            state.cluster.events.push(words);
            Ok(())
        })
        .await
    }
}

fn live_version(state: &State, name: &str) -> Option<String> {
    state.cluster.users.get(name).and_then(ResourceExt::resource_version)
}
