//! `revoke`: takes the access keys of one S3AccessUser, or of a whole class, out of use, and tells how far that is.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Write;
use std::time::{Duration, Instant};

use clap::Args;
use futures::StreamExt;
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::status::{condition, list_all, span};
use super::waiting::PER_SECOND;
use super::{Error, on_one_line, users};
use crate::api::{ConditionType, S3AccessClass, S3AccessUser, annotations};
use crate::core::ends::revocation::{KEEP_WORKING, Request};
use crate::kubernetes::client;

/// Requests to the API server at a time.
const AT_ONCE: usize = 8;
/// Calls to AWS that end the keys of one user: two reads, the key, the record.
const CALLS: usize = 4;
/// Between two reads of one user, and of all of a class.
const READ_INTERVALS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// So long without an answer, and the operator may not be running.
const PATIENCE: Duration = Duration::from_secs(30);
/// So many are named in one message.
const NAMED: usize = 10;

#[derive(Args, Debug)]
pub(super) struct Options {
    /// The S3AccessUser
    #[arg(required_unless_present = "class")]
    name: Option<String>,
    /// Its namespace [default: the kubeconfig's]
    #[arg(short, long, conflicts_with = "class")]
    namespace: Option<String>,
    /// All S3AccessUsers of this S3AccessClass, in all namespaces
    #[arg(long, requires = "all", conflicts_with = "name")]
    class: Option<String>,
    /// Goes with --class: really all of them
    #[arg(long, requires = "class")]
    all: bool,
    /// Let each key work until its successor is in the Secret: a minute or two more, in which workloads go on
    #[arg(long)]
    keep_working: bool,
    /// Tells this revocation from others; with that of an earlier one, goes on with that [default: the time]
    #[arg(long)]
    value: Option<String>,
    /// End as soon as it is asked for
    #[arg(long)]
    no_wait: bool,
}

type Guarded = DeserializeGuard<S3AccessUser>;

/// Namespace and name.
type Name = (String, String);

pub(super) async fn run(options: &Options) -> Result<(), Error> {
    let client = client().await?;
    let value = options.value.clone().unwrap_or_else(|| Timestamp::now().to_string());
    let value = if options.keep_working && !value.starts_with(KEEP_WORKING) {
        format!("{KEEP_WORKING}-{value}")
    } else {
        value
    };
    let scope = match (&options.name, &options.class) {
        (Some(name), _) => Scope::One(users(client.clone(), options.namespace.as_deref()), name.clone()),
        (None, class) => Scope::Class(Api::all(client.clone()), class.clone().unwrap_or_default()),
    };
    let mut out = std::io::stdout();
    let asked = scope.found(&client).await?;
    write!(out, "{}", scope.announced(&client, &asked, &value).await)?;
    let refused = ask(&client, &asked, &value).await;
    for (name, error) in refused.iter().take(NAMED) {
        writeln!(out, "{}: NOT revoked: {error}", shown(name))?;
    }
    let refused: BTreeSet<Name> = refused.into_iter().map(|(name, _)| name).collect();
    let asked: BTreeSet<Name> = asked.into_iter().filter(|name| !refused.contains(name)).collect();
    if !options.no_wait {
        watch(&scope, &asked, &Request::by(&value)).await?;
    }
    if refused.is_empty() { Ok(()) } else { Err(Error::Unrevoked(refused.len())) }
}

/// Whose keys.
enum Scope {
    One(Api<Guarded>, String),
    Class(Api<Guarded>, String),
}

impl Scope {
    /// Whoever is in it now.
    async fn list(&self) -> Result<Vec<Guarded>, Error> {
        Ok(match self {
            Self::One(api, name) => vec![api.get(name).await?],
            Self::Class(api, _) => list_all(api).await?,
        })
    }

    /// Who is meant, in the order in which they are asked for.
    async fn found(&self, client: &Client) -> Result<Vec<Name>, Error> {
        let mut found = self.list().await?;
        if let Self::Class(_, class) = self {
            let classes = list_all(&Api::<S3AccessClass>::all(client.clone())).await?;
            if !classes.iter().any(|found| found.name_any() == *class) {
                return Err(Error::NoClass(class.clone()));
            }
            let is_default = classes.iter().any(|found| found.name_any() == *class && found.is_default());
            found.retain(|user| user.0.as_ref().is_ok_and(|user| is_of(user, class, is_default)));
        }
        let mut names: Vec<Name> = found.iter().map(name_of).collect();
        names.sort();
        Ok(names)
    }

