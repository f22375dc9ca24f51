//! `sqlite:PATH`: one SQLite database, rows and state in the same transactions.
//!
//! | what | how it is stored |
//! |---|---|
//! | a table | `WITHOUT ROWID` with the connector's primary key, and `_synced_at` |
//! | boolean, integer, double | `INTEGER` 0 or 1, `INTEGER`, `REAL` (NaN as NULL, which SQLite has none for) |
//! | text, JSON | `TEXT` as it came, U+0000 included |
//! | timestamp | `TEXT`, `YYYY-MM-DDTHH:MM:SS.ffffffZ` |
//! | state | table `_elt_state`, a row for each key |
//! | which tables there are | table `_elt_tables` |
//!
//! **Durability.** The database runs in WAL mode, so that others can read while a sync writes. A commit survives the end of
//! the process at once, and loss of power as soon as SQLite copies the log back or [`Destination::finish`] returns, which
//! copies and syncs everything. Nothing is ever torn. Where WAL is not to be had (some network file systems), every commit is synced.
//!
//! **Readers.** Going over to WAL takes a moment without readers. Somebody who reads in a transaction that was open before is waited
//! for, which the log says; when the sync has to end meanwhile, it does (`waiting`). When a sync ends, however it ends, the database
//! is taken out of WAL mode again, unless somebody reads it at that moment: one file, which is read without the right to write. A
//! database of somebody else's that was in WAL mode stays so.
//!
//! **What is gone.** `_elt_tables` names the tables that syncs have made. One that is gone, or that lacks columns, was changed by somebody
//! ([`Destination::lost_tables`]).
//!
//! **Nothing is written before the first group.** [`Destination::prepare`] looks at what is there; the file, its tables
//! and the emptying of a full refresh come with the first transaction. Beside the database lies, while a sync runs, an empty
//! `PATH-sync`, which carries the lock.
//!
//! [`Destination::finish`]: elt_host::Destination::finish
//! [`Destination::prepare`]: elt_host::Destination::prepare
//! [`Destination::lost_tables`]: elt_host::Destination::lost_tables

mod destination;
mod kind;
mod path;
pub mod reader;
pub mod rows;
pub mod schema;
mod state;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod subject;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod waiting;

pub use self::destination::Sqlite;
pub use self::kind::{KIND, SqliteKind};
