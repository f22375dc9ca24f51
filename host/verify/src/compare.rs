//! Both sides in the order of their keys, one row at a time.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, Rows};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::digest::{Digester, Encoding, value_columns};
use super::known::{Item, Known};
use super::scratch::{self, DIGEST, Scratch};
use super::{Differences, Finding, RowKey, Stored, Verification};
use elt_destinations::sqlite::schema::quote;
use elt_host::{DataType, DestinationError, Error, Event, Observer, Table};

/// After so many rows progress is told, and a wish to stop is heard.
const STRIDE: u64 = 1 << 14;

/// Everything that a comparison needs.
pub(super) struct Comparison<'a> {
    scratch: &'a Scratch,
    stored: &'a Stored,
    known: &'a Known,
    observer: &'a dyn Observer,
    cancel: &'a CancellationToken,
    rows: u64,
    equal_rows: u64,
    tallies: BTreeMap<String, Tally>,
}

/// What was counted of one item.
#[derive(Debug, Default)]
struct Tally {
    /// The source has rows of it.
    at_source: bool,
    /// The destination has rows of it.
    in_destination: bool,
    differences: Differences,
    /// A difference lies elsewhere than where the source went on after the last sync.
    unexplained: bool,
}

/// A row's key and digest.
struct Entry {
    key: Vec<Part>,
    digest: [i64; 2],
}

/// A part of a key as SQLite holds it. Text may be any bytes, since others can write to the file.
#[derive(Debug, PartialEq)]
enum Part {
    Null,
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl Entry {
    /// Which item the row belongs to.
    fn item(&self) -> Cow<'_, str> {
        match self.key.first() {
            Some(Part::Text(id)) => String::from_utf8_lossy(id),
            Some(other) => other.shown().to_string().into(),
            None => "".into(),
        }
    }
}

/// On which sides a row is.
enum Presence {
    Source,
    Destination,
    Both,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(
        scratch: &'a Scratch,
        stored: &'a Stored,
        known: &'a Known,
        observer: &'a dyn Observer,
        cancel: &'a CancellationToken,
    ) -> Self {
        Self { scratch, stored, known, observer, cancel, rows: 0, equal_rows: 0, tallies: BTreeMap::new() }
    }

    /// Compares every table.
    pub(super) fn run(mut self) -> Result<Verification, Error> {
        let destination = |error: DestinationError| Error::Destination(error.to_string());
        let source = self.scratch.connection().map_err(destination)?;
        match self.stored {
            Stored::Sqlite(reading) => {
                let connection = reading.connection();
                // All tables of one moment.
                let failed = |error: rusqlite::Error| destination(reading.failed(&error));
                connection.execute_batch("BEGIN").map_err(failed)?;
                for table in self.scratch.tables() {
                    let columns = reading.columns(table).map_err(destination)?;
                    let sql = columns.as_ref().map(|columns| select(table, columns));
                    let digester = Some(Digester::new(Encoding::Sqlite));
                    self.table(table, source, connection, sql, digester, &|error| reading.failed(error))?;
                }
                reading.check_unchanged().map_err(destination)?;
            }
            Stored::Parquet(reading) => {
                let mut copy = Scratch::new(self.scratch.encoding());
                copy.create(self.scratch.tables().to_vec()).map_err(destination)?;
                for (index, table) in self.scratch.tables().iter().enumerate() {
                    let mut rows = 0;
                    let copied = reading.scan(table, &mut |batch| {
                        if self.cancel.is_cancelled() {
                            return Err(DestinationError::Failed("interrupted".to_owned()));
                        }
                        rows += batch.num_rows() as u64;
                        copy.upsert(index, &batch)
                    });
                    if self.cancel.is_cancelled() {
                        return Err(Error::Interrupted);
                    }
                    copied.map_err(destination)?;
                    let connection = copy.connection().map_err(destination)?;
                    reading.check_unique(table, rows, count(connection, table)?).map_err(destination)?;
                    let sql = Some(select_digests(table));
                    self.table(table, source, connection, sql, None, &scratch::failed)?;
                }
            }
        }
        Ok(self.finish())
    }

