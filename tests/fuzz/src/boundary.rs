//! Batches at the boundary between guest and host.

use arrow_array::{Array, RecordBatch};
use elt_host::test_support::boundary::Batch;
use elt_host::test_support::boundary::BatchError;
use elt_host::test_support::boundary::Column as GuestColumn;
use elt_host::test_support::boundary::ColumnValues;
use elt_host::test_support::boundary::TextDictionary;
use elt_host::test_support::boundary::keys;
use elt_host::test_support::boundary::rows;
use elt_host::{Column, DataType, Table};
use serde::de::IgnoredAny;

use crate::rows::TIMESTAMPS;

/// What a batch may take.
const MOST_BYTES: usize = 1 << 20;

/// A guest's batch is taken exactly when it keeps the contract, and then is a record batch in which Arrow finds no fault.
pub fn host_batch(bytes: &[u8]) {
    let table = table();
    let batch = Reader(bytes).batch();
    let expected = contract(&table, &batch);
    match rows(&table, batch.clone(), MOST_BYTES) {
        Ok(taken) => {
            assert!(expected, "a batch that breaks the contract was taken: {batch:?}");
            assert_eq!(taken.as_ref().map_or(0, RecordBatch::num_rows), batch.columns.first().map_or(0, length));
            if let Some(taken) = taken {
                assert_eq!(taken.num_columns(), table.columns().len());
                check(&table, &taken);
            }
        }
        Err(BatchError::TooLarge(bytes)) => assert!(bytes > MOST_BYTES),
        Err(BatchError::Invalid(why)) => assert!(!expected, "{why}: {batch:?}"),
    }
    if let Ok(Some(taken)) = keys(&table, batch, MOST_BYTES) {
        assert!((1..=table.primary_key().len()).contains(&taken.num_columns()));
        check(&table, &taken);
    }
}

fn check(table: &Table, batch: &RecordBatch) {
    for (array, field) in batch.columns().iter().zip(batch.schema().fields()) {
        array.to_data().validate_full().unwrap_or_else(|why| panic!("{}: {why}", field.name()));
        let column = table.columns().iter().find(|column| column.name == *field.name()).expect("a column of the table");
        assert_eq!((array.len(), field.is_nullable()), (batch.num_rows(), column.nullable));
        assert!(column.nullable || array.logical_null_count() == 0, "{} has nulls", column.name);
    }
}

fn table() -> Table {
    let column = |name: &str, data_type, nullable| Column { name: name.into(), data_type, nullable };
    let columns = vec![
        column("run_id", DataType::Text, false),
        column("step", DataType::Integer, false),
        column("value", DataType::Double, true),
        column("note", DataType::Json, true),
        column("at", DataType::Timestamp, true),
        column("ok", DataType::Boolean, true),
        column("name", DataType::Text, true),
    ];
    Table::new("metrics".into(), columns, &["run_id".into(), "step".into()]).expect("a valid table")
}

fn length(column: &GuestColumn) -> usize {
    match &column.values {
        ColumnValues::Booleans(values) => values.len(),
        ColumnValues::Integers(values) | ColumnValues::Timestamps(values) => values.len(),
        ColumnValues::Doubles(values) => values.len(),
        ColumnValues::Texts(values) | ColumnValues::Jsons(values) => values.len(),
        ColumnValues::Dictionary(dictionary) => dictionary.keys.len(),
    }
}

/// What `wit/types.wit` asks of a batch of `table`, written down a second time.
fn contract(table: &Table, batch: &Batch) -> bool {
    let Some(rows) = batch.columns.first().map(length) else {
        return true;
    };
    let named = |name: &str| batch.columns.iter().filter(|column| column.name == name).count();
    let known = |column: &GuestColumn| table.columns().iter().find(|known| known.name == column.name);
    let complete =
        table.columns().iter().all(|column| named(&column.name) <= 1 && (column.nullable || named(&column.name) == 1));
    let shaped = batch
        .columns
        .iter()
        .all(|column| known(column).is_some() && named(&column.name) == 1 && length(column) == rows);
    // Of no rows nothing else can be wrong.
    shaped
        && (rows == 0
            || (complete
                && batch.columns.iter().all(|column| known(column).is_some_and(|known| values(known, column, rows)))))
}

