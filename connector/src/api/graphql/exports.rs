//! What the runs of a sync share that read exported histories, and when files are worth asking for.

use std::cell::Cell;

use history_parquet::budget::Budget;

/// With so many rows still to read, files are worth asking for. Up to here ranges of steps take one or two requests: a response holds
/// about 1 MiB, which is 5,000 rows of ten metrics. Files take three: where they are, the file, and the row at its end.
pub(crate) const LEAST_ROWS: u64 = 5_000;

/// What the runs of a sync share that read exported histories.
#[derive(Debug)]
pub(super) struct Exports {
    /// Of memory.
    pub(super) budget: Budget,
    /// They can't be had at all.
    pub(super) off: Cell<bool>,
    counts_tell: Cell<bool>,
}

impl Default for Exports {
    fn default() -> Self {
        Self { budget: Budget::default(), off: Cell::new(false), counts_tell: Cell::new(true) }
    }
}

impl Exports {
    /// Whether so many rows show that something is missing of a history of `lines` rows, or that there is something too much.
    pub(super) fn misfits(&self, rows: u64, lines: u64, still_live: bool) -> bool {
        self.counts_tell.get() && (rows < lines || (rows > lines && !still_live))
    }

    /// What W&B counts is not the number of rows.
    pub(super) fn distrust_counts(&self) {
        self.counts_tell.set(false);
    }
}
