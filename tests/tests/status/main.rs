//! The status server as operators, their browsers, their monitoring and strangers meet it. What it shows comes from tenants that are
//! made up here.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod browser;
mod fake;
mod metrics;
mod pages;
mod server;
mod strangers;
