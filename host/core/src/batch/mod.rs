//! A guest's batches become Arrow arrays: checked in full, converted once.
//!
//! Everything in a batch may be wrong (it comes from the guest), and everything after this module relies on it being
//! right. Numbers and dictionary keys are taken over as they lie; texts are copied once, into one buffer.

use std::sync::Arc;

use arrow_array::types::UInt32Type;
use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int64Array, RecordBatch, RecordBatchOptions,
    StringArray, TimestampMicrosecondArray, UInt32Array, new_null_array,
};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType as ArrowType, Field, Schema};
use serde::de::IgnoredAny;

use crate::bindings::types::{Batch, Column as GuestColumn, ColumnValues, TextDictionary};
use crate::http::mask::Mask;
use crate::schema::{Column, DataType, Table};

/// 0001-01-01T00:00:00Z and the last microsecond of 9999: what every destination can print as a date.
const TIMESTAMPS: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

/// Why a batch can't be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// It breaks the contract.
    #[error("{0}")]
    Invalid(String),
    /// It is larger than a batch may be; the number of bytes.
    #[error("a batch of {0} bytes")]
    TooLarge(usize),
}

/// Takes secrets out of every text of a batch.
pub(crate) fn hide(batch: &mut Batch, mask: &Mask) {
    for column in &mut batch.columns {
        match &mut column.values {
            ColumnValues::Texts(texts) => texts.iter_mut().for_each(|text| mask.text(text)),
            ColumnValues::Jsons(texts) => texts.iter_mut().for_each(|text| mask.json(text)),
            ColumnValues::Dictionary(dictionary) => dictionary.values.iter_mut().for_each(|text| mask.text(text)),
            ColumnValues::Booleans(_)
            | ColumnValues::Integers(_)
            | ColumnValues::Doubles(_)
            | ColumnValues::Timestamps(_) => {}
        }
    }
}

/// The rows of an upsert: every column of `table`, in its order. None when the batch has no rows.
///
/// # Errors
/// What in the batch breaks the contract, or that it takes more than `most_bytes`.
pub fn rows(table: &Table, batch: Batch, most_bytes: usize) -> Result<Option<RecordBatch>, BatchError> {
    let Some(mut given) = Given::new(table, batch, most_bytes)? else {
        return Ok(None);
    };
    let mut arrays = Vec::with_capacity(table.columns().len());
    for (index, column) in table.columns().iter().enumerate() {
        arrays.push(match given.take(index) {
            Some(values) => array(table, column, values, given.rows)?,
            None if column.nullable => new_null_array(&column.data_type.arrow(), given.rows),
            None => return Err(invalid(table, column, "can't be null and is missing")),
        });
    }
    let columns: Vec<&Column> = table.columns().iter().collect();
    record_batch(table, &columns, arrays, given.rows).map(Some)
}

/// The keys of a deletion: a leading part of the primary key, in its order. None when the batch has no rows.
///
/// # Errors
/// What in the batch breaks the contract, or that it takes more than `most_bytes`.
pub fn keys(table: &Table, batch: Batch, most_bytes: usize) -> Result<Option<RecordBatch>, BatchError> {
    let Some(mut given) = Given::new(table, batch, most_bytes)? else {
        return Ok(None);
    };
    let (mut columns, mut arrays) = (Vec::new(), Vec::new());
    for &index in table.primary_key() {
        let Some(values) = given.take(index) else {
            break;
        };
        let column = &table.columns()[index];
        arrays.push(array(table, column, values, given.rows)?);
        columns.push(column);
    }
    if let Some(extra) = given.columns.iter().flatten().next() {
        let why =
            format!("`delete` from `{}`: `{}` is not in a leading part of the primary key", table.name(), extra.name);
        return Err(BatchError::Invalid(why));
    }
    record_batch(table, &columns, arrays, given.rows).map(Some)
}

/// A batch whose columns are known, of one length, and each given once: by their positions in the table.
struct Given {
    columns: Vec<Option<GuestColumn>>,
    rows: usize,
}

