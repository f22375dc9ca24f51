//! `verify` against the local server: it finds what is not as it should be, names it, and writes nothing.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};
use wandb_connector_tests::cli_driver::{CliDriver, Ended, configuration, interrupt, run_by_run, serve, with};
use wandb_connector_tests::local_wandb::{
    Dialect, Fault, LocalWandb, Matcher, Mutation, Options, Project, Run, World, awkward, generate,
};

const SQLITE: &str = "sqlite:warehouse.db";
const PARQUET: &str = "parquet:warehouse";
/// Every dialect into every destination.
const ALL: [(Dialect, &str); 4] =
    [(Dialect::Rest, SQLITE), (Dialect::Graphql, SQLITE), (Dialect::Rest, PARQUET), (Dialect::Graphql, PARQUET)];

fn api(dialect: Dialect) -> Value {
    json!(if dialect == Dialect::Rest { "rest" } else { "graphql" })
}

/// Someone whose destination is up to date.
fn synced(server: &LocalWandb, dialect: Dialect, destination: &str) -> CliDriver {
    let mut cli = CliDriver::new(&with(server, "api", api(dialect)));
    cli.variables.push(("WANDB_CONNECTOR_DESTINATION", destination.to_owned()));
    let ended = cli.sync();
    assert_eq!(ended.code, 0, "{ended:?}");
    cli
}

fn verify(cli: &CliDriver) -> Ended {
    cli.run(&["verify", "--config", "configuration.json", "--format", "json"])
}

/// What was found of each run, in one word.
fn results(ended: &Ended) -> BTreeMap<String, String> {
    let findings = ended.json()["findings"].as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    findings.iter().map(|finding| (text(&finding["run"]), text(&finding["result"]))).collect()
}

fn finding(ended: &Ended, run: &str) -> Value {
    let findings = ended.json()["findings"].as_array().unwrap().clone();
    findings.into_iter().find(|finding| finding["run"] == run).unwrap_or_else(|| panic!("nothing of {run}: {ended:?}"))
}

/// Every file below a folder, with what is in it.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => drop(found.insert(path.clone(), fs::read(&path).unwrap())),
        }
    }
    found
}

fn run(id: &str, steps: i64) -> Run {
    Run::new(id).with_history((0..steps).map(row))
}

fn row(step: i64) -> String {
    format!(
        r#"{{"_step":{step},"_timestamp":{}.25,"loss":{:?},"note":"n{step}"}}"#,
        1_750_000_000 + step,
        step as f64 / 8.0
    )
}

fn names() -> (String, String) {
    ("acme".to_owned(), "demo".to_owned())
}

fn append(server: &LocalWandb, run: &str, rows: Vec<String>) {
    let (entity, project) = names();
    server.mutate(&Mutation::Append { entity, project, run: run.to_owned(), rows }).unwrap();
}

fn delete(server: &LocalWandb, run: &str) {
    let (entity, project) = names();
    server.mutate(&Mutation::Delete { entity, project, run: run.to_owned() }).unwrap();
}

fn touch(server: &LocalWandb, run: &str) {
    let (entity, project) = names();
    let display_name = Some("another name".to_owned());
    server.mutate(&Mutation::Touch { entity, project, run: run.to_owned(), display_name, tags: None }).unwrap();
}

#[test]
fn what_a_sync_has_stored_is_equal_whatever_the_values_are_and_nothing_is_written() {
    for (dialect, destination) in ALL {
        let server = serve(awkward::awkward());
        let cli = synced(&server, dialect, destination);
        let before = files(cli.folder());
        let ended = verify(&cli);
        assert_eq!((ended.code, results(&ended)), (0, BTreeMap::new()), "{dialect:?} {destination}: {ended:?}");
        let truth = server.truth(dialect, "acme", "demo");
        let summary = ended.json();
        let runs = truth.runs.len();
        assert_eq!((&summary["status"], &summary["error"]), (&json!("ok"), &Value::Null));
        assert_eq!((&summary["runs"]["verified"], &summary["runs"]["equal"]), (&json!(runs), &json!(runs)));
        assert_eq!(summary["equal_rows"], json!(runs + truth.metrics.len() + truth.objects.len()));
        assert_eq!(files(cli.folder()), before, "{dialect:?} {destination}");
        let ended = cli.run(&["verify", "--config", "configuration.json"]);
        let said: Vec<_> = ended.stderr.lines().filter(|line| line.starts_with("INFO: ")).collect();
        let address = format!("INFO: Comparing {destination} with W&B; nothing is written");
        assert_eq!(said, [address], "a verification is no sync");
        assert_eq!((ended.code, ended.stdout), (0, format!("Verified {runs} runs: {runs} equal\n")));
    }
}

