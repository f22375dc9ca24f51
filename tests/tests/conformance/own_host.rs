//! The conformance component in our own host, recorded.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType, UInt32Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use elt_destinations::url::{Access, open};
use elt_host::{
    Cache, CancellationToken, Change, Connector, Destination, DestinationError, Engine, EngineOptions, Error, Event,
    Group, HttpClient, Level, Observer, Outcome, Policy, Preparation, State, StatePatch, SyncRequest, Table,
};
use serde_json::{Map, Value, json};
use wandb_connector_tests::conformance::{acts, component_file};

/// The calls of one sync.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<Value>>>);

impl Calls {
    fn push(&self, call: Value) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    }

    fn take(&self) -> Vec<Value> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Observer for Calls {
    fn event(&self, event: Event) {
        match event {
            Event::Log { level, message } => {
                let level = match level {
                    Level::Debug => "debug",
                    Level::Info => "info",
                    Level::Warning => "warning",
                    Level::Severe => "severe",
                };
                self.push(json!(["log", level, message]));
            }
            Event::Progress { what, done, total } => self.push(json!(["progress", what, done, total])),
            Event::Throttled(wait) => self.push(json!(["throttled", wait.as_millis() as u64])),
            _ => {}
        }
    }
}

/// A destination, and the calls that reach it.
struct Recorded {
    destination: Box<dyn Destination>,
    tables: Vec<Table>,
    calls: Calls,
}

impl Destination for Recorded {
    fn prepare(&mut self, preparation: Preparation) -> Result<State, DestinationError> {
        self.tables.clone_from(&preparation.tables);
        self.destination.prepare(preparation)
    }

    fn apply(&mut self, group: Group) -> Result<(), DestinationError> {
        for change in &group.changes {
            let kind = if matches!(change, Change::Upsert { .. }) { "upsert" } else { "delete" };
            self.calls.push(json!([kind, self.tables[change.table()].name(), columns(change.batch())]));
        }
        self.calls.push(json!(["checkpoint", patch(&group.patch)]));
        self.destination.apply(group)
    }

    fn commit(&mut self) -> Result<(), DestinationError> {
        self.destination.commit()
    }

    fn finish(&mut self) -> Result<(), DestinationError> {
        self.destination.finish()
    }

    fn state(&mut self) -> Result<State, DestinationError> {
        self.destination.state()
    }

    fn replace_state(&mut self, state: &State) -> Result<(), DestinationError> {
        self.destination.replace_state(state)
    }
}

fn patch(patch: &StatePatch) -> Value {
    patch.iter().map(|(key, value)| json!([key, value])).collect()
}

fn columns(batch: &RecordBatch) -> Map<String, Value> {
    let schema = batch.schema();
    let names = schema.fields().iter().map(|field| field.name().clone());
    let cells = batch.columns().iter().map(|column| {
        let rows = 0..column.len();
        rows.map(|row| if column.is_null(row) { Value::Null } else { cell(column, row) }).collect()
    });
    names.zip(cells).collect()
}

fn cell(column: &dyn Array, row: usize) -> Value {
    match column.data_type() {
        DataType::Boolean => column.as_boolean().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string().into(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).to_string().into(),
        DataType::Timestamp(..) => column.as_primitive::<TimestampMicrosecondType>().value(row).to_string().into(),
        DataType::Dictionary(..) => {
            let dictionary = column.as_dictionary::<UInt32Type>();
            cell(dictionary.values(), dictionary.keys().value(row) as usize)
        }
        _ => column.as_string::<i32>().value(row).into(),
    }
}

fn schema(tables: &[Table]) -> Value {
    let table = |table: &Table| {
        let column = |index: usize| {
            let column = &table.columns()[index];
            let data_type = format!("{:?}", column.data_type).to_lowercase();
            json!({"name": column.name, "data-type": data_type, "nullable": column.nullable})
        };
        let columns: Vec<_> = (0..table.columns().len()).map(column).collect();
        let key: Vec<_> = table.primary_key().iter().map(|&index| &table.columns()[index].name).collect();
        json!({"name": table.name(), "columns": columns, "primary-key": key})
    };
    tables.iter().map(table).collect()
}

fn result(outcome: &Outcome) -> Value {
    let error = match &outcome.error {
        None => {
            let quarantined: Vec<_> =
                outcome.quarantined.iter().map(|(id, reason)| json!({"id": id, "reason": reason})).collect();
            let items = &outcome.items;
            return json!({"ok": {
                "item": items.unit, "seen": items.seen, "synced": items.synced, "unchanged": items.unchanged, "deleted": items.deleted,
                "quarantined": quarantined, "requests": outcome.requests, "retries": outcome.retries,
            }});
        }
        Some(Error::Configuration(problems)) => {
            let problems: Vec<_> =
                problems.iter().map(|problem| json!({"key": problem.key, "message": problem.message})).collect();
            json!(["configuration", problems])
        }
        Some(Error::Authentication(message)) => json!(["authentication", message]),
        Some(Error::Permission(message)) => json!(["permission", message]),
        Some(Error::NotFound(message)) => json!(["not-found", message]),
        Some(Error::RateLimited { message, retry_after }) => {
            let retry_after = retry_after.map(|wait| wait.as_millis() as u64);
            json!(["rate-limited", {"retry-after": retry_after, "message": message}])
        }
        Some(Error::Upstream { status, message }) => json!(["upstream", {"status": status, "message": message}]),
        Some(Error::Destination(message)) => json!(["destination", message]),
        // The host knows better than the connector why its destination refused.
        Some(Error::Contract(_)) => json!(["destination", "refused"]),
        Some(Error::Internal(message)) => json!(["internal", message.trim_start_matches("the connector failed: ")]),
        Some(error) => json!(["", error.to_string()]),
    };
    json!({ "error": error })
}

/// What the kit wants to know of a host.
pub(crate) async fn record(base_url: &str, database: &Path) -> Value {
    let engine = Engine::new(&EngineOptions::default()).expect("an engine");
    let cache = Cache::in_folder(wandb_connector_tests::product::target_dir().join("component-cache"));
    let file = component_file();
    let connector = Connector::load_file(&engine, &file, &cache)
        .unwrap_or_else(|error| panic!("{error}; run `connector/build.sh conformance` first ({})", file.display()));
    // The kit asks a port that nobody listens on, too.
    let this_machine = "127.0.0.1/32".parse().expect("a network");
    let policy = Policy::default().download_origins(["http://127.0.0.1:1"]).networks([this_machine]);
    let (client, calls, cancel) = (HttpClient::default(), Calls::default(), CancellationToken::new());
    let config = |act: &str| match json!({"base_url": base_url, "act": act}) {
        Value::Object(config) => config,
        _ => Map::new(),
    };
    let mut syncs = Vec::new();
    for act in acts() {
        let destination = open(&format!("sqlite:{}", database.display()).parse().expect("a URL"), Access::ReadWrite);
        let destination = destination.expect("the destination opens");
        let recorded = Recorded { destination, tables: Vec::new(), calls: calls.clone() };
        let spec = connector.spec().await.expect("a specification");
        let request = SyncRequest::new(spec, config(&act)).policy(policy.clone());
        let outcome = connector.sync(request, Box::new(recorded), &client, Arc::new(calls.clone()), &cancel).await;
        syncs.push(json!({"act": act, "calls": calls.take(), "result": result(&outcome)}));
    }
    let check = connector.check(&config("speak"), &policy, &client, Arc::new(calls), &cancel).await;
    let tables = connector.schema(&config("speak")).await.expect("a schema");
    json!({"check": check.expect("a sentence"), "schema": schema(&tables), "syncs": syncs})
}
