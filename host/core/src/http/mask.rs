//! Takes secrets out of responses: a server may echo the header that it was sent, and the guest must not learn it there. And out
//! of the rows that the guest stores: a secret may come to it in a form that only it can read, such as a compressed file or JSON's
//! `\u`. Both are data, so only secrets are looked for that can't be there by chance ([`SHORTEST`]), and what was hidden is counted.
//! A state is never changed: one that holds a secret is refused.
//!
//! Stars take the place of a secret, one for each byte, so that lengths stay true. A secret that lies across two parts of a body is
//! found too. What a server compressed is decoded first ([`crate::http::body::gzip`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use memchr::memmem::Finder;

/// Bytes of the shortest secret that is looked for in data. A shorter one may be an ordinary word or number of somebody's project,
/// and stars in its place would change values, and make two keys one. Sixteen random letters and digits occur nowhere by chance, and
/// keys of services are longer.
pub(crate) const SHORTEST: usize = 16;

/// What to look for; cheap to clone. Clones count together.
#[derive(Clone, Default)]
pub(crate) struct Mask {
    needles: Arc<[Finder<'static>]>,
    hidden: Arc<AtomicU64>,
}

impl Mask {
    /// Looks for `needles`.
    pub(crate) fn new<'a>(needles: impl IntoIterator<Item = &'a str>) -> Self {
        let needles = needles.into_iter().filter(|needle| !needle.is_empty());
        let needles = needles.map(|needle| Finder::new(needle).into_owned()).collect();
        Self { needles, hidden: Arc::default() }
    }

    /// Looks for the credentials of a request as well, if they were not found by what is known: a connector may put a secret into Basic
    /// credentials beside any user.
    pub(crate) fn with_sent(&self, sent: &HeaderMap) -> Self {
        let value = sent.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (_, encoded) = value.split_once(' ').unwrap_or(("", value));
        let encoded = encoded.trim_end_matches('=');
        let known = |needle: &Finder<'_>| needle.find(value.as_bytes()).is_some();
        if encoded.len() < SHORTEST || self.needles.is_empty() || self.needles.iter().any(known) {
            return self.clone();
        }
        let sent = Finder::new(encoded).into_owned();
        Self { needles: self.needles.iter().cloned().chain([sent]).collect(), hidden: self.hidden.clone() }
    }

    /// How many places were hidden so far.
    pub(crate) fn hidden(&self) -> u64 {
        self.hidden.load(Ordering::Relaxed)
    }

    /// Whether a text holds a secret, also where it is JSON that escapes its letters.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        let holds = |text: &[u8]| self.needles.iter().any(|needle| needle.find(text).is_some());
        holds(text.as_bytes()) || text.contains('\\') && holds(unescaped(text).as_bytes())
    }

    /// Takes secrets out of headers. One whose very name holds a secret is removed.
    pub(crate) fn headers(&self, headers: &mut HeaderMap) {
        let names: Vec<HeaderName> = headers.keys().filter(|name| self.names(name)).cloned().collect();
        for name in names {
            headers.remove(name);
            self.hidden.fetch_add(1, Ordering::Relaxed);
        }
        for value in headers.values_mut() {
            if let Some(masked) = self.masked(value.as_bytes()) {
                *value = HeaderValue::from_bytes(&masked).unwrap_or_else(|_| HeaderValue::from_static(""));
            }
        }
    }

    /// Names arrive in lower case, whatever the server sent.
    fn names(&self, name: &HeaderName) -> bool {
        let holds = |needle: &[u8]| {
            name.as_str().as_bytes().windows(needle.len()).any(|part| part.eq_ignore_ascii_case(needle))
        };
        self.needles.iter().any(|needle| holds(needle.needle()))
    }

    /// Takes secrets out of a text.
    pub(crate) fn text(&self, text: &mut String) {
        if let Some(masked) = self.masked(text.as_bytes()) {
            *text = String::from_utf8_lossy(&masked).into_owned();
        }
    }

    /// Takes secrets out of JSON, also where their letters are escaped (`\\u0061`).
    pub(crate) fn json(&self, text: &mut String) {
        self.text(text);
        if text.contains('\\')
            && let Some(masked) = self.masked(unescaped(text).as_bytes())
        {
            *text = String::from_utf8_lossy(&masked).into_owned();
        }
    }

    /// Starts on a body.
    pub(crate) fn body(&self) -> BodyMask {
        BodyMask { mask: self.clone(), held: BytesMut::new() }
    }

    /// A copy with stars, if there is something to hide.
    fn masked(&self, text: &[u8]) -> Option<BytesMut> {
        let mut copy: Option<BytesMut> = None;
        for needle in self.needles.iter() {
            for place in needle.find_iter(text) {
                let copy = copy.get_or_insert_with(|| BytesMut::from(text));
                copy[place..place + needle.needle().len()].fill(b'*');
                self.hidden.fetch_add(1, Ordering::Relaxed);
            }
        }
        copy
    }

    /// How many bytes at the end of `text` could be the beginning of a secret.
    fn open_end(&self, text: &[u8]) -> usize {
        let longest = |needle: &[u8]| {
            let most = text.len().min(needle.len().saturating_sub(1));
            (1..=most).rev().find(|&length| text.ends_with(&needle[..length])).unwrap_or(0)
        };
        self.needles.iter().map(|needle| longest(needle.needle())).max().unwrap_or(0)
    }
}

