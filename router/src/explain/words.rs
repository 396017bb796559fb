//! What becomes of who comes to a server, in words: its state, a login, a ping.
//!
//! Pure. Says what [`crate::join`] and the way of a login decide, and decides nothing.

use std::time::{Duration, Instant};

use crate::config::AdmitConfig;
use crate::config::values::short;
use crate::health::Reading;
use crate::join::{Attempt, Waiting, chain};
use crate::protocol::versions::NEWEST;
use crate::routes::Route;
use crate::routes::policy::Join;
use crate::servers::{Snapshot, Starter, Starters, State};

/// What is known of the server of a route.
#[derive(Debug, Clone)]
pub struct Known {
    /// What has been heard of it.
    pub seen: Snapshot,
    /// How its backend is, where that is watched.
    pub health: Option<Reading>,
    /// What can start servers.
    pub starters: Starters,
    /// Until it may be woken, where its hours say that it may not be now.
    pub opens_in: Option<Duration>,
    /// When this is asked.
    pub now: Instant,
}

/// What a login comes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outlook {
    /// What would be done, in this order, each if the one before did not help.
    pub steps: Vec<&'static str>,
    /// The same in words.
    pub text: String,
}

/// How the server of `route` is.
#[must_use]
pub fn server(route: &Route, known: &Known) -> String {
    let seen = &known.seen;
    let since = known.now.saturating_duration_since(seen.since);
    let state = seen.state.name();
    let mut text = format!("server {:?} is {state}", &*route.key());
    if since.as_secs() > 0 {
        text += &format!(" since {}", seconds(since));
    }
    if seen.waiting + seen.sessions > 0 {
        let (waiting, sessions) = (seen.waiting, seen.sessions);
        text += &format!(", {waiting} waiting for it and {sessions} playing on it");
    }
    if let Some(eta) = seen.eta {
        let eta = seconds(eta);
        text += &match seen.state {
            State::Starting | State::Settling => format!(", ready in about {eta}"),
            _ => format!(", and takes about {eta} to start"),
        };
    }
    if seen.attempts > 0 {
        text += &format!(
            "; the last starts of it failed ({} in a row)",
            seen.attempts
        );
    }
    text
}

/// How the backend of `route` is.
#[must_use]
pub fn health(route: &Route, reading: &Reading) -> String {
    let (status, why) = (reading.status.name(), reading.detail);
    let mut text = format!("{} is {status}: {why}", route.backend);
    if let Some(seen) = reading.seen {
        text += &format!("; last heard to be well {} ago", seconds(seen));
    }
    if reading.failures > 0 {
        text += &format!("; {} failed checks in a row", reading.failures);
    }
    text
}

/// What else counts at a login, and is not looked at since it goes by who comes; nothing where all are let in.
#[must_use]
pub fn admission(config: &AdmitConfig) -> Option<String> {
    let filter = &config.filter;
    let whom = if config.gate_join {
        "who may join (AUTO_SCALE_ALLOW_DENY, AUTOMC_PLAYERS_GATE_JOIN)"
    } else {
        "who may wake a server (AUTO_SCALE_ALLOW_DENY)"
    };
    let told = [
        (
            !filter.allow.is_empty(),
            "from where clients may come (CLIENTS_TO_ALLOW)",
        ),
        (
            !filter.deny.is_empty(),
            "from where they may not (CLIENTS_TO_DENY)",
        ),
        (
            config.limits.everybody.is_some(),
            "how many come at once (CONNECTION_RATE_LIMIT)",
        ),
        (config.players.is_some(), whom),
    ];
    let told = told.into_iter().filter(|(counts, _)| *counts);
    let told: Vec<_> = told.map(|(_, what)| what).collect();
    (!told.is_empty()).then(|| {
        format!(
            "not looked at here, and may turn a player away: {}",
            told.join("; ")
        )
    })
}

