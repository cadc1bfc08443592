//! All hostile inputs at once, against one operator, with honest users beside them; it is killed in the middle and started
//! again. The CRDs let everything in, so that all of it reaches the operator.

mod vitals;

use std::time::{Duration, Instant};

use anyhow::ensure;
use futures::StreamExt;
use futures::future::join_all;
use ground::bench::usage::Usage;
use ground::double::{Config, DoubleServer};
use ground::moto::Partition;
use ground::stand::Stand;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use s3_access_operator::api::S3AccessUser;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use crate::fairness::is_ready;
use crate::hostile::{inputs, tenants};
use crate::loose::Loose;
use crate::scene::{SOON, user_name};
use vitals::{Monitor, Target};

const HONEST: usize = 20;
/// CRs of 1.3 MB each.
const LARGE: usize = 100;
/// Connections that never finish their request.
const SILENT: usize = 300;
const MEMORY: u64 = 128 << 20;
/// More CPU time than it takes to read 130 MB once, seconds.
const WORK: f64 = 30.0;

struct Soak {
    loose: Loose,
    class: String,
    monitor: Monitor,
    /// The operator's.
    process: u32,
}

/// What the operator has done until a change was in force: that is its own, whatever else the machine has to do.
#[derive(Clone, Copy, Debug)]
struct Effort {
    /// Of anybody.
    reconciles: f64,
    cpu_seconds: f64,
    /// For the eye alone.
    #[expect(dead_code, reason = "it is printed")]
    took: Duration,
}

/// What a tenant who has access already does to keep it: to its S3AccessUser, or to its Secret.
enum Grudge {
    User(Value),
    Secret(Value),
}

/// They have a bucket that will be taken back.
fn grudges() -> Vec<(&'static str, Grudge)> {
    let hostile = |name: &str| inputs().into_iter().find(|(found, _)| *found == name).unwrap().1;
    let deny = json!({ "Effect": "Deny", "Action": "s3:GetObject", "Resource": "*", "Condition": { "StringResembles": { "x": "y" } } });
    let huge = json!({ "Effect": "Deny", "Action": "s3:*", "Resource": "*", "Junk": "x".repeat(1_300_000) });
    let spec = |fields: Value| Grudge::User(json!({ "spec": fields }));
    let annotation =
        |name: &str, value: &str| Grudge::Secret(json!({ "metadata": { "annotations": { name: value } } }));
    let stripped = |id: String| {
        Grudge::Secret(json!({ "metadata": { "annotations": { "s3access.dev/access-key-digest": null } },
            "stringData": { "AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": "x" } }))
    };
    vec![
        ("unheld", Grudge::User(json!({ "metadata": { "finalizers": null } }))),
        ("paused", Grudge::User(json!({ "metadata": { "annotations": { "s3access.dev/paused": "true" } } }))),
        ("noted", Grudge::User(json!({ "metadata": { "annotations": { "x": "x".repeat(250_000) } } }))),
        ("elsewhere", annotation("s3access.dev/account-id", "999999999999")),
        ("ahead", annotation("s3access.dev/rotated-at", "9999-12-31T23:59:59Z")),
        ("bulky", stripped("A".repeat(120_000))),
        ("newline", stripped("AKIA\nX".to_owned())),
        ("refused", spec(json!({ "policy": { "statements": [deny] } }))),
        ("nowhere", spec(json!({ "permissionsBoundaryArn": "arn:aws:iam::123456789012:policy/nowhere" }))),
        ("huge", spec(json!({ "policy": { "statements": [huge] } }))),
        ("unfit", spec(json!({ "accessKey": { "rotation": { "interval": "99999999999999999999h" } } }))),
        ("hangs", spec(json!({ "secret": hostile("template-hang")["secret"] }))),
        ("overflows", spec(json!({ "secret": hostile("template-stack-overflow")["secret"] }))),
        ("walks", spec(json!({ "policy": hostile("action-walk")["policy"] }))),
    ]
}

