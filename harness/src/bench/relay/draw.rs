//! Draws the medians: a panel for each mode, a row for each target.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::figures::{Metric, Runs};
use super::mode::Mode;
use super::table::{OURS, shown};

/// Width of a drawing, height of one row of it, and of all that is no row, in pixels.
const WIDTH: u32 = 860;
const ROW: u32 = 20;
const HEAD: u32 = 62;
/// Room for names and for figures beside a panel.
const NAMES: u32 = 130;
const VALUES: u32 = 220;
const LIGHT: RGBColor = RGBColor(0xb5, 0xc7, 0xd9);
const DARK: RGBColor = RGBColor(0x3a, 0x6e, 0xa5);
const OWN_LIGHT: RGBColor = RGBColor(0xf3, 0xc9, 0xa5);
const OWN_DARK: RGBColor = RGBColor(0xd6, 0x5f, 0x0e);

type Outcome = Result<(), Box<dyn std::error::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// One mode: per target what is drawn.
struct Panel {
    title: String,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    /// In the order they are drawn, in what the title says; none are left out.
    values: Vec<f64>,
    text: String,
}

/// Draws percentiles of latency, each panel on a logarithmic scale of its own.
pub(super) fn latency(file: &Path, runs: &Runs, modes: &[Mode], targets: &[String]) -> Result<()> {
    let metrics = [Metric::P50, Metric::P99, Metric::P999];
    let panels = panels(runs, modes, targets, &metrics, |mode| {
        format!("{}: p50, p99 and p99.9", mode.name())
    });
    draw(file, &panels, marks)
}

/// Draws processor time for one unit of work: the target's, and the whole machine's behind it.
pub(super) fn cost(file: &Path, runs: &Runs, modes: &[Mode], targets: &[String]) -> Result<()> {
    let metrics = [Metric::MachineCpu, Metric::TargetCpu];
    let panels = panels(runs, modes, targets, &metrics, |mode| {
        format!(
            "{}: CPU of the machine (light) and the target (dark) per {}",
            mode.name(),
            mode.unit()
        )
    });
    draw(file, &panels, bars)
}

fn panels(
    runs: &Runs,
    modes: &[Mode],
    targets: &[String],
    metrics: &[Metric],
    title: impl Fn(Mode) -> String,
) -> Vec<Panel> {
    let row = |mode: Mode, target: &String| {
        let found = metrics.iter().filter_map(|metric| {
            let median = runs.spread(mode, target, *metric)?.median;
            Some((median, shown(mode, *metric, median)))
        });
        let (values, texts): (Vec<_>, Vec<_>) = found.unzip();
        let (name, text) = (target.clone(), texts.join(" / "));
        (!values.is_empty()).then_some(Row { name, values, text })
    };
    let panel = |mode: &Mode| {
        let rows = targets.iter().filter_map(|target| row(*mode, target));
        let (title, rows) = (title(*mode), rows.collect::<Vec<_>>());
        (!rows.is_empty()).then_some(Panel { title, rows })
    };
    modes.iter().filter_map(panel).collect()
}

fn draw(file: &Path, panels: &[Panel], plot: impl Fn(&Area<'_>, &Panel) -> Outcome) -> Result<()> {
    if panels.is_empty() {
        return Ok(());
    }
    let drawn = || {
        let mut heights = Vec::new();
        for panel in panels {
            heights.push(HEAD + ROW * u32::try_from(panel.rows.len())?);
        }
        let mut rest = SVGBackend::new(file, (WIDTH, heights.iter().sum())).into_drawing_area();
        rest.fill(&WHITE)?;
        for (panel, height) in panels.iter().zip(heights) {
            let (area, below) = rest.split_vertically(height);
            plot(&area, panel)?;
            rest = below;
        }
        rest.present()?;
        Outcome::Ok(())
    };
    drawn().map_err(|error| anyhow!("draw {}: {error}", file.display()))
}

/// Rows count downwards from 0.
fn height(panel: &Panel) -> Result<f64, std::num::TryFromIntError> {
    Ok(f64::from(u32::try_from(panel.rows.len())?))
}

fn builder<'a, 'b>(area: &'a Area<'b>, panel: &Panel) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut builder = ChartBuilder::on(area);
    builder
        .caption(&panel.title, ("sans-serif", 18))
        .margin(6)
        .margin_right(VALUES)
        .x_label_area_size(24)
        .y_label_area_size(NAMES);
    builder
}

