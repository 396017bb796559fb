//! Where log lines go: standard error, as text or as JSON.
//!
//! Fields whose name begins with [`FOR_PROGRAMS`] are for JSON alone, where people have a sentence.

use std::ffi::OsStr;
use std::fmt::{self, Debug};
use std::io::IsTerminal;

use serde::Serialize;
use serde_json::{Map, Number, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::field::{RecordFields, VisitOutput};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{DefaultVisitor, JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// What the names of fields begin with that only programs are to read.
const FOR_PROGRAMS: &str = "json.";
/// The variable that switches colours off where it is not empty: <https://no-color.org>.
const NO_COLOR: &str = "NO_COLOR";
/// Most characters of what a client has said that are shown.
const SHOWN_CHARS_MAX: usize = 128;

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    /// The least important level that is written.
    pub level: tracing::Level,
    /// How.
    pub format: LogFormat,
}

/// Starts logging for the process; a second call changes nothing.
pub fn init(config: LogConfig) {
    // Libraries are chatty at debug and trace; what they say at info and above is for operators.
    let ours = LevelFilter::from_level(config.level);
    let theirs = ours.min(LevelFilter::INFO);
    let filter = Targets::new().with_default(theirs).with_targets([
        ("automc_router", ours),
        ("waker_mock", ours),
        ("harness", ours),
    ]);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    let outcome = match config.format {
        LogFormat::Json => {
            let layer = layer.json().with_ansi(false);
            registry.with(layer.event_format(Flat)).try_init()
        }
        LogFormat::Text => {
            let no_color = std::env::var_os(NO_COLOR);
            let colours = is_coloured(std::io::stderr().is_terminal(), no_color.as_deref());
            let layer = layer.with_ansi(colours).with_target(false);
            registry.with(layer.fmt_fields(ForPeople)).try_init()
        }
    };
    // Already started, by a test or by whoever embeds the router.
    drop(outcome);
}

/// Whether there are colours: on a terminal, unless its user wants none.
fn is_coloured(is_terminal: bool, no_color: Option<&OsStr>) -> bool {
    is_terminal && no_color.is_none_or(OsStr::is_empty)
}

/// What a client has said, as one word without blanks: no line, field or colour of the log can be forged
/// with it.
#[must_use]
pub fn word(said: &str) -> String {
    let mut word = String::with_capacity(said.len().min(SHOWN_CHARS_MAX));
    let mut chars = said.chars();
    for char in chars.by_ref().take(SHOWN_CHARS_MAX) {
        if char.is_alphanumeric()
            || char.is_ascii_punctuation() && !matches!(char, '=' | '"' | '\\' | '{' | '}')
        {
            word.push(char);
        } else {
            word.extend(char.escape_unicode());
        }
    }
    if chars.next().is_some() {
        word.push('…');
    }
    word
}

/// Fields of text, without those for programs.
struct ForPeople;

impl<'writer> FormatFields<'writer> for ForPeople {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut visitor = DefaultVisitor::new(writer, true);
        fields.record(&mut WithoutPrograms(&mut visitor));
        visitor.finish()
    }
}

struct WithoutPrograms<'v, 'w>(&'v mut DefaultVisitor<'w>);

impl Visit for WithoutPrograms<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if !field.name().starts_with(FOR_PROGRAMS) {
            self.0.record_debug(field, value);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if !field.name().starts_with(FOR_PROGRAMS) {
            self.0.record_str(field, value);
        }
    }
}

/// One JSON object, with the fields of the event and of what it happened in side by side.
struct Flat;

#[derive(Serialize)]
struct Line<'l> {
    timestamp: String,
    level: &'l str,
    target: &'l str,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

