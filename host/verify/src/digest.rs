//! A digest of a row's values: equal for equal values, and different for different ones as surely as SHA-256 makes it.

use arrow_array::RecordBatch;
use sha2::{Digest, Sha256};

use elt_destinations::cells::{Cell, Cells};
use elt_destinations::reader::{Encoding, StoredValue};
use elt_host::{Column, DataType, DestinationError, Table};

use super::document::canonical;

/// The columns outside of the key, with their places.
pub(super) fn value_columns(table: &Table) -> impl Iterator<Item = (usize, &Column)> {
    table.columns().iter().enumerate().filter(|(index, _)| !table.primary_key().contains(index))
}

/// Makes digests.
pub(crate) struct Digester {
    encoding: Encoding,
    /// What the encoding writes anew.
    text: String,
    bytes: Vec<u8>,
}

impl Digester {
    /// Of values as a destination with this encoding holds them.
    pub(crate) fn new(encoding: Encoding) -> Self {
        Self { encoding, text: String::new(), bytes: Vec::new() }
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

    /// The digest of values that a destination holds, each with the type of its column.
    pub(crate) fn stored<'v>(&mut self, values: impl Iterator<Item = (StoredValue<'v>, DataType)>) -> [i64; 2] {
        for (value, data_type) in values {
            self.value(value, data_type);
        }
        self.finish()
    }

    fn cell(&mut self, cell: Cell<'_>, data_type: DataType) {
        let mut text = std::mem::take(&mut self.text);
        self.value((self.encoding)(cell, &mut text), data_type);
        self.text = text;
    }

    fn value(&mut self, value: StoredValue<'_>, data_type: DataType) {
        match value {
            StoredValue::Null => self.bytes.push(b'0'),
            StoredValue::Integer(value) => self.number(b'i', value.to_le_bytes()),
            StoredValue::Double(value) => self.number(b'd', value.to_bits().to_le_bytes()),
            StoredValue::Text(value) if data_type == DataType::Json => self.document(value),
            StoredValue::Text(value) => self.text(b't', value),
            StoredValue::Blob(value) => self.text(b'x', value),
        }
    }

    fn number(&mut self, tag: u8, number: [u8; 8]) {
        self.bytes.push(tag);
        self.bytes.extend(number);
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
