//! Whether a host serves the contract right: what it saw of the conformance component (`tests/conformance`), compared with what it
//! must have seen.
//!
//! A host's program runs the component against the kit's server ([`start_server`]) and records, as JSON, what the component offers and, for each
//! act, the calls and the result:
//!
//! ```json
//! {"spec": {}, "check": "…", "schema": [], "syncs": [{"act": "…", "calls": [], "result": {"ok": {}}}]}
//! ```
//!
//! Calls are `["upsert", table, {column: [cell, …]}]`, `["delete", table, {…}]`, `["checkpoint", [[key, value or null], …]]`,
//! `["log", level, message]`, `["progress", what, done, total or null]` and `["throttled", milliseconds]`. Cells are null, booleans
//! or texts; numbers are written as texts. An error is `{"error": [case, payload]}`. The acts run one after the other into one
//! destination, each with the state that the ones before it left.

mod record;
mod server;

use std::path::PathBuf;

use rusqlite::Connection;
use rusqlite::types::Value as Cell;
use serde_json::Value;

pub use server::start_server;

/// What a right host sees, act by act, and has stored at the end.
pub fn expected() -> Value {
    serde_json::from_str(include_str!("../../conformance/expected.json")).unwrap_or_default()
}

/// The acts, in their order.
pub fn acts() -> Vec<String> {
    let expected = expected();
    let syncs = expected["syncs"].as_array().into_iter().flatten();
    syncs.filter_map(|sync| sync["act"].as_str().map(str::to_owned)).collect()
}

/// The built component.
pub fn component_file() -> PathBuf {
    crate::product::target_dir().join("wasm32-unknown-unknown/component/conformance.wasm")
}

/// Everything in which a record is not what it must be. What a record leaves out altogether of `spec`, `check` and `schema` is
/// not compared.
pub fn differences(recorded: &Value) -> Vec<String> {
    let expected = record::normal(&expected());
    let recorded = record::without_host_lines(record::normal(recorded), &expected);
    let mut found = Vec::new();
    for part in ["spec", "check", "schema"] {
        if !recorded[part].is_null() {
            compare(part, &expected[part], &recorded[part], &mut found);
        }
    }
    compare("syncs", &expected["syncs"], &recorded["syncs"], &mut found);
    found
}

/// Everything in which a SQLite database is not what the acts leave behind.
///
/// # Errors
/// The database can't be read.
pub fn stored_differences(database: &Connection) -> rusqlite::Result<Vec<String>> {
    let expected = &expected()["stored"];
    let mut found = Vec::new();
    for (table, rows) in expected.as_object().into_iter().flatten() {
        let mut statement = database.prepare(&format!("SELECT * FROM \"{table}\" ORDER BY 1, 2"))?;
        let all = 0..statement.column_count();
        let columns: Vec<_> = all.filter(|&index| statement.column_name(index) != Ok("_synced_at")).collect();
        let read = statement.query_map([], |row| columns.iter().map(|&index| row.get(index).map(json)).collect())?;
        let read = Value::Array(read.collect::<rusqlite::Result<_>>()?);
        compare(table, rows, &read, &mut found);
    }
    Ok(found)
}

fn json(cell: Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Integer(it) => Value::from(it.to_string()),
        Cell::Real(it) => Value::from(format!("{it:?}")),
        Cell::Text(it) => Value::from(it),
        Cell::Blob(it) => Value::from(it),
    }
}

/// Says where two values differ, as deep as can be.
fn compare(path: &str, expected: &Value, found: &Value, differences: &mut Vec<String>) {
    match (expected, found) {
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let pairs = one.iter().zip(other).enumerate();
            pairs.for_each(|(index, (one, other))| compare(&format!("{path}[{index}]"), one, other, differences));
        }
        (Value::Object(one), Value::Object(other))
            if one.len() == other.len() && one.keys().all(|key| other.contains_key(key)) =>
        {
            one.iter().for_each(|(key, one)| compare(&format!("{path}.{key}"), one, &other[key], differences));
        }
        _ if expected != found => differences.push(format!("{path}: expected {expected}, found {found}")),
        _ => {}
    }
}
