//! Every error that a connector can return of itself.

use crate::bindings::elt::connector::types::{ConfigurationProblem, Error, RateLimit, UpstreamFailure};

/// The error of a name, with its payload.
pub(crate) fn of(name: &str) -> Error {
    let message = || format!("about {name}");
    match name {
        "configuration" => Error::Configuration(vec![problem(Some("key"), "is wrong"), problem(None, "all is wrong")]),
        "authentication" => Error::Authentication(message()),
        "permission" => Error::Permission(message()),
        "not-found" => Error::NotFound(message()),
        "rate-limited" => Error::RateLimited(RateLimit { retry_after: Some(1500), message: message() }),
        "upstream" => Error::Upstream(UpstreamFailure { status: Some(502), message: message() }),
        "unanswered" => Error::Upstream(UpstreamFailure { status: None, message: message() }),
        "destination" => Error::Destination(message()),
        "internal" => Error::Internal(message()),
        _ => configuration(Some("act"), "is none of the kit's"),
    }
}

pub(crate) fn configuration(key: Option<&str>, message: &str) -> Error {
    Error::Configuration(vec![problem(key, message)])
}

fn problem(key: Option<&str>, message: &str) -> ConfigurationProblem {
    ConfigurationProblem { key: key.map(Into::into), message: message.into() }
}
