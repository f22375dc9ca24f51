//! What becomes of the state where a destination has lost tables: the items that it answers for are read again.
//!
//! The change of the state is a patch of the sync's first group, so that it is stored in the transaction that makes the lost tables
//! anew: a sync that is ended in the middle goes on where it was.

use serde_json::Value;

use crate::destination::LostTable;
use crate::state::{State, StateKeys, StatePatch};

/// What changes in `state`, so that the lost rows come again; none where it answers for none. Items stay named, so that those which
/// the source no longer has are found to be gone. Without `keys` nothing is known of the state, and nothing of it is kept.
pub fn forget(state: &State, lost: &[LostTable], keys: Option<&StateKeys>) -> Option<StatePatch> {
    let may_answer =
        |table: &LostTable| table.is_certain || keys.is_some_and(|keys| keys.tables.contains(&table.name.as_str()));
    if state.is_empty() || !lost.iter().any(may_answer) {
        return None;
    }
    let Some(keys) = keys else {
        return Some(state.keys().map(|key| (key.clone(), None)).collect());
    };
    let mut patch = StatePatch::new();
    let mut was_read = false;
    for (key, value) in state {
        if key.starts_with(keys.items) {
            let entry: Value = serde_json::from_str(value).unwrap_or_default();
            let has = |member: &str| entry.get(member).is_some();
            was_read |= !has(keys.unread);
            if !has(keys.unread) && !has(keys.deleted) {
                patch.push((key.clone(), Some("{}".to_owned())));
            }
        } else if key != keys.source && !keys.lasting.contains(&key.as_str()) {
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
    use crate::wandb::STATE_KEYS;

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
            ("runs_hwm_utc", "2025-06-15T15:06:40Z"),
            ("marks", "kept"),
            ("runs/a", r#"{"version":"1","next_step":7}"#),
            ("runs/broken", "{"),
            ("runs/gone", r#"{"version":"1","deleted":"2025-06-15T15:06:40Z"}"#),
            ("runs/imported", r#"{"version":"1","seen":true}"#),
        ]);
        let expected = of(&[
            ("source", "acme/demo"),
            ("runs/a", "{}"),
            ("runs/broken", "{}"),
            ("runs/gone", r#"{"version":"1","deleted":"2025-06-15T15:06:40Z"}"#),
            ("runs/imported", r#"{"version":"1","seen":true}"#),
        ]);
        for is_certain in [true, false] {
            assert_eq!(after(&before, &lost(is_certain), Some(&STATE_KEYS)), Some(expected.clone()));
        }
        assert_eq!(after(&before, &lost(true), None), Some(State::new()), "nothing is known of such a state");
        assert_eq!(after(&before, &lost(false), None), None);
        assert_eq!(after(&before, &[], Some(&STATE_KEYS)), None);
        let other = vec![LostTable { name: "deleted_runs".into(), is_certain: false }];
        assert_eq!(after(&before, &other, Some(&STATE_KEYS)), None, "it may never have been asked for");
    }

    #[test]
    fn a_state_that_answers_for_no_rows_stays_as_it_is() {
        for entries in [
            &[][..],
            &[("runs_hwm_utc", "2025-06-15T15:06:40Z")],
            &[("source", "acme/demo"), ("import_hwm_utc", "2025-06-15T15:06:40Z"), ("runs/a", r#"{"seen":true}"#)],
        ] {
            assert_eq!(after(&of(entries), &lost(true), Some(&STATE_KEYS)), None, "{entries:?}");
        }
    }
}
