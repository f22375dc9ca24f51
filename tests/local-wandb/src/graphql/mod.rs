//! The `graphql` dialect: W&B's GraphQL API as far as clients use it, on a real GraphQL implementation, so that a query
//! W&B would refuse is refused here.
//!
//! History rows do not go through the GraphQL engine: a resolver answers a list of one placeholder, and the rows, already
//! escaped, replace it in the finished body.

mod accounts;
mod filters;
mod mutations;
pub(crate) mod scalars;
mod types;
mod uploads;
mod variables;

use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::{EmptySubscription, Variables};
use http::StatusCode;

use super::http::{Answer, basic_key, graphql_error, json};
use super::log::HistoryRead;
use super::options::BadKey;
use super::server::{Request, Shared};
use variables::VariableTypes;

/// What executes queries.
type Engine = async_graphql::Schema<types::Query, mutations::Mutation, EmptySubscription>;

/// What executes queries, and the check that it lacks.
#[derive(Clone)]
pub(crate) struct Schema {
    engine: Engine,
    variables: Arc<VariableTypes>,
}

/// Makes the schema.
pub(crate) fn schema(shared: Arc<Shared>) -> Schema {
    let engine = Engine::build(types::Query, mutations::Mutation, EmptySubscription).data(shared).finish();
    let variables = Arc::new(VariableTypes::of(&engine.sdl()));
    Schema { engine, variables }
}

/// What the resolvers of one request share.
pub(crate) struct RequestContext {
    /// The server's URL as the client addressed it.
    base_url: String,
    /// Whether the key is valid.
    valid: bool,
    /// Rows that replace placeholders.
    splices: Mutex<Vec<String>>,
    reads: Mutex<Vec<HistoryRead>>,
}

impl RequestContext {
    /// Keeps rows, ready to send, and answers the placeholder for them.
    fn splice(&self, rows: String) -> String {
        let mut splices = self.splices.lock().unwrap_or_else(PoisonError::into_inner);
        splices.push(rows);
        placeholder(splices.len() - 1)
    }

    fn read(&self, read: HistoryRead) {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).push(read);
    }
}

/// A string that no data holds.
fn placeholder(index: usize) -> String {
    format!("@rows of local-wandb 7f3a9c51 {index}@")
}

/// Answers `POST /graphql`.
pub(crate) async fn answer(shared: &Arc<Shared>, schema: &Schema, request: &mut Request) -> Answer {
    let valid = basic_key(&request.headers).is_some_and(|key| key == shared.options.api_key);
    if !valid && shared.options.bad_key == BadKey::Unauthorized {
        return graphql_error(StatusCode::UNAUTHORIZED, "user is not logged in");
    }
    let Some(graphql) = &request.graphql else {
        return graphql_error(StatusCode::BAD_REQUEST, "the body is not a GraphQL request");
    };
    if let Some(problem) = schema.variables.problem(&graphql.query) {
        return graphql_error(StatusCode::BAD_REQUEST, &problem);
    }
    let context = Arc::new(RequestContext {
        base_url: request.base_url(shared),
        valid,
        splices: Mutex::default(),
        reads: Mutex::default(),
    });
    let mut query = async_graphql::Request::new(graphql.query.clone())
        .variables(Variables::from_json(graphql.variables.clone()))
        .data(context.clone());
    if let Some(operation) = &graphql.selected {
        query = query.operation_name(operation);
    }
    let response = schema.engine.execute(query).await;
    request.reads = std::mem::take(&mut context.reads.lock().unwrap_or_else(PoisonError::into_inner));
    // Errors of validation have no path: nothing was executed.
    if !response.errors.is_empty() && response.errors.iter().all(|error| error.path.is_empty()) {
        let errors = serde_json::to_string(&response.errors).unwrap_or_default();
        return json(StatusCode::BAD_REQUEST, format!("{{\"errors\":{errors}}}"));
    }
    let body = serde_json::to_string(&response).unwrap_or_default();
    let splices = std::mem::take(&mut *context.splices.lock().unwrap_or_else(PoisonError::into_inner));
    json(StatusCode::OK, spliced(body, &splices))
}

/// The body with every placeholder replaced by its rows.
fn spliced(body: String, splices: &[String]) -> String {
    if splices.is_empty() {
        return body;
    }
    let mut out = String::with_capacity(body.len() + splices.iter().map(String::len).sum::<usize>());
    let mut places: Vec<(usize, usize, &String)> = Vec::new();
    for (index, rows) in splices.iter().enumerate() {
        let quoted = format!("\"{}\"", placeholder(index));
        if let Some(at) = body.find(&quoted) {
            places.push((at, quoted.len(), rows));
        }
    }
    places.sort_by_key(|(at, ..)| *at);
    let mut from = 0;
    for (at, length, rows) in places {
        out.push_str(&body[from..at]);
        out.push_str(rows);
        from = at + length;
    }
    out.push_str(&body[from..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_replaced_wherever_they_stand() {
        let body = format!(r#"{{"a":["{}"],"b":["{}"]}}"#, placeholder(1), placeholder(0));
        let rows = [String::from("1,2"), String::new()];
        assert_eq!(spliced(body, &rows), r#"{"a":[],"b":[1,2]}"#);
    }
}
