//! Responses, and the headers that all of them have.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use sha2::{Digest as _, Sha256};

use super::pages;

/// What is sent back.
pub(super) type Answer = Response<Full<Bytes>>;

/// What a browser may do with a page: apply the style that is in it, and send its form back. It loads and runs nothing.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = BASE64_STANDARD.encode(Sha256::digest(pages::STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; img-src data:; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'"
    )
});

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Html,
    Json,
    Metrics,
}

impl Kind {
    fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/json",
            Self::Metrics => crate::metrics::CONTENT_TYPE,
        }
    }
}

/// A response with a body.
pub(super) fn answer(status: StatusCode, kind: Kind, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind.content_type()));
    protect(headers);
    answer
}

/// One line of text.
pub(super) fn line(status: StatusCode, text: &str) -> Answer {
    answer(status, Kind::Text, format!("{text}\n"))
}

/// An error for programs.
pub(super) fn problem(status: StatusCode, text: &str) -> Answer {
    answer(status, Kind::Json, format!("{}\n", serde_json::json!({ "error": text })))
}

/// Sends a browser elsewhere, with `GET`.
pub(super) fn see_other(path: &'static str) -> Answer {
    with(line(StatusCode::SEE_OTHER, "elsewhere"), header::LOCATION, path)
}

/// `answer` with one header more. What can't be in a header is left out.
pub(super) fn with(mut answer: Answer, name: HeaderName, value: &str) -> Answer {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
    answer
}

fn protect(headers: &mut HeaderMap) {
    if let Ok(policy) = HeaderValue::from_str(&POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    let fixed = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
