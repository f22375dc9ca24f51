//! The `graphql` dialect, which the W&B service serves: Basic auth, a light listing of all runs, heavy fields and history of the
//! changed ones. Histories are read by ranges of steps with as many samples as a range has steps, which is complete; never sampled.

pub mod download;
pub mod window;

use std::cell::RefCell;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::api::client::{BODY_LIMIT, Client, Failure, RequestError};
use crate::api::exchange::{Exchange, Method, Request, Response};
use crate::config::Config;
use crate::destination::Destination;
use crate::error::Error;
use crate::hash::hash;
use crate::records::filter::MetricFilter;
use crate::records::page;
use crate::records::row::{Entries, History};
use crate::records::{json as lenient, time};
use crate::sync::state::HistoryVersion;

use crate::tables::RunRow;

use super::server_errors::{About, Ambiguity, Question, ServerErrors};
use super::{Listed, ListingPage, entries};

/// The fields of a listing. A change in any of them makes a run a changed one.
macro_rules! light {
    () => {
        "id name displayName state createdAt updatedAt heartbeatAt historyLineCount tags notes group jobType sweepName user { username }"
    };
}

const RUNS: &str = concat!(
    "query Runs($entity: String!, $project: String!, $cursor: String, $perPage: Int) { project(name: $project, entityName: $entity) { ",
    "runs(after: $cursor, first: $perPage, order: \"+created_at\") { edges { node { ",
    light!(),
    " } } pageInfo { endCursor hasNextPage } } } }"
);

const RUN: &str = concat!(
    "query Run($entity: String!, $project: String!, $run: String!) { project(name: $project, entityName: $entity) { run(name: $run) { ",
    light!(),
    " config summaryMetrics } } }"
);

const RUN_AND_HISTORY: &str = concat!(
    "query RunAndHistory($entity: String!, $project: String!, $run: String!, $minStep: Int64!, $maxStep: Int64!, $samples: Int!) { ",
    "project(name: $project, entityName: $entity) { run(name: $run) { ",
    light!(),
    " config summaryMetrics historyKeys history(minStep: $minStep, maxStep: $maxStep, samples: $samples) } } }"
);

const RUN_AND_EXPORT: &str = concat!(
    "query RunAndExport($entity: String!, $project: String!, $run: String!, $liveKeys: [String!]!) { ",
    "project(name: $project, entityName: $entity) { run(name: $run) { ",
    light!(),
    " config summaryMetrics historyKeys parquetHistory(liveKeys: $liveKeys) { parquetUrls } } } }"
);

const EXPORT: &str = "query Export($entity: String!, $project: String!, $run: String!, $liveKeys: [String!]!) { \
    project(name: $project, entityName: $entity) { run(name: $run) { parquetHistory(liveKeys: $liveKeys) { parquetUrls } } } }";

const HISTORY: &str = "query History($entity: String!, $project: String!, $run: String!, $minStep: Int64!, $maxStep: Int64!, $samples: Int!) { \
    project(name: $project, entityName: $entity) { run(name: $run) { history(minStep: $minStep, maxStep: $maxStep, samples: $samples) } } }";

const HAS_RUN: &str = "query HasRun($entity: String!, $project: String!, $run: String!) { \
    project(name: $project, entityName: $entity) { run(name: $run) { name } } }";

const VIEWER: &str = "query Viewer { viewer { username entity } }";

const RUN_COUNT: &str =
    "query RunCount($entity: String!, $project: String!) { project(name: $project, entityName: $entity) { runCount } }";

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

