//! Runs source-connector components (`elt:connector`, see `wit/`) in wasmtime, polices them, and stores what they emit.
//!
//! | module | concern |
//! |---|---|
//! | [`engine`] | one wasmtime engine for a process |
//! | [`connector`] | a component, compiled once: its specification, check, schema and sync |
//! | [`cache`] | compiled components, kept between runs |
//! | [`component`], [`metadata`] | what a component is made of, and what it says of itself |
//! | [`sync`] | one sync: what it needs, what it reports, how it ends |
//! | [`verify`] | whether a destination holds what its source holds |
//! | [`policy`] | what a connector may reach, and how much it may use |
//! | [`egress`] | where requests may go, by name and by address |
//! | [`pace`] | when they may be sent, among several syncs |
//! | [`lane`] | where a sync computes, among several |
//! | [`http_client`] | the connections of one tenant |
//! | [`certificates`] | which servers are trusted |
//! | [`secrets`], [`key_origin`] | secrets kept from the guest, and out of text; where they came from |
//! | [`spec`] | what a connector's specification tells a host |
//! | [`destination`] | where rows and state go; one file for each kind |
//! | [`state`], [`json`], [`netrc`] | state, and what people write: configurations, exported states, `~/.netrc` |
//! | [`units`], [`text`], [`url_password`] | quantities and texts as people write them, URLs as they may be shown |
//! | [`file_access`] | who may read a file |
//! | [`wandb`] | what is known of W&B's own service |
//! | [`tenants`] | many tenants in one process |
//! | [`error`] | why a sync failed, as something to act on |
//!
//! A sync, for a program that embeds this crate:
//!
//! ```
//! use std::sync::Arc;
//!
//! use crate::component::cache::Cache;
//! use elt_destinations::null::Null;
//! use crate::runtime::sync::{Event, Observer, SyncRequest};
//! use wandb_connector_host::{CancellationToken, Connector, Engine, EngineOptions, HttpClient};
//!
//! /// What happens during a sync comes as values.
//! struct Print;
//!
//! impl Observer for Print {
//!     fn event(&self, event: Event) {
//!         match event {
//!             Event::Log { message, .. } => eprintln!("{message}"),
//!             Event::Progress { what, done, total: Some(total) } => eprintln!("{done} of {total} {what}"),
//!             _ => {}
//!         }
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (file, cache) = (std::path::Path::new(env!("WANDB_CONNECTOR_WASM")), Cache::none());
//! // One engine for the process, a connector for each component, a client for each tenant. `file` is the path of the component, and
//! // `cache` keeps what was compiled: `Cache::for_user()`.
//! let engine = Engine::new(&EngineOptions::default())?;
//! let connector = Connector::load_file(&engine, file, &cache)?;
//! let client = HttpClient::default();
//!
//! let config = r#"{"api_key": "your-key", "entity": "acme", "project": "demo"}"#;
//! let config: serde_json::Map<_, _> = serde_json::from_str(config)?;
//! let tables = connector.schema(&config).await?;
//! assert_eq!(tables[0].name(), "runs");
//!
//! // Your own destination goes here: see the module `destination`.
//! let destination = Box::new(Null::new());
//! let request = SyncRequest::new(config, destination);
//! // A clone of it, cancelled anywhere, ends the sync. What was complete is stored, and the next sync goes on from there.
//! let cancel = CancellationToken::new();
//! # cancel.cancel();
//! let outcome = connector.sync(request, &client, Arc::new(Print), &cancel).await;
//! println!("{} runs synced, error: {:?}", outcome.items.synced, outcome.error);
//! # assert!(matches!(outcome.error, Some(crate::error::Error::Interrupted)), "{:?}", outcome.error);
//! # Ok(())
//! # }
//! ```
#![deny(unsafe_code)]

pub mod cache;
pub mod certificates;
pub mod component;
pub mod connector;
pub mod destination;
pub mod egress;
pub mod engine;
pub mod error;
pub mod file_access;
pub mod http_client;
pub mod json;
pub mod key_origin;
pub mod lane;
pub mod metadata;
pub mod netrc;
pub mod pace;
pub mod policy;
pub mod schema;
pub mod secrets;
pub mod spec;
pub mod state;
pub mod sync;
pub mod tenants;
pub mod text;
pub mod units;
pub mod url_password;
pub mod verify;
pub mod wandb;

/// The check of what a guest emits, for fuzzers. No part of the interface.
#[doc(hidden)]
pub mod boundary {
    pub use crate::batch::{BatchError, keys, rows};
    pub use crate::bindings::types::{Batch, Column, ColumnValues, TextDictionary};
}

mod batch;
mod bindings;
mod guest;
mod http_ahead;
mod http_body;
mod http_error;
mod http_gzip;
mod http_masked;
mod http_sent;
mod http_watched;
mod limits;
mod lost;
mod machine;
mod mask;
mod open_requests;
mod paths;
mod proxy;
mod quota;
mod report;
mod runner;
mod session;
mod thread_clock;
mod wit;

pub use connector::Connector;
pub use engine::{Engine, EngineOptions};
pub use http_client::HttpClient;
pub use tokio_util::sync::CancellationToken;
