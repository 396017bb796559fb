//! So many lines of one kind within a time, and then their number: what clients can cause fills no log.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::info;

/// Most lines of one kind within [`SPAN`].
pub const LINES_MAX: u64 = 50;
/// How long lines are counted together.
pub const SPAN: Duration = Duration::from_secs(10);

/// What was told of each kind lately.
#[derive(Debug, Default)]
pub struct Flood(Mutex<BTreeMap<&'static str, Window>>);

/// Lines since its begin.
#[derive(Debug, Clone, Copy)]
struct Window {
    begun: Instant,
    lines: u64,
}

impl Flood {
    /// Whether one more line of `kind` is written now. What is not is counted, and told once, when its [`SPAN`]
    /// is over. Must be called within a Tokio runtime.
    ///
    /// `kind` is one of few.
    pub fn tells(self: &Arc<Self>, kind: &'static str) -> bool {
        let now = Instant::now();
        let line = self.line(kind, now);
        if line == LINES_MAX + 1 {
            let this = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(SPAN).await;
                let untold = this.untold(kind, Instant::now());
                if untold > 0 {
                    info!(
                        end = kind,
                        more = untold,
                        "closed: and {untold} more without a session"
                    );
                }
            });
        }
        line <= LINES_MAX
    }

    /// Which line of its time this is, from 1 on.
    fn line(&self, kind: &'static str, now: Instant) -> u64 {
        let mut kinds = self.kinds();
        let fresh = Window {
            begun: now,
            lines: 0,
        };
        let window = kinds.entry(kind).or_insert(fresh);
        // One with untold lines ends when these are told.
        if window.lines <= LINES_MAX && now >= window.begun + SPAN {
            *window = fresh;
        }
        window.lines += 1;
        window.lines
    }

    /// How many lines were not written; begins anew.
    fn untold(&self, kind: &'static str, now: Instant) -> u64 {
        let mut kinds = self.kinds();
        let fresh = Window {
            begun: now,
            lines: 0,
        };
        let window = kinds.insert(kind, fresh);
        window.map_or(0, |window| window.lines.saturating_sub(LINES_MAX))
    }

    fn kinds(&self) -> MutexGuard<'_, BTreeMap<&'static str, Window>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_lines_are_written_within_a_time_and_the_others_counted() {
        let flood = Flood::default();
        let begin = Instant::now();
        let after = |millis| begin + Duration::from_millis(millis);
        let written = |millis, times: u64| {
            let lines = (0..times).map(|_| flood.line("unknown_host", after(millis)));
            lines.filter(|line| *line <= LINES_MAX).count()
        };
        assert_eq!(written(0, LINES_MAX), 50);
        // The next time begins; of the other kind nothing was written.
        assert_eq!(written(10_000, LINES_MAX + 7), 50);
        assert_eq!(flood.line("unreachable", after(10_000)), 1);
        assert_eq!(written(25_000, 1), 0, "until the rest is told");
        assert_eq!(flood.untold("unknown_host", after(25_000)), 8);
        assert_eq!(flood.untold("unknown_host", after(25_000)), 0);
        assert_eq!(written(25_001, 1), 1);
    }
}
