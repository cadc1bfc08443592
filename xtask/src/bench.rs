//! `bench`: what ten thousand users cost, measured on binaries as they are shipped.

mod apart;
mod chart;
mod document;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use ground::bench::account::Account;
use ground::bench::figures::{Figures, Machine};
use ground::bench::floor::{Phase, PolicyKind};
use ground::bench::subject::Kind;
use ground::bench::usage::Usage;
use ground::bench::{BenchGround, Pace, Setup};
use ground::repository;
use sha2::{Digest, Sha256};
use tokio::process::Command;

use crate::release::NAME;
use crate::{build_target, cargo};

/// Without `--users`: these, each with the yardstick.
const SIZES: [usize; 3] = [100, 1_000, 10_000];
/// More of them take no more calls each, and hours.
const ROTATED: usize = 10_000;
/// Then as many as the smallest quota lets so many accounts hold, without the yardstick, which knows one.
const SPREAD: (usize, u8) = (50_000, 10);
/// Users of an emergency, which takes more than a second for each.
const EMERGENCY: usize = 300;
const NAMESPACE: &str = "bench";
const ANYTHING: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
/// How many sessions come beside the measured users.
const SESSIONS: usize = 20;
/// How many Secrets of others, and of how many bytes: just under what the API server takes.
const UNRELATED: (usize, usize) = (1_000, 1_000_000);

#[derive(Args, Clone)]
pub(crate) struct Options {
    /// One size; without, 100, 1,000 and 10,000, each with the yardstick, then 50,000 over ten accounts, and an emergency of
    /// 300: some three hours on two cores, half of them for the 50,000.
    #[arg(long)]
    users: Option<usize>,
    /// AWS accounts that the users are spread over; with other than two, what is about one among many is left out.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..), requires = "users")]
    accounts: u8,
    /// Write the figures there, and leave the documentation alone.
    #[arg(long)]
    json: Option<PathBuf>,
    /// What kind of policy the users have.
    #[arg(long, default_value = "inline")]
    policy: PolicyKind,
    /// Measure this instead of the operator.
    #[arg(long, requires = "users")]
    peer: Option<Peer>,
    /// The peer's binary, which somebody has built.
    #[arg(long, requires = "peer", required_if_eq("peer", "ack"))]
    binary: Option<PathBuf>,
    /// The folder with the CustomResourceDefinitions of the peer's release: `crds` of its chart.
    #[arg(long, requires = "peer", required_if_eq("peer", "ack"))]
    crds: Option<PathBuf>,
    /// Instead: ask for a new key of all users of one account, which takes ten calls a second; 300 without `--users`, in some
    /// twenty minutes, while 5,000 take hours.
    #[arg(long, conflicts_with_all = ["accounts", "peer", "secrets", "until"])]
    emergency: bool,
    /// Also: a thousand Secrets of others, a megabyte each. Takes 4 GiB of memory.
    #[arg(long)]
    secrets: bool,
    /// Leave out what this machine has measured before with the very same binaries: for machines that are not to be had for as long
    /// as all takes.
    #[arg(long, conflicts_with_all = ["users", "json", "emergency", "document"])]
    resume: bool,
    /// Measure nothing; write the documentation's table and charts anew, from the figures beside it.
    #[arg(long, conflicts_with_all = ["users", "json", "emergency"])]
    document: bool,
    /// End after that phase, with the process of which memory or time is wanted at work until then: for a profile, or for what
    /// one process makes of `--users 100000 --accounts 20`.
    #[arg(long, requires_all = ["users", "json"])]
    until: Option<Phase>,
    /// The operator's binary: this process is the measuring one.
    #[arg(long, hide = true)]
    operator: Option<PathBuf>,
    /// The yardstick's binary.
    #[arg(long, hide = true)]
    yardstick: Option<PathBuf>,
}

/// What else does the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Peer {
    /// `tests/bench/yardstick`: what a good engineer writes in a day.
    Yardstick,
    /// AWS's own controller of IAM, without keys: the phases that it can go through.
    Ack,
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Job {
    users: usize,
    accounts: u8,
    peer: Option<Peer>,
    emergency: bool,
}

