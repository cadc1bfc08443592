//! The alerts and the dashboard: promtool's verdict, and that they name metrics which there are.

use std::collections::{BTreeMap, BTreeSet};

use ground::folders::Folder;
use ground::tools::promtool;
use s3_access_operator::core::plan::WhyDelete;
use s3_access_operator::metrics::Metrics;
use serde_json::Value;
use tokio::process::Command;

use crate::helm::{Helm, documents, finish, named, read, root, text};

const ALERTS: &str = "deploy/chart/files/alerts.yaml";
const DASHBOARD: &str = "deploy/dashboards/s3-access-operator.json";

async fn promtool_says(args: &[&str]) -> Result<String, String> {
    let mut command = Command::new(promtool().await.unwrap());
    command.args(args).env_clear().current_dir(root());
    finish(command, "").await
}

fn alerts() -> Vec<Value> {
    let file = documents(&read(ALERTS)).remove(0);
    file["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// The queries of all panels, with Grafana's own variables filled in.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    targets
        .map(|target| {
            text(&target["expr"]).replace("$__rate_interval", "5m").replace("$job", ".*").replace("$namespace", ".*")
        })
        .collect()
}

/// The series that the operator may have, by the names that it registers. A family shows its type only once it has a
/// member, so of those that do not, every type is thought possible.
fn series() -> BTreeSet<String> {
    let metrics = Metrics::default();
    metrics.key_deleted(WhyDelete::Retired);
    metrics.drift_corrected("PolicySynced");
    metrics.set_users("default", 1, 0);
    let rendered = metrics.render().unwrap();
    let types: BTreeMap<&str, &str> = rendered
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE s3access_").and_then(|rest| rest.split_once(' ')))
        .collect();
    assert!(types.len() >= 10, "{types:?}");
    let code = read("src/metrics.rs");
    let registered = code.split("registry.register(").skip(1).map(|rest| rest.split('"').nth(1).unwrap());
    let mut names = BTreeSet::new();
    for name in registered {
        let endings: &[&str] = match types.get(name) {
            Some(&"counter") => &["_total"],
            Some(&"histogram") => &["_bucket", "_count", "_sum"],
            Some(&"gauge") => &[""],
            Some(other) => panic!("{name} is a {other}"),
            None => &["", "_total", "_bucket", "_count", "_sum"],
        };
        names.extend(endings.iter().map(|ending| format!("s3access_{name}{ending}")));
    }
    assert!(types.keys().all(|name| code.contains(&format!("\"{name}\""))), "{types:?}");
    names
}

/// The names that nobody needs to look at: parts of a histogram, and what is off by default above a thousand users.
fn is_seen_elsewhere(name: &str) -> bool {
    name.ends_with("_sum") || name.ends_with("_count") || name == "s3access_user_ready"
}

fn metrics_in(query: &str) -> Vec<&str> {
    query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("s3access_")).collect()
}

#[tokio::test]
async fn the_alerts_are_rules_and_fire_when_they_should_and_not_else() {
    let said = promtool_says(&["check", "rules", "--lint=all", "--lint-fatal", ALERTS]).await.unwrap();
    assert!(said.contains(&format!("{} rules found", alerts().len())), "{said}");
    let said = promtool_says(&["test", "rules", "tests/chart/alerts_test.yaml"]).await;
    assert!(said.as_ref().is_ok_and(|said| said.contains("SUCCESS")), "{said:?}");
}

