use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::Connection;
use tempfile::TempDir;

use super::sizes::Sizes;
use super::subject::{SmallParquet, read as read_parquet};
use crate::conformance::data::{Value, column, delete, metric, metrics, preparation, refusal, runs, upsert};
use crate::conformance::model;
use crate::url::{Access, DestinationUrl};
use elt_host::{Change, DataType, Destination, DestinationError, Group, Preparation, Table};

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn open_with(path: &Path, access: Access) -> Result<Box<dyn Destination>, DestinationError> {
    format!("parquet:{}", path.display()).parse::<DestinationUrl>().unwrap().open(access)
}

fn open(path: &Path) -> Box<dyn Destination> {
    open_with(path, Access::ReadWrite).unwrap()
}

fn group(changes: Vec<Change>) -> Group {
    Group { changes, patch: Vec::new() }
}

fn sync(path: &Path, preparation: Preparation, groups: Vec<Group>) {
    let mut destination = open(path);
    destination.prepare(preparation).unwrap();
    for group in groups {
        destination.apply(group).unwrap();
    }
    destination.commit().unwrap();
    destination.finish().unwrap();
}

fn files(path: &Path, table: &str) -> BTreeSet<String> {
    let files = std::fs::read_dir(path.join(table)).unwrap();
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

fn rows(run: &str, steps: std::ops::Range<i64>) -> Vec<Vec<Value>> {
    steps.map(|step| metric(run, step, "loss", step as f64)).collect()
}

#[test]
fn a_table_without_rows_is_a_data_set_with_one_empty_file_until_rows_come() {
    let folder = folder();
    let path = folder.path().join("w");
    sync(&path, preparation(&[runs(), metrics()]), vec![group(vec![])]);
    assert_eq!(files(&path, "metrics").len(), 1);
    let empty = files(&path, "metrics");
    sync(&path, preparation(&[metrics()]), vec![group(vec![upsert(0, &metrics(), &rows("r", 0..3), true)])]);
    assert_eq!(files(&path, "metrics").len(), 1);
    assert!(files(&path, "metrics").is_disjoint(&empty));
    sync(&path, preparation(&[metrics()]), vec![group(vec![delete(0, &metrics(), &[vec!["r".into()]])])]);
    assert_eq!(files(&path, "metrics").len(), 1);
    assert!(read_parquet(&path, &metrics()).is_empty());
}

#[test]
fn rows_that_are_stored_already_change_no_file() {
    let folder = folder();
    let path = folder.path().join("w");
    let mut all = rows("r", 0..100);
    all.push(metric("r", 7, "nan", f64::NAN));
    sync(&path, preparation(&[metrics()]), vec![group(vec![upsert(0, &metrics(), &all, true)])]);
    let before = files(&path, "metrics");
    let later = Preparation { synced_at: 5, ..preparation(&[metrics()]) };
    sync(&path, later, vec![group(vec![upsert(0, &metrics(), &all, false)])]);
    assert_eq!(files(&path, "metrics"), before);
}

#[test]
fn the_growth_of_one_run_moves_its_bystanders_once_and_then_rewrites_only_the_end_of_that_run() {
    let folder = folder();
    let path = folder.path().join("w");
    let first = ["a", "b", "c"].iter().flat_map(|run| rows(run, 0..50)).collect::<Vec<_>>();
    sync(&path, preparation(&[metrics()]), vec![group(vec![upsert(0, &metrics(), &first, true)])]);
    let mut seen = Vec::new();
    for growth in 1..4 {
        let mut grown = rows("b", 49 * growth..50 + 49 * growth);
        grown[0][3] = 0.5.into();
        sync(&path, preparation(&[metrics()]), vec![group(vec![upsert(0, &metrics(), &grown, true)])]);
        seen.push(files(&path, "metrics"));
    }
    assert_eq!(seen[1].intersection(&seen[0]).count(), 1, "{seen:?}");
    assert_eq!(seen[2].intersection(&seen[0]).count(), 1, "{seen:?}");
    assert_eq!(read_parquet(&path, &metrics()).len(), 150 + 3 * 49);
}

#[test]
fn many_small_commits_dont_become_many_small_files() {
    let folder = folder();
    let path = folder.path().join("w");
    let mut destination = open(&path);
    destination.prepare(preparation(&[runs(), metrics()])).unwrap();
    for number in 0..100 {
        destination.apply(group(vec![upsert(1, &metrics(), &rows(&format!("r{number}"), 0..5), true)])).unwrap();
        destination.commit().unwrap();
    }
    destination.finish().unwrap();
    assert!(files(&path, "metrics").len() < 12, "{:?}", files(&path, "metrics"));
    assert_eq!(read_parquet(&path, &metrics()).len(), 500);
}

#[test]
fn a_run_longer_than_a_file_is_cut_and_its_growth_leaves_the_first_files_alone() {
    let folder = folder();
    let path = folder.path().join("w");
    let steps = Sizes::default().file_rows as i64 * 2 + 1000;
    sync(&path, preparation(&[metrics()]), vec![group(vec![upsert(0, &metrics(), &rows("r", 0..steps), true)])]);
    let before = files(&path, "metrics");
    assert!(before.len() >= 3);
    let mut grown = rows("r", steps - 1..steps + 10);
    grown[0][3] = 0.5.into();
    sync(&path, preparation(&[metrics()]), vec![group(vec![upsert(0, &metrics(), &grown, true)])]);
    assert!(files(&path, "metrics").intersection(&before).count() >= 2);
    assert_eq!(read_parquet(&path, &metrics()).len() as i64, steps + 10);
}

#[test]
fn places_that_cant_be_data_sets_are_refused_with_nothing_written() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("file"), "x").unwrap();
    std::fs::create_dir_all(at("taken/metrics")).unwrap();
    std::fs::create_dir_all(at("foreign/_elt")).unwrap();
    Connection::open(at("foreign/_elt/catalog.db")).unwrap().execute_batch("CREATE TABLE x(x)").unwrap();
    for (name, hint) in [
        ("file", "it is a file. Name a folder."),
        ("no/such", "does not exist. Create it first."),
        ("taken", "metrics is there already and is not ours"),
        ("foreign", "is not one that this program knows"),
    ] {
        let opened = open_with(&at(name), Access::ReadWrite);
        let message = refusal(opened.and_then(|mut destination| destination.prepare(preparation(&[metrics()]))));
        assert!(message.contains(hint), "{name}: {message}");
    }
    assert!(!at("taken/_elt").exists());
    // The second was left by a sync that was killed before its catalog was complete.
    std::fs::create_dir_all(at("begun/_elt")).unwrap();
    std::fs::write(at("begun/_elt/catalog.db"), "").unwrap();
    for name in ["none", "begun"] {
        let message = refusal(open_with(&at(name), Access::ReadOnly));
        assert!(message.contains("Run a sync first."), "{name}: {message}");
    }
}

