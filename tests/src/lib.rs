//! A local W&B server for tests, demos and benchmarks.

#![forbid(unsafe_code)]

pub mod aftermath;
pub mod local_wandb;
pub mod native;
pub mod person;
pub mod product;
pub mod real_sdk;
pub mod wire;
