//! Records in one form, without what hosts may do differently.

use serde_json::{Map, Value, json};

/// Calls in three streams, since a host may store while it prints; without batches of no rows, columns that are null throughout,
/// and what follows the last checkpoint of a sync that failed (or is an empty checkpoint). Names as in the contract, options that are
/// none left out.
pub(super) fn normal(record: &Value) -> Value {
    let mut record = named(record);
    for sync in record["syncs"].as_array_mut().into_iter().flatten() {
        let failed = !sync["result"]["error"].is_null();
        let calls = sync["calls"].as_array().cloned().unwrap_or_default();
        let of = |kinds: &[&str]| -> Vec<Value> {
            calls.iter().filter(|call| kinds.iter().any(|kind| call[0] == *kind)).cloned().collect()
        };
        let mut stored: Vec<_> = of(&["upsert", "delete", "checkpoint"]).into_iter().filter_map(call).collect();
        while stored.last().is_some_and(|call| match failed {
            true => call[0] != "checkpoint",
            false => *call == json!(["checkpoint", []]),
        }) {
            stored.pop();
        }
        let (log, progress) = (of(&["log"]), of(&["progress", "throttled"]));
        *sync = json!({
            "act": sync["act"], "destination": stored, "log": log, "progress": progress, "result": sync["result"],
        });
    }
    record
}

/// A record without the lines that the host logged beside the component's.
pub(super) fn without_host_lines(mut record: Value, expected: &Value) -> Value {
    let expected = expected["syncs"].as_array().into_iter().flatten();
    for (sync, expected) in record["syncs"].as_array_mut().into_iter().flatten().zip(expected) {
        if let (Some(log), Some(expected)) = (sync["log"].as_array_mut(), expected["log"].as_array()) {
            log.retain(|line| expected.contains(line));
        }
    }
    record
}

/// A call in its normal form; none when it changes nothing.
fn call(mut call: Value) -> Option<Value> {
    if let Some(columns) = call.get_mut(2).and_then(Value::as_object_mut) {
        if columns.values().any(|cells| cells.as_array().is_none_or(Vec::is_empty)) {
            return None;
        }
        columns.retain(|_, cells| cells.as_array().is_some_and(|cells| cells.iter().any(|cell| !cell.is_null())));
        for cell in columns.get_mut("value").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(number) = cell.as_str().and_then(|text| text.parse::<f64>().ok()) {
                *cell = Value::from(format!("{number:?}"));
            }
        }
    }
    Some(call)
}

/// `primaryKey` as `primary-key`; members that are null left out. Lists keep their nulls.
fn named(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(named).collect(),
        Value::Object(members) => {
            let there = members.iter().filter(|(_, value)| !value.is_null());
            Value::Object(there.map(|(name, value)| (kebab(name), named(value))).collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            kebab.push('-');
        }
        kebab.push(letter.to_ascii_lowercase());
    }
    kebab
}
