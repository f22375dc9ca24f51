//! The `rest` dialect: the paths of the connector's specification, with a Bearer key.

use std::cell::RefCell;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::client::{BODY_LIMIT, Client, Failure, refusal};
use crate::config::Config;
use crate::destination::Destination;
use crate::error::Error;
use crate::exchange::{Exchange, Method, Request};
use crate::history::names::hash;
use crate::history::page;
use crate::history::row::History;
use crate::{json, time, url};

use super::{Listed, ListingPage, RunRow};

/// Builds and reads the requests of the dialect.
#[derive(Debug)]
pub struct Rest {
    base_url: String,
    project: String,
    shown: String,
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
            project: format!("{}/{}", url::encode(&config.entity), url::encode(&config.project)),
            shown: format!("project {}/{}", config.entity, config.project),
            page_size: config.page_size,
            authorization: format!("Bearer {}", config.api_key.expose()),
        }
    }

    fn get(&self, url: String) -> Request {
        let headers = vec![("authorization", self.authorization.clone()), ("accept", "application/json".to_owned())];
        Request { method: Method::Get, url, headers, body: Vec::new() }
    }

    /// Asks for the first page of runs.
    pub(super) fn first_request(&self) -> Request {
        self.get(format!("{}/projects/{}/runs?perPage={}", self.base_url, self.project, self.page_size))
    }

    /// A page of runs.
    pub async fn runs<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
        next: Option<&str>,
    ) -> Result<ListingPage, Error> {
        let request = next.map_or_else(|| self.first_request(), |next| self.get(next.to_owned()));
        let what = "listing runs";
        let accept = |response: &crate::exchange::Response| {
            if let Some(error) = refusal(response, what, &self.shown) {
                return Err(Failure::Final(error));
            }
            let (runs, next) =
                json::parse(&response.body, read_runs).map_err(|error| Failure::malformed(response.status, error))?;
            let next = next.map(|link| url::follow(&request.url, &link)).transpose();
            let next = next.map_err(|why| Failure::Final(Error::upstream(format!("{what}: {why}"))))?;
            Ok(ListingPage { runs, next })
        };
        Ok(client.send(&request, what, BODY_LIMIT, accept).await?)
    }

    /// Where a run's history begins.
    pub fn history_url(&self, run_id: &str) -> String {
        format!("{}/runs/{}/{}/history?perPage={}", self.base_url, self.project, url::encode(run_id), self.page_size)
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
        let what = format!("reading the history of run {run_id}");
        let accept = |response: &crate::exchange::Response| {
            match refusal(response, &what, &self.shown) {
                Some(Error::NotFound(_)) => return Ok(None),
                Some(error) => return Err(Failure::Final(error)),
                None => {}
            }
            let next = page::rest(&response.body, &mut history.borrow_mut(), position)
                .map_err(|error| Failure::malformed(response.status, error))?;
            let next = next.map(|link| url::follow(&request.url, &link)).transpose();
            let next = next.map_err(|why| Failure::Final(Error::upstream(format!("{what}: {why}"))))?;
            Ok(Some(next))
        };
        Ok(client.send(&request, &what, BODY_LIMIT, accept).await?)
    }

    /// Whether the project has that run. The dialect has no request for one run; the nearest is the first row of its history, which is
    /// answered with 404 when there is no such run.
    pub async fn has_run<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
        run_id: &str,
    ) -> Result<bool, Error> {
        let run = url::encode(run_id);
        let request = self.get(format!("{}/runs/{}/{run}/history?perPage=1", self.base_url, self.project));
        let what = format!("asking whether run {run_id} exists");
        let accept = |response: &crate::exchange::Response| match refusal(response, &what, &self.shown) {
            None => Ok(true),
            Some(Error::NotFound(_)) => Ok(false),
            Some(error) => Err(Failure::Final(error)),
        };
        Ok(client.send(&request, &what, BODY_LIMIT, accept).await?)
    }
}

fn read_runs(text: &str) -> serde_json::Result<(Vec<Listed>, Option<String>)> {
    let page: RunsPage<'_> = serde_json::from_str(text)?;
    let runs = page.runs.into_iter().map(|raw| listed(raw.get())).collect::<serde_json::Result<_>>()?;
    Ok((runs, page.next_url.filter(|url| !url.is_empty())))
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
