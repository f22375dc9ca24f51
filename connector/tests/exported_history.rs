//! Exported histories through a whole sync, against a small stand-in for W&B and its object store.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod standing;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use parquet::basic::{Compression, Encoding};
use parquet::data_type::{DoubleType, Int64Type};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};
use wandb_connector::api::exchange::{Method, Request, Response, TransportError};
use wandb_connector::batch::{Batch, Values};
use wandb_connector::config::Config;
use wandb_connector::destination::{Destination, Level, StatePatch};
use wandb_connector::error::Error;
use wandb_connector::sync::state::State;
use wandb_connector::sync::{Summary, sync};

use standing::{Answers, Standing};

/// A row: its step, its timestamp and its loss.
type Row = (i64, f64, f64);

/// Rows at these steps, `life` telling one life of a run from another.
fn rows(steps: impl IntoIterator<Item = i64>, life: f64) -> Vec<Row> {
    let row = |step: i64| (step, 1e9 + life * 1e6 + step as f64, step as f64 / 3.0 + life);
    steps.into_iter().map(row).collect()
}

/// A file of rows, so many to a row group.
fn file(rows: &[Row], per_group: usize, statistics: EnabledStatistics) -> Vec<u8> {
    file_of(rows.chunks(per_group), statistics)
}

/// A file of these row groups.
fn file_of<'r>(groups: impl IntoIterator<Item = &'r [Row]>, statistics: EnabledStatistics) -> Vec<u8> {
    let schema =
        "message m { required int64 _step; optional double _timestamp; optional double loss; optional double gone; }";
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(Default::default()))
        .set_column_encoding("_step".into(), Encoding::DELTA_BINARY_PACKED)
        .set_statistics_enabled(statistics)
        .build();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
    for rows in groups {
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let steps: Vec<i64> = rows.iter().map(|row| row.0).collect();
        column.typed::<Int64Type>().write_batch(&steps, None, None).unwrap();
        column.close().unwrap();
        for (values, level) in [
            (rows.iter().map(|row| row.1).collect::<Vec<_>>(), 1),
            (rows.iter().map(|row| row.2).collect(), 1),
            (Vec::new(), 0),
        ] {
            let mut column = group.next_column().unwrap().unwrap();
            let levels = vec![level; rows.len()];
            column.typed::<DoubleType>().write_batch(&values, Some(&levels), None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.into_inner().unwrap()
}

/// A file of a schema without columns, or with columns, and no rows.
fn empty(schema: &str) -> Vec<u8> {
    let schema = match schema {
        "" => parquet::schema::types::Type::group_type_builder("m").build().unwrap(),
        columns => parse_message_type(&format!("message m {{ {columns} }}")).unwrap(),
    };
    SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::default()).unwrap().into_inner().unwrap()
}

/// How the object store answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Store {
    Ranges,
    /// Always the whole file.
    Whole,
    /// No ranges from the end.
    NoSuffix,
    Redirects,
    Denied,
    Missing,
}

struct Server {
    /// The run's id.
    id: Cell<&'static str>,
    rows: RefCell<Vec<Row>>,
    state: Cell<&'static str>,
    files: RefCell<Vec<Vec<u8>>>,
    store: Cell<Store>,
    knows_exports: Cell<bool>,
    /// What is said of exports, whatever is known of them.
    complains: Cell<Option<&'static str>>,
    /// After so many downloads signatures are refused until URLs are asked for again.
    expires_after: Cell<Option<usize>>,
    signature: Cell<u32>,
    log: RefCell<Vec<String>>,
}

impl Server {
    fn new(rows: Vec<Row>, files: Vec<Vec<u8>>) -> Self {
        Self {
            id: Cell::new("r"),
            rows: RefCell::new(rows),
            state: Cell::new("finished"),
            files: RefCell::new(files),
            store: Cell::new(Store::Ranges),
            knows_exports: Cell::new(true),
            complains: Cell::new(None),
            expires_after: Cell::new(None),
            signature: Cell::new(0),
            log: RefCell::default(),
        }
    }

    fn count(&self, what: &str) -> usize {
        self.log.borrow().iter().filter(|line| *line == what).count()
    }