impl Given {
    fn new(table: &Table, batch: Batch, most_bytes: usize) -> Result<Option<Self>, BatchError> {
        let fail = |why: String| Err(BatchError::Invalid(format!("table `{}`: {why}", table.name())));
        let Some(first) = batch.columns.first() else {
            return Ok(None);
        };
        let rows = length(&first.values);
        let bytes = batch.columns.iter().map(bytes).fold(0, usize::saturating_add);
        if bytes > most_bytes {
            return Err(BatchError::TooLarge(bytes));
        }
        let mut columns: Vec<Option<GuestColumn>> = table.columns().iter().map(|_| None).collect();
        for column in batch.columns {
            let Some(index) = table.columns().iter().position(|known| known.name == column.name) else {
                return fail(format!("there is no column `{}`", shorten(&column.name)));
            };
            let length = length(&column.values);
            if length != rows {
                return fail(format!(
                    "the columns differ in length: `{}` has {length} values, another {rows}",
                    column.name
                ));
            }
            if columns[index].is_some() {
                return fail(format!("column `{}` is given twice", column.name));
            }
            columns[index] = Some(column);
        }
        Ok((rows > 0).then_some(Self { columns, rows }))
    }

    fn take(&mut self, index: usize) -> Option<GuestColumn> {
        self.columns[index].take()
    }
}

fn length(values: &ColumnValues) -> usize {
    match values {
        ColumnValues::Booleans(values) => values.len(),
        ColumnValues::Integers(values) | ColumnValues::Timestamps(values) => values.len(),
        ColumnValues::Doubles(values) => values.len(),
        ColumnValues::Texts(values) | ColumnValues::Jsons(values) => values.len(),
        ColumnValues::Dictionary(dictionary) => dictionary.keys.len(),
    }
}

/// About what the column will need as an array.
fn bytes(column: &GuestColumn) -> usize {
    let texts = |texts: &[String]| texts.iter().map(|text| text.len() + 4).fold(0, usize::saturating_add);
    let values = match &column.values {
        ColumnValues::Booleans(values) => values.len() / 8,
        ColumnValues::Integers(values) | ColumnValues::Timestamps(values) => values.len() * 8,
        ColumnValues::Doubles(values) => values.len() * 8,
        ColumnValues::Texts(values) | ColumnValues::Jsons(values) => texts(values),
        ColumnValues::Dictionary(dictionary) => texts(&dictionary.values).saturating_add(dictionary.keys.len() * 4),
    };
    values.saturating_add(column.nulls.len() * 4)
}

fn array(table: &Table, column: &Column, given: GuestColumn, rows: usize) -> Result<ArrayRef, BatchError> {
    let nulls = nulls(&given.nulls, rows).map_err(|why| invalid(table, column, &why))?;
    if nulls.is_some() && !column.nullable {
        return Err(invalid(table, column, "can't be null, and a row is"));
    }
    let array: Result<ArrayRef, String> = match (column.data_type, given.values) {
        (DataType::Boolean, ColumnValues::Booleans(values)) => {
            Ok(Arc::new(BooleanArray::new(BooleanBuffer::from(values), nulls)))
        }
        (DataType::Integer, ColumnValues::Integers(values)) => Ok(Arc::new(Int64Array::new(values.into(), nulls))),
        (DataType::Double, ColumnValues::Doubles(values)) => Ok(Arc::new(Float64Array::new(values.into(), nulls))),
        (DataType::Timestamp, ColumnValues::Timestamps(values)) => timestamps(values, &given.nulls, nulls),
        (DataType::Text, ColumnValues::Texts(values)) => texts(&values, nulls).map(|array| Arc::new(array) as ArrayRef),
        (DataType::Text, ColumnValues::Dictionary(values)) => dictionary(values, &given.nulls, nulls),
        (DataType::Json, ColumnValues::Jsons(values)) => jsons(&values, nulls),
        (kind, _) => Err(format!("is {kind:?}, but another type of values was given").to_lowercase()),
    };
    array.map_err(|why| invalid(table, column, &why))
}

fn nulls(positions: &[u32], rows: usize) -> Result<Option<NullBuffer>, String> {
    let Some(last) = positions.last() else {
        return Ok(None);
    };
    if !positions.is_sorted_by(|a, b| a < b) {
        return Err("the positions of nulls do not ascend".into());
    }
    if *last as usize >= rows {
        return Err(format!("row {last} is null, but there are only {rows} rows"));
    }
    let mut valid = BooleanBufferBuilder::new(rows);
    valid.append_n(rows, true);
    for &position in positions {
        valid.set_bit(position as usize, false);
    }
    Ok(Some(NullBuffer::new(valid.finish())))
}

