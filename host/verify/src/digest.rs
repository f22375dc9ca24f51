//! A digest of a row's values: equal for equal values, and different for different ones as surely as SHA-256 makes it.

use arrow_array::RecordBatch;
use rusqlite::types::ValueRef;
use sha2::{Digest, Sha256};

use elt_destinations::cells::{Cell, Cells};
use elt_destinations::timestamp::TimestampText;
use elt_host::destination::DestinationError;
use elt_host::schema::{Column, DataType, Table};

use super::document::canonical;

/// How a destination holds values, as far as that loses something or changes its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As SQLite holds them: timestamps are text, booleans integers, NaN is NULL, and the sign of zero is lost.
    Sqlite,
    /// As they are. All NaNs are one.
    Exact,
}

/// The columns outside of the key, with their places.
pub(super) fn value_columns(table: &Table) -> impl Iterator<Item = (usize, &Column)> {
    table.columns().iter().enumerate().filter(|(index, _)| !table.primary_key().contains(index))
}

/// Makes digests.
pub(crate) struct Digester {
    encoding: Encoding,
    timestamp: TimestampText,
    bytes: Vec<u8>,
}

impl Digester {
    pub(crate) fn new(encoding: Encoding) -> Self {
        Self { encoding, timestamp: TimestampText::new(), bytes: Vec::new() }
    }

    /// For each row of a batch the digest of its columns outside of the key.
    pub(crate) fn batch(&mut self, table: &Table, rows: &RecordBatch) -> Result<Vec<[i64; 2]>, DestinationError> {
        let cells = Cells::all(table.columns().iter(), rows)?;
        let values: Vec<(Cells<'_>, DataType)> =
            value_columns(table).filter_map(|(index, column)| Some((*cells.get(index)?, column.data_type))).collect();
        let row = |row: usize| {
            for (value, data_type) in &values {
                self.cell(value.get(row), *data_type);
            }
            self.finish()
        };
        Ok((0..rows.num_rows()).map(row).collect())
    }

    /// The digest of values as SQLite holds them, each with the type of its column.
    pub(crate) fn stored<'v>(&mut self, values: impl Iterator<Item = (ValueRef<'v>, DataType)>) -> [i64; 2] {
        for (value, data_type) in values {
            match value {
                ValueRef::Null => self.null(),
                ValueRef::Integer(value) => self.integer(value),
                ValueRef::Real(value) => self.double(value),
                ValueRef::Text(value) if data_type == DataType::Json => self.document(value),
                ValueRef::Text(value) => self.text(b't', value),
                ValueRef::Blob(value) => self.text(b'x', value),
            }
        }
        self.finish()
    }

    fn cell(&mut self, cell: Cell<'_>, data_type: DataType) {
        match cell {
            Cell::Null => self.null(),
            Cell::Boolean(value) => self.integer(i64::from(value)),
            Cell::Integer(value) => self.integer(value),
            Cell::Double(value) => self.double(value),
            Cell::Text(value) if data_type == DataType::Json => self.document(value.as_bytes()),
            Cell::Text(value) => self.text(b't', value.as_bytes()),
            Cell::Timestamp(value) if self.encoding == Encoding::Sqlite => {
                let text = self.timestamp.of(value).to_owned();
                self.text(b't', text.as_bytes());
            }
            Cell::Timestamp(value) => self.integer(value),
        }
    }

    fn null(&mut self) {
        self.bytes.push(b'0');
    }

    fn integer(&mut self, value: i64) {
        self.bytes.push(b'i');
        self.bytes.extend(value.to_le_bytes());
    }

    fn double(&mut self, value: f64) {
        let value = match self.encoding {
            Encoding::Sqlite if value.is_nan() => return self.null(),
            // Adding zero turns minus zero into zero, and leaves everything else as it is.
            Encoding::Sqlite => value + 0.0,
            Encoding::Exact if value.is_nan() => f64::NAN,
            Encoding::Exact => value,
        };
        self.bytes.push(b'd');
        self.bytes.extend(value.to_bits().to_le_bytes());
    }

    /// A document is compared by what it says, not by how.
    fn document(&mut self, text: &[u8]) {
        match canonical(text) {
            Some(document) => self.text(b'j', &document),
            None => self.text(b't', text),
        }
    }

    fn text(&mut self, tag: u8, text: &[u8]) {
        self.bytes.push(tag);
        self.bytes.extend((text.len() as u64).to_le_bytes());
        self.bytes.extend(text);
    }

    /// The first 128 bits, as two integers.
    fn finish(&mut self) -> [i64; 2] {
        let digest = Sha256::digest(&self.bytes);
        self.bytes.clear();
        let part = |from: usize| digest.iter().skip(from).take(8).fold(0_i64, |sum, byte| sum << 8 | i64::from(*byte));
        [part(0), part(8)]
    }
}