#[test]
fn what_was_changed_by_hand_is_named() {
    for dialect in [Dialect::Rest, Dialect::Graphql] {
        let server = serve(Project::new(["a", "b", "c", "d", "e", "f", "g", "h", "i"].map(|id| run(id, 20))));
        let cli = synced(&server, dialect, SQLITE);
        let database = Connection::open(cli.path("warehouse.db")).unwrap();
        let change = |sql: &str, changed: usize| assert_eq!(database.execute(sql, []).unwrap(), changed, "{sql}");
        change("DELETE FROM metrics WHERE run_id = 'a' AND step IN (7, 9)", 2);
        change("UPDATE metrics SET metric_value = metric_value + 1e-15 WHERE run_id = 'b' AND step = 3", 1);
        change(
            "INSERT INTO metrics SELECT run_id, 99, metric_name, 0.5, timestamp, _synced_at FROM metrics WHERE run_id = 'c' AND step = 1",
            1,
        );
        change("UPDATE metric_objects SET value_json = '\"m4\"' WHERE run_id = 'd' AND step = 4", 1);
        change("UPDATE runs SET name = NULL WHERE run_id = 'e'", 1);
        change("UPDATE metrics SET timestamp = '2025-06-15T15:06:45.250001Z' WHERE run_id = 'f' AND step = 5", 1);
        change("DELETE FROM metrics WHERE run_id = 'g' AND step = 19", 1);
        for table in ["runs", "metrics", "metric_objects"] {
            database.execute(&format!("DELETE FROM {table} WHERE run_id = 'h'"), []).unwrap();
        }
        change(
            "INSERT INTO runs SELECT 'ghost', name, state, user, created_at, updated_at, tags, config_json, summary_json, _synced_at FROM runs WHERE run_id = 'a'",
            1,
        );
        drop(database);
        let before = files(cli.folder());

        let ended = verify(&cli);
        assert_eq!(ended.code, 4, "{ended:?}");
        let expected =
            ["a", "b", "c", "d", "e", "f", "g", "ghost", "h"].map(|id| (id.to_owned(), "different".to_owned()));
        assert_eq!(results(&ended), expected.into(), "{dialect:?}");
        assert_eq!(ended.json()["runs"]["equal"], 1);
        let rows = |missing, extra, altered| json!({"missing": missing, "extra": extra, "altered": altered});
        let place =
            |table: &str, step: i64, name: &str| json!({"table": table, "key": {"step": step, "metric_name": name}});
        for (id, counts, first) in [
            ("a", rows(2, 0, 0), place("metrics", 7, "loss")),
            ("b", rows(0, 0, 1), place("metrics", 3, "loss")),
            ("c", rows(0, 1, 0), place("metrics", 99, "loss")),
            ("d", rows(0, 0, 1), place("metric_objects", 4, "note")),
            ("e", rows(0, 0, 1), json!({"table": "runs", "key": {}})),
            ("f", rows(0, 0, 1), place("metrics", 5, "loss")),
            ("g", rows(1, 0, 0), place("metrics", 19, "loss")),
            ("ghost", rows(0, 1, 0), json!({"table": "runs", "key": {}})),
            ("h", rows(41, 0, 0), json!({"table": "runs", "key": {}})),
        ] {
            let found = finding(&ended, id);
            assert_eq!((&found["rows"], &found["first"]), (&counts, &first), "{dialect:?} {id}");
            assert_eq!(found["changed_since_last_sync"], json!(false), "{id}");
        }
        assert_eq!(files(cli.folder()), before);
        let ended = cli.run(&["verify", "--config", "configuration.json"]);
        assert!(ended.code == 4 && ended.stdout.contains("metrics 7 loss"), "{ended:?}");
        assert!(ended.stdout.contains("Verified 10 runs: 1 equal, 9 different\n"), "{ended:?}");
    }
}

