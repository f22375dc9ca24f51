//! Writes what a connector emits as lines of JSON: rows, deletions and checkpoints to standard output, logs and progress to standard
//! error. What the lines are is in the README of this folder.
#![cfg(target_arch = "wasm32")]
#![deny(unsafe_code)]

mod bindings {
    #![allow(missing_docs, unsafe_code, clippy::all)]
    wit_bindgen::generate!({ path: ["../../../wit", "../wit"], world: "elt:command/output", generate_all });
}
mod rows;

use bindings::exports::elt::connector::destination::{DestinationError, Guest as Destination};
use bindings::exports::elt::connector::types::Batch;
use bindings::exports::elt::connector::{log, progress};
use bindings::wasi::cli::{stderr, stdout};
use bindings::wasi::io::streams::{OutputStream, StreamError};
use serde_json::{Map, Value, json};

struct Output;

#[allow(unsafe_code, reason = "generated code")]
mod exports {
    use super::{Output, bindings};

    bindings::export!(Output with_types_in bindings);
}

impl Destination for Output {
    fn upsert(table: String, rows: Batch) -> Result<(), DestinationError> {
        rows::lines(&["upsert", "row"], &table, &rows).map_err(DestinationError::Invalid).and_then(emit)
    }

    fn delete(table: String, keys: Batch) -> Result<(), DestinationError> {
        rows::lines(&["delete", "key"], &table, &keys).map_err(DestinationError::Invalid).and_then(emit)
    }

    fn checkpoint(patch: Vec<(String, Option<String>)>) -> Result<(), DestinationError> {
        let patch: Map<String, Value> = patch.into_iter().map(|(key, value)| (key, value.into())).collect();
        emit(format!("{}\n", json!({ "checkpoint": patch })))
    }
}

impl log::Guest for Output {
    fn write(level: log::Level, message: String) {
        let level = match level {
            log::Level::Debug => "debug",
            log::Level::Info => "info",
            log::Level::Warning => "warning",
            log::Level::Severe => "severe",
        };
        tell(&json!({"log": level, "message": message}));
    }
}

impl progress::Guest for Output {
    fn report(what: String, done: u64, total: Option<u64>) {
        tell(&json!({"progress": what, "done": done, "total": total}));
    }

    fn throttled(milliseconds: u64) {
        tell(&json!({ "throttled": milliseconds }));
    }
}

/// A connector must hear that its rows went nowhere.
fn emit(lines: String) -> Result<(), DestinationError> {
    write(&stdout::get_stdout(), lines.as_bytes())
        .map_err(|_| DestinationError::Failed("standard output can't be written to".into()))
}

/// Reports may be lost.
fn tell(line: &Value) {
    drop(write(&stderr::get_stderr(), format!("{line}\n").as_bytes()));
}

fn write(to: &OutputStream, bytes: &[u8]) -> Result<(), StreamError> {
    // The most that one call takes.
    bytes.chunks(4096).try_for_each(|part| to.blocking_write_and_flush(part))
}
