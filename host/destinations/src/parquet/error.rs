//! What goes wrong in the parts of this destination, before it gets the destination's name.

use std::{fmt, io};

use arrow_schema::ArrowError;
use parquet::errors::ParquetError;
use rusqlite::ErrorCode;

use crate::disk_full;
use elt_host::DestinationError;

/// Why something was not done.
pub(super) enum StoreError {
    Refused(String),
    Failed(String),
    Sqlite(rusqlite::Error),
    Io(io::Error),
    Destination(DestinationError),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) | Self::Failed(why) => f.write_str(why),
            Self::Io(error) => match disk_full::of_system(error) {
                Some(advice) => f.write_str(advice),
                None => error.fmt(f),
            },
            Self::Sqlite(error) if is_locked(error) => f.write_str(
                "another program kept its catalog locked for too long. What was committed is safe; sync again.",
            ),
            Self::Sqlite(error) => match disk_full::of_sqlite(error) {
                Some(advice) => f.write_str(&advice),
                None => error.fmt(f),
            },
            Self::Destination(error) => error.fmt(f),
        }
    }
}

/// Whether another program is writing to the catalog.
pub(super) fn is_locked(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<DestinationError> for StoreError {
    fn from(error: DestinationError) -> Self {
        Self::Destination(error)
    }
}

impl From<ArrowError> for StoreError {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::IoError(_, error) => Self::Io(error),
            ArrowError::ExternalError(error) => Self::from_boxed(error),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<ParquetError> for StoreError {
    fn from(error: ParquetError) -> Self {
        match error {
            ParquetError::External(error) => Self::from_boxed(error),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl StoreError {
    /// An error of the system that a library has wrapped.
    fn from_boxed(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        match error.downcast::<io::Error>() {
            Ok(error) => Self::Io(*error),
            Err(error) => Self::Failed(error.to_string()),
        }
    }
}
