//! Brings the runs and metrics of a Weights & Biases project to a destination.
//!
//! The logic knows neither WASI nor any host: it is written against two small traits, [`api::exchange::Exchange`] (HTTP, clocks, randomness)
//! and [`destination::Destination`]. On `wasm32` the crate is a component that binds them to `wit/`; elsewhere it is a library.
//!
//! Data flows one way: [`config`] → [`api`] → [`records`] (exports by way of [`history_parquet`]) → [`run`] → [`tables`] → [`batch`] →
//! [`destination`]. [`sync`](mod@sync) directs it, with what [`state`] remembers.
#![cfg_attr(not(target_arch = "wasm32"), forbid(unsafe_code))]
// The component's generated bindings need it.
#![cfg_attr(target_arch = "wasm32", deny(unsafe_code))]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

pub mod api;
pub mod batch;
pub mod config;
pub mod destination;
pub mod error;
pub mod hash;
pub mod records;
pub mod run;
pub mod state;
pub mod sync;
pub mod tables;

#[cfg(target_arch = "wasm32")]
mod component;
