//! Tells whether a file was written or replaced since it was last looked at.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;

/// Changes whenever a file is written or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileVersion {
    place: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileVersion {
    /// Of a file that has at most `most` bytes; nothing else is read.
    pub(super) fn of(it: &Metadata, most: u64) -> io::Result<Self> {
        if !it.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        if it.len() > most {
            return Err(io::Error::other(format!("it has more than {} MiB", most >> 20)));
        }
        Ok(Self {
            place: (it.dev(), it.ino()),
            size: it.size(),
            modified: (it.mtime(), it.mtime_nsec()),
            changed: (it.ctime(), it.ctime_nsec()),
        })
    }
}