fn values(known: &Column, given: &GuestColumn, rows: usize) -> bool {
    let nulls = &given.nulls;
    let ascending = nulls.windows(2).all(|pair| pair[0] < pair[1]);
    if !ascending || nulls.last().is_some_and(|last| *last as usize >= rows) || !(nulls.is_empty() || known.nullable) {
        return false;
    }
    let is_value = |row: usize| !nulls.contains(&(row as u32));
    match (known.data_type, &given.values) {
        (DataType::Boolean, ColumnValues::Booleans(_))
        | (DataType::Integer, ColumnValues::Integers(_))
        | (DataType::Double, ColumnValues::Doubles(_))
        | (DataType::Text, ColumnValues::Texts(_)) => true,
        (DataType::Text, ColumnValues::Dictionary(TextDictionary { keys, values })) => {
            keys.iter().enumerate().all(|(row, key)| !is_value(row) || (*key as usize) < values.len())
        }
        (DataType::Json, ColumnValues::Jsons(values)) => {
            let is_json = |text: &str| serde_json::from_str::<IgnoredAny>(text).is_ok();
            values.iter().enumerate().all(|(row, text)| !is_value(row) || is_json(text))
        }
        (DataType::Timestamp, ColumnValues::Timestamps(values)) => {
            values.iter().enumerate().all(|(row, time)| !is_value(row) || TIMESTAMPS.contains(time))
        }
        _ => false,
    }
}

/// Takes bytes for choices; when they are used up, all is 0.
struct Reader<'b>(&'b [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn list<T>(&mut self, length: usize, element: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..length).map(|_| element(self)).collect()
    }

    /// Mostly small, sometimes far too large.
    fn index(&mut self) -> u32 {
        match self.byte() {
            255 => u32::MAX,
            254 => 1 << 24,
            small => u32::from(small),
        }
    }

    fn integer(&mut self) -> i64 {
        match self.byte() {
            255 => i64::MIN,
            254 => i64::MAX,
            253 => *TIMESTAMPS.end(),
            252 => *TIMESTAMPS.end() + 1,
            251 => *TIMESTAMPS.start(),
            250 => *TIMESTAMPS.start() - 1,
            small => i64::from(small),
        }
    }

    fn text(&mut self) -> String {
        let texts =
            ["", "r1", "é漢🙂", "\0", "{\"a\":[1e999]}", "{\"a\":", "NaN", "null", "[[[[]]]]", "\"\\ud83e\"", "-", "1"];
        texts[self.byte() as usize % texts.len()].to_owned()
    }

    fn batch(&mut self) -> Batch {
        let rows = self.byte() as usize % 9;
        let count = self.byte() as usize % 10;
        Batch { columns: self.list(count, |reader| reader.column(rows)) }
    }

    fn column(&mut self, rows: usize) -> GuestColumn {
        let names = ["run_id", "step", "value", "note", "at", "ok", "name", "RUN_ID", "", "_synced_at"];
        let name = self.byte() as usize;
        let kind = self.byte() as usize;
        // Ragged now and then.
        let rows = if kind >= 224 { rows + 1 } else { rows };
        // Mostly the type that the name asks for.
        let kind = if kind.is_multiple_of(4) { kind / 4 } else { name % names.len() };
        let values = match kind % 8 {
            0 => ColumnValues::Texts(self.list(rows, Self::text)),
            1 => ColumnValues::Integers(self.list(rows, Self::integer)),
            2 => ColumnValues::Doubles(self.list(rows, |reader| f64::from_bits((reader.integer() as u64) << 52))),
            3 => ColumnValues::Jsons(self.list(rows, Self::text)),
            4 => ColumnValues::Timestamps(self.list(rows, Self::integer)),
            5 => ColumnValues::Booleans(self.list(rows, |reader| reader.byte() & 1 == 1)),
            _ => {
                let keys = self.list(rows, Self::index);
                let count = self.byte() as usize % 5;
                ColumnValues::Dictionary(TextDictionary { keys, values: self.list(count, Self::text) })
            }
        };
        let nulls = (self.byte() as usize).saturating_sub(192) % 5;
        GuestColumn { name: names[name % names.len()].to_owned(), values, nulls: self.list(nulls, Self::index) }
    }
}
