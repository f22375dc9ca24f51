//! Real components in the real runtime: one that does what its configuration says (`tests/guest`), also what no connector
//! should. Requests go to servers of the tests on this machine, or nowhere.
#![allow(clippy::unwrap_used)]

mod hostile;
mod limits;
mod network;
mod pacing;
mod public_names;
mod scheduler;
mod server;
mod sharing;
mod spans;
mod steady;
mod stuck;
mod support;
mod syncs;
mod tls;
mod traces;
