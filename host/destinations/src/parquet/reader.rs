//! A Parquet destination that is only read: the rows that any reader of its folders sees, while no sync can change them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{RecordBatch, new_null_array};
use arrow_schema::{Field, Schema};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::catalog::Catalog;
use super::error::StoreError;
use super::generations::{self, Generations};
use super::part::batch_rows;
use crate::reader::{Encoding, Reader, RowSink, exact};
use elt_host::destination::lock::SyncLock;
use elt_host::{DestinationError, LostTable, State, Table};

/// The open folder.
pub struct ParquetReader {
    root: PathBuf,
    /// As the user wrote it.
    name: String,
    catalog: Catalog,
    // The last field: let go after the catalog is closed.
    _lock: Option<SyncLock>,
}

impl ParquetReader {
    /// Opens the folder, which must exist, and keeps syncs away from it.
    ///
    /// # Errors
    /// There is no data set of ours in it, it can't be read, or somebody writes to it.
    pub fn open(path: &Path) -> Result<Self, DestinationError> {
        let name = format!("parquet:{}", path.display());
        let refused = |why: &dyn std::fmt::Display| DestinationError::Refused(format!("{name} can't be read: {why}"));
        let root = path.canonicalize().map_err(|error| refused(&error))?;
        let home = root.join("_elt");
        if !home.join("catalog.db").is_file() {
            return Err(refused(&"there is no data set of ours in it. Run a sync first."));
        }
        let lock = SyncLock::acquire_for_reading(home.join("lock"), &name)?;
        let catalog = Catalog::look(&home.join("catalog.db")).map_err(|cause| refused(&cause))?;
        Ok(Self { root, name, catalog, _lock: lock })
    }

    fn files(&self, table: &Table) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(self.root.join(table.name())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut files = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "parquet"));
        files.sort();
        Ok(files)
    }

    fn failed(&self, cause: &StoreError) -> DestinationError {
        DestinationError::Failed(format!("reading {} failed: {cause}", self.name))
    }
}

impl Reader for ParquetReader {
    fn state(&self) -> Result<State, DestinationError> {
        self.catalog.state().map_err(|cause| self.failed(&cause))
    }

    fn lost_tables(&self, tables: &[Table]) -> Result<Vec<LostTable>, DestinationError> {
        let look = || -> Result<Vec<LostTable>, StoreError> {
            let generations = Generations::new(&self.root, self.catalog.generation()?);
            let mut missing = Vec::new();
            for table in tables {
                missing.extend(generations.missing(&self.catalog, table.name())?);
            }
            Ok(generations::lost(&missing))
        };
        look().map_err(|cause| self.failed(&cause))
    }

    fn encoding(&self) -> Encoding {
        exact
    }

    /// Null where a file lacks a column of the table.
    fn scan(&self, table: &Table, sink: &mut dyn RowSink) -> Result<(), DestinationError> {
        let files = self.files(table).map_err(|error| self.failed(&error.into()))?;
        for file in files {
            let failed = |cause: StoreError| self.failed(&StoreError::Failed(format!("{}: {cause}", file.display())));
            let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&file).map_err(|why| failed(why.into()))?);
            let reader = reader.map_err(|why| {
                failed(StoreError::Failed(format!("{why}. The file is damaged; the next sync reads its rows again.")))
            })?;
            let groups = reader.metadata().row_groups();
            let rows = groups.iter().map(|group| group.num_rows().max(0) as u64).sum();
            let bytes = groups.iter().map(|group| group.total_byte_size().max(0) as u64).sum();
            let reader = reader.with_batch_size(batch_rows(rows, bytes)).build().map_err(|why| failed(why.into()))?;
            for batch in reader {
                let batch = batch.map_err(|why| failed(why.into()))?;
                sink.unordered(&of_table(table, &batch).map_err(failed)?)?;
            }
        }
        Ok(())
    }

    /// A published generation does not change, and what was added to it is seen as rows that come twice.
    fn check_unchanged(&self) -> Result<(), DestinationError> {
        Ok(())
    }
}

/// The columns of `table`, in its order.
fn of_table(table: &Table, batch: &RecordBatch) -> Result<RecordBatch, StoreError> {
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    for column in table.columns() {
        let array = match batch.column_by_name(&column.name) {
            Some(array) => array.clone(),
            None => new_null_array(&column.data_type.arrow(), batch.num_rows()),
        };
        fields.push(Field::new(&column.name, array.data_type().clone(), true));
        arrays.push(array);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}
