//! The objects of a run, S3AccessUsers or a peer's own: made, changed and deleted many at a time, and watched until each is
//! where it should be.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, pin_mut, stream};
use kube::api::{ApiResource, DeleteParams, Patch, PatchParams, PostParams};
use kube::core::{DynamicObject, GroupVersionKind, NotUsed, Object};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// Requests under way at once: more than the API server has cores to serve.
const CLIENTS: usize = 32;

/// The kind of the objects.
#[derive(Clone, Copy, Debug)]
pub struct Watched {
    /// The API's group.
    pub group: &'static str,
    /// The objects' kind.
    pub kind: &'static str,
    /// Its plural.
    pub plural: &'static str,
    /// The condition that is True once all is done.
    pub condition: &'static str,
}

impl Watched {
    /// What the operator and the yardstick look after.
    pub const S3_ACCESS_USERS: Self =
        Self { group: "s3access.dev", kind: "S3AccessUser", plural: "s3accessusers", condition: "Ready" };
    /// The IAM users of AWS's own controller.
    pub const ACK_USERS: Self =
        Self { group: "iam.services.k8s.aws", kind: "User", plural: "users", condition: "ACK.ResourceSynced" };

    fn resource(self) -> ApiResource {
        let kind = GroupVersionKind::gvk(self.group, "v1alpha1", self.kind);
        ApiResource::from_gvk_with_plural(&kind, self.plural)
    }
}

/// The part of an object that is looked at.
type Seen = Object<NotUsed, Status>;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
    access_key_id: Option<String>,
    retiring_key: Option<Value>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    #[serde(default)]
    reason: String,
    observed_generation: Option<i64>,
}

/// Where an object is to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Ready for its newest spec.
    Ready,
    /// Ready with another key than it had.
    Rotated,
    /// The same, and nothing left of the key that it had.
    Retired,
    /// Gone.
    Gone,
}

/// An object as last seen.
#[derive(Clone, Debug, Default)]
struct State {
    ready: bool,
    reason: String,
    key: Option<String>,
    retiring: bool,
}

struct Pending {
    since: Instant,
    goal: Goal,
    old_key: Option<String>,
}

#[derive(Default)]
struct Board {
    /// Changes seen so far.
    noted: u64,
    seen: HashMap<String, State>,
    pending: HashMap<String, Pending>,
    /// Seconds that each took, in the order in which they got there.
    times: Vec<f64>,
}

