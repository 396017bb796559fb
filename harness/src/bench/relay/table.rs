//! The figures as text: a table for each mode.

use super::figures::{Metric, Run, Runs, Spread};
use super::mode::Mode;

/// The name of our own router among the targets.
pub(super) const OURS: &str = "automc";
/// The name of no relay at all.
pub(super) const DIRECT: &str = "direct";

/// A figure with its unit.
pub(super) fn shown(mode: Mode, metric: Metric, value: f64) -> String {
    let bulk = mode.unit() == "GB";
    match metric {
        Metric::Rate if bulk => format!("{value:.2} GB/s"),
        Metric::Rate if mode == Mode::Mixed => format!("{value:.1} joins/s"),
        Metric::Rate => format!("{value:.0}/s"),
        Metric::TargetCpu | Metric::MachineCpu if bulk => format!("{value:.3} s/GB"),
        Metric::TargetCpu | Metric::MachineCpu if mode == Mode::Mixed => {
            format!("{:.2} ms", value * 1e3)
        }
        Metric::TargetCpu | Metric::MachineCpu => format!("{:.2} µs", value * 1e6),
        Metric::P50 | Metric::P99 | Metric::P999 | Metric::Late => {
            format!("{:.3} ms", value * 1e3)
        }
        Metric::Others => format!("{value:.2}"),
        Metric::Players => format!("{value:.0}"),
        Metric::Base | Metric::Resident | Metric::AtTenThousand => format!("{:.1} MB", value / 1e6),
        Metric::PlayerBytes => format!("{value:.0} B"),
        Metric::PlayerFiles => format!("{value:.2}"),
    }
}

/// Busy processors of others from which on a run is remarked upon: with one of two taken, players,
/// relay and server share the other, and a round trip takes half the processor time.
const OTHERS_MAX: f64 = 0.1;

/// One run in a line, to see how it goes.
pub(super) fn progress(run: &Run) -> String {
    let telling = [
        Metric::Rate,
        Metric::P99,
        Metric::TargetCpu,
        Metric::PlayerBytes,
    ];
    let cells = telling.into_iter().filter_map(|metric| {
        let value = run.figures.get(&metric)?;
        Some(format!(
            "{} {}",
            metric.title(),
            shown(run.mode, metric, *value)
        ))
    });
    let mut cells: Vec<_> = cells.collect();
    if let Some(others) = run
        .figures
        .get(&Metric::Others)
        .filter(|it| **it > OTHERS_MAX)
    {
        cells.push(format!("(others had {others:.2} processors busy)"));
    }
    let (round, target) = (run.round + 1, &run.target);
    format!("  round {round}  {target:<16} {}", cells.join("  "))
}

/// Medians of every target, and below them the ratios of ours to each other.
pub(super) fn table(runs: &Runs, mode: Mode, targets: &[String]) -> Vec<String> {
    let metrics: Vec<_> = Metric::ALL
        .into_iter()
        .filter(|metric| {
            let mut spreads = targets.iter().map(|name| runs.spread(mode, name, *metric));
            spreads.any(|spread| spread.is_some())
        })
        .collect();
    let heading = metrics.iter().map(|metric| metric.title());
    let mut rows = vec![row("", heading)];
    for target in targets {
        let cell = |metric: &Metric| {
            let spread = runs.spread(mode, target, *metric);
            shown_or_not(spread.map(|spread| shown(mode, *metric, spread.median)))
        };
        rows.push(row(target, metrics.iter().map(cell)));
    }
    for other in targets.iter().filter(|target| *target != OURS) {
        let cell = |metric: &Metric| {
            if *metric == Metric::Others {
                return "-".to_owned();
            }
            let ratio = runs.ratio(mode, *metric, OURS, &[other]);
            shown_or_not(ratio.map(times))
        };
        let cells: Vec<_> = metrics.iter().map(cell).collect();
        if cells.iter().any(|cell| cell != "-") {
            rows.push(row(&format!("{OURS} : {other}"), cells));
        }
    }
    aligned(&rows)
}

/// A ratio and how far it is apart from round to round.
pub(super) fn times(Spread { median, min, max }: Spread) -> String {
    if min.total_cmp(&max).is_eq() {
        format!("{median:.2}×")
    } else {
        format!("{median:.2}× ({min:.2}–{max:.2})")
    }
}

fn shown_or_not(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

fn row(name: &str, cells: impl IntoIterator<Item = String>) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(cells).collect()
}

/// The first column to the left, the others to the right.
pub(super) fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let length = |text: &String| text.chars().count();
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<_> = (0..columns)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(length).max().unwrap_or_default()
        })
        .collect();
    let line = |row: &Vec<String>| {
        let mut cells = row.iter().zip(&widths);
        let first = cells.next().map(|(cell, width)| format!("{cell:<width$}"));
        let rest = cells.map(|(cell, width)| format!("{cell:>width$}"));
        let cells: Vec<_> = first.into_iter().chain(rest).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_what_was_measured_and_ratios_of_ours() {
        let run = |target: &str, round, rate, p50| Run {
            mode: Mode::Small,
            target: target.to_owned(),
            round,
            figures: [(Metric::Rate, rate), (Metric::P50, p50)].into(),
        };
        let runs = Runs(vec![
            run("automc", 0, 10.0, 0.001),
            run("nginx", 0, 20.0, 0.001),
            run("automc", 1, 30.0, 0.002),
            run("nginx", 1, 20.0, 0.001),
        ]);
        let targets = ["automc".to_owned(), "nginx".to_owned()];
        let lines = table(&runs, Mode::Small, &targets);
        assert_eq!(
            lines,
            [
                "                             rate                p50",
                "automc                       20/s           1.500 ms",
                "nginx                        20/s           1.000 ms",
                "automc : nginx  1.00× (0.50–1.50)  1.50× (1.00–2.00)",
            ]
        );
    }

    #[test]
    fn figures_have_their_units() {
        for (mode, metric, value, text) in [
            (Mode::BulkUp, Metric::Rate, 1.234, "1.23 GB/s"),
            (Mode::BulkUp, Metric::TargetCpu, 0.5, "0.500 s/GB"),
            (Mode::Connects, Metric::TargetCpu, 1.2e-5, "12.00 µs"),
            (Mode::Mixed, Metric::Rate, 40.0, "40.0 joins/s"),
            (Mode::Idle, Metric::Resident, 5e6, "5.0 MB"),
            (Mode::Idle, Metric::PlayerFiles, 2.0, "2.00"),
        ] {
            assert_eq!(shown(mode, metric, value), text);
        }
    }
}
