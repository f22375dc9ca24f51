//! The official SDK reads from the local server and logs to it. What the server is worth is how well these go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wandb_connector_tests::local_wandb::json::Json;
use wandb_connector_tests::local_wandb::{
    Dialect, LocalWandb, Options, ParquetOptions, Project, Run, Truth, User, World, awkward, generate,
};
use wandb_connector_tests::product::Workspace;
use wandb_connector_tests::real_sdk::Sdk;

const ENTITY: &str = "acme";

/// Awkward runs that the SDK can read: it walks a sparse history a thousand steps at a time, so one up to 2^31 takes hours,
/// and it unwraps a config value that is itself an object with `value` twice.
const READABLE: [&str; 11] = [
    "state-running",
    "nonfinite",
    "timestamps",
    "nested",
    "keys",
    "media",
    "starts-late",
    "empty",
    "many-rows",
    "odd-tags",
    "time-bare",
];

fn server(parquet: ParquetOptions) -> LocalWandb {
    let mut project = generate::realistic(9, 3);
    project.runs.extend(awkward::awkward().runs.into_iter().filter(|run| READABLE.contains(&run.id.as_str())));
    for run in &mut project.runs {
        // The SDK fails on a listing that holds a run without a user.
        Arc::make_mut(run).user.get_or_insert(User { name: "Zoë".to_owned(), username: "zoe".to_owned() });
    }
    let mut world = World::default();
    *world.project_mut(ENTITY, "demo") = project;
    LocalWandb::start_blocking(Options { parquet, ..Options::with_world(world) }).expect("the server starts")
}

/// What the SDK read, by run.
fn read(server: &LocalWandb) -> BTreeMap<String, Json> {
    let sdk = Sdk::set_up().expect("the SDK can be set up");
    let output = sdk.run(server, "read_project.py", &["acme/demo"]).expect("the SDK reads the project");
    output
        .lines()
        .map(|line| {
            let run = Json::parse(line).expect("the script prints JSON");
            (text(&run, "id"), run)
        })
        .collect()
}

fn text(run: &Json, key: &str) -> String {
    run.get(key).and_then(Json::as_str).unwrap_or_default().to_owned()
}

/// Numbers as Python writes them: digits beyond a double's are lost there.
fn as_python_sees(json: &Json) -> Json {
    match json.canonical() {
        Json::Number(token) => match token.parse::<f64>() {
            Ok(it) if it.is_infinite() => Json::String(if it > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()),
            Ok(it) => Json::Number(format!("{it:?}")),
            Err(_) => Json::Number(token),
        },
        Json::Array(items) => Json::Array(items.iter().map(as_python_sees).collect()),
        Json::Object(members) => Json::Object(
            // Parquet knows no difference between an absent member and null.
            members
                .iter()
                .filter(|(_, it)| *it != Json::Null)
                .map(|(key, it)| (key.clone(), as_python_sees(it)))
                .collect(),
        ),
        other => other,
    }
}

fn rows(run: &Json, key: &str) -> Vec<String> {
    match run.get(key) {
        Some(Json::Array(rows)) => rows.iter().map(|row| without_unions(row).to_string()).collect(),
        _ => Vec::new(),
    }
}

/// The SDK gives the unions of an export as the structs that the file has: each is the member that is set.
fn without_unions(json: &Json) -> Json {
    match json {
        Json::Array(items) => Json::Array(items.iter().map(without_unions).collect()),
        Json::Object(members) if !members.is_empty() && members.iter().all(|(key, _)| key.starts_with("_type_")) => {
            let set = members.iter().find(|(_, value)| *value != Json::Null);
            set.map_or(Json::Null, |(_, value)| without_unions(value))
        }
        Json::Object(members) => {
            Json::Object(members.iter().map(|(key, value)| (key.clone(), without_unions(value))).collect())
        }
        other => other.clone(),
    }
}

/// The metric rows of a run in a comparable form.
fn metrics(truth: &Truth, id: &str) -> BTreeMap<(i64, String), String> {
    let numbers = truth.metrics.iter().filter(|(key, _)| key.0 == id);
    let numbers = numbers.map(|(key, row)| ((key.1, format!("number {}", key.2)), format!("{:?}", row.value)));
    let objects = truth.objects.iter().filter(|(key, _)| key.0 == id);
    let objects =
        objects.map(|(key, row)| ((key.1, format!("object {}", key.2)), as_python_sees(&row.value).to_string()));
    numbers.chain(objects).collect()
}

