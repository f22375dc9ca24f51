//! What holds for every kind of destination.

pub(crate) mod data;
mod kills;
mod model;
