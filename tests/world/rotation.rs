//! Rotation as a workload sees it: no request fails, whatever the operator lives through.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use aws_sdk_iam::types::StatusType;
use ground::double::{Lag, Settings};
use ground::folders::Folder;
use ground::moto::Account;
use ground::proxy::Fault;
use ground::stand::Stand;
use ground::versitygw::VersityGw;
use ground::wait::throughout;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use s3_access_operator::api::secret_annotations;
use serde_json::{Value, json};

use crate::consumer::{Consumer, create_bucket};
use crate::scene::{SOON, Scene, user_name, with};

/// Annotates the CR so that its key is replaced, each value once.
fn rotate(value: &str) -> Value {
    json!({ "metadata": { "annotations": { "s3access.dev/rotate": value } } })
}

/// The same, with an overlap that outlasts whatever a test does in it: see [`Scene::overlap_ends`].
fn rotate_for_an_hour(value: &str) -> Value {
    let mut patch = rotate(value);
    patch["spec"] = json!({ "accessKey": { "rotation": { "overlap": "1h" } } });
    patch
}

/// A workload's spec.
fn workload(bucket: &str, policy: &str) -> Value {
    json!({
        "access": [{ "bucket": bucket, "level": "ReadWrite" }],
        "policy": { "type": policy },
        "accessKey": { "rotation": { "interval": "2160h", "overlap": "1h" } },
    })
}

/// versitygw, with an operator on it.
pub struct Compatible {
    pub scene: Scene,
    pub server: VersityGw,
    pub _folder: Folder,
}

impl Compatible {
    pub async fn new(name: &str) -> Self {
        Self::with(name, &[]).await
    }

    async fn with(name: &str, settings: &[(&str, &str)]) -> Self {
        let folder = Folder::create("gw").unwrap();
        let program = std::env::var_os("VERSITYGW").context("run `cargo xtask test`").unwrap();
        let server = VersityGw::start(Path::new(&program), folder.path()).await.unwrap();
        let stand = Stand::attach().unwrap().on_versitygw(&server).await.unwrap();
        let mut scene = Scene::on(stand, name).await;
        let own = [("S3ACCESS_PROVIDER", "s3-compatible"), ("AWS_ENDPOINT_URL_S3", server.s3())];
        scene.start(&[own.as_slice(), settings].concat()).await;
        Self { scene, server, _folder: folder }
    }
}

impl Scene {
    async fn status_of(&self, user: &str, key: &str) -> Option<StatusType> {
        let keys = self.keys(user).await;
        keys.into_iter().find(|found| found.access_key_id() == Some(key)).and_then(|found| found.status)
    }

    /// When IAM says that a key was made.
    async fn created_at(&self, user: &str, key: &str) -> Result<SystemTime> {
        let keys = self.keys(user).await;
        let found = keys.into_iter().find(|found| found.access_key_id() == Some(key)).context("no such key")?;
        Ok(found.create_date.context("no date")?.try_into()?)
    }

    async fn aged(&self, user: &str, key: &str, seconds: u64) {
        self.see(&format!("{key} to be {seconds} s old"), async || {
            let age = SystemTime::now().duration_since(self.created_at(user, key).await?)?;
            ensure!(age > Duration::from_secs(seconds), "{age:?}");
            Ok(())
        })
        .await;
    }

    pub async fn statuses(&self, user: &str) -> Vec<StatusType> {
        self.keys(user).await.into_iter().filter_map(|key| key.status).collect()
    }

    /// Cuts the overlap down to the time since the swap: the old key has had it, and is inactive for as long again at most, a
    /// time that a busy machine may be late for.
    pub async fn overlap_ends(&self, user: &str, old: &str) {
        let secret = self.secrets().get("reports-s3").await.unwrap();
        let swapped_at: Timestamp = secret.annotations()[secret_annotations::ROTATED_AT].parse().unwrap();
        let overlap = format!("{}s", Timestamp::now().duration_since(swapped_at).as_secs() + 1);
        self.patch("reports", json!({ "spec": { "accessKey": { "rotation": { "overlap": overlap } } } })).await;
        self.see("the old key to be of no use", async || {
            let status = self.status_of(user, old).await;
            ensure!(status != Some(StatusType::Active), "{status:?}");
            Ok(())
        })
        .await;
    }

