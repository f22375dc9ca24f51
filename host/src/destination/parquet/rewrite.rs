//! Brings staged changes into the files: new rows go to new files, and files that hold replaced or deleted rows are
//! written again without them.
//!
//! Rows of the partitions that changed go to one series of files, the bystanders of rewritten files to another. So runs that
//! grow end up among themselves, and the next sync does not copy finished ones again.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};

use arrow_array::builder::BooleanBuilder;
use arrow_array::{BooleanArray, RecordBatch, UInt32Array};
use arrow_select::filter::filter_record_batch;
use arrow_select::interleave::interleave_record_batch;
use arrow_select::take::take_record_batch;

use super::catalog::{Catalog, LiveFile, Slice};
use super::generations::Generations;
use super::layout::Layout;
use super::part::{PartReader, PartWriter, Stretch, batch_rows};
use super::staged::{PartKey, Partition, Resolved, Staged, is_deleted};
use super::{Sizes, Trouble};
use crate::destination::cells::{Cell, Cells};
use crate::schema::{Column, Table};

/// Small files are merged when this many of about one size have come together; each is about this many times smaller than what they become.
const MERGE: usize = 8;
/// The smallest size that counts, in bytes: a file with a handful of rows.
const LEAST_BYTES: u64 = 16 << 10;

/// One table of a sync.
pub(super) struct Target {
    pub(super) table: Table,
    pub(super) layout: Layout,
    /// For each of the layout's columns its place in a batch.
    pub(super) positions: Vec<Option<usize>>,
    pub(super) synced_at: i64,
}

/// What the open transaction writes to.
pub(super) struct Store<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) generations: &'a mut Generations,
    pub(super) sizes: Sizes,
}

/// A file to be written again, and what stays of each of its slices.
struct Rewrite {
    file: LiveFile,
    slices: Vec<(Slice, Fate)>,
}

/// What becomes of a slice.
enum Fate {
    /// Its partition did not change here.
    Stays,
    /// All of it is replaced or deleted.
    Goes,
    /// Some rows stay.
    Keeps(BooleanArray),
}

