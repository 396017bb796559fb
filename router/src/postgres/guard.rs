//! Whether what was read of the table is to be believed.
//!
//! A table that was emptied by mistake, or restored from an old backup, would take every route away at once. Such a read
//! is held back until somebody confirms it, or until the same routes are still gone after a while. On a busy table a few
//! more are gone by then; that is no reason to wait for longer, but one that is back is: somebody is at work.
//!
//! Pure.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

/// When a read is held back; both numbers have to be exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Routes that may go at once.
    pub routes: usize,
    /// Share of the table's routes that may go at once, in percent; from 100 on nothing is ever held back.
    pub percent: usize,
    /// After which time the same read is applied without a confirmation.
    pub hold: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            routes: 100,
            percent: 50,
            hold: Duration::from_secs(60),
        }
    }
}

impl Limits {
    /// Whether anything is ever held back.
    #[must_use]
    pub fn are_on(&self) -> bool {
        self.percent < 100
    }

    /// Whether so many of `all` routes may not go at once.
    #[must_use]
    pub fn forbid(&self, lost: usize, all: usize) -> bool {
        self.are_on()
            && lost > self.routes
            && lost.saturating_mul(100) > all.saturating_mul(self.percent)
    }
}

/// What a read of the whole table would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effect {
    /// Routes there are.
    pub routes: usize,
    /// How many of them would be none.
    pub lost: usize,
    /// Whether the table is in an older state than the one that is applied.
    pub older: bool,
}

/// Which routes would be lost: a number for each name.
#[derive(Debug, Clone, Default)]
pub struct Loss {
    names: HashSet<u64>,
}

impl Loss {
    /// One more.
    pub fn add(&mut self, name: &str) {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        self.names.insert(hasher.finish());
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.names.len()
    }
}

/// A read that is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// What it would do.
    pub effect: Effect,
    /// Since when the same routes are gone.
    pub since: Instant,
    /// When it is read again, to be applied if they still are.
    pub until: Instant,
}

impl fmt::Display for Effect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { routes, lost, .. } = self;
        if self.older {
            formatter.write_str("the table is in an older state than it was, and ")?;
        }
        write!(formatter, "{lost} of {routes} routes would go")
    }
}

/// What becomes of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is applied.
    Apply,
    /// It is held back; whether that is news.
    Hold(bool),
}

/// Judges the reads of one table.
#[derive(Debug)]
pub struct Guard {
    limits: Limits,
    held: Option<Held>,
    /// What was lost when that began.
    first: Loss,
    confirmed: bool,
}

