//! Samples and reports to what passes and what does not; pure.

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};

use super::sample::{Phase, Sample, mebibytes};
use crate::load::job::Report;

/// How much more memory the router may hold in the last quarter of the time than in the second: so
/// many bytes, and so many hundredths. The allocator's ups and downs are less; of the 25,000 visits in ten
/// minutes half lie between the two, and a page left by each of them would be 50 MB.
const GROWTH_MAX: (u64, u64) = (1024 * 1024, 2);
/// Fewest samples to judge by.
const SAMPLES_MIN: usize = 16;

/// Something that has to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) passed: bool,
    pub(super) detail: String,
}

impl Check {
    pub(super) fn line(&self) -> String {
        let word = if self.passed { "ok    " } else { "FAILED" };
        format!("{word}  {}: {}", self.name, self.detail)
    }

    pub(super) fn json(&self) -> Value {
        json!(self)
    }
}

/// Memory with active players: the first quarter warms up, and the last one is held against the second.
pub(super) fn memory(samples: &[Sample]) -> Check {
    let active = samples
        .iter()
        .filter(|sample| sample.phase == Phase::Active);
    let resident: Vec<_> = active.map(|sample| sample.resident).collect();
    let name = "memory does not grow";
    let quarter = resident.len() / 4;
    let of = |number: usize| median(resident.get(number * quarter..(number + 1) * quarter)?);
    let (Some(before), Some(after), true) = (of(1), of(3), resident.len() >= SAMPLES_MIN) else {
        let detail = format!("{} samples are too few", resident.len());
        return Check {
            name,
            passed: false,
            detail,
        };
    };
    let allowed = GROWTH_MAX.0 + before * GROWTH_MAX.1 / 100;
    Check {
        name,
        passed: after <= before + allowed,
        detail: format!(
            "{:.2} MiB in the second quarter, {:.2} MiB in the last; allowed: {:.2} MiB more",
            mebibytes(before),
            mebibytes(after),
            mebibytes(allowed)
        ),
    }
}

fn median(values: &[u64]) -> Option<u64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}

/// Whether directions went to splicing and back while players talked.
pub(super) fn splices(samples: &[Sample]) -> Check {
    let last = samples.last();
    let (up, down) = last.map_or((0, 0), |last| {
        (last.splice_upgrades, last.splice_downgrades)
    });
    Check {
        name: "directions splice and copy again",
        passed: up > 0 && down > 0,
        detail: format!("{up} times up, {down} times down"),
    }
}

/// Whether both ends of all visits know of the same bytes, each of which its hearer has checked.
pub(super) fn bytes(players: &Report, server: Result<Report>) -> Check {
    let name = "every byte, in order, once";
    let (passed, detail) = match server {
        Ok(server) => {
            let both = |of: fn(&Report) -> u64| format!("{} and {}", of(players), of(&server));
            let (visits, up, down) = (
                both(|of| of.units),
                both(|of| of.bytes.0),
                both(|of| of.bytes.1),
            );
            let same = (players.units, players.bytes) == (server.units, server.bytes);
            let detail =
                format!("at players and server {visits} visits, {up} bytes up, {down} bytes down");
            (same && players.units > 0, detail)
        }
        Err(error) => (false, format!("{error:#}")),
    };
    Check {
        name,
        passed,
        detail,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sample(phase: Phase, resident: u64) -> Sample {
        Sample {
            phase,
            seconds: 0.0,
            resident,
            files: 0,
            sessions_open: 0,
            sessions: 0,
            up_bytes: 0,
            down_bytes: 0,
            splice_upgrades: 0,
            splice_downgrades: 0,
        }
    }

    fn grown(resident: impl Fn(u64) -> u64) -> bool {
        let mut samples = vec![sample(Phase::Start, 0), sample(Phase::Idle, 1)];
        samples.extend((0..100).map(|at| sample(Phase::Active, resident(at))));
        samples.extend([sample(Phase::After, u64::MAX), sample(Phase::End, 0)]);
        !memory(&samples).passed
    }

    #[test]
    fn memory_may_warm_up_and_waver_but_not_grow() {
        let mib = 1 << 20;
        assert!(!grown(|_| 50 * mib));
        assert!(!grown(|at| if at < 25 { at } else { 50 } * mib), "warm-up");
        assert!(!grown(|at| (50 + at % 10) * mib), "to and fro");
        assert!(
            !grown(|at| if at == 90 { 500 * mib } else { 50 * mib }),
            "a peak"
        );
        assert!(
            !grown(|at| if at < 60 { 50 * mib } else { 52 * mib }),
            "2 MiB of 50"
        );
        assert!(grown(|at| if at < 60 { 50 * mib } else { 52 * mib + 4096 }));
        assert!(grown(|at| 50 * mib + at * 50 * 1024), "5 MB in all");
    }

    #[test]
    fn too_few_samples_prove_nothing() {
        let samples = vec![sample(Phase::Active, 1); SAMPLES_MIN - 1];
        assert!(!memory(&samples).passed);
        assert!(memory(&vec![sample(Phase::Active, 1); SAMPLES_MIN]).passed);
    }

    #[test]
    fn splices_go_up_and_down() {
        for (up, down, passed) in [(0, 0, false), (1, 0, false), (2, 1, true)] {
            let last = Sample {
                splice_upgrades: up,
                splice_downgrades: down,
                ..sample(Phase::End, 0)
            };
            assert_eq!(splices(&[last]).passed, passed, "{up}, {down}");
        }
        assert!(!splices(&[]).passed);
    }

    #[test]
    fn both_ends_have_to_know_of_the_same_bytes() {
        let report = |units, up, down| Report {
            units,
            bytes: (up, down),
            took: Duration::from_millis(up),
            ..Report::default()
        };
        let players = report(2, 30, 40);
        assert!(bytes(&players, Ok(players.clone())).passed);
        for server in [report(3, 30, 40), report(2, 31, 40), report(2, 30, 0)] {
            assert!(!bytes(&players, Ok(server)).passed);
        }
        let nothing = report(0, 0, 0);
        assert!(!bytes(&nothing, Ok(nothing.clone())).passed);
        assert!(!bytes(&players, Err(anyhow::anyhow!("visit 3"))).passed);
    }
}
