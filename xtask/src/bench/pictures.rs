//! Pictures of the figures, as SVG.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::combinators::IntoLogRange;
use plotters::prelude::*;

use super::growth::Series;
use super::report::{Figure, time};

/// Blue for ours, greys for the rest: what is looked for is seen, and in print too.
const OURS: RGBColor = RGBColor(31, 97, 168);
const OTHERS: [RGBColor; 4] = [
    RGBColor(96, 96, 96),
    RGBColor(140, 140, 140),
    RGBColor(176, 176, 176),
    RGBColor(205, 205, 205),
];
const LINES: [RGBColor; 4] = [
    OURS,
    RGBColor(196, 92, 32),
    RGBColor(60, 140, 70),
    RGBColor(130, 80, 160),
];
const FONT: &str = "sans-serif";
const WIDTH: u32 = 860;
const BAR: i32 = 16;

/// Draws one bar for each builder, grouped by workload; each group has a scale of its own.
pub(super) fn bars(file: &Path, title: &str, rows: &[(&'static str, &[Figure])]) -> Result<()> {
    let bars: usize = rows.iter().map(|(_, figures)| figures.len()).sum();
    let height = 50 + 14 * rows.len() + usize::try_from(BAR + 3)? * bars;
    let area = SVGBackend::new(file, (WIDTH, u32::try_from(height)?)).into_drawing_area();
    let fail = |error| anyhow!("drawing {}: {error}", file.display());
    area.fill(&WHITE).map_err(fail)?;
    let small = (FONT, 13).into_font().color(&BLACK);
    area.draw_text(
        &format!("{title}: wall time, shorter is better; each group has its own scale"),
        &(FONT, 15).into_font().color(&BLACK),
        (10, 12),
    )
    .map_err(fail)?;
    let mut y = 42;
    for (workload, figures) in rows {
        let most = figures.iter().map(Figure::wall).fold(0.0, f64::max);
        area.draw_text(workload, &small, (10, y)).map_err(fail)?;
        let mut others = OTHERS.iter().cycle();
        for figure in *figures {
            let colour = match figure.builder {
                "stagewright" => &OURS,
                _ => others.next().unwrap_or(&OURS),
            };
            let length = pixels(figure.wall() / most);
            area.draw_text(figure.builder, &small, (50, y))
                .map_err(fail)?;
            area.draw(&Rectangle::new(
                [(160, y), (160 + length, y + BAR - 2)],
                colour.filled(),
            ))
            .map_err(fail)?;
            area.draw_text(&time(figure.wall()), &small, (166 + length, y))
                .map_err(fail)?;
            y += BAR + 3;
        }
        y += 14;
    }
    area.present().map_err(fail)
}

/// Draws how times grow: both axes logarithmic, a line for each series.
pub(super) fn lines(file: &Path, title: &str, axis: &str, series: &[Series]) -> Result<()> {
    let fail = |error| anyhow!("drawing {}: {error}", file.display());
    let points = || series.iter().flat_map(|series| series.points.iter());
    let (least_x, most_x) = bounds(points().map(|point| point.size));
    let (least_y, most_y) = bounds(points().map(|point| point.seconds * 1e3));
    let area = SVGBackend::new(file, (WIDTH, 480)).into_drawing_area();
    area.fill(&WHITE).map_err(fail)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, (FONT, 16))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(
            (least_x * 0.8..most_x * 1.25).log_scale(),
            (least_y * 0.6..most_y * 1.7).log_scale(),
        )
        .map_err(fail)?;
    chart
        .configure_mesh()
        .x_desc(axis)
        .y_desc("milliseconds")
        .draw()
        .map_err(fail)?;
    for (series, colour) in series.iter().zip(LINES.iter().cycle()) {
        let points: Vec<(f64, f64)> = series
            .points
            .iter()
            .map(|point| (point.size, point.seconds * 1e3))
            .collect();
        chart
            .draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)).point_size(3))
            .map_err(fail)?
            .label(series.name.clone())
            .legend(move |(x, y)| {
                PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2))
            });
    }
    chart
        .configure_series_labels()
        .background_style(WHITE)
        .border_style(BLACK)
        .label_font((FONT, 13))
        .position(SeriesLabelPosition::UpperLeft)
        .draw()
        .map_err(fail)?;
    area.present().map_err(fail)
}

fn bounds(figures: impl Iterator<Item = f64>) -> (f64, f64) {
    figures.fold((f64::INFINITY, 0.0), |(least, most), figure| {
        (least.min(figure), most.max(figure))
    })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a share of 560 pixels fits"
)]
fn pixels(share: f64) -> i32 {
    ((share * 560.0).round() as i32).max(1)
}