    fn graphql(&self, body: &Value) -> Value {
        let operation = body["operationName"].as_str().unwrap();
        self.log.borrow_mut().push(operation.to_owned());
        let rows = self.rows.borrow();
        let last = rows.last().map(|row| row.0);
        let mut run = json!({"id": "x", "name": self.id.get(), "displayName": "r", "state": self.state.get(), "createdAt": "2025-01-01T00:00:00",
            "updatedAt": "2025-01-01T00:00:00", "heartbeatAt": format!("2025-01-01T00:00:{:02}", rows.len() % 60), "historyLineCount": rows.len(),
            "tags": [], "user": null, "config": "{}", "summaryMetrics": "{}", "historyKeys": {"lastStep": last}});
        let query = body["query"].as_str().unwrap();
        if query.contains("parquetHistory") {
            if let Some(said) = self.complains.take() {
                return json!({"errors": [{"message": said}]});
            }
            if !self.knows_exports.get() {
                return json!({"errors": [{"message": "Cannot query field \"parquetHistory\" on type \"Run\"."}]});
            }
            self.signature.set(self.signature.get() + 1);
            let url = |index: usize| format!("http://store/{index}.parquet?sig={}", self.signature.get());
            // The order means nothing.
            let urls: Vec<String> = (0..self.files.borrow().len()).rev().map(url).collect();
            run["parquetHistory"] = json!({"parquetUrls": urls});
        }
        if query.contains("history(") {
            let (from, to) =
                (body["variables"]["minStep"].as_i64().unwrap(), body["variables"]["maxStep"].as_i64().unwrap());
            assert!(body["variables"]["samples"].as_i64().unwrap() >= to - from);
            let text = |row: &&Row| json!({"_step": row.0, "_timestamp": row.1, "loss": row.2}).to_string();
            let part: Vec<String> =
                rows.iter().filter(|row| (from..to).contains(&row.0)).map(|row| text(&row)).collect();
            self.log.borrow_mut().push(format!("{from}+{}", part.len()));
            run["history"] = json!(part);
        }
        if operation == "Runs" {
            return json!({"data": {"project": {"runs": {"edges": [{"node": run}], "pageInfo": {"endCursor": null, "hasNextPage": false}}}}});
        }
        json!({"data": {"project": {"run": run}}})
    }

    fn download(&self, request: &Request) -> Result<Response, TransportError> {
        let names: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["range"], "nothing else is for the object store");
        self.log.borrow_mut().push("download".to_owned());
        let status = |status: u16| {
            Ok(Response {
                status,
                headers: vec![("location".to_owned(), b"http://elsewhere/".to_vec())],
                body: Vec::new(),
            })
        };
        match self.store.get() {
            Store::Denied => return Err(TransportError::Denied("not allowed".to_owned())),
            Store::Redirects => return status(302),
            Store::Missing => return status(404),
            _ => {}
        }
        let name = request.url.strip_prefix("http://store/").unwrap();
        let (index, signature) = name.split_once(".parquet?sig=").unwrap();
        if let Some(left) = self.expires_after.get() {
            if left == 0 && signature == "1" {
                return status(403);
            }
            self.expires_after.set(Some(left.saturating_sub(1)));
        }
        let files = self.files.borrow();
        let file = &files[index.parse::<usize>().unwrap()];
        let range = request.headers[0].1.strip_prefix("bytes=").unwrap();
        if self.store.get() == Store::Whole {
            return Ok(Response { status: 200, headers: Vec::new(), body: file.clone() });
        }
        let (first, last) = range.split_once('-').unwrap();
        let range = match (first.parse::<usize>(), last.parse::<usize>()) {
            (Err(_), _) if self.store.get() == Store::NoSuffix => return status(416),
            (Err(_), Ok(suffix)) => file.len().saturating_sub(suffix)..file.len(),
            (Ok(first), Ok(last)) => first..(last + 1).min(file.len()),
            other => panic!("{other:?}"),
        };
        Ok(Response {
            status: 206,
            headers: vec![(
                "content-range".to_owned(),
                format!("bytes {}-{}/{}", range.start, range.end - 1, file.len()).into_bytes(),
            )],
            body: file[range].to_vec(),
        })
    }
}

