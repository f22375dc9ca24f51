//! Both sides in the order of their keys, one row at a time.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use arrow_array::RecordBatch;
use rusqlite::Connection;
use tokio_util::sync::CancellationToken;

use super::digest::{Digester, value_columns};
use super::entry::{Digests, Entry, Part, compare_keys, place, scratch_failed, source};
use super::known::{Item, Known};
use super::scratch::Scratch;
use super::{Differences, Finding, Verification};
use elt_destinations::reader::{Reader, RowSink, StoredValue};
use elt_destinations::sqlite::schema::quote;
use elt_host::{DestinationError, Error, Event, Observer, Table};

/// After so many rows progress is told, and a wish to stop is heard.
const STRIDE: u64 = 1 << 14;

/// Everything that a comparison needs.
pub(super) struct Comparison<'a> {
    scratch: &'a Scratch,
    /// What to call the destination.
    name: &'a str,
    stored: &'a dyn Reader,
    digester: Digester,
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

/// On which sides a row is.
enum Presence {
    Source,
    Destination,
    Both,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(
        scratch: &'a Scratch,
        name: &'a str,
        stored: &'a dyn Reader,
        known: &'a Known,
        observer: &'a dyn Observer,
        cancel: &'a CancellationToken,
    ) -> Self {
        let (digester, tallies) = (Digester::new(stored.encoding()), BTreeMap::new());
        Self { scratch, name, stored, digester, known, observer, cancel, rows: 0, equal_rows: 0, tallies }
    }

    /// Compares every table.
    pub(super) fn run(mut self) -> Result<Verification, Error> {
        for (index, table) in self.scratch.tables().iter().enumerate() {
            self.table(index, table)?;
        }
        self.stored.check_unchanged().map_err(failed)?;
        Ok(self.finish())
    }

    /// Compares one table, as its rows come from the destination; those that come in no order are put into it first.
    fn table(&mut self, index: usize, table: &'a Table) -> Result<(), Error> {
        let (scratch, stored, name) = (self.scratch, self.stored, self.name);
        let mut statement = source(scratch.connection().map_err(failed)?, table)?;
        let rows = Digests::new(statement.query([]).map_err(scratch_failed)?, table);
        let mut sink = Sink { merge: Merge::new(self, table, rows)?, index, unordered: None, error: None };
        let scanned = stored.scan(table, &mut sink);
        let Sink { mut merge, unordered, error, .. } = sink;
        if let Some(error) = error {
            return Err(error);
        }
        scanned.map_err(failed)?;
        if let Some(Unordered { copy, rows }) = unordered {
            let connection = copy.connection().map_err(failed)?;
            let distinct = count(connection, table)?;
            if rows != distinct {
                return Err(Error::Destination(format!(
                    "{name}: {} rows of `{}` are there more than once. Remove files that are not ours from it.",
                    rows.saturating_sub(distinct),
                    table.name()
                )));
            }
            let mut statement = source(connection, table)?;
            let mut rows = Digests::new(statement.query([]).map_err(scratch_failed)?, table);
            while let Some(entry) = rows.next()? {
                merge.take(entry)?;
            }
        }
        merge.end()
    }

    /// Counts something of an item. Every row comes by here, and few are the first of their item.
    fn count(&mut self, id: &str, add: impl FnOnce(&mut Tally)) {
        match self.tallies.get_mut(id) {
            Some(tally) => add(tally),
            None => add(self.tallies.entry(id.to_owned()).or_default()),
        }
    }

    /// Counts a step; says now and then how far it is, and hears a wish to stop.
    fn step(&mut self) -> Result<(), Error> {
        self.rows += 1;
        if self.rows.is_multiple_of(STRIDE) {
            self.tell();
            if self.cancel.is_cancelled() {
                return Err(Error::Interrupted);
            }
        }
        Ok(())
    }

    /// Takes note of a row that both sides hold alike.
    fn note_equal(&mut self, entry: &Entry) {
        self.equal_rows += 1;
        self.count(&entry.item(), |tally| (tally.at_source, tally.in_destination) = (true, true));
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
        // Where the state does not tell what the last sync saw, only what is not stored yet can be taken for newer than it.
        let may_be_newer = match side {
            Presence::Source => true,
            Presence::Both => self.known.has_entries(),
            Presence::Destination => false,
        };
        let expected = changed_since && is_later && may_be_newer;
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
        let is_known = self.known.has_entries() || !unexplained;
        differences.changed_since = item.changed_since && at_source && is_known;
        Some(match (at_source, in_destination) {
            // Where the state says that it is stored, something took it away.
            (true, false) if item.changed_since => Finding::Missing,
            _ if !unexplained => Finding::Behind(differences),
            _ => Finding::Different(differences),
        })
    }
}

