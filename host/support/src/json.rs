//! JSON that people write: read strictly, so that a slip is an error with a place and not a surprise later.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// What is wrong with a text, and where: line and column, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
    /// What is wrong, without the place.
    pub message: String,
}

/// Reads one JSON object. Unlike `serde_json` by itself it refuses a key that occurs twice, at any depth: of two
/// `"project"` lines, nobody knows which one the writer meant.
pub fn object(text: &[u8]) -> Result<Map<String, Value>, JsonError> {
    // Editors on Windows put a byte order mark first.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Strict.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    let found = match value {
        Ok(Value::Object(object)) => return Ok(object),
        Ok(Value::Array(_)) => "a list",
        Ok(Value::String(_)) => "a string",
        Ok(Value::Number(_)) => "a number",
        Ok(Value::Bool(_)) => "a boolean",
        Ok(Value::Null) => "null",
        Err(error) => {
            let message = error.to_string();
            let end = message.rfind(" at line ").unwrap_or(message.len());
            let (line, column) = (error.line().max(1), error.column().max(1));
            return Err(JsonError { line, column, message: message[..end].into() });
        }
    };
    Err(JsonError { line: 1, column: 1, message: format!("must be a JSON object, `{{…}}`, but is {found}") })
}

/// Any JSON value whose objects hold each key once.
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = access.next_element_seed(Strict)? {
            list.push(value);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key {} occurs twice", Value::from(key))));
            }
            object.insert(key, access.next_value_seed(Strict)?);
        }
        Ok(object.into())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_has_a_place() {
        let cases: [(&str, &str); 10] = [
            ("", "1:1 EOF while parsing a value"),
            ("[1, 2]", "1:1 must be a JSON object, `{…}`, but is a list"),
            ("\"a_key\"", "1:1 must be a JSON object, `{…}`, but is a string"),
            ("null", "1:1 must be a JSON object, `{…}`, but is null"),
            ("{\"a\": 1,}", "1:9 trailing comma"),
            ("{\n  \"a\": 1\n  \"b\": 2\n}", "3:3 expected `,` or `}`"),
            ("{\"a\": 1} {}", "1:10 trailing characters"),
            ("{\n  \"a\": 1,\n  \"a\": 2\n}", "3:5 the key \"a\" occurs twice"),
            ("{\"a\": {\"b\": 1, \"b\": 1}}", "1:18 the key \"b\" occurs twice"),
            ("{\"a\": 'x'}", "1:7 expected value"),
        ];
        for (text, expected) in cases {
            let JsonError { line, column, message } = object(text.as_bytes()).unwrap_err();
            assert_eq!(format!("{line}:{column} {message}"), expected, "{text}");
        }
    }

    #[test]
    fn every_kind_of_value_is_read_as_serde_json_reads_it() {
        let text = r#"{"a": [1, -2, 3.5, true, null, "x\u00e9", {"b": {}}], "c": 18446744073709551615}"#;
        assert_eq!(Value::from(object(text.as_bytes()).unwrap()), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn a_byte_order_mark_is_skipped_and_bad_utf_8_refused() {
        assert!(object(b"\xef\xbb\xbf{}").unwrap().is_empty());
        assert!(object(b"{\"a\": \"\xff\"}").is_err());
    }
}
