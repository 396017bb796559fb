//! Why a host name leads where it does, or nowhere: the walk of a look-up, told step by step.
//!
//! Pure but for [`offline`]. Names and hosts in texts are escaped, since anybody may have chosen them.

pub mod cleaned;
pub mod found;
pub mod offline;
pub mod words;

use serde::Serialize;

use crate::config::AdmitConfig;
use crate::routes::Route;
use found::{Found, How};
use words::{Known, Outlook};

/// Longest address that is explained, in bytes: the longest that a client can send.
pub const ADDRESS_BYTES_MAX: usize = crate::protocol::HOST_BYTES_MAX;

/// One step of the walk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Which: `clean-up`, `sources` (only from a running router), `match`, `others`, `excluded`, `server`, `health`,
    /// `admission` (where settings decide who comes in), `login` or `ping`.
    pub step: &'static str,
    /// What came of it.
    pub text: String,
}

/// How a host name came by its route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Matched {
    /// `exact`, `wildcard`, `default` or `none`.
    pub kind: &'static str,
    /// The pattern, of a wildcard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// What its stars stood for, from left to right.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub captures: Vec<String>,
}

/// The route that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leads {
    /// What its source calls it.
    pub name: String,
    /// Its source.
    pub provider: &'static str,
    /// Where its server listens.
    pub backend: String,
    /// The state of its server.
    pub state: &'static str,
    /// How healthy its backend is, where that is watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<&'static str>,
}

/// An entry that asks for the host and does not have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Other {
    /// What its source calls it.
    pub name: String,
    /// Its source.
    pub provider: &'static str,
    /// `shadowed`, or the reason why it is no route.
    pub reason: &'static str,
    /// That in words.
    pub text: String,
}

/// Everything there is to say of one host name; at most [`found::SHOWN_MAX`] others of each kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The name, cleaned up.
    pub host: String,
    /// How it came by its route.
    #[serde(rename = "match")]
    pub matched: Matched,
    /// The route, if there is one.
    pub route: Option<Leads>,
    /// Who asks for it and does not have it.
    pub others: Vec<Other>,
    /// What a login would do, in this order, each if the one before did not help: `dial`, `wake`, `hold`, `transfer`, `forward`,
    /// `kick`.
    pub login: Vec<&'static str>,
    /// The walk, in words.
    pub steps: Vec<Step>,
}

impl Explanation {
    /// Tells what was `found`; of the server of its route, by what is `known`; who comes in goes by `admit`.
    #[must_use]
    pub fn of(found: &Found, admit: &AdmitConfig, known: impl FnOnce(&Route) -> Known) -> Self {
        let mut steps = vec![cleaned(found), matched(found)];
        let others = others(found);
        steps.extend(asides(found));
        let mut leads = None;
        let outlook = if let Some(route) = found.route.as_deref() {
            let known = known(route);
            leads = Some(Leads {
                name: route.name.to_string(),
                provider: route.provider.name(),
                backend: route.leads_to(),
                state: known.seen.state.name(),
                health: known.health.map(|reading| reading.status.name()),
            });
            steps.push(step("server", words::server(route, &known)));
            let health = known.health.as_ref();
            steps.extend(health.map(|reading| step("health", words::health(route, reading))));
            let outlook = words::login(route, &known);
            let admission = words::admission(admit);
            steps.extend(admission.map(|text| step("admission", text)));
            steps.push(step("login", format!("at a login, {}", outlook.text)));
            steps.push(step("ping", words::ping(route, &known)));
            outlook
        } else {
            let outlook = words::nobody();
            steps.push(step("login", format!("at a login, {}", outlook.text)));
            let ping = "a ping shows the text for hosts without a route".to_owned();
            steps.push(step("ping", ping));
            outlook
        };
        let Outlook { steps: login, .. } = outlook;
        Self {
            host: found.cleaned.key.clone(),
            matched: Matched::of(&found.how),
            route: leads,
            others,
            login,
            steps,
        }
    }

    /// Says that the health of its route's backend is watched, and not known here.
    fn health_unknown(&mut self) {
        let text = "a running router knows how healthy its backend is: GET /explain";
        let server = self.steps.iter().position(|step| step.step == "server");
        if let Some(server) = server {
            self.steps
                .insert(server + 1, step("health", text.to_owned()));
        }
    }
}

