//! Who waits for whom: a new user does not wait for a thousand rotations, nor these for ever for new users; and where
//! AWS throttles, the operator slows down rather than call in vain.

use std::time::Instant;

use anyhow::{Context, ensure};
use futures::future::join_all;
use ground::double::{Call, Code, Operation, Outcome, Rate, Settings, Throttle};
use kube::api::{DeleteParams, ListParams};
use s3_access_operator::api::S3AccessUser;
use serde_json::{Value, json};

use crate::scene::{Scene, spec, with};

const DEPTH: &str = "s3access_queue_depth";
/// The configured rate while others wait.
const SLOW: (&str, &str) = ("S3ACCESS_REQUESTS_PER_SECOND", "5");
/// Those who wait, at that rate for a minute and more.
const CROWD: usize = 240;

pub fn is_ready(user: &S3AccessUser) -> bool {
    let generation = user.metadata.generation;
    user.status.iter().flat_map(|status| &status.conditions).any(|condition| {
        condition.type_ == "Ready"
            && condition.status == "True"
            && condition.reason == "Synced"
            && condition.observed_generation == generation
    })
}

/// A rotation whose overlap no test waits for.
fn rotating() -> Value {
    with(json!({ "accessKey": { "rotation": { "interval": "2160h", "overlap": "24h" } } }))
}

impl Scene {
    /// Creates users side by side.
    async fn create_many(&self, prefix: &str, count: usize, spec: &Value) {
        let names: Vec<_> = (0..count).map(|number| format!("{prefix}-{number}")).collect();
        for some in names.chunks(32) {
            join_all(some.iter().map(|name| self.create(name, spec.clone()))).await;
        }
    }

    /// How many users whose names begin so are Ready.
    async fn count_ready(&self, prefix: &str) -> anyhow::Result<usize> {
        let all = self.users().list(&ListParams::default()).await?;
        let named = all.iter().filter(|user| user.metadata.name.as_ref().is_some_and(|name| name.starts_with(prefix)));
        Ok(named.filter(|user| is_ready(user)).count())
    }

    async fn all_ready(&self, prefix: &str, count: usize) {
        self.see(&format!("{count} users to be Ready"), async || {
            let ready = self.count_ready(prefix).await?;
            ensure!(ready == count, "{ready} of {count}");
            Ok(())
        })
        .await;
    }

    /// Asks for a rotation of so many users.
    async fn rotate_many(&self, prefix: &str, count: usize) {
        let patch = json!({ "metadata": { "annotations": { "s3access.dev/rotate": "now" } } });
        let names: Vec<_> = (0..count).map(|number| format!("{prefix}-{number}")).collect();
        for some in names.chunks(32) {
            join_all(some.iter().map(|name| self.patch(name, patch.clone()))).await;
        }
    }

    /// How many users whose names contain `part` have a new key beside their old one.
    fn with_new_keys(&self, part: &str) -> usize {
        let double = self.double.as_ref().unwrap();
        double.with(|world| {
            let state = world.account(&double.account().id).unwrap().state();
            state.users().filter(|user| user.name.contains(part) && user.keys.len() == 2).count()
        })
    }

    /// Makes a change and waits until it is in force; then few of the crowd that waited have been served.
    async fn overtakes(&self, what: &str, change: impl AsyncFnOnce()) {
        let (started, before) = (Instant::now(), self.with_new_keys("-many-"));
        change().await;
        // A key in a Secret that was lost is no longer one of two.
        let (waited, served) = (CROWD - before, self.with_new_keys("-many-").saturating_sub(before));
        println!("fairness: {what}, after {:?}: {served} of the {waited} who waited were served", started.elapsed());
        assert!(served < waited / 2, "{what}: {served} of the {waited} who waited longer went first");
    }

    /// For each user that was made: how many calls for others were let through between its first call and its last.
    fn calls_between(&self) -> Vec<usize> {
        self.double.as_ref().unwrap().with(|world| {
            let calls: Vec<_> = world.history().calls().collect();
            let made = calls.iter().enumerate().filter(|(_, call)| call.operation == Operation::CreateUser);
            made.map(|(first, made)| {
                let key = |call: &&&Call| call.operation == Operation::CreateAccessKey && call.target == made.target;
                let last = first + calls[first..].iter().take_while(|call| !key(call)).count();
                let own = [Operation::CreateUser, Operation::CreatePolicy, Operation::AttachUserPolicy];
                calls[first..last].iter().filter(|call| !own.contains(&call.operation)).count()
            })
            .collect()
        })
    }

