//! The command made of the connector, in hosts that know nothing of the contract: the `wasmtime` command line, and Node.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rusqlite::{Connection, params_from_iter};
use serde_json::{Value, json};
use tempfile::TempDir;
use wandb_connector_tests::local_wandb::json::Json;
use wandb_connector_tests::local_wandb::truth::compare_sqlite;
use wandb_connector_tests::local_wandb::{Dialect, LocalWandb, Mutation, Options, World, awkward};
use wandb_connector_tests::other_hosts::OtherHost;
use wandb_connector_tests::product::target_dir;
use wandb_connector_tests::set_up;

fn server() -> LocalWandb {
    let mut world = World::default();
    *world.project_mut("acme", "demo") = awkward::awkward();
    LocalWandb::start_blocking(Options::with_world(world)).expect("the server starts")
}

fn command_file() -> PathBuf {
    let file = target_dir().join("wasm32-unknown-unknown/component/wandb-connector-cli.wasm");
    assert!(file.is_file(), "{} is missing: run `make command` first", file.display());
    file
}

fn wasmtime(component: &Path, config: &Value) -> Command {
    let python = set_up::program("setup-python.sh").expect("the tools are installed");
    let mut command = Command::new(python.with_file_name("wasmtime"));
    command.args(["run", "-S", "http", "--env"]).arg(format!("CONNECTOR_CONFIG={config}")).arg(component);
    command
}

fn node(component: &Path, config: &Value) -> Command {
    let mut command = OtherHost::Node.program("command").expect("the host is installed");
    command.env("CONNECTOR_CONFIG", config.to_string()).arg(component);
    command
}

