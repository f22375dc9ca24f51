//! Part files: written in pieces of bounded size, and read back.

use std::fs::File;
use std::path::Path;

use arrow_array::{RecordBatch, RecordBatchReader};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use rusqlite::types::Value;

use super::catalog::{Catalog, LiveFile, Slice};
use super::error::StoreError;
use super::generations::Generations;
use super::layout::Layout;
use super::sizes::Sizes;

/// Bytes of rows that are held as one batch.
const BATCH_BYTES: u64 = 4 << 20;

/// How many rows of this average size make one batch.
pub(super) fn batch_rows(rows: u64, bytes: u64) -> usize {
    let row = bytes / rows.max(1);
    (BATCH_BYTES / row.max(1)).clamp(16, 8 << 10) as usize
}

/// Rows of one partition, in key order, next to each other in a batch.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) part: Value,
    pub(super) rows: u64,
    pub(super) low: Option<i64>,
    pub(super) high: Option<i64>,
    /// These rows go on, in key order, where the stretch before them ended.
    pub(super) goes_on: bool,
}

/// Writes rows to as many files as it takes.
pub(super) struct PartWriter<'a> {
    layout: &'a Layout,
    catalog: &'a Catalog,
    sizes: Sizes,
    open: Option<Open>,
}

struct Open {
    id: i64,
    writer: ArrowWriter<File>,
    rows: u64,
    slices: Vec<Slice>,
}

impl<'a> PartWriter<'a> {
    pub(super) fn new(layout: &'a Layout, catalog: &'a Catalog, sizes: Sizes) -> Self {
        Self { layout, catalog, sizes, open: None }
    }

    /// Writes a batch whose rows are described by `stretches`, in order.
    pub(super) fn write(
        &mut self,
        generations: &mut Generations,
        rows: &RecordBatch,
        segments: impl IntoIterator<Item = Segment>,
    ) -> Result<(), StoreError> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let sizes = self.sizes;
        let full = |open: &Open| {
            let bytes = open.writer.bytes_written() + open.writer.in_progress_size();
            open.rows >= sizes.file_rows || bytes as u64 >= sizes.file_bytes
        };
        if self.open.as_ref().is_some_and(full) {
            self.close(generations)?;
        }
        if self.open.is_none() {
            self.open = Some(self.create(generations)?);
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        open.writer.write(rows)?;
        for segment in segments {
            open.add(segment);
        }
        Ok(())
    }

    /// An empty file, so that a data set without rows can be read too.
    pub(super) fn write_empty(&mut self, generations: &mut Generations) -> Result<(), StoreError> {
        self.open = Some(self.create(generations)?);
        self.close(generations)
    }

    fn create(&self, generations: &Generations) -> Result<Open, StoreError> {
        let id = self.catalog.next_file()?;
        let file = File::create(generations.path(&self.layout.table, id))?;
        let writer = ArrowWriter::try_new(file, self.layout.schema.clone(), Some(self.layout.properties()))?;
        Ok(Open { id, writer, rows: 0, slices: Vec::new() })
    }

    /// Makes the open file durable and enters it in the catalog.
    pub(super) fn close(&mut self, generations: &mut Generations) -> Result<(), StoreError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let metadata = open.writer.finish()?;
        let file = open.writer.inner();
        file.sync_all()?;
        let memory = metadata.row_groups().iter().map(|group| group.total_byte_size().max(0) as u64).sum();
        let live = LiveFile { id: open.id, rows: open.rows, bytes: file.metadata()?.len(), memory };
        self.catalog.add_file(&self.layout.table, &live, &open.slices)?;
        generations.add(&self.layout.table, open.id);
        Ok(())
    }
}

impl Open {
    fn add(&mut self, segment: Segment) {
        let first = self.rows;
        self.rows += segment.rows;
        let after = |last: &Slice| {
            last.part == segment.part
                && (segment.goes_on || last.high.is_some_and(|high| segment.low.is_some_and(|low| high < low)))
        };
        match self.slices.last_mut() {
            Some(last) if after(last) => {
                last.rows += segment.rows;
                last.low = last.low.min(segment.low);
                last.high = last.high.max(segment.high);
            }
            _ => self.slices.push(Slice {
                part: segment.part,
                first,
                rows: segment.rows,
                low: segment.low,
                high: segment.high,
            }),
        }
    }
}

/// Reads a part file from its beginning, as rows of `layout`.
pub(super) struct PartReader<'a> {
    layout: &'a Layout,
    reader: ParquetRecordBatchReader,
}

impl<'a> PartReader<'a> {
    pub(super) fn open(layout: &'a Layout, path: &Path, file: &LiveFile) -> Result<Self, StoreError> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
        let reader = builder.with_batch_size(batch_rows(file.rows, file.memory)).build()?;
        Ok(Self { layout, reader })
    }

    /// Whether the file has all of the layout's columns.
    pub(super) fn is_current(&self) -> bool {
        self.reader.schema().fields().len() == self.layout.schema.fields().len()
    }
}

impl Iterator for PartReader<'_> {
    type Item = Result<RecordBatch, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.reader.next()?;
        Some(batch.map_err(StoreError::from).and_then(|batch| self.layout.widen(batch)))
    }
}
