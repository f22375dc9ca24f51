//! State: a flat map of strings that belongs to the connector. The host stores it beside the rows and never reads it.

use std::collections::BTreeMap;

use serde::Deserialize;
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

/// How to read a connector's state. To the host a state is opaque, so the connector says it, in the annotation `x-elt-state` of its
/// specification.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct StateKeys {
    /// The key of the value up to which everything is done, for people to read.
    pub watermark: Option<String>,
    /// The key that says which source a destination belongs to. The connector refuses another one by it.
    pub source: Option<String>,
    /// Further keys that stay true when the destination has lost rows; all others but those of items say how far it is up to date.
    pub lasting: Vec<String>,
    /// How entries of items look. Without them a destination that has lost rows is read again as a whole.
    pub items: Option<ItemKeys>,
}

/// How the entries of items look in a connector's state: a key for each item, whose value is a JSON object. An empty one names an item
/// of which nothing is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct ItemKeys {
    /// What the key of an item begins with; its identifier follows, which is also what the first column of each primary key holds.
    pub prefix: String,
    /// The object's member that changes whenever the item does, text. Absent while the item was not read whole.
    pub version: String,
    /// The member that says, with any value, that the source no longer has the item.
    #[serde(default)]
    pub deleted: Option<String>,
    /// The member that says, with any value, that the item is known of and was left unread on purpose.
    #[serde(default)]
    pub unread: Option<String>,
    /// The member that holds the value which the next row will have in the second key column at least, an integer.
    #[serde(default)]
    pub next: Option<String>,
    /// The tables that every item is read into, as far as the configuration asks for them.
    #[serde(default)]
    pub tables: Vec<String>,
}

impl StateKeys {
    /// Whether what the key says stays true when the destination has lost rows.
    pub(crate) fn lasts(&self, key: &str) -> bool {
        self.source.as_deref() == Some(key) || self.lasting.iter().any(|lasting| lasting == key)
    }
}

impl ItemKeys {
    /// Whether the source no longer has the item of an entry.
    pub fn is_deleted(&self, entry: &Value) -> bool {
        has(entry, self.deleted.as_deref())
    }

    /// Whether the item of an entry was left unread.
    pub fn is_unread(&self, entry: &Value) -> bool {
        has(entry, self.unread.as_deref())
    }
}

fn has(entry: &Value, member: Option<&str>) -> bool {
    member.is_some_and(|member| entry.get(member).is_some())
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

/// A state as people export and import it: a JSON object whose values are all strings.
///
/// # Errors
/// [`Error::Configuration`], which names every other value.
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
