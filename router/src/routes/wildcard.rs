//! Host names with stars: what they match, and which of several comes first.
//!
//! A `*` stands for one or more characters of one label, so `*.play.example` matches `a.play.example`
//! and not `a.b.play.example`; `mc-*.example` is one too. What a star stood for can be written
//! into the address as `$1` to `$9`, from left to right. Exact names come first; then the pattern with the
//! longest run of whole labels at its end, then the one with more characters that are no stars, then the first by bytes.
//!
//! Pure.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use super::Route;
use crate::host::Host;

/// Most wildcards in force at once; those over it are set aside.
pub const WILDCARDS_MAX: usize = 10_000;
/// Most stars in one pattern, since they are written as one digit.
pub const STARS_MAX: usize = 9;

/// What the stars of a pattern stood for, from left to right.
pub type Captures<'h> = Vec<&'h str>;

/// Whether `host` is a pattern.
#[must_use]
pub fn is_wildcard(host: &str) -> bool {
    host.contains('*')
}

/// How many stars `host` has.
///
/// # Errors
/// What is wrong with it, for whoever wrote it.
pub fn stars(host: &Host) -> Result<usize, String> {
    let two = |label: &str| label.bytes().filter(|byte| *byte == b'*').count() > 1;
    let host = host.as_str();
    if let Some(label) = host.split('.').find(|label| two(label)) {
        return Err(format!("{label:?} in {host:?} has more than one star"));
    }
    let stars = host.bytes().filter(|byte| *byte == b'*').count();
    if stars > STARS_MAX {
        return Err(format!("{host:?} has {stars} stars, over {STARS_MAX}"));
    }
    Ok(stars)
}

/// What the stars of `pattern` stand for in `host`, both cleaned up; `None` if it does not match.
#[must_use]
pub fn captures<'h>(pattern: &str, host: &'h str) -> Option<Captures<'h>> {
    let mut captures = Vec::new();
    let (mut patterns, mut labels) = (pattern.split('.'), host.split('.'));
    loop {
        match (patterns.next(), labels.next()) {
            (None, None) => return Some(captures),
            (Some(pattern), Some(label)) => match pattern.split_once('*') {
                None if pattern == label => {}
                None => return None,
                Some((before, after)) => {
                    let rest = label.strip_prefix(before)?;
                    let star = rest.strip_suffix(after)?;
                    if star.is_empty() {
                        return None;
                    }
                    captures.push(star);
                }
            },
            _ => return None,
        }
    }
}

/// The labels behind the last one with a star.
fn suffix(pattern: &str) -> &str {
    let behind = pattern.rsplit_once('*').map_or("", |(_, behind)| behind);
    behind.split_once('.').map_or("", |(_, suffix)| suffix)
}

/// How many characters of a pattern are no stars; more of them come first.
fn rank(pattern: &str) -> (Reverse<usize>, &str) {
    let literal = pattern.bytes().filter(|byte| *byte != b'*').count();
    (Reverse(literal), pattern)
}

/// The wildcards in force. A look-up asks once for every label of the host.
#[derive(Debug, Clone, Default)]
pub struct Wildcards {
    /// By what comes behind the last star; the best first.
    by_suffix: HashMap<Box<str>, Vec<(Host, Arc<Route>)>>,
    len: usize,
}

impl Wildcards {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Every pattern with its route, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Host, &Arc<Route>)> {
        let all = self.by_suffix.values().flatten();
        all.map(|(pattern, route)| (pattern, route))
    }

    /// The route of this very pattern.
    #[must_use]
    pub fn get(&self, pattern: &str) -> Option<&Arc<Route>> {
        let bucket = self.by_suffix.get(suffix(pattern))?;
        let found = bucket.iter().find(|(known, _)| known.as_str() == pattern);
        found.map(|(_, route)| route)
    }

    /// The best pattern for `host`, its route, and what the stars stand for.
    #[must_use]
    pub fn find<'h>(&self, host: &'h str) -> Option<(&Host, &Arc<Route>, Captures<'h>)> {
        self.matches(host).next()
    }

    /// Every pattern that matches `host`, the best first.
    pub fn matches<'h>(
        &self,
        host: &'h str,
    ) -> impl Iterator<Item = (&Host, &Arc<Route>, Captures<'h>)> {
        let dots = host.match_indices('.').map(|(dot, _)| dot + 1);
        let suffixes = dots.filter_map(|begin| host.get(begin..)).chain([""]);
        let buckets = suffixes.filter_map(|suffix| self.by_suffix.get(suffix));
        buckets.flatten().filter_map(move |(pattern, route)| {
            captures(pattern.as_str(), host).map(|captures| (pattern, route, captures))
        })
    }

    /// Puts the route of a pattern in, or takes it out; the one that was there comes back.
    pub fn set(&mut self, pattern: &Host, route: Option<Arc<Route>>) -> Option<Arc<Route>> {
        let key = suffix(pattern.as_str());
        let bucket = match &route {
            Some(_) => self.by_suffix.entry(key.into()).or_default(),
            None => self.by_suffix.get_mut(key)?,
        };
        let at =
            bucket.binary_search_by(|(known, _)| rank(known.as_str()).cmp(&rank(pattern.as_str())));
        let old = match (at, route) {
            (Ok(at), Some(route)) => {
                let place = bucket.get_mut(at)?;
                return Some(std::mem::replace(&mut place.1, route));
            }
            (Err(at), Some(route)) => {
                bucket.insert(at, (pattern.clone(), route));
                self.len += 1;
                return None;
            }
            (Ok(at), None) => bucket.remove(at).1,
            (Err(_), None) => return None,
        };
        self.len -= 1;
        if bucket.is_empty() {
            self.by_suffix.remove(key);
        }
        Some(old)
    }
}

