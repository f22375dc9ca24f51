//! The two ways to ask W&B. Both list runs and read histories; they differ in how, and in what a listing already holds.

pub mod bodies;
pub mod client;
mod elsewhere;
pub mod exchange;
pub mod graphql;
pub mod limiter;
pub mod quota;
pub mod rate;
pub mod rest;
#[path = "rest/seen.rs"]
pub(crate) mod seen;
mod server_errors;
pub mod url;
mod web_page;
mod words;

use crate::api::client::Client;
use crate::api::exchange::Exchange;
use crate::config::{Api, Config};
use crate::destination::{Destination, Level};
use crate::error::Error;
use crate::records::json;
use crate::sync::state::HistoryVersion;
use crate::tables::RunRow;

use graphql::Graphql;
use rest::Rest;
use seen::Seen;

/// How many pages without anything new end a history.
pub const MOST_EMPTY_PAGES: u32 = 10;

/// With more entries than this that can't be read, it is the page that can't be read.
const MOST_UNREADABLE: usize = 1000;

/// A run as a listing shows it.
#[derive(Debug)]
pub struct Listed {
    /// The run's id, as people see it in URLs.
    pub id: String,
    /// A hash of the whole entry: another one means that the run has changed.
    pub version: String,
    /// Microseconds since the epoch; none where the server's text is no time.
    pub updated_at: Option<i64>,
    /// What the entry says of the history (`graphql`).
    pub history: Option<HistoryVersion>,
    /// The whole row, where the listing already holds it (`rest`).
    pub row: Option<RunRow>,
}

impl Listed {
    /// How much there is to read, as far as is known: the largest runs go first.
    pub fn size(&self) -> u64 {
        self.history.as_ref().and_then(|history| history.lines).unwrap_or(0)
    }
}

/// One page of a listing.
#[derive(Debug)]
pub struct ListingPage {
    /// In the server's order.
    pub runs: Vec<Listed>,
    /// The entries that can't be read.
    pub unreadable: Vec<Unreadable>,
    /// Where the next page is: a URL (`rest`) or a cursor (`graphql`).
    pub next: Option<String>,
}

/// An entry of a listing that is not what an entry should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its position in the page, from 0.
    pub position: usize,
    /// The run's id, where that much can be read.
    pub id: Option<String>,
    /// What is wrong with it.
    pub why: String,
}

/// The entries of a page, each read by itself: an odd one costs nothing but itself. `read` is given an entry's position and text; `id`
/// finds the id in an entry that can't be read.
fn entries<'e>(
    texts: impl IntoIterator<Item = &'e str>,
    read: impl Fn(usize, &str) -> Result<Listed, String>,
    id: impl Fn(&serde_json::Value) -> Option<&str>,
) -> Result<(Vec<Listed>, Vec<Unreadable>), String> {
    let (mut runs, mut unreadable) = (Vec::new(), Vec::new());
    for (position, text) in texts.into_iter().enumerate() {
        let result = read(position, text).and_then(|run| match run.id.as_str() {
            "" => Err("it has no name".to_owned()),
            _ => Ok(run),
        });
        // What is JSON as a whole may still hold texts that are none.
        let result = result.or_else(|why| match json::repair(text.as_bytes()) {
            repaired if repaired == text => Err(why),
            repaired => read(position, &repaired),
        });
        match result {
            Ok(run) => runs.push(run),
            Err(_) if unreadable.len() == MOST_UNREADABLE => {
                return Err(format!("more than {MOST_UNREADABLE} of its entries can't be read"));
            }
            Err(why) => {
                let value = serde_json::from_str(text).unwrap_or_default();
                let id = id(&value).filter(|id| !id.is_empty()).map(str::to_owned);
                unreadable.push(Unreadable { position, id, why });
            }
        }
    }
    Ok((runs, unreadable))
}

/// The dialect that a sync speaks.
#[derive(Debug)]
pub enum Dialect {
    /// The connector's specification.
    Rest(Rest),
    /// The W&B service.
    Graphql(Graphql),
}

impl Dialect {
    /// Settles the dialect by asking for the first page of runs, which it returns.
    pub async fn choose<X: Exchange, D: Destination>(
        config: &Config,
        client: &Client<'_, X, D>,
    ) -> Result<(Self, ListingPage), Error> {
        match Self::settle(config, client).await {
            Err(error) => Err(elsewhere::explained(error, config, client).await),
            settled => settled,
        }
    }

