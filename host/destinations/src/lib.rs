//! The built-in destinations: where rows and state go, a folder or file for each kind, behind the trait
//! [`Destination`](elt_host::Destination).
//!
//! | module | concern |
//! |---|---|
//! | [`url`] | which kind a `--destination` names, and opening it |
//! | [`sqlite`], [`parquet`], [`null`] | the kinds |
//! | [`cells`], [`order`] | values of batches one by one, and rows in the order of their keys |
//! | [`reader`], [`unwritten`], [`disk_full`] | reading what a sync writes, folders not written yet, full disks |
#![forbid(unsafe_code)]

pub mod cells;
pub mod disk_full;
mod journal;
pub mod null;
pub mod order;
pub mod parquet;
pub mod reader;
pub mod sqlite;
pub mod unwritten;
pub mod url;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod kill_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod model_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod split_state_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod testing;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod writer_tests;
