//! `acceptance`: the operator in a real AWS account, or whatever the environment names, from start to end.
//!
//! Everything lies under one IAM path and has one prefix, so that what is removed is exactly what was made. IAM and STS are
//! reached by way of a recorder; afterwards the double is asked the same, and what differs is told.

mod cleaning;
mod gaps;
mod objects;
mod report;
mod rights;
mod run;
mod site;
mod steps;
mod tools;

use std::io::IsTerminal;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use futures::FutureExt;
use ground::cache;
use ground::folders::Folder;
use ground::kubernetes::Kubernetes;
use ground::moto::Account;
use ground::recorder::{Recorder, Upstream};
use ground::stand::{STATE, Stand};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::build_operator;
use cleaning::Cleaner;
use objects::Objects;
use report::Told;
use rights::Scope;
use run::Run;
use site::{Against, Site};
use tools::Tools;

const TIME: Duration = Duration::from_secs(10 * 60);

#[derive(Args)]
pub(crate) struct Options {
    /// Begin without asking.
    #[arg(long)]
    yes: bool,
    /// What plays AWS: what the environment names, or a server that is started for this run.
    #[arg(long, default_value = "aws")]
    against: Against,
    /// The IAM path under which everything lies; whatever of that prefix is there is removed.
    #[arg(long, default_value = "/s3-acceptance/")]
    path: String,
    /// What the names of all users, policies and the bucket begin with.
    #[arg(long, default_value = "s3-acceptance")]
    prefix: String,
    /// Write each call with its answer there, without secrets, as cases for the conformance suite.
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// Ask nothing of anybody: hold a record against the double.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["record", "yes", "against"])]
    replay: Option<PathBuf>,
    /// Fail where the steps take more calls of IAM and STS than that; a run takes about 400.
    #[arg(long, default_value_t = 900)]
    calls: usize,
    /// Only print the IAM policy that the credentials need.
    #[arg(long)]
    print_policy: bool,
    /// The partition of that policy.
    #[arg(long, default_value = "aws", requires = "print_policy")]
    partition: ground::moto::Partition,
    /// A running test ground, whose Kubernetes is used.
    #[arg(long, env = STATE, hide = true)]
    ground: Option<PathBuf>,
}

/// Ctrl-C, and SIGTERM. They are waited for all along, since the account has to be cleaned then, too.
struct Interrupts(Signal, Signal);

impl Interrupts {
    fn new() -> Result<Self> {
        Ok(Self(signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
    }

    /// The work, unless it is interrupted.
    async fn or<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            outcome = work => outcome,
            _ = self.0.recv() => bail!("interrupted"),
            _ = self.1.recv() => bail!("interrupted"),
        }
    }
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let scope = Scope::new(&options.path, &options.prefix)?;
    if options.print_policy {
        println!("{}", serde_json::to_string_pretty(&scope.policy(options.partition.name()))?);
        return Ok(());
    }
    if let Some(record) = &options.replay {
        return report::replay(record).await;
    }
    let mut interrupts = Interrupts::new()?;
    let folder = Folder::create("acceptance")?;
    let ready = interrupts.or(Ready::new(&options, scope, folder.path())).await?;
    let Some(ready) = ready else { return Ok(()) };
    let from = Instant::now();
    let recorder = &ready.recorder;
    let iam = run::admin(&ready.site, recorder, 8);
    let cleaner = Cleaner {
        iam: &iam,
        scope: &ready.scope,
        tools: &ready.tools,
        bucket: ready.scope.bucket(&ready.site.account),
        has_managed: ready.site.has_managed(),
        spread: ready.site.spread(),
    };
    // Whatever goes wrong, such as a terminal that is gone: the account is cleaned.
    let steps = AssertUnwindSafe(ready.steps(&cleaner)).catch_unwind();
    let outcome = interrupts.or(async { steps.await.unwrap_or_else(|_| Err(anyhow!("it panicked"))) }).await;
    let (seconds, calls) = (from.elapsed().as_secs(), recorder.calls());
    recorder.end();
    if let Err(error) = &outcome {
        eprintln!("Ended early ({error}). Cleaning up; a second Ctrl-C leaves that to the next start.");
    }
    let cleaned = interrupts.or(cleaner.clean()).await.context("cleaning up: the next start does it")?;
    let [removed, left] = cleaned;
    println!("  {:<9} the run's own {removed} are removed; {left} are left", "cleaning");
    let notes = outcome?;
    println!("All of this was seen, in {seconds} s and {calls} calls of at most {}.\n", ready.limit);
    let told = Told { site: &ready.site, path: &ready.scope.path, calls, limit: ready.limit, seconds, notes, left };
    report::tell(&told, &recorder.exchanges(), options.record.as_deref()).await
}

/// All that a run needs, with nothing made in the account yet.
struct Ready {
    site: Site,
    scope: Scope,
    tools: Tools,
    recorder: Recorder,
    stand: Stand,
    /// At most so many calls.
    limit: usize,
    /// Whether the cluster ends with this.
    _kubernetes: Option<Kubernetes>,
}

