//! A destination that believes nothing: every batch is checked against the tables that the connector declares.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use serde::de::IgnoredAny;
use wandb_connector::batch::{Batch, Column, Values};
use wandb_connector::destination::{Destination, Level, StatePatch};
use wandb_connector::error::Error;
use wandb_connector::sync::state::State;
use wandb_connector::tables::{DataType, TABLES, Table};

use crate::server::API_KEY;

/// The years 1 to 9999.
pub const TIMESTAMPS: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

/// What the texts of one batch may take, from answers that are short: little of a guest's memory.
const MOST_TEXT_BYTES: usize = 34 << 20;

/// What was received.
#[derive(Debug, Default)]
pub struct Sink {
    state: RefCell<State>,
    rows: Cell<usize>,
    deletions: Cell<usize>,
}

impl Sink {
    /// With the state that earlier syncs left.
    pub fn with_state(state: State) -> Self {
        Self { state: RefCell::new(state), ..Self::default() }
    }

    /// The state as the checkpoints made it.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// How many rows came.
    pub fn rows(&self) -> usize {
        self.rows.get()
    }

    /// How many deletions came.
    pub fn deletions(&self) -> usize {
        self.deletions.get()
    }
}

impl Destination for Sink {
    fn upsert(&self, table: &'static str, rows: Batch) -> Result<(), Error> {
        check(table, &rows);
        assert!(text_bytes(&rows) <= MOST_TEXT_BYTES, "{} bytes of text", text_bytes(&rows));
        self.rows.set(self.rows.get() + rows.rows());
        Ok(())
    }

    fn delete(&self, table: &'static str, keys: Batch) -> Result<(), Error> {
        let table = table_of(table);
        let names: Vec<&str> = keys.columns.iter().map(|column| column.name).collect();
        assert!(!names.is_empty() && table.primary_key.starts_with(&names), "{names:?} is no part of a key");
        for column in &keys.columns {
            assert_eq!((column.values.len(), column.nulls.len()), (keys.rows(), 0));
        }
        self.deletions.set(self.deletions.get() + keys.rows());
        Ok(())
    }

    fn checkpoint(&self, patch: StatePatch) -> Result<(), Error> {
        let mut state = self.state.borrow_mut();
        for (key, value) in patch {
            assert!(!key.contains(API_KEY) && !value.as_ref().is_some_and(|value| value.contains(API_KEY)));
            match value {
                Some(value) => state.insert(key, value),
                None => state.remove(&key),
            };
        }
        Ok(())
    }

    fn log(&self, _level: Level, message: &str) {
        assert!(!message.contains(API_KEY), "{message}");
    }

    fn progress(&self, _what: &str, _done: u64, _total: Option<u64>) {}

    fn throttled(&self, _wait: Duration) {}
}

fn table_of(name: &str) -> &'static Table {
    TABLES.into_iter().find(|table| table.name == name).unwrap_or_else(|| panic!("there is no table {name}"))
}

/// A batch is one that every host takes: all columns of the table in their order, of their types and of one length; nulls
/// ascending, within the batch and only where they may be; JSON that is JSON; timestamps that are dates.
pub fn check(table: &str, batch: &Batch) {
    let declared = table_of(table).columns;
    assert_eq!(declared.len(), batch.columns.len());
    for ((name, data_type, nullable), column) in declared.iter().zip(&batch.columns) {
        assert_eq!(*name, column.name);
        assert_eq!(column.values.len(), batch.rows(), "the columns of {table} differ in length");
        assert!(column.nulls.is_sorted_by(|a, b| a < b), "{table}.{name}: {:?}", column.nulls);
        assert!(column.nulls.last().is_none_or(|last| (*last as usize) < batch.rows()));
        assert!(column.nulls.is_empty() || *nullable, "{table}.{name} can't be null");
        check_values(*data_type, column);
    }
}

fn check_values(data_type: DataType, column: &Column) {
    let is_null = |row: usize| column.nulls.binary_search(&(row as u32)).is_ok();
    match (data_type, &column.values) {
        (DataType::Integer, Values::Integers(_)) | (DataType::Double, Values::Doubles(_)) => {}
        (DataType::Text, Values::Texts(_)) => {}
        (DataType::Text, Values::Dictionary { keys, values }) => {
            assert!(keys.iter().all(|key| (*key as usize) < values.len()));
        }
        (DataType::Json, Values::Jsons(values)) => {
            for (_, text) in values.iter().enumerate().filter(|(row, _)| !is_null(*row)) {
                serde_json::from_str::<IgnoredAny>(text).unwrap_or_else(|why| panic!("{}: {why}: {text}", column.name));
            }
        }
        (DataType::Timestamp, Values::Timestamps(values)) => {
            let mut times = values.iter().enumerate().filter(|(row, _)| !is_null(*row));
            assert!(times.all(|(_, time)| TIMESTAMPS.contains(time)));
        }
        (data_type, values) => panic!("{}: {data_type:?}, not {values:?}", column.name),
    }
}

/// The bytes of all texts, each text of a dictionary once.
pub fn text_bytes(batch: &Batch) -> usize {
    let texts = |texts: &[String]| texts.iter().map(String::len).sum::<usize>();
    let bytes = |column: &Column| match &column.values {
        Values::Texts(values) | Values::Jsons(values) | Values::Dictionary { values, .. } => texts(values),
        Values::Integers(_) | Values::Doubles(_) | Values::Timestamps(_) => 0,
    };
    batch.columns.iter().map(bytes).sum()
}
