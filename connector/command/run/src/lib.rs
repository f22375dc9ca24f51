//! Calls a connector: the configuration is in the environment, the state is what earlier runs printed, on standard input.
#![cfg(target_arch = "wasm32")]
#![deny(unsafe_code)]

mod bindings {
    #![allow(missing_docs, unsafe_code, clippy::all)]
    wit_bindgen::generate!({ path: ["../../../wit", "../wit"], world: "elt:command/run", generate_all });
}

use std::collections::BTreeMap;

use bindings::elt::connector::source;
use bindings::elt::connector::types::{DataType, Error, Summary, TableSchema};
use bindings::exports::wasi::cli::run::Guest;
use bindings::wasi::cli::{environment, stderr, stdin, stdout};
use bindings::wasi::io::streams::{OutputStream, StreamError};
use serde_json::{Value, json};

/// The environment variable that holds the configuration, a JSON object.
const CONFIGURATION: &str = "CONNECTOR_CONFIG";

struct Run;

#[allow(unsafe_code, reason = "generated code")]
mod exports {
    use super::{Run, bindings};

    bindings::export!(Run with_types_in bindings);
}

impl Guest for Run {
    fn run() -> Result<(), ()> {
        let (to, line, result) = match sync() {
            Ok(summary) => (stdout::get_stdout(), json!({ "summary": summary }), Ok(())),
            Err(error) => (stderr::get_stderr(), json!({ "error": error }), Err(())),
        };
        print(&to, &line).and(result)
    }
}

/// The summary, or the error.
fn sync() -> Result<Value, Value> {
    let failed = |kind: &str, message: &str| json!({"kind": kind, "message": message});
    let variables = environment::get_environment();
    let config = variables.into_iter().find(|(name, _)| name == CONFIGURATION).map(|(_, value)| value);
    let config = config.ok_or_else(|| {
        failed("configuration", &format!("the environment has no {CONFIGURATION}, the configuration as a JSON object"))
    })?;
    let state = read_state().map_err(|why| failed("internal", &why))?;
    let schema = source::schema(&config).map_err(error)?;
    let schema: Vec<Value> = schema.into_iter().map(table).collect();
    // Rows that an interrupted run printed after its last checkpoint end here, unconfirmed.
    print(&stdout::get_stdout(), &json!({ "begin": schema }))
        .map_err(|()| failed("destination", "standard output can't be written to"))?;
    source::sync(&config, &state).map(summary).map_err(error)
}

/// The state that the `checkpoint` lines on standard input add up to. Other lines are those of rows, and count for nothing.
fn read_state() -> Result<Vec<(String, String)>, String> {
    let mut state = BTreeMap::new();
    let (stream, mut rest) = (stdin::get_stdin(), Vec::new());
    loop {
        match stream.blocking_read(1 << 16) {
            Ok(bytes) => rest.extend(bytes),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(why)) => return Err(why.to_debug_string()),
        }
        let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines: Vec<u8> = rest.drain(..whole).collect();
        lines.split(|byte| *byte == b'\n').for_each(|line| apply(line, &mut state));
    }
    apply(&rest, &mut state);
    Ok(state.into_iter().collect())
}

fn apply(line: &[u8], state: &mut BTreeMap<String, String>) {
    if !line.starts_with(b"{\"checkpoint\":") {
        return;
    }
    // A last line that was cut off is no checkpoint.
    let Ok(line) = serde_json::from_slice::<Value>(line) else { return };
    for (key, value) in line["checkpoint"].as_object().into_iter().flatten() {
        match value.as_str() {
            Some(value) => drop(state.insert(key.clone(), value.to_owned())),
            None => drop(state.remove(key)),
        }
    }
}

fn print(to: &OutputStream, line: &Value) -> Result<(), ()> {
    let line = format!("{line}\n");
    line.as_bytes().chunks(4096).try_for_each(|part| to.blocking_write_and_flush(part)).map_err(drop)
}

fn table(table: TableSchema) -> Value {
    let columns = table.columns.into_iter().map(|column| {
        let data_type = match column.data_type {
            DataType::Boolean => "boolean",
            DataType::Integer => "integer",
            DataType::Double => "double",
            DataType::Text => "text",
            DataType::Json => "json",
            DataType::Timestamp => "timestamp",
        };
        json!({"name": column.name, "data_type": data_type, "nullable": column.nullable})
    });
    json!({"name": table.name, "columns": columns.collect::<Vec<_>>(), "primary_key": table.primary_key})
}

fn summary(summary: Summary) -> Value {
    let quarantined = summary.quarantined.into_iter().map(|item| json!({"id": item.id, "reason": item.reason}));
    json!({
        "item": summary.item, "seen": summary.seen, "synced": summary.synced, "unchanged": summary.unchanged, "deleted": summary.deleted,
        "quarantined": quarantined.collect::<Vec<_>>(), "requests": summary.requests, "retries": summary.retries,
    })
}

fn error(error: Error) -> Value {
    match error {
        Error::Configuration(problems) => {
            let problems = problems.into_iter().map(|it| json!({"key": it.key, "message": it.message}));
            json!({"kind": "configuration", "problems": problems.collect::<Vec<_>>()})
        }
        Error::Authentication(message) => json!({"kind": "authentication", "message": message}),
        Error::Permission(message) => json!({"kind": "permission", "message": message}),
        Error::NotFound(message) => json!({"kind": "not-found", "message": message}),
        Error::RateLimited(limit) => {
            json!({"kind": "rate-limited", "message": limit.message, "retry_after": limit.retry_after})
        }
        Error::Upstream(failure) => json!({"kind": "upstream", "message": failure.message, "status": failure.status}),
        Error::Destination(message) => json!({"kind": "destination", "message": message}),
        Error::Interrupted => json!({"kind": "interrupted"}),
        Error::Internal(message) => json!({"kind": "internal", "message": message}),
    }
}