/// What a login would come to now.
#[must_use]
pub fn login(route: &Route, known: &Known) -> Outlook {
    let Some(starter) = known.starters.of(route) else {
        return not_woken(route);
    };
    let mut outlook = Outlook::default();
    let seen = &known.seen;
    let policy = &route.policy;
    let waiting = Waiting {
        protocol: NEWEST.protocol,
        eta: seen.eta,
        transferred: false,
        silent_for: Duration::ZERO,
    };
    let chain = chain(policy, waiting);
    let is_away = route.state.is_not_running() && seen.state != State::Running;
    if !is_away {
        let text = format!("{} is dialled first; if nobody is there, ", dialled(route));
        outlook.then("dial", &text);
    } else if !chain.begins_with_a_wait() {
        let text = format!(
            "{} is dialled first, though its row says that it does not run; if nobody is there, ",
            dialled(route)
        );
        outlook.then("dial", &text);
    } else {
        outlook.text += "it is not dialled, since its row says that it does not run; ";
    }
    outlook.wakes(route, known, starter);
    for attempt in &chain.attempts {
        match attempt {
            Attempt::Hold(limit) => {
                let text = format!("; the player is held for at most {}", seconds(*limit));
                outlook.then("hold", &text);
            }
            Attempt::Transfer(limit, _) => {
                let text = format!(
                    "; from 1.20.5 on the player is shown progress for at most {} and transferred back here",
                    seconds(*limit)
                );
                outlook.then("transfer", &text);
            }
            Attempt::Forward(address) => {
                outlook.then(
                    "forward",
                    &format!("; the player is forwarded to {address}"),
                );
            }
        }
    }
    let told = if chain.too_long {
        "; the player is told when to come back, since no wait may last as long as a start takes"
    } else if chain.attempts.is_empty() {
        "; the player is told to come back"
    } else {
        "; if that does not help, the player is told to come back"
    };
    outlook.then("kick", told);
    outlook
}

/// Who is dialled: the backend, or one of several.
fn dialled(route: &Route) -> String {
    match route.backends() {
        None => route.backend.to_string(),
        Some(backends) => {
            let balance = route.policy.balance.name();
            format!("the first that answers of {backends} ({balance})")
        }
    }
}

/// What a status ping would show now.
#[must_use]
pub fn ping(route: &Route, known: &Known) -> String {
    let woken = "; it wakes nothing";
    match known.seen.state.text() {
        None => format!(
            "a ping shows the status of {}, from the cache while it is fresh{woken}",
            dialled(route)
        ),
        Some(_) => format!(
            "a ping shows the server's own status if {} answers, else what it showed last with the text \
             of the state {:?}{woken}",
            dialled(route),
            known.seen.state.name()
        ),
    }
}

/// What becomes of those who come for a host that has no route.
#[must_use]
pub fn nobody() -> Outlook {
    Outlook {
        steps: vec!["kick"],
        text: "the player is told that there is no such server here".to_owned(),
    }
}

impl Outlook {
    fn then(&mut self, step: &'static str, text: &str) {
        self.steps.push(step);
        self.text += text;
    }

    /// Who starts the server, and who may have it started.
    fn wakes(&mut self, route: &Route, known: &Known, starter: Starter) {
        let by = match starter {
            Starter::Manager => "the server-manager",
            Starter::Webhook => "the webhook",
            Starter::Docker => "its engine",
        };
        match known.seen.state {
            State::Starting | State::Settling => self.then("wake", "it joins the start under way"),
            _ => match known.seen.retry_in {
                Some(retry_in) => {
                    let retry_in = seconds(retry_in);
                    let text = format!(
                        "{by} would start it, but not for another {retry_in}, because the last start failed"
                    );
                    self.then("wake", &text);
                }
                None => self.then("wake", &format!("{by} is asked to start it")),
            },
        }
        let rules = &route.policy.wake;
        if let Some(opens_in) = known.opens_in {
            let opens_in = seconds(opens_in);
            self.text += &format!(", which its hours (wake_hours) forbid for another {opens_in}");
        }
        if !rules.allow.is_empty() {
            let count = rules.allow.len();
            self.text += &format!(", only for the {count} players on its list (wake_allow)");
        }
        if !rules.deny.is_empty() {
            let count = rules.deny.len();
            self.text += &format!(", not for the {count} players on its list (wake_deny)");
        }
    }
}

/// A login to a server that nothing can start.
fn not_woken(route: &Route) -> Outlook {
    let mut outlook = Outlook::default();
    let dialled = format!("{} is dialled, and nothing can start it", dialled(route));
    outlook.then("dial", &dialled);
    let forwards = route.policy.join.contains(&Join::Forward);
    if let Some(address) = route.policy.forward_to.as_ref().filter(|_| forwards) {
        let text = format!("; if nobody is there, the player is forwarded to {address}");
        outlook.then("forward", &text);
    }
    outlook.then(
        "kick",
        "; if that does not help, the player is told that it is not reachable",
    );
    outlook
}

/// Without the parts of a second.
fn seconds(time: Duration) -> String {
    short(Duration::from_secs(time.as_secs()))
}
