//! Runs source-connector components (`elt:connector`, see `wit/`) in wasmtime, polices them, and stores what they emit.
//!
//! | you want to | names |
//! |---|---|
//! | load a component and ask it what it offers | [`Engine`], [`EngineOptions`], [`Cache`], [`Connector`], [`Spec`], [`Table`], [`Column`], [`DataType`], [`ComponentInfo`], [`Interface`] |
//! | run a sync | [`SyncRequest`], [`Policy`], [`Limits`], [`HttpClient`], [`RateGate`], [`CancellationToken`] |
//! | see what it does and how it ends | [`Observer`], [`Event`], [`Level`], [`Outcome`], [`Items`], [`Error`], [`ErrorKind`], [`ConfigurationProblem`] |
//! | store rows and state somewhere of your own | [`Destination`], [`DestinationError`], [`Preparation`], [`Group`], [`Change`], [`State`], [`StatePatch`], [`LostTable`], [`Waits`]; [`SplitState`] of [`Rows`] and [`StateStore`] |
//!
//! # A sync
//!
//! ```
//! use std::sync::Arc;
//!
//! use elt_destinations::null::Null;
//! use elt_host::{Cache, CancellationToken, Connector, Engine, EngineOptions, Event, HttpClient, Observer, SyncRequest};
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
//! # let (file, cache) = (std::path::Path::new(env!("COMPONENT_WASM")), Cache::none());
//! // One engine for the process, a connector for each component, a client for each tenant. `file` is the path of the component, and
//! // `cache` keeps what was compiled: `Cache::for_user("my-program")`.
//! let engine = Engine::new(&EngineOptions::default())?;
//! let connector = Connector::load_file(&engine, file, &cache)?;
//! let client = HttpClient::default();
//!
//! let config = r#"{"api_key": "your-key", "entity": "acme", "project": "demo"}"#;
//! let config: serde_json::Map<_, _> = serde_json::from_str(config)?;
//! let tables = connector.schema(&config).await?;
//! assert_eq!(tables[0].name(), "runs");
//!
//! // A request can be written down and read back; the key is not in what is written.
//! let request = SyncRequest::new(connector.spec().await?, config);
//! assert!(!serde_json::to_string(&request)?.contains("your-key"));
//! // Your own destination goes here.
//! let destination = Box::new(Null::new());
//! // A clone of it, cancelled anywhere, ends the sync. What was complete is stored, and the next sync goes on from there.
//! let cancel = CancellationToken::new();
//! # cancel.cancel();
//! let outcome = connector.sync(request, destination, &client, Arc::new(Print), &cancel).await;
//! println!("{} items synced, error: {:?}", outcome.items.synced, outcome.error);
//! # assert!(matches!(outcome.error, Some(elt_host::Error::Interrupted)), "{:?}", outcome.error);
//! # Ok(())
//! # }
//! ```
//!
//! # Your own destination
//!
//! Where one transaction holds rows and state, implement [`Destination`]: a sync prepares it, hands it groups of rows with the change of the
//! state that belongs to them, and has it commit now and then. Where they are in two places, implement [`Rows`] or [`StateStore`] or both, and
//! [`SplitState`] is the destination; its page has an example. Rows are Arrow's record batches ([`arrow`]).
//!
//! # What else to know
//!
//! - Nothing is allowed that the [`Policy`] does not name: a connector reaches the origins that its configuration names and no private address.
//!   [`Limits`] bound memory, time, requests and bytes of each sync.
//! - A sync is a `tracing` span in the caller's own, with spans for requests and commits in it ([`Connector::sync`]).
//! - Functions with a future need a tokio runtime, with time and IO enabled.
//! - Of other crates, signatures have Arrow ([`arrow`]), [`serde_json`]'s `Map` and `Value` for configurations, [`ipnet::IpNet`] for networks, and
//!   tokio-util's [`CancellationToken`]; types that serialise do so by `serde`. Their versions are part of this crate's.
//! - Enumerations and structures that will grow are `#[non_exhaustive]`; build policies and requests with the methods that have their fields' names.
#![deny(unsafe_code)]
#![warn(clippy::missing_errors_doc)]
// What only tests look at is public for them alone.
#![cfg_attr(not(feature = "test-support"), allow(unreachable_pub))]

pub mod component;
pub mod destination;
mod error;
mod http;
pub mod key_origin;
mod runtime;
mod schema;
pub mod state;

#[cfg(feature = "test-support")]
pub mod test_support;

/// Arrow, in the versions that rows come in.
pub mod arrow {
    pub use {arrow_array as array, arrow_schema as schema};
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
pub use error::{ConfigurationProblem, Error, ErrorKind};
pub use http::client::HttpClient;
pub use http::rate_gate::RateGate;
pub use runtime::engine::{Engine, EngineOptions};
pub use runtime::events::{Event, Level, Observer};
pub use runtime::outcome::{Items, Outcome};
pub use runtime::policy::{Limits, Policy};
pub use runtime::request::SyncRequest;
pub use schema::{Column, DataType, Table};
pub use state::{State, StatePatch};
pub use tokio_util::sync::CancellationToken;