    /// How many keys for users of `of` were made between the first CreateUser of `amid` and the key that is the last of so
    /// many of these; nothing as long as there are fewer.
    fn keys_amid(&self, of: &str, (amid, many): (&str, usize)) -> Option<usize> {
        self.double.as_ref().unwrap().with(|world| {
            let done = world.history().calls().filter(|call| call.outcome == Outcome::Done);
            let is_first = |call: &&Call| call.operation == Operation::CreateUser && call.target.contains(amid);
            let since = done.skip_while(|call| !is_first(call));
            let keys: Vec<_> = since.filter(|call| call.operation == Operation::CreateAccessKey).collect();
            let last = (0..keys.len()).filter(|number| keys[*number].target.contains(amid)).nth(many - 1)?;
            Some(keys[..last].iter().filter(|call| call.target.contains(of)).count())
        })
    }
}

#[tokio::test]
async fn a_new_user_an_edit_and_a_lost_secret_overtake_a_hundred_rotations() {
    let mut scene = Scene::on_double("overtake", Settings::default()).await;
    scene.create_many("many", CROWD, &rotating()).await;
    scene.all_ready("many", CROWD).await;
    scene.terminate().await;
    scene.start(&[SLOW]).await;
    scene
        .see("a quiet restart", async || {
            let (deferred, depth) =
                (scene.metric("s3access_reconcile_total", "deferred").await?, scene.metric(DEPTH, "").await?);
            ensure!(deferred >= CROWD as f64 && depth == 0.0, "{deferred} deferred, {depth} wait");
            Ok(())
        })
        .await;
    scene.rotate_many("many", CROWD).await;
    scene
        .see("the crowd to be in the line", async || {
            let (depth, rotated) = (scene.metric(DEPTH, "").await?, scene.with_new_keys("-many-"));
            ensure!(depth + rotated as f64 >= 150.0, "{depth} wait, {rotated} are served");
            Ok(())
        })
        .await;

    // In their turn, each of these would come after all of the crowd.
    let edit = json!({ "spec": { "access": [{ "bucket": "another", "level": "ReadOnly" }] } });
    scene.double.as_ref().unwrap().with(|world| world.history_mut().clear());
    for name in ["busy-0", "busy-1", "busy-2", "busy-3", "busy-4"] {
        let create = async || {
            scene.create(name, spec()).await;
            scene.ready(name).await;
        };
        scene.overtakes(&format!("{name} is new"), create).await;
    }
    let amid = scene.calls_between();
    for name in ["busy-2", "busy-3", "busy-4"] {
        let edit = async || {
            scene.patch(name, edit.clone()).await;
            scene.ready(name).await;
        };
        scene.overtakes(&format!("{name} is edited"), edit).await;
    }
    let edit = async || {
        scene.patch("many-239", edit.clone()).await;
        scene.condition("many-239", "PolicySynced", "True", "Synced").await;
    };
    scene.overtakes("one of the crowd is edited", edit).await;
    let lose = async || {
        let lost = scene.secrets().get("many-238-s3").await.unwrap();
        scene.secrets().delete("many-238-s3", &DeleteParams::default()).await.unwrap();
        scene
            .see("the lost Secret to be there again", async || {
                let found = scene.secrets().get("many-238-s3").await?;
                ensure!(found.metadata.uid != lost.metadata.uid, "not yet");
                Ok(())
            })
            .await;
    };
    scene.overtakes("one of the crowd has lost its Secret", lose).await;
    assert!(
        amid.len() == 5 && amid.iter().all(|others| *others <= 10),
        "calls of others amid those of a new user: {amid:?}"
    );
}