/// The objects of one namespace.
pub struct Fleet {
    resource: ApiResource,
    users: Api<DynamicObject>,
    board: Arc<Mutex<Board>>,
    watching: JoinHandle<()>,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl State {
    fn of(user: &Seen, condition: &str) -> Self {
        let status = user.status.clone().unwrap_or_default();
        let ready = status.conditions.iter().find(|found| found.kind == condition);
        // Who says nothing of generations is believed: what is created is seen once.
        let current = |condition: &&Condition| {
            condition.observed_generation.is_none_or(|observed| Some(observed) == user.metadata.generation)
        };
        Self {
            ready: ready.filter(current).is_some_and(|condition| condition.status == "True"),
            reason: ready.map(|condition| condition.reason.clone()).unwrap_or_default(),
            key: status.access_key_id,
            retiring: status.retiring_key.is_some(),
        }
    }
}

impl State {
    fn describe(&self) -> String {
        let Self { ready, reason, key, retiring } = self;
        format!("Ready: {ready}, reason {reason:?}, key {key:?}, an old key there: {retiring}")
    }
}

impl Pending {
    fn is_reached(&self, state: Option<&State>) -> bool {
        let Some(state) = state else { return self.goal == Goal::Gone };
        let another = state.ready && state.key.is_some() && state.key != self.old_key;
        match self.goal {
            Goal::Ready => state.ready,
            Goal::Rotated => another,
            Goal::Retired => another && !state.retiring,
            Goal::Gone => false,
        }
    }
}

impl Board {
    fn note(&mut self, name: String, state: Option<State>) {
        self.noted += 1;
        if self.pending.get(&name).is_some_and(|pending| pending.is_reached(state.as_ref()))
            && let Some(pending) = self.pending.remove(&name)
        {
            self.times.push(pending.since.elapsed().as_secs_f64());
        }
        match state {
            Some(state) => drop(self.seen.insert(name, state)),
            None => drop(self.seen.remove(&name)),
        }
    }
}

impl Fleet {
    /// Watches a namespace.
    #[must_use]
    pub fn watch(client: &Client, namespace: &str, watched: Watched) -> Self {
        let resource = watched.resource();
        let board = Arc::new(Mutex::new(Board::default()));
        let seen: Api<Seen> = Api::namespaced_with(client.clone(), namespace, &resource);
        let noted = Arc::clone(&board);
        let watching = tokio::spawn(async move {
            let events = watcher(seen, watcher::Config::default()).default_backoff();
            pin_mut!(events);
            while let Some(event) = events.next().await {
                let mut board = noted.lock().unwrap_or_else(PoisonError::into_inner);
                match event {
                    Ok(Event::Apply(user) | Event::InitApply(user)) => {
                        board.note(user.name_any(), Some(State::of(&user, watched.condition)))
                    }
                    Ok(Event::Delete(user)) => board.note(user.name_any(), None),
                    // A list after a broken watch shows again what there is; nobody deletes while one is broken.
                    Ok(Event::Init | Event::InitDone) => {}
                    Err(error) => tracing::debug!(%error, "the watch broke"),
                }
            }
        });
        let users = Api::namespaced_with(client.clone(), namespace, &resource);
        Self { resource, users, board, watching }
    }

    fn board(&self) -> std::sync::MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expect(&self, name: &str, goal: Goal) {
        let mut board = self.board();
        let old_key = board.seen.get(name).and_then(|state| state.key.clone());
        board.pending.insert(name.to_owned(), Pending { since: Instant::now(), goal, old_key });
    }

    /// Creates users with the specs that `spec` gives for their numbers, and expects them to become Ready.
    ///
    /// # Errors
    /// Where the API server refuses one.
    pub async fn create(&self, names: &[String], spec: impl Fn(usize) -> Value) -> Result<()> {
        let create = |(number, name): (usize, &String)| {
            let object = json!({
                "apiVersion": self.resource.api_version, "kind": self.resource.kind,
                "metadata": { "name": name }, "spec": spec(number),
            });
            let name = name.clone();
            async move {
                self.expect(&name, Goal::Ready);
                let object: DynamicObject = serde_json::from_value(object)?;
                self.users.create(&PostParams::default(), &object).await.with_context(|| format!("creating {name}"))?;
                anyhow::Ok(())
            }
        };
        stream::iter(names.iter().enumerate().map(create)).buffer_unordered(CLIENTS).try_collect().await
    }

    /// Changes the metadata of users by a merge patch, and expects them to get somewhere, where a goal is given.
    ///
    /// # Errors
    /// Where the API server refuses one.
    pub async fn patch(&self, names: &[String], metadata: &Value, goal: Option<Goal>) -> Result<()> {
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        let patched = names.iter().map(|name| {
            let patch = &patch;
            async move {
                if let Some(goal) = goal {
                    self.expect(name, goal);
                }
                self.users
                    .patch(name, &PatchParams::default(), patch)
                    .await
                    .with_context(|| format!("patching {name}"))?;
                anyhow::Ok(())
            }
        });
        stream::iter(patched).buffer_unordered(CLIENTS).try_collect().await
    }

    /// Asks for a new key of each.
    ///
    /// # Errors
    /// Where the API server refuses one.
    pub async fn rotate(&self, names: &[String], stamp: &str, goal: Goal) -> Result<()> {
        self.patch(names, &json!({ "annotations": { "s3access.dev/rotate": stamp } }), Some(goal)).await
    }

