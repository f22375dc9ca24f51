//! How SQLite files are left for those who may only read them.
//!
//! While a sync writes, its database is in WAL mode, so that others can read meanwhile. A database in that mode can't be opened by
//! who may not write beside it (<https://www.sqlite.org/wal.html#readonly>): a dashboard under a user of its own, a mount that is
//! read-only. So it is taken out of that mode when the writing ends.

use std::time::Duration;

use rusqlite::Connection;

/// How long readers are waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// Whether the database is in WAL mode.
pub(crate) fn is_wal(connection: &Connection) -> bool {
    connection.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0)).is_ok_and(|mode| mode == "wal")
}

/// Takes the database out of WAL mode, so that it is one file again. Where somebody reads it that is not to be had, and nothing is
/// lost: it stays as it is, and whoever writes next tries again.
pub(crate) fn leave_wal(connection: &Connection) {
    if is_wal(connection) && connection.is_autocommit() {
        let _ = connection.busy_timeout(PATIENCE);
        let _ = connection.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()));
    }
}
