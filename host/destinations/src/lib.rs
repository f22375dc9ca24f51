//! The built-in destinations: where rows and state go, a folder or file for each kind, behind the trait
//! [`Destination`](elt_host::Destination).
//!
//! | module | concern |
//! |---|---|
//! | [`url`] | which kind a `--destination` names, and opening it |
//! | [`sqlite`], [`parquet`], [`null`] | the kinds |
//! | [`cells`], [`order`] | values of batches one by one, and rows in the order of their keys |
//! | [`sqlite_file`], [`timestamp`], [`disk_full`] | SQLite files, timestamps as text, full disks |
#![forbid(unsafe_code)]

pub mod cells;
pub mod disk_full;
pub mod null;
pub mod order;
pub mod parquet;
pub mod sqlite;
pub mod sqlite_file;
pub mod timestamp;
pub mod url;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod conformance;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod split_state_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod writer_tests;
