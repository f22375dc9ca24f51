//! JSON as W&B sends it, which is not always JSON: bare `NaN`, `Infinity` and `-Infinity`, control characters inside strings, lone
//! surrogates, bytes that are no UTF-8. Readers try the strict parser first and [`repair`] only what it refused, or what it would pass on
//! as it is although other parsers refuse it.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

use std::borrow::Cow;

/// Turns what Python's `json` writes and reads, but RFC 8259 does not allow, into JSON: non-finite numbers become the strings `"NaN"`,
/// `"Infinity"` and `"-Infinity"`, control characters in strings become escapes, lone surrogate escapes and invalid UTF-8 become
/// U+FFFD. All else stays as it is, so what was broken otherwise is still refused by the parser.
pub fn repair(bytes: &[u8]) -> String {
    let text = text(bytes);
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(bytes.len() + 64);
    let mut at = 0;
    let mut copied = 0;
    let mut in_string = false;
    // Every index that is cut at below is that of an ASCII byte, so the slices are whole characters.
    while at < bytes.len() {
        let byte = bytes[at];
        let (replacement, taken): (Cow<'static, str>, usize) = match (in_string, byte) {
            (true, b'"') => {
                in_string = false;
                at += 1;
                continue;
            }
            (true, b'\\') => match surrogate(&bytes[at..]) {
                Surrogate::None => {
                    at += 2;
                    continue;
                }
                Surrogate::Pair => {
                    at += 12;
                    continue;
                }
                Surrogate::Lone => ("\\ufffd".into(), 6),
            },
            (true, 0..0x20) => (format!("\\u{byte:04x}").into(), 1),
            (true, _) => {
                at += 1;
                continue;
            }
            (false, b'"') => {
                in_string = true;
                at += 1;
                continue;
            }
            (false, b'N') if bytes[at..].starts_with(b"NaN") => ("\"NaN\"".into(), 3),
            (false, b'I') if bytes[at..].starts_with(b"Infinity") => ("\"Infinity\"".into(), 8),
            (false, b'-') if bytes[at..].starts_with(b"-Infinity") => ("\"-Infinity\"".into(), 9),
            _ => {
                at += 1;
                continue;
            }
        };
        out.push_str(&text[copied..at]);
        out.push_str(&replacement);
        at += taken;
        copied = at;
    }
    out.push_str(&text[copied..]);
    out
}

enum Surrogate {
    None,
    Pair,
    Lone,
}

/// What the escape at the start of `bytes` is.
fn surrogate(bytes: &[u8]) -> Surrogate {
    let unit = |bytes: &[u8]| {
        let digits = bytes.get(..6).filter(|bytes| bytes.starts_with(b"\\u"))?;
        // `from_str_radix` takes a sign, which no escape has.
        let digits = std::str::from_utf8(&digits[2..])
            .ok()
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        u16::from_str_radix(digits, 16).ok()
    };
    match unit(bytes) {
        Some(0xd800..0xdc00) => match unit(&bytes[6..]) {
            Some(0xdc00..0xe000) => Surrogate::Pair,
            _ => Surrogate::Lone,
        },
        Some(0xdc00..0xe000) => Surrogate::Lone,
        _ => Surrogate::None,
    }
}

/// [`repair`], where it changes anything. What it would leave as it is was refused for another reason.
pub fn repaired(bytes: &[u8]) -> Option<String> {
    Some(repair(bytes)).filter(|text| text.as_bytes() != bytes)
}

/// Whether every surrogate in the escapes of a JSON text has its other half. The strict parser does not look into values that it passes on
/// as text; a destination, and whoever reads from it, does.
pub fn is_sound(json: &str) -> bool {
    let bytes = json.as_bytes();
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr(b'\\', rest)) {
        at += found;
        at += match surrogate(&bytes[at..]) {
            Surrogate::None => 2,
            Surrogate::Pair => 12,
            Surrogate::Lone => return false,
        };
    }
    true
}

/// Bytes as text. What is no UTF-8 becomes U+FFFD; a surrogate that was encoded as if it were a character becomes a single one.
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    let mut rest = match std::str::from_utf8(bytes) {
        Ok(text) => return text.into(),
        Err(_) => bytes,
    };
    let mut out = String::with_capacity(bytes.len() + 8);
    while let Some(chunk) = rest.utf8_chunks().next() {
        out.push_str(chunk.valid());
        let invalid = rest.get(chunk.valid().len()..).unwrap_or_default();
        let taken = match invalid {
            [] => 0,
            [0xed, 0xa0..=0xbf, 0x80..=0xbf, ..] => 3,
            _ => chunk.invalid().len(),
        };
        if taken > 0 {
            out.push(char::REPLACEMENT_CHARACTER);
        }
        rest = invalid.get(taken..).unwrap_or_default();
    }
    out.into()
}

