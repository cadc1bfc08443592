//! The dashboard as Grafana lays it out, in its dark theme: 24 columns, a frame for each panel.

use std::fmt::Write;

use anyhow::{Result, bail};
use jiff::Timestamp;

use super::panels::{Panel, colour, written};
use super::prometheus::Answer;
use super::{Run, plot};

const WIDTH: u16 = 1_280;
const MARGIN: u16 = 16;
const GAP: u16 = 8;
/// The height of one of the grid's rows, with the gap below it.
const ROW: u16 = 30;
/// Above the panels: the dashboard's name, its variables and its range.
const HEAD: u16 = 52;
pub(super) const TEXT: &str = "#ccccdc";
pub(super) const FAINT: &str = "#9a9ba6";

/// A rectangle in pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) w: f64,
    pub(super) h: f64,
}

/// All panels, with what was answered to each.
pub(super) fn dashboard(panels: &[Panel], run: &Run) -> Result<String> {
    let rows = panels.iter().map(|panel| panel.grid_pos.y + panel.grid_pos.h).max().unwrap_or_default();
    let height = HEAD + rows * ROW + MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"Inter,Roboto,'Helvetica Neue',Arial,sans-serif\" font-size=\"12\" fill=\"{TEXT}\">\n\
         <title>The dashboard s3-access-operator</title>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" rx=\"6\" fill=\"#111217\"/>\n"
    );
    head(&mut svg, run)?;
    for panel in panels {
        let area = area(panel);
        let answers: Vec<&Answer> = run.answers.iter().filter(|answer| answer.panel == panel.id).collect();
        let _ = writeln!(svg, "<g>");
        if !panel.targets.is_empty() {
            // By this a test sees that the picture is of the dashboard as it is.
            let asked: Vec<&str> = panel.targets.iter().map(|target| target.expr.as_str()).collect();
            let _ = writeln!(svg, "<desc>{}</desc>", escaped(&asked.join("\n")));
            let _ = writeln!(
                svg,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"2\" fill=\"#181b1f\" stroke=\"#2b2e34\"/>",
                area.x, area.y, area.w, area.h
            );
            let _ = writeln!(
                svg,
                "{}",
                label(&panel.title, (area.x + 10.0, area.y + 20.0), "font-size=\"13\" font-weight=\"500\"")
            );
        }
        match panel.r#type.as_str() {
            "row" => heading(&mut svg, panel, area),
            "stat" => stat(&mut svg, panel, area, (&answers, run.range)),
            "timeseries" => plot::timeseries(&mut svg, panel, area, (&answers, run.range)),
            "table" => table(&mut svg, area, &answers),
            other => bail!("nobody has drawn a panel of type {other} yet: {}", panel.title),
        }
        let _ = writeln!(svg, "</g>");
    }
    svg += "</svg>\n";
    Ok(svg)
}

fn area(panel: &Panel) -> Area {
    let column = f64::from(WIDTH - 2 * MARGIN + GAP) / 24.0;
    let grid = panel.grid_pos;
    Area {
        x: f64::from(MARGIN) + f64::from(grid.x) * column,
        y: f64::from(HEAD + grid.y * ROW),
        w: f64::from(grid.w) * column - f64::from(GAP),
        h: f64::from(grid.h * ROW - GAP),
    }
}

fn head(svg: &mut String, run: &Run) -> Result<()> {
    let clock = |second: i64| anyhow::Ok(Timestamp::from_second(second)?.strftime("%H:%M").to_string());
    let range = format!("{} to {} UTC", clock(run.range.0)?, clock(run.range.1)?);
    let right = f64::from(WIDTH - MARGIN);
    let _ = writeln!(svg, "{}", label("s3-access-operator", (16.0, 32.0), "font-size=\"16\" font-weight=\"500\""));
    for (at, name) in [(190.0, "Data source"), (370.0, "Job"), (450.0, "Namespace")] {
        let value = if name == "Data source" { "Prometheus" } else { "All" };
        let _ = writeln!(svg, "{}", label(name, (at, 31.0), &format!("fill=\"{FAINT}\"")));
        #[expect(clippy::cast_precision_loss, reason = "names are short")]
        let at = at + 12.0 + name.len() as f64 * 6.3;
        let _ = writeln!(svg, "{}", label(value, (at, 31.0), ""));
    }
    let _ = writeln!(svg, "{}", label(&range, (right, 31.0), "text-anchor=\"end\""));
    Ok(())
}

fn heading(svg: &mut String, panel: &Panel, area: Area) {
    let (x, y) = (area.x, area.y + 14.0);
    let _ = writeln!(
        svg,
        "<path d=\"M{:.1} {:.1}l4.5 4.5 4.5-4.5\" fill=\"none\" stroke=\"{TEXT}\" stroke-width=\"1.5\"/>",
        x + 3.0,
        y - 6.5
    );
    let _ = writeln!(svg, "{}", label(&panel.title, (x + 20.0, y), "font-size=\"14\" font-weight=\"500\""));
}

/// The last value, large, over what it was before.
fn stat(svg: &mut String, panel: &Panel, area: Area, (answers, range): (&[&Answer], (i64, i64))) {
    let defaults = &panel.field_config.defaults;
    let Some(series) = answers.first().and_then(|answer| answer.series.first()) else { return };
    let Some((_, last)) = series.points.last() else { return };
    let colour = colour(defaults, *last);
    let spark = Area { x: area.x + 1.0, y: area.y + area.h * 0.7, w: area.w - 2.0, h: area.h * 0.3 - 1.0 };
    let top = series.points.iter().map(|point| point.1).fold(0.0, f64::max);
    if top > 0.0 {
        plot::line(svg, series, spark, &plot::Scale { range, top: top * 1.05, colour, fill: "0.25" });
    }
    let style = format!("font-size=\"34\" font-weight=\"500\" text-anchor=\"middle\" fill=\"{colour}\"");
    let place = (area.x + area.w / 2.0, area.y + area.h * 0.59);
    let _ = writeln!(svg, "{}", label(&written(&defaults.unit, defaults.decimals, *last), place, &style));
}

/// A column for each label, a line for each series.
fn table(svg: &mut String, area: Area, answers: &[&Answer]) {
    let series: Vec<_> = answers.iter().flat_map(|answer| &answer.series).collect();
    let Some(first) = series.first() else { return };
    #[expect(clippy::cast_precision_loss, reason = "a few columns and lines")]
    let place = |column: usize, line: usize| {
        let width = (area.w - 20.0) / first.labels.len().max(1) as f64;
        (area.x + 12.0 + column as f64 * width, area.y + 50.0 + line as f64 * 26.0)
    };
    for (column, name) in first.labels.keys().enumerate() {
        let _ = writeln!(svg, "{}", label(name, place(column, 0), "fill=\"#6e9fff\" font-weight=\"500\""));
    }
    for (line, series) in (1..).zip(&series) {
        let (_, y) = place(0, line);
        if y > area.y + area.h - 8.0 {
            break;
        }
        let _ =
            writeln!(svg, "<path d=\"M{:.1} {:.1}h{:.1}\" stroke=\"#2b2e34\"/>", area.x + 8.0, y - 17.0, area.w - 16.0);
        for (column, value) in series.labels.values().enumerate() {
            let _ = writeln!(svg, "{}", label(value, place(column, line), ""));
        }
    }
}

/// A piece of text, with what else the element has.
pub(super) fn label(text: &str, (x, y): (f64, f64), style: &str) -> String {
    let space = if style.is_empty() { "" } else { " " };
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\"{space}{style}>{}</text>", escaped(text))
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
