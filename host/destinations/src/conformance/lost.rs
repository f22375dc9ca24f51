//! Tables that somebody took away.

use std::path::Path;

use super::data::*;
use super::subject::Subject;
use elt_host::{Group, Preparation};

/// What a sync would find lost.
fn lost(subject: &dyn Subject, folder: &Path, preparation: Preparation) -> Vec<String> {
    let mut destination = subject.open(folder);
    destination.prepare(preparation).unwrap();
    destination.lost_tables().unwrap().into_iter().map(|lost| lost.name).collect()
}

fn rows() -> Group {
    let rows: Vec<_> = (0..100).map(|step| metric("r", step, "loss", step as f64)).collect();
    group(vec![upsert(0, &metrics(), &rows, true)], &[("a", Some("1"))])
}

/// Where it is asked for; by a sync and by who reads.
pub fn a_table_that_is_gone_is_missed_until_it_is_made_anew(subject: &dyn Subject) {
    let none: [String; 0] = [];
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (both, one) = (|| preparation(&[metrics(), runs()]), || preparation(&[runs()]));
    assert_eq!(lost(subject, folder, both()), none, "there is nothing yet");
    sync(subject.open(folder), one(), vec![group(vec![], &[("a", Some("1"))])]);
    assert_eq!(lost(subject, folder, both()), none, "it was never asked for");
    sync(subject.open(folder), both(), vec![rows()]);
    assert_eq!(lost(subject, folder, both()), none);
    subject.lose(folder, &metrics());
    for _ in 0..2 {
        // Whoever was stopped before the first commit has changed nothing.
        assert_eq!(lost(subject, folder, both()), ["metrics"]);
    }
    assert_eq!(lost(subject, folder, one()), none, "nobody asks for it");
    let reader = subject.url(folder).reader().unwrap().unwrap();
    let missed: Vec<_> = reader.lost_tables(&[metrics(), runs()]).unwrap().into_iter().map(|it| it.name).collect();
    assert_eq!(missed, ["metrics"]);
    drop(reader);
    // With nothing but a checkpoint the table is there again, and lacks the rows.
    sync(subject.open(folder), both(), vec![group(vec![], &[])]);
    assert_eq!(lost(subject, folder, both()), none);
    assert_eq!(subject.read(folder, &metrics()), Contents::new());
    sync(subject.open(folder), both(), vec![rows()]);
    assert_eq!(subject.read(folder, &metrics()).len(), 100);
}

/// It makes everything anew in any case.
pub fn a_full_refresh_does_not_mind_lost_tables(subject: &dyn Subject) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    sync(subject.open(folder), preparation(&[metrics()]), vec![rows()]);
    subject.lose(folder, &metrics());
    let refresh = Preparation { full_refresh: true, ..preparation(&[metrics()]) };
    let row = metric("new", 0, "loss", 0.5);
    let changes = vec![upsert(0, &metrics(), std::slice::from_ref(&row), true)];
    sync(subject.open(folder), refresh, vec![group(changes, &[])]);
    assert_eq!(subject.read(folder, &metrics()), stored(&[row]));
    assert_eq!(lost(subject, folder, preparation(&[metrics()])), [""; 0]);
}
