//! What a run's history holds, as the `historyKeys` field says it: each key with its types and last value, and the last
//! step.

use serde_json::{Map, Value, json};

use super::history::History;
use super::json::Json;

/// The field's value; null for an empty history.
pub(crate) fn of(history: &History) -> Option<Value> {
    history.keys(|history| {
        let last_step = history.last_step()?;
        let mut keys: Vec<(String, Key)> = Vec::new();
        for line in history.lines() {
            if let Ok(row) = Json::parse(line) {
                collect(&mut keys, "", &row);
            }
        }
        let keys: Map<String, Value> = keys.into_iter().map(|(name, key)| (name, key.into_value())).collect();
        Some(json!({ "sets": [], "keys": keys, "lastStep": last_step }))
    })
}

struct Key {
    types: Vec<(&'static str, usize)>,
    monotonic: bool,
    last: Value,
}

impl Key {
    fn see(&mut self, kind: &'static str, value: Value) {
        match self.types.iter_mut().find(|(it, _)| *it == kind) {
            Some((_, count)) => *count += 1,
            None => self.types.push((kind, 1)),
        }
        if let (Some(last), Some(now)) = (self.last.as_f64(), value.as_f64()) {
            self.monotonic &= now >= last;
        }
        self.last = value;
    }

    fn into_value(self) -> Value {
        let counts: Vec<Value> =
            self.types.iter().map(|(kind, count)| json!({ "type": kind, "count": count })).collect();
        json!({ "typeCounts": counts, "monotonic": self.monotonic, "previousValue": self.last })
    }
}

fn collect(keys: &mut Vec<(String, Key)>, prefix: &str, row: &Json) {
    let Json::Object(members) = row else { return };
    for (name, value) in members {
        let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let (kind, shown) = match value {
            Json::Object(inner) => match value.get("_type").and_then(Json::as_str) {
                None if !inner.is_empty() => {
                    collect(keys, &name, value);
                    continue;
                }
                _ => ("map", Value::Null),
            },
            Json::Number(token) => (
                "number",
                token.parse::<f64>().map_or(Value::Null, |it| serde_json::from_str(token).unwrap_or(json!(it))),
            ),
            Json::NonFinite(it) => ("number", Value::from(it.name())),
            Json::String(text) => ("string", Value::from(text.as_str())),
            Json::Bool(value) => ("boolean", Value::from(*value)),
            Json::Array(_) => ("list", Value::Null),
            Json::Null => ("nil", Value::Null),
        };
        match keys.iter_mut().find(|(it, _)| *it == name) {
            Some((_, key)) => key.see(kind, shown),
            None => {
                let mut key = Key { types: Vec::new(), monotonic: kind == "number", last: Value::Null };
                key.see(kind, shown);
                keys.push((name, key));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_types_counts_and_the_last_step() {
        let history = History::from_lines([r#"{"_step":0,"a":{"b":2},"s":"x"}"#, r#"{"_step":7,"a":{"b":1},"s":1}"#]);
        let keys = of(&history).expect("there are rows");
        assert_eq!(keys["lastStep"], 7);
        let expected = json!({"typeCounts": [{"type": "number", "count": 2}], "monotonic": false, "previousValue": 1});
        assert_eq!(keys["keys"]["a.b"], expected);
        assert_eq!(keys["keys"]["s"]["typeCounts"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn an_empty_history_has_none() {
        assert_eq!(of(&History::default()), None);
    }
}
