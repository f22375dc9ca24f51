//! The staged rows, written in key order.

use arrow_array::{RecordBatch, UInt32Array};
use arrow_select::interleave::interleave_record_batch;
use arrow_select::take::take_record_batch;

use super::error::StoreError;
use super::generations::Generations;
use super::layout::plain_text;
use super::part::{PartWriter, Segment, batch_rows};
use super::staged::{Resolved, Staged};
use super::target::Target;

/// Writes the staged rows.
pub(super) struct NewRows<'a> {
    target: &'a Target,
    staged: &'a Staged,
    resolved: &'a Resolved<'a>,
    chunk: Vec<u32>,
    segments: Vec<Segment>,
}

impl<'a> NewRows<'a> {
    pub(super) fn new(target: &'a Target, staged: &'a Staged, resolved: &'a Resolved<'a>) -> Self {
        Self { target, staged, resolved, chunk: Vec::new(), segments: Vec::new() }
    }

    /// Writes all rows but those that are `unchanged`.
    pub(super) fn write(
        mut self,
        generations: &mut Generations,
        writer: &mut PartWriter<'_>,
        unchanged: &[bool],
    ) -> Result<(), StoreError> {
        let most = batch_rows(self.staged.rows as u64, self.staged.bytes as u64);
        for partition in &self.resolved.partitions {
            let mut begun = false;
            let mut start = partition.rows.start;
            while start < partition.rows.end {
                let disk_full = most - self.chunk.len();
                let before = self.chunk.len();
                let mut end = start;
                while end < partition.rows.end && self.chunk.len() - before < disk_full {
                    if !unchanged[end] {
                        self.chunk.push(self.resolved.order[end]);
                    }
                    end += 1;
                }
                start = end;
                if let Some((first, last)) = self.chunk.get(before).zip(self.chunk.last()) {
                    let (low, high) = (self.resolved.second(*first), self.resolved.second(*last));
                    let rows = (self.chunk.len() - before) as u64;
                    self.segments.push(Segment { part: partition.value.clone(), rows, low, high, goes_on: begun });
                    begun = true;
                }
                if self.chunk.len() >= most {
                    self.emit(generations, writer)?;
                }
            }
        }
        self.emit(generations, writer)
    }

    fn emit(&mut self, generations: &mut Generations, writer: &mut PartWriter<'_>) -> Result<(), StoreError> {
        let places: Vec<(usize, usize)> = self.chunk.drain(..).map(|position| self.resolved.place(position)).collect();
        let Some(&(first, _)) = places.first() else { return Ok(()) };
        let rows = if places.iter().all(|(batch, _)| *batch == first) {
            let rows: UInt32Array = places.iter().map(|(_, row)| *row as u32).collect::<Vec<_>>().into();
            take_record_batch(&self.staged.batches[first], &rows)?
        } else {
            self.gather(&places)?
        };
        let rows = self.target.layout.rows(&rows, &self.target.positions, self.target.synced_at)?;
        writer.write(generations, &rows, self.segments.drain(..))
    }

    /// Rows of several batches as one; text becomes plain text when it is a dictionary in some batches only.
    fn gather(&self, places: &[(usize, usize)]) -> Result<RecordBatch, StoreError> {
        let mut used: Vec<usize> = places.iter().map(|(batch, _)| *batch).collect();
        used.sort_unstable();
        used.dedup();
        let batches: Vec<&RecordBatch> = used.iter().map(|&batch| &self.staged.batches[batch]).collect();
        let same = batches.iter().all(|batch| {
            let types = batch.columns().iter().map(|array| array.data_type());
            types.eq(batches[0].columns().iter().map(|array| array.data_type()))
        });
        let plain: Vec<RecordBatch>;
        let batches = if same {
            batches
        } else {
            plain = batches.into_iter().map(plain_text).collect::<Result<_, _>>()?;
            plain.iter().collect()
        };
        let places: Vec<(usize, usize)> =
            places.iter().map(|(batch, row)| (used.partition_point(|other| other < batch), *row)).collect();
        Ok(interleave_record_batch(&batches, &places)?)
    }
}
