//! The destination `sqlite:`: one sync of it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::path::{lock_file, resolve};
use super::rows::{RowsError, TableSql};
use super::schema;
use super::schema::Misfit;
use super::state;
use super::waiting;
use super::waiting::{InTheWay, Obstacle, Patience};
use crate::disk_full;
use crate::kind::Access;
use crate::sqlite_file::{journal, unwritten};
use crate::timestamp::TimestampText;
use elt_host::destination::lock::SyncLock;
use elt_host::{Change, Destination, DestinationError, Group, LostTable, Preparation, State, StatePatch, Table, Waits};
use elt_support::paths::sibling;

/// How long the first look waits for another program that is writing.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a running sync waits for others.
const LONG_PATIENCE: Patience =
    Patience { with_writers: Duration::from_secs(60), with_readers: Duration::from_secs(3600) };
/// How long an import of a state does.
const SHORT_PATIENCE: Patience =
    Patience { with_writers: Duration::from_secs(60), with_readers: Duration::from_secs(60) };
/// KiB of pages kept in memory; a transaction that changes more spills into the log.
const CACHE_KIB: i64 = 16 << 10;
/// Pages in the log after which a commit copies them back: 32 MiB.
const CHECKPOINT_PAGES: i64 = 8 << 10;

/// A SQLite database as a destination.
pub struct Sqlite {
    path: PathBuf,
    /// As the user wrote it.
    name: String,
    access: Access,
    /// None while there is no database, and for one that is only read.
    pub(super) connection: Option<Connection>,
    /// Whether the database may be taken out of WAL mode: it is ours, or was in another mode before.
    leaves_wal: bool,
    session: Option<Session>,
    waits: Waits,
    // The last field: let go after the connection is closed.
    lock: Option<SyncLock>,
}

/// What one sync needs.
struct Session {
    tables: Vec<Table>,
    sql: Vec<TableSql>,
    synced_at: String,
    /// Tables and state are still to be emptied.
    clear: bool,
    /// The tables exist and fit.
    ready: bool,
    in_transaction: bool,
    /// Found before they are made anew.
    lost: Vec<LostTable>,
}