    /// The end of a rotation: one key, the Secret's, and nothing more to do.
    pub async fn rotated(&self, user: &str, old: &str) -> String {
        self.see("the rotation to have ended", async || {
            let keys = self.keys(user).await;
            ensure!(keys.len() == 1 && keys[0].access_key_id() != Some(old), "{keys:?}");
            let status = self.users().get("reports").await?.status.context("no status")?;
            ensure!(status.retiring_key.is_none(), "{:?}", status.retiring_key);
            Ok(())
        })
        .await;
        self.ready("reports").await;
        self.only_key(user, "reports-s3").await
    }

    /// Two rotations, each through the whole life of the old key, under a workload's load.
    pub async fn rotations_fail_no_request(&self, admin: &Account, endpoint: &str, workload: Value) {
        let bucket = workload["access"][0]["bucket"].as_str().unwrap().to_owned();
        create_bucket(&self.stand, admin, endpoint, &bucket).await;
        self.create("reports", workload).await;
        let user = user_name(&self.ready("reports").await);
        let mut key = self.only_key(&user, "reports-s3").await;
        // Old enough for every replica.
        self.aged(&user, &key, 5).await;
        let mut consumer = Consumer::start(self, "reports-s3", endpoint, &bucket).await;
        consumer.uses(&key, 50).await;
        let mut all = vec![key.clone()];
        for value in ["1", "2"] {
            self.patch("reports", rotate_for_an_hour(value)).await;
            let new = self.secret_holds_another_key("reports-s3", &key).await;
            let old = std::mem::replace(&mut key, new);
            assert_eq!(self.status_of(&user, &old).await, Some(StatusType::Active), "the overlap has begun");
            consumer.uses(&key, 50).await;
            all.push(key.clone());
            self.overlap_ends(&user, &old).await;
            assert_eq!(self.only_key(&user, "reports-s3").await, key, "the old key is gone");
            consumer.uses(&key, 50).await;
        }
        let report = consumer.see("300 requests", |report| report.requests >= 300).await;
        assert_eq!(report.keys.keys().cloned().collect::<Vec<_>>(), sorted(all), "all three keys were in use");
        let report = consumer.stop().await;
        println!("{}: {} requests, failures: {:?}", self.namespace, report.requests, report.failures);
        assert!(report.failures.is_empty(), "{report:?}");
        let corrected = self.metric("s3access_drift_corrected_total", "").await.unwrap();
        assert!(corrected == 0.0, "a rotation is no difference that somebody has made: {corrected}");
    }
}

