//! Brings staged changes into the files: new rows go to new files, and files that hold replaced or deleted rows are
//! written again without them.
//!
//! Rows of the partitions that changed go to one series of files, the bystanders of rewritten files to another. So runs that
//! grow end up among themselves, and the next sync does not copy finished ones again.

use std::collections::{BTreeSet, HashMap};

use arrow_select::filter::filter_record_batch;

use super::catalog::{Catalog, LiveFile, Slice};
use super::error::StoreError;
use super::generations::Generations;
use super::merge_join::{MergeSide, Retention, SliceSplitter};
use super::new_rows::NewRows;
use super::part::{PartReader, PartWriter, Segment};
use super::sizes::Sizes;
use super::staged::{PartKey, Partition, Resolved, Staged};
use super::target::Target;
use crate::cells::Cells;

/// Small files are merged when this many of about one size have come together; each is about this many times smaller than what they become.
const MERGE: usize = 8;
/// The smallest size that counts, in bytes: a file with a handful of rows.
const LEAST_BYTES: u64 = 16 << 10;

/// What the open transaction writes to.
pub(super) struct Store<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) generations: &'a mut Generations,
    pub(super) sizes: Sizes,
}

/// A file to be written again, and what stays of each of its slices.
struct Rewrite {
    file: LiveFile,
    slices: Vec<(Slice, Retention)>,
}

impl Store<'_> {
    /// Writes what is staged.
    pub(super) fn flush(&mut self, target: &Target, staged: &Staged) -> Result<(), StoreError> {
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
        NewRows::new(target, staged, &resolved).write(self.generations, &mut changed, &unchanged)?;
        changed.close(self.generations)?;
        kept.close(self.generations)
    }

    /// Finds the stored rows that the staged ones replace or delete, and marks the staged rows that are stored already.
    fn compare(
        &self,
        target: &Target,
        resolved: &Resolved<'_>,
        unchanged: &mut [bool],
    ) -> Result<Vec<Rewrite>, StoreError> {
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
            let mut sides: Vec<MergeSide<'_>> = Vec::new();
            for slice in slices {
                let partition = partitions.get(&PartKey::new(&slice.part)).copied();
                sides.push(MergeSide::new(slice, partition));
            }
            let file = self.catalog.file(id)?;
            if sides.iter().any(MergeSide::needs_reading) {
                let path = self.generations.path(&target.layout.table, id);
                let mut walk = SliceSplitter::new(sides.iter().map(MergeSide::rows));
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
            let slices: Vec<(Slice, Retention)> = sides.into_iter().map(MergeSide::fate).collect();
            if slices.iter().any(|(_, fate)| !matches!(fate, Retention::Stays)) {
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
    ) -> Result<(), StoreError> {
        let path = self.generations.path(&target.layout.table, rewrite.file.id);
        if rewrite.slices.iter().any(|(_, fate)| !matches!(fate, Retention::Goes)) {
            let mut walk = SliceSplitter::new(rewrite.slices.iter().map(|(slice, _)| slice.rows));
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
                        Retention::Goes => {}
                        Retention::Stays => kept.write(self.generations, &part, [segment(slice, length, goes_on)])?,
                        Retention::Keeps(keeps) => {
                            let part = filter_record_batch(&part, &keeps.slice(before, length))?;
                            let segment = segment(slice, part.num_rows(), goes_on);
                            changed.write(self.generations, &part, [segment])?;
                        }
                    }
                }
            }
        }
        self.remove(target, rewrite.file.id)
    }

    fn remove(&mut self, target: &Target, id: i64) -> Result<(), StoreError> {
        self.generations.remove(&target.layout.table, id)?;
        self.catalog.remove_file(id)
    }

    /// Removes every file.
    pub(super) fn clear(&mut self, target: &Target) -> Result<(), StoreError> {
        for file in self.catalog.files(&target.layout.table)? {
            self.remove(target, file.id)?;
        }
        Ok(())
    }

    /// Writes files again that lack new columns, so that all files of a data set have the same ones.
    pub(super) fn modernise(&mut self, target: &Target) -> Result<(), StoreError> {
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
    pub(super) fn settle(&mut self, target: &Target) -> Result<(), StoreError> {
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
    fn merge(&mut self, target: &Target, files: Vec<LiveFile>) -> Result<(), StoreError> {
        let mut writer = PartWriter::new(&target.layout, self.catalog, self.sizes);
        for file in files {
            let slices = self.catalog.slices(file.id)?;
            let mut walk = SliceSplitter::new(slices.iter().map(|slice| slice.rows));
            let mut begun = vec![false; slices.len()];
            let path = self.generations.path(&target.layout.table, file.id);
            for batch in PartReader::open(&target.layout, &path, &file)? {
                let batch = batch?;
                let parts = walk.step(batch.num_rows());
                let segments = parts.iter().filter_map(|(place, rows)| {
                    let goes_on = std::mem::replace(begun.get_mut(*place)?, true);
                    Some(segment(slices.get(*place)?, rows.len(), goes_on))
                });
                writer.write(self.generations, &batch, segments)?;
            }
            self.remove(target, file.id)?;
        }
        writer.close(self.generations)
    }
}

fn segment(slice: &Slice, rows: usize, goes_on: bool) -> Segment {
    Segment { part: slice.part.clone(), rows: rows as u64, low: slice.low, high: slice.high, goes_on }
}
