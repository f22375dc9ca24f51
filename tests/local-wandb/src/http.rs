//! Small helpers for requests and answers.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The body of an answer on the wire.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// An answer before faults, compression and the wire.
pub(crate) type Answer = Response<Bytes>;

const PATH_PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A part of a path, percent-encoded.
pub(crate) fn encode_part(part: &str) -> String {
    utf8_percent_encode(part, PATH_PART).to_string()
}

/// A path's parts, decoded. `None` when one is not UTF-8.
pub(crate) fn path_parts(path: &str) -> Option<Vec<String>> {
    path.trim_start_matches('/')
        .split('/')
        .map(|part| percent_decode_str(part).decode_utf8().ok().map(|it| it.into_owned()))
        .collect()
}

/// The value of a query's key, decoded.
pub(crate) fn query_value(query: Option<&str>, key: &str) -> Option<String> {
    query?.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        (name == key).then(|| percent_decode_str(value).decode_utf8_lossy().into_owned())
    })
}

/// An answer with a JSON body.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    with_type(status, "application/json", body)
}

/// An answer of that content type.
pub(crate) fn with_type(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}

/// An error as the REST dialect tells it.
pub(crate) fn error(status: StatusCode, message: &str) -> Answer {
    json(status, format!("{{\"error\":{}}}", super::json::quoted(message)))
}

/// An error as GraphQL tells it.
pub(crate) fn graphql_error(status: StatusCode, message: &str) -> Answer {
    json(status, format!("{{\"errors\":[{{\"message\":{}}}]}}", super::json::quoted(message)))
}

/// A whole body.
pub(crate) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// The key of a `Bearer` header.
pub(crate) fn bearer_key(headers: &HeaderMap) -> Option<String> {
    authorization(headers, "bearer").map(str::to_owned)
}

/// The password of a `Basic` header.
pub(crate) fn basic_key(headers: &HeaderMap) -> Option<String> {
    let decoded = BASE64.decode(authorization(headers, "basic")?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    text.split_once(':').map(|(_, key)| key.to_owned())
}

fn authorization<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (name, value) = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    name.eq_ignore_ascii_case(scheme).then(|| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_parts_are_decoded_after_they_are_split() {
        let id = "a/b c%ü";
        let path = format!("/runs/e/p/{}/history", encode_part(id));
        assert_eq!(path_parts(&path).expect("UTF-8")[3], id);
    }

    #[test]
    fn a_query_value_is_decoded() {
        assert_eq!(query_value(Some("perPage=2&cursor=a%2Bb"), "cursor").as_deref(), Some("a+b"));
        assert_eq!(query_value(Some("perPage=2"), "cursor"), None);
    }
}
