//! Who waits for whom: a new user does not wait for a thousand rotations, nor these for ever for new users; and where
//! AWS throttles, the operator slows down rather than call in vain.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::future::join_all;
use ground::double::{Call, Code, Operation, Outcome, Rate, Settings, Throttle};
use kube::api::{DeleteParams, ListParams};
use kube::runtime::wait::await_condition;
use s3_access_operator::api::S3AccessUser;
use serde_json::{Value, json};

use crate::scene::{SOON, Scene, spec, with};

const DEPTH: &str = "s3access_queue_depth";
/// What a machine with other things to do may add.
const NOISE: Duration = Duration::from_millis(500);
/// The configured rate while others wait.
const SLOW: (&str, &str) = ("S3ACCESS_REQUESTS_PER_SECOND", "10");

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

    /// How long `change` takes until the user is Ready again, in the middle of a few tries.
    async fn time_to_ready<const N: usize>(&self, names: [&str; N], change: impl AsyncFn(String)) -> Duration {
        let mut times = Vec::new();
        for name in names {
            let started = Instant::now();
            change(name.to_owned()).await;
            let ready = await_condition(self.users(), name, |user: Option<&S3AccessUser>| user.is_some_and(is_ready));
            tokio::time::timeout(SOON, ready).await.expect("Ready in time").unwrap();
            times.push(started.elapsed());
            // The account's rate lets through in a second what it allows at once: this is that second, and no wait for a state.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        println!("fairness: {names:?} Ready after {times:?}");
        times.sort();
        times[N / 2]
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

    async fn waiting(&self, at_least: f64) -> f64 {
        self.metric_reaches(DEPTH, "", at_least).await
    }
}

#[tokio::test]
async fn a_new_user_an_edit_and_a_lost_secret_overtake_a_hundred_rotations() {
    const USERS: usize = 240;
    let mut scene = Scene::on_double("overtake", Settings::default()).await;
    scene.create_many("many", USERS, &rotating()).await;
    scene.all_ready("many", USERS).await;
    scene.terminate().await;
    scene.start(&[SLOW]).await;
    scene
        .see("a quiet restart", async || {
            let (deferred, depth) =
                (scene.metric("s3access_reconcile_total", "deferred").await?, scene.metric(DEPTH, "").await?);
            ensure!(deferred >= USERS as f64 && depth == 0.0, "{deferred} deferred, {depth} wait");
            Ok(())
        })
        .await;
    let create = async |name: String| drop(scene.create(&name, spec()).await);
    let edit = async |name: String| {
        let grants = json!([{ "bucket": "another", "level": "ReadOnly" }]);
        scene.patch(&name, json!({ "spec": { "access": grants } })).await;
    };
    let idle = scene.time_to_ready(["idle-0", "idle-1", "idle-2", "idle-3", "idle-4"], &create).await;
    let idle_edit = scene.time_to_ready(["idle-0", "idle-1", "idle-2"], &edit).await;

    scene.rotate_many("many", USERS).await;
    scene.waiting(150.0).await;
    scene.double.as_ref().unwrap().with(|world| world.history_mut().clear());
    let busy = scene.time_to_ready(["busy-0", "busy-1", "busy-2", "busy-3", "busy-4"], &create).await;
    let overtaken = scene.calls_between();
    let busy_edit = scene.time_to_ready(["busy-2", "busy-3", "busy-4"], &edit).await;
    // It waits for its rotation already, far back in the line.
    let edited = Instant::now();
    edit("many-239".to_owned()).await;
    scene.condition("many-239", "PolicySynced", "True", "Synced").await;
    let moved_up = edited.elapsed();
    let lost = scene.secrets().get("many-238-s3").await.unwrap();
    let deleted = Instant::now();
    scene.secrets().delete("many-238-s3", &DeleteParams::default()).await.unwrap();
    scene
        .see("the lost Secret to be there again", async || {
            let found = scene.secrets().get("many-238-s3").await?;
            ensure!(found.metadata.uid != lost.metadata.uid, "not yet");
            Ok(())
        })
        .await;
    let restored = deleted.elapsed();
    let depth = scene.waiting(100.0).await;
    println!(
        "fairness: with {depth} waiting: new {busy:?} (idle {idle:?}), edited {busy_edit:?} (idle {idle_edit:?}), edited while it waits {moved_up:?}, a lost Secret {restored:?}; {overtaken:?} calls of others amid those of a new user"
    );
    // In their turn, each of these would take minutes: ten calls a second, and some ten for each of those who wait.
    assert!(busy <= idle * 2 + NOISE, "{busy:?}, and {idle:?} idle");
    assert!(busy_edit < Duration::from_secs(5), "{busy_edit:?}, and {idle_edit:?} idle");
    assert!(moved_up < Duration::from_secs(10), "{moved_up:?}");
    assert!(restored < Duration::from_secs(10), "{restored:?}");
    assert!(overtaken.len() == 5 && overtaken.iter().all(|others| *others <= 10), "{overtaken:?}");
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
    // A CreateUser for each at three a second is the least; nobody waits for a rate that is too low.
    assert!(took < Duration::from_secs(80), "{took:?}");
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
