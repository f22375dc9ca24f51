//! `filters` and `order` of a listing of runs: Mongo-style conditions over a run's fields, config and summary.

use std::cmp::Ordering;

use serde_json::Value;

use crate::clock::Micros;
use crate::json::Json;
use crate::project::Run;

/// The runs that a filter lets through, in the order asked for.
///
/// The filter is W&B's JSON text; `order` is `+field` or `-field`, newest first by default. The error is what to tell the
/// client.
pub(crate) fn select<'a, T: AsRef<Run>>(
    runs: &'a [T],
    filters: Option<&str>,
    order: Option<&str>,
) -> Result<Vec<&'a T>, String> {
    let filter: Value = match filters.map(str::trim) {
        None | Some("") => Value::Null,
        Some(text) => serde_json::from_str(text).map_err(|problem| format!("invalid filters: {problem}"))?,
    };
    let mut selected = Vec::new();
    for run in runs {
        if matches(&filter, run.as_ref())? {
            selected.push(run);
        }
    }
    let order = order.filter(|it| !it.is_empty()).unwrap_or("-created_at");
    let (descending, key) = match order.strip_prefix('-') {
        Some(key) => (true, key),
        None => (false, order.strip_prefix('+').unwrap_or(order)),
    };
    // Ties keep the order of creation, also when it is turned round.
    if descending {
        selected.reverse();
    }
    let mut keyed = Vec::with_capacity(selected.len());
    for run in selected {
        let key = sort_key(run.as_ref(), key).ok_or_else(|| format!("invalid order: {order}"))?;
        keyed.push((key, run));
    }
    keyed.sort_by(|(a, _), (b, _)| if descending { b.cmp(a) } else { a.cmp(b) });
    Ok(keyed.into_iter().map(|(_, run)| run).collect())
}

/// What runs are sorted by.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum SortKey {
    Time(Option<Micros>),
    Text(Option<String>),
}

fn sort_key(run: &Run, key: &str) -> Option<SortKey> {
    Some(match key {
        "created_at" | "createdAt" => SortKey::Time(Some(run.created_at)),
        "heartbeat_at" | "heartbeatAt" => SortKey::Time(Some(run.heartbeat_at)),
        "updated_at" | "updatedAt" => SortKey::Time(run.updated_at),
        "name" => SortKey::Text(Some(run.id.clone())),
        "display_name" | "displayName" => SortKey::Text(run.display_name.clone()),
        "state" => SortKey::Text(Some(run.state.clone())),
        _ => return None,
    })
}

