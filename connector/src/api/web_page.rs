//! Web pages where W&B's API should be: `base_url` names a web site, or a sign-in page stands before everything. One page alone can be a
//! passing fault of a proxy. A server that answers with one where nothing is at all has no API.

use crate::api::exchange::{Method, Request, Response};
use crate::api::url;
use crate::api::url::shown;
use crate::config::DEFAULT_BASE_URL;
use crate::error::{Error, Problem};

/// What no server has beside what was asked for. W&B's API answers 404.
const NOWHERE: &str = "-/nothing-is-here";

/// Whether the answer is a page for people, in the place of what was asked for.
pub(crate) fn is_one(response: &Response) -> bool {
    (200..300).contains(&response.status) && is_html(response)
}

/// Whether the answer is a page for people, whatever its status.
pub(crate) fn is_html(response: &Response) -> bool {
    let kind = response.header("content-type").unwrap_or_default().to_ascii_lowercase();
    let is_html = kind.starts_with("text/html") || kind.starts_with("application/xhtml");
    let start = response.body.trim_ascii_start();
    let begins_with =
        |text: &str| start.get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text.as_bytes()));
    is_html || begins_with("<!doctype html") || begins_with("<html")
}

/// Asks the server of `page` for what is not there, without the key.
pub(crate) fn question(page: &str) -> Option<Request> {
    let (folder, _) = shown(page).rsplit_once('/')?;
    let url = format!("{folder}/{NOWHERE}");
    Some(Request {
        method: Method::Get,
        url,
        headers: vec![("accept", "application/json".to_owned())],
        body: Vec::new(),
    })
}

/// What is said of a server that answers so.
pub(crate) fn error(page: &str) -> Error {
    let server = url::server(page).unwrap_or(page);
    let message = format!(
        "{server} answers every question with a web page, so W&B's API is not there. W&B's own is at {DEFAULT_BASE_URL}, the default; that of another server is at the address that `wandb login --host` takes. A page on which one signs in to a network answers so, too"
    );
    Error::Configuration(vec![Problem { key: Some("base_url".to_owned()), message }])
}
