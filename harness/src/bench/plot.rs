//! Draws how samples are distributed.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::stats::{Summary, millis};

/// Size of a drawing, in pixels.
const SIZE: (u32, u32) = (860, 480);
/// One for each set of a drawing.
const COLOURS: [RGBColor; 4] = [
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0xd6, 0x5f, 0x0e),
    RGBColor(0x2c, 0x8c, 0x4a),
    RGBColor(0x8e, 0x44, 0xad),
];

/// Draws the share of samples that took at most a time, one line per set.
pub(super) fn distributions(file: &Path, title: &str, sets: &[(&str, &[Duration])]) -> Result<()> {
    let mut longest = 1.0_f64;
    for (_, samples) in sets {
        longest = longest.max(millis(Summary::of(samples)?.scale()));
    }
    draw(file, title, sets, longest).map_err(|error| anyhow!("draw {}: {error}", file.display()))
}

fn draw(
    file: &Path,
    title: &str,
    sets: &[(&str, &[Duration])],
    longest: f64,
) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(14)
        .x_label_area_size(42)
        .y_label_area_size(54)
        .build_cartesian_2d(0.0..longest * 1.02, 0.0..100.0)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("milliseconds")
        .y_desc("% at most this long")
        .draw()?;
    for ((name, samples), colour) in sets.iter().zip(COLOURS) {
        let mut sorted: Vec<_> = samples.iter().map(|sample| millis(*sample)).collect();
        sorted.sort_by(f64::total_cmp);
        let count = f64::from(u32::try_from(sorted.len())?);
        let ranks = (1_u32..).map(|rank| 100.0 * f64::from(rank) / count);
        let slowest = sorted.last().copied().unwrap_or_default();
        let line = std::iter::once((0.0, 0.0)).chain(sorted.into_iter().zip(ranks));
        chart
            .draw_series(LineSeries::new(line, colour.stroke_width(2)))?
            .label(format!("{name} (max {slowest:.0} ms)"))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .border_style(BLACK.mix(0.3))
        .background_style(WHITE)
        .draw()?;
    area.present()?;
    Ok(())
}
