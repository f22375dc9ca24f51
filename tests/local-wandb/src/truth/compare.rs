//! Comparing a SQLite destination with the ground truth.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use chrono::{DateTime, Utc};
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};

use super::{MetricKey, Truth, TruthTime};
use crate::json::Json;

/// A place where the destination is not what it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The table.
    pub table: &'static str,
    /// The row's primary key.
    pub key: String,
    /// The column, or `row` for a whole one that is missing or too many.
    pub column: &'static str,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { table, key, column, expected, found } = self;
        write!(f, "{table}[{key}].{column}: expected {expected}, found {found}")
    }
}

/// Every difference between a SQLite destination and the truth; none means that it is right.
///
/// # Errors
/// The file cannot be read, or lacks a table or column.
pub fn compare_sqlite(path: impl AsRef<Path>, truth: &Truth) -> rusqlite::Result<Vec<Difference>> {
    compare(&Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?, truth)
}

/// Every difference between the tables of an open database and the truth.
///
/// # Errors
/// A table or column is missing.
pub fn compare(database: &Connection, truth: &Truth) -> rusqlite::Result<Vec<Difference>> {
    let mut found = Vec::new();
    compare_runs(database, truth, &mut found)?;
    compare_metrics(database, truth, &mut found)?;
    compare_objects(database, truth, &mut found)?;
    Ok(found)
}

/// A column's expectation, and how to see whether a value meets it.
enum Expected {
    Text(String),
    Null,
    Double(f64),
    Json(Json),
    Time(i64, i64),
    /// Any time.
    SyncedAt,
}

impl Expected {
    fn text(it: Option<&String>) -> Self {
        it.map_or(Expected::Null, |it| Expected::Text(it.clone()))
    }

    fn json(it: Option<&Json>) -> Self {
        it.map_or(Expected::Null, |it| Expected::Json(it.clone()))
    }

    fn time(it: Option<i64>) -> Self {
        it.map_or(Expected::Null, |it| Expected::Time(it, it))
    }

    fn stamp(it: Option<TruthTime>) -> Self {
        it.map_or(Expected::Null, |it| Expected::Time(it.from, it.to))
    }

    fn double(it: f64) -> Self {
        if it.is_nan() { Expected::Null } else { Expected::Double(it) }
    }

    fn met_by(&self, value: &Value) -> bool {
        match (self, value) {
            (Expected::Text(expected), Value::Text(found)) => expected == found,
            (Expected::Null, Value::Null) => true,
            (Expected::Double(expected), Value::Real(found)) => expected == found,
            (Expected::Json(expected), Value::Text(found)) => {
                // Bare non-finite numbers are not JSON, so a destination must not hold them.
                Json::parse(found).is_ok_and(|found| !has_bare(&found) && found.canonical() == *expected)
            }
            (Expected::Time(from, to), Value::Text(found)) => (*from..=*to).any(|at| time(at) == *found),
            (Expected::SyncedAt, Value::Text(found)) => found.len() == "2025-06-15T15:06:40.000000Z".len(),
            _ => false,
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expected::Text(it) => write!(f, "{it:?}"),
            Expected::Null => f.write_str("NULL"),
            Expected::Double(it) => write!(f, "{it:?}"),
            Expected::Json(it) => write!(f, "JSON {it}"),
            Expected::Time(from, _) => f.write_str(&time(*from)),
            Expected::SyncedAt => f.write_str("a time"),
        }
    }
}

fn has_bare(json: &Json) -> bool {
    match json {
        Json::NonFinite(_) => true,
        Json::Array(items) => items.iter().any(has_bare),
        Json::Object(members) => members.iter().any(|(_, value)| has_bare(value)),
        _ => false,
    }
}

/// Microseconds since the epoch as the destination spells them.
pub(super) fn time(at: i64) -> String {
    DateTime::<Utc>::from_timestamp_micros(at)
        .map(|time| time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
        .unwrap_or_default()
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(it) => format!("integer {it}"),
        Value::Real(it) => format!("{it:?}"),
        Value::Text(it) => format!("{it:?}"),
        Value::Blob(it) => format!("blob of {} bytes", it.len()),
    }
}

