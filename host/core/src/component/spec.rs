//! What a connector's specification (`source.spec` in `wit/`) tells a host: which configuration values are secrets, which name the
//! origins that requests and credentials go to, and what its annotations say.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::annotations;
use super::annotations::{Credential, Downloads, ItemNames};
use crate::error::{ConfigurationProblem, Error};
use crate::http::egress::Origin;
use crate::state::StateKeys;

/// The JSON Schema of a connector's configuration, read once.
#[derive(Debug, Clone)]
pub struct Spec {
    schema: Value,
    secrets: Vec<String>,
    credentials: BTreeMap<String, Credential>,
    origins: Vec<OriginProperty>,
    items: Option<ItemNames>,
    state: Option<StateKeys>,
    deletes: Option<String>,
}

/// A property that names an origin.
#[derive(Debug, Clone)]
struct OriginProperty {
    name: String,
    default: Option<String>,
    downloads: Downloads,
}

impl Spec {
    /// Reads the schema.
    ///
    /// # Errors
    /// [`Error::Contract`]: the schema comes from the connector, which has to keep to the contract.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let schema: Value =
            serde_json::from_str(text).map_err(|why| Error::Contract(format!("`spec` is no valid JSON: {why}")))?;
        let no_object = || Error::Contract("`spec` is no schema of an object: it has no `properties`".into());
        let root = schema.as_object().ok_or_else(no_object)?;
        let properties = root.get("properties").and_then(Value::as_object).ok_or_else(no_object)?;
        let marked = |property: &Value, mark: &str| property.get(mark).and_then(Value::as_bool) == Some(true);
        let named = |mark: &'static str| properties.iter().filter(move |(_, property)| marked(property, mark));
        let (mut origins, mut credentials) = (Vec::new(), BTreeMap::new());
        for (name, property) in properties {
            // A schema may also be `true` or `false`, and says nothing then.
            let Some(annotated) = property.as_object() else { continue };
            let is_origin = marked(property, "x-elt-origin");
            let downloads = annotations::downloads(name, annotated, is_origin)?;
            if is_origin {
                let default = property.get("default").and_then(Value::as_str).map(str::to_owned);
                origins.push(OriginProperty { name: name.clone(), default, downloads });
            }
            let others = named("x-elt-origin").map(|(name, _)| name);
            if let Some(found) = annotations::credential(name, annotated, marked(property, "writeOnly"), others)? {
                credentials.insert(name.clone(), found);
            }
        }
        Ok(Self {
            secrets: named("writeOnly").map(|(name, _)| name.clone()).collect(),
            credentials,
            origins,
            items: annotations::items(root)?,
            state: annotations::state(root)?,
            deletes: named("x-elt-deletes").map(|(name, _)| name.clone()).next(),
            schema,
        })
    }

    /// The schema itself.
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    /// Names of the configuration's secrets (`"writeOnly": true`).
    pub fn secrets(&self) -> &[String] {
        &self.secrets
    }

    /// How a secret is used, if the connector says it.
    pub(crate) fn credential(&self, secret: &str) -> Option<&Credential> {
        self.credentials.get(secret)
    }

    /// The URLs that name origins (`"x-elt-origin": true`), by key: those that `config` gives; or, where it gives none at all, the
    /// defaults of the schema. So somebody who names a server of their own has no request, and no credential, sent to another one that the
    /// component names as the default of a second key.
    pub fn origins<'a>(&'a self, config: &'a Map<String, Value>) -> impl Iterator<Item = (&'a str, &'a str)> {
        let given = |name: &str| config.get(name).filter(|value| !value.is_null());
        let any = self.origins.iter().any(|origin| given(&origin.name).is_some());
        self.origins.iter().filter_map(move |origin| {
            let url = match given(&origin.name) {
                None if any => None,
                None => origin.default.as_deref(),
                Some(value) => value.as_str(),
            };
            Some((origin.name.as_str(), url?))
        })
    }

    /// The origins that the component says its downloads are on (`x-elt-downloads`), with the origins in `config`.
    ///
    /// Nothing is allowed by this: whoever trusts the component adds them to the policy's
    /// [`download_origins`](crate::runtime::policy::Policy::download_origins). There they get no credentials.
    pub fn downloads(&self, config: &Map<String, Value>) -> Vec<String> {
        let mut found = Vec::new();
        for (key, url) in self.origins(config) {
            let Ok(at) = Origin::parse(url) else { continue };
            let of_key = self.origins.iter().filter(|origin| origin.name == key).flat_map(|origin| &origin.downloads);
            found.extend(of_key.filter(|(api, _)| *api == at).flat_map(|(_, stores)| stores.iter().cloned()));
        }
        found
    }

    /// What the source's items are called (`x-elt-items`).
    pub fn items(&self) -> Option<&ItemNames> {
        self.items.as_ref()
    }

    /// How to read the connector's state (`x-elt-state`).
    pub fn state(&self) -> Option<&StateKeys> {
        self.state.as_ref()
    }

    /// The key that says what becomes of the rows of items that the source no longer has (`x-elt-deletes`).
    pub fn deletes(&self) -> Option<&str> {
        self.deletes.as_deref()
    }
}

