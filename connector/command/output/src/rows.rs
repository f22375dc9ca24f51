//! Batches as lines, one for each row.

use std::fmt::Write;

use chrono::DateTime;
use serde_json::Value;

use crate::bindings::exports::elt::connector::types::{Batch, Column, ColumnValues};

/// Lines such as `{"upsert":"metrics","row":{"run_id":"a","step":0}}`.
pub(crate) fn lines([verb, what]: &[&str; 2], table: &str, batch: &Batch) -> Result<String, String> {
    let rows = batch.columns.first().map_or(0, |column| length(&column.values));
    let mut lines = String::new();
    let table = Value::from(table);
    for row in 0..rows {
        write!(lines, "{{\"{verb}\":{table},\"{what}\":{{").map_err(|why| why.to_string())?;
        for (index, column) in batch.columns.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let (name, cell) = (Value::from(column.name.as_str()), cell(column, row)?);
            write!(lines, "{comma}{name}:{cell}").map_err(|why| why.to_string())?;
        }
        lines.push_str("}}\n");
    }
    Ok(lines)
}

fn length(values: &ColumnValues) -> usize {
    match values {
        ColumnValues::Booleans(it) => it.len(),
        ColumnValues::Integers(it) | ColumnValues::Timestamps(it) => it.len(),
        ColumnValues::Doubles(it) => it.len(),
        ColumnValues::Texts(it) | ColumnValues::Jsons(it) => it.len(),
        ColumnValues::Dictionary(it) => it.keys.len(),
    }
}

/// A value as JSON. What is no number, and what no number of JSON can be, is a text.
fn cell(column: &Column, row: usize) -> Result<String, String> {
    let missing = || format!("column `{}` has no row {row}", column.name);
    if u32::try_from(row).is_ok_and(|row| column.nulls.binary_search(&row).is_ok()) {
        return Ok("null".into());
    }
    Ok(match &column.values {
        ColumnValues::Booleans(it) => it.get(row).ok_or_else(missing)?.to_string(),
        ColumnValues::Integers(it) => it.get(row).ok_or_else(missing)?.to_string(),
        ColumnValues::Doubles(it) => double(*it.get(row).ok_or_else(missing)?).to_string(),
        // JSON stays a text: few readers keep every digit of a number.
        ColumnValues::Texts(it) | ColumnValues::Jsons(it) => {
            Value::from(it.get(row).ok_or_else(missing)?.as_str()).to_string()
        }
        ColumnValues::Dictionary(it) => {
            let key = *it.keys.get(row).ok_or_else(missing)?;
            Value::from(it.values.get(key as usize).ok_or_else(missing)?.as_str()).to_string()
        }
        ColumnValues::Timestamps(it) => {
            let at = DateTime::from_timestamp_micros(*it.get(row).ok_or_else(missing)?);
            let at = at.ok_or_else(|| format!("column `{}` holds a time that no calendar has", column.name))?;
            Value::from(at.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()).to_string()
        }
    })
}

fn double(value: f64) -> Value {
    match value {
        _ if value.is_finite() => Value::from(value),
        _ if value.is_nan() => Value::from("NaN"),
        _ => Value::from(if value > 0.0 { "Infinity" } else { "-Infinity" }),
    }
}
