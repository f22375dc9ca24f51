//! A history says the same by steps and by export, whatever its values are: of several kinds at any depth, non-finite, absent, nested.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use futures_util::FutureExt as _;
use history_parquet::footer::{Footer, TRAILER_BYTES, footer_length};
use history_parquet::group::{GroupReader, Ranges, ReadError, Selection};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use wandb_connector::batch::{Batch, Values};
use wandb_connector::records::filter::MetricFilter;
use wandb_connector::records::page;
use wandb_connector::records::row::History as Points;
use wandb_connector::tables;
use wandb_connector_tests::local_wandb::{History, ParquetCodec, export, unions};

struct Memory(Bytes);

impl Ranges for Memory {
    async fn read(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, ReadError> {
        Ok(ranges.iter().map(|range| self.0.slice(range.start as usize..range.end as usize)).collect())
    }
}

/// The points of the rows as they come by steps.
fn by_steps(rows: &[String]) -> Vec<String> {
    let mut points = Points::new(MetricFilter::default());
    page::graphql(&serde_json::to_string(rows).unwrap(), &mut points, 0).unwrap();
    taken(&mut points)
}

/// The points of the rows as they come from their export.
fn by_export(rows: &[String]) -> Vec<String> {
    let history = History::from_lines(rows);
    let file = Bytes::from(export::parquet(&history, 0, history.len(), ParquetCodec::Zstd).unwrap());
    let trailer = file.len() - TRAILER_BYTES;
    let length = footer_length(&file[trailer..], file.len() as u64).unwrap();
    let footer = Footer::parse(&file[trailer - length..trailer], file.len() as u64).unwrap();
    let selection = Selection::new(&footer, |_| true).unwrap();
    let (source, mut points) = (Memory(file), Points::new(MetricFilter::default()));
    for group in &footer.groups {
        let mut reader = GroupReader::new(selection.clone(), &footer, group, None).unwrap();
        while reader.load(&source).now_or_never().unwrap().unwrap() {
            while reader.step().is_some() {
                reader.emit(&mut points).unwrap();
            }
        }
    }
    taken(&mut points)
}

/// Each point as a line, sorted. Of JSON the members' order is left out, which an export does not have.
fn taken(points: &mut Points) -> Vec<String> {
    let batches = tables::of_history(points, "r");
    let mut lines: Vec<String> = batches.iter().filter_map(|(_, batch)| batch.as_ref()).flat_map(lines).collect();
    lines.sort();
    lines
}

fn lines(batch: &Batch) -> Vec<String> {
    let cell = |values: &Values, row: usize| match values {
        Values::Integers(values) | Values::Timestamps(values) => values[row].to_string(),
        Values::Doubles(values) => format!("{:?}", values[row]),
        Values::Texts(values) => values[row].clone(),
        Values::Jsons(values) => sorted(serde_json::from_str(&values[row]).unwrap()).to_string(),
        Values::Dictionary { keys, values } => values[keys[row] as usize].clone(),
    };
    let line = |row: usize| {
        let cells = batch.columns.iter().map(|column| match column.nulls.contains(&(row as u32)) {
            true => "null".to_owned(),
            false => cell(&column.values, row),
        });
        cells.collect::<Vec<_>>().join(" ")
    };
    (0..batch.rows()).map(line).collect()
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        Value::Object(members) => {
            let members: BTreeMap<String, Value> = members.into_iter().map(|(key, it)| (key, sorted(it))).collect();
            Value::Object(members.into_iter().collect())
        }
        other => other,
    }
}

/// A value of any kind. Numbers are what a double carries; null stands where it has a place, which is in lists.
fn value() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        (-9i64..9).prop_map(Value::from),
        (-1e6..1e6).prop_map(|it: f64| Value::from((it * 8.0).round() / 8.0 + 0.0625)),
    ];
    let leaf = prop_oneof![
        4 => number,
        1 => any::<bool>().prop_map(Value::from),
        1 => "[a-z0-9\\[{\"é]{0,4}".prop_map(Value::from),
        1 => prop_oneof![Just("NaN"), Just("Infinity"), Just("-Infinity")].prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let item = prop_oneof![5 => inner.clone(), 1 => Just(Value::Null)];
        let object = proptest::collection::btree_map("[a-c]", inner.clone(), 0..4);
        let object = object.prop_map(|map| Value::Object(map.into_iter().collect()));
        let media = proptest::collection::btree_map("[a-c]", inner, 0..3).prop_map(|map| {
            let mut map: Map<String, Value> = map.into_iter().collect();
            map.insert("_type".to_owned(), json!("image-file"));
            Value::Object(map)
        });
        prop_oneof![2 => proptest::collection::vec(item, 0..4).prop_map(Value::from), 2 => object, 1 => media]
    })
}

fn rows() -> impl Strategy<Value = Vec<String>> {
    let row = proptest::collection::btree_map("[k-n]", value(), 0..4);
    proptest::collection::vec(row, 1..24).prop_map(|rows| {
        let line = |(step, row): (usize, BTreeMap<String, Value>)| {
            let mut row: Map<String, Value> = row.into_iter().collect();
            row.insert("_step".to_owned(), json!(step));
            Value::Object(row).to_string()
        };
        rows.into_iter().enumerate().map(line).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn values_of_any_kinds_are_the_same_by_steps_and_by_export(rows in rows()) {
        prop_assert_eq!(by_export(&rows), by_steps(&rows));
    }
}

#[test]
fn a_metric_of_several_kinds_keeps_its_name() {
    let rows: Vec<String> = (0..200).map(|step| unions::row(step, 2)).collect();
    let points = by_export(&rows);
    assert_eq!(points, by_steps(&rows));
    assert!(points.iter().any(|line| line.contains(" loss NaN ")), "{points:?}");
    assert!(!points.iter().any(|line| line.contains("_type_")), "{points:?}");
}