impl Answers for Server {
    fn answers(&self, request: &Request) -> Result<Response, TransportError> {
        match request.method {
            Method::Get => self.download(request),
            Method::Post => Ok(Response {
                status: 200,
                headers: Vec::new(),
                body: self.graphql(&serde_json::from_slice(&request.body).unwrap()).to_string().into_bytes(),
            }),
        }
    }
}

#[derive(Default)]
struct Warehouse {
    /// Step → timestamp and loss.
    metrics: RefCell<BTreeMap<i64, (i64, u64)>>,
    state: RefCell<State>,
    log: RefCell<Vec<(Level, String)>>,
    checkpoints: Cell<usize>,
}

impl Warehouse {
    fn warnings(&self) -> Vec<String> {
        let log = self.log.borrow();
        log.iter().filter(|(level, _)| *level >= Level::Warning).map(|(_, text)| text.clone()).collect()
    }

    fn holds(&self, rows: &[Row]) {
        let expected: BTreeMap<i64, (i64, u64)> =
            rows.iter().map(|row| (row.0, ((row.1 * 1e6) as i64, row.2.to_bits()))).collect();
        let metrics = self.metrics.borrow();
        let missing: BTreeSet<i64> = expected.keys().filter(|step| !metrics.contains_key(step)).copied().collect();
        let ghosts: BTreeSet<i64> = metrics.keys().filter(|step| !expected.contains_key(step)).copied().collect();
        assert!(missing.is_empty() && ghosts.is_empty(), "missing {missing:?}, ghosts {ghosts:?}");
        assert!(*metrics == expected, "other values");
    }
}

impl Destination for Warehouse {
    fn upsert(&self, table: &'static str, rows: Batch) -> Result<(), Error> {
        if table != "metrics" {
            return Ok(());
        }
        let [_, steps, names, values, times] = rows.columns.as_slice() else { panic!() };
        let (
            Values::Integers(steps),
            Values::Dictionary { values: names, .. },
            Values::Doubles(values),
            Values::Timestamps(times),
        ) = (&steps.values, &names.values, &values.values, &times.values)
        else {
            panic!()
        };
        assert_eq!(*names, ["loss"]);
        for ((step, value), time) in steps.iter().zip(values).zip(times) {
            self.metrics.borrow_mut().insert(*step, (*time, value.to_bits()));
        }
        Ok(())
    }

    fn delete(&self, table: &'static str, _keys: Batch) -> Result<(), Error> {
        if table == "metrics" {
            self.metrics.borrow_mut().clear();
        }
        Ok(())
    }

