//! A destination in memory that keeps the contract to the letter: a group counts when its checkpoint comes, and not before.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use wandb_connector::batch::{Batch, Values};
use wandb_connector::destination::{Destination, Level, StatePatch};
use wandb_connector::error::Error;
use wandb_connector::schema::{TABLES, TableName};
use wandb_connector::state::State;

/// A row: a text for each column, as JSON would show it; none for null.
pub type Row = Vec<Option<String>>;

/// A log line as it came.
pub type LogLine = (Level, String);

/// What was stored: by table and primary key, and the state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    checkpoints: u64,
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

    /// Replaces the state.
    pub fn set_state(&self, state: State) {
        self.0.borrow_mut().stored.state = state;
    }

    /// The log lines so far.
    pub fn log_lines(&self) -> Vec<LogLine> {
        self.0.borrow().log.clone()
    }

    /// Forgets the log lines.
    pub fn clear_log(&self) {
        self.0.borrow_mut().log.clear();
    }

    /// How many checkpoints came.
    pub fn checkpoints(&self) -> u64 {
        self.0.borrow().checkpoints
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
                        rows.insert(key(&batch, row, width), batch.columns.iter().map(|column| cell(column, row)).collect());
                    }
                }
                Change::Delete(table, keys) => {
                    let rows = self.stored.tables.entry(table).or_default();
                    for row in 0..keys.rows() {
                        let prefix = key(&keys, row, keys.columns.len());
                        rows.retain(|key, _| !key.starts_with(&prefix));
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
    let known: Option<TableName> = TABLES.into_iter().find(|known| known.as_str() == table);
    known.map_or(0, |known| known.primary_key().len())
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

fn cell(column: &wandb_connector::batch::Column, row: usize) -> Option<String> {
    if column.nulls.binary_search(&(row as u32)).is_ok() {
        return None;
    }
    Some(match &column.values {
        Values::Integers(values) | Values::Timestamps(values) => values[row].to_string(),
        Values::Doubles(values) => format!("{:?}", values[row]),
        Values::Texts(values) | Values::Jsons(values) => values[row].clone(),
        Values::Dictionary { keys, values } => values[keys[row] as usize].clone(),
    })
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
        inner.checkpoints += 1;
        inner.apply(patch);
        Ok(())
    }

    fn log(&self, level: Level, message: &str) {
        self.0.borrow_mut().log.push((level, message.to_owned()));
    }

    fn progress(&self, _what: &str, _done: u64, _total: Option<u64>) {}

    fn throttled(&self, _wait: Duration) {}
}
