//! The state beside the rows.

use super::data::*;
use super::subject::Subject;
use crate::kind::Access;
use elt_host::{Preparation, State};

/// Set, changed and removed by patches, read by everybody, and replaced whole.
pub fn state_is_patched_with_the_rows(subject: &dyn Subject) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    sync(
        subject.open(folder),
        preparation(&[runs()]),
        vec![
            group(vec![], &[("a", Some("1")), ("b", Some("2")), ("c\0", Some("\0"))]),
            group(vec![], &[("a", None), ("b", Some("3")), ("missing", None)]),
        ],
    );
    let expected = state(&[("b", "3"), ("c\0", "\0")]);
    assert_eq!(subject.url(folder).open(Access::ReadOnly).unwrap().state().unwrap(), expected);
    let mut destination = subject.open(folder);
    assert_eq!(destination.prepare(preparation(&[runs()])).unwrap(), expected);
    let other = state(&[("x", "y")]);
    destination.replace_state(&other).unwrap();
    assert_eq!(destination.state().unwrap(), other);
}

/// Into a destination that does not exist yet.
pub fn state_can_be_imported_before_the_first_sync(subject: &dyn Subject) {
    let folder = tempfile::tempdir().unwrap();
    let imported = state(&[("x", "y")]);
    subject.open(folder.path()).replace_state(&imported).unwrap();
    let mut destination = subject.open(folder.path());
    assert_eq!(destination.prepare(preparation(&[runs()])).unwrap(), imported);
}

/// Not even one of a full refresh.
pub fn without_groups_a_commit_changes_nothing(subject: &dyn Subject) {
    let folder = tempfile::tempdir().unwrap();
    let mut destination = subject.open(folder.path());
    let before = state(&[("groups", "3")]);
    destination.replace_state(&before).unwrap();
    destination.prepare(Preparation { full_refresh: true, ..preparation(&[metrics()]) }).unwrap();
    destination.commit().unwrap();
    assert_eq!(destination.state().unwrap(), before);
    assert_eq!(destination.prepare(preparation(&[metrics()])).unwrap(), before);
}

/// For a kind that keeps nothing: a sync behaves as elsewhere as long as the destination is open.
pub fn state_is_kept_until_the_process_ends(subject: &dyn Subject) {
    let folder = tempfile::tempdir().unwrap();
    let mut destination = subject.open(folder.path());
    destination.prepare(preparation(&[metrics()])).unwrap();
    let rows = vec![upsert(0, &metrics(), &[metric("a", 0, "x", 0.0)], true)];
    destination.apply(group(rows, &[("a", Some("1")), ("b", Some("2"))])).unwrap();
    destination.apply(group(vec![], &[("b", None)])).unwrap();
    assert_eq!(destination.state().unwrap(), State::new(), "before the commit");
    destination.commit().unwrap();
    assert_eq!(destination.state().unwrap(), state(&[("a", "1")]));
    destination.apply(group(vec![], &[("a", Some("lost"))])).unwrap();
    destination.finish().unwrap();
    assert_eq!(destination.prepare(preparation(&[metrics()])).unwrap(), state(&[("a", "1")]));
    let refresh = Preparation { full_refresh: true, ..preparation(&[metrics()]) };
    assert_eq!(destination.prepare(refresh).unwrap(), State::new());
}
