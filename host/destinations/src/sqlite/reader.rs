//! A SQLite destination that is only read: its rows as they are, while no sync can change them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode};

use super::path::{lock_file, resolve};
use super::schema::quote;
use super::{schema, state};
use crate::cells::Cell;
use crate::reader::{Encoding, Reader, RowSink, StoredValue, exact};
use crate::sqlite_file::unwritten;
use crate::sqlite_file::unwritten::FileVersion;
use crate::timestamp::TimestampText;
use elt_host::destination::lock::SyncLock;
use elt_host::{DestinationError, LostTable, State, Table};

/// The open database.
pub struct SqliteReader {
    path: PathBuf,
    /// As the user wrote it.
    name: String,
    connection: Connection,
    look: Option<FileVersion>,
    // The last field: let go after the connection is closed.
    _lock: Option<SyncLock>,
}

/// As SQLite holds values: timestamps are text, booleans integers, NaN is NULL, and the sign of zero is lost.
pub fn encode<'a>(cell: Cell<'a>, text: &'a mut String) -> StoredValue<'a> {
    match cell {
        Cell::Double(value) if value.is_nan() => StoredValue::Null,
        // Adding zero turns minus zero into zero, and leaves everything else as it is.
        Cell::Double(value) => StoredValue::Double(value + 0.0),
        Cell::Timestamp(value) => {
            text.clear();
            text.push_str(TimestampText::new().of(value));
            StoredValue::Text(text.as_bytes())
        }
        other => exact(other, text),
    }
}

impl SqliteReader {
    /// Opens the database, which must exist, and keeps syncs away from it.
    ///
    /// # Errors
    /// There is none, it can't be read, or somebody writes to it.
    pub fn open(path: &Path) -> Result<Self, DestinationError> {
        let name = format!("sqlite:{}", path.display());
        let refused = |why: String| DestinationError::Refused(format!("{name} can't be read: {why}"));
        let path = resolve(path).map_err(refused)?;
        if !path.exists() {
            return Err(refused("there is no such file. Run a sync first.".to_owned()));
        }
        let lock = SyncLock::acquire_for_reading(lock_file(&path), &name)?;
        let open = || {
            let (connection, look) = unwritten::open(&path)?;
            // The first statement that reads the file: fails when it is no database.
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
            Ok((connection, look))
        };
        let (connection, look) = open().map_err(|error: rusqlite::Error| match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => refused("the file is not a SQLite database.".to_owned()),
            _ => refused(error.to_string()),
        })?;
        Ok(Self { path, name, connection, look, _lock: lock })
    }

    /// The names of a table's columns; none where there is no such table.
    fn columns(&self, table: &Table) -> Result<Option<BTreeSet<String>>, DestinationError> {
        let read = || -> rusqlite::Result<BTreeSet<String>> {
            let mut statement = self.connection.prepare("SELECT lower(name) FROM pragma_table_xinfo(?1)")?;
            statement.query_map([table.name()], |row| row.get(0))?.collect()
        };
        let columns = read().map_err(|error| self.failed(&error))?;
        let lacking = table.primary_key().iter().map(|&index| &table.columns()[index].name);
        match lacking.into_iter().find(|name| !columns.contains(*name)) {
            _ if columns.is_empty() => Ok(None),
            Some(name) => {
                Err(DestinationError::Refused(format!("{}: its table `{}` has no `{name}`", self.name, table.name())))
            }
            None => Ok(Some(columns)),
        }
    }

    /// For what goes wrong while rows are read.
    fn failed(&self, error: &rusqlite::Error) -> DestinationError {
        DestinationError::Failed(format!("reading {} failed: {error}", self.name))
    }
}

impl Reader for SqliteReader {
    fn state(&self) -> Result<State, DestinationError> {
        state::read(&self.connection).map_err(|error| self.failed(&error))
    }

    fn lost_tables(&self, tables: &[Table]) -> Result<Vec<LostTable>, DestinationError> {
        schema::lost_tables(&self.connection, tables).map_err(|error| self.failed(&error))
    }

    fn encoding(&self) -> Encoding {
        encode
    }

    fn scan(&self, table: &Table, sink: &mut dyn RowSink) -> Result<(), DestinationError> {
        if self.connection.is_autocommit() {
            // All tables of one moment.
            self.connection.execute_batch("BEGIN").map_err(|error| self.failed(&error))?;
        }
        let Some(columns) = self.columns(table)? else { return Ok(()) };
        let failed = |error: rusqlite::Error| self.failed(&error);
        let mut statement = self.connection.prepare(&select(table, &columns)).map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let values = (0..table.columns().len()).map(|column| row.get_ref(column).map(stored));
            let values = values.collect::<rusqlite::Result<Vec<_>>>().map_err(failed)?;
            sink.in_order(&values)?;
        }
        Ok(())
    }

    fn check_unchanged(&self) -> Result<(), DestinationError> {
        if FileVersion::at(&self.path) == self.look {
            return Ok(());
        }
        Err(DestinationError::Failed(format!(
            "another program has written to {} meanwhile. Verify it again.",
            self.name
        )))
    }
}

fn stored(value: ValueRef<'_>) -> StoredValue<'_> {
    match value {
        ValueRef::Null => StoredValue::Null,
        ValueRef::Integer(value) => StoredValue::Integer(value),
        ValueRef::Real(value) => StoredValue::Double(value),
        ValueRef::Text(value) => StoredValue::Text(value),
        ValueRef::Blob(value) => StoredValue::Blob(value),
    }
}

/// Reads rows: the key, then the other columns; NULL for those that the table lacks. In the key's order, whatever collation somebody
/// else's table has: NULL, numbers, text, blobs (<https://www.sqlite.org/datatype3.html>, 4.1).
fn select(table: &Table, present: &BTreeSet<String>) -> String {
    let name = |index: usize| quote(&table.columns()[index].name);
    let column = |index: usize| {
        if present.contains(&table.columns()[index].name) { name(index) } else { "NULL".to_owned() }
    };
    let key = table.primary_key();
    let values = (0..table.columns().len()).filter(|index| !key.contains(index));
    let columns: Vec<String> = key.iter().copied().chain(values).map(column).collect();
    let order: Vec<String> = key.iter().map(|&index| format!("{} COLLATE BINARY", name(index))).collect();
    format!("SELECT {} FROM {} ORDER BY {}", columns.join(", "), quote(table.name()), order.join(", "))
}