impl Job {
    /// All that is measured; the options name one, or none.
    fn all(options: &Options) -> Vec<Self> {
        let Options { accounts, peer, emergency, .. } = *options;
        let sudden = Self { users: EMERGENCY, accounts: 1, peer: None, emergency: true };
        match options.users {
            Some(users) if emergency => vec![Self { users, ..sudden }],
            None if emergency => vec![sudden],
            Some(users) => vec![Self { users, accounts, peer, emergency }],
            None => {
                let each = |users| [None, Some(Peer::Yardstick)].map(|peer| Self { users, accounts, peer, emergency });
                let spread = Self { users: SPREAD.0, accounts: SPREAD.1, peer: None, emergency };
                SIZES.into_iter().flat_map(each).chain([spread, sudden]).collect()
            }
        }
    }

    /// Where its figures lie beside the documentation.
    fn figures(self) -> String {
        let Self { users, accounts, .. } = self;
        match self.peer {
            Some(Peer::Yardstick) => format!("yardstick-{users}.json"),
            Some(Peer::Ack) => format!("ack-{users}.json"),
            None if self.emergency => format!("emergency-{users}.json"),
            None if accounts == 2 => format!("operator-{users}.json"),
            None => format!("accounts-{accounts}-{users}.json"),
        }
    }

    /// Whether its figures are of that binary, on this machine.
    fn is_done(self, binary: &Path) -> Result<bool> {
        let Ok(text) = fs::read_to_string(document::figures().join(self.figures())) else { return Ok(false) };
        let figures: Figures = serde_json::from_str(&text)?;
        let here = machine()?;
        let same_machine = figures.machine.processor == here.processor && figures.machine.cores == here.cores;
        Ok(same_machine && figures.binary == digest(binary)?)
    }

    /// The arguments of the process that measures it.
    fn arguments(self, options: &Options) -> Result<Vec<OsString>> {
        let policy = options.policy.to_possible_value().context("a policy without a name")?;
        let mut arguments: Vec<OsString> =
            ["bench", "--users", &self.users.to_string(), "--policy", policy.get_name()].map(OsString::from).into();
        let mut add = |name: &str, value: &OsStr| arguments.extend([name.into(), value.to_owned()]);
        let json = options.json.clone().unwrap_or_else(|| document::figures().join(self.figures()));
        add("--json", json.as_os_str());
        if let Some(peer) = self.peer.and_then(|peer| peer.to_possible_value()) {
            add("--peer", peer.get_name().as_ref());
        }
        for (name, path) in [("--binary", &options.binary), ("--crds", &options.crds)] {
            if let Some(path) = path {
                add(name, path.as_os_str());
            }
        }
        if let Some(until) = options.until {
            add("--until", until.name().as_ref());
        }
        if self.emergency {
            arguments.push("--emergency".into());
        } else {
            add("--accounts", self.accounts.to_string().as_ref());
        }
        if options.secrets || (options.users.is_none() && self.users == 1_000 && self.peer.is_none()) {
            arguments.push("--secrets".into());
        }
        Ok(arguments)
    }
}

pub(crate) async fn run(options: Options) -> Result<()> {
    if options.document {
        return document::write();
    }
    match (&options.operator, &options.yardstick) {
        (Some(operator), Some(yardstick)) => measure(&options, operator, yardstick).await,
        _ => run_optimized(&options).await,
    }
}

/// Builds all that is measured and all that measures as it is shipped, and runs the sizes.
async fn run_optimized(options: &Options) -> Result<()> {
    ensure!(options.json.is_none() || options.users.is_some() || options.emergency, "--json is for one size");
    let operator = build(NAME, NAME).await?;
    let yardstick = build("xtask", "yardstick").await?;
    // A measuring process in a debug build would take the CPU time that it measures.
    let measuring = build("xtask", "xtask").await?;
    for job in Job::all(options) {
        if options.resume && job.is_done(if job.peer.is_none() { &operator } else { &yardstick })? {
            eprintln!("{} is of these binaries and this machine: it stays as it is", job.figures());
            continue;
        }
        let mut command = Command::new(&measuring);
        command.args(job.arguments(options)?);
        command.arg("--operator").arg(&operator).arg("--yardstick").arg(&yardstick);
        let status = command.kill_on_drop(true).status().await?;
        ensure!(status.success(), "measuring {job:?} ended with {status}");
    }
    if options.json.is_none() { document::write() } else { Ok(()) }
}

async fn build(package: &str, binary: &str) -> Result<PathBuf> {
    // As `cargo xtask release` builds it.
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut cargo = cargo();
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static");
    build_target(&mut cargo, package, binary, &["--release", "--target", &target]).await
}

