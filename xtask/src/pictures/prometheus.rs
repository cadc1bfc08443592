//! A Prometheus that scrapes the operator's replicas, and what it answers.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ground::ports::Port;
use ground::processes::{Process, Spec};
use ground::tools;
use ground::wait::eventually;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::panels::{Panel, substituted};

/// How often it scrapes, and how far apart the points of the pictures are.
pub(super) const SCRAPE_SECONDS: u64 = 5;
const START: Duration = Duration::from_secs(60);

/// What was answered to one query of a panel.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) panel: u32,
    pub(super) legend: String,
    pub(super) series: Vec<Series>,
}

/// A time series: its labels, and its points by Unix seconds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Series {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) points: Vec<(f64, f64)>,
}

/// A series as the API writes it: many points of a range, or one.
#[derive(Deserialize)]
struct Wire {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
    value: Option<(f64, String)>,
}

/// A running Prometheus; dropping it ends it.
pub(super) struct Prometheus {
    process: Process,
    port: Port,
    config: PathBuf,
}

impl Prometheus {
    /// Starts it, with nothing to scrape yet.
    pub(super) async fn start(folder: &Path) -> Result<Self> {
        let (port, config) = (Port::free()?, folder.join("prometheus.yml"));
        fs::write(&config, configuration(&[]))?;
        let process = Spec::new("Prometheus", tools::prometheus().await?, folder.join("prometheus.log"))
            .args([
                format!("--config.file={}", config.display()),
                format!("--storage.tsdb.path={}", folder.join("prometheus").display()),
                format!("--web.listen-address=127.0.0.1:{}", port.number()),
            ])
            .dir(folder)
            .spawn()?;
        let mut started = Self { process, port, config };
        eventually("Prometheus to be ready", START, async || {
            started.process.ensure_running()?;
            started.get("/-/ready").await.map(drop)
        })
        .await?;
        Ok(started)
    }

    /// From now on it scrapes these: their names and ports.
    pub(super) fn scrape(&mut self, replicas: &[(&str, u16)]) -> Result<()> {
        fs::write(&self.config, configuration(replicas))?;
        self.process.signal(Signal::HUP)
    }

    /// Asks all that the panels ask, for a range of Unix seconds.
    pub(super) async fn answers(&self, panels: &[Panel], range: (i64, i64)) -> Result<Vec<Answer>> {
        let mut answers = Vec::new();
        for (panel, target) in panels.iter().flat_map(|panel| panel.targets.iter().map(move |target| (panel, target))) {
            let query = encoded(&substituted(&target.expr, SCRAPE_SECONDS));
            let path = if target.instant {
                format!("/api/v1/query?query={query}&time={}", range.1)
            } else {
                format!("/api/v1/query_range?query={query}&start={}&end={}&step={SCRAPE_SECONDS}", range.0, range.1)
            };
            let body = self.get(&path).await.with_context(|| format!("panel {}: {}", panel.title, target.expr))?;
            let answer: serde_json::Value = serde_json::from_str(&body)?;
            let wires: Vec<Wire> = serde_json::from_value(answer["data"]["result"].clone())?;
            let series: Vec<Series> = wires.into_iter().map(Series::from).collect();
            answers.push(Answer { panel: panel.id, legend: target.legend_format.clone(), series });
        }
        Ok(answers)
    }

    async fn get(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port.number())).await?;
        // Of this version the answer comes in one piece, and the connection is closed after it.
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
        ensure!(head.split(' ').nth(1) == Some("200"), "Prometheus answered: {answer}");
        Ok(body.to_owned())
    }
}

impl From<Wire> for Series {
    fn from(wire: Wire) -> Self {
        let points = wire.values.into_iter().chain(wire.value);
        // What is no number, such as 0/0, is a gap.
        let points =
            points.filter_map(|(at, value)| Some((at, value.parse().ok().filter(|value: &f64| value.is_finite())?)));
        Self { labels: wire.metric, points: points.collect() }
    }
}

/// As the chart's ServiceMonitor has it scraped.
fn configuration(replicas: &[(&str, u16)]) -> String {
    let mut text = format!(
        "global: {{scrape_interval: {SCRAPE_SECONDS}s}}\nscrape_configs:\n- job_name: s3-access-operator\n  honor_labels: true\n  static_configs:\n"
    );
    for (name, port) in replicas {
        let _ = writeln!(
            text,
            "  - {{targets: ['127.0.0.1:{port}'], labels: {{namespace: s3-access-system, instance: {name}}}}}"
        );
    }
    if replicas.is_empty() { text.replace("static_configs:", "static_configs: []") } else { text }
}

fn encoded(query: &str) -> String {
    form_urlencoded::byte_serialize(query.as_bytes()).collect()
}
