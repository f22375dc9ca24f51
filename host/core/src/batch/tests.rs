//! Batches as an honest connector sends them, and as a hostile one does.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use proptest::prelude::*;

use super::*;

const MANY: usize = 1 << 20;

fn table() -> Table {
    let column = |name: &str, data_type, nullable| Column { name: name.into(), data_type, nullable };
    let columns = vec![
        column("run_id", DataType::Text, false),
        column("step", DataType::Integer, false),
        column("value", DataType::Double, true),
        column("note", DataType::Json, true),
        column("at", DataType::Timestamp, true),
        column("ok", DataType::Boolean, true),
        column("name", DataType::Text, false),
    ];
    Table::new("metrics".into(), columns, &["run_id".into(), "step".into()]).unwrap()
}

fn column(name: &str, values: ColumnValues, nulls: &[u32]) -> GuestColumn {
    GuestColumn { name: name.into(), values, nulls: nulls.into() }
}

fn texts_of(values: &[&str]) -> ColumnValues {
    ColumnValues::Texts(values.iter().map(|&text| text.to_owned()).collect())
}

fn words(keys: &[u32], values: &[&str]) -> ColumnValues {
    ColumnValues::Dictionary(TextDictionary {
        keys: keys.into(),
        values: values.iter().map(|&text| text.into()).collect(),
    })
}

/// Two rows that are right.
fn honest() -> Vec<GuestColumn> {
    vec![
        column("name", words(&[1, 0], &["a", "b"]), &[]),
        column("run_id", texts_of(&["r1", "r2"]), &[]),
        column("step", ColumnValues::Integers(vec![5, 6]), &[]),
        column("value", ColumnValues::Doubles(vec![f64::NAN, 1.5]), &[1]),
        column("note", ColumnValues::Jsons(vec!["not looked at".into(), "{\"a\":[1e999]}".into()]), &[0]),
        column("at", ColumnValues::Timestamps(vec![i64::MIN, 0]), &[0]),
    ]
}

fn with(replaced: GuestColumn) -> Vec<GuestColumn> {
    let mut columns: Vec<_> = honest().into_iter().filter(|column| column.name != replaced.name).collect();
    columns.push(replaced);
    columns
}

fn upsert(columns: Vec<GuestColumn>) -> Result<Option<RecordBatch>, BatchError> {
    rows(&table(), Batch { columns }, MANY)
}

fn complaint(columns: Vec<GuestColumn>) -> String {
    upsert(columns).unwrap_err().to_string()
}

#[test]
fn an_honest_batch_has_every_column_in_the_tables_order() {
    let batch = upsert(honest()).unwrap().unwrap();
    let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["run_id", "step", "value", "note", "at", "ok", "name"]);
    assert_eq!(batch.column(0).as_string::<i32>().value(1), "r2");
    assert_eq!(batch.column(1).as_primitive::<Int64Type>().values(), &[5, 6]);
    let values = batch.column(2).as_primitive::<Float64Type>();
    assert!(values.value(0).is_nan() && values.is_null(1));
    let notes = batch.column(3).as_string::<i32>();
    assert_eq!((notes.is_null(0), notes.value(0), notes.value(1)), (true, "", "{\"a\":[1e999]}"));
    let at = batch.column(4).as_primitive::<TimestampMicrosecondType>();
    assert_eq!((at.is_null(0), at.values()), (true, &vec![0, 0].into()));
    assert_eq!(batch.column(5).null_count(), 2);
    let name = batch.column(6).as_dictionary::<UInt32Type>();
    assert_eq!(name.downcast_dict::<StringArray>().unwrap().into_iter().collect::<Vec<_>>(), [Some("b"), Some("a")]);
}

#[test]
fn numbers_are_taken_over_without_a_copy() {
    let values = vec![1.0; 1000];
    let place = values.as_ptr();
    let step = ColumnValues::Integers(vec![0; 1000]);
    let columns = vec![
        column("value", ColumnValues::Doubles(values), &[]),
        column("step", step, &[]),
        column("run_id", words(&[0; 1000], &["r"]), &[]),
        column("name", words(&[0; 1000], &["n"]), &[]),
    ];
    let batch = upsert(columns).unwrap().unwrap();
    assert_eq!(batch.column(2).as_primitive::<Float64Type>().values().as_ptr(), place);
}

#[test]
fn an_empty_batch_is_nothing() {
    assert_eq!(upsert(vec![]), Ok(None));
    assert_eq!(upsert(vec![column("step", ColumnValues::Integers(vec![]), &[])]), Ok(None));
    assert_eq!(keys(&table(), Batch { columns: vec![] }, MANY), Ok(None));
}