impl Sqlite {
    /// Opens the database, which need not exist when `access` is to write.
    pub fn open(path: &Path, access: Access) -> Result<Self, DestinationError> {
        let name = format!("sqlite:{}", path.display());
        let path = resolve(path).map_err(|why| DestinationError::Refused(format!("{name} can't be used: {why}")))?;
        let lock = match access {
            Access::ReadOnly => None,
            Access::ReadWrite => Some(SyncLock::acquire(lock_file(&path), &name)?),
        };
        let (connection, leaves_wal, session, waits) = (None, true, None, Waits::default());
        let mut this = Self { path, name, access, connection, leaves_wal, session, waits, lock };
        match this.path.metadata() {
            Ok(metadata) if metadata.len() > 0 || access == Access::ReadOnly => this.connect()?,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && access == Access::ReadWrite => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(this.refused("there is no such file. Run a sync first."));
            }
            Err(error) => return Err(this.refused(error)),
        }
        Ok(this)
    }

    fn connect(&mut self) -> Result<(), DestinationError> {
        if self.access == Access::ReadOnly {
            // The first statement that reads the file: fails when it is no database.
            let objects = |connection: &Connection| {
                connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))
            };
            return unwritten::read(&self.path, objects).map(drop).map_err(|error| self.refusal(error));
        }
        let open = || {
            let how = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
            let connection = Connection::open_with_flags(&self.path, how | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            connection.busy_timeout(PATIENCE)?;
            connection.set_prepared_statement_cache_capacity(64);
            // The first statement that reads the file: fails when it is no database.
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
            if connection.is_readonly("main")? {
                return Ok(None);
            }
            let leaves_wal = schema::is_ours(&connection)? || !journal::is_wal(&connection);
            Ok(Some((connection, leaves_wal)))
        };
        match open() {
            Ok(Some((connection, leaves_wal))) => {
                (self.connection, self.leaves_wal) = (Some(connection), leaves_wal);
            }
            Ok(None) => {
                return Err(self.refused("the file is read-only. Make it writable, or choose another one."));
            }
            Err(error) => return Err(self.refusal(error)),
        }
        Ok(())
    }

    /// Settings that last for the connection.
    fn configure(connection: &Connection) -> rusqlite::Result<()> {
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        // macOS: `fsync` alone leaves data in the drive's cache.
        connection.pragma_update(None, "fullfsync", true)?;
        connection.pragma_update(None, "checkpoint_fullfsync", true)
    }

    /// Goes over to WAL, and begins a transaction that writes. In another mode a reader would be in the way of each commit, and a commit
    /// that waits keeps all new readers out: so a reader who is in the way is waited for here, where nothing is locked.
    fn begin_in_wal(connection: &Connection, waits: &Waits, patience: Patience) -> Result<(), Obstacle> {
        if !journal::is_wal(connection) {
            let is_wal = waiting::wait(
                connection,
                waits,
                patience,
                || waiting::reads_or_writes(connection),
                || {
                    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| {
                        Ok(row.get::<_, String>(0)? == "wal")
                    })
                },
            )?;
            connection.pragma_update(None, "synchronous", if is_wal { "NORMAL" } else { "FULL" })?;
            // Without WAL, changes that spill into the file before the commit would lock readers out until then.
            connection.pragma_update(None, "cache_spill", is_wal)?;
        }
        waiting::wait(connection, waits, patience, || InTheWay::Writer, || connection.execute_batch("BEGIN IMMEDIATE"))
    }

    /// With a log a commit waits for nobody; without one it waits for readers.
    fn commit_on(&self, connection: &Connection, patience: Patience) -> Result<(), DestinationError> {
        let commit = || connection.execute_batch("COMMIT");
        waiting::wait(connection, &self.waits, patience, || InTheWay::Reader, commit)
            .map_err(|obstacle| self.blocked(obstacle))
    }

    /// The connection; creates the database if there is none.
    pub(super) fn connection(&mut self) -> Result<&Connection, DestinationError> {
        if self.connection.is_none() {
            self.connect()?;
        }
        self.connection.as_ref().ok_or_else(|| DestinationError::misfit("no connection"))
    }

    fn begin(&mut self) -> Result<(), DestinationError> {
        self.connection()?;
        let (Some(connection), Some(session)) = (&self.connection, &self.session) else {
            return Err(DestinationError::misfit("a group before `prepare`"));
        };
        if session.in_transaction {
            return Ok(());
        }
        let configured = if session.ready { Ok(()) } else { Self::configure(connection) };
        configured
            .map_err(Obstacle::from)
            .and_then(|()| Self::begin_in_wal(connection, &self.waits, LONG_PATIENCE))
            .map_err(|obstacle| self.blocked(obstacle))?;
        let Some(session) = &mut self.session else {
            return Err(DestinationError::misfit("a group before `prepare`"));
        };
        session.in_transaction = true;
        let mut begin = || -> Result<(), Misfit> {
            if !session.ready {
                for statement in schema::plan(connection, &session.tables)? {
                    connection.execute_batch(&statement)?;
                }
                schema::note_tables(connection, &session.tables)?;
                session.ready = true;
            }
            if session.clear {
                for table in &session.sql {
                    connection.execute_batch(&table.clear)?;
                }
                state::clear(connection)?;
                session.clear = false;
            }
            Ok(())
        };
        begin().map_err(|error| match error {
            Misfit::Refused(why) => self.refused(why),
            Misfit::Sqlite(error) => self.failed(error),
        })
    }

    fn roll_back(&mut self) {
        if let (Some(connection), Some(session)) = (&self.connection, &mut self.session)
            && std::mem::take(&mut session.in_transaction)
            && !connection.is_autocommit()
        {
            // When even this fails, closing the connection rolls back.
            let _ = connection.execute_batch("ROLLBACK");
        }
    }

    /// Makes what is committed durable against loss of power.
    fn sync_to_disk(&self) -> Result<(), DestinationError> {
        let Some(connection) = &self.connection else {
            return Ok(());
        };
        let checkpoint = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        let _ = connection.busy_timeout(Duration::from_millis(500));
        let (busy, log) = connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], checkpoint)
            .map_err(|error| self.failed(error))?;
        if busy != 0 && log >= 0 {
            // Somebody reads an older state, so that not all could be copied back; then the log must be durable. It carries
            // none of SQLite's locks on Unix, so opening and closing it is safe.
            File::open(sibling(&self.path, "-wal")).and_then(|log| log.sync_all()).map_err(|error| {
                DestinationError::Failed(format!("{} could not be synced to the disk: {error}", self.name))
            })?;
        }
        Ok(())
    }

    /// For those who read: what is committed is in one file again, if nobody reads it now.
    fn leave_wal(&self) {
        if let Some(connection) = self.connection.as_ref().filter(|_| self.leaves_wal) {
            journal::leave_wal(connection);
        }
    }

    fn refused(&self, why: impl std::fmt::Display) -> DestinationError {
        DestinationError::Refused(format!("{} can't be used: {why}", self.name))
    }

    /// For errors before anything is written.
    fn refusal(&self, error: rusqlite::Error) -> DestinationError {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => self.refused("the file is not a SQLite database. Choose another one."),
            Some(ErrorCode::DatabaseCorrupt) => self.refused(format!("the database is damaged ({error}).")),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => self.refused(
                "another program has locked it. Close what is writing to it (a database browser with unsaved changes?) \
                 and try again.",
            ),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
                self.refused(format!("{error}. Check that you may write to the file and its folder."))
            }
            _ => self.failed(error),
        }
    }

    /// For what kept a step from being done while a sync runs.
    fn blocked(&self, obstacle: Obstacle) -> DestinationError {
        let who = |who| match who {
            InTheWay::Reader => "somebody who reads the database in a transaction that stays open",
            InTheWay::Writer => "another program that writes to the database",
        };
        match obstacle {
            Obstacle::Sqlite(error) => self.failed(error),
            Obstacle::Stays(InTheWay::Writer) => DestinationError::Failed(format!(
                "writing to {} failed: another program kept it locked for too long. What was committed is safe; sync again.",
                self.name
            )),
            Obstacle::Stays(InTheWay::Reader) => DestinationError::Failed(format!(
                "writing to {} failed: {} has been in the way for too long (a notebook or a database browser that was left \
                 open?). End it and sync again.",
                self.name,
                who(InTheWay::Reader)
            )),
            Obstacle::Stopped(it) => DestinationError::Stopped(format!(
                "{} was in the way to the end: what was read after the last commit is not stored in {}; the next sync reads it \
                 again",
                who(it),
                self.name
            )),
        }
    }

    fn failed(&self, error: rusqlite::Error) -> DestinationError {
        let why = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                "another program kept it locked for too long. What was committed is safe; sync again.".to_owned()
            }
            _ => disk_full::of_sqlite(&error).unwrap_or_else(|| error.to_string()),
        };
        DestinationError::Failed(format!("writing to {} failed: {why}", self.name))
    }
}