fn assert_read_whole(server: &LocalWandb) {
    let truth = server.truth(Dialect::Graphql, ENTITY, "demo");
    let read = read(server);
    assert_eq!(read.len(), truth.runs.len(), "every run is listed once");
    for (id, row) in &truth.runs {
        let got = &read[id];
        assert_eq!(text(got, "name"), row.name, "{id}");
        assert_eq!(text(got, "state"), row.state, "{id}");
        assert_eq!(got.get("user").and_then(Json::as_str), row.user.as_deref(), "{id}");
        assert_eq!(got.get("config").map(as_python_sees), row.config.as_ref().map(as_python_sees), "{id}");
        assert_eq!(got.get("tags").map(Json::canonical), row.tags, "{id}");

        let run = server.run(ENTITY, "demo", id).expect("it exists");
        let scanned = Run::new(id.clone()).with_history(rows(got, "scanned"));
        let scanned = Truth::of(Dialect::Graphql, [&scanned]);
        assert_eq!(metrics(&scanned, id), metrics(&truth, id), "scan_history of {id}");
        let validated = truth.metrics.keys().filter(|key| key.0 == *id && key.2 == "val/loss").count();
        // The SDK also gives exported rows that lack the key, and rows of a page that is partly live twice.
        let losses = rows(got, "scanned_losses").into_iter().filter_map(|row| Json::parse(&row).ok());
        let losses = losses.filter(|row| row.get("val/loss").is_some_and(|it| *it != Json::Null));
        let steps: BTreeSet<i64> = losses.filter_map(|row| row.get("_step")?.as_i64()).collect();
        assert_eq!(steps.len(), validated, "scan_history(keys) of {id}");
        assert_eq!(rows(got, "sampled").len(), run.history.len().min(10), "history(samples=10) of {id}");
        assert_eq!(got.get("summary").map(as_python_sees), row.summary.as_ref().map(as_python_sees), "{id}");
        assert_eq!(got.get("last_step").and_then(Json::as_i64), Some(run.history.last_step().unwrap_or(-1)), "{id}");
    }
}

#[test]
fn the_sdk_reads_live_histories_as_they_are() {
    let server = server(ParquetOptions { enabled: false, ..ParquetOptions::default() });
    assert_read_whole(&server);
}

#[test]
fn the_sdk_reads_exported_histories_as_they_are() {
    // A file can't say that an object is empty, so the run that has some is left out.
    let server = server(ParquetOptions { rows_per_file: 300, ..ParquetOptions::default() });
    server.project_mut(ENTITY, "demo", |project| project.runs.retain(|run| run.id != "nested"));
    assert_read_whole(&server);
    let downloads = server.log().matching(|request| request.path.starts_with("/_storage/"));
    assert!(downloads.iter().any(|it| it.status == Some(200)), "histories came from parquet");
}

/// Logs `tests/sdk/log_run.py` to an empty project.
fn log_run(server: &LocalWandb, id: &str) -> Arc<Run> {
    let sdk = Sdk::set_up().expect("the SDK can be set up");
    sdk.run(server, "log_run.py", &[ENTITY, "logged", id]).expect("the SDK logs a run");
    server.run(ENTITY, "logged", id).expect("the server holds the run")
}

/// What `tests/sdk/log_run.py` logs, as `(step, metric, value)` of `metrics`.
const LOGGED_NUMBERS: [(i64, &str, f64); 14] = [
    (0, "loss", 1.0),
    (0, "nested.x", 1.0),
    (0, "nested.y.z", 2.0),
    (1, "loss", f64::NAN),
    (1, "b", 1.0),
    (2, "loss", f64::INFINITY),
    (2, "neg", f64::NEG_INFINITY),
    (3, "big", 9_007_199_254_740_992.0),
    (5, "np32", 0.10000000149011612),
    (5, "np64", 0.1),
    (6, "a.b", 1.0),
    (6, "a/b", 2.0),
    (1000, "late", 1.0),
    (2_147_483_648, "last", 0.5),
];