#[test]
fn every_breach_of_the_contract_is_named() {
    let without = |name: &str| honest().into_iter().filter(|column| column.name != name).collect::<Vec<_>>();
    let twice = [honest(), vec![column("step", ColumnValues::Integers(vec![0, 0]), &[])]].concat();
    let integers = ColumnValues::Integers;
    let cases: Vec<(Vec<GuestColumn>, &str)> = vec![
        (with(column("step", integers(vec![1]), &[])), "differ in length"),
        (with(column("step", integers(vec![1, 2, 3]), &[])), "differ in length"),
        (with(column("steps", integers(vec![1, 2]), &[])), "there is no column `steps`"),
        (twice, "given twice"),
        (without("step"), "can't be null and is missing"),
        (without("name"), "can't be null and is missing"),
        (with(column("step", integers(vec![1, 2]), &[0])), "can't be null, and a row is"),
        (with(column("name", texts_of(&["a", "b"]), &[1])), "can't be null, and a row is"),
        (with(column("value", ColumnValues::Doubles(vec![0.0; 2]), &[2])), "there are only 2 rows"),
        (with(column("value", ColumnValues::Doubles(vec![0.0; 2]), &[u32::MAX])), "there are only 2 rows"),
        (with(column("value", ColumnValues::Doubles(vec![0.0; 2]), &[1, 0])), "do not ascend"),
        (with(column("value", ColumnValues::Doubles(vec![0.0; 2]), &[1, 1])), "do not ascend"),
        (with(column("value", integers(vec![1, 2]), &[])), "another type of values"),
        (with(column("step", ColumnValues::Timestamps(vec![1, 2]), &[])), "another type of values"),
        (with(column("note", texts_of(&["1", "2"]), &[])), "another type of values"),
        (with(column("name", words(&[0, 2], &["a", "b"]), &[])), "past the end of the dictionary"),
        (with(column("name", words(&[0, u32::MAX], &["a"]), &[])), "past the end of the dictionary"),
        (with(column("name", words(&[0, 0], &[]), &[])), "past the end of the dictionary"),
        (with(column("note", ColumnValues::Jsons(vec!["{}".into(), "{".into()]), &[])), "row 1 is no valid JSON"),
        (with(column("note", ColumnValues::Jsons(vec!["NaN".into(), "1".into()]), &[])), "row 0 is no valid JSON"),
        (with(column("note", ColumnValues::Jsons(vec![String::new(), "1".into()]), &[])), "row 0 is no valid JSON"),
        (with(column("at", ColumnValues::Timestamps(vec![0, i64::MAX]), &[])), "outside of the years"),
        (with(column("at", ColumnValues::Timestamps(vec![TIMESTAMPS.start() - 1, 0]), &[])), "outside of the years"),
    ];
    for (columns, expected) in cases {
        let complaint = complaint(columns);
        assert!(complaint.contains(expected) && complaint.contains("`metrics`"), "{expected}: {complaint}");
    }
}

#[test]
fn the_first_and_the_last_timestamp_are_allowed() {
    assert!(
        upsert(with(column("at", ColumnValues::Timestamps(vec![*TIMESTAMPS.start(), *TIMESTAMPS.end()]), &[]))).is_ok()
    );
}

#[test]
fn deeply_nested_json_does_not_exhaust_the_stack() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    assert!(upsert(with(column("note", ColumnValues::Jsons(vec![deep, "0".into()]), &[]))).is_ok());
    let open = "[".repeat(200_000);
    assert!(upsert(with(column("note", ColumnValues::Jsons(vec![open, "0".into()]), &[]))).is_err());
}

#[test]
fn a_batch_above_its_limit_is_not_converted() {
    let columns = with(column("name", texts_of(&["x".repeat(600).as_str(), "y"]), &[]));
    assert!(matches!(rows(&table(), Batch { columns }, 500), Err(BatchError::TooLarge(600..))));
}

#[test]
fn a_long_name_is_cut_in_the_complaint() {
    assert!(complaint(with(column(&"x".repeat(10_000), ColumnValues::Integers(vec![1, 2]), &[]))).len() < 300);
}

#[test]
fn deletions_take_a_leading_part_of_the_key() {
    let run = || column("run_id", texts_of(&["r1", "r2"]), &[]);
    let step = || column("step", ColumnValues::Integers(vec![1, 2]), &[]);
    let delete = |columns| keys(&table(), Batch { columns }, MANY);
    let names =
        |batch: &RecordBatch| batch.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    assert_eq!(names(&delete(vec![run()]).unwrap().unwrap()), ["run_id"]);
    assert_eq!(names(&delete(vec![step(), run()]).unwrap().unwrap()), ["run_id", "step"]);
    let value = column("value", ColumnValues::Doubles(vec![0.0; 2]), &[]);
    for wrong in [vec![step()], vec![run(), value]] {
        assert!(delete(wrong).unwrap_err().to_string().contains("leading part"));
    }
    assert!(delete(vec![column("run_id", texts_of(&["r1", "r2"]), &[0])]).unwrap_err().to_string().contains("null"));
}

