//! The `rest` dialect: the paths of the connector's specification, with a Bearer key.

mod cycles;
mod history;
mod seen;
mod source;

use std::cell::RefCell;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::client::{BODY_LIMIT, Client, Failure};
use crate::api::exchange::{Exchange, Method, Request, Response};
use crate::api::url;
use crate::config::Config;
use crate::destination::Destination;
use crate::error::Error;
use crate::hash::hash;
use crate::records::page;
use crate::records::row::History;
use crate::records::{json, time};
use crate::run::Listed;

use crate::tables::RunRow;

use super::entries::entries;
use super::server_errors::{About, Question, ServerErrors};
use super::source::{ListingPage, Unreadable};

pub use source::RestSource;

/// Builds and reads the requests of the dialect.
#[derive(Debug)]
pub struct Rest {
    base_url: String,
    /// Entity and project as a path says them, and as people do.
    path: String,
    entity: String,
    project: String,
    page_size: u32,
    authorization: String,
}

#[derive(Deserialize)]
struct RunsPage<'a> {
    #[serde(borrow)]
    runs: Vec<&'a RawValue>,
    #[serde(rename = "nextUrl", default)]
    next_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Run<'a> {
    id: String,
    name: Option<String>,
    display_name: Option<String>,
    state: Option<String>,
    user: Option<User>,
    created_at: Option<String>,
    updated_at: Option<String>,
    #[serde(borrow, default)]
    tags: Option<&'a RawValue>,
    #[serde(borrow, default)]
    config: Option<&'a RawValue>,
    #[serde(borrow, default)]
    summary_metrics: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct User {
    username: Option<String>,
}

impl Rest {
    /// For one project.
    pub fn new(config: &Config) -> Self {
        Self {
            base_url: config.base_url.clone(),
            path: format!("{}/{}", url::encode(&config.entity), url::encode(&config.project)),
            entity: config.entity.clone(),
            project: config.project.clone(),
            page_size: config.page_size,
            authorization: format!("Bearer {}", config.api_key.expose()),
        }
    }

    fn get(&self, url: String) -> Request {
        let headers = vec![("authorization", self.authorization.clone()), ("accept", "application/json".to_owned())];
        Request { method: Method::Get, url, headers, body: Vec::new() }
    }

    fn question<'q>(&'q self, what: impl Into<String>, about: About<'q>) -> Question<'q> {
        Question::new(what, about, &self.entity, &self.project)
    }

    /// Asks for the first page of runs.
    pub(crate) fn first_request(&self) -> Request {
        self.get(format!("{}/projects/{}/runs?perPage={}", self.base_url, self.path, self.page_size))
    }

    /// A page of runs.
    pub async fn runs<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
        next: Option<&str>,
    ) -> Result<ListingPage, Error> {
        self.page(client, next, self.page_size).await
    }

    /// A page of so many runs; those after the first have the size of the first.
    async fn page<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
        next: Option<&str>,
        size: u32,
    ) -> Result<ListingPage, Error> {
        let first = || format!("{}/projects/{}/runs?perPage={size}", self.base_url, self.path);
        let request = self.get(next.map_or_else(first, str::to_owned));
        let question = self.question("listing runs", About::Project);
        let accept = |response: &Response| {
            refuse(&question, response)?;
            let (runs, unreadable, next) =
                read_runs(&response.body).map_err(|error| no_answer(&question, response, &error))?;
            let next = next.map(|link| url::follow(&request.url, &link)).transpose();
            let next = next.map_err(|why| Failure::Final(Error::upstream(format!("{}: {why}", question.what))))?;
            Ok(ListingPage { runs, unreadable, next })
        };
        Ok(client.send(&request, &question.what, BODY_LIMIT, accept).await?)
    }

    /// Where a run's history begins.
    pub fn history_url(&self, run_id: &str) -> String {
        format!("{}/runs/{}/{}/history?perPage={}", self.base_url, self.path, url::encode(run_id), self.page_size)
    }

    /// A page of a run's history, into `history`; returns where the next one is. The outer none: the run does not exist any more.
    pub async fn history<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
        run_id: &str,
        url: &str,
        history: &RefCell<&mut History>,
        position: i64,
    ) -> Result<Option<Option<String>>, Error> {
        let request = self.get(url.to_owned());
        let question = self.question(format!("reading the history of run {run_id}"), About::Run(run_id));
        let accept = |response: &Response| {
            match refuse(&question, response) {
                Err(Failure::Final(Error::NotFound(_))) => return Ok(None),
                other => other?,
            }
            let next = page::rest(&response.body, &mut history.borrow_mut(), position)
                .map_err(|error| no_answer(&question, response, &error))?;
            let next = next.map(|link| url::follow(&request.url, &link)).transpose();
            let next = next.map_err(|why| Failure::Final(Error::upstream(format!("{}: {why}", question.what))))?;
            Ok(Some(next))
        };
        Ok(client.send(&request, &question.what, BODY_LIMIT, accept).await?)
    }

    /// Whether the project has that run. The dialect has no request for one run; the nearest is the first row of its history, which is
    /// answered with 404 when there is no such run.
    pub async fn has_run<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
        run_id: &str,
    ) -> Result<bool, Error> {
        let run = url::encode(run_id);
        let request = self.get(format!("{}/runs/{}/{run}/history?perPage=1", self.base_url, self.path));
        let question = self.question(format!("asking whether run {run_id} exists"), About::Run(run_id));
        let accept = |response: &Response| match refuse(&question, response) {
            Ok(()) => match ServerErrors::of_body(&response.body) {
                errors_said if errors_said.is_empty() => Ok(true),
                errors_said => Err(question.failure(response.status, &errors_said)),
            },
            Err(Failure::Final(Error::NotFound(_))) => Ok(false),
            Err(failure) => Err(failure),
        };
        Ok(client.send(&request, &question.what, BODY_LIMIT, accept).await?)
    }
}

