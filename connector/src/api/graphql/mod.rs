//! The `graphql` dialect, which the W&B service serves: Basic auth, a light listing of all runs, heavy fields and history of the
//! changed ones. Histories are read by ranges of steps with as many samples as a range has steps, which is complete; never sampled.
//!
//! | file | concern |
//! |---|---|
//! | `queries` | the texts of the questions |
//! | `listing` | pages of runs, and what the project says as a whole |
//! | `details` | one run's fields, and ranges of its history |
//! | `answer` | what an answer looks like, and how its body is read |
//! | `joint` | many runs in one request |
//! | `history` | one run to its end: fields, exports, ranges of steps |
//! | `window`, `locate` | how many steps to ask for; the first row behind a gap |
//! | `export`, `exports`, `download` | exported files, when they are worth asking for, and their bytes |
//! | `reading` | what the questions of a sync share, and what the reading of one run does |
//! | `source` | all that, as a sync asks for it |

mod answer;
mod details;
pub mod download;
mod export;
mod exports;
mod history;
mod joint;
mod listing;
mod locate;
mod queries;
mod reading;
mod source;
pub mod window;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::client::{Client, Failure, RequestError};
use crate::api::exchange::{Exchange, Method, Request, Response};
use crate::config::Config;
use crate::destination::Destination;
use crate::error::Error;
use crate::records::json as lenient;

use super::server_errors::{About, Ambiguity, Question, ServerErrors};

use answer::{Envelope, read_leniently};
use details::Node;
use listing::{Connection, Viewer};

pub use details::HeavyRun;
pub use reading::GraphqlSource;

/// A range of steps to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first step.
    pub start: i64,
    /// How many steps: 1 to `i32::MAX`, the most that `samples` can say.
    pub steps: i64,
}

impl Window {
    /// The step after the last one.
    pub fn end(&self) -> i64 {
        self.start.saturating_add(self.steps)
    }
}

/// What to ask for beside a run's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    Nothing,
    /// A part of the history.
    History(Window),
    /// Where the exported parts of the history are.
    Export,
}

/// Builds and reads the requests of the dialect.
#[derive(Debug)]
pub struct Graphql {
    url: String,
    entity: String,
    project: String,
    page_size: u32,
    authorization: String,
}

/// What any of the queries brings.
#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow, default)]
    project: Option<Project<'a>>,
    #[serde(default)]
    viewer: Option<Viewer>,
    /// What W&B says is wrong with single entries of a listing, by their positions.
    #[serde(skip)]
    odd_entries: Vec<(usize, String)>,
}

/// Why a project that was listed is missing in an answer is not known; the next answer may have it.
const NO_PROJECT: &str = "W&B answered without the project";