impl Soak {
    async fn start() -> Self {
        let double = DoubleServer::start(Config::default()).await.unwrap();
        let stand = Stand::attach().unwrap().on_double(&double, Partition::Aws).await.unwrap();
        let mut loose = Loose::without_operator("soak", stand).await;
        loose.scene.double = Some(double);
        for name in ["tenant-x", "payments"] {
            let namespace = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
            Api::<Namespace>::all(loose.scene.client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
        }
        let mut class = tenants();
        class["allowedBuckets"] = json!(["{namespace}.data", "{namespace}.logs"]);
        let class = loose.class("c", class).await;
        let mut soak = Self { loose, class, monitor: Monitor::start(), process: 0 };
        soak.start_operator().await;
        soak
    }

    async fn start_operator(&mut self) {
        let scene = &mut self.loose.scene;
        let namespaces = format!("{},tenant-x,payments", scene.namespace);
        scene.start(&[("S3ACCESS_WATCH_NAMESPACES", &namespaces)]).await;
        let operator = scene.operator();
        self.process = operator.process().id();
        self.monitor.look_at(Some(Target { port: operator.port(), process: self.process }));
    }

    async fn kill_and_restart(&mut self) {
        self.monitor.look_at(None);
        self.loose.scene.kill9().await;
        self.start_operator().await;
    }

    async fn is_ready(&self, name: &str) {
        let ready =
            await_condition(self.loose.scene.users(), name, |user: Option<&S3AccessUser>| user.is_some_and(is_ready));
        tokio::time::timeout(SOON, ready)
            .await
            .unwrap_or_else(|_| panic!("{name} is not Ready\n{}", self.told()))
            .unwrap();
    }

    fn told(&self) -> String {
        format!("{:?}", self.monitor.so_far())
    }

    async fn reconciles(&self) -> f64 {
        let scene = &self.loose.scene;
        scene.see("the operator to tell", async || scene.metric("s3access_reconcile_total", "").await).await
    }

    /// What it takes until a change is in force.
    async fn effort(&self, change: impl AsyncFnOnce()) -> Effort {
        let used = || Usage::of(self.process).unwrap().cpu_seconds;
        let (started, reconciles, cpu_seconds) = (Instant::now(), self.reconciles().await, used());
        change().await;
        let took = started.elapsed();
        Effort { reconciles: self.reconciles().await - reconciles, cpu_seconds: used() - cpu_seconds, took }
    }

    /// What it takes until a new honest user is Ready.
    async fn effort_of(&self, name: &str) -> Effort {
        self.effort(async || {
            self.loose.create(name, self.loose.scene.honest(&self.class)).await;
            self.is_ready(name).await;
        })
        .await
    }

    /// How many reconciles there are until a new honest user is Ready, in the middle of three.
    async fn reconciles_of_new(&self, when: &str) -> f64 {
        let mut efforts = Vec::new();
        for number in 0..3 {
            efforts.push(self.effort_of(&format!("new-{when}-{number}")).await);
        }
        println!("soak: {when}: new users are Ready after {efforts:?}");
        let mut reconciles: Vec<_> = efforts.iter().map(|effort| effort.reconciles).collect();
        reconciles.sort_by(f64::total_cmp);
        reconciles[1]
    }

    async fn honest_are_ready(&self) {
        for number in 0..HONEST {
            let user = self.loose.scene.users().get(&format!("honest-{number}")).await.unwrap();
            assert!(is_ready(&user), "honest-{number}: {:?}", user.status.map(|status| status.conditions));
        }
    }

    /// Users who have access and will not let go of it: the names of their S3AccessUsers and IAM users.
    async fn settle_grudges(&self) -> Vec<(&'static str, String)> {
        let scene = &self.loose.scene;
        let bucket = |name: &str| json!({ "bucket": format!("{}.{name}", scene.namespace), "level": "ReadWrite" });
        let mut users = Vec::new();
        for (name, _) in grudges() {
            self.loose
                .create(name, json!({ "className": self.class, "access": [bucket("data"), bucket("logs")] }))
                .await;
        }
        for (name, _) in grudges() {
            self.is_ready(name).await;
            users.push((name, user_name(&scene.users().get(name).await.unwrap())));
        }
        users
    }

    async fn bear_grudges(&self) {
        let (params, secrets) = (PatchParams::default(), self.loose.scene.secrets());
        for (name, grudge) in grudges() {
            // The API server holds on to the admission policy for a moment.
            let what = format!("the API server to take what {name} does");
            self.loose
                .scene
                .see(&what, async || {
                    match &grudge {
                        Grudge::User(patch) => {
                            drop(self.loose.users().patch(name, &params, &Patch::Merge(patch)).await?)
                        }
                        Grudge::Secret(patch) => {
                            drop(secrets.patch(&format!("{name}-s3"), &params, &Patch::Merge(patch)).await?);
                        }
                    }
                    Ok(())
                })
                .await;
        }
    }

    /// Everything that is not there yet.
    async fn flood(&self) {
        let (loose, scene) = (&self.loose, &self.loose.scene);
        let class = loose
            .class(
                "overflows",
                json!({ "allowedBuckets": ["*"], "rotation": { "maxInterval": "99999999999999999999h" } }),
            )
            .await;
        loose.create("in-it", scene.honest(&class)).await;
        for (name, _) in inputs() {
            for copy in 0..3 {
                loose.create(&format!("{name}-{copy}"), scene.hostile(name, &self.class)).await;
            }
        }
        for (namespace, name) in [("payments", "billing"), ("tenant-x", "d4ncncui6lgmpxukit0gdo3vjbcsnfmp")] {
            let user = S3AccessUser::new(
                name,
                serde_json::from_value(json!({ "className": self.class,
                "access": [{ "bucket": format!("{namespace}.data"), "level": "ReadOnly" }] }))
                .unwrap(),
            );
            Api::<S3AccessUser>::namespaced(scene.client.clone(), namespace)
                .create(&PostParams::default(), &user)
                .await
                .unwrap();
        }
        let junk =
            json!({ "Sid": "x", "Effect": "Deny", "Action": "s3:*", "Resource": "*", "Junk": "x".repeat(1_300_000) });
        let mut large = scene.honest(&self.class);
        large["policy"] = json!({ "statements": [junk] });
        let names: Vec<_> = (0..LARGE).map(|number| format!("large-{number}")).collect();
        for some in names.chunks(4) {
            join_all(some.iter().map(|name| loose.create(name, large.clone()))).await;
        }
        for number in 0..10 {
            let secret: Secret = serde_json::from_value(json!({
                "metadata": { "name": format!("big-{number}"), "labels": { "app.kubernetes.io/managed-by": "s3-access-operator" },
                    "annotations": { "s3access.dev/user-uid": "x".repeat(200_000) } },
                "stringData": { "AWS_ACCESS_KEY_ID": "x".repeat(900_000) },
            }))
            .unwrap();
            scene.secrets().create(&PostParams::default(), &secret).await.unwrap();
        }
    }

    /// Connections that say a letter now and then; they end with what is returned.
    async fn trickle(&mut self) -> Vec<AbortHandle> {
        let port = self.loose.scene.operator().port();
        let mut tasks = Vec::new();
        for _ in 0..SILENT {
            let trickle = async move {
                loop {
                    // Who is sent away comes again.
                    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    let mut bytes = futures::stream::iter(
                        b"GET /metrics HTTP/1.1\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'x')),
                    );
                    while let Some(byte) = bytes.next().await {
                        if stream.write_all(&[*byte]).await.is_err() {
                            break;
                        }
                        tokio::time::sleep(Duration::from_millis(500)).await;
                    }
                }
            };
            tasks.push(tokio::spawn(trickle).abort_handle());
        }
        tasks
    }

    /// Takes the bucket back, until IAM grants it to nobody any more.
    async fn shrink(&self, users: &[(&str, String)]) {
        let scene = &self.loose.scene;
        scene.patch_class(&self.class, json!({ "spec": { "allowedBuckets": ["{namespace}.data"] } })).await;
        let logs = format!("{}.logs", scene.namespace);
        for (name, user) in users {
            scene
                .see(&format!("the bucket of {name} to be taken back"), async || {
                    let (text, _) = scene.access(user).await;
                    ensure!(!text.contains(&logs), "still there: {text}");
                    Ok(())
                })
                .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_9_all_hostile_inputs_at_once_harm_no_honest_user() {
    let began = Instant::now();
    let mut soak = Soak::start().await;
    for number in 0..HONEST {
        soak.loose.create(&format!("honest-{number}"), soak.loose.scene.honest(&soak.class)).await;
    }
    for number in 0..HONEST {
        soak.is_ready(&format!("honest-{number}")).await;
    }
    soak.reconciles_of_new("idle").await;
    let grudges = soak.settle_grudges().await;
    println!(
        "soak: {:?}: {HONEST} honest users and {} others are Ready: {}",
        began.elapsed(),
        grudges.len(),
        soak.told()
    );

    let silent = soak.trickle().await;
    soak.bear_grudges().await;
    soak.flood().await;
    println!("soak: {:?}: everything is there: {}", began.elapsed(), soak.told());
    let busy = soak.reconciles_of_new("busy").await;
    soak.honest_are_ready().await;

    silent.iter().for_each(AbortHandle::abort);
    soak.kill_and_restart().await;
    let silent = soak.trickle().await;
    println!("soak: {:?}: restarted: {}", began.elapsed(), soak.told());
    // A process that has just started reads all there is before it turns to what is new.
    let first = soak.effort_of("first").await;
    let restarted = soak.reconciles_of_new("restarted").await;
    soak.honest_are_ready().await;
    let billing = Api::<S3AccessUser>::namespaced(soak.loose.scene.client.clone(), "payments");
    let twin = await_condition(billing, "billing", |user: Option<&S3AccessUser>| user.is_some_and(is_ready));
    tokio::time::timeout(SOON, twin).await.expect("the twin of a hash is Ready").unwrap();

    let shrunk = soak.effort(async || soak.shrink(&grudges).await).await;
    soak.honest_are_ready().await;
    silent.iter().for_each(AbortHandle::abort);
    soak.loose.scene.operator().process().ensure_running().unwrap();
    let panics = soak.loose.scene.metric("s3access_panics_total", "").await.unwrap();
    let vitals = soak.monitor.end();
    println!(
        "soak: {:?} in all, {vitals:?}; a shrink is in force after {shrunk:?}, the first user after the restart Ready after {first:?}; {panics} panics contained",
        began.elapsed(),
    );
    assert!(vitals.wrong.is_empty(), "{:#?}", vitals.wrong);
    assert!(vitals.most < MEMORY, "{} MiB", vitals.most >> 20);
    let all = (HONEST + grudges.len() + 3 * inputs().len() + LARGE) as f64;
    assert!(busy.max(restarted) <= all, "{busy} busy, {restarted} after the restart: each goes first but once");
    assert!(first.cpu_seconds.max(shrunk.cpu_seconds) < WORK, "{first:?}, {shrunk:?}");
}
