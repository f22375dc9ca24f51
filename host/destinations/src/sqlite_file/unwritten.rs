//! Opens SQLite files to be read without leaving anything beside them.
//!
//! A database in WAL mode can't be read without its log and its shared memory, so a reader that finds neither creates
//! both, and one that may only read leaves them behind. Where there is no log, nothing but the file itself is to be
//! read, and SQLite can be told so (<https://www.sqlite.org/uri.html>, `immutable`). That is true only as long as nobody
//! writes: the caller holds the destination's lock, and looks afterwards whether somebody else has written all the same; or it
//! reads little, and again where somebody has written ([`read`]).

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rusqlite::ffi::{self, ErrorCode};
use rusqlite::{Connection, OpenFlags};

use super::reader;
use elt_support::paths::sibling;

/// How long another program is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a file is read again that was written meanwhile.
const MOST_LOOKS: usize = 100;

/// How a file looked at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileVersion {
    length: u64,
    modified: Option<SystemTime>,
}

impl FileVersion {
    /// None where there is no such file.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self { length: metadata.len(), modified: metadata.modified().ok() })
    }
}

/// Opens the database at `path`, which is absolute and exists; and how the file looks whose rows are read from then on.
pub(crate) fn open(path: &Path) -> rusqlite::Result<(Connection, Option<FileVersion>)> {
    match path.to_str() {
        Some(text) if !is_logged(path) => {
            let look = FileVersion::at(path);
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
            let connection = Connection::open_with_flags(
                format!("file:{}?mode=ro&immutable=1", utf8_percent_encode(text, NO_PATH)),
                flags,
            )?;
            Ok((connection, look))
        }
        _ => {
            let connection = reader::open(path, PATIENCE)?;
            // Opening it may have played a journal back.
            Ok((connection, FileVersion::at(path)))
        }
    }
}

/// Whether something lies beside the database that has to be read with it.
fn is_logged(path: &Path) -> bool {
    ["-wal", "-journal"]
        .iter()
        .any(|suffix| FileVersion::at(&sibling(path, suffix)).is_some_and(|look| look.length > 0))
}

/// Reads something of the database at `path`, which is absolute and exists, while others may write it.
pub fn read<T>(path: &Path, what: impl Fn(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    for _ in 0..MOST_LOOKS {
        let was_logged = is_logged(path);
        let (connection, look) = open(path)?;
        let found = what(&connection);
        if was_logged || (!is_logged(path) && FileVersion::at(path) == look) {
            return found;
        }
    }
    let busy = ffi::Error { code: ErrorCode::DatabaseBusy, extended_code: ffi::SQLITE_BUSY };
    Err(rusqlite::Error::SqliteFailure(busy, Some("another program keeps writing it".to_owned())))
}

/// What a path may not hold in a URI.
const NO_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_');

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reading_a_database_leaves_its_folder_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("odd name?mode=rw#%41.db");
        let written = Connection::open(&path).unwrap();
        written.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
        written.execute_batch("CREATE TABLE a(b); INSERT INTO a VALUES (1)").unwrap();
        let count = |connection: &Connection| connection.query_row("SELECT count(*) FROM a", [], |row| row.get(0));
        // With a log beside it, what is in the log counts.
        assert_eq!(count(&open(&path).unwrap().0), Ok(1));
        drop(written);
        let (reading, _) = open(&path).unwrap();
        assert_eq!(count(&reading), Ok(1));
        assert!(reading.execute_batch("INSERT INTO a VALUES (2)").is_err());
        drop(reading);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
