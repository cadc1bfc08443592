//! `bench`: what ten thousand users cost, measured on binaries as they are shipped.

mod chart;
mod document;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use ground::bench::account::Account;
use ground::bench::figures::{Figures, Machine};
use ground::bench::floor::{Phase, PolicyKind};
use ground::bench::subject::Kind;
use ground::bench::{BenchGround, Pace, Setup};
use ground::repository;
use tokio::process::Command;

use crate::{build_target, cargo};

/// Without `--users`.
const SIZES: [usize; 3] = [100, 1_000, 10_000];
const NAMESPACE: &str = "bench";
const ANYTHING: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
/// How many sessions come beside the measured users.
const SESSIONS: usize = 20;
/// How many Secrets of others, and of how many bytes: just under what the API server takes.
const UNRELATED: (usize, usize) = (1_000, 1_000_000);

#[derive(Args, Clone)]
pub(crate) struct Options {
    /// One size; without, 100, 1,000 and 10,000, each with its peer.
    #[arg(long)]
    users: Option<usize>,
    /// Write the figures there, and leave the documentation alone.
    #[arg(long, requires = "users")]
    json: Option<PathBuf>,
    /// What kind of policy the users have.
    #[arg(long, default_value = "inline")]
    policy: PolicyKind,
    /// Measure this instead of the operator.
    #[arg(long)]
    peer: Option<Peer>,
    /// Also: a thousand Secrets of others, a megabyte each. Takes 4 GiB of memory.
    #[arg(long)]
    secrets: bool,
    /// Measure nothing; write the documentation's table and charts anew, from the figures beside it.
    #[arg(long, conflicts_with_all = ["users", "json"])]
    document: bool,
    /// End after that phase, with the process of which memory or time is wanted at work until then: for a profile.
    #[arg(long, requires = "users")]
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
    let operator = build("s3-access-operator", "s3-access-operator").await?;
    let yardstick = build("xtask", "yardstick").await?;
    // A measuring process in a debug build would take the CPU time that it measures.
    let measuring = build("xtask", "xtask").await?;
    let (sizes, peers): (&[usize], &[Option<Peer>]) = match &options.users {
        Some(users) => (&[*users], &[options.peer]),
        None => (&SIZES, &[None, Some(Peer::Yardstick)]),
    };
    for users in sizes {
        for peer in peers {
            let json = options.json.clone().unwrap_or_else(|| document::figures_file(*users, peer.is_some()));
            let mut command = Command::new(&measuring);
            command.arg("bench").args(["--users", &users.to_string(), "--json"]).arg(&json);
            command.arg("--operator").arg(&operator).arg("--yardstick").arg(&yardstick);
            let policy = options.policy.to_possible_value().context("a policy without a name")?;
            command.args(["--policy", policy.get_name()]);
            if peer.is_some() {
                command.args(["--peer", "yardstick"]);
            }
            if options.secrets || (options.users.is_none() && *users == 1_000 && peer.is_none()) {
                command.arg("--secrets");
            }
            if let Some(until) = options.until {
                command.args(["--until", until.name()]);
            }
            let status = command.kill_on_drop(true).status().await?;
            ensure!(status.success(), "measuring {users} users ended with {status}");
        }
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
    let machine = machine()?;
    eprintln!("{users} users, {}", if options.peer.is_some() { "the yardstick" } else { "the operator" });
    let setup = async |first: &Account| {
        let kind = match options.peer {
            None => Kind::Operator,
            Some(Peer::Yardstick) => {
                Kind::Yardstick(yardstick.to_path_buf(), first.admin.create_identity("yardstick", ANYTHING).await?)
            }
        };
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
    let mut ground = BenchGround::start(&program, operator.to_path_buf(), users, setup).await?;
    let ours = options.peer.is_none();
    let last = options.until.unwrap_or(Phase::Delete);
    for phase in Phase::ALL.into_iter().filter(|phase| *phase <= last) {
        let run = &mut ground.run;
        match phase {
            Phase::Create => run.create().await?,
            Phase::Rest => run.rest(Some(&mut ground.kubernetes)).await?,
            Phase::Restart => run.start_again().await?,
            Phase::Sweep => run.sweep().await?,
            Phase::Rotate => run.rotate(users).await?,
            Phase::Dark if ours => {
                run.listen().await?;
                run.renew(SESSIONS).await?;
                run.overtake().await?;
                run.dark().await?;
                if options.secrets {
                    run.unrelated_secrets(UNRELATED.0, UNRELATED.1).await?;
                }
            }
            Phase::Dark => {}
            Phase::Delete => run.delete().await?,
        }
    }
    ground.run.measure_double().await?;
    let figures = ground.run.figures_mut();
    figures.machine = machine;
    figures.versions = versions(ground.kubernetes.access()).await?;
    write(options.json.as_deref().context("no file for the figures")?, figures)
}

fn write(path: &Path, figures: &Figures) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, serde_json::to_string_pretty(figures)? + "\n")
        .with_context(|| format!("writing {}", path.display()))
}

fn pace(users: usize) -> Pace {
    Pace {
        idle: Duration::from_secs(30),
        // Fifty users a second, or the sweep would be measured as a burst.
        sweep: Duration::from_secs((users as u64 / 50).max(20)),
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
    let commit =
        first_line(Command::new("git").args(["describe", "--always", "--dirty"]).current_dir(repository())).await?;
    let rust = first_line(Command::new("rustc").arg("--version")).await?;
    let versions = [
        ("operator", format!("{} ({commit})", env!("CARGO_PKG_VERSION"))),
        ("kubernetes", client.apiserver_version().await?.git_version),
        ("rust", rust),
    ];
    Ok(versions.map(|(name, version)| (name.to_owned(), version)).into())
}
