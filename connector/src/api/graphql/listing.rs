//! Pages of runs, and what W&B says of the project and the key as a whole.

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::api::client::{BODY_LIMIT, Client};
use crate::api::entries::entries;
use crate::api::exchange::{Exchange, Request};
use crate::api::server_errors::{About, Ambiguity};
use crate::api::source::ListingPage;
use crate::destination::Destination;
use crate::error::Error;
use crate::hash::hash;
use crate::records::json as lenient;
use crate::run::Listed;
use crate::state::HistoryVersion;

use super::details::Node;
use super::{Data, Graphql, NO_PROJECT, queries};

#[derive(Deserialize)]
pub(super) struct Viewer {
    username: Option<String>,
    entity: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Connection<'a> {
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

impl Graphql {
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
    pub(crate) async fn page<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
        cursor: Option<&str>,
        size: u32,
        probing: bool,
    ) -> Result<ListingPage, Error> {
        let request = self.request("Runs", &queries::runs(), json!({"cursor": cursor, "perPage": size}));
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
    pub(crate) async fn run_count<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
    ) -> Result<Option<u64>, Error> {
        let request = self.request("RunCount", &queries::run_count(), json!({}));
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
    pub(crate) fn viewer_request(&self) -> Request {
        self.request("Viewer", queries::VIEWER, json!({}))
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
