//! A component that does what its configuration says, step by step, also what no connector should. The host's tests say in
//! `script` what is to happen; a step is a list of a verb and its arguments, see `step`.
#![cfg(target_arch = "wasm32")]
#![deny(unsafe_code)]

mod bindings {
    #![allow(missing_docs, unsafe_code, clippy::all)]
    wit_bindgen::generate!({ path: "../../wit", world: "connector", generate_all });
}
mod assorted;
mod hostile;
mod memory;
mod requests;

use bindings::elt::connector::types::{
    Batch, Column, ColumnSchema, ColumnValues, ConfigurationProblem, DataType, Error, QuarantinedItem, Summary,
    TableSchema, TextDictionary, UpstreamFailure,
};
use bindings::elt::connector::{destination, log, progress};
use bindings::exports::elt::connector::source::Guest;
use serde_json::{Value, json};

struct Scripted;

#[allow(unsafe_code, reason = "generated code")]
mod exports {
    use super::{Scripted, bindings};

    bindings::export!(Scripted with_types_in bindings);
}

impl Guest for Scripted {
    fn spec() -> String {
        json!({"type": "object", "properties": {
            "api_key": {"type": "string", "writeOnly": true},
            "base_url": {"type": "string", "format": "uri", "x-elt-origin": true, "default": "https://api.example"},
            "script": {"type": "array"},
            "check": {"type": "array"},
        }})
        .to_string()
    }

    fn check(config: String) -> Result<String, Error> {
        run(&config, "check", &[]).map(|summary| summary.item)
    }

    fn schema(config: String) -> Result<Vec<TableSchema>, Error> {
        let config = parse(&config)?;
        if let Some(table) = config["table"].as_str() {
            return Ok(vec![schema(table), schema("events")]);
        }
        match config["script"].is_string() {
            true => Err(Error::Configuration(vec![problem(Some("script"), "is no list")])),
            false => Ok(vec![schema("events")]),
        }
    }

    fn sync(config: String, state: Vec<(String, String)>) -> Result<Summary, Error> {
        run(&config, "script", &state)
    }
}

fn schema(name: &str) -> TableSchema {
    let column = |name: &str, data_type, nullable| ColumnSchema { name: name.into(), data_type, nullable };
    TableSchema {
        name: name.into(),
        columns: vec![
            column("id", DataType::Text, false),
            column("step", DataType::Integer, false),
            column("value", DataType::Double, true),
            column("body", DataType::Json, true),
            column("at", DataType::Timestamp, true),
        ],
        primary_key: vec!["id".into(), "step".into()],
    }
}

fn problem(key: Option<&str>, message: &str) -> ConfigurationProblem {
    ConfigurationProblem { key: key.map(Into::into), message: message.into() }
}

fn parse(config: &str) -> Result<Value, Error> {
    serde_json::from_str(config).map_err(|why| Error::Configuration(vec![problem(None, &why.to_string())]))
}

fn run(config: &str, script: &str, state: &[(String, String)]) -> Result<Summary, Error> {
    let config = parse(config)?;
    for part in config[script].as_array().into_iter().flatten() {
        step(part, &config, state)?;
    }
    let quarantined = vec![QuarantinedItem { id: "q\u{1b}[1m".into(), reason: format!("has {}", config["api_key"]) }];
    let quarantined = if config["quarantine"].is_null() { Vec::new() } else { quarantined };
    Ok(Summary {
        item: "event".into(),
        seen: 3,
        synced: 2,
        unchanged: 1,
        deleted: 0,
        quarantined,
        requests: 0,
        retries: 4,
    })
}