impl Destination for Sqlite {
    fn wait_with(&mut self, waits: Waits) {
        self.waits = waits;
    }

    fn prepare(&mut self, preparation: Preparation) -> Result<State, DestinationError> {
        let mut lost = Vec::new();
        if let Some(connection) = &self.connection {
            let look = || -> Result<Vec<LostTable>, Misfit> {
                // Takes the right to write and gives it back: refuses now what would fail after all the reading.
                connection.execute_batch("BEGIN IMMEDIATE")?;
                let plan = schema::plan(connection, &preparation.tables);
                let lost = schema::lost_tables(connection, &preparation.tables);
                let partly = schema::tables_without_columns(connection, &preparation.tables);
                connection.execute_batch("ROLLBACK")?;
                plan?;
                Ok([lost?, partly?].concat())
            };
            lost = look().map_err(|error| match error {
                Misfit::Refused(why) => self.refused(why),
                Misfit::Sqlite(error) => self.refusal(error),
            })?;
        }
        let state = if preparation.full_refresh { State::new() } else { self.state()? };
        self.session = Some(Session {
            sql: preparation.tables.iter().cloned().map(TableSql::new).collect(),
            tables: preparation.tables,
            synced_at: TimestampText::new().of(preparation.synced_at).to_owned(),
            clear: preparation.full_refresh,
            ready: false,
            in_transaction: false,
            lost,
        });
        Ok(state)
    }

