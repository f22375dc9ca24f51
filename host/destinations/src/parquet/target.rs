//! What a sync writes to one table.

use super::layout::Layout;
use elt_host::Table;

/// One table of a sync.
pub(super) struct Target {
    pub(super) table: Table,
    pub(super) layout: Layout,
    /// For each of the layout's columns its place in a batch.
    pub(super) positions: Vec<Option<usize>>,
    pub(super) synced_at: i64,
}
