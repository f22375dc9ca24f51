//! Spans of real syncs, as a collector on this machine gets them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use elt_host::{Error, Event, Observer};
use elt_serve::record::{SyncEnd, SyncRecord};
use elt_serve::traces::Traces;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::server::{Part, Server, answer};
use crate::support::{KEY, Run, Script, connector, until};

/// A source with something wrong at some paths.
async fn source() -> Server {
    Server::start(|path| match path.split('?').next() {
        Some("/fine") => answer("200 OK", "fine"),
        Some("/broken") => {
            vec![Part::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort".to_vec()), Part::Close]
        }
        Some("/silent") => vec![Part::Pause(Duration::from_secs(60))],
        Some("/lost") => vec![Part::Reset],
        _ => answer("404 Not Found", "nothing"),
    })
    .await
}

fn steps(source: &Server) -> Value {
    let get = |path: &str| json!(["get", format!("{}{path}", source.url()), {"authorization": "Bearer KEY"}, 5000]);
    json!([
        get("/fine?X-Goog-Signature=s1gned"),
        get("/missing"),
        get("/broken"),
        get("/lost"),
        ["rows", 0, 10],
        ["checkpoint", {"a": "1"}],
    ])
}

/// Method, status and error of every request that was reported.
fn requests(run: &Run) -> Vec<(String, Option<u16>, Option<String>)> {
    let requests = run.events.iter().filter_map(|event| match event {
        Event::Request { method, host, status, error, .. } => {
            assert_eq!(host, "127.0.0.1");
            Some((method.to_string(), *status, error.clone()))
        }
        _ => None,
    });
    requests.collect()
}

#[tokio::test]
async fn every_request_is_reported_once_with_its_end() {
    let source = source().await;
    let run = Script::new(steps(&source)).with("base_url", json!(source.url())).run().await;
    assert!(run.outcome.error.is_none(), "{}", run.error());
    let requests = requests(&run);
    let seen: Vec<_> = requests.iter().map(|(method, status, error)| (&**method, *status, error.as_deref())).collect();
    assert_eq!(seen[..2], [("GET", Some(200), None), ("GET", Some(404), None)]);
    assert!(matches!(seen[2], ("GET", Some(200), Some("HttpResponseIncomplete"))), "{seen:?}");
    assert!(matches!(seen[3], ("GET", None, Some(_))) && seen.len() == 4, "{seen:?}");
    assert_eq!(run.outcome.requests, 4);
}

/// Remembers how requests ended.
#[derive(Default)]
struct Ends {
    all: Mutex<Vec<(Option<u16>, Option<String>)>>,
    came: Notify,
}

impl Observer for Ends {
    fn event(&self, event: Event) {
        if let Event::Request { status, error, .. } = event {
            self.all.lock().unwrap().push((status, error));
            self.came.notify_waiters();
        }
    }
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_any_more_was_cancelled() {
    let (source, ends) = (source().await, Arc::new(Ends::default()));
    let steps = json!([["open", format!("{}/silent", source.url()), 3]]);
    let script = Script::new(steps).with("base_url", json!(source.url()));
    let (cancel, connector) = (script.cancel.clone(), connector());
    let sync = script.run_watched(&connector, |_| ends.clone());
    let stop = async {
        until(&source.asked, || source.requests().len() == 3).await;
        cancel.cancel();
    };
    let (run, ()) = tokio::join!(sync, stop);
    assert!(matches!(run.outcome.error, Some(Error::Interrupted)), "{}", run.error());
    until(&ends.came, || ends.all.lock().unwrap().len() == 3).await;
    assert_eq!(*ends.all.lock().unwrap(), vec![(None, Some("Cancelled".to_owned())); 3]);
}

fn record(outcome: &str) -> SyncRecord {
    let started = Utc::now();
    let end = SyncEnd {
        at: started + TimeDelta::seconds(1),
        outcome: outcome.to_owned(),
        message: Some("s1gned".to_owned()),
        rows: 10,
        items: (1, 0),
        requests: 4,
        retries: 0,
        throttled: Duration::ZERO,
        memory: 1 << 20,
    };
    SyncRecord { tenant: "acme".parse().unwrap(), due: started, started, end: Some(end) }
}

/// The spans that a collector got.
fn spans(collector: &Server) -> Vec<Value> {
    let bodies = collector.requests();
    let parsed = bodies.iter().map(|request| {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
        assert!(head.to_lowercase().contains("content-type: application/json"), "{head}");
        serde_json::from_str::<Value>(body).unwrap()
    });
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let scopes = parsed.flat_map(|body| list(&body, "resourceSpans")).flat_map(|resource| {
        let service = json!({"key": "service.name", "value": {"stringValue": "this-program"}});
        assert!(list(&resource["resource"], "attributes").contains(&service), "{resource}");
        list(&resource, "scopeSpans")
    });
    scopes.flat_map(|scope| list(&scope, "spans")).collect()
}

fn attribute<'a>(span: &'a Value, key: &str) -> Option<&'a str> {
    let found = span["attributes"].as_array()?.iter().find(|attribute| attribute["key"] == key)?;
    found["value"].as_object()?.values().next()?.as_str()
}

