//! The panels of the dashboard, as its JSON has them.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

/// One panel, or the heading of a row.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Panel {
    pub(super) id: u32,
    pub(super) r#type: String,
    pub(super) title: String,
    pub(super) grid_pos: Grid,
    #[serde(default)]
    pub(super) targets: Vec<Target>,
    #[serde(default)]
    pub(super) field_config: FieldConfig,
}

/// Where it lies, in 24 columns.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Grid {
    pub(super) x: u16,
    pub(super) y: u16,
    pub(super) w: u16,
    pub(super) h: u16,
}

/// What is asked of Prometheus, and how the answer's series are called.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Target {
    pub(super) expr: String,
    #[serde(default)]
    pub(super) legend_format: String,
    #[serde(default)]
    pub(super) instant: bool,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct FieldConfig {
    #[serde(default)]
    pub(super) defaults: Defaults,
}

/// How values are written and coloured.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Defaults {
    #[serde(default)]
    pub(super) unit: String,
    pub(super) decimals: Option<usize>,
    #[serde(default)]
    pub(super) thresholds: Thresholds,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Thresholds {
    #[serde(default)]
    pub(super) steps: Vec<Step>,
}

/// From this value on, that colour.
#[derive(Debug, Deserialize)]
pub(super) struct Step {
    pub(super) color: String,
    pub(super) value: Option<f64>,
}

/// All panels of a dashboard, rows among them.
pub(super) fn of(dashboard: &Value) -> Result<Vec<Panel>> {
    let panels: Vec<Value> = dashboard["panels"].as_array().context("the dashboard has no panels")?.clone();
    panels.into_iter().map(|panel| serde_json::from_value(panel).context("reading a panel")).collect()
}

/// The expression as Grafana sends it: the variables at All, and the interval of rates by that of scrapes.
pub(super) fn substituted(expr: &str, scrape_seconds: u64) -> String {
    let interval = format!("{}s", scrape_seconds * 4);
    expr.replace("$__rate_interval", &interval).replace("$job", ".*").replace("$namespace", ".*")
}

/// The colour of a value, by its thresholds.
pub(super) fn colour(defaults: &Defaults, value: f64) -> &'static str {
    let reached = defaults.thresholds.steps.iter().rfind(|step| step.value.is_none_or(|from| value >= from));
    match reached.map(|step| step.color.as_str()) {
        Some("red") => "#f2495c",
        Some("orange") => "#ff9830",
        _ => "#73bf69",
    }
}

/// A value with its unit, as Grafana writes it.
pub(super) fn written(unit: &str, decimals: Option<usize>, value: f64) -> String {
    match unit {
        "percentunit" => format!("{}%", number(value * 100.0, decimals)),
        "ops" => format!("{} ops/s", number(value, decimals)),
        "reqps" => format!("{} req/s", number(value, decimals)),
        "s" => {
            let (size, name) = [(86_400.0, "days"), (3_600.0, "hours"), (60.0, "mins"), (1.0, "s")]
                .into_iter()
                .find(|(size, _)| value.abs() >= *size)
                .unwrap_or(if value == 0.0 { (1.0, "s") } else { (0.001, "ms") });
            let count = number(value / size, decimals);
            let name =
                if count == "1" { name.strip_suffix('s').filter(|name| name.len() > 2).unwrap_or(name) } else { name };
            format!("{count} {name}")
        }
        _ => number(value, decimals),
    }
}

fn number(value: f64, decimals: Option<usize>) -> String {
    let text = format!("{value:.*}", decimals.unwrap_or(2));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::written;

    #[test]
    fn values_are_written_with_their_units() {
        let cases = [
            ("short", 2.0, "2"),
            ("percentunit", 0.055, "5.5%"),
            ("s", 0.25, "250 ms"),
            ("s", 90.0, "1.5 mins"),
            ("s", 86_400.0, "1 day"),
            ("s", 0.0, "0 s"),
            ("reqps", 1.5, "1.5 req/s"),
        ];
        for (unit, value, expected) in cases {
            assert_eq!(written(unit, None, value), expected);
        }
    }
}