/// Whether the status refuses the question.
fn refuse(question: &Question<'_>, response: &Response) -> Result<(), Failure> {
    let is_refused = !(200..300).contains(&response.status);
    let errors_said = if is_refused { ServerErrors::of_body(&response.body) } else { ServerErrors::default() };
    question.refusal(response, &errors_said).map_or(Ok(()), |error| Err(Failure::Final(error)))
}

/// What a body means that is not what it should be: it may say what is wrong.
fn no_answer(question: &Question<'_>, response: &Response, why: &str) -> Failure {
    match ServerErrors::of_body(&response.body) {
        errors_said if errors_said.is_empty() => Failure::malformed(response.status, why),
        errors_said => question.failure(response.status, &errors_said),
    }
}

type ReadRuns = (Vec<Listed>, Vec<Unreadable>, Option<String>);

fn read_runs(body: &[u8]) -> Result<ReadRuns, String> {
    json::parse_with(body, |text| {
        let page: RunsPage<'_> = serde_json::from_str(text).map_err(|error| json::place(&error))?;
        let read = |_, text: &str| listed(text).map_err(|error| json::place(&error));
        let (runs, unreadable) =
            entries(page.runs.iter().map(|raw| raw.get()), read, |entry| entry.get("id")?.as_str())?;
        Ok((runs, unreadable, page.next_url.filter(|url| !url.is_empty())))
    })
}

fn listed(raw: &str) -> serde_json::Result<Listed> {
    let run: Run<'_> = serde_json::from_str(raw)?;
    let json = |value: Option<&RawValue>| value.map(|value| value.get().to_owned());
    let time = |text: Option<&str>| text.and_then(time::parse);
    let row = RunRow {
        run_id: run.id.clone(),
        name: run.display_name.or(run.name),
        state: run.state,
        user: run.user.and_then(|user| user.username),
        created_at: time(run.created_at.as_deref()),
        updated_at: time(run.updated_at.as_deref()),
        tags: json(run.tags),
        config: json(run.config),
        summary: json(run.summary_metrics),
    };
    let version = format!("{:016x}", hash(raw.as_bytes()));
    Ok(Listed { id: run.id, version, updated_at: row.updated_at, history: None, row: Some(row) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_surrogate_pair_in_a_run_is_never_stored() {
        let page = br#"{"runs":[{"id":"r","tags":["\ud83e"],"config":{"\ud800":1},"summaryMetrics":{"s":"\udfff"}}]}"#;
        let (mut runs, ..) = read_runs(page).unwrap();
        let row = runs.pop().and_then(|run| run.row).unwrap();
        assert_eq!(row.tags.as_deref(), Some(r#"["\ufffd"]"#));
        assert_eq!(row.config.as_deref(), Some(r#"{"\ufffd":1}"#));
        assert_eq!(row.summary.as_deref(), Some(r#"{"s":"\ufffd"}"#));
    }
}
