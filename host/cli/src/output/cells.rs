//! One cell of a batch, as text for people and as JSON for programs.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType, UInt32Type};
use arrow_array::{Array, RecordBatch};
use chrono::{DateTime, SecondsFormat};
use elt_host::{Column, DataType, Table};
use serde_json::Value;

/// A cell's value, apart from the batch that it came in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Null,
    Boolean(bool),
    Integer(i64),
    Double(f64),
    Text(String),
    /// A JSON document, as it was sent.
    Json(String),
    /// Microseconds since the epoch, UTC.
    Timestamp(i64),
}

/// The first `limit` rows of a batch. A column whose array is not of its declared type reads as nulls.
pub(crate) fn rows(table: &Table, batch: &RecordBatch, limit: usize) -> Vec<Vec<Cell>> {
    let row = |i: usize| {
        let columns = table.columns().iter().zip(batch.columns());
        columns.map(|(column, array)| cell(column, array, i).unwrap_or(Cell::Null)).collect()
    };
    (0..batch.num_rows().min(limit)).map(row).collect()
}

fn cell(column: &Column, array: &dyn Array, row: usize) -> Option<Cell> {
    if array.is_null(row) {
        return None;
    }
    Some(match column.data_type {
        DataType::Boolean => Cell::Boolean(array.as_boolean_opt()?.value(row)),
        DataType::Integer => Cell::Integer(array.as_primitive_opt::<Int64Type>()?.value(row)),
        DataType::Double => Cell::Double(array.as_primitive_opt::<Float64Type>()?.value(row)),
        DataType::Timestamp => Cell::Timestamp(array.as_primitive_opt::<TimestampMicrosecondType>()?.value(row)),
        DataType::Text => Cell::Text(text(array, row)?),
        DataType::Json => Cell::Json(text(array, row)?),
    })
}

fn text(array: &dyn Array, row: usize) -> Option<String> {
    if let Some(texts) = array.as_string_opt::<i32>() {
        return Some(texts.value(row).into());
    }
    let dictionary = array.as_dictionary_opt::<UInt32Type>()?;
    let values = dictionary.values().as_string_opt::<i32>()?;
    let key = usize::try_from(dictionary.keys().value(row)).ok()?;
    (key < values.len()).then(|| values.value(key).into())
}

impl Cell {
    /// For a table; nothing for a null.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Boolean(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Double(value) => format!("{value:?}"),
            Self::Text(text) | Self::Json(text) => text.clone(),
            Self::Timestamp(micros) => timestamp(*micros),
        }
    }

    /// A JSON document on one line. JSON cells stay what they are, to the last digit; what JSON has no number for is
    /// a string.
    pub(crate) fn json(&self) -> String {
        match self {
            Self::Null => "null".into(),
            Self::Boolean(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Double(value) if value.is_finite() => Value::from(*value).to_string(),
            Self::Double(value) if value.is_nan() => "\"NaN\"".into(),
            Self::Double(value) => (if *value > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" }).into(),
            Self::Json(text) if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => {
                // A line break can't stand inside a string, so it is white space.
                text.replace(['\n', '\r'], " ")
            }
            Self::Text(text) | Self::Json(text) => Value::from(text.as_str()).to_string(),
            Self::Timestamp(micros) => Value::from(timestamp(*micros)).to_string(),
        }
    }
}

/// `2025-06-01T12:00:00.000000Z`, as in SQLite; a number when no calendar goes that far.
fn timestamp(micros: i64) -> String {
    match DateTime::from_timestamp_micros(micros) {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::Micros, true),
        None => micros.to_string(),
    }
}
