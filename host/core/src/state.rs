//! State: a flat map of strings that belongs to the connector. The host stores it beside the rows and never reads it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::error::{ConfigurationProblem, Error};

/// The whole state, as the connector sees it when a sync starts.
pub type State = BTreeMap<String, String>;

/// One checkpoint's change to the state: set where there is a value, remove where there is none.
pub type StatePatch = Vec<(String, Option<String>)>;

/// What an entry of a state or of a patch takes beside its texts, about: the texts' places, and those in the maps that hold them. Without
/// it, millions of empty texts would count as nothing.
pub(crate) const ENTRY_BYTES: usize = 64;

/// Several patches in one, as they follow each other: the last word about each key.
pub type MergedPatch = BTreeMap<String, Option<String>>;

/// Memory that a patch takes, about.
pub(crate) fn patch_bytes(patch: &StatePatch) -> usize {
    let value = |value: &Option<String>| value.as_ref().map_or(0, String::len);
    patch.iter().map(|(key, new)| ENTRY_BYTES + key.len() + value(new)).sum()
}

/// What a connector's state says of its items. To the host a state is opaque, so whoever knows the connector says it.
#[derive(Debug, Clone, Copy)]
pub struct StateKeys {
    /// The key that says which source a destination belongs to. The connector refuses another one by it.
    pub source: &'static str,
    /// Further keys that stay true when the destination has lost rows; all others but those of items say how far it is up to date.
    pub lasting: &'static [&'static str],
    /// What the key of an item begins with; its identifier follows. The value is a JSON object; an empty one names an
    /// item of which nothing is known.
    pub items: &'static str,
    /// The object's member that changes whenever the item does, text. Absent while the item was not read whole.
    pub version: &'static str,
    /// The member that says, with any value, that the source no longer has the item.
    pub deleted: &'static str,
    /// The member that says, with any value, that the item is known of and was left unread on purpose.
    pub unread: &'static str,
    /// The member that holds the value which the next row will have in the second key column at least, an integer.
    pub next: &'static str,
    /// The tables that every item is read into, as far as the configuration asks for them.
    pub tables: &'static [&'static str],
}

/// Changes `state` as `patch` says.
pub fn apply(state: &mut State, patch: impl IntoIterator<Item = (String, Option<String>)>) {
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
