//! `plan`: what the API server would say of the objects of a file, what the operator would do about its S3AccessUsers, and
//! whom its classes would touch; nothing is written, neither to IAM nor to Kubernetes.

mod deployed;
mod server;

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use kube::core::ObjectMeta;
use kube::{Api, Client, ResourceExt};

use super::run::{cluster, waits};
use super::{Error, objects_of, on_one_line, read};
use crate::api::{S3AccessClass, S3AccessUser};
use crate::aws::Session;
use crate::config::RunOptions;
use crate::controller::{Planner, Preview, Standing, Touched, applied};
use crate::core::plan::Action;
use crate::kubernetes::client;
use crate::leadership::Leadership;
use crate::metrics::Metrics;

#[derive(Args, Debug)]
pub(super) struct Options {
    /// The file with the S3AccessUsers and S3AccessClasses; what else is in it is left out; `-` is standard input
    #[arg(short, long)]
    file: PathBuf,
    /// The namespace of those that name none [default: the kubeconfig's]
    #[arg(short = 'n', long)]
    user_namespace: Option<String>,
    /// End with 2 where there is something to do
    #[arg(long)]
    detailed_exitcode: bool,
    #[command(flatten)]
    run: RunOptions,
}

/// One that reads what the operator would read with these settings.
pub(super) async fn planner(client: &Client, run: &RunOptions, session: Arc<Session>) -> Result<Planner, Error> {
    Ok(Planner {
        cluster: cluster(client, run).await?,
        session,
        session_options: run.session_options(),
        defaults: run.defaults(),
        own_namespace: run.namespace.clone(),
        classes: run.classes,
        class_selector: run.class_selector.clone(),
        require_class: run.require_class,
        waits: waits(run),
        client: client.clone(),
        drafts: Vec::new(),
    })
}

pub(super) async fn run(options: &Options) -> Result<(), Error> {
    let objects = objects_of(&options.file, &read(&options.file)?)?;
    if objects.users.is_empty() && objects.classes.is_empty() {
        let problem = "there is no S3AccessUser and no S3AccessClass in it".to_owned();
        return Err(Error::File { path: options.file.clone(), problem });
    }
    let client = client().await?;
    let (settings, from) = deployed::complete(&client, &options.run).await;
    writeln!(std::io::stderr(), "{}", on_one_line(&from))?;
    let metrics = Arc::new(Metrics::default());
    let session = Session::from_environment(&settings.session_options(), Leadership::nobody(), metrics).await?;
    let planner = planner(&client, &settings, Arc::new(session)).await?;
    let planner = Planner { drafts: objects.classes, ..planner };
    let mut ends = if planner.drafts.is_empty() { Ends::default() } else { classes(&planner).await? };
    for mut file in objects.users {
        let namespace = file.namespace().or_else(|| options.user_namespace.clone());
        file.metadata.namespace = Some(namespace.unwrap_or_else(|| client.default_namespace().to_owned()));
        ends.add(user(&planner, &file).await?);
    }
    match ends {
        Ends { refused: 0, to_do } if to_do > 0 && options.detailed_exitcode => Err(Error::ToDo),
        Ends { refused: 0, .. } => Ok(()),
        Ends { refused, .. } => Err(Error::Refused(refused)),
    }
}

/// How many objects would not be carried out, or cost somebody something, and how many would change something.
#[derive(Default)]
struct Ends {
    refused: usize,
    to_do: usize,
}

impl Ends {
    fn add(&mut self, other: Self) {
        self.refused += other.refused;
        self.to_do += other.to_do;
    }
}

/// The classes of the file, and whom they would touch.
async fn classes(planner: &Planner) -> Result<Ends, Error> {
    let mut ends = Ends::default();
    let api: Api<S3AccessClass> = Api::all(planner.client.clone());
    for class in &planner.drafts {
        let name = class.name_any();
        let live = api.get_opt(&name).await?;
        let draft = S3AccessClass {
            metadata: metadata_of(&class.metadata, live.as_ref().map(|live| &live.metadata)),
            spec: class.spec.clone(),
            status: None,
        };
        let verdict = server::verdict(&api, &draft).await;
        write!(
            std::io::stdout(),
            "S3AccessClass {name}{}:\n{}",
            if class.is_default() { " (default)" } else { "" },
            verdict.told()
        )?;
        ends.refused += usize::from(verdict.is_refusal());
    }
    let touched = planner.impact().await.map_err(|error| Error::Plan { user: "the classes".to_owned(), error })?;
    for touched in &touched {
        writeln!(std::io::stdout(), "  {}", on_one_line(&impact_on(touched)))?;
    }
    let losers = touched.iter().filter(|touched| touched.loses()).count();
    writeln!(
        std::io::stdout(),
        "  {} S3AccessUsers would stand otherwise, and {losers} of them would lose something",
        touched.len()
    )?;
    ends.refused += losers;
    ends.to_do += touched.len();
    Ok(ends)
}

/// As it would be created, whatever a file that was written by `kubectl get` says of an object that was there once.
fn afresh(file: &ObjectMeta) -> ObjectMeta {
    let ObjectMeta { name, namespace, labels, annotations, .. } = file.clone();
    ObjectMeta { name, namespace, labels, annotations, ..ObjectMeta::default() }
}

