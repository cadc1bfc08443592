//! Which S3-compatible system does what: each step of a user's life, tried on each system, and the docs' table of what came of it.
//! Ceph's RGW is there where this machine can run it; `cargo xtask test` says why where it cannot.

use std::panic::AssertUnwindSafe;

use anyhow::{Context as _, ensure};
use futures::FutureExt;
use futures::future::{LocalBoxFuture, join_all};
use ground::double::Settings;
use ground::folders::Folder;
use ground::proxy::Fault;
use ground::rgw::{Access, Rgw, Root, Sts};
use ground::stand::probe_s3;
use serde_json::{Value, json};

use crate::compatible::Gateway;
use crate::consumer::create_bucket;
use crate::misbehaving::{SEAWEEDFS, System};
use crate::scene::{SOON, Scene, data, user_name};

const FREQUENT: (&str, &str) = ("S3ACCESS_RESYNC_INTERVAL", "500ms");
const TABLE: &str = "deploy/docs/s3-compatible.md";
const ENDS: (&str, &str) = ("-- the_table_of_systems` -->\n", "<!-- end of systems -->");

type Step = for<'a> fn(&'a mut Gateway) -> LocalBoxFuture<'a, ()>;

/// In this order, each on what the ones before have left; first of all a whole life under load.
const STEPS: [(&str, Step); 8] = [
    ("rotate under load", |gateway| gateway.rotates_under_load().boxed_local()),
    ("create", |gateway| gateway.creates().boxed_local()),
    ("use", |gateway| gateway.is_used().boxed_local()),
    ("prefix", |gateway| gateway.keeps_to_the_prefix().boxed_local()),
    ("heal", |gateway| gateway.heals().boxed_local()),
    ("shrink", |gateway| gateway.shrinks().boxed_local()),
    ("crash", |gateway| gateway.survives_a_crash().boxed_local()),
    ("delete", |gateway| gateway.leaves_nothing().boxed_local()),
];

impl Gateway {
    /// On the RGW of this run, in an account of its own; nothing where there is none.
    pub async fn on_rgw(name: &str) -> Option<Self> {
        let access = Access::attach().unwrap()?;
        let root = access.account(&format!("{name}-{:05x}", std::process::id())).await.unwrap();
        Some(Self::of(name, &root, access.endpoint()).await)
    }

    /// As the root user of that account of RGW, which has no GetCallerIdentity.
    async fn of(name: &str, root: &Root, s3: &str) -> Self {
        let class = json!({ "ownership": "Path", "accountId": root.id });
        Self::at(name, root.account.clone(), s3, class).await
    }

    /// What a standard client may do with a Secret's key, by operation.
    async fn tries(&self, secret: Value, operations: &[(&str, &str)]) -> Vec<(bool, String)> {
        let operations: Vec<Value> =
            operations.iter().map(|(operation, bucket)| json!({ "operation": operation, "bucket": bucket })).collect();
        let task = json!({ "endpoint": self.s3, "secret": secret, "operations": operations });
        let answers = probe_s3(&self.scene.stand.python, &self.scene.stand.folder, &task).await.unwrap();
        let answer =
            |answer: &Value| (answer["allowed"].as_bool().unwrap(), answer["code"].as_str().unwrap().to_owned());
        answers.iter().map(answer).collect()
    }

    /// What the Secret's key allows of: put, get and list in the granted bucket, and put into another.
    async fn allows(&self) -> Vec<bool> {
        let (bucket, other) = (self.bucket(), self.other_bucket());
        let all =
            [("PutObject", bucket.as_str()), ("GetObject", &bucket), ("ListBucket", &bucket), ("PutObject", &other)];
        let secret = json!(self.scene.secret("reports-s3").await);
        self.tries(secret, &all).await.into_iter().map(|(allowed, _)| allowed).collect()
    }

    async fn user(&self) -> String {
        user_name(&self.scene.ready("reports").await)
    }

    fn other_bucket(&self) -> String {
        format!("{}.other", self.scene.namespace)
    }

    async fn rotates_under_load(&mut self) {
        let workload = self.spec(json!({}));
        self.scene.rotations_fail_no_request(&self.admin, &self.s3, workload).await;
        self.scene.delete("reports").await;
        create_bucket(&self.scene.stand, &self.admin, &self.s3, &self.other_bucket()).await;
        self.scene.kill9().await;
        self.scene.start(&[FREQUENT]).await;
    }

