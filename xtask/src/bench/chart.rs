//! The charts, as SVG.

use anyhow::{Result, anyhow};
use ground::bench::figures::{Against, Figures};
use ground::bench::floor::Phase;
use plotters::chart::SeriesLabelPosition;
use plotters::coord::CoordTranslate;
use plotters::coord::ranged1d::{IntoSegmentedCoord, SegmentValue};
use plotters::prelude::{
    BLACK, ChartBuilder, ChartContext, Circle, Color, DrawingBackend, IntoDrawingArea, LineSeries, PathElement,
    RGBColor, Rectangle, SVGBackend, WHITE,
};

const SIZE: (u32, u32) = (800, 420);
const FONT: &str = "sans-serif";
const MEASURED: RGBColor = RGBColor(31, 119, 180);
const PEAK: RGBColor = RGBColor(255, 127, 14);
const FLOOR: RGBColor = RGBColor(150, 150, 150);
const PEER: RGBColor = RGBColor(214, 39, 40);

/// Memory by the number of users: what was measured, and the line through it.
pub(super) fn memory(operator: &[Figures], yardstick: &[Figures]) -> Result<String> {
    let curves = [
        ("steady", MEASURED, points(operator, |figures| figures.rss_steady_mib)),
        ("peak", PEAK, points(operator, |figures| figures.rss_peak_mib)),
        ("yardstick, steady", PEER, points(yardstick, |figures| figures.rss_steady_mib)),
    ];
    let all = curves.iter().flat_map(|(_, _, points)| points);
    let (right, top) = all.fold((1.0, 1.0), |(x, y): (f64, f64), point| (x.max(point.0), y.max(point.1)));
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let mut chart = ChartBuilder::on(&area)
            .caption("Resident memory", (FONT, 20))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..right * 1.05, 0.0..top * 1.15)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .x_desc("S3AccessUsers")
            .y_desc("MiB")
            .x_label_formatter(&|users| format!("{users:.0}"))
            .y_label_formatter(&|mib| format!("{mib:.0}"))
            .label_style((FONT, 14))
            .light_line_style(WHITE)
            .draw()
            .map_err(failed)?;
        for (name, colour, points) in &curves {
            let dots = points.iter().map(|point| Circle::new(*point, 4, colour.filled()));
            chart.draw_series(dots).map_err(failed)?;
            chart
                .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))
                .map_err(failed)?
                .label(*name)
                .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
        }
        legend(&mut chart, SeriesLabelPosition::UpperLeft)?;
        area.present().map_err(failed)?;
    }
    Ok(text)
}

/// Calls a user by phase, beside the floor: bars of the largest size that was measured.
pub(super) fn calls(
    title: &str,
    operator: &Figures,
    yardstick: Option<&Figures>,
    of: impl Fn(&Figures, Phase) -> Option<Against>,
) -> Result<String> {
    let each = |figures: &Figures, phase: Phase| {
        let concerned = figures.phases.get(&phase).map_or(1, |phase| phase.users.max(1));
        of(figures, phase).map(|against| (per(against.measured, concerned), per(against.floor, concerned)))
    };
    let bars: Vec<(Phase, [(RGBColor, f64); 3])> = Phase::ALL
        .iter()
        .filter_map(|phase| {
            let (measured, floor) = each(operator, *phase)?;
            let peer = yardstick.and_then(|figures| each(figures, *phase)).map_or(0.0, |(measured, _)| measured);
            Some((*phase, [(FLOOR, floor), (MEASURED, measured), (PEER, peer)]))
        })
        .collect();
    let top = bars.iter().flat_map(|(_, bars)| bars.iter().map(|(_, height)| *height)).fold(1.0, f64::max);
    let names: Vec<&str> = bars.iter().map(|(phase, _)| phase.name()).collect();
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, (FONT, 20))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d((0..names.len().saturating_sub(1)).into_segmented(), 0.0..top * 1.2)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .y_desc("a user")
            .x_label_formatter(&|position| match position {
                SegmentValue::CenterOf(at) => names.get(*at).copied().unwrap_or_default().to_owned(),
                _ => String::new(),
            })
            .label_style((FONT, 14))
            .light_line_style(WHITE)
            .draw()
            .map_err(failed)?;
        for (number, (name, colour)) in
            [("floor", FLOOR), ("measured", MEASURED), ("yardstick", PEER)].iter().enumerate()
        {
            if number == 2 && yardstick.is_none() {
                continue;
            }
            // A third of the segment for each of the three, by pixels to the left and right.
            let (left, right) = [(6, 72), (34, 44), (62, 16)][number];
            let drawn = bars.iter().enumerate().map(|(at, (_, bars))| {
                let corners = [(SegmentValue::Exact(at), 0.0), (SegmentValue::Exact(at + 1), bars[number].1)];
                let mut bar = Rectangle::new(corners, colour.filled());
                bar.set_margin(0, 0, left, right);
                bar
            });
            chart
                .draw_series(drawn)
                .map_err(failed)?
                .label(*name)
                .legend(|(x, y)| Rectangle::new([(x, y - 5), (x + 14, y + 5)], colour.filled()));
        }
        legend(&mut chart, SeriesLabelPosition::UpperMiddle)?;
        area.present().map_err(failed)?;
    }
    Ok(text)
}

fn legend<'a, B: DrawingBackend + 'a, C: CoordTranslate>(
    chart: &mut ChartContext<'a, B, C>,
    position: SeriesLabelPosition,
) -> Result<()> {
    let mut labels = chart.configure_series_labels();
    labels.position(position).background_style(WHITE).border_style(BLACK).label_font((FONT, 14));
    labels.draw().map_err(failed)
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(super) fn per(count: u64, users: usize) -> f64 {
    count as f64 / users.max(1) as f64
}

fn points(all: &[Figures], mib: impl Fn(&Figures) -> f64) -> Vec<(f64, f64)> {
    #[expect(clippy::cast_precision_loss, reason = "users are far fewer than 2^52")]
    all.iter().map(|figures| (figures.users as f64, mib(figures))).collect()
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("drawing: {error}")
}
