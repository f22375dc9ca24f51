//! A project of as many runs as people have: the tool stores it in both dialects, finds it unchanged, and compares it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::{Value, json};
use wandb_connector_tests::cli_driver::{CliDriver, Ended, configuration, serve};
use wandb_connector_tests::local_wandb::truth::compare_sqlite;
use wandb_connector_tests::local_wandb::{Dialect, LocalWandb, Project, Run};

const RUNS: usize = 20_000;

fn project() -> Project {
    let run = |number: usize| {
        let row = format!(r#"{{"_step":0,"_timestamp":{}.5,"loss":{number}}}"#, 1_750_000_000 + number);
        Run::new(format!("run{number:05}")).with_history([row])
    };
    Project::new((0..RUNS).map(run))
}

fn cli(server: &LocalWandb, api: &str) -> CliDriver {
    let mut config = configuration(server);
    (config["api"], config["page_size"]) = (json!(api), json!(1000));
    CliDriver::new(&config)
}

#[track_caller]
fn assert_counts(ended: &Ended, synced: usize, unchanged: usize) {
    assert_eq!(ended.code, 0, "{ended:?}");
    let runs = json!({"seen": RUNS, "synced": synced, "unchanged": unchanged, "deleted": 0, "quarantined": 0});
    assert_eq!((&ended.json()["runs"], &ended.json()["error"]), (&runs, &Value::Null));
}

#[test]
fn twenty_thousand_runs_are_synced_and_compared() {
    let server = serve(project());
    for (dialect, api) in [(Dialect::Rest, "rest"), (Dialect::Graphql, "graphql")] {
        let cli = cli(&server, api);
        assert_counts(&cli.sync(), RUNS, 0);
        let differences = compare_sqlite(cli.path("warehouse.db"), &server.truth(dialect, "acme", "demo")).unwrap();
        assert!(differences.is_empty(), "{api}: {} differences: {:#?}", differences.len(), differences.first());
        server.log().clear();
        assert_counts(&cli.sync(), 0, RUNS);
        assert!(server.log().len() <= 25, "{api}: {} requests for what has not changed", server.log().len());
        if dialect == Dialect::Graphql {
            let ended = cli.run(&["verify", "--config", "configuration.json", "--format", "json"]);
            assert_eq!(ended.code, 0, "{ended:?}");
            assert_eq!(ended.json()["runs"]["equal"], json!(RUNS));
        }
    }
}