    fn access(&self, level: &str) -> Value {
        json!([{ "bucket": self.bucket(), "level": level, "prefixes": ["2026/"] }])
    }

    async fn creates(&mut self) {
        self.scene.create("reports", self.spec(json!({ "access": self.access("ReadWrite") }))).await;
        let user = self.user().await;
        self.scene.only_key(&user, "reports-s3").await;
    }

    async fn is_used(&mut self) {
        assert_eq!(self.allows().await[..2], [true, true]);
    }

    async fn keeps_to_the_prefix(&mut self) {
        assert_eq!(self.allows().await, [true, true, false, false], "under 2026/ of one bucket, and no more");
    }

    /// A policy that was widened by hand, and a Secret that was lost.
    async fn heals(&mut self) {
        let user = self.user().await;
        let anything = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;
        let widen = self.scene.iam.put_user_policy().user_name(&user).policy_name(&user).policy_document(anything);
        widen.send().await.unwrap();
        self.scene
            .see("what was widened by hand to be narrow again", async || {
                let allowed = self.allows().await;
                ensure!(allowed == [true, true, false, false], "{allowed:?}");
                Ok(())
            })
            .await;
        let lost = self.scene.secret("reports-s3").await;
        self.scene.secrets().delete("reports-s3", &kube::api::DeleteParams::default()).await.unwrap();
        let new = self
            .scene
            .see("a Secret with another key", async || {
                let held = data(&self.scene.secrets().get_opt("reports-s3").await?.context("no Secret")?);
                ensure!(held["AWS_ACCESS_KEY_ID"] != lost["AWS_ACCESS_KEY_ID"], "it holds the lost one");
                Ok(held["AWS_ACCESS_KEY_ID"].clone())
            })
            .await;
        self.user().await;
        assert_eq!(self.scene.only_key(&user, "reports-s3").await, new, "and the lost one is revoked");
        assert!(!self.tries(json!(lost), &[("GetObject", &self.bucket())]).await[0].0, "the lost one works");
    }

    async fn shrinks(&mut self) {
        self.scene.patch("reports", json!({ "spec": { "access": self.access("ReadOnly") } })).await;
        self.user().await;
        assert_eq!(self.allows().await, [false, true, false, false], "read only");
    }

    /// Killed between CreateAccessKey and the Secret.
    async fn survives_a_crash(&mut self) {
        let before = self.users().await;
        self.proxy.forget();
        self.proxy.inject("CreateAccessKey", Fault::HeldAnswer);
        self.scene.create("crashed", self.spec(json!({}))).await;
        self.proxy.called("CreateAccessKey", SOON).await.unwrap();
        self.scene.kill9().await;
        let mut users = self.users().await;
        users.retain(|user| !before.contains(user));
        let [user] = users.as_slice() else { panic!("{users:?}") };
        let orphans = self.scene.keys(user).await;
        assert_eq!(orphans.len(), 1, "a key that nobody knows");
        assert!(self.scene.secrets().get_opt("crashed-s3").await.unwrap().is_none());
        self.scene.start(&[FREQUENT]).await;
        self.scene.ready("crashed").await;
        assert_ne!(Some(self.scene.only_key(user, "crashed-s3").await.as_str()), orphans[0].access_key_id());
    }

    async fn leaves_nothing(&mut self) {
        self.scene.delete("crashed").await;
        self.scene.delete("reports").await;
        assert_eq!(self.users().await, [""; 0]);
    }

    /// Users that IAM knows.
    async fn users(&self) -> Vec<String> {
        let listed = self.scene.iam.list_users().send().await.unwrap();
        listed.users().iter().map(|user| user.user_name().to_owned()).collect()
    }
}

/// A system's line of the table: what came of each step.
async fn line(name: &str, gateway: Gateway) -> String {
    let mut gateway = gateway;
    let mut cells = Vec::new();
    for (_, step) in STEPS {
        // After one that failed, the others have nothing to stand on.
        let done = match cells.last() {
            Some(&"no") => false,
            _ => AssertUnwindSafe(step(&mut gateway)).catch_unwind().await.is_ok(),
        };
        cells.push(if done { "yes" } else { "no" });
    }
    format!("| {name} | {} |", cells.join(" | "))
}

