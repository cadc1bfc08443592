//! `cargo xtask acceptance` against every server that can be started here: it passes, leaves nothing behind however it
//! ends, tells what differs from the double and nothing else, and writes no secret down.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it measured"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use ground::double::{Code, Config, DoubleServer, Fault, FaultKind, Lag, Operation, Settings, When};
use ground::folders::Folder;
use ground::moto::{Account as Credentials, Partition};
use ground::stand::STATE;
use ground::wait::eventually;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::{Child, Command};

/// A run and its clean-up take no longer; only failures wait for so long.
const SOON: Duration = Duration::from_secs(180);
/// What AWS does not say, and no double would.
const PLANTED: &str = "This is planted, and said nowhere else.";

/// Who runs it: a user with the policy that the command prints, and no more.
const MAINTAINER: &str = "maintainer";

/// An account on the double that outlives a run.
struct Account {
    double: DoubleServer,
    maintainer: Credentials,
    folder: Folder,
}

impl Account {
    async fn new(settings: Settings) -> Self {
        let double = DoubleServer::start(Config { settings, ..Config::default() }).await.unwrap();
        let printed = Command::new(env!("CARGO_BIN_EXE_xtask")).args(["acceptance", "--print-policy"]).output().await;
        let root = Credentials {
            endpoint: double.endpoint(),
            partition: Partition::Aws,
            access_key_id: double.admin().access_key_id,
            secret_access_key: double.admin().secret_access_key,
        };
        let policy = String::from_utf8(printed.unwrap().stdout).unwrap();
        let maintainer = root.create_identity(MAINTAINER, &policy).await.unwrap();
        eventually("its key to be known", SOON, async || Ok(maintainer.iam().list_users().send().await?))
            .await
            .unwrap();
        double.with(|world| world.history_mut().clear());
        Self { double, maintainer, folder: Folder::create("accepted").unwrap() }
    }

    /// A run in this account, as the environment names it.
    fn command(&self) -> Command {
        let mut command = acceptance();
        command.envs(self.maintainer.env());
        command
    }

    /// Users, policies and keys, of whatever path and name, but for the maintainer's.
    fn census(&self) -> [usize; 3] {
        self.double.with(|world| {
            let state = world.account(&self.double.account().id).unwrap().state();
            let users: Vec<_> = state.users().filter(|user| user.name != MAINTAINER).collect();
            let keys = users.iter().map(|user| user.keys.len()).sum();
            [users.len(), state.local_policies().filter(|policy| policy.name != MAINTAINER).count(), keys]
        })
    }

    /// Waits until a run is amid its steps: it has made all users, and goes on.
    async fn is_amid(&self, child: &mut Child) {
        eventually("the run to be half-way", SOON, async || {
            ensure!(child.try_wait()?.is_none(), "it ended");
            let retired = self.double.with(|world| world.history().count(Operation::UpdateAccessKey));
            ensure!(retired > 0, "no key was rotated yet");
            Ok(())
        })
        .await
        .unwrap();
        assert!(self.census()[0] >= 4, "there is something to leave behind: {:?}", self.census());
    }
}

/// The command, with nothing of AWS in its environment, on the Kubernetes of the running ground.
fn acceptance() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["acceptance", "--yes"]).stdin(Stdio::null()).kill_on_drop(true);
    for name in
        ["AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_IAM", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_S3"]
    {
        command.env_remove(name);
    }
    assert!(std::env::var_os(STATE).is_some(), "this test needs the test ground: run `cargo xtask test`");
    command
}

/// Runs to the end; what it said.
async fn passes(mut command: Command) -> String {
    let output = tokio::time::timeout(SOON, command.output()).await.expect("it ends").unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{errors}");
    assert!(told.contains("0 users, 0 keys, 0 policies, 0 buckets are left"), "{told}");
    println!("{told}");
    told
}

fn report(record: &Path) -> Value {
    serde_json::from_slice(&fs::read(record.join("report.json")).unwrap()).unwrap()
}

