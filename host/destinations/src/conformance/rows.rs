//! Rows: types, keys, deletions, columns, full refreshes.

use std::slice::from_ref;

use super::data::*;
use super::subject::Subject;
use crate::kind::Access;
use elt_host::{DataType, DestinationError, Group, Preparation, State, Table};

/// Every type, at its edges, with names that are key words elsewhere, as plain text and as dictionaries.
pub fn every_type_comes_back(subject: &dyn Subject) {
    let table = table(
        "select",
        vec![
            column("group", DataType::Text, false),
            column("flag", DataType::Boolean, true),
            column("count", DataType::Integer, true),
            column("score", DataType::Double, true),
            column("doc", DataType::Json, true),
            column("at", DataType::Timestamp, true),
        ],
        &["group"],
    );
    let full = |key: &str, score: f64| -> Vec<Value> {
        vec![key.into(), Value::Bool(true), i64::MIN.into(), score.into(), "{\"a\":1e400}".into(), Value::Time(-1)]
    };
    let mut nulls = vec![Value::Null; 6];
    nulls[0] = "".into();
    let all = [full("123", 1.5), full("nan", f64::NAN), full("z\0z", f64::NEG_INFINITY), full("2.0", 2.0), nulls];
    let folder = tempfile::tempdir().unwrap();
    for dictionary in [false, true] {
        let groups = vec![group(vec![upsert(0, &table, &all, dictionary)], &[])];
        sync(subject.open(folder.path()), preparation(from_ref(&table)), groups);
        assert_eq!(subject.read(folder.path(), &table), stored(&all));
    }
}

/// Within a batch of any size, and across batches.
pub fn the_last_of_equal_keys_wins(subject: &dyn Subject) {
    for count in [1, 2, 5, 63, 64, 65, 200] {
        let folder = tempfile::tempdir().unwrap();
        let table = metrics();
        let batch: Vec<_> = (0..count).map(|i| metric("r", i % 3, "loss", i as f64)).collect();
        let later = [metric("r", 0, "loss", -1.0), metric("r", 0, "loss", -2.0)];
        let changes = vec![upsert(0, &table, &batch, true), upsert(0, &table, &later, false)];
        sync(subject.open(folder.path()), preparation(from_ref(&table)), vec![group(changes, &[])]);
        let last = |step: i64| (0..count).rfind(|i| i % 3 == step).unwrap() as f64;
        let mut expected: Vec<_> = (0..count.min(3)).map(|step| metric("r", step, "loss", last(step))).collect();
        expected[0] = metric("r", 0, "loss", -2.0);
        assert_eq!(subject.read(folder.path(), &table), stored(&expected), "{count} rows");
    }
}

/// By any leading part of it, in the order in which deletions and rows came.
pub fn deletions_take_a_leading_part_of_the_key(subject: &dyn Subject) {
    let folder = tempfile::tempdir().unwrap();
    let table = metrics();
    let all: Vec<_> = ["a", "b", "c"]
        .iter()
        .flat_map(|run| (0..3).flat_map(|step| ["x", "y"].map(|name| metric(run, step, name, 0.0))))
        .collect();
    let changes = vec![
        upsert(0, &table, &all, false),
        delete(0, &table, &[vec!["a".into()], vec!["no such".into()]]),
        delete(0, &table, &[vec!["b".into(), 1.into()]]),
        delete(0, &table, &[vec!["c".into(), 2.into(), "y".into()]]),
        upsert(0, &table, &[metric("a", 7, "x", 0.0)], false),
    ];
    sync(subject.open(folder.path()), preparation(from_ref(&table)), vec![group(changes, &[])]);
    let expected = [
        ("a", 7, "x"),
        ("b", 0, "x"),
        ("b", 0, "y"),
        ("b", 2, "x"),
        ("b", 2, "y"),
        ("c", 0, "x"),
        ("c", 0, "y"),
        ("c", 1, "x"),
        ("c", 1, "y"),
        ("c", 2, "x"),
    ];
    let expected = expected.map(|(run, step, name)| metric(run, step, name, 0.0));
    assert_eq!(subject.read(folder.path(), &table), stored(&expected));
}

