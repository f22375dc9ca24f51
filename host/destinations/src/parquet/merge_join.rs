//! Stored slices beside the staged changes of their partitions: which stored rows stay.

use std::cmp::Ordering;
use std::ops::Range;

use arrow_array::BooleanArray;
use arrow_array::builder::BooleanBuilder;

use super::catalog::Slice;
use super::staged::{Partition, Resolved, is_deleted};
use super::target::Target;
use crate::cells::{Cell, Cells};
use elt_host::Column;

/// What becomes of a slice.
pub(super) enum Retention {
    /// Its partition did not change here.
    Stays,
    /// All of it is replaced or deleted.
    Goes,
    /// Some rows stay.
    Keeps(BooleanArray),
}

/// Divides the batches of a file by its slices.
pub(super) struct SliceSplitter {
    /// Rows left in each slice, the first ones first.
    left: Vec<u64>,
    place: usize,
}

impl SliceSplitter {
    pub(super) fn new(rows: impl Iterator<Item = u64>) -> Self {
        Self { left: rows.collect(), place: 0 }
    }

    /// For the next `rows` rows: the slices that they belong to, and which rows of the batch are theirs.
    pub(super) fn step(&mut self, rows: usize) -> Vec<(usize, Range<usize>)> {
        let mut parts = Vec::new();
        let mut start = 0;
        while start < rows {
            let Some(left) = self.left.get_mut(self.place) else { break };
            let taken = (*left).min((rows - start) as u64);
            if taken > 0 {
                parts.push((self.place, start..start + taken as usize));
            }
            start += taken as usize;
            *left -= taken;
            if *left == 0 {
                self.place += 1;
            }
        }
        parts
    }
}

/// A slice beside the staged changes of its partition.
pub(super) struct MergeSide<'a> {
    slice: Slice,
    partition: Option<&'a Partition>,
    /// For each row read so far whether it stays; none when no row need be looked at.
    keeps: Option<BooleanBuilder>,
    /// The first staged row that is not smaller than the stored row last read.
    cursor: Option<usize>,
}

impl<'a> MergeSide<'a> {
    pub(super) fn new(slice: Slice, partition: Option<&'a Partition>) -> Self {
        let overlaps = |partition: &Partition| match (partition.low, partition.high, slice.low, slice.high) {
            (Some(low), Some(high), Some(from), Some(to)) => from <= high && to >= low,
            _ => true,
        };
        let partition = partition.filter(|partition| partition.cleared || overlaps(partition));
        let keeps = partition.filter(|partition| !partition.cleared).map(|_| BooleanBuilder::new());
        Self { slice, partition, keeps, cursor: None }
    }

    /// How many rows are stored.
    pub(super) fn rows(&self) -> u64 {
        self.slice.rows
    }

    /// Whether only the rows themselves tell which of them stay.
    pub(super) fn needs_reading(&self) -> bool {
        self.keeps.is_some()
    }

    /// Looks at stored rows, which come in order. Marks the staged rows that are stored with the same values.
    pub(super) fn compare(
        &mut self,
        target: &Target,
        resolved: &Resolved<'_>,
        columns: &[Column],
        cells: &[Cells<'_>],
        rows: Range<usize>,
        unchanged: &mut [bool],
    ) {
        let (Some(partition), Some(keeps)) = (self.partition, &mut self.keeps) else { return };
        let key = &target.layout.key;
        let order = |index: usize, row: usize| resolved.compare(resolved.order[index], cells, key, row);
        let mut cursor = self.cursor.unwrap_or_else(|| {
            let staged = &resolved.order[partition.rows.clone()];
            let smaller = |position: &u32| resolved.compare(*position, cells, key, rows.start).is_lt();
            partition.rows.start + staged.partition_point(smaller)
        });
        for row in rows {
            while cursor < partition.rows.end && order(cursor, row).is_lt() {
                cursor += 1;
            }
            let replaced = cursor < partition.rows.end && order(cursor, row) == Ordering::Equal;
            let keep = if is_deleted(&partition.deletes, cells, key, row) {
                false
            } else if replaced {
                let same = (0..columns.len() - 1).all(|column| {
                    let new = target.positions[column]
                        .map_or(Cell::Null, |place| resolved.cell(resolved.order[cursor], place));
                    is_same(new, cells[column].get(row))
                });
                unchanged[cursor] |= same;
                same
            } else {
                true
            };
            keeps.append_value(keep);
        }
        self.cursor = Some(cursor);
    }

    /// What becomes of the slice, after all its rows were looked at.
    pub(super) fn fate(self) -> (Slice, Retention) {
        let fate = match (self.partition, self.keeps) {
            (None, _) => Retention::Stays,
            (Some(_), None) => Retention::Goes,
            (Some(_), Some(mut keeps)) => {
                let keeps = keeps.finish();
                match keeps.true_count() as u64 {
                    0 => Retention::Goes,
                    kept if kept == self.slice.rows => Retention::Stays,
                    _ => Retention::Keeps(keeps),
                }
            }
        };
        (self.slice, fate)
    }
}

/// Equal as stored values: NaN is NaN.
pub(super) fn is_same(a: Cell<'_>, b: Cell<'_>) -> bool {
    match (a, b) {
        (Cell::Double(a), Cell::Double(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
        _ => a == b,
    }
}