/// What differs and is not known to.
fn surprises(record: &Path) -> Vec<Value> {
    let report = report(record);
    let all = report["differences"].as_array().unwrap().clone();
    all.into_iter().filter(|difference| difference["gap"].is_null()).collect()
}

/// Nothing that opens a door stands in the record, however it may be written.
fn no_secret_in(record: &Path, secrets: &[String]) -> usize {
    let files: Vec<PathBuf> = fs::read_dir(record).unwrap().map(|entry| entry.unwrap().path()).collect();
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        for secret in secrets {
            assert!(!text.contains(secret.as_str()), "{} holds a secret", file.display());
        }
        for name in ["SecretAccessKey", "SessionToken"] {
            let shown = text.split(name).skip(1).filter(|rest| !rest.starts_with("\": \"<removed>\""));
            assert_eq!(shown.count(), 0, "{}: {name}", file.display());
        }
        for name in ["\"Authorization\"", "AWS4-HMAC-SHA256", "X-Amz-"] {
            assert!(!text.contains(name), "{}: {name}", file.display());
        }
    }
    files.len()
}

/// A run against a server that is started for it; nothing differs but by a known gap.
async fn passes_but_for_known_gaps(server: &str) {
    let folder = Folder::create("accepted").unwrap();
    let record = folder.path().join("record");
    let mut command = acceptance();
    command.args(["--against", server, "--record"]).arg(&record);
    passes(command).await;
    let surprises = surprises(&record);
    assert!(surprises.is_empty(), "{surprises:#?}");
    no_secret_in(&record, &[]);
}

#[tokio::test]
async fn against_moto_it_passes_and_what_differs_is_a_known_gap() {
    passes_but_for_known_gaps("moto").await;
}

#[tokio::test]
async fn against_versitygw_it_passes_and_what_differs_is_a_known_gap() {
    passes_but_for_known_gaps("versitygw").await;
}

#[tokio::test]
async fn against_the_double_it_is_throttled_and_nothing_differs() {
    let folder = Folder::create("accepted").unwrap();
    let record = folder.path().join("record");
    let mut command = acceptance();
    command.args(["--against", "double", "--record"]).arg(&record);
    let told = passes(command).await;
    assert!(told.contains("the operator was throttled"), "{told}");
    let report = report(&record);
    assert_eq!(report["differences"].as_array().unwrap().len(), 0, "{report:#}");
    assert!(report["throttled"].as_u64().unwrap() > 0, "{report:#}");
    assert!(report["calls"].as_u64().unwrap() <= report["limit"].as_u64().unwrap(), "{report:#}");
}

/// In an account as the environment names it: one answer is another than the double's, once, and the operator tries again.
#[tokio::test]
async fn a_planted_difference_is_told_and_nothing_else_and_the_record_can_be_held_against_the_double_again() {
    let account = Account::new(Settings { seed: 41, ..Settings::default() }).await;
    let planted = Fault::new(
        When::Nth(Operation::UpdateAccessKey, 0),
        FaultKind::Answer(Code::EntityTemporarilyUnmodifiable, PLANTED),
    );
    account.double.with(|world| world.faults().set([planted]));
    let record = account.folder.path().join("record");
    let mut command = account.command();
    command.arg("--record").arg(&record);
    let told = passes(command).await;
    assert_eq!(account.census(), [0, 0, 0]);

    let found = surprises(&record);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(
        (found[0]["action"].as_str(), found[0]["count"].as_u64()),
        (Some("UpdateAccessKey"), Some(1)),
        "{found:#?}"
    );
    assert_eq!(found[0]["server"], format!("409 EntityTemporarilyUnmodifiable: {PLANTED}"));
    assert_eq!(found[0]["double"], "200");
    assert_eq!(told.matches("DIFFERS").count(), 1, "{told}");

    let secrets = vec![account.maintainer.secret_access_key.clone(), account.maintainer.access_key_id.clone()];
    let files = no_secret_in(&record, &secrets);
    assert!(files > 150, "{files} files");
    let mut again = Command::new(env!("CARGO_BIN_EXE_xtask"));
    again.args(["acceptance", "--replay"]).arg(&record);
    let output = again.output().await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && told.matches("DIFFERS").count() == 1, "{told}");
}

