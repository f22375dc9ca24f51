//! Keeps secrets on the host's side of the boundary, and out of everything that people read.
//!
//! The guest is given a random text, the *handle*, in the place of each secret. It can do nothing with it but put it in the
//! `authorization` header of a request; there, and only on the way to an origin that the configuration names, the host puts the
//! secret back ([`Secrets::authorize`]). A connector can say that it needs less: one origin of several for a secret, and how it spells
//! it (`x-elt-credential`, see `wit/README.md`). So a connector can't log, store or send a secret elsewhere, whatever it tries.
//! [`Redactor`] takes secrets and handles out of text: a server may echo what it was sent.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, HeaderValue, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use crate::component::annotations::SECRET;
use crate::component::spec::Spec;
use crate::error::{ConfigurationProblem, Error};
use crate::http::egress::Origin;
use crate::http::mask;
use crate::http::mask::Mask;
use elt_support::printable::escape_control;

/// Shorter secrets are not looked for in text for people: replacing every `a` would say more about the secret than it hides. In data
/// the bound is higher ([`mask::SHORTEST`]): a log line with stars is still a log line, while a row with stars is another row.
const SHORTEST_REDACTED: usize = 4;

/// A secret and its handle. Deliberately without `Debug` output: a value that is never formatted is never logged.
#[derive(Clone)]
struct Secret {
    value: String,
    handle: String,
    /// The origins that it may be sent to, where these are not all that get credentials.
    only: Option<Vec<Origin>>,
    /// How it may stand in the header; in any way where none is listed.
    spellings: Vec<String>,
}

impl Secret {
    /// Whether the connector said that it would be sent to `origin`.
    fn is_for(&self, origin: &Origin) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(origin))
    }

    /// Whether a header that holds the handle is spelled as the connector said.
    fn is_spelled(&self, header: &str, pair: Option<&str>) -> bool {
        let spelled = |spelling: &String| {
            let (scheme, rest) = split_scheme(spelling);
            let rest = rest.replace(SECRET, &self.handle);
            let (held_scheme, held) = split_scheme(header);
            scheme.eq_ignore_ascii_case(held_scheme) && pair.unwrap_or(held) == rest
        };
        self.spellings.is_empty() || self.spellings.iter().any(spelled)
    }

    /// The `user:password` of each spelling as Basic credentials.
    fn pairs(&self) -> impl Iterator<Item = String> {
        let basic = self.spellings.iter().map(|spelling| split_scheme(spelling));
        let basic = basic.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
        basic.map(|(_, pair)| pair.replace(SECRET, &self.value))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The secrets of one configuration.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    secrets: Vec<Secret>,
}

/// A configuration, taken apart.
#[derive(Debug, Clone)]
pub struct Extracted {
    /// Its secrets.
    pub secrets: Secrets,
    /// The configuration as the guest gets it, with handles.
    pub shown: Map<String, Value>,
    /// What is wrong with the secrets.
    pub problems: Vec<ConfigurationProblem>,
}

/// Why a request can't be sent with its credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// A handle stands where no secret may go.
    #[error("it carries a secret outside of the `authorization` header")]
    Misplaced,
    /// It brings credentials that are not the configuration's: data could be sent to somebody else's account.
    #[error("its `authorization` header holds none of the configuration's secrets")]
    Foreign,
    /// The connector's specification says that the secret is for another origin.
    #[error("its secret is for another origin, as the connector's `x-elt-credential` says")]
    Elsewhere,
    /// The connector's specification says that the secret is spelled otherwise.
    #[error("its `authorization` header is not spelled as the connector's `x-elt-credential` says")]
    Spelling,
    /// The secret can't be part of a header.
    #[error("the secret can't be sent in a header")]
    NotAHeader,
}

