//! What the snapshot file says: the table's rows as they were read, a line of JSON for each thing.
//!
//! The first line tells the version, then comes a line for every row, then the state they are of. After that, every
//! change adds one line: its state, its rows as they are now, and the names of those that are gone. A line that was
//! not written to its end is not there.
//!
//! Pure.

use serde::{Deserialize, Serialize};

use super::revision::Mark;
use crate::routes::overrides::Setting;
use crate::routes::row::Row;
use crate::shared_str::SharedStr;

/// What the first line says; another one is somebody else's file, or a later version's.
pub const VERSION: u32 = 1;
/// Longest line, in bytes. Rows beyond it are not kept, and changes have the file written anew.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Line {
    #[serde(rename = "automc-snapshot", skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rows: Vec<Saved>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gone: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Saved {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aliases: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    settings: Vec<(String, String)>,
}

/// Why a text is no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is no snapshot of the table, or one of another version")]
pub struct NoSnapshot;

/// What a line adds to what came before it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content {
    /// Rows as they are now.
    pub rows: Vec<Row>,
    /// Names of rows that are no more.
    pub gone: Vec<String>,
    /// The state of the table, where it counts them.
    pub mark: Option<Mark>,
}

/// The first line.
#[must_use]
pub fn first() -> Vec<u8> {
    text(&Line {
        version: Some(VERSION),
        ..Line::default()
    })
}

/// The line of one row; nothing for one that is too long.
#[must_use]
pub fn row(row: &Row) -> Vec<u8> {
    let line = text(&Line {
        rows: vec![Saved::of(row)],
        ..Line::default()
    });
    if line.len() > LINE_BYTES_MAX {
        Vec::new()
    } else {
        line
    }
}

/// The line of a change; `None` if it is too long.
#[must_use]
pub fn change<'a>(
    rows: &[Row],
    gone: impl Iterator<Item = &'a SharedStr>,
    mark: Option<&Mark>,
) -> Option<Vec<u8>> {
    let line = text(&Line {
        version: None,
        rows: rows.iter().map(Saved::of).collect(),
        gone: gone.map(|name| name.to_string()).collect(),
        epoch: mark.map(|mark| mark.epoch.to_string()),
        revision: mark.map(|mark| mark.revision),
    });
    (line.len() <= LINE_BYTES_MAX).then_some(line)
}

/// Checks the first line.
///
/// # Errors
/// It is not what [`first`] says.
pub fn check(line: &str) -> Result<(), NoSnapshot> {
    let line: Line = serde_json::from_str(line).map_err(|_| NoSnapshot)?;
    if line.version == Some(VERSION) {
        Ok(())
    } else {
        Err(NoSnapshot)
    }
}

/// Reads any other line; `None` for one that is broken, or was not written to its end.
#[must_use]
pub fn read(line: &str) -> Option<Content> {
    let line: Line = serde_json::from_str(line.strip_suffix('\n')?).ok()?;
    let mark = line.epoch.zip(line.revision);
    Some(Content {
        rows: line.rows.into_iter().map(Saved::row).collect(),
        gone: line.gone,
        mark: mark.map(|(epoch, revision)| Mark {
            epoch: epoch.into(),
            revision,
        }),
    })
}

/// Nothing in a line can keep it from being written.
fn text(line: &Line) -> Vec<u8> {
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text
}

impl Saved {
    fn of(row: &Row) -> Self {
        let settings = row.overrides.iter();
        Self {
            name: row.name.clone(),
            domain: row.domain.clone(),
            aliases: row.aliases.clone(),
            address: row.address.clone(),
            state: row.state.clone(),
            enabled: row.enabled,
            settings: settings
                .map(|(setting, text)| (setting.column().to_owned(), text.clone()))
                .collect(),
        }
    }

    /// Settings that there are no more have no effect.
    fn row(self) -> Row {
        let settings = self.settings.into_iter();
        Row {
            name: self.name,
            domain: self.domain,
            aliases: self.aliases,
            address: self.address,
            state: self.state,
            enabled: self.enabled,
            overrides: settings
                .filter_map(|(column, text)| Some((Setting::of_column(&column)?, text)))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows() -> impl Strategy<Value = Row> {
        let text = || proptest::option::of(any::<String>());
        let settings = proptest::collection::vec(
            (proptest::sample::select(&Setting::ALL[..]), any::<String>()),
            0..3,
        );
        let texts = (text(), text(), text(), text(), text());
        (texts, any::<Option<bool>>(), settings).prop_map(|(texts, enabled, overrides)| {
            let (name, domain, aliases, address, state) = texts;
            Row {
                name,
                domain,
                aliases,
                address,
                state,
                enabled,
                overrides,
            }
        })
    }

    fn line(bytes: &[u8]) -> &str {
        let text = str::from_utf8(bytes).unwrap();
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        text
    }

    proptest! {
        #[test]
        fn whatever_is_in_a_row_is_read_as_it_was_written(row in rows()) {
            let written = super::row(&row);
            let content = read(line(&written)).unwrap();
            prop_assert_eq!(content.rows, vec![row]);
        }

        #[test]
        fn a_change_is_there_whole_or_not_at_all(
            rows in proptest::collection::vec(rows(), 0..3), gone in any::<Vec<String>>(), revision in any::<u64>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let mark = Mark { epoch: "epoch".into(), revision };
            let names: Vec<SharedStr> = gone.iter().map(|name| name.as_str().into()).collect();
            let written = change(&rows, names.iter(), Some(&mark)).unwrap();
            let torn = String::from_utf8_lossy(&written[..cut.index(written.len())]).into_owned();
            prop_assert_eq!(read(&torn), None);
            let content = Content { rows, gone, mark: Some(mark) };
            prop_assert_eq!(read(line(&written)), Some(content));
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let _ = (check(&text), read(&text));
        }
    }

    #[test]
    fn only_a_snapshot_of_this_version_is_one() {
        assert_eq!(check(line(&first())), Ok(()));
        for other in [
            "",
            "{}",
            r#"{"automc-snapshot": 2}"#,
            "[]",
            r#"{"mappings": {}}"#,
        ] {
            assert_eq!(check(other), Err(NoSnapshot), "{other}");
        }
    }

    #[test]
    fn what_is_too_long_is_left_out() {
        let long = Row {
            state: Some("x".repeat(LINE_BYTES_MAX)),
            ..Row::default()
        };
        assert_eq!(row(&long), b"");
        assert_eq!(change(&[long], [].iter(), None), None);
    }
}
