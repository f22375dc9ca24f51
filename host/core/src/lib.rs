//! Runs source-connector components (`elt:connector`, see `wit/`) in wasmtime, polices them, and stores what they emit.
//!
//! | module | concern |
//! |---|---|
//! | [`component`] | a component: compiled and cached; its specification, check, schema, and what it says of itself |
//! | [`runtime`] | the engine, one sync from request to outcome, and the policy and limits that it runs under |
//! | [`http`] | the way to the network: egress policy, connections, secrets, quotas |
//! | [`destination`] | where rows and state go: the traits, and the writer that works beside the guest |
//! | [`schema`], [`state`], [`error`] | tables, state, and why a sync failed, as something to act on |
//! | [`key_origin`] | where a key came from |
//! | [`wandb`] | what is known of W&B's own service |
//!
//! A sync, for a program that embeds this crate:
//!
//! ```
//! use std::sync::Arc;
//!
//! use elt_host::{Cache, CancellationToken, Connector, Engine, EngineOptions, Event, HttpClient, Observer, SyncRequest};
//! use elt_destinations::null::Null;
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
//! # assert!(matches!(outcome.error, Some(elt_host::Error::Interrupted)), "{:?}", outcome.error);
//! # Ok(())
//! # }
//! ```
#![deny(unsafe_code)]

pub mod component;
pub mod destination;
pub mod error;
pub mod http;
pub mod key_origin;
pub mod runtime;
pub mod schema;
pub mod state;
pub mod wandb;

/// The check of what a guest emits, for fuzzers. No part of the interface.
#[doc(hidden)]
pub mod boundary {
    pub use crate::batch::{BatchError, keys, rows};
    pub use crate::bindings::types::{Batch, Column, ColumnValues, TextDictionary};
}

mod batch;
mod bindings;
mod imports;

pub use component::cache::Cache;
pub use component::connector::Connector;
pub use component::spec::Spec;
pub use component::{ComponentInfo, Interface};
pub use destination::split_state::{Rows, SplitState};
pub use destination::state_store::StateStore;
pub use destination::waits::Waits;
pub use destination::{Change, Destination, DestinationError, Group, LostTable, Preparation};
pub use error::{ConfigurationProblem, Error};
pub use http::client::HttpClient;
pub use http::rate_gate::RateGate;
pub use runtime::engine::{Engine, EngineOptions};
pub use runtime::events::{Event, Items, Level, Observer, Outcome, SyncRequest};
pub use runtime::policy::{Limits, Policy};
pub use schema::{Column, DataType, Table};
pub use state::{State, StatePatch};
pub use tokio_util::sync::CancellationToken;
