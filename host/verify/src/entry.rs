//! Keys and digests of rows, and their order.

use std::borrow::Cow;
use std::cmp::Ordering;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Rows, Statement};
use serde_json::Value;

use super::RowKey;
use super::scratch::{self, DIGEST};
use elt_destinations::reader::StoredValue;
use elt_destinations::sqlite::schema::quote;
use elt_host::{Error, Table};

/// A row's key and digest.
pub(super) struct Entry {
    pub(super) key: Vec<Part>,
    pub(super) digest: [i64; 2],
}

/// A part of a key as it is held. Text may be any bytes, since others can write to a destination.
#[derive(Debug, PartialEq)]
pub(super) enum Part {
    Null,
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl Entry {
    /// Which item the row belongs to.
    pub(super) fn item(&self) -> Cow<'_, str> {
        match self.key.first() {
            Some(Part::Text(id)) => String::from_utf8_lossy(id),
            Some(other) => other.shown().to_string().into(),
            None => "".into(),
        }
    }
}

/// The rows of a table of a scratch database, in the order of their keys.
pub(super) fn source<'c>(connection: &'c Connection, table: &Table) -> Result<Statement<'c>, Error> {
    connection.prepare(&select_digests(table)).map_err(scratch_failed)
}

/// Keys and digests of a scratch database.
pub(super) struct Digests<'s> {
    rows: Rows<'s>,
    key: usize,
}

impl<'s> Digests<'s> {
    pub(super) fn new(rows: Rows<'s>, table: &Table) -> Self {
        Self { rows, key: table.primary_key().len() }
    }

    pub(super) fn next(&mut self) -> Result<Option<Entry>, Error> {
        let mut next = || -> rusqlite::Result<Option<Entry>> {
            let Some(row) = self.rows.next()? else { return Ok(None) };
            let key = (0..self.key).map(|column| row.get_ref(column).map(Part::of_scratch));
            let key = key.collect::<rusqlite::Result<_>>()?;
            Ok(Some(Entry { key, digest: [row.get(self.key)?, row.get(self.key + 1)?] }))
        };
        next().map_err(scratch_failed)
    }
}

fn select_digests(table: &Table) -> String {
    let key = table.primary_key().iter().map(|&index| quote(&table.columns()[index].name));
    let columns: Vec<String> = key.chain(DIGEST.map(quote)).collect();
    format!("SELECT {} FROM {} ORDER BY {}", columns.join(", "), quote(table.name()), order(table))
}

/// The key's order, whatever collation somebody else's table has.
fn order(table: &Table) -> String {
    let column = |&index: &usize| format!("{} COLLATE BINARY", quote(&table.columns()[index].name));
    table.primary_key().iter().map(column).collect::<Vec<_>>().join(", ")
}

/// The order of [`StoredValue`]'s cases, which is that of the scratch databases (<https://www.sqlite.org/datatype3.html>, 4.1).
pub(super) fn compare_keys(a: &[Part], b: &[Part]) -> Ordering {
    a.iter().zip(b).map(|(a, b)| a.compare(b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

impl Part {
    pub(super) fn new(value: StoredValue<'_>) -> Self {
        match value {
            StoredValue::Null => Self::Null,
            StoredValue::Integer(value) => Self::Integer(value),
            StoredValue::Double(value) => Self::Real(value),
            StoredValue::Text(value) => Self::Text(value.to_vec()),
            StoredValue::Blob(value) => Self::Blob(value.to_vec()),
        }
    }

    fn of_scratch(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(value) => Self::Integer(value),
            ValueRef::Real(value) => Self::Real(value),
            ValueRef::Text(value) => Self::Text(value.to_vec()),
            ValueRef::Blob(value) => Self::Blob(value.to_vec()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Integer(_) | Self::Real(_) => 1,
            Self::Text(_) => 2,
            Self::Blob(_) => 3,
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a.cmp(b),
            (Self::Real(a), Self::Real(b)) => a.total_cmp(b),
            (Self::Integer(a), Self::Real(b)) => (*a as f64).total_cmp(b),
            (Self::Real(a), Self::Integer(b)) => a.total_cmp(&(*b as f64)),
            (Self::Text(a), Self::Text(b)) | (Self::Blob(a), Self::Blob(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    /// For people and programs.
    fn shown(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Integer(value) => (*value).into(),
            Self::Real(value) => (*value).into(),
            Self::Text(value) => String::from_utf8_lossy(value).into(),
            Self::Blob(value) => format!("a blob of {} bytes", value.len()).into(),
        }
    }
}

/// For people and programs: which row it is.
pub(super) fn place(table: &Table, key: &[Part]) -> RowKey {
    let names = table.primary_key().iter().map(|&index| table.columns()[index].name.clone());
    RowKey { table: table.name().to_owned(), key: names.zip(key.iter().map(Part::shown)).skip(1).collect() }
}

/// For what goes wrong with a scratch database.
pub(super) fn scratch_failed(error: rusqlite::Error) -> Error {
    Error::Destination(scratch::failed(&error).to_string())
}