/// The strict double as the system that answers so.
async fn seaweedfs() -> String {
    let scene = Scene::new("weed").await;
    let settings = Settings { quirks: SEAWEEDFS.iter().copied().collect(), ..Settings::default() };
    let system = System::with(&scene, "weed", "Tags", settings).await;
    let class = scene.class_is(&system.class, "OwnershipNotKept").await;
    let reason = &class.status.unwrap().conditions[0].reason;
    format!("| SeaweedFS 4.44, replayed | {} |", [reason.as_str(); STEPS.len()].join(" | ").replace(reason, "refused"))
}

#[tokio::test]
async fn the_table_of_systems_in_the_docs_is_what_the_systems_do() {
    let versitygw = async |name: &str, ownership: &str| {
        line(&format!("versitygw 1.8, `ownership: {ownership}`"), Gateway::new(name, ownership).await).await
    };
    let rgw = async {
        match Gateway::on_rgw("systems-rgw").await {
            Some(gateway) => Some(line("Ceph RGW 20.2, `ownership: Path`", gateway).await),
            None => None,
        }
    };
    let lines = [versitygw("systems-tags", "Tags").boxed_local(), versitygw("systems-path", "Path").boxed_local()];
    let (versitygw, rgw, seaweedfs) = tokio::join!(join_all(lines), rgw, seaweedfs());
    let ran_rgw = rgw.is_some();
    let head = format!("| System | {} |", STEPS.map(|(name, _)| name).join(" | "));
    let rule = format!("|{}", "---|".repeat(STEPS.len() + 1));
    let mut table = vec![head, rule];
    table.extend(versitygw.into_iter().chain(rgw).chain([seaweedfs]));

    let path = ground::repository().join(TABLE);
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(ENDS.0).unwrap();
    let (found, after) = rest.split_once(ENDS.1).unwrap();
    let found: Vec<&str> = found.trim().lines().filter(|line| ran_rgw || !line.starts_with("| Ceph RGW")).collect();
    if std::env::var_os("BLESS").is_some() {
        let new = format!("{before}{}\n{}\n\n{}{after}", ENDS.0, table.join("\n"), ENDS.1);
        std::fs::write(&path, new).unwrap();
    } else {
        assert_eq!(found, table, "{TABLE}: BLESS=1 writes it anew");
    }
    assert!(table[2..table.len() - 1].iter().all(|line| !line.contains("| no")), "{table:#?}");
}

#[tokio::test]
async fn invariant_4_a_user_lives_on_rgw() {
    if let Some(mut gateway) = Gateway::on_rgw("rgw").await {
        gateway.lives().await;
    }
}

#[tokio::test]
async fn what_another_account_or_no_account_owns_is_out_of_reach_on_rgw() {
    let Some(gateway) = Gateway::on_rgw("rgwothers").await else { return };
    let access = Access::attach().unwrap().unwrap();
    let name = |of: &str| format!("{}.{of}", gateway.scene.namespace);
    let account = access.account(&name("account")).await.unwrap().account;
    let classic = access.classic_user(&name("classic")).await.unwrap();
    let (own, accounts, classics) = (name("own"), name("accounts"), name("classics"));
    for (admin, bucket) in [(&gateway.admin, &own), (&account, &accounts), (&classic, &classics)] {
        create_bucket(&gateway.scene.stand, admin, &gateway.s3, bucket).await;
    }
    let grants = [&own, &accounts, &classics].map(|bucket| json!({ "bucket": bucket, "level": "ReadWrite" }));
    gateway.scene.create("reports", gateway.spec(json!({ "access": grants }))).await;
    gateway.scene.ready("reports").await;
    let tried = [("PutObject", own.as_str()), ("PutObject", &accounts), ("PutObject", &classics)];
    let secret = json!(gateway.scene.secret("reports-s3").await);
    let allowed: Vec<bool> = gateway.tries(secret, &tried).await.into_iter().map(|(allowed, _)| allowed).collect();
    assert_eq!(allowed, [true, false, false]);
}

/// With sessions, RGW says AccessDenied to keys that it does not know.
#[tokio::test]
async fn a_user_lives_on_an_rgw_that_takes_sessions() {
    if Access::attach().unwrap().is_none() {
        return;
    }
    let folder = Folder::create("rgw-sts").unwrap();
    let installed = ground::cache::ceph().await.unwrap();
    let rgw = Rgw::start(&installed, folder.path(), Sts::On).await.unwrap();
    let root = rgw.access().account("sts").await.unwrap();
    Gateway::of("rgwsts", &root, rgw.s3()).await.lives().await;
}