/// Reads `body` strictly, and after [`repair`] when that fails or would pass on what is not sound; the error is the strict one's, without a
/// quotation of the text.
pub fn parse<T>(body: &[u8], mut read: impl FnMut(&str) -> serde_json::Result<T>) -> Result<T, String> {
    parse_with(body, |text| read(text).map_err(|error| place(&error)))
}

/// The same, for a reader with errors of its own.
pub fn parse_with<T>(body: &[u8], mut read: impl FnMut(&str) -> Result<T, String>) -> Result<T, String> {
    let strict = std::str::from_utf8(body).map_err(|error| error.to_string()).and_then(|text| match is_sound(text) {
        true => read(text),
        false => Err("it holds half of a surrogate pair".to_owned()),
    });
    strict.or_else(|error| read(&repair(body)).map_err(|_| error))
}

/// Where and how parsing failed, without quoting the document.
pub fn place(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Syntax => "it is not JSON",
        serde_json::error::Category::Data => "it has another shape than expected",
        serde_json::error::Category::Io => "it can't be read",
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_python_writes_becomes_json() {
        for (given, expected) in [
            (r#"{"a":NaN,"b":[Infinity,-Infinity],"c":-1}"#, r#"{"a":"NaN","b":["Infinity","-Infinity"],"c":-1}"#),
            (r#"{"NaN":"Infinity -Infinity \" NaN"}"#, r#"{"NaN":"Infinity -Infinity \" NaN"}"#),
            ("\"a\tb\nc\"", r#""a\u0009b\u000ac""#),
            (r#""\ud83e\udd8a \ud83e \udd8a \\ud83e""#, r#""\ud83e\udd8a \ufffd \ufffd \\ud83e""#),
            (r#""\ud83e\n""#, r#""\ufffd\n""#),
            (r#""\ud83e"#, r#""\ufffd"#),
            ("\"\\", "\"\\"),
        ] {
            assert_eq!(repair(given.as_bytes()), expected, "{given}");
        }
        assert_eq!(repair(b"\"\xff\""), "\"\u{fffd}\"");
        assert_eq!(repair(b"\"a\xed\xa0\x80b\xed\xa0\""), "\"a\u{fffd}b\u{fffd}\u{fffd}\"");
    }

    #[test]
    fn half_of_a_surrogate_pair_is_never_passed_on() {
        for (given, expected) in [
            (r#"{"a":"\ud83e"}"#, r#"{"a":"\ufffd"}"#),
            (r#"{"a":"\\ud83e"}"#, r#"{"a":"\\ud83e"}"#),
            (r#"{"a":"\ud83e\udd8a"}"#, r#"{"a":"\ud83e\udd8a"}"#),
            (r#"{"a":["\udd8a\ud83e"]}"#, r#"{"a":["\ufffd\ufffd"]}"#),
            (r#"{"\uD800":1}"#, r#"{"\ufffd":1}"#),
        ] {
            let read = |text: &str| serde_json::from_str::<Box<serde_json::value::RawValue>>(text);
            assert_eq!(parse(given.as_bytes(), read).unwrap().get(), expected, "{given}");
        }
    }

    proptest! {
        #[test]
        fn json_is_left_as_it_is(text in r#"[ -~é🦊]{0,40}"#, number in any::<f64>()) {
            let json = serde_json::json!({text.clone(): [number, text]}).to_string();
            prop_assert_eq!(repair(json.as_bytes()), json);
        }

        #[test]
        fn anything_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            repair(&bytes);
            is_sound(&text(&bytes));
        }

        #[test]
        fn what_was_repaired_is_sound(text in r#""(\\u[dD][89a-fA-F][0-9]{2}|\\\\|a){0,9}""#) {
            prop_assert!(is_sound(&repair(text.as_bytes())));
            prop_assert_eq!(is_sound(&text), repair(text.as_bytes()) == text);
        }

        #[test]
        fn anything_like_json_is_survived(text in r#"(\\u[dD][89a-fA-F]..|["\\NaIinfty{}\[\]:,-]|é|\x01){0,60}"#) {
            repair(text.as_bytes());
        }
    }
}
