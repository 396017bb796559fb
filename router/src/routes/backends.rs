//! The backends of a route that has several, as its row's `address` lists them.
//!
//! Pure but for the number of the next turn, which is nobody's setting and no part of what is compared.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Route;
use super::overrides::items;
use crate::addr::BackendAddr;

/// Most backends of one route.
pub const BACKENDS_MAX: usize = 32;
/// Highest weight of a backend.
pub const WEIGHT_MAX: u8 = 100;
/// Longest beginning of an entry that is told, in characters.
const QUOTED_MAX: usize = 100;

/// One of several backends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// Where it listens.
    pub address: BackendAddr,
    /// Its share among the others, from 1 to [`WEIGHT_MAX`].
    pub weight: u8,
}

/// All backends of a route that has several, in the order written.
#[derive(Debug)]
pub struct Backends {
    list: Box<[Backend]>,
    turn: AtomicU32,
}

impl PartialEq for Backends {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

impl Eq for Backends {}

impl Backends {
    /// Every one of them, in the order written: at least two, at most [`BACKENDS_MAX`].
    #[must_use]
    pub fn list(&self) -> &[Backend] {
        &self.list
    }

    /// The number of this turn; the next one has the next number.
    #[must_use]
    pub fn turn(&self) -> u32 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }
}

impl fmt::Display for Backends {
    /// As a row has it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, Backend { address, weight }) in self.list.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(formatter, "{comma}{address}")?;
            if *weight != 1 {
                write!(formatter, " weight={weight}")?;
            }
        }
        Ok(())
    }
}

/// `route`, with the next turn where `old` had it: a row that changes in other ways does not begin anew.
#[must_use]
pub fn going_on(mut route: Arc<Route>, old: Option<&Route>) -> Arc<Route> {
    let turns = old.and_then(Route::backends);
    if turns.is_some() && turns == route.backends() {
        route = Arc::new(Arc::unwrap_or_clone(route).with_backends(turns.cloned()));
    }
    route
}

/// Reads an `address`: one `host:port`, in which `$1` and the like may stand for what `stars` stars do, or
/// several without, with commas between. Each may have a ` weight=N`. The first comes back by itself, and all of
/// them if there are more.
///
/// # Errors
/// What is wrong, and with which entry.
pub fn parse(text: &str, stars: usize) -> Result<(BackendAddr, Option<Arc<Backends>>), String> {
    let entries = items(text)?;
    if let [] | [_] = entries.as_slice() {
        let only = entries.first().map_or(text, String::as_str);
        let (address, _) = weighed(only)?;
        let address = BackendAddr::template(address, stars);
        return Ok((address.map_err(|error| error.to_string())?, None));
    }
    if entries.len() > BACKENDS_MAX {
        let count = entries.len();
        return Err(format!("it has {count} backends, over {BACKENDS_MAX}"));
    }
    let mut list: Vec<Backend> = Vec::with_capacity(entries.len());
    for entry in &entries {
        let (address, weight) = weighed(entry)?;
        if address.contains('$') {
            let entry = cut(entry);
            return Err(format!("{entry:?} is one of several, and uses a star"));
        }
        let address = BackendAddr::parse(address).map_err(|error| error.to_string())?;
        if list.iter().any(|known| known.address == address) {
            return Err(format!("the address {address} is there twice"));
        }
        list.push(Backend { address, weight });
    }
    let first = list.first().map(|first| first.address.clone());
    let backends = Backends {
        list: list.into(),
        turn: AtomicU32::new(0),
    };
    let first = first.ok_or("it has no backends")?;
    Ok((first, Some(Arc::new(backends))))
}

