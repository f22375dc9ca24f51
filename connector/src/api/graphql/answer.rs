//! What an answer looks like, whatever was asked for, and how its body is read.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::client::Failure;
use crate::api::exchange::Response;
use crate::records::json as lenient;

/// What GraphQL answers with; `D` is what the question brings.
#[derive(Deserialize)]
#[serde(bound(deserialize = "D: Deserialize<'de>"))]
pub(super) struct Envelope<'a, D> {
    pub(super) data: Option<D>,
    #[serde(borrow)]
    pub(super) errors: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) error: Option<&'a RawValue>,
}

/// Reads a body as it came, and repaired where it is refused and there is something to repair.
pub(super) fn read_leniently<T>(response: &Response, read: impl Fn(&str) -> Result<T, Failure>) -> Result<T, Failure> {
    let strict = match std::str::from_utf8(&response.body) {
        Ok(text) => read(text),
        Err(error) => Err(Failure::malformed(response.status, error)),
    };
    match strict {
        Err(failure @ Failure::Again { .. }) => match lenient::repaired(&response.body) {
            Some(repaired) => read(&repaired),
            None => Err(failure),
        },
        other => other,
    }
}
