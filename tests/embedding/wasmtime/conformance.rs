//! Runs the kit's component (`tests/conformance`) and prints what this host saw, as one JSON object.

use serde_json::{Map, Value, json};
use wasmtime::Result;

use crate::connector::destination::{self, DestinationError, StatePatch};
use crate::connector::types::{Batch, Column, ColumnValues, DataType, TableSchema};
use crate::connector::{Connector, log, progress};
use crate::sync::{failed, kind_and_payload, shown};
use crate::warehouse::Warehouse;

/// The warehouse, and a list of the calls that reached it.
struct Recorder {
    warehouse: Warehouse,
    calls: Vec<Value>,
}

impl destination::Host for Recorder {
    fn upsert(&mut self, table: String, rows: Batch) -> Result<(), DestinationError> {
        self.calls.push(json!(["upsert", table, columns(&rows)]));
        self.warehouse.upsert(&table, rows).map_err(failed)
    }

    fn delete(&mut self, table: String, keys: Batch) -> Result<(), DestinationError> {
        self.calls.push(json!(["delete", table, columns(&keys)]));
        self.warehouse.delete(&table, keys).map_err(failed)
    }

    fn checkpoint(&mut self, patch: StatePatch) -> Result<(), DestinationError> {
        self.calls.push(json!(["checkpoint", patch]));
        self.warehouse.checkpoint(patch).map_err(failed)
    }
}

impl log::Host for Recorder {
    fn write(&mut self, level: log::Level, message: String) {
        let level = match level {
            log::Level::Debug => "debug",
            log::Level::Info => "info",
            log::Level::Warning => "warning",
            log::Level::Severe => "severe",
        };
        self.calls.push(json!(["log", level, message]));
    }
}

impl progress::Host for Recorder {
    fn report(&mut self, what: String, done: u64, total: Option<u64>) {
        self.calls.push(json!(["progress", what, done, total]));
    }

    fn throttled(&mut self, milliseconds: u64) {
        self.calls.push(json!(["throttled", milliseconds]));
    }
}

fn columns(batch: &Batch) -> Map<String, Value> {
    batch.columns.iter().map(|column| (column.name.clone(), cells(column))).collect()
}

/// Numbers as text, since JSON has neither NaN nor, everywhere, 64 bits.
fn cells(column: &Column) -> Value {
    let mut cells: Vec<Value> = match &column.values {
        ColumnValues::Booleans(values) => values.iter().copied().map(Value::from).collect(),
        ColumnValues::Integers(values) | ColumnValues::Timestamps(values) => {
            values.iter().map(|value| value.to_string().into()).collect()
        }
        ColumnValues::Doubles(values) => values.iter().map(|value| value.to_string().into()).collect(),
        ColumnValues::Texts(values) | ColumnValues::Jsons(values) => values.iter().cloned().map(Value::from).collect(),
        ColumnValues::Dictionary(dictionary) => {
            dictionary.keys.iter().map(|&key| json!(dictionary.values.get(key as usize))).collect()
        }
    };
    for &row in &column.nulls {
        if let Some(cell) = cells.get_mut(row as usize) {
            *cell = Value::Null;
        }
    }
    cells.into()
}

fn schema(tables: &[TableSchema]) -> Value {
    let data_type = |of: DataType| match of {
        DataType::Boolean => "boolean",
        DataType::Integer => "integer",
        DataType::Double => "double",
        DataType::Text => "text",
        DataType::Json => "json",
        DataType::Timestamp => "timestamp",
    };
    let table = |table: &TableSchema| {
        let columns: Vec<_> = table
            .columns
            .iter()
            .map(|it| json!({"name": it.name, "data-type": data_type(it.data_type), "nullable": it.nullable}))
            .collect();
        json!({"name": table.name, "columns": columns, "primary-key": table.primary_key})
    };
    tables.iter().map(table).collect()
}

pub(crate) fn main(component: &str, base_url: &str, database: &str, acts: &[&str]) -> Result<()> {
    let connector = Connector::load(component)?;
    let config = json!({"base_url": base_url});
    let tables = connector.schema(&config)??;
    let mut syncs = Vec::new();
    for act in acts {
        let warehouse = Warehouse::open(database, &tables)?;
        let state = warehouse.state()?;
        let recorder = Recorder { warehouse, calls: Vec::new() };
        let config = json!({"base_url": base_url, "act": act});
        let (mut recorder, result) = connector.sync(&config, &state, recorder)?;
        let result = match result {
            Ok(summary) => {
                destination::Host::checkpoint(&mut recorder, StatePatch::new())?;
                json!({"ok": shown(&summary)})
            }
            Err(error) => json!({"error": kind_and_payload(&error)}),
        };
        syncs.push(json!({"act": act, "calls": recorder.calls, "result": result}));
    }
    let spec: Value = serde_json::from_str(&connector.spec()?)?;
    let check = connector.check(&config)??;
    println!("{}", json!({"spec": spec, "check": check, "schema": schema(&tables), "syncs": syncs}));
    Ok(())
}
