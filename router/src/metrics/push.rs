//! Writes metrics to InfluxDB, on a runtime that no player waits for.
//!
//! Nothing is queued: what could not be written is in the next write, since counts are told as what came
//! since the last one that went through. What InfluxDB refuses is not tried for ever ([`REFUSALS_MAX`]), and what it kept
//! a part of is not tried again.

use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Request, Uri};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::influx::{At, OWN_TAGS, lines};
use super::influx_answer::{Answer, read};
use super::{Metrics, Reading};
use crate::admit::Admission;
use crate::config::InfluxConfig;
use crate::http_client::{AGENT, HttpClient, HttpError, Problem, ask, client, within};
use crate::relay::counters::Counters;

/// Longest time one write may take.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for the last one, when the router stops.
const LAST_TIMEOUT: Duration = Duration::from_secs(1);

/// How often in a row a write is refused before what came until then is given up.
pub const REFUSALS_MAX: u32 = 10;
/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Writes to one InfluxDB.
#[derive(Debug)]
pub struct Writer {
    metrics: Arc<Metrics>,
    relayed: Arc<Counters>,
    admission: Arc<Admission>,
    http: HttpClient,
    write: Uri,
    authorization: Option<HeaderValue>,
    every: Duration,
    tags: Vec<(String, String)>,
}

impl Writer {
    /// Prepares the client, for what `metrics` count, sessions move and `admission` has left;
    /// connects to nothing yet.
    ///
    /// # Errors
    /// HTTP or TLS could not be set up.
    pub fn new(
        config: InfluxConfig,
        metrics: Arc<Metrics>,
        relayed: Arc<Counters>,
        admission: Arc<Admission>,
    ) -> Result<Self, HttpError> {
        let authorization = config.login.as_ref().and_then(|(user, password)| {
            let basic = BASE64_STANDARD.encode(format!("{user}:{}", password.expose()));
            let mut value = HeaderValue::try_from(format!("Basic {basic}")).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Ok(Self {
            metrics,
            relayed,
            admission,
            http: client(config.write.scheme_str() == Some("https"))?,
            write: config.write,
            authorization,
            every: config.interval,
            tags: config.tags,
        })
    }

    /// Writes at every interval, and once more when `end` is cancelled.
    pub async fn run(self, end: CancellationToken) {
        let configured = self.tags.iter().map(|(name, _)| name.as_str());
        for name in configured.filter(|name| OWN_TAGS.contains(name)) {
            warn!(
                "the tag {name} of metrics_backend_config_influxdb_tags is also one of measurements' own, \
                 whose value is written then"
            );
        }
        let mut ticks = interval_at(Instant::now() + self.every, self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut backlog = Backlog::default();
        let mut ended = false;
        while !ended {
            ended = end.run_until_cancelled(ticks.tick()).await.is_none();
            let limit = if ended { LAST_TIMEOUT } else { WRITE_TIMEOUT };
            let now = Reading {
                rate_left: self.admission.rate_left(),
                ..self.metrics.reading(&self.relayed.totals())
            };
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            let levels = since.unwrap_or_default().as_nanos();
            let counts = *backlog.since.get_or_insert(levels);
            let text = lines(&now, &backlog.base, &self.tags, At { counts, levels });
            let written = self.write(&text, &mut backlog.lines_max);
            let answer = within(limit, async { Ok(written.await) }).await;
            backlog.took(answer.unwrap_or_else(Answer::from), now);
        }
    }

    /// Writes all lines, in pieces if they are too large for InfluxDB in one.
    async fn write(&self, text: &str, lines_max: &mut usize) -> Answer {
        let lines: Vec<_> = text.split_inclusive('\n').collect();
        let (mut rest, mut partly) = (lines.as_slice(), None);
        while !rest.is_empty() {
            let (piece, others) = rest.split_at(rest.len().min(*lines_max));
            let sent = self.post(piece.concat()).await;
            match sent.unwrap_or_else(Answer::from) {
                Answer::Taken => {}
                Answer::Partly(reason) => partly = Some(reason),
                Answer::TooLarge if piece.len() > 1 => {
                    *lines_max = piece.len() / 2;
                    continue;
                }
                Answer::TooLarge => partly = Some("one line is too large for it".to_owned()),
                other => return other,
            }
            rest = others;
        }
        partly.map_or(Answer::Taken, Answer::Partly)
    }

    async fn post(&self, lines: String) -> Result<Answer, Problem> {
        let mut request = Request::post(self.write.clone())
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, "text/plain; charset=utf-8");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(Bytes::from(lines)));
        let request = request.map_err(|error| Problem::Broken(error.to_string()))?;
        let setting = "METRICS_BACKEND_CONFIG_INFLUXDB_ADDR";
        let answer = ask(&self.http, request, setting, &Notify::new()).await?;
        let (status, header) = (answer.status(), answer.headers().get("x-influxdb-error"));
        let header = header.map(|told| String::from_utf8_lossy(told.as_bytes()).into_owned());
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect();
        let body = body.await.map(|body| body.to_bytes()).unwrap_or_default();
        Ok(read(status.as_u16(), header.as_deref(), &body))
    }
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Broken(reason) => Self::Broken(reason),
            Problem::Redirected(reason) => Self::Refused(reason),
        }
    }
}

