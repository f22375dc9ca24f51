//! `POST /_control/mutate`: changes data of a running program, for demos and trying things by hand.

use http::StatusCode;

use super::http::{Answer, error, json};
use super::mutate::Mutation;
use super::server::{Request, Shared};

/// Answers a path below `/_control/`.
pub(crate) fn answer(shared: &Shared, request: &Request) -> Answer {
    if request.uri.path() != "/_control/mutate" || request.method != http::Method::POST {
        return error(StatusCode::NOT_FOUND, "the control endpoint is POST /_control/mutate");
    }
    let mutation: Mutation = match serde_json::from_slice(&request.body) {
        Ok(mutation) => mutation,
        Err(problem) => {
            return error(StatusCode::BAD_REQUEST, &format!("not a mutation: {problem}"));
        }
    };
    match mutation.apply(shared) {
        Ok(changed) => json(StatusCode::OK, serde_json::json!({ "changed": changed }).to_string()),
        Err(problem) => error(StatusCode::NOT_FOUND, &problem.to_string()),
    }
}