#[tokio::test]
async fn a_sync_is_a_trace_of_its_requests_and_commits() {
    let (source, collector) = (source().await, Server::start(|_| answer("200 OK", "{}")).await);
    let traces = Traces::to(&format!("{}/v1/traces", collector.url()), "this-program").unwrap();
    for outcome in ["ok", "upstream"] {
        let mut trace = None;
        let script = Script::new(steps(&source)).with("base_url", json!(source.url()));
        let tenant = "acme".parse().unwrap();
        let run =
            script.run_watched(&connector(), |recorder| trace.insert(traces.sync(&tenant, recorder)).clone()).await;
        trace.unwrap().end(&record(outcome));
        assert_eq!(requests(&run).len(), 4, "what is reported goes on to who listens");
    }
    traces.shutdown().await;

    let spans = spans(&collector);
    let named = |name: &str| spans.iter().filter(|span| span["name"] == name).cloned().collect::<Vec<_>>();
    let (syncs, gets, commits) = (named("sync"), named("GET"), named("commit"));
    assert_eq!((syncs.len(), gets.len(), commits.len(), spans.len()), (2, 8, 2, 12));
    assert!(spans.iter().all(|span| attribute(span, "tenant.id") == Some("acme")));
    assert_ne!(syncs[0]["traceId"], syncs[1]["traceId"], "each sync is a trace");
    for (sync, outcome) in syncs.iter().zip(["ok", "upstream"]) {
        assert!(sync["parentSpanId"].as_str().unwrap_or_default().is_empty());
        assert_eq!((attribute(sync, "sync.outcome"), attribute(sync, "sync.rows")), (Some(outcome), Some("10")));
        assert_eq!(attribute(sync, "error.type"), (outcome != "ok").then_some(outcome));
        assert_eq!(sync["status"]["code"] == 2, outcome != "ok", "{sync}");
        let in_it = |span: &&Value| span["traceId"] == sync["traceId"] && span["parentSpanId"] == sync["spanId"];
        let gets: Vec<&Value> = gets.iter().filter(in_it).collect();
        let seen: Vec<_> = gets
            .iter()
            .map(|get| (attribute(get, "http.response.status_code"), attribute(get, "error.type").is_some()))
            .collect();
        assert_eq!(seen, [(Some("200"), false), (Some("404"), true), (Some("200"), true), (None, true)]);
        assert!(gets.iter().all(|get| attribute(get, "server.address") == Some("127.0.0.1") && get["kind"] == 3));
        assert!(gets.iter().all(|get| attribute(get, "http.request.method") == Some("GET")));
        let commits: Vec<&Value> = commits.iter().filter(in_it).collect();
        assert_eq!(commits.iter().map(|commit| attribute(commit, "commit.rows")).collect::<Vec<_>>(), [Some("10")]);
        let time = |span: &Value, key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
        for span in gets.iter().chain(&commits) {
            assert!(time(span, "startTimeUnixNano") <= time(span, "endTimeUnixNano"), "{span}");
            assert!(time(span, "startTimeUnixNano") >= time(sync, "startTimeUnixNano"), "{span}");
        }
    }
    let everything = collector.requests().concat();
    for private in [KEY, "s1gned", "X-Goog", "/fine", "Bearer", "elt-secret"] {
        assert!(!everything.contains(private), "{private} left the host");
    }
}

#[tokio::test]
async fn a_collector_that_fails_is_no_concern_of_a_sync() {
    let (source, collector) = (source().await, Server::start(|_| vec![Part::Reset]).await);
    let traces = Traces::to(&collector.url(), "this-program").unwrap();
    let script = Script::new(steps(&source)).with("base_url", json!(source.url()));
    let tenant = "acme".parse().unwrap();
    let run = script.run_watched(&connector(), |recorder| traces.sync(&tenant, recorder)).await;
    assert!(run.outcome.error.is_none(), "{}", run.error());
    traces.shutdown().await;
    assert!(!collector.requests().is_empty(), "it was tried");
}