#[test]
fn a_column_of_another_type_is_refused() {
    let folder = folder();
    let path = folder.path().join("w");
    let old = [column("run_id", DataType::Text, false), column("name", DataType::Integer, true)];
    let old = Table::new("runs".into(), old.to_vec(), &["run_id".into()]).unwrap();
    sync(&path, preparation(&[old]), vec![group(vec![])]);
    let message = refusal(open(&path).prepare(preparation(&[runs()])));
    assert!(message.contains("column `name` is integer, expected text"), "{message}");
}

/// What a sync would find lost.
fn lost(path: &Path, preparation: Preparation) -> Vec<String> {
    let mut destination = open(path);
    destination.prepare(preparation).unwrap();
    destination.lost_tables().unwrap().into_iter().map(|lost| lost.name).collect()
}

#[test]
fn missing_and_damaged_files_are_noticed_and_their_rows_can_come_again() {
    let none: [String; 0] = [];
    for how in ["a file", "the folder", "emptied", "cut"] {
        let folder = folder();
        let path = folder.path().join("w");
        let both = || preparation(&[metrics(), runs()]);
        let upserts = || vec![group(vec![upsert(0, &metrics(), &rows("r", 0..100), true)])];
        sync(&path, both(), upserts());
        assert_eq!(lost(&path, both()), none);
        let data = path.join("metrics").canonicalize().unwrap();
        let first = data.join(files(&path, "metrics").into_iter().next().unwrap());
        let cut = |length| std::fs::OpenOptions::new().write(true).open(&first).unwrap().set_len(length).unwrap();
        match how {
            "a file" => std::fs::remove_file(&first).unwrap(),
            "the folder" => std::fs::remove_dir_all(&data).unwrap(),
            "emptied" => cut(0),
            _ => cut(50),
        }
        for _ in 0..2 {
            assert_eq!(lost(&path, both()), ["metrics"], "{how}");
        }
        assert_eq!(lost(&path, preparation(&[runs()])), none, "nobody asks for it");
        // With nothing but a checkpoint the table is there again, and lacks the rows.
        sync(&path, both(), vec![group(vec![])]);
        assert_eq!(lost(&path, both()), none);
        sync(&path, both(), upserts());
        assert_eq!(read_parquet(&path, &metrics()).len(), 100);
    }
}

#[test]
fn a_full_refresh_does_not_mind_missing_files() {
    let folder = folder();
    let path = folder.path().join("w");
    sync(&path, preparation(&[metrics()]), vec![group(vec![upsert(0, &metrics(), &rows("r", 0..3), true)])]);
    std::fs::remove_dir_all(path.join("_elt").join("generation-1")).unwrap();
    let refresh = Preparation { full_refresh: true, ..preparation(&[metrics()]) };
    sync(&path, refresh, vec![group(vec![upsert(0, &metrics(), &rows("r", 0..2), true)])]);
    assert_eq!(lost(&path, preparation(&[metrics()])), [""; 0]);
}

#[test]
fn the_catalog_is_left_as_one_file_and_looking_at_the_state_leaves_nothing_beside_it() {
    let folder = folder();
    let path = folder.path().join("w");
    sync(&path, preparation(&[metrics()]), vec![group(vec![])]);
    let catalog = path.join("_elt/catalog.db");
    let sibling = || {
        let names = std::fs::read_dir(path.join("_elt")).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("catalog.db")).count()
    };
    let mode = || -> String {
        let how = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let connection = rusqlite::Connection::open_with_flags(&catalog, how).unwrap();
        connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap()
    };
    assert_eq!((sibling(), mode()), (1, "delete".to_owned()));
    // As an earlier version left it.
    rusqlite::Connection::open(&catalog).unwrap().query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    open_with(&path, Access::ReadOnly).unwrap().state().unwrap();
    assert_eq!(sibling(), 1);
}

#[test]
fn it_holds_what_the_model_holds_when_everything_is_cut_small() {
    model::it_holds_what_the_model_holds(&SmallParquet);
}
