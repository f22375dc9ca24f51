//! The host's `destination`, `log` and `progress` as a [`Destination`].

use std::time::Duration;

use crate::batch::Batch;
use crate::destination::{Destination, Level, StatePatch};
use crate::error::Error;

use super::bindings::elt::connector::{destination, log, progress};

/// The imports; there is only one host.
#[derive(Debug)]
pub(super) struct HostDestination;

impl Destination for HostDestination {
    fn upsert(&self, table: &'static str, rows: Batch) -> Result<(), Error> {
        Ok(destination::upsert(table, &rows.into())?)
    }

    fn delete(&self, table: &'static str, keys: Batch) -> Result<(), Error> {
        Ok(destination::delete(table, &keys.into())?)
    }

    fn checkpoint(&self, patch: StatePatch) -> Result<(), Error> {
        Ok(destination::checkpoint(&patch)?)
    }

    fn log(&self, level: Level, message: &str) {
        let level = match level {
            Level::Debug => log::Level::Debug,
            Level::Info => log::Level::Info,
            Level::Warning => log::Level::Warning,
            Level::Severe => log::Level::Severe,
        };
        log::write(level, message);
    }

    fn progress(&self, what: &str, done: u64, total: Option<u64>) {
        progress::report(what, done, total);
    }

    fn throttled(&self, wait: Duration) {
        progress::throttled(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    }
}
