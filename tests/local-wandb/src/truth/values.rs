//! The value rules: flattening, what is a double, what is an object, and times.

use crate::json::{Json, NonFinite};

/// Keys of a history row that are W&B's own.
const OWN_KEYS: [&str; 4] = ["_step", "_timestamp", "_runtime", "_wandb"];

/// The largest integer up to which every one is a double.
const EXACT: i128 = 1 << 53;

/// A time that was sent as a decimal of seconds, in whole microseconds.
///
/// A decimal read as a double and then rounded can be a microsecond off the decimal rounded exactly; both are right, so a
/// stamp is the range between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TruthTime {
    /// The earliest that is right.
    pub from: i64,
    /// The latest that is right.
    pub to: i64,
}

/// A row's metrics by flattened name; the last of colliding names wins. Nulls and W&B's own keys are left out.
pub(super) fn flatten(row: &Json) -> Vec<(String, Json)> {
    let Json::Object(members) = row else {
        return Vec::new();
    };
    let mut flat = Vec::new();
    for (key, value) in members {
        if !OWN_KEYS.contains(&key.as_str()) {
            flatten_into(&mut flat, key.clone(), value);
        }
    }
    flat
}

fn flatten_into(flat: &mut Vec<(String, Json)>, name: String, value: &Json) {
    match value {
        Json::Null => {}
        Json::Object(members) if !members.is_empty() && !is_media(value) => {
            for (key, value) in members {
                flatten_into(flat, format!("{name}.{key}"), value);
            }
        }
        _ => {
            flat.retain(|(it, _)| *it != name);
            flat.push((name, value.clone()));
        }
    }
}

/// Images, tables, histograms: objects that say what they are.
fn is_media(value: &Json) -> bool {
    value.get("_type").and_then(Json::as_str).is_some()
}

/// The value as a double, where it has one.
pub(super) fn as_double(value: &Json) -> Option<f64> {
    match value {
        // One that is beyond every double has none.
        Json::Number(token) => token.parse().ok().filter(|it: &f64| it.is_finite()),
        Json::NonFinite(it) => Some(it.as_f64()),
        Json::String(text) => NonFinite::from_name(text).map(NonFinite::as_f64),
        Json::Bool(value) => Some(f64::from(u8::from(*value))),
        _ => None,
    }
}

/// Whether the value needs JSON, alone or beside its double.
pub(super) fn is_object(value: &Json) -> bool {
    match value {
        Json::Number(token) => {
            let whole = !token.contains(['.', 'e', 'E']);
            as_double(value).is_none() || (whole && token.parse::<i128>().map_or(true, |it| it.abs() > EXACT))
        }
        Json::String(text) => NonFinite::from_name(text).is_none(),
        Json::Array(_) | Json::Object(_) => true,
        Json::Null | Json::Bool(_) | Json::NonFinite(_) => false,
    }
}

/// A row's `_timestamp`: seconds, or milliseconds when that large.
pub(super) fn stamp(value: &Json) -> Option<TruthTime> {
    let Json::Number(token) = value else {
        return None;
    };
    let seconds: f64 = token.parse().ok()?;
    let in_millis = seconds >= 1e11;
    let exact = shifted(token, if in_millis { 3 } else { 6 })?;
    let rounded = (seconds * if in_millis { 1e3 } else { 1e6 }).round() as i64;
    Some(TruthTime { from: exact.min(rounded), to: exact.max(rounded) })
}

/// A decimal times a power of ten, rounded to the nearest integer, exactly.
fn shifted(token: &str, places: i32) -> Option<i64> {
    let (mantissa, exponent) = match token.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (token, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let shift = exponent.checked_add(places)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let power = |n: i32| 10i128.checked_pow(n.unsigned_abs());
    let value = if shift >= 0 {
        digits.checked_mul(power(shift)?)?
    } else {
        let divisor = power(shift)?;
        let half = divisor / 2;
        (digits + if digits < 0 { -half } else { half }) / divisor
    };
    i64::try_from(value).ok()
}

/// A run's time as sent, in microseconds. Every spelling is UTC.
pub(super) fn run_time(text: &str) -> i64 {
    let bare = text.strip_suffix('Z').unwrap_or(text);
    chrono::NaiveDateTime::parse_from_str(bare, "%Y-%m-%dT%H:%M:%S%.f")
        .map(|time| time.and_utc().timestamp_micros())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_seconds_or_milliseconds() {
        for (token, micros) in [
            ("1.795404379055351e+09", 1_795_404_379_055_351),
            ("1795404379055", 1_795_404_379_055_000),
            ("1.795404379055351e+12", 1_795_404_379_055_351),
            ("1750000000", 1_750_000_000_000_000),
            ("0", 0),
        ] {
            let stamp = stamp(&Json::Number(token.to_owned())).expect("a number");
            assert!(stamp.from <= micros && micros <= stamp.to && stamp.to - stamp.from <= 1, "{token}: {stamp:?}");
        }
    }

    #[test]
    fn the_three_spellings_of_run_times_mean_the_same() {
        assert_eq!(run_time("2023-11-05T17:46:35"), 1_699_206_395_000_000);
        assert_eq!(run_time("2023-11-05T17:46:35Z"), 1_699_206_395_000_000);
        assert_eq!(run_time("2023-11-05T17:46:35.123Z"), 1_699_206_395_123_000);
    }

    #[test]
    fn a_number_needs_json_only_beyond_what_a_double_carries() {
        let number = |token: &str| is_object(&Json::Number(token.to_owned()));
        assert!(
            !number("9007199254740992")
                && number("9007199254740993")
                && !number("1e300")
                && number("-9007199254740993")
                && number("1e400")
        );
    }
}
