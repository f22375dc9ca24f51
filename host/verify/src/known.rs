//! What the connector's state says of its items, before and after the source was read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use elt_host::State;
use elt_host::state::StateKeys;

/// The state that the source is read with: every item that the destination's state knows is named, so that the connector finds
/// out which of them are gone, but nothing is known of it, so that it is read whole.
pub(super) fn seed(stored: &State, keys: &StateKeys) -> State {
    let is_item = |key: &str| keys.items.as_ref().is_some_and(|items| key.starts_with(&items.prefix));
    let items = stored.keys().filter(|key| is_item(key)).map(|key| (key.clone(), "{}".to_owned()));
    let source = keys.source.as_ref().and_then(|key| Some((key.clone(), stored.get(key)?.clone())));
    items.chain(source).collect()
}

/// What is known of items.
pub(super) struct Known {
    has_entries: bool,
    items: BTreeMap<String, Item>,
    quarantined: BTreeMap<String, String>,
}

/// One item.
#[derive(Debug, Clone, Default)]
pub(super) struct Item {
    /// The destination's state names it.
    pub(super) is_stored: bool,
    /// It was read whole now.
    pub(super) was_read: bool,
    /// The source no longer has it.
    pub(super) is_deleted: bool,
    /// It is not the same as when the last sync read it, or it is not known what that sync read.
    pub(super) changed_since: bool,
    /// Rows whose second key column is less than this were complete then.
    pub(super) complete_below: Option<i64>,
}

impl Known {
    pub(super) fn new(stored: &State, read: &State, quarantined: Vec<(String, String)>, keys: &StateKeys) -> Self {
        let quarantined = quarantined.into_iter().collect();
        let Some(keys) = &keys.items else { return Self { has_entries: false, items: BTreeMap::new(), quarantined } };
        let ids = |state: &State| -> BTreeSet<String> {
            state.keys().filter_map(|key| key.strip_prefix(&keys.prefix)).map(str::to_owned).collect()
        };
        let entry = |state: &State, id: &str| -> Value {
            let text = state.get(&format!("{}{id}", keys.prefix));
            text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
        };
        let (stored_ids, read_ids) = (ids(stored), ids(read));
        let item = |id: &String| {
            let (before, now) = (entry(stored, id), entry(read, id));
            let version = |entry: &Value| entry.get(&keys.version).and_then(Value::as_str).map(str::to_owned);
            let version_before = version(&before).filter(|_| !keys.is_deleted(&before));
            let (version_now, next) = (version(&now), keys.next.as_deref());
            Item {
                is_stored: stored_ids.contains(id),
                was_read: version_now.is_some(),
                is_deleted: keys.is_deleted(&now),
                changed_since: version_before.is_none() || version_before != version_now,
                // The last known row may have been incomplete.
                complete_below: next.and_then(|next| before.get(next)?.as_i64()).map(|next| next.saturating_sub(1)),
            }
        };
        let items = stored_ids.union(&read_ids).map(|id| (id.clone(), item(id))).collect();
        Self { has_entries: true, items, quarantined }
    }

    /// Whether the state says of each item what the last sync saw of it.
    pub(super) fn has_entries(&self) -> bool {
        self.has_entries
    }

    /// What is known of an item; nothing of one that only rows name.
    pub(super) fn item(&self, id: &str) -> Item {
        self.items.get(id).cloned().unwrap_or(Item { changed_since: true, ..Item::default() })
    }

    /// Every item that a state names, and those that were quarantined.
    pub(super) fn ids(&self) -> impl Iterator<Item = &String> {
        self.items.keys().chain(self.quarantined.keys())
    }

    /// Why an item could not be read.
    pub(super) fn quarantine(&self, id: &str) -> Option<&String> {
        self.quarantined.get(id)
    }
}
