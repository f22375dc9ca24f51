//! JSON as W&B writes it: a reader and writer that keep every digit.
//!
//! W&B's texts are not quite JSON: `NaN`, `Infinity` and `-Infinity` stand bare, integers grow past 64 bits, and config
//! holds numbers that no double carries. The ground truth compares such texts digit by digit, so numbers stay the tokens
//! they were sent as. This is deliberately not `serde_json`: the ground truth must not share a parser with what it judges. Of other crates,
//! those that read bare `NaN` (`json5`, `jiter`) make numbers of their digits, and those that keep the digits refuse `NaN`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A JSON value with its numbers as sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number's token, verbatim.
    Number(String),
    /// A bare `NaN`, `Infinity` or `-Infinity`, which JSON does not have.
    NonFinite(NonFinite),
    /// A string, unescaped.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object's members in the order sent, repeated keys included.
    Object(Vec<(String, Json)>),
}

/// The numbers that JSON has no spelling for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonFinite {
    /// `NaN`
    Nan,
    /// `Infinity`
    Infinity,
    /// `-Infinity`
    NegInfinity,
}

impl NonFinite {
    /// How W&B spells it, bare or quoted.
    pub fn name(self) -> &'static str {
        match self {
            NonFinite::Nan => "NaN",
            NonFinite::Infinity => "Infinity",
            NonFinite::NegInfinity => "-Infinity",
        }
    }

    /// The number that a spelling means.
    pub fn from_name(name: &str) -> Option<Self> {
        [NonFinite::Nan, NonFinite::Infinity, NonFinite::NegInfinity].into_iter().find(|it| it.name() == name)
    }

    /// As a double.
    pub fn as_f64(self) -> f64 {
        match self {
            NonFinite::Nan => f64::NAN,
            NonFinite::Infinity => f64::INFINITY,
            NonFinite::NegInfinity => f64::NEG_INFINITY,
        }
    }
}

/// What was wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// Byte offset into the text.
    pub offset: usize,
    /// What was expected there.
    pub expected: &'static str,
}

impl std::fmt::Display for JsonError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "expected {} at byte {}", self.expected, self.offset)
    }
}

impl std::error::Error for JsonError {}

impl Json {
    /// Reads one value; nothing but white space may follow it.
    pub fn parse(text: &str) -> Result<Self, JsonError> {
        let mut parser = Parser { text, at: 0 };
        let value = parser.value()?;
        parser.white_space();
        if parser.at != text.len() {
            return Err(parser.error("the end of the text"));
        }
        Ok(value)
    }

    /// The value of an object's key: the last one where it is repeated.
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Json::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number as an integer, when its token is one that fits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Json::Number(token) => token.parse().ok(),
            _ => None,
        }
    }

    /// The same value in one canonical form: keys sorted, the last of repeated keys kept, bare non-finite numbers quoted.
    pub fn canonical(&self) -> Json {
        match self {
            Json::NonFinite(it) => Json::String(it.name().to_owned()),
            Json::Array(items) => Json::Array(items.iter().map(Json::canonical).collect()),
            Json::Object(members) => {
                let sorted: BTreeMap<String, Json> = members.iter().map(|(k, v)| (k.clone(), v.canonical())).collect();
                Json::Object(sorted.into_iter().collect())
            }
            other => other.clone(),
        }
    }
}

/// Writes compact text; bare non-finite numbers stay bare.
impl std::fmt::Display for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(value) => write!(f, "{value}"),
            Json::Number(token) => f.write_str(token),
            Json::NonFinite(it) => f.write_str(it.name()),
            Json::String(text) => {
                let mut out = String::with_capacity(text.len() + 2);
                push_string(&mut out, text);
                f.write_str(&out)
            }
            Json::Array(items) => {
                f.write_char('[')?;
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        f.write_char(',')?;
                    }
                    write!(f, "{item}")?;
                }
                f.write_char(']')
            }
            Json::Object(members) => {
                f.write_char('{')?;
                for (i, (key, value)) in members.iter().enumerate() {
                    if i > 0 {
                        f.write_char(',')?;
                    }
                    let mut out = String::with_capacity(key.len() + 3);
                    push_string(&mut out, key);
                    write!(f, "{out}:{value}")?;
                }
                f.write_char('}')
            }
        }
    }
}

/// Appends `text` as a JSON string with its quotes.
pub fn push_string(out: &mut String, text: &str) {
    out.push('"');
    push_escaped(out, text);
    out.push('"');
}

/// Appends `text` with what JSON strings must escape escaped, without quotes.
pub fn push_escaped(out: &mut String, text: &str) {
    let mut plain_from = 0;
    for (i, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..=0x1f => "",
            _ => continue,
        };
        out.push_str(&text[plain_from..i]);
        if escape.is_empty() {
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escape);
        }
        plain_from = i + 1;
    }
    out.push_str(&text[plain_from..]);
}

