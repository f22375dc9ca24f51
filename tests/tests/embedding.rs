//! The very file that our host runs, in other hosts: what they store equals what the server holds.

use std::process::Output;

use rusqlite::{Connection, OptionalExtension as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use wandb_connector_tests::local_wandb::truth::compare_sqlite;
use wandb_connector_tests::local_wandb::{
    Dialect, Fault, LocalWandb, Matcher, Mutation, Options, When, World, awkward, generate,
};
use wandb_connector_tests::other_hosts::OtherHost;
use wandb_connector_tests::product::component_file;

const ENTITY: &str = "acme";
const PROJECT: &str = "demo";

fn server() -> LocalWandb {
    let mut project = awkward::awkward();
    project.runs.extend(generate::realistic(12, 7).runs);
    let mut world = World::default();
    *world.project_mut(ENTITY, PROJECT) = project;
    LocalWandb::start_blocking(Options::with_world(world)).expect("the server starts")
}

/// A database that one host fills in one dialect.
struct Warehouse<'a> {
    host: OtherHost,
    dialect: Dialect,
    server: &'a LocalWandb,
    folder: TempDir,
}

impl<'a> Warehouse<'a> {
    fn new(host: OtherHost, dialect: Dialect, server: &'a LocalWandb) -> Self {
        Self { host, dialect, server, folder: TempDir::new().expect("a temporary folder") }
    }

    fn database(&self) -> Connection {
        Connection::open(self.folder.path().join("warehouse.db")).expect("the database opens")
    }

    fn try_sync(&self, key: &str) -> Output {
        let api = match self.dialect {
            Dialect::Rest => "rest",
            Dialect::Graphql => "graphql",
        };
        let config = json!({
            "api_key": key, "entity": ENTITY, "project": PROJECT, "base_url": self.server.base_url(), "api": api,
        });
        let file = |name: &str| self.folder.path().join(name);
        std::fs::write(file("configuration.json"), config.to_string()).expect("a configuration");
        let mut sync = self.host.program("sync").expect("the host is installed");
        sync.arg(component_file()).arg(file("configuration.json")).arg(file("warehouse.db"));
        sync.output().expect("the host runs")
    }

    /// A sync that succeeds; its summary.
    fn sync(&self) -> Value {
        let output = self.try_sync(self.server.api_key());
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{:?} {:?}: {problem}", self.host, self.dialect);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {problem}"))
    }

    fn assert_equals_server(&self) {
        let truth = self.server.truth(self.dialect, ENTITY, PROJECT);
        let database = self.folder.path().join("warehouse.db");
        let differences = compare_sqlite(&database, &truth).expect("the database is legible");
        let first = differences.first().map(ToString::to_string);
        assert_eq!(first, None, "the first of {}: {:?} {:?}", differences.len(), self.host, self.dialect);
        assert!(truth.metrics.len() > 1000, "there was much to compare");
    }
}

fn for_each_host(check: impl Fn(OtherHost) + Sync) {
    let check = &check;
    std::thread::scope(|scope| {
        for host in OtherHost::ALL {
            scope.spawn(move || check(host));
        }
    });
}

/// The first sync takes everything, through broken connections as well; the second what changed.
fn follow(dialect: Dialect) {
    for_each_host(|host| {
        let server = server();
        let warehouse = Warehouse::new(host, dialect, &server);
        for (nth, fault) in [Fault::status(503), Fault::Truncate(40), Fault::ResetAfter(40)].into_iter().enumerate() {
            server.fault(Matcher::history().when(When::Nth(2 + 3 * nth)), fault);
        }
        let first = warehouse.sync();
        assert_eq!((&first["unchanged"], &first["quarantined"]), (&json!(0), &json!([])), "{host:?}");
        assert!(first["retries"].as_u64() >= Some(3), "{host:?}: {first}");
        warehouse.assert_equals_server();

        let (entity, project) = (ENTITY.to_owned(), PROJECT.to_owned());
        server
            .mutate(&Mutation::Live { entity, project, grow: 30, finish: 1, edit: 1, add: 2, seed: 5 })
            .expect("runs");
        let (entity, project, run) = (ENTITY.to_owned(), PROJECT.to_owned(), "many-rows".to_owned());
        let rows = vec![r#"{"_step": 11, "_timestamp": 1750000000.25, "loss": 0.5}"#.to_owned()];
        server.mutate(&Mutation::Rewind { entity, project, run, step: 10, rows }).expect("a run");
        let second = warehouse.sync();
        assert!(second["unchanged"].as_u64() > Some(30), "the state was kept, {host:?}: {second}");
        warehouse.assert_equals_server();
    });
}

#[test]
fn other_hosts_follow_a_project_through_graphql() {
    follow(Dialect::Graphql);
}

#[test]
fn other_hosts_follow_a_project_through_rest() {
    follow(Dialect::Rest);
}

/// Rows of a run are there if, and only if, the state answers for it.
fn assert_untorn(database: &Connection) -> i64 {
    let count = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a count");
    let runs = count("SELECT count(*) FROM runs");
    for table in ["runs", "metrics", "metric_objects"] {
        let torn = format!("SELECT count(*) FROM {table} WHERE 'runs/' || run_id NOT IN (SELECT key FROM _state)");
        assert_eq!(count(&torn), 0, "rows without state in {table}");
    }
    let torn =
        "SELECT count(*) FROM _state WHERE key LIKE 'runs/%' AND substr(key, 6) NOT IN (SELECT run_id FROM runs)";
    assert_eq!(count(torn), 0, "state without rows");
    runs
}

#[test]
fn a_destination_that_fails_keeps_what_was_complete() {
    for_each_host(|host| {
        let server = server();
        let warehouse = Warehouse::new(host, Dialect::Graphql, &server);
        assert!(!warehouse.try_sync("wrong").status.success(), "{host:?}: makes the tables, and no more");
        let fail = "CREATE TRIGGER full BEFORE INSERT ON runs WHEN (SELECT count(*) FROM runs) >= 9
                    BEGIN SELECT raise(abort, 'the disk is full'); END";
        warehouse.database().execute_batch(fail).expect("a trigger");
        let output = warehouse.try_sync(server.api_key());
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{host:?}: {problem}");
        assert!(problem.contains("destination") && problem.contains("the disk is full"), "{host:?}: {problem}");
        assert_eq!(assert_untorn(&warehouse.database()), 9, "{host:?}");

        warehouse.database().execute_batch("DROP TRIGGER full").expect("no trigger");
        let rest = warehouse.sync();
        assert_eq!(rest["unchanged"], json!(9), "{host:?}: {rest}");
        warehouse.assert_equals_server();
    });
}

#[test]
fn errors_of_the_connector_reach_other_hosts_with_their_kind() {
    let server = server();
    for host in OtherHost::ALL {
        let warehouse = Warehouse::new(host, Dialect::Rest, &server);
        let output = warehouse.try_sync("wrong");
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(problem.contains("authentication: W&B does not accept the API key"), "{host:?}: {problem}");
        let state = warehouse.database().query_row("SELECT key FROM _state", [], |row| row.get::<_, String>(0));
        assert_eq!(state.optional().expect("the state is legible"), None, "{host:?}");
    }
}
