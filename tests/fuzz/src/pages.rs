//! The pages of both dialects: listings, heavy runs and histories.

use std::cell::RefCell;

use serde_json::value::RawValue;
use wandb_connector::api::client::{BODY_LIMIT, Client};
use wandb_connector::api::graphql::{Graphql, Include, Window};
use wandb_connector::api::rest::Rest;
use wandb_connector::api::source::ListingPage;
use wandb_connector::api::url;
use wandb_connector::batch::Batch;
use wandb_connector::config::Config;
use wandb_connector::records::filter::MetricFilter;
use wandb_connector::records::json;
use wandb_connector::records::page;
use wandb_connector::records::row::History;
use wandb_connector::run::Listed;
use wandb_connector::tables;

use crate::rows::{self, Sink, TIMESTAMPS};
use crate::server::{API_KEY, BASE_URL, Server, attempt};

/// What the names of one page's metrics may take, all together: far more than any page needs, and little of a guest's memory.
const MOST_NAME_BYTES: usize = 32 << 20;

/// A configuration in which nothing is wrong. `rest` says its own dialect itself.
pub fn config(api: &str) -> Config {
    let text = serde_json::json!({
        "api_key": API_KEY, "entity": "acme", "project": "demo", "base_url": BASE_URL, "api": api, "concurrency": 2, "page_size": 2,
    });
    Config::parse(&text.to_string()).expect("a configuration in which nothing is wrong")
}

/// A page of runs of the `graphql` dialect.
pub fn graphql_listing(body: &[u8]) {
    let (server, sink, graphql) = (Server::page(body), Sink::default(), Graphql::new(&config("graphql")));
    let client = Client::new(&server, &sink, 1);
    if let Some(Ok(page)) = attempt(graphql.runs(&client, None, false)) {
        check_listing(body, &page);
        assert!(page.runs.iter().all(|run| run.row.is_none()), "a light listing");
    }
}

/// A page of runs of the `rest` dialect.
pub fn rest_listing(body: &[u8]) {
    let (server, sink, rest) = (Server::page(body), Sink::default(), Rest::new(&config("rest")));
    let client = Client::new(&server, &sink, 1);
    if let Some(Ok(page)) = attempt(rest.runs(&client, None)) {
        check_listing(body, &page);
        check_next(page.next.as_deref());
        for Listed { id, row, .. } in page.runs {
            let row = row.expect("a listing of this dialect holds whole rows");
            assert_eq!(row.run_id, id);
            rows::check("runs", &row.to_batch());
        }
    }
}

fn check_listing(body: &[u8], page: &ListingPage) {
    // An entry takes `{"id":""}` at least; what is no UTF-8 takes three bytes instead of one.
    assert!(page.runs.len() * 9 <= body.len());
    assert!(page.runs.iter().map(|run| run.id.len()).sum::<usize>() <= body.len() * 3);
    for run in &page.runs {
        assert_eq!(run.version.len(), 16);
        assert!(run.updated_at.is_none_or(|time| TIMESTAMPS.contains(&time)));
    }
}

/// A link is followed only on the server that the page came from.
fn check_next(next: Option<&str>) {
    let stays =
        |next: &str| next.strip_prefix(BASE_URL).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
    // A spelling of the same origin may differ: scheme and host in upper case, the port written out.
    let same = |next: &str| url::follow(&format!("{BASE_URL}/"), next).as_deref() == Ok(next);
    assert!(next.is_none_or(|next| stays(next) || same(next)), "{next:?}");
}

/// A run with its heavy fields and a part of its history, in the `graphql` dialect.
pub fn graphql_run(body: &[u8]) {
    let (server, sink, graphql) = (Server::page(body), Sink::default(), Graphql::new(&config("graphql")));
    let client = Client::new(&server, &sink, 1);
    let mut history = History::new(MetricFilter::default());
    let found = {
        let history = RefCell::new(&mut history);
        let sibling = Include::History(Window { start: 0, steps: 1000 });
        attempt(graphql.run(&client, "r", sibling, BODY_LIMIT, &history, 0))
    };
    match found {
        Some(Ok(Some((run, bytes)))) => {
            assert!(bytes <= body.len() * 6);
            assert_eq!(run.row.run_id, "r");
            rows::check("runs", &run.row.to_batch());
            take(&mut history, body);
        }
        _ => assert_eq!((history.points(), history.rows().len()), (0, 0), "of a refused page nothing stays"),
    }
}

/// A page of a history in the `rest` dialect, as it comes from the server.
pub fn rest_history(body: &[u8]) {
    let (server, sink, rest) = (Server::page(body), Sink::default(), Rest::new(&config("rest")));
    let client = Client::new(&server, &sink, 1);
    let mut history = History::new(MetricFilter::default());
    let found = {
        let history = RefCell::new(&mut history);
        attempt(rest.history(&client, "r", &rest.history_url("r"), &history, 0))
    };
    if let Some(Ok(Some(next))) = found {
        check_next(next.as_deref());
        take(&mut history, body);
    }
}

/// Rows of a history as both dialects send them: the same rows are the same points.
pub fn history_rows(body: &[u8]) {
    let mut as_objects = History::new(MetricFilter::default());
    let result = page::rest(body, &mut as_objects, 7);
    if result.is_err() {
        assert_eq!((as_objects.points(), as_objects.rows().len()), (0, 0), "of a refused page nothing stays");
        return;
    }
    let rows = serde_json::from_slice::<Vec<&RawValue>>(body).ok();
    // What is repaired at all is repaired as a whole in one dialect, and row by row in the other.
    let rows = rows.filter(|_| json::repair(body).as_bytes() == body);
    let as_objects = take(&mut as_objects, body);
    if let Some(rows) = rows {
        let texts: Vec<&str> = rows.iter().map(|row| row.get()).collect();
        let mut as_texts = History::new(MetricFilter::default());
        page::graphql(&serde_json::to_string(&texts).expect("texts are JSON"), &mut as_texts, 7)
            .expect("the same rows");
        assert_eq!(format!("{as_objects:?}"), format!("{:?}", take(&mut as_texts, body)));
    }
}

/// Takes the points of a page out, and checks them against its size.
fn take(history: &mut History, body: &[u8]) -> Vec<Option<Batch>> {
    // A row takes `{}` at least, a point `"":1`; an integer beyond 2^53 is two points.
    assert!(history.rows().len() <= body.len() && history.points() <= body.len());
    let batches = tables::of_history(history, "r");
    for (table, batch) in &batches {
        if let Some(batch) = batch {
            let table = table.name;
            rows::check(table, batch);
            let bytes = rows::text_bytes(batch);
            assert!(bytes <= body.len() * 6 + MOST_NAME_BYTES, "{bytes} bytes of {table} from {}", body.len());
        }
    }
    batches.into_iter().map(|(_, batch)| batch).collect()
}
