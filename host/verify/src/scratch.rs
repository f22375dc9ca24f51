//! A database in a temporary file without a name that keeps keys and digests of rows. SQLite removes such a file from its folder
//! as soon as it has opened it, so nothing is left behind however the process ends.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{Field, Schema};
use rusqlite::{Connection, ErrorCode};

use super::digest::Digester;
use elt_destinations::reader::Encoding;
use elt_destinations::sqlite::rows::{RowsError, TableSql};
use elt_destinations::sqlite::schema::{Misfit, plan};
use elt_host::{Change, Column, DataType, Destination, DestinationError, Group, Preparation, State, Table};

/// The columns that hold a digest.
pub(super) const DIGEST: [&str; 2] = ["digest_high", "digest_low"];
/// KiB of pages kept in memory.
const CACHE_KIB: i64 = 16 << 10;

/// Keys and digests, by table.
pub(crate) struct Scratch {
    encoding: Encoding,
    digester: Digester,
    connection: Option<Connection>,
    tables: Vec<Table>,
    sql: Vec<TableSql>,
}

impl Scratch {
    /// An empty one.
    pub(super) fn new(encoding: Encoding) -> Self {
        let digester = Digester::new(encoding);
        Self { encoding, digester, connection: None, tables: Vec::new(), sql: Vec::new() }
    }

    /// The tables whose rows are kept.
    pub(super) fn tables(&self) -> &[Table] {
        &self.tables
    }

    pub(super) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The database; none before [`Scratch::create`].
    pub(super) fn connection(&self) -> Result<&Connection, DestinationError> {
        self.connection.as_ref().ok_or_else(|| DestinationError::misfit("rows before their tables"))
    }

    /// Makes room for the rows of `tables`.
    pub(super) fn create(&mut self, tables: Vec<Table>) -> Result<(), DestinationError> {
        let digests = tables.iter().map(digest_table).collect::<Result<Vec<_>, _>>()?;
        let create = || -> Result<Connection, Misfit> {
            let connection = Connection::open("")?;
            // It is lost with the process in any case.
            connection.pragma_update(None, "synchronous", "OFF")?;
            connection.query_row("PRAGMA journal_mode = OFF", [], |_| Ok(()))?;
            connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
            for statement in plan(&connection, &digests)? {
                connection.execute_batch(&statement)?;
            }
            connection.execute_batch("BEGIN")?;
            Ok(connection)
        };
        self.connection = Some(create().map_err(|error| match error {
            Misfit::Refused(why) => DestinationError::Failed(why),
            Misfit::Sqlite(error) => failed(&error),
        })?);
        self.sql = digests.into_iter().map(TableSql::new).collect();
        self.tables = tables;
        Ok(())
    }

    /// Takes rows; of one key the last ones count.
    pub(super) fn upsert(&mut self, table: usize, rows: &RecordBatch) -> Result<(), DestinationError> {
        let (Some(connection), Some(source), Some(sql)) =
            (&self.connection, self.tables.get(table), self.sql.get(table))
        else {
            return Err(DestinationError::misfit(format!("table number {table}")));
        };
        let digests = self.digester.batch(source, rows)?;
        let mut columns: Vec<(String, ArrayRef)> = Vec::new();
        for &column in source.primary_key() {
            columns.push((source.columns()[column].name.clone(), rows.column(column).clone()));
        }
        for (part, name) in DIGEST.into_iter().enumerate() {
            let values: Int64Array = digests.iter().map(|digest| digest[part]).collect();
            columns.push((name.to_owned(), Arc::new(values)));
        }
        let field = |(name, array): &(String, ArrayRef)| Field::new(name, array.data_type().clone(), false);
        let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
        let arrays = columns.into_iter().map(|(_, array)| array).collect();
        let batch = RecordBatch::try_new(Arc::new(schema), arrays).map_err(DestinationError::misfit)?;
        sql.upsert(connection, &batch, "").map_err(rows_error)
    }

    fn delete(&self, table: usize, keys: &RecordBatch) -> Result<(), DestinationError> {
        let Some(sql) = self.sql.get(table) else {
            return Err(DestinationError::misfit(format!("table number {table}")));
        };
        sql.delete(self.connection()?, keys).map_err(rows_error)
    }
}

/// The key of `table`, and a digest.
fn digest_table(table: &Table) -> Result<Table, DestinationError> {
    let key = table.primary_key().iter().map(|&index| table.columns()[index].clone());
    let names: Vec<String> = key.clone().map(|column| column.name).collect();
    let digest = DIGEST.map(|name| Column { name: name.to_owned(), data_type: DataType::Integer, nullable: false });
    Table::new(table.name().to_owned(), key.chain(digest).collect(), &names).map_err(DestinationError::misfit)
}

fn rows_error(error: RowsError) -> DestinationError {
    match error {
        RowsError::Misfit(error) => error,
        RowsError::Sqlite(error) => failed(&error),
    }
}

/// For what goes wrong with a scratch database.
pub(super) fn failed(error: &rusqlite::Error) -> DestinationError {
    DestinationError::Failed(match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the temporary folder has no room for the digests of all rows; name a larger one \
                                      in the environment variable SQLITE_TMPDIR"
            .to_owned(),
        _ => format!("the scratch database failed: {error}"),
    })
}

/// The scratch database in the place of a destination.
pub(super) struct ScratchDestination {
    scratch: Arc<Mutex<Scratch>>,
    seed: State,
}

impl ScratchDestination {
    /// Its sync begins with the state `seed`.
    pub(super) fn new(scratch: Arc<Mutex<Scratch>>, seed: State) -> Self {
        Self { scratch, seed }
    }
}

impl Destination for ScratchDestination {
    fn prepare(&mut self, preparation: Preparation) -> Result<State, DestinationError> {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).create(preparation.tables)?;
        Ok(self.seed.clone())
    }

    fn apply(&mut self, group: Group) -> Result<(), DestinationError> {
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        for change in group.changes {
            match change {
                Change::Upsert { table, rows } => scratch.upsert(table, &rows)?,
                Change::Delete { table, keys } => scratch.delete(table, &keys)?,
            }
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), DestinationError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), DestinationError> {
        Ok(())
    }

    fn state(&mut self) -> Result<State, DestinationError> {
        Ok(self.seed.clone())
    }

    fn replace_state(&mut self, _: &State) -> Result<(), DestinationError> {
        Err(DestinationError::Refused("a verification stores nothing".to_owned()))
    }
}
