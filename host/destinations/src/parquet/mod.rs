//! `parquet:DIR`: one Parquet data set for each table, read by DuckDB, pandas, Polars and others without help.
//!
//! ```text
//! DIR/metrics/*.parquet              what readers read: exactly the live rows, of one moment
//! DIR/metrics -> _elt/current/metrics
//! DIR/_elt/current -> generation-41  replaced by one rename: readers see a commit whole or not at all
//! DIR/_elt/generation-41/metrics/part-00000007.parquet
//! DIR/_elt/catalog.db                which files are live, what they hold, and the state (SQLite)
//! DIR/_elt/next/…  DIR/_elt/lock     only while a sync runs
//! ```
//! Beside the connector's columns each row has `_synced_at`. Timestamps are timestamps in UTC with microseconds, JSON is text, NaN stays NaN.
//!
//! **Upserts.** Every key is in one file at most. A file holds rows of several partitions (values of the first key
//! column: runs), those of one partition in key order; the catalog knows which. A transaction writes its new rows to new files,
//! and writes those files again that held rows which it replaces or deletes. Files are bounded in size, so the growth
//! of a long run rewrites only its end; small files are merged as they add up. Rows that are stored with the same
//! values already stay as they are, `_synced_at` included.
//!
//! **Durability.** A commit makes files and folders durable, shows them to readers, then commits the
//! catalog. A crash between the last two steps is undone when the folder is next opened, so state never claims more than the data
//! sets hold. Commits are as durable against loss of power as against the end of the process.
//!
//! **Memory.** Rows wait in memory until a commit, or until there are too many of them; then they go to
//! files that nobody sees yet.

mod catalog;
mod destination;
mod error;
mod generations;
mod kind;
mod layout;
mod merge_join;
mod new_rows;
mod part;
pub mod reader;
mod rewrite;
mod sizes;
mod staged;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod subject;
mod target;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use self::destination::Parquet;
pub use self::kind::{KIND, ParquetKind};
