//! A local W&B server for tests, demos and benchmarks, and what those have in common.

#![forbid(unsafe_code)]

pub mod local_wandb;
pub mod native;
