//! Draws memory and files over time.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::sample::{Phase, Sample, mebibytes};

/// Size of a drawing, in pixels.
const SIZE: (u32, u32) = (860, 560);
const COLOURS: [RGBColor; 2] = [RGBColor(0xd6, 0x5f, 0x0e), RGBColor(0x1f, 0x77, 0xb4)];

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A panel for each, one above the other, on scales that begin at nothing; grey while active
/// players are there.
pub(super) fn draw(file: &Path, samples: &[Sample]) -> Result<()> {
    drawn(file, samples).map_err(|error| anyhow!("draw {}: {error}", file.display()))
}

fn drawn(file: &Path, samples: &[Sample]) -> Outcome {
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let (above, below) = area.split_vertically(SIZE.1 / 2);
    let [memory, files] = COLOURS;
    panel(
        &above,
        "Resident memory of the router, in MiB",
        samples,
        memory,
        |sample| mebibytes(sample.resident),
    )?;
    panel(
        &below,
        "Open files of the router",
        samples,
        files,
        |sample| f64::from(u32::try_from(sample.files).unwrap_or(u32::MAX)),
    )?;
    area.present()?;
    Ok(())
}

fn panel(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    title: &str,
    samples: &[Sample],
    colour: RGBColor,
    value: impl Fn(&Sample) -> f64,
) -> Outcome {
    let longest = samples.last().map_or(1.0, |last| last.seconds);
    let highest = samples.iter().map(&value).fold(1.0, f64::max) * 1.05;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(14)
        .x_label_area_size(36)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..longest, 0.0..highest)?;
    let mut active = samples
        .iter()
        .filter(|sample| sample.phase == Phase::Active);
    if let Some(first) = active.next() {
        let last = active.next_back().unwrap_or(first);
        let corners = [(first.seconds, 0.0), (last.seconds, highest)];
        let grey = Rectangle::new(corners, BLACK.mix(0.06).filled());
        chart.draw_series(std::iter::once(grey))?;
    }
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("seconds; grey: with active players")
        .draw()?;
    let line = samples.iter().map(|sample| (sample.seconds, value(sample)));
    chart.draw_series(LineSeries::new(line, colour.stroke_width(2)))?;
    Ok(())
}
