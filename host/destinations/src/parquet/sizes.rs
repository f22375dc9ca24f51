//! How much is gathered in memory, and where files are cut.

/// Where things are cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Rows that wait in memory at most, but for one group.
    pub(super) staged_rows: usize,
    /// Their bytes at most.
    pub(super) staged_bytes: usize,
    /// Rows after which a file is closed and the next one begun. It bounds what the growth of one run rewrites.
    pub(super) file_rows: u64,
    /// The same for wide rows, in bytes on disk.
    pub(super) file_bytes: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { staged_rows: 1 << 20, staged_bytes: 48 << 20, file_rows: 256 << 10, file_bytes: 32 << 20 }
    }
}

#[cfg(test)]
impl Sizes {
    /// Everything small, so that a test's few rows meet every cut.
    pub(super) fn small() -> Self {
        Self { staged_rows: 50, file_rows: 24, ..Self::default() }
    }
}
