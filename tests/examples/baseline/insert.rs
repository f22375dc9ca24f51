//! The rows of a sync, inserted into a new SQLite database by a plain loop: what anybody would write who looks for speed.

use anyhow::Context as _;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType, UInt32Type};
use arrow_array::{Array as _, RecordBatch};
use chrono::DateTime;
use elt_host::{Change, Group};
use rusqlite::Connection;

/// Rows of one statement.
const MANY: usize = 50;
/// Rows of one transaction; as many as the host's.
const COMMIT: usize = 250_000;

/// Inserts every row of `metrics` into a temporary file, with the pragmas of the `sqlite:` destination. No look for what is
/// there already, no state, no check.
pub(crate) fn insert(groups: &[Group]) -> anyhow::Result<()> {
    let folder = tempfile::tempdir_in(std::env::current_dir()?)?;
    let connection = Connection::open(folder.path().join("plain.db"))?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16384; PRAGMA wal_autocheckpoint = 8192;
         CREATE TABLE metrics(run_id TEXT NOT NULL, step INTEGER NOT NULL, metric_name TEXT NOT NULL, metric_value REAL,
                              timestamp TEXT, _synced_at TEXT, PRIMARY KEY(run_id, step, metric_name)) WITHOUT ROWID;
         BEGIN",
    )?;
    let sql = |rows: usize| format!("INSERT INTO metrics VALUES {}", vec!["(?,?,?,?,?,?)"; rows].join(","));
    let mut many = connection.prepare(&sql(MANY))?;
    let mut one = connection.prepare(&sql(1))?;
    let mut open = 0;
    for change in groups.iter().flat_map(|group| &group.changes) {
        let Change::Upsert { table: 1, rows } = change else { continue };
        let columns = Columns::of(rows).context("not a batch of metrics")?;
        let whole = rows.num_rows() - rows.num_rows() % MANY;
        for first in (0..whole).step_by(MANY) {
            for row in 0..MANY {
                columns.bind(&mut many, row * 6, first + row)?;
            }
            many.raw_execute()?;
        }
        for row in whole..rows.num_rows() {
            columns.bind(&mut one, 0, row)?;
            one.raw_execute()?;
        }
        open += rows.num_rows();
        if open >= COMMIT {
            connection.execute_batch("COMMIT; BEGIN")?;
            open = 0;
        }
    }
    connection.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(())
}

/// The columns of a batch of `metrics`, and its timestamps as text.
struct Columns<'a> {
    run: &'a str,
    steps: &'a [i64],
    names: Vec<&'a str>,
    keys: &'a [u32],
    values: &'a [f64],
    times: Vec<String>,
}

impl<'a> Columns<'a> {
    fn of(rows: &'a RecordBatch) -> Option<Self> {
        let run = rows.column(0).as_dictionary_opt::<UInt32Type>()?.values().as_string_opt::<i32>()?;
        let names = rows.column(2).as_dictionary_opt::<UInt32Type>()?;
        let texts = names.values().as_string_opt::<i32>()?;
        let times = rows.column(4).as_primitive_opt::<TimestampMicrosecondType>()?;
        let text = |time| DateTime::from_timestamp_micros(time).map(|time| time.format("%Y-%m-%dT%H:%M:%S%.6fZ"));
        // One text for each step: rows of one step share it.
        let mut last: Option<(i64, String)> = None;
        let times = times.values().iter().map(|&time| match &last {
            Some((known, text)) if *known == time => text.clone(),
            _ => {
                let text = text(time).map(|text| text.to_string()).unwrap_or_default();
                last.insert((time, text)).1.clone()
            }
        });
        Some(Self {
            run: run.value(0),
            steps: rows.column(1).as_primitive_opt::<Int64Type>()?.values(),
            names: (0..texts.len()).map(|at| texts.value(at)).collect(),
            keys: names.keys().values(),
            values: rows.column(3).as_primitive_opt::<Float64Type>()?.values(),
            times: times.collect(),
        })
    }

    fn bind(&self, statement: &mut rusqlite::Statement<'_>, before: usize, row: usize) -> rusqlite::Result<()> {
        statement.raw_bind_parameter(before + 1, self.run)?;
        statement.raw_bind_parameter(before + 2, self.steps[row])?;
        statement.raw_bind_parameter(before + 3, self.names[self.keys[row] as usize])?;
        statement.raw_bind_parameter(before + 4, self.values[row])?;
        statement.raw_bind_parameter(before + 5, self.times[row].as_str())?;
        statement.raw_bind_parameter(before + 6, "2025-06-15T15:06:40.000000Z")
    }
}
