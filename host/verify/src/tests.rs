use arrow_array::{Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use proptest::prelude::*;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use std::sync::Arc;

use super::digest::Digester;
use super::known::{Known, seed};
use elt_destinations::reader::{Encoding, StoredValue, exact};
use elt_destinations::sqlite;
use elt_host::state::{ItemKeys, StateKeys};
use elt_host::{Column, DataType, State, Table};

const SQLITE: Encoding = sqlite::reader::encode;
const EXACT: Encoding = exact;

fn keys() -> StateKeys {
    let items = ItemKeys {
        prefix: "jobs/".into(),
        version: "version".into(),
        deleted: Some("deleted".into()),
        unread: Some("seen".into()),
        next: Some("next_step".into()),
        tables: Vec::new(),
    };
    StateKeys { source: Some("source".into()), items: Some(items), ..StateKeys::default() }
}

fn table() -> Table {
    let column = |name: &str, data_type, nullable| Column { name: name.to_owned(), data_type, nullable };
    let columns = vec![
        column("id", DataType::Text, false),
        column("value", DataType::Double, true),
        column("body", DataType::Json, true),
        column("at", DataType::Timestamp, true),
    ];
    Table::new("events".to_owned(), columns, &["id".to_owned()]).unwrap()
}

/// What SQLite gives back, as its reader does.
fn value(value: ValueRef<'_>) -> StoredValue<'_> {
    match value {
        ValueRef::Null => StoredValue::Null,
        ValueRef::Integer(value) => StoredValue::Integer(value),
        ValueRef::Real(value) => StoredValue::Double(value),
        ValueRef::Text(value) => StoredValue::Text(value),
        ValueRef::Blob(value) => StoredValue::Blob(value),
    }
}

type Values = (Option<f64>, Option<String>, Option<i64>);

fn batch(values: &[Values]) -> RecordBatch {
    let id: StringArray = values.iter().map(|_| Some("a")).collect();
    let value: Float64Array = values.iter().map(|row| row.0).collect();
    let body: StringArray = values.iter().map(|row| row.1.as_deref()).collect();
    let at: TimestampMicrosecondArray = values.iter().map(|row| row.2).collect();
    let arrays =
        vec![Arc::new(id) as _, Arc::new(value) as _, Arc::new(body) as _, Arc::new(at.with_timezone("UTC")) as _];
    RecordBatch::try_new(table().arrow_schema(), arrays).unwrap()
}

fn digests(encoding: Encoding, values: &[Values]) -> Vec<[i64; 2]> {
    Digester::new(encoding).batch(&table(), &batch(values)).unwrap()
}

/// The digest of values that went through SQLite.
fn stored(values: &Values) -> [i64; 2] {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch("CREATE TABLE events(value REAL, body TEXT, at TEXT)").unwrap();
    let at = values.2.map(|at| elt_destinations::timestamp::TimestampText::new().of(at).to_owned());
    connection.execute("INSERT INTO events VALUES (?1, ?2, ?3)", (values.0, &values.1, at)).unwrap();
    let read = |row: &rusqlite::Row<'_>| {
        let types = [DataType::Double, DataType::Json, DataType::Timestamp];
        let values: Vec<_> =
            types.into_iter().enumerate().map(|(column, of)| (value(row.get_ref(column).unwrap()), of)).collect();
        Ok(Digester::new(SQLITE).stored(values.into_iter()))
    };
    connection.query_row("SELECT * FROM events", [], read).unwrap()
}

#[test]
fn values_that_are_not_the_same_have_other_digests() {
    let text = |text: &str| Some(text.to_owned());
    let rows = [
        (None, None, None),
        (Some(0.0), None, None),
        (Some(1.0), None, None),
        (Some(f64::from_bits(1.0_f64.to_bits() + 1)), None, None),
        (Some(f64::INFINITY), None, None),
        (None, text(""), None),
        (None, text("0"), None),
        (None, text("00"), None),
        (None, text("\"0\""), None),
        (None, text("[0]"), None),
        (None, text("\0"), None),
        (None, None, Some(0)),
        (None, None, Some(1)),
    ];
    for (name, encoding) in [("SQLite", SQLITE), ("exact", EXACT)] {
        let distinct: std::collections::BTreeSet<_> = digests(encoding, &rows).into_iter().collect();
        assert_eq!(distinct.len(), rows.len(), "{name}");
    }
}

#[test]
fn what_a_destination_cannot_tell_apart_is_the_same_to_it_alone() {
    for (a, b) in [(Some(f64::NAN), None), (Some(-0.0), Some(0.0))] {
        let rows = [(a, None, None), (b, None, None)];
        let [a, b] = digests(SQLITE, &rows)[..] else { panic!() };
        assert_eq!(a, b);
        let [a, b] = digests(EXACT, &rows)[..] else { panic!() };
        assert_ne!(a, b);
    }
    let nans = [(Some(f64::NAN), None, None), (Some(-f64::NAN), None, None)];
    assert_eq!(digests(EXACT, &nans)[0], digests(EXACT, &nans)[1]);
}

proptest! {
    #[test]
    fn a_row_has_the_same_digest_before_and_after_sqlite(
        bits in any::<u64>(), has in any::<[bool; 3]>(), body in "[\u{0}-\u{ff}]{0,8}", at in -60_000_000_000_000_000i64..250_000_000_000_000_000,
    ) {
        let row = (has[0].then(|| f64::from_bits(bits)), has[1].then_some(body), has[2].then_some(at));
        prop_assert_eq!(digests(SQLITE, std::slice::from_ref(&row))[0], stored(&row));
    }
}

fn state(entries: &[(&str, &str)]) -> State {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_source_is_read_with_every_item_named_and_none_known() {
    let stored = state(&[("source", "acme/demo"), ("newest", "2025"), ("jobs/a", r#"{"version":"1"}"#)]);
    assert_eq!(seed(&stored, &keys()), state(&[("source", "acme/demo"), ("jobs/a", "{}")]));
}

#[test]
fn an_item_is_known_by_what_both_states_say_of_it() {
    let before = state(&[
        ("jobs/same", r#"{"version":"1","next_step":10}"#),
        ("jobs/grown", r#"{"version":"1","next_step":10}"#),
        ("jobs/partly", r#"{"next_step":4}"#),
        ("jobs/gone", r#"{"version":"1"}"#),
        ("jobs/back", r#"{"version":"1","deleted":"2025"}"#),
        ("jobs/odd", "no JSON"),
        ("jobs/unread", r#"{"version":"1"}"#),
    ]);
    let after = state(&[
        ("jobs/same", r#"{"version":"1"}"#),
        ("jobs/grown", r#"{"version":"2"}"#),
        ("jobs/partly", r#"{"version":"2"}"#),
        ("jobs/gone", r#"{"deleted":"2025"}"#),
        ("jobs/back", r#"{"version":"1"}"#),
        ("jobs/odd", r#"{"version":"1"}"#),
        ("jobs/unread", "{}"),
        ("jobs/new", r#"{"version":"1"}"#),
    ]);
    let known = Known::new(&before, &after, vec![("bad".into(), "502".into())], &keys());
    let facts = |id: &str| {
        let item = known.item(id);
        (item.is_stored, item.was_read, item.is_deleted, item.changed_since, item.complete_below)
    };
    assert_eq!(facts("same"), (true, true, false, false, Some(9)));
    assert_eq!(facts("grown"), (true, true, false, true, Some(9)));
    assert_eq!(facts("partly"), (true, true, false, true, Some(3)));
    assert_eq!(facts("gone"), (true, false, true, true, None));
    assert_eq!(facts("back"), (true, true, false, true, None));
    assert_eq!(facts("odd"), (true, true, false, true, None));
    assert_eq!(facts("unread"), (true, false, false, true, None));
    assert_eq!(facts("new"), (false, true, false, true, None));
    assert_eq!(facts("by hand"), (false, false, false, true, None));
    assert_eq!(known.quarantine("bad").map(String::as_str), Some("502"));
    assert_eq!(known.ids().count(), 9);
}
