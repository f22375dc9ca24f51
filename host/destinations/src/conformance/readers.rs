//! Reading a destination to compare it with its source.

use arrow_array::RecordBatch;

use super::data::*;
use super::subject::Subject;
use crate::kind::Access;
use crate::reader::{Reader, RowSink, StoredValue};
use elt_host::{DataType, DestinationError, Table};

/// Gathers rows.
struct Gathered<'a> {
    table: &'a Table,
    rows: Vec<Vec<String>>,
    /// The key of the last row that came in order.
    last: Option<Vec<Sortable>>,
}

/// A part of a key in the order that rows come in.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
enum Sortable {
    Null,
    Integer(i64),
    Double(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl Sortable {
    fn new(value: StoredValue<'_>) -> Self {
        match value {
            StoredValue::Null => Self::Null,
            StoredValue::Integer(value) => Self::Integer(value),
            StoredValue::Double(value) => Self::Double(value),
            StoredValue::Text(value) => Self::Text(value.to_vec()),
            StoredValue::Blob(value) => Self::Blob(value.to_vec()),
        }
    }
}

fn value(value: StoredValue<'_>, data_type: DataType) -> Value {
    match value {
        StoredValue::Null => Value::Null,
        StoredValue::Integer(value) if data_type == DataType::Timestamp => Value::Time(value),
        StoredValue::Integer(value) => Value::Int(value),
        StoredValue::Double(value) => Value::Double(value),
        StoredValue::Text(value) => Value::Text(String::from_utf8(value.to_vec()).unwrap()),
        StoredValue::Blob(value) => panic!("a blob of {} bytes", value.len()),
    }
}

impl RowSink for Gathered<'_> {
    fn in_order(&mut self, row: &[StoredValue<'_>]) -> Result<(), DestinationError> {
        let key = self.table.primary_key();
        let rest = (0..self.table.columns().len()).filter(|index| !key.contains(index));
        let columns: Vec<usize> = key.iter().copied().chain(rest).collect();
        assert_eq!(row.len(), columns.len());
        let here: Vec<_> = row[..key.len()].iter().map(|part| Sortable::new(*part)).collect();
        assert!(self.last.as_ref().is_none_or(|last| *last < here), "{:?}, then {here:?}", self.last);
        self.last = Some(here);
        let mut cells = vec![String::new(); columns.len()];
        for (part, column) in row.iter().zip(columns) {
            cells[column] = shown(&value(*part, self.table.columns()[column].data_type));
        }
        self.rows.push(cells);
        Ok(())
    }

    fn unordered(&mut self, rows: &RecordBatch) -> Result<(), DestinationError> {
        let names: Vec<_> = rows.schema().fields().iter().map(|field| field.name().clone()).collect();
        let expected: Vec<_> = self.table.columns().iter().map(|column| column.name.clone()).collect();
        assert_eq!(names, expected);
        self.rows.extend(rows_of(self.table, rows));
        Ok(())
    }
}

fn read(reader: &dyn Reader, table: &Table) -> Contents {
    let mut gathered = Gathered { table, rows: Vec::new(), last: None };
    reader.scan(table, &mut gathered).unwrap();
    contents(gathered.rows)
}

/// What an independent reader finds, and the state.
pub fn a_reader_hands_out_what_is_stored(subject: &dyn Subject) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let names = ["", "a", "B", "é", "a\0b", "aa"];
    let rows: Vec<_> = names
        .iter()
        .flat_map(|run| [3, -1, 200].map(|step| metric(run, step, "loss", step as f64 / 3.0)))
        .chain([metric("nan", 0, "loss", f64::NAN), metric("nan", 1, "loss", -0.0)])
        .collect();
    let run = vec!["a".into(), Value::Null, Value::Time(5), "{}".into(), Value::Bool(true)];
    let changes = vec![upsert(0, &metrics(), &rows, true), upsert(1, &runs(), &[run], false)];
    let patch = [("a", Some("1"))];
    sync(subject.open(folder), preparation(&[metrics(), runs()]), vec![group(changes, &patch)]);
    let reader = subject.url(folder).reader().unwrap().unwrap();
    assert_eq!(reader.state().unwrap(), state(&[("a", "1")]));
    for table in [metrics(), runs()] {
        let found = read(reader.as_ref(), &table);
        assert_eq!(found, subject.read(folder, &table));
        assert!(!found.is_empty());
    }
    let other = table("others", vec![column("id", DataType::Text, false)], &["id"]);
    assert_eq!(read(reader.as_ref(), &other), Contents::new(), "there is no such table");
    assert_eq!(reader.lost_tables(&[metrics(), runs()]).unwrap(), []);
    reader.check_unchanged().unwrap();
}

/// And is kept away by one.
pub fn a_reader_keeps_syncs_away(subject: &dyn Subject) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    sync(subject.open(folder), preparation(&[runs()]), vec![group(vec![], &[("a", Some("1"))])]);
    let url = subject.url(folder);
    let reader = url.reader().unwrap();
    let message = refusal(url.open(Access::ReadWrite));
    assert!(message.contains("a verification is reading it"), "{message}");
    drop(reader);
    let writing = subject.open(folder);
    refusal(url.reader().map(drop));
    drop(writing);
    assert!(url.reader().unwrap().is_some());
}

/// For a kind that keeps nothing.
pub fn there_is_nothing_to_read(subject: &dyn Subject) {
    let folder = tempfile::tempdir().unwrap();
    assert!(subject.url(folder.path()).reader().unwrap().is_none());
}