#[tokio::test]
async fn rotations_go_on_under_a_stream_of_new_users() {
    const MOST: usize = 80;
    let mut scene = Scene::on_double("stream", Settings::default()).await;
    // A start finds them in the order of their names.
    scene.create_many("earlier", 40, &rotating()).await;
    scene.all_ready("earlier", 40).await;
    scene.terminate().await;
    scene.rotate_many("earlier", 40).await;
    scene.create_many("later", 100, &spec()).await;
    scene.start(&[("S3ACCESS_REQUESTS_PER_SECOND", "30")]).await;
    let rotated = scene
        .see("most of the new users to have their keys", async || {
            scene.keys_amid("-earlier-", ("-later-", MOST)).context("not yet")
        })
        .await;
    println!("fairness: while {MOST} of 100 new users were made, {rotated} of 40 rotations were begun");
    assert!(rotated >= 3, "rotations went on: {rotated}");
}

#[tokio::test]
async fn invariant_9_where_aws_throttles_the_operator_slows_down_and_all_become_ready() {
    const USERS: usize = 100;
    // Slower than any machine that has other things to do.
    let throttle = Throttle { default: Some(Rate { burst: 10.0, per_second: 3.0 }), ..Throttle::default() };
    let mut scene = Scene::on_double_without_operator("throttled", Settings { throttle, ..Settings::default() }).await;
    scene.start(&[("S3ACCESS_REQUESTS_PER_SECOND", "200")]).await;
    scene.double.as_ref().unwrap().with(|world| world.history_mut().clear());
    let started = Instant::now();
    scene.create_many("many", USERS, &spec()).await;
    scene.all_ready("many", USERS).await;
    let took = started.elapsed();
    let (calls, wasted) = scene.double.as_ref().unwrap().with(|world| {
        let throttled = |outcome: &Outcome| *outcome == Outcome::Refused(Code::Throttling);
        let calls: Vec<_> = world.history().calls().collect();
        (calls.len(), calls.iter().filter(|call| throttled(&call.outcome)).count())
    });
    let told = scene.metric("s3access_aws_throttled_total", "").await.unwrap();
    let labelled = scene.metric("s3access_aws_requests_total", "code=\"Throttling\"").await.unwrap();
    println!("fairness: {USERS} users in {took:?}, {calls} calls, {wasted} of them throttled");
    assert!(wasted > 0, "the double did throttle");
    assert!(wasted * 20 <= calls, "{wasted} of {calls} calls in vain");
    assert_eq!((told, labelled), (wasted as f64, wasted as f64), "and the metrics say so");
}

/// Each has credentials of its own, and they lead to one account: it is asked no more often than for one class.
#[tokio::test]
async fn two_classes_of_one_account_share_its_rate() {
    const RATE: f64 = 5.0;
    const USERS: usize = 12;
    let scene = Scene::on_double("lane", Settings::default()).await;
    let identity = &scene.stand.operator_identity;
    let key = scene.credentials("key", &identity.access_key_id, &identity.secret_access_key).await;
    let mut classes = Vec::new();
    for name in ["one", "two"] {
        let spec = json!({ "allowedBuckets": ["*"], "requestsPerSecond": 5, "credentialsSecretRef": { "name": key } });
        let class = scene.class(name, spec).await;
        scene.class_is(&class, "Synced").await;
        classes.push(class);
    }
    scene.double.as_ref().unwrap().with(|world| world.history_mut().clear());
    let started = Instant::now();
    for (number, class) in classes.iter().cycle().take(USERS).enumerate() {
        scene.create(&format!("user-{number}"), with(json!({ "className": class }))).await;
    }
    for number in 0..USERS {
        scene.ready(&format!("user-{number}")).await;
    }
    let seconds = started.elapsed().as_secs_f64();
    // STS has a rate of its own.
    let of_iam = |call: &&Call| call.operation != Operation::GetCallerIdentity;
    let calls = scene.double.as_ref().unwrap().with(|world| world.history().calls().filter(of_iam).count()) as f64;
    println!("fairness: {calls} calls of two classes in {seconds:.1} s");
    assert!(calls >= 3.0 * USERS as f64, "{calls}");
    // A second's calls may go at once; each class by itself would have twice as many.
    assert!(calls <= RATE * (seconds + 2.0), "{calls} calls in {seconds} s");
}