    async fn settle<X: Exchange, D: Destination>(
        config: &Config,
        client: &Client<'_, X, D>,
    ) -> Result<(Self, ListingPage), Error> {
        let rest = Rest::new(config);
        let graphql = Graphql::new(config);
        if config.api == Api::Rest {
            let page = rest.runs(client, None).await?;
            return Ok((Self::Rest(rest), page));
        }
        let probing = config.api == Api::Auto;
        let refused = match graphql.runs(client, None, probing).await {
            Ok(page) => return Ok((Self::Graphql(graphql), page)),
            Err(error) if probing && graphql::may_be_rest(&error) => error,
            Err(error) => return Err(error),
        };
        client.destination.log(Level::Debug, &format!("GraphQL did not answer as expected ({refused}); asking REST"));
        match (rest.runs(client, None).await, refused) {
            (Ok(page), _) => Ok((Self::Rest(rest), page)),
            (Err(error @ Error::Configuration(_)), _) => Err(error),
            // GraphQL is not there at all: what REST says of the project counts.
            (Err(error), Error::Upstream { status: Some(404 | 405 | 501), .. } | Error::NotFound(_)) => Err(error),
            // Nor is another attempt of use where the key is refused, or the server sends one elsewhere.
            (
                Err(_),
                refused @ (Error::Authentication(_)
                | Error::Permission(_)
                | Error::Upstream { status: Some(300..=399), .. }),
            ) => Err(refused),
            (Err(_), _) => {
                let page = graphql.runs(client, None, false).await?;
                Ok((Self::Graphql(graphql), page))
            }
        }
    }

    /// The page of runs at `next`, or the first.
    pub async fn runs<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
        next: Option<&str>,
    ) -> Result<ListingPage, Error> {
        match self {
            Self::Rest(rest) => rest.runs(client, next).await,
            Self::Graphql(graphql) => graphql.runs(client, next, false).await,
        }
    }

    /// The smallest question about the listing: its first entry. What it brings does not matter.
    pub async fn asks_listing<X: Exchange, D: Destination>(&self, client: &Client<'_, X, D>) -> Result<(), Error> {
        match self {
            Self::Rest(rest) => rest.page(client, None, 1).await?,
            Self::Graphql(graphql) => graphql.page(client, None, 1, false).await?,
        };
        Ok(())
    }

    /// The smallest question about a run's history: its first row. What it brings does not matter, as long as the run is there.
    pub async fn asks_history<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
        run_id: &str,
    ) -> Result<bool, Error> {
        match self {
            Self::Rest(rest) => rest.has_run(client, run_id).await,
            Self::Graphql(graphql) => graphql.has_history(client, run_id).await,
        }
    }

    /// How many runs W&B counts in the project, where it says so (`graphql`).
    pub async fn run_count<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
    ) -> Result<Option<u64>, Error> {
        match self {
            Self::Rest(_) => Ok(None),
            Self::Graphql(graphql) => graphql.run_count(client).await,
        }
    }

    /// Whether W&B has a run of that id. An error leaves it open.
    pub async fn has_run<X: Exchange, D: Destination>(
        &self,
        client: &Client<'_, X, D>,
        run_id: &str,
    ) -> Result<bool, Error> {
        match self {
            Self::Rest(rest) => rest.has_run(client, run_id).await,
            Self::Graphql(graphql) => graphql.has_run(client, run_id).await,
        }
    }
}

/// Notices histories that go in circles or never end.
#[derive(Debug, Default)]
pub struct CycleDetector {
    pages: Seen,
    contents: Seen,
    empty: u32,
}

impl CycleDetector {
    /// Takes note of what a page held, as a hash over its rows and their steps.
    pub fn content(&mut self, hash: u64) -> Result<(), String> {
        if self.contents.insert(hash) {
            Ok(())
        } else {
            Err("the same rows came a second time under another address".to_owned())
        }
    }

    /// Takes note of a page's address and of whether it held anything new. The error says what is wrong with the pages.
    pub fn visit(&mut self, page: &str, is_empty: bool) -> Result<(), String> {
        if !self.pages.insert(crate::hash::hash(page.as_bytes())) {
            return Err("a page came a second time: the pages go in a circle".to_owned());
        }
        self.empty = if is_empty { self.empty + 1 } else { 0 };
        if self.empty >= MOST_EMPTY_PAGES {
            return Err(format!("{MOST_EMPTY_PAGES} pages in a row held nothing new, and there were still more"));
        }
        Ok(())
    }
}