fn sorted(mut keys: Vec<String>) -> Vec<String> {
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn rival_5_rival_17_rotations_on_an_s3_server_fail_no_request() {
    let Compatible { scene, server, _folder } = Compatible::new("rotate-gw").await;
    scene.rotations_fail_no_request(server.account(), server.s3(), workload("team-a-reports", "Inline")).await;
    scene.delete("reports").await;
    let users = scene.iam.list_users().send().await.unwrap();
    let users: Vec<_> = users.users().iter().map(|user| user.user_name()).collect();
    assert_eq!(users, ["s3-access-operator"], "nothing is left of it");
}

#[tokio::test]
async fn rival_5_rival_17_rotations_on_moto_fail_no_request() {
    let scene = Scene::new("rotate-moto").await;
    let endpoint = scene.stand.aws.endpoint.clone();
    scene.rotations_fail_no_request(&scene.stand.aws, &endpoint, workload("team-a-reports", "Managed")).await;
}

#[tokio::test]
async fn rival_5_rival_17_rotations_fail_no_request_while_replicas_lag() {
    let settings = Settings { credentials: Lag::up_to_seconds(4), ..Settings::default() };
    let mut scene = Scene::on_double_without_operator("rotate-lag", settings).await;
    // As the default of 60 s stands to IAM's lag of up to 30 s.
    scene.start(&[("S3ACCESS_CONSISTENCY_WINDOW", "8s")]).await;
    let endpoint = scene.double.as_ref().unwrap().endpoint();
    scene.rotations_fail_no_request(&scene.stand.aws, &endpoint, workload("team-a-reports", "Managed")).await;
}

/// The counterpart, which shows that the loop can count failures: the overlap is what the tests above rest on.
#[tokio::test]
async fn invariant_3_without_its_overlap_a_rotation_does_fail_requests() {
    let account = [("S3ACCESS_ACCOUNT_ID", "000000000000")];
    let Compatible { scene, server, _folder } = Compatible::with("no-overlap", &account).await;
    create_bucket(&scene.stand, &scene.stand.aws, server.s3(), "team-a-reports").await;
    scene.create("reports", workload("team-a-reports", "Inline")).await;
    let user = user_name(&scene.ready("reports").await);
    let old = scene.only_key(&user, "reports-s3").await;
    let mut consumer = Consumer::start(&scene, "reports-s3", server.s3(), "team-a-reports").await;
    consumer.uses(&old, 20).await;
    // The kubelet has not got to it yet.
    consumer.follow(false);
    scene.patch("reports", rotate("1")).await;
    let new = scene.secret_holds_another_key("reports-s3", &old).await;
    assert!(consumer.uses(&old, 20).await.failures.is_empty(), "the old key works through the overlap");
    scene.iam.delete_access_key().user_name(&user).access_key_id(&old).send().await.unwrap();
    consumer.see("failures", |report| report.failures.contains_key("InvalidAccessKeyId")).await;
    consumer.follow(true);
    consumer.uses(&new, 20).await;

    let status = scene.users().get("reports").await.unwrap().status.unwrap();
    assert_eq!(status.user_arn.unwrap(), format!("arn:aws:iam::000000000000:user/{user}"));
    let asked = scene.proxy.counts();
    assert!(!asked.contains_key("GetCallerIdentity"), "who has set the account needs no STS: {asked:?}");
}

#[tokio::test]
async fn an_s3_compatible_system_is_asked_for_nothing_that_it_cannot_keep() {
    let Compatible { scene, server: _server, _folder } = Compatible::new("refused-gw").await;
    let inline = json!({ "type": "Inline" });
    let (arn, boundary) = ("arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess", "arn:aws:iam::aws:policy/PowerUserAccess");
    for (name, spec, word) in [
        ("managed", with(json!({})), "policy.type: Inline"),
        ("attached", with(json!({ "policy": inline, "managedPolicyArns": [arn] })), "policy.type: Inline"),
        ("bounded", with(json!({ "policy": inline, "permissionsBoundaryArn": boundary })), "permissionsBoundaryArn"),
    ] {
        scene.create(name, spec).await;
        let (_, message) = scene.refused(name, "InvalidPolicy").await;
        assert!(message.contains(word), "{message}");
    }
    let users = scene.iam.list_users().send().await.unwrap();
    assert_eq!(users.users().len(), 1, "nobody but the operator: {users:?}");
    scene.patch("managed", json!({ "spec": { "policy": inline } })).await;
    let user = user_name(&scene.ready("managed").await);
    let shown = scene.iam.get_user_policy().user_name(&user).policy_name(&user).send().await.unwrap();
    assert!(shown.policy_document().contains("team-a-reports"), "{shown:?}");
    scene.delete("managed").await;
    scene.delete("bounded").await;
    let users = scene.iam.list_users().send().await.unwrap();
    assert_eq!(users.users().len(), 1, "{users:?}");
}

impl Scene {
    /// Another process, to which IAM says that the key was made so many hours ago; when that was.
    async fn restarts_with_key_of(&mut self, key: &str, hours: i64) -> Timestamp {
        self.kill9().await;
        let made_at = Timestamp::now() - SignedDuration::from_hours(hours);
        let made_at = Timestamp::from_second(made_at.as_second()).unwrap();
        self.iam(|iam| iam.set_created(key, made_at));
        self.start(&[]).await;
        // Where nothing has changed, it takes the status for true and reads nothing.
        self.patch("reports", json!({ "spec": { "tags": { "age": hours.to_string() } } })).await;
        made_at
    }

    /// The status tells when the key was made, and that it is due at that age.
    async fn is_due(&self, made_at: Timestamp, hours: i64) {
        self.see(&format!("a key of {made_at} to be due when it is {hours} h old"), async || {
            let status = self.users().get("reports").await?.status.context("no status")?;
            let made = status.access_key_created_at.context("no key")?.0;
            let due = status.next_rotation_at.context("never due")?.0;
            let wanted = (made_at, made_at + SignedDuration::from_hours(hours));
            ensure!((made, due) == wanted, "made at {made}, due at {due}");
            Ok(())
        })
        .await;
    }
}

#[tokio::test]
async fn rival_13_the_schedule_is_computed_from_create_date_through_edits_and_failover() {
    let mut scene = Scene::on_double("schedule", Settings::default()).await;
    scene.create("reports", rotating("2160h", "2s")).await;
    let user = user_name(&scene.ready("reports").await);
    let first = scene.only_key(&user, "reports-s3").await;
    let made_at = scene.restarts_with_key_of(&first, 12).await;
    scene.is_due(made_at, 2160).await;

    // Due since two hours by the edited interval, which is counted from the key and not from the edit.
    scene.patch("reports", json!({ "spec": rotating("10h", "2s") })).await;
    let second = scene.secret_holds_another_key("reports-s3", &first).await;

    // Nothing is lost with the process that made the key, and another one does not count from its own start.
    let made_at = scene.restarts_with_key_of(&second, 6).await;
    scene.is_due(made_at, 10).await;
    assert_eq!(scene.secret("reports-s3").await["AWS_ACCESS_KEY_ID"], second, "too early");
    scene.restarts_with_key_of(&second, 11).await;
    scene.secret_holds_another_key("reports-s3", &second).await;

    scene.patch("reports", json!({ "spec": rotating("2160h", "2s") })).await;
    let last = scene.rotated(&user, &second).await;
    let created = scene.created_at(&user, &last).await.unwrap();
    let status = scene.ready("reports").await.status.unwrap();
    let due = SystemTime::from(status.next_rotation_at.unwrap().0);
    assert_eq!(due.duration_since(created).unwrap(), Duration::from_secs(2160 * 3600));
}

fn rotating(interval: &str, overlap: &str) -> Value {
    with(json!({ "accessKey": { "rotation": { "interval": interval, "overlap": overlap } } }))
}

/// Where in a rotation an operator is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    BeforeTheProbe,
    BetweenProbeAndSwap,
    InTheOverlap,
}

