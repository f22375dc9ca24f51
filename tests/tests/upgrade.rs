//! Destinations that an earlier version wrote are read and brought up to date. That version took the members of unions in exported
//! histories for metrics of their own (`loss._type_float64`). `tests/fixtures/unions` says how the destinations here were made.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use serde_json::json;
use wandb_connector_tests::cli_driver::{CliDriver, Ended, serve};
use wandb_connector_tests::local_wandb::truth::{compare, load_parquet};
use wandb_connector_tests::local_wandb::{Dialect, LocalWandb, Mutation, unions};

const DESTINATIONS: [&str; 2] = ["sqlite:warehouse.db", "parquet:warehouse"];

/// Copies a file or a folder; links stay links.
fn copy(from: &Path, to: &Path) {
    let kind = fs::symlink_metadata(from).unwrap().file_type();
    if kind.is_symlink() {
        std::os::unix::fs::symlink(fs::read_link(from).unwrap(), to).unwrap();
    } else if kind.is_file() {
        fs::copy(from, to).unwrap();
    } else {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    }
}

/// Someone who has used the earlier version, and now has this one.
fn cli(server: &LocalWandb, destination: &'static str) -> CliDriver {
    let mut cli = CliDriver::of(server);
    cli.variables.push(("WANDB_CONNECTOR_DESTINATION", destination.to_owned()));
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/unions");
    let (_, name) = destination.split_once(':').unwrap();
    copy(&fixtures.join(name), &cli.path(name));
    cli
}

fn tables(cli: &CliDriver, destination: &str) -> Connection {
    match destination.split_once(':').unwrap() {
        ("sqlite", name) => Connection::open(cli.path(name)).unwrap(),
        (_, name) => load_parquet(&cli.path(name)).unwrap(),
    }
}

fn wrong_names(tables: &Connection) -> i64 {
    let count = "SELECT count(*) FROM (SELECT metric_name FROM metrics UNION ALL SELECT metric_name FROM metric_objects) \
        WHERE metric_name GLOB '*._type_*'";
    tables.query_row(count, [], |row| row.get(0)).unwrap()
}

#[track_caller]
fn is_up_to_date(cli: &CliDriver, destination: &str, server: &LocalWandb) {
    let tables = tables(cli, destination);
    assert_eq!(wrong_names(&tables), 0, "{destination}");
    let differences = compare(&tables, &server.truth(Dialect::Graphql, "acme", "demo")).unwrap();
    assert!(differences.is_empty(), "{destination}: {:#?}", &differences[..differences.len().min(5)]);
}

fn synced(cli: &CliDriver) -> Ended {
    let ended = cli.sync();
    assert_eq!(ended.code, 0, "{ended:?}");
    ended
}

/// The runs whose histories were asked for since the log was cleared, or whose exports were.
fn read(server: &LocalWandb) -> Vec<String> {
    let mut runs: Vec<String> = server.log().history_reads().into_iter().map(|read| read.run_id).collect();
    runs.sort();
    runs.dedup();
    runs
}

#[test]
fn what_an_earlier_version_took_from_exports_is_read_anew_once() {
    for destination in DESTINATIONS {
        let server = serve(unions::unions());
        let cli = cli(&server, destination);
        assert!(wrong_names(&tables(&cli, destination)) > 20, "the fixture has what is to be mended");
        server.log().clear();
        let ended = synced(&cli);
        // The short run came by steps, and stays.
        assert_eq!(
            ended.json()["runs"],
            json!({"seen": 3, "synced": 2, "unchanged": 1, "quarantined": 0, "deleted": 0})
        );
        assert_eq!(read(&server), ["growing", "long"]);
        is_up_to_date(&cli, destination, &server);

        server.log().clear();
        let ended = synced(&cli);
        assert_eq!(ended.json()["runs"]["unchanged"], 3, "{ended:?}");
        assert_eq!((server.log().len(), read(&server)), (1, Vec::new()), "a listing, and nothing else");
        is_up_to_date(&cli, destination, &server);
    }
}

#[test]
fn what_has_changed_since_is_not_built_upon_what_an_earlier_version_read() {
    for destination in DESTINATIONS {
        let server = serve(unions::unions());
        let cli = cli(&server, destination);
        for (run, rows) in [("growing", 5_600..5_700), ("short", 12..14)] {
            let (entity, project, run) = ("acme".to_owned(), "demo".to_owned(), run.to_owned());
            let rows = rows.map(|step| unions::row(step, 1)).collect();
            server.mutate(&Mutation::Append { entity, project, run, rows }).unwrap();
        }
        let ended = synced(&cli);
        assert_eq!(ended.json()["runs"]["synced"], 3, "{ended:?}");
        is_up_to_date(&cli, destination, &server);
        let ended = cli.run(&["verify", "--config", "configuration.json", "--format", "json"]);
        assert_eq!(ended.code, 0, "{ended:?}");
    }
}