/// A run's heavy fields.
#[derive(Debug)]
pub struct HeavyRun {
    /// The row of `runs`.
    pub row: RunRow,
    /// The last step of the history; none where there is no history or the server does not say.
    pub last_step: Option<i64>,
    /// The number of history rows, as W&B counts them.
    pub lines: Option<u64>,
    /// Where the exported parts of the history are, in no order; empty where they were not asked for.
    pub exported: Vec<String>,
    /// The fields that are not in the row because they are no JSON, and why.
    pub illegible: Vec<(&'static str, String)>,
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

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    data: Option<Data<'a>>,
    #[serde(borrow, default)]
    errors: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
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

#[derive(Deserialize)]
struct Viewer {
    username: Option<String>,
    entity: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Connection<'a> {
    #[serde(borrow)]
    edges: Vec<&'a RawValue>,
    page_info: PageInfo,
}

#[derive(Deserialize)]
struct Edge<'a> {
    #[serde(borrow)]
    node: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageInfo {
    end_cursor: Option<String>,
    has_next_page: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Node<'a> {
    name: Option<String>,
    display_name: Option<String>,
    state: Option<String>,
    created_at: Option<String>,
    updated_at: Option<String>,
    heartbeat_at: Option<String>,
    history_line_count: Option<f64>,
    #[serde(borrow)]
    tags: Option<&'a RawValue>,
    user: Option<User>,
    /// None: the answer lacks it, which is not the same as null.
    #[serde(deserialize_with = "present")]
    config: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    summary_metrics: Option<Option<String>>,
    #[serde(borrow)]
    history_keys: Option<&'a RawValue>,
    #[serde(borrow)]
    history: Option<&'a RawValue>,
    parquet_history: Option<ParquetHistory>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ParquetHistory {
    parquet_urls: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct User {
    username: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HistoryKeys {
    last_step: Option<f64>,
}

impl Node<'_> {
    /// When the run last changed, as text: `updatedAt`, else when it was last alive.
    fn updated_at(&self) -> Option<i64> {
        [&self.updated_at, &self.heartbeat_at].into_iter().flatten().find_map(|text| time::parse(text))
    }

    fn exported(&self) -> Vec<String> {
        let exported = self.parquet_history.as_ref();
        exported.and_then(|exported| exported.parquet_urls.clone()).unwrap_or_default()
    }

    /// Reads the rows, which were asked for: an answer without them has failed, and says nothing of how many there are. Only of a run that has
    /// none there may be nothing.
    fn read_history(&self, history: &mut History, position: i64) -> Result<(), String> {
        match self.history {
            Some(rows) => page::graphql(rows.get(), history, position),
            None if self.lines() == Some(0) => Ok(()),
            None => Err("it lacks the history".to_owned()),
        }
    }

    /// Whether the fields are there that only a question for one run brings.
    fn has_heavy_fields(&self) -> Result<(), String> {
        match (&self.config, &self.summary_metrics) {
            (None, _) => Err("it lacks the config".to_owned()),
            (_, None) => Err("it lacks the summary".to_owned()),
            _ => Ok(()),
        }
    }

    fn lines(&self) -> Option<u64> {
        self.history_line_count.filter(|lines| *lines >= 0.0).map(|lines| lines as u64)
    }

    /// The row of `runs`. A field that is no JSON costs that field; it is named in `illegible`.
    fn row(&self, run_id: &str, illegible: &mut Vec<(&'static str, String)>) -> RunRow {
        let time = |text: &Option<String>| text.as_deref().and_then(time::parse);
        let mut legible = |field, read: Result<Option<String>, String>| {
            read.unwrap_or_else(|why| {
                illegible.push((field, why));
                None
            })
        };
        RunRow {
            run_id: run_id.to_owned(),
            name: self.display_name.clone().or_else(|| self.name.clone()),
            state: self.state.clone(),
            user: self.user.as_ref().and_then(|user| user.username.clone()),
            created_at: time(&self.created_at),
            updated_at: self.updated_at(),
            tags: self.tags.and_then(|tags| legible("tags", document(tags.get()))),
            config: self.config.iter().flatten().next().and_then(|config| legible("config", unwrap_config(config))),
            summary: self
                .summary_metrics
                .iter()
                .flatten()
                .next()
                .and_then(|summary| legible("summary", document(summary))),
        }
    }
}

/// A document that came inside a string; none for `null` and for nothing.
fn document(text: &str) -> Result<Option<String>, String> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let read = |text: &str| serde_json::from_str::<Box<RawValue>>(text).map(|raw| raw.get().to_owned());
    lenient::parse(text.as_bytes(), read).map(|json| Some(json).filter(|json| json != "null"))
}

/// `{"lr":{"value":0.1,"desc":null},"_wandb":{…}}` as people wrote it: `{"lr":0.1}`.
fn unwrap_config(text: &str) -> Result<Option<String>, String> {
    #[derive(Deserialize)]
    struct Wrapped<'a> {
        #[serde(borrow)]
        value: &'a RawValue,
    }
    let Some(json) = document(text)? else {
        return Ok(None);
    };
    let Ok(entries) = serde_json::from_str::<Entries<'_>>(&json) else {
        // Not an object: nothing is wrapped.
        return Ok(Some(json));
    };
    let mut out = String::with_capacity(json.len());
    for (key, value) in entries.0 {
        if key == "_wandb" || key == "wandb_version" {
            continue;
        }
        out.push_str(if out.is_empty() { "{" } else { "," });
        out.push_str(&Value::from(key.into_owned()).to_string());
        out.push(':');
        // Something wrapped in `value` is unwrapped, also where that is null.
        out.push_str(
            serde_json::from_str::<Wrapped<'_>>(value.get()).map_or(value.get(), |wrapped| wrapped.value.get()),
        );
    }
    out.push_str(if out.is_empty() { "{}" } else { "}" });
    Ok(Some(out))
}

fn last_step(keys: Option<&RawValue>) -> Option<i64> {
    let read = |text: &str| serde_json::from_str::<HistoryKeys>(text).ok();
    // Some servers send the object inside a string.
    let text = keys?.get();
    let keys = read(text).or_else(|| read(&serde_json::from_str::<String>(text).ok()?))?;
    keys.last_step.filter(|step| step.is_finite()).map(|step| step as i64)
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
            let strict = match std::str::from_utf8(&response.body) {
                Ok(text) => answer(response, text),
                Err(error) => Err(Failure::malformed(response.status, error)),
            };
            let result = match strict {
                Err(failure @ Failure::Again { .. }) => {
                    let repaired = lenient::repair(&response.body);
                    if repaired.as_bytes() == response.body { Err(failure) } else { answer(response, &repaired) }
                }
                other => other,
            };
            match result {
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
        let (data, errors_said) = match serde_json::from_str::<Envelope<'_>>(text) {
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

    /// A page of runs. `probing`: a failure that may mean another dialect is not retried.
    pub async fn runs<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
        cursor: Option<&str>,
        probing: bool,
    ) -> Result<ListingPage, Error> {
        self.page(client, cursor, self.page_size, probing).await
    }

    /// A page of so many runs.
    pub(super) async fn page<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
        cursor: Option<&str>,
        size: u32,
        probing: bool,
    ) -> Result<ListingPage, Error> {
        let request = self.request("Runs", RUNS, json!({"cursor": cursor, "perPage": size}));
        let mut question = self.question("listing runs", About::Project);
        question.goes_on = cursor.is_some();
        let read = |data: Data<'_>, _| {
            let Some(project) = data.project else {
                if cursor.is_none() {
                    return Ok(None);
                }
                // The pages before this one had it.
                question.doubt.set(Some(Ambiguity::Project));
                return Err(NO_PROJECT.to_owned());
            };
            let page = project.runs.ok_or("it has no list of runs")?;
            let odd = data.odd_entries;
            let read = |position: usize, text: &str| match odd.iter().find(|(at, _)| *at == position) {
                Some((_, said)) => Err(format!("W&B says: {said}")),
                None => listed(text).map_err(|error| lenient::place(&error)),
            };
            let edges = page.edges.iter().map(|edge| edge.get());
            let (runs, unreadable) = entries(edges, read, |edge| edge.get("node")?.get("name")?.as_str())?;
            let next = if page.page_info.has_next_page {
                Some(page.page_info.end_cursor.ok_or("a page has a next one, but no cursor")?)
            } else {
                None
            };
            Ok(Some(ListingPage { runs, unreadable, next }))
        };
        let result = self.query(client, &request, &question, BODY_LIMIT, probing, read).await;
        match (result.map_err(Error::from), question.doubt.get()) {
            (Ok(Some(page)), _) => Ok(page),
            (Ok(None), _) | (Err(Error::NotFound(_)), Some(Ambiguity::Project)) => Err(self.absent(client).await),
            (Err(error), Some(Ambiguity::Key)) => match self.viewer(client).await {
                Err(not_signed_in @ Error::Authentication(_)) => Err(not_signed_in),
                _ => Err(error),
            },
            (Err(error), _) => Err(error),
        }
    }