/// Kills the operator in that stage, and starts another that knows nothing.
async fn a_failover_ends_with_one_key(stage: Stage) {
    let name = format!("failover-{}", stage as u8);
    let mut scene = Scene::on_double_without_operator(&name, Settings::default()).await;
    scene.start(&[("S3ACCESS_CONSISTENCY_WINDOW", "5s")]).await;
    scene.create("reports", rotating("2160h", "3s")).await;
    let user = user_name(&scene.ready("reports").await);
    let old = scene.only_key(&user, "reports-s3").await;
    scene.aged(&user, &old, 6).await;
    scene.proxy.forget();
    if stage == Stage::BeforeTheProbe {
        scene.proxy.inject("GetCallerIdentity", Fault::HeldAnswer);
    }
    scene.patch("reports", rotate("1")).await;
    match stage {
        Stage::BeforeTheProbe => scene.proxy.called("GetCallerIdentity", SOON).await.unwrap(),
        Stage::BetweenProbeAndSwap => {
            scene.proxy.called("CreateAccessKey", SOON).await.unwrap();
            // So that there is time between the last probes and the swap.
            scene.proxy.set_slow(Duration::from_secs(1));
            scene
                .see("probes", async || {
                    let probes = scene.proxy.counts().get("GetCallerIdentity").copied().unwrap_or_default();
                    ensure!(probes >= 2, "{probes}");
                    Ok(())
                })
                .await;
        }
        Stage::InTheOverlap => drop(scene.secret_holds_another_key("reports-s3", &old).await),
    }
    scene.kill9().await;
    scene.proxy.set_slow(Duration::ZERO);
    let swapped = scene.secret("reports-s3").await["AWS_ACCESS_KEY_ID"] != old;
    assert_eq!(swapped, stage == Stage::InTheOverlap, "killed too late");
    assert_eq!(scene.statuses(&user).await, [StatusType::Active, StatusType::Active]);
    let made: Vec<String> = scene.keys(&user).await.into_iter().filter_map(|key| key.access_key_id).collect();

    scene.start(&[]).await;
    let last = scene.rotated(&user, &old).await;
    assert_eq!(made.contains(&last), stage == Stage::InTheOverlap, "a key whose secret half died is in no Secret");
    let once = throughout("the annotation rotates once", Duration::from_secs(3), async || {
        let keys = scene.keys(&user).await;
        ensure!(keys.len() == 1 && keys[0].access_key_id() == Some(last.as_str()), "{keys:?}");
        Ok(())
    });
    once.await.unwrap();
}

#[tokio::test]
async fn rival_13_killed_before_the_probe_the_rotation_ends_with_one_key() {
    a_failover_ends_with_one_key(Stage::BeforeTheProbe).await;
}