fn timestamps(mut values: Vec<i64>, null_rows: &[u32], nulls: Option<NullBuffer>) -> Result<ArrayRef, String> {
    blank(&mut values, null_rows);
    if let Some(bad) = values.iter().find(|value| !TIMESTAMPS.contains(value)) {
        return Err(format!("timestamp {bad} is outside of the years 1 to 9999"));
    }
    Ok(Arc::new(TimestampMicrosecondArray::new(values.into(), nulls).with_timezone("UTC")))
}

/// The value of a null row means nothing, so it must not be able to do harm.
fn blank<T: Default>(values: &mut [T], null_rows: &[u32]) {
    for &row in null_rows {
        values[row as usize] = T::default();
    }
}

fn texts(values: &[String], nulls: Option<NullBuffer>) -> Result<StringArray, String> {
    let valid = |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
    let text = |(row, text): (usize, &'_ String)| if valid(row) { text.len() } else { 0 };
    let total: usize = values.iter().enumerate().map(text).sum();
    if i32::try_from(total).is_err() {
        return Err(format!("{total} bytes of text are too many for one batch"));
    }
    let mut bytes = Vec::with_capacity(total);
    let mut lengths = Vec::with_capacity(values.len());
    for (row, text) in values.iter().enumerate() {
        let text = if valid(row) { text.as_str() } else { "" };
        bytes.extend_from_slice(text.as_bytes());
        lengths.push(text.len());
    }
    let offsets = OffsetBuffer::from_lengths(lengths);
    StringArray::try_new(offsets, Buffer::from_vec(bytes), nulls).map_err(|why| why.to_string())
}

fn dictionary(given: TextDictionary, null_rows: &[u32], nulls: Option<NullBuffer>) -> Result<ArrayRef, String> {
    let TextDictionary { mut keys, mut values } = given;
    blank(&mut keys, null_rows);
    if values.is_empty() && null_rows.len() == keys.len() {
        // Every row is null and points at value 0, which then has to exist.
        values.push(String::new());
    }
    let count = values.len();
    if let Some(bad) = keys.iter().max().filter(|largest| **largest as usize >= count) {
        return Err(format!("key {bad} points past the end of the dictionary, which has {count} values"));
    }
    let keys = UInt32Array::new(ScalarBuffer::from(keys), nulls);
    let array = DictionaryArray::<UInt32Type>::try_new(keys, Arc::new(texts(&values, None)?));
    array.map(|array| Arc::new(array) as ArrayRef).map_err(|why| why.to_string())
}

fn jsons(values: &[String], nulls: Option<NullBuffer>) -> Result<ArrayRef, String> {
    for (row, text) in values.iter().enumerate() {
        let null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        if !null && let Err(why) = serde_json::from_str::<IgnoredAny>(text) {
            return Err(format!("row {row} is no valid JSON: {why}"));
        }
    }
    texts(values, nulls).map(|array| Arc::new(array) as ArrayRef)
}

fn record_batch(
    table: &Table,
    columns: &[&Column],
    arrays: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch, BatchError> {
    let field = |(column, array): (&&Column, &ArrayRef)| {
        let data_type = match array.data_type() {
            dictionary @ ArrowType::Dictionary(..) => dictionary.clone(),
            _ => column.data_type.arrow(),
        };
        Field::new(&column.name, data_type, column.nullable)
    };
    let schema = Schema::new(columns.iter().zip(&arrays).map(field).collect::<Vec<_>>());
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(schema), arrays, &options)
        .map_err(|why| BatchError::Invalid(format!("table `{}`: {why}", table.name())))
}

fn invalid(table: &Table, column: &Column, why: &str) -> BatchError {
    BatchError::Invalid(format!("table `{}`, column `{}`: {why}", table.name(), column.name))
}

/// Names from the guest may be of any length.
pub(crate) fn shorten(name: &str) -> String {
    const MOST: usize = 80;
    match name.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
