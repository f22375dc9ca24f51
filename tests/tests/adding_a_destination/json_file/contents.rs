//! What is in the file, and how a change changes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

use elt_destinations::cells::{Cell, Cells};
use elt_host::{Change, Column, DestinationError, LostTable, State, Table};
use serde::{Deserialize, Serialize};

/// The file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Contents {
    pub(super) state: State,
    /// The names of the tables that syncs have made, so that one that is gone is missed.
    made: BTreeSet<String>,
    tables: BTreeMap<String, Rows>,
}

/// One table.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Rows {
    /// The types of the columns, by name.
    columns: BTreeMap<String, String>,
    #[serde(with = "by_key")]
    rows: BTreeMap<Vec<Held>, Row>,
}

/// One row.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Row {
    key: Vec<Held>,
    /// By column; a column that is not there is null.
    cells: BTreeMap<String, Held>,
    /// When it was last written with new values.
    synced_at: i64,
}

/// A value as the file holds it. Doubles are text, since JSON has no NaN.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Held {
    Integer(i64),
    Double(String),
    Text(String),
}

impl Held {
    fn new(cell: Cell<'_>) -> Option<Self> {
        Some(match cell {
            Cell::Null => return None,
            Cell::Boolean(value) => Self::Integer(i64::from(value)),
            Cell::Integer(value) | Cell::Timestamp(value) => Self::Integer(value),
            Cell::Double(value) => Self::Double(format!("{value:?}")),
            Cell::Text(value) => Self::Text(value.to_owned()),
        })
    }
}

impl Contents {
    /// None where there is no file.
    pub(super) fn load(path: &Path) -> io::Result<Option<Self>> {
        match fs::read(path) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts it in the place of what is stored, by way of the file `new`.
    pub(super) fn store(&self, path: &Path, new: &Path) -> io::Result<()> {
        let mut file = File::create(new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(new, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }

    /// What is wrong with a table that is there already.
    pub(super) fn misfit(&self, table: &Table) -> Option<String> {
        let stored = self.tables.get(table.name())?;
        let other = |column: &&Column| {
            stored.columns.get(&column.name).is_some_and(|data_type| data_type != column.data_type.name())
        };
        let column = table.columns().iter().find(other)?;
        Some(format!("its table `{}` does not fit: column `{}` is of another type", table.name(), column.name))
    }

    /// Those of `tables` that were made and are gone.
    pub(super) fn lost(&self, tables: &[Table]) -> Vec<LostTable> {
        let is_lost = |name: &&str| self.made.contains(*name) && !self.tables.contains_key(*name);
        let names = tables.iter().map(Table::name).filter(is_lost);
        names.map(|name| LostTable { name: name.to_owned(), is_certain: true }).collect()
    }

    /// Makes `tables`, and empties them and the state for a full refresh.
    pub(super) fn begin(&mut self, tables: &[Table], full_refresh: bool) {
        for table in tables {
            self.made.insert(table.name().to_owned());
            let rows = self.tables.entry(table.name().to_owned()).or_default();
            if full_refresh {
                *rows = Rows::default();
            }
            let columns = table.columns().iter();
            rows.columns.extend(columns.map(|column| (column.name.clone(), column.data_type.name().to_owned())));
        }
        if full_refresh {
            self.state.clear();
        }
    }

    /// Carries out one change of `table`.
    pub(super) fn change(&mut self, table: &Table, change: &Change, synced_at: i64) -> Result<(), DestinationError> {
        let stored = &mut self.tables.entry(table.name().to_owned()).or_default().rows;
        let key_columns = || table.primary_key().iter().map(|&index| &table.columns()[index]);
        match change {
            Change::Upsert { rows, .. } => {
                let cells = Cells::all(table.columns().iter(), rows)?;
                for row in 0..rows.num_rows() {
                    let held = |index: usize| Held::new(cells[index].get(row));
                    let key: Vec<Held> = table.primary_key().iter().filter_map(|&index| held(index)).collect();
                    let named = table.columns().iter().enumerate();
                    let cells: BTreeMap<_, _> =
                        named.filter_map(|(index, column)| Some((column.name.clone(), held(index)?))).collect();
                    // A row that is stored with the same values stays as it is.
                    if stored.get(&key).is_none_or(|row| row.cells != cells) {
                        stored.insert(key.clone(), Row { key, cells, synced_at });
                    }
                }
            }
            Change::Delete { keys, .. } => {
                let cells = Cells::all(key_columns().take(keys.num_columns()), keys)?;
                for row in 0..keys.num_rows() {
                    let leading: Vec<Held> = cells.iter().filter_map(|cells| Held::new(cells.get(row))).collect();
                    stored.retain(|key, _| !key.starts_with(&leading));
                }
            }
        }
        Ok(())
    }

    /// The rows of a table in the order of their keys: the key's columns, then the others.
    pub(super) fn rows<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = Vec<Option<&'a Held>>> {
        let key = table.primary_key();
        let rest = (0..table.columns().len()).filter(|index| !key.contains(index));
        let order: Vec<usize> = key.iter().copied().chain(rest).collect();
        let rows = self.tables.get(table.name()).into_iter().flat_map(|rows| rows.rows.values());
        rows.map(move |row| order.iter().map(|&index| row.cells.get(&table.columns()[index].name)).collect())
    }
}

/// Rows as a list, each with its key.
mod by_key {
    use std::collections::BTreeMap;

    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::{Held, Row};

    pub(super) fn serialize<S: Serializer>(rows: &BTreeMap<Vec<Held>, Row>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(rows.values())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<Vec<Held>, Row>, D::Error> {
        let rows = Vec::<Row>::deserialize(from)?;
        Ok(rows.into_iter().map(|row| (row.key.clone(), row)).collect())
    }
}
