//! What hosts are told about this connector beside its configuration: the `x-elt-…` annotations of `wit/README.md`. Whoever does not know
//! one ignores it.

use serde_json::{Map, Value, json};

use crate::state;
use crate::tables;

/// The annotations of the schema as a whole.
pub(super) fn of_the_whole() -> Map<String, Value> {
    let items = json!({"singular": "run", "plural": "runs"});
    // The members are those of `RunEntry`.
    let entries = json!({
        "prefix": state::RUNS, "version": "version", "deleted": "deleted", "unread": "seen", "next": "next_step",
        "tables": tables::TABLES.map(|table| table.name),
    });
    let state = json!({
        "watermark": state::WATERMARK, "source": state::SOURCE, "lasting": [state::IMPORT], "items": entries,
    });
    Map::from_iter([("x-elt-items".to_owned(), items), ("x-elt-state".to_owned(), state)])
}

/// How the key is sent: by GraphQL with the user `api`, by REST as a Bearer token.
pub(super) fn credential() -> Value {
    json!({"origin": "base_url", "authorization": ["Basic api:{secret}", "Bearer {secret}"]})
}

/// Where W&B's own service keeps exported histories, by the names that the service has (`FORGE_HOSTS` in the `wandb` package 0.31).
pub(super) fn downloads() -> Value {
    let store = json!(["https://storage.googleapis.com"]);
    let names = ["https://api.wandb.ai", "https://api.forge.coreweave.com", "https://forge.coreweave.com"];
    names.into_iter().map(|name| (name.to_owned(), store.clone())).collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::RunEntry;

    #[test]
    fn the_members_of_entries_are_those_of_the_state() {
        let entry = RunEntry {
            version: Some("1".into()),
            deleted: Some("2025-06-15T15:06:40Z".into()),
            seen: true,
            next_step: Some(1),
            ..RunEntry::default()
        };
        let entry: Value = serde_json::from_str(&entry.to_text()).unwrap();
        let annotated = &of_the_whole()["x-elt-state"]["items"];
        for role in ["version", "deleted", "unread", "next"] {
            let member = annotated[role].as_str().unwrap();
            assert!(entry.get(member).is_some(), "{member}");
        }
    }
}