impl Ready {
    /// None where somebody said no.
    async fn new(options: &Options, scope: Scope, folder: &Path) -> Result<Option<Self>> {
        if let Some(record) = &options.record {
            report::is_free(record)?;
        }
        let python = cache::python().await?;
        let site = Site::start(options.against, &python, folder).await?;
        plan(&site, &scope, options.calls);
        if !options.yes && !agreed().await? {
            println!("Nothing was done.");
            return Ok(None);
        }
        let upstream = Upstream {
            iam: site.iam.clone(),
            sts: site.sts.clone(),
            admin: site.admin.clone(),
            account: site.account.clone(),
            caller: site.caller.clone(),
            path: scope.path.clone(),
        };
        let recorder = Recorder::start(upstream).await?;
        let (kubernetes, stand) = stand(options, &site, &recorder, folder).await?;
        let tools = Tools {
            python,
            consumers: cache::consumers().await?,
            folder: folder.to_path_buf(),
            admin: site.admin.clone(),
            region: site.region.clone(),
            s3: site.s3.clone(),
            s3_url: site.s3_url(),
        };
        let limit = options.calls;
        Ok(Some(Self { site, scope, tools, recorder, stand, limit, _kubernetes: kubernetes }))
    }

    /// Removes what an earlier run left, and takes all steps. What was found out.
    async fn steps(&self, cleaner: &Cleaner<'_>) -> Result<Vec<String>> {
        let [left, _] = cleaner.clean().await.context("removing what an earlier run left")?;
        if !left.is_empty() {
            println!("  {:<9} an earlier run had left {left}: removed", "leftovers");
        }
        self.recorder.begin();
        let namespace = format!("acceptance-{}", std::process::id());
        let objects = Objects::create(self.stand.kubernetes.client().await?, &namespace).await?;
        let place = (&self.site, &self.scope);
        let mut run = Run::new(place, &self.recorder, &self.tools, objects, self.stand.clone());
        let outcome = tokio::select! {
            outcome = tokio::time::timeout(TIME, run.all()) => outcome.unwrap_or_else(|_| Err(anyhow!("it took {TIME:?}"))),
            () = self.recorder.more_than(self.limit) => Err(anyhow!("it takes more than {} calls", self.limit)),
        };
        if outcome.is_err() {
            println!("The operator's log ends:\n{}", run.log_tail());
        }
        let stopped = run.stop().await;
        run.objects.drop_namespace().await?;
        outcome.and(stopped).map(|()| run.notes)
    }
}

/// The cluster: that of a running ground, or one of our own.
async fn stand(
    options: &Options,
    site: &Site,
    recorder: &Recorder,
    folder: &Path,
) -> Result<(Option<Kubernetes>, Stand)> {
    let aws = Account {
        endpoint: recorder.endpoint().to_owned(),
        partition: site.partition,
        access_key_id: site.admin.access_key_id().to_owned(),
        secret_access_key: site.admin.secret_access_key().to_owned(),
    };
    if options.ground.is_some() {
        let ground = Stand::attach()?;
        return Ok((None, Stand { aws: aws.clone(), operator_identity: aws, folder: folder.to_path_buf(), ..ground }));
    }
    let operator = build_operator().await?;
    let kubernetes = Kubernetes::start(&cache::kubernetes().await?, folder).await?;
    kubernetes.access().install().await?;
    let stand = Stand {
        kubernetes: kubernetes.access().clone(),
        aws: aws.clone(),
        operator_identity: aws,
        python: cache::python().await?,
        operator,
        folder: folder.to_path_buf(),
    };
    Ok((Some(kubernetes), stand))
}

/// What is about to happen, what it takes and what it costs.
fn plan(site: &Site, scope: &Scope, calls: usize) {
    let (partition, bucket) = (site.partition.name(), scope.bucket(&site.account));
    println!("Acceptance of the operator of this tree, against {}:", site.name());
    println!("  account    {} (partition {partition}), as {}", site.account, site.caller);
    println!(
        "  path       {} for users and policies; whatever of the prefix lies there is removed, now and at the end",
        scope.path
    );
    println!(
        "  prefix     {}-, in all names; the bucket {bucket} is made, and removed with all that is in it",
        scope.prefix
    );
    println!("  makes      about 5 users, 5 policies and 10 access keys, never more at once than that");
    println!(
        "  takes      at most {calls} calls of IAM and STS, a few thousand small requests to S3, and under ten minutes"
    );
    println!("  costs      IAM and STS nothing; S3 a few cents");
    println!("  rights     as `cargo xtask acceptance --print-policy` prints them:");
    for line in scope.rights(partition) {
        println!("             {line}");
    }
}

/// Whether somebody agrees.
async fn agreed() -> Result<bool> {
    ensure!(std::io::stdin().is_terminal(), "nobody can be asked, as this is no terminal: say --yes");
    println!("Type yes to begin:");
    let (tell, told) = tokio::sync::oneshot::channel();
    // A thread of its own: nothing waits for it at the end.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = std::io::stdin().read_line(&mut line);
        let _ = tell.send(read.is_ok() && line.trim() == "yes");
    });
    Ok(told.await.unwrap_or_default())
}
