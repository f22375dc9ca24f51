//! A destination as a killed sync left it, before any recovery: its state and rows, read without changing anything.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use elt_destinations::url::{Access, open};
use elt_host::State;
use rusqlite::{Connection, OpenFlags};

use super::site::{Site, Storage};
use crate::local_wandb::truth::load_parquet;

/// What is in a destination.
pub struct Left {
    /// The state.
    pub state: State,
    /// The rows that the state answers for.
    pub rows: Connection,
    /// What readers see, where that is newer: a Parquet destination shows a commit shortly before its state is durable.
    pub newer: Option<Connection>,
}

impl Left {
    /// Reads a destination. One that does not exist yet, or holds nothing yet, is empty.
    ///
    /// # Errors
    /// It can't be read, or holds what no reader should find.
    pub fn read(site: &Site) -> anyhow::Result<Self> {
        let path = site.destination_path();
        match site.storage {
            Storage::Sqlite => sqlite(site, &path),
            Storage::Parquet => parquet(site, &path),
        }
    }
}

/// Lets the names of the tables stand for the rows of these runs only.
///
/// # Errors
/// SQLite's.
pub fn narrow<'a>(rows: &Connection, ids: impl IntoIterator<Item = &'a String>) -> rusqlite::Result<()> {
    rows.execute_batch(
        "CREATE TEMP TABLE IF NOT EXISTS chosen(id TEXT PRIMARY KEY) WITHOUT ROWID; DELETE FROM chosen",
    )?;
    for id in ids {
        rows.execute("INSERT INTO chosen VALUES (?1)", [id])?;
    }
    for table in ["runs", "metrics", "metric_objects"] {
        rows.execute_batch(&format!(
            "CREATE TEMP VIEW IF NOT EXISTS {table} AS
             SELECT * FROM main.{table} WHERE run_id IN (SELECT id FROM temp.chosen)"
        ))?;
    }
    Ok(())
}

fn state(site: &Site) -> anyhow::Result<State> {
    Ok(open(&site.url().parse()?, Access::ReadOnly)?.state()?)
}

fn sqlite(site: &Site, path: &Path) -> anyhow::Result<Left> {
    if !path.exists() {
        return Ok(Left { state: State::new(), rows: load_parquet(path)?, newer: None });
    }
    let state = state(site)?;
    let rows = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let tables =
        rows.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'runs'", [], |row| row.get::<_, i64>(0))?;
    if tables == 0 {
        ensure!(state.is_empty(), "a state without tables: {state:?}");
        return Ok(Left { state, rows: load_parquet(path)?, newer: None });
    }
    let sound: String = rows.query_row("PRAGMA quick_check", [], |row| row.get(0))?;
    ensure!(sound == "ok", "{}: {sound}", path.display());
    Ok(Left { state, rows, newer: None })
}

fn parquet(site: &Site, path: &Path) -> anyhow::Result<Left> {
    let home = path.join("_elt");
    let catalog = home.join("catalog.db");
    let holds_something = catalog.exists() && {
        let catalog = Connection::open_with_flags(&catalog, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        catalog.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))? > 0
    };
    if !holds_something {
        ensure!(!home.join("current").exists(), "readers see a generation that no catalog knows");
        return Ok(Left { state: State::new(), rows: load_parquet(path)?, newer: None });
    }
    let state = state(site)?;
    let number = Connection::open_with_flags(&catalog, OpenFlags::SQLITE_OPEN_READ_ONLY)?.query_row(
        "SELECT value FROM meta WHERE key = 'generation'",
        [],
        |row| row.get::<_, i64>(0).map(|number| number.max(0) as u64),
    )?;
    let visible = match fs::read_link(home.join("current")) {
        Ok(target) => target.to_string_lossy().into_owned(),
        Err(_) => "generation-0".to_owned(),
    };
    let visible =
        visible.strip_prefix("generation-").and_then(|it| it.parse::<u64>().ok()).context("what is current")?;
    ensure!(visible == number || visible == number + 1, "readers see generation {visible}, the state is of {number}");
    // Through the links, as readers do.
    let seen = load_parquet(path)?;
    Ok(match visible == number {
        true => Left { state, rows: seen, newer: None },
        false => Left { state, rows: load_parquet(&home.join(format!("generation-{number}")))?, newer: Some(seen) },
    })
}