    /// Compares one table. `sql` reads the destination's side, `digester` makes digests where it has none.
    fn table(
        &mut self,
        table: &Table,
        source: &Connection,
        destination: &Connection,
        sql: Option<String>,
        digester: Option<Digester>,
        failed: &dyn Fn(&rusqlite::Error) -> DestinationError,
    ) -> Result<(), Error> {
        let source_failed = |error: rusqlite::Error| Error::Destination(scratch::failed(&error).to_string());
        let failed = |error: rusqlite::Error| Error::Destination(failed(&error).to_string());
        let mut statement = source.prepare(&select_digests(table)).map_err(source_failed)?;
        let mut source = Stream::new(statement.query([]).map_err(source_failed)?, table, None);
        // Without the table there is nothing.
        let mut statement = destination.prepare(sql.as_deref().unwrap_or("SELECT 0 WHERE 0")).map_err(failed)?;
        let mut destination = Stream::new(statement.query([]).map_err(failed)?, table, digester);
        let (mut left, mut right) = (source.next().map_err(source_failed)?, destination.next().map_err(failed)?);
        loop {
            self.rows += 1;
            if self.rows.is_multiple_of(STRIDE) {
                self.tell();
                if self.cancel.is_cancelled() {
                    return Err(Error::Interrupted);
                }
            }
            let order = match (&left, &right) {
                (Some(a), Some(b)) => compare_keys(&a.key, &b.key),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return Ok(()),
            };
            match order {
                Ordering::Less => {
                    self.note(table, left.take(), Presence::Source);
                    left = source.next().map_err(source_failed)?;
                }
                Ordering::Greater => {
                    self.note(table, right.take(), Presence::Destination);
                    right = destination.next().map_err(failed)?;
                }
                Ordering::Equal => {
                    let same = left.as_ref().map(|entry| entry.digest) == right.as_ref().map(|entry| entry.digest);
                    if same {
                        self.equal_rows += 1;
                        if let Some(entry) = &left {
                            self.count(&entry.item(), |tally| (tally.at_source, tally.in_destination) = (true, true));
                        }
                    } else {
                        self.note(table, left.take(), Presence::Both);
                    }
                    (left, right) = (source.next().map_err(source_failed)?, destination.next().map_err(failed)?);
                }
            }
        }
    }

    /// Counts something of an item. Every row comes by here, and few are the first of their item.
    fn count(&mut self, id: &str, add: impl FnOnce(&mut Tally)) {
        match self.tallies.get_mut(id) {
            Some(tally) => add(tally),
            None => add(self.tallies.entry(id.to_owned()).or_default()),
        }
    }

    /// Takes note of a difference.
    fn note(&mut self, table: &Table, entry: Option<Entry>, side: Presence) {
        let Some(entry) = entry else { return };
        let id = entry.item();
        let Item { changed_since, complete_below, .. } = self.known.item(&id);
        let is_later = match (entry.key.get(1), complete_below) {
            // The item's own row changes with everything.
            (None, _) | (_, None) => true,
            (Some(Part::Integer(position)), Some(below)) => *position >= below,
            (Some(_), Some(_)) => false,
        };
        let expected = changed_since && is_later && !matches!(side, Presence::Destination);
        self.count(&id, |tally| {
            tally.at_source |= !matches!(side, Presence::Destination);
            tally.in_destination |= !matches!(side, Presence::Source);
            // What a change at the source explains must not hide what it does not.
            let is_first = tally.differences.first.is_none() || (!tally.unexplained && !expected);
            tally.unexplained |= !expected;
            let differences = &mut tally.differences;
            match side {
                Presence::Source => differences.missing += 1,
                Presence::Destination => differences.extra += 1,
                Presence::Both => differences.altered += 1,
            }
            if is_first {
                differences.first = Some(place(table, &entry.key));
            }
        });
    }

    fn tell(&self) {
        self.observer.event(Event::Progress { what: "rows compared".to_owned(), done: self.rows, total: None });
    }

    /// Sums up each item.
    fn finish(mut self) -> Verification {
        self.tell();
        let mut verification = Verification { equal_rows: self.equal_rows, ..Verification::default() };
        let ids: BTreeSet<String> = self.known.ids().cloned().chain(self.tallies.keys().cloned()).collect();
        for id in ids {
            let item = self.known.item(&id);
            let tally = self.tallies.remove(&id);
            let in_destination = tally.as_ref().is_some_and(|tally| tally.in_destination);
            if item.is_deleted {
                if in_destination {
                    verification.findings.insert(id, Finding::Deleted);
                }
                continue;
            }
            verification.items += 1;
            match self.judge(&id, &item, tally) {
                Some(finding) => drop(verification.findings.insert(id, finding)),
                None => verification.equal += 1,
            }
        }
        verification
    }

