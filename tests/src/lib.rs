//! What tests, the soak and benchmarks share.

#![forbid(unsafe_code)]

pub mod cli_driver;
pub mod conformance;
pub mod crash_oracle;
pub mod native;
pub mod other_hosts;
pub mod plain_http;
pub mod platform;
pub mod product;
pub mod real_sdk;
pub mod set_up;
pub mod wire;

pub use local_wandb;
