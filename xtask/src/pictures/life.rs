//! Nine minutes of an operator's life, by a timetable: two replicas, the strict double of AWS behind a slow line, tenants of three
//! classes, and what goes wrong in real clusters.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ground::cache;
use ground::double::{Config, DoubleServer, Iam, LastUsed, Rate, Throttle};
use ground::folders::Folder;
use ground::kubernetes::Kubernetes;
use ground::moto::{Account, Partition};
use ground::operator::Operator;
use ground::proxy::{Fault, Proxy};
use ground::stand::Stand;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Run;
use super::panels::Panel;
use super::prometheus::Prometheus;

/// When it all ends, in seconds.
const END: u64 = 540;
const CLASSES: [&str; 3] = ["tenants", "analytics", "platform"];
/// Who is there from the start: namespace, name, class.
const FIRST: [(&str, &str, &str); 16] = [
    ("payments", "ledger", "tenants"),
    ("payments", "invoices", "tenants"),
    ("payments", "refunds", "tenants"),
    ("payments", "payouts", "tenants"),
    ("payments", "fraud-check", "tenants"),
    ("media", "thumbnails", "tenants"),
    ("media", "transcoder", "tenants"),
    ("media", "archive", "tenants"),
    ("analytics", "reports", "analytics"),
    ("analytics", "events", "analytics"),
    ("analytics", "models", "analytics"),
    ("analytics", "notebooks", "analytics"),
    ("ops", "backups", "platform"),
    ("ops", "terraform", "platform"),
    ("ops", "registry", "platform"),
    ("ops", "audit-log", "platform"),
];
/// Who comes later.
const SECOND: [(&str, &str, &str); 7] = [
    ("media", "playlists", "tenants"),
    ("payments", "statements", "tenants"),
    ("payments", "exports", "tenants"),
    ("analytics", "clickstream", "analytics"),
    ("analytics", "features", "analytics"),
    ("ops", "loki", "platform"),
    ("ops", "thanos", "platform"),
];

const QUICK: [(&str, &str, &str); 2] = [("analytics", "sandbox", "analytics"), ("ops", "canary", "platform")];
const SESSIONS: [(&str, &str, &str); 2] = [("analytics", "nightly", "analytics"), ("ops", "restore", "platform")];

/// All that the timetable acts on.
struct Life {
    stand: Stand,
    double: DoubleServer,
    proxy: Proxy,
    started: Instant,
}

/// Plays it, and asks Prometheus what the panels ask.
pub(super) async fn play(operator: PathBuf, panels: &[Panel]) -> Result<Run> {
    let programs = cache::kubernetes().await?;
    let folder = Folder::create("pictures")?;
    let kubernetes = Kubernetes::start(&programs, folder.path()).await?;
    let double = DoubleServer::start(Config::default()).await?;
    let access = kubernetes.access().clone();
    access.install().await?;
    let nobody = Account {
        endpoint: String::new(),
        partition: Partition::Aws,
        access_key_id: String::new(),
        secret_access_key: String::new(),
    };
    let unset = Stand {
        kubernetes: access,
        aws: nobody.clone(),
        operator_identity: nobody,
        python: PathBuf::new(),
        operator,
        folder: folder.path().to_path_buf(),
    };
    let stand = unset.on_double(&double, Partition::Aws).await?;
    let proxy = Proxy::start(&stand.aws.endpoint).await?;
    let mut prometheus = Prometheus::start(&stand.folder).await?;
    let mut life = Life { stand, double, proxy, started: Instant::now() };
    let (first, second) = (life.replica("replica-a").await?, life.replica("replica-b").await?);
    prometheus.scrape(&[("replica-a", first.port()), ("replica-b", second.port())])?;
    life.started = Instant::now();
    let from = Timestamp::now().as_second();
    let (_replicas, ()) = tokio::try_join!(life.timetable(first, second, &mut prometheus), life.background())?;
    let status = life.status().await?;
    let range = (from, Timestamp::now().as_second());
    Ok(Run { range, answers: prometheus.answers(panels, range).await?, status })
}

impl Life {
    async fn replica(&self, name: &str) -> Result<Operator> {
        let settings = [
            ("AWS_ENDPOINT_URL", self.proxy.endpoint()),
            ("S3ACCESS_CLUSTER_NAME", "prod"),
            ("S3ACCESS_RESYNC_INTERVAL", "60s"),
            ("S3ACCESS_REPORT_INTERVAL", "40s"),
            ("S3ACCESS_CONSISTENCY_WINDOW", "2s"),
            ("S3ACCESS_PROBE_INTERVAL", "500ms"),
            ("S3ACCESS_MIN_ROTATION_INTERVAL", "1s"),
        ];
        self.stand.start_operator(name, &settings).await
    }