impl Matched {
    fn of(how: &How) -> Self {
        let kind = match how {
            How::Exact => "exact",
            How::Wildcard(..) => "wildcard",
            How::Default => "default",
            How::Nobody => "none",
        };
        let (pattern, captures) = match how {
            How::Wildcard(pattern, captures) => (Some(pattern.to_string()), captures.clone()),
            _ => (None, Vec::new()),
        };
        Self {
            kind,
            pattern,
            captures,
        }
    }
}

fn step(step: &'static str, text: String) -> Step {
    Step { step, text }
}

/// A route as texts name it.
fn named(route: &Route) -> String {
    format!("route {:?} of {}", &*route.name, route.provider.name())
}

fn cleaned(found: &Found) -> Step {
    let notes = &found.cleaned.notes;
    let key = &found.cleaned.key;
    let text = if notes.is_empty() {
        format!("looked up as {key:?}, as it is")
    } else {
        format!("looked up as {key:?}: {}", notes.join("; "))
    };
    step("clean-up", text)
}

fn matched(found: &Found) -> Step {
    let (key, route) = (&found.cleaned.key, found.route.as_deref());
    let whose = route.map(|route| format!("{}, which leads to {}", named(route), route.leads_to()));
    let whose = whose.unwrap_or_default();
    let text = match &found.how {
        How::Exact => {
            let first = route.and_then(|route| route.host.as_ref());
            let is_alias = first.is_some_and(|first| first.as_str() != key);
            let what = if is_alias { "an alias" } else { "the host" };
            format!("{key:?} is {what} of {whose}")
        }
        How::Wildcard(pattern, captures) => {
            let stars = captures.iter().map(|star| format!("{star:?}"));
            let stars = stars.collect::<Vec<_>>().join(", ");
            let pattern = pattern.as_str();
            format!("{key:?} matches {pattern:?}, whose stars stand for {stars}, of {whose}")
        }
        How::Default => format!("no route has {key:?}, so it goes to the default: {whose}"),
        How::Nobody => format!("no route has {key:?}, and there is no default route"),
    };
    step("match", text)
}

/// Whoever else has to do with the host, in words.
fn asides(found: &Found) -> Vec<Step> {
    let mut steps: Vec<_> = others(found)
        .into_iter()
        .map(|other| {
            let shadowed = other.reason == "shadowed";
            step(if shadowed { "others" } else { "excluded" }, other.text)
        })
        .collect();
    let why = match found.how {
        How::Exact => "a host without stars comes first",
        _ => "a longer or more special pattern comes first",
    };
    let patterns = found.others.iter().map(|(pattern, route)| {
        let (pattern, route) = (pattern.as_str(), named(route));
        step(
            "others",
            format!("{pattern:?} of {route} matches too; {why}"),
        )
    });
    steps.extend(patterns);
    if let Some((pattern, route)) = &found.unfilled {
        let (pattern, backend, route) = (pattern.as_str(), &route.backend, named(route));
        let text = format!(
            "{pattern:?} of {route} matches, but {backend} is no address with what its stars stand for"
        );
        steps.push(step("excluded", text));
    }
    if let Some(pattern) = &found.beside {
        let pattern = pattern.as_str();
        let text =
            format!("{pattern:?} does not match, since a star stands for a part of one label");
        steps.push(step("excluded", text));
    }
    steps.extend(found.namesakes.iter().map(|route| {
        let host = route.host.as_ref().map_or("", |host| host.as_str());
        let text = format!("{} is called so; its host is {host:?}", named(route));
        step("others", text)
    }));
    steps
}

fn others(found: &Found) -> Vec<Other> {
    let losers = found.losers.iter().map(|shadowed| Other {
        name: shadowed.loser.name.to_string(),
        provider: shadowed.loser.provider.name(),
        reason: "shadowed",
        text: format!("{} asks for it too, but {shadowed}", named(&shadowed.loser)),
    });
    let excluded = found.excluded.iter().map(|(provider, entry)| Other {
        name: entry.name.to_string(),
        provider: provider.name(),
        reason: entry.reason.name(),
        text: format!(
            "{:?} of {} would have to do with it, but is no route: {}",
            &*entry.name,
            provider.name(),
            entry.reason
        ),
    });
    losers.chain(excluded).collect()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
