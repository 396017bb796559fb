//! Lets through who carries the token, where there is one.

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use super::Refusal;
use crate::config::secret::Secret;

/// What orchestrators ask, who have no token.
pub(super) const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// Refuses a request without the token; of a path that does not exist nothing is said before.
pub(super) async fn guard(
    State(token): State<Option<Secret>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(token) = token.filter(|_| !OPEN.contains(&request.uri().path())) else {
        return next.run(request).await;
    };
    let challenge = match bearer(request.headers()) {
        Some(given) if is_same(given, token.expose()) => return next.run(request).await,
        Some(_) => "Bearer realm=\"automc-router\", error=\"invalid_token\"",
        None => "Bearer realm=\"automc-router\"",
    };
    let reason = "the request must carry the API's token: Authorization: Bearer <API_TOKEN>";
    let refusal = Refusal(StatusCode::UNAUTHORIZED, reason.to_owned());
    let challenge = [(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))];
    (challenge, refusal).into_response()
}

/// The token that a request carries (RFC 6750, 2.1); the scheme's case does not matter.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    let scheme = scheme.eq_ignore_ascii_case(b"Bearer ");
    scheme.then(|| token.trim_ascii())
}

/// In a time that says nothing but whether the lengths are the same.
fn is_same(given: &[u8], token: &str) -> bool {
    given.ct_eq(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_follows_the_scheme_and_nothing_else_is() {
        for (header, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("BEARER abc", Some("abc")),
            ("Bearer ", Some("")),
            ("Bearer", None),
            ("Basic abc", None),
            ("Bearerabc", None),
            ("abc", None),
            ("", None),
        ] {
            let value = HeaderValue::from_static(header);
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
            assert_eq!(bearer(&headers), token.map(str::as_bytes), "{header:?}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }

    #[test]
    fn only_the_whole_token_is_the_token() {
        assert!(is_same(b"0123456789abcdef", "0123456789abcdef"));
        for given in [
            "",
            "0123456789abcde",
            "0123456789abcdefg",
            "0123456789abcdeF",
        ] {
            assert!(!is_same(given.as_bytes(), "0123456789abcdef"), "{given:?}");
        }
    }
}
