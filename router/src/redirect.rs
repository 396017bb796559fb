//! What becomes of a redirect: a request goes on within the same host, or is refused with a sentence
//! that says why. RFC 9110, 15.4.
//!
//! Requests carry tokens, so scheme, host and port have to stay. 301, 302 and 303 may turn a POST into a
//! GET, which would start nothing: of a POST only 307 and 308 are followed.

use hyper::header::HeaderValue;
use hyper::{Method, StatusCode, Uri};
use url::Url;

/// Most redirects of one request.
pub(crate) const REDIRECTS_MAX: usize = 3;

/// Where the request goes that was sent to `from` and answered with `status`; `None`: nowhere, the answer is
/// one to judge by its status.
///
/// # Errors
/// Why it does not go on, after "it answered"; `setting` is the one that has the URL. The location is not
/// repeated, since it may hold a key.
pub(crate) fn next(
    (status, location): (StatusCode, Option<&HeaderValue>),
    method: &Method,
    from: &Uri,
    setting: &str,
) -> Result<Option<Uri>, String> {
    let keeps_method = matches!(status.as_u16(), 307 | 308);
    let (true, Some(location)) = (
        matches!(status.as_u16(), 301..=303) || keeps_method,
        location,
    ) else {
        return Ok(None);
    };
    let refused = |why: &str| Err(format!("it answered {status}, a redirect {why}"));
    let elsewhere = |what: &str| {
        refused(&format!(
            "to another {what}: set {setting} to where it answers itself"
        ))
    };
    let base = Url::parse(&from.to_string()).ok();
    let to = base.as_ref().and_then(|base| {
        let to = base.join(location.to_str().ok()?).ok()?;
        matches!(to.scheme(), "http" | "https").then_some((base, to))
    });
    let Some((base, mut to)) = to else {
        return refused("to what is no URL");
    };
    let has_user = !to.username().is_empty() || to.password().is_some();
    if to.host() != base.host() || has_user {
        return elsewhere("host");
    }
    if to.scheme() != base.scheme() {
        let scheme = to.scheme();
        return refused(&format!(
            "to {scheme} on the same host: have {setting} begin with {scheme}://"
        ));
    }
    if to.port_or_known_default() != base.port_or_known_default() {
        return elsewhere("port");
    }
    if !keeps_method && method != Method::GET {
        return refused(&format!(
            "that would turn a {method} into a GET: set {setting} to where it leads, or have it answer 307 or 308"
        ));
    }
    to.set_fragment(None);
    to.as_str()
        .parse()
        .map(Some)
        .or_else(|_| refused("to what is no URL"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirected(
        status: u16,
        method: &Method,
        from: &str,
        location: &str,
    ) -> Result<Option<String>, String> {
        let status = StatusCode::from_u16(status).unwrap();
        let location = HeaderValue::from_str(location).unwrap();
        let to = next(
            (status, Some(&location)),
            method,
            &from.parse().unwrap(),
            "THE_URL",
        )?;
        Ok(to.map(|to| to.to_string()))
    }

    const FROM: &str = "http://sm:8080/api/servers/a/start?x=1";

    #[test]
    fn within_the_same_host_a_post_is_followed_with_its_method_however_the_location_is_written() {
        for (location, to) in [
            ("http://sm:8080/v2/a/start", "http://sm:8080/v2/a/start"),
            ("HTTP://SM:8080/x", "http://sm:8080/x"),
            ("http:/x", "http://sm:8080/x"),
            ("//sm:8080/x?y=2", "http://sm:8080/x?y=2"),
            ("/x#part", "http://sm:8080/x"),
            ("../b/start", "http://sm:8080/api/servers/b/start"),
            ("start/", "http://sm:8080/api/servers/a/start/"),
            ("?y=2", "http://sm:8080/api/servers/a/start?y=2"),
        ] {
            for status in [307, 308] {
                let next = redirected(status, &Method::POST, FROM, location);
                assert_eq!(next.unwrap().as_deref(), Some(to), "{location}");
            }
        }
        let port = redirected(308, &Method::POST, "https://sm/a", "https://sm:443/b");
        assert_eq!(port.unwrap().as_deref(), Some("https://sm/b"));
    }

    #[test]
    fn elsewhere_nothing_is_followed_and_the_sentence_says_why_without_the_location() {
        for (location, why) in [
            ("http://s3cret:8080/", "another host"),
            ("//s3cret/x", "another host"),
            ("http://s3cret@sm:8080/", "another host"),
            ("http://sm:81/s3cret", "another port"),
            ("http://sm/s3cret", "another port"),
            (
                "https://sm:8080/s3cret",
                "to https on the same host: have THE_URL begin with https://",
            ),
            ("ftp://sm:8080/s3cret", "no URL"),
            ("http://", "no URL"),
            ("http://[s3cret]/", "no URL"),
        ] {
            for (status, method) in [(307, Method::POST), (302, Method::GET), (301, Method::POST)] {
                let error = redirected(status, &method, FROM, location).unwrap_err();
                assert!(error.contains(why), "{location}: {error}");
                assert!(
                    error.contains(&status.to_string()) && !error.contains("s3cret"),
                    "{error}"
                );
            }
        }
        let down = redirected(307, &Method::GET, "https://sm/a", "http://sm/a").unwrap_err();
        assert!(down.contains("to http on the same host"), "{down}");
    }

    #[test]
    fn what_would_turn_a_post_into_a_get_is_refused_and_a_get_goes_on() {
        for status in [301, 302, 303] {
            let error = redirected(status, &Method::POST, FROM, "/login").unwrap_err();
            assert!(error.contains("turn a POST into a GET"), "{error}");
            let next = redirected(status, &Method::GET, FROM, "/login").unwrap();
            assert_eq!(next.as_deref(), Some("http://sm:8080/login"));
        }
    }

    #[test]
    fn what_says_no_other_place_is_judged_by_its_status() {
        for status in [200, 300, 304, 305, 404] {
            assert_eq!(
                redirected(status, &Method::POST, FROM, "/x"),
                Ok(None),
                "{status}"
            );
        }
        let (moved, from) = (StatusCode::MOVED_PERMANENTLY, FROM.parse().unwrap());
        assert_eq!(
            next((moved, None), &Method::POST, &from, "THE_URL"),
            Ok(None)
        );
    }
}
