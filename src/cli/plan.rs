//! `plan`: what the operator would do about the S3AccessUsers of a file; nothing is written, neither to IAM nor to
//! Kubernetes.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use kube::{Api, Client, ResourceExt};

use super::run::{cluster, waits};
use super::{Error, on_one_line, users_in};
use crate::api::S3AccessUser;
use crate::aws::Session;
use crate::config::RunOptions;
use crate::controller::{Planner, Preview, applied};
use crate::core::plan::Action;
use crate::leadership::Leadership;
use crate::metrics::Metrics;

#[derive(Args, Debug)]
pub(super) struct Options {
    /// The file with the S3AccessUsers; what else is in it is left out; `-` is standard input
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
    })
}

pub(super) async fn run(options: &Options) -> Result<(), Error> {
    let files = users_in(&options.file)?;
    let client = Client::try_default().await?;
    let metrics = Arc::new(Metrics::default());
    let session = Session::from_environment(&options.run.session_options(), Leadership::nobody(), metrics).await?;
    let planner = planner(&client, &options.run, Arc::new(session)).await?;
    let (mut refused, mut to_do) = (0, 0);
    for mut file in files {
        let namespace = file.namespace().or_else(|| options.user_namespace.clone());
        let namespace = namespace.unwrap_or_else(|| client.default_namespace().to_owned());
        file.metadata.namespace = Some(namespace.clone());
        let users: Api<S3AccessUser> = Api::namespaced(client.clone(), &namespace);
        let live = users.get_opt(&file.name_any()).await?;
        if let Some(problem) = live.as_ref().and_then(|live| immutable(live, &file)) {
            writeln!(std::io::stdout(), "{namespace}/{}: the API server refuses it: {problem}", file.name_any())?;
            refused += 1;
            continue;
        }
        let there = live.is_some();
        let preview = planner.preview(&applied(&file, live)).await;
        let preview =
            preview.map_err(|error| Error::Plan { user: format!("{namespace}/{}", file.name_any()), error })?;
        write!(std::io::stdout(), "{}", told(&preview, there, Timestamp::now()))?;
        refused += usize::from(preview.refusal.is_some() || preview.blocked().next().is_some());
        to_do += usize::from(!preview.steps.is_empty());
    }
    match (refused, to_do) {
        (0, 0) => Ok(()),
        (0, _) if options.detailed_exitcode => Err(Error::ToDo),
        (0, _) => Ok(()),
        (refused, _) => Err(Error::Refused(refused)),
    }
}

/// What the CustomResourceDefinition does not let anybody change.
fn immutable(live: &S3AccessUser, file: &S3AccessUser) -> Option<String> {
    let changed = |field: &str| Some(format!("spec.{field} is immutable: delete the S3AccessUser and create another"));
    if live.spec.class_name != file.spec.class_name {
        return changed("className");
    }
    if live.spec.user_name == file.spec.user_name { None } else { changed("userName") }
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
