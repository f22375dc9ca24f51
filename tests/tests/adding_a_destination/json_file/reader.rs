//! A JSON file that is only read.

use std::path::Path;

use elt_destinations::reader::{Encoding, Reader, RowSink, StoredValue, exact};
use elt_host::destination::lock::SyncLock;
use elt_host::{DestinationError, LostTable, State, Table};
use elt_support::paths::sibling;

use super::contents::{Contents, Held};

/// The file, while no sync can change it.
pub(super) struct JsonReader {
    contents: Contents,
    _lock: Option<SyncLock>,
}

impl JsonReader {
    /// Opens the file, which must exist.
    pub(super) fn open(path: &Path) -> Result<Self, DestinationError> {
        let name = format!("json:{}", path.display());
        let refused = |why: &dyn std::fmt::Display| DestinationError::Refused(format!("{name} can't be read: {why}"));
        if !path.exists() {
            return Err(refused(&"there is no such file. Run a sync first."));
        }
        let lock = SyncLock::acquire_for_reading(sibling(path, "-sync"), &name)?;
        let contents = Contents::load(path).map_err(|why| refused(&why))?.unwrap_or_default();
        Ok(Self { contents, _lock: lock })
    }
}

fn stored(value: Option<&Held>) -> StoredValue<'_> {
    match value {
        None => StoredValue::Null,
        Some(Held::Integer(value)) => StoredValue::Integer(*value),
        Some(Held::Double(value)) => value.parse().map_or(StoredValue::Blob(value.as_bytes()), StoredValue::Double),
        Some(Held::Text(value)) => StoredValue::Text(value.as_bytes()),
    }
}

impl Reader for JsonReader {
    fn state(&self) -> Result<State, DestinationError> {
        Ok(self.contents.state.clone())
    }

    fn lost_tables(&self, tables: &[Table]) -> Result<Vec<LostTable>, DestinationError> {
        Ok(self.contents.lost(tables))
    }

    fn encoding(&self) -> Encoding {
        exact
    }

    fn scan(&self, table: &Table, sink: &mut dyn RowSink) -> Result<(), DestinationError> {
        for row in self.contents.rows(table) {
            let row: Vec<StoredValue<'_>> = row.into_iter().map(stored).collect();
            sink.in_order(&row)?;
        }
        Ok(())
    }

    /// What is held in memory stays as it is.
    fn check_unchanged(&self) -> Result<(), DestinationError> {
        Ok(())
    }
}
