//! SQLite files that are read beside others who write them, and left so that they can be.

pub(crate) mod journal;
mod reader;
pub mod unwritten;

use std::path::{Path, PathBuf};

use elt_support::paths::sibling;

/// Endings of the files that belong to a database: what SQLite puts beside it, and the lock of a sync.
const ENDINGS: [&str; 5] = ["", "-wal", "-shm", "-journal", "-sync"];

/// The database at `path` and the files that belong to it, which need not exist.
pub fn files(path: &Path) -> Vec<PathBuf> {
    ENDINGS.iter().map(|ending| sibling(path, ending)).collect()
}