impl<S> FormatEvent<S, JsonFields> for Flat
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        for span in context
            .event_scope()
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            if let Some(recorded) = span.extensions().get::<FormattedFields<JsonFields>>()
                && let Ok(Value::Object(recorded)) = serde_json::from_str(recorded)
            {
                for (name, value) in recorded {
                    fields.put(&name, value);
                }
            }
        }
        event.record(&mut fields);
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let line = Line {
            timestamp,
            level: event.metadata().level().as_str(),
            target: event.metadata().target(),
            fields: fields.0,
        };
        let line = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
        writeln!(writer, "{line}")
    }
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        let name = name.strip_prefix(FOR_PROGRAMS).unwrap_or(name);
        self.0.insert(name.to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), Number::from_f64(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io;
    use std::sync::{Arc, Mutex};
    use tracing::field::{Empty, display};
    use tracing::{info, info_span};

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Writes a line of a connection to `host`.
    fn say(subscriber: impl Subscriber + Send + Sync, host: &str) {
        tracing::subscriber::with_default(subscriber, || {
            let span = info_span!("conn", host = Empty, name = Empty);
            span.record("host", display(word(host)));
            let _in = span.entered();
            info!(json.took_ms = 1.5, took = "1.5ms", waited = true, "joined");
        });
    }

    impl Written {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn text(host: &str) -> String {
        let written = Written::default();
        let to = written.clone();
        let layer = tracing_subscriber::fmt::layer().with_ansi(false);
        let layer = layer.fmt_fields(ForPeople).with_writer(move || to.clone());
        say(tracing_subscriber::registry().with(layer), host);
        written.text()
    }

    fn json(host: &str) -> String {
        let written = Written::default();
        let to = written.clone();
        let layer = tracing_subscriber::fmt::layer().json();
        let layer = layer.event_format(Flat).with_writer(move || to.clone());
        say(tracing_subscriber::registry().with(layer), host);
        written.text()
    }

    #[test]
    fn people_read_a_duration_and_programs_a_number_beside_what_it_happened_in() {
        let line = text("a.example");
        assert!(line.contains("conn{host=a.example}"), "{line}");
        assert!(
            line.contains("joined took=\"1.5ms\" waited=true\n"),
            "{line}"
        );
        let line: Value = serde_json::from_str(&json("a.example")).unwrap();
        assert_eq!(line["message"], "joined");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["host"], "a.example");
        assert_eq!(line["took_ms"], 1.5);
        assert_eq!(line["waited"], true);
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn colours_are_for_terminals_whose_users_want_them() {
        for (is_terminal, no_color, coloured) in [
            (true, None, true),
            (true, Some(""), true),
            (true, Some("1"), false),
            (true, Some("0"), false),
            (false, None, false),
        ] {
            let found = is_coloured(is_terminal, no_color.map(OsStr::new));
            assert_eq!(found, coloured, "{is_terminal} {no_color:?}");
        }
    }

    #[test]
    fn what_a_client_said_is_one_word_of_bounded_length() {
        for (said, shown) in [
            ("a.example", "a.example"),
            ("münchen.example:25565", "münchen.example:25565"),
            ("a b", "a\\u{20}b"),
            (
                "x\nINFO y=\"z\"\u{1b}[31m",
                "x\\u{a}INFO\\u{20}y\\u{3d}\\u{22}z\\u{22}\\u{1b}[31m",
            ),
            ("\u{202e}evil", "\\u{202e}evil"),
        ] {
            assert_eq!(word(said), shown);
        }
        let long = word(&"x".repeat(10_000));
        assert_eq!(long.chars().count(), SHOWN_CHARS_MAX + 1);
    }

    proptest! {
        #[test]
        fn whatever_a_client_types_is_one_line_and_one_field(host in "\\PC*|.*|[\\x00-\\x7f]*") {
            let line = text(&host);
            prop_assert_eq!(line.matches('\n').count(), 1);
            let (_, rest) = line.split_once("conn{host=").unwrap();
            let (shown, rest) = rest.split_once("}: ").unwrap();
            prop_assert!(!shown.contains([' ', '=', '"']) && !shown.contains(char::is_control));
            prop_assert!(rest.starts_with("automc_router::log::tests: joined"));
            let line = json(&host);
            prop_assert_eq!(line.matches('\n').count(), 1);
            let line: Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(&line["host"], &word(&host));
            prop_assert_eq!(&line["message"], "joined");
        }
    }
}
