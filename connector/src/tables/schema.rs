//! What a table is: its schema, and where its rows come from.

use crate::batch::{Batch, Column, Values};
use crate::records::row::History;
use crate::records::run_row::RunRow;

/// One of the tables.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// The name in the destination.
    pub name: &'static str,
    /// The columns in their order: name, type, whether it may be null.
    pub columns: &'static [(&'static str, DataType, bool)],
    /// The primary key. It begins with the run's id, by which all rows of a run can be deleted.
    pub primary_key: &'static [&'static str],
    /// Where its rows come from.
    pub rows: Rows,
}

/// Where the rows of a table come from.
#[derive(Debug, Clone, Copy)]
pub enum Rows {
    /// From a run's own fields.
    Fields(fn(&RunRow) -> Batch),
    /// From a run's history: takes out what has gathered of the run with this id, if anything has.
    History(fn(&mut History, &str) -> Option<Batch>),
    /// From deletions: the ids of runs that W&B no longer has, and when that was noticed, in microseconds since the epoch.
    Deletions(fn(Vec<String>, Vec<Option<i64>>) -> Batch),
}

/// What a column holds; the kinds of `wit/types.wit` that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    /// A signed 64-bit integer.
    Integer,
    /// An IEEE 754 double.
    Double,
    /// Unicode text.
    Text,
    /// A JSON document.
    Json,
    /// Microseconds since the epoch, UTC.
    Timestamp,
}

impl Table {
    /// Whether its rows come from histories.
    pub fn holds_history(&self) -> bool {
        matches!(self.rows, Rows::History(_))
    }

    /// The table as a row source of deletions; none for all others.
    pub fn marks(&self, ids: Vec<String>, noticed: Vec<Option<i64>>) -> Option<Batch> {
        match self.rows {
            Rows::Deletions(rows) => Some(rows(ids, noticed)),
            Rows::Fields(_) | Rows::History(_) => None,
        }
    }
}

/// A table is its name.
impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Table {}

/// The keys by which all rows of some runs are deleted from any of the tables.
pub fn keys_of_runs(ids: impl IntoIterator<Item = String>) -> Batch {
    Batch { columns: vec![Column::new(RUN_ID, Values::Texts(ids.into_iter().collect()))] }
}

/// The first key column of every table.
pub(super) const RUN_ID: &str = "run_id";
