//! What to do wrong, and when: refuse, stall, lie about the address, go away.
//!
//! Pure: decides from the [`Faults`] asked for and how often they struck; carried out by
//! [`crate::http`] and [`crate::manager`].

use std::time::Duration;

use automc_router::config::values;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::server::Plan;

/// Longest delay that can be asked for, of an answer or of a state.
pub const DELAY_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest a hung request is held before it is answered with 504 after all.
pub const HANG_MAX: Duration = Duration::from_secs(10 * 60);
/// Lowest and highest status a request can be refused with.
const STATUS_BOUNDS: (u16, u16) = (300, 599);
/// What `malformed_address` tells instead of the address.
pub const MALFORMED_ADDRESS: &str = "not an address";
/// What `malformed_json` answers a poll with.
pub const MALFORMED_JSON: &str = "{\"state\":\"running\",\"addr";

/// What `still_starting` tells players, in the words of modded servers.
pub const STILL_STARTING: &str = "Server is still starting! Please wait before reconnecting.";

/// Everything that goes wrong with one server; all off by default.
///
/// As JSON, an object with the fields below; durations are texts such as `"2s"`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Starts are refused with a status and change nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refuse_start: Option<Refusal>,
    /// Polls are refused with a status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refuse_poll: Option<Refusal>,
    /// Starts take effect at once, but are answered this much later; at most [`DELAY_MAX`].
    #[serde(with = "duration_text", skip_serializing_if = "Option::is_none")]
    pub delay_start: Option<Duration>,
    /// Polls are answered this much later, with what was true before; at most [`DELAY_MAX`].
    #[serde(with = "duration_text", skip_serializing_if = "Option::is_none")]
    pub delay_poll: Option<Duration>,
    /// Starts are swallowed: no effect, and no answer for [`HANG_MAX`].
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hang_start: bool,
    /// Polls get no answer for [`HANG_MAX`].
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hang_poll: bool,
    /// Polls are answered with half an object.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub malformed_json: bool,
    /// It stays starting for ever.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub never_running: bool,
    /// Polls never tell an address.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_address: bool,
    /// Polls tell something that is no address.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub malformed_address: bool,
    /// Its port never opens, so its address refuses connections.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub refuse_connections: bool,
    /// It crashes this long after its start, booted or not; at most [`DELAY_MAX`].
    #[serde(with = "duration_text", skip_serializing_if = "Option::is_none")]
    pub crash_after: Option<Duration>,
    /// Its port takes players, and closes status pings without an answer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_status: bool,
    /// Players are turned away with [`STILL_STARTING`] so long after its port opened; at most
    /// [`DELAY_MAX`].
    #[serde(with = "duration_text", skip_serializing_if = "Option::is_none")]
    pub still_starting: Option<Duration>,
    /// Polls offer no wait and keep none, and tell no progress: a server-manager that knows the
    /// contract's least.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub plain: bool,
}

/// A status instead of an answer. As JSON: `503`, `"503x2"` (the first two times) or
/// `{"status":503,"times":2}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The status, 300 to 599.
    pub status: u16,
    /// How many requests are refused, from the time the fault was set; `None`: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

/// What to do with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Carry it out; answer after this long.
    Answer(Duration),
    /// Answer with this status, after this long, and do nothing.
    Refuse(u16, Duration),
    /// Neither.
    Hang,
}

/// What a game port does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Manners {
    /// It closes status pings.
    pub(crate) no_status: bool,
    /// It turns players away so long after it opened.
    pub(crate) still_starting: Duration,
}

/// How often refusals struck since the faults were set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Struck {
    start: u32,
    poll: u32,
}

impl Faults {
    /// Reads `refuse_start=503x2;never_running`: JSON fields with their values, by semicolons.
    ///
    /// # Errors
    /// A field that does not exist, or a value it cannot have.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut fields = serde_json::Map::new();
        for item in text
            .split(';')
            .map(str::trim)
            .filter(|item| !item.is_empty())
        {
            let (name, value) = match item.split_once('=') {
                None => (item, serde_json::Value::Bool(true)),
                Some((name, "true")) => (name, serde_json::Value::Bool(true)),
                Some((name, "false")) => (name, serde_json::Value::Bool(false)),
                Some((name, value)) => (name, value.into()),
            };
            fields.insert(name.trim().to_owned(), value);
        }
        serde_json::from_value(fields.into()).map_err(|error| error.to_string())
    }

    /// Decides over one `POST …/start`, and counts it if it is refused.
    pub(crate) fn on_start(&self, struck: &mut Struck) -> Verdict {
        let delay = self.delay_start.unwrap_or_default();
        verdict(self.hang_start, self.refuse_start, delay, &mut struck.start)
    }

    /// Decides over one poll, and counts it if it is refused.
    pub(crate) fn on_poll(&self, struck: &mut Struck) -> Verdict {
        let delay = self.delay_poll.unwrap_or_default();
        verdict(self.hang_poll, self.refuse_poll, delay, &mut struck.poll)
    }

    /// The address a poll tells where `truth` is the right one.
    pub(crate) fn address(&self, truth: Option<String>) -> Option<String> {
        match truth {
            Some(_) if self.no_address => None,
            Some(_) if self.malformed_address => Some(MALFORMED_ADDRESS.to_owned()),
            truth => truth,
        }
    }

    /// How its port treats who connects.
    pub(crate) fn manners(&self) -> Manners {
        Manners {
            no_status: self.no_status,
            still_starting: self.still_starting.unwrap_or_default(),
        }
    }

    /// What becomes of `plan`.
    pub(crate) fn spoil(&self, plan: Plan) -> Plan {
        Plan {
            boot: plan.boot.filter(|_| !self.never_running),
            port: plan.port.filter(|_| !self.refuse_connections),
            crash: self.crash_after.or(plan.crash),
            stop: plan.stop,
        }
    }
}