    /// How many runs W&B counts in the project; none where it does not say.
    pub(super) async fn run_count<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
    ) -> Result<Option<u64>, Error> {
        let request = self.request("RunCount", RUN_COUNT, json!({}));
        let question = self.question("counting runs", About::Project);
        let read = |data: Data<'_>, _| Ok(data.project.and_then(|project| project.run_count));
        let count = self.query(client, &request, &question, BODY_LIMIT, false, read).await?;
        Ok(count.filter(|count| *count >= 0.0).map(|count| count as u64))
    }

    /// Why `project` was null: a key that is not valid, or a project that it can't see.
    async fn absent<X: Exchange, D: Destination>(&self, client: &Client<'_, X, D>) -> Error {
        match self.viewer(client).await {
            Err(error) => error,
            Ok(viewer) => Error::NotFound(format!(
                "project {}/{} was not found; check entity and project, and that the key of {viewer} may read it",
                self.entity, self.project
            )),
        }
    }

    /// Asks who the key belongs to.
    pub(super) fn viewer_request(&self) -> Request {
        self.request("Viewer", VIEWER, json!({}))
    }

    /// Who the key belongs to.
    pub async fn viewer<X: Exchange, D: Destination>(&self, client: &Client<'_, X, D>) -> Result<String, Error> {
        let request = self.viewer_request();
        let question = self.question("asking whose key it is", About::Project);
        let read = |data: Data<'_>, _| Ok(data.viewer);
        let viewer = self.query(client, &request, &question, BODY_LIMIT, false, read).await?;
        match viewer {
            Some(viewer) => Ok(viewer.username.or(viewer.entity).unwrap_or_else(|| "an unnamed user".to_owned())),
            None => Err(Error::Authentication(
                "W&B does not accept the API key (nobody is logged in with it); check it, or get a new one".to_owned(),
            )),
        }
    }

    /// A run's heavy fields and what is wanted beside them. None: the run does not exist any more. The number is the response's size in bytes.
    pub async fn run<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
        run_id: &str,
        beside: Include,
        limit: usize,
        history: &RefCell<&mut History>,
        position: i64,
    ) -> Result<Option<(HeavyRun, usize)>, RequestError> {
        let request = match beside {
            Include::History(window) => {
                self.request("RunAndHistory", RUN_AND_HISTORY, window_variables(run_id, window))
            }
            Include::Export => self.request("RunAndExport", RUN_AND_EXPORT, export_variables(run_id)),
            Include::Nothing => self.request("Run", RUN, json!({"run": run_id})),
        };
        let question = self.question(format!("reading run {run_id}"), About::Run(run_id));
        let read = |data: Data<'_>, bytes| {
            let Some(node) = data.run(&question)? else { return Ok(None) };
            node.has_heavy_fields()?;
            let mut illegible = Vec::new();
            let row = node.row(run_id, &mut illegible);
            if let Include::History(_) = beside {
                node.read_history(&mut history.borrow_mut(), position)?;
            }
            Ok(Some((
                HeavyRun {
                    row,
                    last_step: last_step(node.history_keys),
                    lines: node.lines(),
                    exported: node.exported(),
                    illegible,
                },
                bytes,
            )))
        };
        self.query(client, &request, &question, limit, false, read).await
    }

    /// Where the exported parts of a run's history are: the same files as before with new signatures, perhaps others.
    pub async fn export<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
        run_id: &str,
    ) -> Result<Vec<String>, RequestError> {
        let request = self.request("Export", EXPORT, export_variables(run_id));
        let question = self.question(format!("reading the exported history of run {run_id}"), About::Run(run_id));
        let read = |data: Data<'_>, _| Ok(data.run(&question)?.map(|node| node.exported()).unwrap_or_default());
        self.query(client, &request, &question, BODY_LIMIT, false, read).await
    }

    /// A part of a run's history, into `history`. None: the run does not exist any more. The number is the response's size in bytes.
    pub async fn history<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
        run_id: &str,
        window: Window,
        limit: usize,
        history: &RefCell<&mut History>,
        position: i64,
    ) -> Result<Option<usize>, RequestError> {
        let request = self.request("History", HISTORY, window_variables(run_id, window));
        let question = self.question(format!("reading the history of run {run_id}"), About::Run(run_id));
        let read = |data: Data<'_>, bytes| {
            let Some(node) = data.run(&question)? else {
                return Ok(None);
            };
            node.read_history(&mut history.borrow_mut(), position)?;
            Ok(Some(bytes))
        };
        self.query(client, &request, &question, limit, false, read).await
    }

    /// Whether the first step of a run's history can be asked for, and the run is there.
    pub(super) async fn has_history<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
        run_id: &str,
    ) -> Result<bool, Error> {
        let request = self.request("History", HISTORY, window_variables(run_id, Window { start: 0, steps: 1 }));
        let question = self.question(format!("reading the history of run {run_id}"), About::Run(run_id));
        let read = |data: Data<'_>, _| Ok(data.project.is_some_and(|project| project.run.is_some()));
        Ok(self.query(client, &request, &question, BODY_LIMIT, false, read).await?)
    }

    /// Steps of a run between `from` and `to` (exclusive) that have rows: all of them, or those that W&B chose where there are more than
    /// `samples`. Good for finding out where rows are, never for reading them. None: the run does not exist any more.
    pub async fn some_steps<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
        run_id: &str,
        (from, to): (i64, i64),
        samples: u32,
        limit: usize,
    ) -> Result<Option<Vec<i64>>, RequestError> {
        let variables = json!({"run": run_id, "minStep": from, "maxStep": to, "samples": samples});
        let request = self.request("History", HISTORY, variables);
        let what = format!("looking for the first row of the history of run {run_id}");
        let question = self.question(what, About::Run(run_id));
        let read = |data: Data<'_>, _| {
            let Some(node) = data.run(&question)? else { return Ok(None) };
            let mut rows = History::new(MetricFilter::default());
            node.read_history(&mut rows, 0)?;
            Ok(Some(rows.rows().map(|row| row.step).filter(|step| (from..to).contains(step)).collect()))
        };
        self.query(client, &request, &question, limit, false, read).await
    }

    /// Whether the project has that run. A project that is not to be seen is an error: nothing follows from it for its runs.
    pub async fn has_run<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
        run_id: &str,
    ) -> Result<bool, Error> {
        let request = self.request("HasRun", HAS_RUN, json!({"run": run_id}));
        let question = self.question(format!("asking whether run {run_id} exists"), About::Run(run_id));
        let read = |data: Data<'_>, _| match data.project {
            None => Ok(None),
            Some(_) => Ok(Some(data.run(&question)?.is_some())),
        };
        match self.query(client, &request, &question, BODY_LIMIT, false, read).await? {
            Some(found) => Ok(found),
            None => Err(Error::NotFound(format!("{}: {NO_PROJECT}", question.what))),
        }
    }
}