    fn judge(&self, id: &str, item: &Item, tally: Option<Tally>) -> Option<Finding> {
        if let Some(reason) = self.known.quarantine(id) {
            return Some(Finding::Unchecked(reason.clone()));
        }
        if item.is_stored && !item.was_read {
            let reason = "it was not listed, or vanished meanwhile, and is not known to be deleted";
            return Some(Finding::Unchecked(reason.to_owned()));
        }
        let Tally { at_source, in_destination, mut differences, unexplained } = tally?;
        if differences.rows() == 0 {
            return None;
        }
        differences.changed_since = item.changed_since && at_source;
        Some(match (at_source, in_destination) {
            // Where the state says that it is stored, something took it away.
            (true, false) if item.changed_since => Finding::Missing,
            _ if !unexplained => Finding::Behind(differences),
            _ => Finding::Different(differences),
        })
    }
}

/// Reads the destination's rows: the key, then the other columns; NULL for those that the table lacks.
fn select(table: &Table, present: &BTreeSet<String>) -> String {
    let column = |index: usize| {
        let name = &table.columns()[index].name;
        if present.contains(name) { quote(name) } else { "NULL".to_owned() }
    };
    let key = table.primary_key();
    let values = (0..table.columns().len()).filter(|index| !key.contains(index));
    let columns: Vec<String> = key.iter().copied().chain(values).map(column).collect();
    format!("SELECT {} FROM {} ORDER BY {}", columns.join(", "), quote(table.name()), order(table))
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

fn count(connection: &Connection, table: &Table) -> Result<u64, Error> {
    let sql = format!("SELECT count(*) FROM {}", quote(table.name()));
    let count = connection.query_row(&sql, [], |row| row.get::<_, i64>(0));
    let count = count.map_err(|error| Error::Destination(scratch::failed(&error).to_string()))?;
    Ok(count.unsigned_abs())
}

/// Rows of one side.
struct Stream<'s> {
    rows: Rows<'s>,
    key: usize,
    /// The types of the columns after the key.
    values: Vec<DataType>,
    digester: Option<Digester>,
}

impl<'s> Stream<'s> {
    fn new(rows: Rows<'s>, table: &Table, digester: Option<Digester>) -> Self {
        let values = value_columns(table).map(|(_, column)| column.data_type).collect();
        Self { rows, key: table.primary_key().len(), values, digester }
    }

    fn next(&mut self) -> rusqlite::Result<Option<Entry>> {
        let Some(row) = self.rows.next()? else { return Ok(None) };
        let key = (0..self.key).map(|column| row.get_ref(column).map(Part::new)).collect::<rusqlite::Result<_>>()?;
        let digest = match &mut self.digester {
            Some(digester) => digest(digester, row, self.key, &self.values)?,
            None => [row.get(self.key)?, row.get(self.key + 1)?],
        };
        Ok(Some(Entry { key, digest }))
    }
}

fn digest(digester: &mut Digester, row: &Row<'_>, key: usize, values: &[DataType]) -> rusqlite::Result<[i64; 2]> {
    let value = |(index, data_type): (usize, &DataType)| Ok((row.get_ref(key + index)?, *data_type));
    let values = values.iter().enumerate().map(value).collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(digester.stored(values.into_iter()))
}

/// SQLite's order: NULL, numbers, text, blobs (<https://www.sqlite.org/datatype3.html>, 4.1).
fn compare_keys(a: &[Part], b: &[Part]) -> Ordering {
    a.iter().zip(b).map(|(a, b)| a.compare(b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

impl Part {
    fn new(value: ValueRef<'_>) -> Self {
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

fn place(table: &Table, key: &[Part]) -> RowKey {
    let names = table.primary_key().iter().map(|&index| table.columns()[index].name.clone());
    RowKey { table: table.name().to_owned(), key: names.zip(key.iter().map(Part::shown)).skip(1).collect() }
}
