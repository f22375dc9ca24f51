//! `POST /_control/mutate` changes data of a running program, for demos and trying things by hand; `GET /_control/stats` says how
//! many requests and connections there were, these of `/_control/` left out and counted in.

use http::StatusCode;

use super::http::{Answer, error, json};
use super::mutate::Mutation;
use super::server::{Request, Shared};

/// Answers a path below `/_control/`.
pub(crate) fn answer(shared: &Shared, request: &Request) -> Answer {
    match (request.method.as_str(), request.uri.path()) {
        ("POST", "/_control/mutate") => mutate(shared, request),
        ("GET", "/_control/stats") => {
            let stats = serde_json::json!({ "requests": shared.log.len(), "connections": shared.log.connections() });
            json(StatusCode::OK, stats.to_string())
        }
        _ => error(StatusCode::NOT_FOUND, "the control endpoints are POST /_control/mutate and GET /_control/stats"),
    }
}

fn mutate(shared: &Shared, request: &Request) -> Answer {
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
