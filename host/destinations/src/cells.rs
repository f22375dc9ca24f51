//! Arrow columns of a batch, typed once, so that reading a cell is a match and an index.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType, UInt32Type};
use arrow_array::{
    Array, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array,
};

use elt_host::{Column, DataType, DestinationError};

/// One column of a batch. `None` from an accessor is a null.
#[derive(Clone, Copy)]
pub enum Cells<'a> {
    /// A column of `bool`.
    Boolean(&'a BooleanArray),
    /// A column of `integer`.
    Integer(&'a Int64Array),
    /// A column of `double`.
    Double(&'a Float64Array),
    /// A column of `text` or `json`.
    Text(&'a StringArray),
    /// The same, as indices into different texts.
    Dictionary(&'a UInt32Array, &'a StringArray),
    /// A column of `timestamp`.
    Timestamp(&'a TimestampMicrosecondArray),
}

/// One value of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// No value.
    Null,
    /// Of a column of `bool`.
    Boolean(bool),
    /// Of a column of `integer`.
    Integer(i64),
    /// Of a column of `double`.
    Double(f64),
    /// Of a column of `text` or `json`.
    Text(&'a str),
    /// Microseconds since the epoch.
    Timestamp(i64),
}

impl<'a> Cells<'a> {
    /// The array as what `column` says that it is.
    pub fn new(column: &Column, array: &'a dyn Array) -> Result<Self, DestinationError> {
        let cells = match column.data_type {
            DataType::Boolean => array.as_boolean_opt().map(Self::Boolean),
            DataType::Integer => array.as_primitive_opt::<Int64Type>().map(Self::Integer),
            DataType::Double => array.as_primitive_opt::<Float64Type>().map(Self::Double),
            DataType::Timestamp => array.as_primitive_opt::<TimestampMicrosecondType>().map(Self::Timestamp),
            DataType::Text | DataType::Json => match array.as_string_opt::<i32>() {
                Some(text) => Some(Self::Text(text)),
                None => array
                    .as_dictionary_opt::<UInt32Type>()
                    .and_then(|text| Some(Self::Dictionary(text.keys(), text.values().as_string_opt::<i32>()?))),
            },
        };
        cells.ok_or_else(|| {
            DestinationError::misfit(format!(
                "column `{}` ({:?}) came as {}",
                column.name,
                column.data_type,
                array.data_type()
            ))
        })
    }

    /// Every one of `columns`, which are the columns of `batch` in its order.
    pub fn all(
        columns: impl ExactSizeIterator<Item = &'a Column>,
        batch: &'a RecordBatch,
    ) -> Result<Vec<Self>, DestinationError> {
        if columns.len() != batch.num_columns() {
            return Err(DestinationError::misfit(format!(
                "{} columns in the place of {}",
                batch.num_columns(),
                columns.len()
            )));
        }
        columns.zip(batch.columns()).map(|(column, array)| Self::new(column, array)).collect()
    }

    /// The value at `row`.
    #[inline]
    pub fn get(&self, row: usize) -> Cell<'a> {
        match self {
            Self::Boolean(array) if array.is_valid(row) => Cell::Boolean(array.value(row)),
            Self::Integer(array) if array.is_valid(row) => Cell::Integer(array.value(row)),
            Self::Double(array) if array.is_valid(row) => Cell::Double(array.value(row)),
            Self::Text(array) if array.is_valid(row) => Cell::Text(array.value(row)),
            Self::Timestamp(array) if array.is_valid(row) => Cell::Timestamp(array.value(row)),
            Self::Dictionary(keys, values) if keys.is_valid(row) => {
                let key = keys.value(row) as usize;
                if values.is_valid(key) { Cell::Text(values.value(key)) } else { Cell::Null }
            }
            _ => Cell::Null,
        }
    }
}
