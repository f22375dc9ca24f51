//! A destination that is only read, to compare what it holds with its source.

use arrow_array::RecordBatch;

use elt_host::{DestinationError, LostTable, State, Table};

use crate::cells::Cell;

/// What a destination holds. While it is open no sync can change it.
pub trait Reader: Send {
    /// The stored state.
    ///
    /// # Errors
    /// It can't be read.
    fn state(&self) -> Result<State, DestinationError>;

    /// Those of `tables` that are lost, as far as that is known.
    ///
    /// # Errors
    /// They can't be looked at.
    fn lost_tables(&self, tables: &[Table]) -> Result<Vec<LostTable>, DestinationError>;

    /// In what form this kind of destination holds a value.
    fn encoding(&self) -> Encoding;

    /// Hands every row of a table to `sink`; none where there is no such table.
    ///
    /// # Errors
    /// The rows can't be read, or what `sink` returned.
    fn scan(&self, table: &Table, sink: &mut dyn RowSink) -> Result<(), DestinationError>;

    /// Asked at the end: whether anybody has written to it since it was opened.
    ///
    /// # Errors
    /// Somebody has, so that what was read is of two moments.
    fn check_unchanged(&self) -> Result<(), DestinationError>;
}

/// Takes the rows of one table. A reader calls one of the two, as its destination keeps rows.
pub trait RowSink {
    /// The next row in the order of the primary key: the key's columns in the key's order, then the others in the table's. A column that is
    /// not there is null. The order is that of [`StoredValue`]'s cases, then of numbers, then of bytes.
    ///
    /// # Errors
    /// No more rows are wanted.
    fn in_order(&mut self, row: &[StoredValue<'_>]) -> Result<(), DestinationError>;

    /// Some rows in no order, with the columns of the table.
    ///
    /// # Errors
    /// No more rows are wanted.
    fn unordered(&mut self, rows: &RecordBatch) -> Result<(), DestinationError>;
}

/// A value as a destination holds it. Others can write there too, so it may be of another type than its column, and text be any bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StoredValue<'a> {
    /// No value.
    Null,
    /// A whole number, a boolean, or microseconds since the epoch.
    Integer(i64),
    /// A number.
    Double(f64),
    /// Text or JSON.
    Text(&'a [u8]),
    /// Bytes.
    Blob(&'a [u8]),
}

/// What a value of a batch is after a destination has held it; text that is made anew goes to the buffer.
pub type Encoding = for<'a> fn(Cell<'a>, &'a mut String) -> StoredValue<'a>;

/// The encoding of a destination that loses nothing. All NaNs are one.
pub fn exact<'a>(cell: Cell<'a>, _: &'a mut String) -> StoredValue<'a> {
    match cell {
        Cell::Null => StoredValue::Null,
        Cell::Boolean(value) => StoredValue::Integer(i64::from(value)),
        Cell::Integer(value) | Cell::Timestamp(value) => StoredValue::Integer(value),
        Cell::Double(value) if value.is_nan() => StoredValue::Double(f64::NAN),
        Cell::Double(value) => StoredValue::Double(value),
        Cell::Text(value) => StoredValue::Text(value.as_bytes()),
    }
}
