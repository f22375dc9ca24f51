//! Rows into a table: multi-row upserts, and deletes by a leading part of the key.
//!
//! What makes it fast: statements of many rows, prepared once; rows in key order, so that neighbours go to one
//! page; and values that rows of one statement share (`_synced_at`, and the first key column while it does not change)
//! bound once instead of once a row.

use arrow_array::RecordBatch;
use rusqlite::types::Null;
use rusqlite::{CachedStatement, Connection, Statement};

use super::schema::{SYNCED_AT, quote};
use crate::cells::{Cell, Cells};
use crate::order;
use crate::timestamp::TimestampText;
use elt_host::{DestinationError, Table};

/// Rows of one statement, largest first. More than 64 gained nothing measurable; the small ones are for remainders.
const SIZES: [usize; 4] = [64, 16, 4, 1];

/// How many parameters a statement may have, by SQLite's default.
const MOST_PARAMETERS: usize = 32_766;

/// One table's statements, as text.
pub struct TableSql {
    table: Table,
    /// The first of [`SIZES`] that a statement has parameters enough for.
    largest: usize,
    /// By the place in [`SIZES`]; every row with its own first key column.
    upserts: [String; SIZES.len()],
    /// The same with one first key column for all rows; none when the key has no other column.
    shared_upserts: Option<[String; SIZES.len()]>,
    /// Deletes everything.
    pub(crate) clear: String,
}

/// Why rows could not be written.
pub enum RowsError {
    /// SQLite refused.
    Sqlite(rusqlite::Error),
    /// They do not fit the table.
    Misfit(DestinationError),
}

impl From<rusqlite::Error> for RowsError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<DestinationError> for RowsError {
    fn from(error: DestinationError) -> Self {
        Self::Misfit(error)
    }
}

impl TableSql {
    /// The statements for `table`.
    pub fn new(table: Table) -> Self {
        let upserts = SIZES.map(|rows| upsert(&table, rows, None));
        let shared = (table.primary_key().len() > 1)
            .then(|| SIZES.map(|rows| upsert(&table, rows, Some(table.primary_key()[0]))));
        let clear = format!("DELETE FROM {}", quote(table.name()));
        let fits = |rows: &usize| rows * table.columns().len() + 2 <= MOST_PARAMETERS;
        let largest = SIZES.iter().position(fits).unwrap_or(SIZES.len() - 1);
        Self { table, largest, upserts, shared_upserts: shared, clear }
    }

    /// Inserts or replaces. Rows that are stored with the same values already stay as they are, `_synced_at` included.
    pub fn upsert(&self, connection: &Connection, rows: &RecordBatch, synced_at: &str) -> Result<(), RowsError> {
        let cells = Cells::all(self.table.columns().iter(), rows)?;
        let order = order::of_batch(&cells, rows.num_rows(), self.table.primary_key());
        let row_at = |place: usize| order.as_ref().map_or(place, |order| order[place] as usize);
        let first_key = self.table.primary_key()[0];
        let mut statements = Statements::new(connection, self, synced_at);
        let mut text = TimestampText::new();
        let mut place = 0;
        while place < rows.num_rows() {
            let left = rows.num_rows() - place;
            let size = (self.largest..SIZES.len()).find(|&size| SIZES[size] <= left).unwrap_or(SIZES.len() - 1);
            let chunk = place..place + SIZES[size];
            // In key order the first and the last have the same first column only if all between them do.
            let (first, last) =
                (cells[first_key].get(row_at(chunk.start)), cells[first_key].get(row_at(chunk.end - 1)));
            let shared = self.shared_upserts.is_some() && first == last;
            let statement = statements.get(size, shared)?;
            let mut parameter = 1;
            if shared {
                parameter += 1;
                bind(statement, parameter, first, &mut text)?;
            }
            for row in chunk.clone().map(row_at) {
                for (column, cells) in cells.iter().enumerate() {
                    if !(shared && column == first_key) {
                        parameter += 1;
                        bind(statement, parameter, cells.get(row), &mut text)?;
                    }
                }
            }
            statement.raw_execute()?;
            place = chunk.end;
        }
        Ok(())
    }

