//! What the relay is to reach beside others, and whether it does.

use serde_json::json;

use super::figures::{Metric, Runs, Spread};
use super::mode::Mode;
use super::table::{DIRECT, OURS, shown, times};

/// Relays that copy.
const COPYING: &[&str] = &["haproxy", "nginx"];
/// All that are written in C.
const IN_C: &[&str] = &["haproxy", "haproxy-splice", "nginx"];

/// One thing to reach.
#[derive(Debug, Clone, Copy)]
struct Goal {
    mode: Mode,
    metric: Metric,
    against: Against,
    limit: Limit,
}

/// To what our figure is compared.
#[derive(Debug, Clone, Copy)]
enum Against {
    /// The best of these in the same round.
    Best(&'static [&'static str]),
    /// Each peer on its own.
    Peers,
    /// Nothing: it is a figure of its own.
    Itself,
}

#[derive(Debug, Clone, Copy)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

/// How one goal stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    mode: Mode,
    metric: Metric,
    against: String,
    limit: String,
    /// What was measured, in words and as median; `None` if it was not.
    found: Option<(String, f64)>,
    met: bool,
}

use Against::{Best, Itself, Peers};
use Limit::{AtLeast, AtMost};
use Metric::{AtTenThousand, MachineCpu, P99, PlayerBytes, PlayerFiles, Rate, TargetCpu};
use Mode::{BulkBoth, BulkDown, BulkUp, Connects, Idle, Mixed, Paced10, Small};

const GOALS: [Goal; 17] = [
    goal(Small, TargetCpu, Best(COPYING), AtMost(1.0)),
    goal(Small, TargetCpu, Peers, AtMost(0.85)),
    goal(Small, MachineCpu, Best(&[DIRECT]), AtMost(2.05)),
    goal(Small, P99, Best(IN_C), AtMost(0.6)),
    goal(Paced10, P99, Best(IN_C), AtMost(1.1)),
    goal(Paced10, P99, Peers, AtMost(0.15)),
    goal(BulkUp, TargetCpu, Best(COPYING), AtMost(0.35)),
    goal(BulkUp, Rate, Best(COPYING), AtLeast(1.5)),
    goal(BulkDown, TargetCpu, Best(COPYING), AtMost(0.35)),
    goal(BulkDown, Rate, Best(COPYING), AtLeast(1.5)),
    goal(BulkBoth, TargetCpu, Best(COPYING), AtMost(0.35)),
    goal(BulkBoth, Rate, Best(COPYING), AtLeast(1.5)),
    goal(Mixed, P99, Best(IN_C), AtMost(0.5)),
    goal(Idle, PlayerBytes, Itself, AtMost(2048.0)),
    goal(Idle, AtTenThousand, Itself, AtMost(32e6)),
    // Two, and a hundred or so in all that are nobody's.
    goal(Idle, PlayerFiles, Itself, AtMost(2.01)),
    goal(Connects, Rate, Best(&["nginx"]), AtLeast(0.9)),
];

const fn goal(mode: Mode, metric: Metric, against: Against, limit: Limit) -> Goal {
    Goal {
        mode,
        metric,
        against,
        limit,
    }
}

/// How all goals of `modes` stand.
pub(super) fn verdicts(runs: &Runs, modes: &[Mode], peers: &[&str]) -> Vec<Verdict> {
    let goals = GOALS.iter().filter(|goal| modes.contains(&goal.mode));
    goals.flat_map(|goal| goal.verdicts(runs, peers)).collect()
}

impl Goal {
    fn verdicts(&self, runs: &Runs, peers: &[&str]) -> Vec<Verdict> {
        let (mode, metric) = (self.mode, self.metric);
        match self.against {
            Best(others) => {
                let ratio = runs.ratio(mode, metric, OURS, others);
                vec![self.verdict(others.join(", "), ratio, times)]
            }
            Peers => {
                let each = |peer: &&str| {
                    let ratio = runs.ratio(mode, metric, OURS, &[peer]);
                    self.verdict((*peer).to_owned(), ratio, times)
                };
                peers.iter().map(each).collect()
            }
            Itself => {
                let figure = runs.spread(mode, OURS, metric);
                let words = |spread: Spread| shown(mode, metric, spread.median);
                vec![self.verdict(String::new(), figure, words)]
            }
        }
    }