#[tokio::test]
async fn rival_13_killed_between_probe_and_swap_the_rotation_ends_with_one_key() {
    a_failover_ends_with_one_key(Stage::BetweenProbeAndSwap).await;
}

#[tokio::test]
async fn rival_13_killed_in_the_overlap_the_rotation_ends_with_one_key() {
    a_failover_ends_with_one_key(Stage::InTheOverlap).await;
}

#[tokio::test]
async fn a_rotation_asked_for_while_suspended_waits_until_the_key_is_active_again() {
    let scene = Scene::on_double("suspended", Settings::default()).await;
    scene.create("reports", rotating("2160h", "2s")).await;
    let user = user_name(&scene.ready("reports").await);
    let first = scene.only_key(&user, "reports-s3").await;
    scene.patch("reports", json!({ "spec": { "accessKey": { "status": "Inactive" } } })).await;
    scene.refused("reports", "Suspended").await;
    assert_eq!(scene.status_of(&user, &first).await, Some(StatusType::Inactive));

    scene.patch("reports", rotate("1")).await;
    let still = throughout("no key is made for somebody who may use none", Duration::from_secs(4), async || {
        let keys = scene.keys(&user).await;
        ensure!(keys.len() == 1 && keys[0].access_key_id() == Some(first.as_str()), "{keys:?}");
        Ok(())
    });
    still.await.unwrap();
    assert_eq!(scene.statuses(&user).await, [StatusType::Inactive]);

    scene.patch("reports", json!({ "spec": { "accessKey": { "status": "Active" } } })).await;
    scene.rotated(&user, &first).await;
}

#[tokio::test]
async fn suspended_in_the_overlap_both_keys_are_inactive_and_come_back() {
    let scene = Scene::on_double("suspend-overlap", Settings::default()).await;
    scene.create("reports", rotating("2160h", "1h")).await;
    let user = user_name(&scene.ready("reports").await);
    let first = scene.only_key(&user, "reports-s3").await;
    scene.patch("reports", rotate("1")).await;
    let second = scene.secret_holds_another_key("reports-s3", &first).await;
    scene.ready("reports").await;
    scene.patch("reports", json!({ "spec": { "suspend": true } })).await;
    scene.refused("reports", "Suspended").await;
    assert_eq!(scene.statuses(&user).await, [StatusType::Inactive, StatusType::Inactive]);
    scene.patch("reports", json!({ "spec": { "suspend": false } })).await;
    scene.ready("reports").await;
    assert_eq!(scene.statuses(&user).await, [StatusType::Active, StatusType::Active]);
    assert_eq!(scene.secret("reports-s3").await["AWS_ACCESS_KEY_ID"], second);
    scene.delete("reports").await;
    assert_eq!(scene.named(&user).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_key_is_to_be_replaced_in_the_hours_that_the_spec_names_or_it_is_told_why_not() {
    let scene = Scene::on_double("windows", Settings::default()).await;
    let windowed = |interval: &str, window: &str| {
        with(json!({ "accessKey": { "rotation": { "interval": interval, "window": window } } }))
    };
    scene.create("reports", windowed("2160h", "Mon-Fri 09:00-16:00 Europe/Berlin")).await;
    let status = scene.ready("reports").await.status.unwrap();
    let (made, next) = (status.access_key_created_at.unwrap().0, status.next_rotation_at.unwrap().0);
    let age = next.duration_since(made).as_hours();
    assert!((2_160 - 4 * 24..2_160).contains(&age), "in the last window: at {age} h");
    let berlin = next.in_tz("Europe/Berlin").unwrap();
    assert!(berlin.weekday().to_monday_one_offset() <= 5 && (9..16).contains(&berlin.hour()), "{berlin}");

    for (interval, window, says) in [
        ("48h", "Sun 09:00-16:00 Europe/Berlin", "an interval of at least 211h"),
        ("2160h", "Mon-Fri 09:00-16:00 Europe/Berlni", "write Europe/Berlin"),
    ] {
        scene.patch("reports", json!({ "spec": windowed(interval, window) })).await;
        let (_, message) = scene.refused("reports", "InvalidSpec").await;
        assert!(message.contains("spec.accessKey.rotation.window"), "{message}");
        scene
            .see("what to write instead", async || {
                let (_, message) = scene.refused("reports", "InvalidSpec").await;
                ensure!(message.contains(says), "{message}");
                Ok(())
            })
            .await;
    }
}
