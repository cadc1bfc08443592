//! Time series: axes, lines and a legend.

use std::fmt::Write;

use jiff::Timestamp;

use super::draw::{Area, FAINT, label};
use super::panels::{Panel, written};
use super::prometheus::{Answer, SCRAPE_SECONDS, Series};

/// Grafana's classic palette, in its order.
const PALETTE: [&str; 16] = [
    "#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#705da0", "#37872d", "#fade2a",
    "#447ebc", "#c15c17", "#b7dbab", "#f4d598", "#70dbed", "#f9ba8f",
];
/// What the ticks of an axis may be apart, where its unit is a time.
const SPANS: [f64; 22] = [
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1.0,
    2.0,
    5.0,
    15.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
    3_600.0,
    21_600.0,
    86_400.0,
    864_000.0,
    1_728_000.0,
    2_592_000.0,
    5_184_000.0,
];
/// How many rows a legend takes at most; Grafana lets people scroll to the rest.
const LEGEND_ROWS: usize = 3;
const LEGEND_ROW: f64 = 17.0;

/// What a line is drawn by.
pub(super) struct Scale<'a> {
    pub(super) range: (i64, i64),
    pub(super) top: f64,
    pub(super) colour: &'a str,
    /// The opacity of what lies below the line.
    pub(super) fill: &'a str,
}

pub(super) fn timeseries(svg: &mut String, panel: &Panel, area: Area, (answers, range): (&[&Answer], (i64, i64))) {
    let named: Vec<(String, &Series)> =
        answers.iter().flat_map(|answer| answer.series.iter().map(|one| (name(answer, one), one))).collect();
    let names: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
    let unit = panel.field_config.defaults.unit.as_str();
    let highest = named.iter().flat_map(|(_, one)| &one.points).map(|point| point.1).fold(0.0, f64::max);
    let (rows, legend) = arranged(&names, area);
    #[expect(clippy::cast_precision_loss, reason = "a few rows")]
    let below = rows.min(LEGEND_ROWS) as f64 * LEGEND_ROW + 28.0;
    let (top, step) = ticks(unit, highest, (area.h - below - 40.0) / 34.0);
    let marks: Vec<f64> =
        std::iter::successors(Some(0.0), |at| Some(at + step)).take_while(|at| *at <= top * 1.001).collect();
    let texts: Vec<String> = marks.iter().map(|at| written(unit, None, *at)).collect();
    #[expect(clippy::cast_precision_loss, reason = "texts are short")]
    let beside = texts.iter().map(String::len).max().unwrap_or_default() as f64 * 6.0 + 16.0;
    let inner = Area { x: area.x + beside, y: area.y + 38.0, w: area.w - beside - 14.0, h: area.h - below - 42.0 };
    for (at, text) in marks.iter().zip(&texts) {
        let y = inner.y + inner.h * (1.0 - at / top);
        let _ = writeln!(svg, "<path d=\"M{:.1} {y:.1}h{:.1}\" stroke=\"#25282d\"/>", inner.x, inner.w);
        let _ = writeln!(
            svg,
            "{}",
            label(text, (inner.x - 6.0, y + 4.0), &format!("font-size=\"11\" text-anchor=\"end\" fill=\"{FAINT}\""))
        );
    }
    times(svg, inner, range);
    for ((_, series), colour) in named.iter().zip(PALETTE.iter().cycle()) {
        line(svg, series, inner, &Scale { range, top, colour, fill: "0.1" });
    }
    let shown = legend.iter().filter(|(_, row)| *row < LEGEND_ROWS).count();
    for (index, (x, row)) in legend.into_iter().enumerate().take(shown) {
        #[expect(clippy::cast_precision_loss, reason = "a few rows")]
        let y = area.y + area.h - below + 30.0 + row as f64 * LEGEND_ROW;
        if index + 1 == shown && shown < names.len() {
            let rest = format!("and {} more", names.len() - index);
            let _ = writeln!(svg, "{}", label(&rest, (x, y), &format!("font-size=\"11\" fill=\"{FAINT}\"")));
            break;
        }
        let colour = PALETTE[index % PALETTE.len()];
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.1} {:.1}h12\" stroke=\"{colour}\" stroke-width=\"3\" stroke-linecap=\"round\"/>",
            y - 4.0
        );
        let _ = writeln!(svg, "{}", label(names[index], (x + 18.0, y), "font-size=\"11\""));
    }
}

/// How a series is called: by its format, with its labels in it.
fn name(answer: &Answer, series: &Series) -> String {
    let mut text = answer.legend.clone();
    while let Some((before, rest)) = text.split_once("{{") {
        let (key, after) = rest.split_once("}}").unwrap_or((rest, ""));
        let value = series.labels.get(key.trim()).map_or("", String::as_str);
        text = format!("{before}{value}{after}");
    }
    text.trim().to_owned()
}