    /// Deletes the rows whose leading key columns equal a row of `keys`.
    pub fn delete(&self, connection: &Connection, keys: &RecordBatch) -> Result<(), RowsError> {
        let key = self.table.primary_key();
        if keys.num_columns() == 0 || keys.num_columns() > key.len() {
            return Err(DestinationError::misfit(format!("a deletion by {} key columns", keys.num_columns())).into());
        }
        let columns = || key[..keys.num_columns()].iter().map(|&index| &self.table.columns()[index]);
        let conditions: Vec<_> = columns().map(|column| format!("{} = ?", quote(&column.name))).collect();
        let sql = format!("DELETE FROM {} WHERE {}", quote(self.table.name()), conditions.join(" AND "));
        let mut statement = connection.prepare_cached(&sql)?;
        let cells = Cells::all(columns(), keys)?;
        let mut text = TimestampText::new();
        for row in 0..keys.num_rows() {
            for (column, cells) in cells.iter().enumerate() {
                bind(&mut statement, column + 1, cells.get(row), &mut text)?;
            }
            statement.raw_execute()?;
        }
        Ok(())
    }
}

/// The prepared statements that one batch has used so far.
struct Statements<'a> {
    connection: &'a Connection,
    sql: &'a TableSql,
    synced_at: &'a str,
    open: [Option<CachedStatement<'a>>; 2 * SIZES.len()],
}

impl<'a> Statements<'a> {
    fn new(connection: &'a Connection, sql: &'a TableSql, synced_at: &'a str) -> Self {
        Self { connection, sql, synced_at, open: Default::default() }
    }

    fn get(&mut self, size: usize, shared: bool) -> rusqlite::Result<&mut Statement<'a>> {
        let (place, sql) = match &self.sql.shared_upserts {
            Some(upserts) if shared => (SIZES.len() + size, &upserts[size]),
            _ => (size, &self.sql.upserts[size]),
        };
        let slot = &mut self.open[place];
        if slot.is_none() {
            let mut statement = self.connection.prepare_cached(sql)?;
            statement.raw_bind_parameter(1, self.synced_at)?;
            *slot = Some(statement);
        }
        slot.as_deref_mut().ok_or(rusqlite::Error::InvalidQuery)
    }
}

/// NaN becomes NULL: SQLite has none (<https://www.sqlite.org/floatingpoint.html>).
#[inline]
fn bind(
    statement: &mut Statement<'_>,
    parameter: usize,
    cell: Cell<'_>,
    text: &mut TimestampText,
) -> rusqlite::Result<()> {
    match cell {
        Cell::Null => statement.raw_bind_parameter(parameter, Null),
        Cell::Boolean(value) => statement.raw_bind_parameter(parameter, value),
        Cell::Integer(value) => statement.raw_bind_parameter(parameter, value),
        Cell::Double(value) if value.is_nan() => statement.raw_bind_parameter(parameter, Null),
        Cell::Double(value) => statement.raw_bind_parameter(parameter, value),
        Cell::Text(value) => statement.raw_bind_parameter(parameter, value),
        Cell::Timestamp(value) => statement.raw_bind_parameter(parameter, text.of(value)),
    }
}

/// `INSERT … ON CONFLICT DO UPDATE … WHERE` something differs. Parameter 1 is `_synced_at`; parameter 2 is the column `shared`,
/// when there is one; the others follow row by row.
fn upsert(table: &Table, rows: usize, shared: Option<usize>) -> String {
    let columns: Vec<String> = table.columns().iter().map(|column| quote(&column.name)).collect();
    let synced_at = quote(SYNCED_AT);
    let mut parameter = 1 + usize::from(shared.is_some());
    let mut tuple = || {
        let mut values: Vec<String> = Vec::with_capacity(columns.len() + 1);
        for column in 0..columns.len() {
            if shared == Some(column) {
                values.push("?2".to_owned());
            } else {
                parameter += 1;
                values.push(format!("?{parameter}"));
            }
        }
        values.push("?1".to_owned());
        format!("({})", values.join(","))
    };
    let tuples: Vec<String> = (0..rows).map(|_| tuple()).collect();
    let key = table.primary_key();
    let rest = || (0..columns.len()).filter(|column| !key.contains(column)).map(|column| &columns[column]);
    let action = if rest().next().is_none() {
        "NOTHING".to_owned()
    } else {
        let set: Vec<_> = rest().map(|column| format!("{column}=excluded.{column}")).collect();
        let name = quote(table.name());
        let changed: Vec<_> = rest().map(|column| format!("{name}.{column} IS NOT excluded.{column}")).collect();
        format!("UPDATE SET {},{synced_at}=excluded.{synced_at} WHERE {}", set.join(","), changed.join(" OR "))
    };
    let conflict: Vec<_> = key.iter().map(|&column| columns[column].as_str()).collect();
    format!(
        "INSERT INTO {}({},{synced_at}) VALUES {} ON CONFLICT({}) DO {action}",
        quote(table.name()),
        columns.join(","),
        tuples.join(","),
        conflict.join(",")
    )
}
