//! State: a flat map of strings that belongs to the connector. The host stores it beside the rows and never reads it.

use std::collections::BTreeMap;

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
