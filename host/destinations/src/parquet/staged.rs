//! What a transaction has changed in one table and not written yet, and what that comes to.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::Range;

use arrow_array::RecordBatch;
use rusqlite::types::Value;

use crate::cells::{Cell, Cells};
use crate::order;
use elt_host::{DataType, DestinationError, Table};

use super::error::StoreError;

/// Upserts and deletions of one table, in the order in which they came.
#[derive(Default)]
pub(super) struct Staged {
    pub(super) batches: Vec<RecordBatch>,
    /// Deletions by key, each with the number of batches before it.
    deletes: Vec<(usize, RecordBatch)>,
    pub(super) rows: usize,
    pub(super) bytes: usize,
}

impl Staged {
    pub(super) fn upsert(&mut self, rows: RecordBatch) {
        self.rows += rows.num_rows();
        self.bytes += rows.get_array_memory_size();
        if rows.num_rows() > 0 {
            self.batches.push(rows);
        }
    }

    pub(super) fn delete(&mut self, keys: RecordBatch) {
        self.bytes += keys.get_array_memory_size();
        if keys.num_rows() > 0 {
            self.deletes.push((self.batches.len(), keys));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.deletes.is_empty()
    }
}

/// A key's column after the first, owned.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    Boolean(bool),
    Integer(i64),
    Double(f64),
    Text(String),
    Timestamp(i64),
}

impl Part {
    fn new(cell: Cell<'_>) -> Option<Self> {
        Some(match cell {
            Cell::Null => return None,
            Cell::Boolean(value) => Self::Boolean(value),
            Cell::Integer(value) => Self::Integer(value),
            Cell::Double(value) => Self::Double(value),
            Cell::Text(value) => Self::Text(value.to_owned()),
            Cell::Timestamp(value) => Self::Timestamp(value),
        })
    }

    fn cell(&self) -> Cell<'_> {
        match self {
            Self::Boolean(value) => Cell::Boolean(*value),
            Self::Integer(value) => Cell::Integer(*value),
            Self::Double(value) => Cell::Double(*value),
            Self::Text(value) => Cell::Text(value),
            Self::Timestamp(value) => Cell::Timestamp(*value),
        }
    }
}

/// A partition value as SQLite and a hash map take it.
pub(super) fn part_value(cell: Cell<'_>) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Boolean(value) => Value::Integer(i64::from(value)),
        Cell::Integer(value) | Cell::Timestamp(value) => Value::Integer(value),
        Cell::Double(value) => Value::Real(value),
        Cell::Text(value) => Value::Text(value.to_owned()),
    }
}

/// The same, for a hash map, which takes no doubles.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum PartKey {
    Number(i64),
    Text(String),
}

impl PartKey {
    pub(super) fn new(value: &Value) -> Self {
        match value {
            Value::Text(value) => Self::Text(value.clone()),
            Value::Integer(value) => Self::Number(*value),
            Value::Real(value) => Self::Number(value.to_bits() as i64),
            Value::Null | Value::Blob(_) => Self::Number(0),
        }
    }
}

/// What the staged changes come to in one partition.
pub(super) struct Partition {
    pub(super) value: Value,
    /// The rows to store: a stretch of [`Resolved::order`].
    pub(super) rows: Range<usize>,
    /// All rows stored before are gone.
    pub(super) cleared: bool,
    /// Stored rows whose key goes on like one of these, after the first column, are gone.
    pub(super) deletes: Vec<Vec<Part>>,
    /// The second key column's bounds over rows and deletions, where it is a number.
    pub(super) low: Option<i64>,
    pub(super) high: Option<i64>,
}

/// Staged changes with every key once, in key order, by partition.
pub(super) struct Resolved<'a> {
    pub(super) cells: Vec<Vec<Cells<'a>>>,
    /// Positions of rows, counted through all batches, in key order.
    pub(super) order: Vec<u32>,
    pub(super) partitions: Vec<Partition>,
    /// Where each batch begins in that count, and the end of the last.
    offsets: Vec<usize>,
    key: Vec<usize>,
}

impl<'a> Resolved<'a> {
    pub(super) fn new(staged: &'a Staged, table: &'a Table) -> Result<Self, StoreError> {
        let key = table.primary_key().to_vec();
        let cells = staged.batches.iter().map(|batch| Cells::all(table.columns().iter(), batch));
        let cells = cells.collect::<Result<Vec<_>, DestinationError>>()?;
        let mut offsets = vec![0];
        for batch in &staged.batches {
            offsets.push(offsets.last().copied().unwrap_or_default() + batch.num_rows());
        }
        let mut this = Self { cells, order: Vec::new(), partitions: Vec::new(), offsets, key };
        let mut gone = this.deleted(staged, table)?;
        this.resolve(staged, &mut gone);
        // Partitions of which only deletions were staged.
        for (_, (value, gone)) in gone {
            this.partitions.push(Partition::new(value, 0..0, gone));
        }
        let numeric = this.key.get(1).is_some_and(|&column| {
            matches!(table.columns()[column].data_type, DataType::Integer | DataType::Timestamp)
        });
        if numeric {
            this.bound();
        }
        Ok(this)
    }

    /// Batch and row of a position in the count.
    pub(super) fn place(&self, position: u32) -> (usize, usize) {
        let position = position as usize;
        let batch = self.offsets.partition_point(|offset| *offset <= position) - 1;
        (batch, position - self.offsets[batch])
    }

