//! The built-in destinations: where rows and state go, a folder for each kind, behind the trait
//! [`Destination`](elt_host::Destination).
//!
//! | module | concern |
//! |---|---|
//! | [`registry`] | the list of kinds |
//! | [`kind`], [`reader`] | what a kind is: its URLs, its places, how they are opened, written and read |
//! | [`url`] | which of them a `--destination` names, and opening it |
//! | [`guarded`] | what every destination must do however it stores things |
//! | `sqlite`, `parquet`, `null` | the kinds, each with a feature of its name |
//! | [`cells`], `order`, [`timestamp`] | values of batches one by one, rows in the order of their keys, times as text |
//! | [`local_path`], `sqlite_file`, `disk_full` | what kinds on this machine share: paths, SQLite files, full disks |
//! | `conformance` | what holds for every kind: tests, behind the feature `conformance` |
#![forbid(unsafe_code)]

pub mod cells;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
#[cfg(feature = "sqlite-files")]
mod disk_full;
pub mod guarded;
pub mod kind;
pub mod local_path;
#[cfg(feature = "null")]
pub mod null;
#[cfg(feature = "sqlite-files")]
mod order;
#[cfg(feature = "parquet")]
pub mod parquet;
pub mod reader;
pub mod registry;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(feature = "sqlite-files")]
pub mod sqlite_file;
pub mod timestamp;
pub mod url;
pub mod url_text;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod conformance_tests;
#[cfg(all(test, feature = "sqlite"))]
#[allow(clippy::unwrap_used)]
mod split_state_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod writer_tests;