/// Adds what the host found to what the connector found: a key that the connector complains of is not named again.
pub(crate) fn merge_problems(
    own: Vec<ConfigurationProblem>,
    mut all: Vec<ConfigurationProblem>,
) -> Vec<ConfigurationProblem> {
    for problem in own {
        if !all.iter().any(|other| other.key.is_some() && other.key == problem.key) {
            all.push(problem);
        }
    }
    all
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(schema: &Value) -> Spec {
        Spec::parse(&schema.to_string()).unwrap()
    }

    fn refused(schema: &Value) -> String {
        match Spec::parse(&schema.to_string()) {
            Err(Error::Contract(why)) => why,
            other => panic!("{schema} was read as {other:?}"),
        }
    }

    #[test]
    fn secrets_and_origins_are_found() {
        let spec = spec(&json!({"properties": {
            "api_key": {"writeOnly": true},
            "base_url": {"x-elt-origin": true, "default": "https://api.example"},
            "mirror": {"x-elt-origin": true},
            "project": {},
            "anything": true,
        }}));
        assert_eq!(spec.secrets(), ["api_key"]);
        let origins = |config: Value| {
            let config = config.as_object().unwrap().clone();
            spec.origins(&config).map(|(key, url)| format!("{key}={url}")).collect::<Vec<_>>()
        };
        for nothing in [json!({}), json!({"base_url": null, "mirror": null})] {
            assert_eq!(origins(nothing), ["base_url=https://api.example"]);
        }
        assert_eq!(
            origins(json!({"base_url": "http://a", "mirror": "http://b"})),
            ["base_url=http://a", "mirror=http://b"]
        );
        assert_eq!(origins(json!({"base_url": 7})), [""; 0]);
        assert_eq!(origins(json!({"mirror": "http://b"})), ["mirror=http://b"], "a default is for who names no origin");
    }

    #[test]
    fn annotations_are_read() {
        let spec = spec(&json!({
            "x-elt-items": {"singular": "pull request", "plural": "pull requests", "later": 1},
            "x-elt-state": {"watermark": "newest", "items": {"prefix": "pr/", "version": "hash"}},
            "x-elt-unknown": [],
            "properties": {
                "token": {"writeOnly": true, "x-elt-credential": {"origin": "url", "authorization": ["Bearer {secret}"]}},
                "url": {"x-elt-origin": true, "default": "https://api.example", "x-elt-downloads": {
                    "https://API.example:443/": ["https://store.example", "https://*.cdn.example"],
                    "https://eu.example": ["https://eu-store.example"],
                }},
                "removed": {"x-elt-deletes": true},
            },
        }));
        assert_eq!(spec.items().map(|names| names.plural.as_str()), Some("pull requests"));
        let keys = spec.state().unwrap();
        assert_eq!((keys.watermark.as_deref(), keys.source.as_deref()), (Some("newest"), None));
        assert_eq!(keys.items.as_ref().map(|items| items.prefix.as_str()), Some("pr/"));
        assert_eq!(spec.deletes(), Some("removed"));
        assert_eq!(spec.credential("token").unwrap().origin.as_deref(), Some("url"));
        let downloads = |config: Value| spec.downloads(config.as_object().unwrap());
        assert_eq!(downloads(json!({})), ["https://store.example", "https://*.cdn.example"]);
        assert_eq!(downloads(json!({"url": "https://eu.example/x"})), ["https://eu-store.example"]);
        for other in ["https://api.example.evil", "http://api.example", "nothing", ""] {
            assert_eq!(downloads(json!({ "url": other })), [""; 0], "{other}");
        }
    }

    #[test]
    fn an_annotation_that_is_malformed_breaks_the_contract_and_is_named() {
        for items in [
            json!(null),
            json!("runs"),
            json!({"singular": "run"}),
            json!({"singular": "", "plural": "runs"}),
            json!({"singular": "run", "plural": "\u{1b}[31mruns"}),
            json!({"singular": "run", "plural": "r".repeat(33)}),
        ] {
            let why = refused(&json!({"properties": {}, "x-elt-items": items}));
            assert!(why.contains("`x-elt-items`") && !why.contains('\u{1b}'), "{why}");
        }
        for state in
            [json!([]), json!({"lasting": "x"}), json!({"items": {"prefix": "", "version": "v"}}), json!({"items": {}})]
        {
            assert!(refused(&json!({"properties": {}, "x-elt-state": state})).contains("`x-elt-state`"));
        }
        let secret = |credential: Value| {
            refused(&json!({"properties": {
                "key": {"writeOnly": true, "x-elt-credential": credential},
                "url": {"x-elt-origin": true},
                "other": {},
            }}))
        };
        for wrong in [
            json!(true),
            json!({"origin": "other"}),
            json!({"origin": "absent"}),
            json!({"authorization": ["Bearer"]}),
            json!({"authorization": ["{secret}{secret}"]}),
            json!({"authorization": ["Bearer {secret}\r\nx: y"]}),
            json!({"authorization": vec!["{secret}"; 17]}),
        ] {
            let why = secret(wrong);
            assert!(why.contains("`x-elt-credential` of `key`"), "{why}");
        }
        let credential = json!({"authorization": ["{secret}"]});
        assert!(refused(&json!({"properties": {"plain": {"x-elt-credential": credential}}})).contains("no secret"));
        let downloads = |is_origin: bool, downloads: Value| {
            refused(&json!({"properties": {"url": {"x-elt-origin": is_origin, "x-elt-downloads": downloads}}}))
        };
        assert!(downloads(false, json!({"https://a.example": []})).contains("no origin"));
        for wrong in [json!([]), json!({"a.example": []}), json!({"https://a.example": ["https://*.com"]})] {
            let why = downloads(true, wrong);
            assert!(why.contains("`x-elt-downloads` of `url`"), "{why}");
        }
    }

    #[test]
    fn a_spec_that_is_no_schema_breaks_the_contract() {
        for text in ["", "[]", "{}", "{\"properties\": 1}", &"[".repeat(100_000)] {
            assert!(matches!(Spec::parse(text), Err(Error::Contract(_))));
        }
    }
}
