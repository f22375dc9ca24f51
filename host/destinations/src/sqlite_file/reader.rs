//! Opens a SQLite file only to read it.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

/// A connection that writes nothing of its own.
///
/// A process that was killed while it made the file can leave a journal that has to be played back before anybody reads, and SQLite does
/// that only for those who may write. So there, and only there, the file is opened to write; what it holds stays the same.
pub(super) fn open(path: &Path, patience: Duration) -> rusqlite::Result<Connection> {
    let look = |how: OpenFlags| -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(path, how | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(patience)?;
        // The first statement that reads the file: fails when it is no database.
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(connection)
    };
    match look(OpenFlags::SQLITE_OPEN_READ_ONLY) {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ReadOnly) => {
            let connection = look(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            connection.pragma_update(None, "query_only", true)?;
            Ok(connection)
        }
        looked => looked,
    }
}
