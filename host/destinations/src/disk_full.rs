//! What to say of a write that found no room: a full disk, a quota, a limit on the size of files. What was committed before it is
//! untouched, and that matters most to whoever reads the message.

use rusqlite::ErrorCode;

const DISK: &str = "the disk is full. What was committed is safe; make room and sync again.";
#[cfg(feature = "parquet")]
const QUOTA: &str = "the disk quota is used up. What was committed is safe; make room and sync again.";
#[cfg(feature = "parquet")]
const LIMIT: &str =
    "a file may not grow any further. What was committed is safe; raise the limit (`ulimit -f`) and sync again.";

/// What to do about an error of the system, if it is one of room.
#[cfg(feature = "parquet")]
pub(super) fn of_system(error: &std::io::Error) -> Option<&'static str> {
    use std::io;

    match error.kind() {
        io::ErrorKind::StorageFull => Some(DISK),
        io::ErrorKind::QuotaExceeded => Some(QUOTA),
        io::ErrorKind::FileTooLarge => Some(LIMIT),
        _ => None,
    }
}

/// The same for SQLite, which tells a full disk from other errors, but no more.
pub(super) fn of_sqlite(error: &rusqlite::Error) -> Option<String> {
    match error.sqlite_error_code()? {
        ErrorCode::DiskFull => Some(DISK.to_owned()),
        ErrorCode::SystemIoFailure => Some(format!(
            "the system refused to read or write ({error}). What was committed is safe; see whether the disk is well, a quota is used up \
             or files may not grow any further (`ulimit -f`), and sync again."
        )),
        _ => None,
    }
}