fn verdict(hang: bool, refusal: Option<Refusal>, delay: Duration, struck: &mut u32) -> Verdict {
    if hang {
        return Verdict::Hang;
    }
    match refusal {
        Some(Refusal { status, times }) if times.is_none_or(|times| *struck < times) => {
            *struck = struck.saturating_add(1);
            Verdict::Refuse(status, delay)
        }
        _ => Verdict::Answer(delay),
    }
}

impl Refusal {
    /// Refuses every time.
    #[must_use]
    pub fn always(status: u16) -> Self {
        Self {
            status,
            times: None,
        }
    }

    /// Refuses the first `times` times.
    #[must_use]
    pub fn first(times: u32, status: u16) -> Self {
        Self {
            status,
            times: Some(times),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (status, times) = match text.split_once('x') {
            Some((status, times)) => (status, Some(values::number(times, 1, u32::MAX)?)),
            None => (text, None),
        };
        let (min, max) = STATUS_BOUNDS;
        let status = values::number(status, min, max)?;
        Ok(Self { status, times })
    }
}

impl<'de> Deserialize<'de> for Refusal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Object {
            status: u16,
            times: Option<u32>,
        }
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "expected a status such as 503, \"503x2\" or an object with status and times"
        )]
        enum Form {
            Status(u16),
            Text(String),
            Object(Object),
        }
        let text = match Form::deserialize(deserializer)? {
            Form::Status(status) => status.to_string(),
            Form::Text(text) => text,
            Form::Object(Object { status, times }) => match times {
                Some(times) => format!("{status}x{times}"),
                None => status.to_string(),
            },
        };
        Self::parse(&text).map_err(D::Error::custom)
    }
}

/// Durations as texts such as `"2s"`, up to [`DELAY_MAX`].
pub(crate) mod duration_text {
    use super::{DELAY_MAX, Deserialize, Deserializer, Duration, Serializer, values};
    use serde::de::Error as _;

    pub(crate) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(duration) => serializer.serialize_str(&values::short(*duration)),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let read = |text: String| values::duration(&text, Duration::ZERO, DELAY_MAX);
        text.map(read).transpose().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_short_form_means_what_the_json_means() {
        let short =
            Faults::parse("refuse_start=503x2; never_running;crash_after=3s;hang_poll=false");
        let json =
            r#"{"refuse_start":{"status":503,"times":2},"never_running":true,"crash_after":"3s"}"#;

        assert_eq!(short, Ok(serde_json::from_str(json).unwrap()));
        assert_eq!(serde_json::to_string(&short.unwrap()).unwrap(), json);
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_reason() {
        for (text, reason) in [
            ("never_runing", "never_runing"),
            ("refuse_start=200", "300 to 599"),
            ("refuse_start=503x0", "from 1"),
            ("delay_poll=5", "not a duration"),
            ("crash_after=25h", "out of bounds"),
            ("hang_start=maybe", "boolean"),
        ] {
            let error = Faults::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn a_hang_comes_before_a_refusal_and_starts_and_polls_are_apart() {
        let faults = Faults::parse("refuse_start=500;hang_poll;delay_start=2s").unwrap();
        let mut struck = Struck::default();

        let late = Duration::from_secs(2);
        assert_eq!(faults.on_start(&mut struck), Verdict::Refuse(500, late));
        assert_eq!(faults.on_poll(&mut struck), Verdict::Hang);
    }

    proptest! {
        #[test]
        fn exactly_the_first_n_are_refused(times in 1_u32..20, requests in 0_u32..40) {
            let faults = Faults { refuse_poll: Some(Refusal::first(times, 502)), ..Faults::default() };
            let mut struck = Struck::default();
            let refused = (0..requests)
                .filter(|_| faults.on_poll(&mut struck) == Verdict::Refuse(502, Duration::ZERO))
                .count();
            prop_assert_eq!(refused, usize::try_from(times.min(requests)).unwrap());
        }

        #[test]
        fn no_faults_change_nothing(boot in 0_u64..9, address in prop::option::of("[a-z]{1,9}:1")) {
            let plan = Plan { boot: Some(Duration::from_secs(boot)), stop: Duration::ZERO, port: Some(Duration::ZERO), crash: None };
            let none = Faults::default();
            prop_assert_eq!(none.spoil(plan), plan);
            prop_assert_eq!(none.address(address.clone()), address);
            prop_assert_eq!(none.on_start(&mut Struck::default()), Verdict::Answer(Duration::ZERO));
        }
    }
}
