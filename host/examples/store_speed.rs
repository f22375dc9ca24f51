//! How fast destinations store metrics rows, beside a plain loop over rusqlite: `cargo run --release --example store_speed`.
//!
//! Arguments: rows in millions (default 2), then destination URLs or `plain` and `plain50` (default: all kinds, in a temporary folder).
//! Prints seconds, rows a second and the peak of memory that the process has had by then.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::types::UInt32Type;
use arrow_array::{
    Array, ArrayRef, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    UInt32Array,
};
use arrow_schema::{DataType as ArrowType, Field, Schema};
use rusqlite::Connection;
use wandb_connector_host::destination::url::{Access, DestinationUrl, open};
use wandb_connector_host::destination::{Change, Group, Preparation};
use wandb_connector_host::schema::{Column, DataType, Table};

const STEPS: i64 = 1_000;
const NAMES: [&str; 10] = [
    "train/loss",
    "train/accuracy",
    "val/loss",
    "val/accuracy",
    "lr",
    "epoch",
    "grad_norm",
    "throughput",
    "memory",
    "_eta",
];
/// Rows of one run.
const RUN: i64 = STEPS * NAMES.len() as i64;

fn table() -> Result<Table, Box<dyn Error>> {
    let column = |name: &str, data_type, nullable| Column { name: name.to_owned(), data_type, nullable };
    let columns = vec![
        column("run_id", DataType::Text, false),
        column("step", DataType::Integer, false),
        column("metric_name", DataType::Text, false),
        column("metric_value", DataType::Double, true),
        column("timestamp", DataType::Timestamp, true),
    ];
    let key = ["run_id", "step", "metric_name"].map(str::to_owned);
    Ok(Table::new("metrics".to_owned(), columns, &key)?)
}

fn value(run: i64, step: i64, name: usize) -> f64 {
    ((run * 7_919 + step * 104_729 + name as i64 * 31) % 1_000_003) as f64 / 1_000.7
}

/// One run's rows in the order in which a history has them: steps ascending, names as they were logged.
fn rows(run: i64) -> Result<RecordBatch, Box<dyn Error>> {
    let each = || (0..STEPS).flat_map(|step| (0..NAMES.len()).map(move |name| (step, name)));
    let dictionary = |keys: UInt32Array, values: StringArray| -> Result<ArrayRef, Box<dyn Error>> {
        Ok(Arc::new(DictionaryArray::<UInt32Type>::try_new(keys, Arc::new(values))?))
    };
    let id = StringArray::from(vec![format!("run-{run:06}")]);
    let arrays: Vec<ArrayRef> = vec![
        dictionary(UInt32Array::from(vec![0; RUN as usize]), id)?,
        Arc::new(each().map(|(step, _)| step).collect::<Int64Array>()),
        dictionary(each().map(|(_, name)| name as u32).collect(), StringArray::from(NAMES.to_vec()))?,
        Arc::new(each().map(|(step, name)| value(run, step, name)).collect::<Float64Array>()),
        Arc::new(
            each()
                .map(|(step, _)| Some(1_700_000_000_000_000 + (run * STEPS + step) * 1_000_003))
                .collect::<TimestampMicrosecondArray>()
                .with_timezone("UTC"),
        ),
    ];
    let names = ["run_id", "step", "metric_name", "metric_value", "timestamp"];
    let fields: Vec<Field> =
        names.iter().zip(&arrays).map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    debug_assert!(matches!(arrays[0].data_type(), ArrowType::Dictionary(..)));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

fn store(url: &str, runs: i64) -> Result<(), Box<dyn Error>> {
    let url: DestinationUrl = url.parse()?;
    let mut destination = open(&url, Access::ReadWrite)?;
    destination.prepare(Preparation { tables: vec![table()?], synced_at: 0, full_refresh: false })?;
    for run in 0..runs {
        let changes = vec![Change::Upsert { table: 0, rows: rows(run)? }];
        destination.apply(Group { changes, patch: vec![(format!("runs/{run}"), Some("1".to_owned()))] })?;
        if run % 50 == 49 {
            destination.commit()?;
        }
    }
    destination.commit()?;
    Ok(destination.finish()?)
}

/// What anybody would write first, with the same pragmas and the same text; `many` rows in one statement.
fn plain(path: &Path, runs: i64, many: usize) -> Result<(), Box<dyn Error>> {
    let connection = Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16384; PRAGMA wal_autocheckpoint = 8192;
         CREATE TABLE metrics(run_id TEXT NOT NULL, step INTEGER NOT NULL, metric_name TEXT NOT NULL, metric_value REAL,
                              timestamp TEXT, _synced_at TEXT, PRIMARY KEY(run_id, step, metric_name)) WITHOUT ROWID; BEGIN",
    )?;
    let sql = format!("INSERT INTO metrics VALUES {}", vec!["(?,?,?,?,?,?)"; many].join(","));
    {
        let mut insert = connection.prepare(&sql)?;
        let mut at = 0;
        for run in 0..runs {
            let id = format!("run-{run:06}");
            for step in 0..STEPS {
                for (name, text) in NAMES.iter().enumerate() {
                    insert.raw_bind_parameter(at + 1, id.as_str())?;
                    insert.raw_bind_parameter(at + 2, step)?;
                    insert.raw_bind_parameter(at + 3, *text)?;
                    insert.raw_bind_parameter(at + 4, value(run, step, name))?;
                    insert.raw_bind_parameter(at + 5, "2023-11-14T22:13:20.000000Z")?;
                    insert.raw_bind_parameter(at + 6, "2023-11-14T22:13:20.000000Z")?;
                    at += 6;
                    if at == 6 * many {
                        insert.raw_execute()?;
                        at = 0;
                    }
                }
            }
            if run % 50 == 49 {
                connection.execute_batch("COMMIT; BEGIN")?;
            }
        }
    }
    connection.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(())
}

fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "?".to_owned(), |peak| peak.trim().to_owned())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let millions: f64 = arguments.next().map_or(Ok(2.0), |rows| rows.parse())?;
    let runs = (millions * 1e6) as i64 / RUN;
    let folder = std::env::temp_dir().join(format!("store-speed-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let own = |kind: &str, name: &str| format!("{kind}:{}", folder.join(name).display());
    let mut what: Vec<String> = arguments.collect();
    if what.is_empty() {
        what = ["null:", "plain", "plain50", "sqlite", "parquet"].map(str::to_owned).to_vec();
    }
    for (number, what) in what.iter().enumerate() {
        let began = Instant::now();
        match what.as_str() {
            "plain" => plain(&folder.join(format!("{number}.db")), runs, 1)?,
            "plain50" => plain(&folder.join(format!("{number}.db")), runs, 50)?,
            "sqlite" => store(&own("sqlite", &format!("{number}.db")), runs)?,
            "parquet" => store(&own("parquet", &number.to_string()), runs)?,
            url => store(url, runs)?,
        }
        let seconds = began.elapsed().as_secs_f64();
        let rate = (runs * RUN) as f64 / seconds / 1e6;
        println!("{what:10} {seconds:6.2} s  {rate:5.2} M rows/s  peak {}", peak());
    }
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
