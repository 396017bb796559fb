//! What follows the question mark of a request, within bounds.

use axum::http::StatusCode;
use percent_encoding::percent_decode_str;

use super::Refusal;

/// The parameters of a request, as they were sent; the head of a request bounds them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Query<'q>(pub(super) &'q str);

impl Query<'_> {
    /// The first value of `name`, decoded.
    ///
    /// # Errors
    /// 400 for what is not UTF-8.
    pub(super) fn get(self, name: &str) -> Result<Option<String>, Refusal> {
        let pairs = self.0.split('&');
        let mut values = pairs.filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then_some(value)
        });
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let value = value.replace('+', " ");
        match percent_decode_str(&value).decode_utf8() {
            Ok(value) => Ok(Some(value.into_owned())),
            Err(_) => Err(refused(format!("{name} is not UTF-8"))),
        }
    }

    /// A whole number from `min` to `max`.
    ///
    /// # Errors
    /// 400 for what is none.
    pub(super) fn number(self, name: &str, min: u64, max: u64) -> Result<Option<u64>, Refusal> {
        let Some(text) = self.get(name)? else {
            return Ok(None);
        };
        let number = text.parse().ok();
        let number = number.filter(|number| (min..=max).contains(number));
        let refuse = || refused(format!("{name} is not a number from {min} to {max}"));
        number.map(Some).ok_or_else(refuse)
    }

    /// How many are wanted.
    ///
    /// # Errors
    /// 400 for what is not from 1 to `max`.
    pub(super) fn limit(self, default: usize, max: usize) -> Result<usize, Refusal> {
        let max = u64::try_from(max).unwrap_or(u64::MAX);
        let limit = self.number("limit", 1, max)?;
        Ok(limit
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or(default))
    }
}

pub(super) fn refused(reason: impl Into<String>) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_counts_and_is_decoded() {
        let query = Query("host=A%00b+c&x&host=second&bad=%ff&y=%3D=");
        let get = |name| query.get(name).ok().flatten();
        assert_eq!(get("host").as_deref(), Some("A\0b c"));
        assert_eq!(get("x").as_deref(), Some(""));
        assert_eq!(get("y").as_deref(), Some("=="));
        assert_eq!(get("hos"), None);
        assert!(query.get("bad").is_err());
        let limit = |text| Query(text).limit(5, 10).ok();
        assert_eq!(
            [limit(""), limit("limit=1"), limit("limit=10")],
            [Some(5), Some(1), Some(10)]
        );
        for wrong in ["limit=0", "limit=11", "limit=", "limit=-1", "limit=1e3"] {
            assert_eq!(limit(wrong), None, "{wrong}");
        }
        assert_eq!(Query("").get("host").ok(), Some(None));
    }
}
