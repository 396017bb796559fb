//! What InfluxDB's answer to a write means: of 1.x, and of later versions by the same path.
//!
//! Pure.

use serde_json::Value;

/// Longest reason that is told, in characters.
const REASON_CHARS_MAX: usize = 300;

/// What became of the lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// They are kept.
    Taken,
    /// Some are kept, and the others never will be: why not. The number that comes with it says nothing: of lines that
    /// cannot be read it is 0 (`findings/influxdb-partial-write.sh`).
    Partly(String),
    /// Less in one request would do.
    TooLarge,
    /// None is kept, and the same lines will not be.
    Refused(String),
    /// None may be kept, and the next time they may.
    Broken(String),
}

/// Reads an answer: its status, the header `X-Influxdb-Error`, and the body.
pub(super) fn read(status: u16, header: Option<&str>, body: &[u8]) -> Answer {
    let told = header.map_or_else(|| told(body), |header| Some(header.to_owned()));
    let told = told.map(|told| clean(&told));
    let reason = || {
        let told = told.as_ref().map(|told| format!(": {told}"));
        format!("it answered {status}{}", told.unwrap_or_default())
    };
    let partly = told
        .as_ref()
        .is_some_and(|told| told.contains("partial write"));
    match status {
        200..=299 => Answer::Taken,
        413 => Answer::TooLarge,
        408 | 425 | 429 | 500.. => Answer::Broken(reason()),
        400..=499 if partly => Answer::Partly(reason()),
        _ => Answer::Refused(reason()),
    }
}

/// `error` of 1.x, `message` of 2.
fn told(body: &[u8]) -> Option<String> {
    let json: Value = serde_json::from_slice(body).ok()?;
    let told = json.get("message").or_else(|| json.get("error"))?;
    told.as_str().map(str::to_owned)
}

fn clean(told: &str) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    told.chars().map(shown).take(REASON_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_write_is_told_from_a_refusal_in_the_words_of_every_version() {
        let conflict = r#"{"error":"partial write: field type conflict: input field \"count\" on measurement \"m\" is type float, already exists as type integer dropped=1"}"#;
        let later = r#"{"code":"unprocessable entity","message":"failure writing points to database: partial write: field type conflict"}"#;
        let third = r#"{"error":"partial write of line protocol occurred","data":[]}"#;
        for (status, body) in [(400, conflict), (422, later), (400, third)] {
            let answer = read(status, None, body.as_bytes());
            assert!(
                matches!(&answer, Answer::Partly(why) if why.contains("partial write")),
                "{answer:?}"
            );
        }
        let header = "partial write: unable to parse 'x': duplicate tags dropped=0";
        assert!(matches!(read(400, Some(header), b""), Answer::Partly(_)));
    }

    #[test]
    fn what_may_be_different_next_time_is_told_from_what_will_not() {
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert!(
                matches!(read(status, None, b"partial write"), Answer::Broken(_)),
                "{status}"
            );
        }
        for status in [301, 304, 400, 401, 403, 404, 405, 411, 422] {
            assert!(
                matches!(read(status, None, b"{}"), Answer::Refused(_)),
                "{status}"
            );
        }
        assert_eq!(read(413, None, b""), Answer::TooLarge);
        assert_eq!(read(204, Some("partial write"), b""), Answer::Taken);
    }

    #[test]
    fn a_reason_is_one_line_and_short_whatever_is_answered() {
        let long = format!("{{\"error\":\"a\\nb{}\"}}", "x".repeat(10_000));
        let Answer::Refused(reason) = read(400, None, long.as_bytes()) else {
            panic!("no refusal")
        };
        assert!(reason.starts_with("it answered 400: a bx"), "{reason}");
        assert!(reason.chars().count() < REASON_CHARS_MAX + 30);
        assert_eq!(
            read(400, None, b"\xff["),
            Answer::Refused("it answered 400".to_owned())
        );
    }
}
