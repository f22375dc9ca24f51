use arrow_array::types::UInt32Type;
use arrow_array::{
    ArrayRef, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow_schema::Schema;

use super::*;
use crate::commands::schema::tests::metrics;

fn group(steps: std::ops::Range<i64>) -> Group {
    let n = steps.clone().count();
    let ids: DictionaryArray<UInt32Type> = std::iter::repeat_n("run\u{1b}1", n).collect();
    let values = steps.clone().map(|step| match step {
        0 => Some(f64::NAN),
        1 => None,
        _ => Some(0.5),
    });
    let jsons = std::iter::repeat_n(Some("{\"big\": 12345678901234567890123,\n \"x\": 1.0}"), n);
    let times = std::iter::repeat_n(1_750_000_000_000_000, n);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("run_id", Arc::new(ids)),
        ("step", Arc::new(Int64Array::from_iter_values(steps))),
        ("metric_value", Arc::new(values.collect::<Float64Array>())),
        ("value_json", Arc::new(jsons.collect::<StringArray>())),
        ("timestamp", Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))),
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    Group { changes: vec![Change::Upsert { table: 0, rows }], patch: Vec::new() }
}

fn empty_group() -> Group {
    let changes = vec![Change::Delete { table: 0, keys: RecordBatch::new_empty(Arc::new(Schema::empty())) }];
    Group { changes, patch: Vec::new() }
}

fn preview(rows: usize, only: Option<&str>) -> Preview {
    let kept = Kept::new(rows, only.map(String::from));
    Preview { kept: Arc::new(Mutex::new(kept)), enough: CancellationToken::new() }
}

fn preparation() -> Preparation {
    Preparation { tables: vec![metrics()], synced_at: 0, full_refresh: false }
}

#[test]
fn the_first_rows_are_kept_and_then_the_sync_ends() {
    let mut preview = preview(3, None);
    assert!(preview.prepare(preparation()).unwrap().is_empty());
    preview.apply(group(0..2)).unwrap();
    assert!(!preview.enough.is_cancelled());
    preview.apply(group(2..9)).unwrap();
    assert!(preview.enough.is_cancelled());
    preview.apply(group(9..12)).unwrap();
    let kept = preview.kept.lock().unwrap();
    insta::assert_snapshot!(kept.text(), @r#"
    metrics (3 rows)
    run_id     | step | metric_value | value_json                               | timestamp
    -----------+------+--------------+------------------------------------------+----------------------------
    run\u{1b}1 |    0 |          NaN | {"big": 12345678901234567890123,\n "x":… | 2025-06-15T15:06:40.000000Z
    run\u{1b}1 |    1 |              | {"big": 12345678901234567890123,\n "x":… | 2025-06-15T15:06:40.000000Z
    run\u{1b}1 |    2 |          0.5 | {"big": 12345678901234567890123,\n "x":… | 2025-06-15T15:06:40.000000Z
    "#);
    insta::assert_snapshot!(kept.json(), @r#"
    {"table":"metrics","row":{"run_id":"run\u001b1","step":0,"metric_value":"NaN","value_json":{"big": 12345678901234567890123,  "x": 1.0},"timestamp":"2025-06-15T15:06:40.000000Z"}}
    {"table":"metrics","row":{"run_id":"run\u001b1","step":1,"metric_value":null,"value_json":{"big": 12345678901234567890123,  "x": 1.0},"timestamp":"2025-06-15T15:06:40.000000Z"}}
    {"table":"metrics","row":{"run_id":"run\u001b1","step":2,"metric_value":0.5,"value_json":{"big": 12345678901234567890123,  "x": 1.0},"timestamp":"2025-06-15T15:06:40.000000Z"}}
    "#);
    for line in kept.json().lines() {
        serde_json::from_str::<Value>(line).unwrap();
    }
}

#[test]
fn a_table_that_never_fills_does_not_read_the_whole_project() {
    let mut preview = preview(100, None);
    preview.prepare(preparation()).unwrap();
    preview.apply(group(0..2)).unwrap();
    let mut groups = 0;
    while !preview.enough.is_cancelled() {
        preview.apply(empty_group()).unwrap();
        groups += 1;
    }
    assert_eq!(groups, PATIENCE);
}