/// Measures one size.
async fn measure(options: &Options, operator: &Path, yardstick: &Path) -> Result<()> {
    let users = options.users.context("no size")?;
    let accounts = if options.emergency { 1 } else { options.accounts };
    let machine = machine()?;
    let setup = async |first: &Account| {
        let kind = kind(options, yardstick, first).await?;
        eprintln!("{users} users, {}, {accounts} accounts", kind.name());
        Ok(Setup {
            kind,
            users,
            policy: options.policy,
            namespace: NAMESPACE.to_owned(),
            alone: true,
            pace: pace(users),
        })
    };
    let program = std::env::current_exe()?;
    let mut ground = BenchGround::start(&program, operator.to_path_buf(), users, accounts, setup).await?;
    if options.emergency {
        ground.run.emergency().await?;
    } else {
        go_through(&mut ground, options, users).await?;
    }
    ground.run.measure_double().await?;
    let figures = ground.run.figures_mut();
    figures.machine = machine;
    figures.binary = digest(match options.peer {
        None => operator,
        Some(Peer::Yardstick) => yardstick,
        Some(Peer::Ack) => options.binary.as_deref().context("no binary")?,
    })?;
    figures.versions = versions(ground.kubernetes.access()).await?;
    if let Some(version) = options.crds.as_deref().and_then(release_of) {
        figures.versions.insert("iam-controller".to_owned(), version);
    }
    write(options.json.as_deref().context("no file for the figures")?, figures)
}

/// What is measured; a peer gets an identity in the first account.
async fn kind(options: &Options, yardstick: &Path, first: &Account) -> Result<Kind> {
    let Some(peer) = options.peer else { return Ok(Kind::Operator) };
    let credentials = first.admin.create_identity("peer", ANYTHING).await?;
    Ok(match peer {
        Peer::Yardstick => Kind::Yardstick(yardstick.to_path_buf(), credentials),
        Peer::Ack => Kind::Ack {
            binary: options.binary.clone().context("no binary")?,
            crds: options.crds.clone().context("no CustomResourceDefinitions")?,
            credentials,
        },
    })
}

/// One phase after the other, and what is about one among many before the end.
async fn go_through(ground: &mut BenchGround, options: &Options, users: usize) -> Result<()> {
    let last = options.until.unwrap_or(Phase::Delete);
    for phase in Phase::ALL.into_iter().filter(|phase| *phase <= last) {
        if !ground.run.goes_through(phase) {
            continue;
        }
        let before = (ground.kubernetes.apiserver_id(), Usage::of(ground.kubernetes.apiserver_id())?);
        let run = &mut ground.run;
        match phase {
            Phase::Create => run.create().await?,
            Phase::Rest => run.rest(Some(&mut ground.kubernetes)).await?,
            Phase::Restart => run.start_again().await?,
            Phase::Sweep => run.sweep().await?,
            Phase::Rotate => run.rotate(users.min(ROTATED)).await?,
            Phase::Dark => {
                run.listen().await?;
                run.renew(SESSIONS).await?;
                run.overtake().await?;
                run.dark().await?;
                if options.secrets {
                    run.unrelated_secrets(UNRELATED.0, UNRELATED.1).await?;
                }
            }
            Phase::Delete => run.delete().await?,
        }
        let after = ground.kubernetes.apiserver_id();
        if let Some(figures) = run.figures_mut().phases.get_mut(&phase).filter(|_| after == before.0) {
            figures.api_server_cpu_seconds = Some(Usage::of(after)?.cpu_seconds - before.1.cpu_seconds);
        }
    }
    Ok(())
}

/// The version of the release whose chart has that folder of CustomResourceDefinitions.
fn release_of(crds: &Path) -> Option<String> {
    let chart = fs::read_to_string(crds.parent()?.join("Chart.yaml")).ok()?;
    chart.lines().find_map(|line| Some(line.strip_prefix("appVersion:")?.trim().trim_matches('"').to_owned()))
}

fn write(path: &Path, figures: &Figures) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, serde_json::to_string_pretty(figures)? + "\n")
        .with_context(|| format!("writing {}", path.display()))
}

fn digest(binary: &Path) -> Result<String> {
    let bytes = fs::read(binary).with_context(|| format!("reading {}", binary.display()))?;
    Ok(hex::encode(Sha256::digest(bytes)))
}

