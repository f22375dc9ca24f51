//! What the tests share: tables, batches, and values in a form that can be compared.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::types::UInt32Type;
use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow_schema::{Field, Schema};

use crate::cells::{Cell, Cells};
use crate::timestamp::TimestampText;
use elt_host::{Change, Column, DataType, Destination, DestinationError, Group, Preparation, State, Table};

/// The time of every test sync.
pub const SYNCED_AT: i64 = 1_700_000_000_123_456;

/// What a refusal says.
pub fn refusal<T>(result: Result<T, DestinationError>) -> String {
    match result {
        Err(DestinationError::Refused(message)) => message,
        Err(other) => panic!("failed in the place of refusing: {other:?}"),
        Ok(_) => panic!("not refused"),
    }
}

/// One cell, as the tests write it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// Of a column of `bool`.
    Bool(bool),
    /// Of a column of `integer`.
    Int(i64),
    /// Of a column of `double`.
    Double(f64),
    /// Of a column of `text` or `json`.
    Text(String),
    /// Microseconds since the epoch.
    Time(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Double(value)
    }
}

/// A column.
pub fn column(name: &str, data_type: DataType, nullable: bool) -> Column {
    Column { name: name.to_owned(), data_type, nullable }
}

/// A table with these columns and this key.
pub fn table(name: &str, columns: Vec<Column>, key: &[&str]) -> Table {
    let key: Vec<String> = key.iter().map(|&part| part.to_owned()).collect();
    Table::new(name.to_owned(), columns, &key).unwrap()
}

/// One row for each run, with every type beside the key.
pub fn runs() -> Table {
    let columns = vec![
        column("run_id", DataType::Text, false),
        column("name", DataType::Text, true),
        column("created_at", DataType::Timestamp, true),
        column("config_json", DataType::Json, true),
        column("starred", DataType::Boolean, true),
    ];
    table("runs", columns, &["run_id"])
}

/// The table that speed is about.
pub fn metrics() -> Table {
    let columns = vec![
        column("run_id", DataType::Text, false),
        column("step", DataType::Integer, false),
        column("metric_name", DataType::Text, false),
        column("metric_value", DataType::Double, true),
        column("timestamp", DataType::Timestamp, true),
    ];
    table("metrics", columns, &["run_id", "step", "metric_name"])
}

/// What a sync of `tables` says before its first group.
pub fn preparation(tables: &[Table]) -> Preparation {
    Preparation { tables: tables.to_vec(), synced_at: SYNCED_AT, full_refresh: false }
}

/// An array of the column's type; text as a dictionary when `dictionary`.
fn array(data_type: DataType, values: &[Value], dictionary: bool) -> ArrayRef {
    macro_rules! values {
        ($case:ident) => {
            values.iter().map(|value| match value {
                Value::$case(value) => Some(value.clone()),
                Value::Null => None,
                other => panic!("{other:?} in a column of {data_type:?}"),
            })
        };
    }
    match data_type {
        DataType::Boolean => Arc::new(values!(Bool).collect::<BooleanArray>()),
        DataType::Integer => Arc::new(values!(Int).collect::<Int64Array>()),
        DataType::Double => Arc::new(values!(Double).collect::<Float64Array>()),
        DataType::Timestamp => Arc::new(values!(Time).collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
        DataType::Text | DataType::Json if dictionary => {
            let texts: Vec<Option<String>> = values!(Text).collect();
            Arc::new(texts.iter().map(Option::as_deref).collect::<DictionaryArray<UInt32Type>>())
        }
        DataType::Text | DataType::Json => Arc::new(values!(Text).collect::<StringArray>()),
    }
}

fn batch(columns: &[&Column], rows: &[Vec<Value>], dictionary: bool) -> RecordBatch {
    let arrays: Vec<ArrayRef> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let values: Vec<Value> = rows.iter().map(|row| row[index].clone()).collect();
            array(column.data_type, &values, dictionary && column.data_type == DataType::Text)
        })
        .collect();
    let fields: Vec<Field> = columns
        .iter()
        .zip(&arrays)
        .map(|(column, array)| Field::new(&column.name, array.data_type().clone(), column.nullable))
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