fn any_values() -> impl Strategy<Value = ColumnValues> {
    let size = 0..6_usize;
    let text = || prop_oneof![Just(String::new()), Just("{}".into()), "\\PC{0,5}", Just("\0".into())];
    prop_oneof![
        prop::collection::vec(any::<bool>(), size.clone()).prop_map(ColumnValues::Booleans),
        prop::collection::vec(any::<i64>(), size.clone()).prop_map(ColumnValues::Integers),
        prop::collection::vec(any::<i64>(), size.clone()).prop_map(ColumnValues::Timestamps),
        prop::collection::vec(0..4_i64, size.clone()).prop_map(ColumnValues::Timestamps),
        prop::collection::vec(any::<f64>(), size.clone()).prop_map(ColumnValues::Doubles),
        prop::collection::vec(text(), size.clone()).prop_map(ColumnValues::Texts),
        prop::collection::vec(text(), size.clone()).prop_map(ColumnValues::Jsons),
        (prop::collection::vec(0..3_u32, size.clone()), prop::collection::vec(text(), size))
            .prop_map(|(keys, values)| ColumnValues::Dictionary(TextDictionary { keys, values })),
    ]
}

fn any_column() -> impl Strategy<Value = GuestColumn> {
    let names = prop::sample::select(vec!["run_id", "step", "value", "note", "at", "ok", "name", "", "_synced_at"]);
    let nulls = prop_oneof![
        3 => Just(vec![]),
        2 => prop::collection::btree_set(0..6_u32, 0..4).prop_map(|set| set.into_iter().collect()),
        1 => prop::collection::vec(any::<u32>(), 0..3),
    ];
    (names, any_values(), nulls).prop_map(|(name, values, nulls)| GuestColumn { name: name.into(), values, nulls })
}

/// Columns of the right names and types, so that many are accepted.
fn plausible() -> impl Strategy<Value = Vec<GuestColumn>> {
    (0..5_usize).prop_flat_map(|rows| {
        let nulls = || prop::collection::btree_set(0..6_u32, 0..3).prop_map(|set| set.into_iter().collect::<Vec<_>>());
        let texts = prop::collection::vec("\\PC{0,3}", rows).prop_map(ColumnValues::Texts);
        let steps = prop::collection::vec(any::<i64>(), rows).prop_map(ColumnValues::Integers);
        let names = (prop::collection::vec(0..3_u32, rows), prop::collection::vec("[ab]", 1..4))
            .prop_map(|(keys, values)| ColumnValues::Dictionary(TextDictionary { keys, values }));
        let values = (prop::collection::vec(any::<f64>(), rows), nulls());
        (texts, steps, names, values).prop_map(|(texts, steps, names, (values, nulls))| {
            vec![
                column("run_id", texts, &[]),
                column("step", steps, &[]),
                column("name", names, &[]),
                column("value", ColumnValues::Doubles(values), &nulls),
            ]
        })
    })
}

/// What the rest of the host relies on.
fn assert_sound(batch: &RecordBatch, table: &Table) {
    assert!(batch.num_rows() > 0);
    for array in batch.columns() {
        assert_eq!(array.len(), batch.num_rows());
        array.to_data().validate_full().unwrap();
    }
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
        let column = table.columns().iter().find(|column| column.name == *field.name()).unwrap();
        assert!(column.nullable || array.null_count() == 0, "{}", column.name);
        let dictionary = matches!(field.data_type(), ArrowType::Dictionary(..)) && column.data_type == DataType::Text;
        assert!(dictionary || *field.data_type() == column.data_type.arrow(), "{}", column.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_a_guest_sends_is_sound_or_refused(
        columns in prop_oneof![prop::collection::vec(any_column(), 0..8), plausible()],
    ) {
        let table = table();
        if let Ok(Some(batch)) = rows(&table, Batch { columns: columns.clone() }, MANY) {
            prop_assert_eq!(batch.num_columns(), table.columns().len());
            assert_sound(&batch, &table);
        }
        if let Ok(Some(batch)) = keys(&table, Batch { columns }, MANY) {
            prop_assert!((1..=2).contains(&batch.num_columns()));
            assert_sound(&batch, &table);
        }
    }
}
