//! Where rows, checkpoints and words for people go: the connector's side of `wit/destination.wit`, `log.wit` and `progress.wit`.

use std::time::Duration;

use crate::batch::Batch;
use crate::error::Error;

/// One change to the state: set where there is a value, remove where there is none.
pub type StatePatch = Vec<(String, Option<String>)>;

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For developers.
    Debug,
    /// The ordinary course.
    Info,
    /// Dealt with.
    Warning,
    /// Data could not be synced.
    Severe,
}

/// Receives what the connector reads. Calls take effect in order; everything between two checkpoints is stored together or not
/// at all.
pub trait Destination {
    /// Inserts rows or replaces those of the same primary key.
    fn upsert(&self, table: &'static str, rows: Batch) -> Result<(), Error>;

    /// Deletes the rows whose leading key columns equal a row of `keys`.
    fn delete(&self, table: &'static str, keys: Batch) -> Result<(), Error>;

    /// Ends a group of changes and patches the state with it.
    fn checkpoint(&self, patch: StatePatch) -> Result<(), Error>;

    /// One line for people.
    fn log(&self, level: Level, message: &str);

    /// `done` of `total` units of `what`.
    fn progress(&self, what: &str, done: u64, total: Option<u64>);

    /// Says that requests wait for the source's rate limit.
    fn throttled(&self, wait: Duration);
}
