//! What a connector's specification (`source.spec` in `wit/`) tells a host: which configuration values are secrets, and
//! which name the origins that requests and credentials go to.

use serde_json::{Map, Value};

use crate::error::{ConfigurationProblem, Error};

/// The JSON Schema of a connector's configuration, read once.
#[derive(Debug, Clone)]
pub struct Spec {
    schema: Value,
    secrets: Vec<String>,
    origins: Vec<(String, Option<String>)>,
}

impl Spec {
    /// Reads the schema. The schema comes from the connector, so a bad one breaks the contract.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let schema: Value =
            serde_json::from_str(text).map_err(|why| Error::Contract(format!("`spec` is no valid JSON: {why}")))?;
        let properties = schema.get("properties").and_then(Value::as_object);
        let properties = properties
            .ok_or_else(|| Error::Contract("`spec` is no schema of an object: it has no `properties`".into()))?;
        let marked = |property: &Value, mark: &str| property.get(mark).and_then(Value::as_bool) == Some(true);
        let named = |mark: &'static str| properties.iter().filter(move |(_, property)| marked(property, mark));
        let default = |property: &Value| property.get("default").and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            secrets: named("writeOnly").map(|(name, _)| name.clone()).collect(),
            origins: named("x-elt-origin").map(|(name, property)| (name.clone(), default(property))).collect(),
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

    /// The URLs in `config` that name origins (`"x-elt-origin": true`), by key; a key that is absent or null has its default.
    pub fn origins<'a>(&'a self, config: &'a Map<String, Value>) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.origins.iter().filter_map(|(name, default)| {
            let url = match config.get(name) {
                None | Some(Value::Null) => default.as_deref(),
                Some(value) => value.as_str(),
            };
            Some((name.as_str(), url?))
        })
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

    #[test]
    fn secrets_and_origins_are_found() {
        let schema = json!({"properties": {
            "api_key": {"writeOnly": true},
            "base_url": {"x-elt-origin": true, "default": "https://api.example"},
            "mirror": {"x-elt-origin": true},
            "project": {},
        }});
        let spec = Spec::parse(&schema.to_string()).unwrap();
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
    }

    #[test]
    fn a_spec_that_is_no_schema_breaks_the_contract() {
        for text in ["", "[]", "{}", "{\"properties\": 1}", &"[".repeat(100_000)] {
            assert!(matches!(Spec::parse(text), Err(Error::Contract(_))));
        }
    }
}