/// Where the names of a legend lie: how many rows they take, and each one's place and row.
#[expect(clippy::cast_precision_loss, reason = "names are short")]
fn arranged(names: &[&str], area: Area) -> (usize, Vec<(f64, usize)>) {
    let (mut x, mut row, mut places) = (area.x + 12.0, 0, Vec::new());
    for name in names {
        let width = name.chars().count() as f64 * 6.0 + 30.0;
        if x + width > area.x + area.w - 6.0 && x > area.x + 12.0 {
            (x, row) = (area.x + 12.0, row + 1);
        }
        places.push((x, row));
        x += width;
    }
    (row + 1, places)
}

/// The end of an axis from 0, and how far its ticks are apart: about so many.
fn ticks(unit: &str, highest: f64, about: f64) -> (f64, f64) {
    let highest = if highest > 0.0 { highest * 1.05 } else { 1.0 };
    let wanted = highest / about.max(2.0);
    let power = 10_f64.powf(wanted.log10().floor());
    let round = [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|step| *step >= wanted);
    let span = SPANS.into_iter().find(|span| *span >= wanted).filter(|_| unit == "s");
    let step = span.or(round).unwrap_or(wanted);
    (highest, step)
}

/// The time below the lines, each minute or two.
fn times(svg: &mut String, inner: Area, range: (i64, i64)) {
    let seconds = if inner.w > 400.0 { 60 } else { 120 };
    let first = range.0.div_euclid(seconds) * seconds + seconds;
    for second in (first..range.1).step_by(usize::try_from(seconds).unwrap_or(60)) {
        let x = across(inner, range, lossless(second));
        let text = Timestamp::from_second(second).map(|at| at.strftime("%H:%M").to_string()).unwrap_or_default();
        let _ = writeln!(svg, "<path d=\"M{x:.1} {:.1}v{:.1}\" stroke=\"#25282d\"/>", inner.y, inner.h);
        if x - inner.x > 16.0 && inner.x + inner.w - x > 14.0 {
            let style = format!("font-size=\"11\" text-anchor=\"middle\" fill=\"{FAINT}\"");
            let _ = writeln!(svg, "{}", label(&text, (x, inner.y + inner.h + 15.0), &style));
        }
    }
}

fn across(inner: Area, range: (i64, i64), second: f64) -> f64 {
    inner.x + inner.w * (second - lossless(range.0)) / lossless(range.1 - range.0)
}

#[expect(clippy::cast_precision_loss, reason = "Unix seconds are below 2^52")]
fn lossless(second: i64) -> f64 {
    second as f64
}

/// A series, with gaps where points are missing.
pub(super) fn line(svg: &mut String, series: &Series, inner: Area, scale: &Scale<'_>) {
    #[expect(clippy::cast_precision_loss, reason = "seconds")]
    let apart = SCRAPE_SECONDS as f64 * 1.5;
    let pieces = series.points.chunk_by(|before, after| after.0 - before.0 < apart);
    let (mut lines, mut areas) = (String::new(), String::new());
    for piece in pieces {
        let place =
            |point: &(f64, f64)| (across(inner, scale.range, point.0), inner.y + inner.h * (1.0 - point.1 / scale.top));
        let mut places: Vec<(f64, f64)> = piece.iter().map(place).collect();
        if let [(x, y)] = places[..] {
            // A point alone would not be seen.
            places.push((x + 1.5, y));
        }
        let drawn = path(&places);
        if let Some(first) = places.first() {
            let _ = write!(areas, "{drawn}V{:.1}H{:.1}Z", inner.y + inner.h, first.0);
        }
        lines += &drawn;
    }
    let (colour, fill) = (scale.colour, scale.fill);
    let _ = writeln!(svg, "<path d=\"{areas}\" fill=\"{colour}\" fill-opacity=\"{fill}\"/>");
    let _ = writeln!(
        svg,
        "<path d=\"{lines}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.3\" stroke-linejoin=\"round\"/>"
    );
}

/// The points in the fewest characters: what lies on the way from one to the next is left out.
fn path(places: &[(f64, f64)]) -> String {
    let mut text = String::new();
    for (index, (x, y)) in places.iter().enumerate() {
        let level = |other: Option<&(f64, f64)>| other.is_some_and(|other| (other.1 - y).abs() < 0.05);
        let between =
            index.checked_sub(1).is_some_and(|before| level(places.get(before))) && level(places.get(index + 1));
        if index == 0 {
            let _ = write!(text, "M{x:.1} {y:.1}L");
        } else if !between {
            let _ = write!(text, "{x:.1} {y:.1} ");
        }
    }
    text.trim_end().to_owned()
}
