//! A destination in memory that keeps the contract to the letter: a group counts when its checkpoint comes, and not before.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use chrono::DateTime;
use rusqlite::Connection;
use rusqlite::types::Value;
use wandb_connector::batch::{Batch, Column, Values};
use wandb_connector::destination::{Destination, Level, StatePatch};
use wandb_connector::error::Error;
use wandb_connector::sync::state::State;
use wandb_connector::tables::{MARKS, TABLES};

/// A row's values as SQLite would hold them, in the order of the table's columns.
pub type Row = Vec<Value>;

/// A log line as it came.
pub type LogLine = (Level, String);

/// What was stored: by table and primary key, and the state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stored {
    /// Rows by table and key. Integers in a key are ordered as integers.
    pub tables: BTreeMap<&'static str, BTreeMap<Vec<Key>, Row>>,
    /// The state.
    pub state: State,
}

/// A part of a primary key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A step.
    Integer(i64),
    /// A run's id or a metric's name.
    Text(String),
}

enum Change {
    Upsert(&'static str, Batch),
    Delete(&'static str, Batch),
}

#[derive(Default)]
struct Inner {
    stored: Stored,
    group: Vec<Change>,
    log: Vec<LogLine>,
    /// When none is left, the destination fails: as a crash at that call would look to what is stored.
    calls_left: Option<u64>,
}

/// The destination.
#[derive(Default)]
pub struct Memory(RefCell<Inner>);

impl Memory {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is stored now.
    pub fn stored(&self) -> Stored {
        self.0.borrow().stored.clone()
    }

    /// The log lines so far.
    pub fn log_lines(&self) -> Vec<LogLine> {
        self.0.borrow().log.clone()
    }

    /// Fails every call after the next `calls`; none: never.
    pub fn fail_after(&self, calls: Option<u64>) {
        self.0.borrow_mut().calls_left = calls;
    }

    /// The sync has returned: a last group without a checkpoint counts after success only.
    pub fn end(&self, ok: bool) {
        let mut inner = self.0.borrow_mut();
        if ok {
            inner.apply(Vec::new());
        }
        inner.group.clear();
    }
}

impl Inner {
    fn call(&mut self) -> Result<(), Error> {
        match &mut self.calls_left {
            Some(0) => Err(Error::Destination("the destination was told to fail".to_owned())),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn apply(&mut self, patch: StatePatch) {
        for change in std::mem::take(&mut self.group) {
            match change {
                Change::Upsert(table, batch) => {
                    let rows = self.stored.tables.entry(table).or_default();
                    let width = key_width(table);
                    for row in 0..batch.rows() {
                        rows.insert(
                            key(&batch, row, width),
                            batch.columns.iter().map(|column| cell(column, row)).collect(),
                        );
                    }
                }
                Change::Delete(table, keys) => {
                    let rows = self.stored.tables.entry(table).or_default();
                    for row in 0..keys.rows() {
                        let prefix = key(&keys, row, keys.columns.len());
                        // Keys with one prefix lie together.
                        let found = rows.range(prefix.clone()..).map(|(key, _)| key);
                        let found: Vec<_> = found.take_while(|key| key.starts_with(&prefix)).cloned().collect();
                        found.iter().for_each(|key| drop(rows.remove(key)));
                    }
                }
            }
        }
        for (key, value) in patch {
            match value {
                Some(value) => self.stored.state.insert(key, value),
                None => self.stored.state.remove(&key),
            };
        }
    }
}

fn key_width(table: &str) -> usize {
    let known = TABLES.into_iter().chain([MARKS]).find(|known| known.name == table);
    known.map_or(0, |known| known.primary_key.len())
}

fn key(batch: &Batch, row: usize, width: usize) -> Vec<Key> {
    let part = |values: &Values| match values {
        Values::Integers(values) => Key::Integer(values[row]),
        Values::Texts(values) => Key::Text(values[row].clone()),
        Values::Dictionary { keys, values } => Key::Text(values[keys[row] as usize].clone()),
        other => panic!("a key of another type: {other:?}"),
    };
    batch.columns.iter().take(width).map(|column| part(&column.values)).collect()
}

fn cell(column: &Column, row: usize) -> Value {
    if column.nulls.binary_search(&(row as u32)).is_ok() {
        return Value::Null;
    }
    match &column.values {
        Values::Integers(values) => Value::Integer(values[row]),
        Values::Timestamps(values) => Value::Text(
            DateTime::from_timestamp_micros(values[row])
                .map(|time| time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
                .unwrap_or_default(),
        ),
        // SQLite has no NaN.
        Values::Doubles(values) if values[row].is_nan() => Value::Null,
        Values::Doubles(values) => Value::Real(values[row]),
        Values::Texts(values) | Values::Jsons(values) => Value::Text(values[row].clone()),
        Values::Dictionary { keys, values } => Value::Text(values[keys[row] as usize].clone()),
    }
}

impl Stored {
    /// Writes the tables into a new SQLite file, to be compared with a truth.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn write_sqlite(&self, path: &Path) -> rusqlite::Result<()> {
        let database = Connection::open(path)?;
        database.execute_batch("BEGIN")?;
        for table in TABLES {
            let names: Vec<String> = table.columns.iter().map(|(name, ..)| format!("\"{name}\"")).collect();
            let (name, columns) = (table.name, names.join(", "));
            database.execute_batch(&format!("CREATE TABLE {name} ({columns}, _synced_at)"))?;
            let marks = vec!["?"; names.len()].join(", ");
            let sql = format!("INSERT INTO {name} VALUES ({marks}, '2025-06-15T15:06:40.000000Z')");
            let mut insert = database.prepare(&sql)?;
            for row in self.tables.get(name).into_iter().flat_map(BTreeMap::values) {
                insert.execute(rusqlite::params_from_iter(row))?;
            }
        }
        database.execute_batch("COMMIT")
    }
}

impl Destination for Memory {
    fn upsert(&self, table: &'static str, rows: Batch) -> Result<(), Error> {
        let mut inner = self.0.borrow_mut();
        inner.call()?;
        inner.group.push(Change::Upsert(table, rows));
        Ok(())
    }

    fn delete(&self, table: &'static str, keys: Batch) -> Result<(), Error> {
        let mut inner = self.0.borrow_mut();
        inner.call()?;
        inner.group.push(Change::Delete(table, keys));
        Ok(())
    }

    fn checkpoint(&self, patch: StatePatch) -> Result<(), Error> {
        let mut inner = self.0.borrow_mut();
        inner.call()?;
        inner.apply(patch);
        Ok(())
    }

    fn log(&self, level: Level, message: &str) {
        self.0.borrow_mut().log.push((level, message.to_owned()));
    }

    fn progress(&self, _what: &str, _done: u64, _total: Option<u64>) {}

    fn throttled(&self, _wait: Duration) {}
}
