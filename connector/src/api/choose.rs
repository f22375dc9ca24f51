//! Which dialect a sync speaks.

use crate::api::client::Client;
use crate::api::exchange::Exchange;
use crate::config::{Api, Config};
use crate::destination::{Destination, Level};
use crate::error::Error;

use super::elsewhere;
use super::graphql::{self, Graphql, GraphqlSource};
use super::rest::{Rest, RestSource};
use super::source::{ListingPage, RunSource};

/// A dialect, and the first page of runs.
type Chosen<'a> = (Box<dyn RunSource + 'a>, ListingPage);

/// Settles the dialect by asking for the first page of runs, which it returns.
///
/// # Errors
/// Neither dialect answers, or W&B refuses.
pub async fn choose<'a, X: Exchange, D: Destination>(
    config: &'a Config,
    client: &'a Client<'a, X, D>,
) -> Result<Chosen<'a>, Error> {
    match settle(config, client).await {
        Err(error) => Err(elsewhere::explained(error, config, client).await),
        settled => settled,
    }
}

async fn settle<'a, X: Exchange, D: Destination>(
    config: &'a Config,
    client: &'a Client<'a, X, D>,
) -> Result<Chosen<'a>, Error> {
    let by_rest = |rest| -> Box<dyn RunSource + 'a> { Box::new(RestSource::new(rest, client, config)) };
    let by_graphql = |graphql| -> Box<dyn RunSource + 'a> { Box::new(GraphqlSource::new(graphql, client, config)) };
    let rest = Rest::new(config);
    let graphql = Graphql::new(config);
    if config.api == Api::Rest {
        let page = rest.runs(client, None).await?;
        return Ok((by_rest(rest), page));
    }
    let probing = config.api == Api::Auto;
    let refused = match graphql.runs(client, None, probing).await {
        Ok(page) => return Ok((by_graphql(graphql), page)),
        Err(error) if probing && graphql::may_be_rest(&error) => error,
        Err(error) => return Err(error),
    };
    client.destination.log(Level::Debug, &format!("GraphQL did not answer as expected ({refused}); asking REST"));
    match (rest.runs(client, None).await, refused) {
        (Ok(page), _) => Ok((by_rest(rest), page)),
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
            Ok((by_graphql(graphql), page))
        }
    }
}
