//! What the command prints, stored as a consumer of it does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params_from_iter};
use wandb_connector_tests::local_wandb::json::Json;

/// The lines of a file as a database that can be compared with the truth: a new one in `folder`.
pub(crate) fn stored(lines: &Path, folder: &Path) -> PathBuf {
    let mut consumer = Consumer::default();
    for line in std::fs::read_to_string(lines).expect("text").lines() {
        consumer.take(Json::parse(line).unwrap_or_else(|_| panic!("{line} is no JSON")));
    }
    let database = folder.join("lines.db");
    if database.exists() {
        std::fs::remove_file(&database).expect("it is replaced");
    }
    consumer.write(&database);
    database
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
