//! One answer of the router's `GET /metrics`.

use anyhow::{Context, Result};

/// Values by name, as they were at one moment.
#[derive(Debug, Clone)]
pub struct Metrics {
    text: String,
}

impl Metrics {
    /// Of Prometheus' text format.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self { text }
    }

    /// The value of `name`, which includes the labels as they are written.
    ///
    /// # Errors
    /// There is none, or it is no whole number.
    pub fn value(&self, name: &str) -> Result<u64> {
        let value = self
            .text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .with_context(|| format!("no {name} in:\n{}", self.text))?;
        value.parse().with_context(|| format!("{name} {value:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_whole_name() {
        let text = "# HELP a_b_c help 7\na_b_c 1\na_b 2\nbytes{direction=\"up\"} 3\nshare 0.5\n";
        let metrics = Metrics::new(text.to_owned());
        for (name, value) in [("a_b", 2), ("a_b_c", 1), ("bytes{direction=\"up\"}", 3)] {
            assert_eq!(metrics.value(name).unwrap(), value);
        }
        for name in ["a", "bytes", "share"] {
            assert!(metrics.value(name).is_err(), "{name}");
        }
    }
}
