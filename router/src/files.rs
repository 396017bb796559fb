//! The limit on open files: as high as the system lets it be.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

use crate::api::http::CONNECTIONS_MAX as API_CONNECTIONS_MAX;
use crate::health::monitor::CHECKS_MAX;
use crate::listener::REFUSALS_MAX;
use crate::relay::PIPES_MAX;
use crate::status::cache::QUESTIONS_MAX;
use crate::workers;

/// Files of one session: the player's socket and the backend's.
const FILES_PER_SESSION: u64 = 2;
/// Files of one worker: its listener, and what its runtime watches and is woken by.
const FILES_PER_WORKER: u64 = 6;
/// Files the process needs besides: 64 look-ups with two sockets each, Postgres, the
/// server-manager, the API's listener, standard streams.
const FILES_FOR_ITSELF: u64 = 192;

/// Raises the soft limit to the hard one; the limit that then holds comes back, `None` for none.
pub fn raise_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            debug!(%error, "the limit on open files stays");
            limit.current
        }
    }
}

/// How many of `connections_max` there are files for; if those are fewer, the log says so.
#[must_use]
pub fn places_within(files: Option<u64>, connections_max: usize) -> usize {
    let Some(files) = files else {
        return connections_max;
    };
    let places = places(files, workers::count());
    if places < connections_max {
        warn!(
            "only {files} files may be open (ulimit -n), enough for {places} players; \
             max_connections is {connections_max}"
        );
    }
    connections_max.min(places)
}

/// Sessions for which `files` suffice, when everything else has as many as it may have; but where
/// files are scarce, three quarters are the players'.
fn places(files: u64, workers: usize) -> usize {
    let besides = [
        API_CONNECTIONS_MAX,
        REFUSALS_MAX,
        2 * PIPES_MAX,
        QUESTIONS_MAX,
        CHECKS_MAX,
    ]
    .iter()
    .sum::<usize>();
    let besides = FILES_FOR_ITSELF
        + FILES_PER_WORKER * u64::try_from(workers).unwrap_or(u64::MAX)
        + u64::try_from(besides).unwrap_or(u64::MAX);
    let left = files.saturating_sub(besides.min(files / 4)) / FILES_PER_SESSION;
    usize::try_from(left).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn players_get_what_nothing_else_may_need() {
        assert_eq!(places(20_000, 2), 9_242);
        assert_eq!(places(20_000, 64), 9_056);
        assert_eq!(places(1_024, 2), 384);
        assert_eq!(places(0, 2), 1);
    }
}
