//! Answers about runs and listings that are whole by their form and lack what they were asked for, through a whole sync, against a small
//! stand-in for W&B whose answers a test may change.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod standing;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::{Value, json};
use wandb_connector::api::exchange::{Request, Response, TransportError};
use wandb_connector::batch::{Batch, Values};
use wandb_connector::config::Config;
use wandb_connector::destination::{Destination, Level, StatePatch};
use wandb_connector::error::Error;
use wandb_connector::sync::state::State;
use wandb_connector::sync::{Summary, sync};

use standing::{Answers, Standing};

/// What a request asks for.
struct Asked<'r> {
    operation: &'r str,
    run: &'r str,
    cursor: Option<usize>,
    /// How many requests came before it with the same operation and run.
    before: usize,
}

/// Changes an answer, and may change its status.
type Hook = Box<dyn Fn(&Asked<'_>, &mut Value) -> Option<u16>>;

/// Changes what is said of a run.
type Change = fn(&mut Value);

struct Server {
    /// Of each run: its id, and how many rows it has.
    runs: RefCell<Vec<(String, usize)>>,
    updated_at: Cell<&'static str>,
    hook: RefCell<Hook>,
    log: RefCell<Vec<String>>,
}

impl Server {
    fn new(runs: impl IntoIterator<Item = (&'static str, usize)>) -> Self {
        Self {
            runs: RefCell::new(runs.into_iter().map(|(id, rows)| (id.to_owned(), rows)).collect()),
            updated_at: Cell::new("2025-01-01T00:00:00"),
            hook: RefCell::new(Box::new(|_, _| None)),
            log: RefCell::default(),
        }
    }

    fn answers(&self, hook: impl Fn(&Asked<'_>, &mut Value) -> Option<u16> + 'static) {
        *self.hook.borrow_mut() = Box::new(hook);
        self.log.borrow_mut().clear();
    }

    /// Runs whose answers about themselves are changed so.
    fn answers_about(&self, id: &'static str, hook: impl Fn(&Asked<'_>, &mut Value) + 'static) {
        self.answers(move |asked, answer| {
            if asked.run == id {
                hook(asked, &mut answer["data"]["project"]["run"]);
            }
            None
        });
    }

    fn is_well_again(&self) {
        self.answers(|_, _| None);
    }

    fn count(&self, operation: &str) -> usize {
        self.log.borrow().iter().filter(|line| line.split(' ').next() == Some(operation)).count()
    }

    fn answer(&self, body: &Value) -> (u16, Value) {
        let (operation, variables) = (body["operationName"].as_str().unwrap(), &body["variables"]);
        let run = variables["run"].as_str().unwrap_or_default();
        let line = format!("{operation} {run}");
        let before = self.log.borrow().iter().filter(|other| **other == line).count();
        self.log.borrow_mut().push(line);
        let cursor = variables["cursor"].as_str().map(|cursor| cursor.parse().unwrap());
        let runs = self.runs.borrow();
        let node = |(id, rows): &(String, usize)| {
            let mut node = json!({"id": "x", "name": id, "displayName": id, "state": "finished", "createdAt": "2025-01-01T00:00:00",
                "updatedAt": self.updated_at.get(), "heartbeatAt": self.updated_at.get(), "historyLineCount": rows, "tags": [], "user": null});
            if operation != "Runs" {
                let last = rows.checked_sub(1);
                for (key, value) in [
                    ("config", json!("{}")),
                    ("summaryMetrics", json!("{}")),
                    ("historyKeys", json!({"lastStep": last})),
                ] {
                    node[key] = value;
                }
            }
            if let (Some(from), Some(to)) = (variables["minStep"].as_u64(), variables["maxStep"].as_u64()) {
                let steps = (0..*rows as u64).filter(|step| (from..to).contains(step));
                let rows: Vec<_> =
                    steps.map(|step| json!({"_step": step, "_timestamp": 1.0, "loss": 0.5}).to_string()).collect();
                node["history"] = json!(rows);
            }
            node
        };
        let project = match operation {
            "Runs" => {
                let (from, size) = (cursor.unwrap_or(0), variables["perPage"].as_u64().unwrap() as usize);
                let edges: Vec<_> = runs.iter().skip(from).take(size).map(|run| json!({"node": node(run)})).collect();
                let to = from + edges.len();
                json!({"runs": {"edges": edges, "pageInfo": {"endCursor": to.to_string(), "hasNextPage": to < runs.len()}}})
            }
            "RunCount" => json!({"runCount": runs.len()}),
            _ => json!({"run": runs.iter().find(|(id, _)| id == run).map(node)}),
        };
        let mut answer = json!({"data": {"project": project, "viewer": {"username": "ada"}}});
        let status = self.hook.borrow()(&Asked { operation, run, cursor, before }, &mut answer);
        (status.unwrap_or(200), answer)
    }
}

impl Answers for Server {
    fn answers(&self, request: &Request) -> Result<Response, TransportError> {
        let (status, answer) = self.answer(&serde_json::from_slice(&request.body).unwrap());
        Ok(Response { status, headers: Vec::new(), body: answer.to_string().into_bytes() })
    }
}

#[derive(Default)]
struct Warehouse {
    /// Of each row of `metrics`, its run and step.
    metrics: RefCell<BTreeSet<(String, i64)>>,
    state: RefCell<State>,
    log: RefCell<Vec<(Level, String)>>,
}

impl Warehouse {
    /// What was said since it was asked for the last time.
    fn warnings(&self) -> Vec<String> {
        let log = self.log.take().into_iter();
        log.filter(|(level, _)| *level >= Level::Warning && *level != Level::Severe)
            .map(|(_, text)| text)
            .filter(|text| !text.contains("Retrying in"))
            .collect()
    }

    fn rows(&self, id: &str) -> usize {
        self.metrics.borrow().iter().filter(|(run, _)| run == id).count()
    }
}

fn texts(batch: &Batch) -> Vec<String> {
    match &batch.columns[0].values {
        Values::Texts(texts) => texts.clone(),
        Values::Dictionary { values, keys } => keys.iter().map(|index| values[*index as usize].clone()).collect(),
        other => panic!("{other:?}"),
    }
}

impl Destination for Warehouse {
    fn upsert(&self, table: &'static str, rows: Batch) -> Result<(), Error> {
        if table == "metrics" {
            let Values::Integers(steps) = &rows.columns[1].values else { panic!() };
            self.metrics.borrow_mut().extend(texts(&rows).into_iter().zip(steps.iter().copied()));
        }
        Ok(())
    }

    fn delete(&self, table: &'static str, keys: Batch) -> Result<(), Error> {
        if table == "metrics" {
            let ids = texts(&keys);
            self.metrics.borrow_mut().retain(|(run, _)| !ids.contains(run));
        }
        Ok(())
    }

    fn checkpoint(&self, patch: StatePatch) -> Result<(), Error> {
        for (key, value) in patch {
            match value {
                Some(value) => self.state.borrow_mut().insert(key, value),
                None => self.state.borrow_mut().remove(&key),
            };
        }
        Ok(())
    }

    fn log(&self, level: Level, message: &str) {
        self.log.borrow_mut().push((level, message.to_owned()));
    }

    fn progress(&self, _what: &str, _done: u64, _total: Option<u64>) {}

    fn throttled(&self, _wait: Duration) {}
}

fn try_run(server: &Server, store: &Warehouse, deletes: &str) -> Result<Summary, Error> {
    let config = json!({"api_key": "k", "entity": "e", "project": "p", "api": "graphql", "base_url": "http://w", "page_size": 3,
        "deletes": deletes});
    let config = Config::parse(&config.to_string()).unwrap();
    let state = store.state.borrow().clone();
    server.log.borrow_mut().clear();
    sync(&Standing(server), store, &config, state).now_or_never().unwrap()
}

fn run(server: &Server, store: &Warehouse) -> Summary {
    try_run(server, store, "keep").unwrap()
}

fn left_out(summary: &Summary) -> Vec<&str> {
    let mut ids: Vec<&str> = summary.quarantined.iter().map(|(id, _)| id.as_str()).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn an_answer_that_lacks_what_was_asked_for_is_asked_for_again_and_costs_the_run_if_it_stays_so() {
    fn without(key: &'static str) -> impl Fn(&mut Value) + Copy {
        move |run| drop(run.as_object_mut().unwrap().remove(key))
    }
    let odd: [(&str, Change); 7] = [
        ("history null", |run| run["history"] = Value::Null),
        ("no history", |run| without("history")(run)),
        ("neither history nor its keys", |run| (run["history"], run["historyKeys"]) = (Value::Null, Value::Null)),
        ("neither history nor its count", |run| (run["history"], run["historyLineCount"]) = (Value::Null, Value::Null)),
        ("no config", |run| without("config")(run)),
        ("no summary", |run| without("summaryMetrics")(run)),
        ("another run", |run| run["name"] = json!("c")),
    ];
    for (what, change) in odd {
        let (server, store) = (Server::new([("a", 5), ("b", 5), ("c", 5)]), Warehouse::default());
        server.answers_about("b", move |asked, run| {
            if asked.before == 0 {
                change(run)
            }
        });
        let summary = run(&server, &store);
        assert_eq!((summary.synced, summary.retries, store.rows("b")), (3, 1, 5), "{what}, once");

        let (server, store) = (Server::new([("a", 5), ("b", 5), ("c", 5)]), Warehouse::default());
        server.answers_about("b", move |_, run| change(run));
        let summary = run(&server, &store);
        assert_eq!((left_out(&summary), summary.synced, store.rows("b")), (vec!["b"], 2, 0), "{what}");
        server.is_well_again();
        let summary = run(&server, &store);
        assert_eq!((summary.synced, summary.unchanged, store.rows("b")), (1, 2, 5), "{what}, well again");
    }
}

#[test]
fn a_run_without_rows_may_have_no_history() {
    let (server, store) = (Server::new([("a", 0)]), Warehouse::default());
    server.answers_about("a", |_, run| run["history"] = Value::Null);
    assert_eq!((run(&server, &store).synced, store.warnings()), (1, vec![]));
}

/// Of the rows that an answer has, so many are left.
fn keep(rows: usize) -> impl Fn(&Asked<'_>, &mut Value) {
    move |_, run| {
        if let Some(history) = run["history"].as_array_mut() {
            history.truncate(rows);
        }
    }
}

#[test]
fn fewer_rows_than_are_counted_are_asked_for_again_told_and_never_taken_for_the_whole_run() {
    for came in [0, 2] {
        let (server, store) = (Server::new([("a", 5), ("b", 5)]), Warehouse::default());
        server.answers_about("b", move |asked, run| {
            if asked.before == 0 {
                keep(came)(asked, run)
            }
        });
        assert_eq!((run(&server, &store).synced, store.rows("b"), store.warnings()), (2, 5, vec![]));

        let (server, store) = (Server::new([("a", 5), ("b", 5)]), Warehouse::default());
        server.answers_about("b", keep(came));
        assert_eq!((run(&server, &store).synced, store.rows("b")), (2, came));
        let told = format!(
            "Run b: {came} history rows came, of 5 that W&B counts; what came is stored, and the next sync reads it again"
        );
        assert_eq!(store.warnings(), [told]);
        assert!(!store.state.borrow().contains_key("runs_hwm_utc"), "it is not done");
        let entry: Value = serde_json::from_str(&store.state.borrow()["runs/b"]).unwrap();
        assert_eq!((&entry["again"], &entry["short_by"]), (&json!(true), &json!(5 - came)));
        assert!(
            entry["version"].is_string(),
            "what was read is said, so that `verify` can tell what has changed since"
        );
        // It gets better, but not well.
        server.answers_about("b", keep(came + 1));
        assert_eq!((run(&server, &store).synced, store.rows("b"), store.warnings().len()), (1, came + 1, 1));
        server.is_well_again();
        let summary = run(&server, &store);
        assert_eq!((summary.synced, summary.unchanged, store.rows("b"), store.warnings()), (1, 1, 5, vec![]));
        assert_eq!(run(&server, &store).unchanged, 2);
    }
}

#[test]
fn a_server_whose_counts_never_fit_does_not_make_every_sync_read_everything() {
    let (server, store) = (Server::new([("a", 5), ("b", 7)]), Warehouse::default());
    let counts_one_more = |asked: &Asked<'_>, answer: &mut Value| {
        let project = &mut answer["data"]["project"];
        let more = |node: &mut Value| node["historyLineCount"] = json!(node["historyLineCount"].as_u64().unwrap() + 1);
        match asked.operation {
            "Runs" => {
                project["runs"]["edges"].as_array_mut().unwrap().iter_mut().for_each(|edge| more(&mut edge["node"]))
            }
            "RunAndHistory" => more(&mut project["run"]),
            _ => {}
        }
        None
    };
    server.answers(counts_one_more);
    assert_eq!((run(&server, &store).synced, store.warnings().len()), (2, 2));
    assert_eq!((run(&server, &store).synced, store.warnings().len()), (2, 2));
    for _ in 0..2 {
        assert_eq!((run(&server, &store).unchanged, store.warnings()), (2, vec![]));
        assert_eq!(server.log.borrow().len(), 1);
    }
    assert!(store.state.borrow().contains_key("runs_hwm_utc"));
    // It grows: what is new is read, and no more.
    server.runs.borrow_mut()[1].1 = 9;
    assert_eq!((run(&server, &store).synced, store.rows("b"), store.warnings()), (1, 9, vec![]));
    assert_eq!((server.count("RunAndHistory"), run(&server, &store).unchanged), (1, 2));
}

#[test]
fn rows_behind_a_last_step_that_lags_are_read() {
    for last in [json!(5), json!(-1), json!(0)] {
        let (server, store) = (Server::new([("a", 3000)]), Warehouse::default());
        let lags = last.clone();
        server.answers_about("a", move |_, run| {
            if run.get("historyKeys").is_some() {
                run["historyKeys"]["lastStep"] = lags.clone();
            }
        });
        assert_eq!((run(&server, &store).synced, store.rows("a"), store.warnings()), (1, 3000, vec![]), "{last}");
        assert!(server.log.borrow().len() < 12, "{:?}", server.log.borrow());
        assert_eq!(run(&server, &store).unchanged, 1);
    }
}

#[test]
fn a_listing_that_lacks_a_run_that_is_counted_is_told_also_where_listing_again_brings_nothing() {
    let ids = ["a", "b", "c", "d", "e", "f"];
    let (server, store) = (Server::new(ids.map(|id| (id, 1))), Warehouse::default());
    // The second page begins with the last run of the first one, and the last run never comes.
    server.answers(|asked, answer| {
        if asked.operation == "Runs" && asked.cursor.is_some() {
            let edges = answer["data"]["project"]["runs"]["edges"].as_array_mut().unwrap();
            edges.pop();
            let mut again = edges[0].clone();
            again["node"]["name"] = json!("c");
            edges.insert(0, again);
        }
        None
    });
    assert_eq!(run(&server, &store).synced, 5);
    let told = "Pages of the listing shifted while they were read: 1 run came twice, in each of 2 listings, and 5 of 6 that W&B counts were \
                listed; what is missing is looked for by the next sync";
    assert_eq!(store.warnings(), [told]);
    assert!(!store.state.borrow().contains_key("runs_hwm_utc"), "below it there may be more");
}

#[test]
fn a_run_that_is_listed_and_denied_by_name_is_left_out_and_only_one_that_is_listed_no_more_is_gone() {
    for (deletes, follows) in [
        ("keep", "what is stored of it stays"),
        ("mark", "the next sync marks what is stored of it"),
        ("remove", "the next sync removes what is stored of it"),
    ] {
        let (server, store) = (Server::new([("a", 2), ("b", 2), ("c", 2), ("d", 2)]), Warehouse::default());
        try_run(&server, &store, deletes).unwrap();
        server.updated_at.set("2025-01-02T00:00:00");
        server.answers(|asked, answer| {
            let project = &mut answer["data"]["project"];
            if matches!(asked.run, "b" | "c") {
                project["run"] = Value::Null;
            }
            // The run is deleted after it was listed.
            if asked.operation == "Runs" && asked.before > 1 {
                let edges = project["runs"]["edges"].as_array_mut().unwrap();
                edges.retain(|edge| edge["node"]["name"] != "c");
            }
            None
        });
        store.log.take();
        let summary = try_run(&server, &store, deletes).unwrap();
        assert_eq!((left_out(&summary), summary.synced, store.rows("b"), store.rows("c")), (vec!["b"], 2, 2, 2));
        let told = format!("Run c was deleted at W&B meanwhile; {follows}");
        assert!(store.log.borrow().iter().any(|(_, line)| *line == told), "{:?}", store.log.borrow());
        assert!(server.count("Runs") <= 4, "one more listing for all of them");
        // By the next sync it is done.
        server.runs.borrow_mut().retain(|(id, _)| id != "c");
        server.is_well_again();
        let summary = try_run(&server, &store, deletes).unwrap();
        let kept = if deletes == "remove" { 0 } else { 2 };
        assert_eq!((summary.deleted, summary.synced, store.rows("b"), store.rows("c")), (1, 1, 2, kept), "{deletes}");
    }
}

#[test]
fn a_page_that_is_not_found_after_others_came_is_not_blamed_on_the_address() {
    let (server, store) = (Server::new(["a", "b", "c", "d"].map(|id| (id, 1))), Warehouse::default());
    server.answers(|asked, answer| {
        let is_second = asked.operation == "Runs" && asked.cursor.is_some();
        is_second.then(|| {
            *answer = json!({});
            404
        })
    });
    let error = try_run(&server, &store, "keep").unwrap_err();
    assert_eq!(error.to_string(), "listing runs: HTTP 404, though earlier pages came from there");
}