/// The same JSON without the escapes that printable ASCII does not need.
fn unescaped(json: &str) -> String {
    let mut plain = String::with_capacity(json.len());
    let mut rest = json;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let code = after
            .strip_prefix('u')
            .and_then(|digits| u8::from_str_radix(digits.strip_prefix("00")?.get(..2)?, 16).ok());
        let (shown, length) = match (code.map(char::from), after.chars().next()) {
            (Some(c @ (' '..='!' | '#'..='[' | ']'..='~')), _) => (c.to_string(), 5),
            (_, Some('/')) => ("/".to_owned(), 1),
            // Whatever it is, it is not the beginning of another escape.
            (_, next) => {
                (["\\", next.map(String::from).as_deref().unwrap_or_default()].concat(), next.map_or(0, char::len_utf8))
            }
        };
        plain.push_str(&shown);
        rest = &after[length..];
    }
    plain + rest
}

/// Takes secrets out of one body, part by part.
pub(crate) struct BodyMask {
    mask: Mask,
    /// The end of the last part, when a secret may have begun in it.
    held: BytesMut,
}

impl BodyMask {
    /// The next part; empty when all of it has to wait for the one after it.
    pub(crate) fn push(&mut self, part: Bytes) -> Bytes {
        let part = match self.held.is_empty() {
            true => part,
            false => {
                let mut joined = self.held.split();
                joined.extend_from_slice(&part);
                joined.freeze()
            }
        };
        // Whole secrets first: the end of one can look like the beginning of another.
        let mut part = self.mask.masked(&part).map_or(part, BytesMut::freeze);
        let end = part.len() - self.mask.open_end(&part);
        self.held.extend_from_slice(&part.split_off(end));
        part
    }

    /// What is left at the end of the body.
    pub(crate) fn finish(&mut self) -> Option<Bytes> {
        (!self.held.is_empty()).then(|| self.held.split().freeze())
    }

