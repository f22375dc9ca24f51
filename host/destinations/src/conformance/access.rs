//! One writer, readers meanwhile, and what a sync leaves behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::slice::from_ref;

use super::data::*;
use super::subject::Subject;
use crate::kind::Access;
use elt_host::State;

/// At once; who looks at the state is not.
pub fn a_second_writer_is_refused(subject: &dyn Subject) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    sync(subject.open(folder), preparation(&[runs()]), vec![group(vec![], &[("a", Some("1"))])]);
    let first = subject.open(folder);
    let url = subject.url(folder);
    let message = refusal(url.open(Access::ReadWrite));
    assert!(message.contains(&format!("another sync is writing to {url}")), "{message}");
    assert_eq!(url.open(Access::ReadOnly).unwrap().state().unwrap(), state(&[("a", "1")]));
    drop(first);
    subject.open(folder);
}

/// They see the last commit whole.
pub fn others_read_while_a_sync_writes(subject: &dyn Subject) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let table = metrics();
    sync(subject.open(folder), preparation(from_ref(&table)), vec![group(vec![], &[("a", Some("1"))])]);
    let mut writing = subject.open(folder);
    writing.prepare(preparation(from_ref(&table))).unwrap();
    let row = metric("r", 0, "x", 0.0);
    writing.apply(group(vec![upsert(0, &table, from_ref(&row), false)], &[("a", Some("2"))])).unwrap();
    let seen = || {
        let state = subject.url(folder).open(Access::ReadOnly).unwrap().state().unwrap();
        (subject.read(folder, &table), state)
    };
    assert_eq!(seen(), (Contents::new(), state(&[("a", "1")])));
    writing.commit().unwrap();
    assert_eq!(seen(), (stored(&[row]), state(&[("a", "2")])));
}

/// Neither rows nor state.
pub fn one_that_is_opened_to_be_read_is_not_written(subject: &dyn Subject) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    sync(subject.open(folder), preparation(&[runs()]), vec![group(vec![], &[])]);
    let mut destination = subject.url(folder).open(Access::ReadOnly).unwrap();
    refusal(destination.prepare(preparation(&[runs()])));
    refusal(destination.replace_state(&State::new()));
}

/// And trying to makes nothing.
pub fn one_that_is_not_there_cannot_be_read(subject: &dyn Subject) {
    let folder = tempfile::tempdir().unwrap();
    let url = subject.url(folder.path());
    for message in [refusal(url.open(Access::ReadOnly).map(drop)), refusal(url.reader().map(drop))] {
        assert!(message.contains(&url.to_string()), "{message}");
    }
    assert_eq!(tree(folder.path()), BTreeMap::new());
}

/// Nothing is made before the first group.
pub fn nothing_is_left_of_a_sync_that_wrote_nothing(subject: &dyn Subject) {
    let folder = tempfile::tempdir().unwrap();
    for finishes in [true, false] {
        let mut destination = subject.open(folder.path());
        destination.prepare(preparation(&[runs()])).unwrap();
        destination.commit().unwrap();
        if finishes {
            destination.finish().unwrap();
        }
        drop(destination);
        assert_eq!(tree(folder.path()), BTreeMap::new());
    }
}

/// Finished, abandoned in the middle of a transaction, failed, or an import of a state.
pub fn a_sync_settles_however_it_ends(subject: &dyn Subject) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let set = |value: &str| group(vec![], &[("a", Some(value))]);
    let settled = |value: &str, how: &str| {
        assert_eq!(subject.unsettled(folder), [""; 0], "{how}");
        let mut look = subject.url(folder).open(Access::ReadOnly).unwrap();
        assert_eq!(look.state().unwrap(), state(&[("a", value)]), "{how}");
    };
    sync(subject.open(folder), preparation(&[runs()]), vec![set("1")]);
    settled("1", "finished");
    for fails in [false, true] {
        let mut destination = subject.open(folder);
        destination.prepare(preparation(&[runs()])).unwrap();
        destination.apply(set("2")).unwrap();
        destination.commit().unwrap();
        destination.apply(set("3")).unwrap();
        if fails {
            let misfit = group(vec![upsert(1, &metrics(), &[metric("a", 0, "x", 0.0)], false)], &[]);
            destination.apply(misfit).unwrap_err();
        }
        drop(destination);
        settled("2", if fails { "failed" } else { "abandoned" });
    }
    subject.open(folder).replace_state(&state(&[("a", "4")])).unwrap();
    settled("4", "an import");
}

/// Not a byte, nor anything beside it.
pub fn looking_at_the_state_changes_nothing(subject: &dyn Subject) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let rows = vec![upsert(0, &metrics(), &[metric("a", 0, "x", 0.0)], true)];
    sync(subject.open(folder), preparation(&[metrics()]), vec![group(rows, &[("a", Some("1"))])]);
    let before = tree(folder);
    for _ in 0..2 {
        let mut looking = subject.url(folder).open(Access::ReadOnly).unwrap();
        assert_eq!(looking.state().unwrap(), state(&[("a", "1")]));
        assert_eq!(tree(folder), before);
    }
    drop(subject.url(folder).reader().unwrap());
    assert_eq!(tree(folder), before);
}

/// Everything below a folder, with its contents; links by where they lead.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let contents = if metadata.is_symlink() {
                fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
            } else if metadata.is_dir() {
                folders.push(path.clone());
                Vec::new()
            } else {
                fs::read(&path).unwrap()
            };
            found.insert(path, contents);
        }
    }
    found
}
