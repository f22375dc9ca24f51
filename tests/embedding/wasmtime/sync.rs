//! Syncs a source into SQLite. If it is stopped, everything up to the last checkpoint is stored, and the next sync goes on from there.

use std::process::ExitCode;

use serde_json::{Value, json};
use wasmtime::Result;
use wasmtime::error::Context as _;

use crate::connector::destination::{self, DestinationError, StatePatch};
use crate::connector::types::{Batch, Error, Summary};
use crate::connector::{Connector, log, progress};
use crate::far::Far;
use crate::warehouse::Warehouse;

/// The warehouse, with logs and progress on standard error.
struct Destination(Warehouse, Far);

impl destination::Host for Destination {
    fn upsert(&mut self, table: String, rows: Batch) -> Result<(), DestinationError> {
        self.0.upsert(&table, rows).map_err(failed)
    }

    fn delete(&mut self, table: String, keys: Batch) -> Result<(), DestinationError> {
        self.0.delete(&table, keys).map_err(failed)
    }

    fn checkpoint(&mut self, patch: StatePatch) -> Result<(), DestinationError> {
        self.0.checkpoint(patch).map_err(failed)
    }
}

/// To stop a sync, answer `DestinationError::Interrupted`.
pub(crate) fn failed(why: rusqlite::Error) -> DestinationError {
    DestinationError::Failed(why.to_string())
}

impl log::Host for Destination {
    fn write(&mut self, level: log::Level, message: String) {
        self.1.clear();
        eprintln!("{level:?}: {}", message.escape_debug());
    }
}

impl progress::Host for Destination {
    fn report(&mut self, what: String, done: u64, total: Option<u64>) {
        self.1.report(what, done, total);
    }

    fn throttled(&mut self, milliseconds: u64) {
        self.1.clear();
        eprintln!("the source asks to wait for {} s", milliseconds as f64 / 1000.0);
    }
}

pub(crate) fn main(component: &str, configuration: &str, database: &str) -> Result<ExitCode> {
    let config = serde_json::from_slice(&std::fs::read(configuration)?)?;
    match sync(&Connector::load(component)?, &config, database)? {
        Ok(summary) => {
            println!("{}", shown(&summary));
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            let (kind, payload) = kind_and_payload(&error);
            eprintln!(
                "{kind}: {}",
                payload.as_str().map_or(payload.to_string(), |text| text.escape_debug().to_string())
            );
            Ok(ExitCode::FAILURE)
        }
    }
}

fn sync(connector: &Connector, config: &Value, database: &str) -> Result<Result<Summary, Error>> {
    let schema = match connector.schema(config)? {
        Ok(schema) => schema,
        Err(error) => return Ok(Err(error)),
    };
    let warehouse = Warehouse::open(database, &schema)?;
    let state = warehouse.state()?;
    let (destination, result) = connector.sync(config, &state, Destination(warehouse, Far::new()))?;
    if result.is_ok() {
        // Rows after the last checkpoint count once `sync` has returned.
        destination.0.checkpoint(StatePatch::new()).context("the last rows")?;
    }
    Ok(result)
}

/// A summary as JSON.
pub(crate) fn shown(summary: &Summary) -> Value {
    let quarantined: Vec<_> =
        summary.quarantined.iter().map(|item| json!({"id": item.id, "reason": item.reason})).collect();
    json!({
        "item": summary.item, "seen": summary.seen, "synced": summary.synced, "unchanged": summary.unchanged,
        "deleted": summary.deleted, "quarantined": quarantined, "requests": summary.requests, "retries": summary.retries,
    })
}

/// A case of the contract's `error`, and its content as JSON.
pub(crate) fn kind_and_payload(error: &Error) -> (&'static str, Value) {
    match error {
        Error::Configuration(problems) => {
            let problem = |problem: &crate::connector::types::ConfigurationProblem| json!({"key": problem.key, "message": problem.message});
            ("configuration", problems.iter().map(problem).collect())
        }
        Error::Authentication(message) => ("authentication", json!(message)),
        Error::Permission(message) => ("permission", json!(message)),
        Error::NotFound(message) => ("not-found", json!(message)),
        Error::RateLimited(limit) => {
            ("rate-limited", json!({"retry-after": limit.retry_after, "message": limit.message}))
        }
        Error::Upstream(failure) => ("upstream", json!({"status": failure.status, "message": failure.message})),
        Error::Destination(message) => ("destination", json!(message)),
        Error::Interrupted => ("interrupted", Value::Null),
        Error::Internal(message) => ("internal", json!(message)),
    }
}
