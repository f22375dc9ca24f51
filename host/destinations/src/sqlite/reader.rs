//! A SQLite destination that is only read: its rows as they are, while no sync can change them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode};

use super::destination::{lock_file, read_state};
use super::path::resolve;
use super::schema;
use crate::sqlite_file::unwritten;
use crate::sqlite_file::unwritten::FileVersion;
use elt_host::destination::lock::SyncLock;
use elt_host::{DestinationError, LostTable, State, Table};

/// The open database.
pub struct Reading {
    path: PathBuf,
    /// As the user wrote it.
    name: String,
    connection: Connection,
    look: Option<FileVersion>,
    // The last field: let go after the connection is closed.
    _lock: Option<SyncLock>,
}

impl Reading {
    /// Opens the database, which must exist, and keeps syncs away from it.
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

    /// The stored state.
    pub fn state(&self) -> Result<State, DestinationError> {
        read_state(&self.connection).map_err(|error| self.failed(&error))
    }

    /// The database.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The names of a table's columns; none where there is no such table.
    pub fn columns(&self, table: &Table) -> Result<Option<BTreeSet<String>>, DestinationError> {
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

    /// Those of `tables` that are not there, though they were once.
    pub fn lost_tables(&self, tables: &[Table]) -> Result<Vec<LostTable>, DestinationError> {
        schema::lost_tables(&self.connection, tables).map_err(|error| self.failed(&error))
    }

    /// Fails when somebody has written to the file since it was opened.
    pub fn check_unchanged(&self) -> Result<(), DestinationError> {
        if FileVersion::at(&self.path) == self.look {
            return Ok(());
        }
        Err(DestinationError::Failed(format!(
            "another program has written to {} meanwhile. Verify it again.",
            self.name
        )))
    }

    /// For what goes wrong while rows are read.
    pub fn failed(&self, error: &rusqlite::Error) -> DestinationError {
        DestinationError::Failed(format!("reading {} failed: {error}", self.name))
    }
}
