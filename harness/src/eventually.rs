//! Waits for a condition, with a deadline and an error that says what was missing.

use std::fmt::Display;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep, timeout};

/// How long to rest between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// What one look at a condition can say: a value, or why there is none yet.
///
/// Implemented for `Result<T, E>` (the error is the reason), `Option<T>` and `bool`.
pub trait Verdict {
    /// What a successful wait hands back.
    type Value;

    /// The value, or the reason it is not there.
    ///
    /// # Errors
    /// The reason, in words.
    fn verdict(self) -> Result<Self::Value, String>;
}

impl<T, E: Display> Verdict for Result<T, E> {
    type Value = T;

    fn verdict(self) -> Result<T, String> {
        self.map_err(|error| format!("{error:#}"))
    }
}

impl<T> Verdict for Option<T> {
    type Value = T;

    fn verdict(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing there".to_owned())
    }
}

impl Verdict for bool {
    type Value = ();

    fn verdict(self) -> Result<(), String> {
        self.then_some(()).ok_or_else(|| "not so".to_owned())
    }
}

/// Calls `check` every few milliseconds until it succeeds, and hands back its value.
///
/// `what` completes the sentence "waited for …". A check that hangs is abandoned at the deadline.
///
/// # Errors
/// When `deadline` has passed without success; the error names `what` and the last failure.
pub async fn eventually<F>(
    what: &str,
    deadline: Duration,
    // Not `AsyncFnMut`: its futures cannot be told to be `Send`, so no spawned task could wait.
    mut check: impl FnMut() -> F,
) -> Result<<F::Output as Verdict>::Value>
where
    F: Future<Output: Verdict>,
{
    let end = Instant::now() + deadline;
    let mut last = "never looked".to_owned();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match timeout(left, check()).await.map(Verdict::verdict) {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(reason)) => last = reason,
            Err(_) => last = format!("a look did not end; before that: {last}"),
        }
        if Instant::now() + POLL_INTERVAL >= end {
            bail!("waited {deadline:?} for {what}; last failure: {last}");
        }
        sleep(POLL_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_looks_again_until_there_is_a_value() {
        let mut looks = 0;
        let value = eventually("the fifth look", Duration::from_secs(1), || {
            looks += 1;
            ready((looks == 5).then_some(looks))
        })
        .await
        .unwrap();
        assert_eq!(value, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_condition_is_an_error_that_names_it_and_the_last_failure() {
        let mut looks = 0;
        let error = eventually("the moon", Duration::from_millis(50), || {
            looks += 1;
            ready(Err::<(), _>(anyhow::anyhow!("cloud {looks}")))
        })
        .await
        .unwrap_err()
        .to_string();
        assert!(error.contains("the moon"), "{error}");
        assert!(error.contains(&format!("cloud {looks}")), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_hangs_does_not_outlive_the_deadline() {
        let begun = Instant::now();
        let wait = eventually("a dead peer", Duration::from_secs(2), pending::<bool>);
        assert!(wait.await.is_err());
        assert_eq!(begun.elapsed(), Duration::from_secs(2));
    }
}