    fn lost_tables(&mut self) -> Result<Vec<LostTable>, DestinationError> {
        Ok(self.session.as_ref().map(|session| session.lost.clone()).unwrap_or_default())
    }

    fn apply(&mut self, group: Group) -> Result<(), DestinationError> {
        self.begin()?;
        let (Some(connection), Some(session)) = (&self.connection, &self.session) else {
            return Err(DestinationError::misfit("a group before `prepare`"));
        };
        let write = || -> Result<(), RowsError> {
            for change in &group.changes {
                let table = session
                    .sql
                    .get(change.table())
                    .ok_or_else(|| DestinationError::misfit(format!("table number {}", change.table())))?;
                match change {
                    Change::Upsert { rows, .. } => table.upsert(connection, rows, &session.synced_at)?,
                    Change::Delete { keys, .. } => table.delete(connection, keys)?,
                }
            }
            Ok(state::patch(connection, &group.patch)?)
        };
        write().map_err(|error| match error {
            RowsError::Misfit(error) => error,
            RowsError::Sqlite(error) => self.failed(error),
        })
    }

    fn commit(&mut self) -> Result<(), DestinationError> {
        let connection = self.connection.as_ref().ok_or_else(|| DestinationError::misfit("a commit before a group"))?;
        self.commit_on(connection, LONG_PATIENCE)?;
        if let Some(session) = &mut self.session {
            session.in_transaction = false;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), DestinationError> {
        self.roll_back();
        let synced = self.sync_to_disk();
        self.leave_wal();
        self.session = None;
        // The last connection to close removes the log.
        self.connection = None;
        self.lock = None;
        synced
    }

    fn state(&mut self) -> Result<State, DestinationError> {
        if self.access == Access::ReadOnly {
            return unwritten::read(&self.path, state::read).map_err(|error| self.refusal(error));
        }
        let Some(connection) = &self.connection else {
            return Ok(State::new());
        };
        state::read(connection).map_err(|error| self.refusal(error))
    }

    fn replace_state(&mut self, state: &State) -> Result<(), DestinationError> {
        self.connection()?;
        let Some(connection) = &self.connection else {
            return Err(DestinationError::misfit("no connection"));
        };
        Self::configure(connection)
            .map_err(Obstacle::from)
            .and_then(|()| Self::begin_in_wal(connection, &self.waits, SHORT_PATIENCE))
            .map_err(|obstacle| self.blocked(obstacle))?;
        let replace = || -> Result<(), Misfit> {
            for statement in schema::plan(connection, &[])? {
                connection.execute_batch(&statement)?;
            }
            state::clear(connection)?;
            let patch: StatePatch = state.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
            Ok(state::patch(connection, &patch)?)
        };
        let replaced = replace().map_err(|error| match error {
            Misfit::Refused(why) => self.refused(why),
            Misfit::Sqlite(error) => self.failed(error),
        });
        let replaced = replaced.and_then(|()| self.commit_on(connection, SHORT_PATIENCE));
        if replaced.is_err() {
            let _ = connection.execute_batch("ROLLBACK");
        }
        replaced?;
        self.sync_to_disk()
    }
}

impl Drop for Sqlite {
    /// However a sync ends.
    fn drop(&mut self) {
        self.roll_back();
        self.leave_wal();
    }
}