/// Tables and state, and not before.
pub fn a_full_refresh_empties_all_with_its_first_commit(subject: &dyn Subject) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let table = metrics();
    let of = |run: &str| group(vec![upsert(0, &table, &[metric(run, 0, "x", 0.0)], false)], &[(run, Some("1"))]);
    let holds = |runs: &[&str], when: &str| {
        let rows: Vec<_> = runs.iter().map(|run| metric(run, 0, "x", 0.0)).collect();
        assert_eq!(subject.read(folder, &table), stored(&rows), "{when}");
        let entries: Vec<_> = runs.iter().map(|run| (*run, "1")).collect();
        let mut look = subject.url(folder).open(Access::ReadOnly).unwrap();
        assert_eq!(look.state().unwrap(), state(&entries), "{when}");
    };
    sync(subject.open(folder), preparation(from_ref(&table)), vec![of("old")]);
    let refresh = Preparation { full_refresh: true, ..preparation(from_ref(&table)) };
    let mut abandoned = subject.open(folder);
    assert_eq!(abandoned.prepare(refresh.clone()).unwrap(), State::new());
    abandoned.apply(of("new")).unwrap();
    drop(abandoned);
    holds(&["old"], "abandoned before its first commit");
    sync(subject.open(folder), refresh, vec![of("new"), of("newer")]);
    holds(&["new", "newer"], "refreshed");
}

/// Where it may be null. A program that knows fewer columns goes on working.
pub fn a_new_column_comes_into_a_table_that_exists(subject: &dyn Subject) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let old = table("runs", vec![column("run_id", DataType::Text, false)], &["run_id"]);
    let write = |table: &Table, rows: &[Vec<Value>]| {
        let groups = vec![group(vec![upsert(0, table, rows, false)], &[])];
        sync(subject.open(folder), preparation(from_ref(table)), groups);
    };
    let (none, some) = (
        |id: &str| vec![id.into(), Value::Null, Value::Null, Value::Null, Value::Null],
        |id: &str| vec![id.into(), "name".into(), Value::Null, Value::Null, Value::Bool(true)],
    );
    write(&old, &[vec!["a".into()]]);
    write(&runs(), &[some("b")]);
    assert_eq!(subject.read(folder, &runs()), stored(&[none("a"), some("b")]));
    write(&old, &[vec!["b".into()], vec!["c".into()]]);
    assert_eq!(subject.read(folder, &old), stored(&[vec!["a".into()], vec!["b".into()], vec!["c".into()]]));
    assert_eq!(subject.read(folder, &runs()).len(), 3);
}

/// By the column's name, before anything is read from a source.
pub fn a_column_of_another_type_is_refused(subject: &dyn Subject) {
    let folder = tempfile::tempdir().unwrap();
    let old = [column("run_id", DataType::Text, false), column("name", DataType::Integer, true)];
    let old = table("runs", old.to_vec(), &["run_id"]);
    sync(subject.open(folder.path()), preparation(&[old]), vec![group(vec![], &[])]);
    let message = refusal(subject.open(folder.path()).prepare(preparation(&[runs()])));
    assert!(message.contains("column `name`"), "{message}");
}

/// And nothing comes after it.
pub fn a_change_of_an_unknown_table_is_a_misfit(subject: &dyn Subject) {
    let folder = tempfile::tempdir().unwrap();
    let mut destination = subject.open(folder.path());
    destination.prepare(preparation(&[metrics()])).unwrap();
    let result = destination.apply(group(vec![upsert(1, &metrics(), &[metric("a", 0, "x", 0.0)], false)], &[]));
    assert!(matches!(&result, Err(DestinationError::Failed(why)) if why.contains("table number 1")), "{result:?}");
    assert!(destination.commit().is_err() && destination.apply(Group::default()).is_err());
}