impl<'a> Data<'a> {
    /// The run; none where the project does not have it. Where the answer lacks the project, that says nothing of the run, nor does one
    /// about another run.
    fn run(self, question: &Question<'_>) -> Result<Option<Node<'a>>, String> {
        match self.project {
            Some(Project { run: Some(Node { name: Some(other), .. }), .. }) if question.run() != Some(&other) => {
                Err(format!("it is about another run, {other}"))
            }
            Some(project) => Ok(project.run),
            None => {
                question.doubt.set(Some(Ambiguity::Project));
                Err(NO_PROJECT.to_owned())
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Project<'a> {
    #[serde(borrow, default)]
    runs: Option<Connection<'a>>,
    #[serde(borrow, default)]
    run: Option<Node<'a>>,
    #[serde(default)]
    run_count: Option<f64>,
}

/// Whether the error that GraphQL gave may only mean that the server speaks REST.
pub fn may_be_rest(error: &Error) -> bool {
    match error {
        Error::Authentication(_) | Error::Permission(_) => true,
        Error::Upstream { status: Some(status), .. } => (*status < 500 && *status != 429) || *status == 501,
        _ => false,
    }
}

impl Graphql {
    /// For one project.
    pub fn new(config: &Config) -> Self {
        Self {
            url: format!("{}/graphql", config.base_url),
            entity: config.entity.clone(),
            project: config.project.clone(),
            page_size: config.page_size,
            authorization: format!("Basic {}", STANDARD.encode(format!("api:{}", config.api_key.expose()))),
        }
    }

    fn request(&self, operation: &str, query: &str, mut variables: Value) -> Request {
        if let Value::Object(variables) = &mut variables {
            variables.insert("entity".to_owned(), self.entity.as_str().into());
            variables.insert("project".to_owned(), self.project.as_str().into());
        }
        let body = json!({"query": query, "variables": variables, "operationName": operation}).to_string();
        let headers = vec![
            ("authorization", self.authorization.clone()),
            ("accept", "application/json".to_owned()),
            ("accept-encoding", "gzip".to_owned()),
            ("content-type", "application/json".to_owned()),
        ];
        Request { method: Method::Post, url: self.url.clone(), headers, body: body.into_bytes() }
    }

    fn question<'q>(&'q self, what: impl Into<String>, about: About<'q>) -> Question<'q> {
        Question::new(what, about, &self.entity, &self.project)
    }

    /// Sends a query; `read` gets the `data` of the answer, and the answer's size in bytes.
    async fn query<T, X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
        request: &Request,
        question: &Question<'_>,
        limit: usize,
        probing: bool,
        read: impl Fn(Data<'_>, usize) -> Result<T, String>,
    ) -> Result<T, RequestError> {
        let answer = |response: &Response, text: &str| {
            let data = self.answer(response, text, question, probing)?;
            read(data, text.len()).map_err(|error| Failure::malformed(response.status, error))
        };
        let accept = |response: &Response| {
            question.doubt.set(None);
            match read_leniently(response, |text| answer(response, text)) {
                // While the dialect is being settled, something that is no GraphQL answer may be a sign rather than a fault.
                Err(Failure::Again { status, reason, .. }) if probing && !looks_like_graphql(&response.body) => {
                    Err(Failure::Final(Error::Upstream { status, message: format!("{}: {reason}", question.what) }))
                }
                other => other,
            }
        };
        let result = client.send(request, &question.what, limit, accept).await;
        match (result, question.doubt.get()) {
            // It was asked for again, and is missing still: a matter of the project, not of W&B's health.
            (Err(RequestError::Failed(Error::Upstream { message, .. })), Some(Ambiguity::Project)) => {
                Err(RequestError::Failed(Error::NotFound(message)))
            }
            (result, _) => result,
        }
    }

    /// The `data` of an answer, or what its status or its errors mean.
    fn answer<'t>(
        &self,
        response: &Response,
        text: &'t str,
        question: &Question<'_>,
        probing: bool,
    ) -> Result<Data<'t>, Failure> {
        let (data, errors_said) = match serde_json::from_str::<Envelope<'_, Data<'_>>>(text) {
            Ok(Envelope { data, errors, error }) => {
                // What is no GraphQL answer is not explained either while the dialect is being settled.
                let error = error.filter(|_| data.is_none() && !probing);
                (Ok(data), ServerErrors::new(errors, error))
            }
            // Whatever the data is like.
            Err(error) => (Err(error), ServerErrors::of_body(text.as_bytes())),
        };
        match question.refusal(response, &errors_said) {
            Some(Error::NotFound(_)) if question.is_about_project() && errors_said.is_empty() => {
                let why = match question.goes_on {
                    true => ", though earlier pages came from there".to_owned(),
                    false => format!("; there is no GraphQL at {}", self.url),
                };
                let message = format!("{}: HTTP 404{why}", question.what);
                return Err(Failure::Final(Error::Upstream { status: Some(404), message }));
            }
            Some(error) => return Err(Failure::Final(error)),
            None => {}
        }
        let odd_entries = errors_said.of_entries().filter(|_| matches!(data, Ok(Some(_)))).unwrap_or_default();
        if odd_entries.is_empty() && !errors_said.is_empty() {
            return Err(question.failure(response.status, &errors_said));
        }
        let data = data.map_err(|error| Failure::malformed(response.status, lenient::place(&error)))?;
        let data = data.ok_or_else(|| Failure::malformed(response.status, "it has neither data nor errors"))?;
        Ok(Data { odd_entries, ..data })
    }
}

/// Whether a body begins as answers of GraphQL do.
pub(super) fn looks_like_graphql(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"{\"data\"") || body.trim_ascii_start().starts_with(b"{\"errors\"")
}
