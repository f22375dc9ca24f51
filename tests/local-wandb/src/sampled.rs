//! `sampledHistory` and `liveData`: rows as JSON objects with chosen keys.

use async_graphql::Value;

use super::graphql::scalars::Json as JsonScalar;
use super::json::{Json, NonFinite};
use super::log::HistoryRead;
use super::project::Run;
use super::random::Random;

/// Samples of a spec that does not say.
const DEFAULT_SAMPLES: usize = 500;

/// The rows that have all keys of a spec (`{"keys":["loss"],"samples":500,"minStep":0,"maxStep":9}`; here `maxStep` is
/// inclusive), sampled down to its `samples`.
pub(crate) fn answer(run: &Run, spec: &str, seed: u64) -> Result<(Value, HistoryRead), String> {
    let spec: serde_json::Value = serde_json::from_str(spec).map_err(|problem| format!("invalid spec: {problem}"))?;
    let keys: Vec<&str> =
        spec["keys"].as_array().map(|keys| keys.iter().filter_map(|key| key.as_str()).collect()).unwrap_or_default();
    let samples = spec["samples"].as_u64().map_or(DEFAULT_SAMPLES, |it| usize::try_from(it).unwrap_or(usize::MAX));
    let (min, max) = (spec["minStep"].as_i64(), spec["maxStep"].as_i64());
    let rows = run.history.rows_between(min.unwrap_or(i64::MIN), max.map_or(i64::MAX, |it| it.saturating_add(1)));
    let mut found: Vec<Value> = Vec::new();
    for row in rows {
        let Ok(line) = Json::parse(run.history.line(row)) else {
            continue;
        };
        let members = keys.iter().map(|key| Some((async_graphql::Name::new(key), value_at(&line, key)?)));
        if let Some(members) = members.collect::<Option<Vec<_>>>() {
            found.push(Value::Object(members.into_iter().collect()));
        }
    }
    let sampled = found.len() > samples;
    let mut random = Random::new(seed);
    while found.len() > samples {
        found.remove(random.below(found.len()));
    }
    let read = HistoryRead {
        run_id: run.id.clone(),
        min_step: min,
        max_step: max,
        samples: Some(samples),
        rows: found.len(),
        sampled,
    };
    Ok((Value::List(found), read))
}

/// The rows from `from` on, each with these keys of it.
pub(crate) fn live(run: &Run, from: usize, keys: &[String]) -> Vec<JsonScalar> {
    let rows = (from..run.history.len()).filter_map(|row| {
        let line = Json::parse(run.history.line(row)).ok()?;
        let members = keys.iter().filter_map(|key| Some((async_graphql::Name::new(key), value_at(&line, key)?)));
        let mut members: async_graphql::indexmap::IndexMap<_, _> = members.collect();
        if keys.iter().any(|key| key == "_step") {
            members.insert(async_graphql::Name::new("_step"), Value::from(run.history.steps()[row]));
        }
        Some(JsonScalar(Value::Object(members)))
    });
    rows.collect()
}

/// A row's value at a key, which may be the path of a nested one.
fn value_at(row: &Json, key: &str) -> Option<Value> {
    let found = row.get(key).or_else(|| {
        let (outer, inner) = key.split_once('.')?;
        match row.get(outer)? {
            nested @ Json::Object(_) => inner.split('.').try_fold(nested, |at, part| at.get(part)),
            _ => None,
        }
    })?;
    to_value(found)
}

fn to_value(json: &Json) -> Option<Value> {
    Some(match json {
        Json::Null => return None,
        Json::NonFinite(NonFinite::Nan) => Value::from("NaN"),
        Json::NonFinite(it) => Value::from(it.name()),
        other => {
            let text = other.canonical().to_string();
            serde_json::from_str::<serde_json::Value>(&text).ok().and_then(|it| Value::from_json(it).ok())?
        }
    })
}
