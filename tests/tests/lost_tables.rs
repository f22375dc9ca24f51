//! Tables that somebody dropped, and files that somebody removed: what was in them is read again, and it is said.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;

use rusqlite::Connection;
use serde_json::{Value, json};
use wandb_connector_tests::cli_driver::{CliDriver, Ended, serve, with};
use wandb_connector_tests::local_wandb::truth::{compare, load_parquet};
use wandb_connector_tests::local_wandb::{Dialect, Fault, LocalWandb, Matcher, Mutation, Truth, When, generate};

const SQLITE: &str = "sqlite:warehouse.db";
const PARQUET: &str = "parquet:warehouse";
const ALL: [(Dialect, &str); 4] =
    [(Dialect::Rest, SQLITE), (Dialect::Graphql, SQLITE), (Dialect::Rest, PARQUET), (Dialect::Graphql, PARQUET)];

fn cli(server: &LocalWandb, dialect: Dialect, destination: &str) -> CliDriver {
    let api = if dialect == Dialect::Rest { "rest" } else { "graphql" };
    let mut cli = CliDriver::new(&with(server, "api", json!(api)));
    cli.variables.push(("WANDB_CONNECTOR_DESTINATION", destination.to_owned()));
    cli
}

fn open(cli: &CliDriver, destination: &str) -> Connection {
    match destination {
        PARQUET => load_parquet(&cli.path("warehouse")).unwrap(),
        _ => Connection::open(cli.path("warehouse.db")).unwrap(),
    }
}

/// As somebody does who wants to be rid of a table.
fn drop_table(cli: &CliDriver, destination: &str, table: &str) {
    match destination {
        PARQUET => {
            let data = fs::canonicalize(cli.path("warehouse").join(table)).unwrap();
            fs::remove_dir_all(data).unwrap();
        }
        _ => open(cli, destination).execute_batch(&format!("DROP TABLE {table}")).unwrap(),
    }
}

#[track_caller]
fn assert_holds(cli: &CliDriver, destination: &str, truth: &Truth) {
    let differences = compare(&open(cli, destination), truth).unwrap();
    assert!(differences.is_empty(), "{destination}: {} differences: {:?}", differences.len(), differences.first());
}

fn counts(ended: &Ended) -> Value {
    ended.json()["runs"].clone()
}

fn says_lost(ended: &Ended, table: &str) -> bool {
    ended.stderr.contains(&format!("WARNING: the table `{table}` is not in the destination any more"))
}

