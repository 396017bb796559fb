//! The limit on open files: as high as the system lets it be.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

/// Files of one session: the player's socket and the backend's.
const FILES_PER_SESSION: u64 = 2;
/// Files the process needs for itself: listeners, Postgres, API, resolver.
const FILES_BESIDES: u64 = 400;

/// Raises the soft limit to the hard one, and says so if that is too low for `connections_max`.
pub fn raise_limit(connections_max: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            debug!(%error, "the limit on open files stays");
            limit.current
        }
    };
    let connections_max = u64::try_from(connections_max).unwrap_or(u64::MAX);
    let wanted = connections_max
        .saturating_mul(FILES_PER_SESSION)
        .saturating_add(FILES_BESIDES);
    if let Some(files) = current.filter(|files| *files < wanted) {
        let sessions = files.saturating_sub(FILES_BESIDES) / FILES_PER_SESSION;
        warn!(
            "only {files} files may be open (ulimit -n), enough for about {sessions} players; \
             max_connections is {connections_max}"
        );
    }
}