impl Secrets {
    /// Takes the secrets out of `config`. Handles are new for each call.
    ///
    /// A secret that is no text, or an empty one, is replaced by something of the same kind, so that the connector's own
    /// complaint about it stays true.
    ///
    /// # Errors
    /// [`Error::Internal`] where the system gives no random numbers.
    pub fn extract(spec: &Spec, config: &Map<String, Value>) -> Result<Extracted, Error> {
        let (mut secrets, mut shown, mut problems) = (Vec::new(), config.clone(), Vec::new());
        for key in spec.secrets() {
            let Some(value) = shown.get_mut(key) else {
                continue;
            };
            *value = match std::mem::take(value) {
                Value::String(text) => match text.trim() {
                    "" => Value::String(String::new()),
                    trimmed => {
                        if let Some(message) = slip(trimmed) {
                            problems.push(ConfigurationProblem { key: Some(key.clone()), message: message.into() });
                        }
                        let (handle, credential) = (new_handle()?, spec.credential(key));
                        let only = credential.and_then(|credential| credential.origin.as_deref()).map(|property| {
                            let named = spec.origins(config).filter(|(key, _)| *key == property);
                            named.filter_map(|(_, url)| Origin::parse(url).ok()).collect()
                        });
                        let spellings = credential.map_or_else(Vec::new, |credential| credential.authorization.clone());
                        secrets.push(Secret { value: trimmed.to_owned(), handle: handle.clone(), only, spellings });
                        Value::String(handle)
                    }
                },
                Value::Number(_) => Value::from(0),
                Value::Array(_) => Value::Array(Vec::new()),
                Value::Object(_) => Value::Object(Map::new()),
                other => other,
            };
        }
        Ok(Extracted { secrets: Self { secrets }, shown, problems })
    }

    /// Prepares a request's headers. With an origin that gets `credentials`, handles in `authorization` become secrets; without,
    /// `authorization` and cookies are removed. A handle anywhere else in `headers` or in `uri` is an error, and so are credentials of
    /// the connector's own, and secrets in another place or spelling than the connector said.
    ///
    /// # Errors
    /// Why the request can't be sent.
    pub fn authorize(
        &self,
        uri: &http::Uri,
        headers: &mut HeaderMap,
        credentials: Option<&Origin>,
    ) -> Result<(), SecretError> {
        let held = headers.remove(header::AUTHORIZATION);
        headers.remove(header::PROXY_AUTHORIZATION);
        if credentials.is_none() {
            headers.remove(header::COOKIE);
        }
        let in_uri = uri.to_string();
        let in_headers = headers
            .iter()
            .any(|(name, value)| self.has_handle(name.as_str().as_bytes()) || self.has_handle(value.as_bytes()));
        if self.has_handle(in_uri.as_bytes()) || in_headers {
            return Err(SecretError::Misplaced);
        }
        if let (Some(origin), Some(held)) = (credentials, held) {
            headers.insert(header::AUTHORIZATION, self.reveal(&held, origin)?);
        }
        Ok(())
    }

    /// Handles are case-insensitive here: a header's name arrives in lower case, and a host's name is one in any case.
    fn has_handle(&self, text: &[u8]) -> bool {
        let mut handles = self.secrets.iter().map(|secret| secret.handle.as_bytes());
        handles.any(|handle| text.windows(handle.len()).any(|part| part.eq_ignore_ascii_case(handle)))
    }

    fn reveal(&self, held: &HeaderValue, origin: &Origin) -> Result<HeaderValue, SecretError> {
        let text = held.to_str().map_err(|_| SecretError::NotAHeader)?;
        let put_back = |text: &str| {
            self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(&secret.handle, &secret.value))
        };
        let pair = basic_credentials(text);
        let spelled = pair.as_deref().unwrap_or(text);
        if !self.has_handle(spelled.as_bytes()) {
            return Err(SecretError::Foreign);
        }
        for secret in self.secrets.iter().filter(|secret| spelled.contains(&secret.handle)) {
            if !secret.is_for(origin) {
                return Err(SecretError::Elsewhere);
            }
            if !secret.is_spelled(text, pair.as_deref()) {
                return Err(SecretError::Spelling);
            }
        }
        let revealed = match pair {
            Some(pair) => format!("Basic {}", BASE64.encode(put_back(&pair))),
            None => put_back(text),
        };
        let mut value = HeaderValue::from_str(&revealed).map_err(|_| SecretError::NotAHeader)?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Takes these secrets and their handles out of text.
    pub fn redactor(&self) -> Redactor {
        let mut needles = self.spellings(SHORTEST_REDACTED);
        needles.extend(self.secrets.iter().map(|secret| secret.handle.clone()));
        // The longest first: one needle may be a part of another.
        needles.sort_by_key(|needle| std::cmp::Reverse(needle.len()));
        needles.dedup();
        Redactor { needles }
    }