    /// What is going to happen.
    async fn announced(&self, client: &Client, asked: &[Name], value: &str) -> String {
        let how = if value.starts_with(KEEP_WORKING) {
            "each key works until its successor is in the Secret, and not a moment longer"
        } else {
            "the keys are taken out of use now: whoever uses them is refused, workloads too, until they have read the new ones from their Secrets"
        };
        let go_on = format!(
            "it is asked for by the annotation {}: {value:?}, and goes on without this command; `--value {value}` shows how far it is\n",
            annotations::REVOKE
        );
        match self {
            Self::One(..) => format!("{}: {how}\n{go_on}", asked.first().map(shown).unwrap_or_default()),
            Self::Class(_, class) => {
                let found = Api::<S3AccessClass>::all(client.clone()).get(class).await.ok();
                let rate = found.and_then(|class| class.spec.requests_per_second).unwrap_or(PER_SECOND);
                let seconds = (asked.len() * CALLS).div_ceil(usize::try_from(rate).unwrap_or(usize::MAX).max(1));
                format!(
                    "{} S3AccessUsers of S3AccessClass {class}, by namespace and name: {how}\nabout {CALLS} calls to AWS each at {rate} a second: every key is dead in about {}; the new ones come after that\n{go_on}",
                    asked.len(),
                    span(i64::try_from(seconds).unwrap_or(i64::MAX)),
                )
            }
        }
    }
}

/// Whether the user is held to the class, or will be.
fn is_of(user: &S3AccessUser, class: &str, is_default: bool) -> bool {
    let held_to = user.status.as_ref().and_then(|status| status.class_name.as_deref());
    match user.spec.class_name.as_deref().or(held_to) {
        Some(named) => named == class,
        None => is_default,
    }
}

fn name_of(user: &Guarded) -> Name {
    (user.namespace().unwrap_or_default(), user.name_any())
}

fn shown((namespace, name): &Name) -> String {
    on_one_line(&format!("{namespace}/{name}"))
}

/// Asks for it on each, also where an object does not fit the schema; those on which that failed. Who is gone meanwhile has no
/// key.
async fn ask(client: &Client, asked: &[Name], value: &str) -> Vec<(Name, kube::Error)> {
    let patch = Patch::Merge(json!({ "metadata": { "annotations": { annotations::REVOKE: value } } }));
    let one = async |(namespace, name): Name| {
        let api: Api<S3AccessUser> = Api::namespaced(client.clone(), &namespace);
        let done = api.patch_metadata(&name, &PatchParams::default(), &patch).await;
        done.err().map(|error| ((namespace, name), error))
    };
    let all = futures::stream::iter(asked.iter().cloned()).map(one).buffer_unordered(AT_ONCE);
    let failed = all.filter_map(std::future::ready);
    let is_gone = |error: &kube::Error| matches!(error, kube::Error::Api(status) if status.code == 404);
    failed.collect::<Vec<_>>().await.into_iter().filter(|(_, error)| !is_gone(error)).collect()
}

/// How far it is with one.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// The operator has not said anything yet.
    Asked,
    /// The keys that were there work no more, or, where they are to, for a few minutes.
    Ended,
    /// There is a new key; or there is none, for that reason.
    Done(Result<String, String>),
}

impl Stage {
    fn of(user: &Guarded, request: &Request) -> Self {
        let Ok(user) = &user.0 else { return Self::Asked };
        let Some(status) = &user.status else { return Self::Asked };
        let Some(_) = status.revocation.as_ref().filter(|told| told.request == request.digest) else {
            return Self::Asked;
        };
        let is = |kind, word| condition(&status.conditions, kind).filter(|found| found.status == word);
        if let Some(stalled) = is(ConditionType::Stalled, "True") {
            return Self::Done(Err(format!("{}: {}", stalled.reason, stalled.message)));
        }
        match (is(ConditionType::Ready, "True"), is(ConditionType::Reconciling, "False"), &status.access_key_id) {
            (Some(_), Some(_), Some(id)) => Self::Done(Ok(id.clone())),
            _ => Self::Ended,
        }
    }
}

/// How many are how far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    ended: usize,
    done: usize,
    keyless: usize,
    of: usize,
}

impl Progress {
    fn of(stages: &[Stage]) -> Self {
        let count = |is: fn(&Stage) -> bool| stages.iter().filter(|stage| is(stage)).count();
        Self {
            ended: count(|stage| *stage != Stage::Asked),
            done: count(|stage| matches!(stage, Stage::Done(_))),
            keyless: count(|stage| matches!(stage, Stage::Done(Err(_)))),
            of: stages.len(),
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ended, done, keyless, of } = self;
        write!(f, "{ended} of {of} ended, {} have a new key", done - keyless)?;
        if *keyless > 0 { write!(f, ", {keyless} have none") } else { Ok(()) }
    }
}