/// The address of an entry, and its weight.
fn weighed(entry: &str) -> Result<(&str, u8), String> {
    let Some((address, rest)) = entry.trim().split_once(char::is_whitespace) else {
        return Ok((entry, 1));
    };
    let rest = rest.trim();
    let weight = rest.strip_prefix("weight=").ok_or_else(|| {
        let (entry, rest) = (cut(entry), cut(rest));
        format!("{rest:?} in {entry:?} is not weight=N")
    })?;
    let digits = weight.bytes().all(|byte| byte.is_ascii_digit());
    match weight.parse() {
        Ok(weight @ 1..=WEIGHT_MAX) if digits => Ok((address, weight)),
        _ => {
            let entry = cut(entry);
            Err(format!(
                "the weight in {entry:?} is not a number from 1 to {WEIGHT_MAX}"
            ))
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(QUOTED_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(text: &str) -> Vec<(String, u8)> {
        let (first, backends) = parse(text, 0).unwrap();
        let backends = backends.unwrap();
        assert_eq!(backends.list()[0].address, first);
        let list = backends.list().iter();
        list.map(|one| (one.address.to_string(), one.weight))
            .collect()
    }

    #[test]
    fn a_list_has_commas_and_weights_and_one_address_is_no_list() {
        let expected = [("a:1".to_owned(), 1), ("[::1]:2".to_owned(), 3)];
        for text in [
            "a:1, [::1]:2 weight=3",
            " a:1 weight=1 ,[::1]:2   weight=3 ,",
            "{a:1,\"[::1]:2 weight=3\"}",
            "a:1\n[::1]:2 weight=003",
        ] {
            assert_eq!(list(text), expected, "{text}");
        }
        for text in ["a:1", " a:1 ", "a:1 weight=7", "a:1,"] {
            let (address, backends) = parse(text, 0).unwrap();
            assert_eq!((address.as_str(), backends), ("a:1", None), "{text}");
        }
        let (template, _) = parse("$1.x:1", 1).unwrap();
        assert!(template.is_template());
    }

    #[test]
    fn what_is_wrong_is_told_with_the_entry() {
        for (text, parts) in [
            ("", &["empty"][..]),
            (",", &["port"]),
            ("a:1, b", &["\"b\"", "port"]),
            ("a:1, b:1 weight=0", &["b:1 weight=0", "1 to 100"]),
            ("a:1, b:1 weight=101", &["weight=101", "1 to 100"]),
            ("a:1, b:1 weight=+1", &["weight=+1", "1 to 100"]),
            ("a:1, b:1 weight=", &["weight=", "1 to 100"]),
            ("a:1, b:1 weigth=2", &["weigth=2", "weight=N"]),
            ("a:1, b:1 2", &["\"b:1 2\"", "weight=N"]),
            ("a:1, b:1, a:1 weight=2", &["a:1", "twice"]),
            ("a:1, $1.b:1", &["$1.b:1", "several"]),
            ("{a:1,b:1", &["address"]),
        ] {
            let error = parse(text, 1).unwrap_err();
            assert!(
                parts.iter().all(|part| error.contains(part)),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn there_are_as_many_as_are_allowed_and_not_one_more() {
        let many = |count: usize| {
            let entries: Vec<_> = (0..count).map(|number| format!("h{number}:1")).collect();
            entries.join(",")
        };
        assert_eq!(list(&many(BACKENDS_MAX)).len(), BACKENDS_MAX);
        let error = parse(&many(BACKENDS_MAX + 1), 0).unwrap_err();
        assert!(error.contains("33 backends"), "{error}");
    }

    #[test]
    fn whose_turn_it_is_makes_no_difference_to_what_is_compared() {
        let backends = || parse("a:1,b:1", 0).unwrap().1.unwrap();
        let (one, other) = (backends(), backends());
        assert_eq!([one.turn(), one.turn(), other.turn()], [0, 1, 0]);
        assert_eq!(one, other);
        assert_ne!(Some(one), parse("a:1,b:1 weight=2", 0).unwrap().1);
    }

    proptest! {
        #[test]
        fn any_text_is_a_list_within_bounds_or_is_refused(text in "[ah:1, w$={}\"]{0,40}|(a:[1-9] (weight=)?[0-9]{1,3},?){0,4}") {
            match parse(&text, 0) {
                Ok((first, Some(backends))) => {
                    prop_assert!((2..=BACKENDS_MAX).contains(&backends.list().len()));
                    prop_assert_eq!(&backends.list()[0].address, &first);
                    prop_assert!(backends.list().iter().all(|one| (1..=WEIGHT_MAX).contains(&one.weight)));
                    prop_assert_eq!(parse(&backends.to_string(), 0), Ok((first, Some(backends))));
                }
                Ok((_, None)) => {}
                Err(reason) => prop_assert!(!reason.is_empty() && reason.len() < 1_000),
            }
        }
    }
}