fn count(connection: &Connection, table: &Table) -> Result<u64, Error> {
    let sql = format!("SELECT count(*) FROM {}", quote(table.name()));
    let count = connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).map_err(scratch_failed)?;
    Ok(count.unsigned_abs())
}

/// Both sides of one table, side by side.
struct Merge<'m, 'a> {
    comparison: &'m mut Comparison<'a>,
    table: &'a Table,
    source: Digests<'m>,
    /// The source's next row.
    next: Option<Entry>,
}

impl<'m, 'a> Merge<'m, 'a> {
    fn new(comparison: &'m mut Comparison<'a>, table: &'a Table, mut source: Digests<'m>) -> Result<Self, Error> {
        let next = source.next()?;
        Ok(Self { comparison, table, source, next })
    }

    /// Takes the destination's next row.
    fn take(&mut self, entry: Entry) -> Result<(), Error> {
        loop {
            self.comparison.step()?;
            match self.next.as_ref().map(|next| compare_keys(&next.key, &entry.key)) {
                Some(Ordering::Less) => {
                    self.comparison.note(self.table, self.next.take(), Presence::Source);
                    self.next = self.source.next()?;
                }
                Some(Ordering::Equal) => {
                    if self.next.as_ref().is_some_and(|next| next.digest == entry.digest) {
                        self.comparison.note_equal(&entry);
                    } else {
                        self.comparison.note(self.table, Some(entry), Presence::Both);
                    }
                    self.next = self.source.next()?;
                    return Ok(());
                }
                Some(Ordering::Greater) | None => {
                    self.comparison.note(self.table, Some(entry), Presence::Destination);
                    return Ok(());
                }
            }
        }
    }

    /// The destination has no more rows.
    fn end(mut self) -> Result<(), Error> {
        while let Some(entry) = self.next.take() {
            self.comparison.step()?;
            self.comparison.note(self.table, Some(entry), Presence::Source);
            self.next = self.source.next()?;
        }
        Ok(())
    }
}

/// Rows that came in no order.
struct Unordered {
    /// Their keys and digests.
    copy: Scratch,
    /// How many came.
    rows: u64,
}

/// Takes the destination's rows of one table.
struct Sink<'m, 'a> {
    merge: Merge<'m, 'a>,
    /// The table's place among all.
    index: usize,
    unordered: Option<Unordered>,
    /// Why no more rows are taken.
    error: Option<Error>,
}

impl Sink<'_, '_> {
    fn ordered_row(&mut self, row: &[StoredValue<'_>]) -> Result<(), Error> {
        let table = self.merge.table;
        let key = table.primary_key().len();
        let values = row.iter().skip(key).copied().zip(value_columns(table).map(|(_, column)| column.data_type));
        let digest = self.merge.comparison.digester.stored(values);
        self.merge.take(Entry { key: row.iter().take(key).map(|value| Part::new(*value)).collect(), digest })
    }

    fn unordered_rows(&mut self, rows: &RecordBatch) -> Result<(), Error> {
        let comparison = &self.merge.comparison;
        if comparison.cancel.is_cancelled() {
            return Err(Error::Interrupted);
        }
        let unordered = match &mut self.unordered {
            Some(unordered) => unordered,
            none => {
                let mut copy = Scratch::new(comparison.scratch.encoding());
                copy.create(comparison.scratch.tables().to_vec()).map_err(failed)?;
                none.insert(Unordered { copy, rows: 0 })
            }
        };
        unordered.rows += rows.num_rows() as u64;
        unordered.copy.upsert(self.index, rows).map_err(failed)
    }

    /// Ends the scan on an error, and keeps it.
    fn ended(&mut self, result: Result<(), Error>) -> Result<(), DestinationError> {
        result.map_err(|error| {
            let ended = DestinationError::Failed(error.to_string());
            self.error = Some(error);
            ended
        })
    }
}

impl RowSink for Sink<'_, '_> {
    fn in_order(&mut self, row: &[StoredValue<'_>]) -> Result<(), DestinationError> {
        let result = self.ordered_row(row);
        self.ended(result)
    }

    fn unordered(&mut self, rows: &RecordBatch) -> Result<(), DestinationError> {
        let result = self.unordered_rows(rows);
        self.ended(result)
    }
}

fn failed(error: DestinationError) -> Error {
    Error::Destination(error.to_string())
}
