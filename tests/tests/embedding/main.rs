//! The very file that our host runs, in other hosts, byte for byte: what each of them stores equals what the server holds.
//!
//! | host | program |
//! |---|---|
//! | our command line tool | `wandb-connector` |
//! | our library | `tests/embedding/rust` |
//! | wasmtime and its WASI crates | `tests/embedding/wasmtime` |
//! | Python, with `wasmtime` from PyPI | `tests/embedding/python` |
//! | Node, with jco | `tests/embedding/node` |
//! | the `wasmtime` command line, and Node | the command that is composed of the component |

mod hosts;
mod lines;
mod own_destination;

use std::process::Command;

use hosts::{Host, Warehouse, cache, command_file};
use rusqlite::{Connection, OptionalExtension as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use wandb_connector_tests::local_wandb::{
    Dialect, Fault, LocalWandb, Matcher, Mutation, Options, When, World, awkward, generate,
};
use wandb_connector_tests::other_hosts::OtherHost;
use wandb_connector_tests::product::{binary, component_file};

const ENTITY: &str = "acme";
const PROJECT: &str = "demo";

fn server() -> LocalWandb {
    let mut project = awkward::awkward();
    project.runs.extend(generate::realistic(12, 7).runs);
    let mut world = World::default();
    *world.project_mut(ENTITY, PROJECT) = project;
    LocalWandb::start_blocking(Options::with_world(world)).expect("the server starts")
}

fn rewind(run: &str, step: i64, rows: &[&str]) -> Mutation {
    let rows = rows.iter().map(|&row| row.to_owned()).collect();
    Mutation::Rewind { entity: ENTITY.to_owned(), project: PROJECT.to_owned(), run: run.to_owned(), step, rows }
}

fn component() -> Vec<u8> {
    std::fs::read(component_file()).expect("the component was built")
}

fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// The first sync takes everything, through broken connections as well; the second what changed.
fn follow(host: Host, dialect: Dialect) {
    let (server, bytes) = (server(), component());
    let warehouse = Warehouse::new(host, dialect, &server);
    for (nth, fault) in [Fault::status(503), Fault::Truncate(40), Fault::ResetAfter(40)].into_iter().enumerate() {
        server.fault(Matcher::history().when(When::Nth(2 + 3 * nth)), fault);
    }
    let first = warehouse.sync();
    assert_eq!((first.unchanged, first.quarantined), (0, 0), "{first:?}");
    assert!(first.retries >= 3, "{first:?}");
    warehouse.assert_equals_server();

    let (entity, project) = (ENTITY.to_owned(), PROJECT.to_owned());
    server.mutate(&Mutation::Live { entity, project, grow: 30, finish: 1, edit: 1, add: 2, seed: 5 }).expect("runs");
    let anew = r#"{"_step": 11, "_timestamp": 1750000000.25, "loss": 0.5}"#;
    server.mutate(&rewind("many-rows", 10, &[anew])).expect("a run");
    let second = warehouse.sync();
    assert!(second.unchanged > 30, "the state was kept: {second:?}");
    warehouse.assert_equals_server();
    assert_eq!(sha256(&component()), sha256(&bytes), "no host changed the component");
}

/// Every host in every dialect, a test for each.
macro_rules! matrix {
    ($($name:ident: $host:expr;)*) => {
        mod follows_a_project_through_graphql {
            $(#[test] fn $name() { super::follow($host, super::Dialect::Graphql) })*
        }
        mod follows_a_project_through_rest {
            $(#[test] fn $name() { super::follow($host, super::Dialect::Rest) })*
        }
    };
}

matrix! {
    our_tool: super::Host::Tool;
    our_library: super::Host::Library;
    wasmtime: super::Host::Other(super::OtherHost::Wasmtime);
    python: super::Host::Other(super::OtherHost::Python);
    node: super::Host::Other(super::OtherHost::Node);
    the_wasmtime_command_line: super::Host::WasmtimeCommand;
    node_with_the_command: super::Host::NodeCommand;
}

/// The programs in the matrix are given the file itself. Two hold it inside of them.
#[test]
fn the_tool_carries_and_the_command_contains_the_component_byte_for_byte() {
    let component = component();
    let mut inspect = Command::new(binary());
    let output = inspect.args(["inspect", "--format", "json"]).env("XDG_CACHE_HOME", cache()).output();
    let output = output.expect("it runs");
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {output:?}"));
    assert_eq!((&shown["component"], &shown["sha256"]), (&json!("built in"), &json!(sha256(&component))));

    let command = std::fs::read(command_file()).expect("the command was built");
    let contained = command.windows(component.len()).find(|part| *part == component);
    assert_eq!(contained.map(sha256), Some(sha256(&component)), "the command was made of another component");
}

/// Every host that was made from the contract alone, all at once.
fn for_each_other_host(check: impl Fn(Host) + Sync) {
    let check = &check;
    std::thread::scope(|scope| {
        for host in OtherHost::ALL {
            scope.spawn(move || check(Host::Other(host)));
        }
    });
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
    for_each_other_host(|host| {
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
        assert_eq!(rest.unchanged, 9, "{host:?}: {rest:?}");
        warehouse.assert_equals_server();
    });
}

/// What the examples show is for people: a line now and then, with what is known.
#[test]
fn progress_is_a_line_and_not_a_report_of_every_step() {
    let server = server();
    for_each_other_host(|host| {
        let output = Warehouse::new(host, Dialect::Graphql, &server).try_sync(server.api_key());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{host:?}: {said}");
        let lines: Vec<&str> = said.lines().filter(|line| line.contains(" runs") && line.contains(" of ")).collect();
        assert!(!said.contains("unknown") && !lines.is_empty(), "{host:?}: {said}");
        let runs = lines[lines.len() - 1].split(' ').next().unwrap_or_default();
        let whole = format!("{runs} of {runs} runs, {runs} runs synced");
        assert!(lines.len() < 20 && lines[lines.len() - 1] == whole, "{host:?}: {lines:?}");
    });
}

#[test]
fn errors_of_the_connector_reach_other_hosts_with_their_kind() {
    let server = server();
    for_each_other_host(|host| {
        let warehouse = Warehouse::new(host, Dialect::Rest, &server);
        let output = warehouse.try_sync("wrong");
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(problem.contains("authentication: W&B does not accept the API key"), "{host:?}: {problem}");
        let state = warehouse.database().query_row("SELECT key FROM _state", [], |row| row.get::<_, String>(0));
        assert_eq!(state.optional().expect("the state is legible"), None, "{host:?}");
    });
}

#[test]
fn what_goes_wrong_is_one_line_of_the_command_and_an_exit_code() {
    let server = server();
    let (wasmtime, node) = (Host::WasmtimeCommand, Host::NodeCommand);
    for (host, key, kind) in
        [(wasmtime, "wrong", "authentication"), (node, "wrong", "authentication"), (wasmtime, "", "configuration")]
    {
        let output = Warehouse::new(host, Dialect::Graphql, &server).try_sync(key);
        assert!(!output.status.success());
        let problem = String::from_utf8_lossy(&output.stderr);
        let error = problem.lines().find_map(|line| serde_json::from_str::<Value>(line).ok()?.get("error").cloned());
        assert_eq!(error.map(|error| error["kind"].clone()), Some(json!(kind)), "{problem}");
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(printed.lines().all(|line| line.starts_with(r#"{"begin":"#)), "no row, no checkpoint: {printed}");
    }
}
