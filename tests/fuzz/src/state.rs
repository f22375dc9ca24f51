//! What is remembered between syncs, which people import from elsewhere and edit by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use wandb_connector::api::exchange::{Exchange, Request, Response, TransportError};
use wandb_connector::records::time;
use wandb_connector::sync::state::{RUNS, RunEntry, State, WATERMARK};
use wandb_connector::sync::sync;

use crate::pages::config;
use crate::rows::Sink;
use crate::server::{check_request, drive};

/// Rows of each run of [`Project`].
const ROWS: i64 = 5;
/// The runs of [`Project`].
const IDS: [&str; 2] = ["a", "b"];

/// With whatever state, a sync of a project that stands still ends well, and the next one finds nothing to do.
pub fn state(bytes: &[u8]) {
    let Ok(given) = serde_json::from_slice::<BTreeMap<String, String>>(bytes) else {
        return;
    };
    for id in given.keys().filter_map(|key| key.strip_prefix(RUNS)) {
        check_entry(&given, id);
    }
    for dialect in ["rest", "graphql"] {
        let mut given = given.clone();
        // A destination of another project is refused before anything is asked.
        given.remove(wandb_connector::sync::state::SOURCE);
        check_syncs(dialect, given);
    }
}

/// An entry that can be read is the same after it was written and read again.
fn check_entry(state: &State, id: &str) {
    if let Some(entry) = RunEntry::find(state, id) {
        let again: State = [(format!("{RUNS}{id}"), entry.to_text())].into();
        assert_eq!(RunEntry::find(&again, id), Some(entry));
    }
}

fn check_syncs(dialect: &str, given: State) {
    let known = IDS.iter().any(|id| given.contains_key(&format!("{RUNS}{id}")));
    let bare_watermark = given.contains_key(WATERMARK) || given.contains_key(wandb_connector::sync::state::IMPORT);
    let illegible = [WATERMARK, wandb_connector::sync::state::IMPORT]
        .iter()
        .any(|key| given.get(*key).is_some_and(|text| time::parse(text).is_none()));
    let before = given.get(WATERMARK).and_then(|text| time::parse(text));

    let sink = Sink::with_state(given.clone());
    if illegible {
        assert!(matches!(run(dialect, &sink), Err(wandb_connector::error::Error::Destination(_))));
        assert_eq!((sink.rows(), sink.deletions(), sink.state()), (0, 0, given));
        return;
    }
    let summary = run(dialect, &sink).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((summary.seen, summary.quarantined.len()), (IDS.len() as u64, 0));
    if !known && !bare_watermark {
        // Of each run its row, and of each of its rows a metric.
        assert_eq!(sink.rows(), IDS.len() * (1 + ROWS as usize));
    }
    let left = sink.state();
    let after = left.get(WATERMARK).and_then(|text| time::parse(text));
    assert!(before.is_none() || after >= before, "the watermark fell from {before:?} to {after:?}");
    for id in IDS {
        assert!(RunEntry::find(&left, id).is_some(), "{id} is forgotten");
        check_entry(&left, id);
    }

    let sink = Sink::with_state(left.clone());
    let summary = run(dialect, &sink).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((summary.synced, summary.unchanged), (0, IDS.len() as u64), "the project stood still");
    assert_eq!((sink.rows(), sink.deletions(), sink.state()), (0, 0, left));
}

fn run(dialect: &str, sink: &Sink) -> Result<wandb_connector::sync::Summary, wandb_connector::error::Error> {
    let config = config(dialect);
    drive(sync(&Project, sink, &config, sink.state())).expect("every question is answered")
}

/// A server with two runs of five rows, in both dialects.
struct Project;

impl Project {
    fn run(id: &str) -> Value {
        let time = if id == "a" { "2025-01-01T00:00:00Z" } else { "2025-06-01T00:00:00Z" };
        json!({
            "id": id, "name": id, "displayName": id, "state": "finished", "user": {"username": "u"}, "createdAt": time,
            "updatedAt": time, "heartbeatAt": time, "historyLineCount": ROWS, "tags": [],
        })
    }

    fn row(step: i64) -> Value {
        json!({"_step": step, "_timestamp": 1_750_000_000 + step, "loss": step})
    }

    fn graphql(body: &Value) -> Value {
        let variable = |name: &str| body.pointer(&format!("/variables/{name}"));
        let page = json!({"endCursor": "end", "hasNextPage": false});
        if body["operationName"] == "Runs" {
            let edges: Vec<Value> = IDS.iter().map(|id| json!({"node": Self::run(id)})).collect();
            return json!({"data": {"project": {"runs": {"edges": edges, "pageInfo": page}}}});
        }
        let mut run = Self::run(variable("run").and_then(Value::as_str).unwrap_or_default());
        run["historyKeys"] = json!({"lastStep": ROWS - 1});
        (run["config"], run["summaryMetrics"]) = (json!("{}"), json!("{}"));
        let bounds = [variable("minStep"), variable("maxStep")].map(|bound| bound.and_then(Value::as_i64));
        if let [Some(least), Some(end)] = bounds {
            let rows = (0..ROWS).filter(|step| (least..end).contains(step));
            run["history"] = rows.map(|step| Self::row(step).to_string()).collect();
        }
        json!({"data": {"project": {"run": run}}})
    }
}

impl Exchange for Project {
    async fn send(&self, request: &Request, _limit: usize) -> Result<Response, TransportError> {
        check_request(request);
        let answer = if request.url.contains("/history") {
            json!({"history": (0..ROWS).map(Self::row).collect::<Vec<_>>()})
        } else if request.body.is_empty() {
            json!({"runs": IDS.map(Self::run)})
        } else {
            Self::graphql(&serde_json::from_slice(&request.body).expect("a question in JSON"))
        };
        Ok(Response { status: 200, headers: Vec::new(), body: answer.to_string().into_bytes() })
    }

    async fn sleep(&self, _duration: Duration) {
        panic!("there is nothing to wait for");
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn wall_clock(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(1_750_000_000, 0).unwrap_or_default()
    }

    fn random(&self) -> u64 {
        0
    }
}
