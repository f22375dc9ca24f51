//! A Parquet destination as a database in memory, so that it is compared with the truth as a SQLite destination is.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::compare::time;

/// The tables, with their columns as they lie in the files.
const TABLES: [(&str, &str, &str); 3] = [
    (
        "runs",
        "run_id, name, state, user, created_at, updated_at, tags, config_json, summary_json, _synced_at",
        "run_id",
    ),
    ("metrics", "run_id, step, metric_name, metric_value, timestamp, _synced_at", "run_id, step, metric_name"),
    ("metric_objects", "run_id, step, metric_name, value_json, timestamp, _synced_at", "run_id, step, metric_name"),
];

/// Reads the data sets `<folder>/runs`, `<folder>/metrics` and `<folder>/metric_objects`; what is not there is empty.
///
/// # Errors
/// A file is not whole, is no Parquet file, lacks a column, or a key occurs twice.
pub fn load_parquet(folder: &Path) -> anyhow::Result<Connection> {
    let mut database = Connection::open_in_memory()?;
    let transaction = database.transaction()?;
    for (table, columns, key) in TABLES {
        transaction.execute_batch(&format!("CREATE TABLE {table} ({columns}, PRIMARY KEY ({key})) WITHOUT ROWID"))?;
        let columns: Vec<&str> = columns.split(", ").collect();
        let marks = vec!["?"; columns.len()].join(", ");
        let mut insert = transaction.prepare(&format!("INSERT INTO {table} VALUES ({marks})"))?;
        let data_set = folder.join(table);
        if !data_set.exists() {
            continue;
        }
        for file in fs::read_dir(&data_set)? {
            let path = file?.path();
            ensure!(path.extension().is_some_and(|it| it == "parquet"), "{} is no data file", path.display());
            let mut rows = || -> anyhow::Result<()> {
                for row in SerializedFileReader::new(File::open(&path)?)?.get_row_iter(None)? {
                    let row = row?;
                    let mut values = vec![None; columns.len()];
                    for (name, field) in row.get_column_iter() {
                        let column = columns.iter().position(|column| column == name);
                        values[column.with_context(|| format!("column {name}"))?] = Some(value(field)?);
                    }
                    let values: Option<Vec<Value>> = values.into_iter().collect();
                    insert.execute(params_from_iter(values.context("a column is missing")?))?;
                }
                Ok(())
            };
            rows().with_context(|| path.display().to_string())?;
        }
    }
    transaction.commit()?;
    Ok(database)
}

fn value(field: &Field) -> anyhow::Result<Value> {
    Ok(match field {
        Field::Null => Value::Null,
        Field::Str(text) => Value::Text(text.clone()),
        Field::Long(number) => Value::Integer(*number),
        // NaN becomes NULL, as in a SQLite destination.
        Field::Double(number) => Value::Real(*number),
        Field::TimestampMicros(at) => Value::Text(time(*at)),
        other => bail!("{other:?} is of no type that a table has"),
    })
}
