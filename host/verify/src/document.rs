//! A JSON document in one form, whoever wrote it: without white space, the members of objects in the order of their names, texts with the
//! escapes that they need, and numbers as their exact decimal value, so that `3`, `3.0` and `30e-1` are one and no digit is lost.
//! A source may say the same value in two ways, such as one whose exported files know doubles only.

/// Documents nested deeper than this are compared as the texts they are.
const MOST_DEPTH: usize = 256;

/// The one form of `text`; none where it is no JSON.
pub(super) fn canonical(text: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader { text, at: 0 };
    let mut out = Vec::with_capacity(text.len());
    reader.value(&mut out, 0)?;
    reader.white_space();
    (reader.at == text.len()).then_some(out)
}

struct Reader<'t> {
    text: &'t [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Goes over a byte that must come next, white space before it.
    fn take(&mut self, byte: u8) -> Option<()> {
        self.takes(byte).then_some(())
    }

    fn takes(&mut self, byte: u8) -> bool {
        self.white_space();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        if depth > MOST_DEPTH {
            return None;
        }
        self.white_space();
        match self.peek()? {
            b'{' => self.object(out, depth),
            b'[' => self.list(out, depth),
            b'"' => self.string(out),
            b'-' | b'0'..=b'9' => self.number(out),
            _ => {
                let rest = self.text.get(self.at..)?;
                let word = ["null", "true", "false"].into_iter().find(|word| rest.starts_with(word.as_bytes()))?;
                self.at += word.len();
                out.extend(word.as_bytes());
                Some(())
            }
        }
    }

    fn list(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        self.take(b'[')?;
        out.push(b'[');
        let mut more = !self.takes(b']');
        while more {
            self.value(out, depth + 1)?;
            more = self.takes(b',');
            match more {
                true => out.push(b','),
                false => self.take(b']')?,
            }
        }
        out.push(b']');
        Some(())
    }

    fn object(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        self.take(b'{')?;
        let mut members: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut more = !self.takes(b'}');
        while more {
            let (mut name, mut value) = (Vec::new(), Vec::new());
            self.white_space();
            self.string(&mut name)?;
            self.take(b':')?;
            self.value(&mut value, depth + 1)?;
            members.push((name, value));
            more = self.takes(b',');
            if !more {
                self.take(b'}')?;
            }
        }
        // Those of one name stay in their order.
        members.sort_by(|one, other| one.0.cmp(&other.0));
        out.push(b'{');
        for (index, (name, value)) in members.into_iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend(name);
            out.push(b':');
            out.extend(value);
        }
        out.push(b'}');
        Some(())
    }

    fn string(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let start = self.at;
        self.take(b'"')?;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        let text: String = serde_json::from_slice(self.text.get(start..self.at)?).ok()?;
        serde_json::to_writer(out, &text).ok()
    }

    fn number(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) {
            self.at += 1;
        }
        let token = std::str::from_utf8(self.text.get(start..self.at)?).ok()?;
        serde_json::from_str::<serde::de::IgnoredAny>(token).ok()?;
        out.extend(decimal(token).unwrap_or_else(|| token.to_owned()).into_bytes());
        Some(())
    }
}

/// A number as its digits, without zeros at either end, and a power of ten. None: its exponent is beyond all reason.
fn decimal(token: &str) -> Option<String> {
    let (sign, token) = token.strip_prefix('-').map_or(("", token), |digits| ("-", digits));
    let (mantissa, exponent) = match token.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (token, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let short = digits.trim_end_matches('0');
    if short.is_empty() {
        return Some(format!("{sign}0"));
    }
    let cut = i64::try_from(digits.len() - short.len()).ok()?;
    let exponent = exponent.checked_add(cut)?.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    Some(format!("{sign}{short}e{exponent}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: &str, other: &str) -> bool {
        let form = |text: &str| canonical(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
        form(one) == form(other)
    }

    #[test]
    fn documents_that_say_the_same_are_the_same() {
        for (one, other) in [
            ("3", "3.0"),
            ("1000", "1e3"),
            ("[1, -2.50]", "[1.0,-25E-1]"),
            ("1152921504606846976", "1.152921504606846976e18"),
            (r#"{"b":[],"a":{}}"#, "{ \"a\" : { } ,\n\"b\":[ ]}"),
            (r#""\u003cé\/""#, r#""<\u00e9/""#),
            ("0.0", "0e7"),
            ("[null,true,false]", " [ null , true,false ] "),
        ] {
            assert!(same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn documents_that_differ_in_a_digit_are_not_the_same() {
        for (one, other) in [
            ("9007199254740993", "9007199254740992"),
            ("0.1", "0.1000000000000000055511151231257827"),
            ("1e400", "1e401"),
            ("0", "-0"),
            ("1e99999999999999999999", "1e99999999999999999998"),
            (r#"{"a":1}"#, r#"{"a":1,"a":1}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#),
            ("[1,2]", "[2,1]"),
            ("\"3\"", "3"),
            ("{}", "[]"),
            ("null", "\"null\""),
        ] {
            assert!(!same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn what_is_no_json_has_no_form() {
        let deep = "[".repeat(100_000);
        for text in ["", "{", "[1,]", "nul", "1 2", "\"a", "\"\\", "{\"a\"}", "-", "01", "1.", "NaN", "{1:2}", &deep] {
            assert_eq!(canonical(text.as_bytes()), None, "{text}");
        }
        assert_eq!(canonical(b"\"\xff\""), None);
    }
}