    async fn at(&self, second: u64) {
        tokio::time::sleep_until(self.started + Duration::from_secs(second)).await;
        println!("{second:>4} s of {END}");
    }

    /// What happens when. The replicas that run at the end.
    async fn timetable(&self, first: Operator, second: Operator, prometheus: &mut Prometheus) -> Result<Vec<Operator>> {
        self.at(10).await;
        self.apply("classes", CLASSES.map(|name| class(name, &["shared-*"])).to_vec()).await?;
        self.at(25).await;
        self.apply("first", namespaces().chain(FIRST.map(steady)).chain([session(SESSIONS[0])]).collect()).await?;
        self.at(75).await;
        self.age().await?;
        self.apply(
            "second",
            wrong().chain(SECOND.map(steady)).chain(QUICK.map(quick)).chain([session(SESSIONS[1])]).collect(),
        )
        .await?;
        self.at(135).await;
        self.age().await?;
        self.at(150).await;
        self.drift().await?;
        // One of the users has had what no class allows any more.
        self.apply("less", vec![class(CLASSES[0], &[])]).await?;
        self.at(190).await;
        self.proxy.inject("CreateAccessKey", Fault::LostAnswer);
        self.rotate(&FIRST[2..6]).await?;
        self.at(240).await;
        self.throttle(Some(Rate { burst: 2.0, per_second: 0.4 }));
        self.rotate(&FIRST[6..16]).await?;
        self.at(310).await;
        self.throttle(None);
        self.at(350).await;
        // A rolling update: a new replica, and the leader goes.
        let third = self.replica("replica-c").await?;
        let [a, b, c] = [("replica-a", first.port()), ("replica-b", second.port()), ("replica-c", third.port())];
        prometheus.scrape(&[a, b, c])?;
        self.at(365).await;
        let leads = first.metric("s3access_leader", "").await? > 0.0;
        let (leader, other) = if leads { (first, second) } else { (second, first) };
        leader.terminate().await?;
        self.at(400).await;
        self.drift().await?;
        self.at(430).await;
        for _ in 0..14 {
            self.proxy.inject("CreateAccessKey", Fault::Error { status: 500, code: "ServiceFailure" });
        }
        self.rotate(&FIRST[0..5]).await?;
        self.at(470).await;
        let gone = ["delete", "s3accessusers", "-n", "media", "archive", "--wait=false"];
        self.stand.kubernetes.kubectl(&gone).await?;
        self.apply("last", vec![steady(("web", "avatars", "tenants"))]).await?;
        self.at(END).await;
        Ok(vec![other, third])
    }

