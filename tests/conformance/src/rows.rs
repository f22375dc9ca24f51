//! `destination`: every type, nulls, deletions, and groups.

use crate::bindings::elt::connector::destination::{checkpoint, delete, upsert};
use crate::bindings::elt::connector::types::{
    Batch, Column, ColumnSchema, ColumnValues, DataType, Error, Summary, TableSchema, TextDictionary,
};
use crate::{refused, say};

pub(crate) fn schema() -> Vec<TableSchema> {
    let column = |name: &str, data_type, nullable| ColumnSchema { name: name.into(), data_type, nullable };
    vec![
        TableSchema {
            name: "events".into(),
            columns: vec![
                column("id", DataType::Text, false),
                column("step", DataType::Integer, false),
                column("flag", DataType::Boolean, true),
                column("count", DataType::Integer, true),
                column("value", DataType::Double, true),
                column("label", DataType::Text, true),
                column("body", DataType::Json, true),
                column("at", DataType::Timestamp, true),
            ],
            primary_key: vec!["id".into(), "step".into()],
        },
        TableSchema {
            name: "order".into(),
            columns: vec![column("key", DataType::Text, false), column("select", DataType::Text, true)],
            primary_key: vec!["key".into()],
        },
    ]
}

fn column(name: &str, values: ColumnValues, nulls: &[u32]) -> Column {
    Column { name: name.into(), values, nulls: nulls.into() }
}

fn texts(name: &str, values: &[&str]) -> Column {
    column(name, ColumnValues::Texts(values.iter().map(|it| (*it).to_owned()).collect()), &[])
}

fn steps(steps: &[i64]) -> Column {
    column("step", ColumnValues::Integers(steps.into()), &[])
}

fn batch(columns: Vec<Column>) -> Batch {
    Batch { columns }
}

fn patch(changes: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
    changes.iter().map(|(key, value)| ((*key).into(), value.map(Into::into))).collect()
}

/// Every type with its edges; nulls; columns left out; a key twice; an empty batch.
pub(crate) fn write() -> Result<(), Error> {
    let id = TextDictionary { keys: vec![1, 1, 1, 0], values: vec!["b".into(), "a \u{1f980}".into(), "unused".into()] };
    let jsons = ["{\"n\": 12345678901234567890.125}", "null", "\"\\u0000\"", "[]"];
    let all = batch(vec![
        column("at", ColumnValues::Timestamps(vec![-1, 0, 1_750_000_000_123_456, 253_402_300_799_999_999]), &[1]),
        column("id", ColumnValues::Dictionary(id), &[]),
        steps(&[i64::MIN, -1, i64::MAX, 0]),
        column("flag", ColumnValues::Booleans(vec![true, false, false, true]), &[2, 3]),
        column("count", ColumnValues::Integers(vec![i64::MAX, i64::MIN, 0, 9_007_199_254_740_993]), &[2]),
        column("value", ColumnValues::Doubles(vec![0.1, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE]), &[]),
        texts("label", &["", "nul \0 in it", "\u{6f22}\u{e9}\u{1f980}", "'; DROP TABLE events; --"]),
        column("body", ColumnValues::Jsons(jsons.map(Into::into).into()), &[3]),
    ]);
    upsert("events", &all).map_err(refused)?;
    let few = batch(vec![
        steps(&[1, 2, 1, 3, 4]),
        texts("id", &["c", "c", "c", "gone", "gone"]),
        texts("label", &["lost", "kept", "last", "soon", "too"]),
    ]);
    upsert("events", &few).map_err(refused)?;
    upsert("order", &batch(vec![texts("key", &[]), texts("select", &[])])).map_err(refused)?;
    upsert("order", &batch(vec![texts("key", &["x", "y", "z"]), texts("select", &["1", "2", "3"])]))
        .map_err(refused)?;
    checkpoint(&patch(&[("cursor", Some("1")), ("to go", Some("soon")), ("\u{6f22} \u{1f980}", Some(""))]))
        .map_err(refused)?;
    checkpoint(&[]).map_err(refused)
}

/// Changes what `write` wrote, in an order that matters; the last group has no checkpoint and counts all the same.
pub(crate) fn rewrite() -> Result<(), Error> {
    let more = batch(vec![texts("id", &["gone"]), steps(&[5]), texts("label", &["deleted at once"])]);
    upsert("events", &more).map_err(refused)?;
    delete("events", &batch(vec![texts("id", &["gone", "nobody"])])).map_err(refused)?;
    let again = batch(vec![texts("id", &["gone"]), steps(&[3]), texts("label", &["after the deletion"])]);
    upsert("events", &again).map_err(refused)?;
    delete("events", &batch(vec![texts("id", &["c", "b"]), steps(&[2, 7])])).map_err(refused)?;
    checkpoint(&patch(&[("cursor", Some("2")), ("to go", None), ("never set", None)])).map_err(refused)?;
    // A row is replaced whole: the column that is left out becomes null.
    upsert("order", &batch(vec![texts("key", &["y"])])).map_err(refused)?;
    delete("order", &batch(vec![texts("key", &["z"])])).map_err(refused)
}

/// Rows after the last checkpoint of a sync that fails must vanish, and those before it stay.
pub(crate) fn give_up() -> Result<Summary, Error> {
    upsert("order", &batch(vec![texts("key", &["kept"]), texts("select", &["4"])])).map_err(refused)?;
    checkpoint(&patch(&[("cursor", Some("3"))])).map_err(refused)?;
    upsert("order", &batch(vec![texts("key", &["torn"]), texts("select", &["5"])])).map_err(refused)?;
    delete("order", &batch(vec![texts("key", &["x"])])).map_err(refused)?;
    Err(Error::NotFound("gone".into()))
}

/// A table that the schema does not have.
pub(crate) fn misname() -> Result<Summary, Error> {
    let answer = upsert("nothing", &batch(vec![texts("key", &["x"])]));
    say(if answer.is_err() { "an unknown table is refused" } else { "an unknown table is taken" });
    Err(Error::Destination("refused".into()))
}
