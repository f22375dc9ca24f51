//! SQLite files that are read beside others who write them, and left so that they can be.

pub(crate) mod journal;
mod reader;
pub mod unwritten;