/// As in AWS: half of the reads see what was so a second ago, and so do keys and policies.
#[tokio::test]
async fn where_replicas_are_behind_it_passes_and_that_is_no_difference() {
    let lag = Lag { longest: jiff::SignedDuration::from_secs(1), stale_percent: 50 };
    let account = Account::new(Settings { seed: 44, ..Settings::default() }).await;
    let made = account.double.now();
    eventually("the maintainer's key to be old enough for every replica", SOON, async || {
        ensure!(account.double.now().duration_since(made) > lag.longest, "not yet");
        Ok(())
    })
    .await
    .unwrap();
    account.double.with(|world| {
        let settings = world.account_mut(&account.double.account().id).unwrap().settings_mut();
        (settings.reads, settings.credentials) = (lag, lag);
    });
    let record = account.folder.path().join("record");
    let mut command = account.command();
    command.arg("--record").arg(&record);
    passes(command).await;
    assert_eq!(account.census(), [0, 0, 0]);
    let found = surprises(&record);
    assert!(found.is_empty(), "{found:#?}");
    assert!(report(&record)["late"].as_u64().unwrap() > 0);
}

/// Killed amid its steps, it leaves something, which the next start removes; Ctrl-C leaves nothing.
#[tokio::test]
async fn interrupted_it_cleans_up_and_killed_the_next_start_does() {
    let account = Account::new(Settings { seed: 42, ..Settings::default() }).await;
    let mut killed = account.command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    account.is_amid(&mut killed).await;
    killed.kill().await.unwrap();
    let left = account.census();
    assert!(left.iter().all(|count| *count > 0), "users, policies and keys are left: {left:?}");

    account.double.with(|world| world.history_mut().clear());
    let log = account.folder.path().join("interrupted.log");
    let mut interrupted = account.command();
    interrupted.stdout(fs::File::create(&log).unwrap());
    let mut interrupted = interrupted.spawn().unwrap();
    account.is_amid(&mut interrupted).await;
    let id = i32::try_from(interrupted.id().unwrap()).unwrap();
    kill_process(Pid::from_raw(id).unwrap(), Signal::INT).unwrap();
    let status = tokio::time::timeout(SOON, interrupted.wait()).await.expect("it ends").unwrap();
    let told = fs::read_to_string(&log).unwrap();
    assert!(!status.success(), "{told}");
    let [users, policies, keys] = left;
    let removed =
        format!("an earlier run had left {users} users, {keys} keys, {policies} policies, 1 buckets: removed");
    assert!(told.contains(&removed), "{told}");
    assert!(told.contains("0 users, 0 keys, 0 policies, 0 buckets are left"), "{told}");
    assert_eq!(account.census(), [0, 0, 0], "{told}");
}

#[tokio::test]
async fn more_calls_than_are_allowed_fail_it_and_nothing_is_left() {
    let account = Account::new(Settings { seed: 45, ..Settings::default() }).await;
    let output = account.command().args(["--calls", "20"]).output().await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && errors.contains("it takes more than 20 calls"), "{told}{errors}");
    assert!(told.contains("0 users, 0 keys, 0 policies, 0 buckets are left"), "{told}");
    assert_eq!(account.census(), [0, 0, 0]);
}

/// Nobody is there to say yes.
#[tokio::test]
async fn without_a_terminal_and_without_yes_nothing_is_done() {
    let account = Account::new(Settings { seed: 43, ..Settings::default() }).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let told = account.command();
    let env = told.as_std().get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
    command.arg("acceptance").envs(env).stdin(Stdio::null());
    let output = command.output().await.context("running it").unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && errors.contains("say --yes"), "{errors}");
    let calls = account.double.with(|world| world.history().calls().map(|call| call.operation).collect::<Vec<_>>());
    assert_eq!(calls, [Operation::GetCallerIdentity]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in ["account    123456789012", "path       /s3-acceptance/", "rights", "costs", "at most"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}