#[test]
fn what_has_changed_at_wandb_since_is_behind_and_a_sync_brings_it() {
    for (dialect, destination) in ALL {
        let server = serve(Project::new(
            ["done", "edited", "grown", "completed", "empty"].map(|id| run(id, if id == "empty" { 0 } else { 20 })),
        ));
        let cli = synced(&server, dialect, destination);
        let (entity, project) = names();
        append(&server, "grown", (20..31).map(row).collect());
        append(&server, "empty", (0..3).map(row).collect());
        touch(&server, "edited");
        let completed = row(19).replace("\"note\"", "\"acc\":0.5,\"note\"");
        let replace = Mutation::ReplaceLast {
            entity: entity.clone(),
            project: project.clone(),
            run: "completed".into(),
            row: completed,
        };
        server.mutate(&replace).unwrap();
        server.mutate(&Mutation::Add { entity, project, run: "new".into(), rows: vec![row(0)] }).unwrap();

        let ended = verify(&cli);
        let behind = ["completed", "edited", "empty", "grown"].map(|id| (id.to_owned(), "behind".to_owned()));
        let expected: BTreeMap<_, _> = behind.into_iter().chain([("new".to_owned(), "missing".to_owned())]).collect();
        assert_eq!((ended.code, results(&ended)), (4, expected), "{dialect:?} {destination}: {ended:?}");
        let found = finding(&ended, "grown");
        assert_eq!(found["rows"], json!({"missing": 22, "extra": 0, "altered": 1}), "{dialect:?} {destination}");
        let text = cli.run(&["verify", "--config", "configuration.json"]).stdout;
        assert!(text.contains("1 equal, 1 missing, 4 behind\nA sync brings what is missing or behind.\n"), "{text}");

        assert_eq!(cli.sync().code, 0);
        let ended = verify(&cli);
        assert_eq!((ended.code, results(&ended)), (0, BTreeMap::new()), "{dialect:?} {destination}: {ended:?}");
    }
}

#[test]
fn a_change_by_hand_is_not_taken_for_one_at_wandb() {
    for dialect in [Dialect::Rest, Dialect::Graphql] {
        let server = serve(Project::new(["altered", "rewound", "shortened"].map(|id| run(id, 20))));
        let cli = synced(&server, dialect, SQLITE);
        let database = Connection::open(cli.path("warehouse.db")).unwrap();
        database.execute("UPDATE metrics SET metric_value = 7 WHERE run_id = 'altered' AND step = 3", []).unwrap();
        database.execute("DELETE FROM metrics WHERE run_id = 'shortened' AND step > 10", []).unwrap();
        drop(database);
        append(&server, "altered", (20..25).map(row).collect());
        append(&server, "shortened", (20..25).map(row).collect());
        let (entity, project) = names();
        let rows = (10..30).map(|step| row(step + 1)).collect();
        server.mutate(&Mutation::Rewind { entity, project, run: "rewound".into(), step: 4, rows }).unwrap();

        let ended = verify(&cli);
        let expected = ["altered", "rewound", "shortened"].map(|id| (id.to_owned(), "different".to_owned()));
        assert_eq!((ended.code, results(&ended)), (4, expected.into()), "{dialect:?}");
        assert_eq!(finding(&ended, "rewound")["changed_since_last_sync"], true);
        assert_eq!(
            finding(&ended, "rewound")["first"],
            json!({"table": "metrics", "key": {"step": 5, "metric_name": "loss"}})
        );
    }
}