/// Compares one table's rows by key.
struct Table<'a, K> {
    name: &'static str,
    columns: &'a [&'static str],
    rows: BTreeMap<K, Vec<Value>>,
}

impl<K: Ord + fmt::Debug> Table<'_, K> {
    fn compare(mut self, expected: impl IntoIterator<Item = (K, Vec<Expected>)>, found: &mut Vec<Difference>) {
        let row = |key: &K, expected: &str, found: &str| Difference {
            table: self.name,
            key: format!("{key:?}"),
            column: "row",
            expected: expected.to_owned(),
            found: found.to_owned(),
        };
        for (key, expected) in expected {
            let Some(values) = self.rows.remove(&key) else {
                found.push(row(&key, "a row", "none"));
                continue;
            };
            for ((column, expected), value) in self.columns.iter().zip(&expected).zip(&values) {
                if !expected.met_by(value) {
                    let (expected, value) = (expected.to_string(), shown(value));
                    found.push(Difference { column, ..row(&key, &expected, &value) });
                }
            }
        }
        for key in self.rows.keys() {
            found.push(row(key, "none", "a row"));
        }
    }
}

fn compare_runs(database: &Connection, truth: &Truth, found: &mut Vec<Difference>) -> rusqlite::Result<()> {
    let columns =
        ["name", "state", "user", "created_at", "updated_at", "tags", "config_json", "summary_json", "_synced_at"];
    let sql = format!("SELECT run_id, \"{}\" FROM runs", columns.join("\", \""));
    let mut statement = database.prepare(&sql)?;
    let rows = statement.query_map([], |row| {
        let values = (1..=columns.len()).map(|i| row.get(i)).collect::<rusqlite::Result<_>>()?;
        Ok((row.get::<_, String>(0)?, values))
    })?;
    let rows = rows.collect::<rusqlite::Result<BTreeMap<String, Vec<Value>>>>()?;
    let expected = truth.runs.iter().map(|(id, run)| {
        let values = vec![
            Expected::Text(run.name.clone()),
            Expected::Text(run.state.clone()),
            Expected::text(run.user.as_ref()),
            Expected::time(Some(run.created_at)),
            Expected::time(run.updated_at),
            Expected::json(run.tags.as_ref()),
            Expected::json(run.config.as_ref()),
            Expected::json(run.summary.as_ref()),
            Expected::SyncedAt,
        ];
        (id.clone(), values)
    });
    Table { name: "runs", columns: &columns, rows }.compare(expected, found);
    Ok(())
}

fn metric_rows(database: &Connection, table: &str, value: &str) -> rusqlite::Result<BTreeMap<MetricKey, Vec<Value>>> {
    let sql = format!("SELECT run_id, step, metric_name, \"{value}\", timestamp, _synced_at FROM {table}");
    let mut statement = database.prepare(&sql)?;
    let rows = statement.query_map([], |row| {
        let key = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok((key, vec![row.get(3)?, row.get(4)?, row.get(5)?]))
    })?;
    rows.collect()
}

fn compare_metrics(database: &Connection, truth: &Truth, found: &mut Vec<Difference>) -> rusqlite::Result<()> {
    let rows = metric_rows(database, "metrics", "metric_value")?;
    let expected = truth.metrics.iter().map(|(key, row)| {
        (key.clone(), vec![Expected::double(row.value), Expected::stamp(row.timestamp), Expected::SyncedAt])
    });
    let columns = ["metric_value", "timestamp", "_synced_at"];
    Table { name: "metrics", columns: &columns, rows }.compare(expected, found);
    Ok(())
}