/// `text` as a JSON string with its quotes.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_string(&mut out, text);
    out
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn error(&self, expected: &'static str) -> JsonError {
        JsonError { offset: self.at, expected }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.text[self.at..].starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn value(&mut self) -> Result<Json, JsonError> {
        self.white_space();
        match self.peek() {
            Some(b'{') => self.object(),
            Some(b'[') => self.array(),
            Some(b'"') => self.string().map(Json::String),
            Some(b'0'..=b'9') => self.number(),
            Some(b'-') if self.text[self.at..].starts_with("-I") => self.word(),
            Some(b'-') => self.number(),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Result<Json, JsonError> {
        let words = [
            ("null", Json::Null),
            ("true", Json::Bool(true)),
            ("false", Json::Bool(false)),
            ("NaN", Json::NonFinite(NonFinite::Nan)),
            ("Infinity", Json::NonFinite(NonFinite::Infinity)),
            ("-Infinity", Json::NonFinite(NonFinite::NegInfinity)),
        ];
        for (word, value) in words {
            if self.take(word) {
                return Ok(value);
            }
        }
        Err(self.error("a value"))
    }

    fn number(&mut self) -> Result<Json, JsonError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) {
            self.at += 1;
        }
        let token = &self.text[start..self.at];
        if token.parse::<f64>().is_err() {
            self.at = start;
            return Err(self.error("a number"));
        }
        Ok(Json::Number(token.to_owned()))
    }

    fn array(&mut self) -> Result<Json, JsonError> {
        self.at += 1;
        let mut items = Vec::new();
        self.white_space();
        if self.take("]") {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value()?);
            self.white_space();
            if self.take("]") {
                return Ok(Json::Array(items));
            }
            if !self.take(",") {
                return Err(self.error("`,` or `]`"));
            }
        }
    }

    fn object(&mut self) -> Result<Json, JsonError> {
        self.at += 1;
        let mut members = Vec::new();
        self.white_space();
        if self.take("}") {
            return Ok(Json::Object(members));
        }
        loop {
            self.white_space();
            let key = self.string()?;
            self.white_space();
            if !self.take(":") {
                return Err(self.error("`:`"));
            }
            members.push((key, self.value()?));
            self.white_space();
            if self.take("}") {
                return Ok(Json::Object(members));
            }
            if !self.take(",") {
                return Err(self.error("`,` or `}`"));
            }
        }
    }

    fn string(&mut self) -> Result<String, JsonError> {
        if !self.take("\"") {
            return Err(self.error("a string"));
        }
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            // Histories hold megabytes of text, and tests are not optimised.
            let plain =
                memchr::memchr2(b'"', b'\\', rest.as_bytes()).ok_or_else(|| self.error("the end of a string"))?;
            out.push_str(&rest[..plain]);
            self.at += plain + 1;
            if rest.as_bytes()[plain] == b'"' {
                return Ok(out);
            }
            let escape = self.peek().ok_or_else(|| self.error("an escape"))?;
            self.at += 1;
            match escape {
                b'"' => out.push('"'),
                b'\\' => out.push('\\'),
                b'/' => out.push('/'),
                b'b' => out.push('\u{8}'),
                b'f' => out.push('\u{c}'),
                b'n' => out.push('\n'),
                b'r' => out.push('\r'),
                b't' => out.push('\t'),
                b'u' => out.push(self.unicode_escape()?),
                _ => return Err(self.error("an escape")),
            }
        }
    }

    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let first = self.hex4()?;
        if !(0xd800..0xdc00).contains(&first) {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let after_first = self.at;
        if self.take("\\u") {
            let second = self.hex4()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = after_first;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let digits = self.text.get(self.at..self.at + 4).ok_or_else(|| self.error("four hex digits"))?;
        let code = u32::from_str_radix(digits, 16).map_err(|_| self.error("four hex digits"))?;
        self.at += 4;
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_every_digit_and_every_bare_non_finite_number() {
        for text in [
            r#"{"a":0.1000000000000000055511151231257827,"b":[1e400,NaN,-Infinity,Infinity],"c":{}}"#,
            r#"123456789012345678901234567890"#,
            r#"["\u0000\u001f","é🦊","\\\"/"]"#,
        ] {
            assert_eq!(Json::parse(text).expect("it parses").to_string(), text);
        }
    }

    #[test]
    fn surrogate_pairs_are_one_character_and_lone_ones_are_replaced() {
        assert_eq!(Json::parse(r#""\ud83e\udd8a""#), Ok(Json::String("🦊".into())));
        assert_eq!(Json::parse(r#""\ud83ex""#), Ok(Json::String("\u{fffd}x".into())));
    }

    #[test]
    fn canonical_sorts_keys_and_lets_the_last_repeated_key_win() {
        let value = Json::parse(r#"{"b":NaN,"a":1,"b":2.0}"#).expect("it parses");
        assert_eq!(value.canonical().to_string(), r#"{"a":1,"b":2.0}"#);
    }

    #[test]
    fn refuses_what_is_not_a_value() {
        for text in ["", "{", "[1,]", "nul", "1 2", "\"a", "{\"a\"}", "-"] {
            assert!(Json::parse(text).is_err(), "{text:?} must not parse");
        }
    }
}