#[test]
fn runs_that_wandb_no_longer_has_are_listed_and_nothing_is_wrong_with_them() {
    for (dialect, destination) in ALL {
        let server = serve(Project::new(["a", "b", "c", "d"].map(|id| run(id, 20))));
        let cli = synced(&server, dialect, destination);
        delete(&server, "b");
        // One that a sync has noticed, and one that none has.
        assert_eq!(cli.sync().code, 0);
        delete(&server, "c");
        let before = files(cli.folder());
        let ended = verify(&cli);
        let expected = ["b", "c"].map(|id| (id.to_owned(), "deleted".to_owned()));
        assert_eq!((ended.code, results(&ended)), (0, expected.into()), "{dialect:?} {destination}: {ended:?}");
        assert_eq!(ended.json()["runs"]["verified"], 2);
        assert_eq!(files(cli.folder()), before);
        let text = cli.run(&["verify", "--config", "configuration.json"]).stdout;
        assert!(text.contains("Verified 2 runs: 2 equal; 2 deleted at W&B, in the destination only\n"), "{text}");
    }
}

#[test]
fn a_run_that_cannot_be_read_is_not_verified() {
    for dialect in [Dialect::Rest, Dialect::Graphql] {
        let server = serve(Project::new(["a", "b", "c", "d"].map(|id| run(id, 20))));
        let cli = synced(&server, dialect, SQLITE);
        server.fault(Matcher::history().run("b"), Fault::status(400));
        server.fault(Matcher::listing(), Fault::HideRun("c".to_owned()));
        let ended = verify(&cli);
        let expected = ["b", "c"].map(|id| (id.to_owned(), "unchecked".to_owned()));
        assert_eq!((ended.code, results(&ended)), (4, expected.into()), "{dialect:?}: {ended:?}");
        assert!(finding(&ended, "b")["reason"].as_str().unwrap().contains("400"), "{ended:?}");
        assert_eq!(ended.json()["runs"]["equal"], 2);
    }
}

#[test]
fn a_server_that_fails_verifies_nothing() {
    let server = serve(Project::new(["a", "b"].map(|id| run(id, 20))));
    let cli = synced(&server, Dialect::Graphql, SQLITE);
    server.fault(Matcher::listing(), Fault::status(400));
    let ended = verify(&cli);
    assert_eq!(
        (ended.code, &ended.json()["status"], &ended.json()["error_kind"]),
        (5, &json!("failed"), &json!("upstream"))
    );
    server.clear_faults();
    server.fault(Matcher::any(), Fault::status(401));
    assert_eq!(verify(&cli).code, 3);
}

#[test]
fn what_cannot_be_verified_is_refused() {
    let server = serve(Project::new([run("a", 20)]));
    let mut cli = synced(&server, Dialect::Graphql, SQLITE);
    fs::write(cli.path("letter.db"), "Dear Ada, this is no database at all. ".repeat(50)).unwrap();
    for (destination, code, hint) in [
        ("null:", 2, "nothing to verify"),
        ("oracle:x", 2, "sqlite:PATH"),
        ("sqlite:none.db", 6, "Run a sync first"),
        ("parquet:none", 6, "can't be read"),
        ("sqlite:letter.db", 6, "not a SQLite database"),
    ] {
        let ended = cli.run(&["verify", "--config", "configuration.json", "--destination", destination]);
        assert!(ended.code == code && ended.stderr.contains(hint), "{destination}: {ended:?}");
        assert_eq!(ended.stdout, "", "{destination}");
    }
    assert!(!cli.path("none.db").exists() && !cli.path("none").exists());
    let mut other = configuration(&server);
    other["project"] = json!("other");
    server.project_mut("acme", "other", |project| project.runs.push(run("x", 1).into()));
    fs::write(cli.path("configuration.json"), other.to_string()).unwrap();
    cli.variables.clear();
    let ended = verify(&cli);
    assert!(ended.code == 6 && ended.stderr.contains("acme/demo"), "{ended:?}");
}

