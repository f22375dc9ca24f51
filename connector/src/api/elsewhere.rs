//! An address at which there is no API, though its server has one: `base_url` goes on after the server's address, and was not found there.

use crate::api::client::{BODY_LIMIT, Client};
use crate::api::exchange::Exchange;
use crate::api::{url, web_page};
use crate::config::Config;
use crate::destination::Destination;
use crate::error::{Error, Problem};

use super::graphql::{Graphql, looks_like_graphql};
use super::rest::Rest;

/// `error`, or what it means where the API answers at another address of the same server.
pub(super) async fn explained<X: Exchange, D: Destination>(
    error: Error,
    config: &Config,
    client: &Client<'_, X, D>,
) -> Error {
    let is_absence = matches!(error, Error::NotFound(_) | Error::Upstream { status: Some(404 | 405), .. });
    let Some(server) = url::server(&config.base_url).filter(|_| is_absence) else {
        return error;
    };
    if server == config.base_url {
        return match client.saw_web_page() && is_web_site(config, client).await {
            true => web_page::error(&config.base_url),
            false => error,
        };
    }
    let there = Config { base_url: server.to_owned(), page_size: 1, ..config.clone() };
    if answers(&there, client).await {
        let message = format!("is {}, where W&B's API is not; it is at {server}", config.base_url);
        return Error::Configuration(vec![Problem { key: Some("base_url".to_owned()), message }]);
    }
    let hint = format!("`base_url` is {}: is that where the API answers?", config.base_url);
    match error {
        Error::NotFound(message) => Error::NotFound(format!("{message}; {hint}")),
        Error::Upstream { status, message } => Error::Upstream { status, message: format!("{message}; {hint}") },
        other => other,
    }
}

/// Whether what is there are pages for people, in both dialects: a web site whose every page is missing.
async fn is_web_site<X: Exchange, D: Destination>(config: &Config, client: &Client<'_, X, D>) -> bool {
    for request in [Graphql::new(config).viewer_request(), Rest::new(config).first_request()] {
        if !client.ask(&request, BODY_LIMIT).await.is_some_and(|response| web_page::is_html(&response)) {
            return false;
        }
    }
    true
}

/// Whether W&B's API is there, in either dialect.
async fn answers<X: Exchange, D: Destination>(there: &Config, client: &Client<'_, X, D>) -> bool {
    let graphql = client.ask(&Graphql::new(there).viewer_request(), BODY_LIMIT).await;
    if graphql.is_some_and(|response| response.status != 404 && looks_like_graphql(&response.body)) {
        return true;
    }
    let rest = client.ask(&Rest::new(there).first_request(), BODY_LIMIT).await;
    rest.is_some_and(|response| {
        response.status == 200
            && serde_json::from_slice::<serde_json::Value>(&response.body).is_ok_and(|page| page["runs"].is_array())
    })
}