fn run(mut command: Command, state: &str) -> Output {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("the host runs");
    child.stdin.take().expect("standard input").write_all(state.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

fn lines(output: &Output) -> Vec<&str> {
    std::str::from_utf8(&output.stdout).expect("text").lines().collect()
}

/// Stores lines as a consumer of them does: a `begin` drops what was not confirmed, a `checkpoint` and a `summary` confirm.
#[derive(Default)]
struct Consumer {
    keys: BTreeMap<String, Vec<String>>,
    pending: Vec<Json>,
    rows: BTreeMap<(String, String), Json>,
}

impl Consumer {
    fn take(&mut self, line: Json) {
        if let Some(tables) = line.get("begin") {
            self.pending.clear();
            for table in list(tables) {
                let key = list(table.get("primary_key").expect("a key")).iter().map(text).collect();
                self.keys.insert(text(table.get("name").expect("a name")), key);
            }
        } else if line.get("checkpoint").is_some() || line.get("summary").is_some() {
            std::mem::take(&mut self.pending).into_iter().for_each(|line| self.apply(&line));
        } else {
            self.pending.push(line);
        }
    }

    fn apply(&mut self, line: &Json) {
        if let (Some(table), Some(row)) = (line.get("upsert").map(text), line.get("row")) {
            let key: Vec<_> = self.keys[&table].iter().map(|name| row.get(name).map(Json::to_string)).collect();
            self.rows.insert((table, format!("{key:?}")), row.clone());
        } else if let (Some(table), Some(key)) = (line.get("delete").map(text), line.get("key")) {
            let differs = |row: &Json| members(key).iter().any(|(name, value)| row.get(name) != Some(value));
            self.rows.retain(|(of, _), row| *of != table || differs(row));
        } else {
            panic!("{line} is no change");
        }
    }

    /// As a database that can be compared with the truth.
    fn write(&self, file: &Path) {
        let mut database = Connection::open(file).expect("a database");
        let write = database.transaction().expect("a transaction");
        write
            .execute_batch(
                "CREATE TABLE runs (run_id TEXT, name TEXT, state TEXT, user TEXT, created_at TEXT, updated_at TEXT,
                     tags TEXT, config_json TEXT, summary_json TEXT, _synced_at TEXT DEFAULT '2025-06-15T15:06:40.000000Z');
                 CREATE TABLE metrics (run_id TEXT, step INTEGER, metric_name TEXT, metric_value REAL, timestamp TEXT,
                     _synced_at TEXT DEFAULT '2025-06-15T15:06:40.000000Z');
                 CREATE TABLE metric_objects (run_id TEXT, step INTEGER, metric_name TEXT, value_json TEXT,
                     timestamp TEXT, _synced_at TEXT DEFAULT '2025-06-15T15:06:40.000000Z');",
            )
            .expect("tables");
        for ((table, _), row) in &self.rows {
            let names: Vec<_> = members(row).iter().map(|(name, _)| format!("\"{name}\"")).collect();
            let cells = members(row).iter().map(|(name, value)| match (name.as_str(), value) {
                (_, Json::Null) => None,
                ("metric_value", Json::String(text)) if text == "NaN" => None,
                ("metric_value", Json::String(text)) => Some(text.replace("Infinity", "9e999")),
                (_, Json::String(text)) => Some(text.clone()),
                (_, other) => Some(other.to_string()),
            });
            let places = vec!["?"; names.len()].join(", ");
            let insert = format!("INSERT INTO {table} ({}) VALUES ({places})", names.join(", "));
            write.execute(&insert, params_from_iter(cells)).expect("a row");
        }
        write.commit().expect("a commit");
    }
}

fn text(json: &Json) -> String {
    json.as_str().map(|it| it.to_string()).unwrap_or_default()
}

fn list(json: &Json) -> &[Json] {
    if let Json::Array(items) = json { items } else { &[] }
}

fn members(json: &Json) -> &[(String, Json)] {
    if let Json::Object(members) = json { members } else { &[] }
}

fn follow(host: fn(&Path, &Value) -> Command, dialect: Dialect, api: &str) {
    let (server, folder) = (server(), TempDir::new().expect("a temporary folder"));
    let component = command_file();
    let config = json!({
        "api_key": server.api_key(), "entity": "acme", "project": "demo", "base_url": server.base_url(), "api": api,
    });
    let (mut printed, mut consumer) = (String::new(), Consumer::default());
    for round in 0..2 {
        let output = run(host(&component, &config), &printed);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        printed += &String::from_utf8_lossy(&output.stdout);
        let lines = lines(&output);
        lines.iter().for_each(|line| consumer.take(Json::parse(line).unwrap_or_else(|_| panic!("{line} is no JSON"))));
        let summary: Value = serde_json::from_str(lines.last().expect("a summary")).expect("JSON");
        let summary = &summary["summary"];
        assert_eq!(summary["unchanged"].as_u64() > Some(30), round == 1, "the state was read: {summary}");
        let file = folder.path().join(format!("{round}.db"));
        consumer.write(&file);
        let differences =
            compare_sqlite(file, &server.truth(dialect, "acme", "demo")).expect("the database is legible");
        assert_eq!(differences.first().map(ToString::to_string), None, "the first of {}", differences.len());
        let of = ("acme".to_owned(), "demo".to_owned(), "many-rows".to_owned());
        let rows = vec![r#"{"_step": 11, "_timestamp": 1750000000.25, "loss": 0.5}"#.to_owned()];
        server.mutate(&Mutation::Rewind { entity: of.0, project: of.1, run: of.2, step: 10, rows }).expect("a run");
    }
}

#[test]
fn the_wasmtime_command_line_runs_it_through_graphql() {
    follow(wasmtime, Dialect::Graphql, "graphql");
}

#[test]
fn the_wasmtime_command_line_runs_it_through_rest() {
    follow(wasmtime, Dialect::Rest, "rest");
}

#[test]
fn node_runs_it() {
    follow(node, Dialect::Graphql, "graphql");
}

#[test]
fn what_goes_wrong_is_one_line_and_an_exit_code() {
    let (server, component) = (server(), command_file());
    let config = json!({"api_key": "wrong", "entity": "acme", "project": "demo", "base_url": server.base_url()});
    for (host, config) in [(wasmtime as fn(&Path, &Value) -> Command, &config), (node, &config), (wasmtime, &json!({}))]
    {
        let output = run(host(&component, config), "");
        assert!(!output.status.success());
        let problem = String::from_utf8_lossy(&output.stderr);
        let error = problem.lines().find_map(|line| serde_json::from_str::<Value>(line).ok()?.get("error").cloned());
        let kind = if config["api_key"].is_null() { "configuration" } else { "authentication" };
        assert_eq!(error.map(|error| error["kind"].clone()), Some(json!(kind)), "{problem}");
        assert!(lines(&output).iter().all(|line| line.starts_with(r#"{"begin":"#)), "no row, no checkpoint");
    }
}
