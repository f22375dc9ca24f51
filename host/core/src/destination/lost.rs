//! What becomes of the state where a destination has lost tables: the items that it answers for are read again.
//!
//! The change of the state is a patch of the sync's first group, so that it is stored in the transaction that makes the lost tables
//! anew: a sync that is ended in the middle goes on where it was.

use serde_json::Value;

use crate::destination::LostTable;
use crate::state::{State, StateKeys, StatePatch};

/// What changes in `state`, so that the lost rows come again; none where it answers for none. Items stay named, so that those which
/// the source no longer has are found to be gone. Where `keys` say nothing of items, nothing of how far they were read is kept.
pub fn forget(state: &State, lost: &[LostTable], keys: Option<&StateKeys>) -> Option<StatePatch> {
    let items = keys.and_then(|keys| keys.items.as_ref());
    let may_answer =
        |table: &LostTable| table.is_certain || items.is_some_and(|items| items.tables.contains(&table.name));
    if !lost.iter().any(may_answer) {
        return None;
    }
    let mut patch = StatePatch::new();
    let mut was_read = false;
    for (key, value) in state {
        if let Some(items) = items.filter(|items| key.starts_with(&items.prefix)) {
            let entry: Value = serde_json::from_str(value).unwrap_or_default();
            let is_unread = items.is_unread(&entry);
            was_read |= !is_unread;
            if !is_unread && !items.is_deleted(&entry) {
                patch.push((key.clone(), Some("{}".to_owned())));
            }
        } else if !keys.is_some_and(|keys| keys.lasts(key)) {
            was_read |= items.is_none();
            patch.push((key.clone(), None));
        }
    }
    was_read.then_some(patch)
}

/// The sentence for people. `tables` are named as lost.
pub fn notice(lost: &[LostTable]) -> String {
    let names = lost.iter().map(|table| format!("`{}`", table.name)).collect::<Vec<_>>().join(", ");
    let (tables, are) = if lost.len() == 1 { ("the table", "is") } else { ("the tables", "are") };
    format!(
        "{tables} {names} {are} not in the destination any more, or not whole, though the state answers for what was in it"
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::state;
    use crate::state::ItemKeys;

    fn keys() -> StateKeys {
        let items = ItemKeys {
            prefix: "jobs/".into(),
            version: "version".into(),
            deleted: Some("deleted".into()),
            unread: Some("seen".into()),
            next: Some("next_step".into()),
            tables: vec!["metrics".into()],
        };
        let lasting = vec!["import".into()];
        StateKeys { watermark: Some("newest".into()), source: Some("source".into()), lasting, items: Some(items) }
    }

    fn lost(is_certain: bool) -> Vec<LostTable> {
        vec![LostTable { name: "metrics".into(), is_certain }]
    }

    fn of(entries: &[(&str, &str)]) -> State {
        entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn after(before: &State, lost: &[LostTable], keys: Option<&StateKeys>) -> Option<State> {
        let mut after = before.clone();
        state::apply(&mut after, forget(before, lost, keys)?);
        Some(after)
    }

    #[test]
    fn items_are_named_still_and_nothing_is_known_of_those_that_can_be_read_again() {
        let before = of(&[
            ("source", "acme/demo"),
            ("newest", "2025-06-15T15:06:40Z"),
            ("marks", "kept"),
            ("jobs/a", r#"{"version":"1","next_step":7}"#),
            ("jobs/broken", "{"),
            ("jobs/gone", r#"{"version":"1","deleted":"2025-06-15T15:06:40Z"}"#),
            ("jobs/imported", r#"{"version":"1","seen":true}"#),
        ]);
        let expected = of(&[
            ("source", "acme/demo"),
            ("jobs/a", "{}"),
            ("jobs/broken", "{}"),
            ("jobs/gone", r#"{"version":"1","deleted":"2025-06-15T15:06:40Z"}"#),
            ("jobs/imported", r#"{"version":"1","seen":true}"#),
        ]);
        for is_certain in [true, false] {
            assert_eq!(after(&before, &lost(is_certain), Some(&keys())), Some(expected.clone()));
        }
        assert_eq!(after(&before, &lost(true), None), Some(State::new()), "nothing is known of such a state");
        assert_eq!(after(&before, &lost(false), None), None);
        assert_eq!(after(&before, &[], Some(&keys())), None);
        let no_items = StateKeys { items: None, ..keys() };
        assert_eq!(after(&before, &lost(true), Some(&no_items)), Some(of(&[("source", "acme/demo")])));
        assert_eq!(after(&of(&[("source", "acme/demo")]), &lost(true), Some(&no_items)), None);
        let other = vec![LostTable { name: "deleted_jobs".into(), is_certain: false }];
        assert_eq!(after(&before, &other, Some(&keys())), None, "it may never have been asked for");
    }

    #[test]
    fn a_state_that_answers_for_no_rows_stays_as_it_is() {
        for entries in [
            &[][..],
            &[("newest", "2025-06-15T15:06:40Z")],
            &[("source", "acme/demo"), ("import", "2025-06-15T15:06:40Z"), ("jobs/a", r#"{"seen":true}"#)],
        ] {
            assert_eq!(after(&of(entries), &lost(true), Some(&keys())), None, "{entries:?}");
        }
    }
}