    fn checkpoint(&self, patch: StatePatch) -> Result<(), Error> {
        self.checkpoints.set(self.checkpoints.get() + 1);
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

fn run(server: &Server, store: &Warehouse) -> Summary {
    let config =
        Config::parse(r#"{"api_key":"k","entity":"e","project":"p","api":"graphql","base_url":"http://w"}"#).unwrap();
    let state = store.state.borrow().clone();
    let summary = sync(&Standing(server), store, &config, state).now_or_never().unwrap().unwrap();
    assert_eq!(summary.quarantined, []);
    store.holds(&server.rows.borrow());
    summary
}

const STATISTICS: EnabledStatistics = EnabledStatistics::Chunk;

#[test]
fn a_long_run_comes_from_its_files() {
    let all = rows(0..20_000, 0.0);
    for statistics in [EnabledStatistics::Chunk, EnabledStatistics::None] {
        let files = vec![file(&all[..9_000], 4_000, statistics), file(&all[9_000..], 4_000, statistics)];
        let (server, store) = (Server::new(all.clone(), files), Warehouse::default());
        run(&server, &store);
        assert_eq!(store.warnings(), Vec::<String>::new());
        assert_eq!(*server.log.borrow(), ["Runs", "RunAndExport", "download", "download", "History", "19999+1"]);
        server.log.borrow_mut().clear();
        run(&server, &store);
        assert_eq!(*server.log.borrow(), ["Runs"]);
    }
}

#[test]
fn a_short_run_does_not_ask_for_files() {
    let all = rows(0..2_000, 0.0);
    let (server, store) = (Server::new(all.clone(), vec![file(&all, 4_000, STATISTICS)]), Warehouse::default());
    run(&server, &store);
    assert_eq!(server.count("RunAndExport"), 0);
}

#[test]
fn what_is_not_exported_comes_by_steps_and_what_is_exported_twice_comes_once() {
    // Sparse steps; two files overlap, between two others rows are missing, and a tail is not exported yet.
    let all = rows((0..60_000).step_by(3), 0.0);
    let cut = |from: usize, to: usize, per_group| file(&all[from..to], per_group, STATISTICS);
    let files = vec![cut(0, 6_000, 1_000), cut(5_500, 9_000, 700), cut(9_040, 15_000, 100_000), cut(2_000, 2_500, 90)];
    for state in ["running", "finished"] {
        let (server, store) = (Server::new(all.clone(), files.clone()), Warehouse::default());
        server.state.set(state);
        run(&server, &store);
        assert_eq!(store.warnings(), Vec::<String>::new());
        assert!(server.log.borrow().contains(&"26998+40".to_owned()), "{:?}", server.log.borrow());
        assert!(server.log.borrow().contains(&"44997+651".to_owned()), "{:?}", server.log.borrow());
    }
}

#[test]
fn every_way_to_answer_ranges_will_do() {
    let all = rows(0..120_000, 0.0);
    let files = vec![file(&all[..100_000], 30_000, STATISTICS), file(&all[100_000..], 30_000, STATISTICS)];
    assert!(files[0].len() > 600_000, "longer than the part that comes first");
    for answer in [Store::Ranges, Store::Whole, Store::NoSuffix] {
        let (server, store) = (Server::new(all.clone(), files.clone()), Warehouse::default());
        server.store.set(answer);
        run(&server, &store);
        assert_eq!(store.warnings(), Vec::<String>::new());
        assert_eq!(server.count("History"), 1, "{answer:?}");
        assert!(store.checkpoints.get() > 2, "a long run is sent in parts");
    }
}

#[test]
fn files_that_cannot_be_had_are_replaced_by_steps_with_a_warning() {
    let all = rows(0..8_000, 0.0);
    for (answer, expected) in [
        (
            Store::Denied,
            "Exported histories can't be downloaded: not allowed (http://store/0.parquet); reading histories by steps instead, which takes longer",
        ),
        (Store::Missing, "Run r: an exported file can't be read (HTTP 404); reading its history by steps instead"),
        (
            Store::Redirects,
            "Run r: an exported file can't be read (HTTP 302, a redirect, which is not followed); reading its history by steps instead",
        ),
    ] {
        let (server, store) = (Server::new(all.clone(), vec![file(&all, 4_000, STATISTICS)]), Warehouse::default());
        server.store.set(answer);
        run(&server, &store);
        assert_eq!(store.warnings(), [expected]);
    }
}

#[test]
fn a_file_that_is_broken_in_its_middle_is_replaced_by_steps() {
    let all = rows(0..120_000, 0.0);
    let mut broken = file(&all, 30_000, STATISTICS);
    let middle = broken.len() / 2;
    broken[middle..middle + 1000].fill(0xff);
    let (server, store) = (Server::new(all, vec![broken]), Warehouse::default());
    run(&server, &store);
    assert_eq!(store.warnings().len(), 1, "{:?}", store.warnings());
}

#[test]
fn a_signature_that_expires_is_renewed() {
    let all = rows(0..400_000, 0.0);
    let (server, store) = (Server::new(all.clone(), vec![file(&all, 100_000, STATISTICS)]), Warehouse::default());
    server.expires_after.set(Some(2));
    run(&server, &store);
    assert_eq!(store.warnings(), Vec::<String>::new());
    assert_eq!((server.count("Export"), server.count("History")), (1, 1));
}

#[test]
fn a_run_that_was_rewound_after_the_export_leaves_no_ghosts() {
    let before = rows(0..20_000, 0.0);
    let export = vec![file(&before, 4_000, STATISTICS)];
    // Shorter than what was exported; grown past it, with other rows; as long as it, with other rows.
    for (kept, length) in [(5_000, 12_000), (5_000, 25_000), (19_000, 20_000)] {
        let mut after = rows(0..kept, 0.0);
        after.extend(rows(kept..length, 1.0));
        let (server, store) = (Server::new(after, export.clone()), Warehouse::default());
        run(&server, &store);
        assert_eq!(store.warnings(), Vec::<String>::new());
    }
}

#[test]
fn a_run_that_grew_reads_only_what_is_new() {
    let all = rows(0..30_000, 0.0);
    let (server, store) =
        (Server::new(all[..10_000].to_vec(), vec![file(&all[..9_000], 4_000, STATISTICS)]), Warehouse::default());
    server.state.set("running");
    run(&server, &store);
    server.log.borrow_mut().clear();
    // It grows, and is exported anew, in other files.
    server.rows.replace(all.clone());
    server.files.replace(vec![file(&all[..15_000], 2_000, STATISTICS), file(&all[15_000..28_000], 2_000, STATISTICS)]);
    run(&server, &store);
    let log = server.log.take();
    let asked: Vec<&String> = log.iter().filter(|line| line.contains('+')).collect();
    assert_eq!(asked[0], "9999+1", "the last known row again: {log:?}");
    assert!(asked[1].starts_with("27999+"), "{log:?}");
    // Then it is rewound to before what was read, and exported again before the next sync.
    let mut rewound = all[..12_000].to_vec();
    rewound.extend(rows(12_000..40_000, 1.0));
    server.files.replace(vec![file(&rewound[..38_000], 5_000, STATISTICS)]);
    server.rows.replace(rewound);
    run(&server, &store);
    assert_eq!(store.warnings(), Vec::<String>::new());
}

#[test]
fn a_server_without_exports_is_read_by_steps() {
    let all = rows(0..8_000, 0.0);
    for knows in [true, false] {
        let (server, store) = (Server::new(all.clone(), Vec::new()), Warehouse::default());
        server.knows_exports.set(knows);
        run(&server, &store);
        assert_eq!(store.warnings(), Vec::<String>::new());
        assert_eq!(server.count("RunAndExport"), 1);
    }
}

#[test]
fn an_export_without_rows_is_nothing_to_read() {
    let all = rows(0..8_000, 0.0);
    let none = [
        empty(""),
        empty("required int64 _step; optional double loss;"),
        empty("optional double loss;"),
        file(&[], 1_000, STATISTICS),
    ];
    for (files, downloads, by_steps) in [
        (none.to_vec(), 4, "0+"),
        ([&none[..], &[file(&all, 4_000, STATISTICS)]].concat(), 5, "7999+1"),
        (vec![file(&all[..3_000], 4_000, STATISTICS), none[0].clone()], 2, "2999+"),
        // Row groups without rows, alone and among others.
        ([&[file_of([&[][..]], STATISTICS)], &[file(&all, 4_000, STATISTICS)][..]].concat(), 2, "7999+1"),
        (vec![file_of([&all[..3_000], &[], &all[3_000..]], STATISTICS)], 1, "7999+1"),
    ] {
        let (server, store) = (Server::new(all.clone(), files), Warehouse::default());
        run(&server, &store);
        assert_eq!(store.warnings(), Vec::<String>::new());
        assert_eq!(server.count("download"), downloads);
        // The rest of the history, from the last exported row on.
        let log = server.log.borrow();
        let first = log.iter().find(|line| line.contains('+')).unwrap();
        assert!(first.starts_with(by_steps), "{log:?}");
    }
}

#[test]
fn a_run_that_is_called_like_exports_does_not_switch_them_off() {
    let all = rows(0..8_000, 0.0);
    for id in ["parquet-test", "parquetHistory"] {
        let (server, store) = (Server::new(all.clone(), vec![file(&all, 4_000, STATISTICS)]), Warehouse::default());
        server.id.set(id);
        // Once it can't be read; the next sync reads it from its file.
        server.complains.set(Some("Cannot query field \"nothing\" on type \"Run\"."));
        let config =
            Config::parse(r#"{"api_key":"k","entity":"e","project":"p","api":"graphql","base_url":"http://w"}"#);
        let summary = sync(&Standing(&server), &store, &config.unwrap(), State::new()).now_or_never().unwrap().unwrap();
        assert_eq!(summary.quarantined.len(), 1, "{id}: {:?}", store.log.borrow());
        server.log.borrow_mut().clear();
        run(&server, &store);
        assert_eq!(server.count("download"), 1, "{id}");
    }
}
