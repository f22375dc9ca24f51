//! The tables, as the README shows them. Each is a file that holds its schema, what is asked of W&B for it where that is not the history,
//! and how its rows come about. Nothing but the lists here names a table.

mod deleted_runs;
mod metric_objects;
mod metrics;
mod points;
mod runs;
mod schema;

use crate::batch::Batch;
use crate::records::row::History;

pub use crate::records::run_row::RunRow;
pub use runs::FIELDS;
pub use schema::{DataType, Rows, Table, keys_of_runs};

/// The tables that hold what W&B holds, in the order in which they are written.
pub const TABLES: [&Table; 3] = [&runs::TABLE, &metrics::TABLE, &metric_objects::TABLE];

/// The table of the runs that W&B no longer has, where the configuration wants such runs marked.
pub const MARKS: &Table = &deleted_runs::TABLE;

/// Takes out what has gathered of a run's history, for each of the tables that hold histories.
pub fn of_history(history: &mut History, run_id: &str) -> Vec<(&'static Table, Option<Batch>)> {
    let takes = TABLES.into_iter().filter_map(|table| match table.rows {
        Rows::History(take) => Some((table, take)),
        Rows::Fields(_) | Rows::Deletions(_) => None,
    });
    let batches = takes.map(|(table, take)| (table, take(history, run_id))).collect();
    history.taken();
    batches
}
