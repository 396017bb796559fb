//! Writes metrics to InfluxDB, on a runtime that no player waits for.
//!
//! Nothing is queued: what could not be written is in the next write, since counts are told as what came
//! since the last one that went through.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Request, Uri};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::influx::lines;
use super::{Metrics, Reading};
use crate::admit::Admission;
use crate::causes::with_causes;
use crate::config::InfluxConfig;
use crate::http_client::{AGENT, HttpClient, HttpError, client, within};
use crate::relay::counters::Counters;

/// Longest time one write may take.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for the last one, when the router stops.
const LAST_TIMEOUT: Duration = Duration::from_secs(1);

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
        let mut ticks = interval_at(Instant::now() + self.every, self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut base, mut broken) = (Reading::default(), false);
        let mut ended = false;
        while !ended {
            ended = end.run_until_cancelled(ticks.tick()).await.is_none();
            let limit = if ended { LAST_TIMEOUT } else { WRITE_TIMEOUT };
            let now = Reading {
                rate_left: self.admission.rate_left(),
                ..self.metrics.reading(&self.relayed.totals())
            };
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            let nanos = since.unwrap_or_default().as_nanos();
            let text = lines(&now, &base, &self.tags, nanos);
            match within(limit, self.write(text)).await {
                Ok(()) => {
                    base = now;
                    if std::mem::take(&mut broken) {
                        info!("InfluxDB takes metrics again");
                    }
                }
                Err(error) if !broken => {
                    broken = true;
                    warn!("metrics cannot be written to InfluxDB: {error}; trying on");
                }
                Err(_) => {}
            }
        }
    }

    async fn write(&self, lines: String) -> Result<(), String> {
        let mut request = Request::post(self.write.clone())
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, "text/plain; charset=utf-8");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(Bytes::from(lines)));
        let request = request.map_err(|error| error.to_string())?;
        let answer = self.http.request(request).await;
        let status = answer.map_err(|error| with_causes(&error))?.status();
        if status.is_success() {
            Ok(())
        } else {
            Err(format!("it answered {status}"))
        }
    }
}
