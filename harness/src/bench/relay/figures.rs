//! Samples to the figures that are compared: medians over rounds, ratios within each.

use std::collections::BTreeMap;

use super::mode::Mode;

/// One figure of a run; times in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Metric {
    /// Units of work in a second.
    Rate,
    /// Processor time of the target for one unit.
    TargetCpu,
    /// Processor time of the whole machine for one unit.
    MachineCpu,
    /// Half of all take at most so long.
    P50,
    /// 99 %.
    P99,
    /// 99.9 %.
    P999,
    /// Processors that were busy with neither the target nor the load.
    Others,
    /// How late 1 % of the packets were sent at least.
    Late,
    /// Players held.
    Players,
    /// Resident memory of the target without players, in bytes.
    Base,
    /// The same with all of them.
    Resident,
    /// Resident memory for one player.
    PlayerBytes,
    /// Resident memory with 10,000 players, if each takes as much as those who were there.
    AtTenThousand,
    /// Open files for one player.
    PlayerFiles,
}

/// The figures of one run.
pub(super) type Figures = BTreeMap<Metric, f64>;

/// One run of one target.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) mode: Mode,
    pub(super) target: String,
    pub(super) round: usize,
    pub(super) figures: Figures,
}

/// How a target stands to others: the median over all rounds, and how far they are apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Metric {
    /// In the order of tables.
    pub(super) const ALL: [Self; 14] = [
        Self::Rate,
        Self::TargetCpu,
        Self::MachineCpu,
        Self::P50,
        Self::P99,
        Self::P999,
        Self::Others,
        Self::Late,
        Self::Players,
        Self::Base,
        Self::Resident,
        Self::PlayerBytes,
        Self::AtTenThousand,
        Self::PlayerFiles,
    ];

    /// A word for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::TargetCpu => "target_cpu",
            Self::MachineCpu => "machine_cpu",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
            Self::Others => "others",
            Self::Late => "late_p99",
            Self::Players => "players",
            Self::Base => "base_bytes",
            Self::Resident => "resident_bytes",
            Self::PlayerBytes => "bytes_per_player",
            Self::AtTenThousand => "bytes_at_10000",
            Self::PlayerFiles => "files_per_player",
        }
    }

    /// The same for people.
    pub(super) fn title(self) -> String {
        self.name().replace('_', " ")
    }

    /// Whether more of it is better.
    fn more_is_better(self) -> bool {
        matches!(self, Self::Rate | Self::Players)
    }
}

impl Spread {
    /// Of all `values`; `None` of none.
    pub(super) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (low, high) = (
            *values.get((values.len() - 1) / 2)?,
            *values.get(values.len() / 2)?,
        );
        let median = f64::midpoint(low, high);
        Some(Self { median, min, max })
    }
}

/// All runs so far.
#[derive(Debug, Default)]
pub(super) struct Runs(pub(super) Vec<Run>);

impl Runs {
    /// A target's figure over all rounds.
    pub(super) fn spread(&self, mode: Mode, target: &str, metric: Metric) -> Option<Spread> {
        let of = |run: &&Run| run.mode == mode && run.target == target;
        let runs = self.0.iter().filter(of);
        Spread::of(
            runs.filter_map(|run| run.figures.get(&metric).copied())
                .collect(),
        )
    }

    /// A target's figure divided by the best of `others` in the same round, over the rounds that
    /// have both.
    pub(super) fn ratio(
        &self,
        mode: Mode,
        metric: Metric,
        target: &str,
        others: &[&str],
    ) -> Option<Spread> {
        let mut rounds: BTreeMap<usize, (Option<f64>, Option<f64>)> = BTreeMap::new();
        for run in self.0.iter().filter(|run| run.mode == mode) {
            let Some(value) = run.figures.get(&metric).copied() else {
                continue;
            };
            let (ours, best) = rounds.entry(run.round).or_default();
            if run.target == target {
                *ours = Some(value);
            }
            if others.contains(&run.target.as_str()) {
                *best = Some(match *best {
                    Some(best) if metric.more_is_better() => value.max(best),
                    Some(best) => value.min(best),
                    None => value,
                });
            }
        }
        let ratio = |(ours, best): (Option<f64>, Option<f64>)| Some(ours? / best?);
        let ratios = rounds.into_values().filter_map(ratio);
        Spread::of(ratios.filter(|ratio| ratio.is_finite()).collect())
    }
}

/// An integer as a real number: exact up to 2^53.
pub(super) fn real(count: u64) -> f64 {
    let half = |bits: u64| f64::from(u32::try_from(bits & u64::from(u32::MAX)).unwrap_or_default());
    half(count >> 32) * 2_f64.powi(32) + half(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(target: &str, round: usize, metric: Metric, value: f64) -> Run {
        Run {
            mode: Mode::Small,
            target: target.to_owned(),
            round,
            figures: [(metric, value)].into(),
        }
    }

    #[test]
    fn medians_are_in_the_middle() {
        let spread = Spread::of(vec![5.0, 1.0, 3.0]).unwrap();
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 3.0, 5.0));
        assert_eq!(Spread::of(vec![4.0, 1.0]).unwrap().median, 2.5);
        assert!(Spread::of(vec![]).is_none());
    }

    #[test]
    fn ratios_are_taken_within_a_round_and_to_the_best() {
        let cpu = Metric::TargetCpu;
        let runs = Runs(vec![
            run("ours", 0, cpu, 6.0),
            run("a", 0, cpu, 12.0),
            run("b", 0, cpu, 10.0),
            run("ours", 1, cpu, 9.0),
            run("a", 1, cpu, 10.0),
            run("b", 1, cpu, 18.0),
            // A round without ours, or without others, has no ratio.
            run("a", 2, cpu, 1.0),
            run("ours", 3, cpu, 1.0),
        ]);
        let ratio = runs.ratio(Mode::Small, cpu, "ours", &["a", "b"]).unwrap();
        assert_eq!((ratio.min, ratio.median, ratio.max), (0.6, 0.75, 0.9));
        let ratio = runs.ratio(Mode::Small, cpu, "ours", &["b"]).unwrap();
        assert_eq!((ratio.min, ratio.max), (0.5, 0.6));
        assert!(runs.ratio(Mode::Small, cpu, "ours", &["c"]).is_none());
        assert!(runs.ratio(Mode::Idle, cpu, "ours", &["a"]).is_none());
        assert!(
            runs.ratio(Mode::Small, Metric::P50, "ours", &["a"])
                .is_none()
        );
        assert_eq!(
            runs.spread(Mode::Small, "ours", cpu).unwrap().median,
            6.0_f64.midpoint(6.0)
        );
    }

    #[test]
    fn of_rates_the_best_is_the_highest() {
        let runs = Runs(vec![
            run("ours", 0, Metric::Rate, 30.0),
            run("a", 0, Metric::Rate, 10.0),
            run("b", 0, Metric::Rate, 20.0),
        ]);
        let ratio = runs.ratio(Mode::Small, Metric::Rate, "ours", &["a", "b"]);
        assert_eq!(ratio.unwrap().median, 1.5);
    }

    #[test]
    fn integers_become_real_numbers() {
        for (count, number) in [
            (0, 0.0),
            (1, 1.0),
            (20_000_000_000, 2e10),
            (1 << 53, 2_f64.powi(53)),
        ] {
            assert_eq!(real(count), number);
        }
    }
}