    /// Deletes users, and expects them to be gone.
    ///
    /// # Errors
    /// Where the API server refuses one.
    pub async fn delete(&self, names: &[String]) -> Result<()> {
        let deleted = names.iter().map(|name| async move {
            self.expect(name, Goal::Gone);
            self.users.delete(name, &DeleteParams::default()).await.with_context(|| format!("deleting {name}"))?;
            anyhow::Ok(())
        });
        stream::iter(deleted).buffer_unordered(CLIENTS).try_collect().await
    }

    /// Waits until all are where they are expected; the seconds that each took, sorted.
    ///
    /// # Errors
    /// Where nothing changes on any of them for `patience`.
    pub async fn settled(&self, what: &str, patience: Duration) -> Result<Vec<f64>> {
        let (mut noted, mut since) = (0, Instant::now());
        loop {
            {
                let mut board = self.board();
                let left = board.pending.len();
                if left == 0 {
                    let mut times = std::mem::take(&mut board.times);
                    times.sort_by(f64::total_cmp);
                    return Ok(times);
                }
                if board.noted != noted {
                    (noted, since) = (board.noted, Instant::now());
                }
                let example = board.pending.keys().next().cloned().unwrap_or_default();
                let state = board.seen.get(&example).map_or_else(|| "not there".to_owned(), State::describe);
                ensure!(since.elapsed() < patience, "{what}: {left} do not get there, such as {example}: {state}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// How many of these users are not yet where they are expected.
    #[must_use]
    pub fn waiting(&self, names: &[String]) -> usize {
        let board = self.board();
        names.iter().filter(|name| board.pending.contains_key(*name)).count()
    }

    /// How many of these users are not Ready, or have an old key.
    #[must_use]
    pub fn unsettled(&self, names: &[String]) -> usize {
        let board = self.board();
        let settled = |name: &&String| board.seen.get(*name).is_some_and(|state| state.ready && !state.retiring);
        names.len() - names.iter().filter(settled).count()
    }

    /// Stops expecting anything of these users.
    pub fn forget(&self, names: &[String]) {
        let mut board = self.board();
        for name in names {
            board.pending.remove(name);
        }
    }

    /// Waits for these users alone, whatever others do; the longest time that one took, in seconds. `None` where one is
    /// not there after `patience`.
    pub async fn reach(&self, names: &[String], patience: Duration) -> Option<f64> {
        let started = Instant::now();
        while self.waiting(names) > 0 {
            if started.elapsed() > patience {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Some(started.elapsed().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(ready: bool, key: &str, retiring: bool) -> State {
        State { ready, reason: String::new(), key: Some(key.to_owned()), retiring }
    }

    #[test]
    fn goals_are_reached_by_what_is_seen_and_not_before() {
        let pending = |goal| Pending { since: Instant::now(), goal, old_key: Some("old".to_owned()) };
        let reached = |goal, state: &State| pending(goal).is_reached(Some(state));
        assert!(reached(Goal::Ready, &state(true, "old", false)) && !reached(Goal::Ready, &state(false, "old", false)));
        assert!(
            !reached(Goal::Rotated, &state(true, "old", false)) && reached(Goal::Rotated, &state(true, "new", true))
        );
        assert!(
            !reached(Goal::Retired, &state(true, "new", true)) && reached(Goal::Retired, &state(true, "new", false))
        );
        assert!(pending(Goal::Gone).is_reached(None) && !pending(Goal::Rotated).is_reached(None));
    }

    #[test]
    fn a_verdict_on_an_earlier_spec_is_no_verdict() {
        let user = |observed: Value| {
            let status =
                json!({ "conditions": [{ "type": "Ready", "status": "True", "observedGeneration": observed }] });
            let user = json!({ "metadata": { "name": "u", "generation": 2 }, "spec": {}, "status": status });
            State::of(&serde_json::from_value(user).unwrap(), "Ready").ready
        };
        assert!(user(json!(2)) && !user(json!(1)) && user(json!(null)));
    }
}
