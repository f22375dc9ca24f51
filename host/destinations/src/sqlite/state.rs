//! The state beside the rows: the table `_elt_state`, a row for each key.

use rusqlite::Connection;

use super::schema::{STATE_TABLE, has_state};
use elt_host::{State, StatePatch};

/// The stored state; empty where there is no table of it.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<State> {
    if !has_state(connection)? {
        return Ok(State::new());
    }
    let mut statement = connection.prepare(&format!("SELECT key, value FROM {STATE_TABLE}"))?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Sets and removes keys.
pub(super) fn patch(connection: &Connection, patch: &StatePatch) -> rusqlite::Result<()> {
    let set = format!(
        "INSERT INTO {STATE_TABLE}(key, value) VALUES (?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value"
    );
    let mut set = connection.prepare_cached(&set)?;
    let mut remove = connection.prepare_cached(&format!("DELETE FROM {STATE_TABLE} WHERE key = ?1"))?;
    for (key, value) in patch {
        match value {
            Some(value) => set.execute((key, value))?,
            None => remove.execute((key,))?,
        };
    }
    Ok(())
}

/// Removes every key.
pub(super) fn clear(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!("DELETE FROM {STATE_TABLE}"))
}
