//! Runs source-connector components (`elt:connector`, see `wit/`) in wasmtime, polices them, and stores what they emit.
//!
//! | module | concern |
//! |---|---|
//! | [`engine`] | one wasmtime engine for a process, connectors compiled once and cached |
//! | [`sync`] | one sync: what it needs, what it reports, how it ends |
//! | [`policy`] | what a connector may reach, and how much it may use |
//! | [`destination`] | where rows and state go; one file for each kind |
//! | [`error`] | why a sync failed, as something to act on |
#![forbid(unsafe_code)]

pub mod destination;
pub mod error;
pub mod policy;
pub mod schema;
pub mod state;
pub mod sync;
