//! `DIR/_elt/catalog.db`: which files are live, which rows of which partition they hold, and the state.
//!
//! A SQLite database, so that a commit changes it by what changed and not by its size. One transaction of it is open
//! while a sync's transaction is; its commit comes last.
//!
//! A *slice* is a stretch of rows in one file that have one partition value (the first key column) and are in key order.
//! Each key is in one slice at most. `low` and `high` bound the second key column where that is a number.

use std::path::Path;
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::error::StoreError;
use crate::sqlite_file::{journal, unwritten};
use elt_host::{State, StatePatch};

/// `application_id` of a catalog: `eltp` in ASCII.
const APPLICATION_ID: i32 = i32::from_be_bytes(*b"eltp");
/// `user_version` of a catalog: the layout that [`super`] describes.
const LAYOUT: i32 = 1;

const CREATE: &str = "
    CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO meta VALUES ('generation', 0), ('next_file', 1);
    CREATE TABLE tables(name TEXT PRIMARY KEY, layout TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE files(id INTEGER PRIMARY KEY, tbl TEXT NOT NULL, rows INTEGER NOT NULL, bytes INTEGER NOT NULL,
                       memory INTEGER NOT NULL);
    CREATE INDEX files_of_table ON files(tbl);
    CREATE TABLE slices(tbl TEXT NOT NULL, part NOT NULL, file INTEGER NOT NULL, first INTEGER NOT NULL,
                        rows INTEGER NOT NULL, low INTEGER, high INTEGER,
                        PRIMARY KEY(tbl, part, file, first)) WITHOUT ROWID;
    CREATE INDEX slices_of_file ON slices(file, first);
    CREATE TABLE state(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
";

/// How long another program is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// One live file.
#[derive(Debug, Clone)]
pub(super) struct LiveFile {
    pub(super) id: i64,
    pub(super) rows: u64,
    /// On disk.
    pub(super) bytes: u64,
    /// Of its rows, encoded and uncompressed.
    pub(super) memory: u64,
}

/// A stretch of rows of one partition in one file.
#[derive(Debug, Clone)]
pub(super) struct Slice {
    pub(super) part: Value,
    /// Position of the first row in its file.
    pub(super) first: u64,
    pub(super) rows: u64,
    pub(super) low: Option<i64>,
    pub(super) high: Option<i64>,
}

/// The open catalog.
pub(super) struct Catalog {
    connection: Connection,
    is_written: bool,
}

impl Drop for Catalog {
    /// For those who read; see [`journal`].
    fn drop(&mut self) {
        if self.is_written {
            let _ = self.roll_back();
            journal::leave_wal(&self.connection);
        }
    }
}

impl Catalog {
    /// Opens the catalog to write it; creates it where there is none.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let how = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let connection = Connection::open_with_flags(path, how | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(PATIENCE)?;
        connection.set_prepared_statement_cache_capacity(32);
        let empty = is_empty(&connection)?;
        if !empty {
            check(&connection, path)?;
        }
        let this = Self { connection, is_written: true };
        let connection = &this.connection;
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA fullfsync = 1; PRAGMA cache_size = -4096")?;
        if empty {
            connection.execute_batch(&format!(
                "BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {LAYOUT}; {CREATE} COMMIT"
            ))?;
        }
        Ok(this)
    }

    /// Opens the catalog, which exists, to be read only, and leaves nothing beside it.
    pub(super) fn look(path: &Path) -> Result<Self, StoreError> {
        let (connection, _) = unwritten::open(path)?;
        check(&connection, path)?;
        Ok(Self { connection, is_written: false })
    }

    /// The state in the catalog at `path`, also while a sync writes it. Leaves nothing beside it.
    pub(super) fn state_at(path: &Path) -> Result<State, StoreError> {
        let look = |connection: &Connection| -> Result<State, StoreError> {
            if is_empty(connection)? {
                // A sync was ended before its first commit.
                return Err(StoreError::Refused("there is no data set of ours in it. Run a sync first.".to_owned()));
            }
            check(connection, path)?;
            Ok(state(connection)?)
        };
        unwritten::read(path, |connection| match look(connection) {
            Err(StoreError::Sqlite(error)) => Err(error),
            looked => Ok(looked),
        })?
    }

    pub(super) fn begin(&self) -> Result<(), StoreError> {
        Ok(self.connection.execute_batch("BEGIN IMMEDIATE")?)
    }

    pub(super) fn commit(&self) -> Result<(), StoreError> {
        Ok(self.connection.execute_batch("COMMIT")?)
    }

    /// Takes back what the open transaction changed, if one is open.
    pub(super) fn roll_back(&self) -> Result<(), StoreError> {
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        Ok(())
    }

    /// Copies the log back and empties it.
    pub(super) fn checkpoint(&self) -> Result<(), StoreError> {
        Ok(self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }

    /// Which generation of the folders belongs to this catalog.
    pub(super) fn generation(&self) -> Result<u64, StoreError> {
        let read = "SELECT value FROM meta WHERE key = 'generation'";
        Ok(self.connection.query_row(read, [], |row| count(row, 0))?)
    }

    pub(super) fn set_generation(&self, generation: u64) -> Result<(), StoreError> {
        self.connection.execute("UPDATE meta SET value = ?1 WHERE key = 'generation'", [generation as i64])?;
        Ok(())
    }

    /// A number that no live file has.
    pub(super) fn next_file(&self) -> Result<i64, StoreError> {
        let next = "UPDATE meta SET value = value + 1 WHERE key = 'next_file' RETURNING value - 1";
        Ok(self.connection.query_row(next, [], |row| row.get(0))?)
    }

    /// A table's layout as text.
    pub(super) fn layout(&self, table: &str) -> Result<Option<String>, StoreError> {
        let read = "SELECT layout FROM tables WHERE name = ?1";
        Ok(self.connection.query_row(read, [table], |row| row.get(0)).optional()?)
    }

    pub(super) fn set_layout(&self, table: &str, layout: &str) -> Result<(), StoreError> {
        let write = "INSERT INTO tables VALUES (?1, ?2) ON CONFLICT(name) DO UPDATE SET layout = excluded.layout";
        self.connection.execute(write, [table, layout])?;
        Ok(())
    }

    /// Every live file of a table.
    pub(super) fn files(&self, table: &str) -> Result<Vec<LiveFile>, StoreError> {
        let read = "SELECT id, rows, bytes, memory FROM files WHERE tbl = ?1 ORDER BY id";
        let mut statement = self.connection.prepare_cached(read)?;
        let files = statement.query_map([table], |row| {
            Ok(LiveFile { id: row.get(0)?, rows: count(row, 1)?, bytes: count(row, 2)?, memory: count(row, 3)? })
        })?;
        Ok(files.collect::<Result<_, _>>()?)
    }

    /// The files that hold rows of `part` whose second key column may lie between `low` and `high`.
    pub(super) fn files_with(
        &self,
        table: &str,
        part: &Value,
        low: Option<i64>,
        high: Option<i64>,
    ) -> Result<Vec<i64>, StoreError> {
        let read = "SELECT DISTINCT file FROM slices WHERE tbl = ?1 AND part = ?2
                    AND (?3 IS NULL OR low IS NULL OR (low <= ?4 AND high >= ?3))";
        let mut statement = self.connection.prepare_cached(read)?;
        let files = statement.query_map((table, part, low, high), |row| row.get(0))?;
        Ok(files.collect::<Result<_, _>>()?)
    }

    pub(super) fn file(&self, id: i64) -> Result<LiveFile, StoreError> {
        let mut statement =
            self.connection.prepare_cached("SELECT id, rows, bytes, memory FROM files WHERE id = ?1")?;
        Ok(statement.query_row([id], |row| {
            Ok(LiveFile { id: row.get(0)?, rows: count(row, 1)?, bytes: count(row, 2)?, memory: count(row, 3)? })
        })?)
    }

    /// The slices of a file, in its order; together they are all of its rows.
    pub(super) fn slices(&self, file: i64) -> Result<Vec<Slice>, StoreError> {
        let read = "SELECT part, first, rows, low, high FROM slices WHERE file = ?1 ORDER BY first";
        let mut statement = self.connection.prepare_cached(read)?;
        let slices = statement.query_map([file], |row| {
            Ok(Slice {
                part: row.get(0)?,
                first: count(row, 1)?,
                rows: count(row, 2)?,
                low: row.get(3)?,
                high: row.get(4)?,
            })
        })?;
        Ok(slices.collect::<Result<_, _>>()?)
    }

    pub(super) fn add_file(&self, table: &str, file: &LiveFile, slices: &[Slice]) -> Result<(), StoreError> {
        let mut add = self.connection.prepare_cached("INSERT INTO files VALUES (?1, ?2, ?3, ?4, ?5)")?;
        add.execute((file.id, table, file.rows as i64, file.bytes as i64, file.memory as i64))?;
        let mut add = self.connection.prepare_cached("INSERT INTO slices VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
        for slice in slices {
            add.execute((table, &slice.part, file.id, slice.first as i64, slice.rows as i64, slice.low, slice.high))?;
        }
        Ok(())
    }

    pub(super) fn remove_file(&self, id: i64) -> Result<(), StoreError> {
        self.connection.prepare_cached("DELETE FROM slices WHERE file = ?1")?.execute([id])?;
        self.connection.prepare_cached("DELETE FROM files WHERE id = ?1")?.execute([id])?;
        Ok(())
    }

    pub(super) fn state(&self) -> Result<State, StoreError> {
        Ok(state(&self.connection)?)
    }

    pub(super) fn clear_state(&self) -> Result<(), StoreError> {
        self.connection.execute("DELETE FROM state", [])?;
        Ok(())
    }

    pub(super) fn patch_state(&self, patch: &StatePatch) -> Result<(), StoreError> {
        let set = "INSERT INTO state VALUES (?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value";
        let mut set = self.connection.prepare_cached(set)?;
        let mut remove = self.connection.prepare_cached("DELETE FROM state WHERE key = ?1")?;
        for (key, value) in patch {
            match value {
                Some(value) => set.execute((key, value))?,
                None => remove.execute((key,))?,
            };
        }
        Ok(())
    }
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}

/// Refuses what is no catalog of this layout.
fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    if (number("application_id")?, number("user_version")?) == (APPLICATION_ID, LAYOUT) {
        return Ok(());
    }
    Err(StoreError::Refused(format!(
        "its catalog {} is not one that this program knows. Choose another folder.",
        path.display()
    )))
}

fn state(connection: &Connection) -> rusqlite::Result<State> {
    let mut statement = connection.prepare("SELECT key, value FROM state")?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// A number that is never negative; SQLite's integers are signed.
fn count(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.max(0) as u64)
}