fn pace(users: usize) -> Pace {
    Pace {
        idle: Duration::from_secs(30),
        // A hundred users a second, or the sweep of who reads each would be measured as a burst; more only where it would take longer than all else.
        sweep: Duration::from_secs((users as u64 / 100).clamp(20, 200)),
        overlap: Duration::from_secs(5),
        patience: Duration::from_secs(120),
    }
}

fn machine() -> Result<Machine> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let memory = field(&fs::read_to_string("/proc/meminfo")?, "MemTotal").unwrap_or_default();
    let kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg")?;
    Ok(Machine {
        processor: field(&cpuinfo, "model name").unwrap_or_else(|| "unknown".to_owned()),
        cores: std::thread::available_parallelism()?.get(),
        memory_gib: kib.div_ceil(1 << 20),
        load_before: load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default(),
    })
}

async fn versions(kubernetes: &ground::kubernetes::Access) -> Result<std::collections::BTreeMap<String, String>> {
    let first_line = async |command: &mut Command| -> Result<String> {
        let output = command.output().await?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
    };
    let client = kubernetes.client().await?;
    let git =
        async |arguments: &[&str]| first_line(Command::new("git").args(arguments).current_dir(repository())).await;
    let commit = git(&["describe", "--always"]).await?;
    // What the sizes before this one wrote is no change of what is measured.
    let changed = git(&["status", "--porcelain", "--", ".", ":(exclude)deploy/docs"]).await?;
    let commit = if changed.is_empty() { commit } else { format!("{commit}-dirty") };
    let rust = first_line(Command::new("rustc").arg("--version")).await?;
    let versions = [
        ("operator", format!("{} ({commit})", env!("CARGO_PKG_VERSION"))),
        ("kubernetes", client.apiserver_version().await?.git_version),
        ("rust", rust),
    ];
    Ok(versions.map(|(name, version)| (name.to_owned(), version)).into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(arguments: &str) -> Result<Options, clap::Error> {
        Line::try_parse_from(std::iter::once("bench").chain(arguments.split_whitespace())).map(|line| line.options)
    }

    fn files(arguments: &str) -> Vec<String> {
        Job::all(&options(arguments).unwrap()).into_iter().map(Job::figures).collect()
    }

    #[test]
    fn without_arguments_all_that_the_page_shows_is_measured() {
        let each = SIZES.map(|users| [format!("operator-{users}.json"), format!("yardstick-{users}.json")]);
        let apart = ["accounts-10-50000.json".to_owned(), "emergency-300.json".to_owned()];
        assert_eq!(files(""), [each.concat(), apart.into()].concat());
        assert_eq!(files("--users 300 --accounts 10"), ["accounts-10-300.json"]);
        assert_eq!(files("--users 100 --peer ack --binary a --crds b"), ["ack-100.json"]);
        assert_eq!(files("--emergency --users 60"), ["emergency-60.json"]);
    }

    #[test]
    fn what_was_measured_with_another_binary_is_measured_again() {
        let [job, ..] = Job::all(&options("").unwrap())[..] else { panic!("there is a first one") };
        assert!(!job.is_done(Path::new("/proc/self/exe")).unwrap());
        assert!(options("--resume --users 3").is_err() && options("--resume --document").is_err());
    }

    #[test]
    fn what_the_measuring_process_is_told_is_the_same_job() {
        for arguments in [
            "--users 300 --accounts 10",
            "--users 7 --peer ack --binary a --crds b",
            "--emergency",
            "--users 5 --peer yardstick",
        ] {
            let asked = options(arguments).unwrap();
            let [job] = Job::all(&asked)[..] else { panic!("{arguments} is one job") };
            let told = job.arguments(&asked).unwrap();
            let told: Vec<String> = told[1..].iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
            let told = options(&told.join(" ")).unwrap();
            assert_eq!(Job::all(&told), [job], "{arguments}");
            assert!(told.json.is_some());
        }
    }

    #[test]
    fn what_makes_no_sense_together_is_refused() {
        for arguments in [
            "--accounts 10",
            "--users 5 --accounts 0",
            "--users 5 --peer ack",
            "--users 5 --until create",
            "--emergency --users 5 --peer yardstick",
            "--users 5 --binary a",
        ] {
            assert!(options(arguments).is_err(), "{arguments}");
        }
    }
}