#[test]
fn a_dropped_table_is_filled_again_and_what_only_the_others_still_hold_stays() {
    for (dialect, destination) in ALL {
        let server = serve(generate::realistic(5, 1));
        let cli = cli(&server, dialect, destination);
        assert_eq!(cli.sync().code, 0);
        let gone = server.world().project("acme", "demo").unwrap().runs[2].id.clone();
        let (entity, project) = ("acme".to_owned(), "demo".to_owned());
        server.mutate(&Mutation::Delete { entity, project, run: gone.clone() }).unwrap();
        assert_eq!(counts(&cli.sync())["deleted"], 1);
        drop_table(&cli, destination, "metrics");

        let verified = cli.run(&["verify", "--config", "configuration.json"]);
        assert_eq!(verified.code, 4, "{verified:?}");
        assert!(
            verified.stdout.contains("The destination has lost `metrics`"),
            "{dialect:?} {destination}: {verified:?}"
        );
        let verified = cli.run(&["verify", "--config", "configuration.json", "--format", "json"]);
        assert_eq!(verified.json()["lost_tables"], json!(["metrics"]));

        let ended = cli.sync();
        assert_eq!((ended.code, &counts(&ended)["synced"]), (0, &json!(4)), "{dialect:?} {destination}: {ended:?}");
        assert!(says_lost(&ended, "metrics"), "{ended:?}");
        let rest = open(&cli, destination);
        let count = |sql: &str| rest.query_row(sql, [&gone], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(count("SELECT count(*) FROM runs WHERE run_id = ?1"), 1, "W&B no longer has it, and we still do");
        drop(rest);
        let database = open(&cli, destination);
        database.execute("DELETE FROM runs WHERE run_id = ?1", [&gone]).ok();
        database.execute("DELETE FROM metric_objects WHERE run_id = ?1", [&gone]).ok();
        let differences = compare(&database, &server.truth(dialect, "acme", "demo")).unwrap();
        assert!(differences.is_empty(), "{dialect:?} {destination}: {:?}", differences.first());
        drop(database);

        let ended = cli.sync();
        assert_eq!((&counts(&ended)["unchanged"], &counts(&ended)["deleted"]), (&json!(4), &json!(1)), "{ended:?}");
        assert!(!says_lost(&ended, "metrics"), "{ended:?}");
    }
}

#[test]
fn a_sync_that_fills_a_table_again_goes_on_where_it_was_stopped() {
    for destination in [SQLITE, PARQUET] {
        let server = serve(generate::realistic(5, 1));
        let cli = cli(&server, Dialect::Graphql, destination);
        assert_eq!(cli.sync().code, 0);
        drop_table(&cli, destination, "metrics");
        let bad = server.world().project("acme", "demo").unwrap().runs[1].id.clone();
        server.fault(Matcher::history().run(&bad).when(When::Always), Fault::status(503));
        let ended = cli.sync();
        assert_eq!((ended.code, &counts(&ended)["synced"]), (4, &json!(4)), "{ended:?}");
        assert!(says_lost(&ended, "metrics"), "{ended:?}");
        server.clear_faults();
        let ended = cli.sync();
        assert_eq!((&counts(&ended)["unchanged"], &counts(&ended)["synced"]), (&json!(4), &json!(1)), "{ended:?}");
        assert!(!says_lost(&ended, "metrics"), "{ended:?}");
        assert_holds(&cli, destination, &server.truth(Dialect::Graphql, "acme", "demo"));
    }
}

#[test]
fn tables_that_are_asked_for_or_no_longer_are_count_as_lost_by_nobody() {
    let server = serve(generate::realistic(4, 1));
    let cli = cli(&server, Dialect::Graphql, SQLITE);
    let configure = |tables: Value| {
        let mut config = with(&server, "api", json!("graphql"));
        config["tables"] = tables;
        fs::write(cli.path("configuration.json"), config.to_string()).unwrap();
    };
    let (all, some) = (json!(["runs", "metrics", "metric_objects"]), json!(["runs"]));
    for tables in [&some, &all, &some, &all] {
        configure(tables.clone());
        let ended = cli.sync();
        assert!(ended.code == 0 && !ended.stderr.contains("any more"), "{ended:?}");
        assert_eq!(counts(&ended)["synced"], 4, "{ended:?}");
    }
    drop_table(&cli, SQLITE, "metrics");
    let refreshed = cli.run(&["sync", "--config", "configuration.json", "--full-refresh"]);
    assert!(refreshed.code == 0 && !refreshed.stderr.contains("any more"), "{refreshed:?}");
    assert_holds(&cli, SQLITE, &server.truth(Dialect::Graphql, "acme", "demo"));

    // A database of an earlier version, which did not note its tables.
    open(&cli, SQLITE).execute_batch("DROP TABLE _elt_tables").unwrap();
    assert_eq!(counts(&cli.sync())["unchanged"], 4);
    open(&cli, SQLITE).execute_batch("DROP TABLE _elt_tables; DROP TABLE runs").unwrap();
    let ended = cli.sync();
    assert!(says_lost(&ended, "runs") && counts(&ended)["synced"] == 4, "{ended:?}");
    open(&cli, SQLITE).execute_batch("DROP TABLE _elt_tables").unwrap();
    let mut config = with(&server, "api", json!("graphql"));
    config["deletes"] = json!("mark");
    fs::write(cli.path("configuration.json"), config.to_string()).unwrap();
    let ended = cli.sync();
    assert!(!ended.stderr.contains("any more") && counts(&ended)["unchanged"] == 4, "{ended:?}");
    // A watermark alone answers for no rows.
    fs::write(cli.path("state.json"), r#"{"runs_hwm_utc": "2099-01-01T00:00:00Z"}"#).unwrap();
    let new = "sqlite:new.db";
    assert_eq!(cli.run(&["state", "import", "--destination", new, "state.json"]).code, 0);
    let ended = cli.run(&["sync", "--config", "configuration.json", "--destination", new, "--format", "json"]);
    assert_eq!((&counts(&ended)["unchanged"], ended.stderr.contains("any more")), (&json!(4), false), "{ended:?}");
}