fn export_variables(run_id: &str) -> Value {
    json!({"run": run_id, "liveKeys": ["_step"]})
}

fn window_variables(run_id: &str, window: Window) -> Value {
    json!({"run": run_id, "minStep": window.start, "maxStep": window.end(), "samples": window.steps})
}

/// A run as an edge of the listing shows it.
fn listed(edge: &str) -> serde_json::Result<Listed> {
    let raw = serde_json::from_str::<Edge<'_>>(edge)?.node.get();
    let node: Node<'_> = serde_json::from_str(raw)?;
    let Some(id) = node.name.clone() else {
        return Err(serde::de::Error::missing_field("name"));
    };
    let history = HistoryVersion { lines: node.lines(), heartbeat: node.heartbeat_at.clone() };
    let version = format!("{:016x}", hash(raw.as_bytes()));
    Ok(Listed { id, version, updated_at: node.updated_at(), history: Some(history), row: None })
}

/// Whether a body begins as answers of GraphQL do.
pub(super) fn looks_like_graphql(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"{\"data\"") || body.trim_ascii_start().starts_with(b"{\"errors\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_is_unwrapped_with_every_digit() {
        for (given, expected) in [
            (
                r#"{"lr":{"value":0.10000000000000000555,"desc":null},"_wandb":{"value":{}},"wandb_version":1}"#,
                r#"{"lr":0.10000000000000000555}"#,
            ),
            (
                r#"{"a":{"value":null},"b":{"value":{"value":3}},"c":5,"d":{"x":1}}"#,
                r#"{"a":null,"b":{"value":3},"c":5,"d":{"x":1}}"#,
            ),
            (r#"{"n":{"value":NaN},"é\"":{"value":1e400}}"#, r#"{"n":"NaN","é\"":1e400}"#),
            (r#"{"_wandb":{}}"#, "{}"),
            ("{}", "{}"),
        ] {
            assert_eq!(unwrap_config(given).unwrap().as_deref(), Some(expected), "{given}");
        }
        assert_eq!(unwrap_config("null"), Ok(None));
        assert_eq!(unwrap_config(""), Ok(None));
        assert!(unwrap_config("{").is_err());
    }

    #[test]
    fn half_of_a_surrogate_pair_in_a_run_is_never_stored() {
        let config = unwrap_config(r#"{"\ud800":{"value":"\udfff"},"b":{"value":[1]}}"#);
        assert_eq!(config.unwrap().as_deref(), Some("{\"\u{fffd}\":\"\\ufffd\",\"b\":[1]}"));
        let node: Node<'_> =
            serde_json::from_str(r#"{"name":"r","tags":["\ud83e"],"summaryMetrics":"{\"s\":\"\\ud83e\"}"}"#).unwrap();
        let mut illegible = Vec::new();
        let row = node.row("r", &mut illegible);
        assert_eq!(row.tags.as_deref(), Some(r#"["\ufffd"]"#));
        assert_eq!(row.summary.as_deref(), Some(r#"{"s":"\ufffd"}"#));
        assert_eq!(illegible, []);
    }

    #[test]
    fn the_last_step_is_read_from_an_object_or_a_text() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        assert_eq!(last_step(Some(&raw(r#"{"keys":{},"lastStep":2147483648}"#))), Some(1 << 31));
        assert_eq!(last_step(Some(&raw(r#""{\"lastStep\":7}""#))), Some(7));
        assert_eq!(last_step(Some(&raw(r#"{"lastStep":null}"#))), None);
        assert_eq!(last_step(None), None);
    }
}