/// An upsert of `rows` into table number `number`, which is `table`.
pub fn upsert(number: usize, table: &Table, rows: &[Vec<Value>], dictionary: bool) -> Change {
    let columns: Vec<&Column> = table.columns().iter().collect();
    Change::Upsert { table: number, rows: batch(&columns, rows, dictionary) }
}

/// A deletion by leading parts of the key, all of one length.
pub fn delete(number: usize, table: &Table, keys: &[Vec<Value>]) -> Change {
    let parts = keys.first().map_or(1, Vec::len);
    let columns: Vec<&Column> = table.primary_key()[..parts].iter().map(|&index| &table.columns()[index]).collect();
    Change::Delete { table: number, keys: batch(&columns, keys, false) }
}

/// A row of `metrics`.
pub fn metric(run: &str, step: i64, name: &str, value: f64) -> Vec<Value> {
    vec![run.into(), step.into(), name.into(), value.into(), Value::Time(1_600_000_000_000_000 + step)]
}

/// A cell in a form that can be compared and that every destination's reader can bring its own cells into. A time is text as
/// [`TimestampText`] writes it.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => i64::from(*value).to_string(),
        Value::Int(value) => value.to_string(),
        // SQLite has no NaN and no negative zero.
        Value::Double(value) if value.is_nan() => "null".to_owned(),
        Value::Double(value) => format!("{:?}", value + 0.0),
        Value::Text(value) => format!("{value:?}"),
        Value::Time(value) => format!("{:?}", TimestampText::new().of(*value)),
    }
}

/// What a table holds: for each row its cells, the key first; sorted. Without `_synced_at`.
pub type Contents = BTreeSet<Vec<String>>;

/// Rows as [`Contents`]; panics when a row is there twice.
pub fn contents(rows: Vec<Vec<String>>) -> Contents {
    let contents: Contents = rows.iter().cloned().collect();
    assert_eq!(contents.len(), rows.len(), "rows twice");
    contents
}

/// The rows of a batch, whose columns are found by their names.
pub fn rows_of(table: &Table, batch: &RecordBatch) -> Vec<Vec<String>> {
    let cells = table
        .columns()
        .iter()
        .map(|column| Cells::new(column, batch.column_by_name(&column.name).unwrap().as_ref()).unwrap());
    let cells: Vec<_> = cells.collect();
    let value = |cells: &Cells<'_>, row: usize| match cells.get(row) {
        Cell::Null => Value::Null,
        Cell::Boolean(value) => Value::Bool(value),
        Cell::Integer(value) => Value::Int(value),
        Cell::Double(value) => Value::Double(value),
        Cell::Text(value) => Value::Text(value.to_owned()),
        Cell::Timestamp(value) => Value::Time(value),
    };
    (0..batch.num_rows()).map(|row| cells.iter().map(|cells| shown(&value(cells, row))).collect()).collect()
}

/// A group of these changes, with a patch of the state.
pub fn group(changes: Vec<Change>, patch: &[(&str, Option<&str>)]) -> Group {
    Group { changes, patch: patch.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned))).collect() }
}

/// A state with these entries.
pub fn state(entries: &[(&str, &str)]) -> State {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Rows as a table that holds them is read.
pub fn stored(rows: &[Vec<Value>]) -> Contents {
    rows.iter().map(|row| row.iter().map(shown).collect()).collect()
}

/// One sync of `groups`, committed after each.
pub fn sync(mut destination: Box<dyn Destination>, preparation: Preparation, groups: Vec<Group>) {
    destination.prepare(preparation).unwrap();
    for group in groups {
        destination.apply(group).unwrap();
        destination.commit().unwrap();
    }
    destination.finish().unwrap();
}