impl Store<'_> {
    /// Writes what is staged.
    pub(super) fn flush(&mut self, target: &Target, staged: &Staged) -> Result<(), Trouble> {
        if staged.is_empty() {
            return Ok(());
        }
        let resolved = Resolved::new(staged, &target.table)?;
        let mut unchanged = vec![false; resolved.order.len()];
        let rewrites = self.compare(target, &resolved, &mut unchanged)?;
        let mut changed = PartWriter::new(&target.layout, self.catalog, self.sizes);
        let mut kept = PartWriter::new(&target.layout, self.catalog, self.sizes);
        for rewrite in rewrites {
            self.rewrite(target, rewrite, &mut changed, &mut kept)?;
        }
        let rows = NewRows { target, staged, resolved: &resolved, chunk: Vec::new(), stretches: Vec::new() };
        rows.write(self.generations, &mut changed, &unchanged)?;
        changed.close(self.generations)?;
        kept.close(self.generations)
    }

    /// Finds the stored rows that the staged ones replace or delete, and marks the staged rows that are stored already.
    fn compare(
        &self,
        target: &Target,
        resolved: &Resolved<'_>,
        unchanged: &mut [bool],
    ) -> Result<Vec<Rewrite>, Trouble> {
        let mut partitions: HashMap<PartKey, &Partition> = HashMap::new();
        let mut files = BTreeSet::new();
        for partition in &resolved.partitions {
            let (low, high) = (partition.low, partition.high);
            files.extend(self.catalog.files_with(&target.layout.table, &partition.value, low, high)?);
            partitions.insert(PartKey::new(&partition.value), partition);
        }
        let columns = target.layout.stored_columns();
        let mut rewrites = Vec::new();
        for id in files {
            let slices = self.catalog.slices(id)?;
            let mut sides: Vec<Side<'_>> = Vec::new();
            for slice in slices {
                let partition = partitions.get(&PartKey::new(&slice.part)).copied();
                sides.push(Side::new(slice, partition));
            }
            let file = self.catalog.file(id)?;
            if sides.iter().any(|side| side.keeps.is_some()) {
                let path = self.generations.path(&target.layout.table, id);
                let mut walk = Walk::new(sides.iter().map(|side| side.slice.rows));
                for batch in PartReader::open(&target.layout, &path, &file)? {
                    let batch = batch?;
                    let cells = Cells::all(columns.iter(), &batch)?;
                    for (place, rows) in walk.step(batch.num_rows()) {
                        if let Some(side) = sides.get_mut(place) {
                            side.compare(target, resolved, &columns, &cells, rows, unchanged);
                        }
                    }
                }
            }
            let slices: Vec<(Slice, Fate)> = sides.into_iter().map(Side::fate).collect();
            if slices.iter().any(|(_, fate)| !matches!(fate, Fate::Stays)) {
                rewrites.push(Rewrite { file, slices });
            }
        }
        Ok(rewrites)
    }

    fn rewrite(
        &mut self,
        target: &Target,
        rewrite: Rewrite,
        changed: &mut PartWriter<'_>,
        kept: &mut PartWriter<'_>,
    ) -> Result<(), Trouble> {
        let path = self.generations.path(&target.layout.table, rewrite.file.id);
        if rewrite.slices.iter().any(|(_, fate)| !matches!(fate, Fate::Goes)) {
            let mut walk = Walk::new(rewrite.slices.iter().map(|(slice, _)| slice.rows));
            let mut done = vec![0; rewrite.slices.len()];
            for batch in PartReader::open(&target.layout, &path, &rewrite.file)? {
                let batch = batch?;
                for (place, rows) in walk.step(batch.num_rows()) {
                    let Some((slice, fate)) = rewrite.slices.get(place) else { continue };
                    let (start, length) = (rows.start, rows.len());
                    let part = batch.slice(start, length);
                    let before = done[place];
                    done[place] += length;
                    let goes_on = before > 0;
                    match fate {
                        Fate::Goes => {}
                        Fate::Stays => kept.write(self.generations, &part, [stretch(slice, length, goes_on)])?,
                        Fate::Keeps(keeps) => {
                            let part = filter_record_batch(&part, &keeps.slice(before, length))?;
                            let stretch = stretch(slice, part.num_rows(), goes_on);
                            changed.write(self.generations, &part, [stretch])?;
                        }
                    }
                }
            }
        }
        self.remove(target, rewrite.file.id)
    }

    fn remove(&mut self, target: &Target, id: i64) -> Result<(), Trouble> {
        self.generations.remove(&target.layout.table, id)?;
        self.catalog.remove_file(id)
    }

    /// Removes every file.
    pub(super) fn clear(&mut self, target: &Target) -> Result<(), Trouble> {
        for file in self.catalog.files(&target.layout.table)? {
            self.remove(target, file.id)?;
        }
        Ok(())
    }

    /// Writes files again that lack new columns, so that all files of a data set have the same ones.
    pub(super) fn modernise(&mut self, target: &Target) -> Result<(), Trouble> {
        let mut old = Vec::new();
        for file in self.catalog.files(&target.layout.table)? {
            let path = self.generations.path(&target.layout.table, file.id);
            if !PartReader::open(&target.layout, &path, &file)?.is_current() {
                old.push(file);
            }
        }
        self.merge(target, old)
    }

    /// At the end of a transaction: merges small files, and keeps an empty file in a data set without rows.
    pub(super) fn settle(&mut self, target: &Target) -> Result<(), Trouble> {
        loop {
            let mut sizes: HashMap<u32, Vec<LiveFile>> = HashMap::new();
            for file in self.catalog.files(&target.layout.table)? {
                if file.rows > 0 && file.rows < self.sizes.file_rows / 2 && file.bytes < self.sizes.file_bytes / 2 {
                    let size = (file.bytes / LEAST_BYTES).max(1).ilog(MERGE as u64);
                    sizes.entry(size).or_default().push(file);
                }
            }
            match sizes.into_values().find(|files| files.len() >= MERGE) {
                Some(files) => self.merge(target, files)?,
                None => break,
            }
        }
        let files = self.catalog.files(&target.layout.table)?;
        let (empty, full): (Vec<_>, Vec<_>) = files.iter().partition(|file| file.rows == 0);
        if files.is_empty() {
            PartWriter::new(&target.layout, self.catalog, self.sizes).write_empty(self.generations)?;
        }
        if !full.is_empty() {
            for file in empty {
                self.remove(target, file.id)?;
            }
        }
        Ok(())
    }

    /// Writes all rows of `files` to new ones.
    fn merge(&mut self, target: &Target, files: Vec<LiveFile>) -> Result<(), Trouble> {
        let mut writer = PartWriter::new(&target.layout, self.catalog, self.sizes);
        for file in files {
            let slices = self.catalog.slices(file.id)?;
            let mut walk = Walk::new(slices.iter().map(|slice| slice.rows));
            let mut begun = vec![false; slices.len()];
            let path = self.generations.path(&target.layout.table, file.id);
            for batch in PartReader::open(&target.layout, &path, &file)? {
                let batch = batch?;
                let parts = walk.step(batch.num_rows());
                let stretches = parts.iter().filter_map(|(place, rows)| {
                    let goes_on = std::mem::replace(begun.get_mut(*place)?, true);
                    Some(stretch(slices.get(*place)?, rows.len(), goes_on))
                });
                writer.write(self.generations, &batch, stretches)?;
            }
            self.remove(target, file.id)?;
        }
        writer.close(self.generations)
    }
}