/// Tells how far it is until all have a new key, or are known to get none.
async fn watch(scope: &Scope, asked: &BTreeSet<Name>, request: &Request) -> Result<(), Error> {
    let (began, mut out) = (Instant::now(), std::io::stdout());
    let pause = if matches!(scope, Scope::One(..)) { READ_INTERVALS.0 } else { READ_INTERVALS.1 };
    let (mut before, mut warned) = (None, false);
    loop {
        let found: Vec<Guarded> =
            scope.list().await?.into_iter().filter(|user| asked.contains(&name_of(user))).collect();
        let stages: Vec<Stage> = found.iter().map(|user| Stage::of(user, request)).collect();
        let progress = Progress::of(&stages);
        let took = began.elapsed();
        if before.replace(progress) != Some(progress) {
            writeln!(out, "{progress} after {:.1} s{}", took.as_secs_f32(), left(progress, took))?;
        }
        if progress.done == progress.of {
            write!(out, "{}", ends(&found, &stages))?;
            return Ok(());
        }
        if progress.ended == 0 && took > PATIENCE && !std::mem::replace(&mut warned, true) {
            writeln!(
                out,
                "the operator has said nothing for {} s: look whether it runs and leads (`doctor`); until then, deactivate the keys in the IAM console",
                PATIENCE.as_secs()
            )?;
        }
        tokio::time::sleep(pause).await;
    }
}

/// How long the rest takes, by what was done so far.
fn left(progress: Progress, took: Duration) -> String {
    let rest = progress.of - progress.ended;
    if rest == 0 || progress.ended == 0 {
        return String::new();
    }
    let seconds = took.as_secs_f64() * rest as f64 / progress.ended as f64;
    format!("; the last in about {}", span(seconds as i64))
}

/// What became of each: of a class, only of those that have no new key.
fn ends(users: &[Guarded], stages: &[Stage]) -> String {
    let alone = users.len() == 1;
    let line = |(user, stage): (&Guarded, &Stage)| {
        let status = user.0.as_ref().ok()?.status.as_ref()?;
        let revoked = status.revocation.as_ref()?;
        let what = match stage {
            Stage::Done(Ok(id)) if alone => {
                let secret = status.binding.as_ref().map_or("-", |binding| &binding.name);
                format!("access key {id} is in Secret {secret}: restart what reads it only when it starts")
            }
            Stage::Done(Err(why)) => format!("no new key: {why}"),
            _ => return None,
        };
        let kept = revoked
            .delete_at
            .as_ref()
            .filter(|_| alone)
            .map(|at| format!("{}: revoked; kept, inactive, until {}\n", revoked.access_key_ids.join(", "), at.0));
        let name = shown(&name_of(user));
        Some(format!("{}{name}: {}\n", kept.unwrap_or_default(), on_one_line(&what)))
    };
    users.iter().zip(stages).filter_map(line).take(NAMED).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use serde_json::Value;

    use super::*;

    fn user(spec: &Value, status: &Value) -> S3AccessUser {
        serde_json::from_value(json!({
            "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser",
            "metadata": { "name": "reports", "namespace": "team-a" }, "spec": spec, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_user_is_of_the_class_that_it_names_or_is_held_to_or_else_of_the_default() {
        for (spec, status, of, default) in [
            (json!({ "className": "a" }), json!({}), true, false),
            (json!({ "className": "b" }), json!({ "className": "a" }), false, true),
            (json!({}), json!({ "className": "a" }), true, false),
            (json!({}), json!({ "className": "b" }), false, true),
            (json!({}), json!({}), false, false),
            (json!({}), json!({}), true, true),
        ] {
            assert_eq!(is_of(&user(&spec, &status), "a", default), of, "{spec} {status} {default}");
        }
    }

    #[test]
    fn a_revocation_goes_from_asked_to_ended_to_done() {
        let request = Request::by("1");
        let condition = |kind: &str, status: &str| json!({ "type": kind, "status": status, "reason": "R", "message": "why", "lastTransitionTime": "2026-01-01T00:00:00Z" });
        let of = |digest: &str, conditions: Vec<Value>| {
            let revocation = json!({ "request": digest, "revokedAt": "2026-01-01T00:00:00Z" });
            let status = json!({ "revocation": revocation, "conditions": conditions, "accessKeyId": "AKIA2" });
            Stage::of(&DeserializeGuard(Ok(user(&json!({}), &status))), &request)
        };
        let done = vec![condition("Ready", "True"), condition("Reconciling", "False")];
        assert_eq!(of("another", done.clone()), Stage::Asked);
        assert_eq!(
            of(&request.digest, vec![condition("Ready", "True"), condition("Reconciling", "True")]),
            Stage::Ended
        );
        assert_eq!(of(&request.digest, done), Stage::Done(Ok("AKIA2".to_owned())));
        assert_eq!(of(&request.digest, vec![condition("Stalled", "True")]), Stage::Done(Err("R: why".to_owned())));
    }

    #[test]
    fn the_progress_counts_and_estimates() {
        let stages =
            [Stage::Asked, Stage::Ended, Stage::Done(Ok("AKIA".to_owned())), Stage::Done(Err("why".to_owned()))];
        let progress = Progress::of(&stages);
        assert_eq!(progress.to_string(), "3 of 4 ended, 1 have a new key, 1 have none");
        assert_eq!(left(progress, Duration::from_secs(30)), "; the last in about 10s");
        assert_eq!(left(Progress::of(&stages[1..]), Duration::from_secs(30)), "");
    }
}