/// What it logs, as `(step, metric, part of the JSON)` of `metric_objects`.
const LOGGED_OBJECTS: [(i64, &str, &str); 6] = [
    (1, "s", "stríng 🦊"),
    (3, "hist", r#""_type":"histogram""#),
    (3, "big", "9007199254740993"),
    (4, "img", r#""_type":"image-file""#),
    (5, "list", "[1,2,3]"),
    (2_147_483_648, "html", r#""_type":"html-file""#),
];

/// Asserts that rows hold exactly what the script logged.
///
/// For a sync of the run: `compare_sqlite(database, &server.truth(dialect, ENTITY, "logged"))` being empty says that the
/// database holds the same rows as the truth that this checks.
fn assert_is_what_was_logged(rows: &Truth, id: &str) {
    let key = |step: i64, name: &str| (id.to_owned(), step, name.to_owned());
    for (step, name, value) in LOGGED_NUMBERS {
        let found = rows.metrics.get(&key(step, name)).map(|row| row.value);
        assert!(found.is_some_and(|it| it == value || it.is_nan() && value.is_nan()), "{step} {name}: {found:?}");
    }
    for (step, name, part) in LOGGED_OBJECTS {
        let found = rows.objects.get(&key(step, name)).map(|row| row.value.to_string()).unwrap_or_default();
        assert!(found.contains(part), "{step} {name}: {found}");
    }
    assert_eq!(rows.metrics.len(), LOGGED_NUMBERS.len(), "no other numbers: {:?}", rows.metrics.keys());
    assert_eq!(rows.objects.len(), LOGGED_OBJECTS.len(), "no other objects: {:?}", rows.objects.keys());
    let run = &rows.runs[id];
    assert_eq!((run.name.as_str(), run.state.as_str()), ("logged-run ünï", "finished"));
    let config = run.config.as_ref().map(ToString::to_string);
    assert_eq!(config.as_deref(), Some(r#"{"list":[1,2.5,null],"lr":0.1,"nested":{"a":{"b":1}},"text":"ü🦊"}"#));
    assert_eq!(run.tags.as_ref().map(ToString::to_string).as_deref(), Some(r#"["a","b"]"#));
}

#[test]
fn what_the_sdk_logs_is_what_the_server_holds() {
    let mut world = World::default();
    *world.project_mut(ENTITY, "logged") = Project::default();
    let server = LocalWandb::start_blocking(Options::with_world(world)).expect("the server starts");
    let run = log_run(&server, "sdk1logs");

    assert_is_what_was_logged(&server.truth(Dialect::Graphql, ENTITY, "logged"), "sdk1logs");
    assert_eq!(run.history.steps(), [0, 1, 2, 3, 4, 5, 6, 1000, 2_147_483_648]);
    assert_eq!(
        (run.group.as_deref(), run.job_type.as_deref(), run.notes.as_deref()),
        (Some("g"), Some("train"), Some("n"))
    );
    let summary = Json::parse(run.summary.as_deref().unwrap_or_default()).expect("a summary");
    assert_eq!(summary.get("last").map(ToString::to_string).as_deref(), Some("0.5"));
    assert!(run.files.keys().any(|path| path.starts_with("media/images/")), "{:?}", run.files.keys());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_sdk_logs_is_what_our_sync_stores() {
    let mut world = World::default();
    *world.project_mut(ENTITY, "logged") = Project::default();
    let server = LocalWandb::start(Options::with_world(world)).await.expect("the server starts");
    tokio::task::block_in_place(|| log_run(&server, "sdk2sync"));
    for dialect in [Dialect::Graphql, Dialect::Rest] {
        let truth = server.truth(dialect, ENTITY, "logged");
        assert_eq!(truth.metrics.len(), LOGGED_NUMBERS.len());
        let mut workspace = Workspace::new(&server, dialect, ENTITY, "logged");
        let outcome = workspace.sync().await;
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
        let differences = workspace.differences_from(&truth);
        assert!(differences.is_empty(), "{dialect:?}: {differences:#?}");
    }
}