fn matches(filter: &Value, run: &Run) -> Result<bool, String> {
    let Some(conditions) = filter.as_object() else {
        return if filter.is_null() { Ok(true) } else { Err("filters must be an object".to_owned()) };
    };
    for (key, condition) in conditions {
        let branches = || condition.as_array().ok_or_else(|| format!("{key} wants a list"));
        let holds = match key.as_str() {
            "$and" => branches()?.iter().try_fold(true, |all, it| Ok::<_, String>(all & matches(it, run)?))?,
            "$or" => {
                let branches = branches()?;
                branches.is_empty()
                    || branches.iter().try_fold(false, |any, it| Ok::<_, String>(any | matches(it, run)?))?
            }
            "$not" => !matches(condition, run)?,
            _ => holds(&field(run, key), condition)?,
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

fn holds(value: &Value, condition: &Value) -> Result<bool, String> {
    let Some(operators) = condition.as_object().filter(|it| it.keys().all(|key| key.starts_with('$'))) else {
        return Ok(equal(value, condition));
    };
    let list = |it: &Value| it.as_array().cloned().ok_or_else(|| "$in and $nin want a list".to_owned());
    for (operator, operand) in operators {
        let ordered = |accepts: &[Ordering]| compare(value, operand).is_some_and(|it| accepts.contains(&it));
        let holds = match operator.as_str() {
            "$eq" => equal(value, operand),
            "$ne" => !equal(value, operand),
            "$gt" => ordered(&[Ordering::Greater]),
            "$gte" => ordered(&[Ordering::Greater, Ordering::Equal]),
            "$lt" => ordered(&[Ordering::Less]),
            "$lte" => ordered(&[Ordering::Less, Ordering::Equal]),
            "$in" => list(operand)?.iter().any(|it| equal(value, it)),
            "$nin" => !list(operand)?.iter().any(|it| equal(value, it)),
            "$exists" => value.is_null() != operand.as_bool().unwrap_or(true),
            "$regex" => {
                let pattern = operand.as_str().ok_or("$regex wants a string")?;
                let regex = regex::Regex::new(pattern).map_err(|problem| problem.to_string())?;
                value.as_str().is_some_and(|text| regex.is_match(text))
            }
            other => return Err(format!("unknown operator {other}")),
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Mongo's equality: a list also equals each of its elements. Times are compared as times.
fn equal(value: &Value, other: &Value) -> bool {
    if let (Some(items), false) = (value.as_array(), other.is_array()) {
        return items.iter().any(|item| equal(item, other));
    }
    value == other || compare(value, other) == Some(Ordering::Equal)
}

fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        (Value::String(a), Value::String(b)) => match (time(a), time(b)) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => Some(a.cmp(b)),
        },
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        (Value::Null, _) => Some(Ordering::Less),
        (_, Value::Null) => Some(Ordering::Greater),
        _ => None,
    }
}

fn time(text: &str) -> Option<chrono::NaiveDateTime> {
    chrono::NaiveDateTime::parse_from_str(text.strip_suffix('Z').unwrap_or(text), "%Y-%m-%dT%H:%M:%S%.f").ok()
}

/// A run's field as filters name it.
fn field(run: &Run, key: &str) -> Value {
    let at = |it| Value::from(run.timestamps.format(it));
    match key {
        "name" => Value::from(run.id.as_str()),
        "display_name" | "displayName" => Value::from(run.display_name.clone()),
        "state" => Value::from(run.state.as_str()),
        "created_at" | "createdAt" => at(run.created_at),
        "heartbeat_at" | "heartbeatAt" => at(run.heartbeat_at),
        "updated_at" | "updatedAt" => run.updated_at.map_or(Value::Null, at),
        "group" => Value::from(run.group.clone()),
        "job_type" | "jobType" => Value::from(run.job_type.clone()),
        "notes" => Value::from(run.notes.clone()),
        "tags" => Value::from(run.tags.clone().unwrap_or_default()),
        "username" | "user" => Value::from(run.user.as_ref().map(|user| user.username.clone())),
        "history_line_count" | "historyLineCount" => Value::from(run.history.len()),
        _ => nested(run, key),
    }
}

/// `config.lr`, `config.lr.value`, `summary_metrics.loss`.
fn nested(run: &Run, key: &str) -> Value {
    let (text, path, wrapped) = if let Some(path) = key.strip_prefix("config.") {
        (&run.config, path.strip_suffix(".value").unwrap_or(path), true)
    } else if let Some(path) = key.strip_prefix("summary_metrics.").or_else(|| key.strip_prefix("summaryMetrics.")) {
        (&run.summary, path, false)
    } else {
        return Value::Null;
    };
    let found = text.as_deref().and_then(|text| Json::parse(text).ok()).and_then(|json| {
        let value = json.get(path)?;
        let value = if wrapped { value.get("value").unwrap_or(value) } else { value };
        serde_json::from_str(&value.to_string()).ok()
    });
    found.unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECOND;
    use std::sync::Arc;

    fn runs() -> Vec<Arc<Run>> {
        ["a", "b", "c"]
            .iter()
            .enumerate()
            .map(|(i, id)| {
                let mut run = Run::new(*id);
                run.created_at += i as i64 / 2 * SECOND;
                run.tags = Some(vec![format!("t{i}")]);
                run.state = if i == 2 { "running" } else { "finished" }.to_owned();
                run.config = Some(format!(r#"{{"lr":{{"value":{i}}}}}"#));
                Arc::new(run)
            })
            .collect()
    }

    fn ids(filters: &str, order: Option<&str>) -> String {
        let runs = runs();
        let selected = select(&runs, Some(filters), order).expect("a valid filter");
        selected.iter().map(|run| run.id.as_str()).collect()
    }

    #[test]
    fn filters_select() {
        let oldest = Some("+created_at");
        for (filter, expected) in [
            ("{}", "abc"),
            (r#"{"state":"running"}"#, "c"),
            (r#"{"$or":[{"name":"a"},{"state":{"$ne":"finished"}}]}"#, "ac"),
            (r#"{"$and":[{"tags":{"$in":["t0","t1"]}},{"config.lr":{"$gte":1}}]}"#, "b"),
            (r#"{"createdAt":{"$gt":"2025-06-15T15:06:40"}}"#, "c"),
            (r#"{"name":{"$regex":"^[ab]$"},"group":{"$exists":false}}"#, "ab"),
            (r#"{"name":{"$nin":["b"]}}"#, "ac"),
        ] {
            assert_eq!(ids(filter, oldest), expected, "{filter}");
        }
    }

    #[test]
    fn the_newest_comes_first_unless_asked_otherwise() {
        assert_eq!(ids("{}", None), "cba");
        assert_eq!(ids("{}", Some("+created_at")), "abc");
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        assert!(select(&runs(), Some("{"), None).is_err());
        assert!(select(&runs(), Some(r#"{"name":{"$near":1}}"#), None).is_err());
        assert!(select(&runs(), None, Some("+nonsense")).is_err());
    }
}
