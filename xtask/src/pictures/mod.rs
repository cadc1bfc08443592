//! `pictures`: the dashboard with the data of a run, and what `status` prints then, as SVG for the documentation.

mod draw;
mod life;
mod panels;
mod plot;
mod prometheus;
mod terminal;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::build_operator;

const DASHBOARD: &str = "deploy/dashboards/s3-access-operator.json";
const FOLDER: &str = "deploy/docs/pictures";

/// What is kept of a run: all that the pictures are drawn from.
#[derive(Debug, Serialize, Deserialize)]
struct Run {
    /// When the range of the dashboard begins and ends, in Unix seconds.
    range: (i64, i64),
    /// The answers to the dashboard's queries.
    answers: Vec<prometheus::Answer>,
    /// What `status -A` printed at the end.
    status: String,
}

/// Plays the operator's life, unless the last one is drawn again, and writes both pictures.
pub(crate) async fn run(again: bool) -> Result<()> {
    let repository = ground::repository();
    let dashboard = fs::read_to_string(repository.join(DASHBOARD)).context("reading the dashboard")?;
    let panels = panels::of(&serde_json::from_str(&dashboard)?)?;
    let kept = repository.join("target/pictures.json");
    if !again {
        let run = life::play(build_operator().await?, &panels).await?;
        fs::write(&kept, serde_json::to_vec(&run)?)?;
    }
    let run: Run = serde_json::from_slice(&fs::read(&kept).context("there is no run to draw again")?)?;
    write("dashboard.svg", &draw::dashboard(&panels, &run)?)?;
    write("status.svg", &terminal::picture("s3-access-operator status -A", &run.status))?;
    let empty = |answer: &&prometheus::Answer| answer.series.iter().all(|one| one.points.is_empty());
    let empty: BTreeSet<u32> = run.answers.iter().filter(empty).map(|answer| answer.panel).collect();
    ensure!(empty.is_empty(), "queries of the panels {empty:?} have no data");
    Ok(())
}

fn write(name: &str, picture: &str) -> Result<()> {
    let path: PathBuf = ground::repository().join(FOLDER).join(name);
    fs::write(&path, picture).with_context(|| format!("writing {}", path.display()))?;
    println!("{FOLDER}/{name}: {} KB", picture.len() / 1000);
    Ok(())
}