fn compare_objects(database: &Connection, truth: &Truth, found: &mut Vec<Difference>) -> rusqlite::Result<()> {
    let rows = metric_rows(database, "metric_objects", "value_json")?;
    let expected = truth.objects.iter().map(|(key, row)| {
        (key.clone(), vec![Expected::Json(row.value.clone()), Expected::stamp(row.timestamp), Expected::SyncedAt])
    });
    let columns = ["value_json", "timestamp", "_synced_at"];
    Table { name: "metric_objects", columns: &columns, rows }.compare(expected, found);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::awkward::awkward;
    use crate::truth::Dialect;
    use std::sync::Arc;

    /// A destination as a right sync leaves it.
    fn written(truth: &Truth) -> Connection {
        let database = Connection::open_in_memory().expect("memory");
        database
            .execute_batch(
                "CREATE TABLE runs (run_id TEXT PRIMARY KEY, name TEXT, state TEXT, user TEXT, created_at TEXT,
                     updated_at TEXT, tags TEXT, config_json TEXT, summary_json TEXT, _synced_at TEXT) WITHOUT ROWID;
                 CREATE TABLE metrics (run_id TEXT, step INTEGER, metric_name TEXT, metric_value REAL, timestamp TEXT,
                     _synced_at TEXT, PRIMARY KEY (run_id, step, metric_name)) WITHOUT ROWID;
                 CREATE TABLE metric_objects (run_id TEXT, step INTEGER, metric_name TEXT, value_json TEXT,
                     timestamp TEXT, _synced_at TEXT, PRIMARY KEY (run_id, step, metric_name)) WITHOUT ROWID;",
            )
            .expect("tables");
        let now = time(0);
        let json = |it: &Option<Json>| it.as_ref().map(ToString::to_string);
        for (id, run) in &truth.runs {
            let values = rusqlite::params![
                id,
                run.name,
                run.state,
                run.user,
                time(run.created_at),
                run.updated_at.map(time),
                json(&run.tags),
                json(&run.config),
                json(&run.summary),
                now
            ];
            database.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values).expect("a run");
        }
        for (key, row) in &truth.metrics {
            let stamp = row.timestamp.map(|it| time(it.from));
            let value = Some(row.value).filter(|it| !it.is_nan());
            let values = rusqlite::params![key.0, key.1, key.2, value, stamp, now];
            database.execute("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", values).expect("a metric");
        }
        for (key, row) in &truth.objects {
            let stamp = row.timestamp.map(|it| time(it.to));
            let values = rusqlite::params![key.0, key.1, key.2, row.value.to_string(), stamp, now];
            database.execute("INSERT INTO metric_objects VALUES (?, ?, ?, ?, ?, ?)", values).expect("an object");
        }
        database
    }

    fn differences(database: &Connection, truth: &Truth) -> Vec<String> {
        let mut found = Vec::new();
        compare_runs(database, truth, &mut found).expect("runs");
        compare_metrics(database, truth, &mut found).expect("metrics");
        compare_objects(database, truth, &mut found).expect("objects");
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_right_destination_has_no_differences_and_each_wrong_value_is_one() {
        let project = awkward();
        let truth = Truth::of(Dialect::Graphql, project.runs.iter().map(Arc::as_ref));
        let database = written(&truth);
        assert_eq!(differences(&database, &truth), [""; 0]);

        for wrong in [
            "UPDATE metrics SET metric_value = 0.25 WHERE run_id = 'sparse' AND step = 1000",
            "UPDATE metrics SET metric_value = 0 WHERE run_id = 'nonfinite' AND step = 0 AND metric_name = 'bare'",
            "UPDATE metrics SET timestamp = '2025-06-15T15:06:40Z' WHERE run_id = 'state-failed'",
            "UPDATE runs SET config_json = replace(config_json, '1e400', '1e308') WHERE run_id = 'digits'",
            "UPDATE runs SET updated_at = NULL WHERE run_id = 'tie-1'",
            "UPDATE metric_objects SET value_json = 'NaN' WHERE run_id = 'types' AND metric_name = 's'",
            "UPDATE runs SET _synced_at = NULL WHERE run_id = 'tie-1'",
            "DELETE FROM runs WHERE run_id = 'a/b c'",
            "INSERT INTO metrics VALUES ('sparse', 5, 'ghost', 1.0, NULL, '1970-01-01T00:00:00.000000Z')",
        ] {
            let changed = database.unchecked_transaction().expect("a transaction");
            assert_eq!(changed.execute(wrong, []).expect("a change"), 1, "{wrong}");
            assert_eq!(differences(&changed, &truth).len(), 1, "{wrong}");
            changed.rollback().expect("a rollback");
        }
    }
}
