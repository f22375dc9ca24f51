//! Parquet data sets as the tests for every kind see them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rusqlite::{Connection, OpenFlags};

use super::destination;
use crate::conformance::Subject;
use crate::conformance::data::{Contents, contents, rows_of};
use crate::guarded::Guarded;
use crate::kind::{Access, Kind};
use elt_host::{Destination, Table};

/// Data sets in a folder.
pub(crate) struct Parquet;

/// The same with everything cut small.
pub(crate) struct SmallParquet;

fn path(folder: &Path) -> PathBuf {
    folder.join("w")
}

impl Subject for Parquet {
    fn kind(&self) -> &'static dyn Kind {
        &super::KIND
    }

    fn place(&self, folder: &Path) -> String {
        format!("parquet:{}", path(folder).display())
    }

    fn read(&self, folder: &Path, table: &Table) -> Contents {
        read(&path(folder), table)
    }

    fn lose(&self, folder: &Path, table: &Table) {
        fs::remove_dir_all(path(folder).join(table.name()).canonicalize().unwrap()).unwrap();
    }

    fn unsettled(&self, folder: &Path) -> Vec<String> {
        let home = path(folder).join("_elt");
        let names = fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let stays = |name: &str| name == "catalog.db" || name == "current" || name.starts_with("generation-");
        let mut left: Vec<String> = names.filter(|name| !stays(name)).collect();
        let connection =
            Connection::open_with_flags(home.join("catalog.db"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        if mode != "delete" {
            left.push(format!("the journal mode `{mode}`"));
        }
        left
    }
}

impl Subject for SmallParquet {
    fn kind(&self) -> &'static dyn Kind {
        Parquet.kind()
    }

    fn place(&self, folder: &Path) -> String {
        Parquet.place(folder)
    }

    fn read(&self, folder: &Path, table: &Table) -> Contents {
        Parquet.read(folder, table)
    }

    fn lose(&self, folder: &Path, table: &Table) {
        Parquet.lose(folder, table);
    }

    fn unsettled(&self, folder: &Path) -> Vec<String> {
        Parquet.unsettled(folder)
    }

    fn open(&self, folder: &Path) -> Box<dyn Destination> {
        let inner = destination::Parquet::open(&path(folder), Access::ReadWrite).unwrap().with_small_sizes();
        Box::new(Guarded::new(Box::new(inner), self.place(folder), Access::ReadWrite))
    }
}

/// Reads a data set: every file that the pattern `DIR/<table>/*.parquet` finds.
pub(crate) fn read(path: &Path, table: &Table) -> Contents {
    let mut rows = Vec::new();
    let Ok(files) = fs::read_dir(path.join(table.name())) else { return Contents::new() };
    for file in files {
        let file = File::open(file.unwrap().path()).unwrap();
        for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
            rows.extend(rows_of(table, &batch.unwrap()));
        }
    }
    contents(rows)
}