fn stretch(slice: &Slice, rows: usize, goes_on: bool) -> Stretch {
    Stretch { part: slice.part.clone(), rows: rows as u64, low: slice.low, high: slice.high, goes_on }
}

/// Divides the batches of a file by its slices.
struct Walk {
    /// Rows left in each slice, the first ones first.
    left: Vec<u64>,
    place: usize,
}

impl Walk {
    fn new(rows: impl Iterator<Item = u64>) -> Self {
        Self { left: rows.collect(), place: 0 }
    }

    /// For the next `rows` rows: the slices that they belong to, and which rows of the batch are theirs.
    fn step(&mut self, rows: usize) -> Vec<(usize, std::ops::Range<usize>)> {
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
struct Side<'a> {
    slice: Slice,
    partition: Option<&'a Partition>,
    /// For each row read so far whether it stays; none when no row need be looked at.
    keeps: Option<BooleanBuilder>,
    /// The first staged row that is not smaller than the stored row last read.
    cursor: Option<usize>,
}

impl<'a> Side<'a> {
    fn new(slice: Slice, partition: Option<&'a Partition>) -> Self {
        let overlaps = |partition: &Partition| match (partition.low, partition.high, slice.low, slice.high) {
            (Some(low), Some(high), Some(from), Some(to)) => from <= high && to >= low,
            _ => true,
        };
        let partition = partition.filter(|partition| partition.cleared || overlaps(partition));
        let keeps = partition.filter(|partition| !partition.cleared).map(|_| BooleanBuilder::new());
        Self { slice, partition, keeps, cursor: None }
    }

