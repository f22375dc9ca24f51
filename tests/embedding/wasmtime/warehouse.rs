//! Rows and state in SQLite, in one transaction for each checkpoint.

use chrono::{DateTime, Utc};
use rusqlite::types::Value as Cell;
use rusqlite::{Connection, Error, Result, params_from_iter};

use crate::connector::destination::StatePatch;
use crate::connector::types::{Batch, Column, ColumnValues, DataType, TableSchema};

/// A database with the tables of a schema, and one for the state. What was not committed when it is dropped is rolled back.
pub(crate) struct Warehouse {
    database: Connection,
}

impl Warehouse {
    pub(crate) fn open(file: &str, schema: &[TableSchema]) -> Result<Self> {
        let database = Connection::open(file)?;
        let state = "CREATE TABLE IF NOT EXISTS _state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID";
        database.execute_batch(state)?;
        for table in schema {
            let mut lines: Vec<String> = table
                .columns
                .iter()
                .map(|column| format!("{} {}", quoted(&column.name), sql_type(column.data_type)))
                .collect();
            let key: Vec<String> = table.primary_key.iter().map(|name| quoted(name)).collect();
            lines.push("_synced_at TEXT".to_owned());
            lines.push(format!("PRIMARY KEY ({})", key.join(", ")));
            let (name, lines) = (quoted(&table.name), lines.join(", "));
            database.execute_batch(&format!("CREATE TABLE IF NOT EXISTS {name} ({lines}) WITHOUT ROWID"))?;
        }
        database.execute_batch("BEGIN")?;
        Ok(Self { database })
    }

    /// The state so far.
    pub(crate) fn state(&self) -> Result<Vec<(String, String)>> {
        let mut statement = self.database.prepare("SELECT key, value FROM _state ORDER BY key")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    }

    /// Inserts rows, or replaces those whose key exists.
    pub(crate) fn upsert(&self, table: &str, rows: Batch) -> Result<()> {
        let names: Vec<_> = rows.columns.iter().map(|column| quoted(&column.name)).collect();
        let (names, places, now) = (names.join(", "), vec!["?"; names.len()].join(", "), time_text(Utc::now()));
        let table = quoted(table);
        let sql = format!("INSERT OR REPLACE INTO {table} ({names}, _synced_at) VALUES ({places}, '{now}')");
        self.for_each_row(&sql, rows)
    }

    /// Deletes the rows whose leading key columns have these values.
    pub(crate) fn delete(&self, table: &str, keys: Batch) -> Result<()> {
        let names: Vec<_> = keys.columns.iter().map(|column| format!("{} = ?", quoted(&column.name))).collect();
        self.for_each_row(&format!("DELETE FROM {} WHERE {}", quoted(table), names.join(" AND ")), keys)
    }

    /// Changes the state, and makes that and all rows before it durable together.
    pub(crate) fn checkpoint(&self, patch: StatePatch) -> Result<()> {
        for (key, value) in patch {
            match value {
                Some(value) => {
                    let sql = "INSERT OR REPLACE INTO _state VALUES (?, ?)";
                    self.database.prepare_cached(sql)?.execute([key, value])?;
                }
                None => {
                    self.database.prepare_cached("DELETE FROM _state WHERE key = ?")?.execute([key])?;
                }
            }
        }
        self.database.execute_batch("COMMIT; BEGIN")
    }

    fn for_each_row(&self, sql: &str, batch: Batch) -> Result<()> {
        let mut statement = self.database.prepare_cached(sql)?;
        let mut columns = batch.columns.into_iter().map(cells).collect::<Result<Vec<_>>>()?;
        while let Some(row) = columns.iter_mut().map(Iterator::next).collect::<Option<Vec<Cell>>>() {
            statement.execute(params_from_iter(row))?;
        }
        Ok(())
    }
}

/// A column as it is stored, cell by cell.
fn cells(column: Column) -> Result<std::vec::IntoIter<Cell>> {
    let mut cells: Vec<Cell> = match column.values {
        ColumnValues::Booleans(values) => values.into_iter().map(Cell::from).collect(),
        ColumnValues::Integers(values) => values.into_iter().map(Cell::from).collect(),
        ColumnValues::Doubles(values) => values.into_iter().map(Cell::from).collect(),
        ColumnValues::Texts(values) | ColumnValues::Jsons(values) => values.into_iter().map(Cell::from).collect(),
        ColumnValues::Dictionary(dictionary) => {
            let value = |key: &u32| dictionary.values.get(*key as usize).cloned().map(Cell::from);
            let cells = dictionary.keys.iter().map(value).collect::<Option<_>>();
            cells.ok_or(Error::InvalidParameterName("a key past the end of its dictionary".to_owned()))?
        }
        ColumnValues::Timestamps(values) => {
            let time = |at| DateTime::from_timestamp_micros(at).map_or(Cell::Null, |at| Cell::from(time_text(at)));
            values.into_iter().map(time).collect()
        }
    };
    for row in column.nulls {
        if let Some(cell) = cells.get_mut(row as usize) {
            *cell = Cell::Null;
        }
    }
    Ok(cells.into_iter())
}

fn sql_type(of: DataType) -> &'static str {
    match of {
        DataType::Boolean | DataType::Integer => "INTEGER",
        DataType::Double => "REAL",
        DataType::Text | DataType::Json | DataType::Timestamp => "TEXT",
    }
}

/// `2025-06-15T15:06:40.000000Z`.
fn time_text(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
