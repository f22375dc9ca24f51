//! SQLite as the tests for every kind see it.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::types::Value as Stored;
use rusqlite::{Connection, OpenFlags};

use crate::conformance::Subject;
use crate::conformance::data::{Contents, Value, contents, shown};
use crate::kind::Kind;
use elt_host::Table;

/// A database in a folder.
pub(crate) struct Sqlite;

fn path(folder: &Path) -> PathBuf {
    folder.join("w.db")
}

impl Subject for Sqlite {
    fn kind(&self) -> &'static dyn Kind {
        &super::KIND
    }

    fn place(&self, folder: &Path) -> String {
        format!("sqlite:{}", path(folder).display())
    }

    fn read(&self, folder: &Path, table: &Table) -> Contents {
        read(&path(folder), table)
    }

    fn lose(&self, folder: &Path, table: &Table) {
        Connection::open(path(folder)).unwrap().execute_batch(&format!("DROP TABLE \"{}\"", table.name())).unwrap();
    }

    fn unsettled(&self, folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut left: Vec<String> = names.filter(|name| name != "w.db").collect();
        let connection = Connection::open_with_flags(path(folder), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        if mode != "delete" {
            left.push(format!("the journal mode `{mode}`"));
        }
        left
    }
}

/// Reads a table of a database.
pub(crate) fn read(path: &Path, table: &Table) -> Contents {
    // Opening it to write would make the file.
    if !path.exists() {
        return Contents::new();
    }
    let connection = Connection::open(path).unwrap();
    if !connection.table_exists(None, table.name()).unwrap() {
        return Contents::new();
    }
    let columns: Vec<_> = table.columns().iter().map(|column| format!("\"{}\"", column.name)).collect();
    let sql = format!("SELECT {} FROM \"{}\"", columns.join(","), table.name());
    let mut statement = connection.prepare(&sql).unwrap();
    let rows = statement.query_map([], |row| {
        (0..columns.len())
            .map(|column| {
                Ok(shown(&match row.get(column)? {
                    Stored::Null => Value::Null,
                    Stored::Integer(value) => Value::Int(value),
                    Stored::Real(value) => Value::Double(value),
                    Stored::Text(value) => Value::Text(value),
                    Stored::Blob(_) => panic!("a blob"),
                }))
            })
            .collect()
    });
    contents(rows.unwrap().map(Result::unwrap).collect())
}
