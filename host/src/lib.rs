//! Runs source-connector components (`elt:connector`, see `wit/`) in wasmtime, polices them, and stores what they emit.
//!
//! | module | concern |
//! |---|---|
//! | [`engine`] | one wasmtime engine for a process |
//! | [`connector`] | a component, compiled once: its specification, check, schema and sync |
//! | [`cache`] | compiled components, kept between runs |
//! | [`component`] | what a component is made of |
//! | [`sync`] | one sync: what it needs, what it reports, how it ends |
//! | [`policy`] | what a connector may reach, and how much it may use |
//! | [`egress`] | where requests may go, by name and by address |
//! | [`http_client`] | the connections of one tenant |
//! | [`secrets`] | secrets kept from the guest, and out of text |
//! | [`spec`] | what a connector's specification tells a host |
//! | [`destination`] | where rows and state go; one file for each kind |
//! | [`error`] | why a sync failed, as something to act on |
#![deny(unsafe_code)]

pub mod cache;
pub mod component;
pub mod connector;
pub mod destination;
pub mod egress;
pub mod engine;
pub mod error;
pub mod http_client;
pub mod policy;
pub mod schema;
pub mod secrets;
pub mod spec;
pub mod state;
pub mod sync;

mod batch;
mod bindings;
mod guest;
mod http_body;
mod http_error;
mod limits;
mod mask;
mod report;
mod runner;
mod session;
mod wit;

pub use connector::Connector;
pub use engine::{Engine, EngineOptions};
pub use http_client::HttpClient;
pub use tokio_util::sync::CancellationToken;