    /// One cell of a row.
    pub(super) fn cell(&self, position: u32, column: usize) -> Cell<'a> {
        let (batch, row) = self.place(position);
        self.cells[batch][column].get(row)
    }

    /// The second key column of a row, as a number.
    pub(super) fn second(&self, position: u32) -> Option<i64> {
        match self.cell(position, *self.key.get(1)?) {
            Cell::Integer(value) | Cell::Timestamp(value) => Some(value),
            _ => None,
        }
    }

    /// Compares the key columns after the first one with those of a stored row.
    pub(super) fn compare(&self, position: u32, stored: &[Cells<'_>], stored_key: &[usize], row: usize) -> Ordering {
        let (batch, own) = self.place(position);
        for (&column, &stored_column) in self.key.iter().zip(stored_key).skip(1) {
            match order::compare(self.cells[batch][column].get(own), stored[stored_column].get(row)) {
                Ordering::Equal => {}
                order => return order,
            }
        }
        Ordering::Equal
    }

    /// By partition: what its deletions say.
    fn deleted(&self, staged: &Staged, table: &Table) -> Result<HashMap<PartKey, (Value, Gone)>, StoreError> {
        let mut gone: HashMap<PartKey, (Value, Gone)> = HashMap::new();
        for (batches, keys) in &staged.deletes {
            let columns = || table.primary_key().iter().take(keys.num_columns()).map(|&index| &table.columns()[index]);
            if keys.num_columns() == 0 || keys.num_columns() > self.key.len() {
                return Err(
                    DestinationError::misfit(format!("a deletion by {} key columns", keys.num_columns())).into()
                );
            }
            let cells = Cells::all(columns(), keys)?;
            for row in 0..keys.num_rows() {
                let value = part_value(cells[0].get(row));
                let rest: Option<Vec<Part>> = cells[1..].iter().map(|cells| Part::new(cells.get(row))).collect();
                let entry = gone.entry(PartKey::new(&value)).or_insert_with(|| (value, Gone::default()));
                match rest {
                    Some(rest) if rest.is_empty() => {
                        let (_, gone) = entry;
                        gone.all_before = Some(*batches);
                        gone.rest.clear();
                    }
                    Some(rest) => entry.1.rest.push((*batches, rest)),
                    None => {}
                }
            }
        }
        Ok(gone)
    }

    /// Fills `order` and `partitions`, taking from `gone` what belongs to them.
    fn resolve(&mut self, staged: &Staged, gone: &mut HashMap<PartKey, (Value, Gone)>) {
        let batches: Vec<_> =
            self.cells.iter().zip(&staged.batches).map(|(cells, batch)| (cells.clone(), batch.num_rows())).collect();
        let codes = order::codes(&batches, &self.key);
        let sorted = order::ascending(&codes);
        self.order.reserve(sorted.len());
        let first_key = self.key[0];
        let mut current: Option<(Cell<'a>, Partition, Gone)> = None;
        for (index, &position) in sorted.iter().enumerate() {
            // Of equal keys only the last one counts.
            if sorted.get(index + 1).is_some_and(|&next| codes[next as usize] == codes[position as usize]) {
                continue;
            }
            let first = self.cell(position, first_key);
            if current.as_ref().is_none_or(|(cell, ..)| *cell != first) {
                if let Some((_, partition, _)) = current.take() {
                    self.partitions.push(partition);
                }
                let value = part_value(first);
                let gone = gone.remove(&PartKey::new(&value)).map(|(_, gone)| gone).unwrap_or_default();
                let start = self.order.len();
                current = Some((first, Partition::new(value, start..start, gone.clone()), gone));
            }
            let Some((_, partition, gone)) = &mut current else { continue };
            let (batch, row) = self.place(position);
            let is_gone = gone.all_before.is_some_and(|before| batch < before)
                || gone.rest.iter().any(|(before, rest)| {
                    batch < *before
                        && rest
                            .iter()
                            .zip(&self.key[1..])
                            .all(|(part, &column)| self.cells[batch][column].get(row) == part.cell())
                });
            if !is_gone {
                self.order.push(position);
                partition.rows.end = self.order.len();
            }
        }
        if let Some((_, partition, _)) = current {
            self.partitions.push(partition);
        }
    }

    /// Fills the partitions' bounds.
    fn bound(&mut self) {
        for index in 0..self.partitions.len() {
            let partition = &self.partitions[index];
            let ends = [partition.rows.start, partition.rows.end.saturating_sub(1)];
            let rows =
                ends.iter().filter(|_| !partition.rows.is_empty()).filter_map(|&end| self.second(self.order[end]));
            let deletes = partition.deletes.iter().filter_map(|rest| match rest.first() {
                Some(Part::Integer(value) | Part::Timestamp(value)) => Some(*value),
                _ => None,
            });
            let bounds: Vec<i64> = rows.chain(deletes).collect();
            let partition = &mut self.partitions[index];
            if !partition.cleared {
                (partition.low, partition.high) = (bounds.iter().min().copied(), bounds.iter().max().copied());
            }
        }
    }
}

/// Whether a stored row's key, after its first column, goes on like one of `deletes`.
pub(super) fn is_deleted(deletes: &[Vec<Part>], stored: &[Cells<'_>], stored_key: &[usize], row: usize) -> bool {
    deletes
        .iter()
        .any(|rest| rest.iter().zip(&stored_key[1..]).all(|(part, &column)| stored[column].get(row) == part.cell()))
}

/// Deletions in one partition, with the number of batches before each.
#[derive(Clone, Default)]
struct Gone {
    all_before: Option<usize>,
    rest: Vec<(usize, Vec<Part>)>,
}

impl Partition {
    fn new(value: Value, rows: Range<usize>, gone: Gone) -> Self {
        let deletes = gone.rest.into_iter().map(|(_, rest)| rest).collect();
        Self { value, rows, cleared: gone.all_before.is_some(), deletes, low: None, high: None }
    }
}