/// Those of the file, on top of the live object's own.
fn metadata_of(file: &ObjectMeta, live: Option<&ObjectMeta>) -> ObjectMeta {
    let Some(live) = live else { return afresh(file) };
    let mut metadata = live.clone();
    metadata.labels.get_or_insert_default().extend(file.labels.clone().unwrap_or_default());
    metadata.annotations.get_or_insert_default().extend(file.annotations.clone().unwrap_or_default());
    metadata
}

fn impact_on(Touched { user, before, after }: &Touched) -> String {
    let class =
        |standing: &Standing| standing.class.clone().map_or("no class".to_owned(), |name| format!("class {name}"));
    match (before, after) {
        (_, Err(problem)) => format!("{user}: nothing could be done for it any more: {problem}"),
        (Ok(before), Ok(after)) if before.account != after.account => format!(
            "{user}: its IAM user is in account {}, and {} is of account {}: it would be AccountMismatch, and keep what it has; nothing could be changed or rotated",
            before.account,
            class(after),
            after.account
        ),
        (before, Ok(after)) => {
            let from = match before {
                Ok(before) if before.class == after.class => "stays in".to_owned(),
                Ok(before) => format!("comes from {} into", class(before)),
                Err(_) => "comes into".to_owned(),
            };
            let moved = before.as_ref().is_ok_and(|before| before.user_arn != after.user_arn);
            let moved = if moved { format!(", and its IAM user becomes {}", after.user_arn) } else { String::new() };
            let what = after
                .problem
                .as_ref()
                .map_or("loses nothing".to_owned(), |problem| format!("does not get all: {problem}"));
            let bound = before.as_ref().is_ok_and(|before| before.terms != after.terms) && after.terms.bind();
            let bound = if bound { format!("; its key would work {} alone", after.terms) } else { String::new() };
            format!("{user}: {from} {}{moved}: {what}{bound}", class(after))
        }
    }
}

/// An S3AccessUser of the file.
async fn user(planner: &Planner, file: &S3AccessUser) -> Result<Ends, Error> {
    let (namespace, name) = (file.namespace().unwrap_or_default(), file.name_any());
    let users: Api<S3AccessUser> = Api::namespaced(planner.client.clone(), &namespace);
    let live = users.get_opt(&name).await?;
    let made_as = live.as_ref().and_then(|live| live.status.as_ref()).and_then(|status| status.user_name.clone());
    let there = live.is_some();
    let as_applied = applied(file, live);
    let metadata = if there { as_applied.metadata.clone() } else { afresh(&file.metadata) };
    let verdict = server::verdict(&users, &S3AccessUser { metadata, ..as_applied.clone() }).await;
    if verdict.is_refusal() {
        write!(std::io::stdout(), "{namespace}/{name}:\n{}", verdict.told())?;
        return Ok(Ends { refused: 1, to_do: 0 });
    }
    let preview = planner.preview(&as_applied).await;
    let preview = preview.map_err(|error| Error::Plan { user: format!("{namespace}/{name}"), error })?;
    if let Some(made_as) = made_as.filter(|made_as| *made_as != preview.owner.user_name) {
        let here = &preview.owner.user_name;
        writeln!(
            std::io::stdout(),
            "{namespace}/{name}: the operator has made IAM user {made_as} for it, and these settings lead to {here}: give the operator's --cluster-name (its start) and --cluster-id"
        )?;
        return Ok(Ends { refused: 1, to_do: 0 });
    }
    write!(std::io::stdout(), "{}{}", told(&preview, there, Timestamp::now()), verdict.told())?;
    Ok(Ends {
        refused: usize::from(preview.refusal.is_some() || preview.blocked().next().is_some()),
        to_do: usize::from(!preview.steps.is_empty()),
    })
}

fn told(preview: &Preview, there: bool, now: Timestamp) -> String {
    let owner = &preview.owner;
    let (namespace, name) = (&owner.identity.namespace, &owner.identity.name);
    let mut text = format!(
        "{namespace}/{name}: IAM user {} of account {} ({}), Secret {namespace}/{}\n",
        owner.user_name, owner.account.id, owner.account.partition, owner.secret_name
    );
    let mut say = |line: std::fmt::Arguments<'_>| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {}", on_one_line(&line.to_string()));
    };
    if !there {
        say(format_args!("not in the cluster yet, so its UID is not known: planned as a new one"));
    }
    if let Some((reason, message)) = &preview.refusal {
        say(format_args!("refused: {}: {message}", reason.as_str()));
        return text;
    }
    for mistake in &preview.mistakes {
        say(format_args!("warning: {mistake}"));
    }
    let mut waited = SignedDuration::ZERO;
    for (after, action) in &preview.steps {
        if *after > waited {
            say(format_args!("after {} s:", after.as_secs()));
            waited = *after;
        }
        say(format_args!("{:<30} {action}", action.name()));
        if let Action::CreatePolicy { document, .. }
        | Action::CreatePolicyVersion { document, .. }
        | Action::PutInlinePolicy { document, .. } = action
        {
            say(format_args!("{:<30} {}", "", document.text()));
        }
    }
    for (part, reason, message) in preview.blocked() {
        say(format_args!("blocked: {part:?}: {}: {message}", reason.as_str()));
    }
    if let Some(retiring) = &preview.retiring {
        say(format_args!("later: access key {} is retired at {}", retiring.id, retiring.retire_at));
    }
    if let Some(at) = preview.next_rotation_at.filter(|at| *at > now) {
        say(format_args!("later: the access key is replaced at {at}"));
    }
    if preview.steps.is_empty() && preview.blocked().next().is_none() {
        say(format_args!("nothing to do"));
    }
    text
}