    fn verdict(
        &self,
        against: String,
        found: Option<Spread>,
        words: impl Fn(Spread) -> String,
    ) -> Verdict {
        let (mode, metric) = (self.mode, self.metric);
        let shown_limit = |limit| match self.against {
            Itself => shown(mode, metric, limit),
            Best(_) | Peers => format!("{limit:.2}×"),
        };
        let (limit, met) = match self.limit {
            AtMost(limit) => (
                format!("at most {}", shown_limit(limit)),
                found.is_some_and(|found| found.median <= limit),
            ),
            AtLeast(limit) => (
                format!("at least {}", shown_limit(limit)),
                found.is_some_and(|found| found.median >= limit),
            ),
        };
        Verdict {
            mode,
            metric,
            against,
            limit,
            found: found.map(|found| (words(found), found.median)),
            met,
        }
    }
}

impl Verdict {
    /// A line of a table.
    pub(super) fn cells(&self) -> Vec<String> {
        let (found, verdict) = match &self.found {
            None => ("-", "not measured"),
            Some((found, _)) if self.met => (found.as_str(), "met"),
            Some((found, _)) => (found.as_str(), "MISSED"),
        };
        let against = if self.against.is_empty() {
            String::new()
        } else {
            format!("to {}", self.against)
        };
        let (mode, metric) = (self.mode.name(), self.metric.title());
        [mode, &metric, &against, found, &self.limit, verdict]
            .map(str::to_owned)
            .into()
    }

    pub(super) fn json(&self) -> serde_json::Value {
        json!({
            "mode": self.mode.name(),
            "metric": self.metric.name(),
            "against": self.against,
            "limit": self.limit,
            "found": self.found.as_ref().map(|(_, median)| median),
            "met": self.found.as_ref().map(|_| self.met),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::Run;
    use super::*;

    fn run(mode: Mode, target: &str, metric: Metric, value: f64) -> Run {
        Run {
            mode,
            target: target.to_owned(),
            round: 0,
            figures: [(metric, value)].into(),
        }
    }

    fn last(runs: Vec<Run>, modes: &[Mode], metric: Metric, peers: &[&str]) -> Vec<String> {
        let verdicts = verdicts(&Runs(runs), modes, peers);
        let found = verdicts.iter().rfind(|verdict| verdict.metric == metric);
        found.unwrap().cells()
    }

    #[test]
    fn a_ratio_is_held_against_the_best_of_those_it_is_compared_to() {
        for (ours, word) in [(0.35, "met"), (0.36, "MISSED")] {
            let runs = vec![
                run(BulkUp, OURS, TargetCpu, ours),
                run(BulkUp, "haproxy", TargetCpu, 1.0),
                run(BulkUp, "nginx", TargetCpu, 2.0),
                run(BulkUp, "haproxy-splice", TargetCpu, 0.1),
            ];
            let cells = last(runs, &[BulkUp], TargetCpu, &[]);
            let ratio = format!("{ours:.2}×");
            let all = [
                "bulk-up",
                "target cpu",
                "to haproxy, nginx",
                &ratio,
                "at most 0.35×",
                word,
            ];
            assert_eq!(cells, all);
        }
        for (ours, word) in [(1.5, "met"), (1.4, "MISSED")] {
            let runs = vec![
                run(BulkUp, OURS, Rate, ours),
                run(BulkUp, "haproxy", Rate, 1.0),
                run(BulkUp, "nginx", Rate, 0.5),
            ];
            assert_eq!(last(runs, &[BulkUp], Rate, &[]).pop().unwrap(), word);
        }
    }

    #[test]
    fn each_peer_has_a_verdict_and_what_is_missing_is_said() {
        let runs = Runs(vec![
            run(Paced10, OURS, P99, 0.1),
            run(Paced10, "a", P99, 1.0),
        ]);
        let verdicts = verdicts(&runs, &[Paced10], &["a", "b"]);
        let words = verdicts
            .iter()
            .map(|verdict| verdict.cells().pop().unwrap());
        assert_eq!(
            words.collect::<Vec<_>>(),
            ["not measured", "met", "not measured"]
        );
    }

    #[test]
    fn some_goals_are_our_own() {
        for (bytes, word) in [(2048.0, "met"), (2049.0, "MISSED")] {
            let runs = vec![run(Idle, OURS, PlayerBytes, bytes)];
            assert_eq!(last(runs, &[Idle], PlayerBytes, &[]).pop().unwrap(), word);
        }
    }

    #[test]
    fn modes_that_did_not_run_have_none() {
        assert!(verdicts(&Runs::default(), &[], &["a"]).is_empty());
        assert_eq!(verdicts(&Runs::default(), &[Connects], &["a"]).len(), 1);
    }
}