    /// How long AWS takes to answer, and a new credential report each minute.
    async fn background(&self) -> Result<()> {
        let mut random = fastrand::Rng::with_seed(7);
        while self.started.elapsed().as_secs() < END {
            let second = self.started.elapsed().as_secs();
            let busy = (240..310).contains(&second);
            self.proxy.set_slow(Duration::from_millis(if busy { random.u64(150..500) } else { random.u64(25..120) }));
            if second % 60 < 3 {
                self.iam(Iam::forget_report);
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        Ok(())
    }

    fn iam<T>(&self, look: impl FnOnce(&mut Iam) -> T) -> Option<T> {
        let account = self.double.account().id.clone();
        self.double.with(|world| world.account_mut(&account).map(look))
    }

    fn throttle(&self, default: Option<Rate>) {
        self.iam(|iam| iam.settings_mut().throttle = Throttle { default, ..Throttle::default() });
    }

    async fn apply(&self, name: &str, items: Vec<Value>) -> Result<()> {
        let file = self.stand.folder.join(format!("{name}.json"));
        fs::write(&file, json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string())?;
        self.stand.kubernetes.kubectl(&["apply", "-f", &file.display().to_string()]).await.map(drop)
    }

    async fn rotate(&self, users: &[(&str, &str, &str)]) -> Result<()> {
        let now = format!("s3access.dev/rotate={}", Timestamp::now().as_second());
        for (namespace, name, _) in users {
            let args = ["annotate", "--overwrite", "-n", namespace, &format!("s3accessuser/{name}"), &now];
            self.stand.kubernetes.kubectl(&args).await?;
        }
        Ok(())
    }

    /// The users that the operator has made.
    async fn made(&self) -> Result<Vec<String>> {
        let listed = self.stand.aws.iam().list_users().path_prefix("/s3access/").send().await?;
        Ok(listed.users().iter().map(|user| user.user_name().to_owned()).collect())
    }

    /// New keys get a past: made up to three months ago, and used since; but for those that live for minutes.
    async fn age(&self) -> Result<()> {
        let mut random = fastrand::Rng::with_seed(11);
        let ago =
            |hours: i64| Timestamp::from_second((Timestamp::now() - SignedDuration::from_hours(hours)).as_second());
        let young = |user: &String| QUICK.iter().chain(&SESSIONS).any(|(_, name, _)| user.contains(name));
        for user in self.made().await?.iter().filter(|user| !young(user)) {
            let days = random.i64(2..85);
            let (created, at) = (ago(days * 24)?, ago(random.i64(1..days * 12))?);
            let keys = self.stand.aws.iam().list_access_keys().user_name(user).send().await?;
            let new = keys.access_key_metadata().iter().filter(|key| {
                key.create_date().is_some_and(|created| created.secs() > Timestamp::now().as_second() - 3_600)
            });
            for key in new.filter_map(|key| key.access_key_id()) {
                let used = LastUsed { at, service: "s3".to_owned(), region: "eu-central-1".to_owned() };
                self.iam(|iam| {
                    iam.set_created(key, created);
                    iam.set_last_used(key, Some(used));
                });
            }
        }
        Ok(())
    }

    /// Somebody at the console: policies taken away, one added, and a tag.
    async fn drift(&self) -> Result<()> {
        let iam = self.stand.aws.iam();
        let users = self.made().await?;
        ensure!(users.len() > 8, "only {users:?} are there");
        for user in &users[..3] {
            let attached = iam.list_attached_user_policies().user_name(user).send().await?;
            for arn in attached.attached_policies().iter().filter_map(|policy| policy.policy_arn()) {
                iam.detach_user_policy().user_name(user).policy_arn(arn).send().await?;
            }
        }
        for user in &users[3..5] {
            let keys = iam.list_access_keys().user_name(user).send().await?;
            let key =
                keys.access_key_metadata().first().and_then(|key| key.access_key_id()).context("it has no key")?;
            iam.update_access_key().user_name(user).access_key_id(key).status("Inactive".into()).send().await?;
        }
        for user in &users[5..8] {
            iam.untag_user().user_name(user).tag_keys("team").send().await?;
        }
        Ok(())
    }

    async fn status(&self) -> Result<String> {
        let output = tokio::process::Command::new(&self.stand.operator)
            .args(["status", "-A"])
            .env_clear()
            .env("KUBECONFIG", &self.stand.kubernetes.kubeconfig)
            .output()
            .await?;
        ensure!(output.status.success(), "status: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// A class with these buckets beside those that its namespaces have by their names.
fn class(name: &str, more: &[&str]) -> Value {
    let own = if name == "platform" { "ops-*" } else { "{namespace}-*" };
    let buckets: Vec<&str> = std::iter::once(own).chain(more.iter().copied()).collect();
    json!({
        "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessClass", "metadata": { "name": name },
        "spec": { "allowedBuckets": buckets, "allowedTagKeys": ["*"] },
    })
}

fn user((namespace, name, class): (&str, &str, &str), access_key: &Value) -> Value {
    json!({
        "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser",
        "metadata": { "namespace": namespace, "name": name },
        "spec": {
            "className": class,
            "access": [{ "bucket": format!("{namespace}-{name}"), "level": "ReadWrite" }],
            "tags": { "team": namespace },
            "accessKey": access_key,
        },
    })
}

/// With a key of ninety days.
fn steady(of: (&str, &str, &str)) -> Value {
    user(of, &json!({ "rotation": { "interval": "2160h", "overlap": "30s" } }))
}

/// With keys of two minutes.
fn quick(of: (&str, &str, &str)) -> Value {
    user(of, &json!({ "rotation": { "interval": "120s", "overlap": "40s" } }))
}

/// With sessions, which are renewed once before the end.
fn session(of: (&str, &str, &str)) -> Value {
    user(of, &json!({ "mode": "Session", "duration": "15m" }))
}

/// The namespaces of all that come.
fn namespaces() -> impl Iterator<Item = Value> {
    ["payments", "media", "analytics", "ops", "web"]
        .into_iter()
        .map(|name| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }))
}

/// A bucket that the class will not allow for long, and a Secret that is there already.
fn wrong() -> impl Iterator<Item = Value> {
    let mut shared = steady(("web", "assets", "tenants"));
    shared["spec"]["access"][0]["bucket"] = "shared-assets".into();
    let secret = json!({ "apiVersion": "v1", "kind": "Secret",
        "metadata": { "namespace": "media", "name": "covers-s3" }, "stringData": { "owner": "somebody" } });
    [secret, steady(("media", "covers", "tenants")), shared].into_iter()
}
