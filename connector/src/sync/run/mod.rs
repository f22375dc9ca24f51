//! One run from W&B to the destination. What is read of a run is held back until the run is complete, or until it has grown too large to be
//! held; then rows, deletions and the checkpoint that answers for them go out together, with nothing of another run between them.

mod export;
mod graphql;
mod locate;
mod reader;
mod rest;

pub use reader::{Earlier, RunEnd, RunReader};
