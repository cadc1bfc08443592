//! The settings that the operator runs with, asked of its Deployment: a plan by other settings is one of other users.

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Container;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use crate::cli::Cli;
use crate::config::RunOptions;

/// What every setting's variable begins with.
const OURS: &str = "S3ACCESS_";

/// The settings, completed: what neither a flag nor a variable of this process says is as the operator's Deployment has it.
/// Also says where they are from, for people.
pub(super) async fn complete(client: &Client, given: &RunOptions) -> (RunOptions, String) {
    let namespace = &given.namespace;
    let found = Api::<Deployment>::namespaced(client.clone(), namespace).list(&ListParams::default()).await;
    let found: Vec<(String, Container)> = match found {
        Ok(all) => all.items.into_iter().filter_map(operator).collect(),
        Err(error) => {
            return (
                given.clone(),
                alone(&format!("the Deployments of namespace {namespace} cannot be read: {error}")),
            );
        }
    };
    match found.as_slice() {
        [] => (given.clone(), alone(&format!("no Deployment of the operator is in namespace {namespace}"))),
        [(name, container)] => match merged(std::env::args_os().collect(), container) {
            Ok(options) => {
                (options, format!("settings: those of Deployment {namespace}/{name}, where no flag says otherwise"))
            }
            Err(error) => {
                (given.clone(), alone(&format!("those of Deployment {namespace}/{name} cannot be read: {error}")))
            }
        },
        several => {
            let names: Vec<&str> = several.iter().map(|(name, _)| name.as_str()).collect();
            (
                given.clone(),
                alone(&format!("there are several operators in namespace {namespace}: {}", names.join(", "))),
            )
        }
    }
}

fn alone(why: &str) -> String {
    format!(
        "settings: those of this command alone, since {why}. They have to be the operator's: --namespace says where it is, --cluster-name and the others of `run --help` what it was given"
    )
}

/// The container of a Deployment that is an operator's, which its variables tell.
fn operator(deployment: Deployment) -> Option<(String, Container)> {
    let name = deployment.name_any();
    let is_ours = |container: &Container| {
        container.env.as_ref().is_some_and(|env| env.iter().any(|variable| variable.name.starts_with(OURS)))
    };
    let containers = deployment.spec?.template.spec?.containers;
    Some((name, containers.into_iter().find(is_ours)?))
}

/// The settings of a command line, where it leaves one open those of the container.
fn merged(mut line: Vec<OsString>, container: &Container) -> Result<RunOptions, clap::Error> {
    let plan = |line: &[OsString]| -> Result<ArgMatches, clap::Error> {
        let (_, plan) = Cli::command().try_get_matches_from(line)?.remove_subcommand().ok_or_else(no_command)?;
        Ok(plan)
    };
    let given = plan(&line)?;
    let of_args = of_args(container)?;
    let command = Cli::command();
    let settings = command.find_subcommand("run").into_iter().flat_map(Command::get_arguments);
    for (setting, long, name) in settings.filter_map(|setting| Some((setting, setting.get_long()?, setting.get_env()?)))
    {
        let id = setting.get_id().as_str();
        if matches!(given.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable)) {
            continue;
        }
        let by_flag = of_args.as_ref().filter(|found| found.value_source(id) == Some(ValueSource::CommandLine));
        let values: Vec<OsString> = match by_flag.and_then(|found| found.get_raw(id)) {
            Some(values) => values.map(ToOwned::to_owned).collect(),
            None => variable(container, &name.to_string_lossy()).into_iter().collect(),
        };
        for value in values {
            let mut flag = OsString::from(format!("--{long}="));
            flag.push(value);
            line.push(flag);
        }
    }
    RunOptions::from_arg_matches(&plan(&line)?)
}

/// The flags of the container.
fn of_args(container: &Container) -> Result<Option<ArgMatches>, clap::Error> {
    let Some(args) = container.args.as_ref().filter(|args| !args.is_empty()) else { return Ok(None) };
    let line = std::iter::once("s3-access-operator".to_owned()).chain(args.iter().cloned());
    Ok(Cli::command()
        .try_get_matches_from(line)?
        .remove_subcommand()
        .filter(|(name, _)| name == "run")
        .map(|(_, run)| run))
}

/// A variable that is given in so many words; others are the pod's alone.
fn variable(container: &Container, name: &str) -> Option<OsString> {
    let found = container.env.iter().flatten().find(|variable| variable.name == name)?;
    found.value.as_ref().filter(|value| !value.is_empty()).map(OsString::from)
}

fn no_command() -> clap::Error {
    clap::Error::new(clap::error::ErrorKind::MissingSubcommand)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use serde_json::json;

    use super::*;

    fn of(line: &[&str], container: serde_json::Value) -> RunOptions {
        let line = ["s3-access-operator", "plan", "-f", "cr.yaml"].iter().chain(line).map(OsString::from).collect();
        merged(line, &serde_json::from_value(container).unwrap()).unwrap()
    }

    #[test]
    fn what_the_command_line_leaves_open_is_as_the_deployment_has_it() {
        let container = json!({
            "name": "operator", "args": ["run", "--path=/flags/", "--cluster-id", "by-flag"],
            "env": [
                { "name": "S3ACCESS_CLUSTER_NAME", "value": "prod" },
                { "name": "S3ACCESS_CLUSTER_ID", "value": "by-variable" },
                { "name": "S3ACCESS_REQUIRE_CLASS", "value": "true" },
                { "name": "S3ACCESS_WATCH_NAMESPACES", "value": "a,b" },
                { "name": "S3ACCESS_NAMESPACE", "valueFrom": { "fieldRef": { "fieldPath": "metadata.namespace" } } },
                { "name": "AWS_REGION", "value": "us-east-1" },
            ],
        });
        let options = of(&["--namespace", "ops"], container.clone());
        assert_eq!(options.cluster_name.as_deref(), Some("prod"));
        assert_eq!((options.cluster_id.as_deref(), options.path.as_deref()), (Some("by-flag"), Some("/flags/")));
        assert!(options.require_class && options.classes);
        assert_eq!(
            (options.watch_namespaces, options.namespace.as_str()),
            (vec!["a".to_owned(), "b".to_owned()], "ops")
        );
        assert_eq!(of(&["--cluster-name", "mine"], container).cluster_name.as_deref(), Some("mine"));
    }

    #[test]
    fn only_a_deployment_with_the_operators_variables_is_taken_for_one() {
        let deployment = |name: &str| -> Deployment {
            let containers =
                json!([{ "name": "proxy" }, { "name": "operator", "env": [{ "name": name, "value": "x" }] }]);
            let pod = json!({ "metadata": { "labels": { "a": "b" } }, "spec": { "containers": containers } });
            let spec = json!({ "selector": { "matchLabels": { "a": "b" } }, "template": pod });
            serde_json::from_value(json!({ "metadata": { "name": "it" }, "spec": spec })).unwrap()
        };
        assert_eq!(
            operator(deployment("S3ACCESS_CLUSTER_NAME")).map(|(name, found)| (name, found.name)),
            Some(("it".to_owned(), "operator".to_owned()))
        );
        assert!(operator(deployment("AWS_REGION")).is_none());
    }
}