#[test]
fn parquet_files_that_came_or_went_are_noticed() {
    let server = serve(Project::new(["a", "b"].map(|id| run(id, 20))));
    let cli = synced(&server, Dialect::Graphql, PARQUET);
    let files: Vec<PathBuf> =
        fs::read_dir(cli.path("warehouse/metrics")).unwrap().map(|file| file.unwrap().path()).collect();
    let copy = cli.path("warehouse/metrics/part-99999999.parquet");
    fs::copy(&files[0], &copy).unwrap();
    let ended = verify(&cli);
    assert!(ended.code == 6 && ended.stderr.contains("more than once"), "{ended:?}");
    fs::remove_file(copy).unwrap();
    assert_eq!(verify(&cli).code, 0);
    files.iter().for_each(|file| fs::remove_file(file).unwrap());
    let ended = verify(&cli);
    let expected = ["a", "b"].map(|id| (id.to_owned(), "different".to_owned()));
    assert_eq!((ended.code, results(&ended)), (4, expected.into()), "{ended:?}");
}

/// A server that takes its time, and someone whose destination is up to date with it.
fn slow(destination: &str) -> (LocalWandb, CliDriver) {
    let mut world = World::default();
    *world.project_mut("acme", "demo") = generate::bench(60, 50, 3, 1);
    let options = Options { latency: Duration::from_millis(60), ..Options::with_world(world) };
    let server = LocalWandb::start_blocking(options).unwrap();
    let mut cli = CliDriver::new(&run_by_run(&server));
    cli.variables.push(("WANDB_CONNECTOR_DESTINATION", destination.to_owned()));
    (server, cli)
}

#[test]
fn an_interrupted_verification_leaves_nothing_behind() {
    for destination in [SQLITE, PARQUET] {
        let (server, mut cli) = slow(destination);
        assert_eq!(cli.sync().code, 0);
        let before = files(cli.folder());
        let temporary = tempfile::tempdir().unwrap();
        cli.variables.push(("SQLITE_TMPDIR", temporary.path().display().to_string()));
        let child = cli.start(&server, "verify", 4);
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0, "the scratch file has no name");
        let ended = interrupt(child);
        assert_eq!((ended.code, &ended.json()["status"]), (130, &json!("interrupted")), "{destination}");
        assert_eq!(files(cli.folder()), before, "{destination}");
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_sync_and_a_verification_of_one_destination_refuse_each_other() {
    for destination in [SQLITE, PARQUET] {
        let (server, cli) = slow(destination);
        let child = cli.start(&server, "sync", 4);
        let ended = verify(&cli);
        assert_eq!(ended.code, 6, "{destination}: {ended:?}");
        assert!(
            ended.stderr.contains("another sync is writing") || ended.stderr.contains("Run a sync first"),
            "{ended:?}"
        );
        assert_eq!(interrupt(child).code, 130);
        assert_eq!(cli.sync().code, 0);
        let child = cli.start(&server, "verify", 4);
        let ended = cli.sync();
        assert!(ended.code == 6 && ended.stderr.contains("a verification is reading it"), "{destination}: {ended:?}");
        assert_eq!(interrupt(child).code, 130);
        assert_eq!(cli.sync().code, 0, "the lock is gone");
    }
}

#[test]
fn a_run_that_came_by_steps_is_equal_to_its_export() {
    let row = |step: i64| match step % 100 {
        7 => format!(
            r#"{{"_step":{step},"list":[3, 3.0,1e3,2.50,-0.0],"media":{{"size":1.0,"_type":"image-file","a":{{"z":1,"b":"\u00e9"}}}}}}"#
        ),
        8 => format!(r#"{{"_step":{step},"loss":NaN,"mixed":[1.0,"x",NaN,[true]]}}"#),
        _ => format!(r#"{{"_step":{step},"loss":0.5}}"#),
    };
    for destination in [SQLITE, PARQUET] {
        let mut run = Run::new("late").with_history((0..6_000).map(row));
        run.exported_rows = 0;
        let server = serve(Project::new([run]));
        let cli = synced(&server, Dialect::Graphql, destination);
        let (entity, project) = names();
        server.mutate(&Mutation::Export { entity, project, run: "late".to_owned(), rows: None }).unwrap();
        server.log().clear();
        let ended = verify(&cli);
        assert_eq!((ended.code, results(&ended)), (0, BTreeMap::new()), "{destination}: {ended:?}");
        assert!(server.log().history_reads().iter().all(|read| read.rows < 10), "its export was read");
    }
}