    /// Whether something is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn through(mask: &Mask, parts: &[&[u8]]) -> Vec<u8> {
        let mut body = mask.body();
        let mut all: Vec<u8> = parts.iter().flat_map(|part| body.push(Bytes::copy_from_slice(part))).collect();
        all.extend(body.finish().into_iter().flatten());
        assert!(body.is_empty());
        all
    }

    #[test]
    fn a_secret_is_found_wherever_the_parts_break() {
        let mask = Mask::new(["secret"]);
        let text = b"a secret, sesecret and secre";
        for first in 0..text.len() {
            for second in first..text.len() {
                let shown = through(&mask, &[&text[..first], &text[first..second], &text[second..]]);
                assert_eq!(shown, b"a ******, se****** and secre", "{first} {second}");
            }
        }
    }

    #[test]
    fn a_part_without_a_secret_is_not_copied() {
        let part = Bytes::from_static(b"nothing to hide");
        assert_eq!(Mask::new(["secret"]).body().push(part.clone()).as_ptr(), part.as_ptr());
    }

    #[test]
    fn json_loses_a_secret_however_it_is_escaped_and_stays_the_same_but_for_that() {
        let masked = |json: &str| {
            let mut text = json.to_owned();
            Mask::new(["se/cret"]).json(&mut text);
            text
        };
        let hidden = r#"{"a":"*******"}"#;
        for spelled in ["se/cret", r"se\/cret", r"\u0073e\u002fcr\u0065t", r"s\u0065\u002Fcret"] {
            assert_eq!(masked(&format!(r#"{{"a":"{spelled}"}}"#)), hidden, "{spelled}");
        }
        // What stands behind a backslash that is itself escaped is no escape; quotes, lines and other scripts stay as they are.
        assert_eq!(
            masked(r#"["\\u0073e/cre","\u0022\\\n\u00e9\ud83e\udd8a"]"#),
            r#"["\\u0073e/cre","\u0022\\\n\u00e9\ud83e\udd8a"]"#
        );
        assert_eq!(
            masked(r#"["\u0022\\\n\u00e9\u005c\u0000 se\/cret"]"#),
            r#"["\u0022\\\n\u00e9\u005c\u0000 *******"]"#
        );
        assert_eq!(masked("\\"), "\\");
    }

    #[test]
    fn a_secret_is_seen_in_a_state_however_it_is_spelled() {
        let mask = Mask::new(["se/cret"]);
        for holds in ["se/cret", "a se/cret b", r#"{"a":"se\/cret"}"#, r#"{"\u0073e/cret":1}"#] {
            assert!(mask.is_in(holds), "{holds}");
        }
        for clean in ["", "secret", r#"{"a":"\\u0073e/cret"}"#] {
            assert!(!mask.is_in(clean), "{clean}");
        }
        assert_eq!(mask.hidden(), 0);
    }

    #[test]
    fn headers_are_masked_too() {
        let mut headers = HeaderMap::new();
        headers.insert("x-echo", "Bearer Secret".parse().unwrap());
        headers.insert("x-secret-x", "1".parse().unwrap());
        let mask = Mask::new(["Secret"]);
        mask.headers(&mut headers);
        assert_eq!(headers["x-echo"], "Bearer ******");
        assert_eq!((headers.len(), mask.hidden()), (1, 2));
    }

    #[test]
    fn credentials_that_were_sent_are_hidden_however_they_were_spelled() {
        let mask = Mask::new(["0123456789abcdef"]);
        let sent =
            |value: &str| mask.with_sent(&HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]));
        let basic = "Basic YW55OjAxMjM0NTY3ODlhYmNkZWY=";
        let mut echo = basic.to_owned();
        sent(basic).text(&mut echo);
        assert_eq!(echo, format!("Basic {}=", "*".repeat(27)));
        assert_eq!(mask.hidden(), 1, "it is counted with all others");
        assert_eq!(sent("Bearer 0123456789abcdef").needles.len(), 1, "nothing is to be added to what is known");
        assert_eq!(mask.with_sent(&HeaderMap::new()).needles.len(), 1);
        assert_eq!(
            Mask::default()
                .with_sent(&HeaderMap::from_iter([(header::AUTHORIZATION, "x".repeat(40).parse().unwrap())]))
                .needles
                .len(),
            0
        );
    }

    proptest! {
        #[test]
        fn lengths_stay_and_secrets_go(parts in prop::collection::vec("[ab]{0,6}", 0..8)) {
            let mask = Mask::new(["abba", "aab"]);
            let whole = parts.concat();
            let slices: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
            let shown = String::from_utf8(through(&mask, &slices)).unwrap();
            prop_assert_eq!(shown.len(), whole.len());
            prop_assert!(!shown.contains("abba") && !shown.contains("aab"));
            if !whole.contains("abba") && !whole.contains("aab") {
                prop_assert_eq!(shown, whole);
            }
        }
    }
}
