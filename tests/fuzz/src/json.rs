//! JSON that is not quite JSON.

use serde::de::IgnoredAny;
use serde_json::Value;
use wandb_connector::records::json;

/// What is JSON already stays as it is; what is repaired needs no second repair, and can be read when [`json::parse`] says so.
pub fn repair(bytes: &[u8]) {
    let repaired = json::repair(bytes);
    assert!(repaired.len() <= bytes.len() * 6);
    assert_eq!(json::repair(repaired.as_bytes()), repaired, "a second repair changes something");
    let strict = serde_json::from_slice::<Value>(bytes).is_ok();
    if strict {
        assert_eq!(repaired.as_bytes(), bytes, "JSON stays as it is");
    }
    let read = json::parse(bytes, |text| serde_json::from_str::<Value>(text));
    assert!(!strict || read.is_ok());
    if read.is_ok() {
        serde_json::from_str::<IgnoredAny>(&repaired).expect("what could be read is JSON once it is repaired");
    }
    // The same text with non-finite numbers in the place of others is read as well.
    if let Ok(Value::Array(values)) = serde_json::from_slice(bytes) {
        let python = |value: &Value| match value {
            Value::Number(number) => match number.as_i64() {
                Some(0) => "NaN".to_owned(),
                Some(1) => "Infinity".to_owned(),
                Some(-1) => "-Infinity".to_owned(),
                _ => number.to_string(),
            },
            other => other.to_string(),
        };
        let text = format!("[{}]", values.iter().map(python).collect::<Vec<_>>().join(","));
        json::parse(text.as_bytes(), |text| serde_json::from_str::<Vec<Value>>(text)).expect("what Python writes");
    }
}