/// What is to be written.
#[derive(Debug)]
struct Backlog {
    /// What was written last.
    base: Reading,
    /// When the first write since then was tried.
    since: Option<u128>,
    /// Refused in a row.
    refusals: u32,
    /// Most lines of one request.
    lines_max: usize,
    /// The trouble that was told.
    told: Option<Discriminant<Answer>>,
}

impl Default for Backlog {
    fn default() -> Self {
        Self {
            base: Reading::default(),
            since: None,
            refusals: 0,
            lines_max: usize::MAX,
            told: None,
        }
    }
}

impl Backlog {
    /// Takes the answer to what was counted until `now`.
    fn took(&mut self, answer: Answer, now: Reading) {
        let refused = matches!(answer, Answer::Refused(_));
        self.refusals = if refused { self.refusals + 1 } else { 0 };
        let given_up = self.refusals == REFUSALS_MAX;
        if !matches!(answer, Answer::Refused(_) | Answer::Broken(_)) || given_up {
            (self.base, self.since, self.refusals) = (now, None, 0);
        }
        let kind = (answer != Answer::Taken).then(|| discriminant(&answer));
        let news = std::mem::replace(&mut self.told, kind) != kind;
        let problem = "metrics cannot be written to InfluxDB";
        match answer {
            Answer::Refused(reason) if given_up => {
                warn!("{problem}: {reason}; what was counted until now is given up");
            }
            _ if !news => {}
            Answer::Taken => info!("InfluxDB takes metrics again"),
            Answer::Partly(reason) => {
                warn!(
                    "InfluxDB keeps a part of the metrics, and is not sent the rest again: {reason}"
                );
            }
            Answer::TooLarge => warn!("metrics are too large for InfluxDB"),
            Answer::Refused(reason) | Answer::Broken(reason) => {
                warn!("{problem}: {reason}; trying on");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(accepted: u64) -> Reading {
        Reading {
            accepted,
            ..Reading::default()
        }
    }

    fn refused() -> Answer {
        Answer::Refused("400".to_owned())
    }

    #[test]
    fn what_is_refused_is_given_up_after_a_while_and_what_breaks_is_not() {
        let mut backlog = Backlog {
            since: Some(7),
            ..Backlog::default()
        };
        for write in 1..REFUSALS_MAX {
            backlog.took(refused(), counted(write.into()));
            assert_eq!((backlog.base.accepted, backlog.since), (0, Some(7)));
        }
        backlog.took(Answer::Broken("503".to_owned()), counted(50));
        for write in 1..REFUSALS_MAX {
            backlog.took(refused(), counted(50 + u64::from(write)));
        }
        assert_eq!((backlog.base.accepted, backlog.since), (0, Some(7)));
        backlog.took(refused(), counted(70));
        assert_eq!((backlog.base.accepted, backlog.since), (70, None));
    }

    #[test]
    fn what_was_kept_in_part_is_not_sent_again() {
        let mut backlog = Backlog::default();
        backlog.took(Answer::Partly("400".to_owned()), counted(3));
        assert_eq!(backlog.base.accepted, 3);
    }
}