    /// Takes those of these secrets out of data that can't be there by chance.
    pub(crate) fn mask(&self) -> Mask {
        Mask::new(self.spellings(mask::SHORTEST).iter().map(String::as_str))
    }

    /// How the secrets of at least `shortest` bytes can occur in text: as they are, percent-encoded, and in Basic credentials, alone or
    /// with the user whom the connector named.
    fn spellings(&self, shortest: usize) -> Vec<String> {
        let mut spellings = Vec::new();
        for secret in self.secrets.iter().filter(|secret| secret.value.len() >= shortest) {
            let value = &secret.value;
            let encoded = percent_encode(value);
            if encoded != *value {
                spellings.push(encoded);
            }
            for pair in secret.pairs().chain([format!(":{value}"), value.clone()]) {
                spellings.push(BASE64.encode(pair).trim_end_matches('=').to_owned());
            }
            spellings.push(value.clone());
        }
        spellings
    }
}

/// What was copied together with a secret, or in its place.
fn slip(secret: &str) -> Option<&'static str> {
    const QUOTES: [char; 9] = ['"', '\'', '`', '“', '”', '„', '‘', '’', '«'];
    const SCHEMES: [&str; 3] = ["bearer", "basic", "token"];
    if secret.starts_with(QUOTES) || secret.ends_with(QUOTES) {
        return Some("has quotes around it that are no part of a key; write it without them");
    }
    let scheme = secret.split_once([' ', '\t']).map(|(first, _)| first.trim_end_matches(':'));
    if scheme.is_some_and(|first| SCHEMES.iter().any(|scheme| first.eq_ignore_ascii_case(scheme))) {
        return Some(
            "begins with the name of an authentication scheme (such as `Bearer`), which is no part of a key; write the key alone",
        );
    }
    let fits = secret.is_ascii() && HeaderValue::from_str(secret).is_ok();
    (!fits).then_some("holds a character that no key has (a line break, or one that is not ASCII); copy it again")
}

fn new_handle() -> Result<String, Error> {
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random)
        .map_err(|why| Error::Internal(format!("the system gives no random numbers: {why}")))?;
    Ok(format!("elt-secret-{:032x}", u128::from_ne_bytes(random)))
}

/// The scheme of an `authorization` header, and what follows; no scheme where nothing does.
fn split_scheme(header: &str) -> (&str, &str) {
    header.split_once(' ').unwrap_or(("", header))
}

/// The `user:password` of Basic credentials (RFC 7617).
fn basic_credentials(text: &str) -> Option<String> {
    let (scheme, encoded) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    String::from_utf8(BASE64.decode(encoded.trim()).ok()?).ok()
}

/// All but what RFC 3986 calls unreserved, which is how clients encode a value.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

fn percent_encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// Makes text fit to be shown: without secrets, and without characters that a terminal acts on.
#[derive(Clone, Default)]
pub struct Redactor {
    needles: Vec<String>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor(…)")
    }
}

impl Redactor {
    /// Replaces secrets by `***` and shows control characters escaped.
    pub fn clean(&self, text: &str) -> String {
        escape_control(&self.redact(text))
    }

    /// Replaces secrets and handles: as they are, percent-encoded, and in Basic credentials.
    pub fn redact(&self, text: &str) -> String {
        self.needles.iter().fold(text.to_owned(), |text, needle| match text.contains(needle.as_str()) {
            true => text.replace(needle.as_str(), "***"),
            false => text,
        })
    }