#[cfg(test)]
mod tests {
    use super::super::offer::tests::route;
    use super::*;
    use proptest::prelude::*;

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    fn all(patterns: &[&str]) -> Wildcards {
        let mut wildcards = Wildcards::default();
        for pattern in patterns {
            wildcards.set(&host(pattern), Some(route("w", pattern, "h:1")));
        }
        wildcards
    }

    #[test]
    fn a_star_stands_for_some_of_one_label() {
        let yes = [
            ("*.a.example", "x.a.example", vec!["x"]),
            ("mc-*.example", "mc-12.example", vec!["12"]),
            ("*-mc.*.example", "a-mc.b.example", vec!["a", "b"]),
            ("*", "localhost", vec!["localhost"]),
            ("play.*", "play.example", vec!["example"]),
        ];
        for (pattern, host, captured) in yes {
            assert_eq!(captures(pattern, host), Some(captured), "{pattern} {host}");
        }
        for (pattern, host) in [
            ("*.a.example", "a.example"),
            ("*.a.example", "x.y.a.example"),
            ("*.a.example", ".a.example"),
            ("mc-*.example", "mc-.example"),
            ("*", "a.example"),
            ("ab*ba.x", "aba.x"),
        ] {
            assert_eq!(captures(pattern, host), None, "{pattern} {host}");
        }
    }

    #[test]
    fn the_most_special_pattern_comes_first_in_whatever_order_they_came() {
        let mut patterns = [
            "*.example",
            "mc-*.example",
            "*.a.example",
            "*.*.example",
            "b*.a.example",
            "*",
        ];
        for _ in 0..patterns.len() {
            patterns.rotate_left(1);
            let wildcards = all(&patterns);
            let best = |host: &str| {
                wildcards
                    .find(host)
                    .map(|(pattern, ..)| pattern.to_string())
            };
            assert_eq!(best("mc-1.example").as_deref(), Some("mc-*.example"));
            assert_eq!(best("x.example").as_deref(), Some("*.example"));
            assert_eq!(best("bc.a.example").as_deref(), Some("b*.a.example"));
            assert_eq!(best("c.a.example").as_deref(), Some("*.a.example"));
            assert_eq!(best("c.b.example").as_deref(), Some("*.*.example"));
            assert_eq!(best("example").as_deref(), Some("*"));
            assert_eq!(best("a.b.c.example"), None);
        }
    }

    #[test]
    fn too_many_stars_are_refused() {
        assert!(stars(&host("a**.example")).unwrap_err().contains("a**"));
        assert!(stars(&host(&["*"; 10].join("."))).is_err());
        assert_eq!(stars(&host(&["*"; 9].join("."))), Ok(9));
        assert_eq!(stars(&host("a.example")), Ok(0));
    }

    proptest! {
        #[test]
        fn what_is_found_is_the_first_of_all_that_match(
            patterns in proptest::collection::vec("[ab*](\\.[ab*]){0,3}", 0..8), asked in "[ab](\\.[ab]){0,3}"
        ) {
            let patterns: Vec<_> = patterns.iter().filter(|pattern| is_wildcard(pattern)).map(String::as_str).collect();
            let wildcards = all(&patterns);
            let mut matching: Vec<_> = patterns.iter().filter(|pattern| captures(pattern, &asked).is_some()).collect();
            matching.sort_by_key(|pattern| (Reverse(suffix(pattern).len()), rank(pattern)));
            let found = wildcards.find(&asked).map(|(pattern, ..)| pattern.as_str());
            prop_assert_eq!(found, matching.first().map(|pattern| **pattern));
            let mut unique = patterns;
            unique.sort_unstable();
            unique.dedup();
            prop_assert_eq!(wildcards.len(), unique.len());
            prop_assert_eq!(wildcards.iter().count(), unique.len());
            let mut emptied = wildcards;
            for pattern in unique {
                prop_assert!(emptied.set(&host(pattern), None).is_some());
            }
            prop_assert!(emptied.is_empty() && emptied.by_suffix.is_empty());
        }
    }
}
