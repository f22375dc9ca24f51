//! One run from W&B to the destination. What is read of a run is held back until the run is complete, or until it has grown too large to be
//! held; then rows, deletions and the checkpoint that answers for them go out together, with nothing of another run between them.

#[path = "../../api/graphql/export.rs"]
mod export;
#[path = "../../api/graphql/history.rs"]
mod graphql;
#[path = "../../api/graphql/locate.rs"]
mod locate;
#[path = "../../run/sink.rs"]
mod reader;
#[path = "../../api/rest/history.rs"]
mod rest;

pub use reader::{Earlier, RunEnd, RunReader};