    /// The same error with every text in it cleaned.
    pub fn clean_error(&self, error: Error) -> Error {
        let clean = |text: String| self.clean(&text);
        match error {
            Error::Configuration(problems) => Error::Configuration(
                problems
                    .into_iter()
                    .map(|problem| ConfigurationProblem {
                        key: problem.key.map(clean),
                        message: clean(problem.message),
                    })
                    .collect(),
            ),
            Error::Authentication(text) => Error::Authentication(clean(text)),
            Error::Permission(text) => Error::Permission(clean(text)),
            Error::NotFound(text) => Error::NotFound(clean(text)),
            Error::RateLimited { message, retry_after } => Error::RateLimited { message: clean(message), retry_after },
            Error::Upstream { status, message } => Error::Upstream { status, message: clean(message) },
            Error::Destination(text) => Error::Destination(clean(text)),
            Error::Interrupted => Error::Interrupted,
            Error::Limit { limit, detail } => Error::Limit { limit, detail: clean(detail) },
            Error::Contract(text) => Error::Contract(clean(text)),
            Error::Internal(text) => Error::Internal(clean(text)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEY: &str = "0123456789abcdef/+ key?";

    fn secrets(key: &Value) -> (Secrets, Map<String, Value>, Vec<ConfigurationProblem>) {
        let spec = json!({"properties": {"api_key": {"writeOnly": true}, "entity": {}}});
        extracted(&spec, &json!({"api_key": key, "entity": "e"}))
    }

    fn extracted(spec: &Value, config: &Value) -> (Secrets, Map<String, Value>, Vec<ConfigurationProblem>) {
        let spec = Spec::parse(&spec.to_string()).unwrap();
        let Extracted { secrets, shown, problems } = Secrets::extract(&spec, config.as_object().unwrap()).unwrap();
        (secrets, shown, problems)
    }

    fn origin(url: &str) -> Origin {
        Origin::parse(url).unwrap()
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", BASE64.encode(pair))
    }

    fn sent(secrets: &Secrets, header: &str, to: &str) -> Result<String, SecretError> {
        let mut headers = HeaderMap::from_iter([(header::AUTHORIZATION, header.parse().unwrap())]);
        secrets.authorize(&to.parse().unwrap(), &mut headers, Some(&origin(to)))?;
        Ok(headers[header::AUTHORIZATION].to_str().unwrap().to_owned())
    }

    fn handle(config: &Map<String, Value>) -> &str {
        config["api_key"].as_str().unwrap()
    }

    fn authorized(value: &str, credentials: bool) -> Option<String> {
        let (secrets, config, _) = secrets(&json!(KEY));
        let mut headers = HeaderMap::new();
        let value = value.replace("HANDLE", handle(&config));
        let value = match value.strip_prefix("Basic ") {
            Some(pair) => format!("Basic {}", BASE64.encode(pair)),
            None => value,
        };
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        headers.insert(header::COOKIE, "a=b".parse().unwrap());
        secrets
            .authorize(
                &"https://a.example/".parse().unwrap(),
                &mut headers,
                credentials.then_some(&origin("https://a.example")),
            )
            .unwrap();
        assert_eq!(headers.contains_key(header::COOKIE), credentials);
        headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_guest_gets_a_new_handle_each_time() {
        let [(_, first, _), (_, second, _)] = [secrets(&json!(KEY)), secrets(&json!(KEY))];
        for config in [&first, &second] {
            assert_eq!(handle(config).len(), "elt-secret-".len() + 32);
            assert!(!handle(config).contains(KEY));
            assert_eq!(config["entity"], "e");
        }
        assert_ne!(first, second);
    }

    #[test]
    fn what_is_no_secret_text_keeps_its_kind() {
        let shown = |key: Value| secrets(&key).1["api_key"].clone();
        assert_eq!(shown(json!(12_345)), json!(0));
        assert_eq!(shown(json!(" \n")), json!(""));
        assert_eq!(shown(json!(["k"])), json!([]));
        assert_eq!(shown(json!({"k": "v"})), json!({}));
        assert_eq!(shown(json!(null)), json!(null));
    }

    #[test]
    fn white_space_around_a_key_is_dropped_and_inside_it_is_a_problem() {
        let (secrets_, _, problems) = secrets(&json!("  key-key\n"));
        assert_eq!((secrets_.secrets[0].value.as_str(), problems.len()), ("key-key", 0));
        for bad in ["a\nb", "a\u{0}b", "clé"] {
            assert_eq!(secrets(&json!(bad)).2[0].key.as_deref(), Some("api_key"), "{bad:?}");
        }
    }

    #[test]
    fn quotes_and_schemes_around_a_key_are_named_as_what_they_are() {
        let said =
            |key: &str| secrets(&json!(key)).2.first().map(|problem| problem.message.clone()).unwrap_or_default();
        for quoted in ["\"0123\"", "'0123'", "`0123`", "“0123”", " '0123' \n", "\"0123", "0123'"] {
            assert!(said(quoted).contains("quotes"), "{quoted}: {}", said(quoted));
        }
        for named in ["Bearer 0123", "bearer\t0123", "Basic YXBp", "Token: 0123"] {
            assert!(said(named).contains("`Bearer`"), "{named}: {}", said(named));
        }
        for fine in ["0123", "bearer", "bearer-0123", "a'b", "a b"] {
            assert_eq!(said(fine), "", "{fine}");
        }
        assert!(!said("Bearer 0123").contains("0123"));
    }

    #[test]
    fn the_secret_is_put_in_the_authorization_header_of_the_named_origin_only() {
        assert_eq!(authorized("Bearer HANDLE", true).unwrap(), format!("Bearer {KEY}"));
        let basic = format!("Basic {}", BASE64.encode(format!("api:{KEY}")));
        assert_eq!(authorized("Basic api:HANDLE", true).unwrap(), basic);
        assert_eq!(authorized("Bearer HANDLE", false), None);
        assert_eq!(authorized("Bearer another", false), None);
    }

    #[test]
    fn a_secret_goes_nowhere_but_where_the_connector_said_and_the_configuration_named() {
        let spec = json!({"properties": {
            "api_key": {"writeOnly": true, "x-elt-credential": {"origin": "telemetry"}},
            "base_url": {"x-elt-origin": true},
            "telemetry": {"x-elt-origin": true, "default": "https://evil.example"},
        }});
        let bearer = |config: &Map<String, Value>| format!("Bearer {}", handle(config));
        // The component would have the key go to its own server, while whoever runs it named another one.
        let (secrets, config, _) = extracted(&spec, &json!({"api_key": KEY, "base_url": "https://a.example"}));
        for to in ["https://a.example/", "https://evil.example/"] {
            assert_eq!(sent(&secrets, &bearer(&config), to), Err(SecretError::Elsewhere), "{to}");
        }
        let both = json!({"api_key": KEY, "base_url": "https://a.example", "telemetry": "https://b.example/x"});
        let (secrets, config, _) = extracted(&spec, &both);
        assert_eq!(sent(&secrets, &bearer(&config), "https://b.example/").unwrap(), format!("Bearer {KEY}"));
        for to in ["https://a.example/", "http://b.example/", "https://b.example:8443/"] {
            assert_eq!(sent(&secrets, &bearer(&config), to), Err(SecretError::Elsewhere), "{to}");
        }
    }

    #[test]
    fn a_secret_is_sent_as_the_connector_said_that_it_spells_it() {
        let spec = json!({"properties": {
            "api_key": {"writeOnly": true, "x-elt-credential": {"authorization": ["Bearer {secret}", "Basic me:{secret}"]}},
        }});
        let (secrets, config, _) = extracted(&spec, &json!({"api_key": KEY}));
        let (handle, to) = (handle(&config), "https://a.example/");
        assert_eq!(sent(&secrets, &format!("bearer {handle}"), to).unwrap(), format!("bearer {KEY}"));
        assert_eq!(sent(&secrets, &basic(&format!("me:{handle}")), to).unwrap(), basic(&format!("me:{KEY}")));
        for other in
            [format!("Token {handle}"), format!("Bearer x{handle}"), handle.to_owned(), basic(&format!("you:{handle}"))]
        {
            assert_eq!(sent(&secrets, &other, to), Err(SecretError::Spelling), "{other}");
        }
        let echoed = secrets.redactor().redact(&basic(&format!("me:{KEY}")));
        assert_eq!(echoed.trim_end_matches('='), "Basic ***");
    }

    #[test]
    fn credentials_of_the_connectors_own_are_refused() {
        let (secrets, _, _) = secrets(&json!(KEY));
        for own in ["Bearer mine", "Basic bWU6bWluZQ==", "Basic x"] {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, own.parse().unwrap());
            let uri = "https://a.example/".parse().unwrap();
            assert_eq!(
                secrets.authorize(&uri, &mut headers, Some(&origin("https://a.example"))),
                Err(SecretError::Foreign)
            );
        }
    }

    #[test]
    fn a_handle_anywhere_else_is_refused() {
        let (secrets, config, _) = secrets(&json!(KEY));
        let handle = handle(&config);
        let attempt = |uri: String, name: Option<&str>, value: &str| {
            let mut headers = HeaderMap::new();
            if let Some(name) = name {
                headers.insert(header::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
            }
            secrets.authorize(&uri.parse().unwrap(), &mut headers, Some(&origin("https://a.example")))
        };
        assert_eq!(attempt(format!("https://a.example/?k={handle}"), None, ""), Err(SecretError::Misplaced));
        assert_eq!(attempt(format!("https://{handle}.example/"), None, ""), Err(SecretError::Misplaced));
        assert_eq!(
            attempt(format!("https://{}.example/", handle.to_uppercase()), None, ""),
            Err(SecretError::Misplaced)
        );
        assert_eq!(attempt("https://a.example/".into(), Some("x-key"), handle), Err(SecretError::Misplaced));
        assert_eq!(attempt("https://a.example/".into(), Some(handle), "x"), Err(SecretError::Misplaced));
        assert_eq!(attempt("https://a.example/".into(), Some("x-key"), "other"), Ok(()));
    }

    #[test]
    fn text_loses_the_secret_in_every_spelling() {
        let (secrets, config, _) = secrets(&json!(KEY));
        let redactor = secrets.redactor();
        let spellings = [
            KEY.to_owned(),
            percent_encode(KEY),
            BASE64.encode(format!(":{KEY}")),
            BASE64.encode(KEY),
            handle(&config).to_owned(),
        ];
        for spelling in spellings {
            let clean = redactor.clean(&format!("before {spelling} after"));
            assert!(clean.starts_with("before ***") && clean.ends_with(" after"), "{clean}");
        }
    }

    #[test]
    fn a_short_secret_is_looked_for_in_what_people_read_and_not_in_data() {
        let masked = |key: &str, text: &str| {
            let mut text = text.to_owned();
            secrets(&json!(key)).0.mask().text(&mut text);
            text
        };
        assert_eq!(masked("loss", "loss 1"), "loss 1");
        assert_eq!(masked("123456789012345", "n=123456789012345"), "n=123456789012345");
        assert_eq!(masked("1234567890123456", "n=1234567890123456"), "n=****************");
        assert_eq!(secrets(&json!("loss")).0.redactor().redact("loss 1"), "*** 1");
    }

    #[test]
    fn nothing_prints_a_secret_for_debugging() {
        let (secrets, _, _) = secrets(&json!(KEY));
        let shown = format!("{secrets:?} {:?}", secrets.redactor());
        assert!(!shown.contains("0123") && !shown.contains("elt-secret"), "{shown}");
    }
}