    fn compare(
        &mut self,
        target: &Target,
        resolved: &Resolved<'_>,
        columns: &[Column],
        cells: &[Cells<'_>],
        rows: std::ops::Range<usize>,
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

    fn fate(self) -> (Slice, Fate) {
        let fate = match (self.partition, self.keeps) {
            (None, _) => Fate::Stays,
            (Some(_), None) => Fate::Goes,
            (Some(_), Some(mut keeps)) => {
                let keeps = keeps.finish();
                match keeps.true_count() as u64 {
                    0 => Fate::Goes,
                    kept if kept == self.slice.rows => Fate::Stays,
                    _ => Fate::Keeps(keeps),
                }
            }
        };
        (self.slice, fate)
    }
}

/// Equal as stored values: NaN is NaN.
fn is_same(a: Cell<'_>, b: Cell<'_>) -> bool {
    match (a, b) {
        (Cell::Double(a), Cell::Double(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
        _ => a == b,
    }
}

/// Writes the staged rows in key order.
struct NewRows<'a> {
    target: &'a Target,
    staged: &'a Staged,
    resolved: &'a Resolved<'a>,
    chunk: Vec<u32>,
    stretches: Vec<Stretch>,
}

impl NewRows<'_> {
    fn write(
        mut self,
        generations: &mut Generations,
        writer: &mut PartWriter<'_>,
        unchanged: &[bool],
    ) -> Result<(), Trouble> {
        let most = batch_rows(self.staged.rows as u64, self.staged.bytes as u64);
        for partition in &self.resolved.partitions {
            let mut begun = false;
            let mut start = partition.rows.start;
            while start < partition.rows.end {
                let room = most - self.chunk.len();
                let before = self.chunk.len();
                let mut end = start;
                while end < partition.rows.end && self.chunk.len() - before < room {
                    if !unchanged[end] {
                        self.chunk.push(self.resolved.order[end]);
                    }
                    end += 1;
                }
                start = end;
                if let Some((first, last)) = self.chunk.get(before).zip(self.chunk.last()) {
                    let (low, high) = (self.resolved.second(*first), self.resolved.second(*last));
                    let rows = (self.chunk.len() - before) as u64;
                    self.stretches.push(Stretch { part: partition.value.clone(), rows, low, high, goes_on: begun });
                    begun = true;
                }
                if self.chunk.len() >= most {
                    self.emit(generations, writer)?;
                }
            }
        }
        self.emit(generations, writer)
    }

    fn emit(&mut self, generations: &mut Generations, writer: &mut PartWriter<'_>) -> Result<(), Trouble> {
        let places: Vec<(usize, usize)> = self.chunk.drain(..).map(|position| self.resolved.place(position)).collect();
        let Some(&(first, _)) = places.first() else { return Ok(()) };
        let rows = if places.iter().all(|(batch, _)| *batch == first) {
            let rows: UInt32Array = places.iter().map(|(_, row)| *row as u32).collect::<Vec<_>>().into();
            take_record_batch(&self.staged.batches[first], &rows)?
        } else {
            self.gather(&places)?
        };
        let rows = self.target.layout.rows(&rows, &self.target.positions, self.target.synced_at)?;
        writer.write(generations, &rows, self.stretches.drain(..))
    }

    /// Rows of several batches as one; text becomes plain text when it is a dictionary in some batches only.
    fn gather(&self, places: &[(usize, usize)]) -> Result<RecordBatch, Trouble> {
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

fn plain_text(batch: &RecordBatch) -> Result<RecordBatch, Trouble> {
    use arrow_array::cast::AsArray;
    use arrow_array::types::UInt32Type;
    use arrow_schema::{Field, Schema};
    let mut arrays = Vec::new();
    for array in batch.columns() {
        arrays.push(match array.as_dictionary_opt::<UInt32Type>() {
            Some(text) => arrow_select::take::take(text.values(), text.keys(), None)?,
            None => array.clone(),
        });
    }
    let schema = batch.schema();
    let fields = schema.fields().iter().zip(&arrays);
    let fields: Vec<Field> =
        fields.map(|(field, array)| Field::new(field.name(), array.data_type().clone(), field.is_nullable())).collect();
    Ok(RecordBatch::try_new(std::sync::Arc::new(Schema::new(fields)), arrays)?)
}
