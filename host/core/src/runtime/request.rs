//! What one sync is asked to do.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::component::spec::Spec;
use crate::error::{ConfigurationProblem, Error};
use crate::runtime::policy::Policy;

/// What one sync is asked to do: everything that can be written down and carried to another process. What can't be is given to
/// [`Connector::sync`](crate::Connector::sync) beside it: the destination, the way to the network, who listens.
///
/// Secrets are apart from the rest of the configuration, so that a request can be written into a queue or a history: it serialises
/// without them, and who reads one back gives them again ([`SyncRequest::secrets`]). A request whose serialised part has got a secret in
/// it all the same (somebody wrote it there) is refused when it is to be run.
///
/// ```
/// # use elt_host::{Spec, SyncRequest};
/// # let spec = Spec::parse(r#"{"properties": {"api_key": {"writeOnly": true}, "project": {}}}"#)?;
/// # let serde_json::Value::Object(config) = serde_json::json!({"api_key": "hidden", "project": "demo"}) else { return Ok(()) };
/// let request = SyncRequest::new(&spec, config).full_refresh(true); // `spec` is what `connector.spec().await` gives.
/// let written = serde_json::to_string(&request)?;
/// assert!(written.contains("demo") && !written.contains("hidden"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncRequest {
    config: Map<String, Value>,
    #[serde(skip)]
    secrets: Map<String, Value>,
    #[serde(default)]
    full_refresh: bool,
    #[serde(default)]
    policy: Policy,
}

/// A request, taken apart to be run.
pub(crate) struct Parts {
    /// The configuration, secrets included.
    pub(crate) config: Map<String, Value>,
    pub(crate) full_refresh: bool,
    pub(crate) policy: Policy,
}

impl SyncRequest {
    /// A sync of what has changed since the last one, with the default policy. `config` is the whole configuration, secrets included;
    /// the connector's specification says which of its values are secrets.
    pub fn new(spec: &Spec, mut config: Map<String, Value>) -> Self {
        let secrets = spec.secrets().iter().filter_map(|name| config.remove_entry(name)).collect();
        Self { config, secrets, full_refresh: false, policy: Policy::default() }
    }

    /// The same with these secrets, by the configuration's keys: for a request that was read back.
    #[must_use]
    pub fn secrets(mut self, secrets: Map<String, Value>) -> Self {
        self.secrets = secrets;
        self
    }

    /// Whether to begin again from nothing: the first commit replaces all rows and the state.
    #[must_use]
    pub fn full_refresh(mut self, full_refresh: bool) -> Self {
        self.full_refresh = full_refresh;
        self
    }

    /// What the connector may reach and use.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// The configuration without its secrets.
    pub fn config(&self) -> &Map<String, Value> {
        &self.config
    }

    /// Puts configuration and secrets together for the connector with this specification.
    pub(crate) fn into_parts(self, spec: &Spec) -> Result<Parts, Error> {
        let Self { mut config, secrets, full_refresh, policy } = self;
        let is_given = |name: &&String| config.get(*name).is_some_and(|value| !value.is_null());
        let problem = |name: &String| ConfigurationProblem {
            key: Some(name.clone()),
            message: "is a secret, which a request that can be written down must not hold; give it beside the request"
                .into(),
        };
        let problems: Vec<_> = spec.secrets().iter().filter(is_given).map(problem).collect();
        if !problems.is_empty() {
            return Err(Error::Configuration(problems));
        }
        config.extend(secrets);
        Ok(Parts { config, full_refresh, policy })
    }
}

impl fmt::Debug for SyncRequest {
    /// Without values of secrets, and of the configuration, since only the connector knows what is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncRequest")
            .field("config", &self.config.keys().collect::<Vec<_>>())
            .field("secrets", &self.secrets.keys().collect::<Vec<_>>())
            .field("full_refresh", &self.full_refresh)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEY: &str = "0123456789abcdef0123";

    fn spec() -> Spec {
        Spec::parse(r#"{"properties": {"api_key": {"writeOnly": true}, "project": {}}}"#).unwrap()
    }

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_request_is_written_down_without_its_secrets_and_runs_when_they_are_given_again() {
        let config = object(json!({"api_key": KEY, "project": "demo"}));
        let request = SyncRequest::new(&spec(), config.clone()).full_refresh(true);
        let written = serde_json::to_string(&request).unwrap();
        assert!(!written.contains(KEY) && !written.contains("api_key"), "{written}");
        assert!(!format!("{request:?}").contains(KEY));
        let read: SyncRequest = serde_json::from_str(&written).unwrap();
        assert_eq!(Value::from(read.config().clone()), json!({"project": "demo"}));
        let parts = read.secrets(object(json!({"api_key": KEY}))).into_parts(&spec()).unwrap();
        assert_eq!((parts.config, parts.full_refresh), (config, true));
    }

    #[test]
    fn a_request_in_which_somebody_wrote_a_secret_is_refused() {
        let read: SyncRequest = serde_json::from_value(json!({"config": {"api_key": KEY, "project": "demo"}})).unwrap();
        assert!(!format!("{read:?}").contains(KEY));
        let refused = read.into_parts(&spec()).err().unwrap();
        assert!(matches!(&refused, Error::Configuration(problems) if problems[0].key.as_deref() == Some("api_key")));
        assert!(!refused.to_string().contains(KEY));
        let empty: SyncRequest = serde_json::from_value(json!({"config": {"api_key": null}})).unwrap();
        assert!(empty.into_parts(&spec()).is_ok());
    }
}