/// One step. What the host answers to an emitting step ends the script, unless the verb begins with `try-`.
fn step(step: &Value, config: &Value, state: &[(String, String)]) -> Result<(), Error> {
    let verb = step[0].as_str().unwrap_or_default();
    let text = |index: usize| step[index].as_str().unwrap_or_default().to_owned();
    let number = |index: usize| step[index].as_u64().unwrap_or_default();
    match verb {
        "log" => log::write(log::Level::Info, &text(1)),
        "log-config" => log::write(log::Level::Info, &config.to_string()),
        "log-state" => log::write(log::Level::Info, &format!("{state:?}")),
        "log-many" => (0..number(1)).for_each(|n| log::write(log::Level::Debug, &format!("line {n}"))),
        "progress" => progress::report(&text(1), number(2), step[3].as_u64()),
        "throttled" => progress::throttled(number(1)),
        "rows" => ended(destination::upsert("events", &rows(number(1), number(2))))?,
        "rows-of" => ended(destination::upsert(&text(1), &rows(0, 1)))?,
        "try-rows" => {
            log::write(log::Level::Info, &format!("{:?}", destination::upsert("events", &rows(number(1), number(2)))))
        }
        "delete" => ended(destination::delete("events", &Batch { columns: vec![texts("id", vec![text(1)])] }))?,
        "checkpoint" => {
            let patch = step[1].as_object().into_iter().flatten();
            let patch: Vec<_> = patch.map(|(key, value)| (key.clone(), value.as_str().map(Into::into))).collect();
            ended(destination::checkpoint(&patch))?;
        }
        "batch" => ended(destination::upsert("events", &hostile::batch(&text(1))))?,
        "store-reversed" => {
            let text = reversed(&text(1));
            let mut row = rows(0, 1);
            row.columns[0] = texts("id", vec![format!("id {text}")]);
            let body = vec![format!("{{\"body\":\"{text}\"}}")];
            row.columns.push(Column { name: "body".into(), values: ColumnValues::Jsons(body), nulls: vec![] });
            ended(destination::upsert("events", &row))?;
        }
        "checkpoint-reversed" => {
            let text = reversed(&text(1));
            let patch = [(
                step[2].as_str().unwrap_or_default().replace('?', &text),
                Some(step[3].as_str().unwrap_or_default().replace('?', &text)),
            )];
            ended(destination::checkpoint(&patch))?;
        }
        "say-reversed" => {
            let text = reversed(&text(1));
            log::write(log::Level::Info, &format!("it is {text}"));
            progress::report(&text, 1, None);
        }
        "fail-reversed" => return Err(error("internal", format!("it was {}", reversed(&text(1))))),
        "fail" => return Err(error(&text(1), text(2))),
        "sleep" => bindings::wasi::clocks::monotonic_clock::subscribe_duration(number(1) * 1_000_000).block(),
        "get" | "get-all" | "post" | "post-trailers" => requests::exchange(verb, &text(1), step, config),
        "skip" => requests::skip(&text(1)),
        "open" => requests::open(&text(1), number(2)),
        "open-and-read" => requests::open_and_read(&text(1), number(2)),
        "assorted" => assorted::requests(&text(1), number(2)),
        "find" => log::write(log::Level::Info, &format!("found {}", memory::count_reversed(&text(1)))),
        "fill" => log::write(log::Level::Info, &memory::fill_reversed(number(1), &text(2))),
        other => hostile::act(other, step),
    }
    Ok(())
}

fn ended(result: Result<(), destination::DestinationError>) -> Result<(), Error> {
    result.map_err(|why| match why {
        destination::DestinationError::Interrupted => Error::Interrupted,
        other => Error::Destination(format!("{other:?}")),
    })
}

fn error(kind: &str, message: String) -> Error {
    match kind {
        "configuration" => Error::Configuration(vec![problem(Some("script"), &message)]),
        "authentication" => Error::Authentication(message),
        "permission" => Error::Permission(message),
        "not-found" => Error::NotFound(message),
        "upstream" => Error::Upstream(UpstreamFailure { status: None, message }),
        "interrupted" => Error::Interrupted,
        _ => Error::Internal(message),
    }
}

/// A text that the question itself must not hold.
fn reversed(text: &str) -> String {
    text.chars().rev().collect()
}

fn texts(name: &str, values: Vec<String>) -> Column {
    Column { name: name.into(), values: ColumnValues::Texts(values), nulls: vec![] }
}

/// `count` honest rows of one id, from step `first` on.
fn rows(first: u64, count: u64) -> Batch {
    let steps: Vec<i64> = (first..first + count).map(|step| step as i64).collect();
    let id = TextDictionary { keys: vec![0; steps.len()], values: vec!["e".into()] };
    Batch {
        columns: vec![
            Column { name: "id".into(), values: ColumnValues::Dictionary(id), nulls: vec![] },
            Column {
                name: "value".into(),
                values: ColumnValues::Doubles(steps.iter().map(|step| *step as f64).collect()),
                nulls: vec![],
            },
            Column { name: "step".into(), values: ColumnValues::Integers(steps), nulls: vec![] },
        ],
    }
}