/// Each is tried in a case where it fires and in one where it does not.
#[test]
fn every_alert_is_tried_both_ways() {
    let tests = documents(&read("tests/chart/alerts_test.yaml")).remove(0);
    let (mut fires, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for case in tests["tests"].as_array().unwrap().iter().flat_map(|test| test["alert_rule_test"].as_array().unwrap()) {
        let fired = case["exp_alerts"].as_array().is_some_and(|expected| !expected.is_empty());
        (if fired { &mut fires } else { &mut silent }).insert(text(&case["alertname"]).to_owned());
    }
    let names: BTreeSet<String> = alerts().iter().map(|alert| text(&alert["alert"]).to_owned()).collect();
    assert_eq!(fires, names);
    assert_eq!(silent, names);
}

#[test]
fn alerts_and_dashboard_name_metrics_that_there_are() {
    let series = series();
    let mut used = BTreeSet::new();
    let alerts = alerts();
    let queries = queries();
    assert!(queries.len() >= 20, "{}", queries.len());
    for query in alerts.iter().map(|alert| text(&alert["expr"])).chain(queries.iter().map(String::as_str)) {
        let metrics = metrics_in(query);
        assert!(!metrics.is_empty(), "{query}");
        for metric in metrics {
            assert!(series.contains(metric), "the operator has no {metric}: {query}");
            used.insert(metric.to_owned());
        }
    }
    // Nobody looks at a metric that is in neither.
    let rendered = Metrics::default().render().unwrap();
    let certain = |name: &str| {
        let base = ["_total", "_bucket"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
        rendered.contains(&format!("# TYPE {base} "))
    };
    for metric in series.iter().filter(|name| certain(name) && !is_seen_elsewhere(name)) {
        assert!(used.contains(metric), "no panel and no alert shows {metric}");
    }
}

/// Each query of the dashboard is one that Prometheus understands.
#[tokio::test]
async fn prometheus_understands_the_dashboards_queries() {
    let rules: Vec<Value> = queries()
        .iter()
        .enumerate()
        .map(|(number, query)| serde_json::json!({ "record": format!("panel:{number}"), "expr": query }))
        .collect();
    let count = rules.len();
    let folder = Folder::create("dashboard").unwrap();
    let path = folder.path().join("rules.yaml");
    // JSON is YAML.
    std::fs::write(&path, serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules }] }).to_string())
        .unwrap();
    let said = promtool_says(&["check", "rules", &path.display().to_string()]).await.unwrap();
    assert!(said.contains(&format!("{count} rules found")), "{said}");
}

/// Where the alerts of this version lead: the folder of the page, where the repository is published.
const RUNBOOKS: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/v", env!("CARGO_PKG_VERSION"), "/deploy/docs/");
const BUMP: &str = concat!(
    "run `sed -i -E 's#/blob/v[0-9.]+/#/blob/v",
    env!("CARGO_PKG_VERSION"),
    "/#' deploy/chart/files/alerts.yaml tests/chart/alerts_test.yaml`"
);

#[test]
fn every_alert_has_its_entry_in_the_documentation() {
    let text_of_alerts = read("deploy/docs/alerts.md");
    let entries: BTreeSet<&str> = text_of_alerts.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let alerts = alerts();
    let names: BTreeSet<&str> = alerts.iter().map(|alert| text(&alert["alert"])).collect();
    let unknown: Vec<_> =
        entries.iter().filter(|entry| entry.starts_with("S3Access") && !names.contains(*entry)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    for alert in &alerts {
        let name = text(&alert["alert"]);
        assert!(entries.contains(name), "deploy/docs/alerts.md has no entry for {name}");
        let annotations = &alert["annotations"];
        assert_eq!(annotations["runbook_url"], format!("{RUNBOOKS}alerts.md#{}", name.to_lowercase()), "{BUMP}");
        assert!(text(&annotations["summary"]).len() > 10 && text(&annotations["description"]).len() > 10);
        assert!(["critical", "warning", "info"].contains(&text(&alert["labels"]["severity"])), "{name}");
    }
}

/// Without a word the links lead to this version's page; with one, to wherever else the pages are.
#[tokio::test]
async fn the_charts_rule_object_has_the_alerts_of_the_file() {
    for base in ["", "https://docs/"] {
        let set = format!("metrics.prometheusRule.enabled=true,metrics.prometheusRule.runbookBase={base}");
        let objects = Helm::new().await.objects(&["--set", &set]).await;
        let object = named(&objects, "PrometheusRule", "s3-access-operator");
        let found = object["spec"]["groups"][0]["rules"].as_array().unwrap();
        assert_eq!(found.len(), alerts().len());
        for (found, mut wanted) in found.iter().zip(alerts()) {
            if !base.is_empty() {
                let link = text(&wanted["annotations"]["runbook_url"]).replace(RUNBOOKS, base);
                wanted["annotations"]["runbook_url"] = link.into();
            }
            assert_eq!(*found, wanted);
        }
    }
}

#[tokio::test]
async fn the_charts_dashboard_is_the_shipped_one() {
    let objects = Helm::new().await.objects(&["--set", "metrics.dashboard.enabled=true"]).await;
    let data = &named(&objects, "ConfigMap", "s3-access-operator-dashboard")["data"]["s3-access-operator.json"];
    let (found, wanted): (Value, Value) =
        (serde_json::from_str(text(data)).unwrap(), serde_json::from_str(&read(DASHBOARD)).unwrap());
    assert_eq!(found, wanted);
}