impl Guard {
    /// One that holds nothing back yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            held: None,
            first: Loss::default(),
            confirmed: false,
        }
    }

    /// What is held back.
    #[must_use]
    pub fn held(&self) -> Option<Held> {
        self.held
    }

    /// The limits it keeps to.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Somebody wants what is held back; whether anything is. It is read once more, and applied if it is still the same.
    pub fn confirm(&mut self) -> bool {
        self.confirmed = self.held.is_some();
        self.confirmed
    }

    /// The whole table was read at `now`, and `loss` is what it lacks.
    pub fn judge(&mut self, effect: Effect, loss: &Loss, now: Instant) -> Verdict {
        let suspect = self.limits.are_on()
            && (effect.older || self.limits.forbid(effect.lost, effect.routes));
        let confirmed = std::mem::take(&mut self.confirmed);
        match self.held.filter(|held| self.is_same(held, effect, loss)) {
            _ if !suspect => {}
            Some(held) if confirmed || now >= held.until => {}
            Some(held) => {
                self.held = Some(Held { effect, ..held });
                return Verdict::Hold(false);
            }
            None => {
                self.first = loss.clone();
                self.held = Some(Held {
                    effect,
                    since: now,
                    until: now + self.limits.hold,
                });
                return Verdict::Hold(true);
            }
        }
        self.first = Loss::default();
        self.held = None;
        Verdict::Apply
    }

    /// Whether it is what is held back already: none of those routes is back, and the others that are gone since may go.
    fn is_same(&self, held: &Held, effect: Effect, loss: &Loss) -> bool {
        let more = loss.count().saturating_sub(self.first.count());
        let rest = effect.routes.saturating_sub(self.first.count());
        held.effect.older == effect.older
            && self.first.names.is_subset(&loss.names)
            && !self.limits.forbid(more, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn loss(names: std::ops::Range<usize>) -> Loss {
        let mut loss = Loss::default();
        names.for_each(|name| loss.add(&name.to_string()));
        loss
    }

    /// Judges the loss of the first routes.
    fn judge(guard: &mut Guard, lost: usize, routes: usize, now: Instant) -> Verdict {
        let effect = Effect {
            routes,
            lost,
            older: false,
        };
        guard.judge(effect, &loss(0..lost), now)
    }

    fn guard() -> Guard {
        Guard::new(Limits::default())
    }

    #[test]
    fn a_read_is_held_back_when_it_takes_too_many_routes_and_too_large_a_share() {
        for (lost, routes, held) in [
            (0, 0, false),
            (100, 100, false),
            (101, 101, true),
            (101, 201, true),
            (101, 202, false),
            (100_000, 100_000, true),
            (50_000, 100_000, false),
            (50_001, 100_000, true),
        ] {
            let verdict = judge(&mut guard(), lost, routes, Instant::now());
            let wanted = if held {
                Verdict::Hold(true)
            } else {
                Verdict::Apply
            };
            assert_eq!(verdict, wanted, "{lost} of {routes}");
        }
    }

    #[test]
    fn the_same_read_is_applied_after_the_hold_time_and_another_begins_it_anew() {
        let (mut guard, now) = (guard(), Instant::now());
        assert_eq!(judge(&mut guard, 500, 500, now), Verdict::Hold(true));
        assert_eq!(
            judge(&mut guard, 500, 500, now + SECOND * 59),
            Verdict::Hold(false)
        );
        assert_eq!(
            judge(&mut guard, 499, 500, now + SECOND * 60),
            Verdict::Hold(true)
        );
        assert_eq!(
            judge(&mut guard, 499, 500, now + SECOND * 119),
            Verdict::Hold(false)
        );
        assert_eq!(
            judge(&mut guard, 499, 500, now + SECOND * 120),
            Verdict::Apply
        );
        assert_eq!(guard.held(), None);
    }

    #[test]
    fn a_busy_table_is_believed_after_the_hold_time_too_unless_far_more_is_gone_or_some_are_back() {
        let (mut guard, now) = (guard(), Instant::now());
        for second in 0..60 {
            let lost = 600 + usize::try_from(second).unwrap();
            let verdict = judge(&mut guard, lost, 1_000, now + SECOND * second);
            assert_eq!(verdict, Verdict::Hold(second == 0), "{second}");
            assert_eq!(guard.held().unwrap().effect.lost, lost);
        }
        let later = now + SECOND * 60;
        assert_eq!(judge(&mut guard, 660, 1_000, later), Verdict::Apply);

        for (lost, why) in [(0..801, "half of the rest"), (1..600, "one is back")] {
            judge(&mut guard, 600, 1_000, now);
            let effect = Effect {
                routes: 1_000,
                lost: lost.len(),
                older: false,
            };
            let verdict = guard.judge(effect, &loss(lost), later);
            assert_eq!(verdict, Verdict::Hold(true), "{why}");
            judge(&mut guard, 0, 1_000, later);
        }
    }

    #[test]
    fn what_is_confirmed_is_applied_and_nothing_that_came_later() {
        let (mut guard, now) = (guard(), Instant::now());
        assert!(!guard.confirm(), "nothing to confirm");
        judge(&mut guard, 300, 500, now);
        assert!(guard.confirm());
        assert_eq!(
            judge(&mut guard, 500, 500, now),
            Verdict::Hold(true),
            "nobody has seen this"
        );
        assert_eq!(judge(&mut guard, 500, 500, now), Verdict::Hold(false));
        assert!(guard.confirm());
        assert_eq!(judge(&mut guard, 500, 500, now), Verdict::Apply);
    }

    #[test]
    fn a_table_that_is_whole_again_is_applied_at_once() {
        let (mut guard, now) = (guard(), Instant::now());
        judge(&mut guard, 500, 500, now);
        assert_eq!(judge(&mut guard, 0, 500, now), Verdict::Apply);
        assert_eq!(guard.held(), None);
    }

    #[test]
    fn an_older_state_is_held_back_whatever_it_takes() {
        let (mut guard, now) = (guard(), Instant::now());
        let older = Effect {
            older: true,
            routes: 500,
            lost: 0,
        };
        assert_eq!(guard.judge(older, &loss(0..0), now), Verdict::Hold(true));
        assert_eq!(
            guard.judge(older, &loss(0..0), now + SECOND * 60),
            Verdict::Apply
        );
        assert!(older.to_string().contains("older state"));
    }

    #[test]
    fn a_percentage_of_100_turns_it_off() {
        let limits = Limits {
            percent: 100,
            ..Limits::default()
        };
        let mut guard = Guard::new(limits);
        let worst = Effect {
            older: true,
            routes: 500,
            lost: 500,
        };
        assert_eq!(
            guard.judge(worst, &loss(0..500), Instant::now()),
            Verdict::Apply
        );
    }

    proptest! {
        #[test]
        fn a_name_counts_once_in_any_order(names in proptest::collection::hash_set("[a-z]{1,4}", 1..20)) {
            let of = |names: &mut dyn Iterator<Item = &String>| {
                let mut loss = Loss::default();
                names.for_each(|name| loss.add(name));
                loss.names
            };
            let names: Vec<_> = names.into_iter().collect();
            let twice = of(&mut names.iter().chain(names.iter().rev()));
            prop_assert_eq!(twice.len(), names.len());
            prop_assert_eq!(of(&mut names.iter()), twice);
        }
    }
}
