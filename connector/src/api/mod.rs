//! How W&B is asked: questions in one of two dialects, each with its retries, within W&B's limits.
//!
//! | module | concern |
//! |---|---|
//! | [`exchange`] | the outside: HTTP, clocks, random numbers |
//! | [`client`] | a request with its place, its retries and its errors |
//! | [`limiter`], [`quota`], [`rate`], [`bodies`] | how many requests at once, how fast, and how much they hold |
//! | `server_errors`, `words`, `web_page`, `elsewhere` | what W&B says instead of an answer |
//! | [`source`] | what a sync asks, whichever dialect answers |
//! | [`graphql`], [`rest`] | the two dialects |
//! | [`choose()`] | which of them a sync speaks |

pub mod bodies;
mod choose;
pub mod client;
mod elsewhere;
mod entries;
pub mod exchange;
pub mod graphql;
pub mod limiter;
pub mod quota;
pub mod rate;
pub mod rest;
mod server_errors;
pub mod source;
pub mod url;
mod web_page;
mod words;

pub use choose::choose;