/// The lines and labels of a panel, whatever its scale.
fn mesh<X>(chart: &mut ChartContext<'_, SVGBackend<'_>, Cartesian2d<X, RangedCoordf64>>) -> Outcome
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .light_line_style(WHITE)
        .x_labels(6)
        .x_label_formatter(&|value| axis(*value))
        .draw()?;
    Ok(())
}

fn bars(area: &Area<'_>, panel: &Panel) -> Outcome {
    let all = panel.rows.iter().flat_map(|row| &row.values);
    let longest = all.copied().fold(f64::MIN_POSITIVE, f64::max);
    let mut chart =
        builder(area, panel).build_cartesian_2d(0.0..longest * 1.02, height(panel)?..0.0)?;
    mesh(&mut chart)?;
    for (row, number) in panel.rows.iter().zip(0_u32..) {
        let top = f64::from(number);
        let (light, dark) = colours(row);
        for (value, (colour, margin)) in row.values.iter().zip([(light, 0.1), (dark, 0.25)]) {
            let corners = [(0.0, top + margin), (*value, top + 1.0 - margin)];
            let bar = Rectangle::new(corners, colour.filled());
            chart.draw_series(std::iter::once(bar))?;
        }
        chart.draw_series(labels(row, 0.0, longest * 1.02, top + 0.5))?;
    }
    Ok(())
}

fn marks(area: &Area<'_>, panel: &Panel) -> Outcome {
    let all = || panel.rows.iter().flat_map(|row| row.values.iter().copied());
    let shortest = all().fold(f64::MAX, f64::min) / 1.3;
    let longest = all().fold(f64::MIN_POSITIVE, f64::max) * 1.3;
    let mut chart = builder(area, panel)
        .build_cartesian_2d((shortest..longest).log_scale(), height(panel)?..0.0)?;
    mesh(&mut chart)?;
    for (row, number) in panel.rows.iter().zip(0_u32..) {
        let middle = f64::from(number) + 0.5;
        let (light, dark) = colours(row);
        let points = || row.values.iter().map(|value| (*value, middle));
        chart.draw_series(LineSeries::new(points(), light.stroke_width(4)))?;
        let marks = points().map(|point| Circle::new(point, 4, dark.filled()));
        chart.draw_series(marks)?;
        chart.draw_series(labels(row, shortest, longest, middle))?;
    }
    Ok(())
}

fn colours(row: &Row) -> (RGBColor, RGBColor) {
    if row.name == OURS {
        (OWN_LIGHT, OWN_DARK)
    } else {
        (LIGHT, DARK)
    }
}

/// The name to the left of a panel and the figures to the right of it.
fn labels(
    row: &Row,
    left: f64,
    right: f64,
    middle: f64,
) -> impl Iterator<Item = Text<'static, (f64, f64), String>> + use<> {
    let style = |side| {
        let style = TextStyle::from(("sans-serif", 15));
        style.pos(Pos::new(side, VPos::Center))
    };
    let name = Text::new(
        format!("{}\u{a0}", row.name),
        (left, middle),
        style(HPos::Right),
    );
    let text = Text::new(
        format!("\u{a0}{}", row.text),
        (right, middle),
        style(HPos::Left),
    );
    [name, text].into_iter()
}

/// Seconds, in whatever suits.
fn axis(seconds: f64) -> String {
    if seconds == 0.0 {
        "0".to_owned()
    } else if seconds < 1e-3 {
        format!("{:.0} µs", seconds * 1e6)
    } else if seconds < 0.1 {
        format!("{:.0} ms", seconds * 1e3)
    } else {
        format!("{seconds:.1} s")
    }
}
