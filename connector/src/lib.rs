//! Brings the runs and metrics of a Weights & Biases project to a destination.
//!
//! The logic knows neither WASI nor any host: it is written against two small traits, [`exchange::Exchange`] (HTTP, clocks, randomness) and
//! [`destination::Destination`]. On `wasm32` the crate is a component that binds them to `wit/`; elsewhere it is a library.
//!
//! Data flows one way: [`config`] → [`dialect`] → [`history`] → [`batch`] → [`destination`]. [`sync`] directs it, [`run`] carries one run.
#![cfg_attr(not(target_arch = "wasm32"), forbid(unsafe_code))]
// The component's generated bindings need it.
#![cfg_attr(target_arch = "wasm32", deny(unsafe_code))]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

pub mod batch;
pub mod bodies;
pub mod client;
pub mod config;
mod deleted;
pub mod destination;
pub mod dialect;
pub mod error;
pub mod exchange;
pub mod history;
pub mod json;
pub mod limiter;
mod listing;
mod outage;
pub mod parquet;
mod queue;
pub mod quota;
pub mod rate;
pub mod run;
pub mod schema;
pub mod state;
pub mod sync;
pub mod time;
pub mod url;
pub mod watermark;
mod web_page;
pub mod window;

#[cfg(target_arch = "wasm32")]
mod component;
