//! State: a flat map of strings that belongs to the connector. The host stores it beside the rows and never reads it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::error::{ConfigurationProblem, Error};

/// The whole state, as the connector sees it when a sync starts.
pub type State = BTreeMap<String, String>;

/// One checkpoint's change to the state: set where there is a value, remove where there is none.
pub type StatePatch = Vec<(String, Option<String>)>;

/// Changes `state` as `patch` says.
pub fn apply(state: &mut State, patch: StatePatch) {
    for (key, value) in patch {
        match value {
            Some(value) => state.insert(key, value),
            None => state.remove(&key),
        };
    }
}

/// A state as people export and import it: a JSON object whose values are all strings. The error names every other value.
pub fn from_object(object: Map<String, Value>) -> Result<State, Error> {
    let mut state = State::new();
    let mut problems = Vec::new();
    for (key, value) in object {
        match value {
            Value::String(text) => {
                state.insert(key, text);
            }
            _ => {
                let message = format!("state `{key}`: must be a string; a state is a flat object of strings");
                problems.push(ConfigurationProblem { key: None, message });
            }
        }
    }
    if problems.is_empty() { Ok(state) } else { Err(Error::Configuration(problems)) }
}
