//! The commands of the binary.

mod completions;
mod crd;
mod doctor;
mod plan;
mod render;
mod revoke;
mod rotate;
mod run;
mod status;
mod waiting;

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::{S3AccessClass, S3AccessUser};
use crate::config::RunOptions;
use crate::controller::KnownClass;

/// Gives workloads their own AWS IAM user, S3 policy and access key.
#[derive(Parser, Debug)]
#[command(name = "s3-access-operator", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Reconcile until terminated.
    Run(Box<RunOptions>),
    /// Check the cluster, the Lease, and each account with its IAM permissions, for the settings of `run`.
    Doctor(Box<doctor::Options>),
    /// Print the completions of a shell.
    Completions(completions::Options),
    /// Print the CustomResourceDefinitions as YAML.
    Crd,
    /// Print what the operator would do about the S3AccessUsers of a file, and whom its S3AccessClasses would touch, without
    /// doing it.
    Plan(Box<plan::Options>),
    /// Print the Secret that an S3AccessUser would get, with a placeholder for the key.
    Render(render::Options),
    /// Show S3AccessUsers, their keys' ages, and why they are not ready.
    Status(status::Options),
    /// Ask for a new access key.
    Rotate(rotate::Options),
    /// Take access keys out of use at once, since they have leaked, and have others made.
    Revoke(revoke::Options),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings do not go together.
    #[error(transparent)]
    Settings(#[from] crate::aws::SettingsError),
    /// Logging did not start.
    #[error(transparent)]
    Telemetry(#[from] crate::telemetry::Error),
    /// The Kubernetes API server cannot be found or used.
    #[error("Kubernetes: {error}: {advice}", error = .0, advice = advice(.0))]
    Kubernetes(#[from] kube::Error),
    /// The client's configuration cannot be found.
    #[error("Kubernetes: {0}: set KUBECONFIG, or run in a cluster")]
    KubeConfig(#[from] kube::config::InferConfigError),
    /// The Lease cannot be used.
    #[error("the Lease: {0}: check the Role of the operator's service account")]
    Lease(#[from] kube_lease_manager::LeaseManagerError),
    /// Another replica has taken over, or the Lease could not be renewed.
    #[error("the Lease was lost: the process ends, so that no two replicas work at once")]
    LeaseLost,
    /// The endpoints cannot be served.
    #[error("the HTTP listener: {0}")]
    Listener(std::io::Error),
    /// Printing failed.
    #[error("standard output: {0}")]
    Output(#[from] std::io::Error),
    /// Serialization failed.
    #[error("YAML: {0}")]
    Yaml(#[from] serde_saphyr::ser_error::Error),
    /// A file that was named cannot be used.
    #[error("{}: {problem}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The Secret cannot be rendered.
    #[error("spec.secret: {0}")]
    Render(#[from] crate::core::secret_data::RenderError),
    /// What would be done cannot be told.
    #[error("{user}: {error}")]
    Plan {
        /// The S3AccessUser.
        user: String,
        /// Why.
        error: crate::controller::Error,
    },
    /// `plan` was asked to tell by its end whether there is something to do.
    #[error("there is something to do")]
    ToDo,
    /// `plan` has found what would not be carried out, or whom it would cost something.
    #[error("{0} of the objects are refused or blocked, or would lose access")]
    Refused(usize),
    /// `doctor` has found what is wrong.
    #[error("{0} of the checks failed")]
    Unwell(usize),
    /// `revoke` could not ask for some.
    #[error("{0} of the S3AccessUsers are not revoked: see above, and try again with the same --value")]
    Unrevoked(usize),
    /// `revoke` was given a class that is not there.
    #[error("there is no S3AccessClass {0}: `kubectl get s3accessclasses` lists what there is")]
    NoClass(String),
    /// A part of the process ended that must not.
    #[error("{0} ended unexpectedly")]
    Ended(&'static str),
}

/// What to do about a request that failed.
fn advice(error: &kube::Error) -> &'static str {
    match error {
        kube::Error::Api(status) if status.code == 403 => {
            "ask for the ClusterRole s3access-viewer or s3access-editor of deploy/rbac-users.yaml, or name a namespace of yours with -n"
        }
        kube::Error::Api(status)
            if status.code == 404 && status.details.as_ref().is_some_and(|found| !found.name.is_empty()) =>
        {
            "`status -A` lists what there is"
        }
        kube::Error::Api(status) if status.code == 404 => {
            "are the CustomResourceDefinitions installed? kubectl apply -f crds"
        }
        _ => "check KUBECONFIG, or the service account's token",
    }
}

impl Error {
    /// What the process ends with.
    pub fn exit_code(&self) -> u8 {
        if matches!(self, Self::ToDo) { 2 } else { 1 }
    }
}

/// What kubectl calls when somebody types `kubectl s3access`.
const PLUGIN: &str = "kubectl-s3access";

impl Cli {
    /// Reads the command line, and speaks of itself by the name that it was called by; ends the process where there is
    /// nothing to carry out.
    pub fn from_command_line() -> Self {
        let called = std::env::args_os().next().map(PathBuf::from);
        let is_plugin = called.as_deref().and_then(Path::file_stem).is_some_and(|name| name == PLUGIN);
        let command = if is_plugin { Self::command().bin_name("kubectl s3access") } else { Self::command() };
        Self::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
    }

    /// Carries out the command.
    ///
    /// # Errors
    /// Whatever the command met, in words for its user.
    pub async fn execute(self) -> Result<(), Error> {
        match self.command {
            Command::Run(options) => run::run(*options).await,
            Command::Doctor(options) => doctor::run(&options).await,
            Command::Completions(options) => completions::print(&options),
            Command::Crd => crd::print(),
            Command::Plan(options) => plan::run(&options).await,
            Command::Render(options) => render::print(&options),
            Command::Status(options) => status::run(&options).await,
            Command::Rotate(options) => rotate::run(&options).await,
            Command::Revoke(options) => revoke::run(&options).await,
        }
    }
}

/// A file's text; of standard input for `-`.
fn read(path: &Path) -> Result<String, Error> {
    let read = || {
        if path == Path::new("-") {
            let mut text = String::new();
            return std::io::stdin().read_to_string(&mut text).map(|_| text);
        }
        std::fs::read_to_string(path)
    };
    read().map_err(|error| Error::File { path: path.to_owned(), problem: error.to_string() })
}

/// What of a file is the operator's to say something of.
struct Objects {
    users: Vec<S3AccessUser>,
    classes: Vec<KnownClass>,
}

/// The S3AccessUsers and classes of a file, whatever else is in it.
fn objects_of(path: &Path, text: &str) -> Result<Objects, Error> {
    let file = |problem: String| Error::File { path: path.to_owned(), problem };
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| file(error.to_string()))?;
    // What `kubectl get -o yaml` prints of several.
    let documents = documents.into_iter().flat_map(|mut document| match document["items"].take() {
        Value::Array(items) if document["kind"] == "List" => items,
        items => {
            if !items.is_null() {
                document["items"] = items;
            }
            vec![document]
        }
    });
    let mut objects = Objects { users: Vec::new(), classes: Vec::new() };
    for document in documents {
        match document["kind"].as_str() {
            Some("S3AccessUser") => {
                objects.users.push(strictly(document, |user: &S3AccessUser| json!(user.spec)).map_err(file)?)
            }
            Some("S3AccessClass") => {
                let class = strictly(document.clone(), |class: &S3AccessClass| json!(class.spec)).map_err(file)?;
                let known = KnownClass::from(document);
                if let Some(invalid) = known.invalid {
                    return Err(file(format!("S3AccessClass {}: {invalid}", class.name_any())));
                }
                objects.classes.push(known);
            }
            _ => {}
        }
    }
    Ok(objects)
}

/// An object of which every field is known.
fn strictly<K>(document: Value, spec_of: impl FnOnce(&K) -> Value) -> Result<K, String>
where
    K: DeserializeOwned + Resource<DynamicType = ()>,
{
    let spec = document["spec"].clone();
    let kind = K::kind(&());
    let object: K = serde_path_to_error::deserialize(document).map_err(|error| format!("no valid {kind}: {error}"))?;
    match unknown_field(&spec, &spec_of(&object), "spec") {
        Some(field) => Err(format!("{}: unknown field {field}: kubectl refuses it, too", object.name_any())),
        None => Ok(object),
    }
}

/// The S3AccessUsers of a file, of which there is one at least.
fn users_of(path: &Path, text: &str) -> Result<Vec<S3AccessUser>, Error> {
    let users = objects_of(path, text)?.users;
    if users.is_empty() {
        return Err(Error::File { path: path.to_owned(), problem: "there is no S3AccessUser in it".to_owned() });
    }
    Ok(users)
}

/// The first field that is written and was not read: what is planned without it is not what is meant. What is empty means
/// nothing, and is not kept.
fn unknown_field(written: &Value, read: &Value, at: &str) -> Option<String> {
    let says_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => {
            written.iter().filter(|(_, value)| !says_nothing(value)).find_map(|(name, value)| {
                let at = format!("{at}.{name}");
                read.get(name).map_or_else(|| Some(at.clone()), |found| unknown_field(value, found, &at))
            })
        }
        (Value::Array(written), Value::Array(read)) => written
            .iter()
            .zip(read)
            .enumerate()
            .find_map(|(index, (value, found))| unknown_field(value, found, &format!("{at}[{index}]"))),
        _ => None,
    }
}

/// The objects of a namespace, by default of the kubeconfig's.
fn users<K>(client: Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::default_namespaced(client),
    }
}

/// A text of somebody else's for a terminal: what would move its cursor, change its colours, or turn its letters around is
/// shown as what it is.
fn on_one_line(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars()
        .map(|c| if c.is_control() || turns(c) { c.escape_unicode().to_string() } else { c.to_string() })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{on_one_line, users_of};

    /// With serde's leniency, a grant of a prefix would be planned as one of the whole bucket.
    #[test]
    fn a_field_that_no_s3_access_user_has_is_named() {
        let of = |spec: &str| {
            let text = format!("kind: S3AccessUser\nmetadata: {{name: reports}}\nspec: {spec}\n");
            users_of(Path::new("cr.yaml"), &text).map(|users| users.len()).map_err(|error| error.to_string())
        };
        for (spec, field) in [
            (r#"{access: [{bucket: abc, level: ReadOnly, prefix: "2026/"}]}"#, "spec.access[0].prefix"),
            ("{accesses: [{bucket: abc, level: ReadOnly}]}", "spec.accesses"),
            ("{access: [{bucket: abc, level: ReadOnly}], secret: {labels: {a: b}, nam: x}}", "spec.secret.nam"),
        ] {
            let error = of(spec).unwrap_err();
            assert!(error.contains(&format!("reports: unknown field {field}: ")), "{error}");
        }
        for spec in [
            "{access: [{bucket: abc, level: ReadOnly, prefixes: []}], tags: {}, suspend: false, userName: null}",
            "{policy: {statements: [{Effect: Allow, Action: 's3:*', Resource: '*', Condition: {Bool: {a: true}}}]}}",
            "{access: [{bucket: abc, level: ReadOnly}], accessKey: {rotation: {interval: 90m, overlap: 1m}}}",
        ] {
            assert_eq!(of(spec), Ok(1), "{spec}");
        }
    }

    #[test]
    fn what_would_steer_a_terminal_is_shown_as_what_it_is() {
        assert_eq!(on_one_line("a\u{1b}[31mb\nc\u{202e}d\u{9b}é"), "a\\u{1b}[31mb\\u{a}c\\u{202e}d\\u{9b}é");
    }
}
